"""A service's jobs on SQLite, worked on inside the process; and on PostgreSQL and Valkey."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from api.jobs.service import Jobs
from api.settings import Settings
from api.storage.database import Database
from api.storage.opened import Storage
from tests.api.jobs.setting import SECRET
from tests.servers import Postgres, Valkey


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        jwt_secret=SECRET, webhook_secret=SECRET, state_dir=str(tmp_path), run_lease_seconds=2,
        calculation_thread_pool_size=1,
    )  # fmt: skip


@pytest.fixture
async def storage(settings: Settings) -> AsyncIterator[Storage]:
    async with Storage(settings).opened() as storage:
        yield storage


@pytest.fixture
async def jobs(settings: Settings, storage: Storage) -> AsyncIterator[Jobs]:
    async with Jobs(settings, storage).opened() as jobs:
        yield jobs


@pytest.fixture
def idle(settings: Settings, storage: Storage) -> Jobs:
    """Jobs that nobody works on."""
    return Jobs(settings, storage)


@pytest.fixture
async def on_postgres(settings: Settings, postgres: Postgres, valkey: Valkey) -> AsyncIterator[Jobs]:
    """Jobs on PostgreSQL and Valkey; nobody works on them."""
    name = await asyncio.to_thread(postgres.create)
    valkey.wipe()
    used = msgspec.structs.replace(settings, database_url=postgres.dsn(name), redis_url=valkey.url)
    database = Database(postgres.url(name))
    await database.migrate()
    await database.dispose()
    storage = Storage(used)
    jobs = Jobs(used, storage)
    async with storage.opened(), jobs.opened():
        yield jobs
    await asyncio.to_thread(postgres.drop, name)


@pytest.fixture(params=["sqlite", "postgres"])
def either(request: pytest.FixtureRequest, idle: Jobs) -> Jobs:
    """Jobs that nobody works on, on both databases."""
    return idle if request.param == "sqlite" else request.getfixturevalue("on_postgres")

"""A service's jobs on SQLite, worked on inside the process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.jobs.service import Jobs
from api.settings import Settings
from api.storage.opened import Storage
from tests.api.jobs.setting import SECRET


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

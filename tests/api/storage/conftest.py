"""Storage on SQLite and on PostgreSQL, each from an empty database and upgraded from the first migration."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from api.storage.database import Database
from api.storage.objects import ObjectStore, store_from
from tests.servers import Postgres, run_apart

OLD_TAPE = (
    "INSERT INTO tapes (id, owner, name, version, loans, loan_months, balance, profile, row_groups, object_key, size, "
    "sha256, created_at, updated_at) VALUES ('tape_old', 'before', 'old', 1, 1, 360, 100.0, '{}', '[360]', 'old', "
    "1, 'x', '2020-01-01 00:00:00', '2020-01-01 00:00:00')"
)


def migrated(url: str, *, in_steps: bool) -> None:
    """Brings an empty database to the newest revision, at once or from the first with a row in it."""

    async def work() -> None:
        database = Database(url)
        if in_steps:
            await database.migrate("0001")
            async with database.write() as connection:
                await connection.exec_driver_sql(OLD_TAPE)
        await database.migrate()
        await database.dispose()

    run_apart(work)


@pytest.fixture(scope="session")
def templates(postgres: Postgres) -> Iterator[dict[bool, str]]:
    """Migrated databases that tests copy: made at once and in steps."""
    names = {in_steps: postgres.create() for in_steps in (False, True)}
    for in_steps, name in names.items():
        migrated(postgres.url(name), in_steps=in_steps)
    yield names
    for name in names.values():
        postgres.drop(name)


@pytest.fixture(params=["sqlite", "sqlite-upgraded", "postgres", "postgres-upgraded"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    in_steps = request.param.endswith("upgraded")
    if request.param.startswith("sqlite"):
        url = f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"
        migrated(url, in_steps=in_steps)
        database = Database(url)
        yield database
        await database.dispose()
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = await asyncio.to_thread(server.create, request.getfixturevalue("templates")[in_steps])
    database = Database(server.url(name))
    yield database
    await database.dispose()
    await asyncio.to_thread(server.drop, name)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return store_from(str(tmp_path / "objects"))

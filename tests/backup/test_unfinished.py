"""A backup holds the row of the job that made it: after a restore nobody takes that job for one under way."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.backup import BackupManager
from api.backup.unfinished import COLUMNS, REASON, TABLE
from api.settings import Settings
from api.storage import backup_jobs
from api.storage.backup_jobs import BackupJob
from api.storage.database import Database
from api.storage.tables import backup_jobs as table
from tests.backup.world import KEYS, PROGRAMS
from tests.servers import Postgres


@pytest.fixture(params=["postgresql", "sqlite"])
def settings(request: pytest.FixtureRequest, postgres: Postgres, tmp_path: Path) -> Iterator[Settings]:
    """Of a service's own database, migrated."""
    name = f"jobs_{secrets.token_hex(4)}"
    url = ""
    if request.param == "postgresql":
        postgres.run(f"CREATE DATABASE {name}")
        url = postgres.url(name)
    yield Settings(database_url=url, state_dir=str(tmp_path), backup_encryption_keys=KEYS, pg_bin=PROGRAMS)
    if url:
        postgres.drop(name)


def test_the_names_are_those_of_the_table() -> None:
    assert table.name == TABLE
    assert set(COLUMNS) < set(table.c.keys())


def test_a_job_that_was_under_way_has_failed_after_the_restore(settings: Settings) -> None:
    manager = BackupManager(settings)

    async def before() -> list[str]:
        database = Database.from_settings(settings)
        try:
            await database.migrate()
            done = await backup_jobs.ask(database, "drill", "ann")
            async with database.write() as connection:
                lease = await backup_jobs.take(connection, 30)
                assert lease is not None
                await backup_jobs.end(connection, lease, report=b"{}", error=None)
            running = await backup_jobs.ask(database, "create", "ann", prune=True)
            async with database.write() as connection:
                await backup_jobs.take(connection, 1e6)
            queued = await backup_jobs.ask(database, "verify", "ann")
            return [done.id, running.id, queued.id]
        finally:
            await database.dispose()

    async def after(ids: list[str]) -> tuple[list[BackupJob], bool, BackupJob]:
        database = Database.from_settings(settings)
        try:
            async with database.read() as connection:
                found = [await backup_jobs.get(connection, id) for id in ids]
                waiting = await backup_jobs.waiting(connection)
            return found, waiting, await backup_jobs.ask(database, "create", "ben")
        finally:
            await database.dispose()

    ids = asyncio.run(before())
    report = manager.restore_database(manager.backup_database().key, drop_old=True)
    assert report.notes == ["2 jobs of backups that were under way are ended as failed"]
    (done, running, queued), waiting, again = asyncio.run(after(ids))
    assert (done.state, running.state, queued.state) == ("succeeded", "failed", "failed")
    assert running.error == queued.error == REASON
    assert running.finished_at is not None
    assert not waiting
    assert again.id not in ids
    # A restored database with nothing under way needs no word about it.
    again_restored = manager.restore_database(manager.backup_database().key, drop_old=True)
    assert len(again_restored.notes) == 1  # the job that `after` asked for
    assert manager.restore_database(manager.backup_database().key, drop_old=True).notes == []

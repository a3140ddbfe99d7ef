"""Migrations go up, and say where they got to; down is refused."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from api.settings import Settings
from api.shell_service import migrate
from api.storage.database import Database
from api.storage.errors import NoMigration
from api.storage.opened import Storage
from tests.servers import Postgres


async def test_a_database_is_brought_up_and_never_down(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")
    try:
        assert await database.migrate("0002") == "0002"
        assert await database.migrate("0002") == "0002"
        newest = await database.migrate()
        assert newest > "0004"
        for revision, told in [
            ("base", "expected head or one of 0001, 0002"),
            ("-1", "expected head"),
            ("0002", f"at revision {newest}, past 0002, and there is no way back"),
        ]:
            with pytest.raises(NoMigration, match=told):
                await database.migrate(revision)
        assert await database.is_current()
        async with database.write() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(NoMigration, match="'9999', of a newer release"):
            await database.migrate()
    finally:
        await database.dispose()


def test_the_command_says_which_revision_was_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    done = CliRunner().invoke(migrate, ["--revision", "0003"])
    assert (done.exit_code, done.output) == (0, "The database is at revision 0003.\n")
    for revision in ("base", "0002"):
        refused = CliRunner().invoke(migrate, ["--revision", revision])
        assert (refused.exit_code, "The database is at" in refused.output) == (2, False)


async def test_a_service_on_a_database_that_was_not_migrated_says_so(
    postgres: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = await asyncio.to_thread(postgres.create)
    settings = Settings(database_url=postgres.url(name), object_store=str(tmp_path))
    try:
        async with Storage(settings).opened() as storage:
            assert "the database is not at the newest schema; run `cashflow migrate`" in caplog.text
            await storage.database.migrate()
        caplog.clear()
        async with Storage(settings).opened():
            assert not caplog.records
    finally:
        await asyncio.to_thread(postgres.drop, name)
    async with Storage(settings).opened():
        assert "the database was not looked at" in caplog.text

"""What happens seldom: names taken, roles and settings missing, servers that are older or in the way."""

import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from api.backup import BackupError, BackupManager, places
from api.backup import postgres as postgres_module
from api.backup.manifest import MANIFEST, Manifest
from api.backup.postgres import Dump, LockedPostgres
from api.settings import Settings
from api.storage.objects import StoreError
from tests.backup.world import asked, databases, state
from tests.servers import Postgres


def test_a_server_older_than_the_program_gets_the_script_of_the_archive(
    manager: BackupManager, postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(postgres, database)
    key = manager.backup_database().key
    monkeypatch.setattr(LockedPostgres, "server_major", lambda self: 16)
    manager.restore_database(key, drop_old=True)
    assert state(postgres, database) == before


def test_names_that_are_taken_are_passed_over_and_what_was_left_is_dropped(
    manager: BackupManager, postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.backup.postgres.moment", lambda: datetime(2026, 1, 1, tzinfo=UTC))
    key = manager.backup_database().key
    postgres.run(f'CREATE DATABASE "{database}_restore_20250101000000"')
    formers = [manager.restore_database(key).former for _ in range(2)]
    assert formers == [f"{database}_before_20260101000000", f"{database}_before_20260101000001"]
    assert {name for name in databases(postgres) if name.startswith(database)} == {database, *formers}


def test_a_connection_that_got_in_is_ended_in_the_next_round(
    manager: BackupManager, postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = manager.backup_database().key
    real, calls = LockedPostgres.renamed, []

    async def in_use(self: Any, *arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) < len_needed:
            raise asyncpg.ObjectInUseError("somebody is there")
        await real(self, *arguments)

    monkeypatch.setattr(LockedPostgres, "renamed", in_use)
    for len_needed in (2, 5):
        calls.clear()
        manager.restore_database(key, drop_old=True)
        assert len(calls) == len_needed
    len_needed = 100
    calls.clear()
    there = databases(postgres)
    with pytest.raises(BackupError, match="somebody is there"):
        manager.restore_database(key)
    assert (len(calls), databases(postgres)) == (5, there)
    monkeypatch.setattr(LockedPostgres, "renamed", real)
    monkeypatch.setattr("api.backup.postgres.LockedPostgres.exists", lambda self, name: False)
    with pytest.raises(BackupError, match="already exists"):  # another fault than that is told at once
        manager.restore_database(key)


def test_what_fails_once_the_names_are_swapped_makes_no_failed_restore(
    manager: BackupManager, postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(postgres, database)
    key = manager.backup_database().key
    real_end, real_renamed = LockedPostgres.end_connections, LockedPostgres.renamed

    async def ends_badly(self: Any, live: Any) -> None:
        try:
            await real_end(self, live)
        except asyncio.CancelledError:
            raise OSError("cut off while it ended") from None

    async def loses_the_answer(self: Any, *arguments: Any) -> None:
        await real_renamed(self, *arguments)
        raise ConnectionResetError("the answer to COMMIT was lost")

    for name, fault in (("end_connections", ends_badly), ("renamed", loses_the_answer)):
        postgres.run("UPDATE loan SET balance = 1", database=database)
        with monkeypatch.context() as patched:
            patched.setattr(LockedPostgres, name, fault)
            report = manager.restore_database(key)
        assert state(postgres, database) == before
        assert report.former is not None
        assert asked(postgres, "SELECT count(DISTINCT balance) FROM loan", report.former) == [(1,)]
        postgres.run(f'DROP DATABASE "{report.former}"')


def test_where_the_server_goes_away_in_the_swap_nothing_is_claimed(
    manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = manager.backup_database().key
    gone: list[bool] = []
    real = postgres_module.connected

    async def connected(target: Any) -> Any:
        if gone:
            raise ConnectionRefusedError("no server")
        return await real(target)

    async def breaks(self: Any, *arguments: Any) -> None:
        gone.append(True)
        raise ConnectionResetError("cut")

    monkeypatch.setattr("api.backup.session.connected", connected)
    monkeypatch.setattr(LockedPostgres, "renamed", breaks)
    with pytest.raises(BackupError, match=r"it is not known whether .* was replaced; look at .*: .*cut; .*no server"):
        manager.restore_database(key)


@pytest.mark.parametrize(
    ("terminate", "told"),
    [
        ("SELECT pg_no_such_function($1)", "could not be ended: function pg_no_such_function"),
        ("SELECT $1::oid", "is being accessed by other users"),  # ends nobody
    ],
)
def test_connections_that_cannot_be_ended_are_told_as_the_reason(
    manager: BackupManager,
    postgres: Postgres,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    terminate: str,
    told: str,
) -> None:
    key = manager.backup_database().key
    monkeypatch.setattr("api.backup.postgres.RENAME_ATTEMPTS", 1)
    monkeypatch.setattr("api.backup.postgres.TERMINATE", terminate)
    there, stop, open_now = databases(postgres), threading.Event(), threading.Event()

    def service() -> None:
        async def work() -> None:
            connection = await asyncpg.connect(
                host=postgres.host, port=postgres.port, user=postgres.user, database=database
            )
            open_now.set()
            await asyncio.to_thread(stop.wait, 60)
            await connection.close()

        asyncio.run(work())

    thread = threading.Thread(target=service)
    thread.start()
    assert open_now.wait(30)
    try:
        with pytest.raises(BackupError, match=told):
            manager.restore_database(key)
    finally:
        stop.set()
        thread.join()
    assert databases(postgres) == there


def test_what_cannot_be_done_after_the_swap_is_noted(
    manager: BackupManager, postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(postgres, database)
    key = manager.backup_database().key
    real = LockedPostgres.drop

    def drop(self: LockedPostgres, name: str) -> None:
        if "_before_" in name:
            raise BackupError("no")
        real(self, name)

    def fails(*arguments: object) -> None:
        raise StoreError("away")

    def lists_nothing(*arguments: object) -> list[str]:
        if arguments[-1] == "before":
            raise BackupError("gone")
        return []

    postgres.run("DELETE FROM loan", database=database)
    with monkeypatch.context() as patched:
        patched.setattr(LockedPostgres, "drop", drop)
        patched.setattr(LockedPostgres, "found_beside", lists_nothing)
        patched.setattr(manager.vault, "note", fails)
        report = manager.restore_database(key, drop_old=True)
    assert state(postgres, database) == before
    assert report.former in databases(postgres)
    assert report.notes == [
        f"the replaced database is still there as {report.former}: no",
        "what earlier restores left cannot be listed: gone",
        "the store does not keep that this backup was restored: away",
    ]


def test_replaced_databases_are_found_until_they_are_dropped(manager: BackupManager, postgres: Postgres) -> None:
    key = manager.backup_database().key
    assert manager.database().formers() == []
    former = manager.restore_database(key).former
    assert former is not None
    assert manager.database().formers() == [former]
    postgres.run(f'DROP DATABASE "{former}"')
    assert manager.database().formers() == []


def test_a_connection_that_does_not_close_is_dropped(manager: BackupManager, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(self: Any, *, timeout: float | None = None) -> None:
        raise TimeoutError

    with monkeypatch.context() as patched:
        patched.setattr(asyncpg.Connection, "close", hangs)
        key = manager.backup_database().key
    assert manager.verify_backup(key).rows == 3326


def test_an_archive_without_properties_is_restored_all_the_same(
    manager: BackupManager, postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(postgres, database)
    key = manager.backup_database().key
    bare = msgspec.structs.replace(manager.vault.manifest(key).contents(manager.keys), properties=None)
    monkeypatch.setattr(Manifest, "contents", lambda self, keys: bare)
    manager.restore_database(key)
    assert state(postgres, database) == before


def test_a_manifest_that_somebody_else_wrote_is_not_overwritten(manager: BackupManager) -> None:
    key = manager.backup_database().key
    there = b"".join(manager.store.get_stream(key + MANIFEST))
    other = msgspec.structs.replace(manager.vault.manifest(key), seconds=1e6)
    with pytest.raises(Exception, match=key):
        manager.vault.finish(other)
    manager.vault.finish(manager.vault.manifest(key))  # its own, whose answer was lost, is
    assert b"".join(manager.store.get_stream(key + MANIFEST)) == there


def test_an_archive_of_postgresql_is_no_sqlite_file(manager: BackupManager, settings: Settings) -> None:
    key = manager.backup_database().key
    other = BackupManager(msgspec.structs.replace(settings, database_url=""))
    with pytest.raises(BackupError, match="is of postgresql; the database to restore is of sqlite"):
        other.restore_database(key)


def test_contents_are_known_when_the_dump_was_read_to_its_end(manager: BackupManager) -> None:
    with pytest.raises(AssertionError, match="not read to its end"):
        Dump("postgresql", "18", "18").held()
    with manager.database().locked() as locked, locked.dump() as dump:
        for _ in dump.chunks:
            pass
        assert sum(mark.rows for mark in dump.held().tables.values()) == 3326


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql://u:p%40ss@db.example:6432/app?sslmode=require",
            ("db.example", 6432, "u", "p@ss", "app", "require"),
        ),
        ("postgresql+asyncpg://u@h/app%20one?ssl=verify-full", ("h", 5432, "u", "", "app one", "verify-full")),
        ("postgres:///?host=/run/pg&port=5433", ("/run/pg", 5433, "postgres", "", "postgres", "")),
    ],
)
def test_the_database_is_that_of_its_address(url: str, expected: tuple[Any, ...], tmp_path: Path) -> None:
    target = places.database_from(Settings(database_url=url)).target  # type: ignore[union-attr]
    assert (target.host, target.port, target.user, target.password, target.database, target.sslmode) == expected


def test_arguments_name_another_database_than_the_configured_one() -> None:
    beside_sqlite = places.database_from(Settings(), "app", "me", "secret").target  # type: ignore[union-attr]
    assert (beside_sqlite.host, beside_sqlite.user, beside_sqlite.database) == ("localhost", "me", "app")
    configured = Settings(database_url="postgresql://u:p@h:1/app")
    other = places.database_from(configured, "b", "c", "d", "e", 2).target  # type: ignore[union-attr]
    assert repr(other) == "Target(c@e:2/b)"
    assert places.database_from(Settings(database_url="sqlite:////var/lib/a%20b.db")).name == "a b"


def test_no_session_stays_open(manager: BackupManager, postgres: Postgres, database: str) -> None:
    manager.backup_database()
    query = (
        f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND application_name = 'cashflow backup'"
    )
    assert asked(postgres, query) == [(0,)]

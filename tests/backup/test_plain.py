"""Plain SQL archives made elsewhere: restored in one transaction, refused where they can be told not to be whole."""

import subprocess
from collections.abc import Iterator

import pytest

from api.backup import ArchiveDamaged, BackupError, BackupManager, NoSuchBackup
from api.backup.clients import Target, conninfo
from api.backup.plain import CANNOT, checked, guarded
from tests.backup.world import PROGRAMS, databases, state
from tests.servers import Postgres

KEY = "backups/database/db_backup_app_20260101000000.sql"


def dump_of(postgres: Postgres, database: str, *options: str) -> bytes:
    target = Target(host=postgres.host, port=postgres.port, user=postgres.user, password="", database=database)
    command = [f"{PROGRAMS}/pg_dump", *options, f"--dbname={conninfo(target)}"]
    return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.mark.parametrize("options", [(), ("--inserts", "--rows-per-insert=50")])
def test_a_plain_archive_is_restored(
    manager: BackupManager, postgres: Postgres, database: str, options: tuple[str, ...]
) -> None:
    before = state(postgres, database)
    manager.store.put_stream(KEY, [dump_of(postgres, database, *options)])
    postgres.run("DELETE FROM loan", database=database)
    report = manager.restore_database(KEY)
    assert state(postgres, database) == before
    assert report.rows == 3326
    assert report.notes == [CANNOT]
    assert manager.verify_backup(KEY).cannot_tell == CANNOT
    assert manager.list_backups() == []


def test_truncations_are_found_by_the_missing_closing_line(
    manager: BackupManager, postgres: Postgres, database: str
) -> None:
    dump, there = dump_of(postgres, database), databases(postgres)
    before = state(postgres, database)
    for share in (1, 30, 60, 90, 99):
        manager.store.put_stream(KEY, [dump[: len(dump) * share // 100]])
        with pytest.raises(ArchiveDamaged, match="cut short"):
            manager.restore_database(KEY)
    manager.store.put_stream(KEY, [b" \n"])
    with pytest.raises(ArchiveDamaged, match="is empty"):
        manager.verify_backup(KEY)
    manager.store.delete(KEY)
    with pytest.raises(NoSuchBackup):
        manager.verify_backup(KEY)
    assert databases(postgres) == there
    assert state(postgres, database) == before


def test_an_error_in_the_archive_leaves_the_live_database_alone(
    manager: BackupManager, postgres: Postgres, database: str
) -> None:
    before, there = state(postgres, database), databases(postgres)
    manager.store.put_stream(KEY, [b"CREATE TABLE a (i int);\nSELECT 1/0;\nCREATE TABLE b (i int);\n"])
    assert "it may have been cut short as well" in manager.verify_backup(KEY).cannot_tell
    with pytest.raises(BackupError, match=r"psql failed.*division by zero"):
        manager.restore_database(KEY)
    # A dump with --create leaves the scratch database for the one it names.
    manager.store.put_stream(KEY, [dump_of(postgres, database, "--create")])
    with pytest.raises(BackupError, match=r"has the psql command \\(connect|encoding)"):
        manager.restore_database(KEY)
    assert databases(postgres) == there
    assert state(postgres, database) == before


def pieces(data: bytes) -> Iterator[bytes]:
    yield from (data[at : at + 3] for at in range(0, len(data), 3))


def test_commands_of_psql_are_told_from_data() -> None:
    harmless = (
        b"\\restrict x\nCOPY t (a) FROM stdin;\n\\N\n\\connect is data here\n\\.\nSELECT 1;\n\\unrestrict x\nSELECT 2;"
    )
    assert b"".join(guarded(pieces(harmless), KEY)) == harmless
    for command in (b"\\! rm -rf x", b"\\connect other\n", b"\\i file\n"):
        with pytest.raises(BackupError, match="has the psql command"):
            list(guarded(pieces(harmless + b"\n" + command), KEY))


QUOTED = (
    b"SELECT '\\! a', E'it\\'s \\! b', \"\\c\", $q$ \\! ' $q$, $$ \\! $$; -- \\! here\n"
    b"/* \\! /* nested \\! */ \n \\! still */ SELECT 1;\n"
    b"SELECT 'two\n\\! lines';\n"
)


def test_what_is_quoted_or_a_comment_is_no_command() -> None:
    assert b"".join(guarded(pieces(QUOTED), KEY)) == QUOTED


@pytest.mark.parametrize(
    "text",
    [
        b" \\! touch x\n",
        b"SELECT 1; \\connect live\n",
        b"/* COPY a FROM stdin; */ SELECT 1;\n\\! touch x\n",
        b"/*\nCOPY a FROM stdin;\n*/\n\\! touch x\n",
        b"SELECT '\nCOPY a FROM stdin;\n';\n\\! touch x\n",
        b"SELECT '\\'; \\! touch x --'\n",
        b"SELECT $a$ $A$ ' $a$ \\! touch x ';\n",
        b"SELECT 1 ae'\\' \\! touch x '\n",
        b"SELECT a$b$ \\! touch x $b$\n",
        b"/* /* */ */ \\! touch x\n",
    ],
)
def test_commands_are_found_wherever_psql_takes_them(text: bytes) -> None:
    with pytest.raises(BackupError, match=r"has the psql command \\(!|connect)"):
        list(guarded(pieces(QUOTED + text), KEY))


def test_the_closing_line_is_found_across_chunks() -> None:
    dump = b"--\n-- PostgreSQL database dump\n--\n" + b"x" * 9000 + b"\n-- PostgreSQL database dump complete\n--\n"
    assert checked(pieces(dump), KEY) == CANNOT
    with pytest.raises(ArchiveDamaged):
        checked(pieces(dump[:-10]), KEY)

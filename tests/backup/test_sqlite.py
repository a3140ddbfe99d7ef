"""The SQLite default: copied while it is written, restored into the live file in one transaction."""

import base64
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from api.backup import ArchiveDamaged, BackupBusy, BackupError, BackupManager, ContentsDiffer
from api.backup.errors import WrongKey
from api.settings import Settings
from tests.backup.world import KEYS
from tests.servers import create_bucket


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state" / "cashflow.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(
            """
            PRAGMA journal_mode = WAL;
            CREATE TABLE run (run_id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, rate REAL, flow BLOB);
            CREATE TABLE "odd ""name" (a, b CHECK (b > 0));
            CREATE INDEX by_rate ON run (rate);
            CREATE TRIGGER kept BEFORE DELETE ON run WHEN old.run_id = 1 BEGIN SELECT raise(ABORT, 'kept'); END;
            CREATE VIEW fast AS SELECT * FROM run WHERE rate > 0.5;
            CREATE VIRTUAL TABLE words USING fts5(text);
            INSERT INTO words VALUES ('collateral and tranches');
            """
        )
        draw = random.Random(3)
        rows = [(f"run {n}", draw.random(), draw.randbytes(200)) for n in range(500)]
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO run (name, rate, flow) VALUES (?, ?, ?)", rows)
        connection.execute('INSERT INTO "odd ""name" VALUES (NULL, 1.5)')
        connection.execute("COMMIT")
    return path


@pytest.fixture
def settings(path: Path) -> Settings:
    return Settings(state_dir=str(path.parent), backup_encryption_keys=KEYS)


@pytest.fixture
def manager(settings: Settings) -> BackupManager:
    return BackupManager(settings)


def dumped(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_a_restored_file_equals_the_one_backed_up_and_running_connections_see_it(
    manager: BackupManager, path: Path
) -> None:
    before = dumped(path)
    record = manager.backup_database()
    assert (record.kind, record.database) == ("sqlite", "cashflow")
    with closing(sqlite3.connect(path, isolation_level=None)) as service:
        service.execute("DELETE FROM run WHERE run_id > 1")
        report = manager.restore_database(record.key)
        assert service.execute("SELECT count(*) FROM run").fetchone() == (500,)
    assert dumped(path) == before
    assert report.former is not None
    with closing(sqlite3.connect(report.former)) as former:
        assert former.execute("SELECT count(*) FROM run").fetchone() == (1,)
    again = manager.restore_database(record.key, drop_old=True)
    assert (again.former, again.kept) == (None, [report.former])
    assert manager.drill().rows == report.rows
    assert not list(path.parent.glob("cashflow.db.tmp-*"))


def test_a_backup_is_of_one_moment_while_the_file_is_written(manager: BackupManager, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as service:
        service.execute("BEGIN IMMEDIATE")
        service.execute("UPDATE run SET rate = 0")
        key = manager.backup_database().key
        service.execute("COMMIT")
    manager.restore_database(key)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM run WHERE rate = 0").fetchone() == (0,)


def test_a_file_that_is_gone_is_restored_and_readable_by_its_owner_alone(manager: BackupManager, path: Path) -> None:
    before = dumped(path)
    key = manager.backup_database().key
    for left in path.parent.glob("cashflow.db*"):
        left.unlink()
    with pytest.raises(BackupError, match="there is no database at"):
        manager.backup_database()
    assert manager.restore_database(key).former is None
    assert dumped(path) == before
    assert path.stat().st_mode & 0o077 == 0


def test_through_s3(settings: Settings, path: Path, s3_endpoint: str) -> None:
    place = f"s3://{create_bucket(s3_endpoint)}/sqlite"
    manager = BackupManager(msgspec.structs.replace(settings, backup_store=place, s3_endpoint_url=s3_endpoint))
    key = manager.backup_database(db_name="cashflow").key
    assert manager.verify_backup(key).tables == manager.drill().tables == 3 + 5  # with what the full-text index keeps


def test_only_one_at_a_time(manager: BackupManager, settings: Settings) -> None:
    with manager.database().locked(), pytest.raises(BackupBusy):
        BackupManager(settings).backup_database()


def test_an_archive_that_is_damaged_or_of_another_kind_leaves_the_file_alone(
    manager: BackupManager, path: Path
) -> None:
    before = dumped(path)
    key = manager.backup_database().key
    archive = path.parent / "backups" / key
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-1])
    with pytest.raises(ArchiveDamaged):
        manager.restore_database(key)
    archive.write_bytes(whole)
    with pytest.raises(BackupError, match="cannot be reached"):
        manager.restore_database(key, db_name="x", db_user="x", db_host="127.0.0.1", db_port=1)
    manager.store.put_stream("backups/database/db_backup_x_20260101000000.sql", [b"SELECT 1;\n"])
    with pytest.raises(BackupError, match=r"plain \.sql archives are restored into PostgreSQL"):
        manager.restore_database("backups/database/db_backup_x_20260101000000.sql")
    with pytest.raises(BackupError, match="DATABASE_URL is the SQLite file"):
        manager.backup_database(db_name="another")
    assert dumped(path) == before


def test_what_was_restored_is_compared(manager: BackupManager, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = manager.backup_database().key
    before = dumped(path)
    real = manager.filled

    def spoilt(locked: object, scratch: object, *arguments: object) -> int:
        fill = locked.fill  # type: ignore[attr-defined]

        def filled(*given: object) -> None:
            fill(*given)
            with closing(sqlite3.connect(scratch.name, isolation_level=None)) as connection:  # type: ignore[attr-defined]
                connection.executescript(harm)

        locked.fill = filled  # type: ignore[attr-defined]
        return real(locked, scratch, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(manager, "filled", spoilt)
    for script, told in [
        ("UPDATE run SET rate = 1 WHERE run_id = 3", "table run is not what it was"),
        ("DROP TRIGGER kept", "tables, indexes, triggers or views"),
    ]:
        harm = script
        with pytest.raises(ContentsDiffer, match=told):
            manager.restore_database(key)
    harm = (
        "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = rootpage + 1 WHERE name = 'by_rate';"
        "PRAGMA writable_schema = RESET;"
    )
    with pytest.raises(BackupError):
        manager.restore_database(key)
    assert dumped(path) == before


HOLDS = """
import sqlite3, sys
live = sqlite3.connect(sys.argv[1], isolation_level=None)
live.execute("INSERT INTO run (name) VALUES ('before')")
sys.path.insert(0, sys.argv[2])
from api.backup.sqlite import opened
from pathlib import Path
opened(Path(sys.argv[1])).close()
print("ready", flush=True)
sys.stdin.readline()
live.execute("INSERT INTO run (name) VALUES ('after')")
print("written", flush=True)
sys.stdin.readline()
"""


def test_looking_at_a_file_leaves_its_locks_to_who_writes_to_it(path: Path) -> None:
    # A second process that opens and closes the file would take itself for the last and delete the log under the first.
    root = str(Path(__file__).resolve().parents[2])
    service = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path), root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert service.stdin is not None
    assert service.stdout is not None
    try:
        assert service.stdout.readline() == "ready\n"
        looks = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT 1 FROM run').close()"
        subprocess.run([sys.executable, "-c", looks, path], check=True)
        service.stdin.write("\n")
        service.stdin.flush()
        assert service.stdout.readline() == "written\n"
        service.send_signal(signal.SIGKILL)
        service.wait()
    finally:
        service.kill()
        service.wait()
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT count(*) FROM run WHERE name IN ('before', 'after')").fetchone()
    assert found == (2,)


def test_a_wrong_key_says_nothing_of_the_backup(manager: BackupManager, settings: Settings) -> None:
    key = manager.backup_database().key
    name = KEYS.partition(":")[0]
    other = base64.b64encode(b"another key that nobody gave it.").decode()
    stranger = BackupManager(msgspec.structs.replace(settings, backup_encryption_keys=f"{name}:{other}"))
    for look in (stranger.verify_backup, stranger.drill):
        with pytest.raises(WrongKey):
            look(key)
    check = manager.vault.check(key)
    assert check is not None
    assert check.sound
    manager.verify_backup(key)

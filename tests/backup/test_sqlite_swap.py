"""The swap of an SQLite restore: killed anywhere it leaves the old or the new database whole, and it loses no write."""

import random
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from api.backup import BackupError, BackupManager, sqlite
from api.settings import Settings
from tests.backup.world import KEYS

ROWS = 300
# Kills itself at the given event of those that Python audits (files, folders, connections) once the archive has been
# read and compared, or at the given page of a copy.
DOOMED = """
import os, signal, sqlite3, sys
from api.backup import BackupManager, sqlite
from api.settings import Settings
state, keys, key, kind, at = sys.argv[1:]
left = [int(at)]
def tick(*told):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
class Connection(sqlite3.Connection):
    def backup(self, target, *, pages=1, progress=None):
        def paged(*told):
            if progress is not None:
                progress(*told)
            if kind == "page":
                tick()
        super().backup(target, pages=pages, progress=paged)
real = sqlite3.connect
sqlite.sqlite3.connect = lambda *given, **options: real(*given, **options, factory=Connection)
swap = sqlite.LockedSqlite.swap
watching = []
def watched(self, restored):
    watching.append(1)
    return swap(self, restored)
sqlite.LockedSqlite.swap = watched
if kind == "event":
    names = {"open", "os.rename", "os.remove", "os.rmdir", "sqlite3.connect", "shutil.rmtree", "os.scandir"}
    sys.addaudithook(lambda name, told: tick() if watching and name in names else None)
BackupManager(Settings(state_dir=state, backup_encryption_keys=keys)).restore_database(key)
print(int(at) - left[0])
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state" / "cashflow.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE run (run_id INTEGER PRIMARY KEY, name TEXT, flow BLOB)")
        connection.execute("BEGIN")
        draw = random.Random(5)
        rows = [(f"backed up {n}", draw.randbytes(900)) for n in range(ROWS)]
        connection.executemany("INSERT INTO run (name, flow) VALUES (?, ?)", rows)
        connection.execute("COMMIT")
    return path


@pytest.fixture
def manager(path: Path) -> BackupManager:
    return BackupManager(Settings(state_dir=str(path.parent), backup_encryption_keys=KEYS))


def dumped(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return list(connection.iterdump())


def doomed(path: Path, key: str, kind: str, at: int) -> str:
    """What a restore printed that was to be killed there; blank where it was."""
    command = [sys.executable, "-c", DOOMED, str(path.parent), KEYS, key, kind, str(at)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -9), done.stderr
    return done.stdout


def formers(path: Path) -> list[Path]:
    return sorted(path.parent.glob("cashflow.db.before_*"))


def changed(path: Path) -> list[str]:
    with closing(sqlite3.connect(path, isolation_level=None)) as service:
        service.execute("UPDATE run SET name = 'later', flow = NULL WHERE run_id % 2")
    return dumped(path)


@pytest.mark.parametrize("kind", ["event", "page"])
def test_a_restore_that_is_killed_leaves_the_old_or_the_new_database_whole(
    manager: BackupManager, path: Path, kind: str
) -> None:
    key, new = manager.backup_database().key, dumped(path)
    old = changed(path)
    assert old != new
    total = int(doomed(path, key, kind, 1_000_000_000))
    assert total > 10
    assert dumped(path) == new
    steps = range(1, total + 1) if kind == "event" else sorted({*range(1, 6), *range(6, total, total // 8), total})
    seen = set()
    for at in steps:
        for former in formers(path):
            former.unlink()
        before = changed(path)
        # A service that goes on meanwhile, as a rule: then its log is there, and the last to close is not the restore.
        service = sqlite3.connect(path, isolation_level=None)
        assert service.execute("SELECT count(*) FROM run").fetchone() == (ROWS,)
        assert doomed(path, key, kind, at) == "" or at == total
        found = dumped(path)
        assert found in (before, new)
        seen.add(found == new)
        assert service.execute("SELECT count(*) FROM run").fetchone() == (ROWS,)
        service.execute("INSERT INTO run (name) VALUES ('goes on')")
        service.execute("DELETE FROM run WHERE name = 'goes on'")
        service.close()
        # What the live file held is there whole as soon as it is there at all, and before it is gone from the live one.
        assert [dumped(former) for former in formers(path)] in ([], [before])
        assert formers(path) or found == before
    assert seen == {False, True}
    manager.restore_database(key, drop_old=True)
    assert dumped(path) == new
    assert [left.name for left in path.parent.glob("cashflow.db.tmp-*")] == []


def test_an_interrupt_while_the_last_page_is_committed_leaves_what_was_there(
    manager: BackupManager, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, new = manager.backup_database().key, dumped(path)
    old = changed(path)

    class Interrupted(sqlite3.Connection):
        def backup(self, target: Any, *, pages: int = 1, progress: Any = None, **rest: Any) -> None:
            def told(status: int, left: int, total: int) -> None:
                if progress is not None and status == sqlite3.SQLITE_DONE and target is not self and former_there():
                    raise KeyboardInterrupt
                if progress is not None:
                    progress(status, left, total)

            super().backup(target, pages=pages, progress=told, **rest)

    def former_there() -> bool:
        return bool(formers(path))

    real = sqlite3.connect
    monkeypatch.setattr(sqlite.sqlite3, "connect", lambda *told, **rest: real(*told, **rest, factory=Interrupted))
    with pytest.raises(KeyboardInterrupt):
        manager.restore_database(key)
    monkeypatch.undo()
    assert dumped(path) == new
    assert [dumped(former) for former in formers(path)] == [old]


def test_a_file_that_is_gone_is_there_whole_or_not_at_all(manager: BackupManager, path: Path) -> None:
    key, new = manager.backup_database().key, dumped(path)
    total = int(doomed(path, key, "event", 1_000_000_000))
    for at in range(1, total + 1):
        for left in path.parent.glob("cashflow.db*"):
            if left.is_file():
                left.unlink()
        # The log of the file that is gone.
        Path(f"{path}-wal").write_bytes(b"of another database")
        doomed(path, key, "event", at)
        assert not path.exists() or dumped(path) == new
    manager.restore_database(key)
    assert dumped(path) == new
    assert path.stat().st_mode & 0o077 == 0


def test_every_write_of_a_running_service_is_in_the_old_database_or_in_the_new_one(
    manager: BackupManager, path: Path
) -> None:
    key = manager.backup_database().key
    stop = threading.Event()
    written: list[int] = []

    def service() -> None:
        with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
            number = 1_000_000
            while not stop.is_set():
                connection.execute("INSERT INTO run (run_id, name) VALUES (?, 'written')", (number,))
                written.append(number)
                number += 1

    thread = threading.Thread(target=service)
    thread.start()
    for _ in range(3):
        time.sleep(0.1)
        manager.restore_database(key)
    time.sleep(0.1)
    stop.set()
    thread.join()
    found = []
    for file in (*formers(path), path):
        with closing(sqlite3.connect(file)) as connection:
            found += [row[0] for row in connection.execute("SELECT run_id FROM run WHERE name = 'written'")]
    assert len(written) > 10
    assert sorted(found) == written


def test_a_file_that_is_written_to_all_the_time_is_left_alone(
    manager: BackupManager, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.3)
    key = manager.backup_database().key
    before = changed(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as service:
        service.execute("BEGIN IMMEDIATE")
        with pytest.raises(BackupError, match=r"was written to for 0\.3 seconds on end"):
            manager.restore_database(key)
        service.execute("ROLLBACK")
    assert (dumped(path), formers(path)) == (before, [])


@pytest.mark.parametrize("what", ["the copy", "the disk"])
def test_a_swap_that_fails_leaves_nothing_of_its_own(
    manager: BackupManager, path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    key = manager.backup_database().key
    before = changed(path)

    class Failing(sqlite3.Connection):
        def backup(self, target: sqlite3.Connection, **options: object) -> None:
            progress = options.pop("progress", None)

            def paged(*told: int) -> None:
                progress(*told)
                raise sqlite3.OperationalError("disk I/O error")

            super().backup(target, **options, **({"progress": paged} if progress else {}))

    real = sqlite3.connect
    if what == "the copy":
        monkeypatch.setattr(sqlite3, "connect", lambda *given, **options: real(*given, **options, factory=Failing))
    else:

        def full(*given: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(sqlite, "renamed", full)
    with pytest.raises(BackupError, match="refuses"):
        manager.restore_database(key)
    monkeypatch.undo()
    assert (dumped(path), formers(path)) == (before, [])


def test_a_file_that_can_have_no_log_is_told_to_be_moved_away(
    manager: BackupManager, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = manager.backup_database().key
    before = changed(path)

    class WithoutLog(sqlite3.Connection):
        def execute(self, statement: str, *given: object) -> sqlite3.Cursor:  # type: ignore[override]
            return super().execute(statement.replace("journal_mode = WAL", "journal_mode"), *given)

    with closing(sqlite3.connect(path)) as service:
        service.execute("PRAGMA journal_mode = DELETE")
    real = sqlite3.connect
    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", lambda *given, **options: real(*given, **options, factory=WithoutLog))
        with pytest.raises(BackupError, match="move it away and restore again"):
            manager.restore_database(key)
    assert (dumped(path), formers(path)) == (before, [])


def test_other_page_sizes_and_empty_databases_are_swapped_too(manager: BackupManager, path: Path) -> None:
    key, full = manager.backup_database().key, dumped(path)
    for left in path.parent.glob("cashflow.db*"):
        left.unlink()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("VACUUM")
        connection.execute("PRAGMA user_version = 7")
    empty, nothing = manager.backup_database().key, dumped(path)
    former = manager.restore_database(key).former
    assert dumped(path) == full
    assert former is not None
    assert manager.database().formers() == [former]
    assert dumped(Path(former)) == nothing
    former = manager.restore_database(empty).former
    assert former is not None
    assert (dumped(path), dumped(Path(former))) == (nothing, full)


def test_what_a_killed_backup_left_is_removed_by_the_next(manager: BackupManager, path: Path) -> None:
    left = path.parent / "cashflow.db.tmp-backup-killed"
    left.mkdir()
    (left / "copy.db").write_bytes(b"all of the database")
    manager.backup_database()
    assert not left.exists()

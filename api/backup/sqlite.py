"""Copies of the SQLite default, taken and put back through SQLite's online backup interface.

A copy is of one moment while the service goes on writing. It passes through a file in a folder of its own, since the
interface writes pages in any order.

A restore is copied into the live file by the same interface, in one transaction: a killed one is rolled back by whoever
opens the file next, and the connections of a running service see the restored contents. The file is not replaced under
its name, since a service that has it open would go on writing to the one that is gone, whose log lies beside the name.
What the live file held is copied while that transaction keeps writers out, and gets its name when it is on disk: so
every write that a service was told is done is in one of the two.
"""

import fcntl
import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from api.backup import unfinished
from api.backup.contents import digest_of
from api.backup.errors import BackupBusy, BackupError, ContentsDiffer, Unusable
from api.backup.manifest import Contents, Manifest, TableMark, moment
from api.backup.postgres import Dump, Restored
from api.storage.folder import sync_folder

PIECE = 1024 * 1024
PAGES = 1024
BUSY_SECONDS = 60
BESIDE = ("-wal", "-shm", "-journal")


class SqliteDatabase:
    """One SQLite database file, there or still to be restored."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return self.path.stem

    def formers(self) -> list[str]:
        """The files that restores kept and nobody has deleted yet, oldest first."""
        return found_beside(self.path, "before")

    @contextmanager
    def locked(self) -> Iterator["LockedSqlite"]:
        """The database while nothing else backs it up or restores it. Raises BackupBusy where something does."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with Path(f"{self.path}.backup-lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BackupBusy(f"another backup or restore of {str(self.path)!r} is running") from error
            yield LockedSqlite(self.path)


class LockedSqlite:
    """A database file that no other backup or restore touches."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return self.path.stem

    @contextmanager
    def dump(self) -> Iterator[Dump]:
        """A copy of the database and what it holds, of one moment."""
        if not self.path.is_file():
            raise BackupError(f"there is no database at {str(self.path)!r}")
        with self.folder("backup") as folder:
            copy = folder / "copy.db"
            with translated(), closing(opened(self.path)) as live, closing(opened(copy)) as target:
                live.backup(target, pages=PAGES)
                # In the mode of the live file the copy would need files beside it.
                target.execute("PRAGMA journal_mode = DELETE")
            dump = Dump("sqlite", sqlite3.sqlite_version, sqlite3.sqlite_version)
            with translated():
                dump.contents = contents_of(copy)
            dump.chunks = pieces(copy)
            yield dump

    def still_locked(self) -> None:
        """The lock is the process's own and cannot be lost."""

    @contextmanager
    def scratch(self, word: str) -> Iterator[Restored]:
        """The path of a scratch database, removed with the block."""
        with self.folder(word) as folder:
            yield Restored(str(folder / "scratch.db"))

    @contextmanager
    def folder(self, word: str) -> Iterator[Path]:
        """A folder beside the database, removed with the block. What a killed process left of the kind goes first."""
        prefix = f"{self.path.name}.tmp-{word}-"
        for left in self.path.parent.glob(f"{prefix}*"):
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=self.path.parent) as folder:
            yield Path(folder)

    def fill(self, restored: Restored, chunks: Iterable[bytes], manifest: Manifest, contents: Contents) -> None:
        """Writes the archived file."""
        handle = os.open(restored.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with translated(), os.fdopen(handle, "wb") as out:
            for chunk in chunks:
                out.write(chunk)

    def fill_plain(self, restored: Restored, chunks: Iterable[bytes]) -> int:
        raise Unusable("plain .sql archives are restored into PostgreSQL; DATABASE_URL names an SQLite file")

    def compare(self, restored: Restored, contents: Contents) -> None:
        """Raises ContentsDiffer where the scratch database is damaged or not what was backed up."""
        with translated():
            with closing(opened(Path(restored.name))) as connection:
                found = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
            now = contents_of(Path(restored.name))
        for name in sorted(contents.tables.keys() | now.tables.keys()):
            if contents.tables.get(name) != now.tables.get(name):
                found.append(f"table {name} is not what it was")
        if contents.names != now.names:
            found.append("tables, indexes, triggers or views are not what they were")
        if found:
            raise ContentsDiffer(found)

    def end_unfinished(self, restored: Restored) -> None:
        """Ends the jobs of backups that the scratch database holds as under way."""
        with translated(), closing(opened(Path(restored.name))) as connection:
            if connection.execute(unfinished.SQLITE_TABLE).fetchone()[0] == len(unfinished.COLUMNS):
                now = f"'{moment():%Y-%m-%d %H:%M:%S}.000000'"
                ended = connection.execute(unfinished.ending(unfinished.TABLE, now)).fetchall()
                restored.notes += unfinished.noted(len(ended))

    def swap(self, restored: Restored) -> str | None:
        """The copy of what the live file held, now that the restored contents are in it; none if there was no file."""
        scratch = Path(restored.name)
        with translated():
            if self.path.exists():
                return self.overwritten(scratch)
            # The log of a file that is gone would be taken for the new one's.
            for tail in BESIDE:
                Path(f"{self.path}{tail}").unlink(missing_ok=True)
            renamed(scratch, self.path)
        return None

    def overwritten(self, scratch: Path) -> str:
        """The copy of what the live file held, now that the scratch file was copied into it in one transaction."""
        former, partial = Path(self.free_name()), scratch.with_name("former.db")

        def keep(status: int, left: int, pages: int) -> None:
            """Called after each page: from the first one on nobody else can write, and readers see what was there."""
            if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                # SQLite has waited by then, and Python would go on for ever.
                raise BackupError(f"{str(self.path)!r} was written to for {BUSY_SECONDS} seconds on end")
            if not former.exists():
                with closing(opened(self.path)) as reader, closing(opened(partial)) as copy:
                    reader.backup(copy)
                    copy.execute("PRAGMA journal_mode = DELETE")
                renamed(partial, former)

        with closing(opened(scratch)) as source, closing(opened(self.path)) as live:
            # Readers and the copy go on only beside a log; the service works with one too.
            if live.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
                message = (
                    "cannot have a log beside it, under which it would be replaced; move it away and restore again"
                )
                raise BackupError(f"{str(self.path)!r} {message}")
            live.execute("PRAGMA synchronous = FULL")
            fit(source, live)
            try:
                source.backup(live, pages=1, progress=keep)
            except (sqlite3.Error, OSError, BackupError):
                # Not for an interruption: it may come when the last page is in and the transaction has ended.
                former.unlink(missing_ok=True)
                raise
        return str(former)

    def free_name(self) -> str:
        """A path that nothing is at, such as cashflow.db.before_20261125010203."""
        when = moment()
        while Path(name := f"{self.path}.before_{when:%Y%m%d%H%M%S}").exists():
            when += timedelta(seconds=1)
        return name

    def drop(self, name: str) -> None:
        with translated():
            Path(name).unlink(missing_ok=True)

    def found_beside(self, word: str) -> list[str]:
        """What earlier restores kept."""
        return found_beside(self.path, word)


@contextmanager
def translated() -> Iterator[None]:
    """Raises BackupError for what SQLite and the file system raise."""
    try:
        yield
    except sqlite3.Error as error:
        raise BackupError(f"SQLite refuses: {error}") from error
    except OSError as error:
        raise BackupError(f"the file system refuses: {error}") from error


def renamed(path: Path, target: Path) -> None:
    """Gives a file that no connection has open another name, under which it is whole whenever it is seen."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(path, target)
    sync_folder(target.parent)


def fit(source: sqlite3.Connection, live: sqlite3.Connection) -> None:
    """Makes a scratch database one that can be copied page by page into the live one."""
    (size,) = live.execute("PRAGMA page_size").fetchone()
    if source.execute("PRAGMA page_size").fetchone() != (size,):
        source.execute(f"PRAGMA page_size = {size}")
        source.execute("VACUUM")
    if source.execute("PRAGMA page_count").fetchone() == (1,):
        # The first page must not be the last one, with which the transaction ends: a free page comes after it.
        source.execute("CREATE TABLE cashflow_page (x)")
        source.execute("DROP TABLE cashflow_page")


def opened(path: Path) -> sqlite3.Connection:
    """A connection to a file, which is readable by its owner alone if it is made now."""
    # Never opened beside SQLite once it exists: closing any descriptor of a file gives up the process's locks on it,
    # and with them those that keep other processes from deleting the log of a service that writes to it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)


def found_beside(path: Path, word: str) -> list[str]:
    """The files of that form that are there, oldest first."""
    return sorted(str(found) for found in path.parent.glob(f"{path.name}.{word}_*"))


def pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def contents_of(path: Path) -> Contents:
    """What an SQLite database holds; each table's mark is the sum of the SHA-256 of its rows."""
    with closing(opened(path)) as connection:
        schema = list(connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master"))
        marks = {}
        for kind, name, sql in schema:
            if kind == "table" and not sql.upper().startswith("CREATE VIRTUAL"):
                marks[name] = mark_of(connection, name)
        return Contents(tables=marks, names={"schema": digest_of("\t".join(row) for row in schema)})


def mark_of(connection: sqlite3.Connection, table: str) -> TableMark:
    shown = '"' + table.replace('"', '""') + '"'
    rows, total = 0, 0
    for row in connection.execute(f"SELECT * FROM {shown}"):
        rows += 1
        total += int.from_bytes(hashlib.sha256(repr(row).encode()).digest()[:16], "big")
    return TableMark(rows, str(total))

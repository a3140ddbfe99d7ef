"""The database: an engine for one event loop, transactions, and migrations.

`async with database.write() as connection` is one transaction, committed at its end; `read()` sees one state of the
database on SQLite, and each statement's latest on PostgreSQL. Query functions take the connection and the owner.
"""

import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from api import metrics
from api.settings import Settings
from api.storage.errors import NoMigration

MIGRATIONS = "api.storage:migrations"
# Any number, the same in every process: who migrates holds this lock.
MIGRATION_LOCK = 4_210_772_001
BUSY_MILLISECONDS = 15_000
AFTER_COMMIT = "after_commit"
# SQLite's writers wait for one another in any case; readers need a few connections.
SQLITE_POOL = 5


class Database:
    """The engine of the event loop that first uses it. One a loop: neither asyncpg nor aiosqlite can be shared."""

    def __init__(self, url: str, *, pool_size: int = 5, max_overflow: int = 10) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": max_overflow, "pool_pre_ping": True}
        if self.is_sqlite:
            options = {"pool_size": SQLITE_POOL, "max_overflow": 0, "connect_args": {"factory": RollingBack}}
        else:
            options |= {"pool_recycle": 1800, "connect_args": {"timeout": 10, "command_timeout": 60}}
        self.engine: AsyncEngine = create_async_engine(self.url, **options)
        metrics.watch_pool(self.engine.sync_engine.pool)
        if self.is_sqlite:
            event.listen(self.engine.sync_engine, "connect", prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", begin_sqlite)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Database":
        return cls(
            settings.used_database_url,
            pool_size=settings.database_pool_size,
            max_overflow=settings.database_max_overflow,
        )

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that commits at the end of the block and rolls back on an error."""
        async with self.engine.begin() as connection:
            told = connection.info[AFTER_COMMIT] = []
            yield connection
        for tell in told:
            tell()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for queries alone; on SQLite it does not wait for writers."""
        async with self.engine.connect() as connection:
            yield await connection.execution_options(read_only=True)

    async def ping(self) -> None:
        """Returns where the database answers; raises what SQLAlchemy or the driver raises where it does not."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def migrate(self, revision: str = "head") -> str:
        """The revision at which the schema is, now that it was brought to the one asked for, the newest by default.

        Several processes may call it at once. Raises NoMigration for a revision that is unknown or before the present
        one: there is no way back but a backup.
        """
        if self.is_sqlite and self.url.database:
            Path(self.url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with self.engine.begin() as connection:
            if not self.is_sqlite:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
            return await connection.run_sync(upgrade, revision)

    async def is_current(self) -> bool:
        """Whether the schema is at the newest revision."""
        async with self.read() as connection:
            return (
                await connection.run_sync(revision_of)
                == ScriptDirectory.from_config(alembic_config()).get_current_head()
            )

    async def dispose(self) -> None:
        """Closes the connections."""
        await self.engine.dispose()


def after_commit(connection: AsyncConnection, tell: Callable[[], None]) -> None:
    """Calls `tell` once the transaction has committed: what is rolled back or tried again must not be counted."""
    connection.info[AFTER_COMMIT].append(tell)


class RollingBack(sqlite3.Connection):
    """A connection that gives its locks up when it is closed.

    SQLite keeps a closed connection, its transaction included, while a cursor of it has rows to read, and that of a
    cancelled task may live until Python looks for garbage: every other writer would wait so long.
    """

    def close(self) -> None:
        """Rolls back what is not committed, then closes."""
        with suppress(sqlite3.Error):
            self.rollback()
        super().close()


def prepare_sqlite(connection: Any, record: object) -> None:
    """A new connection: transactions are begun by us, readers do not block, foreign keys hold."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
    begin_log(cursor)
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def begin_log(cursor: Any) -> None:
    """Has the file keep a log, beside which readers do not block; the file remembers it.

    SQLite does not wait where several make a new file do so at once, but refuses all but one of them straight away.
    """
    until = time.monotonic() + BUSY_MILLISECONDS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.005)


def begin_sqlite(connection: Connection) -> None:
    """Writers take their lock at once: one that had read first could not wait for another's."""
    mode = "DEFERRED" if connection.get_execution_options().get("read_only") else "IMMEDIATE"
    connection.exec_driver_sql(f"BEGIN {mode}")


def alembic_config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection, revision: str) -> str:
    """The revision that the schema has been brought to. Raises NoMigration."""
    config = alembic_config(connection)
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]
    if revision != "head" and revision not in known:
        raise NoMigration(f"the revision is {revision!r}; expected head or one of {', '.join(known)}")
    target = known[-1] if revision == "head" else revision
    present = revision_of(connection)
    if present is not None and present not in known:
        message = f"the database is at revision {present!r}, of a newer release; this one knows {', '.join(known)}"
        raise NoMigration(message)
    if present is not None and known.index(present) > known.index(target):
        message = (
            f"the database is at revision {present}, past {target}, and there is no way back; restore a backup of then"
        )
        raise NoMigration(message)
    command.upgrade(config, target)
    return target


def revision_of(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


def new_id(kind: str) -> str:
    """A new id, such as run_6f0c...: nobody can guess one."""
    return f"{kind}_{secrets.token_hex(12)}"

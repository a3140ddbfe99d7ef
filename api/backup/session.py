"""Connections to PostgreSQL for blocking code: asyncpg in a loop of its own thread."""

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

import asyncpg

from api.backup.clients import Target
from api.backup.errors import BackupError

T = TypeVar("T")
# Limits that a server may set for everybody would end a long dump; texts of values must not depend on defaults.
SESSION = {
    "application_name": "cashflow backup",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "row_security": "off",
    "search_path": "pg_catalog",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "tcp_keepalives_idle": "30",
}


class Loop:
    """An event loop in a thread, for as long as the block lasts."""

    def __enter__(self) -> "Loop":
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="backup-session", daemon=True)
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The outcome of a coroutine. Raises BackupError where the database refuses or cannot be reached."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self.loop).result()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise BackupError(f"the database refuses: {error}") from error
        except (OSError, TimeoutError) as error:
            raise BackupError(f"the database cannot be reached: {error}") from error


class Session:
    """A connection to one database, closed with the block."""

    def __init__(self, loop: Loop, target: Target) -> None:
        self.loop, self.target = loop, target

    def __enter__(self) -> "Session":
        self.connection: asyncpg.Connection[Any] = self.loop.run(connected(self.target))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.loop.run(self.connection.close(timeout=5))
        except BackupError:
            self.connection.terminate()

    def rows(self, query: str, *values: object) -> list[Any]:
        return list(self.loop.run(self.connection.fetch(query, *values)))

    def value(self, query: str, *values: object) -> Any:
        return self.loop.run(self.connection.fetchval(query, *values))

    def execute(self, *statements: str) -> None:
        for statement in statements:
            self.loop.run(self.connection.execute(statement))


async def connected(target: Target) -> "asyncpg.Connection[Any]":
    """A connection to the target, with the session set up so that values read alike everywhere."""
    return await asyncpg.connect(
        host=target.host,
        port=target.port,
        user=target.user,
        password=target.password or None,
        database=target.database,
        ssl=target.sslmode or None,
        timeout=30,
        statement_cache_size=0,  # a pooler in transaction mode would mix prepared statements up
        server_settings=SESSION,
    )


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal (standard_conforming_strings, on since PostgreSQL 9.1)."""
    return "'" + text.replace("'", "''") + "'"

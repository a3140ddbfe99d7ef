"""SQLite's locks: waited for, and given up whatever becomes of the task that took them."""

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from api.storage import database as storage
from api.storage.database import Database


async def test_a_connection_closed_in_a_transaction_leaves_no_lock_though_a_cursor_has_rows_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a cancelled task leaves it: its traceback holds the cursor until Python looks for garbage."""
    monkeypatch.setattr(storage, "BUSY_MILLISECONDS", 300)
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'test.db'}")
    async with database.engine.connect() as cancelled:
        begun = await cancelled.begin()
        raw = await cancelled.get_raw_connection()
        assert raw.driver_connection is not None
        await raw.driver_connection.execute("CREATE TABLE half (a)")
        unread = await raw.driver_connection.execute("SELECT 1 UNION ALL SELECT 2")
        await cancelled.invalidate()
        await begun.close()
    async with database.write() as connection:
        tables = await connection.execute(text("SELECT name FROM sqlite_master"))
        assert tables.all() == []
    assert unread
    await database.dispose()


def test_many_that_open_a_new_file_at_once_wait_for_one_another(tmp_path: Path) -> None:
    def prepare(path: Path, together: threading.Barrier) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        together.wait()
        try:
            storage.prepare_sqlite(connection, None)
            modes.append(connection.execute("PRAGMA journal_mode").fetchone()[0])
        except sqlite3.Error as error:
            modes.append(str(error))
        connection.close()

    modes: list[str] = []
    for number in range(100):
        together = threading.Barrier(6)
        threads = [
            threading.Thread(target=prepare, args=(tmp_path / f"{number}.db", together))
            for _ in range(together.parties)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert modes == ["wal"] * 600

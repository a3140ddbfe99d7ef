"""Pages of a listing by keyset: newest first, by time of creation and id, stable while rows come and go."""

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Generic, TypeVar

import msgspec
from sqlalchemy import Row, Select, Table, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from api.storage.errors import BadCursor, BadRequest
from api.storage.texts import character_fault

T = TypeVar("T")
MAX_PAGE = 100
DEFAULT_PAGE = 50


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Items, the cursor of each, and whether more follow. next_cursor: `after` of the next page, none on the last."""

    items: list[T]
    cursors: list[str]
    has_more: bool

    @property
    def next_cursor(self) -> str | None:
        return self.cursors[-1] if self.has_more else None


def encode_cursor(created_at: datetime, id: str) -> str:
    """An opaque cursor for the row of that time and id."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode((created_at.isoformat(), id))).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[datetime, str]:
    """The time and id in a cursor. Raises BadCursor."""
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        at, id = msgspec.msgpack.decode(raw, type=tuple[datetime, str])
        if at.tzinfo is None or character_fault(id):
            raise BadCursor(f"the cursor is {cursor[:80]!r}; expected one that a listing gave")
        return at.astimezone(UTC), id
    except (ValueError, OverflowError, binascii.Error, UnicodeEncodeError, msgspec.DecodeError) as error:
        raise BadCursor(f"the cursor is {cursor[:80]!r}; expected one that a listing gave") from error


async def page_of(
    connection: AsyncConnection,
    query: Select[tuple[object, ...]],
    table: Table,
    make: Callable[[Row[tuple[object, ...]]], T],
    *,
    after: str | None = None,
    limit: int = DEFAULT_PAGE,
) -> Page[T]:
    """One page of the query on the table, newest first. Raises BadCursor, BadRequest for a limit out of range."""
    if not 1 <= limit <= MAX_PAGE:
        raise BadRequest("limit", f"is {limit}; expected 1 to {MAX_PAGE}")
    if after is not None:
        query = query.where(tuple_(table.c.created_at, table.c.id) < decode_cursor(after))
    query = query.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(limit + 1)
    rows = (await connection.execute(query)).all()
    shown = rows[:limit]
    return Page(
        items=[make(row) for row in shown],
        cursors=[encode_cursor(row.created_at, row.id) for row in shown],
        has_more=len(rows) > limit,
    )

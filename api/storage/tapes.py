"""Stored tapes: the row, and the loans as Parquet in the object store.

The object is written before the row and deleted after it, so a row always has its loans; an object without a row is
swept up later (api.jobs).
"""

import asyncio
from collections.abc import Iterator

import msgspec
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

import engine
from api.storage.database import Database, new_id, now
from api.storage.errors import Conflict, NotFound, StaleVersion
from api.storage.objects import ObjectStore
from api.storage.pages import DEFAULT_PAGE, Page, page_of
from api.storage.rows import StoredTape, TapeProfile
from api.storage.tables import FINAL_STATES, runs, tapes
from api.storage.tape_parquet import Profiler, parquet_stream


async def create_tape(
    database: Database,
    store: ObjectStore,
    owner: str,
    name: str,
    batches: Iterator[engine.Tape],
    max_loans: int | None = None,
) -> StoredTape:
    """The tape, stored. batches: of tape_parquet.ROW_GROUP loans (iter_tape's batch_size), read in a thread.

    Raises TapeError or TapeFileError with what is wrong, by row, TooLarge beyond max_loans; nothing is stored then.
    """
    id, profiler, at = new_id("tape"), Profiler(max_loans), now()
    key = f"tapes/{id}.parquet"
    stored = await asyncio.to_thread(store.put_stream, key, parquet_stream(batches, profiler))
    profile = profiler.profile()
    row = StoredTape(
        id=id, owner=owner, name=name, version=1, loans=profile.loans, loan_months=profile.loan_months,
        balance=profile.balance, profile=profile, row_groups=profiler.row_groups, object_key=key,
        size=stored.size, sha256=stored.sha256, created_at=at, updated_at=at,
    )  # fmt: skip
    texts = {name: msgspec.json.encode(getattr(row, name)).decode() for name in ("profile", "row_groups")}
    values = msgspec.structs.asdict(row) | texts
    async with database.write() as connection:
        await connection.execute(insert(tapes).values(values))
    return row


async def get_tape(connection: AsyncConnection, owner: str, id: str) -> StoredTape:
    """The owner's tape. Raises NotFound."""
    row = (await connection.execute(select(tapes).where(tapes.c.owner == owner, tapes.c.id == id))).one_or_none()
    if row is None:
        raise NotFound("tape", id)
    return tape_of(row)


async def list_tapes(
    connection: AsyncConnection, owner: str, *, after: str | None = None, limit: int = DEFAULT_PAGE
) -> Page[StoredTape]:
    """A page of the owner's tapes, newest first. Raises BadCursor."""
    return await page_of(
        connection, select(tapes).where(tapes.c.owner == owner), tapes, tape_of, after=after, limit=limit
    )


async def rename_tape(
    connection: AsyncConnection, owner: str, id: str, name: str, expected_version: int | None = None
) -> StoredTape:
    """The tape under its new name. Raises NotFound, StaleVersion."""
    await check_version(connection, owner, id, expected_version)
    change = update(tapes).where(tapes.c.owner == owner, tapes.c.id == id)
    await connection.execute(change.values(name=name, version=tapes.c.version + 1, updated_at=now()))
    return await get_tape(connection, owner, id)


async def delete_tape(
    database: Database, store: ObjectStore, owner: str, id: str, expected_version: int | None = None
) -> None:
    """Deletes a tape. Raises NotFound, StaleVersion, Conflict while there are runs on it."""
    async with database.write() as connection:
        tape = await check_version(connection, owner, id, expected_version)
        of_tape = select(func.count()).select_from(runs).where(runs.c.tape_id == id)
        if active := await connection.scalar(of_tape.where(runs.c.state.not_in(FINAL_STATES))):
            raise Conflict(f"tape {id!r} has {active} runs that are not finished; cancel them or wait")
        if kept := await connection.scalar(of_tape):
            raise Conflict(f"tape {id!r} has {kept} runs; delete them first")
        try:
            await connection.execute(delete(tapes).where(tapes.c.owner == owner, tapes.c.id == id))
        except IntegrityError as error:  # a run was accepted meanwhile
            raise Conflict(f"tape {id!r} has a run that was just accepted") from error
    await asyncio.to_thread(store.delete, tape.object_key)


async def check_version(connection: AsyncConnection, owner: str, id: str, expected_version: int | None) -> StoredTape:
    """The tape, held until the transaction ends. Raises NotFound, StaleVersion."""
    query = select(tapes).where(tapes.c.owner == owner, tapes.c.id == id).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound("tape", id)
    if expected_version is not None and row.version != expected_version:
        raise StaleVersion("tape", id, expected_version, row.version)
    return tape_of(row)


def tape_of(row: Row[tuple[object, ...]]) -> StoredTape:
    values = dict(row._mapping)
    profile = msgspec.json.decode(values["profile"], type=TapeProfile)
    return StoredTape(**values | {"profile": profile, "row_groups": msgspec.json.decode(values["row_groups"])})

"""Runs as the API sees them: accepted, read, listed, cancelled, deleted, run again.

A run and its shards are written in one transaction, before any message is sent: the rows are the outbox. Whatever
ends a run goes through `finish`, which one caller alone can win.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, Select, bindparam, case, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from api import metrics
from api.correlation import correlation_id
from api.storage.database import Database, after_commit, new_id, now
from api.storage.errors import BadRequest, Conflict, NotFound
from api.storage.objects import ObjectStore
from api.storage.pages import DEFAULT_PAGE, Page, page_of
from api.storage.rows import Delivery, Run, RunError, RunInput, RunRequest, RunState, StoredTape
from api.storage.run_inputs import cells_of, check, fields_of, heading_from, pinned, readable, stored
from api.storage.sharding import Shard, shards_of
from api.storage.tables import FINAL_STATES, STATES, idempotency, results, run_shards, runs, webhook_deliveries
from api.storage.tapes import get_tape
from api.storage.texts import MAX_KEY, text_fault, unstorable
from engine.errors import AssumptionError, Problem

# Most numbers of a result, and of a column of one scenario where that has a bound.
Most = tuple[int, int | None]
# What a listing reads of a run. Its request and scenarios may be large: they are read for rows without a heading alone.
SHOWN = [each for each in runs.c if each.name not in ("request", "scenarios", "correlation_id")]
INSERTED = ("id", "owner", "tape_id", "state", "version", "shards", "loan_months_total", "created_at")
DELIVERY = [webhook_deliveries.c[name].label(f"webhook_{name}") for name in Delivery.__struct_fields__]


async def accept_run(
    database: Database,
    owner: str,
    request: RunRequest,
    *,
    max_cells: int,
    max_column: int | None = None,
    idempotency_key: str | None = None,
) -> Run:
    """The run, queued, or the one that the same key made before.

    max_cells: most numbers in its result; max_column: in a column of one scenario, so that it can be read. Raises
    NotFound for the tape or a scenario, AssumptionError with every fault of the rest, Conflict where the key came with
    another request before.
    """

    encoded = msgspec.json.encode(request)
    if problems := unstorable(encoded):
        raise AssumptionError(problems)

    async def wanted(connection: AsyncConnection) -> RunInput:
        scenarios = await pinned(connection, owner, request)
        check(request, scenarios)
        return RunInput(request=request, scenarios=scenarios)

    return await once(database, owner, encoded, wanted, (max_cells, max_column), idempotency_key)


async def rerun(
    database: Database,
    owner: str,
    id: str,
    *,
    max_cells: int,
    max_column: int | None = None,
    idempotency_key: str | None = None,
    allowed: Callable[[RunRequest], None] = lambda request: None,
) -> Run:
    """A new run of the same tape, with the same request and the scenarios as they were pinned.

    allowed: raises for a request that is not taken any more. Raises NotFound, and what accept_run raises.
    """

    async def wanted(connection: AsyncConnection) -> RunInput:
        found = await input_of(connection, owner, id)
        allowed(found.request)
        return found

    return await once(database, owner, b"rerun " + id.encode(), wanted, (max_cells, max_column), idempotency_key)


async def once(
    database: Database,
    owner: str,
    asked: bytes,
    wanted: Callable[[AsyncConnection], Awaitable[RunInput]],
    most: Most,
    key: str | None,
) -> Run:
    """The run that was made for the key before, or a new one. asked: what must be the same for the same key."""
    if key is not None and (fault := text_fault(key, 1, MAX_KEY)) is not None:
        raise BadRequest("idempotency_key", fault)
    digest = hashlib.sha256(asked).hexdigest()
    for attempt in range(3):
        try:
            async with database.write() as connection:
                if key is not None and (before := await made_before(connection, owner, key, digest)) is not None:
                    return before
                return await accept(connection, owner, await wanted(connection), most, key, digest)
        except IntegrityError as error:
            # Another request with the key was faster, or the tape was deleted meanwhile: the next look tells which.
            if attempt == 2:
                raise Conflict("the run collides with another request; try again") from error
    raise AssertionError("unreachable")


async def made_before(connection: AsyncConnection, owner: str, key: str, digest: str) -> Run | None:
    """The run that the key made. Raises Conflict where it came with something else."""
    query = select(idempotency).where(idempotency.c.owner == owner, idempotency.c.key == key)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    if row.request_hash != digest:
        raise Conflict(f"the idempotency key {key!r} came with another request before")
    return await get_run(connection, owner, row.run_id)


async def accept(
    connection: AsyncConnection, owner: str, wanted: RunInput, most: Most, key: str | None, digest: str
) -> Run:
    tape = await get_tape(connection, owner, wanted.request.tape_id)
    if tape.loans == 0:  # stored by a release that took such tapes
        raise BadRequest("tape_id", "names a tape without loans; expected at least one")
    run_id = new_id("run")
    if key is not None:
        values = {"owner": owner, "key": key, "request_hash": digest, "run_id": run_id, "created_at": now()}
        await connection.execute(insert(idempotency).values(**values))
    return await insert_run(connection, owner, run_id, tape, wanted, most)


async def insert_run(
    connection: AsyncConnection,
    owner: str,
    run_id: str,
    tape: StoredTape,
    wanted: RunInput,
    most: Most,
) -> Run:
    """The run whose row and shards this writes. Raises AssumptionError where its result would be too large."""
    request, scenarios = wanted.request, wanted.scenarios
    max_cells, max_column = most
    cells = cells_of(tape, request, scenarios)
    if cells * len(scenarios) > max_cells:
        message = f"asks for {cells * len(scenarios):,} numbers at most; expected up to {max_cells:,}: choose fewer"
        raise AssumptionError([Problem("fields", message)])
    column = cells // len(fields_of(request.fields))
    if max_column is not None and column > max_column:
        message = f"has columns of {column:,} numbers at most; expected up to {max_column:,}, which are read at once"
        raise AssumptionError([Problem("level", message)])
    shards = shards_of(tape, len(scenarios), cells)
    run = Run(
        id=run_id, owner=owner, tape_id=tape.id, state="queued", version=1,
        scenarios=[each.name for each in scenarios], fields=request.fields, level=request.level,
        shards=len(shards), shards_done=0, loan_months_total=tape.loan_months * len(scenarios), loan_months_done=0,
        error=None, opening_balance=None, periods=None, groups=[], created_at=now(), started_at=None,
        finished_at=None, webhook=None,
    )  # fmt: skip
    row = {name: getattr(run, name) for name in INSERTED} | stored(request, scenarios)
    await connection.execute(insert(runs).values(**row, correlation_id=correlation_id()))
    fold = Shard(len(shards), 0, 0, 0, len(scenarios), 0)
    rows = [shard_row(owner, run_id, shard, "queued") for shard in shards]
    await connection.execute(insert(run_shards), [*rows, shard_row(owner, run_id, fold, "waiting")])
    return run


def shard_row(owner: str, run_id: str, shard: Shard, state: str) -> dict[str, Any]:
    return {**msgspec.structs.asdict(shard), "run_id": run_id, "owner": owner, "state": state}


async def get_run(connection: AsyncConnection, owner: str, id: str) -> Run:
    """The owner's run. Raises NotFound."""
    row = (await connection.execute(ONE, {"owner": owner, "id": id})).one_or_none()
    if row is None:
        raise NotFound("run", id)
    running = row.state == "running"
    return run_of(row, await months_done(connection, id) if running else row.loan_months_done)


async def request_of(connection: AsyncConnection, owner: str, id: str) -> msgspec.Raw:
    """The request of the owner's run as it was stored, JSON. Raises NotFound."""
    query = select(runs.c.request).where(runs.c.owner == owner, runs.c.id == id)
    text = await connection.scalar(query)
    if text is None:
        raise NotFound("run", id)
    return msgspec.Raw(text.encode())


async def input_of(connection: AsyncConnection, owner: str, id: str) -> RunInput:
    """What the owner's run projects. Raises NotFound, Conflict where it cannot be read any more."""
    query = select(runs.c.request, runs.c.scenarios).where(runs.c.owner == owner, runs.c.id == id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound("run", id)
    return readable(id, row.request, row.scenarios)


def shown() -> Select[Any]:
    """The query for runs as listings show them."""
    older = [case((runs.c.heading.is_(None), runs.c[name])).label(name) for name in ("request", "scenarios")]
    joined = runs.outerjoin(webhook_deliveries, webhook_deliveries.c.run_id == runs.c.id)
    return select(*SHOWN, *older, *DELIVERY).select_from(joined)


# Built once, as the most frequent of all: building it takes as long as running it.
ONE = shown().where(runs.c.owner == bindparam("owner"), runs.c.id == bindparam("id"))


async def months_done(connection: AsyncConnection, id: str) -> int:
    """The loan-months done so far, over all shards."""
    done = select(run_shards.c.loan_months_done).where(run_shards.c.run_id == id)
    return sum((await connection.execute(done)).scalars())


async def list_runs(
    connection: AsyncConnection,
    owner: str,
    *,
    after: str | None = None,
    limit: int = DEFAULT_PAGE,
    states: Sequence[RunState] | None = None,
    tape_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Page[Run]:
    """A page of the owner's runs, newest first, those that pass every filter. Raises BadCursor, BadRequest."""
    query = shown().where(runs.c.owner == owner)
    if states is not None:
        if unknown := [state for state in states if state not in STATES]:
            raise BadRequest("states", f"has {unknown[0]!r}; expected some of {', '.join(STATES)}")
        query = query.where(runs.c.state.in_(states))
    if tape_id is not None:
        query = query.where(runs.c.tape_id == tape_id)
    if created_from is not None:
        query = query.where(runs.c.created_at >= created_from)
    if created_before is not None:
        query = query.where(runs.c.created_at < created_before)
    return await page_of(connection, query, runs, run_of, after=after, limit=limit)


async def cancel_run(connection: AsyncConnection, owner: str, id: str) -> Run:
    """The run, cancelled at once; what its workers still do is never committed.

    Raises NotFound, Conflict where it has ended in another way.
    """
    await get_run(connection, owner, id)
    won = await finish(connection, id, "cancelled")
    run = await get_run(connection, owner, id)
    if not won and run.state != "cancelled":
        raise Conflict(f"run {id!r} is {run.state}; only runs that are queued or running can be cancelled")
    return run


async def delete_run(database: Database, store: ObjectStore, owner: str, id: str) -> None:
    """Deletes a run and its results. Raises NotFound, Conflict while it is queued or running."""
    async with database.write() as connection:
        run = await get_run(connection, owner, id)
        if not run.is_final:
            raise Conflict(f"run {id!r} is {run.state}; cancel it first")
        kept = select(results.c.object_key).where(results.c.run_id == id, results.c.object_key.is_not(None)).distinct()
        keys = list((await connection.execute(kept)).scalars())
        await lock_runs(connection, [id])
        await connection.execute(delete(idempotency).where(idempotency.c.run_id == id))
        await connection.execute(delete(runs).where(runs.c.owner == owner, runs.c.id == id))
    for key in keys:
        await asyncio.to_thread(store.delete, key)


async def finish(
    connection: AsyncConnection, id: str, state: RunState, error: RunError | None = None, **values: Any
) -> bool:
    """Whether this call ended the run: one that has ended stays as it is. Its webhook is queued with it."""
    await lock_runs(connection, [id])
    return await end(connection, id, state, error, **values)


async def end(
    connection: AsyncConnection, id: str, state: RunState, error: RunError | None = None, **values: Any
) -> bool:
    """As `finish`, for who holds the lock of the run."""
    at = now()
    text = None if error is None else msgspec.json.encode(error).decode()
    change = update(runs).where(runs.c.id == id, runs.c.state.not_in(FINAL_STATES))
    done = await months_done(connection, id)
    change = change.values(
        state=state, finished_at=at, error=text, loan_months_done=done, version=runs.c.version + 1, **values
    )
    row = (
        await connection.execute(change.returning(runs.c.owner, runs.c.request, runs.c.started_at, runs.c.created_at))
    ).one_or_none()
    if row is None:
        return False
    seconds = (at - (row.started_at or row.created_at)).total_seconds()
    after_commit(connection, lambda: metrics.record_run(state, seconds))
    await connection.execute(update(run_shards).where(run_shards.c.run_id == id).values(partial=None))
    url = webhook_of(row.request)
    if url is not None:
        body = msgspec.json.encode({"event": f"run.{state}", "run_id": id, "state": state, "finished_at": at}).decode()
        await connection.execute(
            insert(webhook_deliveries).values(
                id=new_id("delivery"), owner=row.owner, run_id=id, url=url, body=body, state="pending", next_at=at,
                created_at=at,
            )
        )  # fmt: skip
    return True


def webhook_of(request: str) -> str | None:
    """The webhook of a stored request, none where it cannot be read any more: its run must end all the same."""
    try:
        return msgspec.json.decode(request, type=Told).webhook_url
    except msgspec.DecodeError:
        return None


class Told(msgspec.Struct, frozen=True):
    """What of a request the end of its run needs."""

    webhook_url: str | None = None


async def lock_runs(connection: AsyncConnection, ids: Collection[str]) -> None:
    """Holds the rows of runs until the transaction ends, those of several always in the same order.

    Whoever changes more than one row of a run, shards among them, takes this lock or changes the run's row first.
    """
    if connection.dialect.name == "sqlite":
        return  # there a transaction that writes is the only one
    query = select(runs.c.id).where(runs.c.id.in_(ids)).order_by(runs.c.id)
    # Not a lock of the key: whatever refers to the run may be written meanwhile.
    await connection.execute(query.with_for_update(key_share=True))


def run_of(row: Row[tuple[object, ...]], loan_months_done: int | None = None) -> Run:
    values = dict(row._mapping)
    heading = heading_from(values["heading"], values["request"] or "{}", values["scenarios"] or "[]")
    delivery = {name: values[f"webhook_{name}"] for name in Delivery.__struct_fields__}
    kept = {name: values[name] for name in Run.__struct_fields__ if name in values}
    return Run(
        **kept
        | {
            "scenarios": heading.scenarios,
            "fields": heading.fields,
            "level": heading.level,
            "error": None if values["error"] is None else msgspec.json.decode(values["error"], type=RunError),
            "groups": [] if values["groups"] is None else msgspec.json.decode(values["groups"]),
            "loan_months_done": values["loan_months_done"] if loan_months_done is None else loan_months_done,
            "webhook": None if delivery["state"] is None else Delivery(**delivery),
        }
    )

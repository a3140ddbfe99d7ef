"""The state machine as workers drive it: take a shard, renew the lease, commit, give back, bury.

A lease lasts until the database's clock passes `lease_until`, and every take raises the shard's fence, so of all that
ever held a shard only the newest can commit. The last shard of a run, numbered as there are shards, is the fold: it
waits until the others are done; beside an only shard, whose sums are the result, it is never due. Locks are taken on
the run first, then on its shards; of several runs by their ids (runs.lock_runs). What changes a single shard and
nothing else needs no lock of its run.
"""

import logging
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, DateTime, Select, and_, bindparam, func, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

import engine
from api import metrics
from api.storage.database import after_commit, now
from api.storage.results import insert_results
from api.storage.rows import RunError, RunRequest
from api.storage.run_inputs import input_from
from api.storage.runs import end, finish, lock_runs
from api.storage.tables import FINAL_STATES, UtcTime, run_shards, runs, tapes

MAX_ATTEMPTS = 3
DEAD = RunError(
    code="worker_lost", message=f"Its worker was lost {MAX_ATTEMPTS} times; the run may need too much memory."
)
UNREADABLE = RunError(
    code="internal", message="What it was asked for is stored in a form that cannot be read any more; submit it again."
)
logger = logging.getLogger("api.storage")


class LeaseLost(Exception):
    """The shard went to another worker, or its run has ended; nothing was written."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A shard that a worker holds, and all that it needs to know to work on it.

    is_only: it is the whole run, and its sums are the result. is_fold: it adds up the others.
    """

    run_id: str
    number: int
    owner: str
    fence: int
    attempts: int
    loan_start: int
    loan_stop: int
    scenario_start: int
    scenario_stop: int
    loan_months: int
    is_only: bool
    is_fold: bool
    request: RunRequest
    scenarios: list[engine.Scenario]
    object_key: str
    correlation_id: str | None


def moment(connection: AsyncConnection, seconds: float = 0.0) -> ColumnElement[datetime]:
    """The database's time so many seconds from now: the clocks of machines that share PostgreSQL may differ."""
    if connection.dialect.name == "postgresql":
        return func.clock_timestamp(type_=DateTime(timezone=True)) + timedelta(seconds=seconds)
    return literal(now() + timedelta(seconds=seconds), UtcTime)


def held(lease: Lease) -> ColumnElement[bool]:
    """Whether the row is the shard of the lease and still held under its fence."""
    shard = run_shards.c
    return and_(
        shard.run_id == lease.run_id,
        shard.number == lease.number,
        shard.fence == lease.fence,
        shard.state == "running",
    )


def taken() -> Select[Any]:
    """The query for a shard and its run, by `run_id` and `number`; it locks the run."""
    run, shard = runs.c, run_shards.c
    joined = runs.join(tapes, tapes.c.id == run.tape_id).join(run_shards, shard.run_id == run.id)
    query = select(
        run.owner, run.state, run.shards, run.request, run.scenarios, run.created_at, run.correlation_id,
        tapes.c.object_key, shard.state.label("shard_state"), shard.loan_start, shard.loan_stop, shard.scenario_start,
        shard.scenario_stop, shard.loan_months,
    )  # fmt: skip
    query = query.select_from(joined).where(run.id == bindparam("run_id"), shard.number == bindparam("number"))
    return query.with_for_update(of=runs)


TAKEN = taken()


async def take(
    connection: AsyncConnection,
    run_id: str,
    number: int,
    worker_id: str,
    lease_seconds: float,
    tells: Callable[[str, int, int], None] = lambda key, start, stop: None,
) -> Lease | None:
    """The lease of a shard, none where it is done, held by another, tried too often, or its run has ended.

    tells: called with the object and the loans of the shard as soon as it is known to be free, before it is taken. A
    run whose stored request cannot be read is ended as failed: no worker will ever read it.
    """
    run = (await connection.execute(TAKEN, {"run_id": run_id, "number": number})).one_or_none()
    if run is None or run.state in FINAL_STATES:
        return None
    if run.shard_state == "queued" and run.loan_stop > run.loan_start:
        tells(run.object_key, run.loan_start, run.loan_stop)
    shard = run_shards.c
    lapsed = and_(shard.state == "running", shard.lease_until < moment(connection))
    mine = and_(shard.run_id == run_id, shard.number == number)
    change = update(run_shards).where(mine, or_(shard.state == "queued", lapsed), shard.attempts < MAX_ATTEMPTS)
    change = change.values(
        state="running", worker_id=worker_id, lease_until=moment(connection, lease_seconds),
        fence=shard.fence + 1, attempts=shard.attempts + 1, loan_months_done=0,
    )  # fmt: skip
    held_now = (await connection.execute(change.returning(shard.fence, shard.attempts))).one_or_none()
    if held_now is None:
        return None
    if run.state == "queued":
        waited = (now() - run.created_at).total_seconds()
        after_commit(connection, lambda: metrics.record_run_start(waited))
        started = {"state": "running", "started_at": now(), "version": runs.c.version + 1}
        await connection.execute(update(runs).where(runs.c.id == run_id).values(**started))
    try:
        wanted = input_from(run.request, run.scenarios)
    except msgspec.DecodeError as error:
        logger.error("run failed: its stored request cannot be read: %s", error, extra={"run_id": run_id})
        await finish(connection, run_id, "failed", UNREADABLE)
        return None
    return Lease(
        run_id=run_id, number=number, owner=run.owner, fence=held_now.fence, attempts=held_now.attempts,
        loan_start=run.loan_start, loan_stop=run.loan_stop, scenario_start=run.scenario_start,
        scenario_stop=run.scenario_stop, loan_months=run.loan_months,
        is_only=number == 0 and run.shards == 1, is_fold=number == run.shards,
        request=wanted.request, scenarios=wanted.scenarios, object_key=run.object_key,
        correlation_id=run.correlation_id,
    )  # fmt: skip


async def renew(connection: AsyncConnection, lease: Lease, lease_seconds: float, loan_months_done: int) -> bool:
    """Whether the lease holds on, with what is done so far told; not where the shard was lost or the run has ended."""
    active = select(runs.c.id).where(runs.c.id == lease.run_id, runs.c.state == "running").exists()
    values = {"lease_until": moment(connection, lease_seconds), "loan_months_done": loan_months_done}
    found = await connection.execute(update(run_shards).where(held(lease), active).values(**values))
    return found.rowcount == 1


async def commit_partial(connection: AsyncConnection, lease: Lease, partial: bytes) -> int | None:
    """The number of the fold where this was the last shard: it is due then. Raises LeaseLost."""
    count = update(runs).where(runs.c.id == lease.run_id, runs.c.state == "running")
    count = count.values(shards_done=runs.c.shards_done + 1, version=runs.c.version + 1)
    run = (await connection.execute(count.returning(runs.c.shards_done, runs.c.shards))).one_or_none()
    done = {"state": "done", "partial": partial, "loan_months_done": lease.loan_months, "lease_until": None}
    found = await connection.execute(update(run_shards).where(held(lease)).values(**done))
    if run is None or found.rowcount != 1:
        raise LeaseLost
    if run.shards_done < run.shards:
        return None
    fold = and_(run_shards.c.run_id == lease.run_id, run_shards.c.number == run.shards)
    await connection.execute(update(run_shards).where(fold).values(state="queued"))
    return int(run.shards)


async def commit_result(
    connection: AsyncConnection, lease: Lease, rows: list[dict[str, object]], values: dict[str, Any]
) -> None:
    """Writes the result and ends the run, in the caller's transaction. Raises LeaseLost."""
    await lock_runs(connection, [lease.run_id])
    done = {"state": "done", "loan_months_done": lease.loan_months, "lease_until": None}
    found = await connection.execute(update(run_shards).where(held(lease)).values(**done))
    if found.rowcount != 1 or not await end(connection, lease.run_id, "succeeded", shards_done=runs.c.shards, **values):
        raise LeaseLost
    await insert_results(connection, lease.owner, rows)


async def partials_of(connection: AsyncConnection, run_id: str, start: int, stop: int) -> list[tuple[int, bytes]]:
    """Of the shards start..stop, in order, the first scenario and the sums. Raises LeaseLost once the run has ended."""
    shard = run_shards.c
    query = select(shard.scenario_start, shard.partial).where(shard.run_id == run_id, shard.partial.is_not(None))
    rows = (await connection.execute(query.where(shard.number.between(start, stop - 1)).order_by(shard.number))).all()
    if len(rows) != stop - start:
        raise LeaseLost
    return [(row.scenario_start, row.partial) for row in rows]


async def give_back(connection: AsyncConnection, lease: Lease, *, counted: bool) -> None:
    """Lets another worker take the shard at once. counted: whether the attempt counts, as one that failed does."""
    attempts = run_shards.c.attempts - (0 if counted else 1)
    values = {"state": "queued", "lease_until": None, "sent_at": None, "attempts": attempts, "loan_months_done": 0}
    await connection.execute(update(run_shards).where(held(lease)).values(**values))


async def postpone(connection: AsyncConnection, lease: Lease, seconds: float) -> None:
    """Has the shard taken again after so many seconds, without counting the attempt: what it needed was away."""
    values = {"lease_until": moment(connection, seconds), "attempts": run_shards.c.attempts - 1}
    await connection.execute(update(run_shards).where(held(lease)).values(**values))


async def fail(connection: AsyncConnection, lease: Lease, state: str, error: RunError) -> bool:
    """Whether the run was ended as failed or dead; not by a worker that has lost the shard."""
    query = select(run_shards.c.number).where(held(lease))
    await lock_runs(connection, [lease.run_id])
    if (await connection.execute(query)).one_or_none() is None:
        return False
    return await finish(connection, lease.run_id, "dead" if state == "dead" else "failed", error)


async def bury(connection: AsyncConnection) -> list[str]:
    """The runs that were ended as dead: a shard of theirs was tried as often as allowed and its lease ran out."""
    shard = run_shards.c
    active = run_shards.join(runs, runs.c.id == shard.run_id)
    query = (
        select(shard.run_id)
        .select_from(active)
        .where(
            runs.c.state.not_in(FINAL_STATES),
            shard.state == "running",
            shard.attempts >= MAX_ATTEMPTS,
            shard.lease_until < moment(connection),
        )
    )
    found = (await connection.execute(query.distinct().order_by(shard.run_id))).scalars().all()
    return [run_id for run_id in found if await finish(connection, run_id, "dead", DEAD)]


def free(connection: AsyncConnection) -> ColumnElement[bool]:
    """Whether a shard is to be worked on and nobody holds it."""
    shard = run_shards.c
    lapsed = and_(shard.state == "running", shard.lease_until < moment(connection))
    return and_(or_(shard.state == "queued", lapsed), shard.attempts < MAX_ATTEMPTS, runs.c.state.not_in(FINAL_STATES))


async def due_shards(
    connection: AsyncConnection, limit: int, *, run_id: str | None = None, sent_before: float | None = None
) -> list[tuple[str, int]]:
    """Run and number of shards that nobody holds, oldest run first.

    sent_before: only those whose last message is that many seconds old; infinity for those that never had one.
    """
    shard = run_shards.c
    query = select(shard.run_id, shard.number).join(runs, runs.c.id == shard.run_id).where(free(connection))
    if sent_before is not None and math.isinf(sent_before):
        query = query.where(shard.sent_at.is_(None))
    elif sent_before is not None:
        query = query.where(shard.sent_at < moment(connection, -sent_before))
    if run_id is not None:
        query = query.where(shard.run_id == run_id)
    query = query.order_by(runs.c.created_at, shard.run_id, shard.number).limit(limit)
    return [(row.run_id, row.number) for row in (await connection.execute(query)).all()]


async def mark_sent(connection: AsyncConnection, found: list[tuple[str, int]]) -> None:
    """Notes that messages for these shards are on their way."""
    await lock_runs(connection, {run_id for run_id, _ in found})
    for run_id, number in found:
        one = and_(run_shards.c.run_id == run_id, run_shards.c.number == number)
        await connection.execute(update(run_shards).where(one).values(sent_at=moment(connection)))


async def waiting(connection: AsyncConnection) -> int:
    """How many shards that nobody holds have had a message."""
    query = select(func.count()).select_from(run_shards.join(runs, runs.c.id == run_shards.c.run_id))
    return await connection.scalar(query.where(free(connection), run_shards.c.sent_at.is_not(None))) or 0

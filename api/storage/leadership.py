"""Who works, and who leads: rows of the service's own."""

from datetime import datetime, timedelta

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from api.storage.database import Database, now
from api.storage.shards import moment
from api.storage.tables import locks, run_shards, runs, workers

# A worker that was not seen for so long is not there.
SEEN_SECONDS = 15.0


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process that is alive: how many shards it works on at a time."""

    id: str
    host: str
    pid: int
    concurrency: int
    started_at: datetime
    seen_at: datetime


async def beat(connection: AsyncConnection, worker: Worker) -> None:
    """Notes that the worker is alive."""
    seen = update(workers).where(workers.c.id == worker.id).values(seen_at=moment(connection))
    if (await connection.execute(seen)).rowcount == 0:
        values = msgspec.structs.asdict(worker) | {"seen_at": moment(connection)}
        await connection.execute(insert(workers).values(values))
    old = select(workers.c.id).where(workers.c.seen_at < moment(connection, -20 * SEEN_SECONDS))
    # Several beats may come upon the same rows in different order; one of them is enough.
    await connection.execute(delete(workers).where(workers.c.id.in_(old.with_for_update(skip_locked=True))))


async def gone(connection: AsyncConnection, id: str) -> None:
    """Notes that a worker has ended."""
    await connection.execute(delete(workers).where(workers.c.id == id))


async def alive(connection: AsyncConnection) -> list[Worker]:
    """The workers that were seen lately."""
    query = select(workers).where(workers.c.seen_at > moment(connection, -SEEN_SECONDS)).order_by(workers.c.id)
    return [Worker(**row._mapping) for row in (await connection.execute(query)).all()]


async def counts(connection: AsyncConnection) -> dict[str, int]:
    """Runs by state, and shards that wait for a worker: figures for health and metrics."""
    rows = (await connection.execute(select(runs.c.state, func.count()).group_by(runs.c.state))).all()
    joined = run_shards.join(runs, runs.c.id == run_shards.c.run_id)
    waiting = select(func.count()).select_from(joined)
    waiting = waiting.where(run_shards.c.state == "queued", runs.c.state.in_(("queued", "running")))
    return {**{row.state: row[1] for row in rows}, "shards_waiting": await connection.scalar(waiting) or 0}


async def hold(database: Database, name: str, holder: str, seconds: float) -> bool:
    """Whether the holder has the lock for so many seconds from now; it renews what it has."""
    try:
        async with database.write() as connection:
            mine = (locks.c.holder == holder) | (locks.c.until < moment(connection))
            values = {"holder": holder, "until": moment(connection, seconds), "fence": locks.c.fence + 1}
            found = await connection.execute(update(locks).where(locks.c.name == name, mine).values(**values))
            if found.rowcount:
                return True
            if await connection.scalar(select(locks.c.name).where(locks.c.name == name)):
                return False
            until = now() + timedelta(seconds=seconds)
            await connection.execute(insert(locks).values(name=name, holder=holder, fence=1, until=until))
            return True
    except IntegrityError:
        return False  # another inserted it first


async def let_go(database: Database, name: str, holder: str) -> None:
    """Gives the lock up, so that another need not wait for its end."""
    async with database.write() as connection:
        mine = (locks.c.name == name) & (locks.c.holder == holder)
        await connection.execute(update(locks).where(mine).values(until=moment(connection)))

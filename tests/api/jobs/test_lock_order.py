"""Transactions that meet on a run wait for one another; none takes its locks in an order that another reverses.

On PostgreSQL alone: SQLite has one writer at a time.
"""

import asyncio

from sqlalchemy import select, text

from api.jobs.service import Jobs
from api.storage import shards
from api.storage.rows import RunRequest
from api.storage.runs import finish
from api.storage.tables import run_shards
from tests.api.jobs.setting import OWNER, SCENARIOS, lease_of, loans, stored_tape, submitted, until


async def waiting_for_a_lock(jobs: Jobs) -> bool:
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with jobs.storage.database.read() as connection:
        return bool(await connection.scalar(query))


async def ends(jobs: Jobs, run_id: str) -> bool:
    async with jobs.storage.database.write() as connection:
        return await finish(connection, run_id, "cancelled")


async def test_the_end_of_a_run_waits_for_who_notes_that_its_messages_are_on_their_way(on_postgres: Jobs) -> None:
    run = await submitted(on_postgres, loans(10))
    async with on_postgres.storage.database.write() as connection:
        await shards.mark_sent(connection, [(run.id, 1)])
        ending = asyncio.create_task(ends(on_postgres, run.id))
        await until(lambda: waiting_for_a_lock(on_postgres))
        # Without the run's lock the end would hold shard 0 by now, and wait for shard 1.
        await shards.mark_sent(connection, [(run.id, 0)])
    assert await ending
    async with on_postgres.storage.database.read() as connection:
        sent = (await connection.execute(select(run_shards.c.sent_at))).scalars().all()
    assert None not in sent


async def test_runs_are_buried_while_their_messages_are_noted_in_another_order(on_postgres: Jobs) -> None:
    runs = [await submitted(on_postgres, loans(10)) for _ in range(6)]
    for run in runs:
        for _ in range(3):
            await lease_of(on_postgres, run.id, "doomed", seconds=-1.0)

    async def note(order: list[str]) -> None:
        for _ in range(10):
            async with on_postgres.storage.database.write() as connection:
                await shards.mark_sent(connection, [(run_id, number) for run_id in order for number in (1, 0)])

    async def bury() -> list[str]:
        async with on_postgres.storage.database.write() as connection:
            return await shards.bury(connection)

    ids = [run.id for run in runs]
    *_, buried = await asyncio.gather(note(ids), note(ids[::-1]), note(sorted(ids)), bury())
    assert sorted(buried) == sorted(ids)


async def test_a_run_is_deleted_while_its_messages_are_noted(on_postgres: Jobs) -> None:
    tape = await stored_tape(on_postgres.storage, loans(10))
    for _ in range(5):
        run = await on_postgres.submit(OWNER, RunRequest(tape_id=tape.id, scenarios=SCENARIOS))
        await on_postgres.cancel(OWNER, run.id)

        async def note(run_id: str = run.id) -> None:
            async with on_postgres.storage.database.write() as connection:
                await shards.mark_sent(connection, [(run_id, 1), (run_id, 0)])

        await asyncio.gather(note(), note(), on_postgres.delete(OWNER, run.id))
    assert (await on_postgres.list(OWNER)).items == []

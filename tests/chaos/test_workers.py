"""Runs under kills, stops and crashes of what works on them (J1 to J13)."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import select, update

from api.storage.tables import run_shards
from tests.api.jobs.setting import until
from tests.chaos.cluster import LEASE_SECONDS, OWNER, Cluster
from tests.chaos.poisoned_worker import (
    BUSY_PERIODS,
    MEMORY_PERIODS,
    SEGFAULT_PERIODS,
    SLOW_PERIODS,
    SLOW_SECONDS,
)
from tests.chaos.storm import storm

POISONED = [sys.executable, str(Path(__file__).with_name("poisoned_worker.py"))]


async def is_worked_on(cluster: Cluster, run_id: str) -> bool:
    """Whether a shard of the run is held and part of it is done."""
    query = select(run_shards.c.loan_months_done).where(run_shards.c.run_id == run_id, run_shards.c.state == "running")
    async with cluster.storage.database.read() as connection:
        return any((await connection.execute(query)).scalars().all())


async def busy_run(cluster: Cluster) -> str:
    """A run that is worked on by the one worker there is, for some seconds more."""
    run_id = await cluster.submit(await cluster.tape(1_000), periods=BUSY_PERIODS)

    async def begun() -> bool:
        return await is_worked_on(cluster, run_id)

    await until(begun)
    return run_id


async def succeeded(cluster: Cluster, run_id: str, seconds: float) -> float:
    async def check() -> bool:
        return await cluster.state(run_id) == "succeeded"

    return await until(check, seconds)


async def settled(cluster: Cluster, seconds: float) -> None:
    """Waits until every accepted run has ended, and shows the counts."""

    async def check() -> bool:
        return (await cluster.counts())["lost"] == 0

    try:
        await until(check, seconds)
    finally:
        counts = await cluster.counts()
        print(", ".join(f"{name} {count}" for name, count in counts.items()))  # noqa: T201
    assert counts["doubled"] == 0


async def test_j1_a_killed_workers_run_is_finished_by_another(cluster: Cluster) -> None:
    killed = cluster.start_worker(POISONED)
    run_id = await busy_run(cluster)
    cluster.start_worker(POISONED)
    os.killpg(killed.pid, signal.SIGKILL)

    async def taken_again() -> bool:
        query = select(run_shards.c.attempts).where(run_shards.c.run_id == run_id, run_shards.c.number == 0)
        async with cluster.storage.database.read() as connection:
            return (await connection.scalar(query) or 0) > 1

    assert await until(taken_again, 30) < LEASE_SECONDS + 5
    await succeeded(cluster, run_id, 60)
    await settled(cluster, 1)


async def test_j2_a_worker_that_is_told_to_stop_gives_its_shard_back(cluster: Cluster) -> None:
    worker = cluster.start_worker(POISONED)
    run_id = await busy_run(cluster)
    worker.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    assert await asyncio.to_thread(worker.wait, 20) == 0
    assert time.monotonic() - begun < 15
    async with cluster.storage.database.read() as connection:
        shards = (await connection.execute(select(run_shards).where(run_shards.c.run_id == run_id))).all()
    first = min(shards, key=lambda row: row.number)
    assert (first.state, first.attempts) == ("queued", 0)
    cluster.start_worker(POISONED)
    await succeeded(cluster, run_id, 60)
    await settled(cluster, 1)


async def test_j3_a_wiped_redis_loses_nothing(cluster: Cluster) -> None:
    tape = await cluster.tape(100)
    for _ in range(20):
        await cluster.submit(tape)
    await asyncio.gather(*cluster.jobs.ringing)
    cluster.valkey.wipe()
    cluster.start_worker()
    await settled(cluster, 30)


async def test_j4_runs_accepted_while_redis_is_down_are_worked_on(cluster: Cluster) -> None:
    cluster.start_worker()
    tape = await cluster.tape(100)
    assert cluster.valkey.process is not None
    cluster.valkey.process.stop(signal.SIGKILL)
    try:
        for _ in range(5):
            await cluster.submit(tape)
        await asyncio.sleep(5)
    finally:
        await asyncio.to_thread(cluster.valkey.process.start)
    await settled(cluster, 40)


async def test_j5_a_crashed_postgres_loses_and_doubles_nothing(cluster: Cluster) -> None:
    for _ in range(2):
        cluster.start_worker()
    tape = await cluster.tape(2_000)
    for _ in range(15):
        await cluster.submit(tape, 10)
    process = cluster.postgres.process
    assert process is not None
    process.stop(signal.SIGKILL)
    await asyncio.sleep(1)
    await asyncio.to_thread(process.start)
    await settled(cluster, 60)


async def test_j7_a_worker_that_slept_past_its_lease_commits_nothing(cluster: Cluster) -> None:
    sleeper = cluster.start_worker(POISONED)
    run_id = await busy_run(cluster)
    os.killpg(sleeper.pid, signal.SIGSTOP)
    cluster.start_worker(POISONED)
    await succeeded(cluster, run_id, 90)
    before = await cluster.jobs.get(OWNER, run_id)
    os.killpg(sleeper.pid, signal.SIGCONT)

    async def noticed() -> bool:
        return cluster.log_lines("shard lost to another worker") == 1

    await until(noticed, 30)
    assert await cluster.jobs.get(OWNER, run_id) == before
    await settled(cluster, 1)


async def test_j8_a_run_that_nobody_rang_for_is_found(cluster: Cluster) -> None:
    cluster.start_worker()
    tape = await cluster.tape(100)
    # As if the API had been killed between the commit and the message.
    cluster.jobs.broker = None
    run_id = await cluster.submit(tape)
    assert await succeeded(cluster, run_id, 30) < 20


async def test_j9_what_kills_its_workers_is_dead_after_three_and_others_go_on(cluster: Cluster) -> None:
    cluster.start_worker([*POISONED, "--supervise"], WORKER_MEMORY_LIMIT=str(2 << 30))
    tape = await cluster.tape(100)
    segfault = await cluster.submit(tape, periods=SEGFAULT_PERIODS)
    memory = await cluster.submit(tape, periods=MEMORY_PERIODS)
    for _ in range(10):
        await cluster.submit(tape)
    await settled(cluster, 90)
    died, starved = await cluster.jobs.get(OWNER, segfault), await cluster.jobs.get(OWNER, memory)
    assert (died.state, starved.state) == ("dead", "dead")
    assert died.error is not None
    assert starved.error is not None
    assert (died.error.code, starved.error.code) == ("worker_lost", "out_of_memory")
    states = [await cluster.state(id) for id in cluster.accepted if id not in (segfault, memory)]
    assert set(states) == {"succeeded"}


async def test_j11_a_cancelled_run_stops_within_two_seconds_and_has_no_result(cluster: Cluster) -> None:
    cluster.start_worker(POISONED)
    run_id = await busy_run(cluster)
    assert (await cluster.jobs.cancel(OWNER, run_id)).state == "cancelled"

    async def stopped() -> bool:
        return cluster.log_lines("shard lost to another worker, or its run has ended") == 1

    await until(stopped, 10)
    await settled(cluster, 1)


async def test_j12_of_a_thousand_cancels_against_the_finish_each_has_one_end(cluster: Cluster) -> None:
    cluster.start_worker(WORKER_CONCURRENCY="4")
    tape = await cluster.tape(20)
    ends = {"cancelled": 0, "succeeded": 0}
    for _ in range(20):
        ids = await asyncio.gather(*(cluster.submit(tape, 1) for _ in range(50)))

        async def cancel(number: int, id: str) -> None:
            await asyncio.sleep(number * 0.02)
            try:
                await cluster.jobs.cancel(OWNER, id)
            except Exception:
                assert await cluster.state(id) == "succeeded"

        await asyncio.gather(*(cancel(i, id) for i, id in enumerate(ids)))
    await settled(cluster, 60)
    for id in cluster.accepted:
        ends[await cluster.state(id)] += 1
    print(ends)  # noqa: T201
    assert min(ends.values()) > 20


async def test_j13_a_call_that_takes_many_leases_is_made_once(cluster: Cluster) -> None:
    assert SLOW_SECONDS > 3 * LEASE_SECONDS
    for _ in range(2):
        cluster.start_worker(POISONED)
    run_id = await cluster.submit(await cluster.tape(100), periods=SLOW_PERIODS)
    await succeeded(cluster, run_id, 60)
    async with cluster.storage.database.read() as connection:
        query = select(run_shards.c.attempts).where(run_shards.c.run_id == run_id).order_by(run_shards.c.number)
        # One shard; its fold is never due.
        assert (await connection.execute(query)).scalars().all() == [1, 0]
    run = await cluster.jobs.get(OWNER, run_id)
    assert run.started_at is not None
    assert run.finished_at is not None
    assert (run.finished_at - run.started_at).total_seconds() > SLOW_SECONDS


async def test_a_lease_that_was_given_back_is_taken_at_once(cluster: Cluster) -> None:
    tape = await cluster.tape(100)
    run_id = await cluster.submit(tape)
    async with cluster.storage.database.write() as connection:
        await connection.execute(update(run_shards).where(run_shards.c.run_id == run_id).values(sent_at=None))
    cluster.start_worker()
    await succeeded(cluster, run_id, 20)


@pytest.mark.parametrize("seed", [1, 2])
async def test_j16_a_minute_of_everything_loses_nothing(cluster: Cluster, seed: int) -> None:
    await storm(cluster, seed, seconds=30)
    await settled(cluster, 90)

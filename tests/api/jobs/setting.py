"""What the tests of the jobs share: a tape, what to run on it, and waiting."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

import engine
from api.jobs.service import Jobs
from api.storage import shards, tape_parquet, tapes
from api.storage.opened import Storage
from api.storage.rows import Run, RunRequest, ScenarioChoice, StoredTape
from api.storage.shards import Lease

SECRET = "a secret of the tests, made of 32 bytes and more"
OWNER = "ann"
SCENARIOS = [ScenarioChoice(template=name) for name in ("base", "rate_shock_up", "credit_crisis", "housing_bust")]


def loans(count: int, seed: int = 7) -> engine.Tape:
    """A generated tape with three groups."""
    draw = np.random.default_rng(seed)
    return engine.Tape.from_columns(
        balance=draw.uniform(10_000, 900_000, count).round(2),
        annual_rate=draw.uniform(0.02, 0.09, count).round(5),
        remaining_term=draw.integers(12, 361, count),
        group=np.array(["A", "B", None], dtype=object)[draw.integers(0, 3, count)].tolist(),
    )


async def stored_tape(storage: Storage, tape: engine.Tape, owner: str = OWNER) -> StoredTape:
    batches = tape_parquet.in_row_groups(tape)
    return await tapes.create_tape(storage.database, storage.objects, owner, "loans", batches)


async def submitted(jobs: Jobs, tape: engine.Tape, **options: Any) -> Run:
    stored = await stored_tape(jobs.storage, tape)
    return await jobs.submit(OWNER, RunRequest(tape_id=stored.id, **{"scenarios": SCENARIOS, **options}))


async def ended(jobs: Jobs, run_id: str, seconds: float = 30.0) -> Run:
    """The run when it has ended. Fails where that takes longer."""
    async with asyncio.timeout(seconds):
        async for run in jobs.progress(OWNER, run_id):
            last = run
    return last


async def until(check: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> float:
    """Seconds until the check held. Fails where that takes longer."""
    begun = time.monotonic()
    async with asyncio.timeout(seconds):
        while not await check():
            await asyncio.sleep(0.05)
    return time.monotonic() - begun


async def lease_of(jobs: Jobs, run_id: str, who: str, number: int = 0, seconds: float = 60) -> Lease | None:
    async with jobs.storage.database.write() as connection:
        return await shards.take(connection, run_id, number, who, seconds)

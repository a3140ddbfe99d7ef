"""A worker works on as many shards at a time as WORKER_CONCURRENCY says, and on no more."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sqlalchemy import func, select

import engine
from api.jobs.perform import Performer
from api.jobs.service import Jobs
from api.jobs.worker import Worker
from api.storage import sharding, tape_parquet
from api.storage.rows import RunRequest, ScenarioChoice
from api.storage.tables import run_shards
from tests.api.jobs.setting import OWNER, SECRET, ended, loans, stored_tape, submitted

ROOT = Path(__file__).parents[3]
SHARDS = 12


class Counted:
    """Shards under way by worker. Each waits a while for as many as are expected at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, expected: int) -> None:
        self.expected, self.lock = expected, threading.Condition()
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.all_at_once = 0
        compute = Performer.compute

        def counted(performer: Performer, holding: Any) -> Any:
            self.begin(performer.worker_id)
            try:
                # One more than is allowed would come in meanwhile.
                time.sleep(0.1)
                return compute(performer, holding)
            finally:
                self.end(performer.worker_id)

        monkeypatch.setattr(Performer, "compute", counted)

    def begin(self, worker: str) -> None:
        with self.lock:
            self.now[worker] += 1
            self.most[worker] = max(self.most[worker], self.now[worker])
            self.all_at_once = max(self.all_at_once, self.now.total())
            self.lock.notify_all()
            self.lock.wait_for(lambda: self.all_at_once >= self.expected, timeout=20)

    def end(self, worker: str) -> None:
        with self.lock:
            self.now[worker] -= 1


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_as_many_shards_are_worked_on_as_the_setting_says(
    either: Jobs, concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sharding, tape_parquet):
        monkeypatch.setattr(module, "ROW_GROUP", 300)
    monkeypatch.setattr(sharding, "UNCUT_LOAN_MONTHS", 0)
    counted = Counted(monkeypatch, 2 * concurrency)
    used = msgspec.structs.replace(either.settings, worker_concurrency=concurrency, run_lease_seconds=30)
    workers = [await asyncio.to_thread(Worker, used) for _ in range(2)]
    try:
        run = await submitted(either, loans(300 * sharding.ROW_GROUPS_A_SHARD * SHARDS))
        assert run.shards == SHARDS
        for worker in workers:
            worker.start()
        assert (await ended(either, run.id, 60)).state == "succeeded"
    finally:
        for worker in workers:
            await asyncio.to_thread(worker.stop)
    assert counted.most == {worker.me.id: concurrency for worker in workers}
    assert counted.all_at_once == 2 * concurrency


async def test_a_worker_process_works_on_as_many_shards_as_the_setting_says(on_postgres: Jobs, tmp_path: Path) -> None:
    """A process of its own, whose shards are counted where it notes them."""
    draw = np.random.default_rng(1)
    tape = await stored_tape(
        on_postgres.storage,
        engine.Tape.from_columns(
            balance=draw.uniform(1e4, 9e5, 5_000), annual_rate=draw.uniform(0.02, 0.09, 5_000),
            remaining_term=draw.integers(100, 361, 5_000), age=draw.integers(0, 240, 5_000),
        ),
    )  # fmt: skip
    speeds = [engine.Assumptions(prepayment=engine.Psa(speed=0.5 + i / 10)) for i in range(40)]
    scenarios = [
        ScenarioChoice(scenario=engine.Scenario(name=f"psa {i}", assumptions=speed)) for i, speed in enumerate(speeds)
    ]
    request = RunRequest(tape_id=tape.id, scenarios=scenarios)
    found = [await on_postgres.submit(OWNER, request) for _ in range(SHARDS)]
    environ = {
        **os.environ, "ENV": "development", "JWT_SECRET": SECRET, "DATABASE_URL": on_postgres.settings.database_url,
        "REDIS_URL": on_postgres.settings.redis_url, "STATE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT),
        "CALCULATION_THREAD_POOL_SIZE": "1", "WORKER_CONCURRENCY": "3",
    }  # fmt: skip
    under_way = select(func.count()).select_from(run_shards).where(run_shards.c.state == "running")
    seen: Counter[int] = Counter()
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "api.jobs.process"], env=environ, stdout=log, stderr=log)
    try:
        async with asyncio.timeout(60):
            while {(await on_postgres.get(OWNER, run.id)).state for run in found} != {"succeeded"}:
                for _ in range(20):
                    async with on_postgres.storage.database.read() as connection:
                        seen[await connection.scalar(under_way) or 0] += 1
    finally:
        process.terminate()
        process.wait(30)
    assert max(seen) == 3, seen

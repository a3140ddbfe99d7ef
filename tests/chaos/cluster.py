"""A service in pieces for tests that break them: PostgreSQL, Valkey, an object store, and worker processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from sqlalchemy import func, select

import engine
from api.jobs.service import Jobs
from api.settings import Settings
from api.storage import tape_parquet, tapes
from api.storage.opened import Storage
from api.storage.rows import RunRequest, ScenarioChoice
from api.storage.tables import FINAL_STATES, results, runs
from tests.servers import Postgres, Valkey

ROOT = Path(__file__).parents[2]
SECRET = "a secret of the tests, made of 32 bytes and more"
OWNER = "ann"
LEASE_SECONDS = 3
WORKER = [sys.executable, "-m", "api.jobs.process"]


class Cluster:
    """The pieces, and what was accepted through them."""

    def __init__(self, folder: Path, postgres: Postgres, valkey: Valkey, name: str) -> None:
        self.folder, self.postgres, self.valkey, self.name = folder, postgres, valkey, name
        self.settings = Settings(
            jwt_secret=SECRET, webhook_secret=SECRET, database_url=postgres.dsn(name), redis_url=valkey.url,
            state_dir=str(folder), run_lease_seconds=LEASE_SECONDS, calculation_thread_pool_size=1,
            worker_concurrency=1,
        )  # fmt: skip
        self.storage = Storage(self.settings)
        self.jobs = Jobs(self.settings, self.storage)
        self.workers: list[subprocess.Popen[bytes]] = []
        self.accepted: list[str] = []

    def start_worker(self, command: list[str] = WORKER, **more: str) -> subprocess.Popen[bytes]:
        """A worker process in a session of its own."""
        environ = {
            **os.environ, "ENV": "development", "JWT_SECRET": SECRET, "DATABASE_URL": self.settings.database_url,
            "REDIS_URL": self.settings.redis_url, "STATE_DIR": str(self.folder), "PYTHONPATH": str(ROOT),
            "RUN_LEASE_SECONDS": str(LEASE_SECONDS), "CALCULATION_THREAD_POOL_SIZE": "1", "LOG_FORMAT": "json", **more,
        }  # fmt: skip
        with (self.folder / "workers.log").open("ab") as log:
            process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
        self.workers.append(process)
        return process

    def stop_workers(self) -> None:
        for process in self.workers:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGCONT)
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    async def tape(self, loans: int) -> str:
        """The id of a stored tape of loans of every age and term, which keeps the kernel busy under PSA."""
        draw = np.random.default_rng(loans)
        tape = engine.Tape.from_columns(
            balance=draw.uniform(1e4, 9e5, loans), annual_rate=draw.uniform(0.02, 0.09, loans),
            remaining_term=draw.integers(100, 361, loans), age=draw.integers(0, 240, loans),
        )  # fmt: skip
        batches = tape_parquet.in_row_groups(tape)
        return (await tapes.create_tape(self.storage.database, self.storage.objects, OWNER, "loans", batches)).id

    async def submit(self, tape_id: str, scenarios: int = 4, *, key: str | None = None, **options: object) -> str:
        """The id of an accepted run."""
        choices = [
            ScenarioChoice(
                scenario=engine.Scenario(
                    name=f"psa {i}", assumptions=engine.Assumptions(prepayment=engine.Psa(speed=0.5 + i / 10))
                )
            )
            for i in range(scenarios)
        ]
        request = RunRequest(tape_id=tape_id, scenarios=choices, fields=["balance", "principal"], **options)  # type: ignore[arg-type]
        run = await self.jobs.submit(OWNER, request, key)
        if run.id not in self.accepted:
            self.accepted.append(run.id)
        return run.id

    async def state(self, run_id: str) -> str:
        return (await self.jobs.get(OWNER, run_id)).state

    async def counts(self) -> dict[str, int]:
        """Runs accepted, ended, lost (accepted and not ended), doubled (more rows of results than one run has)."""
        async with self.storage.database.read() as connection:
            states = {row.id: row.state for row in (await connection.execute(select(runs.c.id, runs.c.state))).all()}
            rows = select(results.c.run_id, func.count()).group_by(results.c.run_id)
            stored = {row[0]: row[1] for row in (await connection.execute(rows)).all()}
        ended = [id for id in self.accepted if states.get(id) in FINAL_STATES]
        expected = {id: len((await self.jobs.get(OWNER, id)).scenarios) * 2 for id in self.accepted}
        wrong = [
            id for id in self.accepted
            if stored.get(id, 0) != (expected[id] if states.get(id) == "succeeded" else 0)
        ]  # fmt: skip
        extra = set(states) - set(self.accepted)
        return {
            "accepted": len(self.accepted),
            "finished": len(ended),
            "lost": len(self.accepted) - len(ended),
            "doubled": len(wrong) + len(extra),
        }

    def log_lines(self, text: str) -> int:
        """How many lines of the workers' log hold the text."""
        return (self.folder / "workers.log").read_text().count(text)


def wait_for(check: object, seconds: float) -> None:
    """Waits until check() is true. Fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not check():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)

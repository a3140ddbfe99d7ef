"""Stored runs: a million loans under twenty scenarios through one worker, beside the bare kernel; and reading columns.

The worker has two threads and works inside the service, on SQLite and a folder, as at a first run. Both sides project
the same tape; the bare kernel has it in memory, the worker reads, checks, commits and folds it too. The time of a run
goes from its submission to its end, as the rows tell it.
"""

import os
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import engine
from api.jobs.bridge import Bridge
from api.jobs.service import Jobs
from api.settings import Settings
from api.storage import tape_parquet, tapes
from api.storage.opened import Storage
from api.storage.rows import Run, RunRequest, ScenarioChoice, StoredTape
from api.storage.run_inputs import projection_of

LOANS = int(os.environ.get("BENCH_RUN_LOANS", "1000000"))
SCENARIOS, THREADS, ROUNDS = 20, 2, 10
FIELDS = ["interest", "scheduled_principal", "prepayment", "default", "recovery", "loss", "cashflow", "balance"]
SECRET = "a secret of the benchmarks, of 32 bytes and more"
OWNER = "bench"
CHOICES = [
    ScenarioChoice(
        scenario=engine.Scenario(
            name=f"cpr {i}",
            assumptions=engine.Assumptions(
                prepayment=engine.Cpr(rate=0.02 + i / 200), default=engine.Cdr(rate=0.01), severity=0.4, recovery_lag=12
            ),
        )
    )
    for i in range(SCENARIOS)
]


class Service:
    """The jobs of a service and its worker, driven from this thread."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(jwt_secret=SECRET, state_dir=str(folder), calculation_thread_pool_size=THREADS)
        self.bridge = Bridge()
        self.storage = Storage(self.settings)
        self.jobs = Jobs(self.settings, self.storage)
        self.opening = AsyncExitStack()
        self.bridge.call(self.open())

    async def open(self) -> None:
        await self.opening.enter_async_context(self.storage.opened())
        await self.opening.enter_async_context(self.jobs.opened())

    def close(self) -> None:
        self.bridge.call(self.opening.aclose())
        self.bridge.close()

    def store(self, tape: engine.Tape) -> StoredTape:
        batches = tape_parquet.in_row_groups(tape)
        storage = self.storage
        return self.bridge.call(tapes.create_tape(storage.database, storage.objects, OWNER, "bench", batches))

    def run(self, request: RunRequest) -> Run:
        """The run when it has succeeded."""

        async def work() -> Run:
            # Looked at as a caller does who follows it: each look takes from what the worker has.
            async for run in self.jobs.progress(OWNER, (await self.jobs.submit(OWNER, request)).id):
                last = run
            return last

        run = self.bridge.call(work())
        assert run.state == "succeeded", run.error
        return run


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("service"))
    yield service
    service.close()


@pytest.fixture(scope="module")
def tape() -> engine.Tape:
    draw = np.random.default_rng(20)
    return engine.Tape.from_columns(
        balance=draw.uniform(50_000, 900_000, LOANS).round(2),
        annual_rate=(draw.integers(200, 900, LOANS) / 1e4),
        remaining_term=draw.integers(120, 361, LOANS),
    )


def test_run_of_a_million_loans_beside_the_bare_kernel(
    benchmark: BenchmarkFixture, service: Service, tape: engine.Tape
) -> None:
    stored = service.store(tape)
    request = RunRequest(tape_id=stored.id, scenarios=CHOICES, fields=FIELDS)
    run = service.run(request)  # the first one warms files and imports up
    scenarios = [choice.scenario for choice in CHOICES if choice.scenario is not None]
    bare = projection_of(request, scenarios, tape)
    engine.project(bare, THREADS)
    alone, through = [], []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        flows = engine.project(bare, THREADS)
        alone.append(time.perf_counter() - begun)
        run = service.run(request)
        assert run.finished_at is not None
        through.append((run.finished_at - run.created_at).total_seconds())
    _, found = service.bridge.call(service.jobs.columns(OWNER, run.id))
    np.testing.assert_allclose(found[3].columns["interest"], flows["interest"][3], rtol=1e-10)
    benchmark.pedantic(lambda: service.run(request), rounds=1)
    benchmark.extra_info.update(
        loan_months=stored.loan_months * SCENARIOS,
        bare_kernel_seconds=round(min(alone), 3),
        run_seconds=round(min(through), 3),
        loans=LOANS,
        share_of_the_bare_kernel=round(min(alone) / min(through), 2),
    )


def test_eight_stored_columns_of_360_months(benchmark: BenchmarkFixture, service: Service) -> None:
    tape = engine.Tape.from_columns(balance=[1e6], annual_rate=0.05, remaining_term=360)
    run = service.run(RunRequest(tape_id=service.store(tape).id, scenarios=CHOICES, fields=FIELDS, periods=360))

    def columns() -> np.ndarray:
        asked = service.jobs.columns(OWNER, run.id, fields=FIELDS, scenarios=["cpr 3"])
        return service.bridge.call(asked)[1][0].columns["balance"]

    assert columns().shape == (360,)
    benchmark.pedantic(columns, rounds=200, warmup_rounds=5)
    benchmark.extra_info.update(median_ms=round(benchmark.stats.stats.median * 1e3, 2))

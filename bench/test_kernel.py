"""The engine beside its yardstick and its peers, in one run, on the same loans.

BENCH_LOANS and BENCH_LARGE_LOANS set the sizes. A loan-month is a loan over one of 360 months, whether or not it has
matured; the engine is given the same months. The best round counts: the others measure what else the machine does.
"""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import engine
from bench.conftest import LARGE
from bench.peers import MONTHS, ROOT, Pool, pool_of, run_numba, run_numpy, run_yardstick

CPR, CDR = 0.06, 0.01
SMM, MDR = (float(curve.monthly(np.array([1]))[0]) for curve in (engine.Cpr(rate=CPR), engine.Cdr(rate=CDR)))
THREADS = (1, 2)
ADVANCING = ("none", "principal_and_interest")
LIKE_YARDSTICK = ["interest", "scheduled_principal", "prepayment", "default", "balance"]


def timed(benchmark: BenchmarkFixture, loans: int, threads: int, role: str, call: Callable[[], Any]) -> Any:
    """What `call` gives; its best time is recorded as loan-months a second."""
    result = benchmark.pedantic(call, rounds=5, warmup_rounds=1)
    rate = loans * MONTHS / benchmark.stats.stats.min
    benchmark.extra_info.update(loan_months_per_second=rate, threads=threads, role=role)
    return result


def assumptions(advancing: str = "none", lag: int = 12, severity: float = 0.35) -> engine.Assumptions:
    return engine.Assumptions(
        prepayment=engine.Cpr(rate=CPR),
        default=engine.Cdr(rate=CDR),
        severity=severity,
        recovery_lag=lag,
        advancing=advancing,  # type: ignore[arg-type]
    )


def request(pool: Pool, assumed: engine.Assumptions, **rest: Any) -> engine.ProjectionRequest:
    return engine.ProjectionRequest(tape=pool.tape, assumptions=assumed, periods=MONTHS, **rest)


@pytest.mark.parametrize("threads", THREADS)
def test_yardstick(benchmark: BenchmarkFixture, yardstick: ctypes.CDLL, pool: Pool, threads: int) -> None:
    call = lambda: run_yardstick(yardstick, pool, SMM, MDR, threads)  # noqa: E731
    sums = timed(benchmark, len(pool.balance), threads, "yardstick", call)
    np.testing.assert_allclose(sums, run_numpy(pool, SMM, MDR), rtol=1e-8, atol=1e-6)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("advancing", ADVANCING)
def test_engine_pool(benchmark: BenchmarkFixture, pool: Pool, advancing: str, threads: int) -> None:
    asked = request(pool, assumptions(advancing))
    flows = timed(benchmark, len(pool.tape), threads, "engine", lambda: engine.project(asked, threads=threads))
    assert flows["cashflow"].sum() > 0


@pytest.mark.parametrize("threads", THREADS)
def test_engine_on_the_work_of_the_yardstick(
    benchmark: BenchmarkFixture, yardstick: ctypes.CDLL, pool: Pool, threads: int
) -> None:
    # The yardstick prepays what survives default and pays at once; so does the engine under these conventions.
    rules = engine.Conventions(prepayment_base="net_of_defaults", final_defaults="continue")
    asked = request(pool, assumptions(lag=0, severity=0.0), conventions=rules, fields=LIKE_YARDSTICK)
    flows = timed(benchmark, len(pool.tape), threads, "engine", lambda: engine.project(asked, threads=threads))
    expected = run_yardstick(yardstick, pool, SMM, MDR, 1)
    for name, column in zip(LIKE_YARDSTICK, expected, strict=True):
        np.testing.assert_allclose(flows[name], column, rtol=1e-8, atol=1e-9 * flows.opening_balance, err_msg=name)


def test_numpy(benchmark: BenchmarkFixture, pool: Pool) -> None:
    timed(benchmark, len(pool.balance), 1, "numpy", lambda: run_numpy(pool, SMM, MDR))


def test_numba(benchmark: BenchmarkFixture, pool: Pool) -> None:
    import numba

    call = lambda: run_numba(pool, SMM, MDR)  # noqa: E731
    sums = timed(benchmark, len(pool.balance), numba.get_num_threads(), "numba", call)
    np.testing.assert_allclose(sums, run_numpy(pool, SMM, MDR), rtol=1e-8, atol=1e-6)


@pytest.mark.parametrize("scenarios", [10, 100])
def test_engine_many_scenarios(benchmark: BenchmarkFixture, pool: Pool, scenarios: int) -> None:
    several = [
        engine.Scenario(
            name=str(k),
            assumptions=engine.Assumptions(prepayment=engine.Cpr(rate=k / 200), default=engine.Cdr(rate=CDR)),
        )
        for k in range(scenarios)
    ]
    asked = request(pool, engine.Assumptions(), scenarios=several)
    call = lambda: engine.project(asked, threads=2)  # noqa: E731
    timed(benchmark, len(pool.tape) * scenarios, 2, "engine", call)


@pytest.mark.parametrize("threads", THREADS)
def test_loan_level_beside_the_writing_of_memory(benchmark: BenchmarkFixture, pool: Pool, threads: int) -> None:
    """Every loan's own columns: five fields of 360 months; the limit is the rate at which new memory is written."""
    loans = min(len(pool.tape), 20_000)
    tape = pool_of(loans).tape
    asked = engine.ProjectionRequest(
        tape=tape, assumptions=assumptions(), periods=MONTHS, level="loan", fields=LIKE_YARDSTICK
    )
    timed(benchmark, loans, threads, "loan level", lambda: engine.project(asked, threads=threads))
    count, writes = loans * MONTHS * len(LIKE_YARDSTICK), []
    for _ in range(5):
        start = time.perf_counter()
        np.empty(count).fill(1.0)
        writes.append(time.perf_counter() - start)
    written, limit = count * 8 / benchmark.stats.stats.min / 1e9, count * 8 / min(writes) / 1e9
    benchmark.extra_info["GB/s"] = f"{written:.2f} of {limit:.2f} that one thread writes to new memory"


LARGE_RUN = """
import resource, sys, time
from bench.peers import pool_of
import engine
unit = 1 if sys.platform == "darwin" else 1024
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
loans = int(sys.argv[1])
tape = pool_of(loans).tape
assumed = engine.Assumptions(prepayment=engine.Cpr(rate=0.06), default=engine.Cdr(rate=0.01), severity=0.35,
                             recovery_lag=12)
before, start = peak(), time.perf_counter()
flows = engine.project(engine.ProjectionRequest(tape=tape, assumptions=assumed, periods=360))
print(time.perf_counter() - start, peak() - before, peak(), flows["cashflow"].sum())
"""


def test_ten_million_loans(benchmark: BenchmarkFixture) -> None:
    """Time of the projection alone, in a process of its own, and how far it raises the peak of memory."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", LARGE_RUN, str(LARGE)]
    call = lambda: subprocess.run(command, check=True, capture_output=True, text=True, env=environment)  # noqa: E731
    done = benchmark.pedantic(call, rounds=1)
    seconds, grown, peak, cash = map(float, done.stdout.split())
    assert cash > 0
    size = LARGE * (8 + 8 + 4 + 8)  # balance, rate, term, fee
    benchmark.extra_info.update(
        loan_months_per_second=LARGE * MONTHS / seconds,
        threads=os.cpu_count(),
        role="engine",
        loans=LARGE,
        seconds=round(seconds, 3),
        tape_mb=round(size / 1e6),
        peak_mb_over_tape=round(grown / 1e6),
        peak_mb=round(peak / 1e6),
    )

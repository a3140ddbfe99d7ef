"""The engine beside its yardsticks and peers, in one run, on the same loans and the same work.

`level pay` is yardstick.cc: five columns summed loan by loan. `full` and `full, sorted` are stepping.cc: fee, defaults
that stop before maturity, severity, lag and twelve fields, on the tape as it comes and sorted by term beforehand, which
the yardstick is not charged for. `factored` is the least that the contract of a loan can cost.
"""

from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import engine
from bench import native, peers
from bench.peers import MONTHS, Floats, Pool
from bench.timing import LOANS, THREADS, timed

CPR, CDR, SEVERITY, LAG = 0.06, 0.01, 0.35, 12
SMM, MDR = (float(curve.monthly(np.array([1]))[0]) for curve in (engine.Cpr(rate=CPR), engine.Cdr(rate=CDR)))
SMMS, MDRS = np.full(MONTHS, SMM), np.full(MONTHS, MDR)
LIKE_YARDSTICK = ["interest", "scheduled_principal", "prepayment", "default", "balance"]
GROUP = "pool level beside yardsticks and peers"
WORKED = 0.75  # months until the average loan matures, of 360
QUANTLIB_LOANS = 2_000


def assumptions(**more: Any) -> engine.Assumptions:
    """CPR and CDR with severity 35% after 12 months, unless stated otherwise."""
    plain = {"prepayment": engine.Cpr(rate=CPR), "default": engine.Cdr(rate=CDR), "severity": SEVERITY,
             "recovery_lag": LAG}  # fmt: skip
    return engine.Assumptions(**(plain | more))


def request(tape: engine.Tape, assumed: engine.Assumptions | None = None, **rest: Any) -> engine.ProjectionRequest:
    assumed = assumptions() if assumed is None else assumed
    return engine.ProjectionRequest(tape=tape, assumptions=assumed, periods=MONTHS, **rest)


def agree(flows: engine.Cashflows, expected: dict[str, Floats]) -> None:
    for name, column in expected.items():
        scale = float(np.abs(flows[name]).max())
        np.testing.assert_allclose(flows[name], column, rtol=1e-9, atol=1e-9 * scale, err_msg=name)


@pytest.mark.parametrize("threads", THREADS)
def test_yardstick_level_pay(benchmark: BenchmarkFixture, pool: Pool, threads: int) -> None:
    call = lambda: native.level_pay(pool.columns, SMMS, MDRS, threads)  # noqa: E731
    sums = timed(benchmark, call, group=GROUP, loans=LOANS, threads=threads, yardstick="level pay", operations=14)
    np.testing.assert_allclose(sums, peers.run_numpy(pool, SMM, MDR), rtol=1e-8, atol=1e-6)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("order", ["full", "full, sorted"])
def test_yardstick_full(
    benchmark: BenchmarkFixture, pool: Pool, by_term: dict[str, Floats], order: str, threads: int
) -> None:
    columns = pool.columns if order == "full" else by_term
    call = lambda: peers.run_full(columns, SMMS, MDRS, SEVERITY, LAG, threads)  # noqa: E731
    fields = timed(
        benchmark, call, group=GROUP, loans=LOANS, threads=threads, yardstick=order,
        operations=9 * WORKED,
    )  # fmt: skip
    agree(engine.project(request(pool.tape)), fields)


@pytest.mark.parametrize("threads", THREADS)
def test_yardstick_factored(benchmark: BenchmarkFixture, pool: Pool, by_term: dict[str, Floats], threads: int) -> None:
    call = lambda: peers.run_factored(by_term, SMM, MDR, threads)  # noqa: E731
    sums = timed(
        benchmark, call, group=GROUP, loans=LOANS, threads=threads, yardstick="factored",
        operations=3 * WORKED,
    )  # fmt: skip
    np.testing.assert_allclose(sums, peers.run_numpy(pool, SMM, MDR), rtol=1e-8, atol=1e-5)


@pytest.mark.parametrize("threads", THREADS)
def test_engine_on_the_work_of_the_yardstick(benchmark: BenchmarkFixture, pool: Pool, threads: int) -> None:
    # The yardstick prepays what survives default and pays at once; so does the engine under these conventions.
    rules = engine.Conventions(prepayment_base="net_of_defaults", final_defaults="continue")
    asked = request(pool.tape, assumptions(recovery_lag=0, severity=0.0), conventions=rules, fields=LIKE_YARDSTICK)
    call = lambda: engine.project(asked, threads=threads)  # noqa: E731
    flows = timed(
        benchmark, call, group=GROUP, loans=LOANS, threads=threads, against=("level pay", "factored"),
        operations=5 * WORKED, bytes_moved=56 / MONTHS,
    )  # fmt: skip
    expected = native.level_pay(pool.columns, SMMS, MDRS)
    agree(flows, dict(zip(LIKE_YARDSTICK, expected, strict=True)))


@pytest.mark.parametrize("threads", [*THREADS, 4])
def test_engine_full(benchmark: BenchmarkFixture, pool: Pool, threads: int) -> None:
    asked = request(pool.tape)
    call = lambda: engine.project(asked, threads=threads)  # noqa: E731
    flows = timed(
        benchmark, call, group=GROUP, loans=LOANS, threads=threads, against=("full", "full, sorted"),
        operations=7 * WORKED, bytes_moved=56 / MONTHS,
    )  # fmt: skip
    agree(flows, peers.run_full(pool.columns, SMMS, MDRS, SEVERITY, LAG, 1))


def test_numpy(benchmark: BenchmarkFixture, pool: Pool) -> None:
    timed(benchmark, lambda: peers.run_numpy(pool, SMM, MDR), group=GROUP, loans=LOANS, rounds=2)


def test_numba(benchmark: BenchmarkFixture, pool: Pool) -> None:
    import numba

    call = lambda: peers.run_numba(pool, SMM, MDR)  # noqa: E731
    sums = timed(benchmark, call, group=GROUP, loans=LOANS, threads=numba.get_num_threads(), rounds=3)
    np.testing.assert_allclose(sums, peers.run_numpy(pool, SMM, MDR), rtol=1e-8, atol=1e-6)


def test_quantlib(benchmark: BenchmarkFixture, pool: Pool) -> None:
    """Amortizing bonds of a few thousand loans, without prepayment or default, against as much from the engine."""
    call = lambda: peers.run_quantlib(pool, QUANTLIB_LOANS)  # noqa: E731
    sums = timed(benchmark, call, group=GROUP, loans=QUANTLIB_LOANS, rounds=1)
    names = ["interest", "scheduled_principal"]
    flows = engine.project(request(peers.pool_of(QUANTLIB_LOANS).tape, engine.Assumptions(), fields=names))
    agree(flows, dict(zip(names, sums, strict=True)))

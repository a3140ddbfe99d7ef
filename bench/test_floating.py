"""Floating loans on a rate path, which are stepped: yearly resets with periodic and life caps and a recast payment.

`floating` is stepping.cc on the tape as it comes, where every vector has a loan that resets each month; `floating,
sorted` has loans that reset together side by side, sorted beforehand.
"""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import engine
from bench import peers
from bench.peers import MONTHS, Floats, Pool
from bench.test_kernel import LAG, MDRS, SEVERITY, SMMS, WORKED, agree, assumptions, request
from bench.timing import LOANS, THREADS, timed

GROUP = "floating loans on a rate path"
RATES = {peers.INDEX: engine.MonthlyRates(rates=peers.index_path().tolist())}


@pytest.fixture(scope="session")
def by_reset(floating_pool: Pool) -> dict[str, Floats]:
    return floating_pool.sorted_by("first_reset", "term")


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("order", ["floating", "floating, sorted"])
def test_yardstick_floating(
    benchmark: BenchmarkFixture, floating_pool: Pool, by_reset: dict[str, Floats], order: str, threads: int
) -> None:
    columns = floating_pool.columns if order == "floating" else by_reset
    call = lambda: peers.run_floating(columns, SMMS, MDRS, SEVERITY, LAG, threads)  # noqa: E731
    fields = timed(
        benchmark, call, group=GROUP, loans=LOANS, threads=threads, yardstick=order, operations=7 * WORKED
    )  # fmt: skip
    agree(engine.project(request(floating_pool.tape, assumptions(rates=RATES))), fields)


@pytest.mark.parametrize("threads", THREADS)
def test_engine_floating(benchmark: BenchmarkFixture, floating_pool: Pool, threads: int) -> None:
    asked = request(floating_pool.tape, assumptions(rates=RATES))
    flows = timed(
        benchmark, lambda: engine.project(asked, threads=threads), group=GROUP, loans=LOANS, threads=threads,
        against=("floating", "floating, sorted", "level pay"), operations=8 * WORKED,
    )  # fmt: skip
    assert flows["cashflow"].sum() > 0


@pytest.mark.parametrize("paths", [1, 20])
def test_engine_on_many_paths(benchmark: BenchmarkFixture, floating_pool: Pool, paths: int) -> None:
    """A rate path a scenario, so that every scenario steps the loans anew."""
    shocks = [engine.ParallelShock(amount=0.0002 * k) for k in range(paths)]
    values = peers.index_path().tolist()
    scenarios = [
        engine.Scenario(
            name=str(k),
            assumptions=assumptions(rates={peers.INDEX: engine.MonthlyRates(rates=values, shocks=[shock])}),
        )
        for k, shock in enumerate(shocks)
    ]
    asked = request(floating_pool.tape, scenarios=scenarios, fields=["balance", "interest", "principal", "loss"])
    flows = timed(
        benchmark, lambda: engine.project(asked, threads=2), group=GROUP, loans=LOANS * paths, threads=2,
        against=("floating", "floating, sorted"), rounds=2,
    )  # fmt: skip
    alone = engine.project(request(floating_pool.tape, scenarios=scenarios[-1:], fields=["interest"]))
    last = flows["interest"].reshape(paths, MONTHS)[-1]
    np.testing.assert_allclose(last, alone["interest"].reshape(MONTHS), rtol=1e-9, atol=1e-3)

"""Analytics of many vectors of 360 months at once: one, a thousand, and twenty thousand where it is a plain sum."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import engine
from bench.peers import MONTHS, Floats, pool_of
from bench.test_cases import scenarios_of
from bench.test_kernel import request
from bench.timing import ROUNDS
from engine import analytics

GROUP = "analytics"
YEARS = np.arange(1, MONTHS + 1) / 12
SMALL, MEDIUM, LARGE = 1, 1_000, 20_000


@pytest.fixture(scope="module")
def cashflows() -> Floats:
    """The cashflows of a thousand scenarios of a pool, (1000, 360)."""
    flows: Floats = engine.project(
        request(pool_of(1000).tape, scenarios=scenarios_of(MEDIUM), fields=["cashflow"])
    ).cashflow
    return flows


SUMS: dict[str, Callable[[Floats], Any]] = {
    "npv": lambda flows: analytics.npv(0.004, flows),
    "wal": lambda flows: analytics.wal(flows, YEARS),
    "price": lambda flows: analytics.price(flows, YEARS, 0.05),
    "modified_duration": lambda flows: analytics.modified_duration(flows, YEARS, 0.05),
    "convexity": lambda flows: analytics.convexity(flows, YEARS, 0.05),
}
ROOTS: dict[str, Callable[[Floats], Any]] = {
    "yield_to_maturity": lambda flows: analytics.yield_to_maturity(flows, YEARS, 0.9 * flows.sum(axis=-1)),
    "irr": lambda flows: analytics.irr(np.concatenate([-0.8 * flows.sum(axis=-1, keepdims=True), flows], axis=-1)),
}


def case(benchmark: BenchmarkFixture, call: Callable[[Floats], Any], flows: Floats) -> None:
    benchmark.group = GROUP
    found = benchmark.pedantic(lambda: call(flows), rounds=ROUNDS, warmup_rounds=1)
    assert np.all(np.isfinite(found))
    assert np.shape(found) == flows.shape[:-1]
    seconds = benchmark.stats.stats.min
    benchmark.extra_info.update(
        vectors=len(flows), milliseconds=1e3 * seconds, microseconds_a_vector=1e6 * seconds / len(flows)
    )


@pytest.mark.parametrize("vectors", [SMALL, MEDIUM, LARGE])
@pytest.mark.parametrize("name", SUMS)
def test_sums(benchmark: BenchmarkFixture, cashflows: Floats, name: str, vectors: int) -> None:
    case(benchmark, SUMS[name], np.resize(cashflows, (vectors, MONTHS)))


@pytest.mark.parametrize("vectors", [SMALL, MEDIUM])
@pytest.mark.parametrize("name", ROOTS)
def test_roots(benchmark: BenchmarkFixture, cashflows: Floats, name: str, vectors: int) -> None:
    case(benchmark, ROOTS[name], np.resize(cashflows, (vectors, MONTHS)))

"""Kinds of loans and assumptions at group and loan level; test_cases.py has them at pool level.

Ten groups at group level, at most 20,000 loans and four fields at loan level.
"""

from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import engine
from bench.peers import floating_pool_of, pool_of
from bench.test_cases import AGED_CURVES, AGES, CONTRACTS, case
from bench.test_floating import RATES
from bench.test_kernel import assumptions, request
from bench.timing import LOANS

LOAN_LEVEL = min(LOANS, 20_000)
FOUR = ["balance", "scheduled_principal", "prepayment", "default"]
KINDS: dict[str, dict[str, Any]] = {
    **{name: {} for name in CONTRACTS},
    "floating on a rate path": {"rates": RATES},
    "psa and sda over 120 ages": AGED_CURVES["psa and sda over 120 ages"],
    "lag of 24 months": {"recovery_lag": 24},
}


def tape_of(name: str, loans: int) -> engine.Tape:
    lots: dict[str, Any] = {"group": np.char.add("group ", (np.arange(loans) % 10).astype(str))}
    if name == "floating on a rate path":
        return floating_pool_of(loans, **lots).tape
    if name in AGED_CURVES:
        lots["age"] = AGES[:loans]
    return pool_of(loans, **CONTRACTS.get(name, {}), **lots).tape


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("level", ["group", "loan"])
def test_level(benchmark: BenchmarkFixture, level: str, name: str, threads: int) -> None:
    loans, rest = (LOAN_LEVEL, {"fields": FOUR}) if level == "loan" else (LOANS, {})
    asked = request(tape_of(name, loans), assumptions(**KINDS[name]), level=level, **rest)
    against = ("level pay",) if level == "loan" else ("full",)
    case(benchmark, "by level and kind", asked, threads, against=against, rounds=3)

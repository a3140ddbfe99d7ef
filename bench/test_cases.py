"""What the engine's features cost: by amortization, curve, rule, lag, advances, fields, scenarios, level and size.

Each is a ratio of the `full` yardstick where it does at least that work, of `level pay` elsewhere.
"""

from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import engine
from bench.native import aligned
from bench.peers import MONTHS, Pool, pool_of
from bench.targets import LIMITS
from bench.test_kernel import WORKED, assumptions, request
from bench.timing import LOANS, ROUNDS, timed

RAMP = [0.002 * min(month, 30) for month in range(1, 361)]
AGES = np.arange(LOANS) * 11 % 120
CONTRACTS: dict[str, dict[str, Any]] = {
    "level_pay": {},
    "linear": {"amortization": "linear"},
    "bullet": {"amortization": "bullet"},
    "interest only for 60 months": {"interest_only_term": 60},
    "balloon": {"amortization_term": 400},
    "stated payment": {"payment": 1_000.0},
}
CURVES: dict[str, dict[str, Any]] = {
    "cpr and cdr": {},
    "psa and sda at one age": {"prepayment": engine.Psa(speed=1.5), "default": engine.Sda(speed=1.0)},
    "vectors by month": {
        "prepayment": engine.Vector(unit="cpr", values=RAMP),
        "default": engine.Vector(unit="cdr", values=[rate / 6 for rate in RAMP]),
    },
    "burnout": {"burnout": engine.Burnout(floor=0.4)},
    "eight rules on rate and term": {
        "rules": [
            engine.Rule(
                where={"annual_rate": engine.Condition(below=0.03 + k * 0.00625)},
                assumptions=assumptions(prepayment=engine.Cpr(rate=k / 50)),
            )
            for k in range(1, 9)
        ]
    },
}
AGED_CURVES: dict[str, dict[str, Any]] = {
    "psa and cdr over 120 ages": {"prepayment": engine.Psa(speed=1.5)},
    "psa and sda over 120 ages": {"prepayment": engine.Psa(speed=1.5), "default": engine.Sda(speed=1.0)},
    "vectors by age over 120 ages": {"prepayment": engine.Vector(unit="cpr", values=RAMP, by="age")},
}


def case(
    benchmark: BenchmarkFixture, group: str, asked: engine.ProjectionRequest, threads: int = 1, **more: Any
) -> None:
    """Times a projection, against the full yardstick unless stated."""
    stated = {"loans": len(asked.tape), "threads": threads, "against": ("full",)} | more
    flows = timed(benchmark, lambda: engine.project(asked, threads=threads), group=group, **stated)
    assert flows[flows.fields[0]].sum() > 0
    adds_up(flows)


def adds_up(flows: engine.Cashflows) -> None:
    """What is owed is the opening balance less what was repaid and what defaulted, where both are told.

    What defaulted is in foreclosure, recovered or lost; principal advanced on it is not in the defaults.
    """
    told, gone = set(flows.fields), ("recovery", "loss") if "foreclosure" in flows.fields else ("default",)
    repaid = ("scheduled_principal", "prepayment")
    if {"balance", *repaid, *gone} <= told:
        left = flows["balance"] + sum(flows[name].cumsum(axis=-1) for name in (*repaid, *gone))
        if "foreclosure" in told:
            left = left + flows["foreclosure"]
        if left.ndim > 1:  # groups or loans, whose opening balance is told of all together
            left = left.sum(axis=0)
        np.testing.assert_allclose(left, flows.opening_balance, rtol=1e-9)


@pytest.mark.parametrize("name", CONTRACTS)
def test_contract(benchmark: BenchmarkFixture, name: str) -> None:
    case(benchmark, "by amortization", request(pool_of(LOANS, **CONTRACTS[name]).tape))


@pytest.mark.parametrize("name", [*CURVES, *AGED_CURVES])
def test_curve(benchmark: BenchmarkFixture, pool: Pool, name: str) -> None:
    tape = pool.tape if name in CURVES else pool_of(LOANS, age=AGES).tape
    case(benchmark, "by curve", request(tape, assumptions(**(CURVES | AGED_CURVES)[name])))


@pytest.mark.parametrize("lag", [0, 6, 12, 24])
@pytest.mark.parametrize("advancing", ["none", "principal_and_interest"])
def test_lag(benchmark: BenchmarkFixture, pool: Pool, advancing: str, lag: int) -> None:
    case(benchmark, "by lag and advances", request(pool.tape, assumptions(advancing=advancing, recovery_lag=lag)))


@pytest.mark.parametrize("name", ["one", "four", "all"])
def test_fields(benchmark: BenchmarkFixture, pool: Pool, name: str) -> None:
    chosen = {"one": ["balance"], "four": ["balance", "interest", "principal", "loss"], "all": list(engine.FIELD_NAMES)}
    case(benchmark, "by fields, pool level", request(pool.tape, fields=chosen[name]))


def scenarios_of(count: int) -> list[engine.Scenario]:
    """Prepayment from none to half of the pool a year."""
    curves = [engine.Cpr(rate=k / (2 * count)) for k in range(count)]
    return [engine.Scenario(name=str(k), assumptions=assumptions(prepayment=curve)) for k, curve in enumerate(curves)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("scenarios", [1, 20, 1000])
def test_scenarios(benchmark: BenchmarkFixture, pool: Pool, scenarios: int, threads: int) -> None:
    """A thousand of them with four fields are asked for once or twice, since they need seconds."""
    asked = request(pool.tape, scenarios=scenarios_of(scenarios), fields=["balance", "interest", "principal", "loss"])
    case(
        benchmark, "by scenarios", asked, threads, loans=LOANS * scenarios, rounds=ROUNDS if scenarios < 1000 else 2
    )  # fmt: skip
    benchmark.extra_info["scenarios"] = scenarios


@pytest.mark.parametrize("months", [60, 120, 240, 360])
def test_periods(benchmark: BenchmarkFixture, months: int) -> None:
    """Loans of that term, over that many months."""
    whole = pool_of(LOANS).columns
    tape = engine.Tape.from_columns(
        balance=whole["balance"][:LOANS], annual_rate=whole["rate"][:LOANS], remaining_term=months, servicing_fee=0.0025
    )
    asked = engine.ProjectionRequest(tape=tape, assumptions=assumptions(), periods=months)
    case(benchmark, "by level and size", asked, months=months)


@pytest.mark.parametrize("level", ["pool", "group"])
@pytest.mark.parametrize("groups", [10, 1000])
def test_groups(benchmark: BenchmarkFixture, groups: int, level: str) -> None:
    tape = pool_of(LOANS, group=np.char.add("group ", (np.arange(LOANS) % groups).astype(str))).tape
    case(benchmark, "by level and size", request(tape, level=level), rounds=2)


@pytest.mark.parametrize("loans", [1, 1_000, 20_000])
def test_size(benchmark: BenchmarkFixture, loans: int) -> None:
    case(benchmark, "by level and size", request(pool_of(loans).tape))


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("count", [1, 4, 8])
@pytest.mark.parametrize("into", ["new memory", "memory in use"])
def test_loan_level(benchmark: BenchmarkFixture, into: str, count: int, threads: int) -> None:
    """Every loan's own columns; the limit is the rate at which memory of that kind is written (`machine`)."""
    loans = min(LOANS, 20_000)
    names = ["balance", "interest", "scheduled_principal", "prepayment", "default", "recovery", "loss", "servicing_fee"]
    asked = request(pool_of(loans).tape, level="loan", fields=names[:count])
    out = aligned(count * loans * MONTHS).reshape(count, loans, MONTHS) if into == "memory in use" else None
    flows = timed(
        benchmark, lambda: engine.project(asked, threads=threads, out=out), group="loan level", loans=loans,
        threads=threads, operations=(2 + 2 * count) * WORKED, bytes_moved=8 * count, memory=LIMITS[into],
        against=("level pay",),
    )  # fmt: skip
    assert flows.balance.sum() > 0
    adds_up(flows)
    written = loans * MONTHS * count * 8 / benchmark.stats.stats.min
    benchmark.extra_info["gigabytes_a_second"] = written / 1e9


def test_stopping_defaults_of_vectors_by_age(benchmark: BenchmarkFixture) -> None:
    """The widest spread of runs: every age, every term, defaults that stop before maturity."""
    tape = pool_of(LOANS, age=AGES).tape
    assumed = assumptions(prepayment=engine.Psa(), default=engine.Sda(), advancing="principal_and_interest")
    case(benchmark, "by curve", request(tape, assumed))

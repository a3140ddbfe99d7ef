"""What payments by date and given schedules cost, and that a hundred distinct ones cost little more than one.

Each case is a ratio of the `full` yardstick, whose loans all pay every month; weekly loans have more payments than
that, yearly ones fewer. Dates are reckoned once for each set of them, whenever its loans end; the tapes have 181 terms.
`one set` and `one schedule` are what a hundred of them stand beside: at most twice their time is asked, 0.5 of their
rate. The hundred sets of mixed frequencies stand beside the one set of each of the same frequencies.
"""

import datetime
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import engine
from bench.peers import MONTHS, pool_of
from bench.test_kernel import assumptions, request
from bench.timing import LOANS, timed

GROUP = "payments by date"
CUTOFF = datetime.date(2024, 12, 31)
NUMBER = np.arange(LOANS)
FREQUENCIES = ("monthly", "quarterly", "semi_annual", "annual", "fortnightly", "weekly")
COUNTS = ("ACT/360", "ACT/365F", "30E/360", "ACT/ACT ISDA")
RULES = ("following", "modified_following", "preceding")


def picked(values: tuple[str, ...], number: Any) -> list[str]:
    """One of the values a loan, by its number."""
    return np.array(values, dtype=object)[number % len(values)].tolist()


def dates(days: Any) -> Any:
    """Dates so many days after the cut-off."""
    return np.datetime64(CUTOFF) + days


def schedules(count: int) -> dict[str, Any]:
    """The columns of loans on one of so many schedules, which fall in a straight line and a bit slower each."""
    month = np.arange(MONTHS + 1)
    names = tuple(f"schedule {k}" for k in range(count))
    known = {
        name: engine.Schedule(balances=(1e5 * (1 - month / (MONTHS + k))).tolist()) for k, name in enumerate(names)
    }
    return {"amortization": "schedule", "schedule": picked(names, NUMBER), "schedules": known}


# The columns of each tape by its name, what its rate is called to others, and whose rate it is a ratio of.
SETS: dict[str, Any] = {
    "day_count": picked(COUNTS, NUMBER % 100), "business_day": picked(RULES, NUMBER % 100), "calendar": "TARGET",
    "next_payment_date": dates(4 + NUMBER % 100 % 25),
}  # fmt: skip
ONE: dict[str, Any] = {
    "day_count": picked(COUNTS[:1], NUMBER), "business_day": picked(RULES[:1], NUMBER), "calendar": "TARGET",
    "next_payment_date": dates(NUMBER * 0 + 15),
}  # fmt: skip
TAPES: dict[str, tuple[dict[str, Any], str | None, tuple[str, ...]]] = {
    "monthly, by date": ({"next_payment_date": dates(NUMBER * 0 + 15), "day_count": "ACT/360"}, None, ("full",)),
    "mixed frequencies, by months": ({"payment_frequency": picked(FREQUENCIES[:4], NUMBER)}, None, ("full",)),
    "one set of dates": (ONE, "one set", ()),
    "a hundred sets of dates": (SETS, None, ("full", "one set")),
    "one set of each frequency": (ONE | {"payment_frequency": picked(FREQUENCIES, NUMBER)}, "one of each", ()),
    "a hundred sets of mixed frequencies": (
        SETS | {"payment_frequency": picked(FREQUENCIES, NUMBER % 100)}, None, ("full", "one of each"),
    ),
    "one schedule": (schedules(1), "one schedule", ()),
    "a hundred schedules": (schedules(100), None, ("full", "one schedule")),
}  # fmt: skip


@pytest.mark.parametrize("name", TAPES)
def test_payments(benchmark: BenchmarkFixture, name: str) -> None:
    columns, yardstick, against = TAPES[name]
    asked = request(pool_of(LOANS, **columns).tape, assumptions(), cutoff_date=CUTOFF)
    flows = timed(
        benchmark, lambda: engine.project(asked, threads=1), group=GROUP, loans=LOANS, threads=1, yardstick=yardstick,
        against=against, rounds=3,
    )  # fmt: skip
    assert flows["cashflow"].sum() > 0
    balances = flows["balance"] + flows["foreclosure"]
    assert balances[-1] < 1e-6 * flows.opening_balance

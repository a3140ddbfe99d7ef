"""What payments by date cost: a tape of mixed frequencies, and one of a hundred distinct sets of dates and conventions.

Each is a ratio of the `full` yardstick, whose loans all pay every month; weekly loans have more payments than that,
yearly ones fewer. Payments are reckoned once for each distinct set of them with a remaining term; the tapes have 181
terms, so the last has 18,100 sets to reckon where the others have a few hundred, and that is most of its time.
"""

import datetime
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import engine
from bench.peers import pool_of
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


# The tapes by name; the loans of the last have a hundred sets, those of the others one for each frequency.
TAPES: dict[str, dict[str, Any]] = {
    "monthly, by date": {"next_payment_date": dates(NUMBER * 0 + 15), "day_count": "ACT/360"},
    "mixed frequencies, by months": {"payment_frequency": picked(FREQUENCIES[:4], NUMBER)},
    "mixed frequencies, by date": {
        "payment_frequency": picked(FREQUENCIES, NUMBER), "next_payment_date": dates(NUMBER * 0 + 15),
        "day_count": "ACT/360", "business_day": "following", "calendar": "NYSE",
    },
    "a hundred sets of dates": {
        "payment_frequency": picked(FREQUENCIES, NUMBER % 100), "next_payment_date": dates(8 + NUMBER % 100 % 21),
        "day_count": picked(COUNTS, NUMBER % 100), "business_day": picked(RULES, NUMBER % 100), "calendar": "TARGET",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", TAPES)
def test_payments(benchmark: BenchmarkFixture, name: str) -> None:
    asked = request(pool_of(LOANS, **TAPES[name]).tape, assumptions(), cutoff_date=CUTOFF)
    flows = timed(
        benchmark, lambda: engine.project(asked, threads=1), group=GROUP, loans=LOANS, threads=1, against=("full",),
        rounds=2,
    )  # fmt: skip
    assert flows["cashflow"].sum() > 0
    balances = flows["balance"] + flows["foreclosure"]
    assert balances[-1] < 1e-6 * flows.opening_balance

"""What a request makes the engine keep grows with the tape and the answer, not with products of what it names."""

import datetime
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import engine
from engine import behaviour, segments
from engine.payment_calendars import on_dates


def peak(call: Callable[[], Any]) -> tuple[Any, int]:
    """What a call gives, and the most bytes that it had allocated."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("highest", [1, 50, 10_000_000])
def test_distinct_numbers_are_found_by_counting_and_by_sorting(highest: int) -> None:
    values = np.random.default_rng(1).integers(0, highest, 500)
    kinds, which = segments.distinct(values)
    expected, places = np.unique(values, return_inverse=True)
    assert kinds.tolist() == expected.tolist()
    assert which.tolist() == places.tolist()


def test_scenarios_that_cut_a_tape_across_one_another_take_room_for_the_loans_only() -> None:
    # Four scenarios cut 3,000 loans by rate, by age, by term and by both: 300 x 300 x 300 cells, most of them empty.
    n = 3_000
    random = np.random.default_rng(2)
    loans = engine.Tape.from_columns(
        balance=1e5, annual_rate=(random.integers(0, 300, n) + 0.5) / 1000, remaining_term=random.integers(1, 301, n),
        age=random.integers(0, 300, n),
    ).arrays()  # fmt: skip

    def cut(column: str, step: float) -> engine.Assumptions:
        return engine.Assumptions(
            rules=[
                engine.Rule(where={column: engine.Condition(min=k * step, below=(k + 1) * step)},
                            assumptions=engine.Assumptions(severity=k / 1000))
                for k in range(300)
            ]
        )  # fmt: skip

    bases = [cut("annual_rate", 0.001), cut("age", 1), cut("remaining_term", 1)]
    found, most = peak(lambda: segments.segments_of(bases, loans))
    assert most < 40e6  # a table of the cells would take 216 MB
    for s, name in enumerate(("rate", "age", "term")):
        column = getattr(loans, name) * (1000 if name == "rate" else 1)
        expected = np.where(column < 300, np.floor(column) / 1000, 0.0)
        severity = np.array([each.severity for each in found.sets[s]])[found.members]
        np.testing.assert_allclose(severity, expected)


def test_rates_by_age_and_period_are_refused_past_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    assert behaviour.MAX_RATES * 8 <= 2**28
    monkeypatch.setattr(behaviour, "MAX_RATES", 50_000)
    both = engine.Seasonal(
        curve=engine.Psa(speed=1.0), factors=[1.0 + k / 100 for k in range(12)]
    )  # fmt: skip
    tape = engine.Tape.from_columns(balance=[1e5, 1e5], annual_rate=0.05, remaining_term=[360, 10], age=[1, 200])
    asked = engine.ProjectionRequest(
        tape=tape, assumptions=engine.Assumptions(prepayment=both), cutoff_date=datetime.date(2026, 1, 1)
    )
    with pytest.raises(engine.AssumptionError, match="too many rates by age and period"):
        engine.project(asked)


def test_distinct_payment_dates_take_five_bytes_a_month_and_not_eight_of_everything() -> None:
    n = 5_000
    next_payment = np.datetime64("2026-01-01") + 1 + np.arange(n) % 28
    tape = engine.Tape.from_columns(
        balance=1e5, annual_rate=0.05, remaining_term=240, next_payment_date=next_payment,
        paid_to_date=next_payment - 1 - np.arange(n) // 28, day_count="ACT/360",
    )  # fmt: skip
    loans = tape.arrays()
    dated, most = peak(lambda: on_dates(loans, datetime.date(2025, 12, 31)))
    calendars = dated.contracts.calendars  # type: ignore[union-attr]
    assert len(calendars.begins) == n
    # The payments themselves take some hundred bytes each while they are reckoned; wide rows come on top of that.
    payments = len(calendars.years)
    assert most < 200 * payments + 3 * 5 * n * calendars.patterns.shape[1] + 40e6
    assert (np.diff(calendars.begins, axis=1) == 1).all()

"""Payment schedules and business days, against a calendar read by eye."""

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.dates import (
    BUSINESS_DAY_CONVENTIONS,
    FREQUENCIES,
    Calendar,
    add_months,
    adjust,
    is_business_day,
    payment_dates,
)
from engine.errors import InvalidInput

DATES = st.dates(datetime.date(1950, 1, 1), datetime.date(2150, 12, 31))
# Good Friday and Easter Monday 2024, and New Year's Day 2024.
EASTER = Calendar(holidays=(datetime.date(2024, 3, 29), datetime.date(2024, 4, 1), datetime.date(2024, 1, 1)))


def day(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


def column(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[D]")


def test_monthly_dates_are_reckoned_from_the_first() -> None:
    # From the 31st: clipped to 29 February and 30 April, and back on the 31st in March.
    found = payment_dates(day("2024-01-31"), "monthly", count=4)
    assert found.tolist() == column("2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30").tolist()


@pytest.mark.parametrize(
    ("end_of_month", "expected"),
    [
        (False, ["2024-04-30", "2024-05-30", "2024-06-30", "2024-07-30"]),
        (True, ["2024-04-30", "2024-05-31", "2024-06-30", "2024-07-31"]),
    ],
)
def test_end_of_month_rule(end_of_month: bool, expected: list[str]) -> None:
    found = payment_dates(day("2024-04-30"), "monthly", count=4, end_of_month=end_of_month)
    assert found.tolist() == column(*expected).tolist()


def test_end_of_month_rule_leaves_a_first_date_that_is_no_month_end() -> None:
    found = payment_dates(day("2024-02-28"), "annual", count=2, end_of_month=True)
    assert found.tolist() == column("2024-02-28", "2025-02-28").tolist()


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [
        ("weekly", ["2024-01-15", "2024-01-22", "2024-01-29"]),
        ("fortnightly", ["2024-01-15", "2024-01-29", "2024-02-12"]),
        ("monthly", ["2024-01-15", "2024-02-15", "2024-03-15"]),
        ("quarterly", ["2024-01-15", "2024-04-15", "2024-07-15"]),
        ("semi_annual", ["2024-01-15", "2024-07-15", "2025-01-15"]),
        ("annual", ["2024-01-15", "2025-01-15", "2026-01-15"]),
    ],
)
def test_every_frequency(frequency: str, expected: list[str]) -> None:
    found = payment_dates(day("2024-01-15"), frequency, count=3)  # type: ignore[arg-type]
    assert found.tolist() == column(*expected).tolist()
    until = payment_dates(day("2024-01-15"), frequency, last=day(expected[-1]))  # type: ignore[arg-type]
    assert until.tolist() == found.tolist()


def test_last_bounds_the_dates_due_not_the_dates_paid() -> None:
    # 31 March 2024 is a Sunday: due within the bound, paid on 1 April.
    found = payment_dates(day("2024-01-31"), "monthly", last=day("2024-03-31"), convention="following")
    assert found.tolist() == column("2024-01-31", "2024-02-29", "2024-04-01").tolist()
    assert payment_dates(day("2024-01-31"), "monthly", last=day("2024-01-30")).tolist() == []


@pytest.mark.parametrize(
    ("convention", "expected"),
    [
        # 29 March is Good Friday, 30 and 31 March the weekend, 1 April Easter Monday.
        ("following", "2024-04-02"),
        ("modified_following", "2024-03-28"),
        ("preceding", "2024-03-28"),
        ("none", "2024-03-30"),
    ],
)
def test_conventions_over_easter(convention: str, expected: str) -> None:
    assert adjust(day("2024-03-30"), convention, EASTER) == day(expected)  # type: ignore[call-overload]


def test_modified_following_goes_forward_within_the_month() -> None:
    # Saturday 13 January 2024 to Monday the 15th.
    assert adjust(day("2024-01-13"), "modified_following") == day("2024-01-15")


def test_schedule_moves_off_holidays_without_drifting() -> None:
    # 1 January is a holiday, 1 April too, 1 February and 1 March are a Thursday and a Friday.
    found = payment_dates(day("2024-01-01"), "monthly", count=4, convention="following", calendar=EASTER)
    assert found.tolist() == column("2024-01-02", "2024-02-01", "2024-03-01", "2024-04-02").tolist()


def test_weekend_can_be_other_days() -> None:
    # Friday 5 January 2024 moves to Sunday the 7th where the weekend is Friday and Saturday.
    gulf = Calendar(weekend=("Fri", "Sat"))
    assert adjust(day("2024-01-05"), "following", gulf) == day("2024-01-07")
    assert is_business_day(column("2024-01-05", "2024-01-07"), gulf).tolist() == [False, True]


@pytest.mark.parametrize(
    ("start", "months", "end_of_month", "expected"),
    [
        ("2023-01-31", 1, False, "2023-02-28"),
        ("2024-01-31", 1, False, "2024-02-29"),
        ("2023-02-28", 1, False, "2023-03-28"),
        ("2023-02-28", 1, True, "2023-03-31"),
        ("2024-03-31", -1, False, "2024-02-29"),
        ("2024-02-29", -12, True, "2023-02-28"),
        ("2024-02-28", 12, True, "2025-02-28"),
    ],
)
def test_add_months(start: str, months: int, end_of_month: bool, expected: str) -> None:
    assert add_months(day(start), months, end_of_month=end_of_month) == day(expected)


@given(first=DATES, frequency=st.sampled_from(FREQUENCIES), count=st.integers(1, 60))
def test_schedules_rise_and_paid_dates_are_business_days(first: datetime.date, frequency: str, count: int) -> None:
    due = payment_dates(first, frequency, count=count)  # type: ignore[arg-type]
    assert len(due) == count
    assert due[0] == np.datetime64(first)
    assert np.all(np.diff(due).astype(int) > 0)
    for convention in BUSINESS_DAY_CONVENTIONS:
        paid = payment_dates(first, frequency, count=count, convention=convention, calendar=EASTER)  # type: ignore[arg-type]
        moved = (paid - due).astype(int)
        assert np.all(np.abs(moved) <= 4), convention
        if convention == "none":
            assert not moved.any()
            continue
        assert is_business_day(paid, EASTER).all(), convention
        assert not moved[is_business_day(due, EASTER)].any(), convention
        if convention == "following":
            assert np.all(moved >= 0)
        elif convention == "preceding":
            assert np.all(moved <= 0)
        else:
            assert np.all(paid.astype("datetime64[M]") == due.astype("datetime64[M]"))


@given(dates=st.lists(DATES, min_size=1, max_size=10), months=st.integers(-240, 240), end_of_month=st.booleans())
def test_arrays_move_like_single_dates(dates: list[datetime.date], months: int, end_of_month: bool) -> None:
    moved = add_months(np.array(dates, dtype="datetime64[D]"), months, end_of_month=end_of_month)
    assert moved.tolist() == [add_months(date, months, end_of_month=end_of_month) for date in dates]


@pytest.mark.parametrize(
    ("arguments", "path", "allowed"),
    [
        ({"frequency": "daily", "count": 1}, "frequency", "'fortnightly'"),
        ({"frequency": "monthly", "count": 1, "convention": "nearest"}, "convention", "'modified_following'"),
        ({"frequency": "monthly"}, "count", "exactly one"),
        ({"frequency": "monthly", "count": 1, "last": day("2024-01-01")}, "count", "exactly one"),
        ({"frequency": "monthly", "count": -1}, "count", "0 to 100000"),
        ({"frequency": "annual", "count": 9000}, "payment dates", "years 1 to 9999"),
        (
            {
                "frequency": "annual",
                "count": 1,
                "convention": "following",
                "calendar": Calendar(weekend=("Mon", "Fry")),  # type: ignore[arg-type]
            },
            "calendar.weekend[1]",
            "'Fri'",
        ),
        (
            {
                "frequency": "annual",
                "count": 1,
                "convention": "following",
                "calendar": Calendar(weekend=("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")),
            },
            "calendar.weekend",
            "at least one",
        ),
    ],
)
def test_what_is_not_allowed_is_refused(arguments: dict[str, object], path: str, allowed: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        payment_dates(day("2024-01-01"), **arguments)  # type: ignore[arg-type]
    assert [problem.path for problem in caught.value.problems] == [path]
    assert allowed in str(caught.value)

"""Calendars, business-day rules, schedules and day counts against QuantLib, and where the two differ, why.

- Federal holidays: the public holidays of the US (country US) are kept on Friday where they fall on a Saturday. The
  Federal Reserve (market FED) does not do so, and QuantLib's FederalReserve calendar is that one. QuantLib's
  Settlement calendar is that of the public holidays; it lacks Juneteenth of 2021, which became one on 17 June 2021
  and was kept on the 18th.
- 30/360 SIFMA and ACT/ACT AFB: QuantLib has the second, as ActualActual.Euro; the first is 30/360 US but for an end in
  February, so the two agree unless both dates are the last of a February.
- 30/360 Bond Basis of QuantLib and of ISDA agree; so do 30E/360 (EurobondBasis) and 30E/360 ISDA (German or ISDA, with
  the maturity as a termination date).
"""

import datetime
import random
from collections.abc import Callable

import numpy as np
import pytest
import QuantLib as ql  # noqa: N813

from engine.dates import Calendar, add_months, adjust, is_business_day, payment_dates
from engine.day_count import days, year_fraction
from engine.errors import InvalidInput

CASES = 400
FIRST, LAST = datetime.date(2000, 1, 1), datetime.date(2030, 12, 31)
EVERY_DAY = np.arange(np.datetime64(FIRST), np.datetime64(LAST) + 1)
US = ql.UnitedStates
CALENDARS = {
    "TARGET": (Calendar(market="TARGET"), ql.TARGET(), []),
    "NYSE": (Calendar(market="NYSE"), US(US.NYSE), []),
    "US federal": (Calendar(country="US"), US(US.Settlement), ["2021-06-18"]),
    "Federal Reserve": (Calendar(market="FED"), US(US.FederalReserve), []),
    "England": (Calendar(country="GB-ENG"), ql.UnitedKingdom(), []),
}


def of(date: datetime.date) -> ql.Date:
    return ql.Date(date.day, date.month, date.year)


def back(date: ql.Date) -> datetime.date:
    return datetime.date(date.year(), date.month(), date.dayOfMonth())


@pytest.mark.parametrize("name", CALENDARS)
def test_business_days_of_thirty_one_years_agree(name: str) -> None:
    ours, theirs, known = CALENDARS[name]
    open_days = is_business_day(EVERY_DAY, ours)
    expected = np.array([theirs.isBusinessDay(of(date)) for date in EVERY_DAY.tolist()])
    assert [str(day) for day in EVERY_DAY[open_days != expected]] == known


def test_a_list_of_ones_own_is_kept_beside_the_market() -> None:
    # 15 August 2024, a Thursday, is no holiday of TARGET; 1 May is.
    own = Calendar(market="TARGET", holidays=(datetime.date(2024, 8, 15),))
    theirs = ql.BespokeCalendar("own")
    for weekday in (ql.Saturday, ql.Sunday):
        theirs.addWeekend(weekday)
    dates = np.array(["2024-05-01", "2024-08-14", "2024-08-15", "2024-08-16"], dtype="datetime64[D]")
    assert is_business_day(dates, own).tolist() == [False, True, False, True]
    assert adjust(datetime.date(2024, 8, 15), "following", own) == datetime.date(2024, 8, 16)


CONVENTIONS = {
    "following": ql.Following,
    "modified_following": ql.ModifiedFollowing,
    "preceding": ql.Preceding,
    "none": ql.Unadjusted,
}


@pytest.mark.parametrize("name", ["TARGET", "NYSE", "England"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_dates_move_off_holidays_alike(name: str, convention: str) -> None:
    ours, theirs, _ = CALENDARS[name]
    some = EVERY_DAY[:: len(EVERY_DAY) // CASES]
    moved = adjust(some, convention, ours)  # type: ignore[call-overload]
    expected = [back(theirs.adjust(of(date), CONVENTIONS[convention])) for date in some.tolist()]
    assert moved.tolist() == expected


@pytest.mark.parametrize("end_of_month", [False, True])
def test_months_are_added_alike(end_of_month: bool) -> None:
    draw = random.Random(5)
    null = ql.NullCalendar()
    for _ in range(CASES):
        start = FIRST + datetime.timedelta(days=draw.randrange(10_000))
        months = draw.randrange(-120, 121)
        expected = null.advance(of(start), ql.Period(months, ql.Months), ql.Unadjusted, end_of_month)
        assert add_months(start, months, end_of_month=end_of_month) == back(expected), (start, months)


PERIODS = {
    "weekly": ql.Period(1, ql.Weeks),
    "fortnightly": ql.Period(2, ql.Weeks),
    "monthly": ql.Period(1, ql.Months),
    "quarterly": ql.Period(3, ql.Months),
    "semi_annual": ql.Period(6, ql.Months),
    "annual": ql.Period(1, ql.Years),
}


@pytest.mark.parametrize("frequency", PERIODS)
def test_schedules_agree(frequency: str) -> None:
    # QuantLib's EndOfMonth has months end on the last business day; here the last day moves by the convention, so the
    # rule is compared without a calendar alone.
    draw = random.Random(frequency)
    for _ in range(25):
        first = FIRST + datetime.timedelta(days=draw.randrange(7_000))
        last = first + datetime.timedelta(days=draw.randrange(800, 3_000))
        for convention in ("following", "modified_following", "preceding", "none"):
            ours = payment_dates(first, frequency, last=last, convention=convention, calendar=CALENDARS["TARGET"][0])  # type: ignore[arg-type]
            theirs = ql.Schedule(
                of(first), of(last), PERIODS[frequency], ql.TARGET(), CONVENTIONS[convention],
                CONVENTIONS[convention], ql.DateGeneration.Forward, False,
            )  # fmt: skip
            # The last date of a QuantLib schedule is the end that was asked for, whether a payment is due or not.
            assert ours.tolist()[:-1] == [back(date) for date in theirs][: len(ours) - 1]
        ours = payment_dates(first, frequency, last=last, end_of_month=True)  # type: ignore[arg-type]
        theirs = ql.Schedule(
            of(first), of(last), PERIODS[frequency], ql.NullCalendar(), ql.Unadjusted, ql.Unadjusted,
            ql.DateGeneration.Forward, True,
        )  # fmt: skip
        assert ours.tolist()[:-1] == [back(date) for date in theirs][: len(ours) - 1]


Counter = Callable[[ql.Date, ql.Date], float]
THEIRS: dict[str, Counter] = {
    "30/360 Bond Basis": ql.Thirty360(ql.Thirty360.BondBasis).yearFraction,
    "30/360 US": ql.Thirty360(ql.Thirty360.USA).yearFraction,
    "30E/360": ql.Thirty360(ql.Thirty360.EurobondBasis).yearFraction,
    "30E/360 ISDA": ql.Thirty360(ql.Thirty360.ISDA, ql.Date()).yearFraction,
    "ACT/360": ql.Actual360().yearFraction,
    "ACT/365F": ql.Actual365Fixed().yearFraction,
    "ACT/ACT ISDA": ql.ActualActual(ql.ActualActual.ISDA).yearFraction,
    "ACT/ACT AFB": ql.ActualActual(ql.ActualActual.Euro).yearFraction,
}


def pairs(seed: str, span: int = 4_000) -> list[tuple[datetime.date, datetime.date]]:
    """Pairs of dates, every other one with a month's end in it."""
    draw = random.Random(seed)
    found = []
    for i in range(CASES):
        start = FIRST + datetime.timedelta(days=draw.randrange(9_000))
        end = start + datetime.timedelta(days=draw.randrange(span))
        if i % 2:
            start = start.replace(day=1) - datetime.timedelta(days=1)
        if i % 4 > 1:
            end = end.replace(day=1) - datetime.timedelta(days=1)
        found.append((min(start, end), max(start, end)))
    return found


@pytest.mark.parametrize("name", THEIRS)
def test_day_counts_agree(name: str) -> None:
    for start, end in pairs(name):
        assert year_fraction(name, start, end) == pytest.approx(THEIRS[name](of(start), of(end)), abs=1e-12), (
            start,
            end,
        )


def test_day_count_of_sifma_is_that_of_the_us_away_from_february() -> None:
    us = ql.Thirty360(ql.Thirty360.USA)
    ends = [datetime.date(year, 3, 1) - datetime.timedelta(days=1) for year in range(2000, 2045)]
    compared = 0
    for start, end in pairs("SIFMA"):
        if end not in ends or start not in ends:
            assert days("30/360 SIFMA", start, end) == us.dayCount(of(start), of(end)), (start, end)
            compared += 1
    assert compared > CASES / 2
    # From the end of a February to that of the next: the US rule makes both 30, SIFMA's the first alone.
    start, end = datetime.date(2022, 2, 28), datetime.date(2023, 2, 28)
    assert (us.dayCount(of(start), of(end)), days("30/360 SIFMA", start, end)) == (360, 358)


def test_day_count_of_isda_reads_the_maturity() -> None:
    for start, end in pairs("maturity"):
        theirs = ql.Thirty360(ql.Thirty360.ISDA, of(end))
        assert days("30E/360 ISDA", start, end, maturity=end) == theirs.dayCount(of(start), of(end)), (start, end)


@pytest.mark.parametrize(("months", "per_year"), [(12, 1), (6, 2), (3, 4), (1, 12)])
def test_day_count_of_icma_agrees_within_a_coupon_period(months: int, per_year: int) -> None:
    theirs = ql.ActualActual(ql.ActualActual.ISMA)
    draw = random.Random(months)
    for _ in range(100):
        start = datetime.date(draw.randrange(2000, 2030), draw.randrange(1, 13), draw.randrange(1, 29))
        end = add_months(start, months)
        settle = start + datetime.timedelta(days=draw.randrange((end - start).days + 1))
        ours = year_fraction("ACT/ACT ICMA", start, settle, period_start=start, period_end=end, frequency=per_year)
        assert ours == pytest.approx(theirs.yearFraction(of(start), of(settle), of(start), of(end)), abs=1e-12)


@pytest.mark.parametrize(
    ("calendar", "path"),
    [
        (Calendar(market="NOWHERE"), "calendar.market"),
        (Calendar(country="XX"), "calendar.country"),
        (Calendar(country="DE-QQ"), "calendar.country"),
    ],
)
def test_unknown_codes_are_refused(calendar: Calendar, path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        is_business_day(FIRST, calendar)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_years_without_rules_are_refused() -> None:
    with pytest.raises(InvalidInput, match="the rules of TARGET span"):
        is_business_day(datetime.date(2500, 1, 4), Calendar(market="TARGET"))

"""Day counts against the pairs that ISDA printed, against hand calculations, and single dates against arrays.

ISDA pairs: 30/360 examples, isda.org/2008/12/22/30-360-day-count-conventions, as coded in QuantLib's
test-suite/daycounters.cpp. ISDA EMU: "EMU and market conventions" (1998), coded in the same file.
"""

import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.day_count import ACTUAL, DAY_COUNTS, THIRTY_360, days, year_fraction
from engine.errors import InvalidInput

# start, end, days by 30/360 Bond Basis, days by 30E/360; None where ISDA prints no figure.
ISDA_PAIRS: list[tuple[str, str, int | None, int | None]] = [
    ("2006-08-20", "2007-02-20", 180, 180),
    ("2007-02-20", "2007-08-20", 180, 180),
    ("2007-08-20", "2008-02-20", 180, 180),
    ("2008-02-20", "2008-08-20", 180, 180),
    ("2008-08-20", "2009-02-20", 180, 180),
    ("2009-02-20", "2009-08-20", 180, 180),
    ("2006-02-28", "2006-08-31", None, 182),
    ("2006-08-31", "2007-02-28", 178, 178),
    ("2007-02-28", "2007-08-31", 183, 182),
    ("2007-08-31", "2008-02-29", 179, 179),
    ("2008-02-29", "2008-08-31", 182, 181),
    ("2008-08-31", "2009-02-28", 178, 178),
    ("2009-02-28", "2009-08-31", 183, 182),
    ("2009-08-31", "2010-02-28", None, 178),
    ("2010-02-28", "2010-08-31", None, 182),
    ("2010-08-31", "2011-02-28", None, 178),
    ("2011-02-28", "2011-08-31", None, 182),
    ("2011-08-31", "2012-02-29", None, 179),
    ("2006-01-31", "2006-02-28", 28, 28),
    ("2006-01-30", "2006-02-28", 28, 28),
    ("2006-02-28", "2006-03-03", 5, 5),
    ("2006-02-14", "2006-02-28", 14, 14),
    ("2006-09-30", "2006-10-31", 30, 30),
    ("2006-10-31", "2006-11-28", 28, 28),
    ("2007-08-31", "2008-02-28", 178, 178),
    ("2008-02-28", "2008-08-28", 180, 180),
    ("2008-02-28", "2008-08-30", 182, 182),
    ("2008-02-28", "2008-08-31", 183, 182),
    ("2007-02-26", "2008-02-28", 362, 362),
    ("2007-02-26", "2008-02-29", 363, 363),
    ("2008-02-29", "2009-02-28", 359, 359),
    ("2008-02-28", "2008-03-30", 32, 32),
    ("2008-02-28", "2008-03-31", 33, 32),
]
BOND_BASIS = [(start, end, count) for start, end, count, _ in ISDA_PAIRS if count is not None]
EUROBOND = [(start, end, count) for start, end, _, count in ISDA_PAIRS if count is not None]
# start, end, regular coupon period, ACT/ACT ISDA, ICMA, AFB. ISDA EMU.
EMU = [
    ("2003-11-01", "2004-05-01", "2003-11-01", "2004-05-01", 0.497724380567, 0.5, 0.497267759563),
    ("1999-02-01", "1999-07-01", "1998-07-01", "1999-07-01", 0.41095890411, 0.41095890411, 0.41095890411),
    ("1999-07-01", "2000-07-01", "1999-07-01", "2000-07-01", 1.0013773486, 1.0, 1.0),
    ("2002-08-15", "2003-07-15", "2003-01-15", "2003-07-15", 0.915068493151, 0.915760869565, 0.915068493151),
    ("2003-07-15", "2004-01-15", "2003-07-15", "2004-01-15", 0.504004790778, 0.5, 0.504109589041),
    ("1999-07-30", "2000-01-30", "1999-07-30", "2000-01-30", 0.503892506924, 0.5, 0.504109589041),
    ("2000-01-30", "2000-06-30", "2000-01-30", "2000-07-30", 0.415300546448, 0.417582417582, 0.41530054644),
]
DATES = st.dates(datetime.date(1900, 1, 1), datetime.date(2200, 12, 31))


def day(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


def reference_thirty_360(name: str, start: datetime.date, end: datetime.date) -> int:
    """The rules one date at a time, as the conventions word them."""

    def is_end(date: datetime.date, february: bool) -> bool:
        return (date + datetime.timedelta(days=1)).month != date.month and (date.month == 2) == february

    first, last = start.day, end.day
    if name == "30/360 US" and is_end(start, True) and is_end(end, True):
        last = 30
    if name in ("30/360 US", "30/360 SIFMA") and is_end(start, True):
        first = 30
    if name == "30E/360 ISDA":
        first = 30 if is_end(start, True) or is_end(start, False) else first
        last = 30 if is_end(end, True) or is_end(end, False) else last
    if name == "30E/360":
        first, last = min(first, 30), min(last, 30)
    if last == 31 and first >= 30:
        last = 30
    first = min(first, 30)
    return 360 * (end.year - start.year) + 30 * (end.month - start.month) + last - first


@pytest.mark.parametrize(("start", "end", "count"), BOND_BASIS)
def test_bond_basis_gives_the_days_isda_printed(start: str, end: str, count: int) -> None:
    assert days("30/360 Bond Basis", day(start), day(end)) == count


@pytest.mark.parametrize(("start", "end", "count"), EUROBOND)
def test_eurobond_gives_the_days_isda_printed(start: str, end: str, count: int) -> None:
    assert days("30E/360", day(start), day(end)) == count


@pytest.mark.parametrize(
    ("pairs", "name", "differing"),
    [
        (BOND_BASIS, "30/360 Bond Basis", 5),
        (EUROBOND, "30E/360", 10),
    ],
)
def test_sifma_differs_where_the_start_is_at_the_end_of_february(
    pairs: list[tuple[str, str, int]], name: str, differing: int
) -> None:
    # Counted by hand: five pairs of the first list start at the end of February; in the second list eight do,
    # and two more end on a 31st after a 28 February of a leap year, which SIFMA leaves and 30E/360 makes 30.
    others = [pair for pair in pairs if days("30/360 SIFMA", day(pair[0]), day(pair[1])) != pair[2]]
    assert len(others) == differing
    assert all(day(start).month == 2 for start, _, _ in others), name


@pytest.mark.parametrize(
    ("name", "start", "end", "count"),
    [
        # 28 February 2007 counts as the 30th; 31 August then too: 6 x 30 + 0.
        ("30/360 US", "2007-02-28", "2007-08-31", 180),
        ("30/360 SIFMA", "2007-02-28", "2007-08-31", 180),
        # Both at the end of February: US makes both the 30th, 360; SIFMA leaves the end, 360 + 28 - 30.
        ("30/360 US", "2008-02-29", "2009-02-28", 360),
        ("30/360 SIFMA", "2008-02-29", "2009-02-28", 358),
        # A start that is not at the end of February leaves the end alone: 28 - 31 -> 30 is -2, 180 - 2.
        ("30/360 US", "2006-08-31", "2007-02-28", 178),
        # 30E/360 ISDA makes the end of February the 30th: 180.
        ("30E/360 ISDA", "2006-08-31", "2007-02-28", 180),
        ("30E/360 ISDA", "2007-02-28", "2007-08-31", 180),
        # 28 February 2008 is not the end of the month: 180 + 30 - 28.
        ("30E/360 ISDA", "2008-02-28", "2008-08-31", 182),
    ],
)
def test_end_of_february_by_hand(name: str, start: str, end: str, count: int) -> None:
    assert days(name, day(start), day(end)) == count


def test_end_of_february_stays_where_it_is_the_maturity() -> None:
    # 31 August -> 30, 28 February stays: 180 - 2. Any other maturity makes it 30.
    start, end = day("2006-08-31"), day("2007-02-28")
    assert days("30E/360 ISDA", start, end, maturity=end) == 178
    assert days("30E/360 ISDA", start, end, maturity=day("2008-02-29")) == 180
    assert year_fraction("30E/360 ISDA", start, end, maturity=end) == pytest.approx(178 / 360, rel=1e-15)


@pytest.mark.parametrize(
    ("name", "investor_day", "stated"),
    [
        ("GNMA I", "2006-04-15", 45),
        ("GNMA II", "2006-04-20", 50),
        ("FNMA", "2006-04-25", 55),
        ("FHLMC 75", "2006-05-15", 75),
        ("FHLMC Gold", "2006-04-15", 45),
    ],
)
def test_sifma_days_give_the_stated_delays(name: str, investor_day: str, stated: int) -> None:
    # Standard Formulas, ch. SF, page SF-45: issued 1 March, homeowners pay 1 April; the stated delay counts
    # the day of issue too, and the actual one starts at the homeowners' payment, 30 days on.
    assert days("30/360 SIFMA", day("2006-03-01"), day(investor_day)) + 1 == stated, name
    assert days("30/360 SIFMA", day("2006-04-01"), day(investor_day)) == stated - 31, name


@pytest.mark.parametrize(("start", "end", "first", "last", "isda", "icma", "afb"), EMU)
def test_actual_actual_gives_the_fractions_isda_printed(
    start: str, end: str, first: str, last: str, isda: float, icma: float, afb: float
) -> None:
    dates = day(start), day(end)
    period: dict[str, Any] = {"period_start": day(first), "period_end": day(last)}
    assert year_fraction("ACT/ACT ISDA", *dates) == pytest.approx(isda, abs=1e-10)
    assert year_fraction("ACT/ACT ICMA", *dates, **period) == pytest.approx(icma, abs=1e-10)
    assert year_fraction("ACT/ACT AFB", *dates) == pytest.approx(afb, abs=1e-10)


def test_icma_long_last_period_keeps_to_month_ends() -> None:
    # ISDA EMU, last example, "ultimo": 91 of 91 days to 29 February, then 61 of the 92 to 31 May, by quarters:
    # 0.25 + 61 / 92 / 4 = 0.415761.
    found = year_fraction(
        "ACT/ACT ICMA",
        day("1999-11-30"),
        day("2000-04-30"),
        period_start=day("1999-11-30"),
        period_end=day("2000-02-29"),
        frequency=4,
    )
    assert found == pytest.approx(0.25 + 61 / 92 / 4, rel=1e-15)


def test_icma_is_the_number_of_coupons_over_the_frequency() -> None:
    # Two and a half years back and one forward of a half-year from 15 January: 3.5 years, all whole periods.
    found = year_fraction(
        "ACT/ACT ICMA",
        day("2000-07-15"),
        day("2004-01-15"),
        period_start=day("2003-01-15"),
        period_end=day("2003-07-15"),
    )
    assert found == pytest.approx(3.5, rel=1e-15)


def test_afb_counts_whole_years_back_from_the_end() -> None:
    # From 28 February 2009 back four years is 28 February 2005; a year more is 29 February 2004, in front of the
    # start; so 4 years and 1 March 2004 to 28 February 2005, 364 days over 365.
    assert year_fraction("ACT/ACT AFB", day("2004-03-01"), day("2009-02-28")) == pytest.approx(4 + 364 / 365)
    # 10 February 2004 to 15 January 2005 is 340 days with a 29 February.
    assert year_fraction("ACT/ACT AFB", day("2004-02-10"), day("2005-01-15")) == pytest.approx(340 / 366)
    # 29 February 2004 to 28 February 2008 (not the last, but AFB takes it back to the 29th): four years.
    assert year_fraction("ACT/ACT AFB", day("2004-02-29"), day("2008-02-28")) == 4


def test_actual_days_over_a_fixed_year() -> None:
    # 1 February to 1 July 1999: 28 + 31 + 30 + 31 + 30 = 150 days.
    start, end = day("1999-02-01"), day("1999-07-01")
    assert days("ACT/360", start, end) == 150
    assert year_fraction("ACT/360", start, end) == pytest.approx(150 / 360, rel=1e-15)
    assert year_fraction("ACT/365F", start, end) == pytest.approx(150 / 365, rel=1e-15)


@given(start=DATES, end=DATES)
def test_thirty_360_follows_its_wording(start: datetime.date, end: datetime.date) -> None:
    assert {name: days(name, start, end) for name in THIRTY_360} == {
        name: reference_thirty_360(name, start, end) for name in THIRTY_360
    }


@given(pairs=st.lists(st.tuples(DATES, DATES), min_size=1, max_size=20))
def test_arrays_give_what_single_dates_give(pairs: list[tuple[datetime.date, datetime.date]]) -> None:
    starts = [min(pair) for pair in pairs]
    ends = [max(pair) for pair in pairs]
    period: dict[str, Any] = {"period_start": day("2000-02-29"), "period_end": day("2000-08-31")}
    for name in DAY_COUNTS:
        extra: dict[str, Any] = period if name == "ACT/ACT ICMA" else {}
        singles = [year_fraction(name, start, end, **extra) for start, end in zip(starts, ends, strict=True)]
        arrays = np.array(starts, dtype="datetime64[D]"), np.array(ends, dtype="datetime64[D]")
        assert np.asarray(year_fraction(name, *arrays, **extra)).tolist() == singles, name
        counted = [days(name, start, end) for start, end in zip(starts, ends, strict=True)]
        assert np.asarray(days(name, *arrays)).tolist() == counted, name


@given(dates=st.lists(DATES, min_size=3, max_size=3))
def test_actual_fractions_add_up(dates: list[datetime.date]) -> None:
    first, second, third = sorted(dates)
    period: dict[str, Any] = {"period_start": day("2000-01-15"), "period_end": day("2000-07-15")}
    for name in ACTUAL:
        if name == "ACT/ACT AFB":  # whole years from the end do not add up
            continue
        extra: dict[str, Any] = period if name == "ACT/ACT ICMA" else {}
        parts = year_fraction(name, first, second, **extra) + year_fraction(name, second, third, **extra)
        assert parts == pytest.approx(year_fraction(name, first, third, **extra), abs=1e-11), name


@given(start=DATES, end=DATES)
def test_afb_stays_within_a_day_or_so_of_the_actual_years(start: datetime.date, end: datetime.date) -> None:
    first, last = sorted((start, end))
    assert year_fraction("ACT/ACT AFB", first, last) == pytest.approx((last - first).days / 365.25, abs=0.012)


def test_types_are_plain_for_single_dates_and_arrays_otherwise() -> None:
    start = np.datetime64("2020-01-01")
    assert type(days("ACT/360", start, day("2020-02-01"))) is int
    assert type(year_fraction("ACT/360", start, day("2020-02-01"))) is float
    column = np.array(["2020-02-01", "2020-03-01"], dtype="datetime64[D]")
    assert np.asarray(days("ACT/360", start, column)).tolist() == [31, 60]


@pytest.mark.parametrize("name", ["30/360", "ACT/365", "act/360", ""])
def test_unknown_name_lists_what_is_allowed(name: str) -> None:
    for call in (days, year_fraction):
        with pytest.raises(InvalidInput) as caught:
            call(name, day("2020-01-01"), day("2020-02-01"))
        assert all(allowed in str(caught.value) for allowed in DAY_COUNTS)


@pytest.mark.parametrize(
    ("extra", "path"),
    [
        ({}, "period_start"),
        ({"period_start": day("2020-01-01")}, "period_end"),
        ({"period_start": day("2020-01-01"), "period_end": day("2020-01-01")}, "period_end"),
        ({"period_start": day("2020-01-01"), "period_end": day("2020-06-01")}, "frequency"),
        ({"period_start": day("2020-01-01"), "period_end": day("2020-07-01"), "frequency": 5}, "frequency"),
    ],
)
def test_icma_needs_a_regular_period(extra: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        year_fraction("ACT/ACT ICMA", day("2020-01-01"), day("2020-02-01"), **extra)
    assert [problem.path for problem in caught.value.problems] == [path]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2020-01-01", datetime.date(2020, 2, 1)),
        (datetime.date(2020, 1, 1), 5),
        (datetime.date(2020, 1, 1), np.datetime64("NaT")),
        (np.array(["2020-01-01"] * 2, dtype="datetime64[D]"), np.array(["2020-01-01"] * 3, dtype="datetime64[D]")),
    ],
)
def test_what_is_no_date_is_refused(start: object, end: object) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        days("ACT/360", start, end)  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["ACT/ACT AFB", "ACT/ACT ICMA"])
def test_backwards_is_refused_where_it_means_nothing(name: str) -> None:
    with pytest.raises(InvalidInput, match="end is before start"):
        year_fraction(name, day("2020-02-01"), day("2020-01-01"))

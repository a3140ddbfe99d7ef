"""Day counts under their market names: days between two dates and the fraction of a year they make.

Dates are datetime.date or arrays of numpy datetime64[D], which broadcast; two single dates give an int or a
float. The start counts and the end does not. They differ at month ends, February's above all:

- 30/360 Bond Basis: 31 starts become 30; a 31 end becomes 30 if the start is then 30. ISDA 2006, 4.16(f).
- 30/360 US: as Bond Basis, after a start at the end of February has become 30, and so has an end there if the
  start is there too. Mayle, Standard Securities Calculation Methods, volume 1.
- 30/360 SIFMA: as 30/360 US, but an end in February stays. Standard Formulas, ch. SF, page SF-44.
- 30E/360: both 31s become 30. ISDA 2006, 4.16(g).
- 30E/360 ISDA: both month ends become 30, except an end in February that is the maturity. ISDA 2006, 4.16(h).
- ACT/360, ACT/365F: actual days over 360 and 365. ISDA 2006, 4.16(e) and (d).
- ACT/ACT ISDA: days in leap years over 366, the others over 365. ISDA 2006, 4.16(b).
- ACT/ACT ICMA: days in each regular coupon period over its length times the frequency. ICMA rule 251.
- ACT/ACT AFB: whole years back from the end, then the rest over 366 with a 29 February in it, else over 365.
  FBF master agreement; ISDA, EMU and market conventions (1998).
"""

from typing import overload

import numpy as np
from numpy.typing import NDArray

from engine.dates import Date, Dates, Days, Integers, as_days, is_month_end, move_months, one_of, year_month_day
from engine.errors import InvalidInput, Problem

Floats = NDArray[np.float64]

THIRTY_360 = ("30/360 Bond Basis", "30/360 US", "30/360 SIFMA", "30E/360", "30E/360 ISDA")
ACTUAL = ("ACT/360", "ACT/365F", "ACT/ACT ISDA", "ACT/ACT ICMA", "ACT/ACT AFB")
DAY_COUNTS = THIRTY_360 + ACTUAL
FREQUENCIES = (1, 2, 3, 4, 6, 12)


@overload
def days(name: str, start: Date, end: Date, *, maturity: Date | None = None) -> int: ...
@overload
def days(name: str, start: Dates, end: Dates, *, maturity: Dates | None = None) -> int | Integers: ...
def days(name: str, start: Dates, end: Dates, *, maturity: Dates | None = None) -> int | Integers:
    """Days from start to end as the named day count counts them, int64 of the broadcast shape; negative backwards.

    maturity: read by 30E/360 ISDA alone, which treats no date as the maturity without it.
    Raises InvalidInput for an unknown name or what is no date.
    """
    one_of("day_count", name, DAY_COUNTS)
    return _plain(_days(name, *_broadcast(start, end), _maturity(maturity)))


@overload
def year_fraction(
    name: str,
    start: Date,
    end: Date,
    *,
    maturity: Date | None = None,
    period_start: Date | None = None,
    period_end: Date | None = None,
    frequency: int | None = None,
) -> float: ...
@overload
def year_fraction(
    name: str,
    start: Dates,
    end: Dates,
    *,
    maturity: Dates | None = None,
    period_start: Dates | None = None,
    period_end: Dates | None = None,
    frequency: int | None = None,
) -> float | Floats: ...
def year_fraction(
    name: str,
    start: Dates,
    end: Dates,
    *,
    maturity: Dates | None = None,
    period_start: Dates | None = None,
    period_end: Dates | None = None,
    frequency: int | None = None,
) -> float | Floats:
    """Years from start to end by the named day count, float64 of the broadcast shape.

    maturity: read by 30E/360 ISDA alone. period_start, period_end: a regular coupon period, needed by ACT/ACT
    ICMA alone; what lies outside it is split over the regular periods before and after it, which keep to month
    ends if both its dates are. frequency: coupons a year; None takes the whole months of that period.
    Raises InvalidInput for an unknown name, what is no date, a missing or empty period, a frequency that does
    not divide twelve, and for an end before the start where the day count has no meaning backwards (ICMA, AFB).
    """
    one_of("day_count", name, DAY_COUNTS)
    begin, finish = _broadcast(start, end)
    if name == "ACT/ACT ISDA":
        return _plain(_isda(begin, finish))
    if name == "ACT/ACT AFB":
        _forwards(begin, finish)
        return _plain(_afb(begin, finish))
    if name == "ACT/ACT ICMA":
        _forwards(begin, finish)
        return _plain(_icma(begin, finish, *_period(period_start, period_end, frequency)))
    return _plain(_days(name, begin, finish, _maturity(maturity)) / (365 if name == "ACT/365F" else 360))


def _days(name: str, start: Days, end: Days, maturity: Days | None) -> Integers:
    if name in ACTUAL:
        return np.asarray((end - start).astype(np.int64))
    year_1, month_1, day_1 = year_month_day(start)
    year_2, month_2, day_2 = year_month_day(end)
    start_in_february = is_month_end(start) & (month_1 == 2)
    end_in_february = is_month_end(end) & (month_2 == 2)
    if name == "30/360 US":
        day_2 = np.where(start_in_february & end_in_february, 30, day_2)
    if name in ("30/360 US", "30/360 SIFMA"):
        day_1 = np.where(start_in_february, 30, day_1)
    if name == "30E/360 ISDA":
        is_final = np.False_ if maturity is None else end == maturity
        day_1 = np.where(start_in_february, 30, day_1)
        day_2 = np.where(end_in_february & ~is_final, 30, day_2)
    day_1 = np.minimum(day_1, 30)
    if name in ("30E/360", "30E/360 ISDA"):
        day_2 = np.minimum(day_2, 30)
    else:
        day_2 = np.where((day_2 == 31) & (day_1 == 30), 30, day_2)
    return np.asarray(360 * (year_2 - year_1) + 30 * (month_2 - month_1) + (day_2 - day_1))


def _isda(start: Days, end: Days) -> Floats:
    # Where each date stands in its own year; the whole years between count one each.
    year_1, into_1 = _into_year(start)
    year_2, into_2 = _into_year(end)
    return np.asarray((year_2 - year_1) + (into_2 - into_1))


def _into_year(dates: Days) -> tuple[Integers, Floats]:
    """The year of each date, and the fraction of that year before it."""
    years = dates.astype("datetime64[Y]")
    first, beyond = years.astype("datetime64[D]"), (years + 1).astype("datetime64[D]")
    return years.astype(np.int64), (dates - first) / (beyond - first)


def _afb(start: Days, end: Days) -> Floats:
    years = np.maximum(year_month_day(end)[0] - year_month_day(start)[0], 0)
    years = np.where(_years_back(end, years) < start, years - 1, years)
    rest = _years_back(end, years)
    year = np.where(year_month_day(rest)[1] > 2, year_month_day(rest)[0], year_month_day(start)[0])
    # The rest is under a year, so it has at most one end of February; it is the 29th in a leap year.
    first_of_march = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + 2
    end_of_february = first_of_march.astype("datetime64[D]") - 1
    has_29th = (year_month_day(end_of_february)[2] == 29) & (start <= end_of_february) & (end_of_february < rest)
    return np.asarray(years + (rest - start).astype(np.int64) / np.where(has_29th, 366, 365))


def _years_back(end: Days, years: Integers) -> Days:
    """The end moved back by whole years; from the 28th or 29th of February always to the last of February."""
    _, month, day = year_month_day(end)
    return np.where(years > 0, move_months(end, -12 * years, np.where((month == 2) & (day >= 28), 29, day)), end)


def _icma(start: Days, end: Days, period_start: Days, period_end: Days, frequency: int) -> Floats:
    months = 12 // frequency
    at_month_end = is_month_end(period_start) & is_month_end(period_end)
    day = np.maximum(year_month_day(period_start)[2], year_month_day(period_end)[2])
    day = np.where(at_month_end, 31, day)
    total = _overlap(start, end, period_start, period_end) / frequency
    low, step = period_start, 0
    while np.any(start < low):
        step += 1
        high, low = low, move_months(period_start, -step * months, day)
        total = total + _overlap(start, end, low, high) / frequency
    high, step = period_end, 0
    while np.any(end > high):
        step += 1
        low, high = high, move_months(period_end, step * months, day)
        total = total + _overlap(start, end, low, high) / frequency
    return np.asarray(total)


def _overlap(start: Days, end: Days, low: Days, high: Days) -> Floats:
    """The part of the period from low to high that lies between start and end, in [0, 1]."""
    shared = (np.minimum(end, high) - np.maximum(start, low)).astype(np.int64)
    return np.asarray(np.maximum(shared, 0) / (high - low).astype(np.int64))


def _period(start: Dates | None, end: Dates | None, frequency: int | None) -> tuple[Days, Days, int]:
    """The regular coupon period of ACT/ACT ICMA and its frequency, checked."""
    if start is None or end is None:
        message = "is missing; ACT/ACT ICMA expects the period_start and period_end of a regular coupon period"
        raise InvalidInput([Problem("period_start" if start is None else "period_end", message)])
    first, last = as_days("period_start", start), as_days("period_end", end)
    if not np.all(first < last):
        raise InvalidInput([Problem("period_end", "is not after period_start; expected a period of some days")])
    if frequency is None:
        lengths = np.unique(np.rint((last - first).astype(np.int64) * 12 / 365))
        frequency = int(12 // lengths[0]) if len(lengths) == 1 and lengths[0] in (1, 2, 3, 4, 6, 12) else 0
    if frequency not in FREQUENCIES:
        message = f"is not told by the coupon period or is none of {FREQUENCIES}; expected coupons a year"
        raise InvalidInput([Problem("frequency", message)])
    return first, last, frequency


def _broadcast(start: Dates, end: Dates) -> tuple[Days, Days]:
    begin, finish = as_days("start", start), as_days("end", end)
    try:
        np.broadcast_shapes(begin.shape, finish.shape)
    except ValueError:
        message = f"has shape {finish.shape}; expected one that broadcasts with {begin.shape}, the shape of start"
        raise InvalidInput([Problem("end", message)]) from None
    return begin, finish


def _forwards(start: Days, end: Days) -> None:
    if not np.all(start <= end):
        raise InvalidInput([Problem("end", "is before start; expected the same day or a later one")])


def _maturity(maturity: Dates | None) -> Days | None:
    return None if maturity is None else as_days("maturity", maturity)


@overload
def _plain(values: Integers) -> int | Integers: ...
@overload
def _plain(values: Floats) -> float | Floats: ...
def _plain(values: Integers | Floats) -> int | float | Integers | Floats:
    """The value itself where there is one, else the array."""
    return values.item() if np.ndim(values) == 0 else values

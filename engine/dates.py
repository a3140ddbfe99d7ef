"""Calendar dates: months, month ends, business days and payment schedules.

Dates are datetime.date or arrays of numpy datetime64[D]; what goes in as one date comes out as one date.
Business-day conventions are those of the 2006 ISDA Definitions, section 4.12.
"""

import datetime
import functools
from collections.abc import Iterable
from typing import Literal, get_args, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidInput, Problem
from engine.named_holidays import country_codes, market_codes, named_holidays

Days = NDArray[np.datetime64]
Integers = NDArray[np.int64]
Date = datetime.date | np.datetime64
Dates = Date | Days

Frequency = Literal["weekly", "fortnightly", "monthly", "quarterly", "semi_annual", "annual"]
FREQUENCIES: tuple[str, ...] = get_args(Frequency)
BusinessDayConvention = Literal["following", "modified_following", "preceding", "none"]
BUSINESS_DAY_CONVENTIONS: tuple[str, ...] = get_args(BusinessDayConvention)
Weekday = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
WEEKDAYS: tuple[str, ...] = get_args(Weekday)

MONTHS_APART = {"monthly": 1, "quarterly": 3, "semi_annual": 6, "annual": 12}
DAYS_APART = {"weekly": 7, "fortnightly": 14}
ROLLS: dict[str, Literal["following", "modifiedfollowing", "preceding"]] = {
    "following": "following",
    "modified_following": "modifiedfollowing",
    "preceding": "preceding",
}
MAX_PAYMENTS = 100_000
# The years of datetime.date, so that every date of an answer can be given back as one.
FIRST_DATE, FIRST_DAY, LAST_DAY = datetime.date.min, np.datetime64("0001-01-01"), np.datetime64("9999-12-31")


class Calendar(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Days without payments: the weekend, every week, and holidays.

    holidays: a list of one's own. market: code of a market whose holidays are kept too, such as NYSE or TARGET.
    country: ISO 3166 code of a country whose public holidays are kept too, such as US or, for a part of it, DE-BY.
    """

    holidays: tuple[datetime.date, ...] = ()
    weekend: tuple[Weekday, ...] = ("Sat", "Sun")
    market: str | None = None
    country: str | None = None


WEEKENDS_ONLY = Calendar()


def named_calendar(code: str | None, holidays: tuple[datetime.date, ...] = ()) -> Calendar:
    """The calendar of a market (NYSE) or a country (US, DE-BY), of weekends alone without a code, with holidays beside.

    Raises InvalidInput for a code of neither.
    """
    if code is None:
        return Calendar(holidays=holidays)
    if code in market_codes():
        return Calendar(market=code, holidays=holidays)
    if code.partition("-")[0] in country_codes():
        return Calendar(country=code, holidays=holidays)
    message = f"is {code!r}; expected the code of a market (NYSE) or country (US, DE-BY)"
    raise InvalidInput([Problem("calendar", message)])


def one_of(path: str, value: object, allowed: Iterable[str]) -> None:
    """Raises InvalidInput unless the value is one of those allowed."""
    names = list(allowed)
    if value not in names:
        raise InvalidInput([Problem(path, f"is {value!r}; expected one of {', '.join(map(repr, names))}")])


def as_days(path: str, dates: object) -> Days:
    """The dates as datetime64[D], of the shape they have. Raises InvalidInput for what is no date."""
    array = np.asarray(dates)
    if array.dtype.kind == "O" and array.size and all(isinstance(date, datetime.date) for date in array.flat):
        array = array.astype("datetime64[D]")
    if array.dtype.kind != "M":
        raise InvalidInput([Problem(path, f"is {dates!r}; expected datetime.date or numpy datetime64")])
    days = array.astype("datetime64[D]")
    if not np.all((days >= FIRST_DAY) & (days <= LAST_DAY)):  # NaT is neither
        raise InvalidInput([Problem(path, "has no date or one out of range; expected years 1 to 9999")])
    return days


def year_month_day(days: Days) -> tuple[Integers, Integers, Integers]:
    """Year, month (1 to 12) and day of the month (1 to 31) of each date."""
    months = days.astype("datetime64[M]")
    since_1970 = months.astype(np.int64)
    return since_1970 // 12 + 1970, since_1970 % 12 + 1, (days - months.astype("datetime64[D]")).astype(np.int64) + 1


def last_of_month(days: Days) -> Days:
    """The last day of the month of each date."""
    last: Days = (days.astype("datetime64[M]") + 1).astype("datetime64[D]") - 1
    return last


def is_month_end(days: Days) -> NDArray[np.bool_]:
    """Whether each date is the last of its month."""
    return np.asarray(days == last_of_month(days))


def move_months(days: Days, months: Integers | int, day: Integers | int | None = None) -> Days:
    """Each date moved by whole months, to `day` of the month (its own if None) or the month's last if shorter."""
    target = days.astype("datetime64[M]") + np.asarray(months, dtype="timedelta64[M]")
    wanted = year_month_day(days)[2] if day is None else day
    moved: Days = np.minimum(target.astype("datetime64[D]") + wanted - 1, last_of_month(target.astype("datetime64[D]")))
    return moved


@overload
def add_months(dates: Date, months: int, *, end_of_month: bool = False) -> datetime.date: ...
@overload
def add_months(dates: Days, months: Integers | int, *, end_of_month: bool = False) -> Days: ...
def add_months(dates: Dates, months: Integers | int, *, end_of_month: bool = False) -> datetime.date | Days:
    """Dates moved by whole months, clipped to the end of a shorter month.

    end_of_month: a date that is the last of its month moves to the last of the other (28 February to 31 March).
    """
    days = as_days("dates", dates)
    return _like(days, _add_months(days, months, end_of_month))


def is_business_day(dates: Dates, calendar: Calendar = WEEKENDS_ONLY) -> NDArray[np.bool_]:
    """Whether each date is neither in the weekend nor a holiday, bool of the shape of `dates`."""
    days = as_days("dates", dates)
    return np.asarray(np.is_busday(days, busdaycal=_business_days(calendar, days)))


@overload
def adjust(dates: Date, convention: BusinessDayConvention, calendar: Calendar = WEEKENDS_ONLY) -> datetime.date: ...
@overload
def adjust(dates: Days, convention: BusinessDayConvention, calendar: Calendar = WEEKENDS_ONLY) -> Days: ...
def adjust(dates: Dates, convention: BusinessDayConvention, calendar: Calendar = WEEKENDS_ONLY) -> datetime.date | Days:
    """Dates moved off weekends and holidays.

    following: to the next business day. modified_following: to the next, or to the one before where the next is
    in another month. preceding: to the one before. none: left where they are.
    """
    days = as_days("dates", dates)
    return _like(days, _adjust(days, convention, calendar))


def payment_dates(
    first: Date,
    frequency: Frequency,
    *,
    count: int | None = None,
    last: Date | None = None,
    end_of_month: bool = False,
    convention: BusinessDayConvention = "none",
    calendar: Calendar = WEEKENDS_ONLY,
) -> Days:
    """Payment dates from `first` on, datetime64[D] (payments,): `count` of them, or all those due up to `last`.

    Each is reckoned from `first`, not from the one before, so that 31 January, 28 February, 31 March follow one
    another. end_of_month: if `first` is the last of its month every date is (30 April, 31 May). `last` bounds the
    dates due, before they move off weekends and holidays. Raises InvalidInput for an unknown frequency or
    convention, and unless exactly one of count and last is given.
    """
    one_of("frequency", frequency, FREQUENCIES)
    start = as_days("first", first)
    if start.ndim:
        raise InvalidInput([Problem("first", f"has shape {start.shape}; expected one date")])
    steps = np.arange(_payments(start, frequency, count, last), dtype=np.int64)
    if frequency in DAYS_APART:
        due: Days = start + steps * DAYS_APART[frequency]
    else:
        due = _add_months(start, steps * MONTHS_APART[frequency], end_of_month)
    if last is not None:
        due = due[due <= as_days("last", last)]
    return _adjust(as_days("payment dates", due), convention, calendar)


def _payments(start: Days, frequency: str, count: int | None, last: Date | None) -> int:
    """How many dates to reckon: the count, or enough to reach the last."""
    if (count is None) == (last is None):
        raise InvalidInput([Problem("count", "and last are both given or both missing; expected exactly one")])
    if count is None:
        gap = int((as_days("last", last) - start).astype(np.int64))
        shortest = DAYS_APART.get(frequency) or 28 * MONTHS_APART[frequency]
        count = max(gap // shortest + 1, 0)
    if not 0 <= count <= MAX_PAYMENTS:
        raise InvalidInput([Problem("count", f"is {count}; expected 0 to {MAX_PAYMENTS} payments")])
    return count


def _add_months(days: Days, months: Integers | int, end_of_month: bool) -> Days:
    moved = move_months(days, months)
    return np.where(is_month_end(days), last_of_month(moved), moved) if end_of_month else moved


def _adjust(days: Days, convention: str, calendar: Calendar) -> Days:
    one_of("convention", convention, BUSINESS_DAY_CONVENTIONS)
    if convention == "none":
        return days
    return np.asarray(np.busday_offset(days, 0, roll=ROLLS[convention], busdaycal=_business_days(calendar, days)))


def _business_days(calendar: Calendar, days: Days) -> np.busdaycalendar:
    """The business days of a calendar around dates, a year more on both sides for dates that move."""
    if (calendar.market is None and calendar.country is None) or not days.size:
        return _calendar(calendar, 0, 0)
    first, last = (int(year_month_day(np.asarray(day))[0]) for day in (days.min(), days.max()))
    return _calendar(calendar, max(first - 1, 1), min(last + 1, 9999))


@functools.lru_cache(maxsize=256)
def _calendar(calendar: Calendar, first_year: int, last_year: int) -> np.busdaycalendar:
    for i, name in enumerate(calendar.weekend):
        one_of(f"calendar.weekend[{i}]", name, WEEKDAYS)
    mask = [name not in calendar.weekend for name in WEEKDAYS]
    if not any(mask):
        raise InvalidInput([Problem("calendar.weekend", "has all seven days; expected at least one business day")])
    holidays = np.array(calendar.holidays, dtype="datetime64[D]")
    if first_year:
        named = named_holidays(calendar.market, calendar.country, first_year, last_year)
        holidays = np.concatenate([holidays, named])
    return np.busdaycalendar(weekmask=mask, holidays=holidays)


def _like(given: Days, answer: Days) -> datetime.date | Days:
    """The answer as a datetime.date where one date was given."""
    if given.ndim == 0 and np.ndim(answer) == 0:
        return FIRST_DATE + datetime.timedelta(days=int((np.asarray(answer) - FIRST_DAY).astype(np.int64)))
    return answer

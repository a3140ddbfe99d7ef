"""When loans pay: the columns that say it, read and checked as far as they can be without a cut-off date.

engine/payment_calendars.py reckons the payments themselves, once the request says from when.
"""

import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.asset_terms import LOAN
from engine.checks import Checks, Where
from engine.dates import (
    BUSINESS_DAY_CONVENTIONS,
    DAYS_APART,
    FREQUENCIES,
    MONTHS_APART,
    WEEKENDS_ONLY,
    Calendar,
    Days,
    named_calendar,
)
from engine.day_count import DAY_COUNTS
from engine.errors import MAX_PROBLEMS, InvalidInput
from engine.loans import FINAL_STUBS, MONTH_ENDS, STATUSES

if TYPE_CHECKING:
    from engine.contracts import Contracts
    from engine.loan_arrays import LoanArrays

Mask = NDArray[np.bool_]
DATES = ("origination_date", "next_payment_date", "paid_to_date", "maturity_date")
PAYMENT_COLUMNS = (
    "payment_frequency", *DATES, "final_stub", "day_count", "business_day", "accrual_business_day", "calendar",
    "month_end",
)  # fmt: skip
MONTHLY = FREQUENCIES.index("monthly")
PAYMENTS_A_YEAR = np.array(
    [{"weekly": 52, "fortnightly": 26}.get(name) or 12 // MONTHS_APART[name] for name in FREQUENCIES]
)
MONTHS = np.array([MONTHS_APART.get(name, 0) for name in FREQUENCIES])
DAYS = np.array([DAYS_APART.get(name, 0) for name in FREQUENCIES])
IN_DEFAULT = [STATUSES.index(name) for name in ("default", "foreclosure", "reo")]
NO_DATE = np.datetime64("NaT", "D")
FIRST, LAST = np.datetime64("1900-01-01"), np.datetime64("2299-12-31")
ALLOWED = "a date from 1900-01-01 to 2299-12-31 as YYYY-MM-DD"


class Payments(msgspec.Struct, frozen=True, kw_only=True):
    """When the loans of a tape pay, each of shape (loans,).

    frequency, day_count, business_day, accrual: positions in FREQUENCIES, DAY_COUNTS (-1 for equal periods) and
    BUSINESS_DAY_CONVENTIONS. Dates are datetime64[D], NaT where not stated. calendar: position in `calendars`.
    stated: loans that do not simply pay every month from the cut-off. dated: those of them that state dates.
    """

    frequency: NDArray[np.int8]
    origination: Days
    next_payment: Days
    paid_to: Days
    maturity: Days
    long_stub: Mask
    day_count: NDArray[np.int8]
    business_day: NDArray[np.int8]
    accrual: NDArray[np.int8]
    calendar: NDArray[np.int32]
    month_end: Mask
    stated: Mask
    dated: Mask
    calendars: tuple[Calendar, ...]
    where: Where

    def taken(self, index: NDArray[np.int64]) -> "Payments":
        """The loans at the index, in its order."""
        columns = {name: getattr(self, name) for name in self.__struct_fields__}
        arrays = {name: column[index] for name, column in columns.items() if isinstance(column, np.ndarray)}
        return msgspec.structs.replace(self, **arrays)


def payments_of(check: Checks, calendars: dict[str, Calendar] | None) -> Payments | None:
    """When the loans pay, none where no loan says; faults go to `check`. calendars: of the tape, none: unread."""
    if all(check.columns[name] is None for name in PAYMENT_COLUMNS):
        return None
    frequency = check.choice("payment_frequency", FREQUENCIES)
    frequency = np.where(frequency < 0, np.int8(MONTHLY), frequency)
    origination, next_payment, paid_to, maturity = (dates(check, name) for name in DATES)
    day_count = check.choice("day_count", DAY_COUNTS)
    business_day, accrual = (conventions(check, name) for name in ("business_day", "accrual_business_day"))
    stub, month_end = check.choice("final_stub", FINAL_STUBS), check.choice("month_end", MONTH_ENDS)
    calendar, names = check.names("calendar")
    # Origination and maturity alone are what every tape states, also of loans that pay every month.
    dated = ~np.isnat(next_payment) | ~np.isnat(paid_to)
    plain = (frequency == MONTHLY) & (day_count < 0) & (business_day == NONE) & (accrual == NONE) & (calendar < 0)
    return Payments(
        frequency=frequency, origination=origination, next_payment=next_payment, paid_to=paid_to, maturity=maturity,
        long_stub=stub == FINAL_STUBS.index("long"), day_count=day_count, business_day=business_day, accrual=accrual,
        calendar=calendar, month_end=month_end == MONTH_ENDS.index("last_day"), stated=~plain | dated,
        dated=dated | (~plain & ~np.isnat(origination)), calendars=calendars_of(check, calendar, names, calendars),
        where=check.where,
    )  # fmt: skip


NONE = BUSINESS_DAY_CONVENTIONS.index("none")


def conventions(check: Checks, name: str) -> NDArray[np.int8]:
    found = check.choice(name, BUSINESS_DAY_CONVENTIONS)
    return np.where(found < 0, np.int8(NONE), found)


def dates(check: Checks, name: str) -> Days:
    """The column as datetime64[D], NaT where it is blank. Equal texts are read once."""
    value = check.columns[name]
    if isinstance(value, np.ndarray) and value.dtype.kind == "M":
        found = check.sized(name, value.astype("datetime64[D]"))
    elif value is None or np.ndim(value) == 0:
        date, fault = one_date(value)
        if fault:
            check.report(name, None, fault)
        return np.broadcast_to(date, (check.n,))
    else:
        known: dict[Any, Any] = {}
        items = list(value)
        for i, item in enumerate(items):
            if item not in known:
                known[item], fault = one_date(item)
                if fault:
                    check.report(name, i, fault)
        found = check.sized(name, np.array([known[item] for item in items], dtype="datetime64[D]"))
    for i in np.flatnonzero((found < FIRST) | (found > LAST))[:MAX_PROBLEMS]:
        check.report(name, int(i), f"is {found[i]}; expected {ALLOWED}")
    return found


def one_date(item: Any) -> tuple[Any, str]:
    """The date and what is wrong with it, blank if nothing."""
    if item is None or item == "" or item != item:
        return NO_DATE, ""
    if isinstance(item, datetime.date | np.datetime64):
        return np.asarray(item).astype("datetime64[D]")[()], ""
    try:
        found = np.datetime64(datetime.date.fromisoformat(item), "D")
    except (TypeError, ValueError):
        return NO_DATE, f"is {item!r}; expected {ALLOWED}"
    return (found, "") if FIRST <= found <= LAST else (NO_DATE, f"is {item!r}; expected {ALLOWED}")


def calendars_of(
    check: Checks, which: NDArray[np.int32], names: tuple[str, ...], known: dict[str, Calendar] | None
) -> tuple[Calendar, ...]:
    """The calendars of the names, and one of weekends alone at the end, where -1 points."""
    found: list[Calendar] = []
    if known is None:
        return (WEEKENDS_ONLY,)
    for k, name in enumerate(names):
        try:
            found.append(known[name] if name in known else named_calendar(name))
        except InvalidInput:
            i = None if which.strides == (0,) else int(np.argmax(which == k))
            message = "expected a name in tape.calendars, or the code of a market (NYSE) or country (US, DE-BY)"
            check.report("calendar", i, f"is {name!r}; {message}")
    return (*found, WEEKENDS_ONLY)


def refuse_payments(refuse: Any, stated: Any, loans: "LoanArrays", terms: "Contracts", payments: Payments) -> None:
    """Reports what contradicts itself whatever the cut-off date."""
    dated, frequency = payments.dated, payments.frequency
    by_days, months = DAYS[frequency] > 0, MONTHS[frequency]
    refuse(
        by_days & ~dated, "next_payment_date",
        "is missing; weekly and fortnightly payments fall into months by their dates",
    )  # fmt: skip
    for name in ("day_count", "business_day", "accrual_business_day", "month_end"):
        refuse(stated(name) & ~dated, "next_payment_date", f"is missing beside {name}, which dates need")
    refuse(stated("final_stub") & ~stated("maturity_date"), "maturity_date", "is missing beside final_stub")
    moves = (payments.business_day != NONE) | (payments.accrual != NONE)
    refuse(stated("calendar") & ~moves, "business_day", "is missing beside calendar; nothing moves by it")
    anchored = ~np.isnat(payments.next_payment) | ~np.isnat(payments.origination)
    refuse(dated & ~anchored, "next_payment_date", "is missing; dates are counted from it or from origination_date")
    icma = payments.day_count == DAY_COUNTS.index("ACT/ACT ICMA")
    refuse(
        icma & by_days, "day_count", "is ACT/ACT ICMA on a loan that pays by weeks; it needs periods of whole months"
    )
    refuse_terms(refuse, loans, terms, payments.stated)
    over = np.where(loans.amortization_term > 0, loans.interest_only + loans.amortization_term - loans.term, 0)
    refuse(
        (months > 1) & (over % np.maximum(months, 1) != 0), "amortization_term",
        "leaves no whole number of payments after maturity; expected a multiple of the months between payments more",
    )  # fmt: skip


def refuse_terms(refuse: Any, loans: "LoanArrays", terms: "Contracts", where: Mask) -> None:
    """Reports terms that are of months, on loans that pay otherwise."""
    numbers = terms.numbers
    what = "is stated on a loan that does not pay every month from the cut-off; it counts months"
    assets = terms.assets
    given = where if assets is None else where & (assets.kind == LOAN)
    refuse(given & (terms.schedule >= 0), "schedule", what)
    if assets is not None:
        stated = "is stated on an asset that does not pay every month from the cut-off; only loans take dates"
        refuse(where & (assets.kind != LOAN), "type", stated)
    late = where & np.isin(loans.status, IN_DEFAULT)
    refuse(late, "status", "is of a loan in default, which pays no instalments; expected it without payment dates")
    refuse(where & (numbers["graduation_years"] > 0), "graduation_rate", what)
    refuse(where & np.isfinite(numbers["neg_am_limit"]), "neg_am_limit", what)

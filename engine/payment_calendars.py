"""The payments of loans in the months from the cut-off: how many fall into each, and the years of interest due.

Reckoned once for each distinct set of dates and conventions, whenever its loans end. Month t runs from t - 1 to t
months after the cut-off, the last day included; a cut-off on the last day of a month has months that end on last days.
"""

import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import _core
from engine.calendar_parts import Part, months_only
from engine.errors import AssumptionError, Problem
from engine.payment_dates import Faults, by_date, edges_from
from engine.payments import MONTHS, PAYMENTS_A_YEAR, Payments, refuse_terms

if TYPE_CHECKING:
    from engine.contracts import Contracts
    from engine.loan_arrays import LoanArrays

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
MAX_LAG = 360  # months after maturity in which something is still owed, as assumptions allow


class PaymentCalendars(msgspec.Struct, frozen=True, kw_only=True):
    """Calendars of a tape, and which each loan has.

    calendar, pattern: int32 (loans,), -1 for a loan that pays every month. begins: int32 (calendars, months + 1), where
    the payments of month t + 1 begin in `years`, the fraction of a year whose interest is due with each payment.
    patterns: float64 (patterns, months + 1), what each month is to behaviour (ext/behaviour.pxi). period: years between
    payments. payments: of each loan, those of its amortization beyond maturity included. steady: whether its periods
    are all alike.
    """

    calendar: NDArray[np.int32]
    pattern: NDArray[np.int32]
    begins: NDArray[np.int32]
    years: Floats
    patterns: Floats
    period: Floats
    payments: Floats
    steady: NDArray[np.bool_]

    def taken(self, index: Integers) -> "PaymentCalendars":
        """The loans at the index, in its order."""
        names = ("calendar", "pattern", "period", "payments", "steady")
        return msgspec.structs.replace(self, **{name: getattr(self, name)[index] for name in names})


def on_dates(loans: "LoanArrays", cutoff: datetime.date | None) -> "LoanArrays":
    """The loans with their payments reckoned from the cut-off; those that pay every month from it as they were.

    Raises AssumptionError where the cut-off date is missing, TapeError for dates that contradict it or one another.
    """
    terms = loans.contracts
    if terms is None or terms.payments is None:
        return loans
    payments = terms.payments
    if cutoff is None:
        if payments.dated.any():
            raise AssumptionError([Problem("cutoff_date", "is missing; the tape's payment dates count from it")])
        future = np.zeros(len(loans), dtype=bool)
    else:
        future = payments.origination > np.datetime64(cutoff, "D")
    check_spread(loans, payments, future, cutoff)
    stepped = payments.stated | future
    if not stepped.any():
        return loans
    return placed(loans, terms, payments, cutoff, future, np.flatnonzero(stepped))


def check_spread(
    loans: "LoanArrays", payments: Payments, future: NDArray[np.bool_], cutoff: datetime.date | None
) -> None:
    """Refuses amortizations that end before maturity, of loans that state their origination."""
    told = ~np.isnat(payments.origination) & (loans.amortization_term > 0)
    if not told.any():
        return
    start = np.zeros(len(loans), dtype=np.int64)
    if cutoff is not None:
        start = np.where(future, np.searchsorted(edges_from(cutoff), payments.origination, side="left"), 0)
    short = told & (loans.amortization_term + loans.interest_only + start < loans.term)
    refuse = Faults(payments)
    refuse(short, "amortization_term", "ends before maturity; expected the months to it at least")
    refuse.check()


def placed(
    loans: "LoanArrays", terms: "Contracts", payments: Payments, cutoff: datetime.date | None,
    future: NDArray[np.bool_], some: Integers,
) -> "LoanArrays":  # fmt: skip
    """The loans with calendars for `some` of them."""
    dated = (payments.dated | future)[some]
    by_months, by_dates = some[~dated], some[dated]
    n, term = len(loans), np.array(loans.term)
    parts: list[tuple[Part, Integers]] = []
    if len(by_months):
        parts.append((months_only(payments.frequency[by_months], term[by_months]), by_months))
    if len(by_dates):
        assert cutoff is not None
        parts.append((by_date(payments, term, cutoff, by_dates), by_dates))
    calendar, pattern = np.full(n, -1, dtype=np.int32), np.full(n, -1, dtype=np.int32)
    start, first = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    width = max(int(part.last.max()) for part, _ in parts)
    begins: list[NDArray[np.int32]] = []
    years, offset = [np.zeros(1)], 1
    flags: list[NDArray[np.int8]] = []
    for part, where in parts:
        calendar[where] = part.of_loan + sum(map(len, begins))
        pattern[where] = part.kind + sum(map(len, flags))
        start[where], first[where], term[where] = part.start, part.first, part.last
        begins.append(part.begins(width, offset))
        flags.append(part.flags(width + MAX_LAG + 1))
        years.append(part.years)
        offset += len(part.years)
    kinds, kind = distinct_rows(np.concatenate(flags))
    every = (kinds[:, 1:] == _core.MONTH_PAYS).all(axis=1)
    pattern[some] = np.where(every, -1, np.arange(len(kinds)))[kind][pattern[some]]
    free = np.where((loans.interest_only > 0) & (start > 0), loans.interest_only + start, loans.interest_only)
    begin = np.concatenate(begins)
    found = PaymentCalendars(
        calendar=calendar, pattern=pattern, begins=begin, years=np.concatenate(years),
        patterns=kinds.astype(np.float64), period=1.0 / PAYMENTS_A_YEAR[payments.frequency],
        steady=payments.day_count < 0, payments=counted(loans, payments, free, begin, calendar, term),
    )  # fmt: skip
    refuse_after(loans, terms, payments, free, start, first, calendar, future)
    stepped = terms.stepped.copy()
    stepped[some] = True
    return msgspec.structs.replace(
        loans, term=term.astype(np.int32), interest_only=free.astype(np.int32),
        age=np.where(start > 0, -start, loans.age).astype(np.int32),
        contracts=msgspec.structs.replace(terms, calendars=found, stepped=stepped),
    )  # fmt: skip


def distinct_rows(rows: NDArray[np.int8]) -> tuple[NDArray[np.int8], Integers]:
    """The distinct rows in order of the first of each, and which of them each row is."""
    places: dict[bytes, int] = {}
    which = np.array([places.setdefault(row.tobytes(), len(places)) for row in rows], dtype=np.int64)
    return rows[np.unique(which, return_index=True)[1]], which


def counted(
    loans: "LoanArrays", payments: Payments, free: Integers, begins: NDArray[np.int32], calendar: NDArray[np.int32],
    term: NDArray[np.int32],
) -> Floats:  # fmt: skip
    """Payments over which principal is spread, from the cut-off; those after maturity of a balloon included."""
    found = np.zeros(len(loans))
    some = np.flatnonzero(calendar >= 0)
    rows = calendar[some]
    found[some] = begins[rows, np.minimum(term[some], begins.shape[1] - 1)] - begins[rows, 0]
    over = np.where(loans.amortization_term > 0, free + loans.amortization_term - loans.term, 0)[some]
    found[some] += np.rint(np.maximum(over, 0) * PAYMENTS_A_YEAR[payments.frequency[some]] / 12)
    return found


def refuse_after(
    loans: "LoanArrays", terms: "Contracts", payments: Payments, free: NDArray[Any], start: NDArray[Any],
    first: Integers, calendar: NDArray[np.int32], future: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Reports terms that do not fit the payments. first: month of the first payment that is regular."""
    refuse, numbers = Faults(payments), terms.numbers
    refuse(future & (loans.age > 0), "age", "is above 0 on a loan that starts after the cut-off")
    refuse(future & (start >= loans.term), "origination_date", "lies in the month of maturity or after it")
    refuse(future & (free > loans.term), "interest_only_term", "reaches beyond maturity")
    refuse_terms(refuse, loans, terms, future)
    apart = MONTHS[payments.frequency]
    rare = (calendar >= 0) & (apart > 1)
    between = "falls between payments, whose interest accrues at one rate; expected months in which the loan pays"
    floating = rare & (terms.index >= 0)
    off = (numbers["first_reset"] - first) % np.maximum(apart, 1) != 0
    refuse(floating & off, "first_reset", between)
    refuse(floating & (numbers["reset_frequency"] % np.maximum(apart, 1) != 0), "reset_frequency", between)
    for k, steps in enumerate(terms.rate_schedules):
        mine = rare & (terms.steps == k)
        for step in steps.steps:
            month = step.month - (np.where(start > 0, -start, loans.age) if steps.by == "age" else 0)
            refuse(mine & (month > 0) & ((month - first) % np.maximum(apart, 1) != 0), "rate_schedule", between)
    refuse.check()

"""Payments of distinct sets of dates and conventions, all reckoned at once in flat arrays, one entry a payment."""

import datetime
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import _core
from engine.dates import BUSINESS_DAY_CONVENTIONS, Days, add_months, adjust, is_month_end, last_of_month, move_months
from engine.day_count import DAY_COUNTS, year_fraction
from engine.errors import MAX_PROBLEMS, Problem, TapeError
from engine.loans import MAX_TERM
from engine.payments import DAYS, MONTHS, PAYMENTS_A_YEAR, Payments

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
# Calendars whose months are reckoned side by side: wide rows of eight bytes a month, before they are packed.
CALENDARS_AT_ONCE = 2048


class Faults:
    """Collects what is wrong with loans, by the path that the tape gives."""

    def __init__(self, payments: Payments, loans: NDArray[np.int64] | None = None) -> None:
        self.where, self.loans = payments.where, loans
        self.problems: list[Problem] = []

    def __call__(self, where: NDArray[np.bool_], column: str, message: str) -> None:
        for i in np.flatnonzero(where)[:MAX_PROBLEMS].tolist():
            self.problems.append(Problem(self.where(column, i if self.loans is None else int(self.loans[i])), message))

    def check(self) -> None:
        """Raises TapeError if there is any."""
        if self.problems:
            raise TapeError(self.problems)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Calendars of some loans. of_loan: which each has. payment_of, month: of each payment, by calendar, in order.

    first: month of the first regular payment. last: of the last. start: of the draw, 0 for none. apart: months between
    payments, 0 for weeks.
    """

    of_loan: Integers
    payment_of: Integers
    month: Integers
    years: Floats
    first: Integers
    last: Integers
    start: Integers
    apart: Integers
    dated: bool

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """Some calendars at a time, and where their payments are."""
        edges = [*range(0, len(self.first), CALENDARS_AT_ONCE), len(self.first)]
        payments = np.searchsorted(self.payment_of, edges).tolist()
        for (low, high), (begin, end) in zip(pairwise(edges), pairwise(payments), strict=True):
            yield slice(low, high), slice(begin, end)

    def counts(self, width: int, some: slice, payments: slice) -> Integers:
        """Payments in months 0 .. width of each calendar of a block."""
        month, row = self.month[payments], self.payment_of[payments] - some.start
        inside = month <= width
        cells = row[inside] * (width + 1) + month[inside]
        rows = some.stop - some.start
        return np.bincount(cells, minlength=rows * (width + 1)).reshape(rows, width + 1)

    def begins(self, width: int, offset: int) -> NDArray[np.int32]:
        """Where the payments of month t + 1 begin, (calendars, width + 1), those of this part from `offset` on."""
        found = np.zeros((len(self.first), width + 1), dtype=np.int32)
        first = np.searchsorted(self.payment_of, np.arange(len(self.first)))
        for some, payments in self.blocks():
            found[some] = offset + first[some, None] + np.cumsum(self.counts(width, some, payments), axis=1)
        return found

    def flags(self, width: int) -> NDArray[np.int8]:
        """What months 0 .. width are to behaviour; after the last payment they go on as if there were more."""
        found = np.zeros((len(self.first), width + 1), dtype=np.int8)
        at = np.arange(width + 1)
        for some, payments in self.blocks():
            first, last, start = self.first[some, None], self.last[some, None], self.start[some, None]
            regular = (at - first) % np.maximum(self.apart[some], 1)[:, None] == 0
            pays = np.where(at <= last, self.counts(width, some, payments) > 0, regular)
            undrawn = (at <= start) & (start > 0)
            found[some] = np.where(undrawn, _core.MONTH_UNDRAWN, pays * _core.MONTH_PAYS)
        found[:, 0] = 0
        return found


def months_only(frequency: NDArray[np.int8], term: NDArray[np.int32]) -> Part:
    """Calendars of loans without dates: whole periods that end at maturity."""
    apart = MONTHS[frequency].astype(np.int64)
    first = (term - 1) % np.maximum(apart, 1) + 1
    keys, of_loan = np.unique(apart * 16 + first, return_inverse=True)
    apart, first = keys // 16, keys % 16
    width = int(term.max(initial=1))
    months = [np.arange(f, width + 1, a) for f, a in zip(first.tolist(), apart.tolist(), strict=True)]
    sizes = np.array([len(each) for each in months], dtype=np.int64)
    flat = np.concatenate(months) if months else np.zeros(0, dtype=np.int64)
    return Part(
        of_loan=of_loan.reshape(-1), payment_of=np.repeat(np.arange(len(keys)), sizes), month=flat,
        years=np.repeat(apart / 12, sizes), first=first, last=np.full(len(keys), width), start=np.zeros_like(first),
        apart=apart, dated=False,
    )  # fmt: skip


def by_date(payments: Payments, term: NDArray[np.int32], cutoff: datetime.date, some: Integers) -> Part:
    """Calendars of the loans `some`, which state dates."""
    columns: list[NDArray[Any]] = [
        payments.frequency, as_integers(payments.next_payment), as_integers(payments.origination),
        as_integers(payments.paid_to), as_integers(payments.maturity), term, payments.long_stub, payments.day_count,
        payments.business_day, payments.accrual, payments.calendar, payments.month_end,
    ]  # fmt: skip
    table = np.stack([column[some].astype(np.int64) for column in columns], axis=1)
    _, one, of_loan = distinct(table)
    return Reckoning(payments.taken(some[one]), term[some[one]].astype(np.int64), cutoff, some[one]).part(of_loan)


def distinct(table: Integers) -> tuple[Integers, Integers, Integers]:
    """The distinct rows, the first place of each, and which of them each row is."""
    rows, first, which = np.unique(table, axis=0, return_index=True, return_inverse=True)
    return rows, first, np.asarray(which).reshape(-1)


def as_integers(days: Days) -> Integers:
    return days.astype("datetime64[D]").astype(np.int64)


class Reckoning:
    """The payments of distinct sets of dates and conventions, one a row of `payments`."""

    def __init__(self, payments: Payments, term: Integers, cutoff: datetime.date, loans: Integers) -> None:
        self.p, self.term, self.refuse = payments, term, Faults(payments, loans)
        self.cutoff = np.datetime64(cutoff, "D")
        self.edges: Days = add_months(np.asarray(self.cutoff), np.arange(MAX_TERM + 25), end_of_month=True)
        self.apart, self.gap = MONTHS[payments.frequency], DAYS[payments.frequency]
        self.future = payments.origination > self.cutoff
        self.skipped = np.zeros(len(term), dtype=np.int64)
        self.anchor = self.anchored()
        self.at_end = payments.month_end & is_month_end(self.anchor)

    def anchored(self) -> Days:
        """The date that the others are counted from: the next payment, or the origination some periods before it."""
        from_start = np.isnat(self.p.next_payment)
        anchor = np.where(from_start, self.p.origination, self.p.next_payment)
        self.refuse(np.isnat(anchor), "next_payment_date", "is missing")
        self.refuse(
            ~from_start & (anchor <= self.cutoff), "next_payment_date", f"is not after cutoff_date {self.cutoff}"
        )
        self.refuse(~from_start & (anchor <= self.p.origination), "next_payment_date", "is not after origination_date")
        self.refuse.check()
        months = anchor.astype("datetime64[M]").astype(np.int64)
        behind = self.cutoff.astype("datetime64[M]").astype(np.int64) - months
        by_months = np.maximum(behind, 0) // np.maximum(self.apart, 1)
        by_days = np.maximum((self.cutoff - anchor).astype(np.int64), 0) // np.maximum(self.gap, 1)
        skipped = np.where(self.gap > 0, by_days, by_months)
        self.anchor, self.at_end = anchor, self.p.month_end & is_month_end(anchor)
        early = self.regular(np.arange(len(anchor)), skipped) <= self.cutoff
        self.skipped = np.where(from_start, np.maximum(skipped + early, 1), 0)
        return anchor

    def regular(self, row: Integers, k: Integers) -> Days:
        """The regular date k periods after the anchor of a row."""
        anchor, gap = self.anchor[row], self.gap[row]
        moved = move_months(anchor, k * self.apart[row])
        moved = np.where(self.at_end[row], last_of_month(moved), moved)
        return np.where(gap > 0, anchor + k * gap, moved)

    def part(self, of_loan: Integers) -> Part:
        row, k, due, start = self.due()
        moved = self.adjusted(due, row, self.p.business_day)
        self.refuse(
            by_row(row, moved <= self.cutoff, len(self.term)), "next_payment_date", "moves to the cut-off or before"
        )
        self.refuse.check()
        month = np.searchsorted(self.edges, moved, side="left")
        years = self.fractions(row, k, due, start)
        self.refuse.check()
        rows = len(self.term)
        first = np.searchsorted(self.edges, self.regular(np.arange(rows), self.skipped), side="left")
        last = np.zeros(rows, dtype=np.int64)
        np.maximum.at(last, row, month)
        drawn = np.where(self.future, np.searchsorted(self.edges, self.p.origination, side="left"), 0)
        return Part(
            of_loan=of_loan, payment_of=row, month=month, years=years, first=first, last=last, start=drawn,
            apart=self.apart.astype(np.int64), dated=True,
        )  # fmt: skip

    def due(self) -> tuple[Integers, Integers, Days, Days]:
        """Row, periods after the anchor, unadjusted date and beginning of the interest period of each payment."""
        rows = np.arange(len(self.term))
        stated = ~np.isnat(self.p.maturity)
        end = np.where(stated, self.p.maturity, self.edges[self.term])
        month = np.searchsorted(self.edges, end, side="left")
        wrong = stated & ((month != self.term) | (end <= self.cutoff))
        self.refuse(wrong, "maturity_date", "is not in the last month of remaining_term, counted from cutoff_date")
        self.refuse.check()
        first = self.regular(rows, self.skipped)
        gap = (end - first).astype(np.int64)
        most = np.maximum(gap, 0) // np.where(self.gap > 0, self.gap, 28 * np.maximum(self.apart, 1)) + 1
        row = np.repeat(rows, most)
        j = np.arange(len(row)) - np.repeat(np.cumsum(most) - most, most)
        k = self.skipped[row] + j
        due = self.regular(row, k)
        inside = due <= end[row]
        row, k, due = row[inside], k[inside], due[inside]
        count = np.bincount(row, minlength=len(rows))
        self.refuse((count == 0) & ~stated, "remaining_term", "ends before the first payment")
        last = self.regular(rows, self.skipped + count - 1)
        stub = stated & ((count == 0) | (last < end))
        replaced = stub & self.p.long_stub & (count > 0)
        keep = ~(replaced[row] & (k == (self.skipped + count - 1)[row]))
        row, k, due = row[keep], k[keep], due[keep]
        final = np.flatnonzero(stub)
        row = np.concatenate([row, final])
        k = np.concatenate([k, (self.skipped + count - replaced)[final]])
        due = np.concatenate([due, end[final]])
        order = np.lexsort((k, row))
        row, k, due = row[order], k[order], due[order]
        begin = np.concatenate([due[:1], due[:-1]])
        opens = np.append(True, row[1:] != row[:-1]) if len(row) else np.zeros(0, dtype=bool)
        begin = np.where(opens, self.accrual_start()[row], begin)
        self.refuse(by_row(row, begin >= due, len(rows)), "paid_to_date", "is not before the next payment")
        self.refuse.check()
        return row, k, due, begin

    def accrual_start(self) -> Days:
        """From when the interest of the first payment accrues."""
        before = self.regular(np.arange(len(self.term)), self.skipped - 1)
        known = np.where(np.isnat(self.p.origination), before, np.maximum(before, self.p.origination))
        known = np.where(self.future, self.p.origination, known)
        return np.where(np.isnat(self.p.paid_to), known, self.p.paid_to)

    def adjusted(self, days: Days, row: Integers, convention: NDArray[np.int8]) -> Days:
        """The dates of the rows moved by their convention and calendar."""
        moved = days.copy()
        pairs = np.stack([convention.astype(np.int64), self.p.calendar.astype(np.int64)], axis=1)
        for code, calendar in np.unique(pairs, axis=0):
            name: Any = BUSINESS_DAY_CONVENTIONS[code]
            if name != "none":
                mine = ((convention == code) & (self.p.calendar == calendar))[row]
                moved[mine] = adjust(days[mine], name, self.p.calendars[calendar])
        return moved

    def fractions(self, row: Integers, k: Integers, due: Days, start: Days) -> Floats:
        """Years of interest due with each payment."""
        period = 1.0 / PAYMENTS_A_YEAR[self.p.frequency]
        even = self.p.day_count < 0
        irregular = (due != self.regular(row, k)) | (start != self.regular(row, k - 1))
        self.refuse(
            by_row(row, even[row] & irregular, len(even)), "day_count",
            "is missing; the loan has a period that is not regular, whose interest goes by days",
        )  # fmt: skip
        years = period[row]
        begin, end = (self.adjusted(days, row, self.p.accrual) for days in (start, due))
        last = np.zeros(len(even), dtype="datetime64[D]")
        last[row] = end
        for code in np.unique(self.p.day_count[~even]):
            for frequency in np.unique(self.p.frequency[self.p.day_count == code]):
                mine = ((self.p.day_count == code) & (self.p.frequency == frequency))[row]
                years[mine] = self.by_days(
                    DAY_COUNTS[code], frequency, row[mine], k[mine], begin[mine], end[mine], last
                )
        return years

    def by_days(
        self, name: str, frequency: int, row: Integers, k: Integers, begin: Days, end: Days, last: Days
    ) -> Floats:
        if name == "ACT/ACT ICMA":
            low, high = self.regular(row, k - 1), self.regular(row, k)
            found = year_fraction(
                name, begin, end, period_start=low, period_end=high, frequency=int(PAYMENTS_A_YEAR[frequency])
            )
        else:
            found = year_fraction(name, begin, end, maturity=last[row])
        return np.atleast_1d(np.asarray(found, dtype=np.float64))


def by_row(row: Integers, where: NDArray[np.bool_], rows: int) -> NDArray[np.bool_]:
    """Which rows have a payment where something holds."""
    found = np.zeros(rows, dtype=bool)
    found[row[where]] = True
    return found

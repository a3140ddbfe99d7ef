"""Payments of distinct sets of dates and conventions, each reckoned once and in flat arrays, one entry a payment.

A set says all about payments but when they end: loans of a set whose last payment is a regular one share its calendar,
each up to its own last. What is left is an ending of its own: an irregular last period, a last payment that shares its
month with the one that would follow, and a day count that treats the last date unlike others. Its calendar is the set's
up to there, with another last payment.
"""

import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.calendar_parts import Floats, Integers, Kinds, Part, distinct
from engine.dates import BUSINESS_DAY_CONVENTIONS, Days, add_months, adjust, is_month_end, year_month_day
from engine.day_count import DAY_COUNTS, year_fraction
from engine.errors import MAX_PROBLEMS, Problem, TapeError
from engine.loans import MAX_TERM
from engine.payments import DAYS, MONTHS, NONE, PAYMENTS_A_YEAR, Payments

Mask = NDArray[np.bool_]
ICMA, ISDA_30E = DAY_COUNTS.index("ACT/ACT ICMA"), DAY_COUNTS.index("30E/360 ISDA")
MONTH_END = 31


class Faults:
    """Collects what is wrong with loans, by the path that the tape gives."""

    def __init__(self, payments: Payments, loans: Integers | None = None) -> None:
        self.where, self.loans = payments.where, loans
        self.problems: list[Problem] = []

    def __call__(self, where: Mask, column: str, message: str) -> None:
        for i in np.flatnonzero(where)[:MAX_PROBLEMS].tolist():
            self.problems.append(Problem(self.where(column, i if self.loans is None else int(self.loans[i])), message))

    def check(self) -> None:
        """Raises TapeError if there is any."""
        if self.problems:
            raise TapeError(self.problems)


def by_date(payments: Payments, term: NDArray[np.int32], cutoff: datetime.date, some: Integers) -> Part:
    """Calendars of the loans `some`, which state dates."""
    columns: list[NDArray[Any]] = [
        payments.frequency, payments.next_payment, payments.origination, payments.paid_to, payments.maturity, term,
        payments.long_stub, payments.day_count, payments.business_day, payments.accrual, payments.calendar,
        payments.month_end,
    ]  # fmt: skip
    one, of_loan = distinct(len(some), [column[some] for column in columns if column.strides != (0,)])
    return Endings(payments.taken(some[one]), term[some[one]].astype(np.int64), cutoff, some[one]).part(of_loan)


def edges_from(cutoff: datetime.date) -> Days:
    """The last days of the months from the cut-off, itself the first."""
    return add_months(np.array(cutoff, dtype="datetime64[D]"), np.arange(MAX_TERM + 25), end_of_month=True)


def in_month(month: Integers, day: Integers) -> Days:
    """The day of each month, counted from January 1970, or its last if it is shorter."""
    if not month.size:
        return month.astype("datetime64[D]")
    low = int(month.min())
    starts = np.arange(low, int(month.max()) + 2).astype("datetime64[M]").astype("datetime64[D]")
    days: Days = np.minimum(starts[month - low] + day, starts[month - low + 1]) - 1
    return days


class Rhythm:
    """Regular dates of sets, the k-th after the first of each. day: of the month, MONTH_END for its last; gap: days."""

    def __init__(self, first: Days, day: Integers, apart: Integers, gap: Integers) -> None:
        self.first, self.day, self.apart, self.gap = first, day, apart, gap
        self.month = first.astype("datetime64[M]").astype(np.int64)

    def __call__(self, k: Integers | int, row: Integers | slice = slice(None)) -> Days:
        by_month = in_month(self.month[row] + k * self.apart[row], self.day[row])
        return np.where(self.gap[row] > 0, self.first[row] + k * self.gap[row], by_month)

    def taken(self, index: Integers) -> "Rhythm":
        return Rhythm(self.first[index], self.day[index], self.apart[index], self.gap[index])

    def until(self, end: Days) -> Integers:
        """How many of each there are up to a date."""
        months = end.astype("datetime64[M]").astype(np.int64) - self.month
        k = months // np.maximum(self.apart, 1)
        by_month = k + (self(np.maximum(k, 0)) <= end)
        by_days = (end - self.first).astype(np.int64) // np.maximum(self.gap, 1) + 1
        return np.maximum(np.where(self.gap > 0, by_days, by_month), 0)


class Endings:
    """The payments of distinct sets of dates and conventions with the dates they end on, one a row of `payments`."""

    def __init__(self, payments: Payments, term: Integers, cutoff: datetime.date, loans: Integers) -> None:
        self.p, self.term, self.refuse = payments, term, Faults(payments, loans)
        self.cutoff = np.datetime64(cutoff, "D")
        self.edges = edges_from(cutoff)
        self.future = payments.origination > self.cutoff
        self.regular = self.rhythm()
        self.begin = self.accrual_start()
        self.end = self.ends()
        self.count = self.regular.until(self.end)
        self.stub, self.replaced = self.stubs()

    def rhythm(self) -> Rhythm:
        """Regular dates from the first after the cut-off, counted from the next payment or the origination."""
        from_start = np.isnat(self.p.next_payment)
        anchor = np.where(from_start, self.p.origination, self.p.next_payment)
        refuse, before = self.refuse, f"is not after cutoff_date {self.cutoff}"
        refuse(np.isnat(anchor), "next_payment_date", "is missing")
        refuse(~from_start & (anchor <= self.cutoff), "next_payment_date", before)
        refuse(~from_start & (anchor <= self.p.origination), "next_payment_date", "is not after origination_date")
        refuse.check()
        apart, gap = MONTHS[self.p.frequency], DAYS[self.p.frequency]
        day = np.where(self.p.month_end & is_month_end(anchor), MONTH_END, year_month_day(anchor)[2])
        day = np.where(gap > 0, 0, day)
        counted = Rhythm(anchor, day, apart, gap)
        skipped = np.where(from_start, np.maximum(counted.until(np.full(len(anchor), self.cutoff)), 1), 0)
        return Rhythm(counted(skipped), day, apart, gap)

    def accrual_start(self) -> Days:
        """From when the interest of the first payment accrues."""
        before = self.regular(-1)
        known = np.where(np.isnat(self.p.origination), before, np.maximum(before, self.p.origination))
        known = np.where(self.future, self.p.origination, known)
        return np.where(np.isnat(self.p.paid_to), known, self.p.paid_to)

    def ends(self) -> Days:
        """The date up to which payments fall due."""
        stated = ~np.isnat(self.p.maturity)
        end = np.where(stated, self.p.maturity, self.edges[self.term])
        wrong = stated & ((self.month_of(end) != self.term) | (end <= self.cutoff))
        self.refuse(wrong, "maturity_date", "is not in the last month of remaining_term, counted from cutoff_date")
        self.refuse.check()
        return end

    def stubs(self) -> tuple[Mask, Integers]:
        """Where the last period is irregular, and whether it replaces a regular one; checks the first payment."""
        stated, any_regular = ~np.isnat(self.p.maturity), self.count > 0
        stub = stated & (~any_regular | (self.regular(np.maximum(self.count - 1, 0)) < self.end))
        replaced = stub & self.p.long_stub & any_regular
        first = np.where(self.count > replaced, self.regular.first, self.end)
        self.refuse(~any_regular & ~stated, "remaining_term", "ends before the first payment")
        self.refuse(self.begin >= first, "paid_to_date", "is not before the next payment")
        self.refuse.check()
        moved = adjusted(self.p, first, self.p.business_day, slice(None))
        self.refuse(moved <= self.cutoff, "next_payment_date", "moves to the cut-off or before")
        self.refuse.check()
        irregular = stub | (self.begin != self.regular(-1))
        self.refuse(
            (self.p.day_count < 0) & irregular, "day_count",
            "is missing; the loan has a period that is not regular, whose interest goes by days",
        )  # fmt: skip
        self.refuse.check()
        return stub, replaced.astype(np.int64)

    def month_of(self, days: Days) -> Integers:
        return np.searchsorted(self.edges, days, side="left")

    def sets(self) -> tuple[Integers, Integers]:
        """An ending of each set, and the set of each ending. Terms that do nothing do not tell sets apart."""
        even = self.p.day_count < 0
        accrual = np.where(even, NONE, self.p.accrual)
        moves = (self.p.business_day != NONE) | (accrual != NONE)
        columns = [
            self.p.frequency, self.regular.first, self.regular.day, np.where(even, self.cutoff, self.begin),
            self.p.day_count, self.p.business_day, accrual, np.where(moves, self.p.calendar, -1),
        ]  # fmt: skip
        return distinct(len(even), columns)

    def part(self, of_loan: Integers) -> Part:
        one, of_ending = self.sets()
        longest = np.zeros(len(one), dtype=np.int64)
        np.maximum.at(longest, of_ending, self.count)
        known = Sets(self, one, longest + 1)
        own = np.flatnonzero(self.on_their_own(known, of_ending))
        row, month, years = known.ended(self, own, of_ending[own])
        at = known.at[of_ending] + self.count - 1
        last = known.month[np.where(self.count > 0, at, 0)]
        closing = np.append(row[1:] != row[:-1], True)[: len(row)]
        last[own] = month[closing]
        calendar = of_ending.copy()
        calendar[own] = len(one) + np.arange(len(own))
        first = self.month_of(self.regular.first)
        start = np.where(self.future, self.month_of(self.p.origination), 0)
        kinds, kind = self.kinds(calendar, start, last, known.uneven(first[one]))
        lead = np.concatenate([one, own])
        return Part(
            of_loan=calendar[of_loan], kind=kind[of_loan], last=last[of_loan], start=start[of_loan],
            first=first[of_loan], payment_of=np.concatenate([known.row, len(one) + row]),
            month=np.concatenate([known.month, month]), years=np.concatenate([known.years, years]),
            apart=self.regular.apart[lead].astype(np.int64), begin=first[lead], kinds=kinds,
        )  # fmt: skip

    def on_their_own(self, known: "Sets", of_ending: Integers) -> Mask:
        """Where the calendar of the set does not say when and with what payments end."""
        after = known.at[of_ending] + self.count
        last = np.where(self.count > 0, after - 1, after)
        shares_month: Mask = known.month[after] == known.month[last]
        counted_apart = np.zeros(len(of_ending), dtype=bool)
        isda = self.p.day_count == ISDA_30E
        if isda.any():
            day = adjusted(self.p, known.due[last], self.p.accrual, slice(None))
            counted_apart = isda & is_month_end(day) & (year_month_day(day)[1] == 2)
        apart: Mask = self.stub | shares_month | counted_apart
        return apart

    def kinds(self, calendar: Integers, start: Integers, last: Integers, uneven: Mask) -> tuple[Kinds, Integers]:
        """What the months are to behaviour: in sets that pay regularly throughout it does not depend on the end."""
        sets = len(uneven)
        latest = np.zeros(sets, dtype=np.int64)
        shared = calendar < sets
        np.maximum.at(latest, calendar[shared], last[shared])
        set_of = np.where(shared, calendar, 0)
        until = np.where(shared & ~uneven[set_of], latest[set_of], last)
        one, kind = distinct(len(calendar), [calendar, start, until])
        return Kinds(calendar=calendar[one], start=start[one], last=until[one]), kind


class Sets:
    """The payments of sets, of which `one` gives an ending each: `counts` of them, one after another from `at` on."""

    def __init__(self, endings: Endings, one: Integers, counts: Integers) -> None:
        self.p, self.regular = endings.p.taken(one), endings.regular.taken(one)
        self.at = np.cumsum(counts) - counts
        self.row = np.repeat(np.arange(len(one)), counts)
        self.k = np.arange(len(self.row)) - self.at[self.row]
        self.due = self.regular(self.k, self.row)
        begin = np.concatenate([self.due[:1], self.due[:-1]])
        begin[self.at] = endings.begin[one]
        self.month = endings.month_of(adjusted(self.p, self.due, self.p.business_day, self.row))
        self.years = fractions(self.p, self.regular, self.row, self.k, begin, self.due)

    def uneven(self, first: Integers) -> Mask:
        """Which sets have months of payment that moved, other than the regular ones. first: month of their first."""
        apart = self.regular.apart[self.row]
        expected = first[self.row] + self.k * apart
        weekly = np.concatenate([self.month[:1], self.month[:-1]])
        opens = self.k == 0
        gap = np.where(opens, self.month != first[self.row], self.month > weekly + 1)
        return by_row(self.row, np.where(apart > 0, self.month != expected, gap), len(self.at))

    def ended(self, endings: Endings, own: Integers, of_own: Integers) -> tuple[Integers, Integers, Floats]:
        """Row, month and years of the payments of endings of their own, of the sets `of_own`."""
        stub = endings.stub[own]
        prefix = np.where(stub, endings.count[own] - endings.replaced[own], endings.count[own] - 1)
        row = np.repeat(np.arange(len(own)), prefix + 1)
        closing = np.cumsum(prefix + 1) - 1
        k = np.arange(len(row)) - (closing - prefix)[row]
        source = np.minimum(self.at[of_own][row] + k, len(self.due) - 1)
        month, years = self.month[source], self.years[source]
        before = self.due[np.maximum(self.at[of_own] + prefix - 1, 0)]
        begin = np.where(prefix > 0, before, endings.begin[own])
        due = np.where(stub, endings.end[own], endings.regular(prefix, own))
        p, every = endings.p.taken(own), np.arange(len(own))
        month[closing] = endings.month_of(adjusted(p, due, p.business_day, every))
        years[closing] = fractions(p, self.regular.taken(of_own), every, prefix, begin, due, final=True)
        return row, month, years


def adjusted(p: Payments, days: Days, convention: NDArray[np.int8], row: Integers | slice) -> Days:
    """The dates of the rows moved by their convention and calendar.

    Where there are more of them than days between the first and the last, each day is moved once.
    """
    if not days.size or (convention == NONE).all():
        return days
    moved, code = days.copy(), convention.astype(np.int64) * len(p.calendars) + p.calendar % len(p.calendars)
    for each in np.unique(code).tolist():
        name: Any = BUSINESS_DAY_CONVENTIONS[each // len(p.calendars)]
        if name == "none":
            continue
        mine = (code == each)[row]
        low, high = days[mine].min(), days[mine].max()
        calendar, some = p.calendars[each % len(p.calendars)], days[mine]
        if len(some) > (high - low).astype(np.int64):
            by_day = adjust(np.arange(low, high + 1), name, calendar)
            moved[mine] = by_day[(some - low).astype(np.int64)]
        else:
            moved[mine] = adjust(some, name, calendar)
    return moved


def fractions(
    p: Payments, regular: Rhythm, row: Integers, k: Integers, begin: Days, due: Days, final: bool = False
) -> Floats:
    """Years of interest due with each payment, the k-th regular one of its row or what stands for it.

    final: whether these are the last of their loans.
    """
    years: Floats = (1.0 / PAYMENTS_A_YEAR[p.frequency])[row]
    counted = p.day_count >= 0
    if not counted.any():
        return years
    begin, due = (adjusted(p, days, p.accrual, row) for days in (begin, due))
    for code, frequency in {*zip(p.day_count[counted].tolist(), p.frequency[counted].tolist(), strict=True)}:
        mine = ((p.day_count == code) & (p.frequency == frequency))[row]
        terms: dict[str, Any] = {"maturity": due[mine] if final else None}
        if code == ICMA:
            terms = {"period_start": regular(k[mine] - 1, row[mine]), "period_end": regular(k[mine], row[mine])}
            terms["frequency"] = int(PAYMENTS_A_YEAR[frequency])
        years[mine] = year_fraction(DAY_COUNTS[code], begin[mine], due[mine], **terms)
    return years


def by_row(row: Integers, where: Mask, rows: int) -> Mask:
    """Which rows have a payment where something holds."""
    found = np.zeros(rows, dtype=bool)
    found[row[where]] = True
    return found

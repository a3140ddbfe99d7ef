"""Calendars of some loans: months and years of their payments in flat arrays, and what months are to behaviour."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import _core
from engine.payments import MONTHS

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
# Calendars whose months are reckoned side by side: wide rows of eight bytes a month, before they are packed.
CALENDARS_AT_ONCE = 2048
# Codes of rows that are told apart by a table instead of sorting them.
DENSE = 2**22
NAT = np.iinfo(np.int64).min


class Kinds(msgspec.Struct, frozen=True, kw_only=True):
    """Distinct things that months are to behaviour: by the payments of `calendar` up to month `last`, then as if more
    came regularly; nothing up to the month `start` of a draw, 0 for none."""

    calendar: Integers
    start: Integers
    last: Integers


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Calendars of some loans.

    of_loan: which each has. kind: which of `kinds` its months are. last: month of its last payment. start: of its
    draw, 0 for none. first: of its first regular payment. payment_of, month, years: of each payment, by calendar, in
    order. apart, begin: of each calendar, months between payments, 0 for weeks, and month of the first regular one.
    """

    of_loan: Integers
    kind: Integers
    last: Integers
    start: Integers
    first: Integers
    payment_of: Integers
    month: Integers
    years: Floats
    apart: Integers
    begin: Integers
    kinds: Kinds

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """Some calendars at a time, and where their payments are."""
        edges = [*range(0, len(self.apart), CALENDARS_AT_ONCE), len(self.apart)]
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
        found = np.zeros((len(self.apart), width + 1), dtype=np.int32)
        first = np.searchsorted(self.payment_of, np.arange(len(self.apart)))
        for some, payments in self.blocks():
            found[some] = offset + first[some, None] + np.cumsum(self.counts(width, some, payments), axis=1)
        return found

    def flags(self, width: int) -> NDArray[np.int8]:
        """What months 0 .. width are to behaviour, a row for each of the kinds."""
        found = np.zeros((len(self.kinds.calendar), width + 1), dtype=np.int8)
        at = np.arange(width + 1)
        by_calendar = np.argsort(self.kinds.calendar, kind="stable")
        edges = np.searchsorted(self.kinds.calendar[by_calendar], np.arange(0, len(self.apart) + 1))
        for some, payments in self.blocks():
            paid = self.counts(width, some, payments) > 0
            kinds = by_calendar[edges[some.start] : edges[some.stop]]
            for block in np.array_split(kinds, -(-len(kinds) // CALENDARS_AT_ONCE) or 1):
                calendar, last = self.kinds.calendar[block], self.kinds.last[block, None]
                start, begin = self.kinds.start[block, None], self.begin[calendar, None]
                regular = (at - begin) % np.maximum(self.apart[calendar], 1)[:, None] == 0
                pays = np.where(at <= last, paid[calendar - some.start], regular)
                undrawn = (at <= start) & (start > 0)
                found[block] = np.where(undrawn, _core.MONTH_UNDRAWN, pays * _core.MONTH_PAYS)
        found[:, 0] = 0
        return found


def months_only(frequency: NDArray[np.int8], term: NDArray[np.int32]) -> Part:
    """Calendars of loans without dates: whole periods that end at maturity."""
    apart = MONTHS[frequency].astype(np.int64)
    first = (term.astype(np.int64) - 1) % np.maximum(apart, 1) + 1
    one, of_loan = distinct(len(term), [apart, first])
    apart, begin = apart[one], first[one]
    width = int(term.max(initial=1))
    months = [np.arange(f, width + 1, a) for f, a in zip(begin.tolist(), apart.tolist(), strict=True)]
    sizes = np.array([len(each) for each in months], dtype=np.int64)
    flat = np.concatenate(months) if months else np.zeros(0, dtype=np.int64)
    every = np.arange(len(one))
    return Part(
        of_loan=of_loan, kind=of_loan, last=term.astype(np.int64), start=np.zeros_like(first), first=first,
        payment_of=np.repeat(every, sizes), month=flat, years=np.repeat(apart / 12, sizes), apart=apart, begin=begin,
        kinds=Kinds(calendar=every, start=np.zeros_like(every), last=np.full(len(one), width)),
    )  # fmt: skip


def distinct(n: int, columns: Sequence[NDArray[Any]]) -> tuple[Integers, Integers]:
    """The first place of each distinct row of n, by columns of integers or dates, and which of them each row is.

    The columns become one code, so that rows are told apart by one sort, or by a table where the codes are few.
    """
    code, size = np.zeros(n, dtype=np.int64), 1
    for column in columns:
        values = column.astype(np.int64)
        low, high = int(values.min(initial=2**62)), int(values.max(initial=NAT))
        if low >= high:
            continue
        if low == NAT:
            missing = values == NAT
            low = int(values.min(initial=2**62, where=~missing)) - 1
            values = np.where(missing, low, values)
        span = high - low + 1
        if size * span > 2**62:
            code, size = ranked(code)
        code = code * span + (values - low)
        size *= span
    if size <= max(DENSE, 4 * n):
        return by_table(code, size)
    _, first, which = np.unique(code, return_index=True, return_inverse=True)
    return first, which.reshape(-1)


def ranked(code: Integers) -> tuple[Integers, int]:
    """The codes by rank, and how many there are."""
    values, rank = np.unique(code, return_inverse=True)
    return rank.reshape(-1), len(values)


def by_table(code: Integers, size: int) -> tuple[Integers, Integers]:
    """As np.unique tells the first places and the inverse, of codes below `size`."""
    first = np.full(size, -1, dtype=np.int64)
    first[code[::-1]] = np.arange(len(code) - 1, -1, -1)
    known = first >= 0
    return first[known], (np.cumsum(known) - 1)[code]

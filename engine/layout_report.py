"""What reading a file of a layout found: how many rows became loans, and what happened to the others."""

from collections.abc import Iterable

import msgspec

FIRST_ROWS = 5


class RowProblems(msgspec.Struct, frozen=True, kw_only=True):
    """Faulty cells of one kind in one column of the file.

    kind: missing, unreadable, unknown_code, out_of_range, unsupported, wrong_columns or duplicate. rows: the first of
    them, counted from 1 (below the header, where there is one). example: the first cell; expected: what is allowed.
    """

    kind: str
    column: str
    count: int
    rows: list[int]
    example: str
    expected: str

    def line(self) -> str:
        """The problem in a sentence."""
        first = ", ".join(str(row) for row in self.rows) + (", ..." if self.count > len(self.rows) else "")
        shown = f" is '{self.example}'" if self.example else ""
        told = f"{shown}; expected {self.expected}" if self.expected else shown
        return f"{self.count:,} x {self.kind} in column '{self.column}' (row {first}){told}"


class ReadReport(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of reading a file.

    period: the reporting month, YYYY-MM. rows: rows of the file. loans: rows that became loans. other_periods: rows of
    other reporting months. left_pool: rows by the status with which the loan had left the pool. skipped: faulty rows
    that were left out. problems: what was wrong with those. notices: sentences on what to know about the loans kept.
    """

    file: str
    layout: str
    period: str | None
    rows: int
    loans: int
    other_periods: int = 0
    left_pool: dict[str, int] = {}
    skipped: int = 0
    problems: list[RowProblems] = []
    notices: dict[str, int] = {}

    def plus(self, other: "ReadReport") -> "ReadReport":
        """The report of this part of the file and the next."""
        return ReadReport(
            file=self.file,
            layout=self.layout,
            period=self.period or other.period,
            rows=self.rows + other.rows,
            loans=self.loans + other.loans,
            other_periods=self.other_periods + other.other_periods,
            left_pool=summed(self.left_pool, other.left_pool),
            skipped=self.skipped + other.skipped,
            problems=merged([*self.problems, *other.problems]),
            notices=summed(self.notices, other.notices),
        )


def summed(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:
    return {key: first.get(key, 0) + second.get(key, 0) for key in {**first, **second}}


def merged(problems: Iterable[RowProblems]) -> list[RowProblems]:
    """One entry for each kind and column, in the order of their first rows."""
    found: dict[tuple[str, str], RowProblems] = {}
    for problem in problems:
        key = (problem.kind, problem.column)
        if key in found:
            first = found[key]
            rows = sorted([*first.rows, *problem.rows])[:FIRST_ROWS]
            problem = msgspec.structs.replace(first, count=first.count + problem.count, rows=rows)
        found[key] = problem
    return list(found.values())

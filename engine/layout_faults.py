"""Faulty rows of a file of a layout: which they are, how they are told, and the refusal of a file for them."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.checks import MAX_BALANCE
from engine.errors import MAX_PROBLEMS, TapeFileError
from engine.layout_files import Batch, LayoutFile
from engine.layout_options import NEEDED, LayoutTape, Options
from engine.layout_report import FIRST_ROWS, RowProblems, merged
from engine.layout_values import Values
from engine.layouts.declaration import Layout, Reading
from engine.loans import MAX_TERM
from engine.tape_cells import CellFault

RANGES: dict[str, tuple[float, float, str]] = {
    "balance": (0, MAX_BALANCE, f"currency units in [0, {MAX_BALANCE:g}]"),
    "annual_rate": (0, 1, "a rate in [0%, 100%]"),
    "remaining_term": (1, MAX_TERM, f"months in [1, {MAX_TERM}]"),
    "original_term": (1, MAX_TERM, f"months in [1, {MAX_TERM}]"),
    "age": (0, MAX_TERM, f"months in [0, {MAX_TERM}]"),
    "servicing_fee": (0, 1, "a rate in [0%, 100%]"),
    "original_balance": (0, MAX_BALANCE, f"currency units in [0, {MAX_BALANCE:g}]"),
    "payment": (0, MAX_BALANCE, "currency units a month, 0 or more"),
}


class Faults:
    """The faulty rows of a batch, by kind and column."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.found: list[tuple[str, str, str, NDArray[np.bool_]]] = []

    def add(self, kind: str, column: str, expected: str, rows: NDArray[np.bool_]) -> None:
        if rows.any():
            self.found.append((kind, column, expected, rows))

    def rows(self, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The rows with a fault among those kept."""
        out = np.zeros(len(kept), dtype=bool)
        for _, _, _, rows in self.found:
            out |= rows
        return out & kept

    def told(self, kept: NDArray[np.bool_]) -> list[RowProblems]:
        """The faults of the rows kept."""
        out = []
        for kind, column, expected, rows in self.found:
            at = np.flatnonzero(rows & kept)
            if len(at):
                cell = self.cell(column, int(at[0]))
                numbers = [int(self.batch.rows[i]) for i in at[:MAX_PROBLEMS]]
                out.append(RowProblems(kind=kind, column=column, count=len(at), rows=numbers[:FIRST_ROWS],
                                       example=cell, expected=expected))  # fmt: skip
        return out

    def cells(self, kept: NDArray[np.bool_], file: str) -> list[CellFault]:
        """Each faulty cell, up to a hundred of each column."""
        out = []
        for _, column, expected, rows in self.found:
            for i in np.flatnonzero(rows & kept)[:MAX_PROBLEMS]:
                row, cell = int(self.batch.rows[i]), self.cell(column, int(i))
                shown = f"is '{cell}'" if cell else "is blank"
                out.append(CellFault(file, row, column, f"{shown}; expected {expected}"))
        return out

    def cell(self, column: str, i: int) -> str:
        cells = self.batch.columns.get(column)
        return "" if cells is None else (cells[i].as_py() or "").strip()


def source_of(reading: Reading, batch: Batch) -> str:
    """The column of the file that a reading is told by."""
    return next((name for name in reading.theirs if name in batch.columns), reading.theirs[0])


def check(layout: Layout, values: Values, faults: Faults, batch: Batch) -> None:
    """Notes needed values that are blank, values out of range and contracts that a tape cannot hold."""
    theirs = {reading.ours: source_of(reading, batch) for reading in layout.readings}
    unreadable = {column for _, column, _, _ in faults.found}
    for name, (low, high, allowed) in RANGES.items():
        if name in NEEDED:
            values.setdefault(name, np.full(len(batch.rows), np.nan))
        if name not in values:
            continue
        column_name = theirs.get(name) or theirs.get("maturity_date", name)
        blank = np.isnan(values[name])
        if name in NEEDED and column_name not in unreadable:
            faults.add("missing", column_name, f"a value, since every loan needs {name}", blank)
        faults.add("out_of_range", column_name, allowed, ~blank & ((values[name] < low) | (values[name] > high)))
    if "unsupported" in values:
        reasons = {
            text for reading in layout.readings if reading.ours == "unsupported" for text in reading.codes.values()
        }
        for reason in sorted(reasons):
            faults.add(
                "unsupported", theirs["unsupported"], f"another contract: {reason}", values["unsupported"] == reason
            )


def refuse(file: LayoutFile, faults: Faults, kept: NDArray[np.bool_]) -> None:
    """Raises TapeFileError: what is wrong in sum, then row by row."""
    sums = "; ".join(problem.line() for problem in faults.told(kept))
    raise refusal(file, int(faults.rows(kept).sum()), sums, faults.cells(kept, file.name))


def refusal(file: LayoutFile, count: int, sums: str, cells: list[CellFault]) -> TapeFileError:
    """The refusal of a file for its faulty rows, those of another length among them."""
    wrong = [
        CellFault(file.name, row.row, None, f"has {row.found} columns; expected {row.expected}")
        for row in file.wrong[:MAX_PROBLEMS]
    ]
    head = f"{file.name} has {count + len(file.wrong):,} faulty rows (on_error='skip' leaves them out)"
    told = sorted([*wrong, *cells], key=lambda fault: (fault.row, fault.line))[:MAX_PROBLEMS]
    lines = [fault.line for fault in told]
    return TapeFileError("\n".join([f"{head}: {sums}" if sums else head, *lines]), [fault.problem for fault in told])


def with_wrong_rows(file: LayoutFile, tape: LayoutTape, options: Options) -> LayoutTape:
    """The tape with the rows of another length in its report. Raises TapeFileError where they refuse the file."""
    if not file.wrong or tape.report is None:
        return tape
    first = file.wrong[0]
    problem = RowProblems(kind="wrong_columns", column="*", count=len(file.wrong),
                          rows=[row.row for row in file.wrong[:FIRST_ROWS]], example=f"{first.found} columns",
                          expected=f"{first.expected} columns")  # fmt: skip
    if options.on_error == "refuse":
        raise refusal(file, 0, "", [])
    count, file.wrong = len(file.wrong), []
    report = msgspec.structs.replace(
        tape.report, rows=tape.report.rows + count, skipped=tape.report.skipped + count,
        problems=merged([*tape.report.problems, problem]),
    )  # fmt: skip
    return msgspec.structs.replace(tape, report=report)

"""The parts of a file of a layout as one tape, each loan once."""

from typing import Any

import msgspec
import numpy as np

from engine.errors import TapeFileError
from engine.layout_files import LayoutFile
from engine.layout_options import LayoutTape, Options
from engine.layout_report import FIRST_ROWS, RowProblems
from engine.layouts.declaration import Layout
from engine.tape import COLUMN_NAMES, Columns


def joined(parts: list[LayoutTape]) -> LayoutTape:
    """One tape of the parts of a file, in their order."""
    report = parts[0].report
    for part in parts[1:]:
        report = part.report if report is None or part.report is None else report.plus(part.report)
    columns = {name: stacked([getattr(part.columns, name) for part in parts], [len(part) for part in parts])
               for name in COLUMN_NAMES}  # fmt: skip
    names = dict.fromkeys(name for part in parts for name in part.extra)
    extra = {name: stacked([part.extra.get(name) for part in parts], [len(part) for part in parts]) for name in names}
    return LayoutTape(columns=Columns(**columns), extra=extra, report=report)


def stacked(arrays: list[Any], lengths: list[int]) -> Any:
    """The arrays one after another; a part without the column is blank. A scalar that all share stays one."""
    if all(not isinstance(array, np.ndarray) for array in arrays):
        return arrays[0]
    like = next(array for array in arrays if isinstance(array, np.ndarray))
    blank: Any = None if like.dtype == object else np.datetime64("NaT") if like.dtype.kind == "M" else np.nan
    whole = [
        array if isinstance(array, np.ndarray) else np.full(length, blank if array is None else array,
                                                             dtype=None if like.dtype.kind in "iuf" else like.dtype)
        for array, length in zip(arrays, lengths, strict=True)
    ]  # fmt: skip
    return np.concatenate(whole)


def without_duplicates(file: LayoutFile, layout: Layout, tape: LayoutTape, options: Options) -> LayoutTape:
    """The tape with each loan once, the first time. Raises TapeFileError where repeated ones refuse the file."""
    ids: Any = tape.columns.loan_id if tape.columns is not None else None
    if ids is None or tape.report is None:
        return tape
    again = repeated(ids)
    if not again:
        return tape
    header = next(reading.theirs[0] for reading in layout.readings if reading.ours == "loan_id")
    if options.on_error == "refuse":
        told = ", ".join(f"'{ids[i]}'" for i in again[:FIRST_ROWS])
        more = ", ..." if len(again) > FIRST_ROWS else ""
        raise TapeFileError(f"{file.name} has {len(again):,} loans again in column '{header}': {told}{more}; "
                            "expected each loan once (on_error='skip' keeps the first)")  # fmt: skip
    keep = np.ones(len(ids), dtype=bool)
    keep[again] = False
    problem = RowProblems(kind="duplicate", column=header, count=len(again), rows=[], example=str(ids[again[0]]),
                          expected="each loan once")  # fmt: skip
    report = msgspec.structs.replace(
        tape.report, loans=int(keep.sum()), skipped=tape.report.skipped + len(again),
        problems=[*tape.report.problems, problem],
    )  # fmt: skip
    columns: dict[str, Any] = {
        name: value[keep] if isinstance(value := getattr(tape.columns, name), np.ndarray) else value
        for name in COLUMN_NAMES
    }
    extra = {name: array[keep] for name, array in tape.extra.items()}
    return LayoutTape(columns=Columns(**columns), extra=extra, report=report)


def repeated(ids: Any) -> list[int]:
    """Places of the ids that came before, by place."""
    import pyarrow as pa
    from pyarrow import compute as pc

    texts = pa.array(ids, type=pa.string())
    known = texts.drop_null()
    if pc.count_distinct(known).as_py() == len(known):
        return []
    seen: set[str] = set()
    return [i for i, name in enumerate(ids) if name is not None and (name in seen or seen.add(name))]  # type: ignore[func-returns-value]

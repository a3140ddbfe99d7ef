"""Loan files in the layouts that lenders and agencies publish, read into a tape by the layout's declaration.

Units, dates and codes are mapped; loans that have left the pool are left out and counted; faulty rows refuse the file
or are left out and told. What is no column of a tape is kept in `extra`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import TapeFileError
from engine.layout_cells import Cells, as_texts, present, read_cells
from engine.layout_faults import Faults, check, refuse, source_of, with_wrong_rows
from engine.layout_files import Batch, LayoutFile, Source, batches, detect, headers
from engine.layout_join import joined, without_duplicates
from engine.layout_options import DATES, FLOATING, NEEDED, ON_ERROR, WHOLE, LayoutTape, Options
from engine.layout_report import ReadReport
from engine.layout_values import Values, derive, one_of
from engine.layouts import LAYOUTS, layout_named
from engine.layouts.declaration import LEFT_POOL, NOT_PERFORMING, Layout, Reading
from engine.loans import STATUSES
from engine.tape import COLUMN_NAMES, Columns


def read_layout(file: LayoutFile, layout: Layout, options: Options) -> LayoutTape:
    """The whole tape of a file. Raises TapeFileError."""
    parts = list(iter_layout(file, layout, options))
    tape = joined(parts) if len(parts) > 1 else parts[0]
    return without_duplicates(file, layout, tape, options)


def iter_layout(file: LayoutFile, layout: Layout, options: Options) -> Iterator[LayoutTape]:
    """Tapes of the file's batches that hold loans, each with the report of its rows. Raises TapeFileError."""
    if options.on_error not in ON_ERROR:
        raise TapeFileError(f"on_error is '{options.on_error}'; expected one of {', '.join(ON_ERROR)}")
    layout = mapped(layout, file, options.mapping)
    check_headers(file, layout)
    period = period_of(file, layout, options)
    beside = None if options.origination is None else Origination(options.origination)
    wanted = wanted_columns(layout, options)
    # A part is given out when the next one is there: what its rows are told to be waits for the rows after it.
    held: LayoutTape | None = None
    before: ReadReport | None = None
    for batch in batches(file, layout, wanted):
        tape = converted(file, layout, in_period(batch, layout, period), batch, period, options, beside)
        part = with_wrong_rows(file, tape, options)
        if not len(part):
            held, before = (told(held, part.report), before) if held else (None, after(before, part.report))
            continue
        if held is not None:
            yield held
        held, before = told(part, before, first=True), None
    if held is None:
        raise TapeFileError(nothing(file, layout, before))
    yield with_wrong_rows(file, held, options)


def after(before: ReadReport | None, report: ReadReport | None) -> ReadReport | None:
    """The report of some rows and those after them."""
    return report if before is None else before if report is None else before.plus(report)


def told(tape: LayoutTape, report: ReadReport | None, first: bool = False) -> LayoutTape:
    """The tape with the report of rows after it added to its own, or `first` of rows before it."""
    both = after(report, tape.report) if first else after(tape.report, report)
    return msgspec.structs.replace(tape, report=both)


def nothing(file: LayoutFile, layout: Layout, report: ReadReport | None) -> str:
    """What to say of a file without a loan in the pool."""
    if report is None or not report.rows:
        return f"{file.name} holds no loans; expected at least one in the layout {layout.name}"
    left = ", ".join(f"{count:,} {status}" for status, count in report.left_pool.items())
    parts = [f"{left} have left the pool" if left else "", f"{report.skipped:,} are faulty" if report.skipped else "",
             f"{report.other_periods:,} are of other periods" if report.other_periods else ""]  # fmt: skip
    return f"{file.name} holds no loans of {report.period or 'the pool'}: of {report.rows:,} rows " + "; ".join(
        part for part in parts if part
    )


def mapped(layout: Layout, file: LayoutFile, mapping: Mapping[str, str]) -> Layout:
    """The layout with columns of the file that the caller named in place of its own."""
    if not mapping:
        return layout
    known = set(headers(file, layout)) if layout.container == "delimited" else set(mapping)
    readings = {reading.ours: reading for reading in layout.readings}
    for ours in dict.fromkeys(mapping.values()):
        named = [theirs for theirs in mapping if mapping[theirs] == ours]
        if len(named) > 1:
            raise TapeFileError(f"mapping names '{named[0]}' and '{named[1]}' for {ours}; expected one column")
    for theirs, ours in mapping.items():
        if theirs not in known:
            raise TapeFileError(f"{file.name} has no column '{theirs}' that the mapping names")
        if ours not in COLUMN_NAMES:
            raise TapeFileError(f"mapping of '{theirs}' is '{ours}'; expected one of {', '.join(COLUMN_NAMES)}")
        kind: Any = "text" if ours in ("loan_id", "group") else "months" if ours in WHOLE else "number"
        before = readings.get(ours)
        readings[ours] = (
            Reading(ours=ours, theirs=(theirs,), kind=kind)
            if before is None
            else msgspec.structs.replace(before, theirs=(theirs,))
        )
    return msgspec.structs.replace(layout, readings=tuple(readings.values()))


def check_headers(file: LayoutFile, layout: Layout) -> None:
    """Raises TapeFileError for a column that is read and that the header of the file names twice."""
    if layout.container != "delimited":
        return
    found = headers(file, layout)
    used = (name for reading in layout.readings for name in reading.theirs)
    again = [name for name in dict.fromkeys(used) if found.count(name) > 1]
    if again:
        raise TapeFileError(f"{file.name} has the column '{again[0]}' {found.count(again[0])} times; expected it once")


def wanted_columns(layout: Layout, options: Options) -> set[str] | None:
    """The columns to read, None for all."""
    if options.extra is True:
        return None
    readings = [*layout.readings, *([layout.period] if layout.period else [])]
    named = set() if options.extra is False else set(options.extra)
    return named | {name for reading in readings for name in reading.theirs}


def period_of(file: LayoutFile, layout: Layout, options: Options) -> np.datetime64:
    """The reporting month: the one asked for, else the latest in the file; NaT where the layout has none."""
    if options.period is not None:
        try:
            return np.datetime64(options.period, "M")
        except ValueError as error:
            raise TapeFileError(f"period is '{options.period}'; expected a month such as 2024-12") from error
    if layout.period is None:
        return np.datetime64("NaT", "M")
    latest = np.datetime64("NaT", "M")
    for batch in batches(file, layout, set(layout.period.theirs)):
        months = column(layout.period, batch).values
        months = months[~np.isnat(months)]
        if len(months):
            latest = months.max() if np.isnat(latest) else max(latest, months.max())
    if np.isnat(latest):
        raise TapeFileError(
            f"{file.name} has no reporting period in column '{layout.period.theirs[0]}'; name one, such as 2024-12"
        )
    return latest


def in_period(batch: Batch, layout: Layout, period: np.datetime64) -> Batch:
    """The rows of the reporting month; an unreadable month is one of another period."""
    import pyarrow as pa

    if not layout.several_periods or layout.period is None:
        return batch
    keep = column(layout.period, batch).values == period
    if keep.all():
        return batch
    chosen = pa.array(keep)
    return Batch({name: cells.filter(chosen) for name, cells in batch.columns.items()}, batch.rows[keep])


def column(reading: Reading, batch: Batch) -> Cells:
    """The values of a reading: the first of its columns that holds one."""
    import pyarrow as pa
    from pyarrow import compute as pc

    present = [batch.columns[name] for name in reading.theirs if name in batch.columns]
    if not present:
        return read_cells(reading, pa.nulls(len(batch.rows), pa.string()))
    cells = present[0]
    for other in present[1:]:
        cells = pc.if_else(blank(cells), other, cells)
    return read_cells(reading, cells)


def blank(cells: Any) -> Any:
    """Which cells of text hold nothing."""
    from pyarrow import compute as pc

    return pc.equal(pc.utf8_trim_whitespace(pc.fill_null(cells, "")), "")


def is_blank(reading: Reading, batch: Batch) -> NDArray[np.bool_]:
    """For which loans the first column of a reading holds nothing, so that another counts."""
    cells = batch.columns.get(reading.theirs[0])
    if cells is None:
        return np.ones(len(batch.rows), dtype=bool)
    return np.asarray(blank(cells).to_numpy(zero_copy_only=False), dtype=bool)


class Origination:
    """A Freddie Mac origination file, whose columns are put beside those of the performance file by loan."""

    def __init__(self, source: Source) -> None:
        import pyarrow as pa

        file, layout = LayoutFile(source), LAYOUTS["freddie_mac_origination"]
        parts = list(batches(file, layout))
        self.columns = {
            name: pa.concat_arrays([part.columns[name] for part in parts])
            for name in (parts[0].columns if parts else ())
        }

    def beside(self, batch: Batch) -> Batch:
        """The batch with the columns of the loans' originations; blank for loans that are not in the file."""
        from pyarrow import compute as pc

        if not self.columns:
            return batch
        key = "LOAN_SEQUENCE_NUMBER"
        at = pc.index_in(batch.columns[key], value_set=self.columns[key])
        added = {name: cells.take(at) for name, cells in self.columns.items() if name not in batch.columns}
        return Batch({**batch.columns, **added}, batch.rows)


def converted(
    file: LayoutFile, layout: Layout, batch: Batch, whole: Batch, period: np.datetime64, options: Options,
    beside: Origination | None,
) -> LayoutTape:  # fmt: skip
    """The tape of a batch's loans in the pool. whole: the batch with the rows of other periods."""
    if beside is not None:
        batch = beside.beside(batch)
    n = len(batch.rows)
    values: Values = {}
    faults = Faults(batch)
    for reading in layout.readings:
        if n and (any(name in batch.columns for name in reading.theirs) or reading.ours in NEEDED):
            cells = column(reading, batch)
            values[reading.ours] = cells.values
            kind = "unknown_code" if reading.kind == "code" else "unreadable"
            faults.add(kind, source_of(reading, batch), cells.expected, cells.bad)
            if reading.ours == "annual_rate":
                values["first_rate"] = is_blank(reading, batch)
    report = ReadReport(file=file.name, layout=layout.name, period=None if np.isnat(period) else str(period),
                        rows=len(whole.rows), loans=0, other_periods=len(whole.rows) - n)  # fmt: skip
    if not n:
        return LayoutTape(columns=Columns(balance=[], annual_rate=[], remaining_term=[]), report=report)
    derive(values, period, n)
    footer = footers(layout, values, n)
    kept = ~one_of(values["status"], LEFT_POOL) & ~footer
    check(layout, values, faults, batch)
    bad = faults.rows(kept)
    if bad.any() and options.on_error == "refuse":
        refuse(file, faults, kept)
    chosen = kept & ~bad
    words, counts = np.unique(values["status"][~kept & ~footer].astype(str), return_counts=True)
    if options.floating:
        without_incomplete(values, n)
    report = msgspec.structs.replace(
        report, rows=report.rows - int(footer.sum()), loans=int(chosen.sum()), skipped=int(bad.sum()),
        problems=faults.told(kept), left_pool=dict(zip(words.tolist(), counts.tolist(), strict=True)),
        notices=notices(values, chosen, options),
    )  # fmt: skip
    extra = extras(layout, values, batch, chosen, options)
    return LayoutTape(columns=columns_of(values, chosen, apart(options)), extra=extra, report=report)


def footers(layout: Layout, values: Values, n: int) -> NDArray[np.bool_]:
    """Which rows are closing lines of the file and no loans."""
    if not layout.footers:
        return np.zeros(n, dtype=bool)
    from pyarrow import compute as pc

    ids = pa_texts(values["loan_id"])
    found = np.zeros(n, dtype=bool)
    for start in layout.footers:
        found |= pc.starts_with(ids, start).fill_null(False).to_numpy(zero_copy_only=False)
    return found


def pa_texts(texts: NDArray[Any]) -> Any:
    import pyarrow as pa

    return pa.array(texts, type=pa.string())


def notices(values: Values, chosen: NDArray[np.bool_], options: Options) -> dict[str, int]:
    """What to know about the loans kept, with how many it is about."""
    out = {}
    floating = np.zeros(len(chosen), dtype=bool)
    if "rate_type" in values:
        floating |= values["rate_type"] == "floating"
    if "index" in values:
        floating |= present(values["index"])
    first = floating & chosen & values["first_rate"]
    if first.any():
        out["floating-rate loans state no current rate and have their first"] = int(first.sum())
    if options.floating and "index" in values:
        floating &= ~present(values["index"])
    if (floating & chosen).any():
        out["floating-rate loans keep their current rate; their terms are in extra"] = int((floating & chosen).sum())
    for words, notice in (
        (NOT_PERFORMING[:4], "loans are delinquent and are taken as performing but by roll rates and rules by status"),
        (NOT_PERFORMING[4:], "loans are in default and do not perform"),
    ):
        told = one_of(values["status"], words) & chosen
        if told.any():
            out[notice] = int(told.sum())
    deferred = values.get("deferred_balance")
    if deferred is not None and ((deferred > 0) & chosen).any():
        out["loans have deferred principal that bears no interest and is left out"] = int(
            ((deferred > 0) & chosen).sum()
        )
    return out


def columns_of(values: Values, chosen: NDArray[np.bool_], apart: set[str]) -> Columns:
    """The columns of the tape, of the rows chosen; optional ones without any value are left to their defaults."""
    defaults: dict[str, Any] = {"servicing_fee": 0.0, "interest_only_term": 0.0, "amortization": "level_pay"}
    columns: dict[str, Any] = {}
    for name in COLUMN_NAMES:
        if name not in values or name in apart:
            continue
        part = values[name][chosen]
        if name == "status":
            part = tape_status(part)
        if part.dtype == object:
            if not present(part).any():
                continue
            part = np.where(present(part), part, np.array(defaults.get(name), dtype=object))
        elif name not in NEEDED and np.isnan(part).all():
            continue
        else:
            part = np.where(np.isnan(part), defaults.get(name, np.nan), part)
            if name in WHOLE and not np.isnan(part).any():
                part = part.astype(np.int64)
        columns[name] = part
    return Columns(**columns)


def tape_status(words: NDArray[Any]) -> NDArray[np.object_]:
    """The status of a tape that a file's words stand for, none for loans that are to be taken as current."""
    known = {word: word for word in STATUSES[1:]} | {"repossessed": "reo"}
    found, place = np.unique(words.astype(str), return_inverse=True)
    return np.array([known.get(word) for word in found.tolist()], dtype=object)[place]


def without_incomplete(values: Values, n: int) -> None:
    """Blanks the terms of floating rates of loans that lack an index or a reset before maturity: their rate stays."""
    first = values.get("first_reset", np.full(n, np.nan))
    complete = (first >= 0) & (first <= values["remaining_term"])
    complete &= present(values["index"]) if "index" in values else False
    for name in FLOATING:
        if name in values:
            blank = None if values[name].dtype == object else np.nan
            values[name] = np.where(complete, values[name], np.array(blank, dtype=values[name].dtype))


def apart(options: Options) -> set[str]:
    """What stays in `extra`: dates, and the terms of floating rates that no mapping makes columns of the tape."""
    return set(DATES) | (set() if options.floating else set(FLOATING) - set(options.mapping.values()))


def extras(layout: Layout, values: Values, batch: Batch, chosen: NDArray[np.bool_], options: Options) -> dict[str, Any]:
    """Values and file columns that are none of the tape's; those without any value are left out."""
    import pyarrow as pa

    out: dict[str, Any] = {}
    for name, array in values.items():
        ours = name in COLUMN_NAMES and name not in apart(options) and name != "status"
        if not ours and name not in ("unsupported", "net_rate", "first_rate"):
            part = array[chosen]
            if name in ("status", "days_past_due") or has_value(part):
                out[name] = part
    readings = [*layout.readings, *([layout.period] if layout.period else [])]
    used = {name for reading in readings for name in reading.theirs}
    for name, cells in batch.columns.items():
        asked = name in options.extra if isinstance(options.extra, Sequence) else options.extra and name not in used
        if asked:
            part = as_texts(pa.compute.utf8_trim_whitespace(cells.filter(pa.array(chosen))))
            part[part == ""] = None
            if has_value(part):
                out[name] = part
    return out


def has_value(part: NDArray[Any]) -> bool:
    """Whether any value is there."""
    if part.dtype == object:
        return bool(present(part).any())
    return not (np.isnat(part) if part.dtype.kind == "M" else np.isnan(part)).all()


def layout_for(file: LayoutFile, name: str | None) -> Layout | None:
    """The layout asked for, else the one that the file shows, if one does."""
    return layout_named(name) if name is not None else detect(file)

"""Loan tapes from CSV, Parquet and Arrow files, whole or in batches.

A file's columns are found by our own names and by those lenders use (engine/aliases.py), unless `mapping` names them;
two for one of ours are refused, other columns are ignored. Rates are decimals, except below a header that says percent
(or bps) and in cells written `6.5%`. Rows are counted from 1 below the header. pyarrow is imported in the functions
that use it, so that `import engine` does not pay for it.
"""

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import TapeFileError
from engine.layout_files import LayoutFile, Source
from engine.layout_options import Options
from engine.layout_tape import iter_layout, layout_for, read_layout
from engine.layouts import LAYOUTS
from engine.layouts.declaration import Layout
from engine.tape import Tape
from engine.tape_cells import (
    NEEDED,
    TEXT_COLUMNS,
    CellFault,
    Where,
    as_stored,
    numbers,
    plain,
    refuse,
    texts,
    texts_as_stored,
)
from engine.tape_readers import READERS, OpenTape, unreadable

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_SIZE = 262_144
# Bytes of the batches that are held until a table has its rows: so many, or so many a row if that is more.
HELD, HELD_ROW = 256 * 1024 * 1024, 2_048
ENDINGS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"} | dict.fromkeys(
    (".arrow", ".arrows", ".feather", ".ipc"), "arrow"
)
FORMATS = ("csv", "parquet", "arrow")


def read_tape(
    source: Source,
    *,
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    layout: str | None = None,
    on_error: str = "refuse",
    extra: bool | Sequence[str] = True,
    period: str | None = None,
    origination: Source | None = None,
    floating: bool = False,
) -> Tape:
    """The tape in a file, its columns as NumPy arrays.

    source: path or seekable binary file. format: csv, parquet or arrow (IPC file or stream), by default from the
    ending. mapping: file column -> our column. layout: one of engine.LAYOUTS, by default that which the beginning of
    the file shows, if it shows one; such a file is read into a LayoutTape, and the options that follow are for it.
    on_error: `refuse` a file with faulty rows, or `skip` them. extra: whether to keep the file's other columns, or
    which. period: the reporting month (YYYY-MM), by default the file's latest. origination: the Freddie Mac origination
    file of a performance file. floating: whether the terms of floating rates become columns of the tape, so that a
    projection needs a path for each index; by default such loans keep their rate, and their terms are in extra. Raises
    TapeFileError.
    """
    source = source if is_path(source) else seekable(source)
    options = Options(on_error=on_error, extra=extra, period=period, mapping=mapping or {},
                      origination=origination, floating=floating)  # fmt: skip
    in_layout = layout_of(source, format, layout, options)
    if in_layout is not None:
        return read_layout(*in_layout, options)
    opened = open_source(source, format, mapping)
    with opened:
        table = opened.read()
    if not table.num_rows:
        raise TapeFileError(f"{opened.name} holds no loans; expected at least one row below the header")
    return tape_of(table, opened, 0)


def iter_tape(
    source: Source,
    *,
    batch_size: int = BATCH_SIZE,
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    layout: str | None = None,
    on_error: str = "refuse",
    extra: bool | Sequence[str] = False,
    period: str | None = None,
    origination: Source | None = None,
    floating: bool = False,
) -> Iterator[Tape]:
    """Tapes of `batch_size` loans (the last may be shorter), read as they are asked for.

    The file's format and columns are checked at once, its cells when their batch is read. Files of a layout come in
    batches of their own size, each with the report of its rows; a loan that comes again in a later batch is not
    noticed. Options as read_tape. Raises TapeFileError.
    """
    if batch_size < 1:
        raise TapeFileError(f"batch_size is {batch_size}; expected at least 1")
    source = source if is_path(source) else seekable(source)
    options = Options(on_error=on_error, extra=extra, period=period, mapping=mapping or {},
                      origination=origination, floating=floating)  # fmt: skip
    in_layout = layout_of(source, format, layout, options)
    if in_layout is not None:
        return iter_layout(*in_layout, options)
    return stream(open_source(source, format, mapping), batch_size)


def is_path(source: Source) -> bool:
    return not hasattr(source, "read")


def layout_of(
    source: Source, format: str | None, name: str | None, options: Options
) -> tuple[LayoutFile, Layout] | None:
    """The file and its layout, None for one with columns of our names or aliases. Raises TapeFileError."""
    ending = Path(source).suffix.casefold() if is_path(source) else ""  # type: ignore[arg-type]
    columnar = (format or ENDINGS.get(ending)) in ("parquet", "arrow")
    if name is None and (columnar or (is_path(source) and not Path(source).is_file())):  # type: ignore[arg-type]
        return None
    if columnar:
        raise TapeFileError(
            f"layout is '{name}', which is one of text files; expected no layout for {ending or format}"
        )
    file = LayoutFile(source)
    found = layout_for(file, name)
    if found is not None:
        return file, found
    if options.on_error != "refuse" or options.period is not None or options.origination is not None:
        raise TapeFileError(f"{file.name} shows no layout; on_error, period and origination are for files of one")
    if ending not in ENDINGS and ending:
        allowed = ", ".join(LAYOUTS)
        raise TapeFileError(
            f"{file.name} has the ending '{ending}' and shows no layout; expected one of {', '.join(ENDINGS)}, or a "
            f"layout by name: {allowed}. Its first line has {len(file.first_line.split('|'))} columns separated by '|' "
            f"and {len(file.first_line.split(','))} by ','"
        )
    return None


def stream(opened: OpenTape, batch_size: int) -> Iterator[Tape]:
    """Tapes of the opened file, closed when the last is taken."""
    row = 0
    with opened:
        for table in regroup(opened.name, opened.batches(batch_size), batch_size):
            yield tape_of(table, opened, row)
            row += table.num_rows
    if not row:
        raise TapeFileError(f"{opened.name} holds no loans; expected at least one row below the header")


def regroup(name: str, batches: Iterable["pa.RecordBatch"], size: int) -> Iterator["pa.Table"]:
    """Tables of `size` rows out of batches of any size; the last may be shorter, none is empty.

    Raises TapeFileError where the batches that wait for more rows hold too much.
    """
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    rows = weight = 0
    most = max(HELD, size * HELD_ROW)
    known: set[int] = set()
    for batch in batches:
        read = batch.num_rows
        while batch.num_rows:
            part = batch.slice(0, size - rows)
            batch = batch.slice(part.num_rows)
            own = own_bytes(part, known)
            # Of a batch that is cut, and of the first, no more is held than was read at once.
            weight += own if held and part.num_rows == read else 0
            if weight > most:
                raise TapeFileError(f"{name} has {weight:,} bytes in {rows:,} loans; expected at most {most:,}")
            held.append(part)
            rows += part.num_rows
            if rows == size:
                yield pa.Table.from_batches(held)
                held, rows, weight, known = [], 0, 0, set()
    if held:
        yield pa.Table.from_batches(held)


def own_bytes(batch: "pa.RecordBatch", known: set[int]) -> int:
    """Bytes of a batch without the dictionaries that are known by their place; those it has are known from then on."""
    size = 0
    for column in batch.columns:
        if hasattr(column, "dictionary"):
            entries, column = column.dictionary, column.indices
            place = max((each.address for each in entries.buffers() if each is not None), default=0)
            size += 0 if place in known else entries.nbytes
            known.add(place)
        size += column.nbytes
    return size


def open_source(source: Source, format: str | None, mapping: Mapping[str, str] | None) -> OpenTape:
    """The file opened in its format, its columns chosen. Raises TapeFileError."""
    import pyarrow as pa

    path = None if hasattr(source, "read") else Path(source)
    name = str(path) if path is not None else str(getattr(source, "name", None) or "the tape file")
    format = format or format_of(name, ENDINGS)
    if format not in READERS:
        raise TapeFileError(f"format is '{format}'; expected one of {', '.join(FORMATS)}")
    if path is not None and not path.is_file():
        raise TapeFileError(f"{name} {'is no file' if path.exists() else 'does not exist'}; expected a tape file")
    try:
        file: Any = pa.OSFile(str(path), "rb") if path is not None else seekable(source)
        if not file.seek(0, os.SEEK_END):
            raise TapeFileError(f"{name} is empty; expected a header and at least one loan")
        file.seek(0)
        return READERS[format](name, file, mapping)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise unreadable(name, error) from error


def seekable(source: Any) -> Any:
    """The binary file itself, or its bytes in memory if it cannot be read twice."""
    return source if source.seekable() else io.BytesIO(source.read())


def format_of(name: str, endings: Mapping[str, str]) -> str:
    """The format that a file name's ending stands for."""
    ending = Path(name).suffix.casefold()
    if ending not in endings:
        what = f"has the ending '{ending}'" if ending else "has no ending"
        raise TapeFileError(f"{name} {what}; expected one of {', '.join(endings)}")
    return endings[ending]


def tape_of(table: "pa.Table", opened: OpenTape, row: int, *, stored: bool = False) -> Tape:
    """The tape of a table of the chosen columns. row: rows of the file before the table. stored: whether we wrote the
    file, so that its cells need no look; its numbers are then not to be changed."""
    columns: dict[str, Any] = {}
    faults: list[CellFault] = []
    # What an asset needs depends on its type, and is said when the tape is validated.
    needed = () if "type" in opened.chosen else NEEDED
    for ours, header in opened.chosen.items():
        column = table.column(header)
        if (as_they_are := (as_stored if stored else plain)(ours, header, column)) is not None:
            columns[ours] = as_they_are
            continue
        cells = column.combine_chunks()
        where = Where(opened.name, header, row, faults)
        if ours not in TEXT_COLUMNS:
            columns[ours] = numbers(ours, cells, where, needed)
        else:
            columns[ours] = texts_as_stored(ours, cells) if stored else texts(ours, cells, where)
    refuse(faults)
    if not needed:
        columns = {name: np.full(table.num_rows, np.nan) for name in NEEDED if name not in columns} | columns
    return opened.tables.of(Tape.from_columns(**columns))

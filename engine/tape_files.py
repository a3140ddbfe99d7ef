"""Loan tapes from CSV, Parquet and Arrow files, whole or in batches.

A file's columns are found by our own names, then by the names lenders use (engine/aliases.py), unless `mapping`
names them; other columns are ignored. Rates are decimals, except below a header that says percent (or bps) and in
cells written `6.5%`. Rows are counted from 1 below the header. pyarrow is imported in the functions that use it, so
that `import engine` does not pay for it.
"""

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.aliases import ALIASES, column_of
from engine.errors import TapeFileError
from engine.layout_files import LayoutFile, Source
from engine.layout_options import Options
from engine.layout_tape import iter_layout, layout_for, read_layout
from engine.layouts import LAYOUTS
from engine.layouts.declaration import Layout
from engine.tape import COLUMN_NAMES, Tape
from engine.tape_cells import NEEDED, TEXT_COLUMNS, CellFault, Where, numbers, plain, refuse, texts
from engine.tape_lines import check_quotes, count_lines, first_line
from engine.tape_tables import NONE, Tables, from_metadata

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_SIZE = 262_144
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


def stream(opened: "OpenTape", batch_size: int) -> Iterator[Tape]:
    """Tapes of the opened file, closed when the last is taken."""
    row = 0
    with opened:
        for table in regroup(opened.batches(batch_size), batch_size):
            yield tape_of(table, opened, row)
            row += table.num_rows
    if not row:
        raise TapeFileError(f"{opened.name} holds no loans; expected at least one row below the header")


def regroup(batches: Iterable["pa.RecordBatch"], size: int) -> Iterator["pa.Table"]:
    """Tables of `size` rows out of batches of any size; the last may be shorter, none is empty."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        while batch.num_rows:
            part = batch.slice(0, size - rows)
            batch = batch.slice(part.num_rows)
            held.append(part)
            rows += part.num_rows
            if rows == size:
                yield pa.Table.from_batches(held)
                held, rows = [], 0
    if held:
        yield pa.Table.from_batches(held)


class OpenTape:
    """An opened file: its name for messages, and which of its columns is which of ours.

    chosen: our column -> file column. tables: what its loans name, where the format keeps it. A reader of one format
    overrides `read` and `batches`.
    """

    tables: Tables = NONE

    def __init__(self, name: str, file: Any, headers: list[str], mapping: Mapping[str, str] | None) -> None:
        self.name = name
        self.file = file
        self.chosen = choose_columns(name, headers, mapping)
        self.wanted = list(self.chosen.values())

    def read(self) -> "pa.Table":
        raise AssertionError(f"{type(self).__name__} has no read()")

    def batches(self, size: int) -> Iterator["pa.RecordBatch"]:
        raise AssertionError(f"{type(self).__name__} has no batches()")

    def __enter__(self) -> "OpenTape":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        import pyarrow as pa

        if isinstance(self.file, pa.NativeFile):
            self.file.close()
        if isinstance(error, pa.ArrowException | UnicodeDecodeError | OSError):
            raise unreadable(self.name, error) from error


class CsvTape(OpenTape):
    """A text file with a header; the delimiter is the most frequent of , ; tab | in the header."""

    def __init__(self, name: str, file: Any, mapping: Mapping[str, str] | None) -> None:
        line = first_line(name, file)
        self.delimiter = max(",;\t|", key=line.count)
        super().__init__(name, file, next(csv.reader([line], delimiter=self.delimiter)), mapping)

    def options(self, threads: bool = True) -> dict[str, Any]:
        """Every wanted column is read as text: the cell is what the message of a bad one shows."""
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        return {
            "read_options": arrow_csv.ReadOptions(use_threads=threads, block_size=1 << 22),
            "parse_options": arrow_csv.ParseOptions(delimiter=self.delimiter),
            "convert_options": arrow_csv.ConvertOptions(
                include_columns=self.wanted,
                column_types=dict.fromkeys(self.wanted, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        }

    def read(self) -> "pa.Table":
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        try:
            table = arrow_csv.read_csv(self.file, **self.options())
        except pa.ArrowInvalid:
            check_quotes(self.name, self.file, self.delimiter)
            # Read in one thread pyarrow numbers the row it stumbles over.
            self.file.seek(0)
            table = arrow_csv.read_csv(self.file, **self.options(threads=False))
        self.check_rows(table.num_rows)
        return table

    def batches(self, size: int) -> Iterator["pa.RecordBatch"]:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        rows = 0
        try:
            for batch in arrow_csv.open_csv(self.file, **self.options()):
                rows += batch.num_rows
                yield batch
        except pa.ArrowInvalid:
            check_quotes(self.name, self.file, self.delimiter)
            self.file.seek(0)
            for _ in arrow_csv.open_csv(self.file, **self.options(threads=False)):
                pass
            raise
        self.check_rows(rows)

    def check_rows(self, rows: int) -> None:
        """Raises TapeFileError unless every line below the header is a row: pyarrow lets a quote swallow lines."""
        lines = count_lines(self.file) - 1
        if lines != rows:
            check_quotes(self.name, self.file, self.delimiter)
            raise TapeFileError(f"{self.name} has {lines} lines below its header, of which {rows} read as loans")


class ParquetTape(OpenTape):
    """A Parquet file; only the wanted columns are read, and the tables that a stored tape has in its metadata."""

    def __init__(self, name: str, file: Any, mapping: Mapping[str, str] | None) -> None:
        from pyarrow import parquet

        seen = parquet.ParquetFile(file)
        super().__init__(name, file, list(seen.schema_arrow.names), mapping)
        # Texts stay as codes: written out, one that a few bytes repeat a million times would fill the memory.
        self.parquet = parquet.ParquetFile(
            file, metadata=seen.metadata, read_dictionary=self.wanted, page_checksum_verification=True
        )
        self.tables = from_metadata(name, self.parquet.metadata.metadata)

    def read(self) -> "pa.Table":
        return self.parquet.read(columns=self.wanted)

    def batches(self, size: int) -> Iterator["pa.RecordBatch"]:
        yield from self.parquet.iter_batches(batch_size=size, columns=self.wanted)


class ArrowTape(OpenTape):
    """An Arrow IPC file (Feather) or stream, told apart by the first bytes."""

    def __init__(self, name: str, file: Any, mapping: Mapping[str, str] | None) -> None:
        from pyarrow import ipc

        self.random = file.read(6) == b"ARROW1"
        file.seek(0)
        self.reader = ipc.open_file(file) if self.random else ipc.open_stream(file)
        super().__init__(name, file, list(self.reader.schema.names), mapping)

    def read(self) -> "pa.Table":
        return self.reader.read_all().select(self.wanted)

    def batches(self, size: int) -> Iterator["pa.RecordBatch"]:
        if self.random:
            stored = (self.reader.get_batch(i) for i in range(self.reader.num_record_batches))
        else:
            stored = iter(self.reader)
        for batch in stored:
            yield batch.select(self.wanted)


READERS = {"csv": CsvTape, "parquet": ParquetTape, "arrow": ArrowTape}


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


def unreadable(name: str, error: BaseException) -> TapeFileError:
    # pyarrow counts the header as row 1; we count from below it.
    text = re.sub(r"Row #(\d+)", lambda found: f"row {int(found[1]) - 1}", str(error).strip().splitlines()[0])
    return TapeFileError(f"{name} cannot be read: {text}")


def choose_columns(name: str, headers: list[str], mapping: Mapping[str, str] | None) -> dict[str, str]:
    """Our column -> file column: those that `mapping` names, then our own names, then aliases."""
    mapping = mapping or {}
    found: dict[str, dict[int, list[str]]] = {}
    for header, ours in mapping.items():
        if header not in headers:
            raise TapeFileError(f"{name} has no column '{header}' that the mapping names; it has {listed(headers)}")
        if ours not in COLUMN_NAMES:
            raise TapeFileError(f"mapping of '{header}' is '{ours}'; expected one of {', '.join(COLUMN_NAMES)}")
    for header in headers:
        if header in mapping:
            found.setdefault(mapping[header], {}).setdefault(0, []).append(header)
        elif (match := column_of(header)) is not None:
            found.setdefault(match[0], {}).setdefault(1 if match[1] else 2, []).append(header)
    chosen: dict[str, str] = {}
    for ours, ranks in found.items():
        best = ranks[min(ranks)]
        if len(best) > 1:
            raise TapeFileError(f"{name} has {listed(best)} for {ours}; expected one column (a mapping can say which)")
        chosen[ours] = best[0]
    missing = [ours for ours in NEEDED if ours not in chosen and "type" not in chosen]
    if missing:
        hints = "; ".join(f"{ours} (or {', '.join(ALIASES[ours][:4])}, ...)" for ours in missing)
        raise TapeFileError(f"{name} lacks {hints}; it has {listed(headers)}. A mapping can name the column")
    return chosen


def listed(headers: list[str]) -> str:
    """The headers quoted, the first twenty of them."""
    more = f" and {len(headers) - 20} more" if len(headers) > 20 else ""
    return ", ".join(f"'{header}'" for header in headers[:20]) + more


def tape_of(table: "pa.Table", opened: OpenTape, row: int) -> Tape:
    """The tape of a table of the chosen columns. row: rows of the file before the table."""
    columns: dict[str, Any] = {}
    faults: list[CellFault] = []
    # What an asset needs depends on its type, and is said when the tape is validated.
    needed = () if "type" in opened.chosen else NEEDED
    for ours, header in opened.chosen.items():
        column = table.column(header)
        if (as_they_are := plain(ours, header, column)) is not None:
            columns[ours] = as_they_are
            continue
        cells = column.combine_chunks()
        where = Where(opened.name, header, row, faults)
        columns[ours] = texts(ours, cells) if ours in TEXT_COLUMNS else numbers(ours, cells, where, needed)
    refuse(faults)
    if not needed:
        columns = {name: np.full(table.num_rows, np.nan) for name in NEEDED if name not in columns} | columns
    return opened.tables.of(Tape.from_columns(**columns))

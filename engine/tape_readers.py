"""Readers of tape files by format: an opened file, which of its columns are ours, and its rows whole or in batches."""

import csv
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from engine.aliases import ALIASES, column_of
from engine.errors import TapeFileError
from engine.tape import COLUMN_NAMES
from engine.tape_cells import NEEDED, TEXT_COLUMNS
from engine.tape_kinds import check_kinds, is_text, stored_kind
from engine.tape_lines import check_quotes, count_lines, first_line
from engine.tape_tables import NONE, Tables, from_metadata

if TYPE_CHECKING:
    import pyarrow as pa


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

    def leave_out(self, names: Collection[str]) -> None:
        """Has these columns of ours not read."""
        self.chosen = {ours: header for ours, header in self.chosen.items() if ours not in names}
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
    """A Parquet file; only the wanted columns are read, and the tables that a stored tape has in its metadata.

    at_once: whether what is read in one call is fetched whole before it is unpacked, in few reads; by default column by
    column, so that no more of a large file is held than its batches.
    """

    def __init__(self, name: str, file: Any, mapping: Mapping[str, str] | None, at_once: bool = False) -> None:
        from pyarrow import parquet

        options = {"page_checksum_verification": True, "pre_buffer": at_once}
        seen = parquet.ParquetFile(file, **options)
        schema = seen.schema_arrow
        super().__init__(name, file, list(schema.names), mapping)
        check_kinds(name, schema, self.chosen, TEXT_COLUMNS)
        # Texts stay as codes: written out, one that a few bytes repeat a million times would fill the memory.
        plain = delta_texts(seen.metadata, self.wanted)
        texts = [header for header in self.wanted if is_text(stored_kind(schema.field(header).type))]
        coded = [header for header in texts if header not in plain]
        self.parquet = seen
        if coded:
            self.parquet = parquet.ParquetFile(file, metadata=seen.metadata, read_dictionary=coded, **options)
        self.tables = from_metadata(name, self.parquet.metadata.metadata)

    def read(self) -> "pa.Table":
        return self.parquet.read(columns=self.wanted)

    def batches(self, size: int) -> Iterator["pa.RecordBatch"]:
        yield from self.parquet.iter_batches(batch_size=size, columns=self.wanted)


def delta_texts(about: Any, wanted: Iterable[str]) -> set[str]:
    """Our text columns of a Parquet file that it says are coded by differences, which pyarrow reads as texts alone."""
    found: set[str] = set()
    ours = set(wanted)
    for j in range(about.num_columns):
        leaf = about.schema.column(j)
        if leaf.path in ours and leaf.physical_type == "BYTE_ARRAY":
            groups = (about.row_group(i).column(j).encodings for i in range(about.num_row_groups))
            if any(each.startswith("DELTA") for encodings in groups for each in encodings):
                found.add(leaf.path)
    return found


class ArrowTape(OpenTape):
    """An Arrow IPC file (Feather) or stream, told apart by the first bytes."""

    def __init__(self, name: str, file: Any, mapping: Mapping[str, str] | None) -> None:
        from pyarrow import ipc

        self.random = file.read(6) == b"ARROW1"
        opened = ipc.open_file if self.random else ipc.open_stream
        file.seek(0)
        schema = opened(file).schema
        super().__init__(name, file, list(schema.names), mapping)
        check_kinds(name, schema, self.chosen, TEXT_COLUMNS)
        file.seek(0)
        # The buffers of other columns are not unpacked.
        read = ipc.IpcReadOptions(included_fields=sorted(schema.get_field_index(each) for each in self.wanted))
        self.reader = opened(file, options=read)

    def read(self) -> "pa.Table":
        return self.reader.read_all()

    def batches(self, size: int) -> Iterator["pa.RecordBatch"]:
        if self.random:
            yield from (self.reader.get_batch(i) for i in range(self.reader.num_record_batches))
        else:
            yield from self.reader


Reader = Callable[[str, Any, Mapping[str, str] | None], OpenTape]
READERS: dict[str, Reader] = {"csv": CsvTape, "parquet": ParquetTape, "arrow": ArrowTape}


def unreadable(name: str, error: BaseException) -> TapeFileError:
    # pyarrow counts the header as row 1; we count from below it.
    text = re.sub(r"Row #(\d+)", lambda found: f"row {int(found[1]) - 1}", str(error).strip().splitlines()[0])
    return TapeFileError(f"{name} cannot be read: {text}")


def choose_columns(name: str, headers: list[str], mapping: Mapping[str, str] | None) -> dict[str, str]:
    """Our column -> file column: the one that `mapping` names, else the only one of our own name or an alias."""
    mapping = mapping or {}
    named: dict[str, list[str]] = {}
    known: dict[str, list[str]] = {}
    for header, ours in mapping.items():
        if header not in headers:
            raise TapeFileError(f"{name} has no column '{header}' that the mapping names; it has {listed(headers)}")
        if ours not in COLUMN_NAMES:
            raise TapeFileError(f"mapping of '{header}' is '{ours}'; expected one of {', '.join(COLUMN_NAMES)}")
    for header in headers:
        if header in mapping:
            named.setdefault(mapping[header], []).append(header)
        elif (match := column_of(header)) is not None:
            known.setdefault(match[0], []).append(header)
    chosen: dict[str, str] = {}
    for ours, found in (known | named).items():
        if len(found) > 1:
            # Of one name there is nothing that a mapping could tell apart.
            how = " (a mapping can say which)" if len(set(found)) == len(found) and ours not in named else ""
            raise TapeFileError(f"{name} has {listed(found)} for {ours}; expected one column{how}")
        chosen[ours] = found[0]
    missing = [ours for ours in NEEDED if ours not in chosen and "type" not in chosen]
    if missing:
        hints = "; ".join(f"{ours} (or {', '.join(ALIASES[ours][:4])}, ...)" for ours in missing)
        raise TapeFileError(f"{name} lacks {hints}; it has {listed(headers)}. A mapping can name the column")
    return chosen


def listed(headers: list[str]) -> str:
    """The headers quoted, the first twenty of them."""
    more = f" and {len(headers) - 20} more" if len(headers) > 20 else ""
    return ", ".join(f"'{header}'" for header in headers[:20]) + more

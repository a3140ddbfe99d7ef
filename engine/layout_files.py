"""Files of a layout as batches of text columns: delimited text with or without a header, and XML.

Every pass opens the file anew: the first finds the latest reporting period, where a file holds many, the second reads.
Files that end in .gz are unpacked as they are read.
"""

import csv
import gzip
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from xml.etree.ElementTree import ParseError

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import TapeFileError
from engine.layouts import LAYOUTS
from engine.layouts.declaration import Layout

if TYPE_CHECKING:
    pass

Source = str | os.PathLike[str] | BinaryIO

BLOCK = 1 << 22
HEAD = 1 << 16
XML_BATCH = 65_536
MAX_DEPTH = 16


class Batch(msgspec.Struct, frozen=True):
    """Rows of a file: text columns by their names in the layout, and the number of each row in the file."""

    columns: dict[str, Any]
    rows: NDArray[np.int64]


class WrongRow(msgspec.Struct, frozen=True):
    """A row that has another number of columns than the file's first."""

    row: int
    found: int
    expected: int


class LayoutFile:
    """A file and how its bytes are had, as often as wanted. head: its first 64 KiB as text, without a mark."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.path = None if hasattr(source, "read") else Path(source)
        self.name = str(self.path) if self.path is not None else str(getattr(source, "name", None) or "the tape file")
        if self.path is not None and not self.path.is_file():
            what = "is no file" if self.path.exists() else "does not exist"
            raise TapeFileError(f"{self.name} {what}; expected a tape file")
        if self.path is None and not self.source.seekable():  # type: ignore[union-attr]
            self.source = io.BytesIO(self.source.read())  # type: ignore[union-attr]
        try:
            with self.opened() as file:
                start = file.read(HEAD)
        except (OSError, EOFError) as error:
            raise TapeFileError(f"{self.name} cannot be read: {error}") from error
        self.whole = len(start) < HEAD
        self.head = start.decode("utf-8-sig", errors="replace")
        self.wrong: list[WrongRow] = []

    def opened(self) -> Any:
        """The bytes from the beginning, unpacked; to be closed, which leaves a given file open."""
        if self.path is not None:
            return gzip.open(self.path, "rb") if self.path.suffix == ".gz" else self.path.open("rb")
        self.source.seek(0)  # type: ignore[union-attr]
        return Unclosed(self.source)

    @property
    def first_line(self) -> str:
        """The first line that is not empty, without its end."""
        return next((line for line in self.head.splitlines() if line.strip()), "")

    def lines(self, layout: Layout) -> tuple[int, str]:
        """How many lines stand before the header or the first loan, and that line."""
        for i, line in enumerate(self.head.splitlines()):
            if line.strip() and not line.startswith(layout.preambles or ("\0",)):
                return i, line
        return 0, ""


class Unclosed:
    """A file that its reader may close without closing the file."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        return bytes(self.file.read(size))

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> "Unclosed":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def detect(file: LayoutFile) -> Layout | None:
    """The one layout that the file's beginning shows, None if there is none or it is not clear which."""
    found = [layout for layout in LAYOUTS.values() if shows(file, layout)]
    return found[0] if len(found) == 1 else None


def shows(file: LayoutFile, layout: Layout) -> bool:
    """Whether the file begins as the layout says."""
    if layout.container == "xml":
        return file.head.lstrip().startswith("<") and all(mark in file.head for mark in layout.marks)
    _, line = file.lines(layout)
    if file.head.lstrip().startswith("<"):
        return False
    cells = split(line, layout)
    if not layout.columns:
        return set(layout.marks) <= set(cells)
    at, pattern = layout.id_at or (0, "")
    return len(cells) in layout.counts and re.fullmatch(pattern, cells[at].strip()) is not None


def split(line: str, layout: Layout) -> list[str]:
    """The cells of a line."""
    if not layout.quoted:
        return line.split(layout.delimiter)
    return [cell.strip() for cell in next(csv.reader([line], delimiter=layout.delimiter), [])]


def headers(file: LayoutFile, layout: Layout) -> list[str]:
    """The columns of a delimited file. Raises TapeFileError with what is missing if the layout is another."""
    _, line = file.lines(layout)
    if not line:
        raise TapeFileError(f"{file.name} is empty; expected at least one loan in the layout {layout.name}")
    cells = split(line, layout)
    if not layout.columns:
        missing = [mark for mark in layout.marks if mark not in cells]
        if missing:
            raise TapeFileError(
                f"{file.name} is not in the layout {layout.name}: its header lacks {', '.join(missing)}; "
                f"it has {shortened(cells)}"
            )
        return cells
    if len(cells) not in layout.counts:
        allowed = ", ".join(map(str, layout.counts))
        raise TapeFileError(
            f"{file.name} is not in the layout {layout.name}: its first row has {len(cells)} columns separated by "
            f"'{layout.delimiter}'; expected {allowed}"
        )
    return list(layout.columns[: len(cells)])


def shortened(cells: list[str]) -> str:
    more = f" and {len(cells) - 20} more" if len(cells) > 20 else ""
    return ", ".join(f"'{cell[:40]}'" for cell in cells[:20]) + more


def batches(file: LayoutFile, layout: Layout, wanted: set[str] | None = None) -> Iterator[Batch]:
    """The rows of the file in its order. wanted: the columns to read, all by default."""
    read = xml_batches if layout.container == "xml" else delimited_batches
    yield from read(file, layout, wanted)


def delimited_batches(file: LayoutFile, layout: Layout, wanted: set[str] | None) -> Iterator[Batch]:
    """Batches of a delimited file; rows of another length are left out and noted in `file.wrong`."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names = headers(file, layout)
    skipped: list[int] = []
    before = file.lines(layout)[0] + (0 if layout.columns else 1)

    def wrong_row(row: Any) -> str:
        if not (layout.footers and row.text.lstrip('"').startswith(layout.footers)):
            file.wrong.append(WrongRow(row.number - before, row.actual_columns, row.expected_columns))
        skipped.append(row.number - before)
        return "skip"

    file.wrong = []
    unique = distinct(names)
    chosen = [name for name in unique if wanted is None or name in wanted]
    read = arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK, column_names=unique, skip_rows=before)
    parse = arrow_csv.ParseOptions(
        delimiter=layout.delimiter, quote_char='"' if layout.quoted else False, invalid_row_handler=wrong_row,
        newlines_in_values=layout.quoted,
    )  # fmt: skip
    convert = arrow_csv.ConvertOptions(
        include_columns=chosen, column_types=dict.fromkeys(chosen, pa.string()), strings_can_be_null=False
    )
    start = 0
    try:
        with file.opened() as opened, arrow_csv.open_csv(opened, read, parse, convert) as reader:
            for batch in reader:
                if batch.num_rows:
                    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                    yield Batch(columns, row_numbers(start, batch.num_rows, skipped))
                    start += batch.num_rows
    except (pa.ArrowException, UnicodeDecodeError, OSError, EOFError) as error:
        raise TapeFileError(f"{file.name} cannot be read: {str(error).splitlines()[0]}") from error


def row_numbers(start: int, count: int, skipped: list[int]) -> NDArray[np.int64]:
    """The numbers in the file of rows start.. of those that were not skipped, counted from 1. skipped: ascending."""
    rows = np.arange(start + 1, start + count + 1)
    # How many rows that were read stand before each that was skipped.
    before = np.array(skipped, dtype=np.int64) - np.arange(1, len(skipped) + 1)
    return rows + np.searchsorted(before, rows, side="left")


def distinct(names: list[str]) -> list[str]:
    """The names, those that come again numbered."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out


def xml_batches(file: LayoutFile, layout: Layout, wanted: set[str] | None) -> Iterator[Batch]:
    """Batches of an XML file, read element by element. Document types and entities are refused."""
    if not all(mark in file.head for mark in layout.marks):
        raise TapeFileError(
            f"{file.name} is not in the layout {layout.name}: its beginning lacks {', '.join(layout.marks)}"
        )
    held: list[dict[str, str]] = []
    row = 0
    for record in xml_records(file, layout.record):
        held.append(record if wanted is None else {name: text for name, text in record.items() if name in wanted})
        if len(held) == XML_BATCH:
            yield as_batch(held, row)
            row += len(held)
            held = []
    if held:
        yield as_batch(held, row)


def xml_records(file: LayoutFile, record: str) -> Iterator[dict[str, str]]:
    """Each record's elements without children, by their names without a namespace; repeated ones joined by `;`."""
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    stack: list[Any] = []
    found: dict[str, str] = {}
    inside = 0
    try:
        with file.opened() as opened:
            for event, element in iterparse(opened, events=("start", "end"), forbid_dtd=True):
                name = element.tag.rpartition("}")[2]
                if event == "start":
                    stack.append(element)
                    if len(stack) > MAX_DEPTH:
                        raise TapeFileError(
                            f"{file.name} nests elements more than {MAX_DEPTH} deep; expected a flat record"
                        )
                    if name == record and not inside:
                        inside, found = len(stack), {}
                    continue
                if inside and len(stack) > inside and len(element) == 0 and element.text and element.text.strip():
                    text = element.text.strip()
                    found[name] = f"{found[name]};{text}" if name in found else text
                if len(stack) == inside:
                    inside = 0
                    yield found
                stack.pop()
                if not inside and stack:
                    # What is read is let go: the tree would hold the whole file.
                    stack[-1].remove(element)
    except DefusedXmlException as error:
        raise TapeFileError(f"{file.name} declares a document type or entities, which are not read") from error
    except (ParseError, OSError, EOFError) as error:
        raise TapeFileError(f"{file.name} cannot be read: {error}") from error


def as_batch(records: list[dict[str, str]], row: int) -> Batch:
    """The batch of records. row: rows before it."""
    import pyarrow as pa

    names = list(dict.fromkeys(name for record in records for name in record))
    columns = {name: pa.array([record.get(name) for record in records], type=pa.string()) for name in names}
    return Batch(columns, np.arange(row + 1, row + len(records) + 1))

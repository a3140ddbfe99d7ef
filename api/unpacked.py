"""How large an uploaded Parquet or Arrow file becomes, told by its headings before any of it is unpacked.

A few kilobytes can hold a billion loans, or a buffer of gigabytes: both are refused here, since the readers would set
the memory aside first. What is counted is what they set aside by: the headers of Parquet's pages, not its footer, and
the sizes before Arrow's packed buffers. What cannot be opened the readers refuse for themselves.
"""

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import ipc, parquet

from api.errors import Fault, Refusal
from api.parquet_pages import footer_bytes, pages_of
from api.settings import Settings
from engine.errors import TapeFileError
from engine.tape_files import open_source
from engine.tape_readers import delta_texts

# Of our columns of a row group, or of a record batch with the dictionaries before it, once unpacked.
MAX_PART_BYTES = 256 * 1024 * 1024
# Bytes of a file that is read whole once unpacked, by bytes of the largest body.
UNPACKED = 16
# Bytes of a number, or of a text's place, in a tape.
CELL = 8
# Loans that are read at once; see tape_parquet.ROW_GROUP.
READ_AT_ONCE = 131_072
MAX_HEADING = 64 * 1024 * 1024
MAX_PAGES, MAX_MESSAGES, MAX_BUFFERS = 250_000, 100_000, 2_000_000
# Encodings of pages by their number in the format.
DELTA_BYTE_ARRAY, DICTIONARY = 7, (2, 8)
MAGIC = b"ARROW1"
CONTINUES = 0xFFFFFFFF
DICTIONARY_BATCH, RECORD_BATCH = 2, 3


def check_unpacked(file: BinaryIO, format: str, settings: Settings, *, whole: bool = False) -> None:
    """Raises Refusal (413) for a file with too many loans, or with parts that are too large to be unpacked.

    whole: the file is read into memory as a whole, not in parts.
    """
    try:
        if format == "parquet":
            check_parquet(file, Bounds(settings, whole))
        elif format == "arrow":
            check_arrow(file, Bounds(settings, whole))
    except (pa.ArrowException, OSError, TapeFileError):
        pass  # whatever it is, the reader refuses it
    except (struct.error, ValueError, LookupError, OverflowError) as error:
        # What is not understood here is not given to the reader, who might.
        message = "cannot be read: its headings are damaged"
        raise Refusal(422, f"The file {message}.", [Fault("body", message)]) from error
    finally:
        file.seek(0)


class Bounds:
    """Counts the loans of a file and the bytes that its parts unpack to; refuses what is too much."""

    def __init__(self, settings: Settings, whole: bool) -> None:
        self.whole = whole
        self.most = settings.max_result_cells if whole else settings.max_tape_loans
        self.limit = "MAX_RESULT_CELLS" if whole else "MAX_TAPE_LOANS"
        self.most_bytes = UNPACKED * settings.max_body_bytes
        self.loans = self.bytes = 0

    def rows(self, rows: int) -> None:
        """Adds loans. Raises Refusal (413)."""
        self.loans += max(rows, 0)
        if self.loans > self.most:
            done = "read whole" if self.whole else "stored"
            text = f"The tape has {self.loans:,} loans; at most {self.most:,} are {done} ({self.limit})."
            raise Refusal(413, text)

    def part(self, what: str, size: int, added: int) -> None:
        """A part of so many bytes, of which some come with it. Raises Refusal (413)."""
        if size > MAX_PART_BYTES:
            raise too_large(what, size, MAX_PART_BYTES)
        self.bytes += added
        if self.whole and self.bytes > self.most_bytes:
            raise too_large("The file", self.bytes, self.most_bytes)


def too_large(what: str, size: int, most: int) -> Refusal:
    return Refusal(413, f"{what} unpacks to {size:,} bytes; at most {most:,} are read. Write smaller ones.")


def too_many(what: str, most: int) -> Refusal:
    return Refusal(413, f"The file has more than the {most:,} {what} that are read. Write larger ones.")


def check_parquet(file: BinaryIO, bounds: Bounds) -> None:
    """Counts the pages of our columns; the others are not read."""
    if (size := footer_bytes(file)) > MAX_HEADING:
        raise too_large("The footer", size, MAX_HEADING)
    about = parquet.ParquetFile(file).metadata
    bounds.rows(about.num_rows)
    bounds.loans = 0
    wanted = set(open_source(file, "parquet", None).wanted)
    leaves = [about.schema.column(j) for j in range(about.num_columns)]
    ours = {j: max(CELL, leaf.length) for j, leaf in enumerate(leaves) if leaf.path in wanted}
    left, plain = MAX_PAGES, delta_texts(about, wanted)
    for i in range(about.num_row_groups):
        group = about.row_group(i)
        rows, size = group.num_rows, 0
        for j in ours:
            unpacked, values, pages = column_bytes(file, group.column(j), left, leaves[j].path in plain)
            size, rows, left = size + unpacked, max(rows, values), left - pages
        bounds.rows(rows)
        width = sum(ours.values())
        bounds.part(f"Row group {i}", size + min(rows, READ_AT_ONCE) * width, size + rows * width)


def column_bytes(file: BinaryIO, column: Any, left: int, plain: bool) -> tuple[int, int, int]:
    """Bytes, values and pages of a column of a row group; an empty one counts as a page.

    plain: its texts are read written out, not as codes, so that a dictionary's may not be repeated.
    """
    size = values = 0
    pages = 1
    for page in pages_of(file, column):
        if page.encoding == DELTA_BYTE_ARRAY or (plain and page.encoding in DICTIONARY):
            message = f"column {column.path_in_schema!r} is coded so that its texts may repeat without end"
            told = "Write it plain or with a dictionary, not as DELTA_BYTE_ARRAY and not in both ways."
            raise Refusal(422, f"The {message}. {told}", [Fault("body", message)])
        size, values, pages = size + page.size, values + page.values, pages + 1
        if pages > left:
            raise too_many("pages", MAX_PAGES)
    return max(size, column.total_compressed_size), values, pages


def check_arrow(file: BinaryIO, bounds: Bounds) -> None:
    """Counts every dictionary, which readers unpack whether or not its column is asked for, and our columns."""
    wanted = set(open_source(file, "arrow", None).wanted)
    file.seek(0)
    random = file.read(6) == MAGIC
    file.seek(0)
    ours = buffers_of((ipc.open_file if random else ipc.open_stream)(file).schema, wanted)
    dictionaries: dict[int, int] = {}
    buffers = 0
    for number, (heading, body) in enumerate(messages(file)):
        if number > MAX_MESSAGES:
            raise too_many("messages", MAX_MESSAGES)
        message = Table.root(heading)
        kind, batch, packed = message.number(1, "<B"), message.table(2), max(0, message.number(3, "<q"))
        if batch is None or kind not in (DICTIONARY_BATCH, RECORD_BATCH):
            bounds.part(f"Message {number}", packed, 0)
            continue
        id, delta = batch.number(0, "<q"), batch.number(2, "<B")
        if kind == DICTIONARY_BATCH:
            batch = batch.table(1)
            if batch is None:
                continue
        elif kind == RECORD_BATCH:
            bounds.rows(batch.number(0, "<q"))
        buffers += batch.count(2)
        if buffers > MAX_BUFFERS:
            raise too_many("buffers", MAX_BUFFERS)
        size = packed + unpacked_bytes(file, body, batch, ours if kind == RECORD_BATCH else None)
        if kind == DICTIONARY_BATCH:
            dictionaries[id] = size + (dictionaries.get(id, 0) if delta else 0)
            bounds.part("What its dictionaries hold", sum(dictionaries.values()), size)
        else:
            cells = max(0, batch.number(0, "<q")) * CELL * len(wanted)
            bounds.part(f"Message {number} of the Arrow file", size + sum(dictionaries.values()), size + cells)


def buffers_of(schema: pa.Schema, wanted: set[str]) -> set[int] | None:
    """Which buffers of a batch are those of our columns; none where a type leaves it open, so that all count."""
    found: set[int] = set()
    place = 0
    for field in schema:
        kind = field.type.index_type if pa.types.is_dictionary(field.type) else field.type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind)
        text = text or pa.types.is_large_binary(kind)
        if not (text or pa.types.is_primitive(kind)):
            return None
        count = 3 if text else 2
        if field.name in wanted:
            found.update(range(place, place + count))
        place += count
    return found


def unpacked_bytes(file: BinaryIO, body: int, batch: "Table", ours: set[int] | None) -> int:
    """Bytes that a batch's packed buffers unpack to. Each tells it in the eight bytes before it, -1 where it is plain.

    ours: which of the buffers count, None for all.
    """
    if batch.table(3) is None:
        return 0
    size = 0
    for number, (offset, length) in enumerate(batch.structs(2, "<qq")):
        if length >= 8 and (ours is None or number in ours):
            file.seek(body + offset)
            (told,) = struct.unpack("<q", file.read(8))
            size += max(told, 0)
    return size


def messages(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The heading of each message and where its body begins; of a file those that its footer names."""
    file.seek(0)
    if file.read(6) == MAGIC:
        for place in blocks(file):
            yield message_at(file, place) or (b"", 0)
        return
    place = 0
    while (found := message_at(file, place)) is not None:
        yield found
        place = found[1] + max(0, Table.root(found[0]).number(3, "<q"))


def message_at(file: BinaryIO, place: int) -> tuple[bytes, int] | None:
    """The heading of the message at a place and where its body begins, none at the end of the stream."""
    file.seek(place)
    first = file.read(4)
    if len(first) < 4:
        return None
    (length,) = struct.unpack("<I", first)
    if length == CONTINUES:
        (length,) = struct.unpack("<I", file.read(4))
    if length == 0:
        return None
    if length > MAX_HEADING:
        raise too_large("A heading", length, MAX_HEADING)
    return file.read(length), file.tell()


def blocks(file: BinaryIO) -> Iterator[int]:
    """Where the dictionaries and batches of an Arrow file are, by its footer."""
    end = file.seek(-10, 2)
    length, magic = struct.unpack("<i6s", file.read(10))
    if magic != MAGIC or not 0 < length <= end:
        return
    file.seek(end - length)
    footer = Table.root(file.read(length))
    for field in (2, 3):
        for offset, _, _ in footer.structs(field, "<qi4xq"):
            yield offset


class Table:
    """A table of a FlatBuffer: its fields by number."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data, self.place = data, place
        (back,) = struct.unpack_from("<i", data, place)
        self.fields = place - back
        (self.size,) = struct.unpack_from("<H", data, self.fields)

    @classmethod
    def root(cls, data: bytes) -> "Table":
        return cls(data, struct.unpack_from("<I", data)[0])

    def at(self, field: int) -> int | None:
        """Where a field is, none where it has its default."""
        entry = 4 + 2 * field
        if entry + 2 > self.size:
            return None
        (offset,) = struct.unpack_from("<H", self.data, self.fields + entry)
        return self.place + offset if offset else None

    def number(self, field: int, form: str) -> int:
        place = self.at(field)
        return 0 if place is None else int(struct.unpack_from(form, self.data, place)[0])

    def table(self, field: int) -> "Table | None":
        place = self.at(field)
        return None if place is None else Table(self.data, place + struct.unpack_from("<I", self.data, place)[0])

    def count(self, field: int) -> int:
        """How many entries a list has."""
        place = self.at(field)
        if place is None:
            return 0
        start = place + struct.unpack_from("<I", self.data, place)[0]
        return int(struct.unpack_from("<I", self.data, start)[0])

    def structs(self, field: int, form: str) -> Iterator[tuple[Any, ...]]:
        """The entries of a list of structs."""
        place = self.at(field)
        if place is None:
            return
        start = place + struct.unpack_from("<I", self.data, place)[0]
        (count,) = struct.unpack_from("<I", self.data, start)
        for i in range(count):
            yield struct.unpack_from(form, self.data, start + 4 + i * struct.calcsize(form))

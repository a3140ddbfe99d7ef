"""How large an uploaded Parquet or Arrow file becomes, told by its headings before any of it is unpacked.

A few kilobytes can hold a billion loans, or a buffer of gigabytes: both are refused here, since the readers would set
the memory aside first. What cannot be read here the readers say for themselves.
"""

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import parquet

from api.errors import Refusal
from api.settings import Settings

# Of a column of a row group, or of a record batch, once it is unpacked.
MAX_PART_BYTES = 1024 * 1024 * 1024
MAGIC = b"ARROW1"
CONTINUES = 0xFFFFFFFF
DICTIONARY_BATCH, RECORD_BATCH = 2, 3
MAX_MESSAGES = 100_000


def check_unpacked(file: BinaryIO, format: str, settings: Settings) -> None:
    """Raises Refusal (413) for a file with too many loans, or with parts that are too large to be unpacked."""
    try:
        if format == "parquet":
            check_parquet(file, settings)
        elif format == "arrow":
            check_arrow(file, settings)
    except (pa.ArrowException, OSError, struct.error, ValueError, IndexError, OverflowError):
        pass  # whatever it is, the reader refuses it
    finally:
        file.seek(0)


def too_many(loans: int, settings: Settings) -> Refusal:
    text = f"The tape has {loans:,} loans; at most {settings.max_tape_loans:,} are stored (MAX_TAPE_LOANS)."
    return Refusal(413, text)


def too_large(what: str, size: int) -> Refusal:
    return Refusal(413, f"{what} unpacks to {size:,} bytes; at most {MAX_PART_BYTES:,} are read. Write smaller ones.")


def check_parquet(file: BinaryIO, settings: Settings) -> None:
    about = parquet.ParquetFile(file).metadata
    if about.num_rows > settings.max_tape_loans:
        raise too_many(about.num_rows, settings)
    for i in range(about.num_row_groups):
        group = about.row_group(i)
        for j in range(group.num_columns):
            column = group.column(j)
            if column.total_uncompressed_size > MAX_PART_BYTES:
                raise too_large(f"Row group {i} of column {column.path_in_schema!r}", column.total_uncompressed_size)


def check_arrow(file: BinaryIO, settings: Settings) -> None:
    loans = 0
    for number, (heading, body) in enumerate(messages(file)):
        if number > MAX_MESSAGES:
            raise Refusal(413, f"The Arrow file has more than the {MAX_MESSAGES:,} messages that are read.")
        message = Table.root(heading)
        kind, batch = message.number(1, "<B"), message.table(2)
        if batch is None or kind not in (DICTIONARY_BATCH, RECORD_BATCH):
            continue
        if kind == DICTIONARY_BATCH:
            batch = batch.table(1)
            if batch is None:
                continue
        rows = batch.number(0, "<q")
        loans += rows if kind == RECORD_BATCH else 0
        if max(rows, loans) > settings.max_tape_loans:
            raise too_many(max(rows, loans), settings)
        size = max(message.number(3, "<q"), unpacked_bytes(file, body, batch))
        if size > MAX_PART_BYTES:
            raise too_large(f"Message {number} of the Arrow file", size)


def unpacked_bytes(file: BinaryIO, body: int, batch: "Table") -> int:
    """Bytes of a batch's buffers. A packed one tells its size in the eight bytes before it, -1 where it is not."""
    packed, size = batch.table(3) is not None, 0
    for offset, length in batch.structs(2, "<qq"):
        told = -1
        if packed and length >= 8:
            file.seek(body + offset)
            (told,) = struct.unpack("<q", file.read(8))
        size += length if told < 0 else told
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
    if length == 0 or length > MAX_PART_BYTES:
        return None
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

    def structs(self, field: int, form: str) -> Iterator[tuple[Any, ...]]:
        """The entries of a list of structs."""
        place = self.at(field)
        if place is None:
            return
        start = place + struct.unpack_from("<I", self.data, place)[0]
        (count,) = struct.unpack_from("<I", self.data, start)
        for i in range(count):
            yield struct.unpack_from(form, self.data, start + 4 + i * struct.calcsize(form))

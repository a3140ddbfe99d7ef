"""The headers of a Parquet file's pages: how large each is unpacked, which is what a reader sets aside for it.

What the file's footer says of sizes no reader holds to; it says only where a column's pages begin and end.
"""

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

# Thrift's compact protocol: types of fields.
YES, NO, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
MAX_DEPTH = 8
# Bytes of a header that are tried, one after another; the last is the most that readers take.
HEADER_SIZES = (512, 65_536, 16 * 1024 * 1024)

Fields = dict[tuple[int, int], Any]


class Page(NamedTuple):
    """size: bytes, the larger of packed and unpacked. encoding: its number in the format, -1 for none."""

    size: int
    values: int
    encoding: int


def pages_of(file: BinaryIO, column: Any) -> Iterator[Page]:
    """The pages of a column of a row group (its metadata as pyarrow has it). Raises ValueError, IndexError."""
    place = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < place:
        place = column.dictionary_page_offset
    stop, seen = place + column.total_compressed_size, 0
    while seen < column.num_values and place < stop:
        fields, length = header_at(file, place)
        unpacked, packed = fields[2, I32], fields[3, I32]
        if packed < 0 or unpacked < 0:
            raise ValueError("a page has a negative size")
        first, second = fields.get((5, STRUCT), {}), fields.get((8, STRUCT), {})
        values = max(0, first.get((1, I32), 0), second.get((1, I32), 0))
        seen += values
        yield Page(max(packed, unpacked), values, max(first.get((2, I32), -1), second.get((4, I32), -1)))
        place += length + packed


def header_at(file: BinaryIO, place: int) -> tuple[Fields, int]:
    """The header at a place and its bytes. Raises IndexError where the file ends in it."""
    for size in HEADER_SIZES:
        file.seek(place)
        data = file.read(size)
        try:
            return fields_of(data, 0, MAX_DEPTH)
        except IndexError:
            if len(data) < size or size == HEADER_SIZES[-1]:
                raise
    raise AssertionError("unreachable")


def fields_of(data: bytes, place: int, depth: int) -> tuple[Fields, int]:
    """The fields of a struct by number and type, and where it ends: a field of another type is another field."""
    if not depth:
        raise ValueError("a header is nested too deeply")
    found: Fields = {}
    number = 0
    while head := data[place]:
        place += 1
        if head >> 4:
            number += head >> 4
        else:
            number, place = signed(data, place, 16)
        found[number, head & 15], place = value_of(data, place, head & 15, depth)
    return found, place + 1


def value_of(data: bytes, place: int, kind: int, depth: int) -> tuple[Any, int]:
    """The value of a field, None for one that is only passed over, and where it ends."""
    if kind in (YES, NO):
        return kind == YES, place
    if kind in (BYTE, DOUBLE):
        return None, place + (1 if kind == BYTE else 8)
    if kind in (I16, I32, I64):
        return signed(data, place, {I16: 16, I32: 32, I64: 64}[kind])
    if kind == BINARY:
        length, place = varint(data, place)
        return None, place + length
    if kind == STRUCT:
        return fields_of(data, place, depth - 1)
    if kind in (LIST, SET, MAP):
        raise ValueError("a page's header holds a list, which none has")
    raise ValueError(f"a header has a field of type {kind}")


def varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a header has too long a number")


def signed(data: bytes, place: int, bits: int) -> tuple[int, int]:
    """A zigzag number of so many bits: what is beyond them readers drop."""
    value, place = varint(data, place)
    value &= (1 << bits) - 1
    return (value >> 1) ^ -(value & 1), place


def footer_bytes(file: BinaryIO) -> int:
    """Bytes of the footer, 0 where there is none."""
    end = file.seek(0, 2)
    if end < 12:
        return 0
    file.seek(end - 8)
    length, magic = struct.unpack("<I4s", file.read(8))
    return int(length) if magic == b"PAR1" and length < end else 0

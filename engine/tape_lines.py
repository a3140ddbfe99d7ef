"""Lines of a text file: the header, how many there are, and whether a quote runs over the end of one."""

import re
from typing import Any

import numpy as np

from engine.errors import TapeFileError

LINE_ENDS = np.frombuffer(b"\r\n", np.uint8)


def first_line(name: str, file: Any) -> str:
    """The header of a text file, without its byte order mark; the file is left at its start."""
    start = bytes(file.read(1 << 20))
    file.seek(0)
    line = start.decode("utf-8-sig", errors="replace").lstrip("\r\n").splitlines()
    if not line or not line[0].strip():
        raise TapeFileError(f"{name} is empty; expected a header and at least one loan")
    return line[0]


def count_lines(file: Any) -> int:
    """How many lines of a text file are not empty."""
    file.seek(0)
    lines, at_start = 0, True
    while chunk := bytes(file.read(1 << 22)):
        if b"\r" not in chunk and b"\n\n" not in chunk:
            # Every line end but the last begins a line.
            lines += chunk.count(b"\n", 0, len(chunk) - 1) + (at_start and chunk[:1] != b"\n")
            at_start = chunk.endswith(b"\n")
            continue
        ends = np.isin(np.frombuffer(chunk, np.uint8), LINE_ENDS)
        starts = np.concatenate([[at_start], ends[:-1]]) & ~ends
        lines += int(np.count_nonzero(starts))
        at_start = bool(ends[-1])
    return lines


def check_quotes(name: str, file: Any, delimiter: str) -> None:
    """Raises TapeFileError at the first line that ends inside a quoted cell, if there is one."""
    file.seek(0)
    mark = re.escape(delimiter)
    cell = rf'(?:"[^"]*+(?:""[^"]*+)*+"[^{mark}]*+|[^"{mark}][^{mark}]*+|)'
    closed = re.compile(rf"{cell}(?:{mark}{cell})*+".encode())
    row, held = 0, b""
    while chunk := file.read(1 << 22):
        *lines, held = re.split(rb"[\r\n]+", held + bytes(chunk))
        for line in filter(None, lines):
            if b'"' in line and not closed.fullmatch(line):
                raise left_open(name, row)
            row += 1
    if not closed.fullmatch(held):
        raise left_open(name, row)


def left_open(name: str, row: int) -> TapeFileError:
    place = f"row {row}" if row else "the header"
    return TapeFileError(f"{name}, {place} has a quote that is not closed; expected each loan on one line")

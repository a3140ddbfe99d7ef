"""Text cells of a loan file as arrays, column by column, with a mask of the cells that cannot be read.

Dates and codes are read once for each distinct text: a column of a million loans has a few hundred.
"""

import re
import time
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.layouts.declaration import Reading
from engine.tape_cells import BLANK_WORDS, floats

if TYPE_CHECKING:
    import pyarrow as pa

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
Mask = NDArray[np.bool_]
EXPECTED = {
    "number": "a number",
    "percent": "a percentage",
    "months": "whole months",
    "date": "a date",
    "code": "one of the layout's codes",
}
# How late a loan is; none is late by less than nothing.
ARREARS = ("days_past_due", "months_past_due")


class Cells(msgspec.Struct, frozen=True):
    """A column's values and which of its cells are unreadable.

    values: float64 with NaN for blank (numbers), datetime64[M] with NaT (dates), or texts with None.
    """

    values: NDArray[Any]
    bad: Mask
    expected: str


def present(texts: NDArray[Any]) -> Mask:
    """Which texts are there and not None."""
    found: Mask = texts != np.array(None, dtype=object)
    return found


def read_cells(reading: Reading, cells: "pa.StringArray") -> Cells:
    """The cells of one column of the file, as the reading says."""
    tidy = without_blanks(cells, reading.blanks)
    if reading.pattern:
        tidy = extracted(tidy, reading)
    match reading.kind:
        case "text":
            bad, expected = holds(tidy, "\0"), "text without the character U+0000"
            if reading.once and (joined := holds(tidy, ";")).any():
                bad, expected = bad | joined, "one text"
            return Cells(as_texts(tidy), bad, expected)
        case "date":
            return dates(tidy, reading.form)
        case "code":
            return codes(tidy, reading.codes)
    values, bad = numbers(tidy, reading.kind == "percent")
    if reading.kind == "months":
        bad |= (values != np.floor(values)) & ~np.isnan(values)
    if reading.kind == "percent":
        values = values / 100
    expected = EXPECTED[reading.kind]
    if reading.ours in ARREARS:
        bad |= values < 0
        expected += " of 0 or more"
    return Cells(np.where(bad, np.nan, values), bad, expected)


def holds(cells: Any, part: str) -> Mask:
    """Which cells hold a part of a text."""
    from pyarrow import compute as pc

    found: Mask = pc.match_substring(cells, part).fill_null(False).to_numpy(zero_copy_only=False)
    return found


def without_blanks(cells: "pa.StringArray", blanks: tuple[str, ...]) -> Any:
    """The cells without outer spaces; null where they stand for no value."""
    import pyarrow as pa
    from pyarrow import compute as pc

    tidy = pc.utf8_trim_whitespace(cells)
    nothing = pc.is_in(tidy, pa.array([*BLANK_WORDS, *blanks]))
    if "ND4" in blanks:
        # ND4 is followed by the date from which the value will be known.
        nothing = pc.or_(nothing, pc.starts_with(tidy, "ND4-").fill_null(False))
    return pc.if_else(nothing, pa.scalar(None, pa.string()), tidy) if pc.any(nothing).as_py() else tidy


def extracted(cells: Any, reading: Reading) -> Any:
    """What the pattern finds. Where it finds nothing, codes and months of a shared column are blank, others stay."""
    pattern = re.compile(reading.pattern)
    shared = reading.kind == "months" and reading.pattern.startswith(r"^(\d+)$")
    lenient = shared or reading.kind == "code"

    def value(text: str) -> str | None:
        found = pattern.search(text)
        return found[1] if found else (None if lenient else text)

    return by_distinct(cells, value)


def by_distinct(cells: Any, value: Callable[[str], str | None]) -> Any:
    """The cells with each distinct text replaced."""
    import pyarrow as pa
    from pyarrow import compute as pc

    coded = pc.dictionary_encode(cells)
    new = pa.array([value(text) for text in coded.dictionary.to_pylist()], type=pa.string())
    return new.take(coded.indices)


def as_texts(cells: Any) -> NDArray[np.object_]:
    """Cells as Python strings, None for a blank; equal cells share one string."""
    from pyarrow import compute as pc

    coded = pc.dictionary_encode(cells)
    words = np.array([*coded.dictionary.to_pylist(), None], dtype=object)
    indices: NDArray[np.int32] = coded.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
    return words[indices]


def numbers(cells: Any, percent: bool = False) -> tuple[NDArray[np.float64], Mask]:
    """Cells as float64, NaN for a blank or unreadable one, and which are unreadable. Money may have $ and commas."""
    import pyarrow as pa
    from pyarrow import compute as pc

    try:
        values = floats(cells)
    except pa.ArrowInvalid:
        bare = pc.replace_substring_regex(cells, r"%$", "") if percent else pc.replace_substring(cells, "$", "")
        grouped = pc.match_substring_regex(bare, r"^-?\d{1,3}(,\d{3})+(\.\d*)?$")
        bare = pc.utf8_trim_whitespace(pc.if_else(grouped, pc.replace_substring(bare, ",", ""), bare))
        readable = pc.match_substring_regex(bare, NUMBER)
        values = floats(pc.if_else(readable, bare, pa.scalar(None, pa.string())))
    blank = cells.is_null().to_numpy(zero_copy_only=False)
    bad = ~np.isfinite(values) & ~blank
    values[bad] = np.nan
    return values, bad


def dates(cells: Any, form: str) -> Cells:
    """Cells as months (datetime64[M]), NaT for a blank or unreadable one."""
    from pyarrow import compute as pc

    coded = pc.dictionary_encode(cells)
    months = np.array([month_of(text, form) for text in coded.dictionary.to_pylist()] + [None], dtype="datetime64[M]")
    indices: NDArray[np.int32] = coded.indices.fill_null(len(months) - 1).to_numpy(zero_copy_only=False)
    values = months[indices]
    bad = np.isnat(values) & ~cells.is_null().to_numpy(zero_copy_only=False)
    return Cells(values, bad, f"a date such as {date(2024, 12, 31).strftime(form)}")


def month_of(text: str, form: str) -> str | None:
    """The month of a date as YYYY-MM, None if it is no date of the form. A five-digit MMYYYY has lost its zero."""
    if form == "%m%Y" and len(text) == 5:
        text = "0" + text
    if form in ("%m%Y", "%Y%m") and not (len(text) == 6 and text.isascii() and text.isdigit()):
        return None
    try:
        return time.strftime("%Y-%m", time.strptime(text, form))
    except ValueError:
        return None


def codes(cells: Any, known: dict[str, str]) -> Cells:
    """Cells as the values of their codes, None for a blank or unknown one."""
    from pyarrow import compute as pc

    coded = pc.dictionary_encode(cells)
    words = np.array([*(known.get(text) for text in coded.dictionary.to_pylist()), None], dtype=object)
    indices: NDArray[np.int32] = coded.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
    values = words[indices]
    missing = np.array([value is None for value in words])[indices]
    shown = ", ".join(list(known)[:12]) + (", ..." if len(known) > 12 else "")
    return Cells(values, missing & ~cells.is_null().to_numpy(zero_copy_only=False), f"one of {shown}")

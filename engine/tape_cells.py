"""Columns of a tape file as arrays: numbers, whole months and texts, with the row of a cell that cannot be read."""

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.aliases import RATE_COLUMNS, rate_divisor
from engine.errors import TapeFileError
from engine.tape import COLUMN_NAMES

if TYPE_CHECKING:
    import pyarrow as pa

NEEDED = COLUMN_NAMES[:3]
WHOLE_COLUMNS = ("remaining_term", "original_term", "age", "interest_only_term", "amortization_term")
TEXT_COLUMNS = ("loan_id", "amortization", "group")
# What a blank cell means in the columns that have a default; elsewhere a blank is NaN or None.
BLANKS: dict[str, Any] = {"servicing_fee": 0.0, "interest_only_term": 0.0, "amortization": "level_pay"}
BLANK_WORDS = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "#N/A"]


class Where(msgspec.Struct, frozen=True):
    """Place of a column's cells, for messages."""

    file: str
    header: str
    row: int

    def error(self, i: int, message: str) -> TapeFileError:
        return TapeFileError(f"{self.file}, row {self.row + i + 1}, column '{self.header}' {message}")


def texts(ours: str, cells: Any) -> NDArray[np.object_]:
    """Cells as Python strings, None for a blank; equal cells share one string."""
    import pyarrow as pa
    from pyarrow import compute as pc

    if not pa.types.is_dictionary(cells.type):
        cells = pc.dictionary_encode(pc.utf8_trim_whitespace(cells.cast(pa.string())))
    words = np.array([word or None for word in cells.dictionary.cast(pa.string()).to_pylist()] + [None], dtype=object)
    if ours == "amortization":
        words = np.array([tidy(word) for word in words], dtype=object)
    indices: NDArray[np.int32] = cells.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
    return words[indices]


def tidy(word: str | None) -> str:
    """An amortization as we write it: `Level Pay` is level_pay, blank the default."""
    return word.casefold().replace(" ", "_").replace("-", "_") if word else str(BLANKS["amortization"])


def numbers(ours: str, cells: Any, where: Where) -> NDArray[Any]:
    """Cells as float64, NaN for a blank; whole numbers without a blank as int64."""
    import pyarrow as pa

    divisor = rate_divisor(where.header) if ours in RATE_COLUMNS else 1.0
    kind = cells.type.value_type if pa.types.is_dictionary(cells.type) else cells.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        values = parsed(ours, cells.cast(pa.string()), divisor, where)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        values = floats(cells) / divisor
    else:
        raise TapeFileError(f"{where.file}, column '{where.header}' holds {kind}; expected numbers")
    blank = np.isnan(values)
    if blank.any():
        if ours in NEEDED:
            raise where.error(int(blank.argmax()), "is blank; every loan needs it")
        return np.where(blank, BLANKS[ours], values) if ours in BLANKS else values
    if ours in WHOLE_COLUMNS:
        return whole(values, where)
    return values


def whole(values: NDArray[np.float64], where: Where) -> NDArray[Any]:
    """Values as int64; a fraction is refused, a number too large for int32 is left to the validation of the tape."""
    fraction = values != np.floor(values)
    if fraction.any():
        i = int(fraction.argmax())
        raise where.error(i, f"is {values[i]:g}; expected whole months")
    return values.astype(np.int64) if np.abs(values).max(initial=0) < 2**31 else values


def parsed(ours: str, cells: "pa.StringArray", divisor: float, where: Where) -> NDArray[np.float64]:
    """Text cells as float64; rates may end in %, money may have $ and thousands commas."""
    import pyarrow as pa
    from pyarrow import compute as pc

    cells = pc.utf8_trim_whitespace(cells)
    cells = pc.if_else(pc.is_in(cells, pa.array(BLANK_WORDS)), pa.scalar(None, pa.string()), cells)
    try:
        return floats(cells) / divisor
    except pa.ArrowInvalid:
        pass
    bare, percent = cells, None
    if ours in RATE_COLUMNS:
        percent = pc.ends_with(cells, "%").fill_null(False).to_numpy(zero_copy_only=False)
        bare = pc.utf8_trim_whitespace(pc.replace_substring_regex(cells, r"%$", ""))
    else:
        bare = pc.replace_substring_regex(cells, r"^\$ ?", "")
        grouped = pc.match_substring_regex(bare, r"^-?\d{1,3}(,\d{3})+(\.\d*)?$")
        bare = pc.if_else(grouped, pc.replace_substring(bare, ",", ""), bare)
    try:
        values = floats(bare)
    except pa.ArrowInvalid as error:
        i = first_unreadable(bare)
        raise where.error(i, f"is '{cells[i].as_py()}'; expected a number") from error
    return values / np.where(percent, 100.0, divisor) if percent is not None else values


def floats(cells: Any) -> NDArray[np.float64]:
    """Cells cast to a float64 array of its own, NaN for a null. Raises ArrowInvalid on text that is no number."""
    import pyarrow as pa

    return np.array(cells.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))


def first_unreadable(cells: "pa.StringArray") -> int:
    """Index of the first cell that does not read as a number, by halving."""
    import pyarrow as pa

    low, high = 0, len(cells)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            cells[low:middle].cast(pa.float64())
            low = middle
        except pa.ArrowInvalid:
            high = middle
    return low

"""Columns of a tape file as arrays: numbers, whole months and texts, with the row of a cell that cannot be read."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.aliases import RATE_COLUMNS, rate_divisor
from engine.asset_terms import CHOICES, PERIODS
from engine.contracts import NUMBERS, TEXTS
from engine.errors import MAX_PROBLEMS, Problem, TapeFileError
from engine.tape import COLUMN_NAMES
from engine.tape_kinds import check_lengths, is_text, is_view

if TYPE_CHECKING:
    import pyarrow as pa

NEEDED = COLUMN_NAMES[:3]
WHOLE_COLUMNS = (
    "remaining_term", "original_term", "age", "interest_only_term", "amortization_term",
    *(name for name, known in NUMBERS.items() if known.whole), *PERIODS, "months_in_status",
)  # fmt: skip
TEXT_COLUMNS = ("loan_id", "amortization", "group", *TEXTS, "type", "status", "cashflows", *CHOICES)
# Texts with words of ours, which are read in any spelling.
TIDIED = ("amortization", "type", "status", *CHOICES)
# What a blank cell means in the columns that have a default; elsewhere a blank is NaN or None.
BLANKS: dict[str, Any] = {"servicing_fee": 0.0, "interest_only_term": 0.0, "amortization": "level_pay", "type": "loan"}
BLANK_WORDS = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "#N/A"]
NUL = "holds the character U+0000; expected text without it"
NO_CELLS = np.empty(0, dtype=np.intp)


class CellFault(msgspec.Struct, frozen=True):
    """What is wrong with a cell of a file. column: none where it is the row."""

    file: str
    row: int
    column: str | None
    message: str

    @property
    def place(self) -> str:
        return f"row {self.row}" if self.column is None else f"row {self.row}, column '{self.column}'"

    @property
    def line(self) -> str:
        return f"{self.file}, {self.place} {self.message}"

    @property
    def problem(self) -> Problem:
        return Problem(self.place, self.message)


class Where(msgspec.Struct, frozen=True):
    """Place of a column's cells, and the faults found so far in its file."""

    file: str
    header: str
    row: int
    faults: list[CellFault]

    def fault(self, cells: NDArray[np.intp], message: Callable[[int], str]) -> None:
        """Notes what is wrong with the cells, up to the hundred that are told."""
        for i in cells[:MAX_PROBLEMS].tolist():
            self.faults.append(CellFault(self.file, self.row + i + 1, self.header, message(i)))


def refuse(faults: list[CellFault]) -> None:
    """Raises TapeFileError with a line for each fault, by row, if there are any."""
    if faults:
        told = sorted(faults, key=lambda fault: fault.row)[:MAX_PROBLEMS]
        raise TapeFileError("\n".join(fault.line for fault in told), [fault.problem for fault in told])


def texts(ours: str, cells: Any, where: Where) -> NDArray[np.object_]:
    """Cells as Python strings, None for a blank; equal cells share one string. Those with a NUL are faults."""
    import pyarrow as pa
    from pyarrow import compute as pc

    entries, codes = coded(ours, cells)
    stored = pc.utf8_trim_whitespace(entries.cast(pa.string())).to_pylist()
    if unheard := [i for i, word in enumerate(stored) if word and "\0" in word]:
        where.fault(np.flatnonzero(np.isin(codes, unheard)), lambda _: NUL)
    words: list[str | None] = [None if word in BLANK_WORDS else word for word in stored]
    if ours in TIDIED:
        words = [tidy(word, BLANKS.get(ours)) for word in words]
    shared: dict[str | None, str | None] = {}
    blank = tidy(None, BLANKS.get(ours)) if ours in TIDIED else None
    return np.array([*(shared.setdefault(word, word) for word in words), blank], dtype=object)[codes]


def texts_as_stored(ours: str, cells: Any) -> NDArray[np.object_]:
    """As `texts`, of a column that we wrote: blanks are nulls, and every other text is what it was."""
    import pyarrow as pa

    entries, codes = coded(None, cells)
    return np.array([*entries.cast(pa.string()).to_pylist(), BLANKS.get(ours)], dtype=object)[codes]


def coded(name: str | None, cells: Any) -> tuple[Any, NDArray[np.intp]]:
    """The entries that an array's cells have, and which of them each cell is; one past the last for a null.

    Texts stay what they were written as once, however many cells repeat them. name: of the column, for messages; none
    where we wrote it. Raises TapeFileError for too long a text in others.
    """
    import pyarrow as pa
    from pyarrow import compute as pc

    if name is not None:
        check_lengths(name, cells.dictionary if pa.types.is_dictionary(cells.type) else cells)
    if not pa.types.is_dictionary(cells.type):
        cells = pc.dictionary_encode(cells)
    entries = cells.dictionary
    if is_view(entries.type) and len(entries) <= len(cells):
        entries = entries.cast(pa.string())
    indices = cells.indices.cast(pa.int64()).fill_null(len(entries)).to_numpy(zero_copy_only=False)
    used = np.bincount(indices, minlength=len(entries) + 1)[:-1] > 0
    places = np.append(np.cumsum(used) - 1, np.count_nonzero(used))
    if is_view(entries.type):
        # Views of one text can be many: only those in use are written out.
        entries = pa.array([entries[i].as_py() for i in np.flatnonzero(used).tolist()], pa.string())
    else:
        entries = entries.filter(pa.array(used))
    return entries, places[indices]


def tidy(word: str | None, blank: str | None) -> str | None:
    """A text as we write it: `Level Pay` is level_pay, none the default."""
    return word.casefold().replace(" ", "_").replace("-", "_") if word else blank


def numbers(ours: str, cells: Any, where: Where, needed: tuple[str, ...] = NEEDED) -> NDArray[Any]:
    """Cells as float64, NaN for a blank; whole numbers without a blank as int64. Faults are noted in `where`.

    needed: columns in which a blank is a fault.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(cells.type) or is_view(cells.type):
        entries, codes = coded(where.header, cells)
        values, bad = read_numbers(ours, entries, where)
        values = np.append(values, np.nan)[codes]
        unreadable = np.flatnonzero(np.isin(codes, bad)) if len(bad) else NO_CELLS
    else:
        values, unreadable = read_numbers(ours, cells, where)
    where.fault(unreadable, lambda i: f"is '{written(cells[i])}'; expected a number")
    if ours in WHOLE_COLUMNS:
        fraction = (values != np.floor(values)) & ~np.isnan(values)
        where.fault(np.flatnonzero(fraction), lambda i: f"is {values[i]:g}; expected whole months")
    blank = np.isnan(values)
    if ours in needed:
        where.fault(np.setdiff1d(np.flatnonzero(blank), unreadable), lambda i: missing(written(cells[i])))
    if blank.any():
        return np.where(blank, BLANKS[ours], values) if ours in BLANKS else values
    return whole(values) if ours in WHOLE_COLUMNS else values


def read_numbers(ours: str, cells: Any, where: Where) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Cells as decimals in our units, NaN for a blank, and which of them read as no number."""
    import pyarrow as pa
    from pyarrow import compute as pc

    divisor = rate_divisor(where.header) if ours in RATE_COLUMNS else 1.0
    if is_text(cells.type):
        return parsed(ours, pc.utf8_trim_whitespace(cells.cast(pa.string())), divisor)
    return floats(cells) / divisor, NO_CELLS


def written(cell: Any) -> Any:
    """A cell as its message shows it."""
    value = cell.as_py()
    return value.strip() if isinstance(value, str) else value


def plain(ours: str, header: str, cells: Any) -> NDArray[Any] | None:
    """A column of numbers of our own kind without a blank as an array of its own; none for one that needs a look."""
    import pyarrow as pa

    if not is_ours(ours, header, cells):
        return None
    if pa.types.is_integer(cells.type):
        return np.array(cells.to_numpy(), dtype=np.int64)
    found = cells.to_numpy()
    values = found if cells.num_chunks > 1 else np.array(found)
    # A sum is NaN where a number is, and the look at each is spared.
    return None if np.isnan(values.sum()) else values


def as_stored(ours: str, header: str, cells: Any) -> NDArray[Any] | None:
    """As `plain`, of a column that we wrote, so that a blank is null: the cells where they lie, not to be changed."""
    return cells.to_numpy() if is_ours(ours, header, cells) else None


def is_ours(ours: str, header: str, cells: Any) -> bool:
    """Whether a column is float64 in our units, or whole numbers of 32 bits at most where they are to be, no null."""
    import pyarrow as pa

    if ours in TEXT_COLUMNS or cells.null_count or (ours in RATE_COLUMNS and rate_divisor(header) != 1.0):
        return False
    if ours in WHOLE_COLUMNS:
        return bool(pa.types.is_integer(cells.type) and cells.type.bit_width <= 32)
    return bool(pa.types.is_float64(cells.type))


def missing(cell: Any) -> str:
    """What is wrong with a needed cell that holds no number."""
    return "is blank; every loan needs it" if cell in (None, "") else f"is '{cell}'; every loan needs a number"


def whole(values: NDArray[np.float64]) -> NDArray[Any]:
    """Values as int64; a number too large for int32 is left to the validation of the tape."""
    return values.astype(np.int64) if np.abs(values).max(initial=0) < 2**31 else values


def parsed(ours: str, cells: "pa.StringArray", divisor: float) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Trimmed text cells as float64, and which cells are no number; rates may end in %, money have $ and commas."""
    import pyarrow as pa
    from pyarrow import compute as pc

    cells = pc.if_else(pc.is_in(cells, pa.array(BLANK_WORDS)), pa.scalar(None, pa.string()), cells)
    try:
        return floats(cells) / divisor, NO_CELLS
    except pa.ArrowInvalid:
        pass
    percent = None
    if ours in RATE_COLUMNS:
        percent = pc.ends_with(cells, "%").fill_null(False).to_numpy(zero_copy_only=False)
        bare = pc.utf8_trim_whitespace(pc.replace_substring_regex(cells, r"%$", ""))
    else:
        bare = pc.replace_substring_regex(cells, r"^\$ ?", "")
        grouped = pc.match_substring_regex(bare, r"^-?\d{1,3}(,\d{3})+(\.\d*)?$")
        bare = pc.if_else(grouped, pc.replace_substring(bare, ",", ""), bare)
    bad = np.array(list(islice(unreadable(bare, 0), MAX_PROBLEMS)), dtype=np.intp)
    if len(bad) == MAX_PROBLEMS:
        # As many as are told: the file is refused, the cells after them are not looked at.
        return np.zeros(len(bare)), bad
    readable = np.ones(len(bare), dtype=bool)
    readable[bad] = False
    values = floats(pc.if_else(pa.array(readable), bare, pa.scalar(None, pa.string())))
    return values / np.where(percent, 100.0, divisor) if percent is not None else values, bad


def floats(cells: Any) -> NDArray[np.float64]:
    """Cells cast to a float64 array of its own, NaN for a null. Raises ArrowInvalid on text that is no number."""
    import pyarrow as pa

    return np.array(cells.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))


def unreadable(cells: "pa.StringArray", first: int) -> Iterator[int]:
    """Indices of the cells that do not read as a number, by halving. first: index of cells[0]."""
    import pyarrow as pa

    try:
        cells.cast(pa.float64())
    except pa.ArrowInvalid:
        if len(cells) == 1:
            yield first
            return
        middle = len(cells) // 2
        yield from unreadable(cells[:middle], first)
        yield from unreadable(cells[middle:], first + middle)

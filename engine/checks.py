"""Checks that turn a tape's columns into arrays, and collect what is wrong with them."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import _core
from engine.errors import MAX_PROBLEMS, Problem, one_of
from engine.loans import AMORTIZATIONS

RATE = "a decimal in [0, 1]"
MAX_BALANCE = 1e15
INF = float("inf")
NAN = float("nan")
# Lists up to this length are looked at value by value first: a request of one loan would notice NumPy's overhead.
FEW = 16
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Where = Callable[[str, int | None], str]


class Range(NamedTuple):
    """What a numeric term may be, and what stands for it where it is blank."""

    low: float
    high: float
    allowed: str
    blank: float
    whole: bool = False


def months(low: int, high: int, blank: float) -> Range:
    return Range(low, high, f"whole months in [{low}, {high}]", blank, whole=True)


def repeated(value: Any, n: int) -> NDArray[Any]:
    """One value for n loans, as an array without strides: it takes no room, and is told by that."""
    base = np.asarray(value)
    # As np.broadcast_to, in a tenth of its time, which a request of one loan would notice.
    array: NDArray[Any] = np.ndarray((n,), base.dtype, base, 0, (0,))
    array.flags.writeable = False
    return array


def one_for_all(column: NDArray[Any]) -> bool:
    """Whether a column is one value for all its loans, as `repeated` makes it."""
    return len(column) > 0 and column.strides == (0,)


def alike(work: Callable[..., NDArray[Any]], *columns: NDArray[Any]) -> NDArray[Any]:
    """work of the columns, loan by loan; of one value, repeated, where each of them has one for all."""
    if all(map(one_for_all, columns)):
        return repeated(work(*(column[:1] for column in columns))[0], len(columns[0]))
    return work(*columns)


def anywhere(column: NDArray[Any]) -> bool:
    """Whether a column is anything but nought somewhere."""
    return bool((column[:1] if one_for_all(column) else column).any())


@lru_cache(maxsize=1024)
def blanks(kind: type[np.generic], value: float, n: int) -> NDArray[Any]:
    """One value of a kind of NumPy for n loans, as `repeated`; the same few come in every request."""
    return repeated(kind(value), n)


def few(value: Any, n: int, low: float, high: float, kinds: tuple[type, ...]) -> bool:
    """Whether a column is a short list of n numbers of these types, all in [low, high]: nothing is wrong with it."""
    if type(value) is not list or len(value) != n or not 0 < n <= FEW:
        return False
    return all(type(each) in kinds and low <= each <= high for each in value)


class Checks:
    """Converts columns of n loans and collects what is wrong with them, by the path that `where` gives."""

    def __init__(self, columns: dict[str, Any], n: int, where: Where) -> None:
        self.columns = columns
        self.n = n
        self.where = where
        self.problems: list[Problem] = []

    def number(
        self, name: str, low: float, high: float, allowed: str, blank: float | None = None
    ) -> NDArray[np.float64]:
        """The column as float64 in [low, high]; `blank` stands for a missing optional value (None: refused)."""
        value = self.columns[name]
        if value is None and blank is not None:
            return blanks(np.float64, blank, self.n)
        if few(value, self.n, low, high, (float, int)):
            return np.array(value, dtype=np.float64)
        try:
            if np.asarray(value).dtype.kind not in "iufO":
                raise TypeError
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            self.report(name, first_not_a_number(value), f"is not a number; expected {allowed}")
            return np.zeros(self.n)
        if array.ndim == 0:
            missing = self.in_range(name, array[None], low, high, allowed, blank, scalar=True)
            return repeated(array if missing is None else np.float64(blank or 0), self.n)
        array = self.sized(name, array)
        missing = self.in_range(name, array, low, high, allowed, blank)
        if missing is not None and blank is not None and not np.isnan(blank):
            return np.where(missing, blank, array)
        return array

    def in_range(
        self,
        name: str,
        array: NDArray[np.float64],
        low: float,
        high: float,
        allowed: str,
        blank: float | None,
        scalar: bool = False,
    ) -> NDArray[np.bool_] | None:
        """Reports values outside [low, high]; returns where the column is blank, none if nowhere."""
        if not array.size or (np.min(array) >= low and np.max(array) <= high):
            return None
        missing = np.isnan(array) if blank is not None else np.zeros(array.shape, dtype=bool)
        for i in np.flatnonzero(~((array >= low) & (array <= high)) & ~missing)[:MAX_PROBLEMS]:
            message = f"is {array[i]:.15g}; expected {allowed}{percent_hint(array[i], high)}"
            self.report(name, None if scalar else int(i), message)
        return missing if missing.any() else None

    def whole(self, name: str, low: int, high: int, blank: int | None = None) -> NDArray[np.int32]:
        """The column as int32 months in [low, high]."""
        allowed = f"whole months in [{low}, {high}]"
        value = self.columns[name]
        if value is None and blank is not None:
            return blanks(np.int32, blank, self.n)
        if few(value, self.n, low, high, (int,)):
            return np.array(value, dtype=np.int32)
        integers = isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.size > 0
        if integers and value.min() >= low and value.max() <= high:
            return self.sized(name, value.astype(np.int32, copy=False))
        known = len(self.problems)
        array = self.number(name, low, high, allowed, None if blank is None else float(blank))
        if len(self.problems) > known:
            return np.zeros(self.n, dtype=np.int32)
        same = array.strides == (0,) and self.n > 0
        some = array[:1] if same else array
        some = np.where(np.isnan(some), 0.0, some)
        for i in np.flatnonzero(some != np.floor(some))[:MAX_PROBLEMS]:
            self.report(name, None if same else int(i), f"is {some[i]:.15g}; expected {allowed}")
        months = some.astype(np.int32)
        return repeated(months[0], self.n) if same else months

    def check_ids(self) -> None:
        """Reports loan ids that are not one a loan."""
        ids = self.columns["loan_id"]
        if ids is not None and (isinstance(ids, str) or len(ids) != self.n):
            count = "one text for all" if isinstance(ids, str) else f"{len(ids)} values"
            self.report("loan_id", None, f"has {count}; expected {self.n}, one a loan")

    def check_lengths(self, names: Iterable[str]) -> None:
        """Reports columns that are not one value a loan, nor one for all, where their values are not read."""
        for name in names:
            value = self.columns[name]
            if value is not None and not isinstance(value, str) and np.ndim(value) and len(value) != self.n:
                self.report(name, None, f"has {len(value)} values; expected {self.n}, one a loan")

    def sized(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """The array as one value a loan: scalars repeat, another length is a problem."""
        if array.ndim == 0:
            return repeated(array, self.n)
        if array.shape != (self.n,):
            shape = " x ".join(str(size) for size in array.shape)
            self.report(name, None, f"has {shape} values; expected {self.n}, one a loan")
            return repeated(np.zeros((), dtype=array.dtype), self.n)
        return array

    def amortization(self) -> NDArray[np.int8]:
        """The column as indices into AMORTIZATIONS."""
        value = self.columns["amortization"]
        codes = {name: i for i, name in enumerate(AMORTIZATIONS)}
        if isinstance(value, str):
            if value not in codes:
                self.report("amortization", None, f"is {value!r}; expected {one_of(value, AMORTIZATIONS)}")
            return repeated(np.int8(codes.get(value, 0)), self.n)
        if (
            type(value) is list
            and len(value) == self.n <= FEW
            and all(type(each) is str and each in codes for each in value)
        ):
            return np.array([codes[each] for each in value], dtype=np.int8)
        kinds, index = np.unique(np.asarray(value, dtype=object).astype(str), return_inverse=True)
        for kind in kinds:
            if kind not in codes:
                allowed = one_of(str(kind), AMORTIZATIONS)
                for i in np.flatnonzero(index == np.flatnonzero(kinds == kind)[0])[:MAX_PROBLEMS]:
                    self.report("amortization", int(i), f"is {str(kind)!r}; expected {allowed}")
        table = np.array([codes.get(str(kind), 0) for kind in kinds], dtype=np.int8)
        return self.sized("amortization", table[index] if len(table) else np.zeros(0, dtype=np.int8))

    def choice(self, name: str, allowed: tuple[str, ...]) -> NDArray[np.int8]:
        """The column as indices into `allowed`, -1 where it is blank."""
        value = self.columns[name]
        if value is None or isinstance(value, str):
            if value and value not in allowed:
                self.report(name, None, f"is {value!r}; expected {one_of(value, allowed)}")
            return blanks(np.int8, allowed.index(value) if value in allowed else -1, self.n)
        codes, texts = coded(value)
        known = {text: i for i, text in enumerate(allowed)}
        places = np.array([*(known.get(text, -1) for text in texts), -1], dtype=np.int8)  # the last is that of code -1
        found = places[codes]
        if not known.keys() >= set(texts):
            for i in np.flatnonzero((codes >= 0) & (found < 0))[:MAX_PROBLEMS].tolist():
                self.report(name, i, f"is {value[i]!r}; expected {one_of(value[i], allowed)}")
        return self.sized(name, found)

    def names(self, name: str) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """Indices into the sorted names of a text column, -1 where it is blank; and the names."""
        value = self.columns[name]
        if value is None or isinstance(value, str):
            return blanks(np.int32, 0 if value else -1, self.n), (value,) if value else ()
        codes, texts = coded(value)
        order = sorted(range(len(texts)), key=texts.__getitem__)
        rank = np.full(len(texts) + 1, -1, dtype=np.int32)  # the last is that of code -1
        rank[order] = np.arange(len(order), dtype=np.int32)
        return self.sized(name, rank[codes]), tuple(texts[k] for k in order)

    def report(self, name: str, i: int | None, message: str) -> None:
        self.problems.append(Problem(self.where(name, i), message))


def coded(texts: Any) -> tuple[NDArray[np.int32], list[str]]:
    """Codes of a column's texts, -1 where it is blank, and the text of each code."""
    if not isinstance(texts, np.ndarray) or texts.dtype.kind != "U" or texts.ndim != 1 or not texts.itemsize:
        return _core.text_codes(texts.tolist() if isinstance(texts, np.ndarray) else list(texts))
    native = np.ascontiguousarray(texts, dtype=texts.dtype.newbyteorder("="))
    codes, first = _core.character_codes(native.view(np.uint32).reshape(len(native), native.itemsize // 4))
    names = native[first].tolist()
    if "" not in names:
        return codes, names
    blank = names.index("")
    return np.where(codes == blank, -1, codes - (codes > blank)), names[:blank] + names[blank + 1 :]


def first_not_a_number(value: Any) -> int | None:
    """Index of the first value that is no number, none for a single value."""
    if np.ndim(value) == 0:
        return None
    for i, item in enumerate(value):
        if isinstance(item, str | bool | complex):
            return i
        try:
            float(item)
        except (TypeError, ValueError, OverflowError):
            return i
    return 0


def percent_hint(value: float, high: float) -> str:
    """How the value would read if a percentage was meant."""
    return f" ({value:.15g}% is {value / 100:.15g})" if high == 1 and 1 < value <= 100 else ""


def number(check: Checks, name: str, known: Range) -> Floats:
    """The column of a numeric term, whole where it is to be."""
    if check.columns[name] is None:
        return blanks(np.float64, known.blank, check.n)
    values = check.number(name, known.low, known.high, known.allowed, NAN)
    blank = alike(np.isnan, values)
    if known.whole:
        broken = alike(lambda values, blank: (values != np.floor(values)) & ~blank, values, blank)
        for i in np.flatnonzero(broken)[:MAX_PROBLEMS] if broken.any() else ():
            check.report(name, int(i), f"is {values[i]:.15g}; expected {known.allowed}")
    return alike(lambda values, blank: np.where(blank, known.blank, values), values, blank) if blank.any() else values


def named(
    check: Checks, column: str, table: str, which: NDArray[np.int32], names: tuple[str, ...], known: Any
) -> tuple[Any, ...]:  # fmt: skip
    """What the names stand for; those that the tape does not define at `table` are reported. known None: unread."""
    if known is None:
        return ()
    for k, name in enumerate(names):
        if name not in known:
            allowed = one_of(name, known) if known else f"a name in {table}, which is empty"
            check.report(column, first(which, k), f"is {name!r}, which {table} does not define; expected {allowed}")
    return tuple(known[name] for name in names if name in known)


def first(which: NDArray[np.int32], k: int) -> int | None:
    """The first loan that has k, none where all have."""
    return None if which.strides == (0,) else int(np.argmax(which == k))


def is_stated(column: Any, n: int) -> Mask:
    """Where an optional column has a value; nowhere in one of another length, which is told elsewhere."""
    if column is None or isinstance(column, str) or (not isinstance(column, list) and np.ndim(column) == 0):
        return np.full(n, not (column is None or column == "" or column != column))
    if len(column) != n:
        return np.zeros(n, dtype=bool)
    if isinstance(column, np.ndarray) and column.dtype.kind in "iuf":
        return ~np.isnan(column)
    if n and isinstance(column[0], str):
        return coded(column)[0] >= 0
    return np.array([not (value is None or value == "" or value != value) for value in column], dtype=bool)

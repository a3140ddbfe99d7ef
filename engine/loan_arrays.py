"""Validated loan arrays: what the kernel reads, and the checks that make them from a tape's columns."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import MAX_PROBLEMS, Problem, TapeError
from engine.loans import AMORTIZATIONS

MAX_TERM = 1200
MAX_BALANCE = 1e15
RATE = "a decimal in [0, 1]"
Where = Callable[[str, int | None], str]


class LoanArrays(msgspec.Struct, frozen=True, kw_only=True):
    """Validated columns, all of shape (loans,).

    term, age, interest_only, amortization_term are int32 months, the last two counted from the cut-off (age 0 for a
    loan that has paid nothing yet, amortization_term 0 where it follows from the term); amortization indexes
    AMORTIZATIONS; payment is NaN where it is to be computed, original_balance and property_value where not stated;
    group indexes `groups`, -1 for none.
    """

    balance: NDArray[np.float64]
    rate: NDArray[np.float64]
    fee: NDArray[np.float64]
    payment: NDArray[np.float64]
    original_balance: NDArray[np.float64]
    property_value: NDArray[np.float64]
    mortgage_insurance: NDArray[np.float64]
    term: NDArray[np.int32]
    age: NDArray[np.int32]
    interest_only: NDArray[np.int32]
    amortization_term: NDArray[np.int32]
    amortization: NDArray[np.int8]
    group: NDArray[np.int32]
    groups: tuple[str, ...]
    loan_id: Sequence[Any] | NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.balance)

    def taken(self, index: NDArray[np.int64]) -> "LoanArrays":
        """The loans at the index, in its order; without their ids."""
        columns = {name: getattr(self, name) for name in self.__struct_fields__ if name != "loan_id"}
        arrays = {name: column[index] for name, column in columns.items() if isinstance(column, np.ndarray)}
        return msgspec.structs.replace(self, loan_id=None, **arrays)


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
            return np.broadcast_to(np.float64(blank), (self.n,))
        try:
            if np.asarray(value).dtype.kind not in "iufO":
                raise TypeError
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            self.report(name, first_not_a_number(value), f"is not a number; expected {allowed}")
            return np.zeros(self.n)
        if array.ndim == 0:
            missing = self.in_range(name, array[None], low, high, allowed, blank, scalar=True)
            return np.broadcast_to(array if missing is None else np.float64(blank or 0), (self.n,))
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
        integers = isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.size > 0
        if integers and value.min() >= low and value.max() <= high:
            return self.sized(name, value.astype(np.int32, copy=False))
        known = len(self.problems)
        array = self.number(name, low, high, allowed, None if blank is None else float(blank))
        if len(self.problems) > known:
            return np.zeros(self.n, dtype=np.int32)
        same = array.strides == (0,) and self.n > 0
        some = np.nan_to_num(array[:1] if same else array)
        for i in np.flatnonzero(some != np.floor(some))[:MAX_PROBLEMS]:
            self.report(name, None if same else int(i), f"is {some[i]:.15g}; expected {allowed}")
        months = some.astype(np.int32)
        return np.broadcast_to(months[0], (self.n,)) if same else months

    def check_ids(self) -> None:
        """Reports loan ids that are not one a loan."""
        ids = self.columns["loan_id"]
        if ids is not None and (isinstance(ids, str) or len(ids) != self.n):
            count = "one text for all" if isinstance(ids, str) else f"{len(ids)} values"
            self.report("loan_id", None, f"has {count}; expected {self.n}, one a loan")

    def sized(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """The array as one value a loan: scalars repeat, another length is a problem."""
        if array.ndim == 0:
            return np.broadcast_to(array, (self.n,))
        if array.shape != (self.n,):
            shape = " x ".join(str(size) for size in array.shape)
            self.report(name, None, f"has {shape} values; expected {self.n}, one a loan")
            return np.broadcast_to(array.dtype.type(0), (self.n,))
        return array

    def amortization(self) -> NDArray[np.int8]:
        """The column as indices into AMORTIZATIONS."""
        value = self.columns["amortization"]
        codes = {name: i for i, name in enumerate(AMORTIZATIONS)}
        allowed = "one of " + ", ".join(AMORTIZATIONS)
        if isinstance(value, str):
            if value not in codes:
                self.report("amortization", None, f"is {value!r}; expected {allowed}")
            return np.broadcast_to(np.int8(codes.get(value, 0)), (self.n,))
        kinds, index = np.unique(np.asarray(value, dtype=object).astype(str), return_inverse=True)
        for kind in kinds:
            if kind not in codes:
                for i in np.flatnonzero(index == np.flatnonzero(kinds == kind)[0])[:MAX_PROBLEMS]:
                    self.report("amortization", int(i), f"is {str(kind)!r}; expected {allowed}")
        table = np.array([codes.get(str(kind), 0) for kind in kinds], dtype=np.int8)
        return self.sized("amortization", table[index] if len(table) else np.zeros(0, dtype=np.int8))

    def groups(self) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """Indices into the sorted group names, -1 where a loan has none; and the names."""
        value = self.columns["group"]
        if value is None or isinstance(value, str):
            return np.broadcast_to(np.int32(0 if value else -1), (self.n,)), (value,) if value else ()
        texts = np.array(["" if text is None or text != text else str(text) for text in value], dtype=object)
        names = sorted(set(texts.tolist()) - {""})
        index = {name: i for i, name in enumerate(names)}
        return self.sized("group", np.array([index.get(text, -1) for text in texts], dtype=np.int32)), tuple(names)

    def report(self, name: str, i: int | None, message: str) -> None:
        self.problems.append(Problem(self.where(name, i), message))


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


def validate(columns: dict[str, Any], n: int, where: Where) -> LoanArrays:
    """The arrays of n loans. columns: every name of Columns, a value a loan or one for all; where: the path of a value.

    Raises TapeError with every fault found, up to a hundred.
    """
    check = Checks(columns, n, where)
    money = f"currency units in [0, {MAX_BALANCE:g}]"
    balance = check.number("balance", 0, MAX_BALANCE, money)
    rate = check.number("annual_rate", 0, 1, RATE)
    fee = check.number("servicing_fee", 0, 1, RATE)
    payment = check.number("payment", 0, MAX_BALANCE, "currency units a month, 0 or more", float("nan"))
    property_value = check.number("property_value", 0, MAX_BALANCE, money, float("nan"))
    mortgage_insurance = check.number("mortgage_insurance", 0, 1, RATE)
    original_balance = check.number("original_balance", 0, MAX_BALANCE, money, float("nan"))
    term = check.whole("remaining_term", 1, MAX_TERM)
    original = check.whole("original_term", 1, MAX_TERM, blank=1)
    age = check.whole("age", 0, MAX_TERM, blank=0)
    interest_only = check.whole("interest_only_term", 0, MAX_TERM)
    spread = check.whole("amortization_term", 1, 2 * MAX_TERM, blank=1)
    amortization = check.amortization()
    group, groups = check.groups()
    check.check_ids()
    if not check.problems:
        age = implied_age(columns, original, age, term)
        amortizing = given_or_zero(columns["amortization_term"], spread)
        free, spread = terms_left(interest_only, amortizing, age)
        bullet = amortization == AMORTIZATIONS.index("bullet")
        check_terms(check, term, age, interest_only, free, np.where(bullet, 0, amortizing), spread)
        check_stated(check, payment, amortization)
        interest_only = free
    if check.problems:
        raise TapeError(check.problems)
    return LoanArrays(
        balance=balance, rate=rate, fee=fee, payment=payment, original_balance=original_balance,
        property_value=property_value, mortgage_insurance=mortgage_insurance, term=term, age=age,
        interest_only=interest_only, amortization_term=spread, amortization=amortization, group=group,
        groups=groups, loan_id=columns["loan_id"],
    )  # fmt: skip


def is_blank(value: Any) -> NDArray[np.bool_] | bool:
    """Where an optional column has no value; a bool when that holds for all loans alike."""
    if value is None:
        return True
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
        return False
    blank = np.isnan(np.asarray(value, dtype=np.float64))
    return bool(blank) if blank.ndim == 0 else blank


def given_or_zero(value: Any, months: NDArray[np.int32]) -> NDArray[np.int32]:
    blank = is_blank(value)
    if isinstance(blank, bool):
        return np.broadcast_to(np.int32(0), months.shape) if blank else months
    return np.where(blank, np.int32(0), months)


def implied_age(
    columns: dict[str, Any], original: NDArray[np.int32], age: NDArray[np.int32], term: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Age as given, else original less remaining term, else zero."""
    no_age, no_original = is_blank(columns["age"]), is_blank(columns["original_term"])
    if no_age is False or no_original is True:
        return age
    implied = np.where(no_original, np.int32(0), np.maximum(original - term, 0)).astype(np.int32)
    return np.where(no_age, implied, age).astype(np.int32)


def terms_left(
    interest_only: NDArray[np.int32], amortizing: NDArray[np.int32], age: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The interest-only months and the months of amortization still to come, the latter 0 where not stated."""
    if interest_only.strides == (0,) and amortizing.strides == (0,) and not interest_only.any() | amortizing.any():
        return interest_only, amortizing
    spent = np.maximum(age - interest_only, 0)
    return np.maximum(interest_only - age, 0), np.where(amortizing > 0, amortizing - spent, 0).astype(np.int32)


def check_terms(
    check: Checks,
    term: NDArray[np.int32],
    age: NDArray[np.int32],
    interest_only: NDArray[np.int32],
    free: NDArray[np.int32],
    amortizing: NDArray[np.int32],
    spread: NDArray[np.int32],
) -> None:
    """Reports terms that contradict one another. free, spread: what is left of interest_only and amortizing."""
    for i in np.flatnonzero(free > term)[:MAX_PROBLEMS]:
        limit = term[i] + age[i]
        message = f"is {interest_only[i]}; expected {limit} months at most, the age and the remaining term"
        check.report("interest_only_term", int(i), message)
    for i in np.flatnonzero((amortizing > 0) & (spread < term - free))[:MAX_PROBLEMS]:
        least = term[i] - free[i] + amortizing[i] - spread[i]
        message = f"is {amortizing[i]}; expected {least} months at least, to maturity (longer leaves a balloon)"
        check.report("amortization_term", int(i), message)


def check_stated(check: Checks, payment: NDArray[np.float64], amortization: NDArray[np.int8]) -> None:
    """Reports payments stated on loans that do not take one."""
    if payment.strides == (0,) and (len(payment) == 0 or np.isnan(payment[0])):
        return
    level = AMORTIZATIONS.index("level_pay")
    for i in np.flatnonzero(~np.isnan(payment) & (amortization != level))[:MAX_PROBLEMS]:
        kind = AMORTIZATIONS[amortization[i]]
        check.report("payment", int(i), f"is stated on a {kind} loan; only level_pay takes one")

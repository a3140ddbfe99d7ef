"""Loans that one look shows to be right: a few of them, with no terms beyond the plainest.

A request of one loan would spend half its time on arrays of one, were its columns checked as those of a tape are. Here
its values are looked at as they are, against the same bounds (engine/loan_arrays.py). Nothing is refused here: whatever
is not plainly right, or is stated and not listed below, is left to the checks, which know what to say.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.checks import FEW, NAN, blanks
from engine.loan_arrays import BOUNDS, LONG_AGO, LoanArrays
from engine.loans import AMORTIZATIONS, Loan

TYPES: dict[str, tuple[type, ...]] = {
    "balance": (float, int),
    "annual_rate": (float, int),
    "servicing_fee": (float, int),
    "mortgage_insurance": (float, int),
    "remaining_term": (int,),
    "age": (int, type(None)),
}
NUMBERS = tuple(TYPES)
CODES = {name: i for i, name in enumerate(AMORTIZATIONS) if name != "schedule"}
SEEN = (*NUMBERS, "interest_only_term", "amortization", "group", "loan_id")
# All other terms, none of which a loan here states.
others = attrgetter(*(name for name in Loan.__struct_fields__ if name not in SEEN))
NOTHING = {type(None)}


def arrays_at_sight(loans: Sequence[Any]) -> LoanArrays | None:
    """The validated arrays of a few plain loans, none where there is anything to be looked at more closely."""
    n = len(loans)
    if not 0 < n <= FEW or not all(map(is_plain, loans)):
        return None
    numbers = [[getattr(loan, name) for loan in loans] for name in NUMBERS]
    kinds, groups = [loan.amortization for loan in loans], [loan.group for loan in loans]
    if not (all(map(within, NUMBERS, numbers)) and all(map(is_code, kinds)) and all(map(is_text, groups))):
        return None
    balance, rate, fee, mortgage_insurance = (np.array(column, dtype=np.float64) for column in numbers[:4])
    term = np.array(numbers[4], dtype=np.int32)
    group, names = blanks(np.int32, -1, n), sorted({name for name in groups if name})
    if names:
        group = np.array([names.index(name) if name else -1 for name in groups], dtype=np.int32)
    ids, none, nan = [loan.loan_id for loan in loans], blanks(np.int32, 0, n), blanks(np.float64, NAN, n)
    return LoanArrays(
        balance=balance, rate=rate, fee=fee, payment=nan, original_balance=nan, property_value=nan,
        mortgage_insurance=mortgage_insurance, term=term, age=ages(numbers[5]), interest_only=none,
        amortization_term=none, amortization=np.array([CODES[kind] for kind in kinds], dtype=np.int8), group=group,
        groups=tuple(names), status=blanks(np.int8, 0, n), months_in_status=none,
        amortizing_since=blanks(np.int32, LONG_AGO, n), loan_id=None if ids.count(None) == n else ids,
    )  # fmt: skip


def is_plain(loan: Any) -> bool:
    """Whether a loan states nothing beyond what is looked at here, and no interest-only months."""
    if type(loan) is not Loan or set(map(type, others(loan))) != NOTHING:
        return False
    return type(loan.interest_only_term) is int and loan.interest_only_term == 0


def within(name: str, values: list[Any]) -> bool:
    """Whether all values of a column are numbers of its types within its bounds."""
    types, (low, high) = TYPES[name], BOUNDS[name]
    return all(type(value) in types and (value is None or low <= value <= high) for value in values)


def ages(values: list[Any]) -> NDArray[np.int32]:
    """Ages, 0 for those that are not stated."""
    if values.count(None) == len(values):
        return blanks(np.int32, 0, len(values))
    return np.array([0 if value is None else value for value in values], dtype=np.int32)


def is_code(value: Any) -> bool:
    return type(value) is str and value in CODES


def is_text(value: Any) -> bool:
    return value is None or type(value) is str

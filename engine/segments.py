"""Which loans share assumptions: the partition of a tape by the rules and groups of every scenario."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.assumptions import Assumptions, Condition
from engine.loan_arrays import LoanArrays
from engine.loans import AMORTIZATIONS

COLUMNS = {"annual_rate": "rate", "remaining_term": "term", "servicing_fee": "fee"}


class Segments(msgspec.Struct, frozen=True):
    """members: int32 (loans,), the set of each loan, one entry where all loans are in set 0. sets: the assumptions of
    each scenario for each set."""

    members: NDArray[np.int32]
    sets: list[list[Assumptions]]


def segments_of(bases: Sequence[Assumptions], loans: LoanArrays) -> Segments:
    """The partition of the loans into sets that have the same assumptions in every scenario."""
    members = np.zeros(1, dtype=np.int64)
    cells = np.zeros((len(bases), 1), dtype=np.int64)
    known: dict[bytes, list[int]] = {}
    for s, base in enumerate(bases):
        known.setdefault(partition_key(base), []).append(s)
    for scenarios in known.values():
        choice = choice_of(bases[scenarios[0]], loans)
        if choice is None:
            continue
        width = len(alternatives(bases[scenarios[0]]))
        both = members * width + choice
        kinds = np.flatnonzero(np.bincount(both))
        place = np.zeros(kinds[-1] + 1, dtype=np.int64)
        place[kinds] = np.arange(len(kinds))
        members = place[both]
        cells = cells[:, kinds // width]
        cells[scenarios] = kinds % width
    sets = [[alternatives(base)[cell] for cell in row] for base, row in zip(bases, cells.tolist(), strict=True)]
    return Segments(members.astype(np.int32), sets)


def alternatives(base: Assumptions) -> list[Assumptions]:
    """The base itself, those of its rules, and those of its groups by name."""
    groups = base.groups or {}
    return [base, *(rule.assumptions for rule in base.rules or []), *(groups[name] for name in sorted(groups))]


def partition_key(base: Assumptions) -> bytes:
    """The same for scenarios that cut the tape alike."""
    return msgspec.json.encode([[rule.where for rule in base.rules or []], sorted(base.groups or {})])


def choice_of(base: Assumptions, loans: LoanArrays) -> NDArray[np.int64] | None:
    """Which of the alternatives each loan takes, int64 (loans,); none where all take the base."""
    names = sorted(base.groups or {})
    used = [name for name in names if name in loans.groups]
    if not len(loans) or not (used or base.rules):
        return None
    rules = base.rules or []
    of_group = np.zeros(len(loans.groups) + 1, dtype=np.int64)
    for name in used:
        of_group[loans.groups.index(name)] = 1 + len(rules) + names.index(name)
    choice = of_group[loans.group]
    for i in range(len(rules) - 1, -1, -1):
        meets = np.ones(len(loans), dtype=bool)
        for column, condition in rules[i].where.items():
            meets &= met(column, condition, loans)
        choice[meets] = 1 + i
    return choice


def met(column: str, condition: Condition, loans: LoanArrays) -> NDArray[np.bool_]:
    """Which loans meet a condition; values that are not stated (NaN) do not."""
    if condition.one_of is not None:
        index, names = (loans.group, loans.groups) if column == "group" else (loans.amortization, AMORTIZATIONS)
        among = [i for i, name in enumerate(names) if name in condition.one_of]
        return np.isin(index, among)
    values: NDArray[np.float64] = getattr(loans, COLUMNS.get(column, column))
    meets = ~np.isnan(values)
    if condition.min is not None:
        meets &= values >= condition.min
    if condition.max is not None:
        meets &= values <= condition.max
    if condition.below is not None:
        meets &= values < condition.below
    return meets

"""Which loans share assumptions: the partition of a tape by rules and groups of every scenario, and by loans' state.

A loan's state at the cut-off says what becomes of the assumptions: none are applied to given cashflows that say so, and
a loan in default has defaulted.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.assets import TYPES
from engine.assumptions import Assumptions, Condition, Conventions
from engine.curves import Vector
from engine.errors import AssumptionError, Problem
from engine.loan_arrays import LoanArrays
from engine.loans import AMORTIZATIONS, STATUSES

# Numbers below so many a loan are counted, in no time; of larger ones a table would outgrow the tape: they are sorted.
SPARSE = 4
# States: as assumed, exempt from all assumptions, so many payments late (1 to 4), and in default for so many months.
AS_ASSUMED, EXEMPT, AS_LATE, DEFAULTED = 0, 1, 1, 6
IN_DEFAULT = [STATUSES.index(name) for name in ("default", "foreclosure", "reo")]
LATE = [place for place, name in enumerate(STATUSES) if name.startswith("delinquent")]
COLUMNS = {"annual_rate": "rate", "remaining_term": "term", "servicing_fee": "fee"}


class Segments(msgspec.Struct, frozen=True):
    """members: int32 (loans,), the set of each loan, one entry where all loans are in set 0. sets: the assumptions of
    each scenario for each set. states: the state of the loans of each set."""

    members: NDArray[np.int32]
    sets: list[list[Assumptions]]
    states: list[int]

    def of(self, k: int) -> list[Assumptions]:
        """The assumptions of set k in each scenario."""
        return [row[k] for row in self.sets]


def segments_of(bases: Sequence[Assumptions], loans: LoanArrays) -> Segments:
    """The partition of the loans into sets that have the same assumptions in every scenario."""
    members = np.zeros(1, dtype=np.int64)
    if loans.contracts is None and not any(base.rules or base.groups for base in bases) and not loans.status.any():
        return Segments(np.zeros(1, dtype=np.int32), [[base] for base in bases], [AS_ASSUMED])
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
        kinds, members = distinct(both)
        cells = cells[:, kinds // width]
        cells[scenarios] = kinds % width
    rolls = any(each.delinquency is not None for base in bases for each in alternatives(base))
    state = states_of(loans, rolls)
    states = np.zeros(cells.shape[1], dtype=np.int64)
    if state is not None:
        width = int(state.max()) + 1
        kinds, members = np.unique(members * width + state, return_inverse=True)
        cells, states = cells[:, kinds // width], kinds % width
    sets = [
        [in_state(alternatives(base)[cell], state) for cell, state in zip(row, states.tolist(), strict=True)]
        for base, row in zip(bases, cells.tolist(), strict=True)
    ]
    return Segments(members.astype(np.int32), sets, states.tolist())


def distinct(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct values in order, and which of them each is; values are 0 or more."""
    most = int(values.max())
    if most > SPARSE * len(values):
        kinds, which = np.unique(values, return_inverse=True)
        return kinds, which.reshape(-1)
    kinds = np.flatnonzero(np.bincount(values))
    place = np.zeros(most + 1, dtype=np.int64)
    place[kinds] = np.arange(len(kinds))
    return kinds, place[values]


def states_of(loans: LoanArrays, rolls: bool) -> NDArray[np.int64] | None:
    """The state of each loan, int64 (loans,); none where the assumptions are applied to all as they are.

    rolls: whether there are roll rates, for which alone it matters how late a loan is.
    """
    assets = None if loans.contracts is None else loans.contracts.assets
    in_default = np.isin(loans.status, IN_DEFAULT) if loans.status.any() else None
    if not len(loans) or (in_default is None and (assets is None or not assets.exempt.any())):
        return None
    state = np.zeros(len(loans), dtype=np.int64)
    if in_default is not None:
        state[in_default] = DEFAULTED + loans.months_in_status[in_default]
        late = np.isin(loans.status, LATE)
        if rolls:
            state[late] = AS_LATE + 1 + loans.status[late] - LATE[0]
    if assets is not None:
        state[assets.exempt] = EXEMPT
    return state


def in_state(each: Assumptions, state: int) -> Assumptions:
    """What becomes of assumptions for loans in a state.

    A loan that defaulted m months before the cut-off defaults in the first month, with what is left of the lag but one
    month: liquidation falls `lag - m` months after the cut-off, in the first month at the earliest. Of stages, those
    that are past are not of the balance any more; the others share it.
    """
    if state == AS_ASSUMED or AS_LATE < state < DEFAULTED:
        return each
    if state == EXEMPT:
        return Assumptions()
    gone = state - DEFAULTED + 1
    stages = each.stages[gone:] if sum(each.stages[gone:]) > 0 else [1.0]
    if sum(each.stages[:gone]) > 0:
        stages = [share / sum(stages) for share in stages]
    return msgspec.structs.replace(
        each, prepayment=None, curtailment=None, default=Vector(unit="mdr", values=[1.0], beyond="zero"),
        delinquency=None, burnout=None,
        recovery_lag=0, recovery_stages=stages,
    )  # fmt: skip


def check_assets(segments: Segments, loans: LoanArrays, conventions: Conventions) -> None:
    """Raises AssumptionError for assumptions that the paths of assets do not factor with."""
    assets = None if loans.contracts is None else loans.contracts.assets
    if assets is None:
        return
    for k in range(len(segments.states)):
        mine = np.broadcast_to(segments.members == k, (len(loans),))
        kinds = set(assets.kind[mine].tolist())
        check_residuals(segments.of(k), assets.numbers["residual_value"][mine], conventions)
        names = [TYPES[kind] for kind in sorted(kinds) if TYPES[kind] not in ("loan", "student_loan")]
        for each in (row[k] for row in segments.sets):
            if names and each.delinquency is not None:
                message = f"is stated for loans of type {names[0]}; expected a default curve, since they have no"
                raise AssumptionError(
                    [Problem("assumptions.delinquency", f"{message} level instalments to catch up with")]
                )
            if names and each.advancing == "principal_and_interest":
                message = f"is 'principal_and_interest' for loans of type {names[0]}, whose principal is not scheduled"
                raise AssumptionError([Problem("assumptions.advancing", f"{message}; expected 'none' or 'interest'")])


def check_residuals(sets: list[Assumptions], residuals: NDArray[np.float64], conventions: Conventions) -> None:
    """Raises AssumptionError for shortfalls of residuals on lessees who prepay and owe no interest to fall short of.

    Those who prepay in the last month have nothing left to prepay: they hand back what has a residual, as the others.
    """
    if conventions.interest_base != "survivors" or conventions.prepayment_base == "opening_net_of_defaults":
        return
    if residuals.any() and any(each.prepayment is not None and each.residual_share < 1 for each in sets):
        message = (
            "is 'survivors' beside a residual_share below 1 and prepayments: a residual is part of the last month's "
            "interest, which those who prepay then do not owe; expected 'less_defaults', or prepayment_base "
            "'opening_net_of_defaults'"
        )
        raise AssumptionError([Problem("conventions.interest_base", message)])


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
        index, names = named_values(column, loans)
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


def named_values(column: str, loans: LoanArrays) -> tuple[NDArray[Any], tuple[str, ...]]:
    """A text column of the loans as positions in names."""
    if column == "group":
        return loans.group, loans.groups
    if column == "type":
        assets = None if loans.contracts is None else loans.contracts.assets
        return (np.zeros(len(loans), dtype=np.int8) if assets is None else assets.kind), TYPES
    return (loans.status, STATUSES) if column == "status" else (loans.amortization, AMORTIZATIONS)

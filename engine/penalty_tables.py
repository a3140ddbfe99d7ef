"""What the core reads of prepayment penalties: coefficients by month after origination, and the months locked out."""

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import _core
from engine.loans import MAX_TERM
from engine.penalties import (
    FixedPenalty,
    InterestPenalty,
    Lockout,
    Penalty,
    PercentagePenalty,
    StepDownPenalty,
    YieldMaintenance,
    spans,
)

if TYPE_CHECKING:
    from engine.contracts import Contracts
    from engine.loan_arrays import LoanArrays

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


class PenaltyTables(msgspec.Struct, frozen=True, kw_only=True):
    """The penalties of a tape, in the order of their names, and what of each loan they depend on.

    by_age: float64 (penalties, kinds of _core.PENALTY_TABLES, months), by month after origination. worth: float64
    (penalties, months), of one a year for so many months at the discount rate. terms: float64 (penalties, kinds of
    _core.PENALTY_TERMS). loans: float64 (kinds of _core.PENALTY_ROWS, loans).
    """

    by_age: Floats
    worth: Floats
    terms: Floats
    loans: Floats

    def taken(self, index: Integers) -> "PenaltyTables":
        """Those of the loans at the index, in its order."""
        return msgspec.structs.replace(self, loans=self.loans[:, index])

    def placed(self, part: slice, places: list[tuple[Integers, Integers]], lanes: int) -> _core.Penalties:
        """What the core reads of a slice of the loans: places are pairs of loans and their lanes."""
        rows = np.zeros((len(self.loans), lanes))
        rows[_core.PENALTY_ROWS.index("penalty")] = -1
        loans = self.loans[:, part]
        for order, place in places:
            rows[:, place] = loans[:, order]
        return _core.Penalties(self.by_age, self.worth, self.terms, rows)


def penalties_of(loans: "LoanArrays", months: int) -> PenaltyTables | None:
    """The penalties of a tape over so many months from the cut-off, none where no loan has any."""
    terms = loans.contracts
    if terms is None or terms.penalties is None or not (terms.penalty >= 0).any():
        return None
    width = max(int(loans.age.max()), 0) + months + 2
    changes = (terms.index >= 0) | (terms.steps >= 0)
    columns = {
        "penalty": terms.penalty, "age": loans.first_age, "term": loans.term,
        "rate": np.where(changes, np.nan, loans.rate),
    }  # fmt: skip
    tables = [tables_of(phases, width) for phases in terms.penalties]
    return PenaltyTables(
        by_age=np.stack([by_age for by_age, _, _ in tables]), worth=np.stack([worth for _, worth, _ in tables]),
        terms=np.stack([each for _, _, each in tables]),
        loans=np.stack([np.asarray(columns[name], dtype=np.float64) for name in _core.PENALTY_ROWS]),
    )  # fmt: skip


def tables_of(phases: list[Penalty], width: int) -> tuple[Floats, Floats, Floats]:
    """One penalty's rows of by_age, worth and terms."""
    by_age = {name: np.zeros(width) for name in _core.PENALTY_TABLES}
    worth = np.zeros(width)
    terms = dict.fromkeys(_core.PENALTY_TERMS, 0.0)
    for begin, end, phase in spans(phases):
        where = slice(min(begin, width), min(end + 1, width))
        match phase:
            case PercentagePenalty():
                by_age["share"][where] = phase.rate
            case StepDownPenalty():
                stepped = np.repeat(phase.rates, phase.months_a_rate)
                by_age["share"][where] = stepped[: where.stop - where.start]
            case InterestPenalty():
                by_age["interest"][where] = phase.interest_months * phase.share
            case FixedPenalty():
                by_age["amount" if phase.charged == "on_payoff" else "charge"][where] = phase.amount
            case YieldMaintenance():
                by_age["share"][where] = phase.minimum
                by_age["maintained"][where] = 1
                worth = annual_worth(phase.discount_rate, width)
                terms = {
                    "discount_rate": phase.discount_rate, "end": float(end),
                    "present_value": float(phase.method == "present_value"),
                    "discount": 1 / (1 + phase.discount_rate / 12),
                }  # fmt: skip
    rows = np.stack([by_age[name] for name in _core.PENALTY_TABLES])
    return rows, worth, np.array([terms[name] for name in _core.PENALTY_TERMS])


def annual_worth(rate: float, width: int) -> Floats:
    """[1 - (1 + rate)^(-n/12)] / rate for n months, n / 12 at a rate of 0; float64 (width,)."""
    years = np.arange(width) / 12
    return years if rate < 1e-15 else -np.expm1(-years * np.log1p(rate)) / rate


def locks_of(loans: "LoanArrays", months: int) -> tuple[Integers, Mask] | None:
    """Which row of months each loan has, -1 for none locked; and the rows, True where prepayment is locked out.

    Shapes (loans,) and (rows, months + 1), entry 0 unused. None where nothing is locked.
    """
    terms = loans.contracts
    if terms is None or terms.penalties is None:
        return None
    locked = np.zeros((len(terms.penalties), 2 * MAX_TERM + 1), dtype=bool)
    for k, phases in enumerate(terms.penalties):
        for begin, end, phase in spans(phases):
            if isinstance(phase, Lockout):
                locked[k, begin : end + 1] = True
    until = np.where(locked.any(axis=1), 2 * MAX_TERM - np.argmax(locked[:, ::-1], axis=1), 0)
    penalty: NDArray[Any] = terms.penalty
    some = np.flatnonzero((penalty >= 0) & (until[penalty] > loans.age))
    if not len(some):
        return None
    ages = loans.age[some].astype(np.int64)
    kinds, kind = np.unique((penalty[some].astype(np.int64) << 32) + ages + MAX_TERM, return_inverse=True)
    age = (kinds & 0xFFFFFFFF) - MAX_TERM
    month = np.minimum(age[:, None] + np.arange(months + 1), 2 * MAX_TERM)
    rows = np.where(month > 0, locked[(kinds >> 32)[:, None], np.maximum(month, 0)], False)
    which = np.full(len(loans), -1, dtype=np.int64)
    which[some] = kind.reshape(-1)
    return which, rows


def refuse_penalties(refuse: Any, loans: "LoanArrays", terms: "Contracts") -> None:
    """Reports penalties on loans that they cannot be reckoned for."""
    if terms.penalties is None:
        return
    kinds = [{type(phase) for phase in phases} for phases in terms.penalties]

    def has(kind: type) -> Mask:
        found = np.array([kind in each for each in kinds] + [False])
        of_loan: Mask = found[terms.penalty]
        return of_loan

    changes = (terms.index >= 0) | (terms.steps >= 0)
    refuse(
        has(YieldMaintenance) & changes, "penalty",
        "maintains a yield on a loan whose rate changes; expected a fixed rate, or another penalty",
    )  # fmt: skip
    dated = np.zeros(len(loans), dtype=bool) if terms.payments is None else terms.payments.stated
    refuse(
        has(InterestPenalty) & changes & dated, "penalty",
        "is in months of interest on a loan whose rate changes and that does not pay every month from the cut-off; "
        "expected a percentage",
    )  # fmt: skip
    if terms.assets is not None:
        refuse((terms.penalty >= 0) & (terms.assets.kind != 0), "penalty", "is stated on what is no loan")

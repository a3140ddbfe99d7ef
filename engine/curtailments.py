"""Curtailments: what borrowers who stay pay down beyond the schedule, and what becomes of their payment.

Where it is recast a curtailment takes a share of the loan away, as a prepayment does, and behaviour has it all. Where
it stays the loan ends sooner: its balances are another path, so these loans are walked forward (ext/stepped.h), once
for each curve of curtailments as floating ones are for each path of rates.
"""

from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.assumptions import Assumptions, Conventions
from engine.contracts import plain_terms
from engine.curves import Curve
from engine.errors import AssumptionError, Problem
from engine.loan_arrays import LoanArrays
from engine.penalties import FixedPenalty
from engine.rates import RateTables
from engine.segments import Segments
from engine.severity import SeverityVector

if TYPE_CHECKING:
    from engine.behaviour import Tables

PATH = "assumptions.curtailment"


class Curtailments(msgspec.Struct, frozen=True):
    """Where curves of curtailment begin in the rates for loans that keep their payment, and which loans do.

    at, stride: int64 (sets, sets of assumptions), 0 for none; a set is what scenarios share beside their index values.
    loans: bool (loans,).
    """

    at: NDArray[np.int64]
    stride: NDArray[np.int64]
    loans: NDArray[np.bool_]

    def taken(self, index: NDArray[np.int64]) -> "Curtailments":
        """Those of the loans at the index, in its order."""
        return msgspec.structs.replace(self, loans=self.loans[index])


def curtailment_rule(each: Assumptions, conventions: Conventions, tables: "Tables") -> tuple[bool, int, int]:
    """The columns recasts, curtailment_at and curtailment_stride of RULES."""
    curve: Curve | None = each.curtailment
    if curve is None:
        return False, 0, 0
    return (conventions.after_curtailment == "recast", *tables.place(curve))


def check_curtailments(loans: LoanArrays, segments: Segments, conventions: Conventions) -> None:
    """Raises AssumptionError for curtailments of loans and conventions that they are not represented with."""
    curtailed = [k for row in segments.sets for k, each in enumerate(row) if each.curtailment is not None]
    if not curtailed:
        return
    problems = []
    mine = np.broadcast_to(np.isin(segments.members, curtailed), (len(loans),))
    if conventions.default_base != "opening":
        what = "is stated with defaults after scheduled principal, which curtail nothing; expected default_base opening"
        problems.append(Problem(PATH, what))
    terms = loans.contracts
    if terms is not None and terms.calendars is not None and (mine & (terms.calendars.pattern >= 0)).any():
        problems.append(
            Problem(PATH, "is of loans that do not pay every month from the cut-off; expected those that do")
        )
    sets = [each for row in segments.sets for each in row if each.curtailment is not None]
    if conventions.after_curtailment == "level":
        problems += level_problems(loans, mine)
        if any(each.advancing == "principal_and_interest" for each in sets):
            what = "is 'principal_and_interest', which advances schedules; a kept payment has none"
            problems.append(Problem("assumptions.advancing", what))
    else:
        problems += recast_problems(loans, mine, sets)
    if problems:
        raise AssumptionError(problems)


def level_problems(loans: LoanArrays, mine: NDArray[np.bool_]) -> list[Problem]:
    """What keeps loans from keeping their payment."""
    terms = loans.contracts
    if terms is None:
        return []
    found = []
    level = "keeps payments level (conventions.after_curtailment)"
    if (mine & (terms.schedule >= 0)).any():
        found.append(Problem(PATH, f"{level} of loans of a given schedule, which says it all; expected recast"))
    if terms.assets is not None and (mine & (terms.assets.kind != 0)).any():
        found.append(Problem(PATH, f"{level} of what is no loan; expected recast"))
    if (mine & (terms.penalty >= 0)).any():
        what = f"{level} of loans with prepayment penalties, which go by the contract's own payments; expected recast"
        found.append(Problem(PATH, what))
    return found


def recast_problems(loans: LoanArrays, mine: NDArray[np.bool_], sets: list[Assumptions]) -> list[Problem]:
    """What goes by whole loans, of which a recast curtailment takes a share away."""
    found = []
    if not all(isinstance(each.severity, float | int | SeverityVector) for each in sets):
        what = "recasts payments beside a severity by the property, which what is paid down takes its share of"
        found.append(Problem(PATH, f"{what}; expected conventions.after_curtailment level"))
    terms = loans.contracts
    if terms is not None and terms.penalties is not None:
        fixed = [any(isinstance(phase, FixedPenalty) for phase in phases) for phases in terms.penalties]
        if (mine & np.array([*fixed, False])[terms.penalty]).any():
            what = (
                "is of loans with a fixed_amount to pay for prepaying, which what is paid down would take its share of"
            )
            found.append(Problem(PATH, f"{what}; expected another penalty, or no curtailment"))
    return found


def keeping(rules: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which rules have curtailments and keep the payment, of their shape."""
    kept: NDArray[np.bool_] = (rules["curtailment_at"] > 0) & (rules["recasts"] == 0)
    return kept


def with_payments_kept(loans: LoanArrays, rules: NDArray[np.void], members: NDArray[np.int32]) -> LoanArrays:
    """The loans, those that keep their payment in some scenario to be walked forward."""
    some: NDArray[np.bool_] = np.logical_or.reduce(keeping(rules), axis=0)
    if not some.any() or not len(loans):
        return loans
    terms = plain_terms(len(loans)) if loans.contracts is None else loans.contracts
    mine = np.array(np.broadcast_to(some[members], (len(loans),)))
    terms = msgspec.structs.replace(terms, curtailed=mine, stepped=terms.stepped | mine)
    return msgspec.structs.replace(loans, contracts=terms)


def curtailments_of(
    loans: LoanArrays, rules: NDArray[np.void], rates: RateTables | None
) -> tuple[Curtailments | None, RateTables | None]:
    """The curtailments of loans that keep their payment, none without any; and a set of rates for each pair of both."""
    if rates is None or loans.contracts is None or loans.contracts.curtailed is None:
        return None, rates
    kept = keeping(rules)
    at = np.where(kept, rules["curtailment_at"], 0).astype(np.int64)
    stride = np.where(kept, rules["curtailment_stride"], 0).astype(np.int64)
    of_rates = np.array(rates.set_of_scenario, dtype=np.int64)
    keys = np.column_stack([of_rates, at, stride])
    _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    sets = msgspec.structs.replace(
        rates, values=np.ascontiguousarray(rates.values[of_rates[first]]),
        set_of_scenario=tuple(which.reshape(-1).tolist()),
    )  # fmt: skip
    at, stride = np.ascontiguousarray(at[first]), np.ascontiguousarray(stride[first])
    return Curtailments(at, stride, loans.contracts.curtailed), sets

"""What servicers do for loans that fall behind: months without payments, and terms that are changed for good.

Both begin from roll rates (engine/delinquency.py). DECISIONS.md says why they are stated as they are.
"""

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import _core
from engine.curves import UNIT_RANGE, out_of_range
from engine.errors import Problem

MAX_FORBEARANCE: int = _core.FORBORNE_MOST
MAX_NEW_TERM = 600


class Forbearance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Months without payments, entered in place of a payment.

    months: how many. enter: the share that enters each month, of current loans first, then of those 30 days late, 60
    and so on; those left out enter none. reinstate: the share that pays all it missed in the month after, and is
    current. modify: the share that is modified then, what it missed being part of it. The rest defaults.
    """

    months: int
    enter: list[float]
    reinstate: float = 0.0
    modify: float = 0.0

    def problems(self, path: str, buckets: int) -> list[Problem]:
        """Every value out of range, with its path below `path`."""
        found: list[Problem] = []
        if not 1 <= self.months <= MAX_FORBEARANCE:
            message = f"is {self.months}; expected whole months in [1, {MAX_FORBEARANCE}]"
            found.append(Problem(f"{path}.months", message))
        if not 1 <= len(self.enter) <= buckets + 1:
            message = f"has {len(self.enter)} shares; expected 1 to {buckets + 1}: current, then each bucket of roll"
            found.append(Problem(f"{path}.enter", message))
        for i, share in enumerate(self.enter):
            found += out_of_range(f"{path}.enter[{i}]", share, 0, 1, UNIT_RANGE)
        for name in ("reinstate", "modify"):
            found += out_of_range(f"{path}.{name}", getattr(self, name), 0, 1, UNIT_RANGE)
        if not found and self.reinstate + self.modify > 1 + 1e-12:
            message = f"is {self.modify:g}, and {self.reinstate:g} reinstate; expected no more than 1 together"
            found.append(Problem(f"{path}.modify", message))
        return found


class Modification(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Terms changed for good: what was missed is put behind the last payment, which is as many months later.

    rates: the share of each bucket, 30 days first, that is modified each month and pays an instalment in it; those left
    out are not. interest_relief: the share of the interest that is waived from then on. forgiveness: the share of the
    balance that is written off, in `loss` and `shortfall`. redefault: the share of modified loans that defaults each
    month. prepayment_multiplier: of the prepayment curve, for modified loans.

    annual_rate, term: a new rate and the months in which level payments repay what is owed, from the month of the
    modification on, in place of instalments behind the schedule; both or neither, and no interest_relief beside them.
    arrears: what becomes of the interest missed: it is waived, or capitalized, added to the balance before forgiveness
    (`interest`, and as much less `scheduled_principal`), which needs the new terms.
    """

    rates: list[float] = []
    annual_rate: float | None = None
    term: int | None = None
    arrears: Literal["waived", "capitalized"] = "waived"
    interest_relief: float = 0.0
    forgiveness: float = 0.0
    redefault: float = 0.0
    prepayment_multiplier: float = 1.0

    def problems(self, path: str, buckets: int) -> list[Problem]:
        """Every value out of range, with its path below `path`."""
        found: list[Problem] = []
        if len(self.rates) > buckets:
            message = f"has {len(self.rates)} shares; expected {buckets} at most, one for each bucket of roll"
            found.append(Problem(f"{path}.rates", message))
        for i, share in enumerate(self.rates):
            found += out_of_range(f"{path}.rates[{i}]", share, 0, 1, UNIT_RANGE)
        for name in ("interest_relief", "forgiveness", "redefault"):
            found += out_of_range(f"{path}.{name}", getattr(self, name), 0, 1, UNIT_RANGE)
        allowed = "a factor in [0, 10]"
        found += self.term_problems(path)
        return found + out_of_range(f"{path}.prepayment_multiplier", self.prepayment_multiplier, 0, 10, allowed)

    def term_problems(self, path: str) -> list[Problem]:
        """What is wrong with new terms, or with what needs them."""
        found: list[Problem] = []
        if self.annual_rate is not None:
            found += out_of_range(f"{path}.annual_rate", self.annual_rate, 0, 1, UNIT_RANGE)
        if self.term is not None and not 1 <= self.term <= MAX_NEW_TERM:
            found.append(Problem(f"{path}.term", f"is {self.term}; expected whole months in [1, {MAX_NEW_TERM}]"))
        for name, other in (("annual_rate", "term"), ("term", "annual_rate")):
            if getattr(self, name) is None and getattr(self, other) is not None:
                found.append(Problem(f"{path}.{name}", f"is missing beside {other}; a new level payment takes both"))
        stated = self.annual_rate is not None or self.term is not None
        if stated and self.interest_relief > 0:
            message = f"is {self.interest_relief:g} beside a new rate; expected one of them"
            found.append(Problem(f"{path}.interest_relief", message))
        if not stated and self.arrears == "capitalized":
            message = "is 'capitalized' without new terms, and the schedule has no payment for it; expected annual_rate"
            found.append(Problem(f"{path}.arrears", f"{message} and term too"))
        return found


def entering(forbearance: Forbearance | None, buckets: int) -> list[float]:
    """The share that enters forbearance each month, of current loans and of each bucket."""
    given = [] if forbearance is None else forbearance.enter
    return [*given, *[0.0] * (buckets + 1 - len(given))]


def modified(modification: Modification | None, buckets: int) -> list[float]:
    """The share that is modified each month, of each bucket."""
    given = [] if modification is None else modification.rates
    return [*given, *[0.0] * (buckets - len(given))]


def workout_table(
    forbearance: Forbearance | None, modification: Modification | None, buckets: int
) -> NDArray[np.float64]:
    """As ext/workout.pxi reads it: the terms, what enters forbearance and what is modified, by payments missed."""
    held = forbearance or Forbearance(months=0, enter=[])
    changed = modification or Modification()
    terms = [
        held.months, held.reinstate, held.modify, changed.redefault, changed.forgiveness, changed.interest_relief,
        changed.prepayment_multiplier, changed.term or 0, (changed.annual_rate or 0.0) / 12,
        changed.arrears == "capitalized",
    ]  # fmt: skip
    rows = np.zeros((2, _core.LATE_MOST + 1))
    rows[0, : buckets + 1] = entering(forbearance, buckets)
    rows[1, 1 : buckets + 1] = modified(modification, buckets)
    return np.concatenate([np.array(terms, dtype=np.float64), rows.reshape(-1), factors(changed)])


def factors(changed: Modification) -> NDArray[np.float64]:
    """What a modified loan with new terms owes after 0, 1, .. payments, a share of what it begins with."""
    if changed.term is None or changed.annual_rate is None:
        return np.zeros(0)
    left, r = np.arange(changed.term, -1, -1, dtype=np.float64), changed.annual_rate / 12
    if r < 1e-15:
        return left / changed.term
    found: NDArray[np.float64] = np.expm1(-left * np.log1p(r)) / np.expm1(-changed.term * np.log1p(r))
    return found

"""How loans fall behind with their payments, catch up, and default: roll rates."""

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.curves import UNIT_RANGE, out_of_range
from engine.errors import Problem
from engine.workouts import MAX_NEW_TERM, Forbearance, Modification, entering, modified, workout_table

MAX_BUCKETS = 4


class Delinquency(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Roll rates, in place of a default curve.

    Loans begin current, or as late as their `status` on the tape says: 60 days late is two payments missed, and later
    than the last bucket is in it. The tape's balance is what they owe; their remaining term is to maturity.
    roll: the share that misses one more payment in a month: of current loans, of those 30 days late, 60, 90, and of the
    last bucket, for which it is default. With five entries the buckets are 30, 60, 90 and 120 days. cure: the share of
    each bucket, 30 days first, that pays all it has missed. What neither rolls nor cures pays one instalment and is as
    late as before. Late loans owe what the schedule had when they stopped, pay no interest on what is late, and are
    part of `balance`. forbearance, modification: what is done for them in place of rolling, curing and staying.
    missed_terms: the rate and payment of the months missed before the cut-off, of loans whose rate changes: as the
    contract tells them, or refused where it does not (contract); or those of the cut-off in all of them (current).
    """

    roll: list[float]
    cure: list[float]
    forbearance: Forbearance | None = None
    modification: Modification | None = None
    missed_terms: Literal["contract", "current"] = "contract"

    @property
    def buckets(self) -> int:
        return len(self.roll) - 1

    def problems(self, path: str) -> list[Problem]:
        """Every value out of range, with its path below `path`."""
        found: list[Problem] = []
        if not 2 <= len(self.roll) <= MAX_BUCKETS + 1:
            message = f"has {len(self.roll)} shares; expected 2 to {MAX_BUCKETS + 1}: current, 30, 60, 90 and 120 days"
            found.append(Problem(f"{path}.roll", message))
        if len(self.cure) != len(self.roll) - 1:
            message = f"has {len(self.cure)} shares; expected {len(self.roll) - 1}, one less than roll"
            found.append(Problem(f"{path}.cure", message))
        for name, shares in (("roll", self.roll), ("cure", self.cure)):
            for i, share in enumerate(shares):
                found += out_of_range(f"{path}.{name}[{i}]", share, 0, 1, UNIT_RANGE)
        if self.forbearance is not None:
            found += self.forbearance.problems(f"{path}.forbearance", self.buckets)
        if self.modification is not None:
            found += self.modification.problems(f"{path}.modification", self.buckets)
        return found or self.sum_problems(path)

    def sum_problems(self, path: str) -> list[Problem]:
        """Shares of one bucket that are more than all of it."""
        found: list[Problem] = []
        left = self.leaving()
        if self.roll[0] + left[0] > 1 + 1e-12:
            message = f"is {left[0]:g}, and {self.roll[0]:g} roll; expected no more than 1 together"
            found.append(Problem(f"{path}.forbearance.enter[0]", message))
        for i, (roll, cure, leave) in enumerate(zip(self.roll[1:], self.cure, left[1:], strict=True)):
            if leave > 0 and roll + cure + leave > 1 + 1e-12:
                message = f"is {cure:g}, {roll:g} roll and {leave:g} are helped; expected no more than 1 together"
                found.append(Problem(f"{path}.cure[{i}]", message))
            elif roll + cure > 1 + 1e-12:
                message = f"is {cure:g}, and {roll:g} roll; expected no more than 1 together"
                found.append(Problem(f"{path}.cure[{i}]", message))
        return found

    @property
    def last_shift(self) -> int:
        """Months after the contract's last payment in which loans that are not in default can still pay."""
        behind = self.buckets + (0 if self.forbearance is None else self.forbearance.months)
        # Who is modified in the last of them pays the first instalment of a new term in it.
        term = None if self.modification is None else self.modification.term
        return behind + min(max((term or 1) - 1, 0), MAX_NEW_TERM)

    def leaving(self) -> list[float]:
        """The share that is helped each month, of current loans and of each bucket."""
        changed = [0.0, *modified(self.modification, self.buckets)]
        return [a + b for a, b in zip(entering(self.forbearance, self.buckets), changed, strict=True)]

    def table(self) -> NDArray[np.float64]:
        """The rolls, then the cures, then what leaves each bucket otherwise."""
        return np.array([*self.roll, *self.cure, *self.leaving()[1:]], dtype=np.float64)

    def workouts(self) -> NDArray[np.float64] | None:
        """What is done for late loans as the core reads it, none where nothing is."""
        if self.forbearance is None and self.modification is None:
            return None
        return workout_table(self.forbearance, self.modification, self.buckets)

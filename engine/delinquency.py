"""How loans fall behind with their payments, catch up, and default: roll rates."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.curves import UNIT_RANGE, out_of_range
from engine.errors import Problem

MAX_BUCKETS = 4


class Delinquency(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Roll rates, in place of a default curve.

    Every loan is current at the cut-off. roll: the share that misses one more payment in a month: of current loans,
    of those 30 days late, 60, 90, and of the last bucket, for which it is default. With five entries the buckets are
    30, 60, 90 and 120 days. cure: the share of each bucket, 30 days first, that pays all it has missed. What neither
    rolls nor cures pays one instalment and is as late as before. Late loans owe what the schedule had when they
    stopped, pay no interest on what is late, and are part of `balance`.
    """

    roll: list[float]
    cure: list[float]

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
        for i, (roll, cure) in enumerate(zip(self.roll[1:], self.cure, strict=False)):
            if not found and roll + cure > 1 + 1e-12:
                message = f"is {cure:g}, and {roll:g} roll; expected no more than 1 together"
                found.append(Problem(f"{path}.cure[{i}]", message))
        return found

    def table(self) -> NDArray[np.float64]:
        """The rolls, then the cures."""
        return np.array([*self.roll, *self.cure], dtype=np.float64)

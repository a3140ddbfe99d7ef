"""Prepayment penalties: what loans owe for prepaying, and when they may not; named in a tape and shared by its loans.

A penalty is a list of phases that follow one another from origination. Each says what a prepayment in its months costs;
docs/contracts.md has the formulas and their sources.
"""

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.checks import RATE
from engine.curves import out_of_range
from engine.errors import Problem
from engine.loans import MAX_TERM

MAX_PHASES = 120
MONTHS = f"whole months in [1, {MAX_TERM}]"
Ages = NDArray[np.int64]


class Phase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all phases say. months: how long the phase lasts, none for one that lasts to maturity."""

    months: int | None = None

    @property
    def length(self) -> int | None:
        """Months of the phase, none to maturity."""
        return self.months

    def problems(self, path: str) -> list[Problem]:
        """Every value out of range, with its path below `path`."""
        if self.months is None or 1 <= self.months <= MAX_TERM:
            return []
        return [Problem(f"{path}.months", f"is {self.months}; expected {MONTHS}, or none to last to maturity")]


class Lockout(Phase, frozen=True, tag="lockout"):
    """No voluntary prepayment."""


class PercentagePenalty(Phase, frozen=True, tag="percentage"):
    """A share of what is prepaid; 0 for months that are open."""

    rate: float

    def problems(self, path: str) -> list[Problem]:
        return super().problems(path) + out_of_range(f"{path}.rate", self.rate, 0, 1, RATE)


class StepDownPenalty(Phase, frozen=True, tag="step_down"):
    """Shares of what is prepaid, one after the other, each for months_a_rate months (12: one a year).

    `months` follows from them and is not stated.
    """

    rates: list[float]
    months_a_rate: int = 12

    @property
    def length(self) -> int | None:
        return len(self.rates) * self.months_a_rate

    def problems(self, path: str) -> list[Problem]:
        found = [] if self.rates else [Problem(f"{path}.rates", "is empty; expected at least one")]
        if self.months is not None:
            found.append(Problem(f"{path}.months", "is beside rates, whose months follow from months_a_rate"))
        if not 1 <= self.months_a_rate <= MAX_TERM:
            found.append(Problem(f"{path}.months_a_rate", f"is {self.months_a_rate}; expected {MONTHS}"))
        elif len(self.rates) * self.months_a_rate > MAX_TERM:
            message = f"has {len(self.rates)} of {self.months_a_rate} months; expected {MAX_TERM} months at most"
            found.append(Problem(f"{path}.rates", message))
        for i, rate in enumerate(self.rates[:MAX_TERM]):
            found += out_of_range(f"{path}.rates[{i}]", rate, 0, 1, RATE)
        return found


class InterestPenalty(Phase, frozen=True, tag="months_of_interest"):
    """So many months of interest on what is prepaid, at the rate of the month; share: on that part of it only."""

    interest_months: float
    share: float = 1.0

    def problems(self, path: str) -> list[Problem]:
        found = super().problems(path) + out_of_range(f"{path}.share", self.share, 0, 1, RATE)
        return found + out_of_range(f"{path}.interest_months", self.interest_months, 0, 120, "months in [0, 120]")


class YieldMaintenance(Phase, frozen=True, tag="yield_maintenance"):
    """What the lender loses by reinvesting until the phase or the loan ends, whichever is first.

    discount_rate: the annual yield it reinvests at. minimum: a share of what is prepaid that is owed at least. method:
    rate_difference is what is prepaid x (annual_rate - discount_rate) x [1 - (1 + discount_rate)^(-n/12)] /
    discount_rate, n the months left; present_value what the payments left and the balance at the end are worth at
    discount_rate / 12 a month, less the balance.
    """

    discount_rate: float
    method: Literal["rate_difference", "present_value"] = "rate_difference"
    minimum: float = 0.0

    def problems(self, path: str) -> list[Problem]:
        found = super().problems(path) + out_of_range(f"{path}.minimum", self.minimum, 0, 1, RATE)
        return found + out_of_range(f"{path}.discount_rate", self.discount_rate, 0, 1, RATE)


class FixedPenalty(Phase, frozen=True, tag="fixed_amount"):
    """An amount in currency units for each loan.

    charged: on_payoff has the share of the loan that prepays owe that share of it, every_month the loan all of it in
    each month in which anything is prepaid.
    """

    amount: float
    charged: Literal["on_payoff", "every_month"] = "on_payoff"

    def problems(self, path: str) -> list[Problem]:
        return super().problems(path) + out_of_range(f"{path}.amount", self.amount, 0, 1e12, "an amount in [0, 1e+12]")


Penalty = Lockout | PercentagePenalty | StepDownPenalty | InterestPenalty | YieldMaintenance | FixedPenalty


def penalty_problems(path: str, phases: list[Penalty]) -> list[Problem]:
    """Every fault of one penalty, with its path below `path`."""
    if not 1 <= len(phases) <= MAX_PHASES:
        return [Problem(path, f"has {len(phases)} phases; expected 1 to {MAX_PHASES}")]
    found = [problem for i, phase in enumerate(phases) for problem in phase.problems(f"{path}[{i}]")]
    for i, phase in enumerate(phases[:-1]):
        if not found and phase.length is None:
            found.append(Problem(f"{path}[{i}].months", "is missing; only the last phase lasts to maturity"))
    maintained = [i for i, phase in enumerate(phases) if isinstance(phase, YieldMaintenance)]
    for i in maintained[1:]:
        message = f"is a second yield maintenance after phase {maintained[0]}; expected one"
        found.append(Problem(f"{path}[{i}]", message))
    return found


def spans(phases: list[Any]) -> list[tuple[int, int, Any]]:
    """The phases with the first and last month after origination of each, 2 MAX_TERM for one that lasts to maturity."""
    found, begin = [], 1
    for phase in phases:
        end = 2 * MAX_TERM if phase.length is None else begin + phase.length - 1
        found.append((begin, end, phase))
        begin = end + 1
    return found

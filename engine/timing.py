"""Default rates of a timing curve: what each month states of a balance, over the balance that is left of it."""

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.assumptions import Assumptions
from engine.composed_curves import Timing
from engine.curves import Rates, annual_changed
from engine.errors import AssumptionError, Problem

# Of the base: less than this without a balance is rounding.
NEGLIGIBLE = 1e-9


class AgedSums(msgspec.Struct, frozen=True):
    """Loans by age: ages int64 (n,); scheduled balances float64 (n, months + 1), from the cut-off; base amounts."""

    ages: NDArray[np.int64]
    balance: NDArray[np.float64]
    cutoff_balance: float
    original_balance: float


# The sums of the loans that are inside, for as many months, on the rate paths of a scenario by its number.
ContractSums = Callable[[NDArray[np.bool_], int], Callable[[int], AgedSums]]


def timed_default(
    assumed: Assumptions, rule: NDArray[np.void], prepayment: Rates, loans: AgedSums, months: int
) -> Rates:
    """Monthly default rates by period, float64 (months + 1,), entry 0 unused.

    rule: the set's row of RULES. prepayment: its table of prepayment rates. The months are
    stepped as the core steps them, age by age, since what is left depends on the prepayments before. Raises
    AssumptionError for defaults without a balance, unless the curve drops them.
    """
    curve = assumed.default
    if not isinstance(curve, Timing):
        raise AssertionError("only a timing curve is timed")
    base = getattr(loans, curve.base)
    stated = curve.monthly(np.arange(1, max(months, curve.months) + 1)) * base
    if curve.measure == "loss":
        assert isinstance(assumed.severity, float | int)
        stated = stated / assumed.severity
    start = int(rule["prepayment_stride"]) * loans.ages
    alive = np.ones(len(loans.ages))
    found = np.zeros(months + 1)
    unmet = np.array(stated)
    for t in range(1, months + 1):
        left = float(loans.balance[:, t - 1 + int(rule["after"])] @ alive)
        found[t] = min(stated[t - 1] / left, 1.0) if left > 0 else 0.0
        unmet[t - 1] = max(stated[t - 1] - left, 0.0)
        prepaid = burnt_out(prepayment[start + t], alive, rule)
        if rule["prepayment_base"] != 0:
            prepaid = prepaid * (1 - found[t])
        alive = np.maximum(alive * (1 - found[t] - np.minimum(prepaid, 1 - found[t])), 0.0)
    if curve.at_end == "refuse" and unmet.sum() > NEGLIGIBLE * base:
        raise AssumptionError([no_balance(stated, unmet)])
    return found


def no_balance(stated: Rates, unmet: Rates) -> Problem:
    """The problem of defaults, by month, of which some have no balance."""
    month = int(np.flatnonzero(unmet > 0)[0]) + 1
    message = (
        f"states defaults of {stated.sum():,.2f}, of which {unmet.sum():,.2f} from month {month} on have no balance "
        "left; expected fewer, or earlier, or at_end 'drop'"
    )
    return Problem("assumptions.default", message)


def burnt_out(smm: Rates, alive: Rates, rule: NDArray[np.void]) -> Rates:
    """The SMM after burnout, for each surviving share."""
    if rule["burnout_floor"] == 1:
        return smm
    return annual_changed(smm, rule["burnout_floor"] + rule["burnout_slope"] * alive, 0.0)

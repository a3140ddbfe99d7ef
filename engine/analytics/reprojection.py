"""Measures that project the tape again: effective duration and convexity, breakeven CDR.

Every shock and every trial rate is a scenario of one projection, so that the tape is walked once for all of them.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from engine.analytics import losses
from engine.analytics.discount_curve import DiscountCurve
from engine.analytics.risk import check_shift, effective_convexity, effective_duration
from engine.analytics.roots import Floats, NoSolution
from engine.analytics.spreads import price_at_spread
from engine.analytics.yields import Compounding, price
from engine.assumptions import Assumptions, Scenario
from engine.cashflows import Cashflows
from engine.composed_curves import PrepaymentCurve, Scaled
from engine.curves import Cdr
from engine.errors import InvalidInput, Problem
from engine.projection import project
from engine.rates import ParallelShock
from engine.request import ProjectionRequest

# Trial rates of one projection, and how often the interval between two of them is divided again.
TRIALS, ROUNDS, HIGHEST_SPEED = 33, 9, 100.0
CDR_TOLERANCE = 1e-12
# Where the faults of a trial lie, which the user has not stated.
TRIAL = re.compile(r"^scenarios\[\d+\]\.assumptions")


def scaled_prepayment(curve: PrepaymentCurve | None, multiplier: float) -> PrepaymentCurve | None:
    """A prepayment curve whose CPR is multiplied, whatever unit states it, at most 100%."""
    return curve if curve is None or multiplier == 1 else Scaled(curve=curve, multiplier=multiplier)


def everywhere(assumptions: Assumptions, change: Callable[[Assumptions], Assumptions]) -> Assumptions:
    """Assumptions changed, those of their groups and rules too."""
    groups = {name: change(found) for name, found in (assumptions.groups or {}).items()} or None
    rules = [msgspec.structs.replace(rule, assumptions=change(rule.assumptions)) for rule in assumptions.rules or []]
    return msgspec.structs.replace(change(assumptions), groups=groups, rules=rules or None)


def shocked_assumptions(assumptions: Assumptions, multiplier: float, shift: float) -> Assumptions:
    """Assumptions with every prepayment curve multiplied and every rate path moved from the cut-off on."""
    moved = everywhere(
        assumptions,
        lambda found: msgspec.structs.replace(found, prepayment=scaled_prepayment(found.prepayment, multiplier)),
    )
    if not shift or not moved.rates:
        return moved
    rates = {
        index: msgspec.structs.replace(path, shocks=[*(path.shocks or []), ParallelShock(amount=shift)])
        for index, path in moved.rates.items()
    }
    return msgspec.structs.replace(moved, rates=rates)


def with_default(assumptions: Assumptions, cdr: float) -> Assumptions:
    """Assumptions with a constant default rate in place of every default curve and of roll rates."""
    return everywhere(
        assumptions, lambda found: msgspec.structs.replace(found, default=Cdr(rate=cdr), delinquency=None)
    )


def one_scenario(request: ProjectionRequest, index: int = 0) -> Assumptions:
    """The assumptions of one scenario of a request, with the rate paths that it takes from the request's."""
    own = request.scenarios[index].assumptions if request.scenarios else None
    if own is None:
        return request.assumptions
    rates = {**(request.assumptions.rates or {}), **(own.rates or {})}
    return msgspec.structs.replace(own, rates=rates or None)


def trials(request: ProjectionRequest, each: list[Assumptions], fields: list[str], threads: int | None) -> Cashflows:
    """The pool cashflows of a request under each of the assumptions, as scenarios of one projection.

    Raises InvalidInput for what the trials make of assumptions that fit as they are, each fault once.
    """
    scenarios = [Scenario(name=str(i), assumptions=assumptions) for i, assumptions in enumerate(each)]
    asked = msgspec.structs.replace(request, scenarios=scenarios, fields=fields, level="pool")
    try:
        return project(asked, threads)
    except InvalidInput as error:
        found = [Problem(TRIAL.sub("assumptions", p.path), p.message) for p in error.problems]
        raise InvalidInput(list(dict.fromkeys(found))) from error


class EffectiveRisk(msgspec.Struct, frozen=True, kw_only=True):
    """How the price moves where rates move and borrowers prepay otherwise.

    duration: (P- - P+) / (2 P shift). convexity: (P- + P+ - 2P) / (P shift^2). price, price_down, price_up: dirty, with
    rates as they are, lower and higher by the shift.
    """

    duration: float
    convexity: float
    price: float
    price_down: float
    price_up: float


def reprojected_risk(
    request: ProjectionRequest,
    times: Any,
    *,
    annual_yield: float | None = None,
    curve: DiscountCurve | None = None,
    spread: float = 0.0,
    compounding: Compounding = "bond_equivalent",
    shift: float = 0.0025,
    speed_down: float = 1.0,
    speed_up: float = 1.0,
    scenario: int = 0,
    threads: int | None = None,
) -> EffectiveRisk:
    """Effective duration and convexity of a request's cashflow, projected again where rates are lower and higher.

    times: function of the number of periods that gives years from settlement, such as payment_times. Discounted at
    `annual_yield` in `compounding`, or on `curve` with a continuous `spread`; both move by the shift, and so do the
    rate paths that floating loans follow. speed_down, speed_up: what the CPR of every prepayment curve is multiplied by
    where rates are lower and higher; curtailments stay. scenario: which one of the request.
    """
    if (annual_yield is None) == (curve is None):
        raise InvalidInput([Problem("annual_yield", "and curve are both given or both missing; expected exactly one")])
    check_shift(shift)
    check_multipliers(speed_down=speed_down, speed_up=speed_up)
    base = one_scenario(request, scenario)
    moves = (-shift, 0.0, shift)
    each = [shocked_assumptions(base, m, move) for m, move in zip((speed_down, 1.0, speed_up), moves, strict=True)]
    cashflows = trials(request, each, ["cashflow"], threads)
    years, found = times(cashflows.periods), []
    for flows, move in zip(cashflows["cashflow"], moves, strict=True):
        if curve is not None:
            found.append(float(price_at_spread(flows, years, curve, spread + move, compounding="continuous")))
        else:
            assert annual_yield is not None
            found.append(float(price(flows, years, annual_yield + move, compounding=compounding)))
    down, middle, up = found
    return EffectiveRisk(
        duration=float(effective_duration(down, middle, up, shift)),
        convexity=float(effective_convexity(down, middle, up, shift)),
        price=middle,
        price_down=down,
        price_up=up,
    )


def check_multipliers(**given: float) -> None:
    found = [
        Problem(name, f"is {value:g}; expected a multiple of the speed in [0, 100]")
        for name, value in given.items()
        if not 0 <= value <= HIGHEST_SPEED
    ]
    if found:
        raise InvalidInput(found)


# Breakeven


class YieldTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="yield"):
    """The yield at a price is the one that is named.

    value: the yield, a decimal. price, accrued: currency units, of the whole balance.
    """

    value: float
    price: float
    accrued: float = 0.0
    compounding: Compounding = "bond_equivalent"

    fields = ("cashflow",)

    def gaps(self, flows: Cashflows, years: Floats) -> Floats:
        """How far each scenario is above the target. Lower than the price is the same as lower than the yield."""
        worth = price(flows["cashflow"], years, self.value, self.accrued, self.compounding)
        return np.asarray(worth) - self.price


class PriceTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="price"):
    """The price at a yield is the one that is named.

    value: the clean price, currency units, of the whole balance. annual_yield: a decimal.
    """

    value: float
    annual_yield: float
    accrued: float = 0.0
    compounding: Compounding = "bond_equivalent"

    fields = ("cashflow",)

    def gaps(self, flows: Cashflows, years: Floats) -> Floats:
        worth = price(flows["cashflow"], years, self.annual_yield, self.accrued, self.compounding)
        return np.asarray(worth) - self.value


class InvestorLossTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="investor_loss"):
    """Losses just use up what stands before the investors, whose own loss is 0.

    support: share of the opening balance that bears losses first. coupon: annual rate that investors are paid; where it
    is given, each month's losses are first met from its excess spread.
    """

    support: float
    coupon: float | None = None

    fields = ("net_interest", "loss", "balance")

    def gaps(self, flows: Cashflows, years: Floats) -> Floats:
        columns = (flows["net_interest"], flows["loss"], flows["balance"])
        return -np.asarray(losses.investor_loss(*columns, flows.opening_balance, self.support, self.coupon))


class ExcessSpreadTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="excess_spread"):
    """Over the life nothing is left of the net interest after the coupon and the losses.

    coupon: annual rate that investors are paid on the balance. value: the excess spread aimed at, currency units.
    """

    coupon: float = 0.0
    value: float = 0.0

    fields = ("net_interest", "loss", "balance")

    def gaps(self, flows: Cashflows, years: Floats) -> Floats:
        columns = (flows["net_interest"], flows["loss"], flows["balance"])
        total = losses.excess_spread(*columns, flows.opening_balance, self.coupon).total
        return np.asarray(total) - self.value


BreakevenTarget = YieldTarget | PriceTarget | InvestorLossTarget | ExcessSpreadTarget


def breakeven_cdr(
    request: ProjectionRequest,
    target: BreakevenTarget,
    times: Any,
    *,
    lowest: float = 0.0,
    highest: float = 1.0,
    scenario: int = 0,
    threads: int | None = None,
) -> float:
    """The constant default rate a year, in place of the request's default curves, at which a target is just met.

    times: function of the number of periods that gives years from settlement. lowest, highest: rates to look between.
    Raises NoSolution where the target is met at every rate or at none, or at several (`roots` are near each).
    """
    if not 0 <= lowest < highest <= 1:
        raise InvalidInput([Problem("highest", f"is {highest:g}; expected 0 <= lowest < highest <= 1")])
    base = one_scenario(request, scenario)

    def gaps(rates: Floats) -> Floats:
        flows = trials(request, [with_default(base, float(rate)) for rate in rates], list(target.fields), threads)
        return target.gaps(flows, times(flows.periods))

    # Half of the first trials at low rates, where breakevens are and curves bend most.
    share = np.linspace(0.0, 1.0, TRIALS)
    rates = lowest + (highest - lowest) * share**2
    for _ in range(ROUNDS):
        low, high = bracket(rates, gaps(rates))
        if high - low <= CDR_TOLERANCE:
            break
        rates = np.linspace(low, high, TRIALS)
    return (low + high) / 2


def bracket(rates: Floats, values: Floats) -> tuple[float, float]:
    """The two trial rates between which the values change sign. Raises NoSolution unless they do so once."""
    met = values >= 0
    changes = np.flatnonzero(met[1:] != met[:-1])
    if not len(changes):
        word = "met at every rate" if met[0] else "met at no rate"
        ends = f"the gap is {values[0]:g} and {values[-1]:g} at the ends"
        raise NoSolution(f"no breakeven CDR between {rates[0]:g} and {rates[-1]:g}: the target is {word}; {ends}")
    if len(changes) > 1:
        places = tuple(float(rate) for rate in rates[changes])
        shown = ", ".join(f"{rate:.6g}" for rate in places)
        raise NoSolution(f"more than one breakeven CDR: just above {shown}", "several_roots", places)
    at = int(changes[0])
    return float(rates[at]), float(rates[at + 1])

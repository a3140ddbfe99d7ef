"""Measures of cash: present values, yields, average life, durations and spreads."""

import datetime
from typing import Any, ClassVar

import msgspec
import numpy as np

from engine.analytics import reprojection, returns, risk, spreads, yields
from engine.analytics.figures import Figure, PerVector, Series
from engine.analytics.measure import Inputs, Measure, MeasureValue, OfColumn
from engine.analytics.reprojection import BreakevenTarget, EffectiveRisk
from engine.analytics.roots import floats, plain
from engine.analytics.yields import Compounding
from engine.errors import InvalidInput, Problem


class Npv(OfColumn, frozen=True, kw_only=True, tag="npv"):
    """Net present value at a rate a period, the first flow being paid now.

    rate: a decimal a period.
    """

    rate: PerVector
    result: ClassVar = MeasureValue

    def compute(self, inputs: Inputs) -> MeasureValue:
        return MeasureValue(value=returns.npv(self.rate, inputs.column(self.column)))


class Irr(OfColumn, frozen=True, kw_only=True, tag="irr"):
    """Internal rate of return a period of an investment and what it pays.

    investment: what is paid before the first flow, currency units. near: which rate is meant where there are several.
    """

    investment: PerVector = 0.0
    near: float | None = None
    result: ClassVar = MeasureValue

    def compute(self, inputs: Inputs) -> MeasureValue:
        flows = inputs.column(self.column)
        paid = np.broadcast_to(-floats("investment", self.investment), flows.shape[:-1])[..., np.newaxis]
        return MeasureValue(value=returns.irr(np.concatenate([paid, flows], axis=-1), self.near))


class Xirr(OfColumn, frozen=True, kw_only=True, tag="xirr"):
    """Effective annual rate of return of dated flows, ACT/365 fixed.

    dates: one a flow. near: which rate is meant where there are several.
    """

    dates: list[datetime.date]
    near: float | None = None
    result: ClassVar = MeasureValue

    def compute(self, inputs: Inputs) -> MeasureValue:
        flows = inputs.column(self.column)
        if len(self.dates) != flows.shape[-1]:
            message = f"has {len(self.dates)} values; expected {flows.shape[-1]}, one a flow"
            raise InvalidInput([Problem("dates", message)])
        return MeasureValue(value=returns.xirr(flows, self.dates, self.near))


class PriceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A price, currency units.

    value: clean. dirty: with accrued interest. accrued: the interest.
    """

    value: Figure
    dirty: Figure
    accrued: Figure


class Price(OfColumn, frozen=True, kw_only=True, tag="price"):
    """Price at a yield, in the currency of the flows.

    annual_yield: a decimal. accrued: interest that the clean price leaves out. compounding: of the yield.
    """

    annual_yield: PerVector
    accrued: PerVector = 0.0
    compounding: Compounding = "bond_equivalent"
    result: ClassVar = PriceFigures

    def compute(self, inputs: Inputs) -> PriceFigures:
        flows = inputs.column(self.column)
        dirty = yields.price(flows, inputs.years(flows), self.annual_yield, 0.0, self.compounding)
        interest = floats("accrued", self.accrued)
        return PriceFigures(value=plain(dirty - interest), dirty=dirty, accrued=plain(interest))


class Yield(OfColumn, frozen=True, kw_only=True, tag="yield"):
    """Yield at a price.

    price: clean, in the currency of the flows. accrued: interest paid beside it. compounding: of the yield. near: which
    yield is meant where there are several.
    """

    price: PerVector
    accrued: PerVector = 0.0
    compounding: Compounding = "bond_equivalent"
    near: float | None = None
    result: ClassVar = MeasureValue

    def compute(self, inputs: Inputs) -> MeasureValue:
        flows = inputs.column(self.column)
        given = (self.price, self.accrued, self.compounding, self.near)
        return MeasureValue(value=yields.yield_to_maturity(flows, inputs.years(flows), *given))


class Wal(Measure, frozen=True, kw_only=True, tag="wal"):
    """Weighted average life of the principal in years, by the days it is paid on."""

    result: ClassVar = MeasureValue
    columns: ClassVar = ("principal",)

    def compute(self, inputs: Inputs) -> MeasureValue:
        flows = inputs.column("principal")
        return MeasureValue(value=risk.wal(flows, inputs.years(flows)))


class AtYield(OfColumn, frozen=True, kw_only=True):
    """A measure at a yield, or at the yield of a price."""

    annual_yield: PerVector | None = None
    price: PerVector | None = None
    accrued: PerVector = 0.0
    compounding: Compounding = "bond_equivalent"
    result: ClassVar = MeasureValue

    def rated(self, inputs: Inputs) -> tuple[Any, Any, Any, Compounding]:
        """The flows, their times, the yield and its compounding."""
        flows = inputs.column(self.column)
        years = inputs.years(flows)
        if (self.annual_yield is None) == (self.price is None):
            message = "and price are both given or both missing; expected exactly one"
            raise InvalidInput([Problem("annual_yield", message)])
        if self.annual_yield is not None:
            return flows, years, self.annual_yield, self.compounding
        assert self.price is not None
        found = yields.yield_to_maturity(flows, years, self.price, self.accrued, self.compounding)
        return flows, years, found, self.compounding


class MacaulayDuration(AtYield, frozen=True, kw_only=True, tag="macaulay_duration"):
    """Average time in years to the flows, weighted by their present values.

    annual_yield: a decimal, or price: clean, whose yield is taken, with accrued. compounding: of the yield.
    """

    def compute(self, inputs: Inputs) -> MeasureValue:
        return MeasureValue(value=risk.macaulay_duration(*self.rated(inputs)))


class ModifiedDuration(AtYield, frozen=True, kw_only=True, tag="modified_duration"):
    """Relative fall of the price for a rise of the yield.

    annual_yield: a decimal, or price: clean, whose yield is taken, with accrued. compounding: of the yield.
    """

    def compute(self, inputs: Inputs) -> MeasureValue:
        return MeasureValue(value=risk.modified_duration(*self.rated(inputs)))


class Convexity(AtYield, frozen=True, kw_only=True, tag="convexity"):
    """Relative curvature of the price in the yield.

    annual_yield: a decimal, or price: clean, whose yield is taken, with accrued. compounding: of the yield.
    """

    def compute(self, inputs: Inputs) -> MeasureValue:
        return MeasureValue(value=risk.convexity(*self.rated(inputs)))


class Dv01(AtYield, frozen=True, kw_only=True, tag="dv01"):
    """Fall of the price for a rise of the yield by a basis point, currency units.

    annual_yield: a decimal, or price: clean, whose yield is taken, with accrued. compounding: of the yield.
    """

    def compute(self, inputs: Inputs) -> MeasureValue:
        return MeasureValue(value=risk.dv01(*self.rated(inputs)))


class ZSpread(OfColumn, frozen=True, kw_only=True, tag="z_spread"):
    """Spread over the zero rates of the curve at a price.

    price: clean. accrued: interest paid beside it. compounding: of the zero rates and the spread, any but simple. near:
    which spread is meant where there are several.
    """

    price: PerVector
    accrued: PerVector = 0.0
    compounding: Compounding = "bond_equivalent"
    near: float | None = None
    result: ClassVar = MeasureValue

    def compute(self, inputs: Inputs) -> MeasureValue:
        flows = inputs.column(self.column)
        given = (self.price, self.accrued, self.compounding, self.near)
        return MeasureValue(value=spreads.z_spread(flows, inputs.years(flows), inputs.known_curve(), *given))


class DiscountMargin(OfColumn, frozen=True, kw_only=True, tag="discount_margin"):
    """Margin over its index at which a floater is worth a price, compounding at the payments.

    index: annual rates that the flows were projected on, one a period or one for all. price: clean. accrued: interest
    paid beside it. near: which margin is meant where there are several. first_period: what is left at settlement of the
    first period, as a share of it.
    """

    index: float | list[float]
    price: PerVector
    accrued: PerVector = 0.0
    first_period: float = 1.0
    near: float | None = None
    result: ClassVar = MeasureValue

    def compute(self, inputs: Inputs) -> MeasureValue:
        flows = inputs.column(self.column)
        a_year = inputs.settlement.payments_per_year
        lengths = np.full(flows.shape[-1], 1 / a_year)
        lengths[:1] *= self.first_period
        found = spreads.discount_margin(
            flows, self.index, self.price, self.accrued, payments_per_year=a_year, accruals=lengths, near=self.near
        )
        return MeasureValue(value=found)


class KeyRates(msgspec.Struct, frozen=True, kw_only=True):
    """Durations to key rates.

    tenors: years. durations: one a tenor. total: their sum, the effective duration.
    """

    tenors: list[float]
    durations: Series
    total: Figure


class KeyRateDurations(OfColumn, frozen=True, kw_only=True, tag="key_rate_durations"):
    """Durations to each key rate of the curve, the cash being as it is.

    tenors: rising years. spread: over the curve's continuous zero rates. shift: by which each key rate moves.
    """

    tenors: list[float] = msgspec.field(default_factory=lambda: list(risk.KEY_RATES))
    spread: PerVector = 0.0
    shift: float = risk.BASIS_POINT
    result: ClassVar = KeyRates

    def compute(self, inputs: Inputs) -> KeyRates:
        flows = inputs.column(self.column)
        given = (inputs.known_curve(), self.tenors, self.spread, self.shift)
        found = risk.key_rate_durations(flows, inputs.years(flows), *given)
        return KeyRates(tenors=self.tenors, durations=found, total=plain(found.sum(axis=-1)))


class EffectiveDuration(Measure, frozen=True, kw_only=True, tag="effective_duration"):
    """Effective duration and convexity: the tape is projected again where rates are lower and higher.

    annual_yield: discounts in `compounding`; without it the curve does, with a continuous spread. shift: of rates, a
    decimal. speed_down, speed_up: what the CPR is multiplied by where rates are lower and higher.
    """

    annual_yield: float | None = None
    spread: float = 0.0
    compounding: Compounding = "bond_equivalent"
    shift: float = 0.0025
    speed_down: float = 1.0
    speed_up: float = 1.0
    result: ClassVar = EffectiveRisk
    reprojections: ClassVar[int] = 3

    def compute(self, inputs: Inputs) -> EffectiveRisk:
        return reprojection.reprojected_risk(
            inputs.known_request(),
            inputs.reckon,
            annual_yield=self.annual_yield,
            curve=inputs.known_curve() if self.annual_yield is None else None,
            spread=self.spread,
            compounding=self.compounding,
            shift=self.shift,
            speed_down=self.speed_down,
            speed_up=self.speed_up,
            scenario=inputs.scenario,
            threads=inputs.threads,
        )


class BreakevenCdr(Measure, frozen=True, kw_only=True, tag="breakeven_cdr"):
    """Constant default rate a year, in place of default curves and roll rates, at which a target is just met.

    target: a yield at a price, a price at a yield, losses that just use up their support, or no excess spread. lowest,
    highest: rates to look between.
    """

    target: BreakevenTarget
    lowest: float = 0.0
    highest: float = 1.0
    result: ClassVar = MeasureValue
    reprojections: ClassVar[int] = reprojection.TRIALS * reprojection.ROUNDS

    def compute(self, inputs: Inputs) -> MeasureValue:
        found = reprojection.breakeven_cdr(
            inputs.known_request(), self.target, inputs.reckon, lowest=self.lowest, highest=self.highest,
            scenario=inputs.scenario, threads=inputs.threads,
        )  # fmt: skip
        return MeasureValue(value=found)

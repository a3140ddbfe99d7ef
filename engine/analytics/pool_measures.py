"""Measures of pools: losses, excess spread, speeds, accrued interest and expected credit loss."""

import datetime
from typing import ClassVar, Literal

import msgspec
import numpy as np

from engine import credit_loss
from engine.analytics import losses, speeds, timing, yields
from engine.analytics.figures import Figure, Grid, PerVector, Series
from engine.analytics.measure import Inputs, Measure, MeasureValue
from engine.analytics.roots import Floats, floats, plain
from engine.analytics.settlement import DayCount
from engine.analytics.speeds import ImpliedSpeed
from engine.analytics.yields import Compounding
from engine.errors import InvalidInput, Problem


class CumulativeLossMeasure(Measure, frozen=True, kw_only=True, tag="cumulative_loss"):
    """Losses added up by period, gross and net of recoveries, in currency and as shares of the opening balance."""

    result: ClassVar = losses.CumulativeLoss
    columns: ClassVar = ("default", "loss")

    def compute(self, inputs: Inputs) -> losses.CumulativeLoss:
        return losses.cumulative_loss(inputs.column("default"), inputs.column("loss"), inputs.known_opening())


class ExcessSpreadMeasure(Measure, frozen=True, kw_only=True, tag="excess_spread"):
    """Net interest less the coupon and the losses, by month and over the life.

    coupon: annual rate on the opening balance of each month.
    """

    coupon: PerVector = 0.0
    result: ClassVar = losses.ExcessSpread
    columns: ClassVar = ("net_interest", "loss", "balance")

    def compute(self, inputs: Inputs) -> losses.ExcessSpread:
        income, lost, held = (inputs.column(name) for name in self.needs)
        return losses.excess_spread(income, lost, held, inputs.known_opening(), self.coupon)


class ImpliedSpeedMeasure(Measure, frozen=True, kw_only=True, tag="implied_speed"):
    """The SMM, CPR, PSA and ABS that take a level-pay pool from one factor to another.

    first_factor, second_factor: pool factors. annual_rate: gross, a decimal. original_term, remaining_term: months, the
    second at the first factor. months: between the factors. age: 1-based loan age of the first month's payment.
    """

    first_factor: float
    second_factor: float
    annual_rate: float
    original_term: int
    remaining_term: int
    months: int = 1
    age: int | None = None
    result: ClassVar = ImpliedSpeed

    def compute(self, inputs: Inputs) -> ImpliedSpeed:
        return speeds.implied_speed(**msgspec.structs.asdict(self))


class AccruedInterest(Measure, frozen=True, kw_only=True, tag="accrued_interest"):
    """Interest of the current period that belongs to the seller.

    balance: currency units. annual_rate: a decimal. accrual_start, settlement: dates. day_count: by its market name.
    """

    balance: PerVector
    annual_rate: PerVector
    accrual_start: datetime.date
    settlement: datetime.date
    day_count: DayCount = "30/360 Bond Basis"
    result: ClassVar = MeasureValue

    def compute(self, inputs: Inputs) -> MeasureValue:
        given = (self.balance, self.annual_rate, self.accrual_start, self.settlement, self.day_count)
        return MeasureValue(value=timing.accrued_interest(*given))


class ConvertedYield(Measure, frozen=True, kw_only=True, tag="convert_yield"):
    """The yield of one compounding that discounts as one of another does.

    annual_yield: a decimal. compounding: its own. to: the other. years: time of the flow, which a simple yield needs.
    """

    annual_yield: PerVector
    compounding: Compounding
    to: Compounding
    years: float | None = None
    result: ClassVar = MeasureValue

    def compute(self, inputs: Inputs) -> MeasureValue:
        return MeasureValue(value=yields.convert_yield(self.annual_yield, self.compounding, self.to, self.years))


# Expected credit loss


class ExpectedLoss(msgspec.Struct, frozen=True, kw_only=True):
    """An expected credit loss, currency units.

    value: the allowance, weighted over scenarios where weights are given. by_scenario: one a scenario, then.
    """

    value: Figure
    by_scenario: Series | None = None


def weighted(amounts: Floats, weights: list[float] | None) -> ExpectedLoss:
    """The losses themselves, or weighted over their first axis."""
    if weights is None:
        return ExpectedLoss(value=plain(amounts))
    return ExpectedLoss(value=plain(credit_loss.scenario_weighted(amounts, weights)), by_scenario=amounts)


PdKind = Literal["marginal", "hazard", "cumulative"]


def marginal(pd: Grid, kind: PdKind) -> Floats:
    """Marginal probabilities of default, from what they are given as."""
    if kind == "hazard":
        return credit_loss.marginal_pd(pd)
    return credit_loss.marginal_from_cumulative(pd) if kind == "cumulative" else np.asarray(pd, dtype=np.float64)


class Ifrs9Ecl(Measure, frozen=True, kw_only=True, tag="ifrs9_ecl"):
    """IFRS 9 loss allowance: stage 1 the twelve-month loss, stage 2 the lifetime loss, stage 3 LGD x EAD.

    stage: 1, 2 or 3, one or one a loan. pd: term structure, the periods last, scenarios first where weights are given.
    pd_kind: marginal, hazard (given survival) or cumulative. lgd, ead: alike, or one number. effective_rate: annual, at
    origination. weights: probability of each scenario, adding up to one.
    """

    stage: int | list[int]
    pd: Grid
    lgd: Grid
    ead: Grid
    effective_rate: PerVector
    pd_kind: PdKind = "marginal"
    periods_per_year: int = 12
    weights: list[float] | None = None
    result: ClassVar = ExpectedLoss

    def compute(self, inputs: Inputs) -> ExpectedLoss:
        pd = marginal(self.pd, self.pd_kind)
        given = (pd, self.lgd, self.ead, self.effective_rate, self.periods_per_year)
        return weighted(credit_loss.staged_ecl(self.stage, *given), self.weights)


class CeclLoss(Measure, frozen=True, kw_only=True, tag="cecl_loss"):
    """CECL lifetime loss by term structures, not discounted: the sum of marginal PD x LGD x EAD.

    pd, pd_kind, lgd, ead, weights: as in ifrs9_ecl, over the contractual term less expected prepayments.
    """

    pd: Grid
    lgd: Grid
    ead: Grid
    pd_kind: PdKind = "marginal"
    weights: list[float] | None = None
    result: ClassVar = ExpectedLoss

    def compute(self, inputs: Inputs) -> ExpectedLoss:
        pd = marginal(self.pd, self.pd_kind)
        return weighted(credit_loss.cecl_lifetime_loss(pd, self.lgd, self.ead), self.weights)


class WarmAllowance(Measure, frozen=True, kw_only=True, tag="warm_allowance"):
    """CECL allowance by remaining maturity (WARM): first balance x (annual loss rate x WARM + adjustment).

    balances: now and at the end of each period until paid. annual_loss_rate: a decimal. adjustment: share of the first
    balance added for forecasts. periods_per_year: of the balances.
    """

    balances: Grid
    annual_loss_rate: PerVector
    adjustment: PerVector = 0.0
    periods_per_year: int = 1
    result: ClassVar = MeasureValue

    def compute(self, inputs: Inputs) -> MeasureValue:
        given = (self.balances, self.annual_loss_rate, self.adjustment, self.periods_per_year)
        return MeasureValue(value=plain(credit_loss.warm_allowance(*given)))


class AgedLoss(msgspec.Struct, frozen=True, kw_only=True):
    """An expected credit loss of receivables, currency units.

    value: the allowance. by_bucket: its part of each age.
    """

    value: Figure
    by_bucket: Series


class ProvisionMatrix(Measure, frozen=True, kw_only=True, tag="provision_matrix"):
    """Allowance of receivables by age: balance x loss rate x forward-looking factor.

    ageing: balance of each bucket. loss_rates: of each bucket. forward_looking: factors, one or one a bucket.
    """

    ageing: Grid
    loss_rates: Grid
    forward_looking: Grid = 1.0
    result: ClassVar = AgedLoss

    def compute(self, inputs: Inputs) -> AgedLoss:
        for name in ("ageing", "loss_rates", "forward_looking"):
            shape = np.shape(floats(name, getattr(self, name)))
            if len(shape) > 2 or 0 in shape:
                raise InvalidInput([Problem(name, f"has shape {shape}; expected a number, a list or a list of lists")])
        found = credit_loss.provision_matrix(self.ageing, self.loss_rates, self.forward_looking)
        return AgedLoss(value=plain(found.sum(axis=-1)), by_bucket=found)


class ProjectedEcl(Measure, frozen=True, kw_only=True, tag="projected_ecl"):
    """Expected credit loss of projected defaults: their sum x LGD x discount factor, the first year's for stage 1.

    method: ifrs9 discounts, cecl does not. stage: 1 takes defaults of the first twelve months, 2 all, 3 the LGD of the
    opening balance. lgd: share of the defaulted balance lost. effective_rate: annual, at origination.
    """

    lgd: PerVector
    effective_rate: PerVector = 0.0
    stage: Literal[1, 2, 3] = 2
    method: Literal["ifrs9", "cecl"] = "ifrs9"
    result: ClassVar = MeasureValue
    columns: ClassVar = ("default",)

    def compute(self, inputs: Inputs) -> MeasureValue:
        defaults, opening = inputs.column("default"), np.asarray(inputs.known_opening(), dtype=np.float64)
        if np.any(opening <= 0):
            raise InvalidInput([Problem("cashflows.opening_balance", "is not above 0; expected a balance")])
        a_year = inputs.settlement.payments_per_year
        # Of what is owed at most, so that shares stay below one where draws or negative amortisation default too.
        exposure = np.maximum(opening, defaults.sum(axis=-1))[..., np.newaxis]
        pd, lgd = defaults / exposure, np.asarray(self.lgd, dtype=np.float64)[..., np.newaxis]
        ead = opening[..., np.newaxis] if self.stage == 3 and self.method == "ifrs9" else exposure
        if self.method == "cecl":
            return MeasureValue(value=plain(credit_loss.cecl_lifetime_loss(pd, lgd, ead)))
        given = (pd, lgd, ead, self.effective_rate, a_year)
        return MeasureValue(value=plain(credit_loss.staged_ecl(self.stage, *given)))

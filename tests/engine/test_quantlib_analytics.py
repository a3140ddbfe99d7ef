"""Prices, yields, durations, convexity, spreads and curves against QuantLib, over generated cashflows.

Conventions that differ, and how they are brought together here:
- Times. QuantLib takes years from a day counter; payments are put on dates and ACT/365F is used on both sides.
- A QuantLib zero curve interpolates continuous zero rates, as linear_zero does; beyond its last time QuantLib goes on
  with the last forward rate and this engine with the last zero rate, so nothing is compared beyond it.
- QuantLib's basisPointValue is the change of the price for a rise, so negative, and keeps a second-order term; dv01
  here is the slope alone, positive for a price that falls.
- Simple yields. QuantLib compounds them at every payment; here each flow is divided by 1 + Y T. The two agree for a
  single flow, on which durations are compared; prices of several flows are added up from QuantLib's factors.
- QuantLib's yields are solved to an accuracy that is asked for; ours are compared by the price they give back too.
"""

import datetime
import random

import numpy as np
import pytest
import QuantLib as ql  # noqa: N813

from engine import analytics
from engine.analytics import DiscountCurve

TODAY = datetime.date(2024, 1, 31)
COUNTER = ql.Actual365Fixed()
THEIRS = {
    "bond_equivalent": (ql.Compounded, ql.Semiannual),
    "mortgage": (ql.Compounded, ql.Monthly),
    "quarterly": (ql.Compounded, ql.Quarterly),
    "annual": (ql.Compounded, ql.Annual),
    "continuous": (ql.Continuous, ql.Annual),
    "simple": (ql.Simple, ql.Annual),
}
CASES = range(60)


class Case:
    """Cashflows on dates, a level-pay, bullet, interest-only or random pool, on both sides."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        months = draw.randrange(2, 361)
        step = draw.choice([1, 1, 3, 6])
        days = [30 * k * step + draw.randrange(28) for k in range(1, max(months // step, 1) + 1)]
        kind, coupon = draw.choice(["level", "bullet", "strip", "random"]), draw.uniform(0.0, 0.15)
        count = len(days)
        if kind == "level":
            flows = [analytics.level_payment(100.0, coupon, count)] * count
        elif kind == "bullet":
            flows = [100 * coupon * step / 12] * (count - 1) + [100.0 + 100 * coupon * step / 12]
        elif kind == "strip":
            flows = [coupon * step / 12 * 100 * (1 - k / count) + 0.01 for k in range(count)]
        else:
            flows = [draw.uniform(0.0, 10.0) for _ in range(count)]
        self.draw = draw
        self.flows, self.times = np.array(flows), np.array(days) / 365
        self.dates = [TODAY + datetime.timedelta(days=day) for day in days]
        self.leg = [
            ql.SimpleCashFlow(flow, ql.Date(date.day, date.month, date.year))
            for flow, date in zip(flows, self.dates, strict=True)
        ]
        self.annual_yield = draw.uniform(-0.02, 0.25)
        self.last = float(self.times[-1])

    def rate(self, compounding: str) -> ql.InterestRate:
        return ql.InterestRate(self.annual_yield, COUNTER, *THEIRS[compounding])


@pytest.fixture(scope="module", autouse=True)
def _today() -> None:
    ql.Settings.instance().evaluationDate = ql.Date(TODAY.day, TODAY.month, TODAY.year)


def settings() -> tuple[bool, ql.Date, ql.Date]:
    today = ql.Date(TODAY.day, TODAY.month, TODAY.year)
    return False, today, today


@pytest.fixture(scope="module")
def cases(_today: None) -> list[Case]:
    return [Case(seed) for seed in CASES]


COMPOUNDED = [name for name in THEIRS if name != "simple"]


@pytest.mark.parametrize("compounding", COMPOUNDED)
def test_prices_and_yields_agree(cases: list[Case], compounding: str) -> None:
    for case in cases:
        worth = ql.CashFlows.npv(case.leg, case.rate(compounding), *settings())
        given = (case.flows, case.times)
        assert analytics.price(*given, case.annual_yield, 0.0, compounding) == pytest.approx(worth, rel=1e-12)
        solved = analytics.yield_to_maturity(*given, worth, 0.0, compounding)
        assert solved == pytest.approx(case.annual_yield, abs=1e-9)
        guess = case.annual_yield + 0.003
        found = ql.CashFlows.yieldRate(case.leg, worth, COUNTER, *THEIRS[compounding], *settings(), 1e-13, 1000, guess)
        assert solved == pytest.approx(found, abs=1e-9)


def test_simple_prices_and_yields_agree(cases: list[Case]) -> None:
    for case in cases:
        case.annual_yield = abs(case.annual_yield)
        rate = case.rate("simple")
        worth = sum(flow * rate.discountFactor(time) for flow, time in zip(case.flows, case.times, strict=True))
        given = (case.flows, case.times)
        assert analytics.price(*given, case.annual_yield, 0.0, "simple") == pytest.approx(worth, rel=1e-12)
        solved = analytics.yield_to_maturity(*given, worth, 0.0, "simple")
        assert solved == pytest.approx(case.annual_yield, abs=1e-9)


@pytest.mark.parametrize("compounding", THEIRS)
def test_durations_and_convexity_agree(cases: list[Case], compounding: str) -> None:
    today = settings()[1]
    for case in cases:
        case.annual_yield = abs(case.annual_yield)
        leg, flows, times = case.leg, case.flows, case.times
        if compounding == "simple":
            leg, flows, times = leg[-1:], flows[-1:], times[-1:]
        rate, given = case.rate(compounding), (flows, times, case.annual_yield)
        kinds = [(analytics.modified_duration, ql.Duration.Modified)]
        if compounding not in ("simple", "continuous"):  # QuantLib defines the other for compounded yields alone
            kinds.append((analytics.macaulay_duration, ql.Duration.Macaulay))
        for function, kind in kinds:
            expected = ql.CashFlows.duration(leg, rate, kind, False, today)
            assert function(*given, compounding) == pytest.approx(expected, abs=1e-9), kind
        expected = ql.CashFlows.convexity(leg, rate, False, today)
        assert analytics.convexity(*given, compounding) == pytest.approx(expected, abs=1e-9, rel=1e-12)


def test_value_of_a_basis_point_agrees_to_its_second_order(cases: list[Case]) -> None:
    for case in cases:
        rate, given = case.rate("bond_equivalent"), (case.flows, case.times, case.annual_yield)
        theirs = ql.CashFlows.basisPointValue(case.leg, rate, *settings())
        curvature = analytics.price(*given) * analytics.convexity(*given) * 1e-8 / 2
        assert -analytics.dv01(*given) + curvature == pytest.approx(theirs, abs=1e-9)


KNOTS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 31.0)


def curves(draw: random.Random, interpolation: str) -> tuple[DiscountCurve, ql.YieldTermStructure]:
    """The same curve on both sides, its knots on days."""
    days = [round(365 * knot) for knot in KNOTS]
    today = ql.Date(TODAY.day, TODAY.month, TODAY.year)
    dates = [today, *(today + day for day in days)]
    times = [day / 365 for day in days]
    rates = [draw.uniform(0.005, 0.08) for _ in days]
    if interpolation == "linear_zero":
        theirs = ql.ZeroCurve(dates, [rates[0], *rates], COUNTER, ql.NullCalendar(), ql.Linear(), ql.Continuous)
        return DiscountCurve(times=times, values=rates), theirs
    factors = [float(np.exp(-0.05 * time * draw.uniform(0.9, 1.1))) for time in times]
    theirs = ql.DiscountCurve(dates, [1.0, *factors], COUNTER)
    ours = DiscountCurve(times=times, values=factors, quote="discount", interpolation="log_linear")
    return ours, theirs


@pytest.mark.parametrize("interpolation", ["linear_zero", "log_linear"])
def test_curves_agree(interpolation: str) -> None:
    for seed in CASES:
        ours, theirs = curves(random.Random(seed), interpolation)
        times = np.linspace(0.01, 30.9, 97)
        assert ours.discount(times) == pytest.approx([theirs.discount(time) for time in times.tolist()], rel=1e-12)


@pytest.mark.parametrize("compounding", ["bond_equivalent", "mortgage", "quarterly", "annual", "continuous"])
def test_z_spreads_agree(cases: list[Case], compounding: str) -> None:
    for case in cases:
        ours, theirs = curves(random.Random(case.last), "linear_zero")
        spread = random.Random(case.last).uniform(-0.01, 0.15)
        quote = ql.QuoteHandle(ql.SimpleQuote(spread))
        spreaded = ql.ZeroSpreadedTermStructure(
            ql.YieldTermStructureHandle(theirs), quote, *THEIRS[compounding], COUNTER
        )
        worth = sum(
            flow * spreaded.discount(time, True) for flow, time in zip(case.flows, case.times.tolist(), strict=True)
        )
        given = (case.flows, case.times, ours)
        assert analytics.price_at_spread(*given, spread, compounding=compounding) == pytest.approx(worth, rel=1e-12)
        solved = analytics.z_spread(*given, worth, compounding=compounding)
        assert solved == pytest.approx(spread, abs=1e-9)
        found = ql.CashFlows.zSpread(
            case.leg, worth, theirs, COUNTER, *THEIRS[compounding], *settings(), 1e-13, 1000, spread + 0.001
        )
        assert solved == pytest.approx(found, abs=1e-9)


def test_parallel_and_key_rate_durations_agree_with_shifted_curves(cases: list[Case]) -> None:
    # QuantLib reprices on its own curve, moved up and down. The moves are small, since those of the key rates add up to
    # the parallel one but for terms of the third order.
    shift = 1e-6
    for case in cases[::6]:
        ours, theirs = curves(random.Random(case.last), "linear_zero")
        prices = []
        for move in (-shift, 0.0, shift):
            quote = ql.QuoteHandle(ql.SimpleQuote(move))
            moved = ql.ZeroSpreadedTermStructure(ql.YieldTermStructureHandle(theirs), quote)
            discounted = [moved.discount(time, True) for time in case.times.tolist()]
            prices.append(float(case.flows @ np.array(discounted)))
        expected = (prices[0] - prices[2]) / (2 * prices[1] * shift)
        total = analytics.key_rate_durations(case.flows, case.times, ours, shift=shift).sum()
        assert total == pytest.approx(expected, abs=1e-7)
        by_price = analytics.effective_risk(
            lambda move, case=case, ours=ours: analytics.price_at_spread(
                case.flows, case.times, ours, move, 0.0, "continuous"
            ),
            shift,
        )
        assert by_price[0] == pytest.approx(expected, abs=1e-7)


def test_discount_margin_is_that_of_a_floater_on_its_index() -> None:
    # QuantLib has no discount margin; its own definition is rebuilt from QuantLib's rates: each period compounds at a
    # simple rate of index + margin over its length.
    for seed in CASES:
        draw = random.Random(seed)
        periods = draw.randrange(1, 61)
        index = np.array([draw.uniform(0.0, 0.08) for _ in range(periods)])
        lengths = np.array([draw.uniform(0.05, 0.25), *[0.25] * (periods - 1)])
        flows, margin = 100 * (index + 0.02) * lengths, draw.uniform(-0.005, 0.1)
        flows[-1] += 100
        factor, worth = 1.0, 0.0
        for flow, rate, length in zip(flows, index, lengths, strict=True):
            period = ql.InterestRate(rate + margin, COUNTER, ql.Simple, ql.Annual)
            factor *= period.discountFactor(float(length))
            worth += flow * factor
        assert analytics.price_at_margin(flows, index, margin, accruals=lengths) == pytest.approx(worth, rel=1e-13)
        solved = analytics.discount_margin(flows, index, worth, accruals=lengths)
        assert solved == pytest.approx(margin, abs=1e-9)


def test_compounded_rates_convert_alike() -> None:
    for seed in CASES:
        draw = random.Random(seed)
        rate, years = draw.uniform(-0.05, 0.5), draw.uniform(0.1, 2.0)
        for one in THEIRS:
            for other in THEIRS:
                theirs = ql.InterestRate(rate, COUNTER, *THEIRS[one]).equivalentRate(*THEIRS[other], years).rate()
                assert analytics.convert_yield(rate, one, other, years) == pytest.approx(theirs, abs=1e-12)

"""Accrual, settlement, curves, spreads, speeds, losses and breakevens by hand, and many vectors like one."""

import datetime

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine import analytics
from engine.analytics import DiscountCurve, reprojection

TIMES = np.array([0.5, 1.0, 1.5, 2.0])
BOND = np.array([3.0, 3.0, 3.0, 103.0])
FLAT = DiscountCurve(times=[1.0, 30.0], values=[0.05, 0.05])
NAMES = st.sampled_from(analytics.COMPOUNDINGS)
MANY = np.array([[3.0, 3.0, 3.0, 103.0], [30.0, 30.0, 30.0, 30.0], [0.0, 0.0, 0.0, 120.0]])


def pool(**assumptions: object) -> engine.ProjectionRequest:
    tape = engine.Tape.from_columns(balance=[100.0], annual_rate=0.08, remaining_term=60, servicing_fee=0.005)
    return engine.ProjectionRequest(
        tape=tape,
        assumptions=engine.Assumptions(**assumptions),  # type: ignore[arg-type]
        conventions=engine.Conventions(final_defaults="continue"),
    )


# Yields


@pytest.mark.parametrize(
    ("compounding", "factor"),
    [
        ("bond_equivalent", 1.03**-4),
        ("mortgage", 1.005**-24),
        ("quarterly", 1.015**-8),
        ("annual", 1.06**-2),
        ("continuous", np.exp(-0.12)),
        ("simple", 1 / 1.12),
    ],
)
def test_each_compounding_discounts_two_years_at_six_per_cent(compounding: str, factor: float) -> None:
    assert analytics.price([100.0], [2.0], 0.06, 0.0, compounding) == pytest.approx(100 * factor, rel=1e-14)
    assert analytics.yield_to_maturity([100.0], [2.0], 100 * factor, 0.0, compounding) == pytest.approx(0.06, abs=1e-12)


@given(compounding=NAMES, rate=st.floats(0.0, 0.5), accrued=st.floats(0.0, 5.0))
def test_yields_of_many_vectors_are_those_of_each(compounding: str, rate: float, accrued: float) -> None:
    clean = analytics.price(MANY, TIMES, rate, accrued, compounding)
    found = analytics.yield_to_maturity(MANY, TIMES, clean, accrued, compounding)
    assert found == pytest.approx(np.full(3, rate), abs=1e-10)
    each = [
        analytics.yield_to_maturity(row, TIMES, one, accrued, compounding) for row, one in zip(MANY, clean, strict=True)
    ]
    assert found == pytest.approx(each, abs=1e-13)


@given(compounding=NAMES, rate=st.floats(0.0, 0.5))
def test_durations_are_slopes_in_every_compounding(compounding: str, rate: float) -> None:
    step = 1e-4
    low, mid, high = (analytics.price(BOND, TIMES, rate + move, 0.0, compounding) for move in (-step, 0, step))
    given_ = (BOND, TIMES, rate, compounding)
    assert analytics.modified_duration(*given_) == pytest.approx((low - high) / (2 * step * mid), rel=1e-6)
    assert analytics.convexity(*given_) == pytest.approx((low - 2 * mid + high) / (step**2 * mid), rel=1e-4)
    assert analytics.dv01(*given_) == pytest.approx((low - high) / 2, rel=1e-6)


def test_value_of_a_basis_point_by_hand() -> None:
    # One flow of 100 in a year at 10% a year: 100/1.1 = 90.909..., duration 1/1.1, so 0.0001 x 100/1.21.
    assert analytics.dv01([100.0], [1.0], 0.1, "annual") == pytest.approx(0.01 / 1.21, rel=1e-13)


def test_a_yield_that_leaves_no_value_is_an_error() -> None:
    for rate, compounding in ((-2.0, "bond_equivalent"), (-0.5, "simple"), (-1.0, "annual")):
        with pytest.raises(analytics.NoSolution, match="has no value"):
            analytics.price(BOND, TIMES, rate, 0.0, compounding)


def test_every_vector_without_a_yield_is_named() -> None:
    with pytest.raises(analytics.NoSolution, match="vector 1"):
        analytics.yield_to_maturity([[1.0, 1.0], [0.0, 0.0]], [1.0, 2.0], 1.5)


def test_yields_convert_through_the_growth_of_a_year() -> None:
    # 12% monthly is 1.01^12 - 1 a year; over half a year 6% simple is 1.03 = (1 + 0.06/2), so bond-equivalent 6%.
    assert analytics.convert_yield(0.12, "mortgage", "annual") == pytest.approx(1.01**12 - 1, rel=1e-14)
    assert analytics.convert_yield(0.06, "simple", "bond_equivalent", 0.5) == pytest.approx(0.06, rel=1e-14)


# Timing


def test_stated_delay_is_the_actual_one_and_a_month_and_a_day() -> None:
    # SF-45: GNMA I pays 14 days late, 45 days stated.
    stated = analytics.payment_times(3, stated_delay_days=45)
    assert stated.tolist() == analytics.payment_times(3, delay_days=14).tolist()
    assert analytics.payment_times(2, payments_per_year=4).tolist() == [0.25, 0.5]
    # A quarter from the start of accrual to its end, 24 days more, both ends counted: 115 days stated.
    assert analytics.payment_times(1, stated_delay_days=115, payments_per_year=4).tolist() == [114 / 360]


def test_a_projection_is_paid_by_the_month() -> None:
    loan = {"type": "loan", "balance": 100.0, "annual_rate": 0.09, "remaining_term": 12}
    body = {
        "projection": {"tape": {"loans": [loan]}},
        "settlement": {"payments_per_year": 4},
        "measures": [{"type": "wal"}],
    }
    with pytest.raises(engine.InvalidInput, match=r"settlement.payments_per_year is 4; .* expected 12"):
        analytics.analyze(msgspec.convert(body, analytics.AnalyticsRequest))


def test_dated_times_count_from_settlement() -> None:
    dates = np.array(["2024-02-15", "2024-03-15", "2025-02-15"], dtype="datetime64[D]")
    found = analytics.dated_times(datetime.date(2024, 2, 15), dates)
    assert found.tolist() == [0.0, 30 / 360, 1.0]
    assert analytics.dated_times(datetime.date(2024, 2, 15), dates, "ACT/365F").tolist() == [0.0, 29 / 365, 366 / 365]


def test_accrued_interest_by_day_count() -> None:
    # 100 at 6%: 45 days of 30/360 are 0.75, 46 actual days over 365 are 0.7561...
    start, settlement = datetime.date(2024, 3, 15), datetime.date(2024, 4, 30)
    assert analytics.accrued_interest(100.0, 0.06, start, settlement) == pytest.approx(0.75, rel=1e-14)
    actual = analytics.accrued_interest(100.0, 0.06, start, settlement, "ACT/365F")
    assert actual == pytest.approx(100 * 0.06 * 46 / 365, rel=1e-14)
    # ICMA: 46 of 184 days of a half-year's coupon of 3.
    coupon = analytics.accrued_interest(
        100.0, 0.06, start, settlement, "ACT/ACT ICMA", period_start=start, period_end=datetime.date(2024, 9, 15)
    )
    assert coupon == pytest.approx(3 * 46 / 184, rel=1e-14)
    with pytest.raises(engine.InvalidInput, match="before the accrual starts"):
        analytics.accrued_interest(100.0, 0.06, settlement, start)


def test_flows_before_settlement_are_the_sellers() -> None:
    # Settled 45 days in, the first month is paid already.
    times = analytics.payment_times(3, settlement_days=45)
    assert times[0] < 0
    assert analytics.price([50.0, 30.0, 20.0], times, 0.0) == pytest.approx(50.0)
    assert analytics.wal([50.0, 30.0, 20.0], times) == pytest.approx((30 * times[1] + 20 * times[2]) / 50, rel=1e-14)
    assert analytics.yield_to_maturity([50.0, 30.0, 20.0], times, 50.0) == pytest.approx(0.0, abs=1e-12)


# Curves and spreads


def test_par_curve_prices_its_bonds_at_par() -> None:
    curve = DiscountCurve(times=[1.0, 2.0, 5.0, 10.0], values=[0.03, 0.035, 0.04, 0.045], quote="par")
    for years, par in ((1.0, 0.03), (2.0, 0.035), (5.0, 0.04), (10.0, 0.045)):
        dates = np.arange(1, int(2 * years) + 1) / 2
        assert par / 2 * curve.discount(dates).sum() + curve.discount(years) == pytest.approx(1.0, abs=1e-13)


def test_interpolations_by_hand() -> None:
    # Half way between 2% at one year and 4% at three years.
    times, rates = [1.0, 3.0], [0.02, 0.04]
    factors = [float(np.exp(-0.02)), float(np.exp(-0.12))]
    zero = DiscountCurve(times=times, values=rates)
    assert zero.zero_rates([2.0, 0.5, 9.0]) == pytest.approx([0.03, 0.02, 0.04], rel=1e-14)
    log = DiscountCurve(times=times, values=factors, quote="discount", interpolation="log_linear")
    assert log.discount(2.0) == pytest.approx(np.exp(-0.07), rel=1e-14)
    linear = DiscountCurve(times=times, values=factors, quote="discount", interpolation="linear_discount")
    assert linear.discount([2.0, 0.5]) == pytest.approx([sum(factors) / 2, (1 + factors[0]) / 2], rel=1e-14)


def test_zero_rates_are_read_in_their_compounding() -> None:
    curve = DiscountCurve(times=[2.0], values=[0.06], compounding="bond_equivalent")
    assert curve.discount(2.0) == pytest.approx(1.03**-4, rel=1e-14)
    # A forward from year 1 to 2 on a flat curve of 6% a year is 6%.
    annual = DiscountCurve(times=[1.0, 2.0], values=[0.06, 0.06], compounding="annual")
    assert annual.forward_rates([1.0, 2.0]) == pytest.approx([0.06], rel=1e-13)


def test_every_fault_of_a_curve_is_told() -> None:
    curve = DiscountCurve(times=[2.0, 1.0], values=[-2.0], payments_per_year=5)
    with pytest.raises(engine.InvalidInput) as caught:
        curve.discount(1.0)
    assert [problem.path for problem in caught.value.problems] == [
        "curve.times", "curve.values", "curve.values[0]", "curve.payments_per_year",
    ]  # fmt: skip


def test_z_spread_over_a_flat_curve_is_what_the_yield_has_more() -> None:
    # Continuous yield of the bond less the flat 5%.
    worth = analytics.price(BOND, TIMES, 0.065, compounding="continuous")
    assert analytics.z_spread(BOND, TIMES, FLAT, worth, compounding="continuous") == pytest.approx(0.015, abs=1e-13)
    assert analytics.z_spread(BOND, TIMES, FLAT, worth - 1.0, 1.0, "continuous") == pytest.approx(0.015, abs=1e-13)
    many = analytics.z_spread(MANY, TIMES, FLAT, analytics.price_at_spread(MANY, TIMES, FLAT, 0.02))
    assert many == pytest.approx(np.full(3, 0.02), abs=1e-12)
    with pytest.raises(analytics.NoSolution):
        analytics.z_spread(BOND, TIMES, FLAT, -1.0)


@given(spread=st.floats(-0.02, 0.5), compounding=st.sampled_from(["bond_equivalent", "mortgage", "annual"]))
@settings(max_examples=40)
def test_z_spread_gives_back_its_price(spread: float, compounding: str) -> None:
    worth = analytics.price_at_spread(MANY, TIMES, FLAT, spread, compounding=compounding)
    found = analytics.z_spread(MANY, TIMES, FLAT, worth, compounding=compounding)
    assert found == pytest.approx(np.full(3, spread), abs=1e-12)


def test_a_floater_at_par_has_its_margin_as_discount_margin() -> None:
    # Each month pays index + 2% on 100, and 100 at the end: worth 100 at a margin of 2%.
    index = np.linspace(0.03, 0.06, 24)
    flows = 100 * (index + 0.02) / 12
    flows[-1] += 100
    assert analytics.price_at_margin(flows, index, 0.02) == pytest.approx(100.0, rel=1e-13)
    assert analytics.discount_margin(flows, index, 100.0) == pytest.approx(0.02, abs=1e-13)
    assert analytics.discount_margin(flows, index, 99.0) > 0.02
    # Two months by hand: (101)/(1 + x/12)^2 = 100 with index 0 and no coupon.
    assert analytics.discount_margin([0.0, 101.0], 0.0, 100.0) == pytest.approx(12 * (1.01**0.5 - 1), abs=1e-12)


def test_several_spreads_are_told_apart() -> None:
    # -50 v + 210 v^2 - 160 v^3 rises to its largest value and falls again: two rates are worth 0.5.
    flows = np.array([-50.0, 210.0, -160.0])
    curve = DiscountCurve(times=[1.0], values=[0.0])
    with pytest.raises(analytics.NoSolution) as caught:
        analytics.z_spread(flows, [1.0, 2.0, 3.0], curve, 0.5, compounding="annual")
    assert caught.value.reason == "several_roots"
    low, high = (
        analytics.z_spread(flows, [1.0, 2.0, 3.0], curve, 0.5, compounding="annual", near=near) for near in (-0.2, 2.0)
    )
    for spread in (low, high):
        assert analytics.price_at_spread(flows, [1.0, 2.0, 3.0], curve, spread, compounding="annual") == pytest.approx(
            0.5
        )
    assert low < high


def test_key_rates_add_up_and_only_the_near_ones_move() -> None:
    tenors = [1.0, 2.0, 5.0]
    found = analytics.key_rate_durations(MANY, TIMES, FLAT, tenors)
    parallel = analytics.effective_risk(
        lambda move: analytics.price_at_spread(MANY, TIMES, FLAT, move, 0.0, "continuous"), 1e-4
    )[0]
    assert found.shape == (3, 3)
    assert found.sum(axis=-1) == pytest.approx(parallel, abs=1e-6)
    # All of the last vector is paid at two years: a duration of 2 to the two-year rate, none to the others.
    assert found[2] == pytest.approx([0.0, 2.0, 0.0], abs=1e-7)
    by_price = analytics.key_rate_durations_of(
        lambda curve: float(BOND @ curve.discount(TIMES)), FLAT, tenors, shift=1e-4
    )
    assert by_price == pytest.approx(found[0], abs=1e-6)


def test_tents_of_the_key_rates_make_one() -> None:
    shares = analytics.tents([0.1, 1.5, 3.0, 40.0], [1.0, 2.0, 5.0])
    assert shares.T.tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, pytest.approx(2 / 3), pytest.approx(1 / 3)], [0, 0, 1]]


# Speeds


def test_implied_speeds_of_the_published_pool() -> None:
    # SF-7 and SF-8: GNMA I 9.0%, WAM 359, factors 0.85150625 and 0.84732282, month 17 by age.
    found = analytics.implied_speed(0.85150625, 0.84732282, 0.095, 359, 344, age=17)
    assert found.scheduled_factor == pytest.approx(0.85102709, abs=6e-9)
    assert 100 * found.smm == pytest.approx(0.43527, abs=6e-7)
    assert 100 * found.cpr == pytest.approx(5.10, abs=6e-5)
    assert 100 * found.psa == pytest.approx(150.0, abs=0.006)
    # ABS = SMM/(1 + SMM x 16)
    assert found.abs == pytest.approx(0.0043527 / (1 + 0.0043527 * 16), abs=1e-7)


def test_abs_between_factors_gives_back_the_speed() -> None:
    request = pool(prepayment=engine.Abs(rate=0.013))
    balance = engine.project(request)["balance"] / 100
    shares = analytics.amortized_factor(0.08, 60, 60 - np.arange(0, 13))
    found = analytics.implied_abs_between(1.0, balance[11], shares, 1)
    assert found == pytest.approx(0.013, abs=1e-12)


# Losses


def test_cumulative_loss_by_hand() -> None:
    found = analytics.cumulative_loss([10.0, 5.0], [0.0, 4.0], 200.0)
    assert found.gross.tolist() == [10.0, 15.0]
    assert found.net_share.tolist() == [0.0, 0.02]
    assert found.gross_share.tolist() == [0.05, 0.075]


def test_excess_spread_by_hand() -> None:
    # Month 1: 1.00 - 100 x 6%/12 - 0.2 = 0.3, 3.6% of 100; month 2: 0.5 - 0.25 - 0.4 = -0.15 on 50.
    found = analytics.excess_spread([1.0, 0.5], [0.2, 0.4], [50.0, 0.0], 100.0, 0.06)
    assert found.amount == pytest.approx([0.3, -0.15], abs=1e-14)
    assert found.annual_rate == pytest.approx([0.036, -0.036], abs=1e-14)
    assert found.total == pytest.approx(0.15, abs=1e-14)
    assert found.lifetime_rate == pytest.approx(12 * 0.15 / 150, abs=1e-14)


def test_investors_lose_what_support_and_excess_spread_leave() -> None:
    # Losses of 0.2 and 0.4 on 100, support of half a per cent; with a 6% coupon 0.15 of them is not met.
    given_ = ([1.0, 0.5], [0.2, 0.4], [50.0, 0.0], 100.0)
    assert analytics.investor_loss(*given_, 0.005) == pytest.approx(0.001, abs=1e-15)
    assert analytics.investor_loss(*given_, 0.005, 0.06) == pytest.approx(0.0015 - 0.005, abs=1e-15)


# Reprojection


def test_effective_duration_without_a_change_of_speed_is_the_modified_one() -> None:
    request = pool(prepayment=engine.Cpr(rate=0.1))
    flows = engine.project(request)["cashflow"]
    times = analytics.payment_times(len(flows), 14)
    found = analytics.reprojected_risk(request, lambda n: analytics.payment_times(n, 14), annual_yield=0.06, shift=1e-4)
    assert found.price == pytest.approx(analytics.price(flows, times, 0.06), rel=1e-14)
    assert found.duration == pytest.approx(analytics.modified_duration(flows, times, 0.06), rel=1e-6)
    assert found.convexity == pytest.approx(analytics.convexity(flows, times, 0.06), rel=1e-4)


def test_effective_duration_reprojects_at_the_speeds_of_each_shock() -> None:
    # A premium pool that prepays faster where rates fall gains less: by hand from three projections.
    request, prices = pool(prepayment=engine.Psa(speed=2.0)), {}
    for move, speed in ((-0.01, 3.0), (0.0, 2.0), (0.01, 1.0)):
        flows = engine.project(pool(prepayment=engine.Psa(speed=speed)))["cashflow"]
        prices[move] = analytics.price(flows, analytics.payment_times(len(flows)), 0.05 + move)
    found = analytics.reprojected_risk(
        request, analytics.payment_times, annual_yield=0.05, shift=0.01, speed_down=1.5, speed_up=0.5
    )
    expected = (prices[-0.01] - prices[0.01]) / (2 * prices[0.0] * 0.01)
    assert found.duration == pytest.approx(expected, rel=1e-12)
    assert found.convexity == pytest.approx((prices[-0.01] + prices[0.01] - 2 * prices[0.0]) / (prices[0.0] * 1e-4))


@pytest.mark.parametrize(
    "curve",
    [
        engine.Cpr(rate=0.1),
        engine.Smm(rate=0.01),
        engine.Abs(rate=0.01),
        engine.Hep(rate=0.1),
        engine.Psa(speed=1.5),
        engine.Mhp(speed=1.5),
        engine.Vector(unit="cpr", values=[0.1, 0.2]),
        engine.Scaled(curve=engine.Cpr(rate=0.1), multiplier=1.5),
    ],
)
def test_speeds_double_for_every_curve(curve: object) -> None:
    found = analytics.reprojected_risk(
        pool(prepayment=curve), analytics.payment_times, annual_yield=0.02, speed_down=2.0, speed_up=0.0
    )
    slow = engine.project(pool())["cashflow"]
    times = analytics.payment_times(len(slow))
    assert found.price_up == pytest.approx(analytics.price(slow, times, 0.0225), rel=1e-13)
    assert found.price_down < analytics.price(slow, times, 0.0175)


def test_shocks_reach_groups_rules_and_rate_paths() -> None:
    inner = engine.Assumptions(prepayment=engine.Cpr(rate=0.1), default=engine.Cdr(rate=0.3))
    outer = engine.Assumptions(
        groups={"A": inner},
        rules=[engine.Rule(where={"balance": engine.Condition(min=1.0)}, assumptions=inner)],
        rates={"SOFR": engine.FlatRate(rate=0.05)},
    )
    shocked = reprojection.shocked_assumptions(outer, 2.0, 0.01)
    assert shocked.groups is not None
    assert shocked.rules is not None
    assert shocked.rates is not None
    twice = engine.Scaled(curve=engine.Cpr(rate=0.1), multiplier=2.0)
    assert shocked.groups["A"].prepayment == shocked.rules[0].assumptions.prepayment == twice
    assert shocked.rates["SOFR"].values(np.array([-1, 0, 7]), None).tolist() == [
        0.05,
        pytest.approx(0.06),
        pytest.approx(0.06),
    ]
    stressed = reprojection.with_default(outer, 0.02)
    assert stressed.groups is not None
    assert stressed.default == stressed.groups["A"].default == engine.Cdr(rate=0.02)


BREAKEVENS = [
    analytics.YieldTarget(value=0.05, price=100.0),
    analytics.PriceTarget(value=99.0, annual_yield=0.05),
    analytics.InvestorLossTarget(support=0.05),
    analytics.InvestorLossTarget(support=0.05, coupon=0.06),
    analytics.ExcessSpreadTarget(coupon=0.05),
]


@pytest.mark.parametrize("target", BREAKEVENS)
def test_a_breakeven_rate_meets_its_target(target: analytics.BreakevenTarget) -> None:
    request = pool(severity=0.4, recovery_lag=6)
    rate = analytics.breakeven_cdr(request, target, analytics.payment_times)
    assert 0 < rate < 1
    at = pool(severity=0.4, recovery_lag=6, default=engine.Cdr(rate=rate))
    flows = engine.project(at)
    gap = target.gaps(flows, analytics.payment_times(flows.periods))
    assert float(gap) == pytest.approx(0.0, abs=1e-8)


def test_breakeven_of_a_single_payment_by_hand() -> None:
    # 100 due in a month with 40% severity: a loss of 1% of the balance takes an MDR of 2.5%, a CDR of 1 - 0.975^12.
    tape = engine.Tape.from_columns(balance=[100.0], annual_rate=0.0, remaining_term=1)
    request = engine.ProjectionRequest(tape=tape, assumptions=engine.Assumptions(severity=0.4))
    found = analytics.breakeven_cdr(request, analytics.InvestorLossTarget(support=0.01), analytics.payment_times)
    assert found == pytest.approx(1 - 0.975**12, abs=1e-11)


def test_effective_duration_on_a_curve_moves_the_curve() -> None:
    # One payment of 100 in a year on a flat curve of 5%, spread 1%: P(s) = 100 exp(-(0.06 + s)), so sinh(s)/s.
    tape = engine.Tape.from_columns(balance=[100.0], annual_rate=0.0, remaining_term=12, amortization="bullet")
    request = engine.ProjectionRequest(tape=tape)
    found = analytics.reprojected_risk(request, analytics.payment_times, curve=FLAT, spread=0.01, shift=0.01)
    assert found.price == pytest.approx(100 * np.exp(-0.06), rel=1e-13)
    assert found.duration == pytest.approx(np.sinh(0.01) / 0.01, rel=1e-11)
    assert found.convexity == pytest.approx((2 * np.cosh(0.01) - 2) / 0.0001, rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # Defaults of 2 and 3 on 100 in two years, LGD 40%, 5%: the first year's, both, neither discounted, 40% of 100.
        ({"stage": 1}, 0.8 / 1.05),
        ({"stage": 2}, 0.8 / 1.05 + 1.2 / 1.05**2),
        ({"method": "cecl"}, 2.0),
        ({"stage": 3}, 40.0),
    ],
)
def test_expected_loss_of_projected_defaults_by_hand(arguments: dict[str, object], expected: float) -> None:
    asked = {"type": "projected_ecl", "lgd": 0.4, "effective_rate": 0.05, **arguments}
    request = msgspec.convert(
        {
            "cashflows": {"columns": {"default": [2.0, 3.0]}, "opening_balance": 100.0},
            "settlement": {"payments_per_year": 1},
            "measures": [asked],
        },
        analytics.AnalyticsRequest,
    )
    measures = analytics.analyze(request).measures
    assert measures is not None
    assert measures[0].value == pytest.approx(expected, rel=1e-13)


def test_weighted_scenarios_of_the_staged_loss_by_hand() -> None:
    # Hazards of 10% for two years: 0.1 and 0.09; LGD 50% of 100 and 80; 0.7 x that and 0.3 x twice the first PD alone.
    asked = {
        "type": "ifrs9_ecl", "stage": 2, "pd": [[0.1, 0.1], [0.2, 0.0]], "pd_kind": "hazard", "lgd": 0.5,
        "ead": [100.0, 80.0], "effective_rate": 0.05, "periods_per_year": 1, "weights": [0.7, 0.3],
    }  # fmt: skip
    found = msgspec.convert(asked, analytics.MEASURES["ifrs9_ecl"]).compute(None)
    base, severe = 5.0 / 1.05 + 3.6 / 1.05**2, 10.0 / 1.05
    assert found.by_scenario == pytest.approx([base, severe], rel=1e-13)
    assert found.value == pytest.approx(0.7 * base + 0.3 * severe, rel=1e-13)


def test_a_target_that_no_default_rate_meets_says_so() -> None:
    with pytest.raises(analytics.NoSolution, match="met at every rate"):
        analytics.breakeven_cdr(pool(), analytics.InvestorLossTarget(support=0.05), analytics.payment_times)
    target = analytics.YieldTarget(value=0.5, price=100.0)
    with pytest.raises(analytics.NoSolution, match="met at no rate"):
        analytics.breakeven_cdr(pool(severity=0.4), target, analytics.payment_times)


def test_overcollateralization_of_a_published_ladder() -> None:
    # collateralizedloanobligations-com.pages.dev, coverage tests: par of 500, AAA debt of 300, a trigger of 130%.
    ladder = [(0, 0, 167), (50, 10, 153), (80, 16, 145), (120, 24, 135), (150, 30, 127)]
    for defaulted, recovered, ratio in ladder:
        found = 100 * analytics.overcollateralization(500 - defaulted, recovered, 300)
        assert found == pytest.approx(ratio, abs=0.5)
        assert (found >= 130) == (ratio >= 130)

"""Analytics against hand calculations, against each other, and where there is no answer."""

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine import analytics
from engine.errors import EngineError

YIELDS = st.floats(-0.05, 0.6)
FLOWS = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=120)


def test_npv_pays_the_first_flow_now() -> None:
    # 100 + 110/1.1 = 200
    assert analytics.npv(0.1, [100, 110]) == pytest.approx(200, rel=1e-15)


def test_npv_adds_up_each_row() -> None:
    assert analytics.npv(0.0, [[1, 2], [3, 4]]).tolist() == [3, 7]


@given(rate=st.floats(-0.5, 3), flows=FLOWS)
def test_irr_gives_back_the_rate_of_its_price(rate: float, flows: list[float]) -> None:
    cost = analytics.npv(rate, [0.0, *flows])
    assert analytics.irr([-cost, *flows]) == pytest.approx(rate, abs=1e-9)


@pytest.mark.parametrize("flows", [[100, 39, 59], [-1, -2], [-100, 210, -115]])
def test_irr_without_a_root_is_an_error(flows: list[float]) -> None:
    # The last: 100 - 210 v + 115 v^2 has the discriminant 44100 - 46000 < 0.
    with pytest.raises(analytics.NoSolution, match="rate of return") as caught:
        analytics.irr(flows)
    assert (caught.value.reason, caught.value.roots) == ("no_root", ())


def test_irr_with_several_roots_says_which() -> None:
    # (1 - 1.1 v)(1 - 3 v) = 1 - 4.1 v + 3.3 v^2 has the roots 10% and 200%.
    with pytest.raises(analytics.NoSolution, match=r"more than one rate of return.*: 0\.1, 2") as caught:
        analytics.irr([1, -4.1, 3.3])
    assert caught.value.reason == "several_roots"
    assert caught.value.roots == pytest.approx((0.1, 2.0), abs=1e-12)
    assert analytics.irr([1, -4.1, 3.3], near=0.0) == pytest.approx(0.1, abs=1e-12)
    assert analytics.irr([1, -4.1, 3.3], near=1.5) == pytest.approx(2.0, abs=1e-12)


def test_close_and_double_roots_are_told_apart() -> None:
    # (1 - 1.010 v)(1 - 1.011 v) has two roots a tenth of a point apart; (1 - 1.05 v)^2 touches zero at 5% alone.
    with pytest.raises(analytics.NoSolution) as caught:
        analytics.irr([1, -2.021, 1.010 * 1.011])
    assert caught.value.roots == pytest.approx((0.010, 0.011), abs=1e-10)
    assert analytics.irr([1, -2.1, 1.1025]) == pytest.approx(0.05, abs=1e-7)


def test_flows_of_zeros_have_every_rate_of_return() -> None:
    with pytest.raises(analytics.NoSolution, match="every rate") as caught:
        analytics.irr([0, 0])
    assert caught.value.reason == "several_roots"


@given(
    roots=st.lists(st.integers(-60, 200), min_size=1, max_size=5, unique=True),
    sign=st.sampled_from([-1.0, 1.0]),
)
def test_every_root_is_found(roots: list[int], sign: float) -> None:
    # The flows whose value is the product of 1 - g v over the growth factors g.
    rates = sorted(root / 100 for root in roots)
    flows = np.array([sign])
    for rate in rates:
        flows = np.convolve(flows, [1.0, -(1 + rate)])
    if len(rates) == 1:
        assert analytics.irr(flows) == pytest.approx(rates[0], abs=1e-9)
        return
    with pytest.raises(analytics.NoSolution) as caught:
        analytics.irr(flows)
    assert caught.value.roots == pytest.approx(rates, abs=1e-4)


def test_flows_that_change_sign_too_often_are_refused() -> None:
    with pytest.raises(analytics.NoSolution, match="change sign 39 times"):
        analytics.irr([1.0, -1.0] * 20)


def test_xirr_of_one_year_is_the_plain_return() -> None:
    # 2023 has 365 days: 100 becomes 110.
    dates = [datetime.date(2023, 1, 1), datetime.date(2024, 1, 1)]
    assert analytics.xirr([-100, 110], dates) == pytest.approx(0.1, abs=1e-14)
    assert analytics.xnpv(0.1, [-100, 110], dates) == pytest.approx(0, abs=1e-13)


def test_dates_may_be_numpy_s() -> None:
    dates = np.array(["2023-01-01", "2024-01-01"], dtype="datetime64[D]")
    assert analytics.xirr([-100, 110], dates) == pytest.approx(0.1, abs=1e-14)
    with pytest.raises(engine.InvalidInput, match=r"dates is .*; expected datetime\.date"):
        analytics.xirr([-100, 110], ["2023-01-01", "2024-01-01"])  # type: ignore[list-item]


@pytest.mark.parametrize("rate", [-1.0, -1.5, [0.1, -2.0]])
def test_rates_that_leave_nothing_to_discount_by_are_refused(rate: Any) -> None:
    with pytest.raises(engine.InvalidInput, match=r"rate is -.*; expected a decimal above -1"):
        analytics.npv(rate, [0.0, 100.0])
    with pytest.raises(engine.InvalidInput, match="expected a decimal above -1"):
        analytics.xnpv(-1.0, [0.0, 1.0], [datetime.date(2023, 1, 1), datetime.date(2024, 1, 1)])


def test_no_flows_and_no_time_are_told() -> None:
    for measure in (analytics.irr, lambda flows: analytics.npv(0.1, flows)):
        with pytest.raises(engine.InvalidInput, match=r"cashflows has shape \(0,\); expected one flow a period"):
            measure([])
    with pytest.raises(engine.InvalidInput, match="years is missing; a simple yield depends on the time"):
        analytics.convert_yield(0.05, "simple", "annual")


def test_xirr_without_a_root_is_an_error() -> None:
    with pytest.raises(analytics.NoSolution):
        analytics.xirr([100, 110], [datetime.date(2023, 1, 1), datetime.date(2024, 1, 1)])


def test_find_root_needs_a_change_of_sign() -> None:
    assert analytics.find_root(lambda x: x * x - 2, 0, 2) == pytest.approx(2**0.5, abs=1e-15)
    assert analytics.find_root(lambda x: x, 0, 2) == 0
    with pytest.raises(analytics.NoSolution, match="no root between 0 and 1"):
        analytics.find_root(lambda x: x + 1, 0, 1)


@given(bond_yield=YIELDS, flows=FLOWS, delay=st.integers(0, 60))
def test_yield_gives_back_its_price(bond_yield: float, flows: list[float], delay: int) -> None:
    times = analytics.payment_times(len(flows), delay_days=delay)
    worth = analytics.price(flows, times, bond_yield)
    assert analytics.yield_to_maturity(flows, times, worth) == pytest.approx(bond_yield, abs=1e-9)


def test_price_is_clean_of_accrued_interest() -> None:
    times = np.array([0.5, 1.0])
    # 3/1.03 + 103/1.03^2 = 100
    assert analytics.price([3, 103], times, 0.06) == pytest.approx(100, rel=1e-14)
    assert analytics.price([3, 103], times, 0.06, accrued=1.5) == pytest.approx(98.5, rel=1e-14)
    assert analytics.yield_to_maturity([3, 103], times, 98.5, accrued=1.5) == pytest.approx(0.06, abs=1e-13)


@pytest.mark.parametrize("price", [0.0, -5.0])
def test_yield_of_no_price_is_an_error(price: float) -> None:
    with pytest.raises(analytics.NoSolution):
        analytics.yield_to_maturity([3, 103], [0.5, 1.0], price)


@given(rate=YIELDS)
def test_mortgage_and_bond_yield_are_inverse(rate: float) -> None:
    assert analytics.bond_equivalent_yield(analytics.mortgage_yield(rate)) == pytest.approx(rate, abs=1e-14)


def test_duration_and_convexity_are_derivatives_of_the_price() -> None:
    flows = np.linspace(5.0, 1.0, 180)
    times, step = analytics.payment_times(180, delay_days=24), 1e-4
    low, mid, high = (analytics.price(flows, times, 0.07 + shift) for shift in (-step, 0, step))
    slope, curve = (low - high) / (2 * step * mid), (low - 2 * mid + high) / (step**2 * mid)
    assert analytics.modified_duration(flows, times, 0.07) == pytest.approx(slope, rel=1e-6)
    assert analytics.convexity(flows, times, 0.07) == pytest.approx(curve, rel=1e-5)


def test_macaulay_duration_of_one_flow_is_its_time() -> None:
    assert analytics.macaulay_duration([100.0], [7.25], 0.05) == pytest.approx(7.25, rel=1e-15)


def test_wal_by_hand_and_by_row() -> None:
    # (1 x 30 + 2 x 70)/100 = 1.7
    assert analytics.wal([30, 70], [1, 2]) == pytest.approx(1.7, rel=1e-15)
    assert analytics.wal([[30, 70], [50, 50]], [1, 2]) == pytest.approx([1.7, 1.5], rel=1e-15)


def test_wal_without_principal_is_an_error() -> None:
    with pytest.raises(analytics.NoSolution, match="no principal"):
        analytics.wal([0, 0], [1, 2])


def test_payment_times_count_from_settlement() -> None:
    assert analytics.payment_times(2, delay_days=14).tolist() == [44 / 360, 74 / 360]
    assert analytics.payment_times(1, delay_days=24, settlement_days=29).tolist() == [25 / 360]


@given(speed=st.floats(0.0, 10.0), age=st.integers(1, 400))
def test_implied_psa_gives_back_the_speed(speed: float, age: int) -> None:
    smm = engine.Psa(speed=speed).monthly(np.array([age]))[0]
    assert analytics.implied_psa(smm, age) == pytest.approx(speed, abs=1e-10)


def test_implied_psa_over_a_year_gives_back_the_speed() -> None:
    # Factors of a pool that is run for 24 months at 180% PSA.
    loan = engine.Loan(balance=1.0, annual_rate=0.07, remaining_term=360)
    request = engine.ProjectionRequest(
        tape=engine.Tape.from_loans([loan]),
        assumptions=engine.Assumptions(prepayment=engine.Psa(speed=1.8)),
    )
    balance = engine.project(request)["balance"]
    shares = [analytics.amortized_factor(0.07, 360, 360 - month) for month in range(12, 25)]
    speed = analytics.implied_psa_between(balance[11], balance[23], shares, 13)
    assert speed == pytest.approx(1.8, abs=1e-10)


def test_implied_smm_averages_over_the_months() -> None:
    assert analytics.implied_smm(0.81, 1.0, months=2) == pytest.approx(0.1, abs=1e-15)


@pytest.mark.parametrize(("factor", "scheduled"), [(0.9, 0.8), (-0.1, 0.8), (0.0, 0.0)])
def test_implied_smm_of_impossible_factors_is_an_error(factor: float, scheduled: float) -> None:
    with pytest.raises(analytics.NoSolution):
        analytics.implied_smm(factor, scheduled)


@pytest.mark.parametrize("speed", [analytics.implied_psa, analytics.implied_abs])
def test_speeds_need_an_age_from_one(speed: Callable[[float, int], float]) -> None:
    with pytest.raises(engine.InvalidInput, match="1-based age"):
        speed(0.01, 0)


def test_amortized_factor_without_interest_is_a_straight_line() -> None:
    assert analytics.amortized_factor(0.0, 4, 1) == 0.25


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_flows_that_are_no_numbers_are_refused(bad: float) -> None:
    for function in (
        analytics.irr,
        lambda flows: analytics.npv(0.1, flows),
        lambda flows: analytics.wal(flows, [1, 2]),
    ):
        with pytest.raises(engine.InvalidInput, match="finite"):
            function([1.0, bad])


def test_times_must_match_the_flows() -> None:
    with pytest.raises(engine.InvalidInput, match="times has shape"):
        analytics.price([1.0, 2.0], [1.0], 0.05)


def test_every_refusal_is_an_error_of_the_engine() -> None:
    assert issubclass(analytics.NoSolution, EngineError)

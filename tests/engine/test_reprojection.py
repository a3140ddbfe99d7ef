"""Measures that project the tape again: one speed whatever states it, settlements by hand, and what trials refuse."""

import datetime
from typing import Any

import numpy as np
import pytest

import engine
from engine import analytics

ONE_SPEED = [
    engine.Cpr(rate=1 - 0.99**12),
    engine.Smm(rate=0.01),
    engine.Vector(unit="cpr", values=[1 - 0.99**12]),
    engine.Vector(unit="smm", values=[0.01]),
]


def pool(**assumed: Any) -> engine.ProjectionRequest:
    tape = engine.Tape.from_columns(balance=[100.0], annual_rate=0.09, remaining_term=12)
    return engine.ProjectionRequest(tape=tape, assumptions=engine.Assumptions(**assumed))


def asked(projection: engine.ProjectionRequest, measure: dict[str, Any], **settlement: Any) -> Any:
    request = analytics.AnalyticsRequest(
        projection=projection,
        measures=[engine.analytics.MEASURES[measure["type"]](**{k: v for k, v in measure.items() if k != "type"})],
        settlement=analytics.Settlement(**settlement),
    )
    found = analytics.analyze(request).measures
    assert found is not None
    return found[0]


@pytest.mark.parametrize("curve", ONE_SPEED)
def test_a_multiple_of_a_speed_is_one_of_its_cpr_whatever_the_unit(curve: Any) -> None:
    # 1% a month is 11.36% CPR; twice that is 22.72% CPR, which is the speed of the price where rates are lower.
    fast = engine.project(pool(prepayment=engine.Cpr(rate=2 * (1 - 0.99**12))))["cashflow"]
    times = analytics.payment_times(len(fast))
    found = analytics.reprojected_risk(
        pool(prepayment=curve), analytics.payment_times, annual_yield=0.02, speed_down=2.0
    )
    assert found.price_down == pytest.approx(analytics.price(fast, times, 0.0175), rel=1e-13)


def test_stated_times_reach_to_the_recoveries_of_a_breakeven() -> None:
    # The base has 12 months, the trials 12 and the recovery lag of 6: 18 times are right for both.
    target = analytics.InvestorLossTarget(support=0.05)
    assumed = {"severity": 0.4, "recovery_lag": 6}
    times = analytics.payment_times(18).tolist()
    found = asked(pool(**assumed), {"type": "breakeven_cdr", "target": target}, times=times)
    assert found.value == analytics.breakeven_cdr(pool(**assumed), target, analytics.payment_times)
    dates = [datetime.date(2025 + (k // 12), k % 12 + 1, 1) for k in range(1, 19)]
    dated = asked(
        pool(**assumed), {"type": "breakeven_cdr", "target": target},
        date=datetime.date(2025, 1, 1), payment_dates=dates,
    )  # fmt: skip
    assert dated.value == found.value
    with pytest.raises(engine.InvalidInput, match=r"settlement\.times has 12 values; expected 18 or more"):
        asked(pool(**assumed), {"type": "breakeven_cdr", "target": target}, times=times[:12])


def test_times_of_given_cashflows_are_as_many_as_they() -> None:
    with pytest.raises(engine.InvalidInput, match=r"settlement\.times has 3 values; expected 2, one a period"):
        analytics.Settlement(times=[0.1, 0.2, 0.3]).years(2)


def test_a_breakeven_rate_takes_the_place_of_roll_rates() -> None:
    target, assumed = analytics.InvestorLossTarget(support=0.05), {"severity": 0.4, "recovery_lag": 6}
    rolls = engine.Delinquency(roll=[0.02, 0.5], cure=[0.2])
    found = analytics.breakeven_cdr(pool(delinquency=rolls, **assumed), target, analytics.payment_times)
    assert found == analytics.breakeven_cdr(pool(**assumed), target, analytics.payment_times)


def test_the_faults_of_trials_are_told_once_and_at_the_users_path() -> None:
    # A curve in sixteen others fits as it is; a multiple of it is one more.
    curve: Any = engine.Cpr(rate=0.1)
    for _ in range(16):
        curve = engine.Scaled(curve=curve)
    with pytest.raises(engine.InvalidInput) as refused:
        asked(pool(prepayment=curve), {"type": "effective_duration", "annual_yield": 0.05, "speed_down": 2.0})
    (problem,) = refused.value.problems
    assert problem.path == "projection.assumptions.prepayment.curve"
    with pytest.raises(engine.InvalidInput) as refused:
        asked(pool(), {"type": "effective_duration", "annual_yield": 0.05, "shift": 2.0})
    assert [each.path for each in refused.value.problems] == ["measures[0].shift"]


FLOATING = engine.Tape(
    loans=[engine.Loan(balance=100.0, annual_rate=0.05, remaining_term=24, index="SOFR", margin=0.02, first_reset=1)]
)


def on(rate: float, **assumed: Any) -> engine.Assumptions:
    return engine.Assumptions(rates={"SOFR": engine.rates.FlatRate(rate=rate)}, severity=0.5, **assumed)


TIMED = engine.Timing(cumulative=0.1, timing=[0.5, 0.5], months_a_share=12, base="cutoff_balance")


def test_a_timing_curve_goes_by_the_balances_of_its_own_rate_path() -> None:
    scenarios = [
        engine.Scenario(name="low", assumptions=on(0.01, default=TIMED)),
        engine.Scenario(name="high", assumptions=on(0.12, default=TIMED)),
        engine.Scenario(name="none", assumptions=on(0.2)),
    ]
    request = engine.ProjectionRequest(tape=FLOATING, scenarios=scenarios, fields=["default", "balance"])
    flows = engine.project(request)
    # 5% of the cut-off balance in each of the two years, whatever the rates; the balances on the way differ.
    assert flows["default"][:2, :12].sum(axis=1) == pytest.approx([5.0, 5.0], rel=1e-12)
    assert flows["default"][:2, 12:].sum(axis=1) == pytest.approx([5.0, 5.0], rel=1e-12)
    assert abs(flows["balance"][0, 11] - flows["balance"][1, 11]) > 1
    for i, scenario in enumerate(scenarios):
        assert scenario.assumptions is not None
        alone = engine.project(
            engine.ProjectionRequest(tape=FLOATING, assumptions=scenario.assumptions, fields=["default", "balance"])
        )
        for name in ("default", "balance"):
            np.testing.assert_array_equal(flows[name][i, : alone.periods], alone[name])


def test_effective_duration_of_floating_loans_with_a_timing_curve() -> None:
    request = engine.ProjectionRequest(tape=FLOATING, assumptions=on(0.03, default=TIMED))
    found = analytics.reprojected_risk(request, analytics.payment_times, annual_yield=0.05, shift=0.01)
    prices = []
    for move in (-0.01, 0.0, 0.01):
        flows = engine.project(
            engine.ProjectionRequest(tape=FLOATING, assumptions=on(0.03 + move, default=TIMED))
        )["cashflow"]  # fmt: skip
        prices.append(analytics.price(flows, analytics.payment_times(len(flows)), 0.05 + move))
    assert found.duration == pytest.approx((prices[0] - prices[2]) / (2 * prices[1] * 0.01), rel=1e-9)


def test_expected_loss_counts_what_negative_amortisation_adds() -> None:
    # 100 at 12% that pays half of its interest: a(t) = 50 + 50 x 1.01^t. An MDR of 10% takes 10% of S(t - 1) a(t - 1).
    tape = engine.Tape.from_columns(balance=[100.0], annual_rate=0.12, remaining_term=360, payment=0.5)
    request = engine.ProjectionRequest(
        tape=tape, assumptions=engine.Assumptions(default=engine.Mdr(rate=0.001), severity=1.0)
    )
    t = np.arange(360)
    defaults = 0.001 * 0.999**t * (50 + 50 * 1.01**t)
    assert defaults.sum() > 100
    found = asked(request, {"type": "projected_ecl", "lgd": 0.4, "effective_rate": 0.05})
    assert found.value == pytest.approx(float((0.4 * defaults) @ 1.05 ** (-(t + 1) / 12)), rel=1e-9)
    cecl = asked(request, {"type": "projected_ecl", "lgd": 0.4, "method": "cecl"})
    assert cecl.value == pytest.approx(0.4 * defaults.sum(), rel=1e-9)
    impaired = asked(request, {"type": "projected_ecl", "lgd": 0.4, "stage": 3})
    assert impaired.value == pytest.approx(40.0, rel=1e-13)


def test_a_pool_that_is_paid_off_implies_the_least_speed_that_does_so() -> None:
    # At age 11 and 12 months: 100% CPR in month 12 takes 500/12 PSA; ABS reaches 100% there from 1/12 on.
    found = analytics.implied_speed(1.0, 0.0, 0.06, 360, 350, 2)
    assert (found.smm, found.cpr) == (1.0, 1.0)
    assert found.psa == pytest.approx(500 / 12, rel=1e-15)
    assert found.abs == pytest.approx(1 / 12, rel=1e-15)
    for curve in (engine.Psa(speed=found.psa), engine.Abs(rate=found.abs)):
        assert curve.monthly(np.array([12])) == pytest.approx([1.0])
        assert curve.monthly(np.array([11]))[0] < 1
    assert analytics.implied_speed(1.0, 0.0, 0.06, 360, 360, 1).psa == 500.0


@pytest.mark.parametrize("speed", [analytics.implied_psa_between, analytics.implied_abs_between])
def test_a_pool_that_ends_by_schedule_implies_no_speed(speed: Any) -> None:
    with pytest.raises(analytics.NoSolution, match="nothing is left by schedule either") as refused:
        speed(1.0, 0.0, [0.1, 0.0], 360)
    assert refused.value.reason == "several_roots"

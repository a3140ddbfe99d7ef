"""Expected credit losses against a published provision matrix and hand calculations."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import analytics, credit_loss
from engine.errors import InvalidInput

CENT = 0.0051
UNITS = st.floats(0, 1)


# Published: IFRScommunity.com, provision matrix example (scribd.com/document/727588826). Sales of 100,000
# followed until 2,000 are never paid.
SALES_ROLL = [100_000, 50_000, 23_000, 8_000, 2_000]
AGEING = [300_000, 140_000, 60_000, 23_000, 5_000]


def test_provision_matrix_gives_the_published_allowance() -> None:
    rates = credit_loss.loss_rates(credit_loss.cohort_roll_rates(SALES_ROLL))
    assert 100 * rates == pytest.approx([2.0, 4.0, 8.7, 25.0, 100.0], abs=0.051)
    expected = credit_loss.provision_matrix(AGEING, rates)
    assert expected == pytest.approx([6000, 5600, 5217, 5750, 5000], abs=0.51)
    assert expected.sum() == pytest.approx(27_567, abs=0.51)


def test_loss_rate_is_what_is_never_paid_over_what_reached_the_bucket() -> None:
    # 2,000 / 100,000, / 50,000, / 23,000, / 8,000, / 2,000
    rates = credit_loss.loss_rates(credit_loss.cohort_roll_rates(SALES_ROLL))
    assert rates == pytest.approx([2000 / amount for amount in SALES_ROLL], rel=1e-14)


def test_last_bucket_can_recover_in_part() -> None:
    # Rolls 0.5 and 0.4, 60% of the last bucket lost: 0.5 x 0.4 x 0.6 = 0.12, 0.4 x 0.6 = 0.24, 0.6.
    assert credit_loss.loss_rates([0.5, 0.4], 0.6) == pytest.approx([0.12, 0.24, 0.6], rel=1e-14)
    by_segment = credit_loss.loss_rates([[0.5, 0.4], [0.1, 0.2]], [0.6, 1.0])
    assert by_segment == pytest.approx(np.array([[0.12, 0.24, 0.6], [0.02, 0.2, 1.0]]), rel=1e-14)


def test_roll_rates_follow_a_balance_into_the_next_month() -> None:
    # Bucket 1 to 2: (30 + 40) of (100 + 200); bucket 2 to 3: (6 + 15) of (20 + 30).
    history = [[100, 20, 5], [200, 30, 6], [150, 40, 15]]
    assert credit_loss.roll_rates(history) == pytest.approx([70 / 300, 21 / 50], rel=1e-14)


def test_forward_looking_factor_raises_the_loss_up_to_the_balance() -> None:
    # 1,000 x 2% x 1.5 = 30; 100 x 80% x 1.5 would be 120, more than there is.
    assert credit_loss.provision_matrix([1000, 100], [0.02, 0.8], 1.5) == pytest.approx([30, 100], rel=1e-14)


# Term structures


def test_marginal_pd_is_hazard_times_survival() -> None:
    # 0.1; 0.9 x 0.2 = 0.18; 0.9 x 0.8 x 0.5 = 0.36
    assert credit_loss.marginal_pd([0.1, 0.2, 0.5]) == pytest.approx([0.1, 0.18, 0.36], rel=1e-14)


@given(hazard=st.lists(UNITS, min_size=1, max_size=60))
def test_marginal_pds_and_survival_make_one(hazard: list[float]) -> None:
    marginal = credit_loss.marginal_pd(hazard)
    assert marginal.sum() + np.prod(1 - np.array(hazard)) == pytest.approx(1, abs=1e-12)
    cumulative = np.minimum(np.cumsum(marginal), 1.0)
    assert credit_loss.marginal_from_cumulative(cumulative) == pytest.approx(marginal, abs=1e-12)


def test_discount_factors_are_the_effective_rate_at_period_ends() -> None:
    # Quarters of a year at 10%: 1.1^-0.25, ..., 1.1^-1.
    factors = credit_loss.discount_factors(0.1, 4, 4)
    assert factors == pytest.approx([1.1**-0.25, 1.1**-0.5, 1.1**-0.75, 1 / 1.1], rel=1e-14)


# IFRS 9. A loan of two years, in years: marginal PD 2% and 3%, LGD 40% and 50%, EAD 1,000 and 600, 10%.
PD, LGD, EAD, RATE = [0.02, 0.03], [0.4, 0.5], [1000.0, 600.0], 0.1
FIRST_YEAR = 0.02 * 0.4 * 1000 / 1.1  # 8 / 1.1 = 7.2727
LIFETIME = FIRST_YEAR + 0.03 * 0.5 * 600 / 1.21  # 9 / 1.21 = 7.4380


def test_lifetime_and_twelve_month_losses_by_hand() -> None:
    assert credit_loss.twelve_month_ecl(PD, LGD, EAD, RATE, 1) == pytest.approx(7.2727, abs=CENT)
    assert credit_loss.lifetime_ecl(PD, LGD, EAD, RATE, 1) == pytest.approx(14.7107, abs=CENT)
    assert float(credit_loss.twelve_month_ecl(PD, LGD, EAD, RATE, 1)) == pytest.approx(FIRST_YEAR, rel=1e-14)
    assert float(credit_loss.lifetime_ecl(PD, LGD, EAD, RATE, 1)) == pytest.approx(LIFETIME, rel=1e-14)


def test_twelve_months_are_the_first_twelve_of_a_monthly_term_structure() -> None:
    # Without discounting: 12 of the 24 months, 1% each of 40% of 100 = 0.4 a month.
    assert credit_loss.twelve_month_ecl([0.01] * 24, 0.4, 100.0, 0.0) == pytest.approx(4.8, rel=1e-14)
    assert credit_loss.lifetime_ecl([0.01] * 24, 0.4, 100.0, 0.0) == pytest.approx(9.6, rel=1e-14)
    assert credit_loss.twelve_month_ecl([0.01] * 6, 0.4, 100.0, 0.0) == pytest.approx(2.4, rel=1e-14)


def test_stages_take_twelve_months_lifetime_and_the_loss_given_default() -> None:
    # Stage 3 has defaulted: 40% of 1,000.
    found = credit_loss.staged_ecl([1, 2, 3], [PD] * 3, [LGD] * 3, [EAD] * 3, [RATE] * 3, 1)
    assert found == pytest.approx([FIRST_YEAR, LIFETIME, 400.0], rel=1e-14)
    single = [float(credit_loss.staged_ecl(stage, PD, 0.4, 1000.0, RATE, 1)) for stage in credit_loss.STAGES]
    assert single == pytest.approx([8 / 1.1, 8 / 1.1 + 12 / 1.21, 400.0], rel=1e-14)


@given(
    hazard=st.lists(UNITS, min_size=1, max_size=40),
    lgd=UNITS,
    ead=st.floats(0, 1e9),
    rate=st.floats(0, 1),
    per_year=st.sampled_from([1, 4, 12]),
)
def test_allowances_rise_with_the_stage_and_never_exceed_the_exposure(
    hazard: list[float], lgd: float, ead: float, rate: float, per_year: int
) -> None:
    pd = credit_loss.marginal_pd(hazard)
    first, second, third = credit_loss.staged_ecl([1, 2, 3], pd, lgd, ead, rate, per_year)
    slack = 1e-9 * ead
    assert 0 <= first <= second + slack
    assert second <= third + slack
    assert third <= ead
    assert second <= credit_loss.cecl_lifetime_loss(pd, lgd, ead) + slack


def test_stage_turns_at_the_presumed_days_past_due() -> None:
    # More than 30 days past due is stage 2, 90 is default.
    assert credit_loss.assign_stage([0, 30, 31, 89, 90]).tolist() == [1, 1, 2, 2, 3]


def test_stage_turns_where_the_lifetime_pd_has_risen_by_more_than_the_ratio() -> None:
    # 4% is not more than 2 x 2%, 4.1% is; 90 days past due is stage 3 whatever the PD.
    found = credit_loss.assign_stage([0, 0, 90], lifetime_pd=[0.04, 0.041, 0.02], origination_pd=0.02)
    assert found.tolist() == [1, 2, 3]


def test_scenarios_weigh_by_their_probability() -> None:
    # 0.5 x 100 + 0.3 x 200 + 0.2 x 50 = 120; and the same with two loans.
    weights = [0.5, 0.3, 0.2]
    assert float(credit_loss.scenario_weighted([100, 200, 50], weights)) == pytest.approx(120, rel=1e-14)
    by_loan = credit_loss.scenario_weighted([[100, 1], [200, 2], [50, 3]], weights)
    assert by_loan == pytest.approx([120, 1.7], rel=1e-14)


# CECL


def test_cecl_loss_is_not_discounted() -> None:
    # 0.02 x 0.4 x 1,000 + 0.03 x 0.5 x 600 = 8 + 9
    assert float(credit_loss.cecl_lifetime_loss(PD, LGD, EAD)) == pytest.approx(17, rel=1e-14)


def test_cecl_by_discounted_cashflow_is_the_cost_less_the_present_value() -> None:
    # 1,000 at 10% a year owes 100 and 1,100; 95 and 1,045 are expected: 1,000 - 95/1.1 - 1,045/1.21 = 50.
    assert float(credit_loss.cecl_cashflow_loss(1000, [100, 1100], 0.1, 1)) == pytest.approx(0, abs=1e-11)
    assert float(credit_loss.cecl_cashflow_loss(1000, [95, 1045], 0.1, 1)) == pytest.approx(50, rel=1e-12)


def test_warm_is_the_balances_over_the_first() -> None:
    # 1,000 for a year, then 600, then 200: 1,800 / 1,000 = 1.8 years.
    balances = [1000, 600, 200, 0]
    assert float(credit_loss.weighted_average_remaining_maturity(balances)) == pytest.approx(1.8, rel=1e-14)
    # 1,000 x (0.5% x 1.8 + 0.25%) = 9 + 2.5; the loss rate on each year's balance is the same 5 + 3 + 1 = 9.
    assert float(credit_loss.warm_allowance(balances, 0.005, 0.0025)) == pytest.approx(11.5, rel=1e-14)
    quarters = np.repeat(balances, 4)
    assert float(credit_loss.warm_allowance(quarters, 0.005, 0.0025, 4)) == pytest.approx(11.5, rel=1e-14)


@pytest.mark.parametrize(("adjustment", "expected"), [(-0.5, 0.0), (5.0, 1000.0)])
def test_warm_allowance_stays_between_nothing_and_the_balance(adjustment: float, expected: float) -> None:
    assert float(credit_loss.warm_allowance([1000, 600], 0.01, adjustment)) == expected


# What is refused

REFUSED: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (credit_loss.roll_rates, ([[1, 2]],), "balances has shape"),
    (credit_loss.roll_rates, ([[0, 1], [1, 1]],), "balances has a zero to divide by"),
    (credit_loss.cohort_roll_rates, ([5],), "reached has shape"),
    (credit_loss.cohort_roll_rates, ([5, -1],), "reached[1] is -1"),
    (credit_loss.loss_rates, (0.5,), "rolls is a single number"),
    (credit_loss.loss_rates, ([0.5], 1.5), "final_loss_rate is 1.5; expected decimals in [0, 1]"),
    (credit_loss.provision_matrix, ([1, 2], [0.1, 0.2, 0.3]), "ageing does not broadcast"),
    (credit_loss.provision_matrix, ([1, np.nan], 0.1), "ageing[1] is nan"),
    (credit_loss.marginal_pd, ([0.1, 2.0],), "hazard[1] is 2"),
    (credit_loss.marginal_from_cumulative, ([0.2, 0.1],), "cumulative falls"),
    (credit_loss.discount_factors, (-1.0, 3), "effective_rate is -1"),
    (credit_loss.discount_factors, (0.1, 3, 0), "periods is 3, 0 a year"),
    (credit_loss.lifetime_ecl, ([0.6, 0.6], 0.4, 1, 0.1), "pd adds up to more than 1"),
    (credit_loss.lifetime_ecl, (0.1, 0.4, 1, 0.1), "pd is a single number"),
    (credit_loss.lifetime_ecl, ([0.1, 0.1], [0.4] * 3, 1, 0.1), "lgd does not broadcast"),
    (credit_loss.lifetime_ecl, ([[0.1]] * 2, 0.4, 1, [0.1] * 3), "effective_rate does not broadcast"),
    (credit_loss.twelve_month_ecl, ([0.1], 40, 1, 0.1), "lgd is 40"),
    (credit_loss.assign_stage, ([-1],), "days_past_due[0] is -1"),
    (credit_loss.assign_stage, ([0], 0.1), "lifetime_pd and origination_pd"),
    (credit_loss.staged_ecl, (4, [0.1], 0.4, 1, 0.1), "stage has a value other than"),
    (credit_loss.scenario_weighted, ([1, 2], [0.5, 0.4]), "weights add up to 0.9"),
    (credit_loss.scenario_weighted, ([1, 2], [1.0]), "weights has shape"),
    (credit_loss.cecl_cashflow_loss, (1, 2, 0.1), "expected_cashflows is a single number"),
    (credit_loss.warm_allowance, ([0, 1], 0.1), "balances has a zero to divide by"),
]


@pytest.mark.parametrize(("function", "arguments", "message"), REFUSED)
def test_what_is_not_allowed_is_refused(function: Callable[..., Any], arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        function(*arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize("factors", [[[[]]], [], [[]]])
def test_a_provision_matrix_over_the_wire_has_lists_of_numbers(factors: list[object]) -> None:
    measure = analytics.MEASURES["provision_matrix"](ageing=0.0, loss_rates=0.0, forward_looking=factors)
    with pytest.raises(InvalidInput, match=r"forward_looking has shape .*; expected a number"):
        analytics.analyze(analytics.AnalyticsRequest(measures=[measure]))

"""Leases, receivables, student loans, revolving balances and given cashflows: each by hand."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest

import engine
from tests.engine.asset_world import GIVEN, assert_rows, project

# Leases


def test_a_lease_is_worth_its_rentals_and_residual() -> None:
    # 0.5% a month, three rentals of 100 in arrears and 1,000 with the last:
    # 100 (1/1.005 + 1/1.005^2 + 1/1.005^3) + 1000/1.005^3 = 297.024813... + 985.148759...
    lease = engine.Lease(annual_rate=0.06, remaining_term=3, payment=100, residual_value=1000)
    flows = project([lease])
    worth = sum(100 / 1.005**t for t in (1, 2, 3)) + 1000 / 1.005**3
    assert flows.opening_balance == pytest.approx(worth, rel=1e-12)
    first, second = worth * 1.005 - 100, (worth * 1.005 - 100) * 1.005 - 100
    assert_rows(
        flows, balance=[first, second, 0], interest=[0.005 * worth, 0.005 * first, 0.005 * second],
        cashflow=[100, 100, 1100], loss=[0, 0, 0], shortfall=[0, 0, 0],
    )  # fmt: skip


def test_a_residual_fetches_a_share_of_its_value() -> None:
    lease = engine.Lease(annual_rate=0.06, remaining_term=3, payment=100, residual_value=1000)
    assert_rows(
        project([lease], {"residual_share": 0.8}), cashflow=[100, 100, 900], shortfall=[0, 0, 200], loss=[0, 0, 200]
    )
    assert_rows(project([lease], {"residual_share": 1.1}), cashflow=[100, 100, 1200], other_income=[0, 0, 100])


@pytest.mark.parametrize("level", ["pool", "loan"])
@pytest.mark.parametrize(("share", "short", "gained"), [(0.9, 900, 0), (0, 9000, 0), (1.2, 0, 1800), (1, 0, 0)])
@pytest.mark.parametrize(("rental", "last", "timing"), [(450, 0, "advance"), (0, 0, "arrears"), (20, 20, "arrears")])
def test_the_share_is_of_a_residual_that_pays_interest_too(
    rental: float, last: float, timing: Any, share: float, short: float, gained: float, level: str
) -> None:
    # The last payment is 9,000 and a rental `last` below the month's interest: owed before is (9000 + last)/1.005, the
    # interest is 0.5% of it. All of that interest is booked; of the 9,000 the share comes in.
    lease = engine.Lease(
        annual_rate=0.06, remaining_term=36, payment=rental, residual_value=9000, payment_timing=timing
    )
    flows = project([lease], {"residual_share": share}, level=level)
    owed = (9000 + last) / 1.005
    ends = {
        "interest": 0.005 * owed, "scheduled_principal": owed - short, "shortfall": short, "loss": short,
        "other_income": gained, "cashflow": last + 9000 * share,
    }  # fmt: skip
    for name, value in ends.items():
        assert flows[name].ravel()[-1] == pytest.approx(value, rel=1e-11, abs=1e-8), name
    assert flows["principal"].sum() + flows["loss"].sum() == pytest.approx(flows.opening_balance, rel=1e-12)


def test_prepaid_and_defaulted_leases_have_no_residual_to_fall_short_of() -> None:
    # No rental: 9,000 in two months are worth 9000/1.005^2 = 8,910.6705; a month later 8,955.2239 are owed. In month 1
    # 1% default and 10% prepay: 0.89 are left. In month 2 1% of them default, 0.8811 hand back what fetches half:
    # shortfall and cash are 4500 x 0.8811 = 3,964.95 each, of which interest 44.7761 x 0.8811 = 39.4522.
    lease = engine.Lease(annual_rate=0.06, remaining_term=2, payment=0, residual_value=9000)
    once = engine.Vector(unit="smm", values=[0.1], beyond="zero")
    assumed = {"residual_share": 0.5, "prepayment": once, "default": engine.Mdr(rate=0.01), "severity": 1.0}
    flows = project([lease], assumed)
    assert flows["shortfall"] == pytest.approx([0, 3964.95], abs=1e-8)
    assert flows["interest"][1] == pytest.approx(39.4522, abs=1e-4)
    assert flows["cashflow"][1] == pytest.approx(3964.95, abs=1e-8)
    assert flows["principal"].sum() + flows["loss"].sum() == pytest.approx(8910.6705, abs=1e-4)


def test_shortfalls_of_residuals_are_not_taken_from_interest_that_nobody_owes() -> None:
    # Half of the lessees prepay in month 1. In month 2 half of those left "prepay" nothing, for the residual is all
    # that is due; under `survivors` they owe no interest, so that a residual of nothing would cost them money.
    lease = engine.Lease(annual_rate=0.12, remaining_term=2, payment=0, residual_value=1000)
    assumed = engine.Assumptions(prepayment=engine.Smm(rate=0.5), residual_share=0.0)

    def flows(assumptions: engine.Assumptions, base: Any) -> engine.Cashflows:
        conventions = engine.Conventions(interest_base="survivors", prepayment_base=base)
        tape = engine.Tape.from_loans([lease])
        return engine.project(
            engine.ProjectionRequest(tape=tape, assumptions=assumptions, conventions=conventions, fields=["cashflow"])
        )

    for base in ("gross", "net_of_defaults"):
        with pytest.raises(engine.AssumptionError, match=r"interest_base is 'survivors' beside a residual"):
            flows(assumed, base)
        assert flows(msgspec.structs.replace(assumed, prepayment=None), base).cashflow[-1] == pytest.approx(0, abs=1e-9)
        assert flows(msgspec.structs.replace(assumed, residual_share=1.0), base).cashflow[-1] > 0
    # Off the opening balance those who prepay in month 2 pay what is owed at its start, a quarter of 1,000 / 1.01.
    assert flows(assumed, "opening_net_of_defaults").cashflow[-1] == pytest.approx(250 / 1.01)


def test_only_leases_that_run_to_their_end_have_a_residual() -> None:
    # 1% default each month, so 0.99^3 are left when the residual falls due; 200 of 1,000 are not fetched.
    lease = engine.Lease(annual_rate=0.06, remaining_term=3, payment=100, residual_value=1000)
    flows = project([lease], {"residual_share": 0.8, "default": engine.Mdr(rate=0.01), "severity": 1.0})
    assert_rows(flows, shortfall=[0, 0, 200 * 0.99**3], cashflow=[99, 98.01, 900 * 0.99**3])


def test_rentals_in_advance_leave_none_for_the_last_month() -> None:
    # Two rentals, then the residual: worth 100/1.005 + 100/1.005^2 + 1000/1.005^3.
    lease = engine.Lease(annual_rate=0.06, remaining_term=3, payment=100, residual_value=1000, payment_timing="advance")
    flows = project([lease])
    assert flows.opening_balance == pytest.approx(100 / 1.005 + 100 / 1.005**2 + 1000 / 1.005**3, rel=1e-12)
    assert_rows(flows, cashflow=[100, 100, 1000])


def test_a_rental_follows_from_the_balance() -> None:
    lease = engine.Lease(annual_rate=0.06, remaining_term=36, balance=30_000, residual_value=12_000)
    # (30000 - 12000/1.005^36) / ((1 - 1.005^-36)/0.005)
    rental = (30_000 - 12_000 / 1.005**36) / ((1 - 1.005**-36) / 0.005)
    assert_rows(project([lease]), cashflow=[rental] * 35 + [rental + 12_000])


# Receivables


def test_a_receivable_earns_its_discount_when_collected() -> None:
    # 1,000 due in three months, bought at 980; 50 are never due: 950 come in, of which 20 are earned.
    flows = project([engine.Receivable(remaining_term=3, face_value=1000, discount=0.02, dilution=0.05)])
    assert flows.opening_balance == 980
    assert_rows(
        flows, balance=[980, 980, 0], interest=[0, 0, 20], shortfall=[0, 0, 50], loss=[0, 0, 50],
        scheduled_principal=[0, 0, 930], cashflow=[0, 0, 950],
    )  # fmt: skip


def test_a_collection_curve_spreads_discount_and_dilution() -> None:
    # 40%, 40% and 20% of 980: the discount is 20/980 of what is collected, dilution 50/980.
    pool = engine.Receivable(remaining_term=3, face_value=1000, discount=0.02, dilution=0.05, schedule="usual")
    flows = project([pool], schedules={"usual": engine.Schedule(balances=[100, 60, 20])})
    assert_rows(
        flows, balance=[588, 196, 0], interest=[8, 8, 4], shortfall=[20, 20, 10], scheduled_principal=[372, 372, 186]
    )


# Student loans


def test_interest_of_school_and_grace_is_simple_until_it_is_capitalized() -> None:
    # 900 of principal bear 1% a month, 9 in each of three months; then 1,027 are repaid in five level payments.
    loan = engine.StudentLoan(
        balance=1000, accrued_interest=100, annual_rate=0.12, remaining_term=8, school_term=2, grace_term=1
    )
    payment = 1027 * 0.01 / (1 - 1.01**-5)
    assert_rows(
        project([loan]), balance=[1009, 1018, 1027, 1027 * 1.01 - payment], interest=[9, 9, 9, 10.27],
        scheduled_principal=[-9, -9, -9, payment - 10.27], cashflow=[0, 0, 0, *[payment] * 5],
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "interest"), [("subsidized", 10), ("paid", 10), ("forgiven", 0)])
def test_interest_in_school_may_be_paid_or_forgiven(kind: Any, interest: float) -> None:
    loan = engine.StudentLoan(balance=1000, annual_rate=0.12, remaining_term=7, school_term=2, school_interest=kind)
    payment = 1000 * 0.01 / (1 - 1.01**-5)
    assert_rows(project([loan]), balance=[1000, 1000], interest=[interest] * 2, cashflow=[interest] * 2 + [payment] * 5)


def test_a_deferment_recasts_the_payment() -> None:
    # Three payments of a loan of eight; two months add 1% of what is left each, not compounded; then three payments.
    loan = engine.StudentLoan(balance=1000, annual_rate=0.12, remaining_term=8, deferment_start=4, deferment_term=2)
    first = 1000 * 0.01 / (1 - 1.01**-8)
    left = 1000 * 1.01**3 - first * (1.01**3 - 1) / 0.01
    last = 1.02 * left * 0.01 / (1 - 1.01**-3)
    assert_rows(project([loan]), cashflow=[first] * 3 + [0, 0] + [last] * 3)


def test_graduated_payments_repay_the_loan() -> None:
    # Six payments x, x, 1.1x, 1.1x, 1.21x, 1.21x of a loan at 1% a month, after two months of subsidized school.
    loan = engine.StudentLoan(
        balance=1000, annual_rate=0.12, remaining_term=8, school_term=2, school_interest="subsidized",
        graduation_rate=0.1, graduation_frequency=2,
    )  # fmt: skip
    levels = [1, 1, 1.1, 1.1, 1.21, 1.21]
    x = 1000 / sum(level / 1.01 ** (t + 1) for t, level in enumerate(levels))
    assert_rows(project([loan]), cashflow=[10, 10, *(x * level for level in levels)])


# Revolving balances


def test_a_card_is_drawn_and_repaid() -> None:
    # Month 1: 10% of 1,000 are repaid, 15% drawn: 1,050. Month 2: 105 repaid, 157.50 drawn would pass the limit of
    # 1,100: 155 are. Month 3: 110 repaid, 110 drawn. Then nothing is drawn, and 10% are repaid until all falls due.
    card = engine.Revolving(
        balance=1000, annual_rate=0.24, remaining_term=5, credit_limit=1100, purchase_rate=0.15, payment_rate=0.1,
        draw_term=3, interchange_rate=0.02, fee_rate=0.12,
    )  # fmt: skip
    flows = project([card])
    assert_rows(
        flows, balance=[1050, 1100, 1100, 990, 0], draw=[150, 155, 110, 0, 0], interest=[20, 21, 22, 22, 19.8],
        scheduled_principal=[100, 105, 110, 110, 990], other_income=[3 + 10, 3.1 + 10.5, 2.2 + 11, 11, 9.9],
        cashflow=[100 + 20 + 13 - 150, 105 + 21 + 13.6 - 155, 110 + 22 + 13.2 - 110, 110 + 22 + 11, 990 + 19.8 + 9.9],
    )  # fmt: skip


def test_behaviour_multiplies_what_a_card_draws() -> None:
    # 1% charged off, 2% closed (prepayment of what non-defaulters owe after the month): those who stay draw and repay.
    card = engine.Revolving(balance=1000, annual_rate=0.24, remaining_term=5, purchase_rate=0.15, payment_rate=0.1)
    assumed = {"default": engine.Mdr(rate=0.01), "prepayment": engine.Smm(rate=0.02), "severity": 0.9}
    flows = project([card], assumed)
    # Month 1: 990 go on, repay 99, draw 148.5; 2% of 1,050 prepay; 0.97 of it are left. Month 2 is 0.97 x 1.05 of it.
    assert_rows(
        flows, default=[10, 10.185], draw=[148.5, 148.5 * 1.0185], scheduled_principal=[99, 99 * 1.0185],
        prepayment=[21, 21 * 1.0185], balance=[1018.5, 1018.5 * 1.0185], loss=[9, 9.1665],
    )  # fmt: skip


def test_a_line_is_filled_to_its_utilization_then_amortized() -> None:
    # 60% of 2,000 from the first month; interest alone while it can be drawn, then five level payments at 1% a month.
    line = engine.Revolving(
        balance=1000, annual_rate=0.12, remaining_term=8, credit_limit=2000, utilization=0.6, draw_term=3
    )
    payment = 1200 * 0.01 / (1 - 1.01**-5)
    assert_rows(
        project([line]), balance=[1200, 1200, 1200, 1212 - payment], draw=[200, 0, 0, 0],
        cashflow=[10 - 200, 12, 12] + [payment] * 5,
    )  # fmt: skip


# Given cashflows


def test_a_given_cashflow_is_taken_as_it_is() -> None:
    # Scaled by 20; in month 2 the balance rises by 5 though 5 are paid: 10 are drawn.
    flows = project([engine.GivenCashflow(cashflows="given", balance=2000)], cashflows=GIVEN)
    assert_rows(
        flows, balance=[1800, 1900, 0], interest=[20, 40, 60], scheduled_principal=[200, 100, 1900], draw=[0, 200, 0]
    )


def test_behaviour_is_applied_to_a_given_cashflow_unless_it_is_not() -> None:
    assumed = {"prepayment": engine.Smm(rate=0.5)}
    applied = project([engine.GivenCashflow(cashflows="plain")], assumed, cashflows=GIVEN)
    assert_rows(applied, balance=[10, 0], prepayment=[10, 0], scheduled_principal=[30, 10], interest=[0.5, 0.1])
    loans = [engine.GivenCashflow(cashflows="plain", behaviour="none"), engine.GivenCashflow(cashflows="plain")]
    mixed = project(loans, assumed, level="loan", cashflows=GIVEN)
    np.testing.assert_allclose(mixed["balance"][0], [20, 0])
    np.testing.assert_allclose(mixed["balance"][1], applied["balance"])


@pytest.mark.parametrize(
    ("term", "draw", "pay", "most"),
    [(600, 10.0, 0.02, "1e625"), (121, 0.35, 0.0, "1e18"), (40, 1.1, 0.1, "1e14")],
)
def test_a_balance_without_a_limit_is_not_drawn_beyond_bounds(term: int, draw: float, pay: float, most: str) -> None:
    # The balance grows by 1 + draw - pay each month but the last: 10.98^599, 1.35^120 and 2^39 times 100.
    card = engine.Revolving(
        balance=100, annual_rate=0.2, remaining_term=term, purchase_rate=draw, payment_rate=pay or None
    )  # fmt: skip
    assert most == f"1e{math.log10(100) + (term - 1) * math.log10(1 + draw - pay):.0f}"
    if most == "1e14":
        flows = project([card])
        assert flows["balance"][38] == pytest.approx(100 * 2.0**39, rel=1e-12)
        return
    with pytest.raises(engine.TapeError, match=r"purchase_rate is .* without credit_limit") as refused:
        project([card])
    assert f"brings the balance to {most}; expected 1e+15 at most, or a credit_limit" in str(refused.value)
    limited = msgspec.structs.replace(card, credit_limit=5000.0)
    assert project([limited])["balance"].max() == pytest.approx(5000, rel=1e-12)

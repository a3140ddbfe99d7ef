"""Each choice of the conventions by its effect, and the preset `opening_actual` against recorded figures."""

import datetime

import pytest

import engine

LOAN = engine.Loan(balance=1000.0, annual_rate=0.12, remaining_term=10, amortization="linear")
# 10% of the opening balance defaults and 20% prepays in month 1; a tenth of what is left is due.
ASSUMED = engine.Assumptions(default=engine.Mdr(rate=0.1), prepayment=engine.Smm(rate=0.2))


def first_month(**choices: object) -> dict[str, float]:
    request = engine.ProjectionRequest(
        tape=engine.Tape(loans=[LOAN]),
        assumptions=ASSUMED,
        conventions=engine.Conventions(**choices),
        fields=["interest", "scheduled_principal", "prepayment", "balance"],
    )
    return {name: column[0] for name, column in engine.project(request).columns.items()}


def test_gross_prepayment_comes_after_scheduled_principal_and_before_no_default() -> None:
    # interest (1000 - 100) 1%; scheduled 900 / 10; prepaid 20% of 1000 - 100; balance 1000 - 100 - 90 - 180
    expected = {"interest": 9.0, "scheduled_principal": 90.0, "prepayment": 180.0, "balance": 630.0}
    assert first_month() == pytest.approx(expected)


def test_prepayment_net_of_defaults_leaves_new_defaults_out() -> None:
    # prepaid 20% of 900 x 0.9; balance 1000 - 100 - 90 - 162
    expected = {"interest": 9.0, "scheduled_principal": 90.0, "prepayment": 162.0, "balance": 648.0}
    assert first_month(prepayment_base="net_of_defaults") == pytest.approx(expected)


def test_opening_prepayment_comes_before_scheduled_principal() -> None:
    # prepaid 20% of 900; scheduled a tenth of the 720 that are left; balance 1000 - 100 - 180 - 72
    expected = {"interest": 9.0, "scheduled_principal": 72.0, "prepayment": 180.0, "balance": 648.0}
    assert first_month(prepayment_base="opening_net_of_defaults") == pytest.approx(expected)


def test_survivors_alone_pay_interest() -> None:
    # 1% of the 700 that neither default nor prepay
    assert first_month(interest_base="survivors")["interest"] == pytest.approx(7.0)


def test_a_servicer_advances_a_payment_below_the_interest_as_it_is() -> None:
    # 100,000 at 1% a month paying 500: 100,500 and 101,005 are owed after two months. 2% default in the first, 2% of
    # the rest in the second, 3.96%. Advanced are 2% of 500, 20 of interest less 10 added to the balance; then 3.96% of
    # 500: 3.96% of 1,005 less 3.96% of 505. Investors are paid 500 a month, as if nobody had defaulted.
    loan = engine.Loan(balance=1e5, annual_rate=0.12, remaining_term=60, payment=500.0)
    request = engine.ProjectionRequest(
        tape=engine.Tape.from_loans([loan]), fields=list(engine.FIELD_NAMES),
        assumptions=engine.Assumptions(
            default=engine.Mdr(rate=0.02), severity=0.4, recovery_lag=6, advancing="principal_and_interest"
        ),
        conventions=engine.Conventions(final_defaults="continue"),
    )  # fmt: skip
    flows = engine.project(request)
    assert flows.advanced_interest[:2] == pytest.approx([20, 39.798], rel=1e-12)
    assert flows.advanced_principal[:2] == pytest.approx([-10, -19.998], rel=1e-12)
    assert flows.scheduled_principal[:2] == pytest.approx([-500, -505], rel=1e-12)
    assert flows.cashflow[:6] == pytest.approx([500] * 6, rel=1e-12)
    assert flows.principal.sum() + flows.loss.sum() == pytest.approx(1e5, rel=1e-12)


def test_actual_days_prepay_less_in_a_short_month() -> None:
    request = engine.ProjectionRequest(
        tape=engine.Tape(loans=[engine.Loan(balance=100.0, annual_rate=0.0, remaining_term=9, amortization="bullet")]),
        assumptions=engine.Assumptions(prepayment=engine.Cpr(rate=0.1)),
        conventions=engine.Conventions(period_length="actual_days"),
        cutoff_date=datetime.date(2021, 1, 31),
    )
    flows = engine.project(request)
    # 31 January to 28 February is 28 days, to 31 March 31 days.
    first = 100 * (1 - 0.9 ** (28 / 365))
    assert flows["prepayment"][0] == pytest.approx(first, rel=1e-13)
    assert flows["prepayment"][1] == pytest.approx((100 - first) * (1 - 0.9 ** (31 / 365)), rel=1e-13)


def test_actual_days_need_the_cutoff_date() -> None:
    request = engine.ProjectionRequest(tape=engine.Tape(loans=[LOAN]), conventions="opening_actual")
    with pytest.raises(engine.AssumptionError, match="cutoff_date is missing"):
        engine.project(request)


def test_opening_actual_reproduces_a_recorded_mortgage_schedule() -> None:
    """10,000 at 8% over 24 months from 1 January 2021, 3% CPR.

    Source: yellowbean/Hastructure 0.50.2, test/UT/AssetTest.hs, ppyTest; that engine truncates every amount to a
    cent and rates to six decimals, hence three cents.
    """
    request = engine.ProjectionRequest(
        tape=engine.Tape(loans=[engine.Loan(balance=10_000.0, annual_rate=0.08, remaining_term=24)]),
        assumptions=engine.Assumptions(prepayment=engine.Cpr(rate=0.03)),
        conventions="opening_actual",
        cutoff_date=datetime.date(2021, 1, 1),
    )
    flows = engine.project(request)
    recorded = {  # month: balance, principal, interest, prepayment
        1: (9589.55, 384.62, 66.48, 25.83),
        2: (9180.90, 386.27, 63.77, 22.38),
        4: (8357.98, 389.45, 58.31, 21.92),
        12: (5043.27, 402.40, 36.30, 14.10),
        24: (0.0, 422.75, 2.81, 1.09),
    }
    for month, figures in recorded.items():
        names = ("balance", "scheduled_principal", "interest", "prepayment")
        assert [flows[name][month - 1] for name in names] == pytest.approx(figures, abs=0.03), month

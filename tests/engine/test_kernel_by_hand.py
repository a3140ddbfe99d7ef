"""What the kernel gives for loans that a hand can follow, and where digits are at stake."""

import pytest

import engine
from tests.engine.test_kernel import AMORTIZATIONS, request


@pytest.mark.parametrize("kind", AMORTIZATIONS)
def test_every_amortization_repays_the_loan(kind: str) -> None:
    loan = engine.Loan(balance=1200.0, annual_rate=0.06, remaining_term=12, amortization=kind)
    flows = engine.project(request([loan], engine.Assumptions()))
    # 0.5% a month: 1,200 level is 103.28 a month; linear 100; bullet 1,200 at the end.
    first = {"level_pay": 1200 * 0.005 / (1 - 1.005**-12) - 6, "linear": 100.0, "bullet": 0.0}[kind]
    assert flows["scheduled_principal"][0] == pytest.approx(first, abs=1e-10)
    assert flows["scheduled_principal"].sum() == pytest.approx(1200, rel=1e-13)
    assert flows["balance"][-1] == 0


def test_interest_only_months_then_level_payments_to_a_balloon() -> None:
    # 1,000 without interest: two months of nothing, then 100 a month (spread over ten) for two, and 800 at the end.
    loan = engine.Loan(balance=1000.0, annual_rate=0.0, remaining_term=5, interest_only_term=2, amortization_term=10)
    flows = engine.project(request([loan], engine.Assumptions()))
    assert flows["scheduled_principal"] == pytest.approx([0, 0, 100, 100, 800], abs=1e-10)


def test_interest_only_and_amortization_terms_count_from_origination() -> None:
    # Aged 24: of 25 interest-only months one is left; then 1,000 is spread over 10 months, 2 of which come.
    young = engine.Loan(
        balance=1000.0, annual_rate=0.0, remaining_term=3, age=24, interest_only_term=25, amortization_term=10
    )
    assert engine.project(request([young], engine.Assumptions()))["scheduled_principal"] == pytest.approx([0, 100, 900])
    # Aged 24 without interest-only months: 34 months of amortization leave 10.
    old = engine.Loan(balance=1000.0, annual_rate=0.0, remaining_term=3, age=24, amortization_term=34)
    flows = engine.project(request([old], engine.Assumptions()))
    assert flows["scheduled_principal"] == pytest.approx([100, 100, 800])


def test_stated_payment_pays_off_early_with_a_smaller_last_one() -> None:
    # 1,000 at 1% a month, paying 400: 1,010 - 400 = 610; 616.10 - 400 = 216.10; then 218.261 pays it off.
    loan = engine.Loan(balance=1000.0, annual_rate=0.12, remaining_term=6, payment=400.0)
    flows = engine.project(request([loan], engine.Assumptions()))
    assert flows["cashflow"] == pytest.approx([400, 400, 218.261, 0, 0, 0], abs=1e-10)


def test_stated_payment_that_is_small_leaves_a_balloon() -> None:
    # 1,000 at 1% a month, paying 20: 990, then 979.90, which falls due with the payment of the last month.
    loan = engine.Loan(balance=1000.0, annual_rate=0.12, remaining_term=3, payment=20.0)
    flows = engine.project(request([loan], engine.Assumptions()))
    assert flows["balance"] == pytest.approx([990, 979.9, 0], abs=1e-10)


def test_default_lost_and_recovered_by_hand() -> None:
    # Bullet of 1,000 at 12%, 10% default a month, half lost, one month of lag, nothing advanced; no defaults in the
    # last month. Month 1: 100 default, 900 pay 9. Month 2: 90 default, 810 pay 8.10, of the 100 half is recovered.
    # Month 3: 810 repaid with 8.10, of the 90 half is recovered.
    loan = engine.Loan(balance=1000.0, annual_rate=0.12, remaining_term=3, amortization="bullet")
    assumed = engine.Assumptions(default=engine.Mdr(rate=0.1), severity=0.5, recovery_lag=1)
    flows = engine.project(request([loan], assumed, periods=3))
    expected = {
        "default": [100, 90, 0],
        "interest": [9, 8.1, 8.1],
        "foreclosure": [100, 90, 0],
        "liquidation": [0, 100, 90],
        "loss": [0, 50, 45],
        "recovery": [0, 50, 45],
        "scheduled_principal": [0, 0, 810],
        "balance": [900, 810, 0],
        "lost_interest": [1, 1.9, 0.9],
        "cashflow": [9, 58.1, 863.1],
    }
    for name, column in expected.items():
        assert flows[name] == pytest.approx(column, abs=1e-10), name


@pytest.mark.parametrize("payment", [None, 50.0])
def test_a_rate_too_small_to_matter_is_as_good_as_none(payment: float | None) -> None:
    tiny, zero = (
        engine.project(
            request(
                [engine.Loan(balance=1000.0, annual_rate=rate, remaining_term=12, payment=payment)],
                engine.Assumptions(),
            )
        )
        for rate in (1e-313, 0.0)
    )
    assert tiny["principal"] == pytest.approx(zero["principal"], rel=1e-15)


@pytest.mark.parametrize(
    ("rate", "payment", "balance_before_last"),
    [
        # Just the interest: the balance stays. A cent less of 10: 1000 + 0.01 x ((1.01)^11 - 1) / 0.01 = 1000.11567.
        (0.12, 10.0, 1000.0),
        (0.12, 9.99, 1000.0 + 0.01 * (1.01**11 - 1) / 0.01),
    ],
)
def test_payments_at_the_interest_keep_their_digits(rate: float, payment: float, balance_before_last: float) -> None:
    loan = engine.Loan(balance=1000.0, annual_rate=rate, remaining_term=12, payment=payment)
    flows = engine.project(request([loan], engine.Assumptions()))
    assert flows["balance"][10] == pytest.approx(balance_before_last, rel=1e-13)


def test_a_last_payment_of_less_than_a_billionth_is_paid_with_the_one_before() -> None:
    # A year's interest of 1e-9 on 100: the first payment of 100 would leave 8.3e-9, less than a billionth of it.
    # With 1e-6 less a month, two months leave 1e-6 and its interest, which the second pays.
    for payment, expected in ((100.0, [100.0, 0.0, 0.0]), (100.0 - 1e-6, [100.0 - 1e-6, 1e-6, 0.0])):
        loan = engine.Loan(balance=100.0, annual_rate=1e-9, remaining_term=3, payment=payment)
        request = engine.ProjectionRequest(
            tape=engine.Tape.from_loans([loan]), fields=["scheduled_principal", "interest"]
        )
        flows = engine.project(request)
        assert flows.scheduled_principal == pytest.approx(expected, rel=1e-12, abs=1.1e-8), payment
        assert (flows.scheduled_principal[1] == 0) == (payment == 100.0)
        assert flows.scheduled_principal.sum() == pytest.approx(100.0, rel=1e-15)
        assert flows.interest[0] == pytest.approx(100 * 1e-9 / 12, rel=1e-9)

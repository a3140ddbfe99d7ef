"""Modification with a new rate and term: by hand, against the plain reference, and what must hold for all."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from tests import reference_workouts
from tests.engine.test_contracts import assert_near
from tests.engine.test_delinquency import LATE, behind, conventions
from tests.engine.test_kernel import ALL, many, prepayments, request
from tests.engine.test_severity import stages
from tests.engine.test_workouts import workouts
from tests.reference import age_of

SOME = settings(max_examples=40, deadline=None)
# 1,000 at 1% a month, 100 of principal a month: the schedule owes 1000, 900, 800, .. and 10, 9, 8, .. of interest.
LOAN = engine.Loan(balance=1000.0, annual_rate=0.12, remaining_term=10, amortization="linear")


def flows_of(modification: engine.Modification, loan: engine.Loan = LOAN, **rest: Any) -> engine.Cashflows:
    helped = engine.Delinquency(roll=[0.1, 0.0], cure=[0.0], modification=modification)
    return engine.project(request([loan], engine.Assumptions(delinquency=helped, **rest)))


def test_new_terms_by_hand() -> None:
    # All who are 30 days late are modified: 6% a year over two months, the interest missed added to what they owe, and
    # a tenth of that forgiven.
    changed = engine.Modification(rates=[1.0], annual_rate=0.06, term=2, arrears="capitalized", forgiveness=0.1)
    flows = flows_of(changed)
    # Month 1: 0.9 pay 90 and 9; 0.1 is late, owing 100.
    # Month 2: 0.81 pay 81 and 7.29. The 0.1 owes 100, and 1 of interest missed is added: 101, of which 10.1 is
    # forgiven. The new payment repays 90.9 in two months at 0.5%: 90.9 x 0.005 / (1 - 1.005^-2).
    payment = 90.9 * 0.005 / (1 - 1.005**-2)
    left = 90.9 * 1.005 - payment
    assert flows.interest[:2] == pytest.approx([9, 7.29 + 1 + 0.4545])
    assert flows.scheduled_principal[:2] == pytest.approx([90, 81 - 1 + payment - 0.4545])
    assert flows.shortfall[:2] == pytest.approx([0, 10.1])
    assert flows.modified[:2] == pytest.approx([0, left])
    assert flows.balance[1] == pytest.approx(0.81 * 800 + 0.09 * 900 + left)
    # Month 3: they pay the rest; who fell behind in month 2, 0.09 owing 81 and 0.81 of interest, is modified then.
    entering = 0.9 * (81 + 0.09 * 9)
    payment = entering * 0.005 / (1 - 1.005**-2)
    assert flows.modified[2] == pytest.approx(entering * 1.005 - payment)
    paid = 0.729 * 100 - 0.81 + left + payment - entering * 0.005
    assert flows.scheduled_principal[2] == pytest.approx(paid)
    # The last to fall behind, in month 10, is modified in month 11 and pays until month 12.
    assert flows.periods == 12
    assert math.fsum([*flows.principal, *flows.loss]) == pytest.approx(1000, rel=1e-13)


def test_a_loan_of_480_months_has_the_payment_of_the_annuity() -> None:
    # 200,000 at 6%, 60 days late, modified at once to 2% over 480 months, interest waived: the payment is
    # 200,000 x (0.02 / 12) / (1 - (1 + 0.02 / 12)^-480) = 605.65 a month for 40 years, and servicing takes 0.25%.
    loan = engine.Loan(
        balance=200_000.0, annual_rate=0.06, remaining_term=300, age=60, status="delinquent_60", servicing_fee=0.0025
    )
    changed = engine.Modification(rates=[0.0, 1.0], annual_rate=0.02, term=480)
    helped = engine.Delinquency(roll=[0.0, 0.0, 0.0], cure=[0.0, 0.0], modification=changed)
    flows = engine.project(request([loan], engine.Assumptions(delinquency=helped)))
    paid = flows.interest + flows.scheduled_principal
    assert paid[:480] == pytest.approx(605.65, abs=0.005)
    # 605.6513 x (1 - (1 + 0.02 / 12)^-240) / (0.02 / 12) is left after 240, 605.6513 / 1.0016667 before the last.
    assert flows.balance[[239, 478, 479]] == pytest.approx([119_721.53, 604.64, 0], abs=0.01)
    assert flows.servicing_fee[1] == pytest.approx(flows.balance[0] * 0.0025 / 12, rel=1e-12)
    assert flows.expected_interest[1] == pytest.approx(flows.interest[1], rel=1e-12)
    assert not paid[480:].any()


def test_redefault_and_prepayment_of_new_terms_by_hand() -> None:
    # No interest, 5 equal payments of 20 for each 100 modified; a tenth defaults each month before it pays, then 20% of
    # what is left prepays (twice the curve's 10%).
    changed = engine.Modification(rates=[1.0], annual_rate=0.0, term=5, redefault=0.1, prepayment_multiplier=2.0)
    late = msgspec.structs.replace(LOAN, status="delinquent_30", remaining_term=9, balance=100.0)
    helped = engine.Delinquency(roll=[0.0, 0.0], cure=[0.0], modification=changed)
    assumed = engine.Assumptions(delinquency=helped, severity=0.5, recovery_lag=1, prepayment=engine.Smm(rate=0.1))
    flows = engine.project(request([late], assumed))
    # Month 1: 20 paid, 16 of 80 prepaid, 64 left. Month 2: 6.4 default; of the other 57.6 a quarter, 14.4, is paid, and
    # 20% of 43.2, 8.64, prepaid: 34.56.
    assert flows.scheduled_principal[:2] == pytest.approx([20, 14.4])
    assert flows.prepayment[:2] == pytest.approx([16, 8.64])
    assert flows.default[:2] == pytest.approx([0, 6.4])
    assert flows.modified[:2] == pytest.approx([64, 34.56])
    assert flows.loss[:3] == pytest.approx([0, 0, 3.2])


@st.composite
def loans(draw: st.DrawFn) -> engine.Loan:
    return engine.Loan(
        balance=draw(st.sampled_from([0.0, 1000.0]) | st.floats(1, 1e6)), annual_rate=draw(st.floats(0, 0.3)),
        remaining_term=draw(st.integers(1, 30)), age=draw(st.integers(4, 20)), servicing_fee=draw(st.floats(0, 0.01)),
        amortization=draw(st.sampled_from(["level_pay", "linear", "bullet"])),
    )  # fmt: skip


@st.composite
def assumptions(draw: st.DrawFn) -> engine.Assumptions:
    helped = draw(workouts().filter(lambda each: each.modification is not None))
    assert helped.modification is not None
    changed = msgspec.structs.replace(
        helped.modification, interest_relief=0.0, term=draw(st.sampled_from([1, 2, 5]) | st.integers(1, 30)),
        annual_rate=draw(st.sampled_from([0.0, 0.02]) | st.floats(0.001, 0.2)),
        arrears=draw(st.sampled_from(["waived", "capitalized"])),
    )  # fmt: skip
    staged = draw(stages)
    return engine.Assumptions(
        prepayment=draw(prepayments), delinquency=msgspec.structs.replace(helped, modification=changed),
        severity=draw(st.floats(0, 1)), recovery_lag=0 if staged else draw(st.integers(0, 9)), recovery_stages=staged,
    )  # fmt: skip


@given(tape=st.lists(behind(loans()), min_size=1, max_size=2), assumed=assumptions(), choices=conventions)
@SOME
def test_pool_and_loans_equal_the_reference(
    tape: list[engine.Loan], assumed: engine.Assumptions, choices: engine.Conventions
) -> None:
    flows = engine.project(request(tape, assumed, conventions=choices))
    right = reference_workouts.project_pool(tape, assumed, choices, flows.periods)
    opening = sum(loan.balance for loan in tape)
    assert_near(dict(flows.columns), right, opening)
    each = engine.project(request(tape, assumed, conventions=choices, level="loan"))
    assert_near({name: each[name].sum(axis=0) for name in ALL}, right, opening)
    paid = math.fsum([*flows.principal, *flows.loss])
    assert paid == pytest.approx(flows.opening_balance, rel=1e-9, abs=1e-9)
    assert flows.balance[-1] + flows.foreclosure[-1] <= 1e-12 * flows.opening_balance
    assert all(age_of(loan) >= 4 for loan in tape)


def test_one_field_alone_is_what_it_is_among_all() -> None:
    # Capitalized interest moves balances, whether or not interest is asked for.
    changed = engine.Modification(rates=[0.5], annual_rate=0.05, term=20, arrears="capitalized", redefault=0.02)
    helped = engine.Delinquency(roll=[0.1, 0.1], cure=[0.0], modification=changed)
    for level in ("pool", "loan"):
        asked = request([LOAN, LOAN], engine.Assumptions(delinquency=helped, severity=0.4), level=level)
        every = engine.project(asked)
        for name in ALL:
            alone = engine.project(msgspec.structs.replace(asked, fields=[name]))
            np.testing.assert_array_equal(alone[name], every[name], err_msg=name)


def test_scenarios_have_terms_of_their_own() -> None:
    none = engine.Delinquency(roll=[0.1, 0.2], cure=[0.1])
    changes = [
        engine.Modification(rates=[0.4], annual_rate=0.03, term=36, arrears="capitalized"),
        engine.Modification(rates=[0.4], annual_rate=0.02, term=12),
        engine.Modification(rates=[0.4], interest_relief=0.5),
        None,
    ]
    assumed = [
        engine.Assumptions(delinquency=msgspec.structs.replace(none, modification=each), severity=0.3)
        for each in changes
    ]
    scenarios = [engine.Scenario(name=str(i), assumptions=each) for i, each in enumerate(assumed)]
    both = engine.project(request([LOAN], assumed[0], scenarios=scenarios))
    for i, each in enumerate(assumed):
        alone = engine.project(request([LOAN], each))
        for name in ALL:
            found = both.scenario(i)[name]
            assert found[: alone.periods] == pytest.approx(alone[name], rel=1e-12, abs=1e-10), (i, name)
            assert not found[alone.periods :].any() or np.abs(found[alone.periods :]).max() < 1e-9


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("level", ["pool", "group", "loan"])
def test_every_number_of_threads_gives_the_same_bits(level: Any) -> None:
    plain = many(2_100).columns
    assert plain is not None
    late = [(None, *LATE)[i % 5] for i in range(2_100)]
    tape = engine.Tape(columns=msgspec.structs.replace(plain, status=late))
    changed = engine.Modification(rates=[0.1], annual_rate=0.03, term=60, arrears="capitalized", redefault=0.01)
    helped = engine.Delinquency(roll=[0.02, 0.3], cure=[0.2], modification=changed)
    assumed = engine.Assumptions(prepayment=engine.Psa(), delinquency=helped, severity=0.4, recovery_lag=3)
    fields = ["balance", "modified", "cashflow", "loss", "servicing_fee"]
    one = engine.project(request(tape, assumed, level=level, fields=fields), threads=1)
    assert one.modified.sum() > 0
    for threads in (2, 4):
        other = engine.project(request(tape, assumed, level=level, fields=fields), threads=threads)
        for name in fields:
            np.testing.assert_array_equal(other[name], one[name], err_msg=f"{name} with {threads} threads")


@pytest.mark.parametrize(
    ("given_terms", "message"),
    [
        ({"annual_rate": 0.02}, "term is missing beside annual_rate"),
        ({"term": 480}, "annual_rate is missing beside term"),
        ({"annual_rate": 0.02, "term": 601}, "term is 601; expected whole months in [1, 600]"),
        ({"annual_rate": 2.0, "term": 480}, "annual_rate is 2; expected a decimal"),
        ({"annual_rate": 0.02, "term": 480, "interest_relief": 0.1}, "interest_relief is 0.1 beside a new rate"),
        ({"arrears": "capitalized"}, "arrears is 'capitalized' without new terms"),
    ],
)
def test_bad_terms_are_told_with_their_path(given_terms: dict[str, Any], message: str) -> None:
    changed = engine.Modification(rates=[0.1], **given_terms)
    helped = engine.Delinquency(roll=[0.1, 0.3], cure=[0.2], modification=changed)
    (found,) = [str(problem) for problem in engine.Assumptions(delinquency=helped).problems("assumptions")]
    assert found.startswith(f"assumptions.delinquency.modification.{message}")

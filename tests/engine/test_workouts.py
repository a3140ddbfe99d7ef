"""Forbearance and modification: by hand, against the plain reference, and what must hold for all."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from tests import reference_workouts
from tests.engine.test_delinquency import LATE, assert_equal, behind, conventions
from tests.engine.test_kernel import ALL, loans, many, prepayments, request
from tests.engine.test_severity import stages

SOME = settings(max_examples=60, deadline=None)
# 1,000 at 1% a month, 100 of principal a month: the schedule owes 1000, 900, 800, .. and 10, 9, 8, .. of interest.
LOAN = engine.Loan(balance=1000.0, annual_rate=0.12, remaining_term=10, amortization="linear")


def flows_of(delinquency: engine.Delinquency, **rest: Any) -> engine.Cashflows:
    return engine.project(request([LOAN], engine.Assumptions(delinquency=delinquency, **rest)))


def test_forbearance_by_hand() -> None:
    # Half of those who are current pay nothing for two months; then half of them pay all they missed and half are
    # modified.
    held = engine.Forbearance(months=2, enter=[0.5], reinstate=0.5, modify=0.5)
    flows = flows_of(engine.Delinquency(roll=[0.0, 0.0], cure=[0.0], forbearance=held))
    # Month 1: 0.5 pay 50 and 5; 0.5 wait, owing 500.
    # Month 2: of 0.5 current 0.25 pay 25 and 0.25 x 9 = 2.25; 0.25 wait, owing 0.25 x 900 = 225.
    # Month 3: of 0.25 current 0.125 pay 12.5 and 0.125 x 8 = 1, 0.125 wait, owing 100. Of the first 0.5, 0.25 pay from
    # 1000 to 700, 75, and 0.25 x (10 + 9 + 8) = 6.75; 0.25 pay an instalment, 25 and 2.5, and owe 0.25 x 900 = 225,
    # two months behind the schedule for good. Current: (0.125 + 0.25) x 700 = 262.5; all 262.5 + 225 + 100 + 225.
    assert flows.scheduled_principal[:3] == pytest.approx([50, 25, 12.5 + 75 + 25])
    assert flows.interest[:3] == pytest.approx([5, 2.25, 1 + 6.75 + 2.5])
    assert flows.forbearance[:3] == pytest.approx([500, 725, 325])
    assert flows.modified[:3] == pytest.approx([0, 0, 225])
    assert flows.balance[:3] == pytest.approx([950, 925, 812.5])
    assert not flows.loss.any()
    # The modified ones pay two months longer than the schedule, those who wait in month 9 too.
    assert flows.periods == 13
    assert flows.principal.sum() == pytest.approx(1000, rel=1e-13)


def test_a_loan_that_is_late_on_the_tape_is_helped_from_where_it_is() -> None:
    # 60 days late with 8 payments to come: its schedule owed 1,000 two months ago. Half enters forbearance for a month,
    # half is modified. Month 1: 0.5 pays an instalment, 50 and 5, and owes 450; 0.5 waits, owing 500. Month 2: the
    # modified pay 50 and 4.5; those who leave, three payments behind, pay from 1000 to 600, 200, and interest of four
    # months.
    held = engine.Forbearance(months=1, enter=[0.0, 0.0, 0.5], reinstate=1.0)
    changed = engine.Modification(rates=[0.0, 0.5])
    late = msgspec.structs.replace(LOAN, remaining_term=8, age=2, status="delinquent_60")
    helped = engine.Delinquency(roll=[0.0, 0.0, 0.0], cure=[0.0, 0.0], forbearance=held, modification=changed)
    flows = engine.project(request([late], engine.Assumptions(delinquency=helped)))
    assert flows.scheduled_principal[:2] == pytest.approx([50, 50 + 200])
    assert flows.interest[:2] == pytest.approx([5, 4.5 + 0.5 * (10 + 9 + 8 + 7)])
    assert flows.forbearance[:2] == pytest.approx([500, 0])
    assert flows.modified[:2] == pytest.approx([450, 400])
    assert flows.balance[:2] == pytest.approx([950, 400 + 0.5 * 600])
    # The reinstated end with the contract in month 8, the modified two months later.
    assert flows.modified[[8, 9]] == pytest.approx([50, 0], abs=1e-9)
    assert flows.principal.sum() == pytest.approx(1000, rel=1e-13)


def test_who_is_not_helped_out_of_forbearance_defaults() -> None:
    held = engine.Forbearance(months=3, enter=[0.0, 0.4], reinstate=0.25)
    flows = flows_of(engine.Delinquency(roll=[0.1, 0.0], cure=[0.6], forbearance=held), severity=0.5, recovery_lag=1)
    # 0.1 miss the first payment; of them 0.04 enter in month 2, owing 40, wait in months 2, 3 and 4, leave in month 5:
    # 0.01 pay from 1000 to 500, 5, and 0.01 x (10 + 9 + 8 + 7 + 6); 0.03 default owing 30, of which half is lost.
    # Late after month 2: 0.1 of the 0.9 current; after month 3: 0.1 of 0.81 + 0.06 who cured = 0.087.
    assert flows.default[4] == pytest.approx(30)
    assert flows.lost_interest[4] == pytest.approx(0.03 * 40)
    assert flows.loss[5] == pytest.approx(15)
    entered = [40, 0.09 * 0.4 * 900, 0.087 * 0.4 * 800]
    assert flows.forbearance[1:4] == pytest.approx([sum(entered[:k]) for k in (1, 2, 3)])


def test_modification_by_hand() -> None:
    # Of those 30 days late half are modified each month: a tenth of the balance is forgiven, a fifth of the interest
    # waived, and a tenth of them default each month.
    changed = engine.Modification(rates=[0.5], interest_relief=0.2, forgiveness=0.1, redefault=0.1)
    flows = flows_of(engine.Delinquency(roll=[0.1, 0.3], cure=[0.2], modification=changed), severity=0.6)
    # Month 1: 0.9 pay 90 and 9; 0.1 is late, owing 100.
    # Month 2: of the 0.1 0.03 default owing 30, 18 lost; 0.02 cure, 4 and 0.38; 0.05 are modified: 5 forgiven, 0.045
    # pay 4.5 and 0.045 x 10 x 0.8 = 0.36, owing 40.5. Of 0.9 current 0.81 pay 81 and 7.29.
    # Month 3: of the 0.045 0.0045 default owing 4.05; 0.0405 pay 4.05 and 0.0405 x 9 x 0.8 = 0.2916, owing 32.4. Of the
    # 0.09 late 24.3 default, 4.05 are forgiven, 0.0405 pay 4.05 and 0.2916, owing 32.4.
    assert flows.scheduled_principal[:2] == pytest.approx([90, 81 + 4 + 4.5])
    assert flows.interest[:2] == pytest.approx([9, 7.29 + 0.38 + 0.36])
    assert flows.default[:3] == pytest.approx([0, 30, 28.35])
    assert flows.shortfall[:3] == pytest.approx([0, 5, 4.05])
    assert flows.loss[:3] == pytest.approx([0, 18 + 5, 0.6 * 28.35 + 4.05])
    assert flows.modified[:3] == pytest.approx([0, 40.5, 64.8])
    assert flows.liquidation[:3] == pytest.approx([0, 30, 28.35])
    assert flows.delinquent_30[1] == pytest.approx(81)


def test_modified_loans_prepay_by_their_multiple() -> None:
    changed = engine.Modification(rates=[1.0], prepayment_multiplier=0.5)
    slow = flows_of(
        engine.Delinquency(roll=[0.5, 0.0], cure=[0.0], modification=changed), prepayment=engine.Smm(rate=0.1)
    )
    # Month 1: of 0.5 who pay 0.1 of all prepay 90; 0.4 left. Month 2: of 0.4 current 0.2 fall behind, 0.04 prepay 32;
    # 0.5 late are modified, owing 0.5 x 900 after an instalment, of which 5% prepays: 22.5.
    assert slow.prepayment[:2] == pytest.approx([90, 32 + 22.5])
    assert slow.modified[1] == pytest.approx(450 - 22.5)


shares = st.sampled_from([0.0, 1.0]) | st.floats(0, 1)


@st.composite
def workouts(draw: st.DrawFn) -> engine.Delinquency:
    buckets = draw(st.integers(1, 4))
    enter = [draw(shares) * 0.3 for _ in range(draw(st.integers(0, buckets + 1)))]
    rates = [draw(shares) * 0.4 for _ in range(draw(st.integers(0, buckets)))]
    left = [1 - a for a in [*enter, *[0.0] * (buckets + 1 - len(enter))]]
    left = [left[0]] + [a - b for a, b in zip(left[1:], [*rates, *[0.0] * (buckets - len(rates))], strict=True)]
    roll = [draw(shares) * each for each in left]
    cure = [draw(shares) * max(a - b, 0.0) for a, b in zip(left[1:], roll[1:], strict=True)]
    reinstate = draw(shares)
    held = engine.Forbearance(
        months=draw(st.integers(1, 24)), enter=enter, reinstate=reinstate, modify=(1 - reinstate) * draw(shares)
    )
    changed = engine.Modification(
        rates=rates, interest_relief=draw(shares), forgiveness=draw(shares), redefault=draw(shares) * 0.3,
        prepayment_multiplier=draw(st.sampled_from([0.0, 1.0, 3.0])),
    )  # fmt: skip
    return engine.Delinquency(
        roll=roll, cure=cure, forbearance=held if enter else None, modification=draw(st.sampled_from([changed, None]))
        if enter else changed,
    )  # fmt: skip


@st.composite
def assumptions(draw: st.DrawFn) -> engine.Assumptions:
    staged = draw(stages)
    severity: Any = st.floats(0, 1) | st.builds(
        engine.SeverityVector, values=st.lists(st.floats(0, 1), min_size=1, max_size=9),
        month=st.sampled_from(["default", "liquidation"]),
    )  # fmt: skip
    return engine.Assumptions(
        prepayment=draw(prepayments), delinquency=draw(workouts()), severity=draw(severity),
        recovery_lag=0 if staged else draw(st.integers(0, 9)), recovery_stages=staged,
    )  # fmt: skip


@given(tape=st.lists(behind(loans()), min_size=1, max_size=3), assumed=assumptions(), choices=conventions)
@SOME
def test_pool_and_loans_equal_the_reference(
    tape: list[engine.Loan], assumed: engine.Assumptions, choices: engine.Conventions
) -> None:
    flows = assert_equal(reference_workouts.project_pool, tape, assumed, choices)
    paid = math.fsum([*flows.principal, *flows.loss])
    assert paid == pytest.approx(flows.opening_balance, rel=1e-9)
    assert flows.balance[-1] + flows.foreclosure[-1] <= 1e-12 * flows.opening_balance


def test_help_that_nobody_takes_changes_nothing() -> None:
    plain = engine.Delinquency(roll=[0.1, 0.3, 0.5], cure=[0.5, 0.25])
    none = msgspec.structs.replace(
        plain, forbearance=engine.Forbearance(months=6, enter=[0.0]), modification=engine.Modification()
    )
    with_help, without = (
        engine.project(request([LOAN], engine.Assumptions(delinquency=each, severity=0.4), periods=14))
        for each in (none, plain)
    )
    for name in ALL:
        np.testing.assert_array_equal(with_help[name], without[name], err_msg=name)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("level", ["pool", "group", "loan"])
def test_every_number_of_threads_gives_the_same_bits(level: str) -> None:
    plain = many(2_100 if level == "loan" else 5_000).columns
    assert plain is not None
    late = [(None, *LATE)[i % 5] for i in range(2_100 if level == "loan" else 5_000)]
    tape = engine.Tape(columns=msgspec.structs.replace(plain, status=late))
    helped = engine.Delinquency(
        roll=[0.02, 0.3], cure=[0.2], forbearance=engine.Forbearance(months=6, enter=[0.01, 0.2], modify=0.6),
        modification=engine.Modification(rates=[0.1], redefault=0.01),
    )  # fmt: skip
    assumed = engine.Assumptions(
        prepayment=engine.Psa(), delinquency=helped, severity=0.4, recovery_lag=3,
        groups={"b": engine.Assumptions(default=engine.Cdr(rate=0.1), severity=0.5, recovery_lag=2)},
    )  # fmt: skip
    one = engine.project(request(tape, assumed, level=level), threads=1)
    assert one.modified.sum() > 0
    for threads in (2, 4):
        other = engine.project(request(tape, assumed, level=level), threads=threads)
        for name in ALL:
            np.testing.assert_array_equal(other[name], one[name], err_msg=f"{name} with {threads} threads")


HELD, CHANGED = engine.Forbearance, engine.Modification


@pytest.mark.parametrize(
    ("help_given", "message"),
    [
        ({"forbearance": HELD(months=0, enter=[0.1])}, "forbearance.months is 0; expected whole months in [1, 24]"),
        ({"forbearance": HELD(months=3, enter=[])}, "forbearance.enter has 0 shares; expected 1 to 2"),
        ({"forbearance": HELD(months=3, enter=[1.5])}, "forbearance.enter[0] is 1.5; expected a decimal"),
        ({"forbearance": HELD(months=3, enter=[0.95])}, "forbearance.enter[0] is 0.95, and 0.1 roll"),
        ({"forbearance": HELD(months=3, enter=[0.1], reinstate=0.6, modify=0.6)}, "forbearance.modify is 0.6, and 0.6"),
        ({"modification": CHANGED(rates=[0.1, 0.1])}, "modification.rates has 2 shares; expected 1 at most"),
        ({"modification": CHANGED(rates=[0.1], forgiveness=2.0)}, "modification.forgiveness is 2; expected a decimal"),
        ({"modification": CHANGED(rates=[0.6])}, "cure[0] is 0.2, 0.3 roll and 0.6 are helped"),
    ],
)
def test_bad_help_is_told_with_its_path(help_given: dict[str, Any], message: str) -> None:
    assumed = engine.Assumptions(delinquency=engine.Delinquency(roll=[0.1, 0.3], cure=[0.2], **help_given))
    (found,) = [str(problem) for problem in assumed.problems("assumptions")]
    assert found.startswith(f"assumptions.delinquency.{message}")


@pytest.mark.parametrize(
    ("loan", "severity"),
    [({"property_value": 900.0}, engine.PropertySeverity(liquidation_cost=0.1)), ({"mortgage_insurance": 0.1}, 0.5)],
)
def test_losses_that_go_by_the_loan_are_refused(loan: dict[str, float], severity: Any) -> None:
    helped = engine.Delinquency(roll=[0.1, 0.3], cure=[0.2], modification=CHANGED(rates=[0.1]))
    tape = engine.Tape.from_loans([msgspec.structs.replace(LOAN, **loan)])
    with pytest.raises(engine.AssumptionError, match="which goes by each loan's balance at default"):
        engine.project(request(tape, engine.Assumptions(delinquency=helped, severity=severity)))

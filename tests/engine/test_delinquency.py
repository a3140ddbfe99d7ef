"""Roll rates: a loan by hand, the plain reference, and what must hold for all."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from tests import reference_late
from tests.engine.test_kernel import ALL, assert_close, many, prepayments, request
from tests.engine.test_severity import secured, severities, stages

SOME = settings(max_examples=60, deadline=None)
FEW = settings(max_examples=20, deadline=None)
LATE = ("delinquent_30", "delinquent_60", "delinquent_90", "delinquent_120")


@st.composite
def rolls(draw: st.DrawFn) -> engine.Delinquency:
    share = st.sampled_from([0.0, 1.0]) | st.floats(0, 1)
    roll = draw(st.lists(share, min_size=2, max_size=5))
    cure = [(1 - each) * draw(share) for each in roll[1:]]
    return engine.Delinquency(roll=roll, cure=cure)


@st.composite
def assumptions(draw: st.DrawFn) -> engine.Assumptions:
    shares = draw(stages)
    return engine.Assumptions(
        prepayment=draw(prepayments),
        delinquency=draw(rolls()),
        burnout=draw(st.none() | st.just(engine.Burnout(floor=0.4))),
        severity=draw(severities),
        recovery_lag=0 if shares else draw(st.integers(0, 9)),
        recovery_stages=shares,
    )


conventions = st.builds(
    engine.Conventions,
    prepayment_base=st.sampled_from(["gross", "net_of_defaults", "opening_net_of_defaults"]),
    interest_base=st.sampled_from(["less_defaults", "survivors"]),
    servicing_fee_base=st.sampled_from(["performing", "total"]),
    loss_timing=st.sampled_from(["liquidation", "default"]),
)
tapes = st.lists(secured(), min_size=1, max_size=4)


@given(tape=tapes, assumed=assumptions(), choices=conventions)
@SOME
def test_pool_and_loans_equal_the_reference(
    tape: list[engine.Loan], assumed: engine.Assumptions, choices: engine.Conventions
) -> None:
    flows = engine.project(request(tape, assumed, conventions=choices))
    expected = reference_late.project_late_pool(tape, assumed, choices, flows.periods)
    opening = sum(loan.balance for loan in tape)
    assert_close(flows.columns, expected, opening)
    each = engine.project(request(tape, assumed, conventions=choices, level="loan"))
    assert_close({name: each[name].sum(axis=0) for name in ALL}, expected, opening)


@given(tape=tapes, assumed=assumptions(), choices=conventions)
@FEW
def test_principal_is_conserved(
    tape: list[engine.Loan], assumed: engine.Assumptions, choices: engine.Conventions
) -> None:
    flows = engine.project(request(tape, assumed, conventions=choices))
    paid = math.fsum([*flows["principal"], *flows["loss"]])
    assert paid == pytest.approx(flows.opening_balance, rel=1e-9)
    assert flows["balance"][-1] + flows["foreclosure"][-1] <= 1e-12 * flows.opening_balance


LOAN = engine.Loan(balance=1000.0, annual_rate=0.12, remaining_term=10, amortization="linear")
# 1,000 at 1% a month, 100 of principal a month: the schedule owes 1000, 900, 800, .. and 10, 9, 8, .. of interest.
ROLLS = engine.Delinquency(roll=[0.1, 0.3, 0.5], cure=[0.5, 0.25])


def test_three_months_by_hand() -> None:
    flows = engine.project(request([LOAN], engine.Assumptions(delinquency=ROLLS, severity=0.6, recovery_lag=1)))
    # Month 1: 0.9 pay 90 and 9; 0.1 is 30 days late, owing 100.
    # Month 2: of 0.9 current 0.81 pay 81 and 0.81 x 9 = 7.29, 0.09 falls behind, owing 81. Of the 0.1 late 0.05
    # cures, paying 0.05 x (1000 - 800) = 10 and 0.05 x (10 + 9) = 0.95; 0.02 pays one instalment, 2 and 0.2; 0.03
    # rolls to 60 days, owing 30. 30 days late: 81 + 0.02 x 900 = 99. Balance: 0.86 x 800 + 99 + 30 = 817. Month 3: of
    # 0.03 at 60 days half defaults: 15; a quarter cures; interest of 0.015 x (10 + 9 + 8) is lost.
    assert flows["interest"][:2] == pytest.approx([9, 7.29 + 0.95 + 0.2])
    assert flows["scheduled_principal"][:2] == pytest.approx([90, 81 + 10 + 2])
    assert flows["delinquent_30"][:2] == pytest.approx([100, 99])
    assert flows["delinquent_60"][:2] == pytest.approx([0, 30])
    assert flows["balance"][:2] == pytest.approx([910, 817])
    assert flows["default"][:3] == pytest.approx([0, 0, 15])
    assert flows["lost_interest"][2] == pytest.approx(0.015 * 27)
    assert flows["loss"][:4] == pytest.approx([0, 0, 0, 9])
    assert flows["recovery"][:4] == pytest.approx([0, 0, 0, 6])
    assert not flows["delinquent_90"].any()


def test_nobody_late_is_the_plain_projection() -> None:
    none = engine.Delinquency(roll=[0.0, 0.0], cure=[0.0])
    late, plain = (
        engine.project(
            request([LOAN], engine.Assumptions(prepayment=engine.Cpr(rate=0.1), delinquency=each), periods=10)
        )
        for each in (none, None)
    )
    for name in ALL:
        assert late[name] == pytest.approx(plain[name], rel=1e-12, abs=1e-12), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delinquency": engine.Delinquency(roll=[0.1], cure=[])}, "delinquency.roll has 1 shares; expected 2 to 5"),
        ({"delinquency": engine.Delinquency(roll=[0.1, 0.2], cure=[])}, "delinquency.cure has 0 shares; expected 1"),
        (
            {"delinquency": engine.Delinquency(roll=[0.1, 2.0], cure=[0.1])},
            "delinquency.roll[1] is 2; expected a decimal",
        ),
        ({"delinquency": engine.Delinquency(roll=[0.1, 0.8], cure=[0.5])}, "delinquency.cure[0] is 0.5, and 0.8 roll"),
        (
            {"delinquency": ROLLS, "default": engine.Cdr(rate=0.1)},
            "default is beside delinquency; expected one of them",
        ),
        ({"delinquency": ROLLS, "advancing": "interest"}, "advancing is 'interest'; expected 'none' with delinquency"),
    ],
)
def test_bad_rolls_are_told_with_their_path(change: dict[str, Any], message: str) -> None:
    found = [str(problem) for problem in engine.Assumptions(**change).problems("assumptions")]
    assert len(found) == 1
    assert found[0].startswith(f"assumptions.{message}")


def test_defaults_after_scheduled_principal_are_refused_with_rolls() -> None:
    rules = engine.Conventions(default_base="after_scheduled_principal")
    with pytest.raises(engine.AssumptionError, match="default_base is 'after_scheduled_principal'; expected 'opening'"):
        engine.project(request([LOAN], engine.Assumptions(delinquency=ROLLS), conventions=rules))


def test_rolls_round_trip_through_json() -> None:
    assumed = engine.Assumptions(delinquency=ROLLS)
    assert msgspec.json.decode(msgspec.json.encode(assumed), type=engine.Assumptions) == assumed


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("level", ["pool", "group", "loan"])
def test_every_number_of_threads_gives_the_same_bits(level: str) -> None:
    tape = many(2_100 if level == "loan" else 5_000)
    assumed = engine.Assumptions(
        prepayment=engine.Psa(), delinquency=ROLLS, severity=0.4, recovery_lag=3,
        groups={"b": engine.Assumptions(default=engine.Cdr(rate=0.1), severity=0.5, recovery_lag=2)},
    )  # fmt: skip
    one = engine.project(request(tape, assumed, level=level), threads=1)
    for threads in (2, 4, 8):
        other = engine.project(request(tape, assumed, level=level), threads=threads)
        for name in ALL:
            np.testing.assert_array_equal(other[name], one[name], err_msg=f"{name} with {threads} threads")

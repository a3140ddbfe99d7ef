"""Roll rates: a loan by hand, the plain reference, and what must hold for all."""

import math
from collections.abc import Callable
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
from tests.reference import age_of

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


@st.composite
def behind(draw: st.DrawFn, any_loan: st.SearchStrategy[engine.Loan]) -> engine.Loan:
    """A loan that may be late at the cut-off, where it is old enough."""
    loan = draw(any_loan)
    status = draw(st.sampled_from([None, *LATE])) if age_of(loan) >= 4 else None
    return msgspec.structs.replace(loan, status=status)


tapes = st.lists(behind(secured()), min_size=1, max_size=4)


def assert_equal(
    reference: Callable[..., Any], tape: list[engine.Loan], assumed: engine.Assumptions, choices: engine.Conventions
) -> engine.Cashflows:
    """The pool's cashflows, which are those of the reference, and so are the loans' added up."""
    flows = engine.project(request(tape, assumed, conventions=choices))
    expected = reference(tape, assumed, choices, flows.periods)
    opening = sum(loan.balance for loan in tape)
    assert_close(flows.columns, expected, opening)
    each = engine.project(request(tape, assumed, conventions=choices, level="loan"))
    assert_close({name: each[name].sum(axis=0) for name in ALL}, expected, opening)
    return flows


@given(tape=tapes, assumed=assumptions(), choices=conventions)
@SOME
def test_pool_and_loans_equal_the_reference(
    tape: list[engine.Loan], assumed: engine.Assumptions, choices: engine.Conventions
) -> None:
    assert_equal(reference_late.project_late_pool, tape, assumed, choices)


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


def test_a_loan_that_is_late_on_the_tape_begins_there() -> None:
    # 60 days late with 8 payments to come: it owes 1,000, which its schedule had two months ago, less 100 a month from
    # then: current loans would owe 800. Month 1: a quarter cures, paying 1000 - 700 = 300 and interest of
    # three months, 10 + 9 + 8; half rolls to 90 days; a quarter pays one instalment, 100 and 10, and owes 900. Month 2:
    # half of the 0.5 at 90 days, the last bucket, defaults with 1,000: 250, and its interest of 10, 9, 8, 7 is lost.
    rolls = engine.Delinquency(roll=[0.0, 0.3, 0.5, 0.5], cure=[0.5, 0.25, 0.25])
    loan = msgspec.structs.replace(LOAN, remaining_term=8, age=2, status="delinquent_60")
    flows = engine.project(request([loan], engine.Assumptions(delinquency=rolls, severity=0.6, recovery_lag=1)))
    assert flows.opening_balance == 1000
    assert flows["scheduled_principal"][0] == pytest.approx(0.25 * 300 + 0.25 * 100)
    assert flows["interest"][0] == pytest.approx(0.25 * 27 + 0.25 * 10)
    assert flows["delinquent_90"][0] == pytest.approx(500)
    assert flows["delinquent_60"][0] == pytest.approx(0.25 * 900)
    assert flows["balance"][0] == pytest.approx(0.25 * 700 + 225 + 500)
    assert flows["default"][:2] == pytest.approx([0, 250])
    assert flows["lost_interest"][1] == pytest.approx(0.25 * (10 + 9 + 8 + 7))
    assert flows["loss"][:3] == pytest.approx([0, 0, 150])
    # In month 2 the 0.25 that cured pay 100 of 700, and of the 0.25 at 60 days a quarter cures, from 900 to 600.
    paid = 0.25 * 100 + 0.0625 * (900 - 600) + 0.0625 * 100 + 0.125 * (1000 - 600) + 0.125 * 100
    assert flows["scheduled_principal"][1] == pytest.approx(paid)


@pytest.mark.parametrize("level", ["pool", "loan"])
def test_a_loan_later_than_the_last_bucket_defaults_from_it(level: Any) -> None:
    # All of the last bucket, 30 days, defaults in month 1 with what is owed; one that is current is 30 days late then.
    rolls = engine.Delinquency(roll=[1.0, 1.0], cure=[0.0])
    loans = [msgspec.structs.replace(LOAN, status=status) for status in ("delinquent_120", "delinquent_30", "current")]
    flows = engine.project(request(loans, engine.Assumptions(delinquency=rolls), level=level))
    total = flows["default"] if level == "pool" else flows["default"].sum(axis=0)
    assert total[:3] == pytest.approx([2000, 1000, 0])


def test_interest_only_months_that_have_just_ended_are_those_of_the_missed_payments() -> None:
    # 90 days late, interest-only until a month ago: two missed payments were interest alone, the third paid principal.
    # The schedule from three months ago owes 1000, 1000, 1000 and then falls by a tenth a month, 11 of them.
    loan = engine.Loan(
        balance=1000.0, annual_rate=0.12, remaining_term=10, age=13, interest_only_term=12, amortization="linear",
        status="delinquent_90",
    )  # fmt: skip
    cures = engine.Delinquency(roll=[0.0] * 5, cure=[1.0] * 4)
    flows = engine.project(request([loan], engine.Assumptions(delinquency=cures)))
    left = [1000 * (1 - k / 11) for k in range(12)]
    assert flows["balance"] == pytest.approx([*left[2:], 0, 0, 0, 0][: flows.periods], abs=1e-9)
    assert flows["interest"][:2] == pytest.approx([10 + 10 + 10 + left[1] / 100, left[2] / 100])


def test_scenarios_agree_on_where_late_loans_begin() -> None:
    late = msgspec.structs.replace(LOAN, status="delinquent_90")
    cdr = engine.Assumptions(default=engine.Cdr(rate=0.1))
    three, two = engine.Assumptions(delinquency=ROLLS), engine.Delinquency(roll=[0.1, 0.2], cure=[0.1])
    for other in (cdr, engine.Assumptions(delinquency=two)):
        scenarios = [engine.Scenario(name="a", assumptions=three), engine.Scenario(name="b", assumptions=other)]
        with pytest.raises(engine.AssumptionError, match="in every scenario or in none, with as many buckets"):
            engine.project(request([LOAN, late], cdr, scenarios=scenarios))
        on_time = engine.project(request([LOAN], cdr, scenarios=scenarios))
        assert on_time["default"].any()


def test_scenarios_of_late_loans_are_those_of_each_alone() -> None:
    loans = [msgspec.structs.replace(LOAN, status=status, age=9) for status in (None, *LATE)]
    rolls = [engine.Delinquency(roll=[0.1, 0.3, 0.5, share], cure=[0.5, 0.25, 0.1]) for share in (0.2, 0.9)]
    assumed = [engine.Assumptions(delinquency=each, severity=0.4, recovery_lag=2) for each in rolls]
    scenarios = [engine.Scenario(name=str(i), assumptions=each) for i, each in enumerate(assumed)]
    both = engine.project(request(loans, assumed[0], scenarios=scenarios))
    for i, each in enumerate(assumed):
        alone = engine.project(request(loans, each))
        assert_close(both.scenario(i).columns, {name: alone[name] for name in ALL}, 5000.0)


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
    plain = many(2_100 if level == "loan" else 5_000).columns
    assert plain is not None
    late = [(None, *LATE)[i % 5] for i in range(2_100 if level == "loan" else 5_000)]
    tape = engine.Tape(columns=msgspec.structs.replace(plain, status=late))
    assumed = engine.Assumptions(
        prepayment=engine.Psa(), delinquency=ROLLS, severity=0.4, recovery_lag=3,
        groups={"b": engine.Assumptions(default=engine.Cdr(rate=0.1), severity=0.5, recovery_lag=2)},
    )  # fmt: skip
    one = engine.project(request(tape, assumed, level=level), threads=1)
    for threads in (2, 4, 8):
        other = engine.project(request(tape, assumed, level=level), threads=threads)
        for name in ALL:
            np.testing.assert_array_equal(other[name], one[name], err_msg=f"{name} with {threads} threads")

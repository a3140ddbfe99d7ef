"""Severity, liquidation in stages, insurance, advances and their conventions: by hand and by the reference."""

import datetime
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from tests import reference
from tests.engine.test_kernel import ALL, assert_close, decimals, defaults, loans, many, prepayments, request

SOME = settings(max_examples=50, deadline=None)
FEW = settings(max_examples=20, deadline=None)
CUTOFF = datetime.date(2024, 1, 31)
CONTINUE = {"final_defaults": "continue"}


def staged(weights: list[int]) -> list[float]:
    return [weight / sum(weights) for weight in weights]


stages = st.none() | st.lists(st.integers(0, 3), min_size=1, max_size=7).filter(any).map(staged)
severities = st.one_of(
    decimals,
    st.builds(
        engine.SeverityVector,
        values=st.lists(decimals, min_size=1, max_size=5),
        month=st.sampled_from(["default", "liquidation"]),
        beyond=st.sampled_from(["last", "zero", "repeat"]),
    ),
    st.builds(
        engine.PropertySeverity,
        liquidation_cost=st.floats(0, 0.3),
        home_price_growth=st.floats(-0.3, 0.3) | st.lists(st.floats(-0.3, 0.3), min_size=1, max_size=5),
        minimum=st.sampled_from([0.0, 0.1]),
    ),
    # Breaks that no loan-to-value of a test meets to the last digit.
    st.builds(
        engine.LtvSeverity,
        ltv=st.just([0.5678, 0.8765, 1.2345]),
        severities=st.lists(decimals, min_size=4, max_size=4),
        home_price_growth=st.floats(-0.3, 0.3) | st.lists(st.floats(-0.3, 0.3), min_size=1, max_size=5),
        month=st.sampled_from(["default", "liquidation"]),
    ),
    st.builds(
        engine.LtvSeverity,
        ltv=st.just([0.5678, 1.2345]),
        severities=st.lists(decimals, min_size=2, max_size=2),
        interpolation=st.just("linear"),
        home_price_growth=st.floats(-0.3, 0.3),
    ),
)


@st.composite
def assumptions(draw: st.DrawFn) -> engine.Assumptions:
    shares = draw(stages)
    return engine.Assumptions(
        prepayment=draw(prepayments),
        default=draw(defaults),
        severity=draw(severities),
        recovery_lag=0 if shares else draw(st.integers(0, 12)),
        recovery_stages=shares,
        advancing=draw(st.sampled_from(["none", "interest", "principal_and_interest"])),
    )


conventions = st.builds(
    engine.Conventions,
    prepayment_base=st.sampled_from(["gross", "net_of_defaults", "opening_net_of_defaults"]),
    interest_base=st.sampled_from(["less_defaults", "survivors"]),
    final_defaults=st.sampled_from(["stop_before_maturity", "continue"]),
    servicing_fee_base=st.sampled_from(["performing", "total"]),
    default_base=st.sampled_from(["opening", "after_scheduled_principal"]),
    loss_timing=st.sampled_from(["liquidation", "default"]),
    advance_share=st.sampled_from([0.0, 0.5, 1.0]),
    advance_months=st.none() | st.integers(0, 8),
    recoup=st.sampled_from(["none", "at_liquidation"]),
)


@st.composite
def secured(draw: st.DrawFn) -> engine.Loan:
    loan = draw(loans())
    value = loan.balance * draw(st.floats(0.3, 2.0))
    coverage = draw(st.sampled_from([0.0, 0.0, 0.25, 1.0]))
    return msgspec.structs.replace(loan, property_value=value, mortgage_insurance=coverage)


tapes = st.lists(secured(), min_size=1, max_size=4)


@given(tape=tapes, assumed=assumptions(), choices=conventions)
@SOME
def test_pool_equals_the_reference(
    tape: list[engine.Loan], assumed: engine.Assumptions, choices: engine.Conventions
) -> None:
    flows = engine.project(request(tape, assumed, conventions=choices))
    expected = reference.project_pool(tape, assumed, choices, flows.periods)
    assert_close(flows.columns, expected, sum(loan.balance for loan in tape))


@given(tape=tapes, assumed=st.lists(assumptions(), min_size=2, max_size=3), choices=conventions)
@FEW
def test_loans_and_scenarios_add_up_to_the_pool(
    tape: list[engine.Loan], assumed: list[engine.Assumptions], choices: engine.Conventions
) -> None:
    scenarios = [engine.Scenario(name=str(i), assumptions=each) for i, each in enumerate([*assumed, assumed[0]])]
    pool, each = (
        engine.project(request(tape, assumed[0], scenarios=scenarios, conventions=choices, level=level))
        for level in ("pool", "loan")
    )
    opening = sum(loan.balance for loan in tape)
    for s in range(len(scenarios)):
        assert_close({name: each[name][s].sum(axis=0) for name in ALL}, pool.scenario(s).columns, opening)


@given(tape=tapes, assumed=assumptions(), choices=conventions)
@FEW
def test_principal_is_conserved(
    tape: list[engine.Loan], assumed: engine.Assumptions, choices: engine.Conventions
) -> None:
    flows = engine.project(request(tape, assumed, conventions=choices))
    paid = math.fsum([*flows["principal"], *flows["loss"], flows["balance"][-1], flows["foreclosure"][-1]])
    assert paid == pytest.approx(flows.opening_balance, rel=1e-9)
    assert flows["foreclosure"][-1] <= 1e-12 * flows.opening_balance


BULLET = engine.Loan(balance=1000.0, annual_rate=0.12, remaining_term=60, amortization="bullet")
LINEAR = engine.Loan(balance=1000.0, annual_rate=0.12, remaining_term=10, amortization="linear")


def flows_of(loan: engine.Loan, choices: dict[str, Any] | None = None, **assumed: Any) -> engine.Cashflows:
    rules = engine.Conventions(**{**CONTINUE, **(choices or {})})
    return engine.project(request([loan], engine.Assumptions(**assumed), conventions=rules))


ONCE = engine.Vector(unit="mdr", values=[0.1], beyond="zero")  # a tenth defaults in month 1, then nothing


def test_a_severity_vector_goes_by_the_month_of_default_or_of_liquidation() -> None:
    # 100 default in month 1 and are liquidated in month 3.
    values = [0.2, 0.3, 0.5]
    for month, loss in (("default", 20), ("liquidation", 50)):
        flows = flows_of(
            BULLET, default=ONCE, severity=engine.SeverityVector(values=values, month=month), recovery_lag=2
        )
        assert flows["loss"][:4] == pytest.approx([0, 0, loss, 0])
        assert flows["recovery"][:4] == pytest.approx([0, 0, 100 - loss, 0])


def test_a_property_covers_what_it_fetches_net_of_cost() -> None:
    # The loan owes 1,000 on a property of 1,100 that loses 10% in the year to liquidation, and 8% of the price to
    # selling: 1,100 x 0.9 x 0.92 = 910.80. Of the tenth that defaults 100 - 91.08 are lost, twelve months later.
    severity = engine.PropertySeverity(liquidation_cost=0.08, home_price_growth=-0.1)
    loan = msgspec.structs.replace(BULLET, property_value=1100.0)
    flows = flows_of(loan, default=ONCE, severity=severity, recovery_lag=11)
    assert flows["loss"][11] == pytest.approx(8.92)
    # Two loans are two properties: what one has over does not cover what the other lacks.
    rich = msgspec.structs.replace(BULLET, property_value=5000.0)
    both = engine.project(
        request(
            [loan, rich],
            engine.Assumptions(default=ONCE, severity=severity, recovery_lag=11),
            conventions=engine.Conventions(**CONTINUE),
        )
    )
    assert both["loss"][11] == pytest.approx(8.92)


def test_a_property_loses_at_least_the_minimum() -> None:
    loan = msgspec.structs.replace(BULLET, property_value=5000.0)
    flows = flows_of(loan, default=ONCE, severity=engine.PropertySeverity(minimum=0.05))
    assert flows["loss"][0] == pytest.approx(5.0)


def test_mortgage_insurance_pays_its_share_of_the_balance_up_to_the_loss() -> None:
    # 40 of 100 are lost; insurance covers 25% of the 100, then 60%, of which the loss is all it pays.
    for coverage, claim in ((0.25, 25.0), (0.6, 40.0)):
        loan = msgspec.structs.replace(BULLET, mortgage_insurance=coverage)
        flows = flows_of(loan, default=ONCE, severity=0.4)
        assert flows["mortgage_insurance"][0] == pytest.approx(claim)
        assert flows["loss"][0] == pytest.approx(40 - claim)
        assert flows["recovery"][0] == pytest.approx(60 + claim)


def test_recoveries_come_in_stages() -> None:
    # 100 default in month 1: half is liquidated a month later, half three months later, 30% of each is lost.
    flows = flows_of(BULLET, default=ONCE, severity=0.3, recovery_stages=[0.0, 0.5, 0.0, 0.5])
    assert flows["liquidation"][:5] == pytest.approx([0, 50, 0, 50, 0])
    assert flows["recovery"][:5] == pytest.approx([0, 35, 0, 35, 0])
    assert flows["loss"][:5] == pytest.approx([0, 15, 0, 15, 0])
    assert flows["foreclosure"][:5] == pytest.approx([100, 50, 50, 0, 0])
    # Interest of 1% is lost on 100 in month 1 and 2, on 50 in months 3 and 4.
    assert flows["lost_interest"][:5] == pytest.approx([1, 1, 0.5, 0.5, 0])


def test_a_loss_booked_at_default_leaves_what_is_expected_back_in_foreclosure() -> None:
    flows = flows_of(BULLET, {"loss_timing": "default"}, default=ONCE, severity=0.3, recovery_lag=2)
    assert flows["loss"][:4] == pytest.approx([30, 0, 0, 0])
    assert flows["foreclosure"][:4] == pytest.approx([70, 70, 0, 0])
    assert flows["recovery"][:4] == pytest.approx([0, 0, 70, 0])


def test_defaults_after_scheduled_principal_pay_the_month_first() -> None:
    # All pay 100 and interest of 10; a tenth of the 900 left defaults: 90. Opening base: 100 default, the others pay 90
    # and 9.
    late = flows_of(LINEAR, {"default_base": "after_scheduled_principal"}, default=ONCE)
    early = flows_of(LINEAR, default=ONCE)
    names = ("default", "scheduled_principal", "interest", "balance", "lost_interest")
    assert [late[name][0] for name in names] == pytest.approx([90, 100, 10, 810, 0])
    assert [early[name][0] for name in names] == pytest.approx([100, 90, 9, 810, 1])


def test_a_share_of_interest_is_advanced_for_some_months() -> None:
    # 100 default in month 1 and stay for five months: 1 of interest a month is missed in months 1 to 6; half of it is
    # advanced for three months. 900 pay 9.
    choices = {"advance_share": 0.5, "advance_months": 3}
    flows = flows_of(BULLET, choices, default=ONCE, recovery_lag=5, advancing="interest")
    assert flows["advanced_interest"][:7] == pytest.approx([0.5, 0.5, 0.5, 0, 0, 0, 0])
    assert flows["lost_interest"][:7] == pytest.approx([1, 1, 1, 1, 1, 1, 0])
    assert flows["interest"][:7] == pytest.approx([9.5, 9.5, 9.5, 9, 9, 9, 9])


def test_advances_are_recouped_from_the_recovery_as_far_as_it_goes() -> None:
    # 100 default, 40 are lost, 1 a month was advanced for six months: 60 - 6 reach investors. At 97% severity only
    # the 3 that are recovered can be taken.
    choices = {"recoup": "at_liquidation"}
    for severity, recouped in ((0.4, 6.0), (0.97, 3.0)):
        flows = flows_of(BULLET, choices, default=ONCE, severity=severity, recovery_lag=5, advancing="interest")
        assert flows["recouped_advances"][5] == pytest.approx(recouped)
        assert flows["loss"][5] == pytest.approx(100 * severity + recouped)
        assert flows["recovery"][5] == pytest.approx(100 * (1 - severity) - recouped)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"severity": engine.SeverityVector(values=[])}, "severity.values is empty; expected at least one share"),
        ({"severity": engine.SeverityVector(values=[40.0])}, "severity.values[0] is 40; expected a decimal in [0, 1]"),
        ({"severity": engine.PropertySeverity(liquidation_cost=8.0)}, "severity.liquidation_cost is 8; expected"),
        ({"severity": engine.LtvSeverity(ltv=[], severities=[0.1])}, "severity.ltv is empty; expected at least one"),
        (
            {"severity": engine.LtvSeverity(ltv=[0.8, 0.8], severities=[0.1, 0.2, 0.3])},
            "severity.ltv[1] is 0.8, after 0.8; expected rising values",
        ),
        (
            {"severity": engine.LtvSeverity(ltv=[80.0], severities=[0.1, 0.2])},
            "severity.ltv[0] is 80; expected a decimal in [0, 10] (80% is 0.8)",
        ),
        (
            {"severity": engine.LtvSeverity(ltv=[0.8], severities=[0.1])},
            "severity.severities has 1 shares; expected 2, one more than ltv",
        ),
        (
            {"severity": engine.LtvSeverity(ltv=[0.8], severities=[0.1, 0.2], interpolation="linear")},
            "severity.severities has 2 shares; expected 1, one for each ltv",
        ),
        (
            {"severity": engine.LtvSeverity(ltv=[0.8], severities=[0.1, 1.2])},
            "severity.severities[1] is 1.2; expected a decimal in [0, 1]",
        ),
        (
            {"severity": engine.PropertySeverity(home_price_growth=[0.1, 5.0])},
            "severity.home_price_growth[1] is 5; expected a decimal in [-1, 1]",
        ),
        ({"recovery_stages": [0.5, 0.4]}, "recovery_stages adds up to 0.9; expected 1"),
        ({"recovery_stages": [1.0], "recovery_lag": 3}, "recovery_stages is beside recovery_lag; expected one of them"),
    ],
)
def test_bad_severities_and_stages_are_told_with_their_path(change: dict[str, Any], message: str) -> None:
    found = [str(problem) for problem in engine.Assumptions(**change).problems("assumptions")]
    assert len(found) == 1
    assert found[0].startswith(f"assumptions.{message}")


def test_bad_conventions_are_told_with_their_path() -> None:
    with pytest.raises(
        engine.AssumptionError, match=r"conventions.advance_share is 50; expected a decimal in \[0, 1\]"
    ):
        flows_of(BULLET, {"advance_share": 50.0})


@pytest.mark.parametrize("ltv", [0.6, 0.8, 0.85, 0.95, 0.97])
def test_loans_at_a_step_of_the_table_are_beyond_it_whatever_their_balance(ltv: float) -> None:
    cents = np.random.default_rng(1).integers(5_000_000, 100_000_000, 2_000)
    tape = engine.Tape.from_columns(
        balance=cents / 100, annual_rate=0.05, remaining_term=3, amortization="bullet", ltv=ltv
    )
    severity = engine.LtvSeverity(ltv=[ltv], severities=[0.1, 0.5])
    request = engine.ProjectionRequest(
        tape=tape,
        assumptions=engine.Assumptions(default=ONCE, severity=severity),
        level="loan",
        fields=["loss", "default"],
    )
    flows = engine.project(request)
    np.testing.assert_allclose(flows.loss.sum(axis=1), 0.5 * flows.default.sum(axis=1), rtol=1e-12)
    assert flows.default.sum() > 0


def test_a_severity_by_property_needs_the_values() -> None:
    with pytest.raises(engine.AssumptionError, match="tape has loans without property_value or ltv"):
        flows_of(BULLET, default=ONCE, severity=engine.PropertySeverity())


@pytest.mark.parametrize(
    "severity",
    [
        engine.SeverityVector(values=[0.1, 0.2]),
        engine.PropertySeverity(),
        engine.LtvSeverity(ltv=[0.8], severities=[0.1, 0.2]),
    ],
)
def test_severities_round_trip_through_json(severity: Any) -> None:
    assumed = engine.Assumptions(severity=severity, recovery_stages=[0.5, 0.5])
    assert msgspec.json.decode(msgspec.json.encode(assumed), type=engine.Assumptions) == assumed


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("level", ["pool", "group", "loan"])
def test_every_number_of_threads_gives_the_same_bits(level: str) -> None:
    columns = many(2_100 if level == "loan" else 5_000).columns
    assert columns is not None
    value = np.asarray(columns.balance) * 1.2
    tape = engine.Tape(columns=msgspec.structs.replace(columns, property_value=value, mortgage_insurance=0.12))
    assumed = engine.Assumptions(
        prepayment=engine.Psa(), default=engine.Cdr(rate=0.03), advancing="principal_and_interest",
        severity=engine.PropertySeverity(liquidation_cost=0.1, home_price_growth=-0.05), recovery_stages=[0, 0.5, 0.5],
    )  # fmt: skip
    rules = engine.Conventions(recoup="at_liquidation", loss_timing="default", advance_months=2)
    one = engine.project(request(tape, assumed, level=level, conventions=rules), threads=1)
    for threads in (2, 4, 8):
        other = engine.project(request(tape, assumed, level=level, conventions=rules), threads=threads)
        for name in ALL:
            np.testing.assert_array_equal(other[name], one[name], err_msg=f"{name} with {threads} threads")


TABLE = {"ltv": [0.8, 1.0], "severities": [0.1, 0.3, 0.6]}


@pytest.mark.parametrize(
    ("value", "growth", "month", "share"),
    [
        (2000.0, 0.0, "liquidation", 0.1),  # 50%
        (1250.0, 0.0, "liquidation", 0.3),  # 80% to the digit is in the second step
        (1000.0, 0.0, "liquidation", 0.6),
        (1250.0, -0.19, "liquidation", 0.3),  # 1,250 x 0.81^(1/12 x 3) = 1,185.85: 84.3%
        (1250.0, [0.0, 0.44], "default", 0.3),  # in month 1 prices have not moved
        (1250.0, [0.0, 0.44], "liquidation", 0.1),  # 1,250 x 1.44^(2/12) = 1,328.34: 75.3%
        (0.0, 0.0, "liquidation", 0.6),
    ],
)
def test_a_table_gives_the_severity_of_a_loan_to_value(value: float, growth: Any, month: Any, share: float) -> None:
    # A tenth of 1,000 defaults in month 1 and is liquidated in month 3.
    loan = msgspec.structs.replace(BULLET, property_value=value)
    severity = engine.LtvSeverity(**TABLE, home_price_growth=growth, month=month)
    flows = flows_of(loan, default=ONCE, severity=severity, recovery_lag=2)
    assert flows["loss"][:4] == pytest.approx([0, 0, 100 * share, 0], rel=1e-12)


def test_a_table_is_read_between_its_points_where_lines_join_them() -> None:
    # 90% is half-way from 80% to 100%: half-way from 10% to 40%; the first and the last hold beyond.
    severity = engine.LtvSeverity(ltv=[0.8, 1.0], severities=[0.1, 0.4], interpolation="linear")
    for ltv, share in ((0.5, 0.1), (0.9, 0.25), (1.0, 0.4), (2.0, 0.4)):
        flows = flows_of(msgspec.structs.replace(BULLET, ltv=ltv), default=ONCE, severity=severity)
        assert flows["loss"][0] == pytest.approx(100 * share, rel=1e-12)


def test_loans_of_one_pool_have_each_its_own_severity_as_principal_is_repaid() -> None:
    # 1,000 at 10 months linear, a value of 1,000: owing 1,000, 900, 800, .. 100%, 90%, 80%, 70% in months 1 to 4.
    loans = [msgspec.structs.replace(LINEAR, property_value=value) for value in (1000.0, 2000.0)]
    rules = engine.Conventions(**CONTINUE)
    assumed = engine.Assumptions(default=engine.Mdr(rate=0.1), severity=engine.LtvSeverity(**TABLE))
    flows = engine.project(request(loans, assumed, conventions=rules))
    one = [0.1 * 1000 * 0.6, 0.09 * 900 * 0.3, 0.081 * 800 * 0.3, 0.0729 * 700 * 0.1]
    other = [0.1 * 1000 * 0.1, 0.09 * 900 * 0.1, 0.081 * 800 * 0.1, 0.0729 * 700 * 0.1]
    assert flows["loss"][:4] == pytest.approx(np.add(one, other).tolist(), rel=1e-12)


def test_a_loan_to_value_stands_for_the_value_in_severities_and_rules() -> None:
    stated, valued = ({"ltv": [0.5, 1.25, None]}, {"property_value": [2000.0, 800.0, None]})
    rule = engine.Rule(
        where={"ltv": engine.Condition(min=1.0)}, assumptions=engine.Assumptions(default=ONCE, severity=0.7)
    )
    assumed = engine.Assumptions(default=ONCE, severity=0.2, rules=[rule])
    for column in (stated, valued):
        tape = engine.Tape.from_columns(balance=[1000.0] * 3, annual_rate=0.0, remaining_term=12, **column)
        flows = engine.project(engine.ProjectionRequest(tape=tape, assumptions=assumed, level="loan", fields=["loss"]))
        assert flows["loss"].sum(axis=1) == pytest.approx([20, 70, 20])
    both = engine.Tape.from_columns(balance=[1.0], annual_rate=0.0, remaining_term=12, ltv=[0.5], property_value=[2.0])
    with pytest.raises(engine.TapeError, match=r"ltv\[0\] is stated beside property_value; expected one of them"):
        engine.project(engine.ProjectionRequest(tape=both))
    percent = engine.Tape.from_columns(balance=[1.0], annual_rate=0.0, remaining_term=12, ltv=[80.0])
    with pytest.raises(engine.TapeError, match=r"ltv\[0\] is 80; expected a decimal in \[0.0001, 10\] \(80% is 0.8\)"):
        engine.project(engine.ProjectionRequest(tape=percent))

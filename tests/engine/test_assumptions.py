"""Composed curves, burnout, timing and rules: by hand, against the plain reference, and what must hold for all."""

import datetime
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine
from engine.curves import annual_from_monthly
from tests import reference
from tests.engine.test_kernel import (
    ALL,
    assert_close,
    conventions,
    decimals,
    defaults,
    loans,
    many,
    prepayments,
    request,
)  # fmt: skip

# Rules with curves in curves are large; Hypothesis counts the draws it gives up.
SOME = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
CUTOFF = datetime.date(2024, 10, 15)
# Seasonality of GNMA 30-year prepayments, January first. Source: Richard and Roll (1989), figure 3, as stated in the
# MATLAB example "Prepayment Modeling with a Two Factor Hull White Model and a LIBOR Market Model".
GNMA_SEASONS = [0.94, 0.76, 0.73, 0.96, 0.98, 0.92, 0.99, 1.1, 1.18, 1.21, 1.23, 0.97]
NO_AMORTIZATION = engine.Loan(balance=1000.0, annual_rate=0.0, remaining_term=60, amortization="bullet")


def listed(values: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
    return st.lists(values, min_size=1, max_size=4) | st.lists(values, min_size=12, max_size=12)


def wrapped(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The curve in a wrapper or two, or as it is."""

    def scaled(multiplier: Any, shift: Any, by: str, **rest: Any) -> engine.Scaled:
        lists = [each for each in (multiplier, shift) if isinstance(each, list)]
        by = "period" if by == "calendar_month" and any(len(each) != 12 for each in lists) else by
        return engine.Scaled(multiplier=multiplier, shift=shift, by=by, **rest)

    kinds, factors, shifts = st.sampled_from(["annual_rate", "monthly_rate"]), st.floats(0, 3), st.floats(-0.2, 0.2)
    once = st.builds(
        scaled,
        curve=inner,
        multiplier=factors | listed(factors),
        shift=shifts | listed(shifts),
        by=st.sampled_from(["period", "age", "calendar_month"]),
        beyond=st.sampled_from(["last", "zero", "repeat"]),
        acts_on=kinds,
    ) | st.builds(engine.Seasonal, curve=inner, factors=st.lists(factors, min_size=12, max_size=12), acts_on=kinds)
    twice = st.builds(engine.Scaled, curve=once, multiplier=factors, acts_on=kinds)
    return inner | once | twice


given_curves = wrapped(prepayments.filter(lambda curve: curve is not None))
given_defaults = wrapped(defaults.filter(lambda curve: curve is not None))
plain = st.builds(
    engine.Assumptions,
    prepayment=st.none() | given_curves,
    default=st.none() | given_defaults,
    burnout=st.none() | st.builds(engine.Burnout, floor=decimals, survived=decimals),
    severity=decimals,
    recovery_lag=st.integers(0, 24),
    advancing=st.sampled_from(["none", "interest", "principal_and_interest"]),
)
wheres = st.one_of(
    st.builds(lambda low, high: {"age": engine.Condition(min=low, below=high)}, st.just(12), st.integers(13, 90)),
    st.builds(lambda rate: {"annual_rate": engine.Condition(max=rate)}, st.floats(0, 0.3)),
    st.builds(
        lambda names, most: {"group": engine.Condition(one_of=names), "balance": engine.Condition(below=most)},
        st.lists(st.sampled_from(["a", "b", "c"]), min_size=1),
        st.floats(1, 1e7),
    ),
    st.just({"amortization": engine.Condition(one_of=["linear", "bullet"])}),
)
rules = st.lists(st.builds(engine.Rule, where=wheres, assumptions=plain), max_size=3)
grouped = st.none() | st.dictionaries(st.sampled_from(["a", "b"]), plain, min_size=1)
rich = st.builds(
    lambda base, rules, groups: msgspec.structs.replace(base, rules=rules, groups=groups), plain, rules, grouped
)
tapes = st.lists(loans(), min_size=1, max_size=4)


@given(tape=tapes, assumed=rich, choices=conventions)
@SOME
def test_pool_equals_the_reference(
    tape: list[engine.Loan], assumed: engine.Assumptions, choices: engine.Conventions
) -> None:
    flows = engine.project(request(tape, assumed, conventions=choices, cutoff_date=CUTOFF))
    expected = reference.project_pool(tape, assumed, choices, flows.periods, CUTOFF)
    assert_close(flows.columns, expected, sum(loan.balance for loan in tape))


@given(tape=tapes, assumed=st.lists(rich, min_size=2, max_size=2), level=st.sampled_from(["pool", "group", "loan"]))
@FEW
def test_scenarios_with_rules_of_their_own_equal_each_alone(
    tape: list[engine.Loan], assumed: list[engine.Assumptions], level: str
) -> None:
    scenarios = [engine.Scenario(name=str(i), assumptions=each) for i, each in enumerate(assumed)]
    flows = engine.project(request(tape, engine.Assumptions(), scenarios=scenarios, level=level, cutoff_date=CUTOFF))
    for i, each in enumerate(assumed):
        alone = engine.project(request(tape, each, level=level, periods=flows.periods, cutoff_date=CUTOFF))
        for name in ALL:
            scale = max(np.abs(alone[name]).max(initial=0.0), flows.opening_balance)
            np.testing.assert_allclose(flows[name][i], alone[name], rtol=1e-12, atol=1e-14 * scale, err_msg=name)


@given(tape=tapes, assumed=rich, choices=conventions)
@FEW
def test_principal_is_conserved(
    tape: list[engine.Loan], assumed: engine.Assumptions, choices: engine.Conventions
) -> None:
    flows = engine.project(request(tape, assumed, conventions=choices, cutoff_date=CUTOFF))
    paid = math.fsum([*flows["principal"], *flows["loss"], flows["balance"][-1], flows["foreclosure"][-1]])
    assert paid == pytest.approx(flows.opening_balance, rel=1e-9)


def first_rates(prepayment: Any, months: int, **rest: Any) -> list[float]:
    """CPR of the first months of a loan that only prepays."""
    assumed = engine.Assumptions(prepayment=prepayment, **rest)
    flows = engine.project(request([NO_AMORTIZATION], assumed, cutoff_date=CUTOFF))
    opening = np.concatenate([[1000.0], flows["balance"][: months - 1]])
    return [float(rate) for rate in annual_from_monthly(flows["prepayment"][:months] / opening)]


def test_seasonality_follows_the_calendar_from_the_month_after_the_cutoff() -> None:
    # 10% CPR from a cut-off in October: November 1.23, December 0.97, January 0.94.
    rates = first_rates(engine.Seasonal(curve=engine.Cpr(rate=0.1), factors=GNMA_SEASONS), 3)
    assert rates == pytest.approx([0.123, 0.097, 0.094], rel=1e-12)


def test_multiplier_and_shift_act_on_annual_rates() -> None:
    # 1.5 x 6% + 1% = 10% CPR; as monthly rates 1.5 SMM + 1% of SMM would be another curve
    assert first_rates(engine.Scaled(curve=engine.Cpr(rate=0.06), multiplier=1.5, shift=0.01), 1) == pytest.approx(
        [0.1]
    )
    monthly = engine.Scaled(curve=engine.Smm(rate=0.01), multiplier=1.5, shift=0.005, acts_on="monthly_rate")
    assert first_rates(monthly, 1) == pytest.approx([1 - 0.98**12])  # SMM of 2%


def test_a_stress_by_period_on_a_ramp_by_age() -> None:
    # Age 14 at the cut-off: month 1 is age 15, 3% CPR; doubled for two months, then as it is.
    loan = engine.Loan(balance=1.0, annual_rate=0.0, remaining_term=60, amortization="bullet", age=14)
    curve = engine.Scaled(curve=engine.Psa(), multiplier=[2.0, 2.0, 1.0])
    flows = engine.project(request([loan], engine.Assumptions(prepayment=curve)))
    opening = np.concatenate([[1.0], flows["balance"][:2]])
    cpr = annual_from_monthly(flows["prepayment"][:3] / opening)
    assert cpr == pytest.approx([2 * 0.03, 2 * 0.032, 0.034], rel=1e-12)


def test_burnout_slows_prepayment_as_borrowers_leave() -> None:
    # floor 0.3, half of the pool gone before the cut-off: month 1 at 0.3 + 0.7 x 0.5 = 0.65 of 20% CPR = 13%. Then
    # S = 0.87^(1/12), and month 2 is 20% x (0.3 + 0.35 S).
    left = 0.87 ** (1 / 12)
    rates = first_rates(engine.Cpr(rate=0.2), 2, burnout=engine.Burnout(floor=0.3, survived=0.5))
    assert rates == pytest.approx([0.13, 0.2 * (0.3 + 0.35 * left)], rel=1e-12)


def test_timing_states_defaults_of_the_original_balance() -> None:
    # 10% of 2 x 1,000 over three years, 20/50/30%: 40 in year one, 3.33 a month whatever prepays; two loans of 500
    # left share them by what is left of each.
    loan = engine.Loan(
        balance=500.0, annual_rate=0.06, remaining_term=120, original_balance=1000.0, original_term=180, age=60
    )
    curve = engine.Timing(cumulative=0.1, timing=[0.2, 0.5, 0.3], months_a_share=12)
    assumed = engine.Assumptions(default=curve, prepayment=engine.Psa(speed=2), severity=0.4)
    flows = engine.project(request([loan, msgspec.structs.replace(loan, age=10)], assumed))
    expected = [40 / 12] * 12 + [100 / 12] * 12 + [60 / 12] * 12 + [0.0] * 84
    assert flows["default"] == pytest.approx(expected, rel=1e-11, abs=1e-11)


def test_timing_states_losses_at_the_cutoff() -> None:
    # 3% of 1,000 is lost at 60% severity: 50 default in the first two months, a lag of one month.
    curve = engine.Timing(cumulative=0.03, timing=[0.5, 0.5], measure="loss", base="cutoff_balance")
    assumed = engine.Assumptions(default=curve, severity=0.6, recovery_lag=1)
    flows = engine.project(request([NO_AMORTIZATION], assumed))
    assert flows["default"][:3] == pytest.approx([25, 25, 0])
    assert flows["loss"][:4] == pytest.approx([0, 15, 15, 0])


def test_timing_is_of_its_own_loans_whatever_the_others_have() -> None:
    # Half of 1,000 defaults in the first month; the other group's loan alone has a schedule, or a table of cashflows.
    own = msgspec.structs.replace(NO_AMORTIZATION, group="own")
    plain = engine.Loan(balance=100.0, annual_rate=0.0, remaining_term=2, amortization="bullet")
    table = engine.CashflowTable(balances=[100.0, 50.0, 0.0], interest=[0.0, 0.0])
    schedule = engine.Schedule(balances=[100.0, 50.0, 0.0])
    curve = engine.Timing(cumulative=0.5, timing=[1.0], base="cutoff_balance")
    assumed = engine.Assumptions(groups={"own": engine.Assumptions(default=curve)})
    for other in (
        msgspec.structs.replace(plain, amortization="schedule", schedule="its"),
        engine.GivenCashflow(cashflows="its"),
    ):
        tape = engine.Tape(loans=[own, other], schedules={"its": schedule}, cashflows={"its": table})
        flows = engine.project(engine.ProjectionRequest(tape=tape, assumptions=assumed, level="group"))
        assert flows.groups == ("own", "")
        assert flows["default"][0][:2] == pytest.approx([500, 0])
        assert flows["default"][1] == pytest.approx(np.zeros(flows.periods))


def test_timing_states_amounts_whatever_the_default_base() -> None:
    loan = engine.Loan(balance=1000.0, annual_rate=0.12, remaining_term=10, amortization="linear")
    curve = engine.Timing(cumulative=0.1, timing=[0.5, 0.5], base="cutoff_balance")
    for base in ("opening", "after_scheduled_principal"):
        rules = engine.Conventions(default_base=base)
        flows = engine.project(request([loan], engine.Assumptions(default=curve), conventions=rules))
        assert flows["default"][:3] == pytest.approx([50, 50, 0]), base


def test_timing_stops_at_what_is_left_where_it_may() -> None:
    curve = engine.Timing(cumulative=1.0, timing=[0.5, 0.5], base="cutoff_balance", at_end="drop")
    assumed = engine.Assumptions(default=curve, prepayment=engine.Smm(rate=0.4))
    flows = engine.project(request([NO_AMORTIZATION], assumed))
    # Month 1: 500 default, 400 prepay, 100 are left; month 2: 500 are stated, 100 default.
    assert flows["default"][:3] == pytest.approx([500, 100, 0])
    assert flows["balance"][:2] == pytest.approx([100, 0], abs=1e-12)


@pytest.mark.parametrize(
    ("term", "timing", "each", "told"),
    [
        # 40% of 1,000 in four months, of which the loan has three: 100 of 400, in month 4.
        (3, [0.25] * 4, 1, r"of 400\.00, of which 100\.00 from month 4 on"),
        # 20% over two years, half of it a year: half is past the end of a loan of a year.
        (12, [0.5, 0.5], 12, r"of 200\.00, of which 100\.00 from month 13 on"),
    ],
)
def test_timing_refuses_defaults_without_a_balance(term: int, timing: list[float], each: int, told: str) -> None:
    cumulative = 0.4 if each == 1 else 0.2
    curve = engine.Timing(cumulative=cumulative, timing=timing, months_a_share=each, base="cutoff_balance")
    loan = msgspec.structs.replace(NO_AMORTIZATION, remaining_term=term)
    with pytest.raises(engine.AssumptionError, match=rf"assumptions\.default states defaults {told} have no balance"):
        engine.project(request([loan], engine.Assumptions(default=curve)))
    # In a pool whose other loan has the term, that one takes them all.
    longer = msgspec.structs.replace(loan, remaining_term=24)
    flows = engine.project(request([loan, longer], engine.Assumptions(default=curve)))
    assert flows["default"].sum() == pytest.approx(2000 * cumulative, rel=1e-12)
    dropping = engine.Assumptions(default=msgspec.structs.replace(curve, at_end="drop"))
    assert engine.project(request([loan], dropping))["default"].sum() == pytest.approx(1000 * cumulative - 100)


@given(
    tape=st.lists(loans(), min_size=1, max_size=3),
    cumulative=decimals,
    shares=st.lists(st.floats(0.01, 1), min_size=1, max_size=5),
    prepayment=st.none() | given_curves,
    burnout=st.none() | st.builds(engine.Burnout, floor=decimals),
    choices=conventions,
)
@FEW
def test_timing_equals_the_reference(
    tape: list[engine.Loan], cumulative: float, shares: list[float], prepayment: Any, burnout: Any, choices: Any
) -> None:
    timing = [share / sum(shares) for share in shares]
    curve = engine.Timing(cumulative=cumulative, timing=timing, base="cutoff_balance", at_end="drop")
    assumed = engine.Assumptions(prepayment=prepayment, default=curve, burnout=burnout, severity=0.5, recovery_lag=2)
    flows = engine.project(request(tape, assumed, conventions=choices, periods=8, cutoff_date=CUTOFF))
    vector = reference.timed_as_vector(tape, assumed, choices, 8, CUTOFF)
    expected = reference.project_pool(tape, vector, choices, 8, CUTOFF)
    opening = sum(loan.balance for loan in tape)
    for name in ALL:
        # Where next to nothing is left, the rate is a ratio of two roundings; hence the opening balance.
        np.testing.assert_allclose(flows[name], expected[name], rtol=1e-8, atol=1e-12 * opening, err_msg=name)


def test_timing_needs_original_balances_and_a_severity_for_losses() -> None:
    curve = engine.Timing(cumulative=0.1, timing=[1.0])
    with pytest.raises(engine.AssumptionError, match="has loans without original_balance"):
        engine.project(request([NO_AMORTIZATION], engine.Assumptions(default=curve)))
    curve = engine.Timing(cumulative=0.1, timing=[1.0], measure="loss")
    with pytest.raises(engine.AssumptionError, match=r"assumptions\.severity is 0; a timing curve of losses needs"):
        engine.project(request([NO_AMORTIZATION], engine.Assumptions(default=curve)))


def test_curves_by_coupon_and_age_take_the_first_rule_that_fits() -> None:
    slow, fast, base = (engine.Assumptions(prepayment=engine.Smm(rate=rate)) for rate in (0.01, 0.05, 0.02))
    rules = [
        engine.Rule(
            where={"annual_rate": engine.Condition(min=0.06), "age": engine.Condition(below=12)}, assumptions=slow
        ),
        engine.Rule(where={"annual_rate": engine.Condition(min=0.06)}, assumptions=fast),
    ]
    tape = [
        engine.Loan(balance=100.0, annual_rate=rate, remaining_term=9, amortization="bullet", age=age)
        for rate, age in ((0.06, 11), (0.06, 12), (0.05, 11))
    ]
    flows = engine.project(request(tape, msgspec.structs.replace(base, rules=rules), level="loan"))
    # New at 6%: 1%; older at 6%: 5%; under 6% no rule fits: 2%.
    assert flows["prepayment"][:, 0] == pytest.approx([1.0, 5.0, 2.0])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "rules[0].where is empty; expected at least one column's condition"),
        ({"color": engine.Condition(min=1)}, "rules[0].where['color'] is no column of rules; expected one of balance"),
        ({"age": engine.Condition()}, "rules[0].where['age'] is on the numbers of age; expected min, max or below"),
        (
            {"group": engine.Condition(min=1)},
            "rules[0].where['group'] is on the texts of group; expected one_of and nothing else",
        ),
    ],
)
def test_rules_are_refused_with_their_path(rule: Any, message: str) -> None:
    assumed = engine.Assumptions(rules=[engine.Rule(where=rule, assumptions=engine.Assumptions())])
    found = [str(problem) for problem in assumed.problems("assumptions")]
    assert found[0].startswith(f"assumptions.{message}")


def test_rules_in_rules_and_curves_of_the_other_kind_are_refused() -> None:
    rule = engine.Rule(where={"age": engine.Condition(min=1)}, assumptions=engine.Assumptions())
    nested = engine.Assumptions(rules=[msgspec.structs.replace(rule, assumptions=engine.Assumptions(rules=[rule]))])
    assert [str(problem) for problem in nested.problems("a")] == [
        "a.rules[0].assumptions.rules nests rules in a rule; expected assumptions without rules"
    ]
    wrong = engine.Assumptions(prepayment=engine.Scaled(curve=engine.Cdr(rate=0.1)))
    expected = "a.prepayment.curve.type is 'cdr'; expected one of 'cpr', 'smm', 'psa', 'abs', 'hep', 'mhp', 'vector'"
    assert [str(problem) for problem in wrong.problems("a")] == [expected]


def test_calendar_months_need_the_cutoff_date() -> None:
    seasonal = engine.Seasonal(curve=engine.Cpr(rate=0.1), factors=GNMA_SEASONS)
    with pytest.raises(engine.AssumptionError, match="cutoff_date is missing; curves by calendar month"):
        engine.project(request([NO_AMORTIZATION], engine.Assumptions(prepayment=seasonal)))


RICH = engine.Assumptions(
    prepayment=engine.Seasonal(curve=engine.Psa(speed=2), factors=GNMA_SEASONS),
    default=engine.Timing(cumulative=0.05, timing=[0.5, 0.5], months_a_share=24, base="cutoff_balance"),
    burnout=engine.Burnout(),
    severity=0.4,
    recovery_lag=6,
    rules=[
        engine.Rule(
            where={"annual_rate": engine.Condition(min=0.05)},
            assumptions=engine.Assumptions(default=engine.Scaled(curve=engine.Sda(), multiplier=[1.0, 2.0])),
        )
    ],
)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("level", ["pool", "group", "loan"])
def test_every_number_of_threads_gives_the_same_bits(level: str) -> None:
    tape = many(3_000 if level == "loan" else 20_000)
    one = engine.project(request(tape, RICH, level=level, cutoff_date=CUTOFF), threads=1)
    for threads in (2, 4, 8):
        other = engine.project(request(tape, RICH, level=level, cutoff_date=CUTOFF), threads=threads)
        for name in ALL:
            np.testing.assert_array_equal(other[name], one[name], err_msg=f"{name} with {threads} threads")

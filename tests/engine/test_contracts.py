"""Contracts whose rate or payment changes: the forward walk against the plain reference."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from tests import reference
from tests.engine.test_kernel import ALL, FEW, SOME, conventions, ungrouped
from tests.reference_contracts import contract

INDICES = {
    "flat": engine.FlatRate(rate=0.04),
    "wild": engine.MonthlyRates(rates=[0.02, 0.09, 0.0, 0.15, 0.05, 0.051, 0.2, 0.01] * 9, history=[0.03, 0.07]),
    "known": engine.MonthlyRates(rates=[0.05, 0.03, 0.08], history=[0.03, 0.07, 0.02, 0.11, 0.05, 0.01]),
    "falls": engine.MonthlyRates(rates=[0.08 - 0.001 * k for k in range(80)], beyond="zero"),
}
SCHEDULES = {
    "straight": engine.Schedule(balances=[float(300 - k) for k in range(300)]),
    "aged": engine.Schedule(balances=[1000.0 * 0.99**k for k in range(400)], by="age"),
    "grows": engine.Schedule(balances=[100.0 + k for k in range(120)]),
}
STEPS = {
    "once": engine.RateSchedule(steps=[engine.RateStep(month=12, annual_rate=0.09)]),
    "often": engine.RateSchedule(
        steps=[engine.RateStep(month=7 * k, annual_rate=0.01 + 0.005 * (k % 9)) for k in range(30)], by="age"
    ),
    "now": engine.RateSchedule(steps=[engine.RateStep(month=0, annual_rate=0.05)]),
}
RATES = st.sampled_from([0.0, 1e-9, 0.04, 0.12, 0.3]) | st.floats(0.0, 0.3)


@st.composite
def floating(draw: st.DrawFn, term: int, rate: float, kind: str, balance: float) -> dict[str, Any]:
    maybe = lambda values: draw(st.none() | values)  # noqa: E731
    caps = st.sampled_from([0.0, 0.01, 0.02, 0.05])
    rounding = maybe(st.sampled_from([0.00125, 0.0025, 1e-6]))
    terms = {
        "index": draw(st.sampled_from(sorted(INDICES))),
        "margin": draw(st.sampled_from([-0.01, 0.0, 0.0225]) | st.floats(-0.05, 0.1)),
        "first_reset": draw(st.integers(0, term)),
        "reset_frequency": maybe(st.sampled_from([1, 3, 6, 12, 60])),
        "look_back": maybe(st.integers(0, 4)),
        "rate_rounding": rounding,
        "rounding_direction": maybe(st.sampled_from(["nearest", "up", "down"])) if rounding else None,
        "first_cap": maybe(caps), "first_floor": maybe(caps),
        "periodic_cap": maybe(caps), "periodic_floor": maybe(caps),
        "life_cap": maybe(st.floats(rate, 0.35)),
        "life_floor": maybe(st.floats(0.0, min(rate, 0.05))),
    }  # fmt: skip
    return terms | (draw(recasting(balance)) if kind == "level_pay" else {})


@st.composite
def recasting(draw: st.DrawFn, balance: float) -> dict[str, Any]:
    limited = draw(st.booleans()) and balance > 0
    return {
        "recast_frequency": draw(st.none() | st.sampled_from([0, 6, 12])),
        "payment_cap": draw(st.none() | st.sampled_from([0.0, 0.075])),
        "full_recast_frequency": draw(st.none() | st.sampled_from([24, 60])),
        "neg_am_limit": draw(st.sampled_from([1.0, 1.001, 1.1])) if limited else None,
        "original_balance": balance if limited else None,
    }


@st.composite
def contracts(draw: st.DrawFn) -> engine.Loan:
    """A loan of every kind that is walked forward."""
    what = draw(st.sampled_from(["floating", "steps", "graduated", "holiday", "schedule"]))
    term, rate, age = draw(st.integers(2, 90)), draw(RATES), draw(st.integers(0, 40))
    balance = draw(st.sampled_from([0.0, 1e6]) | st.floats(0.01, 1e7))
    kind = draw(st.sampled_from(["level_pay", "linear", "bullet"]))
    kind = {"graduated": "level_pay", "schedule": "schedule"}.get(what, kind)
    free = 0 if what in ("graduated", "schedule") else draw(st.just(0) | st.integers(0, age + term - 1))
    spread = None
    if kind in ("level_pay", "linear") and draw(st.booleans()):
        spread = draw(st.integers(term + max(age - free, 0), 500))
    terms: dict[str, Any] = {}
    if what == "floating":
        terms = draw(floating(term, rate, kind, balance))
    if what == "steps":
        terms = {"rate_schedule": draw(st.sampled_from(sorted(STEPS)))}
        terms |= draw(recasting(balance)) if kind == "level_pay" else {}
    if what == "graduated":
        terms = {"graduation_rate": draw(st.floats(-0.1, 0.1)), "graduation_years": draw(st.integers(1, 10))}
    if what == "schedule":
        terms = {"schedule": draw(st.sampled_from(sorted(SCHEDULES)))}
    if what == "holiday" or (what in ("floating", "steps") and not terms.get("neg_am_limit") and draw(st.booleans())):
        start = draw(st.integers(1, term - 1))
        terms |= {
            "holiday_start": start,
            "holiday_months": draw(st.integers(1, term - start)),
            "holiday_interest": draw(st.none() | st.sampled_from(["capitalized", "forgiven", "paid"])),
        }
    payment = None
    if (
        kind == "level_pay"
        and balance > 0
        and draw(st.booleans())
        and not (what in ("floating", "steps") and free > age)
    ):
        # From a little below the interest, which adds to the balance, to a payment that ends the loan early.
        payment = balance * draw(st.floats(rate / 12 * 0.9, rate / 12 + 3 / term))
    return engine.Loan(
        balance=balance, annual_rate=rate, remaining_term=term, age=age, amortization=kind, payment=payment,
        interest_only_term=free, amortization_term=spread, servicing_fee=draw(st.sampled_from([0.0, 0.0025])), **terms,
    )  # fmt: skip


def tape_of(loans: list[engine.Loan]) -> engine.Tape:
    return engine.Tape.from_loans(loans, schedules=SCHEDULES, rate_schedules=STEPS)


def index_of(name: str, month: int) -> float:
    path, k = INDICES[name], month
    if isinstance(path, engine.FlatRate):
        return path.rate
    if k < 0:
        past = path.history or [path.rates[0]]
        return past[min(-k, len(past)) - 1]
    if k >= len(path.rates):
        return 0.0 if path.beyond == "zero" else path.rates[-1]
    return path.rates[k]


def asked(loans: list[engine.Loan], assumed: engine.Assumptions, **rest: Any) -> engine.ProjectionRequest:
    assumed = msgspec.structs.replace(assumed, rates=INDICES)
    return engine.ProjectionRequest(**{"tape": tape_of(loans), "assumptions": assumed, "fields": ALL, **rest})


def expected(
    loans: list[engine.Loan], assumed: engine.Assumptions, rules: engine.Conventions, periods: int
) -> list[dict[str, list[float]]]:
    tape = tape_of(loans)
    return [
        reference.project_loan(loan, assumed, rules, periods, None, contract(loan, tape, index_of)) for loan in loans
    ]


SIGNED = ("net_interest", "cashflow", "scheduled_principal", "principal", "expected_principal", "advanced_principal")


def assert_near(flows: dict[str, np.ndarray], stated: dict[str, Any], opening: float) -> None:
    """Equal to 1e-12 of the column's peak; nothing is negative but what negative amortization makes so."""
    for name in ALL:
        value, right = flows[name], np.array(stated[name])
        assert np.all(np.isfinite(value)), name
        assert np.all(value >= 0) or name in SIGNED, (name, value.min())
        peak = np.abs(right).max(initial=0.0)
        np.testing.assert_allclose(value, right, rtol=0, atol=1e-12 * peak + 1e-13 * opening, err_msg=name)


@given(tape=st.lists(contracts(), min_size=1, max_size=3), assumed=ungrouped, rules=conventions)
@SOME
def test_each_loan_equals_the_reference(
    tape: list[engine.Loan], assumed: engine.Assumptions, rules: engine.Conventions
) -> None:
    flows = engine.project(asked(tape, assumed, conventions=rules, level="loan"))
    for i, right in enumerate(expected(tape, assumed, rules, flows.periods)):
        assert_near({name: flows[name][i] for name in ALL}, right, tape[i].balance)


@given(tape=st.lists(contracts(), min_size=1, max_size=4), assumed=ungrouped, rules=conventions)
@FEW
def test_pool_equals_the_reference(
    tape: list[engine.Loan], assumed: engine.Assumptions, rules: engine.Conventions
) -> None:
    flows = engine.project(asked(tape, assumed, conventions=rules))
    parts = expected(tape, assumed, rules, flows.periods)
    total = reference.add_up(parts, flows.periods)
    assert_near(dict(flows.columns), total, sum(loan.balance for loan in tape))


@given(tape=st.lists(contracts(), min_size=1, max_size=4), assumed=ungrouped, rules=conventions)
@FEW
def test_principal_is_conserved(
    tape: list[engine.Loan], assumed: engine.Assumptions, rules: engine.Conventions
) -> None:
    flows = engine.project(asked(tape, assumed, conventions=rules))
    opening = sum(loan.balance for loan in tape)
    paid = math.fsum([*flows["principal"], *flows["loss"], flows["balance"][-1], flows["foreclosure"][-1]])
    assert paid == pytest.approx(opening, rel=1e-9)
    assert flows["balance"][-1] == 0


@pytest.mark.parametrize("by", ["period", "age"])
def test_a_step_to_the_rate_at_the_cut_off_keeps_the_stated_payment(by: Any) -> None:
    # 1% a month: 1,000 less what 30 pays beyond 10 of interest: 980, then 30 - 9.8 less: 959.80.
    age = 24 if by == "age" else 0
    steps = engine.RateSchedule(by=by, steps=[engine.RateStep(month=age, annual_rate=0.12)])
    loan = engine.Loan(balance=1000, annual_rate=0.12, remaining_term=60, age=age, payment=30, rate_schedule="steps")
    tape = engine.Tape.from_loans([loan], rate_schedules={"steps": steps})
    assert engine.project(engine.ProjectionRequest(tape=tape)).balance[:2] == pytest.approx([980, 959.8], rel=1e-13)


def test_a_step_to_another_rate_at_the_cut_off_recasts_the_payment() -> None:
    # At 24% a year, 2% a month, two payments that repay 1,000: 1,000 x 0.02 / (1 - 1.02^-2).
    steps = engine.RateSchedule(steps=[engine.RateStep(month=0, annual_rate=0.24)])
    loan = engine.Loan(balance=1000, annual_rate=0.12, remaining_term=2, payment=30, rate_schedule="steps")
    tape = engine.Tape.from_loans([loan], rate_schedules={"steps": steps})
    flows = engine.project(engine.ProjectionRequest(tape=tape))
    assert flows.balance[0] == pytest.approx(1020 - 20 / (1 - 1.02**-2), rel=1e-12)

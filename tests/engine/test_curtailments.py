"""Curtailments: payments recast or kept, by hand and against the plain reference."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from tests import reference_curtailments
from tests.engine.test_kernel import ALL, FEW, request

LEVEL = engine.Conventions(after_curtailment="level")
LOAN = engine.Loan(balance=12_000.0, annual_rate=0.12, remaining_term=12)


def flows_of(loan: engine.Loan, assumed: engine.Assumptions, **rest: Any) -> engine.Cashflows:
    return engine.project(request([loan], assumed, **rest))


def test_a_recast_payment_ends_the_loan_when_it_would_have_by_hand() -> None:
    # 12,000 at 1% a month over 12 months pays 1,066.1855. 10% of what the first payment leaves is paid down: 12,000 +
    # 120 - 1,066.1855 = 11,053.8145, 1,105.3815 of it down, 9,948.4331 left. The payment falls to 90%, 959.5669:
    # interest 99.4843, principal 860.0826, 9,088.3505 left. The twelfth payment is the last.
    once = engine.Assumptions(curtailment=engine.Vector(unit="smm", values=[0.1], beyond="zero"))
    flows = flows_of(LOAN, once)
    assert flows.curtailment[:2] == pytest.approx([1_105.3815, 0], abs=1e-4)
    assert flows.balance[:2] == pytest.approx([9_948.4331, 9_088.3505], abs=1e-4)
    assert flows.interest[1] == pytest.approx(99.4843, abs=1e-4)
    assert flows.cashflow[1:] == pytest.approx([959.5669] * 11, abs=1e-4)
    assert flows.prepayment[0] == flows.curtailment[0]


def test_a_kept_payment_shortens_the_term_by_hand() -> None:
    # The same curtailment, the payment kept at 1,066.1855: 9,948.4331 + 99.4843 - 1,066.1855 = 8,981.7320 after the
    # second. n = -ln(1 - 9,948.4331 x 1% / 1,066.1855) / ln 1.01 = 9.8434: ten more payments, the last one smaller.
    once = engine.Assumptions(curtailment=engine.Vector(unit="smm", values=[0.1], beyond="zero"))
    flows = flows_of(LOAN, once, conventions=LEVEL)
    assert flows.balance[:2] == pytest.approx([9_948.4331, 8_981.7320], abs=1e-4)
    assert flows.cashflow[1:10] == pytest.approx([1_066.1855] * 9, abs=1e-4)
    owed = 9_948.433_05
    for _ in range(9):
        owed = owed * 1.01 - 1_066.185_464_14
    assert flows.cashflow[10] == pytest.approx(owed * 1.01, abs=1e-3)
    assert 0 < flows.cashflow[10] < 1_066
    assert not flows.cashflow[11]
    assert flows.principal.sum() == pytest.approx(12_000, rel=1e-13)


def test_who_prepays_or_defaults_does_not_pay_down_besides() -> None:
    # Interest only, 1,000: 20% default, 30% prepay, half stay and pay down 10% of theirs, 50.
    loan = engine.Loan(balance=1_000.0, annual_rate=0.12, remaining_term=24, amortization="bullet")
    assumed = engine.Assumptions(
        prepayment=engine.Smm(rate=0.3), default=engine.Mdr(rate=0.2), curtailment=engine.Smm(rate=0.1), severity=0.5
    )
    for conventions in ("sifma", LEVEL):
        flows = flows_of(loan, assumed, conventions=conventions)
        assert flows.curtailment[0] == pytest.approx(50, rel=1e-13)
        assert flows.prepayment[0] == pytest.approx(350, rel=1e-13)
        assert flows.scheduled_principal[0] == 0
        assert flows.balance[0] == pytest.approx(450, rel=1e-13)


def test_a_floating_loan_takes_its_kept_payment_to_the_next_reset() -> None:
    # 0% until the reset after month 12, then 12%. 12,000 over 24 months pays 500; half of what the first payment leaves
    # is paid down: 5,750. Eleven payments of 500 later 250 are left, recast over 12 months at 1%: 22.2122.
    loan = engine.Loan(balance=12_000.0, annual_rate=0.0, remaining_term=24, index="ref", first_reset=12, margin=0.0)
    assumed = engine.Assumptions(
        curtailment=engine.Vector(unit="smm", values=[0.5], beyond="zero"), rates={"ref": engine.FlatRate(rate=0.12)}
    )
    flows = flows_of(loan, assumed, conventions=LEVEL)
    assert flows.balance[0] == pytest.approx(5_750, rel=1e-13)
    assert flows.balance[11] == pytest.approx(250, rel=1e-11)
    assert flows.cashflow[12:] == pytest.approx([22.2122] * 12, abs=1e-4)


def test_lockouts_hold_curtailments_back() -> None:
    loan = msgspec.structs.replace(LOAN, penalty="p")
    phases: dict[str, Any] = {"p": [engine.Lockout(months=3), engine.PercentagePenalty(rate=0.02)]}
    assumed = engine.Assumptions(curtailment=engine.Smm(rate=0.05), prepayment=engine.Smm(rate=0.01))
    tape = engine.Tape.from_loans([loan], penalties=phases)
    flows = engine.project(request(tape, assumed))
    assert not flows.curtailment[:3].any()
    assert flows.curtailment[3] > 0
    # What is paid down is free; what ends the loan is charged.
    np.testing.assert_allclose(flows.prepayment_penalty, 0.02 * (flows.prepayment - flows.curtailment), atol=1e-10)


curves = st.none() | st.builds(engine.Smm, rate=st.sampled_from([0.0, 0.02, 0.3]))
curtailing = st.one_of(
    st.builds(engine.Smm, rate=st.sampled_from([0.0, 0.01, 0.2, 1.0])),
    st.builds(engine.Psa, speed=st.floats(0, 5)),
    st.builds(engine.Vector, unit=st.just("cpr"), values=st.lists(st.floats(0, 0.5), min_size=1, max_size=9),
              by=st.sampled_from(["age", "period"])),
)  # fmt: skip


@st.composite
def loans(draw: st.DrawFn) -> engine.Loan:
    term, balance = draw(st.integers(1, 48)), draw(st.floats(1, 1e6))
    kind: Any = draw(st.sampled_from(["level_pay", "linear", "bullet"]))
    share = draw(st.none() | st.sampled_from([0.001, 0.005, 0.03])) if kind == "level_pay" else None
    return engine.Loan(
        balance=balance, annual_rate=draw(st.sampled_from([0.0, 0.03, 0.12])), remaining_term=term, amortization=kind,
        payment=None if share is None else share * balance, age=draw(st.integers(0, 40)),
        interest_only_term=draw(st.integers(0, term - 1)),
    )  # fmt: skip


@given(
    tape=st.lists(loans(), min_size=1, max_size=4), prepaying=curves, curtailed=curtailing,
    mdr=st.sampled_from([None, 0.0, 0.03]),
    base=st.sampled_from(["gross", "net_of_defaults", "opening_net_of_defaults"]),
    interest=st.sampled_from(["less_defaults", "survivors"]), after=st.sampled_from(["recast", "level"]),
)  # fmt: skip
@FEW
def test_pool_equals_the_reference(
    tape: list[engine.Loan], prepaying: Any, curtailed: Any, mdr: float | None, base: Any, interest: Any, after: Any
) -> None:
    rules = engine.Conventions(prepayment_base=base, interest_base=interest, after_curtailment=after)
    assumed = engine.Assumptions(
        prepayment=prepaying, curtailment=curtailed, default=None if mdr is None else engine.Mdr(rate=mdr), severity=0.4
    )
    flows = engine.project(request(tape, assumed, conventions=rules))
    each = [reference_curtailments.project_loan(loan, assumed, rules, flows.periods) for loan in tape]
    for name in reference_curtailments.NAMES:
        expected = np.sum([one[name] for one in each], axis=0)
        np.testing.assert_allclose(flows[name], expected, rtol=1e-9, atol=1e-10 * flows.opening_balance, err_msg=name)
        grows = any(loan.payment is not None for loan in tape) and name in ("scheduled_principal", "principal")
        assert grows or np.all(flows[name] >= 0), name
    lost = flows.principal.sum() + flows.loss.sum() + flows.balance[-1]
    assert lost == pytest.approx(flows.opening_balance, rel=1e-11)


def test_what_a_kept_payment_leaves_unpaid_is_negative_principal_by_hand() -> None:
    # 1% of 100 is 1.00, of which 0.50 is paid: 100.50 are left, a tenth of it is paid down, 90.45 remain. Then 0.9045
    # is due and 0.50 paid: 90.8545 less 9.08545 is 81.76905, all of which the third payment takes with its interest.
    loan = engine.Loan(balance=100.0, annual_rate=0.12, remaining_term=3, payment=0.5)
    flows = flows_of(loan, engine.Assumptions(curtailment=engine.Smm(rate=0.1)), conventions=LEVEL)
    expected = {
        "interest": [1, 0.9045, 0.8176905],
        "scheduled_principal": [-0.5, -0.4045, 81.76905],
        "curtailment": [10.05, 9.08545, 0],
        "prepayment": [10.05, 9.08545, 0],
        "principal": [9.55, 8.68095, 81.76905],
        "cashflow": [10.55, 9.58545, 82.5867405],
        "balance": [90.45, 81.76905, 0],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(flows[name], values, rtol=1e-13, atol=1e-13, err_msg=name)


ARM: dict[str, Any] = {"index": "ref", "margin": 0.02, "first_reset": 3, "reset_frequency": 3}
HOLIDAY: dict[str, Any] = {"holiday_start": 5, "holiday_months": 6, "holiday_interest": "capitalized"}
OPTION: dict[str, Any] = {"recast_frequency": 12, "payment_cap": 0.075, "payment": 300.0}
# Contracts whose balance grows for a while, each of 100,000 at 12% over thirty years.
GROWING: dict[str, dict[str, Any]] = {
    "stated": {"payment": 500.0},
    "stated above the interest": {"payment": 1_200.0},
    "graduated": {"graduation_rate": 0.075, "graduation_years": 5},
    "holiday": HOLIDAY,
    "floating holiday": HOLIDAY | ARM,
    "option": ARM | OPTION,
    "option with a limit": ARM | OPTION | {"neg_am_limit": 1.05, "original_balance": 100_000.0},
    "option with a full recast": ARM | OPTION | {"full_recast_frequency": 60},
    "stepped": {"rate_schedule": "up", "payment": 700.0, "recast_frequency": 24},
    "long first period": {"paid_to_date": "2024-11-30", "next_payment_date": "2025-02-28", "day_count": "ACT/360"},
}


@pytest.mark.parametrize("name", GROWING)
def test_kept_payments_conserve_what_was_lent(name: str) -> None:
    # Month by month what is paid, prepaid and defaulted is what the balance falls by, growth and all; principal and
    # losses come to what was lent; and cash is the sum of its parts.
    terms = {"type": "loan", "balance": 100_000.0, "annual_rate": 0.12, "remaining_term": 360, "age": 0} | GROWING[name]
    steps = [{"month": 6, "annual_rate": 0.14}, {"month": 30, "annual_rate": 0.1}]
    asked = {
        "tape": {"loans": [terms, terms | {"balance": 50_000.0}], "rate_schedules": {"up": {"steps": steps}}},
        "assumptions": {
            "curtailment": {"type": "smm", "rate": 0.01}, "prepayment": {"type": "smm", "rate": 0.02},
            "default": {"type": "mdr", "rate": 0.01}, "severity": 0.4, "recovery_lag": 3,
            "rates": {"ref": {"type": "path", "rates": [0.08, 0.09, 0.1, 0.11, 0.12] * 4}},
        },
        "conventions": {"after_curtailment": "level"}, "fields": list(ALL), "cutoff_date": "2025-01-31",
    }  # fmt: skip
    flows = engine.project(msgspec.convert(asked, engine.ProjectionRequest))
    near = 1e-12 * flows.opening_balance
    fell = -np.diff(flows.balance, prepend=flows.opening_balance)
    paid = flows.scheduled_principal + flows.prepayment + flows.default
    np.testing.assert_allclose(paid, fell, rtol=0, atol=near)
    assert flows.principal.sum() + flows.loss.sum() == pytest.approx(flows.opening_balance, rel=1e-12)
    parts = flows.interest + flows.principal - flows.servicing_fee
    np.testing.assert_allclose(flows.cashflow, parts, rtol=0, atol=near)
    assert (flows.scheduled_principal.min() < -1) == (name != "stated above the interest")
    assert flows.curtailment[:12].min() > 1


def mixed(count: int) -> engine.Tape:
    random = np.random.default_rng(8)
    floats = random.random(count) < 0.3
    return engine.Tape.from_columns(
        balance=random.uniform(1, 1e6, count), annual_rate=random.choice([0.04, 0.055], count),
        remaining_term=random.integers(12, 121, count), age=random.integers(0, 30, count),
        group=random.choice(["a", "b", "c"], count).tolist(), index=["ref" if each else None for each in floats],
        margin=np.where(floats, 0.02, np.nan), first_reset=np.where(floats, random.integers(1, 13, count), np.nan),
    )  # fmt: skip


def scenarios() -> list[engine.Scenario]:
    """With one curve of curtailments, with another, with none, in a group only, and with others' rates."""
    curves: list[Any] = [engine.Smm(rate=0.01), engine.Psa(speed=2.0), None, None, engine.Smm(rate=0.01)]
    grouped = {"b": engine.Assumptions(curtailment=engine.Smm(rate=0.05), prepayment=engine.Cpr(rate=0.1))}
    return [
        engine.Scenario(
            name=str(k),
            assumptions=engine.Assumptions(
                prepayment=engine.Cpr(rate=0.06), default=engine.Cdr(rate=0.02), severity=0.3, recovery_lag=3,
                curtailment=curve, groups=grouped if k == 3 else None,
                rates={"ref": engine.FlatRate(rate=0.05 if k == 4 else 0.03)},
            ),
        )
        for k, curve in enumerate(curves)
    ]  # fmt: skip


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("after", ["recast", "level"])
def test_levels_threads_and_scenarios_agree(after: Any) -> None:
    tape, several, rules = mixed(5_000), scenarios(), engine.Conventions(after_curtailment=after)
    assumed = engine.Assumptions()
    pool = engine.project(request(tape, assumed, scenarios=several, conventions=rules), threads=1)
    threaded = engine.project(request(tape, assumed, scenarios=several, conventions=rules), threads=4)
    for name in ALL:
        np.testing.assert_array_equal(threaded[name], pool[name], err_msg=name)
    for level in ("group", "loan"):
        parts = engine.project(request(tape, assumed, scenarios=several, conventions=rules, level=level))
        for name in ALL:
            scale = 1e-12 * np.abs(pool[name]).max()
            np.testing.assert_allclose(parts[name].sum(axis=1), pool[name], rtol=1e-9, atol=scale, err_msg=name)
    for k, scenario in enumerate(several):
        alone = engine.project(request(tape, assumed, scenarios=[scenario], conventions=rules))
        for name in ALL:
            scale = 1e-11 * np.abs(alone[name]).max(initial=1.0)
            found = pool[name][k][: alone.periods]
            np.testing.assert_allclose(found, alone[name], rtol=1e-10, atol=scale, err_msg=f"{name} of {k}")


def test_losses_that_go_by_the_loan_see_what_is_paid_down() -> None:
    # 1,000 interest only against a property of 800 that does not move; a tenth is paid down each month and a tenth
    # defaults. Month 1: 0.1 default owing 1,000, 200 lost of each: 20. Month 2: 0.09 default owing 900, 100 lost: 9.
    loan = engine.Loan(
        balance=1_000.0, annual_rate=0.06, remaining_term=24, amortization="bullet", property_value=800.0
    )
    by_property = engine.PropertySeverity(liquidation_cost=0)
    assumed = engine.Assumptions(default=engine.Mdr(rate=0.1), curtailment=engine.Smm(rate=0.1), severity=by_property)
    pool, each = (engine.project(request([loan] * 3, assumed, conventions=LEVEL, level=k)) for k in ("pool", "loan"))
    assert pool.loss[:2] == pytest.approx([3 * 20, 3 * 9], rel=1e-12)
    for name in ALL:
        np.testing.assert_allclose(each[name].sum(axis=0), pool[name], rtol=1e-12, atol=1e-9, err_msg=name)
    with pytest.raises(engine.AssumptionError, match="recasts payments beside a severity by the property"):
        flows_of(loan, assumed)


@pytest.mark.parametrize(
    ("assumed", "conventions", "path"),
    [
        ({"burnout": engine.Burnout(floor=0.5)}, {}, "curtailment"),
        ({"delinquency": engine.Delinquency(roll=[0.1, 0.5], cure=[0.2])}, {}, "curtailment"),
        ({"default": engine.Timing(cumulative=0.1, timing=[1.0])}, {}, "curtailment"),
        ({}, {"default_base": "after_scheduled_principal"}, "curtailment"),
        ({"advancing": "principal_and_interest"}, {"after_curtailment": "level"}, "advancing"),
        ({"curtailment": engine.Smm(rate=2.0)}, {}, "curtailment.rate"),
        ({"curtailment": engine.Vector(unit="mdr", values=[0.1])}, {}, "curtailment.unit"),
    ],
)  # fmt: skip
def test_what_cannot_be_together_is_refused(assumed: Any, conventions: Any, path: str) -> None:
    stated = engine.Assumptions(**({"curtailment": engine.Smm(rate=0.01)} | assumed))
    with pytest.raises(engine.AssumptionError) as caught:
        flows_of(LOAN, stated, conventions=engine.Conventions(**conventions))
    assert caught.value.problems[0].path == f"assumptions.{path}"


@pytest.mark.parametrize(
    ("loan", "message"),
    [
        ({"payment_frequency": "quarterly"}, "do not pay every month"),
        ({"amortization": "schedule", "schedule": "s"}, "of loans of a given schedule"),
        ({"penalty": "p"}, "with prepayment penalties"),
    ],
)
def test_loans_that_cannot_keep_their_payment_are_refused(loan: dict[str, Any], message: str) -> None:
    tape = engine.Tape.from_loans(
        [engine.Loan(**({"balance": 1.0, "annual_rate": 0.05, "remaining_term": 12} | loan))],
        schedules={"s": engine.Schedule(balances=[1.0] * 12)}, penalties={"p": [engine.PercentagePenalty(rate=0.1)]},
    )  # fmt: skip
    with pytest.raises(engine.AssumptionError, match=message):
        engine.project(request(tape, engine.Assumptions(curtailment=engine.Smm(rate=0.01)), conventions=LEVEL))


def test_recasts_are_refused_beside_amounts_that_each_loan_owes() -> None:
    tape = engine.Tape.from_loans(
        [msgspec.structs.replace(LOAN, penalty="p")], penalties={"p": [engine.FixedPenalty(amount=100.0)]}
    )
    with pytest.raises(engine.AssumptionError, match="is of loans with a fixed_amount to pay for prepaying"):
        engine.project(request(tape, engine.Assumptions(curtailment=engine.Smm(rate=0.01))))


def test_what_is_no_loan_keeps_no_payment() -> None:
    lease = engine.Lease(annual_rate=0.06, remaining_term=24, balance=1e5, residual_value=5e4)
    assumed = engine.Assumptions(curtailment=engine.Smm(rate=0.01))
    with pytest.raises(engine.AssumptionError, match="of what is no loan"):
        engine.project(request(engine.Tape.from_loans([lease]), assumed, conventions=LEVEL))
    assert engine.project(request(engine.Tape.from_loans([lease]), assumed)).curtailment.sum() > 0

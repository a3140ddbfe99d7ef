"""Terms whose defaults stop at different months are taken together: they give what the loans give one by one."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine import run_order, run_sums

FIELDS = list(engine.FIELD_NAMES)
CURVES: list[Any] = [
    engine.Cpr(rate=0.1),
    engine.Psa(speed=2.0),
    engine.Vector(unit="smm", values=[0.0, 1.0, 0.02]),
    engine.Vector(unit="smm", values=[0.02] * 30 + [1.0]),
]
DEFAULTS: list[Any] = [
    engine.Cdr(rate=0.03),
    engine.Sda(speed=5.0),
    engine.Vector(unit="mdr", values=[0.01, 0.002]),
]
CONVENTIONS = [
    engine.Conventions(),
    engine.Conventions(prepayment_base="opening_net_of_defaults", interest_base="survivors"),
    engine.Conventions(prepayment_base="net_of_defaults", servicing_fee_base="total"),
    engine.Conventions(default_base="after_scheduled_principal"),
    engine.Conventions(loss_timing="default"),
    engine.Conventions(final_defaults="continue"),
]
SEVERITIES: list[Any] = [0.35, 1.0, engine.SeverityVector(values=[0.2, 0.5, 0.4])]


def assumptions() -> st.SearchStrategy[engine.Assumptions]:
    return st.builds(
        engine.Assumptions,
        prepayment=st.sampled_from(CURVES),
        default=st.sampled_from(DEFAULTS),
        severity=st.sampled_from(SEVERITIES),
        recovery_lag=st.integers(0, 9),
        advancing=st.sampled_from(["none", "interest", "principal_and_interest"]),
        burnout=st.sampled_from([None, engine.Burnout(floor=0.4)]),
        rates=st.just({"ref": engine.MonthlyRates(rates=[0.02, 0.05, 0.01])}),
    )


@st.composite
def tapes(draw: st.DrawFn) -> engine.Tape:
    """Loans of many terms, some shorter than any lag, of two ages and groups; some pay interest only, some float."""
    count = draw(st.integers(1, 60))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    floats = random.random(count) < draw(st.sampled_from([0.0, 0.3]))
    term = random.integers(1, draw(st.sampled_from([5, 60])), count)
    stated = {
        "index": ["ref" if each else None for each in floats],
        "margin": np.where(floats, 0.02, np.nan),
        "first_reset": [min(3, int(n)) if each else None for each, n in zip(floats, term, strict=True)],
        "reset_frequency": [12 if each else None for each in floats],
    }
    return engine.Tape.from_columns(
        balance=random.uniform(1, 1e6, count),
        annual_rate=random.choice([0.0, 0.04, 0.12], count),
        remaining_term=term,
        age=random.choice([0, 7], count),
        servicing_fee=random.choice([0.0, 0.0025], count),
        interest_only_term=np.where(random.random(count) < 0.3, term // 2, 0),
        group=random.choice(["a", "b"], count).tolist(),
        **(stated if floats.any() else {}),
    )


@settings(max_examples=150, deadline=None)
@given(tapes(), st.lists(assumptions(), min_size=1, max_size=6), st.sampled_from(CONVENTIONS), st.sampled_from([1, 2]))
def test_families_give_the_sums_of_their_loans(
    tape: engine.Tape, several: list[engine.Assumptions], conventions: engine.Conventions, threads: int
) -> None:
    scenarios = [engine.Scenario(name=str(k), assumptions=each) for k, each in enumerate(several)]
    pool, group, loan = (
        engine.project(
            engine.ProjectionRequest(
                tape=tape, scenarios=scenarios, conventions=conventions, level=level, fields=FIELDS
            ),
            threads=threads,
        )
        for level in ("pool", "group", "loan")
    )
    for name in FIELDS:
        by_loan = loan[name].reshape(len(several), len(tape), -1)
        scale = 1e-12 * np.abs(by_loan).sum(axis=1).max(initial=0) + 1e-13 * loan.opening_balance
        np.testing.assert_allclose(
            pool[name].reshape(len(several), -1), by_loan.sum(axis=1), rtol=0, atol=scale, err_msg=name
        )
        np.testing.assert_allclose(
            group[name].reshape(len(several), len(group.groups), -1).sum(axis=1), by_loan.sum(axis=1), rtol=0,
            atol=scale, err_msg=name,
        )  # fmt: skip


def agrees_with_loans(tape: engine.Tape, scenarios: list[engine.Scenario], **more: Any) -> None:
    """Checks the pool's fields against the sums of those by loan, which know no runs."""
    pool, loan = (
        engine.project(engine.ProjectionRequest(tape=tape, scenarios=scenarios, level=level, fields=FIELDS, **more))
        for level in ("pool", "loan")
    )
    for name in FIELDS:
        by_loan = loan[name].reshape(len(scenarios), len(tape), -1)
        scale = 1e-12 * np.abs(by_loan).sum(axis=1).max(initial=0) + 1e-13 * loan.opening_balance
        found = pool[name].reshape(len(scenarios), -1)
        np.testing.assert_allclose(found, by_loan.sum(axis=1), rtol=0, atol=scale, err_msg=name)


@pytest.mark.parametrize("count", [3, 40])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("recovery_lag", [3, 8, 0]),
        ("severity", [0.2, 0.9, 0.5]),
        ("advancing", ["none", "principal_and_interest", "interest"]),
        ("default", [engine.Cdr(rate=0.1), engine.Mdr(rate=0.01), engine.Vector(unit="mdr", values=[0.02])]),
        ("rates", [{"ref": engine.FlatRate(rate=rate)} for rate in (0.01, 0.1, 0.04)]),
    ],
)
def test_a_head_is_of_its_own_scenario(name: str, values: list[Any], count: int) -> None:
    """Scenarios that differ in one thing, several of them in a task: some share their sums by month, others do not."""
    assumed = engine.Assumptions(
        prepayment=engine.Cpr(rate=0.1), default=engine.Cdr(rate=0.1), severity=0.9, recovery_lag=4,
        advancing="principal_and_interest", rates={"ref": engine.FlatRate(rate=0.03)},
    )  # fmt: skip
    scenarios = [
        engine.Scenario(name=str(k), assumptions=msgspec.structs.replace(assumed, **{name: values[k % 3]}))
        for k in range(count)
    ]

    def floating(value: Any) -> list[Any]:
        return [None, value] * 20

    tape = engine.Tape.from_columns(
        balance=np.linspace(100, 1e4, 40), annual_rate=0.05, remaining_term=np.arange(40) % 20 + 1,
        index=floating("ref"), margin=floating(0.02), first_reset=floating(1), reset_frequency=floating(3),
    )  # fmt: skip
    agrees_with_loans(tape, scenarios)


@pytest.mark.parametrize("what", ["recast", "level", "penalty", "quarterly", "status", "late"])
def test_what_heads_do_not_know_is_done_run_by_run(what: str) -> None:
    """Curtailments, penalties, payments by the quarter, and loans in default or late at the cut-off, of many terms."""
    assumed = engine.Assumptions(
        prepayment=engine.Cpr(rate=0.1), default=engine.Cdr(rate=0.1), severity=0.4, recovery_lag=4,
        curtailment=engine.Smm(rate=0.02) if what in ("recast", "level") else None,
    )  # fmt: skip
    if what == "late":
        rolls = engine.Delinquency(roll=[0.1, 0.3, 0.5], cure=[0.2, 0.1])
        assumed = msgspec.structs.replace(assumed, default=None, delinquency=rolls)
    loans = range(40)
    columns: dict[str, Any] = {}
    if what == "penalty":
        columns["penalty"] = ["fee" if k % 2 else None for k in loans]
    if what == "quarterly":
        columns["payment_frequency"] = "quarterly"
    if what in ("status", "late"):
        columns["status"] = ["default" if k % 7 == 3 else "delinquent_30" if k % 7 == 5 else "current" for k in loans]
        columns["months_in_status"] = [1 if k % 7 == 3 else None for k in loans]
    terms = np.arange(40) % 20 + 1
    tape = engine.Tape.from_columns(
        balance=np.linspace(100, 1e4, 40), annual_rate=0.05, remaining_term=3 * terms if what == "quarterly" else terms,
        penalties={"fee": [engine.PercentagePenalty(months=9, rate=0.03)]}, **columns,
    )  # fmt: skip
    rules = engine.Conventions(after_curtailment="level" if what == "level" else "recast")
    agrees_with_loans(tape, [engine.Scenario(name="it", assumptions=assumed)], conventions=rules)


def test_no_family_is_left_out_where_many_runs_are_done_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six hundred groups of two loans, in parts of more families than the core takes up at once."""
    monkeypatch.setattr(run_order, "LITTLE", 0)
    monkeypatch.setattr(run_order, "A_LOAN", 0)
    monkeypatch.setattr(run_sums, "RUNS_AT_A_TIME", 1_000)
    random = np.random.default_rng(8)
    tape = engine.Tape.from_columns(
        balance=random.uniform(1, 1e6, 1_200), annual_rate=0.05, remaining_term=random.integers(1, 30, 1_200),
        group=[str(i % 600) for i in range(1_200)],
    )  # fmt: skip
    assumed = engine.Assumptions(default=engine.Cdr(rate=0.1), severity=0.4, recovery_lag=3)
    group, loan = (
        engine.project(engine.ProjectionRequest(tape=tape, assumptions=assumed, level=level, fields=FIELDS))
        for level in ("group", "loan")
    )
    place = [group.groups.index(str(i)) for i in range(600)]
    for name in FIELDS:
        by_loan = loan[name].reshape(2, 600, -1)
        scale = 1e-12 * np.abs(by_loan).max(initial=0)
        np.testing.assert_allclose(group[name][place], by_loan.sum(axis=0), rtol=1e-12, atol=scale, err_msg=name)


def test_interest_only_pools_of_many_terms_pay_no_principal_before_the_first_matures() -> None:
    """The sums of the head before and after a month are of the same loans, so that they differ by nothing at all."""
    random = np.random.default_rng(5)
    tape = engine.Tape.from_columns(
        balance=random.uniform(1, 1e6, 5_000), annual_rate=0.05, remaining_term=random.integers(100, 300, 5_000),
        amortization="bullet",
    )  # fmt: skip
    assumed = engine.Assumptions(default=engine.Cdr(rate=0.02), severity=0.4, recovery_lag=12)
    flows = engine.project(engine.ProjectionRequest(tape=tape, assumptions=assumed, fields=FIELDS))
    assert (flows["scheduled_principal"][:99] == 0).all()
    assert flows["scheduled_principal"][99] > 0


@pytest.mark.parametrize("advancing", ["none", "interest", "principal_and_interest"])
def test_a_family_of_two_by_hand(advancing: str) -> None:
    """Two loans without interest over 3 and 4 months, defaults of 10% a month that stop 2 months before maturity.

    The first loan of 300 may default in month 1, the second of 400 in months 1 and 2; both fall by 100 a month.
    """
    tape = engine.Tape.from_columns(balance=[300.0, 400.0], annual_rate=0.0, remaining_term=[3, 4])
    assumed = engine.Assumptions(
        default=engine.Mdr(rate=0.1),
        severity=0.5,
        recovery_lag=2,
        advancing=advancing,  # type: ignore[arg-type]
    )
    flows = engine.project(engine.ProjectionRequest(tape=tape, assumptions=assumed, fields=FIELDS))
    alive = [[0.9, 0.9, 0.9, 0.0], [0.9, 0.81, 0.81, 0.81]]
    owed = [[200.0, 100.0, 0.0, 0.0], [300.0, 200.0, 100.0, 0.0]]
    balance = [sum(share[t] * left[t] for share, left in zip(alive, owed, strict=True)) for t in range(4)]
    np.testing.assert_allclose(flows.balance[:4], balance, atol=1e-12)
    np.testing.assert_allclose(flows["default"][:4], [30 + 40, 0.9 * 0.1 * 300, 0, 0], atol=1e-12)
    if advancing == "principal_and_interest":  # 10% of what is left of each before month 3, then of the second alone
        liquidated = [0, 0, 0.1 * 100 + 0.1 * 200, 0.09 * 100]
        lost = [0, 0, min(0.5 * 30, 10) + min(0.5 * 40, 20), min(0.5 * 27, 9)]
    else:
        liquidated, lost = [0, 0, 70, 27], [0, 0, 35, 13.5]
    np.testing.assert_allclose(flows["liquidation"][:4], liquidated, atol=1e-12)
    np.testing.assert_allclose(flows["loss"][:4], lost, atol=1e-12)
    paid = [180, 171, 171, 81] if advancing != "principal_and_interest" else [200, 200, 180, 81]
    np.testing.assert_allclose(flows["scheduled_principal"][:4], paid, atol=1e-12)

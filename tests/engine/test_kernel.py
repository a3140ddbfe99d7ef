"""The compiled kernel against the plain reference, and what must hold for every projection."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine
from engine import _core, analytics
from engine.loans import AMORTIZATIONS as EVERY_AMORTIZATION
from tests import reference

ALL = list(engine.FIELD_NAMES)
# Given schedules are held to the reference in test_contracts.py.
AMORTIZATIONS = [kind for kind in EVERY_AMORTIZATION if kind != "schedule"]
SOME = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

decimals = st.sampled_from([0.0, 1.0, 1e-6]) | st.floats(0.0, 1.0)
speeds = st.floats(0.0, 30.0)
terms = st.sampled_from([1, 2, 12, 360, 600]) | st.integers(1, 90)
balances = st.sampled_from([0.0, 0.01, 1e9]) | st.floats(0.01, 1e7)
rates = st.sampled_from([0.0, 1e-15, 1e-9, 1.0]) | st.floats(1e-15, 0.3)


def vectors(*units: str) -> st.SearchStrategy[engine.Vector]:
    def of(unit: str) -> st.SearchStrategy[engine.Vector]:
        ramp = unit in ("psa", "sda")
        values = st.lists(speeds if ramp else decimals, min_size=1, max_size=40)
        by = st.just("age") if ramp else st.sampled_from(["period", "age"])
        beyond = st.sampled_from(["last", "zero"])
        return st.builds(engine.Vector, unit=st.just(unit), values=values, by=by, beyond=beyond)

    return st.sampled_from(units).flatmap(of)


prepayments = st.one_of(
    st.none(),
    *(st.builds(curve, rate=decimals) for curve in (engine.Cpr, engine.Smm, engine.Abs, engine.Hep)),
    *(st.builds(curve, speed=speeds) for curve in (engine.Psa, engine.Mhp)),
    vectors("cpr", "smm", "psa"),
)
defaults = st.one_of(
    st.none(),
    *(st.builds(curve, rate=decimals) for curve in (engine.Cdr, engine.Mdr)),
    st.builds(engine.Sda, speed=speeds),
    vectors("cdr", "mdr", "sda"),
)


def assumed(groups: st.SearchStrategy[dict[str, engine.Assumptions] | None]) -> st.SearchStrategy[engine.Assumptions]:
    return st.builds(
        engine.Assumptions,
        prepayment=prepayments,
        default=defaults,
        severity=decimals,
        recovery_lag=st.integers(0, 24),
        advancing=st.sampled_from(["none", "interest", "principal_and_interest"]),
        groups=groups,
    )


ungrouped = assumed(st.none())
assumptions = assumed(st.none() | st.dictionaries(st.sampled_from(["a", "b"]), ungrouped, min_size=1))
conventions = st.builds(
    engine.Conventions,
    prepayment_base=st.sampled_from(["gross", "net_of_defaults", "opening_net_of_defaults"]),
    interest_base=st.sampled_from(["less_defaults", "survivors"]),
    final_defaults=st.sampled_from(["stop_before_maturity", "continue"]),
    servicing_fee_base=st.sampled_from(["performing", "total"]),
)


@st.composite
def loans(draw: st.DrawFn) -> engine.Loan:
    term, balance, rate = draw(terms), draw(balances), draw(rates)
    kind = draw(st.sampled_from(AMORTIZATIONS))
    age, original = draw(st.none() | st.integers(0, 200)), draw(st.none() | st.integers(term, term + 200))
    spent = age if age is not None else original - term if original is not None else 0
    interest_only = draw(st.just(0) | st.integers(0, spent + term - 1))
    spread = payment = None
    shape = draw(st.sampled_from(["plain", "balloon", "stated"]))
    if shape == "balloon" and kind != "bullet":
        # What is left of it must reach maturity: from origination that is the age and the remaining term.
        spread = draw(st.integers(term + max(spent - interest_only, 0), 1000))
    if shape == "stated" and kind == "level_pay" and balance > 0:
        # From just above the interest, which leaves a balloon, to thrice the level payment, which pays off early.
        level = analytics.level_payment(balance, rate, term)
        # Or ulps above the interest, where payoff and balloon part (below it the balance grows).
        due = balance * (rate / 12)
        near = st.integers(1, 5).map(lambda ulps: max(due + ulps * np.spacing(due), 0.0))
        payment = draw(st.floats(max(due, level / 3) * 1.001, level * 3 + 0.01) | near)
    return engine.Loan(
        balance=balance,
        annual_rate=rate,
        remaining_term=term,
        amortization=kind,
        age=age,
        original_term=original,
        payment=payment,
        servicing_fee=draw(st.sampled_from([0.0, 0.0025])),
        group=draw(st.sampled_from([None, "a", "b"])),
        interest_only_term=interest_only,
        amortization_term=spread,
    )


tapes = st.lists(loans(), min_size=1, max_size=5)


def request(
    tape: list[engine.Loan] | engine.Tape, assumed: engine.Assumptions, **rest: Any
) -> engine.ProjectionRequest:
    tape = tape if isinstance(tape, engine.Tape) else engine.Tape.from_loans(tape)
    return engine.ProjectionRequest(**{"tape": tape, "assumptions": assumed, "fields": ALL, **rest})


def assert_close(flows: dict[str, np.ndarray], expected: Mapping[str, Any], opening: float) -> None:
    """Equal to 1e-12 of the column's peak, and value by value to 1e-9 but for the rounding of the opening balance.

    Nothing is negative but what is left where a fee is more than the interest.
    """
    for name in ALL:
        value, stated = flows[name], np.array(expected[name])
        assert np.all(np.isfinite(value)), name
        assert np.all(value >= 0) or name in ("net_interest", "cashflow"), (name, value.min())
        peak = np.abs(stated).max(initial=0.0)
        np.testing.assert_allclose(value, stated, rtol=0, atol=1e-12 * peak + 1e-13 * opening, err_msg=name)
        np.testing.assert_allclose(value, stated, rtol=1e-9, atol=1e-13 * opening, err_msg=name)


@given(tape=tapes, assumed=assumptions, rules=conventions)
@SOME
def test_pool_equals_the_reference(
    tape: list[engine.Loan], assumed: engine.Assumptions, rules: engine.Conventions
) -> None:
    flows = engine.project(request(tape, assumed, conventions=rules))
    expected = reference.project_pool(tape, assumed, rules, flows.periods)
    assert_close(flows.columns, expected, sum(loan.balance for loan in tape))


@given(tape=tapes, assumed=assumptions, rules=conventions)
@SOME
def test_each_loan_equals_the_reference(
    tape: list[engine.Loan], assumed: engine.Assumptions, rules: engine.Conventions
) -> None:
    flows = engine.project(request(tape, assumed, conventions=rules, level="loan"))
    for i, loan in enumerate(tape):
        expected = reference.project_loan(loan, assumed, rules, flows.periods)
        assert_close({name: flows[name][i] for name in ALL}, expected, loan.balance)


@given(tape=tapes, assumed=assumptions, rules=conventions)
@SOME
def test_principal_is_conserved(
    tape: list[engine.Loan], assumed: engine.Assumptions, rules: engine.Conventions
) -> None:
    flows = engine.project(request(tape, assumed, conventions=rules))
    opening = sum(loan.balance for loan in tape)
    paid = math.fsum([*flows["principal"], *flows["loss"], flows["balance"][-1], flows["foreclosure"][-1]])
    assert paid == pytest.approx(opening, rel=1e-9)
    assert flows["balance"][-1] <= 1e-12 * opening
    assert flows["foreclosure"][-1] <= 1e-12 * opening


@given(tape=tapes, assumed=assumptions, rules=conventions)
@FEW
def test_loans_and_groups_add_up_to_the_pool(
    tape: list[engine.Loan], assumed: engine.Assumptions, rules: engine.Conventions
) -> None:
    pool = engine.project(request(tape, assumed, conventions=rules))
    opening = sum(loan.balance for loan in tape)
    for level in ("loan", "group"):
        parts = engine.project(request(tape, assumed, conventions=rules, level=level))
        assert_close({name: parts[name].sum(axis=0) for name in ALL}, pool.columns, opening)


@given(tape=tapes, assumed=assumptions)
@FEW
def test_each_group_equals_its_own_loans(tape: list[engine.Loan], assumed: engine.Assumptions) -> None:
    flows = engine.project(request(tape, assumed, level="group"))
    assert {loan.group for loan in tape if loan.group} <= set(flows.groups)
    for i, name in enumerate(flows.groups):
        members = [loan for loan in tape if (loan.group or "") == name]
        expected = reference.project_pool(members, assumed, engine.Conventions(), flows.periods)
        assert_close({field: flows[field][i] for field in ALL}, expected, sum(loan.balance for loan in members))


@given(
    tape=tapes, assumed=st.lists(assumptions, min_size=2, max_size=4), level=st.sampled_from(["pool", "loan", "group"])
)
@FEW
def test_scenarios_equal_each_one_alone(tape: list[engine.Loan], assumed: list[engine.Assumptions], level: str) -> None:
    scenarios = [engine.Scenario(name=f"s{i}", assumptions=each) for i, each in enumerate(assumed)]
    flows = engine.project(request(tape, engine.Assumptions(), scenarios=scenarios, level=level))
    assert flows.scenario_names == tuple(scenario.name for scenario in scenarios)
    for i, each in enumerate(assumed):
        alone = engine.project(request(tape, each, level=level, periods=flows.periods))
        for name in ALL:
            scale = max(np.abs(alone[name]).max(initial=0.0), flows.opening_balance)
            np.testing.assert_allclose(flows[name][i], alone[name], rtol=1e-12, atol=1e-14 * scale, err_msg=name)


@given(tape=tapes, assumed=assumptions, names=st.lists(st.sampled_from(ALL), min_size=1, unique=True))
@FEW
def test_selecting_fields_changes_no_bit(
    tape: list[engine.Loan], assumed: engine.Assumptions, names: list[str]
) -> None:
    every, some = engine.project(request(tape, assumed)), engine.project(request(tape, assumed, fields=names))
    assert some.fields == tuple(names)
    assert list(some.columns) == names
    for name in names:
        np.testing.assert_array_equal(some[name], every[name], err_msg=name)


def many(loans: int, seed: int = 7) -> engine.Tape:
    """A mixed tape of the size that makes several chunks."""
    random = np.random.default_rng(seed)
    term = random.integers(1, 361, loans)
    return engine.Tape.from_columns(
        balance=random.uniform(1, 1e6, loans),
        annual_rate=random.choice([0.0, 0.04, 0.0725, 0.19], loans),
        remaining_term=term,
        age=random.integers(0, 60, loans),
        servicing_fee=random.choice([0.0, 0.005], loans),
        amortization=random.choice(AMORTIZATIONS, loans).tolist(),
        group=random.choice(["a", "b", "c"], loans).tolist(),
    )


HARD = engine.Assumptions(
    prepayment=engine.Psa(speed=2.0),
    default=engine.Cdr(rate=0.03),
    severity=0.35,
    recovery_lag=12,
    advancing="principal_and_interest",
    groups={"b": engine.Assumptions(prepayment=engine.Cpr(rate=0.2), default=engine.Sda(speed=3), severity=1.0)},
)


LATE = engine.Assumptions(delinquency=engine.Delinquency(roll=[0.02, 0.4, 0.5, 0.6, 0.7], cure=[0.3, 0.2, 0.1, 0.1]))
HELPED = engine.Assumptions(
    delinquency=engine.Delinquency(
        roll=[0.02, 0.4], cure=[0.3], forbearance=engine.Forbearance(months=3, enter=[0.01], modify=1.0)
    )
)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("level", ["pool", "group", "loan"])
def test_every_number_of_threads_gives_the_same_bits(level: str) -> None:
    tape = many(3_000 if level == "loan" else 40_000)
    one = engine.project(request(tape, HARD, level=level), threads=1)
    for threads in (2, 4, 8):
        other = engine.project(request(tape, HARD, level=level), threads=threads)
        for name in ALL:
            np.testing.assert_array_equal(other[name], one[name], err_msg=f"{name} with {threads} threads")


def test_large_pool_equals_the_sum_of_its_loans() -> None:
    tape = many(2_000)
    pool, each = (engine.project(request(tape, HARD, level=level)) for level in ("pool", "loan"))
    for name in ALL:
        added = [math.fsum(column) for column in each[name].T]
        np.testing.assert_allclose(pool[name], added, rtol=1e-11, atol=1e-12 * max(added), err_msg=name)


def test_order_of_the_loans_is_that_of_the_tape() -> None:
    tape = many(500)
    flows = engine.project(request(tape, HARD, level="loan"))
    arrays = tape.arrays()
    # A loan's first interest is that of its balance, less that of what defaults, which is advanced here.
    np.testing.assert_allclose(flows["expected_interest"][:, 0], arrays.balance * arrays.rate / 12, rtol=1e-12)


LOAN = engine.Loan(balance=1000.0, annual_rate=0.06, remaining_term=10, loan_id="x", group="a")


def test_shapes_by_level_and_scenarios() -> None:
    tape = [LOAN, engine.Loan(balance=5.0, annual_rate=0.0, remaining_term=3, loan_id="y", group="b")]
    two = [engine.Scenario(name=name, assumptions=engine.Assumptions()) for name in ("base", "stress")]
    for level, shape in (("pool", ()), ("group", (2,)), ("loan", (2,))):
        assert engine.project(request(tape, engine.Assumptions(), level=level))["balance"].shape == (*shape, 10)
        several = engine.project(request(tape, engine.Assumptions(), level=level, scenarios=two))
        assert several["balance"].shape == (2, *shape, 10)
        assert several.level == level
        assert several.opening_balance == 1005.0
    assert engine.project(request(tape, engine.Assumptions(), level="group")).groups == ("a", "b")
    assert list(engine.project(request(tape, engine.Assumptions(), level="loan")).loan_ids) == ["x", "y"]
    assert engine.project(request(tape, engine.Assumptions())).scenario_names == ()


def test_periods_reach_the_last_flow() -> None:
    lagged = engine.Assumptions(default=engine.Cdr(rate=0.1), recovery_lag=7)
    assert engine.project(request([LOAN], engine.Assumptions(recovery_lag=7))).periods == 10
    flows = engine.project(request([LOAN], lagged))
    assert flows.periods == 17
    assert list(flows.period) == list(range(1, 18))
    scenarios = [
        engine.Scenario(name="a", assumptions=engine.Assumptions()),
        engine.Scenario(name="b", assumptions=lagged),
    ]
    assert engine.project(request([LOAN], engine.Assumptions(), scenarios=scenarios)).periods == 17


@pytest.mark.parametrize("periods", [1, 4, 25])
def test_stated_periods_cut_or_pad(periods: int) -> None:
    assumed = engine.Assumptions(default=engine.Cdr(rate=0.1), severity=0.5, recovery_lag=3)
    whole, part = (engine.project(request([LOAN], assumed, periods=n)) for n in (None, periods))
    for name in ALL:
        assert part[name].shape == (periods,)
        shared = min(periods, whole.periods)
        np.testing.assert_array_equal(part[name][:shared], whole[name][:shared], err_msg=name)
        assert not part[name][shared:].any(), name


@pytest.mark.parametrize("level", ["pool", "loan"])
def test_empty_tape_has_no_cash(level: str) -> None:
    tape = engine.Tape.from_columns(balance=[], annual_rate=[], remaining_term=[])
    flows = engine.project(request(tape, HARD, level=level, periods=5))
    for name in ALL:
        assert flows[name].shape == ((5,) if level == "pool" else (0, 5))
        assert not flows[name].any()


def test_no_fields_means_the_standard_twelve() -> None:
    flows = engine.project(request([LOAN], engine.Assumptions(), fields=None))
    assert flows.fields == engine.DEFAULT_FIELDS
    assert len(flows.fields) == 12


def test_fields_of_the_kernel_are_those_declared() -> None:
    assert _core.FIELD_ORDER == engine.FIELD_NAMES == tuple(reference.FIELDS)


# draw takes a loan that starts later, which recoups are refused for: test_payments.py has it.
@pytest.mark.parametrize("name", [name for name in ALL if name != "draw"])
def test_every_field_is_a_column_and_an_attribute(name: str) -> None:
    loan = engine.Loan(balance=1e5, annual_rate=0.06, remaining_term=120, servicing_fee=0.0025, mortgage_insurance=0.1)
    if name in reference.ASSETS:
        loan = engine.Lease(annual_rate=0.06, remaining_term=24, balance=1e5, residual_value=5e4)
    recouping = engine.Conventions(recoup="at_liquidation")
    assumed = LATE if name.startswith("delinquent") else HELPED if name in reference.HELPED else HARD
    if name in reference.ASSETS:
        assumed = engine.Assumptions(residual_share=0.9 if name == "shortfall" else 1.1)
    if name in reference.HELPED:
        loan = engine.Loan(balance=1e5, annual_rate=0.06, remaining_term=120)
    tape = engine.Tape.from_loans([loan])
    if name == "prepayment_penalty":
        owing = engine.Loan(balance=1e5, annual_rate=0.06, remaining_term=120, penalty="p")
        tape = engine.Tape.from_loans([owing], penalties={"p": [engine.PercentagePenalty(rate=0.01)]})
    if name == "curtailment":
        assumed = engine.Assumptions(curtailment=engine.Smm(rate=0.01))
    flows = engine.project(request(tape, assumed, fields=[name], conventions=recouping))
    assert flows[name].dtype == np.float64
    assert flows[name] is getattr(flows, name)
    assert flows[name].any(), "the field is zero in a projection that has every kind of flow"


def blocks_of_loans() -> engine.Tape:
    """3,001 loans in one run, so that several blocks and a part of one are summed."""
    random = np.random.default_rng(5)
    n = 3_001
    return engine.Tape.from_columns(
        balance=random.uniform(1e3, 1e6, n), annual_rate=random.uniform(0.0, 0.2, n),
        remaining_term=random.integers(1, 361, n), servicing_fee=0.0025,
    )  # fmt: skip


@pytest.mark.parametrize("advancing", ["none", "interest", "principal_and_interest"])
@pytest.mark.parametrize("periods", [7, 100, None])
def test_blocks_of_one_run_add_up_to_their_loans(advancing: str, periods: int | None) -> None:
    assumed = engine.Assumptions(
        prepayment=engine.Cpr(rate=0.1),
        default=engine.Cdr(rate=0.05),
        severity=0.6,
        recovery_lag=9,
        advancing=advancing,
    )
    rest = {"conventions": engine.Conventions(final_defaults="continue"), "periods": periods}
    pool = engine.project(request(blocks_of_loans(), assumed, **rest))
    parts = engine.project(request(blocks_of_loans(), assumed, level="loan", **rest))
    for name in ALL:
        total = np.array([math.fsum(month) for month in parts[name].T])
        assert pool[name] == pytest.approx(total, rel=1e-12, abs=1e-12 * total.max()), name


def test_loan_level_equals_the_reference_where_periods_are_cut() -> None:
    loan = engine.Loan(balance=1000.0, annual_rate=0.12, remaining_term=24, servicing_fee=0.01)
    assumed = engine.Assumptions(default=engine.Mdr(rate=0.01), severity=0.5, recovery_lag=3)
    expected = reference.project_loan(loan, assumed, engine.Conventions(), 5)
    flows = engine.project(request([loan], assumed, level="loan", periods=5))
    for name in ALL:
        assert flows[name][0] == pytest.approx(expected[name], rel=1e-12, abs=1e-12), name

"""Late loans with rates, payments or penalties that change: by hand, against the plain reference, and refusals."""

import datetime
import math
from itertools import product
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine
from tests import reference, reference_late, reference_penalties
from tests.engine.test_contracts import INDICES, SCHEDULES, STEPS, assert_near, contracts, index_of, tape_of
from tests.engine.test_delinquency import LATE, conventions, rolls
from tests.engine.test_kernel import ALL, prepayments
from tests.engine.test_penalties import PHASES
from tests.engine.test_severity import secured
from tests.reference_past import Unknown, contract_when_late

SOME = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def late_contracts(draw: st.DrawFn) -> engine.Loan:
    """A stepped loan that is late, often at a rate that its terms give."""
    loan = draw(contracts().filter(lambda each: reference.age_of(each) >= 4))
    changes = loan.index is not None or loan.rate_schedule is not None
    now = loan.annual_rate
    if loan.rate_schedule == "often" and draw(st.booleans()):
        past = [each.annual_rate for each in STEPS["often"].steps if each.month <= reference.age_of(loan)]
        now = past[-1]
    if loan.index is not None and draw(st.booleans()):
        # One of which a reset is likely to have fallen within the missed months, and can be told.
        loan = msgspec.structs.replace(
            loan, index=draw(st.sampled_from(["wild", "known"])), first_reset=draw(st.integers(0, 2)),
            reset_frequency=draw(st.integers(1, 4)), first_cap=None, first_floor=None, periodic_cap=None,
            periodic_floor=None, payment=draw(st.sampled_from([None, loan.payment])),
        )  # fmt: skip
    return msgspec.structs.replace(
        loan, status=draw(st.sampled_from(LATE)), annual_rate=now if loan.payment is None else loan.annual_rate,
        previous_rate=draw(st.none() | st.sampled_from([0.06, loan.annual_rate])) if changes else None,
    )  # fmt: skip


@st.composite
def assumptions(draw: st.DrawFn) -> engine.Assumptions:
    rolled = draw(rolls())
    return engine.Assumptions(
        prepayment=draw(prepayments), severity=draw(st.floats(0, 1)), recovery_lag=draw(st.integers(0, 6)),
        delinquency=msgspec.structs.replace(rolled, missed_terms=draw(st.sampled_from(["contract", "current"]))),
        rates=INDICES,
    )  # fmt: skip


def told(name: str, month: int) -> bool:
    return len(INDICES[name].history or []) >= -month


def by_reference(
    loan: engine.Loan, assumed: engine.Assumptions, rules: engine.Conventions, periods: int
) -> reference.Columns:
    rolled = assumed.delinquency
    assert rolled is not None
    ago = reference_late.missed_payments(loan, rolled.buckets)
    held = rolled.missed_terms == "current"
    found = contract_when_late(loan, tape_of([loan]), index_of, told, ago, held)
    return reference_late.project_late_loan(loan, assumed, rules, periods, None, found)


def request(loans: list[engine.Loan], assumed: engine.Assumptions, **rest: Any) -> engine.ProjectionRequest:
    return engine.ProjectionRequest(**{"tape": tape_of(loans), "assumptions": assumed, "fields": ALL, **rest})


@given(loans=st.lists(late_contracts(), min_size=1, max_size=4), assumed=assumptions(), rules=conventions)
@SOME
def test_each_late_loan_equals_the_reference_or_is_refused(
    loans: list[engine.Loan], assumed: engine.Assumptions, rules: engine.Conventions
) -> None:
    known = []
    for loan in loans:
        try:
            by_reference(loan, assumed, rules, 1)
            known.append(loan)
        except Unknown:
            with pytest.raises(engine.TapeError, match="missed"):
                engine.project(request([loan], assumed, conventions=rules))
    if not known:
        return
    flows = engine.project(request(known, assumed, conventions=rules, level="loan"))
    parts = [by_reference(loan, assumed, rules, flows.periods) for loan in known]
    for i, right in enumerate(parts):
        assert_near({name: flows[name][i] for name in ALL}, right, known[i].balance)
    pool = engine.project(request(known, assumed, conventions=rules))
    opening = sum(loan.balance for loan in known)
    assert_near(dict(pool.columns), reference.add_up(parts, pool.periods), opening)
    paid = math.fsum([*pool["principal"], *pool["loss"], pool["balance"][-1], pool["foreclosure"][-1]])
    assert paid == pytest.approx(opening, rel=1e-9)


FOUR = engine.Delinquency(roll=[0.1, 0.2, 0.3, 0.4, 0.5], cure=[0.4, 0.3, 0.2, 0.1])


def test_resets_around_the_missed_months_equal_the_reference_or_are_refused() -> None:
    assumed = engine.Assumptions(
        prepayment=engine.Cpr(rate=0.2), delinquency=FOUR, severity=0.4, recovery_lag=2, rates=INDICES
    )
    base = {"balance": 1e5, "remaining_term": 30, "age": 20, "margin": 0.02, "look_back": 1, "rate_rounding": 0.00125}
    known, refused = [], 0
    for status, first, every, index in product(LATE, (0, 1, 2), (1, 2, 3, 4), ("wild", "known", "flat")):
        for previous, cap, payment in product((None, 0.06), (None, 0.02), (None, 4000.0)):
            loan = engine.Loan(
                **base, annual_rate=0.07, status=status, index=index, first_reset=first, reset_frequency=every,
                previous_rate=previous, periodic_cap=cap, payment=payment,
            )  # fmt: skip
            try:
                by_reference(loan, assumed, engine.Conventions(), 1)
                known.append(loan)
            except Unknown:
                refused += 1
                with pytest.raises(engine.TapeError, match="missed"):
                    engine.project(request([loan], assumed))
    assert (len(known), refused) == (849, 303)
    flows = engine.project(request(known, assumed, level="loan"))
    for i, loan in enumerate(known):
        right = by_reference(loan, assumed, engine.Conventions(), flows.periods)
        assert_near({name: flows[name][i] for name in ALL}, right, loan.balance)


FLOATS = engine.Loan(
    balance=1000.0, annual_rate=0.24, remaining_term=8, age=20, amortization="linear", status="delinquent_60",
    index="SOFR", margin=0.02, first_reset=5, reset_frequency=6,
)  # fmt: skip
CURES = engine.Delinquency(roll=[0.0, 0.0, 0.0], cure=[1.0, 1.0])


def cured(loan: engine.Loan, delinquency: engine.Delinquency = CURES, **path: Any) -> engine.Cashflows:
    rates = engine.MonthlyRates(**({"rates": [0.1]} | path))
    assumed = engine.Assumptions(delinquency=delinquency, rates={"SOFR": rates})
    return engine.project(engine.ProjectionRequest(tape=engine.Tape.from_loans([loan]), assumptions=assumed))


def test_a_reset_within_the_missed_months_by_hand() -> None:
    # 60 days late: two payments were missed, and the rate was reset a month before the cut-off. 1,000 was owed two
    # months ago and falls by 100 a month: interest of the first missed month at the rate before the reset, of 900
    # at 2% in the second and of 800 at 2% in the month in which the borrower pays all three; then 700 at 2%. At the
    # reset five months ahead the index and the margin give 1% a month, of 300 that are left.
    before = {"previous_rate": {"previous_rate": 0.12}, "history": {}}
    # A year of 5% + 2% two resets ago, read by the history's seventh month: 7 months before the cut-off.
    history = [0.9] * 6 + [0.1] + [0.9]
    for told, terms in before.items():
        loan = msgspec.structs.replace(FLOATS, **terms)
        flows = cured(loan, history=None if told == "previous_rate" else history)
        assert flows.interest[:2] == pytest.approx([1000 * 0.01 + 900 * 0.02 + 800 * 0.02, 700 * 0.02], rel=1e-13)
        assert flows.interest[5:7] == pytest.approx([300 * 0.01, 200 * 0.01], rel=1e-13)
        assert flows.scheduled_principal[:2] == pytest.approx([300, 100], rel=1e-13)


@pytest.mark.parametrize("months", [1, 6])
def test_a_history_that_ends_before_the_reset_tells_nothing_of_it(months: int) -> None:
    # The reset before the last read the index 7 months before the cut-off: 1% a month of 1,000, then 2% of 900, 800.
    with pytest.raises(
        engine.TapeError, match=r"^tape.loans\[0\].first_reset .* history of the index back to that before"
    ):
        cured(FLOATS, history=[0.1] * months)
    assert cured(FLOATS, history=[0.1] * 7).interest[0] == pytest.approx(10 + 18 + 16, rel=1e-13)


def test_terms_of_the_cut_off_hold_where_the_assumptions_say_so() -> None:
    # 2% a month in all missed months, and the stated payment in them: 1,000 + 20 - 130, month by month.
    held = msgspec.structs.replace(CURES, missed_terms="current")
    assert cured(FLOATS, held).interest[0] == pytest.approx(27 * 2, rel=1e-13)
    level = msgspec.structs.replace(FLOATS, amortization="level_pay", payment=130.0)
    balances = [1000.0]
    for _ in range(4):
        balances.append(balances[-1] * 1.02 - 130)
    flows = cured(level, held)
    assert flows.balance[:2] == pytest.approx(balances[3:], rel=1e-13)
    assert flows.interest[0] == pytest.approx(0.02 * sum(balances[:3]), rel=1e-13)


def test_a_cap_of_the_next_reset_says_that_there_was_none_before() -> None:
    flows = cured(msgspec.structs.replace(FLOATS, first_cap=0.03))
    assert flows.interest[0] == pytest.approx(27 * 2, rel=1e-13)


def test_a_schedule_by_age_tells_what_was_owed() -> None:
    # At age 20 the schedule has 400, at 18 500: 1,000 is what 500 was two months ago; it has 350 in a month, so 700.
    aged = engine.Schedule(balances=[1000.0] * 18 + [500.0, 450.0, 400.0, 350.0, 200.0], by="age")
    loan = engine.Loan(
        balance=1000.0, annual_rate=0.12, remaining_term=3, age=20, amortization="schedule", schedule="aged",
        status="delinquent_60",
    )  # fmt: skip
    tape = engine.Tape.from_loans([loan], schedules={"aged": aged})
    flows = engine.project(engine.ProjectionRequest(tape=tape, assumptions=engine.Assumptions(delinquency=CURES)))
    assert flows.balance[:3] == pytest.approx([700, 400, 0])
    assert flows.interest[:2] == pytest.approx([10 + 9 + 8, 7])


def test_a_stated_payment_that_grew_within_the_missed_months_was_less_before() -> None:
    # A 10% growth a month ago, at the anniversary: of two missed payments the first was 200, the next 220 as stated.
    loan = engine.Loan(
        balance=1000.0, annual_rate=0.0, remaining_term=3, age=25, payment=220.0, graduation_rate=0.1,
        graduation_years=5, status="delinquent_60",
    )  # fmt: skip
    flows = engine.project(
        engine.ProjectionRequest(tape=engine.Tape.from_loans([loan]), assumptions=engine.Assumptions(delinquency=CURES))
    )
    assert flows.balance[:2] == pytest.approx([1000 - 200 - 220 - 220, 1000 - 200 - 220 - 220 - 220])


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({}, "first_reset", "puts the reset before it 1 months before the cut-off, after the first of the 2 payments"),
        ({"periodic_cap": 0.02}, "first_reset", "puts the reset before it 1 months before"),
        (
            {"previous_rate": 0.1, "amortization": "level_pay", "payment": 130.0},
            "payment",
            "was recast after the first of the 2 payments that the loan missed",
        ),
        ({"index": None, "margin": None, "first_reset": None, "reset_frequency": None, "amortization": "schedule",
          "schedule": "by period"}, "schedule", "counts from the cut-off, before which the loan missed 2 payments"),
        ({"index": None, "margin": None, "first_reset": None, "reset_frequency": None, "amortization": "schedule",
          "schedule": "by age", "age": 1}, "age", "is less than the 2 payments that the loan missed"),
        ({"index": None, "margin": None, "first_reset": None, "reset_frequency": None, "rate_schedule": "steps"},
         "rate_schedule", "has its first step after the first of the 2 payments that the loan missed"),
    ],
)  # fmt: skip
def test_only_the_loans_whose_past_is_unknown_are_refused(change: dict[str, Any], path: str, message: str) -> None:
    on_time = msgspec.structs.replace(FLOATS, **change, status=None)
    unknown = msgspec.structs.replace(FLOATS, **change)
    tape = engine.Tape.from_loans(
        [on_time, unknown, msgspec.structs.replace(FLOATS, first_cap=0.02)],
        schedules={"by period": SCHEDULES["grows"], "by age": SCHEDULES["aged"]},
        rate_schedules={"steps": engine.RateSchedule(by="age", steps=[engine.RateStep(month=19, annual_rate=0.24)])},
    )
    history = [0.03] * 12 if change.get("periodic_cap") else None
    rates: dict[str, Any] = {"SOFR": engine.MonthlyRates(rates=[0.03], history=history)}
    asked = engine.ProjectionRequest(tape=tape, assumptions=engine.Assumptions(delinquency=CURES, rates=rates))
    with pytest.raises(engine.TapeError) as error:
        engine.project(asked)
    (problem,) = error.value.problems
    assert problem.path == f"tape.loans[1].{path}"
    assert problem.message.startswith(message)
    assert engine.project(msgspec.structs.replace(asked, tape=engine.Tape.from_loans(
        [on_time], schedules=tape.schedules, rate_schedules=tape.rate_schedules))).balance.any()  # fmt: skip


def test_scenarios_agree_on_the_history_of_a_late_loan() -> None:
    paths = [engine.MonthlyRates(rates=[0.1], history=[0.05] * 6 + [last]) for last in (0.05, 0.06)]
    tape = engine.Tape.from_loans([FLOATS])
    base = engine.Assumptions(delinquency=CURES)
    scenarios = [
        engine.Scenario(name=str(i), assumptions=msgspec.structs.replace(base, rates={"SOFR": path}))
        for i, path in enumerate(paths)
    ]
    with pytest.raises(engine.TapeError, match="the same in every scenario"):
        engine.project(engine.ProjectionRequest(tape=tape, assumptions=base, scenarios=scenarios))
    held = [msgspec.structs.replace(CURES, missed_terms=terms) for terms in ("contract", "current")]
    scenarios = [
        engine.Scenario(
            name=each.missed_terms, assumptions=engine.Assumptions(delinquency=each, rates={"SOFR": paths[0]})
        )
        for each in held
    ]
    with pytest.raises(engine.AssumptionError, match="missed_terms is 'current' in one scenario"):
        engine.project(engine.ProjectionRequest(tape=tape, assumptions=base, scenarios=scenarios))


def test_dated_paths_tell_their_own_past() -> None:

    path = engine.DatedRates(
        dates=[datetime.date(2024, 1, 1), datetime.date(2024, 9, 1)], rates=[0.1, 0.9], interpolation="step"
    )
    assumed = engine.Assumptions(delinquency=CURES, rates={"SOFR": path})
    asked = engine.ProjectionRequest(
        tape=engine.Tape.from_loans([FLOATS]), assumptions=assumed, cutoff_date=datetime.date(2025, 1, 31)
    )
    # The reset before the last was seven months ago, at the end of June: 10% + 2%, 1% a month.
    assert engine.project(asked).interest[0] == pytest.approx(10 + 18 + 16, rel=1e-13)
    late = msgspec.structs.replace(path, dates=[datetime.date(2024, 8, 1), datetime.date(2024, 9, 1)])
    with pytest.raises(engine.TapeError, match="history of the index"):
        engine.project(
            msgspec.structs.replace(asked, assumptions=msgspec.structs.replace(assumed, rates={"SOFR": late}))
        )


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("level", ["pool", "group", "loan"])
def test_every_number_of_threads_gives_the_same_bits(level: Any) -> None:
    n = 600
    loans = [
        msgspec.structs.replace(
            FLOATS, status=(None, *LATE)[i % 5], first_reset=i % 7, balance=1000.0 + i, group="ab"[i % 2]
        )
        for i in range(n)
    ]
    held = msgspec.structs.replace(FOUR, missed_terms="current")
    assumed = engine.Assumptions(delinquency=held, prepayment=engine.Psa(), rates={"SOFR": engine.FlatRate(rate=0.04)})
    asked = engine.ProjectionRequest(tape=engine.Tape.from_loans(loans), assumptions=assumed, level=level, fields=ALL)
    one = engine.project(asked, threads=1)
    for threads in (2, 4):
        other = engine.project(asked, threads=threads)
        for name in ALL:
            np.testing.assert_array_equal(other[name], one[name], err_msg=f"{name} with {threads} threads")


def test_a_late_loan_owes_the_penalty_of_its_age_by_hand() -> None:
    # Two payments of 100 missed; it cures in month 1, which leaves 700, and owes the age's penalty when it prepays: all
    # of the 600 that month 2 leaves, at 3% in the 22nd month after origination, where the steps fall to 3%.
    loan = engine.Loan(
        balance=1000.0, annual_rate=0.12, remaining_term=8, age=20, amortization="linear", status="delinquent_60",
        penalty="p",
    )  # fmt: skip
    phases: list[Any] = [engine.PercentagePenalty(rate=0.05, months=21), engine.PercentagePenalty(rate=0.03)]
    tape = engine.Tape.from_loans([loan], penalties={"p": phases})
    assumed = engine.Assumptions(delinquency=CURES, prepayment=engine.Vector(unit="smm", values=[0.0, 1.0]))
    flows = engine.project(engine.ProjectionRequest(tape=tape, assumptions=assumed, fields=ALL))
    assert flows.prepayment[:2] == pytest.approx([0, 600])
    assert flows.prepayment_penalty[:2] == pytest.approx([0, 18])
    by_loan = engine.project(engine.ProjectionRequest(tape=tape, assumptions=assumed, fields=ALL, level="loan"))
    assert by_loan.prepayment_penalty[0, :2] == pytest.approx([0, 18])


@given(
    loan=secured().filter(lambda each: reference.age_of(each) >= 4), status=st.sampled_from(LATE),
    kind=st.sampled_from(sorted(PHASES)), rolled=rolls(), rules=conventions, prepayment=prepayments,
)  # fmt: skip
@SOME
def test_penalties_of_late_loans_equal_the_reference(
    loan: engine.Loan, status: Any, kind: str, rolled: engine.Delinquency, rules: engine.Conventions, prepayment: Any
) -> None:
    loan = msgspec.structs.replace(loan, status=status, mortgage_insurance=0.0)
    assumed = engine.Assumptions(prepayment=prepayment, delinquency=rolled, severity=0.3)
    tape = engine.Tape.from_loans([msgspec.structs.replace(loan, penalty="p")], penalties={"p": PHASES[kind]})
    for level in ("pool", "loan"):
        flows = engine.project(
            engine.ProjectionRequest(tape=tape, assumptions=assumed, conventions=rules, fields=ALL, level=level)
        )
        right = reference_penalties.project_late_loan(loan, PHASES[kind], assumed, rules, flows.periods)
        found = {name: flows[name] if level == "pool" else flows[name][0] for name in ALL}
        assert_near(found, right, max(loan.balance, 500.0))

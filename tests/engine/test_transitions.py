"""The transition-matrix model: a chain by hand, what must hold for all, and its views."""

import datetime

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine.transitions import LoanState, TransitionModel, project_transitions, roll_rates, vintage_curves

STATES = [
    LoanState(name="current"),
    LoanState(name="30", missed=1),
    LoanState(name="60+", missed=2),
    LoanState(name="default", kind="default"),
    LoanState(name="prepaid", kind="prepaid"),
]
MATRIX = [
    [0.8, 0.1, 0.0, 0.0, 0.1],
    [0.5, 0.2, 0.3, 0.0, 0.0],
    [0.25, 0.0, 0.25, 0.5, 0.0],
    [0.0, 0.0, 0.0, 1.0, 0.0],
    [0.0, 0.0, 0.0, 0.0, 1.0],
]
MODEL = TransitionModel(states=STATES, matrices=[MATRIX], severity=0.6, recovery_lag=1)
LOAN = engine.Loan(balance=1000.0, annual_rate=0.12, remaining_term=10, amortization="linear", original_balance=2000.0)
# 1,000 at 1% a month, 100 of principal a month: a(t) = 1000, 900, 800, ..; interest due 10, 9, 8, ..


def test_three_months_by_hand() -> None:
    out = project_transitions(engine.Tape(loans=[LOAN]), MODEL)
    # Month 1, from 1,000: 800 pay 100 of principal and 10 of interest each thousand: 80 and 8, 720 are left; 100 roll
    # to 30 days owing 100; 100 pay 10 and 1 and prepay 90. Month 2, shares 0.8 current, 0.1 late. Current: 0.64 pay
    # to a(2) = 800: 64 and 0.64 x 9 = 5.76, 512 are left; 0.08 roll, owing 72; 0.08 prepay: 8 scheduled, 64 prepaid,
    # interest 0.72. Late (owing 100, interest 1 + 1): 0.05 cure: 50 to 0.05 x 800 = 40: 10 paid, interest 0.05 x 20 =
    # 1; 0.02 stay 30 days: 20 to 0.02 x 900 = 18: 2 paid, half of the interest 0.02 x 20 / 2 = 0.2; 0.03 roll to 60+,
    # owing 30. Month 3. Current 0.69 at 800: principal 69 x (0.8 + 0.1), interest 0.69 x 8 x 0.9, of which prepaid
    # 0.069 x 700 = 48.3. Late 0.1 owing 90 (72 + 18), arrears 0.72 + 0.2, this month 0.9: 0.05 cure: 45 to 0.05 x 700
    # = 35: 10; interest half of 1.82 = 0.91; 0.02 stay: 18 to 0.02 x 800 = 16: 2; interest 0.2 x 1.82 / 2 = 0.182.
    # 60+: 0.03 owing 30, arrears 0.6, this month 0.3: 0.0075 cure: 7.5 to 5.25: 2.25, interest 0.225; 0.015 default:
    # 15, missing 0.45.
    assert out.scheduled_principal[0, :3] == pytest.approx([90, 84, 69 * 0.9 + 10 + 2 + 2.25])
    assert out.prepayment[0, :3] == pytest.approx([90, 64, 48.3])
    assert out.interest[0, :3] == pytest.approx([9, 7.68, 0.69 * 8 * 0.9 + 0.91 + 0.182 + 0.225])
    assert out.default[0, :3] == pytest.approx([0, 0, 15])
    assert out.missed_interest[0, :3] == pytest.approx([0, 0, 0.45])
    assert out.loss[0, 2:4] == pytest.approx([0, 9])
    assert out.recovery[0, 2:4] == pytest.approx([0, 6])
    # Prepaid is what was owed at the start of the month: 100 and 72.
    assert out.balance[0, :, 2] == pytest.approx([552, 90, 30, 0, 172])
    assert out.balance[0, 2, 3] == pytest.approx(90 * 0.3 + 7.5)


def test_roll_rates_of_the_outcome_are_the_matrix() -> None:
    rates = roll_rates(project_transitions(engine.Tape(loans=[LOAN]), MODEL, months=8))
    np.testing.assert_allclose(rates[4], np.array(MATRIX) * (np.arange(5) < 3)[:, None], atol=1e-12)


def test_a_path_of_matrices_moves_month_by_month() -> None:
    calm = np.eye(5).tolist()
    worse = [[0, 0, 0, 1, 0], *calm[1:]]
    model = msgspec.structs.replace(MODEL, matrices=[calm, worse])
    out = project_transitions(engine.Tape(loans=[LOAN]), model)
    # Month 1 pays 100; all of the 900 default in month 2.
    assert out.scheduled_principal[0, :3] == pytest.approx([100, 0, 0])
    assert out.default[0, :3] == pytest.approx([0, 900, 0])


def test_vintages_add_up_defaults_of_the_original_balance_by_age() -> None:
    tape = engine.Tape(loans=[msgspec.structs.replace(LOAN, age=age) for age in (4, 6)])
    out = project_transitions(tape, MODEL, status=["60+", "current"], months=3)
    curves = vintage_curves(out)
    assert out.ages.tolist() == [4, 6]
    # The loan that is 60 days late: half of its 1,000 default in month 1, at age 5; a quarter stays, half of that
    # follows.
    assert curves[0, 4:7] == pytest.approx([0, 0.25, 0.25 + 0.0625])
    assert np.isnan(curves[1, :6]).all()
    assert curves[1, 6:10] == pytest.approx([0, 0, 0, 15 / 2000])


@st.composite
def models(draw: st.DrawFn) -> TransitionModel:
    months = []
    for _ in range(draw(st.integers(1, 3))):
        matrix = np.eye(5)
        for i in range(3):
            weights = np.array(draw(st.lists(st.floats(0, 1), min_size=5, max_size=5))) + 1e-3
            weights[i + 2 : 3] = 0  # no payment can be missed twice in a month
            matrix[i] = weights / weights.sum()
        months.append(matrix.tolist())
    return TransitionModel(states=STATES, matrices=months, severity=draw(st.floats(0, 1)), recovery_lag=2)


@given(
    model=models(),
    status=st.lists(st.sampled_from(["current", "30", "60+"]), min_size=1, max_size=4),
    kind=st.sampled_from(["level_pay", "linear", "bullet"]),
)
@settings(max_examples=30, deadline=None)
def test_what_was_owed_is_paid_lost_or_still_owed(model: TransitionModel, status: list[str], kind: str) -> None:
    loans = [
        engine.Loan(balance=1000.0 + i, annual_rate=0.1 + i / 100, remaining_term=7 + i, age=i % 2, amortization=kind)
        for i in range(len(status))
    ]
    out = project_transitions(engine.Tape(loans=loans), model, status=status, months=20)
    opening = sum(loan.balance for loan in loans)
    for t in (1, 5, 20):
        gone = sum(flow[:, :t].sum() for flow in (out.scheduled_principal, out.prepayment, out.default))
        assert gone + out.balance[:, :3, t].sum() == pytest.approx(opening, rel=1e-12)
    for name in ("interest", "scheduled_principal", "prepayment", "default", "recovery", "loss", "missed_interest"):
        assert getattr(out, name).min() >= -1e-9, name
    assert out.balance.min() >= -1e-9


def test_without_moves_it_is_the_projection_of_the_engine() -> None:
    tape = engine.Tape(loans=[LOAN, msgspec.structs.replace(LOAN, amortization="level_pay", annual_rate=0.07)])
    out = project_transitions(tape, msgspec.structs.replace(MODEL, matrices=[np.eye(5).tolist()]))
    flows = engine.project(engine.ProjectionRequest(tape=tape, periods=23))
    assert out.scheduled_principal.sum(axis=0) == pytest.approx(flows["scheduled_principal"], abs=1e-9)
    assert out.interest.sum(axis=0) == pytest.approx(flows["interest"], abs=1e-9)


def test_constant_prepayment_and_default_are_the_engine_s_curves() -> None:
    matrix = np.eye(5)
    matrix[0] = [0.97, 0, 0, 0.01, 0.02]
    out = project_transitions(engine.Tape(loans=[LOAN]), msgspec.structs.replace(MODEL, matrices=[matrix.tolist()]))
    assumed = engine.Assumptions(
        prepayment=engine.Smm(rate=0.02), default=engine.Mdr(rate=0.01), severity=0.6, recovery_lag=1
    )
    rules = engine.Conventions(final_defaults="continue")
    flows = engine.project(
        engine.ProjectionRequest(tape=engine.Tape(loans=[LOAN]), assumptions=assumed, conventions=rules, periods=23)
    )
    for name in ("scheduled_principal", "prepayment", "default", "interest", "loss", "recovery"):
        assert getattr(out, name)[0] == pytest.approx(flows[name], abs=1e-9), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"matrices": []}, "model.matrices is empty; expected at least one matrix"),
        ({"matrices": [[[1.0]]]}, "model.matrices[0] is not 5 x 5; expected a row and a column for each state"),
        (
            {"matrices": [[[0.5, 0, 0, 0, 0], *np.eye(5).tolist()[1:]]]},
            "model.matrices[0][0] adds up to 0.5; expected 1",
        ),
        (
            {"matrices": [[*np.eye(5).tolist()[:4], [1.0, 0, 0, 0, 0]]]},
            "model.matrices[0][4][4] is 0; expected 1: nothing leaves this state",
        ),
        ({"states": [*STATES[:4], STATES[0]]}, "model.states[4].name is 'current'; expected names that differ"),
        ({"severity": 60.0}, "model.severity is 60; expected a decimal in [0, 1] (60% is 0.6)"),
    ],
)
def test_models_are_refused_with_their_path(change: dict[str, object], message: str) -> None:
    with pytest.raises(engine.AssumptionError) as caught:
        project_transitions(engine.Tape(loans=[LOAN]), msgspec.structs.replace(MODEL, **change))
    assert message in str(caught.value)


def test_a_status_that_is_no_open_state_is_refused() -> None:
    with pytest.raises(engine.AssumptionError, match=r"status\[0\] is 'default'; expected an open state: current, 30"):
        project_transitions(engine.Tape(loans=[LOAN]), MODEL, status=["default"])


def test_models_round_trip_through_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(MODEL), type=TransitionModel) == MODEL


def test_losses_of_the_last_defaults_lie_within_the_projection() -> None:
    same = [[float(i == j) for j in range(5)] for i in range(5)]
    model = TransitionModel(
        states=STATES, matrices=[[[0.9, 0.0, 0.0, 0.1, 0.0], *same[1:]]], severity=0.5, recovery_lag=24
    )
    loan = engine.Loan(balance=1000.0, annual_rate=0.12, remaining_term=12, amortization="bullet")
    out = project_transitions(engine.Tape(loans=[loan]), model)
    assert out.default.sum() > 0
    assert out.recovery.sum() == pytest.approx(out.default.sum() / 2, rel=1e-12)
    assert out.loss.sum() == pytest.approx(out.default.sum() / 2, rel=1e-12)


CURRENT = TransitionModel(
    states=[STATES[0], STATES[3]], matrices=[[[0.9, 0.1], [0.0, 1.0]]]
)  # fmt: skip


def test_what_loans_name_of_their_tape_is_followed() -> None:
    # A tenth of what is owed at the month's start defaults: of 0.9^(t - 1) a(t - 1), a(t) being the tape's schedule.
    given = engine.Schedule(balances=[10, 7, 1, 0])
    tape = engine.Tape.from_loans(
        [engine.Loan(balance=1000, annual_rate=0.12, remaining_term=3, amortization="schedule", schedule="given")],
        schedules={"given": given},
    )
    out = project_transitions(tape, CURRENT)
    assert out.default[0, :3] == pytest.approx([100, 0.9 * 70, 0.81 * 10])
    assert out.interest[0, :3] == pytest.approx([0.9 * 10, 0.81 * 7, 0.729 * 1])


def test_floating_and_dated_loans_take_their_rates_and_dates() -> None:
    loan = engine.Loan(
        balance=1000,
        annual_rate=0.12,
        remaining_term=3,
        amortization="bullet",
        index="SOFR",
        margin=0.02,
        first_reset=1,
    )
    rates = {"SOFR": engine.rates.FlatRate(rate=0.22)}
    out = project_transitions(engine.Tape(loans=[loan]), CURRENT, rates=rates)
    assert out.interest[0, :3] == pytest.approx([0.9 * 10, 0.81 * 20, 0.729 * 20])
    dated = engine.Loan(
        balance=1000, annual_rate=0.12, remaining_term=6, amortization="bullet", payment_frequency="quarterly",
        next_payment_date="2025-03-31",
    )  # fmt: skip
    found = project_transitions(engine.Tape(loans=[dated]), CURRENT, cutoff_date=datetime.date(2024, 12, 31))
    assert found.interest[0, :6] == pytest.approx([0, 0, 0.9**3 * 30, 0, 0, 0.9**6 * 30])


def test_the_model_alone_says_which_loans_are_late() -> None:
    late = msgspec.structs.replace(LOAN, status="default", months_in_status=3)
    ours, theirs = (project_transitions(engine.Tape(loans=[each]), MODEL) for each in (late, LOAN))
    np.testing.assert_array_equal(ours.balance, theirs.balance)

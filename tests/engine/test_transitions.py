"""The transition-matrix model: a chain by hand, what must hold for all, and its views."""

import datetime

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine.transition_views import views_of
from engine.transitions import (
    LoanState,
    TransitionModel,
    Transitions,
    project_transitions,
    roll_rates,
    vintage_curves,
)

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


def test_a_status_for_the_model_stands_in_for_that_of_the_tape() -> None:
    late = msgspec.structs.replace(LOAN, status="default", months_in_status=3)
    columns = engine.Tape.from_columns(
        **{name: [getattr(LOAN, name)] for name in ("balance", "annual_rate", "remaining_term", "amortization")},
        original_balance=2000.0, status="default", months_in_status=3,
    )  # fmt: skip
    theirs = project_transitions(engine.Tape(loans=[LOAN]), MODEL)
    for tape in (engine.Tape(loans=[late]), columns):
        np.testing.assert_array_equal(project_transitions(tape, MODEL, "current").balance, theirs.balance)


def moved(tape: engine.Tape, status: list[str] | str | None = None) -> Transitions:
    return project_transitions(tape, MODEL, status, months=12)


class TestWhichLoans:
    def test_the_tapes_own_status_says_where_loans_begin(self) -> None:
        said = ["current", "delinquent_30", "delinquent_60", "delinquent_120", None]
        loans = [msgspec.structs.replace(LOAN, status=status) for status in said]
        plain = engine.Tape(loans=[LOAN] * 5)
        by_hand = moved(plain, status=["current", "30", "60+", "60+", "current"])
        found = moved(engine.Tape(loans=loans))
        np.testing.assert_array_equal(found.balance, by_hand.balance)
        # A status in the request comes first.
        np.testing.assert_array_equal(
            moved(engine.Tape(loans=loans), status="30").balance, moved(plain, status="30").balance
        )

    def test_a_status_that_the_model_lacks_is_refused(self) -> None:
        model = msgspec.structs.replace(MODEL, states=[STATES[0], LoanState(name="60", missed=2), *STATES[2:]])
        model = msgspec.structs.replace(model, states=[*model.states[:2], LoanState(name="90", missed=3), *STATES[3:]])
        tape = engine.Tape.from_columns(
            balance=[1.0, 1.0], annual_rate=0.1, remaining_term=5, status=["current", "delinquent_30"]
        )
        with pytest.raises(engine.AssumptionError, match=r"tape.columns.status\[1\] is 'delinquent_30'; the model has"):
            project_transitions(tape, model)

    @pytest.mark.parametrize(
        ("loan", "cutoff", "message"),
        [
            ({"status": "foreclosure"}, None, "tape.loans[1].status is of a loan in default"),
            ({"payment_frequency": "quarterly"}, None, "tape.loans[1].payment_frequency leaves months without"),
            (
                {"payment_frequency": "quarterly", "next_payment_date": "2024-03-31", "day_count": "ACT/360"},
                "2023-12-31", "tape.loans[1].next_payment_date leaves months without",
            ),
            ({"origination_date": "2024-03-01"}, "2023-12-31", "tape.loans[1].origination_date is after cutoff_date"),
            ({"penalty": "lock"}, None, "tape.loans[1].penalty is a prepayment penalty or a lockout"),
            ({"index": "SOFR", "first_reset": 1}, None, "index is 'SOFR', for which the request has no rates"),
            ({"next_payment_date": "2024-01-15"}, None, "cutoff_date is missing"),
        ],
    )  # fmt: skip
    def test_what_it_does_not_represent_is_refused(
        self, loan: dict[str, object], cutoff: str | None, message: str
    ) -> None:
        penalties: dict[str, list[engine.Penalty]] = {"lock": [engine.Lockout(months=12)]}
        tape = engine.Tape(loans=[LOAN, msgspec.structs.replace(LOAN, **loan)], penalties=penalties)
        date = None if cutoff is None else datetime.date.fromisoformat(cutoff)
        with pytest.raises(engine.InvalidInput) as caught:
            project_transitions(tape, MODEL, cutoff_date=date)
        assert message in str(caught.value)

    def test_other_assets_are_refused(self) -> None:
        tape = engine.Tape(loans=[engine.Lease(annual_rate=0.06, remaining_term=12, payment=100.0), LOAN])
        with pytest.raises(engine.AssumptionError, match=r"tape.loans\[0\].type is an asset that does not move"):
            project_transitions(tape, MODEL)

    def test_faults_of_the_tape_leave_those_of_the_model(self) -> None:
        tape = engine.Tape(loans=[msgspec.structs.replace(LOAN, annual_rate=7.0)])
        with pytest.raises(engine.TapeError) as caught:
            project_transitions(tape, msgspec.structs.replace(MODEL, severity=60.0), months=0)
        assert [each.path for each in caught.value.problems] == [
            "tape.loans[0].annual_rate",
            "model.severity",
            "months",
        ]

    @pytest.mark.parametrize(
        "loan",
        [
            {"index": "SOFR", "margin": 0.04, "first_reset": 2, "reset_frequency": 1, "amortization": "level_pay"},
            {"next_payment_date": "2024-01-15", "day_count": "ACT/360", "amortization": "level_pay"},
            {"next_payment_date": "2024-01-05", "payment_frequency": "weekly"},
            {"amortization": "schedule", "schedule": "own"},
        ],
    )
    def test_without_moves_rich_contracts_are_the_projection(self, loan: dict[str, object]) -> None:
        tape = engine.Tape(
            loans=[msgspec.structs.replace(LOAN, **loan)],
            schedules={"own": engine.Schedule(balances=[100.0, 95, 90, 80, 70, 50, 40, 30, 20, 10])},
        )
        rates, cutoff = {"SOFR": engine.MonthlyRates(rates=[0.03, 0.05, 0.02])}, datetime.date(2023, 12, 31)
        stay = msgspec.structs.replace(MODEL, matrices=[np.eye(5).tolist()])
        out = project_transitions(tape, stay, rates=rates, cutoff_date=cutoff, months=12)
        assumed = engine.Assumptions(rates=rates)
        flows = engine.project(engine.ProjectionRequest(tape=tape, assumptions=assumed, cutoff_date=cutoff, periods=12))
        assert out.interest[0] == pytest.approx(flows["interest"], abs=1e-9)
        assert out.scheduled_principal[0] == pytest.approx(flows["scheduled_principal"], abs=1e-9)
        assert flows["interest"].sum() > 30


class TestViews:
    def test_they_add_up_to_the_outcome(self) -> None:
        tape = engine.Tape(loans=[msgspec.structs.replace(LOAN, age=age) for age in (4, 6)])
        out = project_transitions(tape, MODEL, status=["60+", "current"], months=3)
        views = views_of(out)
        assert views.opening_balance == 2000.0
        assert views.columns.period.tolist() == [1, 2, 3]
        # Month 1: of the 1,000 that are 60 days late half default; a quarter cures, owing 900 less what two months
        # missed: 250 pay down to 0.25 x 900 = 225. The other loan pays 0.8 x 100 + 0.1 x 100 (see above).
        assert views.columns.default[0] == pytest.approx(500)
        assert views.columns.scheduled_principal[0] == pytest.approx(25 + 90)
        assert [state.state for state in views.states] == ["current", "30", "60+", "default", "prepaid"]
        assert views.states[2].balance[:2] == pytest.approx([1000, 250])
        assert views.states[3].balance[:2] == pytest.approx([0, 500])
        rolls = {(roll.from_state, roll.to_state): roll for roll in views.roll_rates}
        assert rolls["60+", "default"].rate[0] == pytest.approx(0.5)
        assert rolls["60+", "default"].balance[0] == pytest.approx(500)
        assert rolls["current", "30"].rate == pytest.approx([0.1] * 3)
        assert ("current", "default") not in rolls
        late, current = views.vintages
        assert (late.age, late.original_balance, current.age) == (4, 2000.0, 6)
        assert late.cumulative_default[:3] == pytest.approx([0, 0.25, 0.25 + 0.0625])
        # The severity is 0.6 and the lag a month.
        assert late.cumulative_loss[:3] == pytest.approx([0, 0, 0.15])
        assert late.open_balance[:2] == pytest.approx([1000, 475])


def test_no_loans_move_nowhere() -> None:
    tape = engine.Tape.from_columns(balance=[], annual_rate=[], remaining_term=[])
    outcome = project_transitions(tape, MODEL, months=3)
    assert not outcome.balance.any()


def test_the_servicing_fee_is_on_what_open_loans_owe_late_or_not() -> None:
    # Bullet loans of 1,000 and 500 at fees of 1.2% and 0.6%: 1.25 a month on 1,500. All miss month 1; half default in
    # month 2, having owed all at its start; half of the fee is left in month 3.
    states = [LoanState(name="current"), LoanState(name="30", missed=1), LoanState(name="lost", kind="default")]
    matrices = [
        [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]],
        np.eye(3).tolist(),
    ]
    loans = [
        engine.Loan(balance=1000.0, annual_rate=0.06, remaining_term=12, amortization="bullet", servicing_fee=0.012),
        engine.Loan(balance=500.0, annual_rate=0.06, remaining_term=12, amortization="bullet", servicing_fee=0.006),
    ]
    out = project_transitions(engine.Tape(loans=loans), TransitionModel(states=states, matrices=matrices), months=4)
    assert out.servicing_fee[0] == pytest.approx([1.25, 1.25, 0.625, 0.625])


def test_the_servicing_fee_is_that_of_the_engine_where_the_model_is_its_curves() -> None:
    states = [LoanState(name="current"), LoanState(name="lost", kind="default"), LoanState(name="gone", kind="prepaid")]
    matrix = [[0.97, 0.01, 0.02], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    loans = [
        engine.Loan(balance=1000.0 + i, annual_rate=0.06, remaining_term=24 + i, age=i, servicing_fee=0.005 * (1 + i))
        for i in range(3)
    ]
    tape = engine.Tape(loans=loans)
    out = project_transitions(tape, TransitionModel(states=states, matrices=[matrix]), months=26)
    # The chances are of the loans at the start, those who default among them: rates of prepaying are net of defaults.
    assumed = engine.Assumptions(prepayment=engine.Smm(rate=0.02 / 0.99), default=engine.Mdr(rate=0.01))
    rules = engine.Conventions(final_defaults="continue", prepayment_base="net_of_defaults")
    flows = engine.project(
        engine.ProjectionRequest(
            tape=tape, assumptions=assumed, conventions=rules, fields=["servicing_fee", "balance"], periods=26
        )
    )
    assert out.servicing_fee.sum(axis=0) == pytest.approx(flows.servicing_fee, rel=1e-12)


def test_insurance_on_the_tape_is_refused() -> None:
    insured = msgspec.structs.replace(LOAN, mortgage_insurance=0.25)
    with pytest.raises(engine.AssumptionError, match=r"tape\.loans\[1\]\.mortgage_insurance is stated"):
        project_transitions(engine.Tape(loans=[LOAN, insured]), MODEL)

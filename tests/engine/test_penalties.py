"""Prepayment penalties: by hand, by published formula, against recorded figures and the plain reference."""

import datetime
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import engine
from engine.penalties import spans
from tests import reference, reference_penalties
from tests.engine.test_kernel import ALL, FEW, assert_close, conventions, decimals, loans, prepayments, request

CENT = 0.01
PHASES: dict[str, list[Any]] = {
    "percentage": [engine.PercentagePenalty(rate=0.02, months=36)],
    "step_down": [engine.StepDownPenalty(rates=[0.05, 0.04, 0.03, 0.02, 0.01])],
    "by_month": [engine.StepDownPenalty(rates=[0.1, 0.09, 0.08], months_a_rate=1), engine.PercentagePenalty(rate=0.01)],
    "interest": [engine.InterestPenalty(interest_months=6, share=0.8, months=60)],
    "maintained": [
        engine.Lockout(months=24),
        engine.YieldMaintenance(discount_rate=0.02, minimum=0.01, months=60),
        engine.PercentagePenalty(rate=0.01, months=12),
    ],
    "value": [engine.YieldMaintenance(discount_rate=0.01, method="present_value")],
    "fixed": [engine.FixedPenalty(amount=500.0, months=24)],
    "monthly": [engine.Lockout(months=2), engine.FixedPenalty(amount=25.0, charged="every_month", months=24)],
}
CPR = engine.Assumptions(prepayment=engine.Cpr(rate=0.1))


def flows_of(loan: engine.Loan, phases: list[Any], assumed: engine.Assumptions = CPR, **rest: Any) -> engine.Cashflows:
    tape = engine.Tape.from_loans([msgspec.structs.replace(loan, penalty="p")], penalties={"p": phases})
    fields = ["balance", "prepayment", "prepayment_penalty", "principal", "net_interest", "cashflow"]
    return engine.project(engine.ProjectionRequest(tape=tape, assumptions=assumed, fields=fields, **rest))


def test_recorded_figures_of_six_schemes() -> None:
    # deals.json C02: 10,000 at 8% over 24 months from 2021-01-01, 3% CPR, preset opening_actual. Recorded with every
    # product cut to the cent: balance, principal, interest and prepayment to the tolerances stated there for double
    # precision; a penalty is one more product, of a prepayment that is up to 0.0099 more.
    loan = engine.Loan(balance=10_000.0, annual_rate=0.08, remaining_term=24)
    recorded: list[tuple[list[Any], float, dict[int, float]]] = [
        ([engine.PercentagePenalty(rate=0.1, months=3), engine.PercentagePenalty(rate=0.01)], 0.1, {1: 2.58, 4: 0.21}),
        ([engine.FixedPenalty(amount=100.0, charged="every_month")], 0, {4: 100.0}),
        ([engine.FixedPenalty(amount=100.0, charged="every_month", months=2)], 0, {1: 100.0, 4: 0.0}),
        ([engine.PercentagePenalty(rate=0.01)], 0.01, {4: 0.21}),
        ([engine.PercentagePenalty(rate=0.01, months=2)], 0.01, {1: 0.25, 4: 0.0}),
        ([engine.StepDownPenalty(rates=[0.1 - k / 100 for k in range(10)], months_a_rate=1)], 0.1, {1: 2.58, 4: 1.53}),
        ([engine.PercentagePenalty(rate=0.5, months=2), engine.PercentagePenalty(rate=0.2, months=10)], 0.5,
         {1: 12.91, 4: 4.38}),
    ]  # fmt: skip
    rows = {1: (9589.55, 384.62, 66.48, 25.83), 4: (8357.98, 389.45, 58.31, 21.92)}
    for phases, rate, penalties in recorded:
        tape = engine.Tape.from_loans([msgspec.structs.replace(loan, penalty="p")], penalties={"p": phases})
        flows = engine.project(
            engine.ProjectionRequest(
                tape=tape, assumptions=engine.Assumptions(prepayment=engine.Cpr(rate=0.03)),
                conventions="opening_actual", cutoff_date=datetime.date(2021, 1, 1), fields=ALL,
            )
        )  # fmt: skip
        for month, (balance, principal, interest, prepayment) in rows.items():
            assert flows.balance[month - 1] == pytest.approx(balance, abs=0.0283)
            assert flows.scheduled_principal[month - 1] == pytest.approx(principal, abs=0.0246)
            assert flows.interest[month - 1] == pytest.approx(
                interest, abs=0.0144 + 0.00005
            )  # itself printed to four digits
            assert flows.prepayment[month - 1] == pytest.approx(prepayment, abs=0.0099)
        for month, penalty in penalties.items():
            assert 0 <= flows.prepayment_penalty[month - 1] - penalty < CENT + rate * 0.0099, (phases, month)
        assert flows.scheduled_principal[:4].sum() == pytest.approx(1548.18, abs=4 * 0.0246)
        assert flows.prepayment[:4].sum() == pytest.approx(93.84, abs=4 * 0.0099)


def test_yield_maintenance_of_the_fannie_mae_form() -> None:
    # Form 4188, Schedule A: the greater of 1% and principal x (note rate - yield) x [1 - (1 + r)^(-n/12)] / r. An
    # interest-only loan of 1,000,000 at 6%, 30 months old, all of it prepaid a month later; the yield is 4%, maintained
    # to month 114: n = 83 months are left, (1 - 1.04^(-83/12)) / 0.04 = 5.939860, x 2% x 1,000,000 = 118,797.21.
    loan = engine.Loan(balance=1e6, annual_rate=0.06, remaining_term=90, age=30, amortization="bullet")
    phases = [engine.YieldMaintenance(discount_rate=0.04, minimum=0.01, months=114)]
    all_of_it = engine.Assumptions(prepayment=engine.Vector(unit="smm", values=[1.0]))
    flows = flows_of(loan, phases, all_of_it)
    factor = (1 - math.exp(-83 / 12 * math.log(1.04))) / 0.04
    assert flows.prepayment_penalty[0] == pytest.approx(1e6 * 0.02 * factor, rel=1e-13)
    assert flows.prepayment_penalty[0] == pytest.approx(118_797.21, abs=0.01)
    assert flows.cashflow[0] == pytest.approx(1e6 + 5_000 + flows.prepayment_penalty[0], rel=1e-14)
    # A yield above the note rate leaves the 1%, and nothing is owed in the last six months.
    above = [engine.YieldMaintenance(discount_rate=0.07, minimum=0.01, months=114)]
    assert flows_of(loan, above, all_of_it).prepayment_penalty[0] == pytest.approx(10_000, rel=1e-14)
    open_months = msgspec.structs.replace(loan, age=114, remaining_term=6)
    assert not flows_of(open_months, phases, all_of_it).prepayment_penalty.any()


def test_present_value_of_what_a_loan_still_pays_by_hand() -> None:
    # 12,000 of linear principal over 12 months at 12%, all prepaid after the ninth payment: 3,000 are left, which would
    # pay 1,000 + 30, 1,000 + 20, 1,000 + 10. At 6%, 0.5% a month, these are worth 1,030 / 1.005 + 1,020 / 1.010025 +
    # 1,010 / 1.015075125 = 1,024.8756 + 1,009.8760 + 995.0003 = 3,029.7519; the balance is 3,000.
    loan = engine.Loan(balance=12_000.0, annual_rate=0.12, remaining_term=12, amortization="linear")
    ninth = engine.Assumptions(prepayment=engine.Vector(unit="smm", values=[0.0] * 8 + [1.0]))
    flows = flows_of(loan, [engine.YieldMaintenance(discount_rate=0.06, method="present_value")], ninth)
    worth = 1_030 / 1.005 + 1_020 / 1.005**2 + 1_010 / 1.005**3
    assert worth - 3_000 == pytest.approx(29.7519, abs=1e-4)
    assert flows.prepayment_penalty == pytest.approx([0.0] * 8 + [worth - 3_000] + [0.0] * 3, abs=1e-9)
    # Maintained to month 11 only, the balance then due (1,000) is part of what is paid.
    short = [engine.YieldMaintenance(discount_rate=0.06, method="present_value", months=11)]
    worth = 1_030 / 1.005 + (1_020 + 1_000) / 1.005**2
    assert flows_of(loan, short, ninth).prepayment_penalty[8] == pytest.approx(worth - 3_000, rel=1e-10)


def test_months_of_interest_go_by_the_rate_of_the_month() -> None:
    # Interest only; 4% until month 12, then 6%. Six months on 80% of what is prepaid (1% a month).
    loan = engine.Loan(
        balance=100_000.0, annual_rate=0.04, remaining_term=36, amortization="bullet", rate_schedule="s", penalty="p"
    )
    steps = engine.RateSchedule(steps=[engine.RateStep(month=12, annual_rate=0.06)])
    phases = [engine.InterestPenalty(interest_months=6, share=0.8)]
    tape = engine.Tape.from_loans([loan], rate_schedules={"s": steps}, penalties={"p": phases})
    smm = engine.Assumptions(prepayment=engine.Smm(rate=0.01))
    flows = engine.project(request(tape, smm))
    assert flows.prepayment_penalty[0] == pytest.approx(1_000 * 0.8 * 6 * 0.04 / 12, rel=1e-13)
    assert flows.prepayment_penalty[12] == pytest.approx(1_000 * 0.99**12 * 0.8 * 6 * 0.06 / 12, rel=1e-12)


def test_a_lockout_holds_prepayments_back_and_no_defaults() -> None:
    # Months 1 to 3 after origination are locked; the loan is one month old, so two are left.
    loan = engine.Loan(balance=1_000.0, annual_rate=0.0, remaining_term=10, age=1, amortization="bullet")
    assumed = engine.Assumptions(prepayment=engine.Smm(rate=0.1), default=engine.Mdr(rate=0.2))
    flows = flows_of(loan, [engine.Lockout(months=3)], assumed)
    # 1,000 x 0.8 x 0.8 = 640; from then on x 0.7.
    assert flows.prepayment[:4] == pytest.approx([0, 0, 64, 44.8], rel=1e-13)
    assert flows.balance[:4] == pytest.approx([800, 640, 448, 313.6], rel=1e-13)


def test_roll_rates_heed_lockouts() -> None:
    rolls = engine.Delinquency(roll=[0.02, 0.5, 0.9], cure=[0.3, 0.05])
    loan = engine.Loan(balance=1_000.0, annual_rate=0.06, remaining_term=60)
    free = engine.Assumptions(prepayment=engine.Vector(unit="smm", values=[0.0] * 12 + [0.01]), delinquency=rolls)
    assumed = engine.Assumptions(prepayment=engine.Smm(rate=0.01), delinquency=rolls)
    phases = [engine.Lockout(months=12), engine.PercentagePenalty(rate=0.03)]
    locked = flows_of(loan, phases, assumed)
    np.testing.assert_array_equal(
        locked.prepayment, flows_of(loan, [engine.PercentagePenalty(rate=0)], free).prepayment
    )
    np.testing.assert_allclose(locked.prepayment_penalty, 0.03 * locked.prepayment, rtol=1e-14)
    assert locked.prepayment[12] > 0


phases_of_many = st.sampled_from(list(PHASES))


@given(
    tape=st.lists(st.tuples(loans(), phases_of_many), min_size=1, max_size=5),
    prepaying=prepayments, cdr=decimals, rules=conventions,
)  # fmt: skip
@FEW
def test_pool_equals_the_reference(
    tape: list[tuple[engine.Loan, str]], prepaying: Any, cdr: float, rules: engine.Conventions
) -> None:
    assumed = engine.Assumptions(
        prepayment=prepaying, default=engine.Cdr(rate=cdr), severity=0.4, recovery_lag=6, advancing="interest"
    )
    stated = [msgspec.structs.replace(loan, penalty=name) for loan, name in tape]
    pool = engine.Tape.from_loans(stated, penalties=PHASES)
    flows = engine.project(request(pool, assumed, conventions=rules))
    # Rates whose prepayments round to nothing are told apart from none by the engine alone, which has them as shares.
    ages = [reference.age_of(loan) + t for loan, _ in tape for t in range(1, flows.periods + 1)]
    assume(all(not 0 < reference.rate_of(prepaying, 1, age) < 1e-200 for age in ages))
    each = [
        reference_penalties.project_loan(loan, PHASES[name], assumed, rules, flows.periods)
        for loan, name in tape
        if loan.balance > 0
    ]
    expected = reference.add_up(each, flows.periods)
    assert_close(dict(flows.columns), expected, flows.opening_balance)


def mixed(count: int, **more: Any) -> engine.Tape:
    """Plain and floating loans of every penalty and of none, in groups."""
    random = np.random.default_rng(5)
    names = [*(name for name in PHASES if name not in ("maintained", "value")), None]
    floats = random.random(count) < 0.3
    columns: dict[str, Any] = {
        "balance": random.uniform(1, 1e6, count), "annual_rate": random.choice([0.04, 0.055], count),
        "remaining_term": random.integers(12, 121, count), "age": random.integers(0, 60, count),
        "group": random.choice(["a", "b", "c"], count).tolist(),
        "index": ["ref" if each else None for each in floats], "margin": np.where(floats, 0.02, np.nan),
        "first_reset": np.where(floats, random.integers(1, 13, count), np.nan),
        "penalty": [
            names[k] if floating else [*PHASES, None][k % 9]
            for floating, k in zip(floats, random.integers(0, len(names), count), strict=True)
        ],
    }  # fmt: skip
    return engine.Tape.from_columns(penalties=PHASES, **(columns | more))


def scenarios(count: int) -> list[engine.Scenario]:
    return [
        engine.Scenario(
            name=str(k),
            assumptions=engine.Assumptions(
                prepayment=engine.Psa(speed=0.5 + k / 4), default=engine.Cdr(rate=0.01 * k), severity=0.3,
                recovery_lag=k % 4, advancing="principal_and_interest" if k % 3 == 2 else "none",
                rates={"ref": engine.MonthlyRates(rates=[0.02, 0.03 + 0.001 * (k % 2)])},
            ),
        )
        for k in range(count)
    ]  # fmt: skip


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("base", ["gross", "opening_net_of_defaults"])
def test_levels_threads_and_scenarios_agree(base: Any) -> None:
    tape, several, rules = mixed(5_000), scenarios(6), engine.Conventions(prepayment_base=base)
    pool = engine.project(request(tape, CPR, scenarios=several, conventions=rules), threads=1)
    assert pool.prepayment_penalty.sum() > 0
    threaded = engine.project(request(tape, CPR, scenarios=several, conventions=rules), threads=4)
    for name in ALL:
        np.testing.assert_array_equal(threaded[name], pool[name])
    for level in ("group", "loan"):
        parts = engine.project(request(tape, CPR, scenarios=several, level=level, conventions=rules))
        for name in ALL:
            np.testing.assert_allclose(parts[name].sum(axis=1), pool[name], rtol=1e-9, atol=1e-12 * pool[name].max())
    alone = engine.project(request(tape, CPR, scenarios=several[4:5], conventions=rules))
    np.testing.assert_allclose(pool.prepayment_penalty[4][: alone.periods], alone.prepayment_penalty, rtol=1e-11)


@pytest.mark.usefixtures("small_chunks")
def test_losses_taken_loan_by_loan_leave_the_penalties() -> None:
    insured = mixed(3_000, mortgage_insurance=np.where(np.arange(3_000) == 0, 1e-300, 0.0))
    assumed = scenarios(3)[2].assumptions
    assert assumed is not None
    by_chunk, of_sums = (engine.project(request(tape, assumed)) for tape in (insured, mixed(3_000)))
    np.testing.assert_allclose(by_chunk.prepayment_penalty, of_sums.prepayment_penalty, rtol=1e-11)
    np.testing.assert_allclose(by_chunk.cashflow, of_sums.cashflow, rtol=1e-11)


def test_cashflow_is_what_it_was_and_the_penalty() -> None:
    with_penalty, without = mixed(500), mixed(500, penalty=None)
    assumed = engine.Assumptions(prepayment=engine.Cpr(rate=0.1), rates={"ref": engine.FlatRate(rate=0.03)})
    tape = engine.Tape.from_columns(
        penalties={"p": [engine.PercentagePenalty(rate=0.02)]},
        **{name: value for name in engine.Columns.__struct_fields__
           if (value := getattr(without.columns, name)) is not None} | {"penalty": "p"},
    )  # fmt: skip
    plain, owing = (engine.project(request(each, assumed)) for each in (without, tape))
    for name in ALL:
        if name not in ("cashflow", "prepayment_penalty"):
            np.testing.assert_array_equal(owing[name], plain[name], err_msg=name)
    assert not plain.prepayment_penalty.any()
    np.testing.assert_allclose(owing.prepayment_penalty, 0.02 * plain.prepayment, rtol=1e-12)
    np.testing.assert_allclose(owing.cashflow, plain.cashflow + owing.prepayment_penalty, rtol=1e-14)
    assert with_penalty.penalties == PHASES


def test_a_loan_drawn_later_is_locked_from_its_draw() -> None:
    loan = engine.Loan(
        balance=1_000.0, annual_rate=0.06, remaining_term=24, origination_date="2025-03-31", month_end="last_day",
        next_payment_date="2025-04-30",
    )  # fmt: skip
    smm = engine.Assumptions(prepayment=engine.Smm(rate=0.01))
    phases = [engine.Lockout(months=6), engine.PercentagePenalty(rate=0.03)]
    flows = flows_of(loan, phases, smm, cutoff_date=datetime.date(2024, 12, 31))
    # Drawn in month 3: months 4 to 9 are locked.
    assert not flows.prepayment[:9].any()
    assert flows.prepayment[9] > 0
    np.testing.assert_allclose(flows.prepayment_penalty, 0.03 * flows.prepayment, rtol=1e-14)


def test_phases_follow_one_another() -> None:
    assert [(begin, end) for begin, end, _ in spans(PHASES["maintained"])] == [(1, 24), (25, 84), (85, 96)]
    assert spans(PHASES["step_down"])[0][:2] == (1, 60)


REFUSED: list[tuple[Any, str, str]] = [
    ([], "tape.penalties['p']", "has 0 phases"),
    ([engine.PercentagePenalty(rate=5.0)], "tape.penalties['p'][0].rate", "(5% is 0.05)"),
    ([engine.PercentagePenalty(rate=0.1), engine.Lockout()], "tape.penalties['p'][0].months", "only the last phase"),
    ([engine.Lockout(months=0)], "tape.penalties['p'][0].months", "is 0"),
    ([engine.StepDownPenalty(rates=[])], "tape.penalties['p'][0].rates", "is empty"),
    ([engine.StepDownPenalty(rates=[0.1], months=3)], "tape.penalties['p'][0].months", "is beside rates"),
    ([engine.InterestPenalty(interest_months=-1)], "tape.penalties['p'][0].interest_months", "is -1"),
    ([engine.FixedPenalty(amount=-1.0)], "tape.penalties['p'][0].amount", "is -1"),
    ([engine.YieldMaintenance(discount_rate=2.0)], "tape.penalties['p'][0].discount_rate", "is 2"),
    ([engine.YieldMaintenance(discount_rate=0.1, months=3)] * 2, "tape.penalties['p'][1]", "a second yield"),
]  # fmt: skip


@pytest.mark.parametrize(("phases", "path", "message"), REFUSED)
def test_faulty_penalties_are_refused(phases: Any, path: str, message: str) -> None:
    with pytest.raises(engine.TapeError) as caught:
        flows_of(engine.Loan(balance=1.0, annual_rate=0.05, remaining_term=12), phases)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert message in problem.message


@pytest.mark.parametrize(
    ("terms", "name", "message"),
    [
        ({"index": "ref", "first_reset": 1}, "maintained", "maintains a yield on a loan whose rate changes"),
        ({"penalty": "none_such"}, "maintained", "which tape.penalties does not define"),
        ({"rate_schedule": "s", "payment_frequency": "quarterly"}, "interest", "is in months of interest"),
    ],
)  # fmt: skip
def test_penalties_that_cannot_be_reckoned_are_refused(terms: dict[str, Any], name: str, message: str) -> None:
    loan = engine.Loan(**({"balance": 1.0, "annual_rate": 0.05, "remaining_term": 12, "penalty": name} | terms))
    steps = {"s": engine.RateSchedule(steps=[engine.RateStep(month=6, annual_rate=0.06)])}
    tape = engine.Tape.from_loans([loan], penalties=PHASES, rate_schedules=steps)
    with pytest.raises(engine.TapeError) as caught:
        engine.project(request(tape, CPR))
    assert any(each.path == "tape.loans[0].penalty" and message in each.message for each in caught.value.problems)


def test_only_loans_take_penalties() -> None:
    tape = engine.Tape.from_columns(
        balance=[1.0, 1.0], annual_rate=0.0, remaining_term=12, type=["loan", "receivable"], penalty="interest",
        discount=[None, 0.1], penalties=PHASES,
    )  # fmt: skip
    with pytest.raises(engine.TapeError) as caught:
        engine.project(request(tape, CPR))
    assert [problem.path for problem in caught.value.problems] == ["tape.columns.penalty[1]"]


def test_timing_curves_refuse_lockouts() -> None:
    timed = engine.Assumptions(default=engine.Timing(cumulative=0.1, timing=[1.0]))
    loan = engine.Loan(balance=1.0, annual_rate=0.05, remaining_term=12, original_balance=1.0)
    with pytest.raises(engine.AssumptionError, match="expected no lockouts"):
        flows_of(loan, [engine.Lockout(months=3)], timed)

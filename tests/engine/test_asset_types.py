"""Every asset type alike: conservation, levels, faces, and what is refused."""

import datetime
from typing import Any

import msgspec
import numpy as np
import pytest

import engine
from engine.assets import LOAN_TYPES, TYPES
from tests.engine.asset_world import EVERY, FIELDS, GIVEN, project

ASSUMED = {
    "prepayment": engine.Cpr(rate=0.1), "default": engine.Cdr(rate=0.05), "severity": 0.4, "recovery_lag": 3,
    "residual_share": 0.9,
}  # fmt: skip


def test_every_type_is_here() -> None:
    assert set(EVERY) == set(LOAN_TYPES) == set(TYPES)


@pytest.mark.parametrize("name", TYPES)
def test_principal_and_losses_are_what_was_lent(name: str) -> None:
    for conventions in ("sifma", "opening_actual"):
        tape = engine.Tape.from_loans([EVERY[name]], cashflows=GIVEN)
        request = engine.ProjectionRequest(
            tape=tape, assumptions=engine.Assumptions(**ASSUMED), fields=FIELDS, conventions=conventions,
            cutoff_date=datetime.date(2025, 1, 31),
        )  # fmt: skip
        flows = engine.project(request)
        lent = flows.opening_balance + flows["draw"].sum()
        back = flows["principal"].sum() + flows["loss"].sum() + flows["balance"][-1] + flows["foreclosure"][-1]
        assert back == pytest.approx(lent, rel=1e-12)
        for field in FIELDS:
            if name != "student_loan" or field not in ("scheduled_principal", "principal", "expected_principal"):
                assert field in ("cashflow", "net_interest") or flows[field].min() >= 0, field


def test_levels_add_up_and_threads_do_not_matter() -> None:
    loans = [msgspec.structs.replace(loan, group=name) for name, loan in EVERY.items()] * 700
    pool = project(loans, ASSUMED, cashflows=GIVEN)
    by_group = project(loans, ASSUMED, level="group", cashflows=GIVEN)
    by_loan = project(loans, ASSUMED, level="loan", cashflows=GIVEN)
    request = engine.ProjectionRequest(
        tape=engine.Tape.from_loans(loans, cashflows=GIVEN), assumptions=engine.Assumptions(**ASSUMED), fields=FIELDS
    )
    one, many = engine.project(request, threads=1), engine.project(request, threads=4)
    for field in FIELDS:
        scale = max(np.abs(pool[field]).max(), 1.0)
        np.testing.assert_allclose(by_group[field].sum(axis=0), pool[field], rtol=0, atol=1e-12 * scale, err_msg=field)
        np.testing.assert_allclose(by_loan[field].sum(axis=0), pool[field], rtol=0, atol=1e-12 * scale, err_msg=field)
        assert np.array_equal(one[field], many[field]), field


@pytest.mark.parametrize("name", TYPES)
def test_json_and_columns_say_the_same_as_structs(name: str) -> None:
    tape = engine.Tape.from_loans([EVERY[name]], cashflows=GIVEN)
    again = msgspec.json.decode(msgspec.json.encode(tape), type=engine.Tape)
    assert again == tape
    assert msgspec.json.decode(msgspec.json.encode(tape))["loans"][0]["type"] == name
    given = {key: [value] for key, value in msgspec.structs.asdict(EVERY[name]).items() if value is not None}
    columns = {"balance": [None], "annual_rate": [0.0], "remaining_term": [3], **given, "type": name}
    named = {"cashflows": GIVEN}
    as_json = msgspec.json.decode(msgspec.json.encode({"columns": columns, **named}), type=engine.Tape)
    request = {"assumptions": engine.Assumptions(**ASSUMED), "fields": FIELDS}
    left = engine.project(engine.ProjectionRequest(tape=tape, **request))
    for other in (engine.Tape.from_columns(cashflow_tables=GIVEN, **columns), as_json):
        right = engine.project(engine.ProjectionRequest(tape=other, **request))
        for field in FIELDS:
            np.testing.assert_array_equal(left[field], right[field])


REFUSED: list[tuple[Any, str, str]] = [
    (engine.Lease(annual_rate=0.06, remaining_term=3), "balance", "a lease needs one of them"),
    (engine.Lease(annual_rate=0.06, remaining_term=3, balance=10, payment=100), "balance", "to be left out"),
    (engine.Lease(annual_rate=0.0, remaining_term=3, balance=10, residual_value=20), "residual_value", "more than"),
    (engine.Receivable(remaining_term=3), "balance", "a receivable needs one of them"),
    (engine.Receivable(remaining_term=3, balance=90, face_value=100, discount=0.2), "balance", "to be left out"),
    (engine.Receivable(remaining_term=3, balance=110, face_value=100), "face_value", "below the balance"),
    (
        engine.Receivable(remaining_term=3, balance=50, face_value=100, dilution=0.6),
        "dilution",
        "more than the balance",
    ),
    (engine.StudentLoan(balance=1, annual_rate=0.1, remaining_term=3, school_term=3), "school_term", "reach maturity"),
    (
        engine.StudentLoan(balance=1, annual_rate=0.1, remaining_term=3, accrued_interest=0.5),
        "accrued_interest",
        "later",
    ),
    (
        engine.StudentLoan(balance=1, annual_rate=0.1, remaining_term=9, deferment_start=2),
        "deferment_start",
        "together",
    ),
    (engine.Revolving(balance=1, annual_rate=0.1, remaining_term=9, utilization=0.5), "utilization", "credit_limit"),
    (engine.GivenCashflow(cashflows="none"), "cashflows", "does not define"),
    (engine.GivenCashflow(cashflows="given", remaining_term=5), "remaining_term", "expected 3"),
]


@pytest.mark.parametrize(("loan", "column", "reason"), REFUSED)
def test_what_cannot_be_represented_is_refused_with_the_reason(loan: Any, column: str, reason: str) -> None:
    with pytest.raises(engine.TapeError) as told:
        project([EVERY["loan"], loan], cashflows=GIVEN)
    assert told.value.problems[0].path == f"tape.loans[1].{column}"
    assert reason in told.value.problems[0].message


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"balances": [10, 0], "interest": [1, 1]}, "one more"),
        ({"balances": [10, 5], "interest": [1]}, "expected 0"),
        ({"balances": [10, 0, 0], "interest": [1, 1]}, "no balance"),
        ({"balances": [10, 4, 0], "interest": [1, 1], "principal": [5, 4]}, "left to the assumptions"),
        ({"balances": [10, -1, 0], "interest": [1, 1]}, "expected currency units"),
    ],
)
def test_a_table_that_does_not_add_up_is_refused(table: dict[str, Any], reason: str) -> None:
    with pytest.raises(engine.TapeError, match=reason):
        project([engine.GivenCashflow(cashflows="t")], cashflows={"t": engine.CashflowTable(**table)})


def test_a_column_of_another_type_is_refused_where_it_stands() -> None:
    columns = {"balance": [1.0, 2.0], "annual_rate": 0.05, "remaining_term": 9, "type": ["loan", "revolving"]}
    with pytest.raises(engine.TapeError) as told:
        engine.Tape.from_columns(**columns, payment_rate=[0.1, 0.1], residual_value=[0, 5]).arrays()
    assert [problem.path for problem in told.value.problems] == [
        "tape.columns.residual_value[1]", "tape.columns.payment_rate[0]",
    ]  # fmt: skip
    with pytest.raises(engine.TapeError, match="credit_limit"):
        engine.Tape.from_columns(balance=1, annual_rate=0.05, remaining_term=9, credit_limit=5).arrays()


@pytest.mark.parametrize("name", ["lease", "receivable", "revolving", "cashflow"])
def test_assumptions_that_do_not_factor_are_refused(name: str) -> None:
    rolls = engine.Delinquency(roll=[0.1, 0.5], cure=[0.2])
    with pytest.raises(engine.AssumptionError, match="instalments to catch up with"):
        project([EVERY[name]], {"delinquency": rolls}, cashflows=GIVEN)
    with pytest.raises(engine.AssumptionError, match="not scheduled"):
        project([EVERY[name]], {"advancing": "principal_and_interest"}, cashflows=GIVEN)


def test_rules_tell_types_and_statuses_apart() -> None:
    rules = [
        engine.Rule(where={"type": engine.Condition(one_of=["lease"])}, assumptions=engine.Assumptions()),
        engine.Rule(
            where={"status": engine.Condition(one_of=["delinquent_30"])},
            assumptions=engine.Assumptions(prepayment=engine.Smm(rate=1.0)),
        ),
    ]
    loans = [EVERY["lease"], EVERY["loan"], msgspec.structs.replace(EVERY["loan"], status="delinquent_30")]
    flows = project(loans, {"rules": rules, "default": engine.Mdr(rate=0.1)}, level="loan")
    assert [bool(row.any()) for row in flows["default"]] == [False, True, False]
    assert flows["prepayment"][2, 0] > 0


def test_roll_rates_begin_with_late_loans_unless_a_rule_says_otherwise() -> None:
    late = msgspec.structs.replace(EVERY["loan"], status="delinquent_60")
    rolls = engine.Delinquency(roll=[0.1, 0.5], cure=[0.2])
    assert project([EVERY["loan"], late], {"delinquency": rolls})["default"][0] == pytest.approx(500)
    rule = engine.Rule(
        where={"status": engine.Condition(one_of=["delinquent_60"])},
        assumptions=engine.Assumptions(default=engine.Mdr(rate=0.2)),
    )
    flows = project([EVERY["loan"], late], {"delinquency": rolls, "rules": [rule]}, level="loan")
    assert flows["default"][1, 0] == pytest.approx(200)


def test_a_line_without_a_balance_is_repaid_after_its_draws_too() -> None:
    # 720 drawn in the first month; after month 20 level payments at 20% over the 20 months left.
    line = engine.Revolving(
        balance=0.0, annual_rate=0.2, remaining_term=40, credit_limit=800.0, utilization=0.9, draw_term=20
    )
    r = 0.2 / 12
    payment = 720 * r / (1 - (1 + r) ** -20)
    after = 720 * (1 + r) - payment
    flows = project([line])
    np.testing.assert_allclose(flows["balance"][[0, 19, 20, 21]], [720, 720, after, after * (1 + r) - payment])
    assert flows["balance"][39] == 0

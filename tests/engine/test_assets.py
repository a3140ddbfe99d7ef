"""Leases, receivables, student loans, revolving balances and given cashflows: each by hand, and all alike."""

import datetime
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine.assets import LOAN_TYPES, TYPES

FIELDS = list(engine.FIELD_NAMES)


def project(loans: list[Any], assumed: dict[str, Any] | None = None, level: str = "pool", **named: Any) -> Any:
    tape = engine.Tape.from_loans(loans, **named)
    request = {"assumptions": engine.Assumptions(**assumed or {}), "fields": FIELDS, "level": level}
    return engine.project(engine.ProjectionRequest(tape=tape, **request))


def assert_rows(flows: Any, **rows: list[float]) -> None:
    for name, row in rows.items():
        np.testing.assert_allclose(flows[name][: len(row)], row, rtol=1e-9, atol=1e-9, err_msg=name)


# Leases


def test_a_lease_is_worth_its_rentals_and_residual() -> None:
    # 0.5% a month, three rentals of 100 in arrears and 1,000 with the last:
    # 100 (1/1.005 + 1/1.005^2 + 1/1.005^3) + 1000/1.005^3 = 297.024813... + 985.148759...
    lease = engine.Lease(annual_rate=0.06, remaining_term=3, payment=100, residual_value=1000)
    flows = project([lease])
    worth = sum(100 / 1.005**t for t in (1, 2, 3)) + 1000 / 1.005**3
    assert flows.opening_balance == pytest.approx(worth, rel=1e-12)
    first, second = worth * 1.005 - 100, (worth * 1.005 - 100) * 1.005 - 100
    assert_rows(
        flows, balance=[first, second, 0], interest=[0.005 * worth, 0.005 * first, 0.005 * second],
        cashflow=[100, 100, 1100], loss=[0, 0, 0], shortfall=[0, 0, 0],
    )  # fmt: skip


def test_a_residual_fetches_a_share_of_its_value() -> None:
    lease = engine.Lease(annual_rate=0.06, remaining_term=3, payment=100, residual_value=1000)
    assert_rows(
        project([lease], {"residual_share": 0.8}), cashflow=[100, 100, 900], shortfall=[0, 0, 200], loss=[0, 0, 200]
    )
    assert_rows(project([lease], {"residual_share": 1.1}), cashflow=[100, 100, 1200], other_income=[0, 0, 100])


@pytest.mark.parametrize("level", ["pool", "loan"])
@pytest.mark.parametrize(("share", "short", "gained"), [(0.9, 900, 0), (0, 9000, 0), (1.2, 0, 1800), (1, 0, 0)])
@pytest.mark.parametrize(("rental", "last", "timing"), [(450, 0, "advance"), (0, 0, "arrears"), (20, 20, "arrears")])
def test_the_share_is_of_a_residual_that_pays_interest_too(
    rental: float, last: float, timing: Any, share: float, short: float, gained: float, level: str
) -> None:
    # The last payment is 9,000 and a rental `last` below the month's interest: owed before is (9000 + last)/1.005, the
    # interest is 0.5% of it. All of that interest is booked; of the 9,000 the share comes in.
    lease = engine.Lease(
        annual_rate=0.06, remaining_term=36, payment=rental, residual_value=9000, payment_timing=timing
    )
    flows = project([lease], {"residual_share": share}, level=level)
    owed = (9000 + last) / 1.005
    ends = {
        "interest": 0.005 * owed, "scheduled_principal": owed - short, "shortfall": short, "loss": short,
        "other_income": gained, "cashflow": last + 9000 * share,
    }  # fmt: skip
    for name, value in ends.items():
        assert flows[name].ravel()[-1] == pytest.approx(value, rel=1e-11, abs=1e-8), name
    assert flows["principal"].sum() + flows["loss"].sum() == pytest.approx(flows.opening_balance, rel=1e-12)


def test_prepaid_and_defaulted_leases_have_no_residual_to_fall_short_of() -> None:
    # No rental: 9,000 in two months are worth 9000/1.005^2 = 8,910.6705; a month later 8,955.2239 are owed. In month 1
    # 1% default and 10% prepay: 0.89 are left. In month 2 1% of them default, 0.8811 hand back what fetches half:
    # shortfall and cash are 4500 x 0.8811 = 3,964.95 each, of which interest 44.7761 x 0.8811 = 39.4522.
    lease = engine.Lease(annual_rate=0.06, remaining_term=2, payment=0, residual_value=9000)
    once = engine.Vector(unit="smm", values=[0.1], beyond="zero")
    assumed = {"residual_share": 0.5, "prepayment": once, "default": engine.Mdr(rate=0.01), "severity": 1.0}
    flows = project([lease], assumed)
    assert flows["shortfall"] == pytest.approx([0, 3964.95], abs=1e-8)
    assert flows["interest"][1] == pytest.approx(39.4522, abs=1e-4)
    assert flows["cashflow"][1] == pytest.approx(3964.95, abs=1e-8)
    assert flows["principal"].sum() + flows["loss"].sum() == pytest.approx(8910.6705, abs=1e-4)


def test_only_leases_that_run_to_their_end_have_a_residual() -> None:
    # 1% default each month, so 0.99^3 are left when the residual falls due; 200 of 1,000 are not fetched.
    lease = engine.Lease(annual_rate=0.06, remaining_term=3, payment=100, residual_value=1000)
    flows = project([lease], {"residual_share": 0.8, "default": engine.Mdr(rate=0.01), "severity": 1.0})
    assert_rows(flows, shortfall=[0, 0, 200 * 0.99**3], cashflow=[99, 98.01, 900 * 0.99**3])


def test_rentals_in_advance_leave_none_for_the_last_month() -> None:
    # Two rentals, then the residual: worth 100/1.005 + 100/1.005^2 + 1000/1.005^3.
    lease = engine.Lease(annual_rate=0.06, remaining_term=3, payment=100, residual_value=1000, payment_timing="advance")
    flows = project([lease])
    assert flows.opening_balance == pytest.approx(100 / 1.005 + 100 / 1.005**2 + 1000 / 1.005**3, rel=1e-12)
    assert_rows(flows, cashflow=[100, 100, 1000])


def test_a_rental_follows_from_the_balance() -> None:
    lease = engine.Lease(annual_rate=0.06, remaining_term=36, balance=30_000, residual_value=12_000)
    # (30000 - 12000/1.005^36) / ((1 - 1.005^-36)/0.005)
    rental = (30_000 - 12_000 / 1.005**36) / ((1 - 1.005**-36) / 0.005)
    assert_rows(project([lease]), cashflow=[rental] * 35 + [rental + 12_000])


# Receivables


def test_a_receivable_earns_its_discount_when_collected() -> None:
    # 1,000 due in three months, bought at 980; 50 are never due: 950 come in, of which 20 are earned.
    flows = project([engine.Receivable(remaining_term=3, face_value=1000, discount=0.02, dilution=0.05)])
    assert flows.opening_balance == 980
    assert_rows(
        flows, balance=[980, 980, 0], interest=[0, 0, 20], shortfall=[0, 0, 50], loss=[0, 0, 50],
        scheduled_principal=[0, 0, 930], cashflow=[0, 0, 950],
    )  # fmt: skip


def test_a_collection_curve_spreads_discount_and_dilution() -> None:
    # 40%, 40% and 20% of 980: the discount is 20/980 of what is collected, dilution 50/980.
    pool = engine.Receivable(remaining_term=3, face_value=1000, discount=0.02, dilution=0.05, schedule="usual")
    flows = project([pool], schedules={"usual": engine.Schedule(balances=[100, 60, 20])})
    assert_rows(
        flows, balance=[588, 196, 0], interest=[8, 8, 4], shortfall=[20, 20, 10], scheduled_principal=[372, 372, 186]
    )


# Student loans


def test_interest_of_school_and_grace_is_simple_until_it_is_capitalized() -> None:
    # 900 of principal bear 1% a month, 9 in each of three months; then 1,027 are repaid in five level payments.
    loan = engine.StudentLoan(
        balance=1000, accrued_interest=100, annual_rate=0.12, remaining_term=8, school_term=2, grace_term=1
    )
    payment = 1027 * 0.01 / (1 - 1.01**-5)
    assert_rows(
        project([loan]), balance=[1009, 1018, 1027, 1027 * 1.01 - payment], interest=[9, 9, 9, 10.27],
        scheduled_principal=[-9, -9, -9, payment - 10.27], cashflow=[0, 0, 0, *[payment] * 5],
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "interest"), [("subsidized", 10), ("paid", 10), ("forgiven", 0)])
def test_interest_in_school_may_be_paid_or_forgiven(kind: Any, interest: float) -> None:
    loan = engine.StudentLoan(balance=1000, annual_rate=0.12, remaining_term=7, school_term=2, school_interest=kind)
    payment = 1000 * 0.01 / (1 - 1.01**-5)
    assert_rows(project([loan]), balance=[1000, 1000], interest=[interest] * 2, cashflow=[interest] * 2 + [payment] * 5)


def test_a_deferment_recasts_the_payment() -> None:
    # Three payments of a loan of eight; two months add 1% of what is left each, not compounded; then three payments.
    loan = engine.StudentLoan(balance=1000, annual_rate=0.12, remaining_term=8, deferment_start=4, deferment_term=2)
    first = 1000 * 0.01 / (1 - 1.01**-8)
    left = 1000 * 1.01**3 - first * (1.01**3 - 1) / 0.01
    last = 1.02 * left * 0.01 / (1 - 1.01**-3)
    assert_rows(project([loan]), cashflow=[first] * 3 + [0, 0] + [last] * 3)


def test_graduated_payments_repay_the_loan() -> None:
    # Six payments x, x, 1.1x, 1.1x, 1.21x, 1.21x of a loan at 1% a month, after two months of subsidized school.
    loan = engine.StudentLoan(
        balance=1000, annual_rate=0.12, remaining_term=8, school_term=2, school_interest="subsidized",
        graduation_rate=0.1, graduation_frequency=2,
    )  # fmt: skip
    levels = [1, 1, 1.1, 1.1, 1.21, 1.21]
    x = 1000 / sum(level / 1.01 ** (t + 1) for t, level in enumerate(levels))
    assert_rows(project([loan]), cashflow=[10, 10, *(x * level for level in levels)])


# Revolving balances


def test_a_card_is_drawn_and_repaid() -> None:
    # Month 1: 10% of 1,000 are repaid, 15% drawn: 1,050. Month 2: 105 repaid, 157.50 drawn would pass the limit of
    # 1,100: 155 are. Month 3: 110 repaid, 110 drawn. Then nothing is drawn, and 10% are repaid until all falls due.
    card = engine.Revolving(
        balance=1000, annual_rate=0.24, remaining_term=5, credit_limit=1100, purchase_rate=0.15, payment_rate=0.1,
        draw_term=3, interchange_rate=0.02, fee_rate=0.12,
    )  # fmt: skip
    flows = project([card])
    assert_rows(
        flows, balance=[1050, 1100, 1100, 990, 0], draw=[150, 155, 110, 0, 0], interest=[20, 21, 22, 22, 19.8],
        scheduled_principal=[100, 105, 110, 110, 990], other_income=[3 + 10, 3.1 + 10.5, 2.2 + 11, 11, 9.9],
        cashflow=[100 + 20 + 13 - 150, 105 + 21 + 13.6 - 155, 110 + 22 + 13.2 - 110, 110 + 22 + 11, 990 + 19.8 + 9.9],
    )  # fmt: skip


def test_behaviour_multiplies_what_a_card_draws() -> None:
    # 1% charged off, 2% closed (prepayment of what non-defaulters owe after the month): those who stay draw and repay.
    card = engine.Revolving(balance=1000, annual_rate=0.24, remaining_term=5, purchase_rate=0.15, payment_rate=0.1)
    assumed = {"default": engine.Mdr(rate=0.01), "prepayment": engine.Smm(rate=0.02), "severity": 0.9}
    flows = project([card], assumed)
    # Month 1: 990 go on, repay 99, draw 148.5; 2% of 1,050 prepay; 0.97 of it are left. Month 2 is 0.97 x 1.05 of it.
    assert_rows(
        flows, default=[10, 10.185], draw=[148.5, 148.5 * 1.0185], scheduled_principal=[99, 99 * 1.0185],
        prepayment=[21, 21 * 1.0185], balance=[1018.5, 1018.5 * 1.0185], loss=[9, 9.1665],
    )  # fmt: skip


def test_a_line_is_filled_to_its_utilization_then_amortized() -> None:
    # 60% of 2,000 from the first month; interest alone while it can be drawn, then five level payments at 1% a month.
    line = engine.Revolving(
        balance=1000, annual_rate=0.12, remaining_term=8, credit_limit=2000, utilization=0.6, draw_term=3
    )
    payment = 1200 * 0.01 / (1 - 1.01**-5)
    assert_rows(
        project([line]), balance=[1200, 1200, 1200, 1212 - payment], draw=[200, 0, 0, 0],
        cashflow=[10 - 200, 12, 12] + [payment] * 5,
    )  # fmt: skip


# Given cashflows


GIVEN = {
    "given": engine.CashflowTable(balances=[100, 90, 95, 0], interest=[1, 2, 3], principal=[10, 5, 95]),
    "plain": engine.CashflowTable(balances=[50, 20, 0], interest=[0.5, 0.2]),
}


def test_a_given_cashflow_is_taken_as_it_is() -> None:
    # Scaled by 20; in month 2 the balance rises by 5 though 5 are paid: 10 are drawn.
    flows = project([engine.GivenCashflow(cashflows="given", balance=2000)], cashflows=GIVEN)
    assert_rows(
        flows, balance=[1800, 1900, 0], interest=[20, 40, 60], scheduled_principal=[200, 100, 1900], draw=[0, 200, 0]
    )


def test_behaviour_is_applied_to_a_given_cashflow_unless_it_is_not() -> None:
    assumed = {"prepayment": engine.Smm(rate=0.5)}
    applied = project([engine.GivenCashflow(cashflows="plain")], assumed, cashflows=GIVEN)
    assert_rows(applied, balance=[10, 0], prepayment=[10, 0], scheduled_principal=[30, 10], interest=[0.5, 0.1])
    loans = [engine.GivenCashflow(cashflows="plain", behaviour="none"), engine.GivenCashflow(cashflows="plain")]
    mixed = project(loans, assumed, level="loan", cashflows=GIVEN)
    np.testing.assert_allclose(mixed["balance"][0], [20, 0])
    np.testing.assert_allclose(mixed["balance"][1], applied["balance"])


# In default at the cut-off


@pytest.mark.parametrize(("months", "month"), [(0, 5), (2, 3), (4, 1), (9, 1)])
def test_a_foreclosed_balance_is_liquidated_after_what_is_left_of_the_lag(months: int, month: int) -> None:
    loan = engine.Loan(
        balance=1000, annual_rate=0.06, remaining_term=60, status="foreclosure", months_in_status=months,
        servicing_fee=0.01,
    )  # fmt: skip
    flows = project([loan], {"severity": 0.4, "recovery_lag": 5, "prepayment": engine.Cpr(rate=0.2)})
    held = [1000.0] * (month - 1) + [0]
    assert_rows(flows, foreclosure=held, loss=[0] * (month - 1) + [400], recovery=[0] * (month - 1) + [600])
    for name in ("balance", "default", "interest", "scheduled_principal", "prepayment", "servicing_fee"):
        assert not flows[name].any(), name


def test_stages_that_are_past_are_shared_by_those_to_come() -> None:
    # 20% after 1 month, 50% after 3, 30% after 5; defaulted two months ago: 5/8 in one month, 3/8 in three.
    loan = engine.Loan(balance=800, annual_rate=0.06, remaining_term=60, status="reo", months_in_status=2)
    flows = project([loan], {"recovery_stages": [0, 0.2, 0, 0.5, 0, 0.3], "severity": 0.5})
    assert_rows(flows, liquidation=[500, 0, 300], loss=[250, 0, 150], foreclosure=[300, 300, 0])


# All types


EVERY: dict[str, Any] = {
    "loan": engine.Loan(balance=1000, annual_rate=0.06, remaining_term=24),
    "lease": engine.Lease(annual_rate=0.06, remaining_term=24, payment=30, residual_value=400),
    "receivable": engine.Receivable(remaining_term=4, face_value=900, discount=0.03, dilution=0.02),
    "student_loan": engine.StudentLoan(balance=800, annual_rate=0.07, remaining_term=30, school_term=6, grace_term=3),
    "revolving": engine.Revolving(
        balance=500, annual_rate=0.2, remaining_term=24, purchase_rate=0.1, payment_rate=0.12, draw_term=12
    ),
    "cashflow": engine.GivenCashflow(cashflows="given", balance=700),
}
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


# Against a plain walk


@given(
    balance=st.floats(1, 1e6), rate=st.floats(0, 0.4), term=st.integers(1, 60), draws=st.integers(0, 60),
    limit=st.floats(0, 2e6), buys=st.floats(0, 0.5), fills=st.none() | st.floats(0, 1), repays=st.floats(0, 1),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_card_equals_a_plain_walk(
    balance: float, rate: float, term: int, draws: int, limit: float, buys: float, fills: float | None, repays: float
) -> None:
    card = engine.Revolving(
        balance=balance, annual_rate=rate, remaining_term=term, draw_term=draws, credit_limit=limit,
        purchase_rate=buys, utilization=fills, payment_rate=repays,
    )  # fmt: skip
    flows, owed = project([card]), balance
    for month in range(1, term + 1):
        left, lent = owed * (1 - repays), 0.0
        if month <= draws and month < term:
            lent = min(max(buys * owed, (fills or 0.0) * limit - left, 0.0), max(limit - left, 0.0))
        after = 0.0 if month == term else left + lent
        near = 1e-9 * max(balance, limit)
        assert flows["draw"][month - 1] == pytest.approx(lent, abs=near)
        assert flows["balance"][month - 1] == pytest.approx(after, abs=near)
        assert flows["interest"][month - 1] == pytest.approx(owed * rate / 12, abs=near)
        assert flows["scheduled_principal"][month - 1] == pytest.approx(owed + lent - after, abs=near)
        owed = after


@given(
    balance=st.floats(1, 1e6), accrued=st.floats(0, 1), rate=st.floats(0, 0.3), school=st.integers(0, 40),
    grace=st.integers(0, 12), repaid=st.integers(1, 120), forgiven=st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_student_loan_equals_a_plain_walk(
    balance: float, accrued: float, rate: float, school: int, grace: int, repaid: int, forgiven: bool
) -> None:
    waits = school + grace
    apart = 0.0 if forgiven or not waits else accrued * balance
    loan = engine.StudentLoan(
        balance=balance, annual_rate=rate, remaining_term=waits + repaid, school_term=school, grace_term=grace,
        accrued_interest=apart, school_interest="forgiven" if forgiven else None,
    )  # fmt: skip
    flows, r, owed = project([loan]), rate / 12, balance
    near = 1e-9 * balance * (1 + r * waits)
    for month in range(waits):
        simple = 0.0 if forgiven else (balance - apart) * r
        owed += simple
        assert flows["interest"][month] == pytest.approx(simple, abs=near)
        assert flows["balance"][month] == pytest.approx(owed, abs=near)
    payment = owed / repaid if r < 1e-12 else owed * r / -math.expm1(-repaid * math.log1p(r))
    np.testing.assert_allclose(flows["cashflow"][waits:], payment, rtol=0, atol=near)


@pytest.mark.parametrize(
    ("term", "draw", "pay", "most"),
    [(600, 10.0, 0.02, "1e625"), (121, 0.35, 0.0, "1e18"), (40, 1.1, 0.1, "1e14")],
)
def test_a_balance_without_a_limit_is_not_drawn_beyond_bounds(term: int, draw: float, pay: float, most: str) -> None:
    # The balance grows by 1 + draw - pay each month but the last: 10.98^599, 1.35^120 and 2^39 times 100.
    card = engine.Revolving(
        balance=100, annual_rate=0.2, remaining_term=term, purchase_rate=draw, payment_rate=pay or None
    )  # fmt: skip
    assert most == f"1e{math.log10(100) + (term - 1) * math.log10(1 + draw - pay):.0f}"
    if most == "1e14":
        flows = project([card])
        assert flows["balance"][38] == pytest.approx(100 * 2.0**39, rel=1e-12)
        return
    with pytest.raises(engine.TapeError, match=r"purchase_rate is .* without credit_limit") as refused:
        project([card])
    assert f"brings the balance to {most}; expected 1e+15 at most, or a credit_limit" in str(refused.value)
    limited = msgspec.structs.replace(card, credit_limit=5000.0)
    assert project([limited])["balance"].max() == pytest.approx(5000, rel=1e-12)


@pytest.mark.parametrize(("months", "paid"), [(0, 2), (1, 1), (2, 0), (7, 0)])
@pytest.mark.parametrize("base", ["opening", "after_scheduled_principal"])
def test_advances_on_a_loan_in_default_end_as_long_after_its_default(months: int, paid: int, base: Any) -> None:
    # Three months of interest are advanced. A loan that defaulted in the month before the cut-off missed its first
    # payment then, so two are left; where it had still paid in the month of default, one more.
    loan = engine.Loan(
        balance=1000, annual_rate=0.12, remaining_term=60, amortization="bullet", status="default",
        months_in_status=months,
    )  # fmt: skip
    rules = engine.Conventions(default_base=base, advance_months=3, advance_share=0.5, recoup="at_liquidation")
    assumed = engine.Assumptions(severity=0.4, recovery_lag=12, advancing="interest")
    tape = engine.Tape(loans=[loan])
    flows = engine.project(engine.ProjectionRequest(tape=tape, assumptions=assumed, conventions=rules, fields=FIELDS))
    left = min(paid + (base != "opening"), max(3 - months, 0))
    assert_rows(flows, advanced_interest=[5.0] * left + [0] * (12 - left), liquidation=[0] * (11 - months) + [1000])
    assert flows["recouped_advances"].sum() == pytest.approx(5.0 * left, rel=1e-12)
    # As a loan that defaults in the month before a cut-off a month earlier, seen from then.
    before = msgspec.structs.replace(loan, status=None, months_in_status=None, remaining_term=61 + months)
    fails = msgspec.structs.replace(assumed, default=engine.Vector(unit="mdr", values=[1.0]))
    request = engine.ProjectionRequest(
        tape=engine.Tape(loans=[before]), assumptions=fails, conventions=rules, fields=FIELDS
    )  # fmt: skip
    np.testing.assert_allclose(
        flows["advanced_interest"][:10], engine.project(request)["advanced_interest"][months + 1 :][:10]
    )  # fmt: skip

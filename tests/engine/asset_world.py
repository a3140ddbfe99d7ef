"""Asset types: projections in every field, what rows begin with, and one of each type."""

from typing import Any

import numpy as np

import engine

FIELDS = list(engine.FIELD_NAMES)


def project(loans: list[Any], assumed: dict[str, Any] | None = None, level: str = "pool", **named: Any) -> Any:
    tape = engine.Tape.from_loans(loans, **named)
    request = {"assumptions": engine.Assumptions(**assumed or {}), "fields": FIELDS, "level": level}
    return engine.project(engine.ProjectionRequest(tape=tape, **request))


def assert_rows(flows: Any, **rows: list[float]) -> None:
    for name, row in rows.items():
        np.testing.assert_allclose(flows[name][: len(row)], row, rtol=1e-9, atol=1e-9, err_msg=name)


GIVEN = {
    "given": engine.CashflowTable(balances=[100, 90, 95, 0], interest=[1, 2, 3], principal=[10, 5, 95]),
    "plain": engine.CashflowTable(balances=[50, 20, 0], interest=[0.5, 0.2]),
}
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

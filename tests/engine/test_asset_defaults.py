"""Loans in default at the cut-off, by hand."""

from typing import Any

import msgspec
import numpy as np
import pytest

import engine
from tests.engine.asset_world import FIELDS, assert_rows, project


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

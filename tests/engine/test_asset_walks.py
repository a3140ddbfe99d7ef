"""Cards and student loans against a plain walk."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from tests.engine.asset_world import project


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

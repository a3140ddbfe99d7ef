"""Contract vectors that the core prepares, against arithmetic of sixty digits."""

from decimal import Decimal, localcontext

import numpy as np
import pytest

import engine
from engine import _core

ULP = 2.0**-52


def test_level_payments_and_last_balances_hold_to_a_few_units_in_the_last_place() -> None:
    random, n = np.random.default_rng(5), 400
    balance, tiny = random.uniform(1e3, 1e6, n), 10.0 ** random.uniform(-15, -3, n)
    rate = np.where(random.random(n) < 0.3, tiny, random.uniform(0, 1, n))
    term = random.integers(1, 481, n).astype(np.int32)
    spread = np.where(random.random(n) < 0.5, 0, term + random.integers(0, 300, n)).astype(np.int32)
    none, whole, at = np.zeros(n), np.zeros(n, dtype=np.int32), np.arange(n)
    out = np.zeros((_core.VECTOR_ROWS, n))
    _core.prepare(balance, rate, none, np.full(n, np.nan), term, whole, spread, np.zeros(n, dtype=np.int8), at, at, out)
    with localcontext() as digits:
        digits.prec = 60
        for i in range(n):
            r, over = Decimal(rate[i] / 12), int(spread[i] or term[i])
            payment = Decimal(balance[i]) * r / (1 - (1 + r) ** -over)
            left = payment * (1 - (1 + r) ** -(over - int(term[i]) + 1)) / r
            assert float(abs(Decimal(out[0, i]) / payment - 1)) < 8 * ULP
            assert float(abs(Decimal(out[4, i]) / left - 1)) < 8 * ULP


def test_level_payments_without_interest_are_equal_parts() -> None:
    tape = engine.Tape.from_columns(balance=[1200.0, 1200.0], annual_rate=0.0, remaining_term=[12, 10])
    flows = engine.project(engine.ProjectionRequest(tape=tape, level="loan", fields=["scheduled_principal", "balance"]))
    assert flows.scheduled_principal[0].tolist() == pytest.approx([100.0] * 12, rel=1e-15)
    assert flows.scheduled_principal[1][:10].tolist() == pytest.approx([120.0] * 10, rel=1e-15)
    assert flows.balance[:, -1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("fee", [0.0025, np.linspace(0.001, 0.004, 100)])
def test_fees_of_a_pool_are_those_of_its_loans_whether_or_not_they_are_all_alike(fee: object) -> None:
    random = np.random.default_rng(6)
    tape = engine.Tape.from_columns(
        balance=random.uniform(1e5, 1e6, 100), annual_rate=random.uniform(0.01, 0.1, 100),
        remaining_term=random.integers(10, 360, 100), servicing_fee=fee,
    )  # fmt: skip
    assumed = engine.Assumptions(prepayment=engine.Cpr(rate=0.06), default=engine.Cdr(rate=0.02), recovery_lag=6)
    by_loan, by_pool = (
        engine.project(
            engine.ProjectionRequest(tape=tape, assumptions=assumed, level=level, fields=["servicing_fee"])
        ).servicing_fee
        for level in ("loan", "pool")
    )
    np.testing.assert_allclose(by_pool, by_loan.sum(axis=0), rtol=1e-13, atol=1e-9)

"""Blocks of loans whose rate only resets have a loop of their own, which gives the bits of the general one."""

from typing import Any

import numpy as np
import pytest

import engine

PATH = engine.MonthlyRates(rates=(0.03 + 0.02 * np.sin(np.arange(400) / 30)).tolist())
ASSUMED = engine.Assumptions(prepayment=engine.Cpr(rate=0.06), default=engine.Cdr(rate=0.01), rates={"X": PATH})
TERMS: dict[str, Any] = {
    "plain": {},
    "capped": {"periodic_cap": 0.01, "periodic_floor": 0.005, "first_cap": 0.02, "life_cap": 0.09, "life_floor": 0.03},
    "rounded and looking back": {"rate_rounding": 0.00125, "look_back": 2},
}


def tape(loans: int, **more: Any) -> engine.Tape:
    random = np.random.default_rng(8)
    columns = {
        "balance": random.uniform(1e4, 1e6, loans), "annual_rate": random.uniform(0.03, 0.08, loans),
        "remaining_term": random.integers(30, 300, loans), "margin": random.uniform(0.0, 0.03, loans),
        "first_reset": random.integers(0, 25, loans), "reset_frequency": random.choice([1, 6, 12], loans),
    }  # fmt: skip
    return engine.Tape.from_columns(index="X", **(columns | more))


def by_loan(tape: engine.Tape) -> engine.Cashflows:
    return engine.project(engine.ProjectionRequest(tape=tape, assumptions=ASSUMED, level="loan", periods=310))


@pytest.mark.parametrize("name", TERMS)
def test_loans_that_only_reset_are_walked_alike_beside_one_to_which_more_happens(name: str) -> None:
    # The eighth shares their vector, and either only resets too or has months of interest only.
    alone, beside = (
        by_loan(tape(8, interest_only_term=np.array([0] * 7 + [months]), **TERMS[name])) for months in (0, 12)
    )
    for field in alone.fields:
        assert alone[field][:7].tobytes() == beside[field][:7].tobytes(), field
    assert alone.balance[7].tobytes() != beside.balance[7].tobytes()


@pytest.mark.parametrize("name", TERMS)
def test_a_pool_of_loans_that_only_reset_is_their_sum(name: str) -> None:
    whole = tape(500, **TERMS[name])
    loans = by_loan(whole)
    pool = engine.project(engine.ProjectionRequest(tape=whole, assumptions=ASSUMED, periods=310))
    for field in pool.fields:
        np.testing.assert_allclose(pool[field], loans[field].sum(axis=0), rtol=1e-12, atol=1e-6, err_msg=field)


VARIED: dict[str, Any] = {
    "stated payments": lambda random, n: {
        "payment": np.where(random.random(n) < 0.5, np.nan, random.uniform(3e3, 3e4, n))
    },
    "fees of their own": lambda random, n: {"servicing_fee": random.choice([0.0025, 0.005], n)},
    "other amortization": lambda random, n: {
        "amortization": random.choice(["level_pay", "linear", "bullet"], n).tolist()
    },
    "balloons": lambda random, n: {"amortization_term": random.choice([300, 420], n)},
    "rare resets": lambda random, n: {"reset_frequency": random.choice([36, 60], n)},
    "no interest": lambda random, n: {"annual_rate": 0.0, "life_cap": 0.0},
    "balances of nought": lambda random, n: {"balance": np.where(random.random(n) < 0.3, 0.0, 1e5)},
}


@pytest.mark.parametrize("final_defaults", ["stop_before_maturity", "continue"])
@pytest.mark.parametrize("name", VARIED)
def test_whatever_they_pay_a_pool_is_the_sum_of_its_loans(name: str, final_defaults: Any) -> None:
    # Defaults that continue make one run of all terms, so that the loans of a vector end one by one.
    whole = tape(600, **VARIED[name](np.random.default_rng(9), 600))
    rules = engine.Conventions(final_defaults=final_defaults)
    pool, loans = (
        engine.project(
            engine.ProjectionRequest(tape=whole, assumptions=ASSUMED, conventions=rules, level=level, periods=310)
        )
        for level in ("pool", "loan")
    )
    for field in pool.fields:
        scale = float(np.abs(pool[field]).max())
        np.testing.assert_allclose(
            pool[field], loans[field].sum(axis=0), rtol=0, atol=1e-12 * scale + 1e-9, err_msg=field
        )

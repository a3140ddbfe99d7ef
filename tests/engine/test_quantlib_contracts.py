"""Contract schedules against QuantLib: level pay, linear, interest-only, and floating loans on given fixings.

QuantLib's bonds take their notionals; those of level pay come from its sinkingNotionals, reset by reset for loans whose
payment is recast, so balances, principal and interest are all its own. Months of 30/360 on both sides.
"""

from typing import Any

import numpy as np
import pytest
import QuantLib as ql  # noqa: N813

import engine

START = ql.Date(1, 1, 2020)
THIRTY = ql.Thirty360(ql.Thirty360.BondBasis)
CASES = 60


def schedule(months: int) -> Any:
    end = START + ql.Period(months, ql.Months)
    return ql.Schedule(
        START, end, ql.Period(ql.Monthly), ql.NullCalendar(), ql.Unadjusted, ql.Unadjusted, ql.DateGeneration.Forward,
        False,
    )  # fmt: skip


def level_notionals(balance: float, rate: float, months: int) -> list[float]:
    """Balances at the start of each month and after the last, of a loan repaid level over the months."""
    if months == 1:
        return [balance, 0.0]
    return list(ql.sinkingNotionals(ql.Period(months, ql.Months), ql.Monthly, rate, balance))


def flows(bond: Any, months: int) -> tuple[np.ndarray, np.ndarray]:
    """Interest and principal by month."""
    interest, principal = np.zeros(months), np.zeros(months)
    for flow in bond.cashflows():
        month = (flow.date().year() - START.year()) * 12 + flow.date().month() - START.month() - 1
        coupon = ql.as_coupon(flow)
        if coupon is None:
            principal[month] += flow.amount()
        else:
            interest[month] += flow.amount()
    return interest, principal


def fixed_bond(notionals: list[float], rate: float) -> Any:
    months = len(notionals)
    return ql.AmortizingFixedRateBond(0, notionals, schedule(months), [rate], THIRTY)


def agree(loan: engine.Loan, interest: np.ndarray, principal: np.ndarray, **rates: Any) -> None:
    """Holds the engine's schedule of a loan to the flows given, to 1e-9 of its balance."""
    assumed = engine.Assumptions(rates=rates or None)
    found = engine.project(engine.ProjectionRequest(tape=engine.Tape.from_loans([loan]), assumptions=assumed))
    for name, expected in (("interest", interest), ("scheduled_principal", principal)):
        np.testing.assert_allclose(found[name], expected, rtol=1e-9, atol=1e-9 * loan.balance, err_msg=name)


def drawn(seed: int) -> tuple[Any, float, float, int]:
    """A random generator with a balance, an annual rate and a term in months."""
    random = np.random.default_rng(seed)
    return random, float(random.uniform(1e3, 1e6)), float(random.uniform(0.005, 0.15)), int(random.integers(2, 361))


@pytest.mark.parametrize("seed", range(CASES))
def test_level_pay(seed: int) -> None:
    _, balance, rate, months = drawn(seed)
    bond = fixed_bond(level_notionals(balance, rate, months)[:-1], rate)
    agree(engine.Loan(balance=balance, annual_rate=rate, remaining_term=months), *flows(bond, months))


@pytest.mark.parametrize("seed", range(CASES))
def test_linear(seed: int) -> None:
    _, balance, rate, months = drawn(seed)
    bond = fixed_bond([balance * (months - i) / months for i in range(months)], rate)
    loan = engine.Loan(balance=balance, annual_rate=rate, remaining_term=months, amortization="linear")
    agree(loan, *flows(bond, months))


@pytest.mark.parametrize("seed", range(CASES))
def test_interest_only_first(seed: int) -> None:
    random, balance, rate, months = drawn(seed)
    free = int(random.integers(1, months))
    bond = fixed_bond([balance] * free + level_notionals(balance, rate, months - free)[:-1], rate)
    loan = engine.Loan(balance=balance, annual_rate=rate, remaining_term=months, interest_only_term=free)
    agree(loan, *flows(bond, months))


def floating_bond(notionals: list[float], fixings: list[float], margin: float, cap: float, floor: float) -> Any:
    """A floater whose fixing of month i is fixings[i], capped and floored in all."""
    months = len(notionals)
    ql.IndexManager.instance().clearHistories()
    curve = ql.YieldTermStructureHandle(ql.FlatForward(START, 0.03, THIRTY))
    index = ql.IborIndex(
        "given", ql.Period(1, ql.Months), 0, ql.USDCurrency(), ql.NullCalendar(), ql.Unadjusted, False, THIRTY, curve
    )
    dates = schedule(months)
    index.addFixings([dates[i] for i in range(months)], fixings)
    ql.Settings.instance().evaluationDate = dates[months]
    bond = ql.AmortizingFloatingRateBond(
        0, notionals, dates, index, THIRTY, ql.Following, 0, [1.0], [margin], [cap], [floor], False
    )
    pricer = ql.BlackIborCouponPricer(
        ql.OptionletVolatilityStructureHandle(
            ql.ConstantOptionletVolatility(0, ql.NullCalendar(), ql.Unadjusted, 0.2, THIRTY)
        )
    )
    ql.setCouponPricer(bond.cashflows(), pricer)
    return bond


def rates_paid(fixings: np.ndarray, start: float, terms: dict[str, Any], months: int) -> list[float]:
    """The annual rate of each month: `start` until the first reset, then index and margin within cap and floor."""
    paid, rate = [], start
    for month in range(months):
        since = month - terms["first_reset"]
        if since >= 0 and since % terms["reset_frequency"] == 0:
            rate = min(max(fixings[month] + terms["margin"], terms["life_floor"]), terms["life_cap"])
        paid.append(rate)
    return paid


@pytest.mark.parametrize("seed", range(CASES))
def test_linear_floating_every_month(seed: int) -> None:
    random, balance, _, months = drawn(seed)
    fixings = random.uniform(0.0, 0.1, months)
    margin, cap, floor = 0.02, 0.09, 0.03
    notionals = [balance * (months - i) / months for i in range(months)]
    bond = floating_bond(notionals, fixings.tolist(), margin, cap, floor)
    loan = engine.Loan(
        balance=balance, annual_rate=min(max(fixings[0] + margin, floor), cap), remaining_term=months,
        amortization="linear", index="given", margin=margin, first_reset=1, reset_frequency=1, life_cap=cap,
        life_floor=floor,
    )  # fmt: skip
    agree(loan, *flows(bond, months), given=engine.MonthlyRates(rates=fixings.tolist()))


@pytest.mark.parametrize("seed", range(CASES))
def test_level_pay_recast_at_each_reset(seed: int) -> None:
    random, balance, start, months = drawn(seed)
    every = int(random.choice([3, 6, 12]))
    first = int(random.integers(1, months))
    fixings = random.uniform(0.0, 0.1, months)
    terms = {"first_reset": first, "reset_frequency": every, "margin": 0.02, "life_cap": 0.15, "life_floor": 0.004}
    paid = rates_paid(fixings, start, terms, months)
    notionals = [balance]
    for month in range(months):
        left = level_notionals(notionals[-1], paid[month], months - month)
        notionals.append(left[1])
    interest = np.array([n * r / 12 for n, r in zip(notionals, paid, strict=False)])
    loan = engine.Loan(balance=balance, annual_rate=start, remaining_term=months, index="given", **terms)
    agree(loan, interest, -np.diff(notionals), given=engine.MonthlyRates(rates=fixings.tolist()))

"""Analytics: plain functions on arrays of cashflows. Rates and yields are decimals, times are years.

Arrays of cashflows are float64 with the periods last; functions that only add up take leading axes too.
Yields are bond-equivalent (compounded twice a year) unless the name says otherwise. Roots are bracketed, then
bisected to the last bit, so a solution is always found where there is one and an error tells where there is none.
Source of the yield, speed and delay formulas: Standard Formulas, Uniform Practices ch. SF.
"""

import datetime
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.curves import Psa, annual_from_monthly, monthly_from_annual
from engine.errors import EngineError, InvalidInput, Problem

Floats = NDArray[np.float64]
# Growth factors 1 + rate between which roots are looked for, and the steps of the search.
LOWEST_GROWTH, HIGHEST_GROWTH, SEARCH_STEPS = 1e-6, 1e6, 400
LARGEST_EXPONENT = 600.0


class NoSolution(EngineError, ValueError):
    """No rate, yield or speed solves the equation."""


def _floats(name: str, values: ArrayLike) -> Floats:
    """The values as float64. Raises InvalidInput for what is no finite number."""
    array = np.asarray(values, dtype=np.float64)
    if not np.all(np.isfinite(array)):
        raise InvalidInput([Problem(name, "has a value that is not a finite number; expected finite numbers")])
    return array


def _flows_and_times(cashflows: ArrayLike, times: ArrayLike) -> tuple[Floats, Floats]:
    """Both as float64. Raises InvalidInput unless there is one time for each flow."""
    flows, years = _floats("cashflows", cashflows), _floats("times", times)
    if flows.ndim == 0 or years.ndim != 1 or flows.shape[-1] != len(years):
        message = f"has shape {years.shape}; expected one time for each of the flows of shape {flows.shape}"
        raise InvalidInput([Problem("times", message)])
    return flows, years


def find_root(function: Callable[[float], float], low: float, high: float) -> float:
    """The root of a continuous function between low and high, where its signs differ, to the last bit.

    Raises NoSolution where the signs at the two ends are the same.
    """
    at_low, at_high = function(low), function(high)
    if at_low == 0 or at_high == 0:
        return low if at_low == 0 else high
    if not (at_low < 0 < at_high or at_high < 0 < at_low):
        raise NoSolution(f"no root between {low:g} and {high:g}: the function is {at_low:g} and {at_high:g} there")
    for _ in range(200):
        middle = (low + high) / 2
        value = function(middle)
        if value == 0 or middle in (low, high):
            return middle
        if (value < 0) == (at_low < 0):
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _growth_root(value: Callable[[float], float], longest: float, what: str) -> float:
    """The growth factor 1 + rate nearest to 1 at which value is 0; longest is the largest time it is raised to."""
    # Steps are even in the logarithm, short enough that no flow overflows at either end.
    reach = LARGEST_EXPONENT / max(longest, 1e-9)
    low, high = max(np.log(LOWEST_GROWTH), -reach), min(np.log(HIGHEST_GROWTH), reach)
    below = np.exp(np.linspace(0.0, low, SEARCH_STEPS // 2))
    above = np.exp(np.linspace(0.0, high, SEARCH_STEPS // 2))
    for near_up, far_up, near_down, far_down in zip(above[:-1], above[1:], below[:-1], below[1:], strict=True):
        for near, far in ((near_up, far_up), (near_down, far_down)):
            at_near, at_far = value(near), value(far)
            if at_near == 0:
                return float(near)
            if (at_near < 0 < at_far) or (at_far < 0 < at_near):
                return find_root(value, float(min(near, far)), float(max(near, far)))
    raise NoSolution(f"no {what} solves for these cashflows: their value has the same sign at every rate")


def npv(rate: float, cashflows: ArrayLike) -> Any:
    """Net present value at a rate a period, the first flow being paid now (unlike the NPV of spreadsheets)."""
    flows = _floats("cashflows", cashflows)
    return flows @ (1.0 + rate) ** -np.arange(flows.shape[-1], dtype=np.float64)


def irr(cashflows: ArrayLike) -> float:
    """Internal rate of return a period: the root of npv nearest to zero. Raises NoSolution where there is none."""
    flows = _floats("cashflows", cashflows)
    periods = np.arange(len(flows), dtype=np.float64)
    return _growth_root(lambda growth: float(flows @ growth**-periods), float(len(flows)), "rate of return") - 1


def years_between(dates: Sequence[datetime.date]) -> Floats:
    """Years from the first date to each, ACT/365 fixed."""
    return np.array([(date - dates[0]).days / 365 for date in dates])


def xnpv(rate: float, cashflows: ArrayLike, dates: Sequence[datetime.date]) -> float:
    """Net present value on the first date at an effective annual rate, ACT/365 fixed."""
    flows, years = _flows_and_times(cashflows, years_between(dates))
    return float(flows @ (1.0 + rate) ** -years)


def xirr(cashflows: ArrayLike, dates: Sequence[datetime.date]) -> float:
    """Effective annual rate of return of dated flows, ACT/365 fixed. Raises NoSolution where there is none."""
    flows, years = _flows_and_times(cashflows, years_between(dates))
    return _growth_root(lambda growth: float(flows @ growth**-years), float(np.abs(years).max()), "rate of return") - 1


def payment_times(periods: int, delay_days: float = 0.0, settlement_days: float = 0.0) -> Floats:
    """Years from settlement to each monthly payment, (30k + delay_days - settlement_days)/360 for k = 1, 2, ...

    delay_days: actual delay, from the borrower's payment day to the investor's. settlement_days: days from the
    start of the first accrual month to settlement.
    """
    return (30.0 * np.arange(1, periods + 1) + delay_days - settlement_days) / 360


def level_payment(balance: float, annual_rate: float, term: int) -> float:
    """Monthly payment that repays the balance in `term` months."""
    rate = annual_rate / 12
    return float(balance / term if rate == 0 else balance * rate / -np.expm1(-term * np.log1p(rate)))


def mortgage_yield(bond_yield: float) -> float:
    """Yield compounded monthly that equals a bond-equivalent one: 12[(1 + Y/2)^(1/6) - 1]."""
    return float(12 * np.expm1(np.log1p(bond_yield / 2) / 6))


def bond_equivalent_yield(monthly_yield: float) -> float:
    """Yield compounded twice a year that equals a mortgage yield: 2[(1 + M/12)^6 - 1]."""
    return float(2 * np.expm1(np.log1p(monthly_yield / 12) * 6))


def present_values(cashflows: ArrayLike, times: ArrayLike, bond_yield: float) -> Floats:
    """Each flow discounted from its time at a bond-equivalent yield: CF/(1 + Y/2)^(2T)."""
    flows, years = _flows_and_times(cashflows, times)
    return np.asarray(flows * (1 + bond_yield / 2) ** (-2 * years))


def price(cashflows: ArrayLike, times: ArrayLike, bond_yield: float, accrued: float = 0.0) -> Any:
    """Price at a bond-equivalent yield, in the currency of the flows; clean of `accrued` interest where it is given."""
    return present_values(cashflows, times, bond_yield).sum(axis=-1) - accrued


def yield_to_maturity(cashflows: ArrayLike, times: ArrayLike, price: float, accrued: float = 0.0) -> float:
    """Bond-equivalent yield at which the flows are worth price + accrued. Raises NoSolution where there is none."""
    flows, years = _flows_and_times(cashflows, times)
    if price + accrued <= 0:
        raise NoSolution(f"no yield solves for a price of {price + accrued:g}: expected more than 0")
    paid = price + accrued
    longest = 2 * float(years.max(initial=0.0))
    return 2 * (_growth_root(lambda growth: float(flows @ growth ** (-2 * years)) - paid, longest, "yield") - 1)


def wal(principal: ArrayLike, times: ArrayLike) -> Any:
    """Weighted average life in years: sum of time x principal over the sum of principal.

    Raises NoSolution where no principal is paid.
    """
    flows, years = _flows_and_times(principal, times)
    total = flows.sum(axis=-1)
    if np.any(total == 0):
        raise NoSolution("no average life: no principal is paid")
    return flows @ years / total


def macaulay_duration(cashflows: ArrayLike, times: ArrayLike, bond_yield: float) -> Any:
    """Average time in years to the flows, weighted by their present values."""
    values = present_values(cashflows, times, bond_yield)
    return values @ np.asarray(times, dtype=np.float64) / values.sum(axis=-1)


def modified_duration(cashflows: ArrayLike, times: ArrayLike, bond_yield: float) -> Any:
    """Relative fall of the price for a rise of the bond-equivalent yield: Macaulay duration / (1 + Y/2)."""
    return macaulay_duration(cashflows, times, bond_yield) / (1 + bond_yield / 2)


def convexity(cashflows: ArrayLike, times: ArrayLike, bond_yield: float) -> Any:
    """Relative curvature of the price in the bond-equivalent yield: sum of T(T + 1/2)PV / [price (1 + Y/2)^2]."""
    values = present_values(cashflows, times, bond_yield)
    years = np.asarray(times, dtype=np.float64)
    return values @ (years * (years + 0.5)) / (values.sum(axis=-1) * (1 + bond_yield / 2) ** 2)


def amortized_factor(annual_rate: float, original_term: int, remaining_term: int) -> float:
    """Share of a level-pay balance that is left by schedule with `remaining_term` of `original_term` months to go."""
    rate = annual_rate / 12
    if rate == 0:
        return remaining_term / original_term
    growth = np.log1p(rate)
    return float(np.expm1(-remaining_term * growth) / np.expm1(-original_term * growth))


def scheduled_factor(first_factor: float, first_amortized: float, second_amortized: float) -> float:
    """Pool factor a later month would have without prepayment, from the amortised factors of the two dates."""
    return first_factor * second_amortized / first_amortized


def implied_smm(second_factor: float, scheduled: float, months: int = 1) -> float:
    """Average monthly prepayment rate that took a pool to its factor in place of the scheduled one."""
    if not scheduled > 0 or not 0 <= second_factor <= scheduled:
        raise NoSolution(f"no prepayment rate takes a scheduled factor of {scheduled:g} to {second_factor:g}")
    return float(1 - (second_factor / scheduled) ** (1 / months))


def implied_cpr(smm: float) -> float:
    """Annual prepayment rate of a monthly one."""
    return float(annual_from_monthly(smm))


def implied_psa(smm: float, age: int) -> float:
    """PSA speed (1.0 is 100% PSA) of a monthly rate at a 1-based loan age."""
    if age < 1:
        raise InvalidInput([Problem("age", f"is {age}; expected the 1-based age in months")])
    return implied_cpr(smm) / (0.002 * min(age, 30))


def implied_psa_between(first_factor: float, second_factor: float, amortized: ArrayLike, first_age: int) -> float:
    """PSA speed that takes a pool from one factor to another over several months.

    amortized: amortised factors at the start and after each month, one more than there are months. first_age:
    1-based loan age of the first month's payment. Raises NoSolution where no speed in [0, 500] does.
    """
    shares = _floats("amortized", amortized)
    ages = first_age + np.arange(len(shares) - 1)
    stated = first_factor * shares[-1] / shares[0]
    return find_root(lambda speed: stated * np.prod(1 - Psa(speed=speed).monthly(ages)) - second_factor, 0.0, 500.0)


def implied_abs(smm: float, age: int) -> float:
    """ABS rate of a monthly prepayment rate at a 1-based age: SMM/(1 + SMM (age - 1))."""
    if age < 1:
        raise InvalidInput([Problem("age", f"is {age}; expected the 1-based age in months")])
    return smm / (1 + smm * (age - 1))


def smm_from_cpr(cpr: float) -> float:
    """Monthly prepayment rate of an annual one."""
    return float(monthly_from_annual(cpr))


def calculated_loan_age(original_term: int, original_wam: int, elapsed: int, current_wam: int | None = None) -> int:
    """Months since origination: original_term - original_wam + elapsed, at most original_term - current_wam."""
    age = original_term - original_wam + elapsed
    return age if current_wam is None else min(age, original_term - current_wam)


def actual_delay_days(borrower: tuple[int, int], investor: tuple[int, int]) -> int:
    """Days, in months of thirty, from the borrower's payment to the investor's; each is (month, day)."""
    return 30 * (investor[0] - borrower[0]) + investor[1] - borrower[1]


def stated_delay_days(accrual_start: tuple[int, int], investor: tuple[int, int]) -> int:
    """Days, in months of thirty, from the start of accrual to the first payment, both counted; each is (month, day)."""
    return actual_delay_days(accrual_start, investor) + 1

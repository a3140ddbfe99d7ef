"""Price at a yield and yield at a price, and how yields of one compounding turn into those of another.

Compounding is the market's name for how a yield discounts a flow at time T in years:
bond_equivalent (1 + Y/2)^(-2T), mortgage (1 + Y/12)^(-12T), quarterly (1 + Y/4)^(-4T), annual (1 + Y)^-T,
continuous exp(-Y T), simple 1/(1 + Y T). Flows before settlement (T < 0) are the seller's and are left out.
Source: Standard Formulas, Uniform Practices ch. SF, pages SF-46 to SF-51; Fabozzi, Fixed Income Mathematics.
"""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from engine.analytics.roots import (
    Floats,
    NoSolution,
    broadcast,
    discount_roots,
    exponent_bounds,
    floats,
    flows_and_times,
    grid_roots,
    monotone_roots,
    plain,
)
from engine.dates import one_of
from engine.errors import InvalidInput, Problem

Compounding = Literal["bond_equivalent", "mortgage", "quarterly", "annual", "continuous", "simple"]
COMPOUNDINGS: tuple[str, ...] = get_args(Compounding)
PERIODS_A_YEAR = {"bond_equivalent": 2, "mortgage": 12, "quarterly": 4, "annual": 1}
# Where simple yields are looked for: up to 10,000% a year, and down to where the longest flow has no value.
HIGHEST_SIMPLE, GRID = 100.0, 400


def from_continuous(rate: Any, compounding: str) -> Any:
    """The yield of a compounding, other than simple, that discounts as a continuous one does."""
    if compounding == "continuous":
        return rate
    periods = PERIODS_A_YEAR[compounding]
    return periods * np.expm1(rate / periods)


def to_continuous(rate: Any, compounding: str) -> Any:
    """The continuous yield that discounts as one of a compounding, other than simple, does."""
    if compounding == "continuous":
        return rate
    periods = PERIODS_A_YEAR[compounding]
    return periods * np.log1p(rate / periods)


def convert_yield(
    annual_yield: ArrayLike, compounding: Compounding, to: Compounding, years: ArrayLike | None = None
) -> Any:
    """The yield of one compounding that discounts as one of another does.

    years: the time of the flow, which a simple yield depends on; needed from or to simple alone. Raises NoSolution
    where the yield discounts to nothing or less.
    """
    one_of("compounding", compounding, COMPOUNDINGS)
    one_of("to", to, COMPOUNDINGS)
    given = floats("annual_yield", annual_yield)
    if "simple" not in (compounding, to):
        check_growth(given, compounding, np.zeros(1))
        return plain(from_continuous(to_continuous(given, compounding), to))
    if years is None:
        raise InvalidInput([Problem("years", "is missing; a simple yield depends on the time of the flow")])
    span = floats("years", years)
    check_growth(given, compounding, np.atleast_1d(span))
    if compounding == to:
        return plain(given)
    if compounding == "simple":
        return plain(from_continuous(np.log1p(given * span) / span, to))
    return plain(np.expm1(to_continuous(given, compounding) * span) / span)


def mortgage_yield(bond_yield: float) -> float:
    """Yield compounded monthly that equals a bond-equivalent one: 12[(1 + Y/2)^(1/6) - 1]."""
    return float(12 * np.expm1(np.log1p(bond_yield / 2) / 6))


def bond_equivalent_yield(monthly_yield: float) -> float:
    """Yield compounded twice a year that equals a mortgage yield: 2[(1 + M/12)^6 - 1]."""
    return float(2 * np.expm1(np.log1p(monthly_yield / 12) * 6))


def check_growth(annual_yield: Floats, compounding: str, times: Floats) -> None:
    """Raises NoSolution where a yield discounts a flow at one of the times to no positive number."""
    one_of("compounding", compounding, COMPOUNDINGS)
    lowest = -np.inf
    if compounding in PERIODS_A_YEAR:
        lowest = -PERIODS_A_YEAR[compounding]
    elif compounding == "simple":
        lowest = -1 / times.max(initial=0.0) if times.max(initial=0.0) > 0 else -np.inf
    if annual_yield.min(initial=np.inf) <= lowest:
        raise NoSolution(f"a {compounding} yield of {annual_yield.min():g} has no value; expected more than {lowest:g}")


def discounting(annual_yield: Floats, times: Floats, compounding: str) -> Floats:
    """What one unit at each time is worth now, (..., periods) of yields (...,); nothing for what was paid before."""
    check_growth(annual_yield, compounding, times)
    rates = annual_yield[..., np.newaxis]
    if compounding == "simple":
        growth = 1 + rates * times
        factors = 1 / np.where(times < 0, 1.0, growth)
    else:
        factors = np.exp(-to_continuous(rates, compounding) * times)
    return np.asarray(factors if times.min(initial=0.0) >= 0 else np.where(times < 0, 0.0, factors))


def present_values(
    cashflows: ArrayLike, times: ArrayLike, annual_yield: ArrayLike, compounding: Compounding = "bond_equivalent"
) -> Floats:
    """Each flow discounted from its time at a yield, (..., periods); annual_yield is one or one a vector."""
    flows, years = flows_and_times(cashflows, times)
    return np.asarray(flows * discounting(floats("annual_yield", annual_yield), years, compounding))


def price(
    cashflows: ArrayLike,
    times: ArrayLike,
    annual_yield: ArrayLike,
    accrued: ArrayLike = 0.0,
    compounding: Compounding = "bond_equivalent",
) -> Any:
    """Price at a yield in the currency of the flows, (...,); clean of `accrued` interest where it is given.

    cashflows: (..., periods); annual_yield and accrued: one, or one for each vector.
    """
    values = present_values(cashflows, times, annual_yield, compounding).sum(axis=-1)
    return plain(values - floats("accrued", accrued))


def yield_to_maturity(
    cashflows: ArrayLike,
    times: ArrayLike,
    price: ArrayLike,
    accrued: ArrayLike = 0.0,
    compounding: Compounding = "bond_equivalent",
    near: float | None = None,
) -> Any:
    """Yield at which the flows are worth price + accrued, (...,) of cashflows (..., periods).

    near: the root nearest to it is taken where there are several. Raises NoSolution where there is none, or several
    and no `near`, which flows of one sign never have.
    """
    one_of("compounding", compounding, COMPOUNDINGS)
    flows, years = flows_and_times(cashflows, times)
    quoted, interest = broadcast(flows, price=price, accrued=accrued)
    paid = quoted + interest
    if np.any(paid <= 0):
        raise NoSolution(f"no yield solves for a price of {paid.min():g}: expected more than 0")
    if years.min(initial=0.0) < 0:
        flows, years = flows[..., years >= 0], years[years >= 0]
    if compounding == "simple":
        return plain(simple_yield(flows, years, paid, near))
    if flows.ndim == 1 and flows.min(initial=0.0) >= 0 and flows.any() and years.min(initial=1.0) > 0:
        bounds = exponent_bounds(years)
        rows = np.concatenate([[-float(paid)], flows])[np.newaxis]
        found, inside = monotone_roots(rows, np.concatenate([[0.0], years]), bounds)
        if inside[0]:
            return float(from_continuous(found[0], compounding))
    amounts = np.concatenate([-paid[..., np.newaxis], flows], axis=-1)
    times_paid = np.concatenate([[0.0], years])
    roots = discount_roots(amounts, times_paid, "yield", near, lambda x: from_continuous(x, compounding))
    return plain(from_continuous(roots, compounding))


def simple_yield(flows: Floats, years: Floats, paid: Floats, near: float | None) -> Floats:
    """The simple yield of each vector at which its flows are worth what is paid."""
    longest = float(years.max(initial=1e-9))
    # Even in the logarithm of the growth of the longest flow, from next to nothing on.
    points = 5 if flows.min(initial=0.0) >= 0 else GRID  # the price of flows that are not negative only falls
    grid = np.expm1(np.linspace(np.log(1e-9), np.log1p(HIGHEST_SIMPLE * longest), points)) / longest
    return grid_roots(
        lambda x: (flows * discounting(x, years, "simple")).sum(axis=-1) - paid, grid, paid.shape, "simple yield", near
    )

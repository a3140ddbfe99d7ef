"""Spreads over a curve and over an index: Z-spread and discount margin.

Sources: Fabozzi, Handbook of Fixed Income Securities (static spread); O'Kane and Sen, Credit Spreads Explained (2004).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine.analytics.discount_curve import DiscountCurve
from engine.analytics.roots import (
    LARGEST_EXPONENT,
    Floats,
    NoSolution,
    broadcast,
    discount_roots,
    floats,
    flows_and_times,
    grid_roots,
    plain,
)
from engine.analytics.yields import PERIODS_A_YEAR, Compounding, from_continuous
from engine.dates import one_of
from engine.errors import InvalidInput, Problem

SPREAD_COMPOUNDINGS = ("bond_equivalent", "mortgage", "quarterly", "annual", "continuous")
# Spreads are looked for up to 1,000% a year, and down to where a period's growth is a thousandth.
HIGHEST_SPREAD, LOWEST_GROWTH, GRID = 10.0, 1e-3, 400
SMALLEST = 1e-300
USUAL_SPREADS = (-0.05, 0.15)


def price_at_spread(
    cashflows: ArrayLike,
    times: ArrayLike,
    curve: DiscountCurve,
    spread: ArrayLike,
    accrued: ArrayLike = 0.0,
    compounding: Compounding = "bond_equivalent",
) -> Any:
    """Clean price, (...,), at a spread over the zero rates of a curve, both in the compounding that is named.

    cashflows: (..., periods); spread and accrued: one, or one for each vector. Flows before settlement are left out.
    """
    one_of("compounding", compounding, SPREAD_COMPOUNDINGS)
    flows, years = flows_and_times(cashflows, times)
    if years.min(initial=0.0) < 0:
        flows, years = flows[..., years >= 0], years[years >= 0]
    margin = floats("spread", spread)
    rates = from_continuous(curve.zero_rates(years), compounding)
    lowest = -PERIODS_A_YEAR.get(compounding, np.inf)
    if margin.size and rates.size and margin.min() + rates.min() <= lowest:
        raise NoSolution(f"a spread of {margin.min():g} leaves no value; expected rates above {lowest:g}")
    return plain((flows * factors_at(rates, margin, years, compounding)).sum(axis=-1) - floats("accrued", accrued))


def factors_at(rates: Floats, spread: Floats, years: Floats, compounding: str) -> Floats:
    """Discount factors at zero rates, in a compounding, and a spread on them, (..., periods)."""
    total = rates + spread[..., np.newaxis]
    if compounding == "continuous":
        return np.asarray(np.exp(-total * years))
    periods = PERIODS_A_YEAR[compounding]
    return np.asarray(np.exp(-np.log1p(total / periods) * periods * years))


def z_spread(
    cashflows: ArrayLike,
    times: ArrayLike,
    curve: DiscountCurve,
    price: ArrayLike,
    accrued: ArrayLike = 0.0,
    compounding: Compounding = "bond_equivalent",
    near: float | None = None,
) -> Any:
    """Spread over the curve's zero rates at which the flows are worth price + accrued, (...,).

    compounding: of the zero rates and the spread, any but simple. near: the root nearest to it is taken where there
    are several. Raises NoSolution where there is none, or several and no `near`.
    """
    one_of("compounding", compounding, SPREAD_COMPOUNDINGS)
    flows, years = flows_and_times(cashflows, times)
    if years.min(initial=0.0) < 0:
        flows, years = flows[..., years >= 0], years[years >= 0]
    quoted, interest = broadcast(flows, price=price, accrued=accrued)
    paid = quoted + interest
    if np.any(paid <= 0):
        raise NoSolution(f"no spread solves for a price of {paid.min():g}: expected more than 0")
    zeros = curve.zero_rates(years)
    if compounding == "continuous":
        amounts = np.concatenate([-paid[..., np.newaxis], flows * np.exp(-zeros * years)], axis=-1)
        return plain(discount_roots(amounts, np.concatenate([[0.0], years]), "spread", near, lambda x: x))
    rates = from_continuous(zeros, compounding)
    periods = PERIODS_A_YEAR[compounding]
    shrink = max(LOWEST_GROWTH, np.exp(-LARGEST_EXPONENT / max(periods * float(years.max(initial=0.0)), 1.0)))
    lowest = periods * (shrink - 1) - float(rates.min(initial=0.0))
    return plain(
        grid_roots(
            lambda spread: gap((flows * factors_at(rates, spread, years, compounding)).sum(axis=-1), paid, flows),
            spread_grid(flows, lowest), paid.shape, "spread", near,
        )
    )  # fmt: skip


def spread_grid(flows: Floats, lowest: float) -> Floats:
    """Spreads to look between: few where no flow is negative, since the price then only falls."""
    if flows.min(initial=0.0) < 0:
        return np.linspace(lowest, HIGHEST_SPREAD, GRID)
    return np.array([lowest, *(spread for spread in USUAL_SPREADS if spread > lowest), HIGHEST_SPREAD])


def gap(worth: Floats, paid: Floats, flows: Floats) -> Floats:
    """How far the worth is from what is paid; in logarithms, which are nearly straight, where no flow is negative."""
    if flows.min(initial=0.0) < 0:
        return np.asarray(worth - paid)
    return np.asarray(np.log(np.maximum(worth, SMALLEST) / paid))


def index_discounting(index: Floats, margin: Floats, accruals: Floats) -> Floats:
    """Discount factors at the ends of periods that compound at index + margin, (..., periods)."""
    growth = 1 + (index + margin[..., np.newaxis]) * accruals
    return np.asarray(1 / np.cumprod(growth, axis=-1))


def price_at_margin(
    cashflows: ArrayLike,
    index: ArrayLike,
    margin: ArrayLike,
    accrued: ArrayLike = 0.0,
    *,
    payments_per_year: int = 12,
    accruals: ArrayLike | None = None,
) -> Any:
    """Clean price, (...,), of a floater discounted at its index and a margin; arguments as discount_margin."""
    flows, rates, lengths = index_and_accruals(cashflows, index, payments_per_year, accruals)
    spread = floats("margin", margin)
    if np.any(1 + (rates + spread[..., np.newaxis]) * lengths <= 0):
        raise NoSolution(f"a margin of {spread.min():g} leaves no value: a period would not grow by a positive factor")
    factors = index_discounting(rates, spread, lengths)
    return plain((flows * factors).sum(axis=-1) - floats("accrued", accrued))


def discount_margin(
    cashflows: ArrayLike,
    index: ArrayLike,
    price: ArrayLike,
    accrued: ArrayLike = 0.0,
    *,
    payments_per_year: int = 12,
    accruals: ArrayLike | None = None,
    near: float | None = None,
) -> Any:
    """Margin over the index at which a floater's projected flows are worth price + accrued, (...,).

    Flow k is discounted by the product over periods j <= k of 1 + (index_j + margin) x accrual_j: compounding at the
    payments. cashflows: (..., periods). index: annual rates, one a period or one for all. accruals: lengths of the
    periods in years, the first from settlement; none takes 1/payments_per_year each. near and errors as z_spread.
    """
    flows, rates, lengths = index_and_accruals(cashflows, index, payments_per_year, accruals)
    quoted, interest = broadcast(flows, price=price, accrued=accrued)
    paid = quoted + interest
    if np.any(paid <= 0):
        raise NoSolution(f"no margin solves for a price of {paid.min():g}: expected more than 0")
    # The least growth of the shortest period bounds the margin; with many periods factors must not overflow either.
    shrink = max(LOWEST_GROWTH, np.exp(-LARGEST_EXPONENT / max(len(lengths), 1)))
    lowest = float(((shrink - 1) / lengths).max(initial=-1.0)) - float(rates.min(initial=0.0))
    return plain(
        grid_roots(
            lambda margin: gap((flows * index_discounting(rates, margin, lengths)).sum(axis=-1), paid, flows),
            spread_grid(flows, lowest), paid.shape, "discount margin", near,
        )
    )  # fmt: skip


def index_and_accruals(
    cashflows: ArrayLike, index: ArrayLike, payments_per_year: int, accruals: ArrayLike | None
) -> tuple[Floats, Floats, Floats]:
    """Flows (..., periods), index rates and lengths (periods,). Raises InvalidInput where they do not fit."""
    flows = floats("cashflows", cashflows)
    if flows.ndim == 0:
        raise InvalidInput([Problem("cashflows", "is a single number; expected one a period")])
    if payments_per_year < 1:
        raise InvalidInput([Problem("payments_per_year", f"is {payments_per_year}; expected 1 or more")])
    periods = flows.shape[-1]
    found = []
    for name, values in (("index", index), ("accruals", 1 / payments_per_year if accruals is None else accruals)):
        array = floats(name, values)
        if array.ndim > 1 or (array.ndim == 1 and len(array) != periods):
            raise InvalidInput(
                [Problem(name, f"has shape {array.shape}; expected one value or {periods}, one a period")]
            )
        found.append(np.broadcast_to(array, (periods,)))
    if np.any(found[1] <= 0):
        raise InvalidInput([Problem("accruals", "has a value of 0 or less; expected years above 0")])
    return flows, found[0], found[1]

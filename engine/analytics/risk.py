"""Average life, and how a price moves with its yield or with the curve.

Sources: Standard Formulas, Uniform Practices ch. SF, pages SF-48 to SF-51; Fabozzi, Handbook of Fixed Income
Securities, chapters on duration and on key rates (Ho, Key Rate Durations, 1992).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine.analytics.discount_curve import DiscountCurve
from engine.analytics.roots import Floats, NoSolution, floats, flows_and_times, plain
from engine.analytics.yields import PERIODS_A_YEAR, Compounding, discounting, present_values
from engine.errors import InvalidInput, Problem

BASIS_POINT, MAX_TENORS = 1e-4, 60
# The maturities that key rates are commonly quoted for, in years.
KEY_RATES = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 25.0, 30.0)


def wal(principal: ArrayLike, times: ArrayLike) -> Any:
    """Weighted average life in years: sum of time x principal over the sum of principal, (...,).

    Principal before settlement (time < 0) is left out. Raises NoSolution where no principal is paid.
    """
    flows, years = flows_and_times(principal, times, "principal")
    if years.min(initial=0.0) < 0:
        flows = np.where(years < 0, 0.0, flows)
    total = flows.sum(axis=-1)
    if np.any(total == 0):
        raise NoSolution("no average life: no principal is paid")
    return plain(flows @ years / total)


def worth(values: Floats) -> Floats:
    """The sums of present values. Raises NoSolution where one is no positive number, which no duration divides by."""
    total = np.asarray(values.sum(axis=-1))
    if np.any(total <= 0):
        raise NoSolution(f"no duration: the cashflows are worth {total.min():g}; expected more than 0")
    return total


def macaulay_duration(
    cashflows: ArrayLike, times: ArrayLike, annual_yield: ArrayLike, compounding: Compounding = "bond_equivalent"
) -> Any:
    """Average time in years to the flows, weighted by their present values at a yield, (...,)."""
    values = present_values(cashflows, times, annual_yield, compounding)
    return plain(values @ np.asarray(times, dtype=np.float64) / worth(values))


def modified_duration(
    cashflows: ArrayLike, times: ArrayLike, annual_yield: ArrayLike, compounding: Compounding = "bond_equivalent"
) -> Any:
    """Relative fall of the dirty price for a rise of the yield, (...,): -dP/dy / P.

    Macaulay duration / (1 + Y/m) with m compoundings a year, Macaulay duration itself if continuous, and the sum of
    T PV/(1 + Y T) over the price if simple.
    """
    values = present_values(cashflows, times, annual_yield, compounding)
    years, rate = np.asarray(times, dtype=np.float64), floats("annual_yield", annual_yield)
    if compounding == "simple":
        return plain((values * discounting(rate, years, compounding)) @ years / worth(values))
    return plain(values @ years / (worth(values) * growth_a_period(rate, compounding)))


def growth_a_period(rate: Floats, compounding: str) -> Floats:
    periods = PERIODS_A_YEAR.get(compounding)
    return np.ones_like(rate) if periods is None else 1 + rate / periods


def convexity(
    cashflows: ArrayLike, times: ArrayLike, annual_yield: ArrayLike, compounding: Compounding = "bond_equivalent"
) -> Any:
    """Relative curvature of the dirty price in the yield, (...,): d2P/dy2 / P.

    The sum of T(T + 1/m)PV / [price (1 + Y/m)^2] with m compoundings a year, of T^2 PV / price if continuous, and of
    2 T^2 PV/(1 + Y T)^2 / price if simple.
    """
    values = present_values(cashflows, times, annual_yield, compounding)
    years, rate = np.asarray(times, dtype=np.float64), floats("annual_yield", annual_yield)
    if compounding == "simple":
        return plain(2 * (values * discounting(rate, years, compounding) ** 2) @ years**2 / worth(values))
    periods = PERIODS_A_YEAR.get(compounding)
    step = 0.0 if periods is None else 1 / periods
    return plain(values @ (years * (years + step)) / (worth(values) * growth_a_period(rate, compounding) ** 2))


def dv01(
    cashflows: ArrayLike, times: ArrayLike, annual_yield: ArrayLike, compounding: Compounding = "bond_equivalent"
) -> Any:
    """Fall of the price for a rise of the yield by a basis point, currency units: modified duration x price x 0.0001.

    The price is the dirty one, and the slope that at the yield itself, positive for a price that falls.
    """
    values = present_values(cashflows, times, annual_yield, compounding).sum(axis=-1)
    return plain(modified_duration(cashflows, times, annual_yield, compounding) * values * BASIS_POINT)


def effective_duration(price_down: ArrayLike, price: ArrayLike, price_up: ArrayLike, shift: float) -> Any:
    """Relative fall of the price for a rise of rates, from prices at rates moved by -shift, 0 and +shift.

    (P- - P+) / (2 P shift). shift: a decimal, 0.0025 for 25 basis points.
    """
    down, base, up = shocked(price_down, price, price_up, shift)
    return plain((down - up) / (2 * base * shift))


def effective_convexity(price_down: ArrayLike, price: ArrayLike, price_up: ArrayLike, shift: float) -> Any:
    """Relative curvature of the price in rates: (P- + P+ - 2P) / (P shift^2), with arguments as effective_duration."""
    down, base, up = shocked(price_down, price, price_up, shift)
    return plain((down + up - 2 * base) / (base * shift**2))


def check_shift(shift: float) -> None:
    if not 0 < shift <= 1:
        raise InvalidInput([Problem("shift", f"is {shift:g}; expected a decimal above 0 (0.0025 is 25 basis points)")])


def shocked(price_down: ArrayLike, price: ArrayLike, price_up: ArrayLike, shift: float) -> tuple[Floats, ...]:
    check_shift(shift)
    base = floats("price", price)
    if np.any(base <= 0):
        raise NoSolution(f"no duration: the price is {base.min():g}; expected more than 0")
    return floats("price_down", price_down), base, floats("price_up", price_up)


def effective_risk(price: Callable[[float], ArrayLike], shift: float = 0.0025) -> tuple[Any, Any]:
    """Effective duration and convexity of a price that is a function of the shift of rates, a decimal."""
    prices = price(-shift), price(0.0), price(shift)
    return effective_duration(*prices, shift), effective_convexity(*prices, shift)


def tents(times: ArrayLike, tenors: ArrayLike) -> Floats:
    """Share of each key rate's shift at each time, (tenors, times): one at its tenor, nothing at the next ones.

    The first share is one before its tenor and the last one after it, so that the shares of a time add up to one.
    Raises InvalidInput unless the tenors rise.
    """
    years, keys = floats("times", times), floats("tenors", tenors)
    if keys.ndim != 1 or not 1 <= len(keys) <= MAX_TENORS or keys[0] <= 0 or np.any(np.diff(keys) <= 0):
        raise InvalidInput([Problem("tenors", f"do not rise from above 0; expected 1 to {MAX_TENORS} rising years")])
    return np.stack([np.interp(years, keys, unit) for unit in np.eye(len(keys))])


def key_rate_durations(
    cashflows: ArrayLike,
    times: ArrayLike,
    curve: DiscountCurve,
    tenors: ArrayLike = KEY_RATES,
    spread: ArrayLike = 0.0,
    shift: float = BASIS_POINT,
) -> Floats:
    """Durations to each key rate of fixed cashflows, (..., tenors); they add up to the effective duration.

    The continuous zero rates are moved up and down by the shift within the tent of each tenor. spread: added to the
    continuous zero rates, one or one a vector.
    """
    flows, years = flows_and_times(cashflows, times)
    margin = floats("spread", spread)[..., np.newaxis]
    values = np.where(years < 0, 0.0, flows * curve.discount(np.maximum(years, 0.0)) * np.exp(-margin * years))
    moves = np.exp(-shift * tents(years, tenors) * years)
    base = worth(values)[..., np.newaxis]
    return np.asarray(
        effective_duration(
            values @ (1 / moves).T, np.broadcast_to(base, (*base.shape[:-1], len(moves))), values @ moves.T, shift
        )
    )


def key_rate_durations_of(
    price: Callable[[DiscountCurve], float], curve: DiscountCurve, tenors: ArrayLike = KEY_RATES, shift: float = 1e-3
) -> Floats:
    """Durations to each key rate of any price that is a function of the curve, such as one that projects again."""
    base = price(curve)
    keys = floats("tenors", tenors)
    found = []
    for i in range(len(keys)):
        down, up = (price(curve.key_rate_shifted(keys, i, move)) for move in (-shift, shift))
        found.append(effective_duration(down, base, up, shift))
    return np.array(found)

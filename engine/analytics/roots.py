"""Roots that are bracketed, counted and then polished: one answer, or the reason why there is not one.

Two solvers. Equations in a yield are sums of amount x exp(-x time), whose roots can be isolated exactly, because such
a sum has no more roots than its amounts have changes of sign (Laguerre's form of Descartes' rule). Any other function
is sampled on a grid; what changes sign twice between two points of the grid is not seen.
"""

import itertools
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import EngineError, InvalidInput, Problem

Floats = NDArray[np.float64]

# Bounds of log(1 + rate), and of any exponent, so that nothing overflows.
LOWEST_LOG, HIGHEST_LOG, LARGEST_EXPONENT = -np.log(1e6), np.log(1e6), 600.0
MAX_CHANGES = 32
# The work of isolating roots grows with the square of the changes of sign; this much takes seconds.
MAX_ISOLATIONS = 20_000
ROUNDING = 1e-13
STEPS = 200
ROOT_PRECISION = 2e-16


class NoSolution(EngineError, ValueError):
    """No rate, yield or speed solves the equation, or more than one does.

    reason: no_root or several_roots. roots: those found, of the first vector that has several.
    """

    def __init__(
        self,
        message: str,
        reason: Literal["no_root", "several_roots"] = "no_root",
        roots: tuple[float, ...] = (),
    ) -> None:
        super().__init__(message)
        self.reason, self.roots = reason, roots


def floats(name: str, values: ArrayLike) -> Floats:
    """The values as float64. Raises InvalidInput for what is no finite number."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidInput([Problem(name, "has a value that is not a number; expected finite numbers")]) from None
    if not np.isfinite(array).all():
        raise InvalidInput([Problem(name, "has a value that is not a finite number; expected finite numbers")])
    return array


def flows_and_times(cashflows: ArrayLike, times: ArrayLike, name: str = "cashflows") -> tuple[Floats, Floats]:
    """Both as float64, the flows (..., periods). Raises InvalidInput unless there is one time for each flow."""
    flows, years = floats(name, cashflows), floats("times", times)
    if flows.ndim == 0 or years.ndim != 1 or flows.shape[-1] != len(years):
        message = f"has shape {years.shape}; expected one time for each of the flows of shape {flows.shape}"
        raise InvalidInput([Problem("times", message)])
    return flows, years


def plain(values: Floats | np.float64) -> float | Floats:
    """The number itself where there is one, else the array."""
    return float(values) if np.ndim(values) == 0 else np.asarray(values)


def broadcast(flows: Floats, **given: ArrayLike) -> list[Floats]:
    """Each value as float64 of the shape of the flows' leading axes. Raises InvalidInput where it does not fit."""
    found = []
    for name, values in given.items():
        array = floats(name, values)
        try:
            found.append(np.broadcast_to(array, flows.shape[:-1]))
        except ValueError:
            message = f"has shape {array.shape}; expected one value or one for each vector, shape {flows.shape[:-1]}"
            raise InvalidInput([Problem(name, message)]) from None
    return found


def find_root(function: Callable[[float], float], low: float, high: float) -> float:
    """The root of a continuous function between low and high, where its signs differ, to the last bit.

    Raises NoSolution where the signs at the two ends are the same.
    """
    at_low, at_high = function(low), function(high)
    if at_low == 0 or at_high == 0:
        return low if at_low == 0 else high
    if not (at_low < 0 < at_high or at_high < 0 < at_low):
        raise NoSolution(f"no root between {low:g} and {high:g}: the function is {at_low:g} and {at_high:g} there")
    for _ in range(STEPS):
        middle = (low + high) / 2
        value = function(middle)
        if value == 0 or middle in (low, high):
            return middle
        if (value < 0) == (at_low < 0):
            low = middle
        else:
            high = middle
    return (low + high) / 2


# Sums of exponentials


def discount_roots(
    amounts: Floats,
    times: Floats,
    what: str,
    near: float | None = None,
    rate: Callable[[Floats], Floats] = np.expm1,
) -> Floats:
    """The x of each vector at which the sum of amounts x exp(-x times) is zero, shape (...,).

    amounts: (..., n); times: (n,). rate: turns an x into the rate that users know. near: the root whose rate is
    nearest to it is taken where there are several. Raises NoSolution that names a vector without a root, or with
    several.
    """
    rows = amounts.reshape(-1, amounts.shape[-1])
    order = np.argsort(times, kind="stable")
    rows, years = rows[:, order], times[order]
    bounds = exponent_bounds(years)
    found = np.zeros(len(rows))
    changes = sign_changes(rows)
    simple = changes == 1
    if (np.minimum(changes[~simple], MAX_CHANGES) ** 2).sum() > MAX_ISOLATIONS:
        message = "have too many vectors that change sign more than once; ask for fewer at a time"
        raise InvalidInput([Problem("cashflows", message)])
    for at in np.flatnonzero(~simple).tolist():
        place = f" for vector {at}" if amounts.ndim > 1 else ""
        found[at] = chosen_root(isolated_roots(rows[at], years, *bounds), what + place, near, rate)
    if simple.any():
        lone, inside = monotone_roots(rows[simple], years, bounds)
        if not inside.all():
            at = int(np.flatnonzero(simple)[np.flatnonzero(~inside)[0]])
            place = f" of vector {at}" if amounts.ndim > 1 else ""
            low, high = rate(np.array(bounds))
            raise NoSolution(f"no {what} between {low:g} and {high:g} solves for the cashflows{place}")
        found[simple] = lone
    return found.reshape(amounts.shape[:-1])


def exponent_bounds(times: Floats) -> tuple[float, float]:
    """The x between which roots are looked for: within the rates allowed, and no exponent too large."""
    reach = LARGEST_EXPONENT / max(float(np.abs(times).max(initial=0.0)), 1e-9)
    return max(LOWEST_LOG, -reach), min(HIGHEST_LOG, reach)


def sign_changes(rows: Floats) -> NDArray[np.int64]:
    """How often the sign changes along the last axis, zeros left out."""
    signs = np.sign(rows)
    # Each zero takes the sign before it.
    last = np.maximum.accumulate(np.where(signs != 0, np.arange(rows.shape[-1]), 0), axis=-1)
    filled = np.take_along_axis(signs, last, axis=-1)
    return np.asarray(((filled[..., 1:] * filled[..., :-1]) < 0).sum(axis=-1))


def monotone_roots(rows: Floats, times: Floats, bounds: tuple[float, float]) -> tuple[Floats, NDArray[np.bool_]]:
    """The root of each row with one change of sign, and whether it is within the bounds.

    Times exp(x s), with s a time where the sign changes, such a sum is monotone. Its logarithm's difference between
    the two signs is nearly a straight line, so that Newton's steps on it end in a few.
    """
    paid, due = np.maximum(-rows, 0.0), np.maximum(rows, 0.0)
    low, high = (np.full(len(rows), bound) for bound in bounds)
    x = np.clip(np.zeros(len(rows)), low, high)
    rising = None
    for _ in range(STEPS):
        growth = np.exp(-np.multiply.outer(x, times))
        received, given = np.einsum("ij,ij->i", due, growth), np.einsum("ij,ij->i", paid, growth)
        gap = np.log(received / given)
        slope = np.einsum("ij,ij,j->i", paid, growth, times) / given
        slope -= np.einsum("ij,ij,j->i", due, growth, times) / received
        if rising is None:
            rising = slope > 0
        beyond = (gap > 0) == rising  # the root is at a lower x
        high, low = np.where(beyond, x, high), np.where(beyond, low, x)
        moved = x - gap / np.where(slope == 0, np.inf, slope)
        moved = np.where((moved > low) & (moved < high), moved, (low + high) / 2)
        moved = np.where(gap == 0, x, moved)
        close = np.abs(moved - x) <= 1e-15 * np.maximum(np.abs(x), 1.0)
        x = moved
        if np.all(close):
            break
    edge = 1e-9 * (bounds[1] - bounds[0])
    return x, (x > bounds[0] + edge) & (x < bounds[1] - edge)


def isolated_roots(amounts: Floats, times: Floats, low: float, high: float) -> list[float]:
    """Every root in [low, high] of the sum of amounts x exp(-x times); a double root is given once.

    Times exp(x s), with s between two times where the sign changes, the sum's derivative has one change of sign
    fewer, and its roots part the line into pieces on which the sum is monotone. Raises NoSolution where every x is
    a root, or where the signs change too often to look.
    """
    kept = amounts != 0
    amounts, times = amounts[kept], times[kept]
    changes = np.flatnonzero(amounts[1:] * amounts[:-1] < 0)
    if not len(amounts):
        raise NoSolution("every rate solves for cashflows of nothing but zeros", "several_roots")
    if len(changes) > MAX_CHANGES:
        message = f"the cashflows change sign {len(changes)} times; roots are looked for up to {MAX_CHANGES} changes"
        raise NoSolution(message)
    if not len(changes):
        return []
    at = int(changes[len(changes) // 2])
    middle = (times[at] + times[at + 1]) / 2
    turns = isolated_roots(-(times - middle) * amounts, times - middle, low, high)

    def value(x: float) -> float:
        terms = amounts * np.exp(-x * (times - middle))
        total = float(terms.sum())
        return 0.0 if abs(total) <= ROUNDING * float(np.abs(terms).sum()) else total

    found: list[float] = []
    ends = [low, *turns, high]
    for left, right in itertools.pairwise(ends):
        at_left, at_right = value(left), value(right)
        if at_left == 0 or at_right == 0:
            found += [x for x, at_x in ((left, at_left), (right, at_right)) if at_x == 0 and x not in found]
        elif (at_left < 0) != (at_right < 0):
            found.append(find_root(lambda x: float(amounts @ np.exp(-x * (times - middle))), left, right))
    return sorted(found)


def chosen_root(roots: list[float], what: str, near: float | None, rate: Callable[[Floats], Floats]) -> float:
    """The only root, or the one whose rate is nearest to `near`; NoSolution where there is none, or several."""
    if not roots:
        raise NoSolution(f"no {what} solves for these cashflows: their value has the same sign at every rate")
    if len(roots) == 1:
        return roots[0]
    known = tuple(rate(np.array(roots)).tolist())
    if near is None:
        shown = ", ".join(f"{x:.6g}" for x in known)
        raise NoSolution(f"more than one {what} solves for these cashflows: {shown}", "several_roots", known)
    return roots[int(np.argmin([abs(x - near) for x in known]))]


# Any function


def grid_roots(
    function: Callable[[Floats], Floats], grid: Floats, shape: tuple[int, ...], what: str, near: float | None = None
) -> Floats:
    """The root of a function of each vector on the span of a grid, shape `shape`.

    function: takes x of `shape`, gives values of `shape`. Raises NoSolution where the values change sign nowhere or
    more than once on the grid.
    """
    values = np.stack([np.asarray(function(np.full(shape, x))).reshape(-1) for x in grid])
    signs = np.sign(values)
    crossing = (signs[:-1] == 0) | (signs[:-1] * signs[1:] < 0)
    crossing[-1] |= signs[-1] == 0
    counts = crossing.sum(axis=0)
    if np.any(counts == 0):
        at = int(np.flatnonzero(counts == 0)[0])
        place = f" for vector {at}" if shape else ""
        ends = f"{values[0, at]:g} and {values[-1, at]:g} at the ends"
        raise NoSolution(f"no {what} between {grid[0]:g} and {grid[-1]:g} solves{place}: the difference is {ends}")
    if np.any(counts > 1) and near is None:
        at = int(np.flatnonzero(counts > 1)[0])
        places = tuple(float(x) for x in grid[:-1][crossing[:, at]])
        shown = ", ".join(f"{x:.6g}" for x in places)
        place = f" for vector {at}" if shape else ""
        raise NoSolution(f"more than one {what} solves{place}: just above {shown}", "several_roots", places)
    distance = np.abs((grid[:-1] + grid[1:]) / 2 - (grid[0] if near is None else near))[:, None]
    chosen = np.argmin(np.where(crossing, distance, np.inf), axis=0)
    low, high = grid[chosen].reshape(shape), grid[chosen + 1].reshape(shape)
    return refine(function, low, high)


def refine(function: Callable[[Floats], Floats], low: Floats, high: Floats) -> Floats:
    """The roots between low and high, element by element, where the signs differ.

    Inverse quadratic interpolation where it can be trusted, else bisection. Source: Chandrupatla, A new hybrid
    quadratic/bisection algorithm, Advances in Engineering Software 28 (1997).
    """
    at_low, at_high = np.asarray(function(low)), np.asarray(function(high))
    low, high = np.where((at_high == 0) & (at_low != 0), high, low), np.where(at_low == 0, low, high)
    x1, f1, x2, f2 = low, np.where(low == high, 0.0, at_low), high, np.where(low == high, 0.0, at_high)
    share = np.full(np.shape(low), 0.5)
    for _ in range(STEPS):
        x = np.where(f1 == 0, x1, x1 + share * (x2 - x1))  # a root that is found stays
        value = np.where(f1 == 0, 0.0, np.asarray(function(x)))
        same = np.sign(value) == np.sign(f1)
        x3, f3 = np.where(same, x1, x2), np.where(same, f1, f2)
        x2, f2 = np.where(same, x2, x1), np.where(same, f2, f1)
        x1, f1 = x, value
        best = np.where(np.abs(f1) <= np.abs(f2), x1, x2)
        width = np.abs(x2 - x1)
        close = 2 * ROOT_PRECISION * np.maximum(np.abs(best), 1e-2) / np.where(width == 0, 1.0, width)
        if np.all((close > 0.5) | (width == 0) | (f1 == 0)):
            break
        share = np.clip(interpolated(x1, x2, x3, f1, f2, f3), np.minimum(close, 0.5), np.maximum(1 - close, 0.5))
    return np.asarray(np.where(f1 == 0, x1, best))


def interpolated(x1: Floats, x2: Floats, x3: Floats, f1: Floats, f2: Floats, f3: Floats) -> Floats:
    """How far from x1 to x2 the root lies, by the inverse quadratic through three points, or half way."""
    with np.errstate(divide="ignore", invalid="ignore"):
        place, height = (x1 - x2) / (x3 - x2), (f1 - f2) / (f3 - f2)
        trusted = (height**2 < place) & ((1 - height) ** 2 < 1 - place)
        share = f1 / (f2 - f1) * f3 / (f2 - f3) + (x3 - x1) / (x2 - x1) * f1 / (f3 - f1) * f2 / (f3 - f2)
    return np.asarray(np.where(trusted & np.isfinite(share), share, 0.5))

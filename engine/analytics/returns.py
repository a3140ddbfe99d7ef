"""Present values and rates of return of flows a period apart, or on dates."""

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine.analytics.roots import Floats, discount_roots, floats, flows_and_times, plain
from engine.dates import Dates, as_days
from engine.errors import InvalidInput, Problem


def npv(rate: ArrayLike, cashflows: ArrayLike) -> Any:
    """Net present value at a rate a period, the first flow being paid now (unlike the NPV of spreadsheets).

    cashflows: (..., periods); rate: above -1, one, or one for each vector. Returns (...,).
    """
    flows, growth = vectors(cashflows), growth_of(rate)[..., np.newaxis]
    return plain((flows * growth ** -np.arange(flows.shape[-1], dtype=np.float64)).sum(axis=-1))


def irr(cashflows: ArrayLike, near: float | None = None) -> Any:
    """Internal rate of return a period, (...,) of cashflows (..., periods), the first of them now.

    near: the root nearest to it is taken where there are several. Raises NoSolution where there is none, or several
    and no `near`.
    """
    flows = vectors(cashflows)
    return plain(np.expm1(discount_roots(flows, np.arange(flows.shape[-1], dtype=np.float64), "rate of return", near)))


def vectors(cashflows: ArrayLike) -> Floats:
    """The flows, (..., periods), of one period at least. Raises InvalidInput."""
    flows = floats("cashflows", cashflows)
    if flows.ndim == 0 or not flows.shape[-1]:
        raise InvalidInput([Problem("cashflows", f"has shape {flows.shape}; expected one flow a period, at least one")])
    return flows


def growth_of(rate: ArrayLike) -> Floats:
    """1 + rate. Raises InvalidInput for rates at which nothing is left to discount by."""
    rates = floats("rate", rate)
    if rates.min(initial=np.inf) <= -1:
        raise InvalidInput([Problem("rate", f"is {rates.min():g}; expected a decimal above -1")])
    return np.asarray(1.0 + rates)


def years_between(dates: Dates | Sequence[datetime.date]) -> Floats:
    """Years from the first date to each, ACT/365 fixed; datetime.date or numpy datetime64."""
    days = np.atleast_1d(as_days("dates", dates))
    return np.asarray((days - days[:1]).astype(np.int64) / 365)


def xnpv(rate: float, cashflows: ArrayLike, dates: Dates | Sequence[datetime.date]) -> Any:
    """Net present value on the first date at an effective annual rate, ACT/365 fixed."""
    flows, years = flows_and_times(cashflows, years_between(dates))
    return plain(flows @ growth_of(rate) ** -years)


def xirr(cashflows: ArrayLike, dates: Dates | Sequence[datetime.date], near: float | None = None) -> Any:
    """Effective annual rate of return of dated flows, ACT/365 fixed; `near` and errors as irr."""
    flows, years = flows_and_times(cashflows, years_between(dates))
    return plain(np.expm1(discount_roots(flows, years, "rate of return", near)))

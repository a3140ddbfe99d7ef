"""Present values and rates of return of flows a period apart, or on dates."""

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine.analytics.roots import Floats, discount_roots, floats, flows_and_times, plain


def npv(rate: ArrayLike, cashflows: ArrayLike) -> Any:
    """Net present value at a rate a period, the first flow being paid now (unlike the NPV of spreadsheets).

    cashflows: (..., periods); rate: one, or one for each vector. Returns (...,).
    """
    flows = floats("cashflows", cashflows)
    growth = 1.0 + floats("rate", rate)[..., np.newaxis]
    return plain((flows * growth ** -np.arange(flows.shape[-1], dtype=np.float64)).sum(axis=-1))


def irr(cashflows: ArrayLike, near: float | None = None) -> Any:
    """Internal rate of return a period, (...,) of cashflows (..., periods), the first of them now.

    near: the root nearest to it is taken where there are several. Raises NoSolution where there is none, or several
    and no `near`.
    """
    flows = floats("cashflows", cashflows)
    return plain(np.expm1(discount_roots(flows, np.arange(flows.shape[-1], dtype=np.float64), "rate of return", near)))


def years_between(dates: Sequence[datetime.date]) -> Floats:
    """Years from the first date to each, ACT/365 fixed."""
    return np.array([(date - dates[0]).days / 365 for date in dates])


def xnpv(rate: float, cashflows: ArrayLike, dates: Sequence[datetime.date]) -> Any:
    """Net present value on the first date at an effective annual rate, ACT/365 fixed."""
    flows, years = flows_and_times(cashflows, years_between(dates))
    return plain(flows @ (1.0 + rate) ** -years)


def xirr(cashflows: ArrayLike, dates: Sequence[datetime.date], near: float | None = None) -> Any:
    """Effective annual rate of return of dated flows, ACT/365 fixed; `near` and errors as irr."""
    flows, years = flows_and_times(cashflows, years_between(dates))
    return plain(np.expm1(discount_roots(flows, years, "rate of return", near)))

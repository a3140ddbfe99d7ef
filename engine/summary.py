"""Summary of a projection: totals, weighted average life, final period and peaks."""

import msgspec
import numpy as np

from engine.cashflows import Cashflows
from engine.fields import FIELDS


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one scenario over the whole tape, from the fields that were selected.

    totals: sum of each selected flow, currency units. wal_years: average life of `principal`, payments at the end
    of each month (k/12); none where principal was not selected or none is paid. final_period: the last period with
    any amount, 0 for none. peak_balance: the largest end-of-period `balance`, none where not selected.
    """

    opening_balance: float
    totals: dict[str, float]
    wal_years: float | None
    final_period: int
    peak_balance: float | None


def summarize(cashflows: Cashflows) -> Summary | dict[str, Summary]:
    """The summary of one scenario, or of each by name where there are several."""
    if not cashflows.several:
        return summary_of(cashflows)
    return {name: summary_of(cashflows.scenario(i)) for i, name in enumerate(cashflows.scenario_names)}


def summary_of(one: Cashflows) -> Summary:
    pool = {
        name: column if column.ndim == 1 else column.sum(axis=tuple(range(column.ndim - 1)))
        for name, column in one.columns.items()
    }
    totals = {
        field.name: float(pool[field.name].sum()) for field in FIELDS if field.kind == "flow" and field.name in pool
    }
    paid = pool.get("principal")
    wal = None
    if paid is not None and paid.sum() > 0:
        wal = float(np.dot(paid, one.period) / paid.sum() / 12)
    last = max((int(np.flatnonzero(column)[-1]) + 1 for column in pool.values() if column.any()), default=0)
    balance = pool.get("balance")
    peak = None if balance is None else float(balance.max(initial=0.0))
    return Summary(
        opening_balance=one.opening_balance, totals=totals, wal_years=wal, final_period=last, peak_balance=peak
    )

"""Summary of a projection: totals, weighted average life, final period and peaks."""

from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from engine.cashflows import Cashflows
from engine.fields import FIELDS


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one scenario over the whole tape, from the fields that were selected.

    totals: sum of each selected flow, currency units. wal_years: average life of `principal`, payments at the end
    of each month (k/12); none where principal was not selected or none is paid. final_period: the last period with
    any amount, 0 for none. peak_balance: the largest end-of-period `balance`, none where not selected. Only fields
    that were selected are computed, so those two are for requests that select what they are made from.
    """

    opening_balance: float
    totals: dict[str, float]
    wal_years: Annotated[float | None, Meta(description="Null unless `principal` is among the fields and is paid.")]
    final_period: int
    peak_balance: Annotated[float | None, Meta(description="Null unless `balance` is among the fields.")]


def summarize(cashflows: Cashflows) -> Summary | dict[str, Summary]:
    """The summary of one scenario, or of each by name where there are several."""
    if not cashflows.several:
        return summary_of(cashflows)
    return {name: summary_of(cashflows.scenario(i)) for i, name in enumerate(cashflows.scenario_names)}


def summary_of(one: Cashflows) -> Summary:
    names = one.fields
    table = np.array(
        [
            column if column.ndim == 1 else column.sum(axis=tuple(range(column.ndim - 1)))
            for column in one.columns.values()
        ]
    )
    totals = dict(zip(names, table.sum(axis=1).tolist(), strict=True))
    paid = table[names.index("principal")] if totals.get("principal", 0) > 0 else None
    last = one.periods
    if not last or not table[:, -1].any():
        some = np.flatnonzero((table != 0).any(axis=0))
        last = int(some[-1]) + 1 if len(some) else 0
    return Summary(
        opening_balance=one.opening_balance,
        totals={field.name: totals[field.name] for field in FIELDS if field.kind == "flow" and field.name in totals},
        wal_years=None if paid is None else float(np.dot(paid, one.period) / totals["principal"] / 12),
        final_period=last,
        peak_balance=float(table[names.index("balance")].max(initial=0.0)) if "balance" in names else None,
    )

"""What `cashflow project` shows: the table by year, the columns of the file, the picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from engine.cashflows import Cashflows
from engine.errors import TapeFileError
from engine.summary import Summary

Columns = Mapping[str, NDArray[np.float64]]

# Columns of the table: heading -> field.
YEARLY = {
    "interest": "interest",
    "scheduled": "scheduled_principal",
    "prepaid": "prepayment",
    "default": "default",
    "recovery": "recovery",
    "loss": "loss",
    "cashflow": "cashflow",
}
STACK = (
    ("net_interest", "Net interest", "#e0a458"),
    ("scheduled_principal", "Scheduled principal", "#2f6690"),
    ("prepayment", "Prepayment", "#81b1d5"),
    ("recovery", "Recovery", "#7a9e7e"),
)
# What the table and the picture need, whichever fields the file gets.
REPORT_FIELDS = tuple(dict.fromkeys([*YEARLY.values(), "net_interest", "principal", "servicing_fee", "balance"]))
PLOT_ENDINGS = (".png", ".svg", ".pdf")


class Effort(msgspec.Struct, frozen=True):
    """What a projection took: reading is part of the seconds."""

    loans: int
    loan_months: int
    seconds: float


def pool_columns(cashflows: Cashflows) -> dict[str, NDArray[np.float64]]:
    """The columns of the whole pool, shape (periods,), whatever the level they were projected at."""
    if cashflows.level == "pool":
        return dict(cashflows.columns)
    return {name: np.sum(values, axis=0) for name, values in cashflows.columns.items()}


def file_columns(cashflows: Cashflows, fields: list[str]) -> dict[str, Any]:
    """Columns for a file: period and the fields; with groups one row a group and period, the group first."""
    if cashflows.level == "pool":
        return {"period": np.asarray(cashflows.period), **{name: cashflows[name] for name in fields}}
    groups = np.array([str(group) for group in cashflows.groups], dtype=object)
    return {
        "group": np.repeat(groups, cashflows.periods),
        "period": np.tile(np.asarray(cashflows.period), len(groups)),
        **{name: np.ravel(cashflows[name]) for name in fields},
    }


def print_report(console: Console, title: str, cashflows: Cashflows, summary: Summary, effort: Effort) -> None:
    """The table by year and, below it, what sums the projection up."""
    console.print(year_table(title, pool_columns(cashflows), summary))
    rate = effort.loan_months / effort.seconds if effort.seconds else 0.0
    wal = f"{summary.wal_years:.2f} years" if summary.wal_years is not None else "none"
    facts = Table.grid(padding=(0, 3))
    facts.add_row(
        "  Opening balance", f"[bold]{summary.opening_balance:,.2f}[/]", "Loans", f"[bold]{effort.loans:,}[/]"
    )
    facts.add_row("  WAL", f"[bold]{wal}[/]", "Final month", f"[bold]{summary.final_period}[/]")
    facts.add_row("  Time", f"{effort.seconds:.3f} s", "Loan-months a second", f"{rate:,.0f}")
    console.print(facts)


def year_table(title: str, columns: Columns, summary: Summary) -> Table:
    """Totals by year of the projection and over its life; the balance is that at the year's end."""
    unit, divisor = scale(summary.opening_balance)
    caption = f"{f'In {unit}; ' if unit else ''}years of twelve months from the cut-off, balance at their end."
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_style="bold")
    table.add_column("year", justify="right", style="dim", no_wrap=True)
    for heading in (*YEARLY, "balance"):
        table.add_column(heading, justify="right", no_wrap=True)
    for start in range(0, summary.final_period, 12):
        end = min(start + 12, summary.final_period)
        flows = [f"{columns[field][start:end].sum() / divisor:,.2f}" for field in YEARLY.values()]
        table.add_row(str(start // 12 + 1), *flows, f"{columns['balance'][end - 1] / divisor:,.2f}")
    table.add_section()
    totals = [f"{columns[field].sum() / divisor:,.2f}" for field in YEARLY.values()]
    table.add_row("all", *totals, "", style="bold")
    return table


def scale(amount: float) -> tuple[str, float]:
    """The unit in which an amount reads well, and what it is divided by."""
    for unit, divisor in (("billions", 1e9), ("millions", 1e6), ("thousands", 1e3)):
        if amount >= 10 * divisor:
            return unit, divisor
    return "", 1.0


def check_plot_path(path: str | None) -> None:
    """Raises TapeFileError if the picture's ending is not one that can be drawn."""
    if path is not None and Path(path).suffix.casefold() not in PLOT_ENDINGS:
        raise TapeFileError(f"{path} has an ending that cannot be drawn; expected one of {', '.join(PLOT_ENDINGS)}")


def draw(path: str, title: str, columns: Columns, summary: Summary) -> None:
    """The monthly cash to investors as stacked steps, the balance as a line on the right axis."""
    try:
        import matplotlib
    except ImportError as error:
        raise TapeFileError("--plot needs matplotlib; install it with `pip install matplotlib`") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    months = max(summary.final_period, 1)
    years = np.arange(months + 1) / 12
    stacked = np.array([columns[name][:months] for name, _, _ in STACK])
    unit, divisor = scale(float(stacked.sum(axis=0).max(initial=0.0)))
    stock, stock_divisor = scale(summary.opening_balance)
    figure, axes = pyplot.subplots(figsize=(10, 5.6), dpi=150, layout="constrained")
    right = axes.twinx()
    # A step a month: the last value is repeated to close the last step.
    heights = np.column_stack([stacked, stacked[:, -1]]) / divisor
    labels, colors = [label for _, label, _ in STACK], [color for _, _, color in STACK]
    areas = axes.stackplot(years, heights, labels=labels, colors=colors, step="post", linewidth=0)
    balance = np.concatenate([[summary.opening_balance], columns["balance"][:months]]) / stock_divisor
    right.plot(years, balance, color="white", linewidth=4, alpha=0.7)
    (line,) = right.plot(years, balance, color="#22223b", linewidth=1.8, label="Balance (right axis)")
    axes.set_xlabel("Years from the cut-off")
    axes.set_ylabel(f"Cash to investors a month ({unit or 'currency units'})")
    right.set_ylabel(f"Performing balance ({stock or 'currency units'})")
    for side in (axes, right):
        side.set_ylim(bottom=0)
        side.spines[["top", "left", "right"]].set_visible(False)
        side.tick_params(length=0, colors="#444444")
        side.yaxis.set_major_formatter("{x:,.10g}")
    axes.set_xlim(0, years[-1])
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    right.legend(handles=[line, *areas[::-1]], loc="upper right", frameon=False)
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", pad=12)
    figure.savefig(path)
    pyplot.close(figure)

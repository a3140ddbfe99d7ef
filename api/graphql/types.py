"""GraphQL outputs, derived from engine.FIELDS: columns of vectors, rows by pages, totals.

A type's attributes are read only when selected: no resolver, no list of row objects but the page asked for.
"""

from typing import Any, Optional

import numpy as np
import strawberry

import engine
from api.graphql.inputs import scalar
from api.graphql.texts import field_texts, first_line
from engine.fields import FIELD_INDEX, FIELDS

FloatVector = scalar("FloatVector", "Numbers, one a period; at loan level one such list a loan.")
IntVector = scalar("IntVector", "Whole numbers, one a period.")
TextVector = scalar("TextVector", "Texts, one a loan.")
MAX_PAGE, DEFAULT_PAGE = 100, 50


class View:
    """One scenario (and one group) of cashflows: the attributes of the columns type."""

    def __init__(self, cashflows: engine.Cashflows, index: tuple[int, ...]) -> None:
        self.cashflows, self.index = cashflows, index

    @property
    def period(self) -> Any:
        return np.asarray(self.cashflows.period)

    @property
    def loan_id(self) -> list[str] | None:
        return self.cashflows.loan_ids

    def __getattr__(self, name: str) -> Any:
        try:
            return np.ascontiguousarray(self.cashflows.columns[name][self.index])
        except KeyError:
            raise AttributeError(name) from None


class Row:
    """One row of a view: a period, at loan level of one loan."""

    def __init__(self, view: View, number: int) -> None:
        self.view = view
        self.loan, at = divmod(number, view.cashflows.periods)
        self.period = int(view.period[at])
        self.number = number

    @property
    def loan_id(self) -> str | None:
        ids = self.view.loan_id
        return None if ids is None else ids[self.loan]

    def __getattr__(self, name: str) -> float:
        column = self.view.cashflows.columns.get(name)
        if column is None:
            raise AttributeError(name)
        return float(column[self.view.index].reshape(-1)[self.number])


class Totals:
    """The sums of a summary: the attributes of the totals type."""

    def __init__(self, totals: dict[str, float]) -> None:
        self.totals = totals

    def __getattr__(self, name: str) -> float | None:
        if name not in FIELD_INDEX:
            raise AttributeError(name)
        return self.totals.get(name)


def output_type(name: str, description: str, value: Any, leading: dict[str, tuple[Any, str]]) -> Any:
    """A type with the leading fields and one field of type `value` for each output field of the engine."""
    fields = leading | {field.name: (value, f"{field.doc} ({field.kind}, {field.unit})") for field in FIELDS}
    body: dict[str, Any] = {"__annotations__": {key: kind for key, (kind, _) in fields.items()}, "__module__": __name__}
    body |= {key: strawberry.field(description=text) for key, (_, text) in fields.items()}
    return strawberry.type(type(name, (), body), name=name, description=description)


PERIOD = "Months from the cut-off, 1 for the first."
LOAN_ID = "The loan's id, at loan level."
CashflowColumns: Any = output_type(
    "CashflowColumns",
    "Columns of cashflows; only those selected are computed.",
    FloatVector,
    {"period": (IntVector, PERIOD), "loan_id": (Optional[TextVector], LOAN_ID)},  # noqa: UP045
)
CashflowRow: Any = output_type(
    "CashflowRow",
    "One period of cashflows.",
    float,
    {"period": (int, PERIOD), "loan_id": (Optional[str], LOAN_ID)},  # noqa: UP045
)
TOTALS = "Sums over the periods of the fields selected; null for stocks."
FieldTotals: Any = output_type("FieldTotals", TOTALS, Optional[float], {})  # noqa: UP045


def described(text: str) -> Any:
    """A field that is read from its attribute, with a description."""
    return strawberry.field(description=text)


@strawberry.type(description="Where a page of rows ends.")
class PageInfo:
    has_next_page: bool = described("Whether rows follow this page.")
    end_cursor: str | None = described("Cursor of the last row, for `after` of the next page; null on an empty page.")


@strawberry.type(description="A page of rows.")
class RowConnection:
    total_count: int = described("Rows on all pages.")
    page_info: PageInfo = described("Where the page ends.")
    nodes: list[CashflowRow] = described("The rows of the page.")


FIGURES = field_texts(engine.Summary)


@strawberry.type(description=first_line(engine.Summary))
class Summary:
    totals: FieldTotals = described(FIGURES["totals"])
    wal_years: float | None = described(FIGURES["wal_years"])
    final_period: int = described(FIGURES["final_period"])
    peak_balance: float | None = described(FIGURES["peak_balance"])
    opening_balance: float = described(FIGURES["opening_balance"])


def page(view: View, first: int, after: str | None) -> RowConnection:
    """The page of `first` rows past the cursor `after`."""
    lines = 1 if view.loan_id is None else len(view.loan_id)
    total = lines * view.cashflows.periods
    start = 0 if after is None else int(after) + 1
    end = min(start + first, total)
    nodes = [Row(view, number) for number in range(start, end)]
    info = PageInfo(has_next_page=end < total, end_cursor=str(end - 1) if nodes else None)
    return RowConnection(total_count=total, page_info=info, nodes=nodes)


def to_summary(summary: engine.Summary) -> Summary:
    return Summary(
        totals=Totals(summary.totals),
        wal_years=summary.wal_years,
        final_period=summary.final_period,
        peak_balance=summary.peak_balance,
        opening_balance=summary.opening_balance,
    )

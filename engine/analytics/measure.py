"""What every measure is: a Struct of arguments, tagged by its name, that computes a Struct of results.

REST, OpenAPI and GraphQL are derived from the measures listed in engine/analytics/request.py: `type` is the name, the
fields are the arguments, `result` is the Struct answered with, the docstring is the documentation.
"""

import datetime
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np

from engine.analytics.discount_curve import DiscountCurve
from engine.analytics.figures import Figure
from engine.analytics.roots import Floats, floats
from engine.analytics.timing import dated_times, payment_times
from engine.cashflows import Cashflows
from engine.errors import InvalidInput, Problem
from engine.fields import FIELD_NAMES
from engine.request import ProjectionRequest

Column = Literal[FIELD_NAMES]  # type: ignore[valid-type]
DayCount = Literal[
    "30/360 Bond Basis", "30/360 US", "30/360 SIFMA", "30E/360", "30E/360 ISDA", "ACT/360", "ACT/365F", "ACT/ACT ISDA"
]


class Settlement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the cashflows are paid, seen from settlement.

    times: years to each payment, in place of all that follows; of a projection also more than it has months, for
    measures that project recoveries after it. date, payment_dates: the settlement and the day of each
    payment, turned into years by day_count. delay_days: actual delay of monthly payments, from the borrower's payment
    day to the investor's. stated_delay_days: in its place, days from the start of accrual to the first payment, both
    counted. settlement_days: days of thirty-day months from the start of the first accrual month to settlement.
    payments_per_year: payments of cashflows that are given as arrays.
    """

    times: list[float] | None = None
    date: datetime.date | None = None
    payment_dates: list[datetime.date] | None = None
    day_count: DayCount = "30/360 Bond Basis"
    delay_days: float = 0.0
    stated_delay_days: float | None = None
    settlement_days: float = 0.0
    payments_per_year: Literal[1, 2, 4, 12] = 12

    def years(self, periods: int) -> Floats:
        """Years from settlement to each of the payments. Raises InvalidInput where they are not as many."""
        return self.reckoned(periods, spare=False)

    def years_projected(self, periods: int) -> Floats:
        """Years to each month of a projection, more of which may be stated than this one has."""
        return self.reckoned(periods, spare=True)

    def reckoned(self, periods: int, spare: bool) -> Floats:
        """Years from settlement to each of the payments. spare: whether more may be stated."""
        if self.times is not None:
            return fitting("times", floats("settlement.times", self.times), periods, spare)
        if (self.date is None) != (self.payment_dates is None):
            path = "settlement.payment_dates" if self.payment_dates is None else "settlement.date"
            raise InvalidInput([Problem(path, "is missing; date and payment_dates are given together")])
        if self.date is not None and self.payment_dates is not None:
            dates = np.array(self.payment_dates, dtype="datetime64[D]")
            return fitting("payment_dates", dated_times(self.date, dates, self.day_count), periods, spare)
        given = (self.delay_days, self.settlement_days)
        for name, value in zip(("delay_days", "settlement_days"), given, strict=True):
            floats(f"settlement.{name}", value)
        return payment_times(
            periods, *given, stated_delay_days=self.stated_delay_days, payments_per_year=self.payments_per_year
        )


def fitting(name: str, years: Floats, periods: int, spare: bool) -> Floats:
    """The first of the years, one a period. Raises InvalidInput for too few, and for too many unless `spare`."""
    if len(years) < periods or (len(years) > periods and not spare):
        message = f"has {len(years)} values; expected {periods}{' or more' if spare else ''}, one a period"
        raise InvalidInput([Problem(f"settlement.{name}", message)])
    return years[:periods]


class Inputs(msgspec.Struct, kw_only=True):
    """What measures are computed from: columns (..., periods), the settlement, a curve, and what was projected.

    opening_balance: of the columns, none where it is not known. request, scenario: none where columns were given.
    """

    columns: dict[str, Floats]
    settlement: Settlement
    curve: DiscountCurve | None = None
    opening_balance: Any = None
    request: ProjectionRequest | None = None
    scenario: int = 0
    threads: int | None = None

    def column(self, name: str) -> Floats:
        """A column. Raises InvalidInput where it was not given."""
        if name not in self.columns:
            raise InvalidInput([Problem(f"cashflows.columns.{name}", "is missing; this measure is made from it")])
        return self.columns[name]

    def years(self, flows: Floats) -> Floats:
        """Years from settlement to each of the flows."""
        return self.reckon(flows.shape[-1])

    @property
    def reckon(self) -> Callable[[int], Floats]:
        """Years from settlement to each of as many payments."""
        return self.settlement.years if self.request is None else self.settlement.years_projected

    def known_curve(self) -> DiscountCurve:
        if self.curve is None:
            raise InvalidInput([Problem("curve", "is missing; this measure discounts on it")])
        return self.curve

    def known_opening(self) -> Any:
        if self.opening_balance is None:
            message = "is missing; give it beside the columns, or project at level pool"
            raise InvalidInput([Problem("cashflows.opening_balance", message)])
        return self.opening_balance

    def known_request(self) -> ProjectionRequest:
        if self.request is None:
            raise InvalidInput([Problem("projection", "is missing; this measure projects the tape again")])
        return self.request


class Measure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the measures; a subclass is a member of the union by its `type`."""

    # The Struct of results, the columns that it is made from, and how many scenarios are projected again for an answer.
    result: ClassVar[type[msgspec.Struct]]
    columns: ClassVar[tuple[str, ...]] = ()
    reprojections: ClassVar[int] = 0

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns that it is made from."""
        return self.columns

    def compute(self, inputs: Inputs) -> msgspec.Struct:
        """The results. Raises InvalidInput and NoSolution."""
        raise AssertionError(f"{type(self).__name__} has no compute()")


class MeasureValue(msgspec.Struct, frozen=True, kw_only=True):
    """One figure a vector."""

    value: Figure


class OfColumn(Measure, frozen=True, kw_only=True):
    """A measure of one column of cash."""

    column: Column = "cashflow"

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.column,)


def projected_inputs(
    cashflows: Cashflows, index: tuple[int, ...], scenario: int, request: ProjectionRequest, settlement: Settlement,
    curve: DiscountCurve | None, threads: int | None,
) -> Inputs:  # fmt: skip
    """The inputs of one scenario of a projection, at an index of the columns' leading axes. Raises InvalidInput."""
    if settlement.payments_per_year != 12:
        message = f"is {settlement.payments_per_year}; a projection has a column a month, expected 12"
        raise InvalidInput([Problem("settlement.payments_per_year", message)])
    return Inputs(
        columns={name: np.asarray(column[index]) for name, column in cashflows.columns.items()},
        settlement=settlement,
        curve=curve,
        opening_balance=cashflows.opening_balance if cashflows.level == "pool" else None,
        request=request,
        scenario=scenario,
        threads=threads,
    )

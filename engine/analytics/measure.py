"""What every measure is: a Struct of arguments, tagged by its name, that computes a Struct of results.

REST, OpenAPI and GraphQL are derived from the measures listed in engine/analytics/request.py: `type` is the name, the
fields are the arguments, `result` is the Struct answered with, the docstring is the documentation.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np

from engine.analytics.discount_curve import DiscountCurve
from engine.analytics.figures import Figure
from engine.analytics.roots import Floats
from engine.analytics.settlement import Settlement
from engine.cashflows import Cashflows
from engine.errors import InvalidInput, Problem
from engine.fields import FIELD_NAMES
from engine.request import ProjectionRequest

Column = Literal[FIELD_NAMES]  # type: ignore[valid-type]


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

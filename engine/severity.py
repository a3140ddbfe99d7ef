"""What share of a defaulted balance is lost, where it is not one number: by month, by property, by loan-to-value."""

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.curves import UNIT_RANGE, Beyond, entry_of, out_of_range
from engine.errors import Problem
from engine.loans import MAX_LTV


class SeverityVector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="vector"):
    """Stated severities, one a month from the cut-off.

    month: whether a loan takes that of the month in which it defaults or in which it is liquidated. beyond: what comes
    past the end: the last value, zero, or the values from the first again.
    """

    values: list[float]
    month: Literal["default", "liquidation"] = "default"
    beyond: Beyond = "last"

    def problems(self, path: str) -> list[Problem]:
        """Every value out of range, with its path below `path`."""
        found = [] if self.values else [Problem(f"{path}.values", "is empty; expected at least one share")]
        for i, value in enumerate(self.values):
            found += out_of_range(f"{path}.values[{i}]", value, 0, 1, UNIT_RANGE)
        return found

    def by_month(self, months: int) -> NDArray[np.float64]:
        """The severity of months 1 .. months at their index; entry 0 unused."""
        return entry_of(np.asarray(self.values, dtype=np.float64), np.maximum(np.arange(months + 1), 1), self.beyond)


class PropertySeverity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="property"):
    """What is owed at default less what the property fetches at liquidation, loan by loan.

    The tape needs property_value, or ltv. liquidation_cost: share of the price that selling costs. home_price_growth: a
    decimal a year from the cut-off, one for all months or one for each, the last holding on. minimum: the least share
    of the balance that is lost.
    """

    liquidation_cost: float = 0.0
    home_price_growth: float | list[float] = 0.0
    minimum: float = 0.0

    def problems(self, path: str) -> list[Problem]:
        """Every value out of range, with its path below `path`."""
        found = out_of_range(f"{path}.liquidation_cost", self.liquidation_cost, 0, 1, UNIT_RANGE)
        found += out_of_range(f"{path}.minimum", self.minimum, 0, 1, UNIT_RANGE)
        return found + growth_problems(f"{path}.home_price_growth", self.home_price_growth)

    def proceeds(self, months: int) -> NDArray[np.float64]:
        """Net proceeds at months 0 .. months, as a share of the value at the cut-off."""
        return price_index(self.home_price_growth, months) * (1 - self.liquidation_cost)


class LtvSeverity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="ltv"):
    """A table of severities by loan-to-value: what is owed at default over the property's value, loan by loan.

    The tape needs property_value, or ltv. ltv: rising decimals. severities: in steps (by default) one more than ltv,
    below the first, from each up to the next, and from the last on; linear, one at each, straight lines between them
    and the first and the last beyond. home_price_growth: of the value, as in PropertySeverity. month: whether the value
    is that of the month of liquidation or of default.
    """

    ltv: list[float]
    severities: list[float]
    interpolation: Literal["step", "linear"] = "step"
    home_price_growth: float | list[float] = 0.0
    month: Literal["default", "liquidation"] = "liquidation"

    def problems(self, path: str) -> list[Problem]:
        """Every value out of range, with its path below `path`."""
        found = [] if self.ltv else [Problem(f"{path}.ltv", "is empty; expected at least one loan-to-value")]
        for i, value in enumerate(self.ltv):
            found += out_of_range(f"{path}.ltv[{i}]", value, 0, MAX_LTV, f"a decimal in [0, {MAX_LTV}] (80% is 0.8)")
            if i and value <= self.ltv[i - 1]:
                message = f"is {value:g}, after {self.ltv[i - 1]:g}; expected rising values"
                found.append(Problem(f"{path}.ltv[{i}]", message))
        for i, value in enumerate(self.severities):
            found += out_of_range(f"{path}.severities[{i}]", value, 0, 1, UNIT_RANGE)
        wanted = len(self.ltv) + (self.interpolation == "step")
        if len(self.severities) != wanted:
            what = "one more than ltv" if self.interpolation == "step" else "one for each ltv"
            found.append(
                Problem(f"{path}.severities", f"has {len(self.severities)} shares; expected {wanted}, {what}")
            )  # fmt: skip
        return found + growth_problems(f"{path}.home_price_growth", self.home_price_growth)

    def table(self) -> NDArray[np.float64]:
        """As ext/loss.pxi reads it: how many values, whether lines join them, the values, the severities."""
        linear = float(self.interpolation == "linear")
        return np.array([len(self.ltv), linear, *self.ltv, *self.severities], dtype=np.float64)

    def values(self, months: int) -> NDArray[np.float64]:
        """The property's value at months 0 .. months, as a share of that at the cut-off."""
        return price_index(self.home_price_growth, months)


def growth_problems(path: str, growth: float | list[float]) -> list[Problem]:
    """What is out of range of home prices' growth."""
    allowed = "a decimal in [-1, 1]"
    if not isinstance(growth, list):
        return out_of_range(path, growth, -1, 1, allowed)
    found = [] if growth else [Problem(path, "is empty; expected a value or one a month")]
    return found + [p for i, value in enumerate(growth) for p in out_of_range(f"{path}[{i}]", value, -1, 1, allowed)]


def price_index(growth: float | list[float], months: int) -> NDArray[np.float64]:
    """Home prices at months 0 .. months over those at the cut-off."""
    given = np.asarray(growth if isinstance(growth, list) else [growth], dtype=np.float64)
    yearly = entry_of(given, np.arange(1, months + 1), "last")
    index: NDArray[np.float64] = np.cumprod(np.concatenate([[1.0], np.power(1 + yearly, 1 / 12)]))
    return index


Severity = SeverityVector | PropertySeverity | LtvSeverity

"""What share of a defaulted balance is lost, where it is not one number: by month, or by the property."""

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.curves import UNIT_RANGE, Beyond, entry_of, out_of_range
from engine.errors import Problem


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

    The tape needs property_value. liquidation_cost: share of the price that selling costs. home_price_growth: a
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
        growth = self.home_price_growth
        if isinstance(growth, list):
            if not growth:
                found.append(Problem(f"{path}.home_price_growth", "is empty; expected a value or one a month"))
            for i, value in enumerate(growth):
                found += out_of_range(f"{path}.home_price_growth[{i}]", value, -1, 1, "a decimal in [-1, 1]")
            return found
        return found + out_of_range(f"{path}.home_price_growth", growth, -1, 1, "a decimal in [-1, 1]")

    def proceeds(self, months: int) -> NDArray[np.float64]:
        """Net proceeds at months 0 .. months, as a share of the value at the cut-off."""
        growth = self.home_price_growth if isinstance(self.home_price_growth, list) else [self.home_price_growth]
        yearly = entry_of(np.asarray(growth, dtype=np.float64), np.arange(1, months + 1), "last")
        index = np.cumprod(np.concatenate([[1.0], np.power(1 + yearly, 1 / 12)]))
        net: NDArray[np.float64] = index * (1 - self.liquidation_cost)
        return net


Severity = SeverityVector | PropertySeverity

"""Prepayment and default curves: each Struct carries its market unit as `type` and gives monthly rates.

`monthly(age)` takes the 1-based loan age in months of each payment (int64 array) and returns the monthly
rate (SMM or MDR, float64 in [0, 1]). A curve with `by_age` false is read at the 1-based period instead.
Source of the standard curves: Standard Formulas, Uniform Practices ch. SF, sections B and C.
"""

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import Problem

Ages = NDArray[np.int64]
Rates = NDArray[np.float64]


def monthly_from_annual(annual: Rates | float) -> Rates:
    """Monthly rate 1 - (1 - annual)^(1/12) of an annual one (CPR to SMM, CDR to MDR)."""
    # Through logarithms, so that small rates keep all their digits; log1p(-1) is -inf, which gives a rate of 1.
    with np.errstate(divide="ignore"):
        rates: Rates = -np.expm1(np.log1p(-np.asarray(annual, dtype=np.float64)) / 12)
    return rates


def annual_from_monthly(monthly: Rates | float) -> Rates:
    """Annual rate 1 - (1 - monthly)^12 of a monthly one (SMM to CPR, MDR to CDR)."""
    with np.errstate(divide="ignore"):
        rates: Rates = -np.expm1(np.log1p(-np.asarray(monthly, dtype=np.float64)) * 12)
    return rates


class Curve(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the curves; a subclass is a member of the union by its `type`."""

    @property
    def by_age(self) -> bool:
        """Whether the curve is read at the loan's age rather than at the period."""
        return False

    @property
    def is_annual(self) -> bool:
        """Whether it states annual rates by period, which conventions turn into a period's rate."""
        return False

    def monthly(self, age: Ages) -> Rates:
        """Monthly rates at 1-based ages (or periods), float64 of the shape of `age`."""
        raise AssertionError(f"{type(self).__name__} has no monthly()")

    def problems(self, path: str) -> list[Problem]:
        """Every value out of range, with its path below `path`."""
        return []


def out_of_range(path: str, value: float, low: float, high: float, allowed: str) -> list[Problem]:
    """A one-element list if value is not a number in [low, high], else an empty one."""
    if low <= value <= high:
        return []
    hint = f" ({value:g}% is {value / 100:g})" if high == 1 and 1 < value <= 100 else ""
    return [Problem(path, f"is {value:g}; expected {allowed}{hint}")]


UNIT_RANGE = "a decimal in [0, 1]"


class Cpr(Curve, frozen=True, tag="cpr"):
    """Constant prepayment rate a year."""

    rate: float

    @property
    def is_annual(self) -> bool:
        return True

    def monthly(self, age: Ages) -> Rates:
        return np.full(age.shape, monthly_from_annual(self.rate), dtype=np.float64)

    def problems(self, path: str) -> list[Problem]:
        return out_of_range(f"{path}.rate", self.rate, 0, 1, UNIT_RANGE)


class Cdr(Cpr, frozen=True, tag="cdr"):
    """Constant default rate a year."""


class Smm(Curve, frozen=True, tag="smm"):
    """Constant prepayment rate a month (single monthly mortality)."""

    rate: float

    def monthly(self, age: Ages) -> Rates:
        return np.full(age.shape, self.rate)

    def problems(self, path: str) -> list[Problem]:
        return out_of_range(f"{path}.rate", self.rate, 0, 1, UNIT_RANGE)


class Mdr(Smm, frozen=True, tag="mdr"):
    """Constant default rate a month."""


class Speed(Curve, frozen=True):
    """A ramp by loan age with a speed: 1.0 is 100% of the ramp."""

    speed: float = 1.0

    @property
    def by_age(self) -> bool:
        return True

    def problems(self, path: str) -> list[Problem]:
        return out_of_range(f"{path}.speed", self.speed, 0, 100, "a multiple of the ramp in [0, 100], 1.0 for 100%")


class Psa(Speed, frozen=True, tag="psa"):
    """PSA ramp: CPR of 0.2% a month of age up to 6% at month 30, times speed."""

    def monthly(self, age: Ages) -> Rates:
        return monthly_from_annual(np.minimum(self.speed * 0.002 * np.minimum(age, 30), 1.0))


class Sda(Speed, frozen=True, tag="sda"):
    """Standard default assumption: CDR up to 0.60% at month 30, flat to 60, down to 0.03% at 120, times speed."""

    def monthly(self, age: Ages) -> Rates:
        ramp: Rates = np.interp(age, [0, 30, 60, 120], [0.0, 0.006, 0.006, 0.0003])
        return monthly_from_annual(np.minimum(self.speed * ramp, 1.0))


class Mhp(Speed, frozen=True, tag="mhp"):
    """Manufactured housing prepayment: CPR of 3.6% plus 0.1% a month up to 6% at month 24, times speed."""

    def monthly(self, age: Ages) -> Rates:
        return monthly_from_annual(np.minimum(self.speed * (0.036 + 0.001 * np.minimum(age, 24)), 1.0))


class Hep(Curve, frozen=True, tag="hep"):
    """Home equity prepayment: linear ramp over ten months of age to the stated CPR."""

    rate: float

    @property
    def by_age(self) -> bool:
        return True

    def monthly(self, age: Ages) -> Rates:
        return monthly_from_annual(self.rate * np.minimum(age, 10) / 10)

    def problems(self, path: str) -> list[Problem]:
        return out_of_range(f"{path}.rate", self.rate, 0, 1, UNIT_RANGE)


class Abs(Curve, frozen=True, tag="abs"):
    """Absolute prepayment speed: `rate` of the original number of loans a month (0.015 for 1.5 ABS)."""

    rate: float

    @property
    def by_age(self) -> bool:
        return True

    def monthly(self, age: Ages) -> Rates:
        left = 1 - self.rate * (age - 1)
        return np.where(left > self.rate, self.rate / np.where(left > 0, left, 1.0), float(self.rate > 0))

    def problems(self, path: str) -> list[Problem]:
        return out_of_range(f"{path}.rate", self.rate, 0, 1, UNIT_RANGE)


class Vector(Curve, frozen=True, tag="vector"):
    """Stated rates, one a month, in `unit`; past the end the last value holds or the rate is zero.

    unit: cpr or cdr (annual), smm or mdr (monthly), psa or sda (multiples of the ramp at the loan's age).
    by: period counts from the cut-off, age is the loan's age in months; entry k belongs to month k + 1.
    """

    unit: Literal["cpr", "smm", "psa", "cdr", "mdr", "sda"]
    values: list[float]
    by: Literal["period", "age"] = "period"
    beyond: Literal["last", "zero"] = "last"

    @property
    def by_age(self) -> bool:
        return self.by == "age"

    @property
    def is_annual(self) -> bool:
        return self.unit in ("cpr", "cdr") and self.by == "period"

    def monthly(self, age: Ages) -> Rates:
        values = np.asarray(self.values, dtype=np.float64)
        stated = values[np.clip(age - 1, 0, len(values) - 1)]
        if self.beyond == "zero":
            stated = np.where(age > len(values), 0.0, stated)
        if self.unit in ("smm", "mdr"):
            return stated
        if self.unit in ("cpr", "cdr"):
            return monthly_from_annual(stated)
        ramp = Psa() if self.unit == "psa" else Sda()
        return monthly_from_annual(np.minimum(stated * annual_from_monthly(ramp.monthly(age)), 1.0))

    def problems(self, path: str) -> list[Problem]:
        if not len(self.values):
            return [Problem(f"{path}.values", "is empty; expected at least one rate")]
        found: list[Problem] = []
        if self.unit in ("psa", "sda") and self.by == "period":
            found.append(Problem(f"{path}.by", f"is 'period'; a vector of {self.unit} is read by 'age'"))
        high, allowed = (
            (100.0, "a multiple of the ramp in [0, 100]") if self.unit in ("psa", "sda") else (1.0, UNIT_RANGE)
        )
        for i, value in enumerate(self.values):
            found += out_of_range(f"{path}.values[{i}]", value, 0, high, allowed)
        return found


PrepaymentCurve = Cpr | Smm | Psa | Abs | Hep | Mhp | Vector
DefaultCurve = Cdr | Mdr | Sda | Vector
PREPAYMENT_UNITS = ("cpr", "smm", "psa")
DEFAULT_UNITS = ("cdr", "mdr", "sda")

"""Prepayment and default curves: each Struct carries its market unit as `type` and gives monthly rates.

`monthly(at)` takes 1-based months (int64 array) and returns monthly rates (SMM or MDR, float64 in [0, 1]). Which months
those are the curve says by `reads`: the loan's age, the period from the cut-off, or the calendar month. Curves that
wrap others (engine/composed_curves.py) may read several; `rates(when)` is the same for both.
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


def annual_changed(monthly: Rates, multiplier: Rates | float, shift: Rates | float) -> Rates:
    """Monthly rates whose annual ones are multiplied and shifted, and clipped to [0, 1].

    Above a half the share that is left is what is computed, so that a change of nothing changes no digit.
    """
    with np.errstate(divide="ignore"):
        log_left = 12 * np.log1p(-np.asarray(monthly, dtype=np.float64))
        gone = multiplier * -np.expm1(log_left) + shift
        left = (1 - multiplier - shift) + multiplier * np.exp(log_left)
        log_new = np.where(gone < 0.5, np.log1p(-np.clip(gone, 0, 1)), np.log(np.clip(left, 0, 1)))
        changed: Rates = -np.expm1(log_new / 12)
    return changed


class When(msgspec.Struct, frozen=True):
    """The months at which curves are read: int64 arrays that broadcast against each other.

    age: 1-based age of the loan. period: 1-based, from the cut-off. calendar_month: 1 for January to 12, none where no
    cut-off date is given.
    """

    age: Ages
    period: Ages
    calendar_month: Ages | None = None

    def axis(self, name: str) -> Ages:
        """The months of one axis."""
        found: Ages | None = getattr(self, name)
        if found is None:
            raise AssertionError("calendar months need a cut-off date, which engine/behaviour.py checks")
        return found


class Curve(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the curves; a subclass is a member of the union by its `type`."""

    @property
    def reads(self) -> frozenset[str]:
        """Which axes of When the rates depend on; none for a constant."""
        return frozenset()

    @property
    def leaf(self) -> "Curve":
        """The innermost curve of those that wrap one another."""
        return self

    @property
    def is_annual(self) -> bool:
        """Whether it states annual rates by period, which conventions turn into a period's rate."""
        return False

    def monthly(self, at: Ages) -> Rates:
        """Monthly rates at 1-based months of the axis that the curve reads, float64 of the shape of `at`."""
        raise AssertionError(f"{type(self).__name__} has no monthly()")

    def rates(self, when: When) -> Rates:
        """Monthly rates, float64 of a shape that broadcasts to that of the axes."""
        return self.monthly(when.axis(next(iter(self.reads), "period")))

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
BY_AGE = frozenset({"age"})
By = Literal["period", "age", "calendar_month"]
Beyond = Literal["last", "zero", "repeat"]


def entry_of(values: NDArray[np.float64], at: Ages, beyond: Beyond) -> NDArray[np.float64]:
    """The entry for each 1-based month; past the end the last one, zero, or the first again and so on."""
    n = len(values)
    found: NDArray[np.float64] = values[(at - 1) % n if beyond == "repeat" else np.clip(at - 1, 0, n - 1)]
    return np.where(at > n, 0.0, found) if beyond == "zero" else found


def twelve(path: str, values: list[float]) -> list[Problem]:
    """A problem if the values of calendar months are not twelve."""
    if len(values) == 12:
        return []
    return [Problem(path, f"has {len(values)} values; expected twelve, January's first")]


class Cpr(Curve, frozen=True, tag="cpr"):
    """Constant prepayment rate a year."""

    rate: float

    @property
    def is_annual(self) -> bool:
        return True

    def monthly(self, at: Ages) -> Rates:
        return np.full(at.shape, monthly_from_annual(self.rate), dtype=np.float64)

    def problems(self, path: str) -> list[Problem]:
        return out_of_range(f"{path}.rate", self.rate, 0, 1, UNIT_RANGE)


class Cdr(Cpr, frozen=True, tag="cdr"):
    """Constant default rate a year."""


class Smm(Curve, frozen=True, tag="smm"):
    """Constant prepayment rate a month (single monthly mortality)."""

    rate: float

    def monthly(self, at: Ages) -> Rates:
        return np.full(at.shape, self.rate)

    def problems(self, path: str) -> list[Problem]:
        return out_of_range(f"{path}.rate", self.rate, 0, 1, UNIT_RANGE)


class Mdr(Smm, frozen=True, tag="mdr"):
    """Constant default rate a month."""


class Speed(Curve, frozen=True):
    """A ramp by loan age with a speed: 1.0 is 100% of the ramp."""

    speed: float = 1.0

    @property
    def reads(self) -> frozenset[str]:
        return BY_AGE

    def problems(self, path: str) -> list[Problem]:
        return out_of_range(f"{path}.speed", self.speed, 0, 100, "a multiple of the ramp in [0, 100], 1.0 for 100%")


class Psa(Speed, frozen=True, tag="psa"):
    """PSA ramp: CPR of 0.2% a month of age up to 6% at month 30, times speed."""

    def monthly(self, at: Ages) -> Rates:
        return monthly_from_annual(np.minimum(self.speed * 0.002 * np.minimum(at, 30), 1.0))


class Sda(Speed, frozen=True, tag="sda"):
    """Standard default assumption: CDR up to 0.60% at month 30, flat to 60, down to 0.03% at 120, times speed."""

    def monthly(self, at: Ages) -> Rates:
        ramp: Rates = np.interp(at, [0, 30, 60, 120], [0.0, 0.006, 0.006, 0.0003])
        return monthly_from_annual(np.minimum(self.speed * ramp, 1.0))


class Mhp(Speed, frozen=True, tag="mhp"):
    """Manufactured housing prepayment: CPR of 3.6% plus 0.1% a month up to 6% at month 24, times speed."""

    def monthly(self, at: Ages) -> Rates:
        return monthly_from_annual(np.minimum(self.speed * (0.036 + 0.001 * np.minimum(at, 24)), 1.0))


class Hep(Curve, frozen=True, tag="hep"):
    """Home equity prepayment: linear ramp over ten months of age to the stated CPR."""

    rate: float

    @property
    def reads(self) -> frozenset[str]:
        return BY_AGE

    def monthly(self, at: Ages) -> Rates:
        return monthly_from_annual(self.rate * np.minimum(at, 10) / 10)

    def problems(self, path: str) -> list[Problem]:
        return out_of_range(f"{path}.rate", self.rate, 0, 1, UNIT_RANGE)


class Abs(Curve, frozen=True, tag="abs"):
    """Absolute prepayment speed: `rate` of the original number of loans a month (0.015 for 1.5 ABS)."""

    rate: float

    @property
    def reads(self) -> frozenset[str]:
        return BY_AGE

    def monthly(self, at: Ages) -> Rates:
        left = 1 - self.rate * (at - 1)
        return np.where(left > self.rate, self.rate / np.where(left > 0, left, 1.0), float(self.rate > 0))

    def problems(self, path: str) -> list[Problem]:
        return out_of_range(f"{path}.rate", self.rate, 0, 1, UNIT_RANGE)


class Vector(Curve, frozen=True, tag="vector"):
    """Stated rates, one a month, in `unit`.

    unit: cpr or cdr (annual), smm or mdr (monthly), psa or sda (multiples of the ramp at the loan's age).
    by: period counts from the cut-off, age is the loan's age in months; entry k belongs to month k + 1;
    calendar_month takes twelve values, January's first, and the request's cutoff_date.
    beyond: what comes past the end: the last value, zero, or the values from the first again.
    """

    unit: Literal["cpr", "smm", "psa", "cdr", "mdr", "sda"]
    values: list[float]
    by: By = "period"
    beyond: Beyond = "last"

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({self.by})

    @property
    def is_annual(self) -> bool:
        return self.unit in ("cpr", "cdr") and self.by != "age"

    def monthly(self, at: Ages) -> Rates:
        stated = entry_of(np.asarray(self.values, dtype=np.float64), at, self.beyond)
        if self.unit in ("smm", "mdr"):
            return stated
        if self.unit in ("cpr", "cdr"):
            return monthly_from_annual(stated)
        ramp = Psa() if self.unit == "psa" else Sda()
        return monthly_from_annual(np.minimum(stated * annual_from_monthly(ramp.monthly(at)), 1.0))

    def problems(self, path: str) -> list[Problem]:
        if not len(self.values):
            return [Problem(f"{path}.values", "is empty; expected at least one rate")]
        found: list[Problem] = []
        if self.unit in ("psa", "sda") and self.by != "age":
            found.append(Problem(f"{path}.by", f"is '{self.by}'; a vector of {self.unit} is read by 'age'"))
        if self.by == "calendar_month":
            found += twelve(f"{path}.values", self.values)
        high, allowed = (
            (100.0, "a multiple of the ramp in [0, 100]") if self.unit in ("psa", "sda") else (1.0, UNIT_RANGE)
        )
        for i, value in enumerate(self.values):
            found += out_of_range(f"{path}.values[{i}]", value, 0, high, allowed)
        return found

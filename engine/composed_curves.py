"""Curves made of curves, defaults by a timing curve, and the unions of all curves.

A curve that wraps another acts on its annual rates (CPR or CDR) unless `acts_on` says otherwise: 1.5 times 6% CPR is
9% CPR.
What leaves [0, 1] is clipped to it. Wrappers nest: the innermost curve says whether it prepays or defaults.
"""

from typing import Literal, get_args

import msgspec
import numpy as np

from engine.curves import (
    UNIT_RANGE,
    Abs,
    Ages,
    Beyond,
    By,
    Cdr,
    Cpr,
    Curve,
    Hep,
    Mdr,
    Mhp,
    Psa,
    Rates,
    Sda,
    Smm,
    Vector,
    When,
    annual_changed,
    entry_of,
    out_of_range,
    twelve,
)
from engine.errors import Problem

PREPAYMENT_UNITS = ("cpr", "smm", "psa")
DEFAULT_UNITS = ("cdr", "mdr", "sda")
# Wrappers in wrappers: more than anyone means, and few enough for any stack.
MAX_DEPTH = 16


class Wrapper(Curve, frozen=True, kw_only=True):
    """Base of the curves that change the rates of `curve`. acts_on: its CPR or CDR, or its SMM or MDR."""

    curve: "AnyCurve"
    acts_on: Literal["annual_rate", "monthly_rate"] = "annual_rate"

    @property
    def own(self) -> frozenset[str]:
        """The axes that the change itself depends on."""
        return frozenset()

    @property
    def reads(self) -> frozenset[str]:
        return self.curve.reads | self.own

    @property
    def leaf(self) -> Curve:
        return self.curve.leaf

    @property
    def is_annual(self) -> bool:
        return self.curve.is_annual and self.acts_on == "annual_rate" and "age" not in self.own

    def change(self, when: When) -> tuple[Rates | float, Rates | float]:
        """What the rates are multiplied by, and what is then added."""
        raise AssertionError(f"{type(self).__name__} has no change()")

    def rates(self, when: When) -> Rates:
        multiplier, shift = self.change(when)
        inner = self.curve.rates(when)
        if self.acts_on == "annual_rate":
            return annual_changed(inner, multiplier, shift)
        return np.clip(inner * multiplier + shift, 0.0, 1.0)

    def problems(self, path: str) -> list[Problem]:
        if self.depth() > MAX_DEPTH:
            return [Problem(f"{path}.curve", f"nests more than {MAX_DEPTH} curves")]
        if isinstance(self.leaf, Timing):
            return [Problem(f"{path}.curve", "is a timing curve, which stands alone; change its cumulative share")]
        return self.curve.problems(f"{path}.curve")

    def depth(self) -> int:
        """How many curves are around the innermost."""
        count, inner = 0, self.curve
        while isinstance(inner, Wrapper):
            count, inner = count + 1, inner.curve
        return count + 1


class Scaled(Wrapper, frozen=True, kw_only=True, tag="scaled"):
    """The curve's rates times `multiplier` plus `shift`, each one value or one a month, clipped to [0, 1].

    by: what the months of lists count: period from the cut-off, age of the loan, or calendar_month (twelve values,
    January's first). beyond: what comes past a list's end: its last value, zero, or its values from the first again.
    """

    multiplier: float | list[float] = 1.0
    shift: float | list[float] = 0.0
    by: By = "period"
    beyond: Beyond = "last"

    @property
    def own(self) -> frozenset[str]:
        return frozenset({self.by} if isinstance(self.multiplier, list) or isinstance(self.shift, list) else ())

    def change(self, when: When) -> tuple[Rates | float, Rates | float]:
        return self.at(self.multiplier, when), self.at(self.shift, when)

    def at(self, stated: float | list[float], when: When) -> Rates | float:
        """A value, or the entries of a list."""
        if not isinstance(stated, list):
            return stated
        return entry_of(np.asarray(stated, dtype=np.float64), when.axis(self.by), self.beyond)

    def problems(self, path: str) -> list[Problem]:
        found = super().problems(path)
        for name, stated, low, high, allowed in (
            ("multiplier", self.multiplier, 0.0, 1000.0, "a factor in [0, 1000]"),
            ("shift", self.shift, -1.0, 1.0, "a decimal in [-1, 1]"),
        ):
            if not isinstance(stated, list):
                found += out_of_range(f"{path}.{name}", stated, low, high, allowed)
                continue
            if not stated:
                found.append(Problem(f"{path}.{name}", "is empty; expected a value or one a month"))
            if self.by == "calendar_month":
                found += twelve(f"{path}.{name}", stated)
            for i, value in enumerate(stated):
                found += out_of_range(f"{path}.{name}[{i}]", value, low, high, allowed)
        return found


class Seasonal(Wrapper, frozen=True, kw_only=True, tag="seasonal"):
    """The curve's rates times the factor of the calendar month. factors: twelve, January's first.

    Needs the request's cutoff_date: period 1 is the month after the cut-off's.
    """

    factors: list[float]

    @property
    def own(self) -> frozenset[str]:
        return frozenset({"calendar_month"})

    def change(self, when: When) -> tuple[Rates | float, Rates | float]:
        return np.asarray(self.factors, dtype=np.float64)[when.axis("calendar_month") - 1], 0.0

    def problems(self, path: str) -> list[Problem]:
        found = super().problems(path) + twelve(f"{path}.factors", self.factors)
        for i, value in enumerate(self.factors):
            found += out_of_range(f"{path}.factors[{i}]", value, 0, 100, "a factor in [0, 100]")
        return found


class Timing(Curve, frozen=True, kw_only=True, tag="timing"):
    """Defaults as shares of a stated balance: `cumulative` times each month's share of `timing`.

    Each month's defaults are stated for all loans that share these assumptions; every loan defaults at the rate that
    gives them on the balance that is left. A tape in batches is taken a batch at a time. at_end: what becomes of
    defaults for which no balance is left, since the loans end or prepay before: they are refused (by default), with
    how much they are, or drop, and all that is left defaults. measure: cumulative says what defaults, or what is lost
    of it, which the severity of the month turns into defaults (before a loss cap). base: the original balances of the
    tape, or those at the cut-off.
    timing: shares that add up to 1, one for every `months_a_share` months from the cut-off, spread evenly within.
    """

    cumulative: float
    timing: list[float]
    measure: Literal["default", "loss"] = "default"
    base: Literal["original_balance", "cutoff_balance"] = "original_balance"
    months_a_share: int = 1
    at_end: Literal["refuse", "drop"] = "refuse"

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"period"})

    @property
    def months(self) -> int:
        """The months for which shares are stated."""
        return len(self.timing) * self.months_a_share

    def monthly(self, at: Ages) -> Rates:
        """The share of the base that each period states (not yet a rate on the balance left)."""
        shares = np.repeat(np.asarray(self.timing, dtype=np.float64), self.months_a_share) / self.months_a_share
        return self.cumulative * entry_of(shares, at, "zero")

    def problems(self, path: str) -> list[Problem]:
        found = out_of_range(f"{path}.cumulative", self.cumulative, 0, 1, UNIT_RANGE)
        if not 1 <= self.months_a_share <= 120:
            found.append(Problem(f"{path}.months_a_share", f"is {self.months_a_share}; expected months in [1, 120]"))
        for i, value in enumerate(self.timing):
            found += out_of_range(f"{path}.timing[{i}]", value, 0, 1, UNIT_RANGE)
        total = sum(self.timing)
        if not found and not abs(total - 1) <= 1e-9:
            found.append(Problem(f"{path}.timing", f"adds up to {total:.15g}; expected 1"))
        return found


AnyCurve = Cpr | Smm | Psa | Abs | Hep | Mhp | Cdr | Mdr | Sda | Vector | Timing | Scaled | Seasonal
PrepaymentCurve = Cpr | Smm | Psa | Abs | Hep | Mhp | Vector | Scaled | Seasonal
DefaultCurve = Cdr | Mdr | Sda | Vector | Timing | Scaled | Seasonal
PREPAYMENT_CURVES, DEFAULT_CURVES = get_args(PrepaymentCurve), get_args(DefaultCurve)


def misplaced(path: str, curve: Curve, units: tuple[str, ...]) -> list[Problem]:
    """A problem if the innermost curve is not of the units (PREPAYMENT_UNITS or DEFAULT_UNITS)."""
    leaf, allowed = curve.leaf, PREPAYMENT_CURVES if units is PREPAYMENT_UNITS else DEFAULT_CURVES
    while isinstance(curve, Wrapper):
        path, curve = f"{path}.curve", curve.curve
    if isinstance(leaf, Vector):
        if leaf.unit in units:
            return []
        return [Problem(f"{path}.unit", f"is '{leaf.unit}'; expected one of {', '.join(units)}")]
    if type(leaf) in allowed:  # a Cdr is a Cpr by class
        return []
    names = ", ".join(f"'{cls.__struct_config__.tag}'" for cls in allowed if not issubclass(cls, Wrapper))
    return [Problem(f"{path}.type", f"is '{leaf.__struct_config__.tag}'; expected one of {names}")]


class Burnout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Borrowers who could prepay leave, so that those who stay prepay less.

    The CPR of every month is multiplied by floor + (1 - floor) x survived x S, where S is the share of the loan that
    neither prepaid nor defaulted from the cut-off to the month's start, and `survived` that from origination to the
    cut-off: the pool factor without scheduled amortisation. Source: the burnout multiplier 0.3 + 0.7 B(t-1)/B(0) of
    Richard and Roll (1989), Prepayments on Fixed-Rate Mortgage-Backed Securities.
    """

    floor: float = 0.3
    survived: float = 1.0

    def problems(self, path: str) -> list[Problem]:
        """Every value out of range, with its path below `path`."""
        return [
            *out_of_range(f"{path}.floor", self.floor, 0, 1, UNIT_RANGE),
            *out_of_range(f"{path}.survived", self.survived, 0, 1, UNIT_RANGE),
        ]

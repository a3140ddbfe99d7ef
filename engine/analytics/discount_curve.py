"""Discount curves from zero rates, discount factors or par yields."""

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from engine.analytics.roots import Floats, floats
from engine.analytics.yields import Compounding, to_continuous
from engine.errors import InvalidInput, Problem

MAX_TIMES, MAX_YEARS = 2_000, 200


class DiscountCurve(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A discount curve at a list of times.

    times: years, rising, above 0. values: one a time, decimals. quote: what the values are: zero rates, discount
    factors or par yields. compounding: of the zero rates. payments_per_year: coupons of the par bonds, whose yields are
    interpolated linearly to every coupon date. interpolation: linear_zero is linear in the continuous zero rate,
    log_linear in the logarithm of the discount factor (flat forwards), linear_discount in the factor itself. Beyond the
    last time the continuous zero rate stays as it is, and with linear_zero before the first one too.
    """

    times: list[float]
    values: list[float]
    quote: Literal["zero", "discount", "par"] = "zero"
    compounding: Compounding = "continuous"
    payments_per_year: int = 2
    interpolation: Literal["linear_zero", "log_linear", "linear_discount"] = "linear_zero"

    def problems(self, path: str = "curve") -> list[Problem]:
        """Every fault, with its path below `path`."""
        times, values = np.asarray(self.times, dtype=float), np.asarray(self.values, dtype=float)
        found: list[Problem] = []
        if not 1 <= len(times) <= MAX_TIMES:
            found.append(Problem(f"{path}.times", f"has {len(times)} values; expected 1 to {MAX_TIMES}"))
        elif not np.all(np.diff(times, prepend=0.0) > 0) or not times[-1] <= MAX_YEARS:
            message = f"do not rise from above 0; expected rising years, at most {MAX_YEARS}"
            found.append(Problem(f"{path}.times", message))
        if len(values) != len(times):
            message = f"has {len(values)} values; expected one for each of the {len(times)} times"
            found.append(Problem(f"{path}.values", message))
        low, allowed = (0.0, "a factor above 0") if self.quote == "discount" else (-1.0, "a decimal above -1")
        for i, value in enumerate(values):
            if not low < value <= 10:
                found.append(Problem(f"{path}.values[{i}]", f"is {value:g}; expected {allowed}, at most 10"))
        if self.payments_per_year not in (1, 2, 4, 12):
            message = f"is {self.payments_per_year}; expected 1, 2, 4 or 12"
            found.append(Problem(f"{path}.payments_per_year", message))
        if self.compounding == "simple" and self.quote == "zero" and not found and np.any(values * times <= -1):
            found.append(Problem(f"{path}.values", "discount to nothing or less; expected 1 + rate x time above 0"))
        return found

    def knots(self) -> tuple[Floats, Floats]:
        """Times and the negative logarithms of their discount factors. Raises InvalidInput for a faulty curve."""
        if found := self.problems():
            raise InvalidInput(found)
        times, values = np.asarray(self.times, dtype=np.float64), np.asarray(self.values, dtype=np.float64)
        if self.quote == "discount":
            return times, -np.log(values)
        if self.quote == "par":
            return self.bootstrapped(times, values)
        if self.compounding == "simple":
            return times, np.log1p(values * times)
        return times, np.asarray(to_continuous(values, self.compounding) * times)

    def bootstrapped(self, times: Floats, par: Floats) -> tuple[Floats, Floats]:
        """Coupon dates and negative logarithms of factors at which each bond that pays its par yield is worth one."""
        step = 1 / self.payments_per_year
        dates = step * np.arange(1, int(np.ceil(times[-1] / step - 1e-9)) + 1)
        coupons = np.interp(dates, times, par) * step
        factors, annuity = np.empty(len(dates)), 0.0
        for i, coupon in enumerate(coupons):
            factors[i] = (1 - coupon * annuity) / (1 + coupon)
            annuity += factors[i]
        if np.any(factors <= 0):
            late = dates[int(np.argmax(factors <= 0))]
            raise InvalidInput([Problem("curve.values", f"leave no positive discount factor at {late:g} years")])
        return np.asarray(dates, dtype=np.float64), -np.log(factors)

    def zero_rates(self, times: ArrayLike) -> Floats:
        """Continuous zero rates at times in years, of their shape."""
        years = floats("times", times)
        knots, exponents = self.knots()
        within = np.minimum(years, knots[-1])
        if self.interpolation == "linear_zero":
            return np.asarray(np.interp(within, knots, exponents / knots))
        at, known = np.concatenate([[0.0], knots]), np.concatenate([[0.0], exponents])
        if self.interpolation == "log_linear":
            found = np.interp(within, at, known)
        else:
            found = -np.log(np.interp(within, at, np.exp(-known)))
        return np.asarray(np.where(within > 0, found, exponents[0]) / np.where(within > 0, within, knots[0]))

    def discount(self, times: ArrayLike) -> Floats:
        """Discount factors at times in years, of their shape."""
        years = floats("times", times)
        return np.asarray(np.exp(-self.zero_rates(years) * years))

    def forward_rates(self, times: ArrayLike) -> Floats:
        """Simple annual forward rates from each time to the next, one fewer than the times, the first of them >= 0."""
        years = floats("times", times)
        factors = self.discount(years)
        return np.asarray((factors[:-1] / factors[1:] - 1) / np.diff(years))

    def shifted(self, shift: float) -> "DiscountCurve":
        """The curve with every continuous zero rate moved by the shift, a decimal."""
        knots, exponents = self.knots()
        return self.with_zero_rates(knots, exponents / knots + shift)

    def key_rate_shifted(self, tenors: ArrayLike, index: int, shift: float) -> "DiscountCurve":
        """The curve with its continuous zero rates moved within the tent of one of the tenors."""
        keys = floats("tenors", tenors)
        knots, _ = self.knots()
        # The tent's corners become times of the curve, so that it is a tent between them too.
        times = np.union1d(knots, keys)
        tent = np.interp(times, keys, np.eye(len(keys))[index])
        return self.with_zero_rates(times, self.zero_rates(times) + shift * tent)

    def with_zero_rates(self, times: Floats, rates: Any) -> "DiscountCurve":
        return DiscountCurve(times=times.tolist(), values=rates.tolist(), interpolation=self.interpolation)

"""Rate paths: what an index is worth each month from the cut-off, by its name in `Assumptions.rates`.

`values(months, cutoff)` takes whole months from the cut-off (0 is the cut-off itself, negative ones lie before it) and
returns annual rates, decimals. Before the cut-off a path gives what `history` says, else its first value. Shocks are
added to the values from the cut-off on; history stays what it was.
"""

import datetime
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.dates import move_months
from engine.errors import Problem

Months = NDArray[np.int64]
Rates = NDArray[np.float64]
RATE_RANGE = "a decimal in [-1, 1]"
MAX_MONTHS = 4_800


class Shock(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the shocks: an amount, as a decimal, that is added to a path (0.01 for 100 basis points)."""

    amount: float

    def added(self, months: Months) -> Rates:
        """What is added in each month from the cut-off, float64 of the shape of `months`."""
        raise AssertionError(f"{type(self).__name__} has no added()")

    def problems(self, path: str) -> list[Problem]:
        """Every value out of range, with its path below `path`."""
        return rate_problems(f"{path}.amount", self.amount)


class ParallelShock(Shock, frozen=True, tag="parallel"):
    """The same amount in every month."""

    def added(self, months: Months) -> Rates:
        return np.full(months.shape, self.amount)


class KeyRateShock(Shock, frozen=True, tag="key_rate"):
    """A tent: the amount in `month`, falling in a line to nothing at the months `before` and `after`.

    A side that is not given does not fall: the first key rate reaches back to the cut-off, the last one on for ever.
    Tents whose neighbours are each other's `before` and `after` add up to a parallel shock.
    """

    month: int
    before: int | None = None
    after: int | None = None

    def added(self, months: Months) -> Rates:
        left = -np.inf if self.before is None else float(self.before)
        right = np.inf if self.after is None else float(self.after)
        rising = np.ones(months.shape) if self.before is None else (months - left) / (self.month - left)
        falling = np.ones(months.shape) if self.after is None else (right - months) / (right - self.month)
        return self.amount * np.clip(np.where(months <= self.month, rising, falling), 0.0, 1.0)

    def problems(self, path: str) -> list[Problem]:
        found = rate_problems(f"{path}.amount", self.amount)
        for name, month in (("before", self.before), ("month", self.month), ("after", self.after)):
            if month is not None and not 0 <= month <= MAX_MONTHS:
                found.append(Problem(f"{path}.{name}", f"is {month}; expected whole months in [0, {MAX_MONTHS}]"))
        if self.before is not None and self.before >= self.month:
            found.append(Problem(f"{path}.before", f"is {self.before}; expected a month before {self.month}"))
        if self.after is not None and self.after <= self.month:
            found.append(Problem(f"{path}.after", f"is {self.after}; expected a month after {self.month}"))
        return found


class Path(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the rate paths.

    history: annual rates before the cut-off, the latest first (one month before it, two months before, ..); further
    back its last value holds. shocks: added to the months from the cut-off on.
    """

    history: list[float] | None = None
    shocks: list[ParallelShock | KeyRateShock] | None = None

    def unshocked(self, months: Months, cutoff: datetime.date | None) -> Rates:
        """Annual rates before shocks, float64 of the shape of `months` (each 0 or more)."""
        raise AssertionError(f"{type(self).__name__} has no unshocked()")

    def before(self, months: Months, cutoff: datetime.date | None) -> Rates:
        """Annual rates of months before the cut-off, each negative."""
        past = self.history or [float(self.unshocked(np.zeros(1, dtype=np.int64), cutoff)[0])]
        return np.asarray(past, dtype=np.float64)[np.minimum(-months - 1, len(past) - 1)]

    def tells(self, months: Months, cutoff: datetime.date | None) -> bool:
        """Whether the values of these months before the cut-off are stated, none held back from a later month."""
        return len(self.history or ()) >= -int(months.min(initial=0))

    def values(self, months: Months, cutoff: datetime.date | None) -> Rates:
        """Annual rates, float64 of the shape of `months`, shocks included."""
        ahead = np.maximum(months, 0)
        rates = self.unshocked(ahead, cutoff)
        for shock in self.shocks or []:
            rates = rates + shock.added(ahead)
        past = months < 0
        if past.any():
            rates[past] = self.before(months[past], cutoff)
        return rates

    def problems(self, path: str) -> list[Problem]:
        """Every value out of range, with its path below `path`."""
        found = [] if self.history is None else listed(f"{path}.history", self.history)
        for i, shock in enumerate(self.shocks or []):
            found += shock.problems(f"{path}.shocks[{i}]")
        return found


class FlatRate(Path, frozen=True, tag="flat"):
    """The same rate in every month."""

    rate: float

    def unshocked(self, months: Months, cutoff: datetime.date | None) -> Rates:
        return np.full(months.shape, self.rate)

    def problems(self, path: str) -> list[Problem]:
        return rate_problems(f"{path}.rate", self.rate) + super().problems(path)


class MonthlyRates(Path, frozen=True, tag="path"):
    """One rate a month: entry k is k months after the cut-off, entry 0 at it.

    beyond: past the end the last value holds, or the rate falls to zero.
    """

    rates: list[float]
    beyond: Literal["last", "zero"] = "last"

    def unshocked(self, months: Months, cutoff: datetime.date | None) -> Rates:
        known = np.asarray(self.rates, dtype=np.float64)
        rates = known[np.minimum(months, len(known) - 1)]
        return np.where(months >= len(known), 0.0, rates) if self.beyond == "zero" else rates

    def problems(self, path: str) -> list[Problem]:
        return listed(f"{path}.rates", self.rates) + super().problems(path)


class DatedRates(Path, frozen=True, tag="dated"):
    """Rates on given dates, read on the payment dates from the request's `cutoff_date`.

    interpolation: linear in days between two dates, or step, where a rate holds until the next date. Before the
    first date its rate holds, after the last one its. Dates before the cut-off are history.
    """

    dates: list[datetime.date]
    rates: list[float]
    interpolation: Literal["linear", "step"] = "linear"

    def unshocked(self, months: Months, cutoff: datetime.date | None) -> Rates:
        assert cutoff is not None
        at = move_months(np.array(cutoff, dtype="datetime64[D]"), months).astype(np.int64)
        known = np.array(self.dates, dtype="datetime64[D]").astype(np.int64)
        rates = np.asarray(self.rates, dtype=np.float64)
        if self.interpolation == "linear":
            return np.interp(at, known, rates)
        return rates[np.maximum(np.searchsorted(known, at, side="right") - 1, 0)]

    def before(self, months: Months, cutoff: datetime.date | None) -> Rates:
        return super().before(months, cutoff) if self.history else self.unshocked(months, cutoff)

    def tells(self, months: Months, cutoff: datetime.date | None) -> bool:
        if self.history is not None or cutoff is None:
            return super().tells(months, cutoff)
        at = move_months(np.array(cutoff, dtype="datetime64[D]"), months)
        return bool((at >= np.datetime64(self.dates[0], "D")).all())

    def problems(self, path: str) -> list[Problem]:
        found = listed(f"{path}.rates", self.rates) + super().problems(path)
        if len(self.dates) != len(self.rates):
            message = f"has {len(self.dates)} values; expected {len(self.rates)}, one a rate"
            found.append(Problem(f"{path}.dates", message))
        found += increasing(f"{path}.dates", self.dates)
        return found


class Forwards(Path, frozen=True, tag="forwards"):
    """Forward rates of a discount curve: simple rates over `tenor` months, twelve to the year.

    Exactly one of discount_factors and zero_rates, at `months` from the cut-off (each 1 or more; the factor at 0 is 1).
    Zero rates are annual, compounded once a year or continuously. Between the months the logarithm of the
    factor is linear, past the last the forward rate of the last interval holds. The value in month k is
    (D(k)/D(k + tenor) - 1) x 12/tenor.
    """

    tenor: int
    months: list[int]
    discount_factors: list[float] | None = None
    zero_rates: list[float] | None = None
    compounding: Literal["annual", "continuous"] = "annual"

    def unshocked(self, months: Months, cutoff: datetime.date | None) -> Rates:
        growth = self.logarithms(months + self.tenor) - self.logarithms(months)
        rates: Rates = np.expm1(-growth) * (12 / self.tenor)
        return rates

    def logarithms(self, months: Months) -> Rates:
        """Logarithms of the discount factors at the months."""
        known = np.array([0, *self.months], dtype=np.float64)
        if self.discount_factors is not None:
            logs = np.log([1.0, *self.discount_factors])
        else:
            zero = np.asarray(self.zero_rates, dtype=np.float64)
            continuous = np.log1p(zero) if self.compounding == "annual" else zero
            logs = np.concatenate([[0.0], -continuous * known[1:] / 12])
        last = (logs[-1] - logs[-2]) / (known[-1] - known[-2])
        within = np.interp(months, known, logs)
        return np.where(months > known[-1], logs[-1] + last * (months - known[-1]), within)

    def problems(self, path: str) -> list[Problem]:
        found = super().problems(path) + increasing(f"{path}.months", self.months)
        if not 1 <= self.tenor <= 600:
            found.append(Problem(f"{path}.tenor", f"is {self.tenor}; expected whole months in [1, 600]"))
        found += [
            Problem(f"{path}.months[{i}]", f"is {month}; expected whole months in [1, {MAX_MONTHS}]")
            for i, month in enumerate(self.months)
            if not 1 <= month <= MAX_MONTHS
        ]
        if (self.discount_factors is None) == (self.zero_rates is None):
            both = "has zero_rates too" if self.zero_rates is not None else "is missing, and so are zero_rates"
            return [*found, Problem(f"{path}.discount_factors", f"{both}; expected exactly one of the two")]
        name, given = ("zero_rates", self.zero_rates) if self.zero_rates is not None else (
            "discount_factors", self.discount_factors)  # fmt: skip
        assert given is not None
        if len(given) != len(self.months):
            message = f"has {len(given)} values; expected {len(self.months)}, one a month"
            found.append(Problem(f"{path}.{name}", message))
        low, allowed = (-0.5, "a decimal in [-0.5, 1]") if name == "zero_rates" else (1e-9, "a factor in (0, 2]")
        high = 1.0 if name == "zero_rates" else 2.0
        found += [
            Problem(f"{path}.{name}[{i}]", f"is {value:g}; expected {allowed}")
            for i, value in enumerate(given)
            if not low <= value <= high
        ]
        return found


RatePath = FlatRate | MonthlyRates | DatedRates | Forwards


def rate_problems(path: str, rate: float) -> list[Problem]:
    """A one-element list if the rate is not a number in [-1, 1], else an empty one."""
    if -1 <= rate <= 1:
        return []
    hint = f" ({rate:g}% is {rate / 100:g})" if 1 < abs(rate) <= 100 else ""
    return [Problem(path, f"is {rate:g}; expected {RATE_RANGE}{hint}")]


def listed(path: str, rates: list[float]) -> list[Problem]:
    """What is wrong with a list of rates."""
    if not rates:
        return [Problem(path, "is empty; expected at least one rate")]
    return [problem for i, rate in enumerate(rates) for problem in rate_problems(f"{path}[{i}]", rate)]


def increasing(path: str, points: Sequence[int] | Sequence[datetime.date]) -> list[Problem]:
    """What is wrong with points that are to rise strictly."""
    if not points:
        return [Problem(path, "is empty; expected at least one")]
    return [
        Problem(f"{path}[{i}]", f"is {points[i]}, after {points[i - 1]}; expected later ones to be later")
        for i in range(1, len(points))
        if not points[i - 1] < points[i]  # type: ignore[operator]
    ]


class RateTables(msgspec.Struct, frozen=True, kw_only=True):
    """Index values by month: float64 (sets, indices, months), annual, entry `past` is the cut-off.

    A set is what scenarios with the same values share; set_of_scenario says which is whose.
    """

    values: NDArray[np.float64]
    set_of_scenario: tuple[int, ...]
    past: int


def rate_tables(
    paths: Sequence[dict[str, RatePath]],
    indices: Sequence[str],
    past: int,
    months: int,
    cutoff: datetime.date | None,
) -> RateTables:
    """The values of the indices in each scenario, from `past` months before the cut-off to `months` after it.

    paths: the rate paths of each scenario, every index among them.
    """
    at = np.arange(-past, months + 1, dtype=np.int64)
    found: dict[bytes, int] = {}
    tables: list[NDArray[np.float64]] = []
    which = []
    for named in paths:
        table = np.array([named[index].values(at, cutoff) for index in indices]).reshape(len(indices), len(at))
        which.append(found.setdefault(table.tobytes(), len(tables)))
        if which[-1] == len(tables):
            tables.append(table)
    return RateTables(values=np.array(tables), set_of_scenario=tuple(which), past=past)

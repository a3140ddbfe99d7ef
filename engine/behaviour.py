"""Resolves a request's scenarios into the monthly rate tables and rules that the core reads."""

import datetime
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import _core
from engine.assumptions import PRESETS, Assumptions, Conventions, Scenario
from engine.curves import Curve, Rates, Vector
from engine.errors import AssumptionError, Problem
from engine.loan_arrays import LoanArrays
from engine.request import ProjectionRequest

PREPAYMENT_BASES = ("gross", "net_of_defaults", "opening_net_of_defaults")
ADVANCING = ("none", "interest", "principal_and_interest")


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """Tables over (scenarios, sets of assumptions): monthly rates by age or period, and rules.

    smm, mdr: float64 (scenarios, sets, months), entry t is month or age t, entry 0 unused. set_of_group: int32, the
    set of each group index, the last entry for loans without a group.
    """

    smm: NDArray[np.float64]
    mdr: NDArray[np.float64]
    rules: NDArray[np.void]
    set_of_group: NDArray[np.int32]
    scenarios: int
    by_age: bool
    stops: bool
    longest_lag: int


def behaviour_of(request: ProjectionRequest, loans: LoanArrays) -> Behaviour:
    """The tables of the request's scenarios for these loans. Raises AssumptionError with every fault found."""
    conventions = conventions_of(request.conventions)
    bases = bases_of(request)
    names = sorted({group for base in bases for group in base.groups or {}} & set(loans.groups))
    sets = [[base, *((base.groups or {}).get(name, base) for name in names)] for base in bases]
    set_of_group = np.zeros(len(loans.groups) + 1, dtype=np.int32)
    for i, name in enumerate(names):
        set_of_group[loans.groups.index(name)] = i + 1
    every = [each for row in sets for each in row]
    defaults = [each for each in every if each.default is not None]
    longest_lag = max((each.recovery_lag for each in defaults), default=0)
    months = int(loans.term.max()) + longest_lag if len(loans) else 0
    by_age = any(curve.by_age for each in every for curve in (each.prepayment, each.default) if curve is not None)
    ages = np.arange(1, months + (int(loans.age.max()) if len(loans) and by_age else 0) + 2, dtype=np.int64)
    days = days_of_periods(request.cutoff_date, len(ages)) if conventions.period_length == "actual_days" else None
    rules = np.zeros((len(sets), len(sets[0])), dtype=_core.RULES)
    shape = (len(sets), len(sets[0]), len(ages) + 1)
    smm, mdr = np.zeros(shape), np.zeros(shape)
    for s, row in enumerate(sets):
        for k, each in enumerate(row):
            rules[s, k] = rule_of(each, conventions)
            mdr[s, k, 1:] = monthly(each.default, ages, days)
            smm[s, k, 1:] = monthly(each.prepayment, ages, days)
    return Behaviour(
        smm=smm, mdr=mdr, rules=rules, set_of_group=set_of_group, scenarios=len(sets), by_age=by_age,
        stops=bool(rules["stop"].any()), longest_lag=longest_lag,
    )  # fmt: skip


def monthly(curve: Curve | None, ages: NDArray[np.int64], days: NDArray[np.int64] | None) -> Rates | float:
    """Rates of each period or age; annual rates of a period by its days of 365 where days are given."""
    if curve is None:
        return 0.0
    rates = curve.monthly(ages)
    if days is None or not curve.is_annual:
        return rates
    return 1 - np.power(1 - rates, 12 * days / 365)


def days_of_periods(cutoff: datetime.date | None, periods: int) -> NDArray[np.int64]:
    """Days from each payment date to the next, the first from the cut-off; the day is clipped to the month's end."""
    if cutoff is None:
        message = "is missing; the actual days of period_length count from it"
        raise AssumptionError([Problem("cutoff_date", message)])
    months = np.datetime64(cutoff, "M") + np.arange(periods + 1)
    last = (months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")
    day = np.minimum(last.astype(np.int64), cutoff.day) - 1
    days: NDArray[np.int64] = np.diff(months.astype("datetime64[D]").astype(np.int64) + day)
    return days


def rule_of(each: Assumptions, conventions: Conventions) -> tuple[float | int, ...]:
    """The row of RULES for one set of assumptions."""
    stop = (
        each.default is not None
        and each.recovery_lag > 0
        and conventions.final_defaults == "stop_before_maturity"
        and not isinstance(each.default, Vector)
    )
    return (
        each.severity,
        each.recovery_lag,
        ADVANCING.index(each.advancing),
        each.prepayment is not None and each.prepayment.by_age,
        each.default is not None and each.default.by_age,
        stop,
        conventions.servicing_fee_base == "total",
        PREPAYMENT_BASES.index(conventions.prepayment_base),
        conventions.interest_base == "survivors",
    )


def conventions_of(given: str | Conventions) -> Conventions:
    """The Struct that a preset's name stands for. Raises AssumptionError for a name that is no preset."""
    if isinstance(given, Conventions):
        return given
    if given not in PRESETS:
        allowed = ", ".join(repr(name) for name in PRESETS)
        raise AssumptionError([Problem("conventions", f"is {given!r}; expected one of {allowed}, or the Struct")])
    return PRESETS[given]


def bases_of(request: ProjectionRequest) -> Sequence[Assumptions]:
    """The assumptions of each scenario, checked. Raises AssumptionError with every fault found."""
    problems = request.assumptions.problems("assumptions")
    if request.scenarios is None:
        bases = [request.assumptions]
    else:
        bases = [each.assumptions or request.assumptions for each in request.scenarios]
        problems += scenario_problems(request.scenarios)
    if problems:
        raise AssumptionError(problems)
    return bases


def scenario_problems(scenarios: list[Scenario]) -> list[Problem]:
    if not scenarios:
        return [Problem("scenarios", "is empty; expected at least one, or none at all for the request's assumptions")]
    found: list[Problem] = []
    seen: dict[str, int] = {}
    for i, each in enumerate(scenarios):
        if not each.name:
            found.append(Problem(f"scenarios[{i}].name", "is empty; expected a name"))
        if each.name in seen:
            message = f"is {each.name!r}, as scenarios[{seen[each.name]}] is; expected names that differ"
            found.append(Problem(f"scenarios[{i}].name", message))
        seen.setdefault(each.name, i)
        if each.assumptions is not None:
            found += each.assumptions.problems(f"scenarios[{i}].assumptions")
    return found

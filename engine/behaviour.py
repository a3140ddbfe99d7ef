"""Resolves a request's scenarios into the monthly rate tables and rules that the core reads."""

import datetime
from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import _core
from engine.arrears import missed_payments, terms_held
from engine.assumptions import PRESETS, Assumptions, Conventions, Scenario
from engine.composed_curves import Timing
from engine.curtailments import check_curtailments, curtailment_rule
from engine.curves import Curve, Rates, Vector, When
from engine.errors import AssumptionError, Problem, one_of
from engine.loan_arrays import LoanArrays
from engine.month_patterns import patterns_of
from engine.request import ProjectionRequest
from engine.segments import DEFAULTED, Segments, check_assets, segments_of
from engine.severity import LtvSeverity, PropertySeverity, SeverityVector
from engine.timing import ContractSums, timed_default

PREPAYMENT_BASES = ("gross", "net_of_defaults", "opening_net_of_defaults")
ADVANCING = ("none", "interest", "principal_and_interest")
# Rates in all tables: a quarter of a gigabyte, twice that while they are put together. Only curves by both age and
# period make tables of loan ages x months.
MAX_RATES = 2**25
# Curves of more bytes are not remembered between requests.
LONGEST_KEY = 4096


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """Monthly rates, and rules over (scenarios, sets of assumptions) that say where in them each curve begins.

    rates: float64, one curve after the other. members: int32, the set of each loan, or one entry for all. pattern:
    where in rates is told what each month is to a loan, 0 for one that pays every month; none where all do. missed:
    int32, payments that the loans of each set have missed at the cut-off, of those with roll rates. held: bool, whether
    their terms at the cut-off are taken to have held in those months.
    """

    rates: NDArray[np.float64]
    rules: NDArray[np.void]
    members: NDArray[np.int32]
    by_age: bool
    stops: bool
    longest_lag: int
    curtails: bool = False
    per_loan_losses: bool = False
    pattern: NDArray[np.int64] | None = None
    missed: NDArray[np.int32] = msgspec.field(default_factory=lambda: np.zeros(1, dtype=np.int32))
    held: NDArray[np.bool_] = msgspec.field(default_factory=lambda: np.zeros(1, dtype=bool))

    @property
    def scenarios(self) -> int:
        return len(self.rules)

    def taken(self, index: NDArray[np.int64]) -> "Behaviour":
        """That of the loans at the index, in its order."""
        members = self.members[index] if len(self.members) > 1 else self.members
        pattern = None if self.pattern is None else self.pattern[index]
        return msgspec.structs.replace(self, members=members, pattern=pattern)


class Tables:
    """Monthly rates of distinct curves, one after the other, each read at place + stride x age + month.

    A curve by period has stride 0, one by age stride 1; one by both is a row of months for every age.
    """

    def __init__(self, months: int, oldest: int, days: NDArray[np.int64] | None, cutoff_month: int | None) -> None:
        self.months, self.oldest, self.days = months, oldest, days
        self.cutoff_month = cutoff_month
        self.parts: list[Rates] = [np.zeros(months + oldest + 2)]
        self.begins = [0]
        self.size = len(self.parts[0])
        self.known: dict[bytes, tuple[int, int]] = {}

    def place(self, curve: Curve | None) -> tuple[int, int]:
        """Where the curve's rates begin, and their stride; zeros for none. Raises AssumptionError past MAX_RATES."""
        if curve is None:
            return 0, 0
        key = msgspec.msgpack.encode(curve)
        if key not in self.known:
            rows, stride = self.rows(curve, key)
            self.known[key] = self.put(rows), stride
        return self.known[key]

    def keep(self, values: Rates) -> int:
        """Where values begin that are kept once however often they are asked for."""
        key = values.tobytes()
        if key not in self.known:
            self.known[key] = self.put(values), 0
        return self.known[key][0]

    def put(self, rates: Rates) -> int:
        """Where the rates begin once they are added to the tables."""
        begin = self.size
        self.size += rates.size
        if self.size > MAX_RATES:
            message = "has too many rates by age and period; expected fewer scenarios at once, or curves by one of them"
            raise AssumptionError([Problem("assumptions", message)])
        self.parts.append(rates.reshape(-1))
        self.begins.append(begin)
        return begin

    def at(self, begin: int) -> Rates:
        """The rates that begin at a place."""
        return self.parts[self.begins.index(begin)]

    def rows(self, curve: Curve, key: bytes) -> tuple[Rates, int]:
        """The curve's table, entry 0 of each row unused, and its stride. key: the curve as MessagePack."""
        by_both = "age" in curve.reads and len(curve.reads) > 1
        if self.days is None and not by_both and len(key) <= LONGEST_KEY:
            return remembered(key, type(curve), self.months, self.oldest, self.cutoff_month)
        return rows_of(curve, self.months, self.oldest, self.days, self.cutoff_month)


def rows_of(
    curve: Curve, months: int, oldest: int, days: NDArray[np.int64] | None, cutoff_month: int | None
) -> tuple[Rates, int]:
    """A curve's table as Tables.rows; days: of each period, by which annual rates are turned into those of it."""
    reads = curve.reads
    by_both = "age" in reads and len(reads) > 1
    when = months_from_cutoff(months + (oldest if reads == {"age"} else 0), cutoff_month)
    if by_both:
        age = np.maximum(np.arange(oldest + 1, dtype=np.int64)[:, None] + np.arange(0, months + 1, dtype=np.int64), 1)
        when = When(age, when.period, when.calendar_month)
    found = curve.rates(when)
    if days is not None and curve.is_annual:
        found[..., 1:] = 1 - np.power(1 - found[..., 1:], 12 * days[:months] / 365)
    if found.shape != when.age.shape:
        found = np.broadcast_to(found, when.age.shape)
    return found, when.age.shape[-1] if by_both else int(reads == {"age"})


@lru_cache(maxsize=4)
def months_from_cutoff(months: int, cutoff_month: int | None) -> When:
    """Months 0 .. months by period, and by age of a new loan, of which 0 is read as 1; for reading only."""
    period = np.arange(0, months + 1, dtype=np.int64)
    calendar = None if cutoff_month is None else (cutoff_month - 1 + period) % 12 + 1
    period = np.maximum(period, 1)
    for axis in (period, calendar):
        if axis is not None:
            axis.flags.writeable = False
    return When(period, period, calendar)


@lru_cache(maxsize=256)
def remembered(key: bytes, kind: type[Curve], months: int, oldest: int, cutoff_month: int | None) -> tuple[Rates, int]:
    """The table of a curve that is one row, for reading only: requests come with the same few curves over and over."""
    rows, stride = rows_of(msgspec.msgpack.decode(key, type=kind), months, oldest, None, cutoff_month)
    rows.flags.writeable = False
    return rows, stride


def behaviour_of(
    request: ProjectionRequest, conventions: Conventions, bases: Sequence[Assumptions], loans: LoanArrays,
    contract_sums: ContractSums,
) -> Behaviour:  # fmt: skip
    """The tables of the request's scenarios for these loans. Raises AssumptionError with every fault found.

    conventions, bases: those of the request, checked; see conventions_of and bases_of.
    """
    segments = segments_of(bases, loans)
    check_assets(segments, loans, conventions)
    missed, held = missed_payments(segments), terms_held(segments)
    every = [each for row in segments.sets for each in row]
    longest_lag = max((each.last_flow for each in every), default=0)
    curves: list[Curve] = [curve for each in every for curve in each.curves]
    by_age = any("age" in curve.reads for curve in curves)
    tables = tables_of(request, conventions, loans, longest_lag, curves)
    rules = np.zeros((len(segments.sets), len(segments.sets[0])), dtype=_core.RULES)
    insured = bool(loans.mortgage_insurance.any())
    valued = check_values(segments, loans)
    for s, row in enumerate(segments.sets):
        for k, each in enumerate(row):
            defaulted = segments.states[k] >= DEFAULTED
            under = since_default(conventions, segments.states[k] - DEFAULTED) if defaulted else conventions
            first = rule_of(each, under, tables) + loss_rule(each, under, tables, insured)
            curtailed, helped = curtailment_rule(each, conventions, tables), workout_rule(each, tables, insured)
            rules[s, k] = (*first, each.residual_share, defaulted, *curtailed, *helped, missed[k])
    check_curtailments(loans, segments, conventions)
    timed(request, loans, segments, tables, rules, contract_sums)
    pattern = patterns_of(loans, tables, every, conventions, curves)
    return Behaviour(
        rates=np.concatenate(tables.parts), rules=rules, members=segments.members, by_age=by_age,
        stops=bool(rules["stop"].any()), longest_lag=longest_lag,
        curtails=any(each.curtailment is not None for each in every), per_loan_losses=insured or valued,
        pattern=pattern, missed=missed, held=held,
    )  # fmt: skip


def since_default(conventions: Conventions, months: int) -> Conventions:
    """The conventions for loans that defaulted so many months before the cut-off, as if they did in the first month.

    Their advances began with the first payment missed, in the month of default or, where that was still paid, the next.
    """
    left = conventions.advance_months
    if left is not None:
        left = max(left - months - (conventions.default_base == "opening"), 0)
    return msgspec.structs.replace(conventions, default_base="opening", advance_months=left)


def no_behaviour(months: int) -> Behaviour:
    """Nobody prepays or defaults, for as many months."""
    rules = np.zeros((1, 1), dtype=_core.RULES)
    rules["burnout_floor"] = rules["residual_share"] = 1
    return Behaviour(
        rates=np.zeros(months + 1), rules=rules, members=np.zeros(1, dtype=np.int32), by_age=False, stops=False,
        longest_lag=0,
    )  # fmt: skip


def tables_of(
    request: ProjectionRequest, conventions: Conventions, loans: LoanArrays, lag: int, curves: list[Curve]
) -> Tables:
    """Empty tables for the request's curves. Raises AssumptionError where a date is missing."""
    months = int(loans.term.max()) + lag if len(loans) else 0
    by_age = any("age" in curve.reads for curve in curves)
    oldest = max(int(loans.age.max()), 0) if len(loans) and by_age else 0
    days = days_of_periods(request.cutoff_date, months) if conventions.period_length == "actual_days" else None
    if request.cutoff_date is None and any("calendar_month" in curve.reads for curve in curves):
        raise AssumptionError([Problem("cutoff_date", "is missing; curves by calendar month count from it")])
    month = None if request.cutoff_date is None else request.cutoff_date.month
    return Tables(months, oldest, days, month)


def timed(
    request: ProjectionRequest,
    loans: LoanArrays,
    segments: Segments,
    tables: Tables,
    rules: NDArray[np.void],
    contract_sums: ContractSums,
) -> None:
    """Puts the rates of timing curves into the tables, and their place into OUT rules."""
    timed_sets = {k for row in segments.sets for k, each in enumerate(row) if isinstance(each.default, Timing)}
    for k in sorted(timed_sets):
        sums = contract_sums(np.broadcast_to(segments.members == k, (len(loans),)), tables.months)
        for s, row in enumerate(segments.sets):
            default = row[k].default
            if isinstance(default, Timing):
                part = sums(s)
                if default.base == "original_balance" and np.isnan(part.original_balance):
                    raise AssumptionError([Problem("tape", "has loans without original_balance, which timing takes")])
                prepayment = tables.at(int(rules[s, k]["prepayment_at"]))
                rates = timed_default(row[k], rules[s, k], prepayment, part, tables.months)
                rules[s, k]["default_at"] = tables.put(rates)


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


def rule_of(each: Assumptions, conventions: Conventions, tables: Tables) -> tuple[float | int, ...]:
    """The row of RULES for one set of assumptions; a timing curve has no rates yet."""
    is_timed = isinstance(each.default, Timing)
    prepayment_at, prepayment_stride = tables.place(each.prepayment)
    default_at, default_stride = tables.place(None if is_timed else each.default)
    stop = (
        each.default is not None
        and each.lag > 0
        and conventions.final_defaults == "stop_before_maturity"
        and not isinstance(each.default.leaf, Vector | Timing)
    )
    return (
        each.severity if isinstance(each.severity, float | int) else 0.0,
        each.lag,
        ADVANCING.index(each.advancing),
        prepayment_at,
        default_at,
        prepayment_stride,
        default_stride,
        1.0 if each.burnout is None else each.burnout.floor,
        0.0 if each.burnout is None else (1 - each.burnout.floor) * each.burnout.survived,
        stop,
        conventions.servicing_fee_base == "total",
        PREPAYMENT_BASES.index(conventions.prepayment_base),
        conventions.interest_base == "survivors",
    )


def workout_rule(each: Assumptions, tables: Tables, insured: bool) -> tuple[int, int]:
    """The columns workout and workout_at of RULES. Raises AssumptionError for losses that depend on the loan."""
    table = None if each.delinquency is None else each.delinquency.workouts()
    if table is None:
        return 0, 0
    if insured or not isinstance(each.severity, float | int | SeverityVector):
        what = "mortgage_insurance on the tape" if insured else "a severity by the property"
        message = f"has forbearance or modification beside {what}, which goes by each loan's balance at default"
        raise AssumptionError([Problem("assumptions.delinquency", f"{message}; expected a share or a vector")])
    changed = None if each.delinquency is None else each.delinquency.modification
    return 1 + (changed is not None and changed.arrears == "capitalized"), tables.keep(table)


def loss_rule(each: Assumptions, conventions: Conventions, tables: Tables, insured: bool) -> tuple[float | int, ...]:
    """The rest of the row of RULES: what ext/loss.pxi reads, where anything there applies."""
    after = conventions.default_base == "after_scheduled_principal"
    recoups = conventions.recoup == "at_liquidation" and each.advancing != "none"
    months = 10**6 if conventions.advance_months is None else conventions.advance_months
    partial = conventions.advance_share < 1 or conventions.advance_months is not None
    scalar = isinstance(each.severity, float | int)
    general = (
        after or recoups or partial or insured or not scalar or conventions.loss_timing == "default"
        or each.recovery_stages is not None or each.delinquency is not None
    )  # fmt: skip
    if not general:
        return (0,) * 17
    shares = np.asarray(each.stages[: each.lag + 1], dtype=np.float64)
    remaining = np.append(np.cumsum(shares[:0:-1])[::-1], 0.0)
    # A cohort that is still there j months on missed its first payment j + 1 months ago, or j if it paid that month.
    is_advanced = np.arange(len(remaining)) + 2 - after <= months
    severity, proceeds_at, ltv_at, minimum = np.zeros(tables.months + 1), -1, -1, 0.0
    if isinstance(each.severity, PropertySeverity):
        proceeds_at = tables.keep(each.severity.proceeds(tables.months))
        minimum = each.severity.minimum
    elif isinstance(each.severity, LtvSeverity):
        proceeds_at = tables.keep(each.severity.values(tables.months))
        ltv_at = tables.keep(each.severity.table())
    elif isinstance(each.severity, SeverityVector):
        severity = each.severity.by_month(tables.months)
    else:
        severity += each.severity
    late = 0 if each.delinquency is None else each.delinquency.buckets
    if late and after:
        message = f"is {conventions.default_base!r}; expected 'opening' with delinquency, whose defaults are late loans"
        raise AssumptionError([Problem("conventions.default_base", message)])
    by_liquidation = isinstance(each.severity, SeverityVector | LtvSeverity) and each.severity.month == "liquidation"
    return (
        1, after, conventions.loss_timing == "default", by_liquidation, insured, recoups, late,
        0 if each.delinquency is None else tables.keep(each.delinquency.table()), tables.keep(shares),
        tables.keep(remaining), tables.keep(remaining * is_advanced * conventions.advance_share),
        tables.keep(severity), proceeds_at, ltv_at, months, conventions.advance_share, minimum,
    )  # fmt: skip


def check_values(segments: Segments, loans: LoanArrays) -> bool:
    """Whether a set of assumptions takes the property's value. Raises AssumptionError for loans in it without one."""
    by_value = PropertySeverity | LtvSeverity
    valued = {k for row in segments.sets for k, each in enumerate(row) if isinstance(each.severity, by_value)}
    for k in valued:
        if np.isnan(loans.property_value[np.broadcast_to(segments.members == k, (len(loans),))]).any():
            message = "has loans without property_value or ltv, one of which a severity by property takes"
            raise AssumptionError([Problem("tape", message)])
    return bool(valued)


def conventions_of(given: str | Conventions) -> Conventions:
    """The Struct that a preset's name stands for. Raises AssumptionError for a name that is no preset."""
    if isinstance(given, Conventions):
        if problems := given.problems("conventions"):
            raise AssumptionError(problems)
        return given
    if given not in PRESETS:
        message = f"is {given!r}; expected the Struct, or {one_of(given, PRESETS)}"
        raise AssumptionError([Problem("conventions", message)])
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

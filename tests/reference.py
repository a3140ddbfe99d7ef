"""The reference model: plain Python, one loan, one month at a time, in closed form where that is clearer.

It restates the conventions without sharing a line with the kernel or the curves, and is as slow as it is plain.
"""

import datetime
import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any

from msgspec import structs

from engine import Assumptions, Conventions, Loan, Vector

Columns = dict[str, list[float]]
FIELDS = [
    "balance", "interest", "scheduled_principal", "prepayment", "default", "recovery", "loss", "servicing_fee",
    "net_interest", "principal", "cashflow", "foreclosure", "expected_interest", "lost_interest", "expected_principal",
    "advanced_interest", "advanced_principal", "liquidation", "mortgage_insurance", "recouped_advances",
    "delinquent_30", "delinquent_60", "delinquent_90", "delinquent_120",
    "draw", "other_income", "shortfall", "prepayment_penalty", "curtailment",
    "forbearance", "modified",
]  # fmt: skip


def monthly(annual: float) -> float:
    """1 - (1 - annual)^(1/12), without losing the digits of a small rate."""
    return 1.0 if annual >= 1 else -math.expm1(math.log1p(-annual) / 12)


def psa_cpr(age: int) -> float:
    return 0.002 * age if age <= 30 else 0.06


def sda_cdr(age: int) -> float:
    if age <= 30:
        return 0.0002 * age
    if age <= 60:
        return 0.006
    return 0.006 - 0.000095 * (age - 60) if age <= 120 else 0.0003


def entry(values: list[float], month: int, beyond: str) -> float:
    """The value of a 1-based month, and what stands for it past the end."""
    if month <= len(values):
        return float(values[month - 1])
    return {"last": values[-1], "zero": 0.0, "repeat": values[(month - 1) % len(values)]}[beyond]


def vector_rate(curve: Any, period: int, age: int, calendar: int | None = None) -> float:
    month = {"age": age, "period": period, "calendar_month": calendar or 0}[curve.by]
    value = entry(curve.values, month, curve.beyond)
    if curve.unit in ("smm", "mdr"):
        return value
    if curve.unit in ("cpr", "cdr"):
        return monthly(value)
    return monthly(value * (psa_cpr(month) if curve.unit == "psa" else sda_cdr(month)))


def scaled_rate(curve: Any, period: int, age: int, calendar: int | None) -> float:
    month = {"age": age, "period": period, "calendar_month": calendar or 0}[curve.by]
    by, plus = (
        entry(stated, month, curve.beyond) if isinstance(stated, list) else stated
        for stated in (curve.multiplier, curve.shift)
    )
    return changed(curve.acts_on, rate_of(curve.curve, period, age, calendar), by, plus)


def seasonal_rate(curve: Any, period: int, age: int, calendar: int | None) -> float:
    factor = curve.factors[(calendar or 0) - 1]
    return changed(curve.acts_on, rate_of(curve.curve, period, age, calendar), factor, 0.0)


def changed(acts_on: str, rate: float, by: float, plus: float) -> float:
    """A monthly rate x by + plus, or the one whose annual rate is so changed, kept in [0, 1]; in forty digits."""
    with localcontext() as context:
        context.prec = 40
        months = 12 if acts_on == "annual_rate" else 1
        compounded = 1 - (1 - Decimal(rate)) ** months
        left = 1 - min(max(compounded * Decimal(by) + Decimal(plus), Decimal(0)), Decimal(1))
        return float(1 - (left ** (Decimal(1) / months) if left else left))


def abs_smm(rate: float, age: int) -> float:
    left = 1 - rate * (age - 1)
    return min(1.0, rate / left) if left > 0 else float(rate > 0)


CURVES: dict[str, Callable[[Any, int, int], float]] = {
    "cpr": lambda c, period, age: monthly(c.rate),
    "cdr": lambda c, period, age: monthly(c.rate),
    "smm": lambda c, period, age: c.rate,
    "mdr": lambda c, period, age: c.rate,
    "psa": lambda c, period, age: monthly(c.speed * psa_cpr(age)),
    "sda": lambda c, period, age: monthly(c.speed * sda_cdr(age)),
    "mhp": lambda c, period, age: monthly(c.speed * (0.036 + 0.001 * min(age, 24))),
    "hep": lambda c, period, age: monthly(c.rate * min(age, 10) / 10),
    "abs": lambda c, period, age: abs_smm(c.rate, age),
}
COMPOSED: dict[str, Callable[[Any, int, int, int | None], float]] = {
    "vector": vector_rate,
    "scaled": scaled_rate,
    "seasonal": seasonal_rate,
}


def rate_of(curve: Any, period: int, age: int, calendar: int | None = None) -> float:
    """Monthly rate of a curve at a 1-based period, age and calendar month."""
    if curve is None:
        return 0.0
    tag = curve.__struct_config__.tag
    return COMPOSED[tag](curve, period, age, calendar) if tag in COMPOSED else CURVES[tag](curve, period, age)


def calendar_month(cutoff: datetime.date | None, period: int) -> int | None:
    """1 for January: the month of a period, where the first is the month after the cut-off's."""
    return None if cutoff is None else (cutoff.month - 1 + period) % 12 + 1


def assumptions_for(loan: Loan, assumptions: Assumptions) -> Assumptions:
    """Those of the first rule that the loan meets, else those of its group, else the base."""
    values = {**{name: getattr(loan, name) for name in loan.__struct_fields__}, "age": age_of(loan)}
    for rule in assumptions.rules or []:
        if all(meets(values[column], condition) for column, condition in rule.where.items()):
            return rule.assumptions
    return (assumptions.groups or {}).get(loan.group or "", assumptions)


def meets(value: Any, condition: Any) -> bool:
    if value is None:
        return False
    if condition.one_of is not None:
        return value in condition.one_of
    low, high, below = condition.min, condition.max, condition.below
    return (low is None or value >= low) and (high is None or value <= high) and (below is None or value < below)


def age_of(loan: Loan) -> int:
    if loan.age is not None:
        return loan.age
    return 0 if loan.original_term is None else loan.original_term - loan.remaining_term


def terms_left(loan: Loan) -> tuple[int, int]:
    """Months to come that pay interest only, and months over which principal is spread after them."""
    age, free = age_of(loan), max(loan.interest_only_term - age_of(loan), 0)
    if loan.amortization_term is None:
        return free, max(loan.remaining_term - free, 1)
    return free, loan.amortization_term - max(age - loan.interest_only_term, 0)


def stated_schedule(loan: Loan) -> list[float]:
    """Balances after months 0 to remaining_term - 1 of a loan with a stated payment, as shares of the opening one.

    Rolled forward in sixty digits, since each month magnifies the rounding of the months before.
    """
    with localcontext() as context:
        context.prec = 60
        rate, paid = Decimal(loan.annual_rate / 12), Decimal(loan.payment or 0.0) / Decimal(loan.balance)
        shares, free = [Decimal(1)], terms_left(loan)[0]
        for month in range(1, loan.remaining_term):
            rolled = shares[-1] * (1 + rate) - paid
            shares.append(shares[-1] if month <= free else max(rolled, Decimal(0)))
    return [float(share) for share in shares]


def schedule(loan: Loan) -> list[float]:
    """Contractual balance after months 0 to remaining_term, as shares of the opening one."""
    rate, term, (free, spread) = loan.annual_rate / 12, loan.remaining_term, terms_left(loan)
    if loan.payment is not None and loan.balance > 0:
        return [*stated_schedule(loan), 0.0]
    shares = []
    for month in range(term):
        left = spread - max(month - free, 0)
        if loan.amortization == "bullet":
            shares.append(1.0)
        elif loan.amortization == "linear" or rate == 0:
            shares.append(left / spread)
        else:
            growth = math.log1p(rate)
            shares.append(math.expm1(-left * growth) / math.expm1(-spread * growth))
    return [*shares, 0.0]


def burnt_out(assumptions: Assumptions, smm: float, alive: float) -> float:
    """The SMM whose CPR falls with the share of the loan that is left."""
    burnout = assumptions.burnout
    if burnout is None:
        return smm
    return changed("annual_rate", smm, burnout.floor + (1 - burnout.floor) * burnout.survived * alive, 0.0)


def severity_of(assumptions: Assumptions, month: int) -> float:
    """The severity of a month, where it is a number or a vector."""
    severity: Any = assumptions.severity
    return entry(severity.values, month, severity.beyond) if hasattr(severity, "values") else float(severity)


def proceeds(assumptions: Assumptions, value: float, month: int) -> float:
    """What a property fetches in a month, net of the cost."""
    severity: Any = assumptions.severity
    return value * grown(severity.home_price_growth, month) * (1 - severity.liquidation_cost)


def grown(growth: float | list[float], month: int) -> float:
    """Home prices in a month over those at the cut-off."""
    index = 1.0
    for past in range(1, month + 1):
        index *= (1 + (entry(growth, past, "last") if isinstance(growth, list) else growth)) ** (1 / 12)
    return index


def severity_at(severity: Any, ltv: float) -> float:
    """The severity of a table at a loan-to-value."""
    if severity.interpolation == "step":
        return float(severity.severities[sum(1 for each in severity.ltv if each * (1 - 1e-12) <= ltv)])
    points = list(zip(severity.ltv, severity.severities, strict=True))
    for (left, low), (right, high) in pairwise(points):
        if left <= ltv < right:
            return low + (high - low) * (ltv - left) / (right - left)
    return float(points[0][1] if ltv < points[0][0] else points[-1][1])


ASSETS = ("draw", "other_income", "shortfall")
HELPED = ("forbearance", "modified")
DELINQUENT = ("delinquent_30", "delinquent_60", "delinquent_90", "delinquent_120")
LIQUIDATED = ("liquidation", "loss", "mortgage_insurance", "recouped_advances")


class Cohort:
    """What of a loan defaulted in one month: it is liquidated in stages, some months later each."""

    def __init__(
        self,
        loan: Loan,
        assumptions: Assumptions,
        conventions: Conventions,
        share: list[float],
        rates: list[float],
        stages: list[float],
        month: int,
        new: float,
    ) -> None:
        self.loan, self.assumptions, self.conventions, self.share = loan, assumptions, conventions, share
        self.month, self.new, self.rates = month, new, rates
        self.waits: set[int] = set()  # months in which the loan pays nothing by contract
        # A loan that pays in the month in which it defaults misses its first payment in the next.
        self.first = month + (conventions.default_base == "after_scheduled_principal")
        self.stages = stages
        self.remaining = [math.fsum(stages[after + 1 :]) for after in range(len(stages))] if new else []

    def owed(self, month: int) -> float:
        """Balance at the start of a month, nothing liquidated: amortising where principal is advanced."""
        before, at_default = self.share[max(month, self.first) - 1], self.share[self.first - 1]
        if self.assumptions.advancing != "principal_and_interest" or not at_default:
            return self.new
        return self.new * before / at_default

    def left(self, month: int) -> float:
        """The share not liquidated at the end of a month."""
        after = month - self.month
        return self.remaining[after] if after < len(self.remaining) else 0.0

    def rate(self, month: int) -> float:
        """The rate of a month; a balance that does not amortise keeps that of its default."""
        advances = self.assumptions.advancing == "principal_and_interest"
        if month in self.waits:
            return 0.0
        return self.rates[max(month, self.first) - 1] if advances else self.rates[self.first - 1]

    def due(self, month: int) -> float:
        """Interest in a month on what was in foreclosure at its start."""
        return self.left(month - 1) * self.owed(month) * self.rate(month)

    def missed_interest(self, month: int) -> float:
        """Interest due in a month on what was not liquidated before it."""
        if month < self.first:
            return 0.0
        share = 1.0 if month == self.month else self.left(month - 1)
        return share * self.owed(month) * self.rate(month)

    def advances(self, month: int) -> float:
        """The share of a month's missed interest that is advanced."""
        limit = self.conventions.advance_months
        stopped = limit is not None and month - self.first >= limit
        return 0.0 if stopped or self.assumptions.advancing == "none" else self.conventions.advance_share

    def liquidated(self, month: int) -> dict[str, float]:
        """Balance liquidated in a month, and what of it is lost, claimed and recouped."""
        later = month - self.month
        part = self.stages[later] if 0 <= later < len(self.stages) else 0.0
        if not part or not self.new:
            return dict.fromkeys(LIQUIDATED, 0.0)
        owed, left = self.new, self.owed(month)
        severity: Any = self.assumptions.severity
        if hasattr(severity, "liquidation_cost"):
            of_loan = owed / (self.loan.balance * self.share[self.first - 1])
            short = owed - proceeds(self.assumptions, (self.loan.property_value or 0.0) * of_loan, month)
            lost = max(short, severity.minimum * owed)
        elif hasattr(severity, "ltv"):
            of_loan = owed / (self.loan.balance * self.share[self.first - 1])
            valued = self.month if severity.month == "default" else month
            worth = (self.loan.property_value or 0.0) * of_loan * grown(severity.home_price_growth, valued)
            lost = owed * severity_at(severity, owed / worth if worth > 0 else math.inf)
        else:
            by_default = getattr(severity, "month", "default") == "default"
            lost = owed * severity_of(self.assumptions, self.month if by_default else month)
        lost = min(lost, left)
        claim = min(self.loan.mortgage_insurance * owed, lost)
        recouped = 0.0
        if self.conventions.recoup == "at_liquidation":
            paid = [self.owed(past) * self.rate(past) * self.advances(past) for past in range(self.first, month + 1)]
            recouped = min(math.fsum(paid), left - (lost - claim))
        loss = lost - claim + recouped
        parts = {"liquidation": left, "loss": loss, "mortgage_insurance": claim, "recouped_advances": recouped}
        return {name: part * amount for name, amount in parts.items()}

    def booked_early(self, month: int) -> float:
        """Losses booked at default of what is not liquidated at the end of a month."""
        if self.conventions.loss_timing != "default":
            return 0.0
        months = range(month + 1, self.month + len(self.stages))
        return math.fsum(self.liquidated(later)["loss"] for later in months)


def project_loan(
    loan: Loan,
    assumptions: Assumptions,
    conventions: Conventions,
    periods: int,
    cutoff: datetime.date | None = None,
    contract: tuple[list[float], list[float]] | None = None,
    waits: tuple[int, set[int]] = (0, set()),
) -> Columns:
    """Every field of one loan over the periods.

    contract: the shares that schedule() gives and the monthly rate of each month, for loans whose rate changes.
    waits: the month in which the loan is drawn (0 for one that is), and the months in which it pays nothing.
    """
    assumptions = assumptions_for(loan, assumptions)
    stages, lag, term, rate = assumptions.stages, assumptions.lag, loan.remaining_term, loan.annual_rate / 12
    advances_principal = assumptions.advancing == "principal_and_interest"
    stops = conventions.final_defaults == "stop_before_maturity" and (
        assumptions.default is not None and not isinstance(assumptions.default.leaf, Vector)
    )
    shares, rates = contract or (schedule(loan), [rate] * loan.remaining_term)
    share, rates = shares + [0.0] * (periods + lag + 2), rates + [0.0] * (periods + lag + 2)
    performing, alive = loan.balance, 1.0
    (start, idle), failed, prepaid = waits, 0.0, 0.0
    term, first_age = len(rates) - (periods + lag + 2), -start if start else age_of(loan)
    cohorts: list[Cohort] = []
    out: Columns = {name: [] for name in FIELDS}
    for i in range(1, periods + 1):
        keep, rate = share[i] / share[i - 1] if share[i - 1] > 0 else 0.0, rates[i - 1]
        age, month = max(first_age + i, 1), calendar_month(cutoff, i)
        mdr = 0.0 if stops and i > term - lag else rate_of(assumptions.default, i, age, month)
        smm = burnt_out(assumptions, rate_of(assumptions.prepayment, i, age, month), alive)
        if i <= start:
            mdr = smm = 0.0
        failed, prepaid = 1 - (1 - failed) * (1 - mdr), 1 - (1 - prepaid) * (1 - smm)
        mdr, smm = (0.0, 0.0) if i in idle else (failed, prepaid)
        mdr = 0.0 if stops and i > term - lag else mdr
        failed, prepaid = (failed, prepaid) if i in idle else (0.0, 0.0)
        smm = min(smm, 1 - mdr) if conventions.prepayment_base == "gross" else smm * (1 - mdr)
        prepays_first = conventions.prepayment_base == "opening_net_of_defaults"
        pays_first = conventions.default_base == "after_scheduled_principal"
        new = performing * mdr * (keep if pays_first else 1.0)
        foreclosed = math.fsum(cohort.left(i - 1) * cohort.owed(i) for cohort in cohorts)
        before = cohorts
        cohorts = [cohort for cohort in cohorts if i <= cohort.month + lag]
        newest = Cohort(loan, assumptions, conventions, share, rates, stages, i, new)
        newest.waits = idle
        cohorts += [newest] if new else []
        ended = [cohort.liquidated(i) for cohort in cohorts]
        liquidated = {name: math.fsum(each[name] for each in ended) for name in LIQUIDATED}
        # Who pays in the month in which he defaults does not owe that month's principal, liquidated at once or not.
        owing = math.fsum(c.liquidated(i)["liquidation"] for c in cohorts if c.first <= i)
        survivors = performing * (1 - mdr - smm)
        defaulters = performing * mdr if pays_first else 0.0
        paying = (survivors if conventions.interest_base == "survivors" else performing * (1 - mdr)) + defaulters
        amortizes = 1 - keep
        kept = (survivors if prepays_first else performing * (1 - mdr)) + defaulters
        held = math.fsum(cohort.left(i) * cohort.owed(i) for cohort in cohorts if cohort.first <= i)
        advanced_principal = held * amortizes if advances_principal else 0.0
        lost = math.fsum(cohort.missed_interest(i) for cohort in cohorts)
        advanced_interest = math.fsum(cohort.missed_interest(i) * cohort.advances(i) for cohort in cohorts)
        loss = liquidated["loss"]
        if conventions.loss_timing == "default":
            loss = math.fsum(newest.liquidated(later)["loss"] for later in range(i, i + lag + 1))
        total = conventions.servicing_fee_base == "total"
        row = {
            "balance": survivors * keep,
            "interest": paying * rate + advanced_interest,
            "scheduled_principal": kept * amortizes + advanced_principal,
            "prepayment": performing * (1.0 if prepays_first else keep) * smm,
            "default": new,
            "recovery": liquidated["liquidation"] - liquidated["loss"],
            "loss": loss,
            "servicing_fee": loan.servicing_fee / 12 * (performing + (foreclosed if total else 0.0)),
            "foreclosure": math.fsum(
                cohort.left(i) * cohort.owed(i + 1) - cohort.booked_early(i) for cohort in cohorts
            ),
            "expected_interest": performing * rate + math.fsum(cohort.due(i) for cohort in before),
            "lost_interest": lost,
            "expected_principal": performing * amortizes
            + ((foreclosed - owing) * amortizes if advances_principal else 0.0),
            "advanced_interest": advanced_interest,
            "advanced_principal": advanced_principal,
            "liquidation": liquidated["liquidation"],
            "mortgage_insurance": liquidated["mortgage_insurance"],
            "recouped_advances": liquidated["recouped_advances"],
            **dict.fromkeys(ASSETS, 0.0),  # term loans have none
            "prepayment_penalty": 0.0,  # tests/reference_penalties.py has them
            "curtailment": 0.0,  # tests/reference_curtailments.py has them
            **dict.fromkeys(HELPED, 0.0),  # tests/reference_workouts.py has them
            "draw": loan.balance if i == start else 0.0,
            **dict.fromkeys(DELINQUENT, 0.0),  # tests/reference_late.py has those of loans that fall behind
        }
        add_totals(row)
        performing = row["balance"]
        if i <= start:
            row["cashflow"] += row["servicing_fee"] - row["draw"]
            row["net_interest"] += row["servicing_fee"]
            row["balance"] = performing if i == start else 0.0
            row["servicing_fee"] = 0.0
        for name in FIELDS:
            out[name].append(row[name])
        alive *= 1 - mdr - smm
    return out


def add_totals(row: dict[str, float]) -> None:
    """Adds to OUT row, a loan's month, what follows from its other columns."""
    row["net_interest"] = row["interest"] - row["servicing_fee"]
    row["principal"] = math.fsum((row["scheduled_principal"], row["prepayment"], row["recovery"]))
    row["cashflow"] = row["principal"] + row["net_interest"]


def add_up(parts: list[Columns], periods: int) -> Columns:
    """The sum of several columns, field by field."""
    return {name: [math.fsum(part[name][t] for part in parts) for t in range(periods)] for name in FIELDS}


def project_pool(
    loans: list[Loan],
    assumptions: Assumptions,
    conventions: Conventions,
    periods: int,
    cutoff: datetime.date | None = None,
) -> Columns:
    """Every field of the pool over the periods."""
    parts = [project_loan(loan, assumptions, conventions, periods, cutoff) for loan in loans]
    return add_up(parts, periods)


def timed_as_vector(
    loans: list[Loan],
    assumptions: Assumptions,
    conventions: Conventions,
    periods: int,
    cutoff: datetime.date | None = None,
) -> Assumptions:
    """The assumptions with a timing curve (of all the loans) turned into the vector of MDR that gives its defaults.

    Month by month: the pool is projected under the months found so far, and what is stated is divided by what is left.
    """
    curve: Any = assumptions.default
    base = sum((loan.original_balance or 0.0) if curve.base == "original_balance" else loan.balance for loan in loans)
    total = curve.cumulative * base / (assumptions.severity if curve.measure == "loss" else 1.0)
    left, found = sum(loan.balance for loan in loans), []
    for period in range(1, periods + 1):
        share = (period - 1) // curve.months_a_share
        timing = curve.timing[share] / curve.months_a_share if share < len(curve.timing) else 0.0
        found.append(min(total * timing / left, 1.0) if left > 0 else 0.0)
        vector = structs.replace(assumptions, default=Vector(unit="mdr", values=found, beyond="zero"))
        left = project_pool(loans, vector, conventions, period, cutoff)["balance"][-1]
    return vector

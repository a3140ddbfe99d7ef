"""The reference model: plain Python, one loan, one month at a time, in closed form where that is clearer.

It restates the conventions without sharing a line with the kernel or the curves, and is as slow as it is plain.
"""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

from engine import Assumptions, Conventions, Loan

Columns = dict[str, list[float]]
FIELDS = [
    "balance", "interest", "scheduled_principal", "prepayment", "default", "recovery", "loss", "servicing_fee",
    "net_interest", "principal", "cashflow", "foreclosure", "expected_interest", "lost_interest", "expected_principal",
    "advanced_interest", "advanced_principal", "liquidation",
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


def vector_rate(curve: Any, period: int, age: int) -> float:
    month = age if curve.by == "age" else period
    if month > len(curve.values) and curve.beyond == "zero":
        return 0.0
    value = curve.values[min(month, len(curve.values)) - 1]
    if curve.unit in ("smm", "mdr"):
        return float(value)
    if curve.unit in ("cpr", "cdr"):
        return monthly(value)
    return monthly(value * (psa_cpr(month) if curve.unit == "psa" else sda_cdr(month)))


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
    "vector": vector_rate,
}


def rate_of(curve: Any, period: int, age: int) -> float:
    """Monthly rate of a curve at a 1-based period and age."""
    return 0.0 if curve is None else CURVES[curve.__struct_config__.tag](curve, period, age)


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


def project_loan(loan: Loan, assumptions: Assumptions, conventions: Conventions, periods: int) -> Columns:
    """Every field of one loan over the periods."""
    if assumptions.groups and loan.group in assumptions.groups:
        assumptions = assumptions.groups[loan.group]
    lag, term, rate = assumptions.recovery_lag, loan.remaining_term, loan.annual_rate / 12
    advances_interest = assumptions.advancing != "none"
    advances_principal = assumptions.advancing == "principal_and_interest"
    stops = conventions.final_defaults == "stop_before_maturity" and (
        assumptions.default is not None and assumptions.default.__struct_config__.tag != "vector"
    )
    share = schedule(loan) + [0.0] * max(periods, lag)
    performing, defaults = loan.balance, [0.0]
    out: Columns = {name: [] for name in FIELDS}

    def ratio(later: int, earlier: int) -> float:
        return share[later] / share[earlier] if share[earlier] > 0 else 0.0

    def in_foreclosure(month: int) -> float:
        """Balance in foreclosure after a month: the defaults of the last `lag` months, amortised if advanced."""
        cohorts = range(max(1, month - lag + 1), month + 1)
        return math.fsum(defaults[j] * (ratio(month, j - 1) if advances_principal else 1.0) for j in cohorts)

    for i in range(1, periods + 1):
        keep = ratio(i, i - 1)
        mdr = 0.0 if stops and i > term - lag else rate_of(assumptions.default, i, age_of(loan) + i)
        smm = rate_of(assumptions.prepayment, i, age_of(loan) + i)
        smm = min(smm, 1 - mdr) if conventions.prepayment_base == "gross" else smm * (1 - mdr)
        prepays_first = conventions.prepayment_base == "opening_net_of_defaults"
        foreclosed = in_foreclosure(i - 1) if i > 1 else 0.0
        new = performing * mdr
        defaults.append(new)
        defaulted = defaults[i - lag] if i > lag else 0.0
        liquidated = defaulted * (ratio(i - 1, i - 1 - lag) if advances_principal and i > lag else 1.0)
        survivors = performing * (1 - mdr - smm)
        paying = survivors if conventions.interest_base == "survivors" else performing - new
        held = math.fsum((new, foreclosed, -liquidated)) if lag else 0.0
        amortizes = 1 - keep
        advanced_principal = held * amortizes if advances_principal else 0.0
        lost = (new + foreclosed) * rate
        loss = min(defaulted * assumptions.severity, liquidated)
        total = conventions.servicing_fee_base == "total"
        row = {
            "balance": survivors * keep,
            "interest": paying * rate + (lost if advances_interest else 0.0),
            "scheduled_principal": (survivors if prepays_first else performing - new) * amortizes + advanced_principal,
            "prepayment": performing * (1.0 if prepays_first else keep) * smm,
            "default": new,
            "recovery": liquidated - loss,
            "loss": loss,
            "servicing_fee": loan.servicing_fee / 12 * (performing + (foreclosed if total else 0.0)),
            "foreclosure": in_foreclosure(i),
            "expected_interest": (performing + foreclosed) * rate,
            "lost_interest": lost,
            "expected_principal": performing * amortizes
            + ((foreclosed - liquidated) * amortizes if advances_principal else 0.0),
            "advanced_interest": lost if advances_interest else 0.0,
            "advanced_principal": advanced_principal,
            "liquidation": liquidated,
        }
        row["net_interest"] = row["interest"] - row["servicing_fee"]
        row["principal"] = math.fsum((row["scheduled_principal"], row["prepayment"], row["recovery"]))
        row["cashflow"] = row["principal"] + row["net_interest"]
        for name in FIELDS:
            out[name].append(row[name])
        performing = row["balance"]
    return out


def add_up(parts: list[Columns], periods: int) -> Columns:
    """The sum of several columns, field by field."""
    return {name: [math.fsum(part[name][t] for part in parts) for t in range(periods)] for name in FIELDS}


def project_pool(loans: list[Loan], assumptions: Assumptions, conventions: Conventions, periods: int) -> Columns:
    """Every field of the pool over the periods."""
    return add_up([project_loan(loan, assumptions, conventions, periods) for loan in loans], periods)

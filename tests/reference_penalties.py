"""The reference of prepayment penalties: one loan, month by month, each phase looked up as its text says it."""

import math
from typing import Any

from msgspec import structs

from engine import Assumptions, Conventions, Loan, Vector
from tests import reference, reference_late


def phase_of(phases: list[Any], month: int) -> tuple[Any, int, float]:
    """The phase of a month after origination (1 the first), the months of it before, and its last month."""
    begin = 0
    for phase in phases:
        length = len(phase.rates) * phase.months_a_rate if hasattr(phase, "rates") else phase.months
        end = math.inf if length is None else begin + length
        if month <= end:
            return phase, month - 1 - begin, end
        begin = int(end)
    return None, 0, 0.0


def unlocked(loan: Loan, phases: list[Any], assumptions: Assumptions, periods: int) -> Assumptions:
    """The assumptions with a curve of prepayment that is nought in the months that are locked."""
    age, values = reference.age_of(loan), []
    for t in range(1, periods + 1):
        phase, _, _ = phase_of(phases, age + t)
        locked = phase is not None and phase.__struct_config__.tag == "lockout"
        values.append(0.0 if locked else reference.rate_of(assumptions.prepayment, t, age + t))
    return structs.replace(assumptions, prepayment=Vector(unit="smm", values=values, beyond="zero"))


def whole(loan: Loan, phases: list[Any], t: int, at: int, share: list[float]) -> float:
    """What all of a fixed-rate loan owes if it prepays in month t, off the balance after month `at`."""
    phase, past, end = phase_of(phases, reference.age_of(loan) + t)
    owed, rate = loan.balance * share[at], loan.annual_rate / 12
    if phase is None or owed == 0:
        return 0.0
    kind = phase.__struct_config__.tag
    if kind == "percentage":
        return owed * phase.rate
    if kind == "step_down":
        return owed * phase.rates[past // phase.months_a_rate]
    if kind == "months_of_interest":
        return phase.share * phase.interest_months * owed * rate
    if kind == "fixed_amount":
        return phase.amount if phase.charged == "on_payoff" else 0.0
    if kind == "lockout":
        return 0.0
    last = int(min(end - reference.age_of(loan), loan.remaining_term))
    lost, d = 0.0, phase.discount_rate
    if last > at and phase.method == "rate_difference":
        years = (last - at) / 12
        lost = owed * (loan.annual_rate - d) * (years if d == 0 else (1 - (1 + d) ** -years) / d)
    elif last > at:
        paid = [share[u - 1] * (1 + rate) - share[u] for u in range(at + 1, last + 1)]
        worth = math.fsum(each / (1 + d / 12) ** (k + 1) for k, each in enumerate(paid))
        lost = loan.balance * (worth + share[last] / (1 + d / 12) ** (last - at)) - owed
    return max(lost, phase.minimum * owed)


def project_loan(
    loan: Loan, phases: list[Any], assumptions: Assumptions, conventions: Conventions, periods: int
) -> reference.Columns:
    """Every field of one loan over the periods, its penalties in prepayment_penalty and cashflow."""
    out = reference.project_loan(loan, unlocked(loan, phases, assumptions, periods), conventions, periods)
    share = reference.schedule(loan) + [0.0] * (periods + 1)
    opening = conventions.prepayment_base == "opening_net_of_defaults"
    for t in range(1, periods + 1):
        at, prepaid = t - 1 if opening else t, out["prepayment"][t - 1]
        if prepaid > 0:
            phase, _, _ = phase_of(phases, reference.age_of(loan) + t)
            left = (out["balance"][t - 2] if t > 1 else loan.balance) / share[t - 1]
            some = prepaid / share[at] > 1e-12 * left
            each = phase.amount if some and getattr(phase, "charged", "") == "every_month" else 0.0
            paid = prepaid / (loan.balance * share[at]) * whole(loan, phases, t, at, share) + each
            out["prepayment_penalty"][t - 1] = paid
            out["cashflow"][t - 1] += paid
    return out


def project_late_loan(
    loan: Loan, phases: list[Any], assumptions: Assumptions, conventions: Conventions, periods: int
) -> reference.Columns:
    """As project_loan, of a loan that roll rates begin late: it owes what the loan does that it was then."""
    rolls = assumptions.delinquency
    assert rolls is not None
    ago = reference_late.missed_payments(loan, rolls.buckets)
    then = structs.replace(loan, remaining_term=loan.remaining_term + ago, age=reference.age_of(loan) - ago)
    out = reference_late.project_late_loan(loan, unlocked(loan, phases, assumptions, periods), conventions, periods)
    share = reference.schedule(then) + [0.0] * (periods + 1)
    opening = conventions.prepayment_base == "opening_net_of_defaults"
    for t in range(1, periods + 1):
        at, prepaid = (t - 1 if opening else t) + ago, out["prepayment"][t - 1]
        if prepaid > 0:
            of_loan = prepaid / (loan.balance * share[at])
            phase, _, _ = phase_of(phases, reference.age_of(then) + t + ago)
            each = phase.amount if of_loan > 1e-12 and getattr(phase, "charged", "") == "every_month" else 0.0
            paid = of_loan * whole(then, phases, t + ago, at, share) + each
            out["prepayment_penalty"][t - 1] = paid
            out["cashflow"][t - 1] += paid
    return out

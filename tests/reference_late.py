"""The reference for loans that fall behind: one loan, its share in each bucket, one month at a time."""

import datetime
import math

from msgspec import structs

from engine import Assumptions, Conventions, Loan
from tests.reference import (
    FIELDS,
    LIQUIDATED,
    Cohort,
    Columns,
    add_totals,
    add_up,
    age_of,
    burnt_out,
    calendar_month,
    rate_of,
    schedule,
)  # fmt: skip


def missed_payments(loan: Loan, most: int) -> int:
    """Payments missed at the cut-off, as many as the last bucket has at most."""
    late = (loan.status or "current").removeprefix("delinquent_")
    return 0 if late == "current" else min(int(late) // 30, most)


def project_late_loan(
    loan: Loan,
    assumptions: Assumptions,
    conventions: Conventions,
    periods: int,
    cutoff: datetime.date | None = None,
    contract: tuple[list[float], list[float]] | None = None,
) -> Columns:
    """Every field of one loan whose assumptions have roll rates.

    One that is late at the cut-off is the loan it was when it stopped paying, seen from so many months on.
    contract: shares and monthly rates from there, for loans whose rate or payment changes (tests/reference_past.py).
    """
    rolls = assumptions.delinquency
    assert rolls is not None
    most, lag, stages = rolls.buckets, assumptions.lag, assumptions.stages
    ago = missed_payments(loan, most)
    then = structs.replace(loan, remaining_term=loan.remaining_term + ago, age=age_of(loan) - ago)
    shares, rates = contract or (schedule(then), [loan.annual_rate / 12] * then.remaining_term)
    share, rates = ([*each, *[0.0] * (periods + lag + most + 2)] for each in (shares, rates))
    fee = loan.servicing_fee / 12

    def scheduled(month: int) -> float:
        assert month + ago >= 0
        return loan.balance * share[month + ago]

    def due_in(month: int) -> float:
        return scheduled(month - 1) * rates[month - 1 + ago]

    current, late = float(ago == 0), [0.0] * (most + 1)  # late[k]: k payments missed
    late[ago] = float(ago > 0)
    cohorts: list[Cohort] = []
    out: Columns = {name: [] for name in FIELDS}
    for i in range(1, periods + 1):
        due = scheduled(i - 1) - scheduled(i)
        smm = rate_of(assumptions.prepayment, i, age_of(loan) + i, calendar_month(cutoff, i))
        smm = burnt_out(assumptions, smm, current + sum(late))
        pays = 1 - rolls.roll[0]
        smm = min(smm, pays) if conventions.prepayment_base == "gross" else smm * pays
        prepays_first = conventions.prepayment_base == "opening_net_of_defaults"
        principal = [current * (pays - smm if prepays_first else pays) * due]
        interest = [current * (pays - smm if conventions.interest_base == "survivors" else pays) * due_in(i)]
        next_current, next_late = [current * (pays - smm)], [0.0] * (most + 2)
        next_late[1] += current * rolls.roll[0]
        fees = [current * scheduled(i - 1) * fee]
        for k in range(1, most + 1):
            if i - 1 - k < -ago or not late[k]:
                continue
            missed = [due_in(month) for month in range(i - k, i + 1)]  # interest of each month missed
            cured, stays = rolls.cure[k - 1] * late[k], max(1 - rolls.roll[k] - rolls.cure[k - 1], 0.0) * late[k]
            principal += [
                cured * (scheduled(i - 1 - k) - scheduled(i)), stays * (scheduled(i - 1 - k) - scheduled(i - k))
            ]  # fmt: skip
            interest += [cured * math.fsum(missed), stays * missed[0]]
            fees.append(late[k] * scheduled(i - 1 - k) * fee)
            next_current.append(cured)
            next_late[k] += stays
            next_late[k + 1] += rolls.roll[k] * late[k]
        defaulting = next_late[most + 1]
        new = defaulting * scheduled(i - 1 - most) if defaulting else 0.0
        foreclosed = math.fsum(cohort.left(i - 1) * cohort.new for cohort in cohorts)
        in_foreclosure = math.fsum(cohort.due(i) for cohort in cohorts)
        cohorts = [cohort for cohort in cohorts if i <= cohort.month + lag]
        newest = Cohort(loan, assumptions, conventions, share, rates, stages, i, new)
        newest.first = i - most + ago  # it owes what the schedule had when it stopped paying
        cohorts += [newest] if new else []
        ended = [cohort.liquidated(i) for cohort in cohorts]
        row = dict.fromkeys(FIELDS, 0.0) | {name: math.fsum(each[name] for each in ended) for name in LIQUIDATED}
        row["recovery"] = row["liquidation"] - row["loss"]
        if conventions.loss_timing == "default":
            row["loss"] = math.fsum(newest.liquidated(later)["loss"] for later in range(i, i + lag + 1))
        lost = math.fsum(due_in(month) for month in range(max(i - most, 1 - ago), i + 1)) if defaulting else 0.0
        alive = current + sum(late)
        row |= {
            "interest": math.fsum(interest),
            "scheduled_principal": math.fsum(principal),
            "prepayment": current * smm * scheduled(i - 1 if prepays_first else i),
            "default": new,
            "servicing_fee": math.fsum(fees) + (foreclosed * fee if conventions.servicing_fee_base == "total" else 0.0),
            "foreclosure": math.fsum(cohort.left(i) * cohort.new - cohort.booked_early(i) for cohort in cohorts),
            "expected_interest": alive * due_in(i) + in_foreclosure,
            "lost_interest": defaulting * lost + in_foreclosure,
            "expected_principal": alive * due,
            "advanced_interest": 0.0,
            "advanced_principal": 0.0,
            "draw": 0.0,
        }
        current, late = math.fsum(next_current), next_late[: most + 1]
        owed = [current * scheduled(i), *(late[k] * scheduled(max(i - k, -ago)) for k in range(1, most + 1))]
        row["balance"] = math.fsum(owed)
        for k, name in enumerate(("delinquent_30", "delinquent_60", "delinquent_90", "delinquent_120"), 1):
            row[name] = owed[k] if k <= most else 0.0
        add_totals(row)
        for name in FIELDS:
            out[name].append(row[name])
    return out


def project_late_pool(loans: list[Loan], assumptions: Assumptions, conventions: Conventions, periods: int) -> Columns:
    """Every field of the pool over the periods."""
    return add_up([project_late_loan(loan, assumptions, conventions, periods) for loan in loans], periods)

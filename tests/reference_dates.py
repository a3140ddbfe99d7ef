"""The reference of loans that pay by frequency or by date: one loan, one payment at a time, in sixty digits."""

import datetime
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

from engine import Loan, Tape, dates, day_count
from tests.reference_contracts import IndexOf, Walk

APART = {"monthly": 1, "quarterly": 3, "semi_annual": 6, "annual": 12}
A_YEAR = {"weekly": 52, "fortnightly": 26, "monthly": 12, "quarterly": 4, "semi_annual": 2, "annual": 1}
WEEKS = {"weekly": 7, "fortnightly": 14}


class Paid(NamedTuple):
    """A payment: the month from the cut-off that it falls into, and the years of interest due with it."""

    month: int
    years: float


def edge(cutoff: datetime.date, month: int) -> datetime.date:
    """The last day of a month from the cut-off."""
    return dates.add_months(cutoff, month, end_of_month=True)


def month_of(cutoff: datetime.date, day: datetime.date) -> int:
    return next(month for month in range(3000) if day <= edge(cutoff, month))


def moved(loan: Loan, anchor: datetime.date, periods: int) -> datetime.date:
    frequency = loan.payment_frequency or "monthly"
    if frequency in WEEKS:
        return anchor + datetime.timedelta(days=WEEKS[frequency] * periods)
    return dates.add_months(anchor, APART[frequency] * periods, end_of_month=loan.month_end == "last_day")


def adjusted(loan: Loan, tape: Tape, day: datetime.date, convention: Any) -> datetime.date:
    calendars = tape.calendars or {}
    calendar = dates.Calendar(market=loan.calendar) if loan.calendar else dates.WEEKENDS_ONLY
    return dates.adjust(day, convention or "none", calendars.get(loan.calendar or "", calendar))


def is_dated(loan: Loan, cutoff: datetime.date | None) -> bool:
    if loan.next_payment_date or loan.paid_to_date:
        return True
    return bool(loan.origination_date) and (
        bool(loan.payment_frequency not in (None, "monthly") or loan.day_count or loan.business_day)
        or (cutoff is not None and loan.origination_date > str(cutoff))
    )


def payments(loan: Loan, tape: Tape, cutoff: datetime.date | None) -> tuple[list[Paid], int]:
    """The payments, and the month of the draw, 0 for a loan that is drawn."""
    if not is_dated(loan, cutoff):
        apart = APART[loan.payment_frequency or "monthly"]
        months = [month for month in range(1, loan.remaining_term + 1) if (loan.remaining_term - month) % apart == 0]
        return [Paid(month, apart / 12) for month in months], 0
    assert cutoff is not None
    read = {name: value and datetime.date.fromisoformat(value) for name, value in (
        ("origin", loan.origination_date), ("next", loan.next_payment_date), ("paid", loan.paid_to_date),
        ("end", loan.maturity_date),
    )}  # fmt: skip
    anchor, first = (read["next"], 0) if read["next"] else (read["origin"], 1)
    assert anchor
    while moved(loan, anchor, first) <= cutoff:
        first += 1
    begin = moved(loan, anchor, first - 1)
    if read["origin"] and (read["origin"] > begin or read["origin"] > cutoff):
        begin = read["origin"]
    begin = read["paid"] or begin
    end = read["end"] or edge(cutoff, loan.remaining_term)
    due, k = [], first
    while moved(loan, anchor, k) <= end:
        due.append((k, moved(loan, anchor, k)))
        k += 1
    if read["end"] and (not due or due[-1][1] < end):
        if due and loan.final_stub == "long":
            k = due.pop()[0]
        due.append((k, end))
    out = []
    ends = [adjusted(loan, tape, day, loan.accrual_business_day) for _, day in due]
    starts = [adjusted(loan, tape, begin, loan.accrual_business_day), *ends]
    for (k, day), low, high in zip(due, starts, ends, strict=False):
        years = 1 / A_YEAR[loan.payment_frequency or "monthly"]
        if loan.day_count:
            known: dict[str, Any] = {"maturity": ends[-1]}
            if loan.day_count == "ACT/ACT ICMA":
                known = {"period_start": moved(loan, anchor, k - 1), "period_end": moved(loan, anchor, k)}
                known["frequency"] = A_YEAR[loan.payment_frequency or "monthly"]
            years = day_count.year_fraction(loan.day_count, low, high, **known)
        out.append(Paid(month_of(cutoff, adjusted(loan, tape, day, loan.business_day)), years))
    future = read["origin"] is not None and read["origin"] > cutoff
    return out, month_of(cutoff, read["origin"]) if future else 0


class DatedWalk(Walk):
    def __init__(self, loan: Loan, tape: Tape, index: IndexOf, paid: list[Paid], start: int) -> None:
        super().__init__(loan, tape, index)
        self.paid, self.a_year, self.done = paid, A_YEAR[loan.payment_frequency or "monthly"], 0
        self.term = max(each.month for each in paid)
        over = 0
        if self.free and start:
            self.free += start
        if loan.amortization_term is not None:
            over = self.free + self.spread - loan.remaining_term
        self.total = len(paid) + round(over * self.a_year / 12)
        self.age = -start if start else self.age

    def recast(self, time: int) -> None:
        left, rate = max(self.total - self.done, 1), Decimal(self.rate) / self.a_year
        if self.loan.amortization == "level_pay" and self.rate > 1e-25:
            self.payment = self.balance * rate / (1 - (1 + rate) ** -left)
        elif self.loan.amortization in ("level_pay", "linear"):
            self.payment = self.balance / left
        else:
            self.payment = Decimal(0)

    def run(self) -> tuple[list[float], list[float]]:
        """Balances after months 0 .. term as shares of the opening one, and each month's interest over its balance."""
        balances, rates = [self.balance], []
        for month in range(1, self.term + 1):
            self.between(month - 1)
            holiday, opening, interest = self.holiday(month), self.balance, Decimal(0)
            for each in (each for each in self.paid if each.month == month):
                self.done += 1
                due = Decimal(0) if holiday == "forgiven" else self.balance * Decimal(self.rate) * Decimal(each.years)
                interest += due
                self.balance = max(self.balance_after(month, holiday, due), Decimal(0))
            if month == self.term:
                self.balance = Decimal(0)
            balances.append(self.balance)
            rates.append(float(interest / opening) if opening else 0.0)
        opening = Decimal(self.loan.balance)
        return [float(each / opening) if opening else 0.0 for each in balances], rates


def dated_contract(
    loan: Loan, tape: Tape, index: IndexOf, cutoff: datetime.date | None
) -> tuple[tuple[list[float], list[float]], tuple[int, set[int]]]:
    """What reference.project_loan takes as contract and as waits."""
    with localcontext() as context:
        context.prec = 60
        paid, start = payments(loan, tape, cutoff)
        walk = DatedWalk(loan, tape, index, paid, start)
        found = walk.run()
    months = {each.month for each in paid}
    months |= set(range(walk.term + 1, walk.term + 1200)) & set(regular_months(loan, cutoff))
    return found, (start, set(range(1, walk.term + 1200)) - months)


def regular_months(loan: Loan, cutoff: datetime.date | None) -> range:
    """The months of regular payments, unmoved and as if there were no maturity: when balances in default owe."""
    apart = APART.get(loan.payment_frequency or "monthly", 1)
    if not is_dated(loan, cutoff):
        return range((loan.remaining_term - 1) % apart + 1, 3000, apart)
    assert cutoff is not None
    anchor = datetime.date.fromisoformat(loan.next_payment_date or loan.origination_date or "")
    first = next(k for k in range(int(not loan.next_payment_date), 3000) if moved(loan, anchor, k) > cutoff)
    return range(month_of(cutoff, moved(loan, anchor, first)), 3000, apart)

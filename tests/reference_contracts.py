"""The reference of contracts whose rate or payment changes: one loan, month by month, in sixty digits.

Rates follow the same decimal inputs as the kernel's, since a cap or a rounding decides between neighbours; balances and
payments are exact but for the sixtieth digit.
"""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext

from engine import Loan, Tape
from tests.reference import age_of, terms_left

IndexOf = Callable[[str, int], float]


def contract(loan: Loan, tape: Tape, index: IndexOf) -> tuple[list[float], list[float]]:
    """Balances after months 0 .. remaining_term as shares of the opening one, and the rate of each month.

    index: the annual value of a named index at a month from the cut-off.
    """
    with localcontext() as context:
        context.prec = 60
        return Walk(loan, tape, index).run()


class Walk:
    def __init__(self, loan: Loan, tape: Tape, index: IndexOf) -> None:
        self.loan, self.tape, self.index = loan, tape, index
        self.age, self.term = age_of(loan), loan.remaining_term
        self.free, self.spread = terms_left(loan)
        self.balance = Decimal(loan.balance)
        self.rate, self.resets = loan.annual_rate, 0
        self.payment = None if loan.payment is None else Decimal(loan.payment)
        self.stated = loan.payment is not None
        if loan.graduation_years and 12 * loan.graduation_years > self.age and self.payment is None:
            self.payment = self.first_graduated_payment()

    @property
    def monthly(self) -> Decimal:
        return Decimal(self.rate / 12)

    def run(self) -> tuple[list[float], list[float]]:
        balances, rates = [self.balance], []
        for month in range(1, self.term + 1):
            self.between(month - 1)
            kind = self.holiday(month)
            rates.append(0.0 if kind == "forgiven" else self.rate / 12)
            due = self.balance * Decimal(rates[-1])
            balances.append(max(self.balance_after(month, kind, due), Decimal(0)))
            self.balance = balances[-1] = balances[-1] if month < self.term else Decimal(0)
        opening = Decimal(self.loan.balance)
        return [float(b / opening) if opening else 0.0 for b in balances], rates

    def holiday(self, month: int) -> str | None:
        """What becomes of the interest of a month without a payment, none in a month with one."""
        start, count = self.loan.holiday_start, self.loan.holiday_months
        if start is None or count is None or not start <= month < start + count:
            return None
        return self.loan.holiday_interest or "capitalized"

    def balance_after(self, month: int, holiday: str | None, due: Decimal) -> Decimal:
        loan = self.loan
        if loan.amortization == "schedule":
            schedule = (self.tape.schedules or {})[loan.schedule or ""]
            first = self.age if schedule.by == "age" else 0
            if month >= self.term:
                return Decimal(0)
            return Decimal(loan.balance) * Decimal(schedule.balances[first + month]) / Decimal(schedule.balances[first])
        if holiday is not None:
            return self.balance + (due if holiday == "capitalized" else 0)
        if month <= self.free or loan.amortization == "bullet":
            return self.balance
        assert self.payment is not None
        if loan.amortization == "linear":
            return self.balance - self.payment
        after = self.balance + due - self.payment
        if loan.neg_am_limit is not None and after > Decimal(loan.neg_am_limit * (loan.original_balance or 0.0)):
            self.recast(month - 1)
            after = self.balance + due - self.payment
        return after

    def between(self, time: int) -> None:
        """What happens between month `time` and the next: rate and payment of the next."""
        loan, recasts, full = self.loan, False, False
        changed = self.step(time) or self.reset(time)
        if changed and loan.recast_frequency is None:
            recasts, self.stated = True, False
        if self.due(loan.recast_frequency, time):
            recasts, self.stated = True, False
        if self.due(loan.full_recast_frequency, time):
            full, self.stated = True, False
        if self.payment is None or (not self.stated and time == self.free > 0):
            full = True
        if loan.holiday_start and loan.holiday_months and time == loan.holiday_start - 1 + loan.holiday_months:
            full = full or not self.stated
        if loan.graduation_years and time > 0 and (self.age + time) % 12 == 0:
            if (self.age + time) // 12 <= loan.graduation_years and self.payment is not None:
                self.payment *= 1 + Decimal(loan.graduation_rate or 0.0)
        elif full or recasts:
            old = self.payment
            self.recast(time)
            if not full and loan.payment_cap is not None and old is not None and self.payment is not None:
                move = old * Decimal(loan.payment_cap)
                self.payment = min(max(self.payment, old - move), old + move)

    def due(self, every: int | None, time: int) -> bool:
        """Whether a recast at ages that are multiples of `every` falls on a time."""
        return bool(every) and time > 0 and (self.age + time) % (every or 1) == 0

    def recast(self, time: int) -> None:
        """The payment that repays the balance by the end of the amortization."""
        left = max(self.free + self.spread - time, 1)
        if self.loan.amortization == "level_pay" and self.rate > 1e-25:
            self.payment = self.balance * self.monthly / (1 - (1 + self.monthly) ** -left)
        elif self.loan.amortization in ("level_pay", "linear"):
            self.payment = self.balance / left
        else:
            self.payment = Decimal(0)

    def first_graduated_payment(self) -> Decimal:
        """What repays the loan: the balance carried to the end over what a unit of first payment is worth there."""
        loan, growth = self.loan, 1 + self.monthly
        assert loan.graduation_years
        level, worth, left = Decimal(1), Decimal(0), self.spread
        for month in range(1, left + 1):
            anniversary, time = (self.age + month - 1) % 12 == 0, month - 1
            if time > 0 and anniversary and (self.age + time) // 12 <= loan.graduation_years:
                level *= 1 + Decimal(loan.graduation_rate or 0.0)
            worth = worth * growth + level
        return self.balance * growth**left / worth

    def step(self, time: int) -> bool:
        if self.loan.rate_schedule is None:
            return False
        schedule = (self.tape.rate_schedules or {})[self.loan.rate_schedule]
        first = self.age if schedule.by == "age" else 0
        found = [step.annual_rate for step in schedule.steps if step.month == time + first]
        if time == 0 and found == [self.loan.annual_rate]:
            return False  # it holds already
        self.rate = found[0] if found else self.rate
        return bool(found)

    def reset(self, time: int) -> bool:
        loan = self.loan
        if loan.index is None or loan.first_reset is None or time < loan.first_reset:
            return False
        if (time - loan.first_reset) % (loan.reset_frequency or 12):
            return False
        rate = self.index(loan.index, time - (loan.look_back or 0)) + (loan.margin or 0.0)
        if loan.rate_rounding:
            steps = rate / loan.rate_rounding
            way = loan.rounding_direction or "nearest"
            up, down, near = math.ceil(steps - 1e-9), math.floor(steps + 1e-9), math.floor(steps + 0.5 + 1e-9)
            rate = {"up": up, "down": down, "nearest": near}[way] * loan.rate_rounding
        cap, floor = loan.periodic_cap, loan.periodic_floor
        if self.resets == 0:
            cap = loan.first_cap if loan.first_cap is not None else cap
            floor = loan.first_floor if loan.first_floor is not None else floor
        if cap is not None:
            rate = min(rate, self.rate + cap)
        if floor is not None:
            rate = max(rate, self.rate - floor)
        rate = max(rate, loan.life_floor or 0.0)
        self.rate = rate if loan.life_cap is None else min(rate, loan.life_cap)
        self.resets += 1
        return True

"""The reference of late loans whose rate or payment changes: walked month by month from the first payment missed.

What held before the cut-off is looked up month by month as the loan's terms say it; `Unknown` where they do not.
"""

import math
from collections.abc import Callable
from decimal import localcontext

from msgspec import structs

from engine import Loan, Tape
from tests.reference import age_of
from tests.reference_contracts import IndexOf, Walk

Told = Callable[[str, int], bool]


class Unknown(Exception):
    """The rate or payment of a missed month cannot be told."""


def contract_when_late(
    loan: Loan, tape: Tape, index: IndexOf, told: Told, ago: int, held: bool = False
) -> tuple[list[float], list[float]]:
    """Balances from `ago` months before the cut-off, as shares of what is owed, and the rate of each month from there.

    told: whether an index has a history that goes back to a month. held: whether the terms of the cut-off held before.
    """
    with localcontext() as context:
        context.prec = 60
        return LateWalk(loan, tape, index, told, ago, held).run()


def changes_of(loan: Loan, tape: Tape, index: IndexOf, told: Told, ago: int) -> tuple[float, dict[int, float]]:
    """The rate `ago` months before the cut-off, and those that came into force later, by month up to the cut-off."""
    found: list[tuple[int, float | None]] = []  # the latest first, down to what held when the first payment was missed
    if loan.rate_schedule is not None:
        schedule = (tape.rate_schedules or {})[loan.rate_schedule]
        if schedule.by == "age":
            if age_of(loan) < ago:
                raise Unknown
            for step in reversed(schedule.steps):
                month = step.month - age_of(loan)
                if month < 0 or (month == 0 and step.annual_rate == loan.annual_rate):
                    found.append((month, step.annual_rate))
    elif loan.index is not None and loan.first_cap is None and loan.first_floor is None:
        assert loan.first_reset is not None
        every = loan.reset_frequency or 12
        month = loan.first_reset - every
        while -ago < month < 0:
            found.append((month, None))
            month -= every
        if found:
            found.append((month, None))
            found = [(month, reset_value(loan, index, told, month, found[-1][0])) for month, _ in found]
    inside = [each for each in found if each[0] > -ago]
    if not inside:
        return loan.annual_rate, {}
    before = [rate for month, rate in found if month <= -ago]
    rates = [loan.annual_rate, *(rate for _, rate in inside[1:]), before[0] if before else None]
    if loan.previous_rate is not None:
        rates[1] = loan.previous_rate
    if any(rate is None for rate in rates):
        raise Unknown
    known = [rate for rate in rates if rate is not None]
    if set(known) == {loan.annual_rate}:
        return loan.annual_rate, {}
    return known[-1], dict(zip([month for month, _ in inside], known[:-1], strict=True))


def reset_value(loan: Loan, index: IndexOf, told: Told, month: int, first: int) -> float | None:
    """What a reset gave; `first` is the earliest that is looked at. None where that cannot be told."""
    assert loan.index is not None
    if loan.periodic_cap is not None or loan.periodic_floor is not None or age_of(loan) <= -first:
        return None
    at = month - (loan.look_back or 0)
    if not told(loan.index, at):
        return None
    rate = index(loan.index, at) + (loan.margin or 0.0)
    if loan.rate_rounding:
        steps = rate / loan.rate_rounding
        way = loan.rounding_direction or "nearest"
        up, down, near = math.ceil(steps - 1e-9), math.floor(steps + 1e-9), math.floor(steps + 0.5 + 1e-9)
        rate = {"up": up, "down": down, "nearest": near}[way] * loan.rate_rounding
    rate = max(rate, loan.life_floor or 0.0)
    return rate if loan.life_cap is None else min(rate, loan.life_cap)


class LateWalk(Walk):
    """A walk whose time 0 is `ago` months before the cut-off."""

    def __init__(self, loan: Loan, tape: Tape, index: IndexOf, told: Told, ago: int, held: bool) -> None:
        age = age_of(loan)
        schedule = (tape.schedules or {}).get(loan.schedule or "")
        if schedule is not None and (schedule.by == "period" or age < ago):
            raise Unknown
        if loan.graduation_years and age < ago:
            raise Unknown
        first, changes = (loan.annual_rate, {}) if held else changes_of(loan, tape, index, told, ago)
        payment = loan.payment
        for month in range(1 - ago, 1):
            anniversary = (age + month) % 12 == 0 and 0 < (age + month) // 12 <= (loan.graduation_years or 0)
            if payment is not None and anniversary:
                payment /= 1 + (loan.graduation_rate or 0.0)
        then = structs.replace(
            loan, remaining_term=loan.remaining_term + ago, age=age - ago, payment=payment,
            first_reset=None if loan.first_reset is None else loan.first_reset + ago,
            holiday_start=None if loan.holiday_start is None else loan.holiday_start + ago,
        )  # fmt: skip
        super().__init__(then, tape, lambda name, month: index(name, month - ago))
        self.rate, self.ago, self.held, self.changes = first, ago, held, changes
        if loan.payment is not None and not held:
            moved = [month for month in changes if loan.recast_frequency is None]
            for every in (loan.recast_frequency, loan.full_recast_frequency):
                moved += [month for month in range(1 - ago, 1) if every and (age + month) % every == 0]
            if moved:
                raise Unknown

    def due(self, every: int | None, time: int) -> bool:
        return super().due(every, time) and not (self.held and time <= self.ago)

    def step(self, time: int) -> bool:
        if self.is_past(time):
            return self.took_effect(time)
        rates = (self.tape.rate_schedules or {}).get(self.loan.rate_schedule or "")
        if rates is None:
            return False
        now = time + self.age if rates.by == "age" else time - self.ago
        found = [each.annual_rate for each in rates.steps if each.month == now]
        self.rate = found[0] if found else self.rate
        return bool(found)

    def reset(self, time: int) -> bool:
        return False if self.is_past(time) else super().reset(time)

    def is_past(self, time: int) -> bool:
        """Whether the rate that holds from a time on is one of the past."""
        if time < self.ago or time - self.ago in self.changes:
            return True
        rates = (self.tape.rate_schedules or {}).get(self.loan.rate_schedule or "")
        if time > self.ago or rates is None:
            return False
        now = self.ago + self.age if rates.by == "age" else 0
        return any(each.month == now and each.annual_rate == self.kept for each in rates.steps)

    @property
    def kept(self) -> float:
        """The rate at the cut-off."""
        return self.loan.annual_rate

    def took_effect(self, time: int) -> bool:
        month = time - self.ago
        self.rate = self.changes.get(month, self.rate)
        return month in self.changes

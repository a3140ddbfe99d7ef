"""Loans that pay by date against QuantLib, over generated contracts: stubs, month ends, calendars, day counts.

QuantLib makes the dates (ql.Schedule, with the first stub and the last one), moves them by its own calendars, counts
the days and pays the coupons (AmortizingFixedRateBond); its flows are then put into months from the cut-off by its own
months. A long last period is QuantLib's short one joined to the one before. Accrual dates do not move, or as payments
do, since QuantLib pays on the moved end of a period.

Where the two differ, and so are not compared: ACT/ACT ICMA splits a long last period over the loan's own regular dates,
which keep to month ends where its payments do; QuantLib takes them from the day of the month that it happens to be on.
"""

import datetime
import random
from typing import Any, NamedTuple

import numpy as np
import pytest
import QuantLib as ql  # noqa: N813

import engine
from engine.dates import Calendar
from tests.engine.test_quantlib_dates import CONVENTIONS, PERIODS, back, of

CASES = 400
MONTHLY = ("monthly", "quarterly", "semi_annual", "annual")
A_YEAR = {"weekly": 52, "fortnightly": 26, "monthly": 12, "quarterly": 4, "semi_annual": 2, "annual": 1}
US = ql.UnitedStates
CALENDARS = {
    None: None,
    "TARGET": ql.TARGET(),
    "NYSE": US(US.NYSE),
    "FED": US(US.FederalReserve),
    "own": ql.JointCalendar(ql.WeekendsOnly(), ql.BespokeCalendar("own holidays")),
}
HOLIDAYS = tuple(datetime.date(year, month, day) for year in range(2015, 2046) for month, day in ((3, 31), (9, 1)))
for holiday in HOLIDAYS:
    CALENDARS["own"].addHoliday(of(holiday))
OWN = {"own": Calendar(holidays=HOLIDAYS)}
COUNTS = {
    "30/360 Bond Basis": ql.Thirty360(ql.Thirty360.BondBasis),
    "30/360 US": ql.Thirty360(ql.Thirty360.USA),
    "30E/360": ql.Thirty360(ql.Thirty360.EurobondBasis),
    "30E/360 ISDA": None,  # is made for the maturity of each loan
    "ACT/360": ql.Actual360(),
    "ACT/365F": ql.Actual365Fixed(),
    "ACT/ACT ISDA": ql.ActualActual(ql.ActualActual.ISDA),
    "ACT/ACT ICMA": ql.ActualActual(ql.ActualActual.ISMA),
    "ACT/ACT AFB": ql.ActualActual(ql.ActualActual.Euro),
}


class Case(NamedTuple):
    """A loan, the cut-off date, and the dates of its interest periods, unmoved, as QuantLib makes them."""

    loan: engine.Loan
    cutoff: datetime.date
    dates: list[Any]
    regular: list[bool]


def edge(cutoff: datetime.date, months: int) -> Any:
    """The last day of a month from the cut-off; from a month's end they all end on one."""
    start = of(cutoff)
    return ql.NullCalendar().advance(start, months, ql.Months, ql.Unadjusted, ql.Date.isEndOfMonth(start))


def month_of(cutoff: datetime.date, day: Any) -> int:
    return next(month for month in range(2_000) if day <= edge(cutoff, month))


def dates_between(begin: Any, first: Any, end: Any, frequency: str, last_day: bool) -> list[Any]:
    """The ends of interest periods: `begin`, then `first` and every period after it, then `end`."""
    if first == end:
        return [begin, end]
    schedule = ql.Schedule(
        begin, end, PERIODS[frequency], ql.NullCalendar(), ql.Unadjusted, ql.Unadjusted, ql.DateGeneration.Forward,
        last_day, first,
    )  # fmt: skip
    return list(schedule)


def case(seed: int) -> Case:
    """A loan with what the seed draws: frequency, stubs, month ends, conventions, calendar, day count, amortization."""
    draw = random.Random(seed)
    frequency = draw.choice([*PERIODS, *MONTHLY])
    by_month = frequency in MONTHLY
    cutoff = datetime.date(2015, 1, 1) + datetime.timedelta(days=draw.randrange(3_600))
    if draw.random() < 0.4:
        cutoff = cutoff.replace(day=1) - datetime.timedelta(days=1)
    period = PERIODS[frequency]
    days = max((of(cutoff) + period) - of(cutoff), 1)
    # A week at least after the cut-off, so that no payment moves before it.
    first = of(cutoff) + (draw.randrange(8, days) if days > 8 else 8)
    last_day = by_month and draw.random() < 0.4
    if last_day:
        first = ql.Date.endOfMonth(first)
    convention = draw.choice(list(CONVENTIONS))
    calendar = draw.choice(list(CALENDARS)) if convention != "none" else None
    accrual = draw.choice(["none", convention])
    payments = draw.randrange(1, 60 if by_month else 150)
    known = ql.Schedule(
        first, first + ql.Period((payments + 1) * period.length(), period.units()), period, ql.NullCalendar(),
        ql.Unadjusted, ql.Unadjusted, ql.DateGeneration.Forward, last_day,
    )  # fmt: skip
    end, stub = known[payments - 1], draw.choice([None, "short", "long"])
    if stub:
        end = end + draw.randrange(1, max(known[payments] - end, 2))
        stub = None if end == known[payments] else stub
    before = ql.NullCalendar().advance(first, -period.length(), period.units(), ql.Unadjusted, last_day)
    begin, start = before, draw.choice(["regular", "paid", "origin" if before < of(cutoff) else "regular"])
    if start == "paid":
        begin = first - draw.randrange(1, 2 * days)
    elif start == "origin":
        begin = before + draw.randrange(0, of(cutoff) - before + 1)
    irregular = begin != before or stub is not None
    icma = by_month and accrual == "none" and not (irregular and last_day)
    dates = dates_between(begin, first, end, frequency, last_day)
    regular = [begin == before, *[True] * (len(dates) - 3), stub is None][: len(dates) - 1]
    if stub == "long" and end > first:
        del dates[-2]
        regular = [*regular[:-2], False]
    # Of one period that is no regular one QuantLib does not know where the regular ones lie.
    icma = icma and (len(dates) > 2 or not irregular)
    names = [name for name in COUNTS if icma or name != "ACT/ACT ICMA"]
    loan = engine.Loan(
        balance=draw.uniform(1e3, 1e6), annual_rate=draw.uniform(0.005, 0.15),
        remaining_term=month_of(cutoff, end), amortization=draw.choice(["level_pay", "linear", "bullet"]),
        payment_frequency=frequency, next_payment_date=str(back(first)), maturity_date=str(back(end)),
        paid_to_date=str(back(begin)) if start == "paid" else None,
        origination_date=str(back(begin)) if start == "origin" else None,
        final_stub=stub, day_count=draw.choice(names if irregular or accrual != "none" else [*names, None]),
        business_day=None if convention == "none" else convention, calendar=calendar,
        accrual_business_day=None if accrual == "none" else accrual, month_end="last_day" if last_day else None,
    )  # fmt: skip
    return Case(loan, cutoff, dates, regular)


def coupons(found: Case, notionals: list[float], rate: float) -> list[Any]:
    """QuantLib's coupons on the notionals, moved by the loan's conventions and calendar."""
    loan = found.loan
    calendar = CALENDARS[loan.calendar] if loan.calendar else ql.WeekendsOnly()
    moved = [calendar.adjust(day, CONVENTIONS[loan.accrual_business_day or "none"]) for day in found.dates]
    schedule = ql.Schedule(
        moved, calendar, ql.Unadjusted, ql.Unadjusted, PERIODS[loan.payment_frequency or "monthly"],
        ql.DateGeneration.Forward, loan.month_end == "last_day", found.regular,
    )  # fmt: skip
    count = COUNTS.get(loan.day_count or "30/360 Bond Basis") or ql.Thirty360(ql.Thirty360.ISDA, moved[-1])
    bond = ql.AmortizingFixedRateBond(
        0, notionals, schedule, [rate], count, CONVENTIONS[loan.business_day or "none"]
    )  # fmt: skip
    return [coupon for flow in bond.cashflows() if (coupon := ql.as_fixed_rate_coupon(flow)) is not None]


def notionals_of(loan: engine.Loan, years: list[float]) -> list[float]:
    """The balance at the start of each period and after the last; level payments are those of equal periods."""
    n, rate = len(years), loan.annual_rate / A_YEAR[loan.payment_frequency or "monthly"]
    if loan.amortization == "bullet":
        return [loan.balance] * n + [0.0]
    if loan.amortization == "linear":
        return [loan.balance * (n - k) / n for k in range(n + 1)]
    payment, balances = loan.balance * rate / (1 - (1 + rate) ** -n), [loan.balance]
    for each in years:
        balances.append(max(balances[-1] * (1 + loan.annual_rate * each) - payment, 0.0))
    return [*balances[:-1], 0.0]


@pytest.mark.parametrize("seed", range(CASES))
def test_dated_loans(seed: int) -> None:
    found = case(seed)
    loan = found.loan
    unit = coupons(found, [1.0] * (len(found.dates) - 1), 1.0)
    # Without a day count every period is a whole one.
    even = 1 / A_YEAR[loan.payment_frequency or "monthly"]
    years = [coupon.accrualPeriod() if loan.day_count else even for coupon in unit]
    balances = notionals_of(loan, years)
    paid = coupons(found, balances[:-1], loan.annual_rate)
    months = [month_of(found.cutoff, coupon.date()) for coupon in paid]
    interest, principal = np.zeros(max(months)), np.zeros(max(months))
    for k, (coupon, month) in enumerate(zip(paid, months, strict=True)):
        interest[month - 1] += coupon.amount() if loan.day_count else balances[k] * loan.annual_rate * even
        principal[month - 1] += balances[k] - balances[k + 1]
    tape = engine.Tape.from_loans([loan], calendars=OWN)
    flows = engine.project(engine.ProjectionRequest(tape=tape, cutoff_date=found.cutoff))
    for name, expected in (("interest", interest), ("scheduled_principal", principal)):
        np.testing.assert_allclose(flows[name], expected, rtol=1e-9, atol=1e-9 * loan.balance, err_msg=name)


def test_the_generated_loans_have_every_term_that_is_compared() -> None:
    loans = [case(seed).loan for seed in range(CASES)]
    moves = {*CONVENTIONS, None} - {"none"}
    expected: dict[str, Any] = {
        "payment_frequency": PERIODS,
        "business_day": moves,
        "accrual_business_day": moves,
        "calendar": CALENDARS,
        "day_count": {*COUNTS, None},
        "final_stub": {"short", "long", None},
        "amortization": {"level_pay", "linear", "bullet"},
        "month_end": {"last_day", None},
    }
    for name, allowed in expected.items():
        assert {getattr(loan, name) for loan in loans} == set(allowed), name
    assert sum(loan.paid_to_date is not None for loan in loans) > 50
    assert sum(loan.origination_date is not None for loan in loans) > 50

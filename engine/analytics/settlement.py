"""When cashflows are paid, seen from settlement: by times, by dates off holidays, or by months and a delay."""

import datetime
from typing import Literal

import msgspec
import numpy as np

from engine.analytics.roots import Floats, floats
from engine.analytics.timing import dated_times, payment_times
from engine.dates import BusinessDayConvention, Days, Frequency, adjust, named_calendar, payment_dates
from engine.errors import InvalidInput, Problem

DayCount = Literal[
    "30/360 Bond Basis", "30/360 US", "30/360 SIFMA", "30E/360", "30E/360 ISDA", "ACT/360", "ACT/365F", "ACT/ACT ISDA"
]
PAID: dict[int, Frequency] = {12: "monthly", 4: "quarterly", 2: "semi_annual", 1: "annual"}


class Settlement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the cashflows are paid, seen from settlement.

    times: years to each payment, in place of all that follows; of a projection also more than it has months, for
    measures that project recoveries after it. date, payment_dates: the settlement and the day of each
    payment, turned into years by day_count. first_payment_date: in place of payment_dates, the day of the first; the
    others follow by months. end_of_month: whether they are month ends where that is one. business_day: how either
    move off weekends and holidays, not at all by default. calendar: code of the market or country whose holidays are
    kept, such as NYSE or DE-BY. holidays: a list of one's own, beside it. delay_days: actual delay of monthly payments,
    from the borrower's payment day to the investor's. stated_delay_days: in its place, days from the start of accrual
    to the first payment, both counted. settlement_days: days of thirty-day months from the start of the first accrual
    month to settlement. payments_per_year: payments of cashflows that are given as arrays.
    """

    times: list[float] | None = None
    date: datetime.date | None = None
    payment_dates: list[datetime.date] | None = None
    first_payment_date: datetime.date | None = None
    end_of_month: bool = False
    business_day: BusinessDayConvention = "none"
    calendar: str | None = None
    holidays: list[datetime.date] | None = None
    day_count: DayCount = "30/360 Bond Basis"
    delay_days: float = 0.0
    stated_delay_days: float | None = None
    settlement_days: float = 0.0
    payments_per_year: Literal[1, 2, 4, 12] = 12

    def years(self, periods: int) -> Floats:
        """Years from settlement to each of the payments. Raises InvalidInput where they are not as many."""
        return self.reckoned(periods, spare=False)

    def years_projected(self, periods: int) -> Floats:
        """Years to each month of a projection, more of which may be stated than this one has."""
        return self.reckoned(periods, spare=True)

    def reckoned(self, periods: int, spare: bool) -> Floats:
        """Years from settlement to each of the payments. spare: whether more may be stated."""
        self.check_alone()
        if self.times is not None:
            return fitting("times", floats("settlement.times", self.times), periods, spare)
        self.check_dates()
        if self.date is not None:
            return fitting(
                "payment_dates", dated_times(self.date, self.payments(periods), self.day_count), periods, spare
            )
        given = (self.delay_days, self.settlement_days)
        for name, value in zip(("delay_days", "settlement_days"), given, strict=True):
            floats(f"settlement.{name}", value)
        return payment_times(
            periods, *given, stated_delay_days=self.stated_delay_days, payments_per_year=self.payments_per_year
        )

    def check_alone(self) -> None:
        """Raises InvalidInput for what would do nothing, since another member says when payments are."""
        delays: tuple[str, ...] = ("stated_delay_days", "delay_days", "settlement_days")
        first, idle = "stated_delay_days", delays[1:2]
        if self.times is not None:
            first, idle = "times", delays + DATED
        elif self.date is not None:
            first, idle = "date", delays
        stated = [] if getattr(self, first) is None else [n for n in idle if getattr(self, n) != DEFAULTS[n]]
        message = f"is stated beside {first}, which says when payments are; expected one of them"
        found = [Problem(f"settlement.{name}", message) for name in stated]
        if self.times is None and self.date is None and self.day_count != DEFAULTS["day_count"]:
            found.append(Problem("settlement.day_count", "is stated without dates; nothing is counted by it"))
        if found:
            raise InvalidInput(found)

    def check_dates(self) -> None:
        """Raises InvalidInput for dates and what moves them that do not fit together."""
        found: list[Problem] = []
        given = [name for name in ("payment_dates", "first_payment_date") if getattr(self, name) is not None]
        if (self.date is None) != (not given):
            path = "date" if given else "payment_dates"
            message = "is missing; date is given together with payment_dates or first_payment_date"
            found.append(Problem(f"settlement.{path}", message))
        if len(given) == 2:
            message = "is given beside payment_dates; expected one of them"
            found.append(Problem("settlement.first_payment_date", message))
        moved = [] if self.business_day == "none" else ["business_day"]
        kept = [name for name in ("calendar", "holidays") if getattr(self, name) is not None]
        if kept and not moved:
            found += [
                Problem(f"settlement.{name}", "is stated without business_day; nothing moves by it") for name in kept
            ]
        ends = ["end_of_month"] if self.end_of_month else []
        for name in [] if given else moved + ends:
            message = "is about payment dates; expected payment_dates or first_payment_date beside it"
            found.append(Problem(f"settlement.{name}", message))
        if self.end_of_month and self.payment_dates is not None:
            message = "is stated beside payment_dates, which say each day; expected first_payment_date"
            found.append(Problem("settlement.end_of_month", message))
        if found:
            raise InvalidInput(found)

    def payments(self, periods: int) -> Days:
        """The days of the payments, moved off holidays; as many as the periods where they follow from the first."""
        try:
            calendar = named_calendar(self.calendar, tuple(self.holidays or ()))
            if self.payment_dates is not None:
                return adjust(np.array(self.payment_dates, dtype="datetime64[D]"), self.business_day, calendar)
            assert self.first_payment_date is not None
            return payment_dates(
                self.first_payment_date, PAID[self.payments_per_year], count=periods, end_of_month=self.end_of_month,
                convention=self.business_day, calendar=calendar,
            )  # fmt: skip
        except InvalidInput as error:
            raise InvalidInput([Problem(f"settlement.{each.path}", each.message) for each in error.problems]) from error


# What is about dates, and what each member is where it is not stated.
DATED: tuple[str, ...] = (
    "date", "payment_dates", "first_payment_date", "end_of_month", "business_day", "calendar", "holidays", "day_count",
)  # fmt: skip
DEFAULTS = msgspec.structs.asdict(Settlement())


def fitting(name: str, years: Floats, periods: int, spare: bool) -> Floats:
    """The first of the years, one a period. Raises InvalidInput for too few, and for too many unless `spare`."""
    if len(years) < periods or (len(years) > periods and not spare):
        message = f"has {len(years)} values; expected {periods}{' or more' if spare else ''}, one a period"
        raise InvalidInput([Problem(f"settlement.{name}", message)])
    return years[:periods]

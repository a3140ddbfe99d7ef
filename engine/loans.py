"""Loan Structs: the rows of a tape, and the schedules and steps that loans share by name. Every loan carries `type`."""

from typing import Literal, get_args

import msgspec

from engine.dates import BusinessDayConvention, Frequency

Amortization = Literal["level_pay", "linear", "bullet", "schedule"]
AMORTIZATIONS: tuple[str, ...] = get_args(Amortization)
RoundingDirection = Literal["nearest", "up", "down"]
ROUNDING_DIRECTIONS: tuple[str, ...] = get_args(RoundingDirection)
HolidayInterest = Literal["capitalized", "forgiven", "paid"]
HOLIDAY_INTEREST: tuple[str, ...] = get_args(HolidayInterest)
Status = Literal[
    "current", "delinquent_30", "delinquent_60", "delinquent_90", "delinquent_120", "default", "foreclosure", "reo"
]
STATUSES: tuple[str, ...] = get_args(Status)
MonthEnd = Literal["same_day", "last_day"]
MONTH_ENDS: tuple[str, ...] = get_args(MonthEnd)
FinalStub = Literal["short", "long"]
FINAL_STUBS: tuple[str, ...] = get_args(FinalStub)
MAX_TERM = 1200
MAX_LTV = 10  # 1000%


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A given schedule that loans share by name, in any unit: a loan's balance is scaled to it.

    balances: what is left after months 0, 1, 2, ..; what a loan still has at its maturity is a balloon.
    by: period counts from the cut-off, age is the loan's age in months, so that entry 0 is origination.
    """

    balances: list[float]
    by: Literal["period", "age"] = "period"


class RateStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An annual rate that holds for the interest that accrues after `month`, until the next step."""

    month: int
    annual_rate: float


class RateSchedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Step rates that loans share by name; until the first step a loan's own annual_rate holds.

    A step in the month of the cut-off to another rate recasts the payment at once, a stated one too; one to the
    loan's own rate changes nothing. by: months count from the cut-off (period) or from origination (age).
    """

    steps: list[RateStep]
    by: Literal["period", "age"] = "period"


class Loan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="loan"):
    """A term loan, or a rep line of many alike.

    balance: performing balance at the cut-off, currency units. annual_rate, servicing_fee: decimals a year.
    remaining_term: months to maturity. age: months since origination, 0 for a new loan (the first payment is
    then month 1 of age-based curves). original_term, original_balance: for information. payment: stated
    monthly payment of a level-pay loan in place of the computed one (amortization_term then says nothing); what it
    leaves at maturity is a balloon, what it leaves unpaid of the interest is added to the balance, and a last payment
    that would be less than a billionth of it is paid with the one before.
    interest_only_term, amortization_term: terms of the contract, from origination like original_term: the months
    that pay interest only at first, and the months after those over which principal is spread, longer than the term
    for a balloon. A loan of age 24 with 60 interest-only months has 36 of them to go.
    property_value: of what secures the loan, at the cut-off, currency units; ltv: in its place, the balance over that
    value, a decimal. mortgage_insurance: share of the balance
    at default that insurance pays of a loss, a decimal.
    schedule: name in the tape's `schedules` of the balances that a loan of amortization `schedule` follows.

    A floating loan names an index. index: name of its path in the assumptions' `rates`. margin: added to the index.
    first_reset: months from the cut-off to the next reset (months to roll), 0 for one at it; until then annual_rate
    holds, and the payment after a reset is the first at the new rate. reset_frequency: months between resets, 12 by
    default. look_back: months before the reset at which the index is read. rate_rounding, rounding_direction: what
    index and margin are rounded to before caps (0.00125 for an eighth of a per cent), nearest by default.
    first_cap, first_floor: most that the next reset may raise or lower the rate, periodic ones where not given.
    periodic_cap, periodic_floor: most that a reset may raise or lower the rate. life_cap, life_floor: bounds
    of the rate, the floor 0 by default. recast_frequency: a level payment is recast to the balance, rate and remaining
    amortization at each reset; if given, at every so many months of age instead, and 0 for never.
    payment_cap: most that a recast may raise or lower the payment, a share of what it was (0.075: to 92.5% at least and
    107.5% at most; from 1 on nothing limits a fall). full_recast_frequency:
    months of age at which the payment is recast without that cap. neg_am_limit: multiple of original_balance that the
    balance may reach; a payment that would let it pass is recast without the cap.

    rate_schedule: name in the tape's `rate_schedules` of the step rates of a loan. previous_rate: the annual rate
    before the last change, at which late loans owe the months missed before it. graduation_rate, graduation_years:
    the payment grows by this share at each anniversary of origination for so many years, then stays level; it is the
    one that repays the loan, unless stated. holiday_start, holiday_months: the first month from the
    cut-off without a payment, and how many such months; a payment that was not stated is recast after them.
    holiday_interest: the holiday's interest is capitalized (by default), forgiven, or paid.

    status: at the cut-off, current by default. A loan in default, foreclosure or reo does not perform: its balance is
    liquidated once what is left of the recovery lag has passed. A delinquent one begins roll rates as late as it is,
    and is else taken as current, unless rules by `status` give it other assumptions. months_in_status: months since
    it defaulted, 0 by default.

    payment_frequency: monthly by default; `payment` is then what each payment is. Dates are texts, YYYY-MM-DD, and
    count from the request's cutoff_date. next_payment_date: the first payment after the cut-off, and the day of those
    after it. origination_date: from when interest accrues; after the cut-off, the loan is drawn then. paid_to_date: up
    to which interest is paid, the last regular payment date by default. maturity_date: of the last payment, regular or
    not. final_stub: whether an irregular last period is short (default) or long. day_count: of the interest, a name
    of engine.day_count; equal periods without one. business_day, calendar: how payments move off holidays, and of which
    calendar (a name in the tape's `calendars`, the code of a market or a country). accrual_business_day: how the
    ends of interest periods move, not at all by default. month_end: last_day keeps payments at month ends.

    penalty: name in the tape's `penalties` of what prepayments cost, and of the months in which there are none.
    """

    balance: float
    annual_rate: float
    remaining_term: int
    loan_id: str | None = None
    amortization: Amortization = "level_pay"
    original_balance: float | None = None
    original_term: int | None = None
    age: int | None = None
    payment: float | None = None
    servicing_fee: float = 0.0
    group: str | None = None
    interest_only_term: int = 0
    amortization_term: int | None = None
    property_value: float | None = None
    ltv: float | None = None
    mortgage_insurance: float = 0.0
    schedule: str | None = None
    index: str | None = None
    margin: float | None = None
    first_reset: int | None = None
    reset_frequency: int | None = None
    look_back: int | None = None
    rate_rounding: float | None = None
    rounding_direction: RoundingDirection | None = None
    first_cap: float | None = None
    first_floor: float | None = None
    periodic_cap: float | None = None
    periodic_floor: float | None = None
    life_cap: float | None = None
    life_floor: float | None = None
    recast_frequency: int | None = None
    payment_cap: float | None = None
    full_recast_frequency: int | None = None
    neg_am_limit: float | None = None
    rate_schedule: str | None = None
    previous_rate: float | None = None
    graduation_rate: float | None = None
    graduation_years: int | None = None
    holiday_start: int | None = None
    holiday_months: int | None = None
    holiday_interest: HolidayInterest | None = None
    status: Status | None = None
    months_in_status: int | None = None
    payment_frequency: Frequency | None = None
    origination_date: str | None = None
    next_payment_date: str | None = None
    paid_to_date: str | None = None
    maturity_date: str | None = None
    final_stub: FinalStub | None = None
    day_count: str | None = None
    business_day: BusinessDayConvention | None = None
    accrual_business_day: BusinessDayConvention | None = None
    calendar: str | None = None
    month_end: MonthEnd | None = None
    penalty: str | None = None

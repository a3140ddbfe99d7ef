"""When cash is paid, seen from settlement, and the interest that has accrued until then.

Source of the delays: Standard Formulas, Uniform Practices ch. SF, pages SF-44 and SF-45.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine import day_count as counts
from engine.analytics.roots import Floats, floats, plain
from engine.dates import Date, Dates, as_days
from engine.errors import InvalidInput, Problem

YEAR = 360.0


def payment_times(
    periods: int,
    delay_days: float = 0.0,
    settlement_days: float = 0.0,
    *,
    stated_delay_days: float | None = None,
    payments_per_year: int = 12,
) -> Floats:
    """Years from settlement to each payment, (30k + delay_days - settlement_days)/360 for months k = 1, 2, ...

    delay_days: actual delay, from the borrower's payment day to the investor's. stated_delay_days: in its place, days
    from the start of accrual to the first payment, both counted (55 for an actual 24). settlement_days: days from the
    start of the first accrual month to settlement. payments_per_year: 12 months, or 4, 2 or 1 longer periods.
    """
    if payments_per_year < 1 or 12 % payments_per_year:
        message = f"is {payments_per_year}; expected a number of payments that divides twelve"
        raise InvalidInput([Problem("payments_per_year", message)])
    length = YEAR / payments_per_year
    delay = delay_days if stated_delay_days is None else stated_delay_days - 1 - length
    days = length * np.arange(1, periods + 1, dtype=np.float64) + (delay - settlement_days)
    return np.asarray(days / YEAR)


def dated_times(settlement: Date, payments: Dates, day_count: str = "30/360 Bond Basis") -> Floats:
    """Years from settlement to each payment date by a day count, negative for what was paid before it."""
    start, dates = as_days("settlement", settlement), as_days("payments", payments)
    if day_count in ("ACT/ACT ICMA", "ACT/ACT AFB"):
        message = f"is {day_count!r}, which counts no years from settlement; expected another day count"
        raise InvalidInput([Problem("day_count", message)])
    return np.atleast_1d(np.asarray(counts.year_fraction(day_count, start, dates), dtype=np.float64))


def accrued_interest(
    balance: ArrayLike,
    annual_rate: ArrayLike,
    accrual_start: Date,
    settlement: Date,
    day_count: str = "30/360 Bond Basis",
    *,
    maturity: Date | None = None,
    period_start: Date | None = None,
    period_end: Date | None = None,
) -> Any:
    """Interest of the current period that belongs to the seller: balance x rate x year fraction to settlement.

    balance and annual_rate are numbers or arrays that broadcast. period_start, period_end: the coupon period, for
    ACT/ACT ICMA. Raises InvalidInput where settlement is before the start. A dirty price is the clean one and this.
    """
    start, end = as_days("accrual_start", accrual_start), as_days("settlement", settlement)
    if end < start:
        message = f"is {settlement}, before the accrual starts on {accrual_start}; expected the same day or a later one"
        raise InvalidInput([Problem("settlement", message)])
    share = counts.year_fraction(
        day_count, start, end, maturity=maturity, period_start=period_start, period_end=period_end
    )
    return plain(floats("balance", balance) * floats("annual_rate", annual_rate) * share)


def actual_delay_days(borrower: tuple[int, int], investor: tuple[int, int]) -> int:
    """Days, in months of thirty, from the borrower's payment to the investor's; each is (month, day)."""
    return 30 * (investor[0] - borrower[0]) + investor[1] - borrower[1]


def stated_delay_days(accrual_start: tuple[int, int], investor: tuple[int, int]) -> int:
    """Days, in months of thirty, from the start of accrual to the first payment, both counted; each is (month, day)."""
    return actual_delay_days(accrual_start, investor) + 1

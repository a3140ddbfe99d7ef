"""Level payments, amortised factors, and the speeds that pool factors imply.

Source: Standard Formulas, Uniform Practices ch. SF, pages SF-7 to SF-15 and SF-41.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from engine.analytics.roots import Floats, NoSolution, find_root, floats, plain
from engine.curves import Abs, Psa, annual_from_monthly, monthly_from_annual
from engine.errors import InvalidInput, Problem
from engine.loans import MAX_TERM

HIGHEST_PSA = 500.0  # 100% CPR in month 1
RAMP = 30


def level_payment(balance: float, annual_rate: float, term: int) -> float:
    """Monthly payment that repays the balance in `term` months."""
    rate = annual_rate / 12
    return float(balance / term if rate == 0 else balance * rate / -np.expm1(-term * np.log1p(rate)))


def amortized_factor(annual_rate: float, original_term: int, remaining_term: ArrayLike) -> Any:
    """Share of a level-pay balance that is left by schedule with `remaining_term` of `original_term` months to go."""
    rate, left = annual_rate / 12, floats("remaining_term", remaining_term)
    if rate == 0:
        return plain(left / original_term)
    growth = np.log1p(rate)
    return plain(np.expm1(-left * growth) / np.expm1(-original_term * growth))


def scheduled_factor(first_factor: ArrayLike, first_amortized: ArrayLike, second_amortized: ArrayLike) -> Any:
    """Pool factor a later month would have without prepayment, from the amortised factors of the two dates."""
    first = floats("first_factor", first_factor)
    return plain(first * floats("second_amortized", second_amortized) / floats("first_amortized", first_amortized))


def implied_smm(second_factor: ArrayLike, scheduled: ArrayLike, months: int = 1) -> Any:
    """Average monthly prepayment rate that took a pool to its factor in place of the scheduled one, of their shape."""
    found, due = np.broadcast_arrays(floats("second_factor", second_factor), floats("scheduled", scheduled))
    bad = ~((due > 0) & (found >= 0) & (found <= due))
    if bad.any():
        message = f"no prepayment rate takes a scheduled factor of {due[bad][0]:g} to {found[bad][0]:g}"
        raise NoSolution(message)
    if months < 1:
        raise InvalidInput([Problem("months", f"is {months}; expected 1 or more")])
    return plain(1 - (found / due) ** (1 / months))


def implied_cpr(smm: ArrayLike) -> Any:
    """Annual prepayment rate of a monthly one."""
    return plain(annual_from_monthly(floats("smm", smm)))


def implied_psa(smm: ArrayLike, age: ArrayLike) -> Any:
    """PSA speed (1.0 is 100% PSA) of a monthly rate at a 1-based loan age."""
    return plain(np.asarray(implied_cpr(smm)) / (0.002 * np.minimum(from_one(age), RAMP)))


def implied_abs(smm: ArrayLike, age: ArrayLike) -> Any:
    """ABS rate of a monthly prepayment rate at a 1-based age: SMM/(1 + SMM (age - 1))."""
    rate = floats("smm", smm)
    return plain(rate / (1 + rate * (from_one(age) - 1)))


def from_one(age: ArrayLike) -> Floats:
    ages = floats("age", age)
    if np.any(ages < 1):
        raise InvalidInput([Problem("age", f"is {ages.min():g}; expected the 1-based age in months")])
    return ages


def implied_psa_between(first_factor: float, second_factor: float, amortized: ArrayLike, first_age: int) -> float:
    """PSA speed that takes a pool from one factor to another over several months, the least that pays it off for none.

    amortized: amortised factors at the start and after each month, one more than there are months. first_age:
    1-based loan age of the first month's payment. Raises NoSolution where no speed in [0, 500] does.
    """
    if second_factor == 0:
        return HIGHEST_PSA / min(last_age(first_factor, amortized, first_age), RAMP)
    return between(lambda speed: Psa(speed=speed), HIGHEST_PSA, first_factor, second_factor, amortized, first_age)


def implied_abs_between(first_factor: float, second_factor: float, amortized: ArrayLike, first_age: int) -> float:
    """ABS rate that takes a pool from one factor to another over several months; all else as implied_psa_between."""
    if second_factor == 0:
        return 1.0 / last_age(first_factor, amortized, first_age)
    return between(lambda rate: Abs(rate=rate), 1.0, first_factor, second_factor, amortized, first_age)


def between(
    curve: Any, highest: float, first_factor: float, second_factor: float, amortized: ArrayLike, first_age: int
) -> float:
    """The speed in [0, highest] of a curve that takes a pool from one factor to another."""
    shares = amortized_shares(amortized)
    ages = (from_one(first_age) + np.arange(len(shares) - 1)).astype(np.int64)
    stated = first_factor * shares[-1] / shares[0]
    return find_root(
        lambda speed: float(stated * np.prod(1 - curve(speed).monthly(ages)) - second_factor), 0.0, highest
    )


def amortized_shares(amortized: ArrayLike) -> Floats:
    shares = floats("amortized", amortized)
    if shares.ndim != 1 or len(shares) < 2 or np.any(shares[:-1] <= 0):
        message = "has no two factors above 0; expected one more than there are months"
        raise InvalidInput([Problem("amortized", message)])
    return shares


def last_age(first_factor: float, amortized: ArrayLike, first_age: int) -> float:
    """Loan age in the last of the months, in which a pool is paid off sooner than by any speed of the months before.

    Raises NoSolution where it is paid off anyway.
    """
    shares = amortized_shares(amortized)
    if not first_factor * shares[-1] > 0:
        raise NoSolution("no speed is implied: nothing is left by schedule either, whatever the speed", "several_roots")
    return float(from_one(first_age)) + len(shares) - 2


class ImpliedSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """The speeds that take a pool from one factor to another.

    scheduled_factor: the later factor without prepayment. smm: average monthly rate. cpr: its annual rate. psa: speed,
    1.0 for 100% PSA. abs: monthly share of the original loans.
    """

    scheduled_factor: float
    smm: float
    cpr: float
    psa: float
    abs: float


def implied_speed(
    first_factor: float,
    second_factor: float,
    annual_rate: float,
    original_term: int,
    remaining_term: int,
    months: int = 1,
    age: int | None = None,
) -> ImpliedSpeed:
    """The SMM, CPR, PSA and ABS that take a level-pay pool from one factor to another `months` later.

    remaining_term: months to go at the first factor. age: 1-based loan age of the first month's payment, none takes
    original_term - remaining_term + 1. Raises NoSolution where the pool has paid less than by schedule.
    """
    if not 1 <= months <= remaining_term <= original_term <= MAX_TERM:
        message = f"is {months}; expected 1 <= months <= remaining_term <= original_term <= {MAX_TERM}"
        raise InvalidInput([Problem("months", message)])
    if annual_rate <= -1 or not np.isfinite(annual_rate):
        raise InvalidInput([Problem("annual_rate", f"is {annual_rate:g}; expected a decimal above -1")])
    shares = amortized_factor(annual_rate, original_term, remaining_term - np.arange(months + 1))
    first_age = original_term - remaining_term + 1 if age is None else age
    scheduled = float(scheduled_factor(first_factor, shares[0], shares[-1]))
    smm = float(implied_smm(second_factor, scheduled, months))
    return ImpliedSpeed(
        scheduled_factor=scheduled,
        smm=smm,
        cpr=float(implied_cpr(smm)),
        psa=implied_psa_between(first_factor, second_factor, shares, first_age),
        abs=implied_abs_between(first_factor, second_factor, shares, first_age),
    )


def smm_from_cpr(cpr: ArrayLike) -> Any:
    """Monthly prepayment rate of an annual one."""
    return plain(monthly_from_annual(floats("cpr", cpr)))


def calculated_loan_age(original_term: int, original_wam: int, elapsed: int, current_wam: int | None = None) -> int:
    """Months since origination: original_term - original_wam + elapsed, at most original_term - current_wam."""
    age = original_term - original_wam + elapsed
    return age if current_wam is None else min(age, original_term - current_wam)

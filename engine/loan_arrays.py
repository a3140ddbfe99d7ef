"""Validated loan arrays: what the kernel reads, and the checks that make them from a tape's columns."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.asset_terms import assets_of, lowered
from engine.checks import MAX_BALANCE, NAN, RATE, Checks, Where, alike, anywhere, is_stated, one_for_all, repeated
from engine.contracts import Contracts, Shared, contracts_of
from engine.errors import MAX_PROBLEMS, TapeError
from engine.loans import AMORTIZATIONS, MAX_LTV, MAX_TERM, STATUSES

LONG_AGO = 2**20
# What the terms that most loans state may be.
BOUNDS: dict[str, tuple[int, int]] = {
    "balance": (0, int(MAX_BALANCE)),
    "annual_rate": (0, 1),
    "servicing_fee": (0, 1),
    "mortgage_insurance": (0, 1),
    "remaining_term": (1, MAX_TERM),
    "age": (0, MAX_TERM),
}


class LoanArrays(msgspec.Struct, frozen=True, kw_only=True):
    """Validated columns, all of shape (loans,).

    term, age, interest_only, amortization_term are int32 months, the last two counted from the cut-off (age 0 for a
    loan that has paid nothing yet, amortization_term 0 where it follows from the term); amortization indexes
    AMORTIZATIONS; payment is NaN where it is to be computed, original_balance and property_value where not stated;
    group indexes `groups`, -1 for none; status indexes STATUSES, 0 for a current loan; amortizing_since: months since
    the interest-only ones ended, LONG_AGO for a loan that never had any. contracts: what the loans with
    terms beyond these say, none for a tape without any. begun: int32, months before the cut-off in which the contract
    begins, of loans that roll rates find late there (engine/arrears.py); none where all begin at it.
    """

    balance: NDArray[np.float64]
    rate: NDArray[np.float64]
    fee: NDArray[np.float64]
    payment: NDArray[np.float64]
    original_balance: NDArray[np.float64]
    property_value: NDArray[np.float64]
    mortgage_insurance: NDArray[np.float64]
    term: NDArray[np.int32]
    age: NDArray[np.int32]
    interest_only: NDArray[np.int32]
    amortization_term: NDArray[np.int32]
    amortization: NDArray[np.int8]
    group: NDArray[np.int32]
    groups: tuple[str, ...]
    status: NDArray[np.int8]
    months_in_status: NDArray[np.int32]
    amortizing_since: NDArray[np.int32]
    loan_id: Sequence[Any] | NDArray[Any] | None = None
    contracts: Contracts | None = None
    begun: NDArray[np.int32] | None = None

    @property
    def first_age(self) -> NDArray[np.int32]:
        """Months since origination when the contract begins."""
        return self.age if self.begun is None else (self.age - self.begun).astype(np.int32)

    @property
    def ltv(self) -> NDArray[np.float64]:
        """Balances over the properties' values at the cut-off, NaN where those are not stated."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.balance / self.property_value)

    def __len__(self) -> int:
        return len(self.balance)

    def taken(self, index: NDArray[np.int64]) -> "LoanArrays":
        """The loans at the index, in its order; without their ids."""
        columns = {name: getattr(self, name) for name in self.__struct_fields__ if name != "loan_id"}
        arrays = {name: at(column, index) for name, column in columns.items() if isinstance(column, np.ndarray)}
        contracts = None if self.contracts is None else self.contracts.taken(index)
        return msgspec.structs.replace(self, loan_id=None, contracts=contracts, **arrays)


def at(column: NDArray[Any], index: NDArray[np.int64]) -> NDArray[Any]:
    """The column at an index; one value for all stays that."""
    return repeated(column[:1], len(index)) if column.strides == (0,) and len(column) else column[index]


def validate(columns: dict[str, Any], n: int, where: Where, shared: Shared | None = None) -> LoanArrays:
    """The arrays of n loans. columns: every name of Columns, a value a loan or one for all; where: the path of a value.

    shared: the schedules and rate schedules that loans name; none leaves the names unread.

    Raises TapeError with every fault found, up to a hundred.
    """
    check = Checks(columns, n, where)
    assets = assets_of(check, None if shared is None else shared.cashflows, unread=shared is None)
    blank = None if assets is None else NAN
    money = f"currency units in [0, {MAX_BALANCE:g}]"
    balance = check.number("balance", *BOUNDS["balance"], money, blank)
    rate = check.number("annual_rate", *BOUNDS["annual_rate"], RATE, None if assets is None else 0.0)
    fee = check.number("servicing_fee", *BOUNDS["servicing_fee"], RATE)
    payment = check.number("payment", 0, MAX_BALANCE, "currency units a month, 0 or more", NAN)
    property_value = check.number("property_value", 0, MAX_BALANCE, money, NAN)
    ltv = check.number("ltv", 0.0001, MAX_LTV, f"a decimal in [0.0001, {MAX_LTV}] (80% is 0.8)", NAN)
    mortgage_insurance = check.number("mortgage_insurance", *BOUNDS["mortgage_insurance"], RATE)
    original_balance = check.number("original_balance", 0, MAX_BALANCE, money, NAN)
    term = check.whole("remaining_term", *BOUNDS["remaining_term"], None if assets is None else 1)
    original = check.whole("original_term", 1, MAX_TERM, blank=1)
    age = check.whole("age", *BOUNDS["age"], blank=0)
    interest_only = check.whole("interest_only_term", 0, MAX_TERM)
    spread = check.whole("amortization_term", 1, 2 * MAX_TERM, blank=1)
    amortization = check.amortization()
    group, groups = check.names("group")
    amortizing_since = repeated(np.int32(LONG_AGO), n)
    status = or_current(check.choice("status", STATUSES))
    months_in_status = check.whole("months_in_status", 0, MAX_TERM, blank=0)
    check.check_ids()
    if assets is not None and not check.problems:
        low = lowered(check, assets, balance, rate, term, payment, amortization)
        assets, balance, term, payment, amortization = low.assets, low.balance, low.term, low.payment, low.amortization
    if not check.problems:
        check_original(check, original, term)
        property_value = valued(check, property_value, balance, ltv)
        age = implied_age(columns, original, age, term)
        amortizing = given_or_zero(columns["amortization_term"], spread)
        free, spread = terms_left(interest_only, amortizing, age)
        bullet, told = alike(lambda kind: kind == AMORTIZATIONS.index("bullet"), amortization), amortizing
        if anywhere(amortizing):
            later = is_stated(columns["origination_date"], n)  # their terms may begin after the cut-off
            told = np.where(bullet | later, 0, amortizing)
        check_terms(check, term, age, interest_only, free, told, spread)
        check_stated(check, payment, amortization)
        check_without_effect(check, bullet, amortizing, status, months_in_status)
        amortizing_since = months_since(interest_only, age)
        interest_only = free
    loans = LoanArrays(
        balance=balance, rate=rate, fee=fee, payment=payment, original_balance=original_balance,
        property_value=property_value, mortgage_insurance=mortgage_insurance, term=term, age=age,
        interest_only=interest_only, amortization_term=spread, amortization=amortization, group=group,
        groups=groups, status=status, months_in_status=months_in_status, loan_id=columns["loan_id"],
        amortizing_since=amortizing_since,
    )  # fmt: skip
    contracts = contracts_of(check, loans, shared, assets)
    if check.problems:
        raise TapeError(check.problems)
    return msgspec.structs.replace(loans, contracts=contracts)


def or_current(status: NDArray[np.int8]) -> NDArray[np.int8]:
    """The codes of statuses, that of a current loan where none is stated."""
    return repeated(np.maximum(status[0], np.int8(0)), len(status)) if one_for_all(status) else np.maximum(status, 0)


def is_blank(value: Any) -> NDArray[np.bool_] | bool:
    """Where an optional column has no value; a bool when that holds for all loans alike."""
    if value is None:
        return True
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
        return False
    blank = np.isnan(np.asarray(value, dtype=np.float64))
    return bool(blank) if blank.ndim == 0 else blank


def given_or_zero(value: Any, months: NDArray[np.int32]) -> NDArray[np.int32]:
    blank = is_blank(value)
    if isinstance(blank, bool):
        return repeated(np.int32(0), len(months)) if blank else months
    return np.where(blank, np.int32(0), months)


def implied_age(
    columns: dict[str, Any], original: NDArray[np.int32], age: NDArray[np.int32], term: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Age as given, else original less remaining term, else zero; zero too for loans that are drawn later."""
    no_age, no_original = is_blank(columns["age"]), is_blank(columns["original_term"])
    if no_age is False or no_original is True:
        return age
    implied = np.where(no_original, np.int32(0), np.maximum(original - term, 0)).astype(np.int32)
    return np.where(no_age, implied, age).astype(np.int32)


def valued(
    check: Checks, value: NDArray[np.float64], balance: NDArray[np.float64], ltv: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The properties' values, as stated or from the loan-to-value; reports loans that state both."""
    if ltv.strides == (0,) and (len(ltv) == 0 or np.isnan(ltv[0])):
        return value
    for i in np.flatnonzero(~np.isnan(value) & ~np.isnan(ltv))[:MAX_PROBLEMS]:
        check.report("ltv", int(i), "is stated beside property_value; expected one of them")
    return np.where(np.isnan(value), balance / ltv, value)


def check_original(check: Checks, original: NDArray[np.int32], term: NDArray[np.int32]) -> None:
    """Reports original terms from which the age is to follow and does not; later loans have theirs from the date."""
    if check.columns["original_term"] is None:
        return
    stated = {name: is_stated(check.columns[name], check.n) for name in ("original_term", "age", "origination_date")}
    short = stated["original_term"] & ~stated["age"] & ~stated["origination_date"] & (original < term)
    for i in np.flatnonzero(short)[:MAX_PROBLEMS]:
        message = f"is {original[i]}, less than remaining_term, which is {term[i]}; expected at least that, or the age"
        check.report("original_term", int(i), message)


def terms_left(
    interest_only: NDArray[np.int32], amortizing: NDArray[np.int32], age: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The interest-only months and the months of amortization still to come, the latter 0 where not stated."""
    if interest_only.strides == (0,) and amortizing.strides == (0,) and not interest_only.any() | amortizing.any():
        return interest_only, amortizing
    spent = np.maximum(age - interest_only, 0)
    return np.maximum(interest_only - age, 0), np.where(amortizing > 0, amortizing - spent, 0).astype(np.int32)


def months_since(interest_only: NDArray[np.int32], age: NDArray[np.int32]) -> NDArray[np.int32]:
    """Months since the interest-only months of the contract ended, 0 within them, LONG_AGO where there are none."""
    if interest_only.strides == (0,) and not interest_only.any():
        return repeated(np.int32(LONG_AGO), len(interest_only))
    return np.where(interest_only > 0, np.maximum(age - interest_only, 0), LONG_AGO).astype(np.int32)


def check_terms(
    check: Checks,
    term: NDArray[np.int32],
    age: NDArray[np.int32],
    interest_only: NDArray[np.int32],
    free: NDArray[np.int32],
    amortizing: NDArray[np.int32],
    spread: NDArray[np.int32],
) -> None:
    """Reports terms that contradict one another. free, spread: what is left of interest_only and amortizing."""
    if not anywhere(free) and not anywhere(amortizing):
        return
    for i in np.flatnonzero(free > term)[:MAX_PROBLEMS]:
        limit = term[i] + age[i]
        message = f"is {interest_only[i]}; expected {limit} months at most, the age and the remaining term"
        check.report("interest_only_term", int(i), message)
    for i in np.flatnonzero((amortizing > 0) & (spread < term - free))[:MAX_PROBLEMS]:
        least = term[i] - free[i] + amortizing[i] - spread[i]
        message = f"is {amortizing[i]}; expected {least} months at least, to maturity (longer leaves a balloon)"
        check.report("amortization_term", int(i), message)


def check_without_effect(
    check: Checks, bullet: NDArray[np.bool_], amortizing: NDArray[np.int32], status: NDArray[np.int8],
    months_in_status: NDArray[np.int32],
) -> None:  # fmt: skip
    """Reports what is stated on loans to which it would do nothing."""
    for i in np.flatnonzero(bullet & (amortizing > 0))[:MAX_PROBLEMS] if anywhere(amortizing) else ():
        check.report("amortization_term", int(i), "is stated on a bullet loan, which repays nothing before its end")
    if months_in_status.strides == (0,) and not months_in_status.any():
        return
    performing = status < STATUSES.index("default")
    for i in np.flatnonzero(performing & (months_in_status > 0))[:MAX_PROBLEMS]:
        message = f"is stated on a loan whose status is {STATUSES[status[i]]}"
        check.report("months_in_status", int(i), f"{message}; expected it in default, foreclosure or reo")


def check_stated(check: Checks, payment: NDArray[np.float64], amortization: NDArray[np.int8]) -> None:
    """Reports payments stated on loans that do not take one."""
    if payment.strides == (0,) and (len(payment) == 0 or np.isnan(payment[0])):
        return
    level = AMORTIZATIONS.index("level_pay")
    for i in np.flatnonzero(~np.isnan(payment) & (amortization != level))[:MAX_PROBLEMS]:
        kind = AMORTIZATIONS[amortization[i]]
        check.report("payment", int(i), f"is stated on a {kind} loan; only level_pay takes one")

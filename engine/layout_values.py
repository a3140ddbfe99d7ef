"""What the columns of a layout say together: terms from dates, status from codes and days, rows that are no loans."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.layout_cells import present
from engine.layouts.declaration import LEFT_POOL

Values = dict[str, NDArray[Any]]
# Lower ends, in days past due, of the buckets that the statuses are named after.
BUCKETS = ((30, "delinquent_30"), (60, "delinquent_60"), (90, "delinquent_90"), (120, "delinquent_120"))
DAYS_A_MONTH = 30


def months_from(start: Any, end: Any) -> NDArray[np.float64]:
    """Months between two datetime64[M] values, NaN where one is NaT."""
    gap = np.asarray(end, dtype="datetime64[M]") - np.asarray(start, dtype="datetime64[M]")
    return np.where(np.isnat(gap), np.nan, gap.astype(np.float64))


def filled(values: Values, name: str, other: NDArray[np.float64]) -> None:
    """Fills the blanks of a column, or makes it."""
    have = values.get(name)
    values[name] = other if have is None else np.where(np.isnan(have), other, have)


def derive(values: Values, period: Any, n: int) -> None:
    """Adds what follows from other columns: terms, ages and fees that are blank, resets, status and days past due.

    period: the reporting month, NaT if none is known. A term is what the file says, else the months from the period
    to maturity, else the original term less the age. An age is what the file says, else the payments due since the
    first one, else the months since origination; before the first payment it is 0.
    """
    blank = np.full(n, np.nan)
    if "origination_date" in values and "first_payment_date" not in values:
        filled(values, "age", months_from(values["origination_date"], period))
    if "first_payment_date" in values:
        filled(values, "age", months_from(values["first_payment_date"], period) + 1)
    if "maturity_date" in values:
        filled(values, "remaining_term", months_from(period, values["maturity_date"]))
    if "age" in values:
        values["age"] = np.maximum(values["age"], 0)
        filled(values, "remaining_term", values.get("original_term", blank) - values["age"])
    if "net_rate" in values:
        filled(values, "servicing_fee", np.round(values["annual_rate"] - values["net_rate"], 10))
    if "next_reset_date" in values:
        values["first_reset"] = months_from(period, values["next_reset_date"])
    if "life_cap_over_original" in values:
        values["life_cap"] = values["original_rate"] + values.pop("life_cap_over_original")
    interest_only(values)
    status(values, period, n)


def interest_only(values: Values) -> None:
    """The interest-only months from origination, where dates say them, 0 where they do not."""
    if "first_principal_date" in values:
        months = months_from(values["first_payment_date"], values["first_principal_date"])
        filled(values, "interest_only_term", months)
    if "grace_end_date" in values and "origination_date" in values:
        filled(values, "interest_only_term", months_from(values["origination_date"], values["grace_end_date"]))
    if "interest_only_term" in values:
        values["interest_only_term"] = np.maximum(np.nan_to_num(values["interest_only_term"]), 0)


def status(values: Values, period: Any, n: int) -> None:
    """Adds `status` and `days_past_due`; what the file says last wins: days, relief, seizure, account, leaving.

    A layout that says nothing of it, that of loans as they were made, has them all current.
    """
    silent = not {"days_past_due", "months_past_due", "account_status"} & set(values)
    days = values.pop("days_past_due", np.full(n, np.nan))
    if days.dtype == object:
        days = np.where(present(days), days, "nan").astype(np.float64)
    if "months_past_due" in values:
        days = np.where(np.isnan(days), values.pop("months_past_due") * DAYS_A_MONTH, days)
    account = values.pop("account_status", None)
    known = ~np.isnan(days)
    if account is not None:
        known |= present(account)
    words = np.where(known | silent, "current", "unknown").astype(object)
    for least, word in BUCKETS:
        words[days >= least] = word
    relief = values.pop("relief", None)
    if relief is not None:
        # A plan does not hide how late a loan is.
        told = present(relief) & ((words == "current") | (words == "unknown"))
        words[told] = relief[told]
    seized = values.pop("seizure", None)
    if seized is not None:
        told = present(seized)
        words[told] = seized[told]
    if account is not None:
        told = present(account) & (account != "")
        words[told] = account[told]
    left = values.pop("left_pool", None)
    if left is not None:
        told = present(left)
        words[told] = left[told]
    settle(values, words, period)
    values["status"], values["days_past_due"] = words, days


def settle(values: Values, words: NDArray[Any], period: Any) -> None:
    """Tells loans paid at maturity from those prepaid, and those of no balance from those in the pool."""
    paid = words == "prepaid"
    if "maturity_date" in values and not np.isnat(period):
        paid &= values["maturity_date"] <= period
        words[paid] = "matured"
    elif "remaining_term" in values:
        words[paid & (values["remaining_term"] <= 0)] = "matured"
    in_pool = ~one_of(words, LEFT_POOL)
    words[in_pool & (values["balance"] == 0)] = "zero_balance"


def one_of(words: NDArray[Any], chosen: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which words are among the chosen; np.isin sorts texts, which takes longer."""
    found = np.zeros(len(words), dtype=bool)
    for word in chosen:
        found |= words == word
    return found

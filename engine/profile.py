"""What a tape holds: counts, balance, weighted averages, ranges, missing values, outliers and stratifications.

Weighted averages are by balance. Percentiles count each loan once. A value is an outlier if it lies more than three
interquartile ranges outside the quartiles (Tukey's far-out fence); where the quartiles are one value, none is.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.layout_cells import present
from engine.layout_options import LayoutTape
from engine.layout_report import ReadReport
from engine.layout_values import one_of
from engine.layouts.declaration import NOT_PERFORMING
from engine.loan_arrays import LoanArrays
from engine.strata import Stratification, by_value, by_width
from engine.tape import COLUMN_NAMES, Tape, loan_columns

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
FENCE = 3.0
TOP_VALUES = 10
UNITS = {
    "balance": "currency", "annual_rate": "rate", "remaining_term": "months", "original_balance": "currency",
    "original_term": "months", "age": "months", "payment": "currency", "servicing_fee": "rate",
    "interest_only_term": "months", "amortization_term": "months", "days_past_due": "days",
}  # fmt: skip


class NumberProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A column of numbers.

    unit: currency, rate (a decimal a year), months, days or blank where it is not known. missing: loans without a
    value. percentiles: the 1st, 5th, 25th, 50th, 75th, 95th and 99th, by `p1` and so on. outliers: values outside
    [low_fence, high_fence], three interquartile ranges from the quartiles.
    """

    name: str
    unit: str
    missing: int
    minimum: float
    mean: float
    maximum: float
    percentiles: dict[str, float]
    low_fence: float
    high_fence: float
    outliers: int


class TextShare(msgspec.Struct, frozen=True, kw_only=True):
    """A value of a text column. share: of the balance."""

    value: str
    loans: int
    balance: float
    share: float


class TextProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A column of texts. missing: loans without a value. values: up to ten, the largest balance first."""

    name: str
    missing: int
    distinct: int
    values: list[TextShare]


class DateProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A column of months, YYYY-MM. missing: loans without one."""

    name: str
    missing: int
    earliest: str
    latest: str


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What a tape holds.

    wac, wam, wala: the annual rate, remaining months and age in months, weighted by balance; wala is null if no loan
    has an age. not_performing: balance of loans delinquent by 30 days or more, repossessed, in foreclosure or in
    default. warnings: sentences on what a projection of this tape would not take into account. strata: the balance by
    rate, term, balance, age, group and status. report: what became of the file's rows, for a file of a layout.
    """

    loans: int
    balance: float
    average_balance: float
    wac: float
    wam: float
    wala: float | None
    not_performing: float
    warnings: list[str]
    numbers: list[NumberProfile]
    texts: list[TextProfile]
    dates: list[DateProfile]
    strata: list[Stratification]
    report: ReadReport | None = None


def profile(tape: Tape) -> Profile:
    """The profile of a tape's loans. Raises TapeError where the tape is not valid, and for one without loans."""
    arrays = tape.arrays()
    weights = arrays.balance
    total = float(weights.sum())
    extra = tape.extra if isinstance(tape, LayoutTape) else {}
    columns = raw_columns(tape, arrays) | {name: np.asarray(values) for name, values in extra.items()}
    ages = ages_of(tape, arrays)
    status = columns.get("status")
    late = one_of(status, NOT_PERFORMING) if status is not None else np.zeros(len(arrays), dtype=bool)
    return Profile(
        loans=len(arrays),
        balance=total,
        average_balance=total / len(arrays) if len(arrays) else 0.0,
        wac=weighted(arrays.rate, weights),
        wam=weighted(arrays.term, weights),
        wala=None if ages is None else weighted(ages, weights),
        not_performing=float(weights[late].sum()),
        warnings=warnings(tape, float(weights[late].sum()), total, int(late.sum())),
        numbers=[numbers_of(name, column) for name, column in columns.items() if is_number(column)],
        texts=[texts_of(name, column, weights) for name, column in columns.items() if column.dtype == object],
        dates=[dates_of(name, column) for name, column in columns.items() if column.dtype.kind == "M"],
        strata=strata_of(arrays, ages, status),
        report=tape.report if isinstance(tape, LayoutTape) else None,
    )


def raw_columns(tape: Tape, arrays: LoanArrays) -> dict[str, NDArray[Any]]:
    """The tape's columns as they were given, one value a loan, blanks as NaN or None; those without any left out."""
    n = len(arrays)
    found: dict[str, NDArray[Any]] = {}
    stated = loan_columns(tape.loans) if tape.loans is not None else {}
    for name in COLUMN_NAMES:
        value: Any = stated[name] if tape.loans is not None else getattr(tape.columns, name)
        if name == "type" and value == "loan":
            continue
        column = as_column(value, n)
        if column is not None and n:
            found[name] = column
    return found


def as_column(value: Any, n: int) -> NDArray[Any] | None:
    """A column as an array of n floats or texts, None if it has no value at all or values of another kind."""
    if value is None:
        return None
    if isinstance(value, str):
        return np.full(n, value, dtype=object)
    array = np.asarray(value) if isinstance(value, np.ndarray) or not np.ndim(value) else np.array(value, dtype=object)
    if array.dtype.kind in "iuf":
        column = np.broadcast_to(array.astype(np.float64), (n,))
        return None if n and np.isnan(column).all() else column
    items = list(value) if np.ndim(value) else [value] * n
    known = [item for item in items if item is not None and item != ""]
    if not known:
        return None
    if all(isinstance(item, int | float) and not isinstance(item, bool) for item in known):
        return np.array([np.nan if item is None or item == "" else float(item) for item in items])
    if all(isinstance(item, str) for item in known):
        return np.array([item or None for item in items], dtype=object)
    return None


def is_number(column: NDArray[Any]) -> bool:
    return column.dtype.kind in "iuf" and len(column) > 0 and not np.isnan(column).all()


def ages_of(tape: Tape, arrays: LoanArrays) -> NDArray[Any] | None:
    """The loans' ages in months, None if neither an age nor an original term says one."""
    given = raw_columns(tape, arrays)
    return arrays.age if "age" in given or "original_term" in given else None


def weighted(values: NDArray[Any], weights: NDArray[np.float64]) -> float:
    """The mean by weight; the plain mean where there is no balance, 0 where there is no loan."""
    if not len(values):
        return 0.0
    return float(np.average(values, weights=weights)) if weights.sum() > 0 else float(np.mean(values))


def numbers_of(name: str, column: NDArray[Any]) -> NumberProfile:
    """The profile of a column with at least one number."""
    values = column.astype(np.float64)
    known = values[~np.isnan(values)]
    cuts = np.percentile(known, PERCENTILES)
    first, third = cuts[PERCENTILES.index(25)], cuts[PERCENTILES.index(75)]
    low, high = first - FENCE * (third - first), third + FENCE * (third - first)
    if first == third:
        low, high = known.min(), known.max()
    return NumberProfile(
        name=name, unit=UNITS.get(name, ""), missing=len(values) - len(known), minimum=float(known.min()),
        mean=float(known.mean()), maximum=float(known.max()),
        percentiles={f"p{p}": float(cut) for p, cut in zip(PERCENTILES, cuts, strict=True)},
        low_fence=float(low), high_fence=float(high), outliers=int(((known < low) | (known > high)).sum()),
    )  # fmt: skip


def texts_of(name: str, column: NDArray[np.object_], weights: NDArray[np.float64]) -> TextProfile:
    """The profile of a column of texts."""
    total = float(weights.sum())
    shares = by_value(column, weights)
    values = [
        TextShare(value=value, loans=loans, balance=balance, share=balance / total if total else 0.0)
        for value, loans, balance in shares
    ]
    missing = int((~present(column)).sum())
    return TextProfile(name=name, missing=missing, distinct=len(values), values=values[:TOP_VALUES])


def dates_of(name: str, column: NDArray[Any]) -> DateProfile:
    """The profile of a column of months."""
    known = column[~np.isnat(column)]
    first, last = (str(known.min()), str(known.max())) if len(known) else ("", "")
    return DateProfile(name=name, missing=len(column) - len(known), earliest=first, latest=last)


def strata_of(arrays: LoanArrays, ages: NDArray[Any] | None, status: NDArray[Any] | None) -> list[Stratification]:
    """The balance by rate, remaining term, balance, age, group and status, each where the tape has it."""
    if not len(arrays):
        return []
    strata = [
        by_width("annual_rate", arrays.rate, arrays),
        by_width("remaining_term", arrays.term, arrays),
        by_width("balance", arrays.balance, arrays),
    ]
    if ages is not None:
        strata.append(by_width("age", ages, arrays))
    if arrays.groups:
        names = np.array([*arrays.groups, None], dtype=object)[arrays.group]
        strata.append(Stratification.of_texts("group", names, arrays))
    if status is not None:
        strata.append(Stratification.of_texts("status", status, arrays))
    return strata


def warnings(tape: Tape, late: float, total: float, loans: int) -> list[str]:
    """What a projection of the tape would not take into account."""
    report = tape.report if isinstance(tape, LayoutTape) else None
    found = []
    if late:
        found.append(
            f"{loans:,} loans with {late:,.2f} ({late / total:.1%} of the balance) are delinquent or in default; a "
            "projection takes the delinquent as performing unless rules by status say otherwise"
        )
    if report is not None:
        found += [f"{count:,} {text}" for text, count in report.notices.items() if " are delinquent " not in text]
        if report.skipped:
            found.append(f"{report.skipped:,} faulty rows are left out")
    return found

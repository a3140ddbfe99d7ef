"""Stratifications: the balance of a tape in buckets of a column, with the averages of each."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.loan_arrays import LoanArrays

MOST_BUCKETS = 12
MOST_VALUES = 20
# Widths that read well, the finest first; the first that needs no more than a dozen buckets is taken.
WIDTHS: dict[str, tuple[float, ...]] = {
    "annual_rate": (0.0025, 0.005, 0.01, 0.02, 0.05, 0.1),
    "remaining_term": (6, 12, 24, 36, 60, 120),
    "age": (3, 6, 12, 24, 36, 60, 120),
}


class Stratum(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket.

    low, high: its bounds, the upper one outside it; null for a text. share: of the balance. wac, wam: as of the tape.
    """

    label: str
    low: float | None
    high: float | None
    loans: int
    balance: float
    share: float
    wac: float
    wam: float


class Stratification(msgspec.Struct, frozen=True, kw_only=True):
    """The tape by one column; the balances of the strata add up to the tape's."""

    by: str
    strata: list[Stratum]

    @classmethod
    def of_texts(cls, by: str, texts: NDArray[Any], loans: LoanArrays) -> "Stratification":
        """By the values of a column of texts, the largest balance first; those past the twentieth are one."""
        codes, words = coded(texts)
        balance = np.bincount(codes, weights=loans.balance, minlength=len(words))
        order = sorted(range(len(words)), key=lambda i: (-balance[i], words[i] or ""))
        place = np.zeros(len(words), dtype=np.int64)
        place[order] = np.minimum(np.arange(len(words)), MOST_VALUES)
        labels = [words[i] or "none" for i in order[:MOST_VALUES]] + (["others"] if len(words) > MOST_VALUES else [])
        at = place[codes]
        return cls(by=by, strata=buckets(at, labels, [None] * (len(labels) + 1), loans))


def by_value(column: NDArray[Any], weights: NDArray[np.float64]) -> list[tuple[str, int, float]]:
    """Each text of a column with its loans and balance, the largest balance first; blanks are left out."""
    codes, words = coded(column)
    loans = np.bincount(codes, minlength=len(words))
    balance = np.bincount(codes, weights=weights, minlength=len(words))
    found = [(text, int(loans[i]), float(balance[i])) for i, text in enumerate(words) if text is not None]
    return sorted(found, key=lambda entry: (-entry[2], entry[0]))


def coded(column: NDArray[Any]) -> tuple[NDArray[np.int64], list[str | None]]:
    """The place of each text among the distinct ones, and those; blanks are one of them, None."""
    import pyarrow as pa

    texts = pa.array(column, type=pa.string(), from_pandas=True).dictionary_encode(null_encoding="encode")
    return texts.indices.to_numpy(zero_copy_only=False).astype(np.int64), texts.dictionary.to_pylist()


def by_width(by: str, column: NDArray[Any], loans: LoanArrays) -> Stratification:
    """By buckets of one width, from the lowest value to the highest; empty ones are left out."""
    values = column.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    width = next((w for w in widths(by, high) if np.floor(high / w) - np.floor(low / w) < MOST_BUCKETS), high - low)
    # A value on an edge belongs to the bucket above it, whatever its last bit says.
    at = np.floor(values / width + 1e-9).astype(np.int64)
    first = int(at.min())
    count = int(at.max()) - first + 1
    edges = [round((first + i) * width, 10) for i in range(count + 1)]
    labels = [label(by, edges[i], edges[i + 1]) for i in range(count)]
    return Stratification(by=by, strata=buckets(at - first, labels, edges, loans))


def widths(by: str, high: float) -> tuple[float, ...]:
    """The widths to choose from: those of the column, or 1, 2 and 5 times powers of ten."""
    if by in WIDTHS:
        return WIDTHS[by]
    top = int(np.ceil(np.log10(max(high, 1.0))))
    return tuple(step * 10.0**power for power in range(-1, top + 1) for step in (1, 2, 5))


def label(by: str, low: float, high: float) -> str:
    """A bucket in words: `6% to 6.5%`, `120 to 179`, `100,000 to 200,000`."""
    if by == "annual_rate":
        return f"{low * 100:g}% to {high * 100:g}%"
    if by == "balance":
        return f"{low:,.10g} to {high:,.10g}"
    return f"{low:g} to {high - 1:g}"


def buckets(at: NDArray[np.int64], labels: list[str], edges: list[Any], loans: LoanArrays) -> list[Stratum]:
    """The strata that hold loans. at: the bucket of each loan."""
    n = len(labels)
    count = np.bincount(at, minlength=n)
    balance = np.bincount(at, weights=loans.balance, minlength=n)
    rate = np.bincount(at, weights=loans.balance * loans.rate, minlength=n)
    term = np.bincount(at, weights=loans.balance * loans.term, minlength=n)
    total = float(loans.balance.sum())
    return [
        Stratum(
            label=labels[i], low=edges[i], high=edges[i + 1], loans=int(count[i]), balance=float(balance[i]),
            share=float(balance[i] / total) if total else 0.0,
            wac=float(rate[i] / balance[i]) if balance[i] else 0.0,
            wam=float(term[i] / balance[i]) if balance[i] else 0.0,
        )
        for i in range(n)
        if count[i]
    ]  # fmt: skip

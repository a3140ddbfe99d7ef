"""Tapes of many runs: their loans brought into the order of the runs, and cut into parts of bounded memory.

What a run owes takes a row of months for each kind of sum (engine/run_sums.py). A pool has some hundreds of runs, but
a thousand groups whose defaults stop before each of two hundred maturities have nearly a run a loan, and curves by age
have many too. Kept for the whole tape that takes gigabytes, and in tape order every chunk has a few loans of every run.
In the order of the runs a run has all its loans together: they fill its vectors, and what they owe is used at once.
"""

from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.lanes import run_keys, runs_of
from engine.loan_arrays import LoanArrays
from engine.plan import Plan

Longs = NDArray[np.int64]
# Bytes of rows that a tape may have before it is done in parts: in all, and for each loan of a chunk, whose rows are
# written and added chunk by chunk, where sorting the tape costs by the loan; but a few megabytes cost little.
MOST = 2**26
LITTLE = 2**22
A_LOAN = 80
# Bytes of rows that the runs of a part would take, parts at least, and the loans that a run costs as much as.
ROOM = 2**24
FEWEST_PARTS = 4
LOANS_A_RUN = 32
LARGEST_PART = 524_288


class Parted(msgspec.Struct, frozen=True):
    """A plan and its loans in the order of their runs, and the parts that they are done in."""

    plan: Plan
    loans: LoanArrays
    parts: list[slice]


def parted(plan: Plan, loans: LoanArrays, bytes_a_run: int, chunk: int) -> Parted | None:
    """The plan in parts where that is better than chunks, else none. The request alone decides. chunk: its loans."""
    most = min(MOST, max(LITTLE, A_LOAN * chunk))
    if len(loans) * bytes_a_run <= most:
        return None
    keys = run_keys(plan, loans, slice(0, len(loans)), walks_on(plan, loans))
    if not len(loans) or at_most(keys, len(loans)) * bytes_a_run <= most:
        return None
    order, begins = runs_of([], keys, None, len(loans))
    if len(begins) * bytes_a_run <= most:
        return None
    parts = cut(begins, len(loans), max(1, ROOM // bytes_a_run))
    return Parted(plan.taken(order), loans.taken(order), parts)


def walks_on(plan: Plan, loans: LoanArrays) -> NDArray[np.int32] | None:
    """How each loan is walked: 0 backward, 1 forward, 2 on an index; none where all are walked backward."""
    terms = loans.contracts
    if terms is None:
        return None
    floating = terms.index >= 0
    if plan.curtailments is not None:
        floating = floating | plan.curtailments.loans
    return np.where(terms.stepped, 1 + floating, 0).astype(np.int32)


def at_most(keys: list[NDArray[np.int32]], loans: int) -> int:
    """How many runs there are at most, from the ranges of their keys."""
    runs = 1
    for key in keys:
        runs *= 1 if key.strides == (0,) else int(key.max()) - int(key.min()) + 1
    return min(runs, loans)


def cut(begins: Longs, loans: int, runs_a_part: int) -> list[slice]:
    """Parts of about equal work, an even number of parts, none with more loans than LARGEST_PART."""
    count = max(-(-len(begins) // runs_a_part), FEWEST_PARTS)
    count += count % 2
    done = begins + LOANS_A_RUN * np.arange(len(begins))
    at = np.searchsorted(done, np.linspace(0, loans + LOANS_A_RUN * len(begins), count, endpoint=False))
    bounds = sorted({*begins[np.minimum(at, len(begins) - 1)].tolist(), loans})
    return [
        slice(start, min(start + LARGEST_PART, stop))
        for begin, stop in pairwise(bounds)
        for start in range(begin, stop, LARGEST_PART)
    ]

"""Tapes of many runs: their loans brought into the order of the runs, and cut into parts of bounded memory.

What a run owes takes a row of months for each kind of sum (engine/run_sums.py). A pool has some hundreds of runs, but
a thousand groups whose defaults stop before each of two hundred maturities have nearly a run a loan, and curves by age
have many too. Kept for the whole tape that takes gigabytes. In the order of the runs a part of the tape has few of them
and is done with once its fields are added, so that no more than ROOM is taken for each part under way.
"""

from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.lanes import run_keys, runs_of
from engine.loan_arrays import LoanArrays
from engine.plan import Plan

Longs = NDArray[np.int64]
# Bytes of rows that a tape may have before it is done in parts, and those of a part.
MOST = 2**26
ROOM = 2**24
LARGEST_PART = 524_288


class Parted(msgspec.Struct, frozen=True):
    """A plan and its loans in the order of their runs, and the parts that they are done in."""

    plan: Plan
    loans: LoanArrays
    parts: list[slice]


def parted(plan: Plan, loans: LoanArrays, bytes_a_run: int) -> Parted | None:
    """The plan in parts where its runs would take more than MOST bytes, else none. The request alone decides."""
    if len(loans) * bytes_a_run <= MOST:
        return None
    keys = run_keys(plan, loans, slice(0, len(loans)), walks_on(plan, loans))
    if not len(loans) or at_most(keys, len(loans)) * bytes_a_run <= MOST:
        return None
    order, begins = runs_of([], keys, None, len(loans))
    if len(begins) * bytes_a_run <= MOST:
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
    """Parts of equal numbers of runs, an even number of parts, none with more loans than LARGEST_PART."""
    count = -(-len(begins) // runs_a_part)
    count += count % 2
    edges = begins[np.linspace(0, len(begins), count, endpoint=False).astype(np.int64)]
    bounds = sorted({*edges.tolist(), loans})
    return [
        slice(start, min(start + LARGEST_PART, stop))
        for begin, stop in pairwise(bounds)
        for start in range(begin, stop, LARGEST_PART)
    ]

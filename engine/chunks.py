"""The chunks of a tape run on threads and folded in a fixed order, so that any number of threads gives the same bits.

Loan level writes each loan's rows as its chunk is done. Above it the chunks give the contract sums of their runs, which
engine/run_sums.py keeps by run and applies behaviour to; only losses that need the loans are applied chunk by chunk.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from engine import _core
from engine.lanes import lay_out
from engine.loan_arrays import LoanArrays
from engine.loan_rows import new_rows
from engine.plan import Plan
from engine.run_order import Parted, parted
from engine.run_sums import FEW_SCENARIOS, RunSums, losses_need_loans

# The most loans of a chunk by loan: with more of them runs fill their vectors, with fewer threads have more to share.
CHUNK_BY_LOAN = 8_192
# And of one that is summed: runs should fill their vectors, and the arrays of a chunk be of bounded size.
SMALLEST_CHUNK = 65_536
LARGEST_CHUNK = 524_288
CHUNKS = 16
Progress = Callable[[int], None]
T = TypeVar("T")
K = TypeVar("K")


def run(
    plan: Plan, loans: LoanArrays, threads: int, progress: Progress | None, given: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Columns (fields, scenarios, rows, periods) of the whole tape. given: where those by loan are written, or none."""
    if plan.level == "loan":
        shape = (len(plan.selection.names), plan.behaviour.scenarios, plan.rows, plan.periods)
        return by_loan(plan, loans, threads, progress, new_rows(shape) if given is None else given.reshape(shape))
    if losses_need_loans(plan) or (len(loans) == 1 and plan.behaviour.scenarios < FEW_SCENARIOS):
        return by_chunk(plan, loans, threads, progress)
    sums = RunSums(plan)
    slices = slices_of(plan, len(loans))
    in_parts = parted(plan, loans, sums.bytes_a_run, slices[0].stop if slices else 0)
    if in_parts is not None:
        return by_part(in_parts, sums.empty(), threads, progress)
    for part, owed in zip(slices, in_order(lambda part: sums.of_chunk(loans, part), slices, threads), strict=True):
        sums.add(*owed)
        if progress is not None:
            progress(part.stop)
    out = sums.empty()
    tasks = sums.tasks()
    for task, flows in zip(tasks, in_order(sums.applied, tasks, threads), strict=True):
        out[:, task.scenarios, task.first_row : task.last_row] += flows
    return out


def by_part(done: Parted, out: NDArray[np.float64], threads: int, progress: Progress | None) -> NDArray[np.float64]:
    """Columns of a tape of many runs, a few of which are under way at a time; added to OUT out."""
    sums = RunSums(done.plan)
    found = in_order(lambda part: sums.of_part(done.loans, part), done.parts, threads)
    for part, (task, flows) in zip(done.parts, found, strict=True):
        out[:, :, task.first_row : task.last_row] += flows
        if progress is not None:
            progress(part.stop)
    return out


def by_loan(
    plan: Plan, loans: LoanArrays, threads: int, progress: Progress | None, out: NDArray[np.float64]
) -> NDArray[np.float64]:
    """OUT out: columns by loan, each written once, by the chunk that has it."""
    slices = slices_of(plan, len(loans))

    def work(part: slice) -> None:
        chunk = lay_out(plan, loans, part)
        _core.project_loans(
            chunk.vectors, chunk.extras, chunk.walked, chunk.penalties, chunk.runs, chunk.loan_at,
            plan.behaviour.rates, plan.behaviour.rules, plan.selection.needed, plan.selection.slot, plan.months,
            plan.periods, out,
        )  # fmt: skip

    for part, _ in zip(slices, in_order(work, slices, threads), strict=True):
        if progress is not None:
            progress(part.stop)
    return out


def by_chunk(plan: Plan, loans: LoanArrays, threads: int, progress: Progress | None) -> NDArray[np.float64]:
    """Columns of the whole tape where the losses are taken loan by loan, so behaviour is applied in each chunk."""
    shape = (len(plan.selection.names), plan.behaviour.scenarios, plan.rows, plan.periods)
    total: NDArray[np.float64] | None = None
    slices = slices_of(plan, len(loans))

    def work(part: slice) -> NDArray[np.float64]:
        chunk, out = lay_out(plan, loans, part), np.zeros(shape)
        _core.project_sums(
            chunk.vectors, chunk.extras, chunk.walked, chunk.penalties, chunk.runs, plan.behaviour.rates,
            plan.behaviour.rules,
            plan.selection.needed, plan.selection.slot, plan.months, plan.periods, out,
        )  # fmt: skip
        return out

    for part, found in zip(slices, in_order(work, slices, threads), strict=True):
        total = found if total is None else np.add(total, found, out=total)
        if progress is not None:
            progress(part.stop)
    return np.zeros(shape) if total is None else total


def slices_of(plan: Plan, loans: int) -> list[slice]:
    """The chunks: large, so that runs are long, but enough of them for threads to share, and of bounded memory."""
    most = CHUNK_BY_LOAN if plan.level == "loan" else min(max(loans // CHUNKS, SMALLEST_CHUNK), LARGEST_CHUNK)
    size = even(loans, most)
    return [slice(start, min(start + size, loans)) for start in range(0, loans, size)]


def even(loans: int, most: int) -> int:
    """The loans of a chunk when an even number of chunks of equal size is made, none above `most`, or one chunk."""
    if loans <= most:
        return most
    chunks = -(-loans // most)
    return -(-loans // (chunks + chunks % 2))


def in_order(work: Callable[[K], T], todo: Sequence[K], threads: int) -> Iterator[T]:
    """work of each, in order, a few ahead on threads, so that results never pile up."""
    if threads == 1 or len(todo) <= 1:
        yield from map(work, todo)
        return
    with ThreadPoolExecutor(min(threads, len(todo))) as pool:
        ahead: deque[Future[T]] = deque()
        for each in todo:
            ahead.append(pool.submit(work, each))
            if len(ahead) >= threads + 2:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

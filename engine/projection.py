"""Projects a tape: validates, cuts it into chunks of loans, runs the core on threads and folds in a fixed order.

Chunks and runs depend on the request alone, and their sums are added in tape order, so any number of threads gives
the same bits. A chunk is sorted into runs: loans that share assumptions, age (where a curve goes by age) and last
month with defaults (where defaults stop before maturity); each run costs one pass over its loans and, for every
scenario, a few passes over its months.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import _core
from engine.assumptions import Assumptions, Conventions, Scenario
from engine.behaviour import Behaviour, behaviour_of, no_behaviour
from engine.cashflows import Cashflows
from engine.errors import AssumptionError, Problem, TapeError
from engine.fields import DEFAULT_FIELDS, FIELD_INDEX, FIELD_NAMES
from engine.index_rates import rates_of
from engine.loan_arrays import LoanArrays
from engine.loans import MAX_TERM
from engine.rates import RateTables
from engine.request import ProjectionRequest
from engine.tape import Tape
from engine.timing import AgedSums
from engine.walks import Walks, placed, rows_of, walks_of

SMALLEST_CHUNK = 2_048
LARGEST_CHUNK = 524_288
MAX_PERIODS = 2 * MAX_TERM
Progress = Callable[[int], None]

# What each field is made of, beside itself; the core computes these rows too.
MADE_OF: dict[str, tuple[str, ...]] = {
    "net_interest": ("interest", "servicing_fee"),
    "loss": ("liquidation",),
    "recovery": ("loss", "liquidation"),
    "mortgage_insurance": ("loss", "liquidation"),
    "recouped_advances": ("loss", "liquidation"),
    "principal": ("scheduled_principal", "prepayment", "recovery", "loss", "liquidation"),
    "cashflow": (
        "principal", "scheduled_principal", "prepayment", "recovery", "loss", "liquidation",
        "net_interest", "interest", "servicing_fee",
    ),
}  # fmt: skip


class Selection(msgspec.Struct, frozen=True):
    """The fields asked for, and the core's view of them: int32 flags of what to compute and where each goes."""

    names: tuple[str, ...]
    needed: NDArray[np.int32]
    slot: NDArray[np.int32]


def select(fields: Iterable[str] | None) -> Selection:
    """The selection of `fields`, each once, in the order given. Raises AssumptionError for names that are no field."""
    names = tuple(dict.fromkeys(DEFAULT_FIELDS if fields is None else fields))
    allowed = ", ".join(FIELD_NAMES)
    problems = [
        Problem(f"fields[{i}]", f"is {name!r}; expected one of {allowed}")
        for i, name in enumerate(names)
        if name not in FIELD_INDEX
    ]
    if not names:
        problems = [Problem("fields", f"is empty; expected one or more of {allowed}")]
    if problems:
        raise AssumptionError(problems)
    needed = np.zeros(len(FIELD_NAMES), dtype=np.int32)
    slot = np.full(len(FIELD_NAMES), -1, dtype=np.int32)
    for i, name in enumerate(names):
        slot[FIELD_INDEX[name]] = i
        for part in (name, *MADE_OF.get(name, ())):
            needed[FIELD_INDEX[part]] = 1
    return Selection(names, needed, slot)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A request resolved: what the chunks of a tape share."""

    selection: Selection
    behaviour: Behaviour
    level: Literal["pool", "group", "loan"]
    months: int
    periods: int
    groups: tuple[str, ...]
    rows: int
    walks: Walks | None = None
    rates: RateTables | None = None


def project(request: ProjectionRequest, threads: int | None = None, progress: Progress | None = None) -> Cashflows:
    """The cashflows of the request's tape under its scenarios.

    threads: how many run the core, none for every processor. progress: called with the loans done so far, from the
    calling thread. Raises TapeError with every fault of the tape, else AssumptionError with every fault of the rest, up
    to a hundred.
    """
    request = checked(request)
    loans = request.tape.arrays()
    selection = select(request.fields)
    check_periods(request.periods)
    if threads is not None and threads < 1:
        raise AssumptionError([Problem("threads", f"is {threads}; expected 1 or more, or none for every processor")])
    threads = threads or os.cpu_count() or 1
    behaviour = behaviour_of(
        request, loans, lambda inside, months: scheduled(request, loans.taken(np.flatnonzero(inside)), months, threads)
    )
    longest = int(loans.term.max()) + behaviour.longest_lag if len(loans) else 0
    months = max(longest, 1)
    groups = loans.groups + (("",) if len(loans) and loans.group.min() < 0 else ())
    rows = {"pool": 1, "group": len(groups), "loan": len(loans)}[request.level]
    periods = longest if request.periods is None else request.periods
    plan = Plan(
        selection=selection, behaviour=behaviour, level=request.level, months=months, periods=min(periods, months),
        groups=groups, rows=rows, walks=None if loans.contracts is None else walks_of(loans, loans.contracts),
        rates=None if loans.contracts is None else rates_of(request, loans.contracts, months),
    )  # fmt: skip
    out = run(plan, loans, threads, progress)
    if periods > out.shape[-1]:
        out = np.concatenate([out, np.zeros((*out.shape[:-1], periods - out.shape[-1]))], axis=-1)
    several = request.scenarios is not None and len(request.scenarios) > 1
    if request.level == "pool":
        out = out[:, :, 0]
    if not several:
        out = out[:, 0]
    return Cashflows(
        columns=dict(zip(selection.names, out, strict=True)),
        level=request.level,
        scenario_names=tuple(scenario.name for scenario in request.scenarios or ()),
        groups=groups if request.level == "group" else (),
        loan_ids=loan_ids(loans) if request.level == "loan" else None,
        opening_balance=float(loans.balance.sum()),
        periods=periods,
    )


def scheduled(request: ProjectionRequest, loans: LoanArrays, months: int, threads: int) -> AgedSums:
    """What the loans owe by schedule, summed by age: a projection in which nobody prepays or defaults.

    Raises AssumptionError where that differs between scenarios, since a timing curve has one schedule to go by.
    """
    terms = loans.contracts
    rates = None if terms is None else rates_of(request, terms, months)
    if terms is not None and rates is not None and len(rates.values) > 1 and (terms.index >= 0).any():
        message = "is a timing curve on floating loans, whose balances differ between the scenarios' rates"
        raise AssumptionError([Problem("assumptions.default", f"{message}; expected the same rates in each")])
    ages, place = np.unique(loans.age, return_inverse=True)
    names = tuple(str(age) for age in ages)
    aged = msgspec.structs.replace(loans, group=place.reshape(-1).astype(np.int32), groups=names)
    plan = Plan(
        selection=select(["balance"]), behaviour=no_behaviour(months), level="group", months=months, periods=months,
        groups=names, rows=len(ages), walks=None if terms is None else walks_of(loans, terms), rates=rates,
    )  # fmt: skip
    opening = np.bincount(aged.group, weights=loans.balance, minlength=len(ages))
    balance = np.hstack([opening[:, None], run(plan, aged, threads, None)[0, 0]])
    return AgedSums(ages.astype(np.int64), balance, float(loans.balance.sum()), float(loans.original_balance.sum()))


def checked(request: ProjectionRequest) -> ProjectionRequest:
    """The request with the types of all but its tape checked as if it had come from outside.

    Python does not hold a Struct's values to their types. Raises AssumptionError for the first that does not fit.
    """
    tape: object = request.tape
    if not isinstance(tape, Tape):
        message = f"is a {type(tape).__name__}; expected an engine.Tape"
        raise TapeError([Problem("tape", message)])
    try:
        plain = msgspec.to_builtins(msgspec.structs.replace(request, tape=Tape()), enc_hook=np.ndarray.tolist)
        rest = msgspec.convert(plain, ProjectionRequest)
    except (msgspec.ValidationError, TypeError, OverflowError) as error:
        what, _, where = str(error).partition(" - at `$.")
        raise AssumptionError([Problem(where.rstrip("`") or "request", f"does not fit: {what}")]) from None
    return msgspec.structs.replace(rest, tape=tape)


def loan_ids(loans: LoanArrays) -> list[str]:
    """The loans' ids as text, their 1-based number where a loan has none."""
    if loans.loan_id is None:
        return [str(i + 1) for i in range(len(loans))]
    return [str(i + 1) if name is None else str(name) for i, name in enumerate(loans.loan_id)]


def check_periods(periods: int | None) -> None:
    if periods is not None and not 1 <= periods <= MAX_PERIODS:
        raise AssumptionError([Problem("periods", f"is {periods}; expected whole months in [1, {MAX_PERIODS}]")])


def run(plan: Plan, loans: LoanArrays, threads: int, progress: Progress | None) -> NDArray[np.float64]:
    """Columns (fields, scenarios, rows, periods) of the whole tape."""
    shape = (len(plan.selection.names), plan.behaviour.scenarios, plan.rows, plan.periods)
    out = np.empty(shape) if plan.level == "loan" else np.zeros(shape)
    size = chunk_size(plan, len(loans))
    starts = range(0, len(loans), size)

    def work(start: int) -> NDArray[np.float64] | None:
        stop = min(start + size, len(loans))
        if plan.level == "loan":
            loan_chunk(plan, loans, start, stop, out)
            return None
        return sum_chunk(plan, loans, start, stop)

    for start, part in zip(starts, in_order(work, starts, threads), strict=True):
        if part is not None:
            np.add(out, part, out=out)
        if progress is not None:
            progress(min(start + size, len(loans)))
    return out


def chunk_size(plan: Plan, loans: int) -> int:
    """Loans a chunk: large, so that runs are long, but enough chunks for threads to share, and bounded memory."""
    if plan.level == "loan":
        return SMALLEST_CHUNK
    return min(max(loans // 16, SMALLEST_CHUNK), LARGEST_CHUNK)


def in_order(
    work: Callable[[int], NDArray[np.float64] | None], starts: range, threads: int
) -> Iterator[NDArray[np.float64] | None]:
    """work(start) for each start, in order, a few ahead on threads, so that results never pile up."""
    if threads == 1 or len(starts) <= 1:
        yield from map(work, starts)
        return
    with ThreadPoolExecutor(min(threads, len(starts))) as pool:
        ahead: deque[Future[NDArray[np.float64] | None]] = deque()
        todo = iter(starts)
        for start in todo:
            ahead.append(pool.submit(work, start))
            if len(ahead) >= threads + 2:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


class Chunk(msgspec.Struct, frozen=True):
    """A slice of the tape laid out for the core: contract vectors, runs, and which loan is in which lane."""

    vectors: NDArray[np.float64]
    extras: NDArray[np.float64]
    walked: _core.Walked | None
    runs: NDArray[np.int64]
    loan_at: NDArray[np.int64]


class Lanes(msgspec.Struct, frozen=True):
    """Loans of a slice in runs, every run in whole vectors of eight lanes: loan order[j] is in lane place[j]."""

    order: NDArray[np.int64]
    place: NDArray[np.int64]
    count: int
    runs: NDArray[np.int64]


def lay_out(plan: Plan, loans: LoanArrays, start: int, stop: int) -> Chunk:
    """Sorts loans start..stop into runs and prepares their vectors, those of plain loans and those of stepped ones."""
    part, terms = slice(start, stop), loans.contracts
    stepped = None if terms is None else terms.stepped[part]
    some = None if stepped is None else np.flatnonzero(~stepped)
    plain = in_lanes(plan, loans, part, some, [loans.term[part]] if len(loans.term) > 8 else [])
    vectors = np.zeros((_core.VECTOR_ROWS, plain.count))
    vectors[_core.LAST_MONTH_ROW] = -1
    _core.prepare(
        loans.balance[part], loans.rate[part], loans.fee[part], loans.payment[part], loans.term[part],
        loans.interest_only[part], loans.amortization_term[part], loans.amortization[part], plain.order, plain.place,
        vectors,
    )  # fmt: skip
    laid = [plain]
    walked = None
    if terms is not None and stepped is not None and stepped.any():
        assert plan.walks is not None
        assert plan.rates is not None
        floating = (terms.index[part] >= 0).astype(np.int32)
        near = [loans.term[part], plan.walks.phase[part], terms.schedule[part]]
        laid.append(in_lanes(plan, loans, part, np.flatnonzero(stepped), near, floating, plain.count))
        rows = placed(rows_of(loans, terms, plan.walks, part), laid[1].order, laid[1].place, laid[1].count)
        walked = _core.Walked(
            rows, plan.rates.values, np.array(plan.rates.set_of_scenario), plan.rates.past, plan.walks.shares,
            plan.walks.month, plan.walks.op, plan.walks.value,
        )  # fmt: skip
    loan_at = np.full(sum(each.count for each in laid) if plan.level == "loan" else 0, -1, dtype=np.int64)
    if plan.level == "loan":
        for each, offset in zip(laid, (0, plain.count), strict=False):
            loan_at[each.place + offset] = each.order + start
    extras = np.zeros((2, sum(each.count for each in laid) if plan.behaviour.per_loan_losses else 0))
    if plan.behaviour.per_loan_losses:
        for each, offset in zip(laid, (0, plain.count), strict=False):
            extras[0, each.place + offset] = np.nan_to_num(loans.property_value[part][each.order])
            extras[1, each.place + offset] = loans.mortgage_insurance[part][each.order]
    return Chunk(vectors, extras, walked, np.concatenate([each.runs for each in laid]), loan_at)


def in_lanes(
    plan: Plan,
    loans: LoanArrays,
    part: slice,
    some: NDArray[np.int64] | None,
    near: list[NDArray[np.int32]],
    floating: NDArray[np.int32] | None = None,
    offset: int = 0,
) -> Lanes:
    """The loans `some` of a slice (none: all) in lanes, by run and within it by the keys `near`, the last first.

    floating: for stepped loans, 1 where an index is read, else 0. offset: lanes before these.
    """
    behaviour, group, term = plan.behaviour, loans.group[part], loans.term[part]
    zero = np.broadcast_to(np.int32(0), group.shape)
    members = behaviour.members[part] if len(behaviour.members) > 1 else zero
    row = np.where(group < 0, len(loans.groups), group) if plan.level == "group" else zero
    age = loans.age[part] if behaviour.by_age else zero
    stop_term = term if behaviour.stops else zero
    walk = zero if floating is None else floating + 1
    keys = [key for key in (stop_term, age, members, row, walk) if key.strides != (0,)]
    order = sort_by([*near, *keys], np.arange(len(group)) if some is None else some)
    if not len(order):
        return Lanes(order, order, 0, np.zeros((0, 9), dtype=np.int64))
    first_of_run = np.zeros(len(order), dtype=bool)
    first_of_run[0] = True
    for key in keys:
        first_of_run[1:] |= np.diff(key[order]) != 0
    begins = np.flatnonzero(first_of_run)
    counts = np.diff(np.append(begins, len(order)))
    vectors = -(-counts // _core.LANES_A_VECTOR)
    first_lane = np.concatenate([[0], np.cumsum(vectors)[:-1]]) * _core.LANES_A_VECTOR
    place = np.arange(len(order)) + np.repeat(first_lane - begins, counts)
    lead = order[begins]
    flows = np.maximum.reduceat(term[order], begins) + behaviour.longest_lag
    runs = np.stack(
        [first_lane, vectors, members[lead], age[lead], stop_term[lead], row[lead], flows, walk[lead],
         first_lane + offset],
        axis=1,
    )  # fmt: skip
    lanes = int(vectors.sum()) * _core.LANES_A_VECTOR
    return Lanes(order, place, lanes, np.ascontiguousarray(runs, dtype=np.int64))


def sort_by(keys: list[NDArray[np.int32]], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The loans of `order` sorted by the last key, then the one before it, and so on; stable.

    Sixteen-bit keys sort by radix, in a few passes; wider ones (many groups) by merging.
    """
    for key in keys:
        narrow = key.astype(np.int16) if len(key) and key.max() < 32_768 else key
        order = order[np.argsort(narrow[order], kind="stable")]
    return order


def sum_chunk(plan: Plan, loans: LoanArrays, start: int, stop: int) -> NDArray[np.float64]:
    """The summed fields of loans start..stop, (fields, scenarios, rows, periods)."""
    chunk = lay_out(plan, loans, start, stop)
    out = np.zeros((len(plan.selection.names), plan.behaviour.scenarios, plan.rows, plan.periods))
    _core.project_sums(
        chunk.vectors, chunk.extras, chunk.walked, chunk.runs, plan.behaviour.rates, plan.behaviour.rules,
        plan.selection.needed, plan.selection.slot, plan.months, plan.periods, out,
    )  # fmt: skip
    return out


def loan_chunk(plan: Plan, loans: LoanArrays, start: int, stop: int, out: NDArray[np.float64]) -> None:
    """Writes the fields of loans start..stop to their rows of `out`."""
    chunk = lay_out(plan, loans, start, stop)
    _core.project_loans(
        chunk.vectors, chunk.extras, chunk.walked, chunk.runs, chunk.loan_at, plan.behaviour.rates,
        plan.behaviour.rules, plan.selection.needed, plan.selection.slot, plan.months, plan.periods, out,
    )  # fmt: skip


def project_batches(
    batches: Iterable[Tape],
    *,
    assumptions: Assumptions | None = None,
    scenarios: list[Scenario] | None = None,
    conventions: str | Conventions = "sifma",
    fields: list[str] | None = None,
    periods: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Cashflows:
    """The pool cashflows of a tape that comes in batches and need not fit in memory; added up batch by batch.

    progress: called with the loans done so far. Errors as project, with paths within the batch.
    """
    total: Cashflows | None = None
    done = 0
    for batch in batches:
        request = ProjectionRequest(
            tape=batch, assumptions=assumptions or Assumptions(), scenarios=scenarios, conventions=conventions,
            fields=fields, periods=periods,
        )  # fmt: skip
        part = project(request, threads)
        total = part if total is None else total.plus(part)
        done += len(batch)
        if progress is not None:
            progress(done)
    if total is None:
        empty: dict[str, Any] = {"balance": [], "annual_rate": [], "remaining_term": []}
        return project_batches(
            [Tape.from_columns(**empty)], assumptions=assumptions, scenarios=scenarios, conventions=conventions,
            fields=fields, periods=periods,
        )  # fmt: skip
    return total

"""Projects a tape: validates, resolves the request into a plan, and has the chunks of the tape run by it.

Sign and timing: engine/fields.py. How the work is cut and folded: engine/chunks.py and engine/run_sums.py.
"""

import datetime
import functools
import os
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.arrears import begun_earlier
from engine.assumptions import Assumptions, Conventions, Scenario
from engine.behaviour import bases_of, behaviour_of, conventions_of, no_behaviour
from engine.cashflows import Cashflows
from engine.chunks import Progress, run
from engine.conversion import fitted
from engine.curtailments import curtailments_of, with_payments_kept
from engine.errors import AssumptionError, Problem, TapeError, gathered
from engine.fields import FIELD_INDEX
from engine.index_rates import Histories, rates_of
from engine.loan_arrays import LoanArrays
from engine.loan_rows import check_out
from engine.loans import MAX_TERM
from engine.payment_calendars import on_dates
from engine.penalty_tables import penalties_of
from engine.plan import Plan, select
from engine.rates import RateTables
from engine.request import ProjectionRequest
from engine.run_sums import work_of
from engine.tape import Tape
from engine.timing import AgedSums
from engine.walks import Walks, walks_of

MAX_PERIODS = 2 * MAX_TERM
FEW_LOANS = 65_536  # of which the numbers are kept between projections


def project(
    request: ProjectionRequest,
    threads: int | None = None,
    progress: Progress | None = None,
    out: NDArray[np.float64] | None = None,
) -> Cashflows:
    """The cashflows of the request's tape under its scenarios.

    threads: how many run the core, none for every processor. progress: called with the loans done so far, from the
    calling thread. out: where the columns by loan are written: float64 (fields, loans, periods), with scenarios before
    the loans where there are several; the columns are views of it. Memory in use is written at more than twice the rate
    of new memory. Raises TapeError where the tape is at fault and AssumptionError where only the rest is, with every
    fault of both, up to a hundred; what can only be told of a tape without faults is told once it has none.
    """
    request = checked(request)
    loans, selection, bases, conventions, *_ = gathered(
        lambda: on_dates(request.tape.arrays(), request.cutoff_date),
        lambda: select(request.fields),
        lambda: bases_of(request),
        lambda: conventions_of(request.conventions),
        lambda: check_periods(request.periods),
        lambda: check_threads(threads),
    )
    threads = threads or processors()
    behaviour = behaviour_of(
        request, conventions, bases, loans,
        lambda inside, months: scheduled(request, loans.taken(np.flatnonzero(inside)), months, threads),
    )  # fmt: skip
    if behaviour.curtails:
        loans = with_payments_kept(loans, behaviour.rules, behaviour.members)
    longest = int(loans.term.max()) + behaviour.longest_lag if len(loans) else 0
    loans = begun_earlier(loans, behaviour.missed, behaviour.held, behaviour.members, Histories(request))
    months = max(longest, 1) + int(behaviour.missed.max(initial=0))
    groups = loans.groups + (("",) if len(loans) and loans.group.min() < 0 else ())
    rows = {"pool": 1, "group": len(groups), "loan": len(loans)}[request.level]
    periods = longest if request.periods is None else request.periods
    rates = None if loans.contracts is None else rates_of(request, loans.contracts, months)
    curtailments, rates = curtailments_of(loans, behaviour.rules, rates)
    several = request.scenarios is not None and len(request.scenarios) > 1
    shape = (len(selection.names), *([len(request.scenarios or ())] if several else []), rows, periods)
    given = check_out(out, request.level, shape, request.tape, loans)
    plan = Plan(
        selection=selection, behaviour=behaviour, level=request.level, months=months,
        periods=periods if request.level == "loan" else min(periods, months),
        groups=groups, rows=rows, walks=None if loans.contracts is None else walks_of(loans, loans.contracts),
        rates=rates, curtailments=curtailments,
        penalties=penalties_of(loans, months) if selection.needed[FIELD_INDEX["prepayment_penalty"]] else None,
    )  # fmt: skip
    found = run(plan, loans, threads, progress, given)
    if periods > found.shape[-1]:
        found = np.concatenate([found, np.zeros((*found.shape[:-1], periods - found.shape[-1]))], axis=-1)
    if request.level == "pool":
        found = found[:, :, 0]
    if not several:
        found = found[:, 0]
    return Cashflows(
        columns=dict(zip(selection.names, found, strict=True)),
        level=request.level,
        scenario_names=tuple(scenario.name for scenario in request.scenarios or ()),
        groups=groups if request.level == "group" else (),
        loan_ids=loan_ids(loans) if request.level == "loan" else None,
        opening_balance=drawn_at_cutoff(loans),
        periods=periods,
        work=work_of(plan, loans),
    )


@functools.cache
def processors() -> int:
    """How many processors there are; asking the system takes as long as projecting a loan."""
    return os.cpu_count() or 1


def scheduled(
    request: ProjectionRequest, loans: LoanArrays, months: int, threads: int
) -> Callable[[int], AgedSums]:  # fmt: skip
    """What the loans owe by schedule in a scenario, by its number, taken once for all with the same rates."""
    terms = loans.contracts
    if terms is None:
        sums = scheduled_sums(loans, months, threads, None, None)
        return lambda scenario: sums
    tables, walks = rates_of(request, terms, months), walks_of(loans, terms)

    @functools.cache
    def on(which: int) -> AgedSums:
        rates = msgspec.structs.replace(tables, values=tables.values[which : which + 1], set_of_scenario=(0,))
        return scheduled_sums(loans, months, threads, walks, rates)

    return lambda scenario: on(tables.set_of_scenario[scenario])


def scheduled_sums(
    loans: LoanArrays, months: int, threads: int, walks: Walks | None, rates: RateTables | None
) -> AgedSums:
    """What the loans owe by schedule, summed by age: a projection in which nobody prepays or defaults."""
    ages, place = np.unique(loans.age, return_inverse=True)
    names = tuple(str(age) for age in ages)
    aged = msgspec.structs.replace(loans, group=place.reshape(-1).astype(np.int32), groups=names)
    plan = Plan(
        selection=select(["balance"]), behaviour=no_behaviour(months), level="group", months=months, periods=months,
        groups=names, rows=len(ages), walks=walks, rates=rates,
    )  # fmt: skip
    opening = np.bincount(aged.group, weights=loans.balance, minlength=len(ages))
    balance = np.hstack([opening[:, None], run(plan, aged, threads, None)[0, 0]])
    return AgedSums(ages.astype(np.int64), balance, float(loans.balance.sum()), float(loans.original_balance.sum()))


def checked(request: ProjectionRequest) -> ProjectionRequest:
    """The request with the types of all but its tape checked as if it had come from outside.

    Python does not hold a Struct's values to their types. Raises AssumptionError with every one that does not fit.
    """
    given: object = request
    if not isinstance(given, ProjectionRequest):
        message = f"is a {type(given).__name__}; expected an engine.ProjectionRequest"
        raise AssumptionError([Problem("request", message)])
    tape: object = request.tape
    if not isinstance(tape, Tape):
        message = f"is a {type(tape).__name__}; expected an engine.Tape"
        raise TapeError([Problem("tape", message)])
    rest = fitted(msgspec.structs.replace(request, tape=Tape()), "")
    return msgspec.structs.replace(rest, tape=tape)


def loan_ids(loans: LoanArrays) -> list[str]:
    """The loans' ids as text, their 1-based number where a loan has none."""
    if loans.loan_id is None:
        return list(numbers(len(loans)) if len(loans) <= FEW_LOANS else map(str, range(1, len(loans) + 1)))
    return [str(i + 1) if name is None else str(name) for i, name in enumerate(loans.loan_id)]


@functools.lru_cache(maxsize=4)
def numbers(count: int) -> tuple[str, ...]:
    """1 .. count as text, which takes as long to make as a loan's column to write."""
    return tuple(map(str, range(1, count + 1)))


def drawn_at_cutoff(loans: LoanArrays) -> float:
    """The balance of the loans that have started by the cut-off; those that start later have a negative age."""
    started = loans.balance if loans.age.min(initial=0) >= 0 else loans.balance[loans.age >= 0]
    return float(started.sum())


def check_threads(threads: int | None) -> None:
    if threads is not None and threads < 1:
        raise AssumptionError([Problem("threads", f"is {threads}; expected 1 or more, or none for every processor")])


def check_periods(periods: int | None) -> None:
    if periods is not None and not 1 <= periods <= MAX_PERIODS:
        raise AssumptionError([Problem("periods", f"is {periods}; expected whole months in [1, {MAX_PERIODS}]")])


def project_batches(
    batches: Iterable[Tape],
    *,
    assumptions: Assumptions | None = None,
    scenarios: list[Scenario] | None = None,
    conventions: str | Conventions = "sifma",
    fields: list[str] | None = None,
    periods: int | None = None,
    cutoff_date: datetime.date | None = None,
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
            fields=fields, periods=periods, cutoff_date=cutoff_date,
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
            fields=fields, periods=periods, cutoff_date=cutoff_date,
        )  # fmt: skip
    return total

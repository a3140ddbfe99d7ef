"""How much work a request asks for, and the largest that is answered at once."""

from typing import Any

import msgspec
import numpy as np

import engine
from api.errors import Refusal
from api.settings import Settings
from engine.analytics.request import AnalyticsRequest, fitted
from engine.fields import DEFAULT_FIELDS
from engine.loans import MAX_TERM

# Below this a projection takes less time than handing it to a thread.
INLINE_LOAN_MONTHS = 50_000


def longest(values: Any, blank: int = 1) -> int:
    """The largest of a column or the value itself, within [1, MAX_TERM]: what lies outside the engine refuses.

    blank: what stands for a value that is not stated.
    """
    if isinstance(values, np.ndarray):
        found = np.max(np.where(np.isnan(values), blank, values), initial=1)
    else:
        found = max((blank if value is None else value for value in values), default=1)
    return min(max(int(found), 1), MAX_TERM)


def terms_of(tape: engine.Tape) -> Any:
    """The remaining terms that a tape states, in a list or an array."""
    if tape.loans is not None:
        return [loan.remaining_term for loan in tape.loans]
    terms = tape.columns.remaining_term if tape.columns is not None else []
    return terms if isinstance(terms, list | np.ndarray) else [terms]


def months(request: engine.ProjectionRequest, longest_term: int | None = None) -> int:
    """Months that the request projects at most. longest_term: that of its tape, where the tape is not read yet."""
    tape = request.tape
    if longest_term is not None:
        term = longest_term
    else:
        told = max((len(table.interest) for table in (tape.cashflows or {}).values()), default=1)
        term = longest(terms_of(tape), told)
    assumptions = [request.assumptions, *(s.assumptions for s in request.scenarios or [] if s.assumptions)]
    lags = [a.last_flow for a in assumptions]
    lags += [group.last_flow for a in assumptions for group in (a.groups or {}).values()]
    lags += [rule.assumptions.last_flow for a in assumptions for rule in a.rules or []]
    total = term + max(0, max(lags))
    return total if request.periods is None else min(total, max(request.periods, 1))


def scenario_count(request: engine.ProjectionRequest) -> int:
    return max(1, len(request.scenarios or []))


def steps(request: engine.ProjectionRequest, longest_term: int | None = None) -> int:
    """Months x scenarios, the work of one loan."""
    return months(request, longest_term) * scenario_count(request)


def loan_months(request: engine.ProjectionRequest) -> int:
    """Loans x months x scenarios."""
    return len(request.tape) * steps(request)


def lines(request: engine.ProjectionRequest) -> int:
    """Lines of a scenario's answer: one, one a group or one a loan."""
    if request.level == "pool":
        return 1
    if request.level == "loan":
        return len(request.tape)
    if request.tape.loans is not None:
        return max(1, len({loan.group for loan in request.tape.loans}))
    groups: Any = request.tape.columns.group if request.tape.columns is not None else None
    return max(1, len(set(groups))) if isinstance(groups, (list, np.ndarray)) else 1


def result_cells(request: engine.ProjectionRequest, of_line: int | None = None) -> int:
    """Numbers in the answer at most. of_line: its steps, where they are known already."""
    fields = DEFAULT_FIELDS if request.fields is None else request.fields
    return lines(request) * (steps(request) if of_line is None else of_line) * (len(fields) + 1)


def check(request: engine.ProjectionRequest, settings: Settings) -> int:
    """The loan-months of a request. Raises Refusal (413) for what is too large."""
    once = steps(request)
    work = check_loan_months(len(request.tape) * once, settings)
    cells = result_cells(request, once)
    if cells > settings.max_result_cells:
        raise Refusal(
            413,
            f"The answer has up to {cells:,} numbers; at most {settings.max_result_cells:,} are sent at once. "
            "Ask for fewer fields, for level 'pool', or submit it to /v1/runs.",
        )
    return work


def check_answer(cells: int, settings: Settings) -> None:
    """Raises Refusal (413) for stored columns with more numbers than are sent at once."""
    if cells > settings.max_result_cells:
        raise Refusal(
            413,
            f"The columns have {cells:,} numbers; at most {settings.max_result_cells:,} are sent at once "
            "(MAX_RESULT_CELLS). Ask for fewer fields or scenarios at a time.",
        )


def check_loan_months(work: int, settings: Settings) -> int:
    """The loan-months themselves. Raises Refusal (413) for too many."""
    if work > settings.max_loan_months:
        raise Refusal(
            413,
            f"The projection has {work:,} loan-months; at most {settings.max_loan_months:,} are answered at once. "
            "Submit it to /v1/runs, or cut the tape or the scenarios.",
        )
    return work


def check_analytics(request: AnalyticsRequest, settings: Settings) -> int:
    """The work of a request for measures in loan-months. Raises Refusal as check does, with reprojections counted."""
    projection = fitted(request)
    if projection is None:
        return check_cells(vector_numbers(request), len(request.measures), settings)
    once = check(projection, settings)
    check_cells(result_cells(projection), len(request.measures), settings)
    work = once * (1 + sum(measure.reprojections for measure in request.measures))
    return check_work(work, settings)


def check_work(work: int, settings: Settings) -> int:
    """The loan-months themselves. Raises Refusal (413) for too many."""
    if work > settings.max_loan_months:
        raise Refusal(
            413,
            f"The measures project {work:,} loan-months; at most {settings.max_loan_months:,} are answered at once. "
            "Ask for fewer measures that project again, or cut the tape or the scenarios.",
        )
    return work


def vector_numbers(request: AnalyticsRequest) -> int:
    """Numbers in the columns that are given, and one for each measure."""
    if request.cashflows is None:
        return 1
    columns = msgspec.structs.asdict(request.cashflows.columns).values()
    return 1 + sum(numbers(column) for column in columns if column is not None)


def numbers(column: list[Any]) -> int:
    return sum(len(entry) if isinstance(entry, list) else 1 for entry in column)


def check_cells(cells: int, measures: int, settings: Settings) -> int:
    """Numbers x measures. Raises Refusal (413) for too many."""
    work = cells * measures
    if work > settings.max_result_cells:
        raise Refusal(
            413,
            f"The measures are of {work:,} numbers; at most {settings.max_result_cells:,} are read at once. "
            "Ask for fewer vectors or fewer measures.",
        )
    return work

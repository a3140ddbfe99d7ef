"""How much work a request asks for, and the largest that is answered at once."""

from typing import Any

import engine
from api.errors import Fault, Refusal
from api.settings import Settings
from engine.fields import DEFAULT_FIELDS
from engine.loan_arrays import MAX_TERM

# Below this a projection takes less time than handing it to a thread.
INLINE_LOAN_MONTHS = 50_000


def longest(values: Any) -> int:
    """The largest of a column or the value itself, within [1, MAX_TERM]: what lies outside the engine refuses."""
    found = max(values, default=1) if isinstance(values, list) else values
    return min(max(int(found), 1), MAX_TERM)


def months(request: engine.ProjectionRequest) -> int:
    """Months that the request projects at most."""
    tape = request.tape
    if tape.loans is not None:
        term = longest([loan.remaining_term for loan in tape.loans])
    else:
        term = longest(tape.columns.remaining_term) if tape.columns is not None else 1
    assumptions = [request.assumptions, *(s.assumptions for s in request.scenarios or [] if s.assumptions)]
    lags = [a.recovery_lag for a in assumptions]
    lags += [group.recovery_lag for a in assumptions for group in (a.groups or {}).values()]
    lags += [rule.assumptions.recovery_lag for a in assumptions for rule in a.rules or []]
    total = term + max(0, max(lags))
    return total if request.periods is None else min(total, max(request.periods, 1))


def scenario_count(request: engine.ProjectionRequest) -> int:
    return max(1, len(request.scenarios or []))


def loan_months(request: engine.ProjectionRequest) -> int:
    """Loans x months x scenarios."""
    return len(request.tape) * months(request) * scenario_count(request)


def lines(request: engine.ProjectionRequest) -> int:
    """Lines of a scenario's answer: one, one a group or one a loan."""
    if request.level == "pool":
        return 1
    if request.level == "loan":
        return len(request.tape)
    if request.tape.loans is not None:
        return max(1, len({loan.group for loan in request.tape.loans}))
    groups = request.tape.columns.group if request.tape.columns is not None else None
    return max(1, len(set(groups))) if isinstance(groups, list) else 1


def result_cells(request: engine.ProjectionRequest) -> int:
    """Numbers in the answer at most."""
    fields = DEFAULT_FIELDS if request.fields is None else request.fields
    return lines(request) * months(request) * scenario_count(request) * (len(fields) + 1)


def check(request: engine.ProjectionRequest, settings: Settings) -> int:
    """The loan-months of a request. Raises Refusal: 404 for a stored tape, 413 for what is too large."""
    # With loans or columns beside it, the engine says that the tape is one of them.
    if request.tape.tape_id is not None and request.tape.loans is None and request.tape.columns is None:
        fault = Fault("tape.tape_id", "names no stored tape; expected loans or columns in the request")
        raise Refusal(404, f"No tape is stored under the id {request.tape.tape_id!r}.", [fault])
    work = loan_months(request)
    if work > settings.max_loan_months:
        raise Refusal(
            413,
            f"The projection has {work:,} loan-months; at most {settings.max_loan_months:,} are answered at once. "
            "Submit it to /v1/runs, or cut the tape or the scenarios.",
        )
    cells = result_cells(request)
    if cells > settings.max_result_cells:
        raise Refusal(
            413,
            f"The answer has up to {cells:,} numbers; at most {settings.max_result_cells:,} are sent at once. "
            "Ask for fewer fields, for level 'pool', or submit it to /v1/runs.",
        )
    return work

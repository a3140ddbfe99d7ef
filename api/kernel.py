"""engine.project with its work counted."""

import time

import msgspec

import engine
from api import metrics


def project(
    request: engine.ProjectionRequest, threads: int | None, interface: str, loan_months: int
) -> engine.Cashflows:
    """The cashflows of a request of so many loan-months; `interface` says where it came from: rest, graphql, worker."""
    started = time.perf_counter()
    cashflows = engine.project(request, threads)
    metrics.record_projection(request.level, interface, loan_months, time.perf_counter() - started)
    return cashflows


def check(request: engine.ProjectionRequest) -> None:
    """Raises InvalidInput for a tape or assumptions that project would refuse, before anything is projected.

    What only both together show to be wrong, such as a loan's index without a path, is left to project.
    """
    request.tape.arrays()
    nothing = engine.Tape.from_columns(balance=[], annual_rate=[], remaining_term=[])
    engine.project(msgspec.structs.replace(request, tape=nothing), threads=1)

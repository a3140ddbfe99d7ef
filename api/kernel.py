"""engine.project with its work counted."""

import time

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

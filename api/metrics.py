"""Every metric of the service, declared once, and the functions that record them. A leaf: anything may import it.

Several processes of one service share PROMETHEUS_MULTIPROC_DIR, which must be in the environment before this module is
imported (`cashflow serve` sees to it). Without it the numbers are of this process. api/exposition.py makes the page.
Labels come from closed sets; nothing a caller sends becomes one.
"""

import os
import threading
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

MULTIPROC = "PROMETHEUS_MULTIPROC_DIR"
# The client looks for the variable, not for its value, when it is imported; and it opens its files at once.
if not os.environ.get(MULTIPROC, "").strip():
    os.environ.pop(MULTIPROC, None)
else:
    Path(os.environ[MULTIPROC]).mkdir(parents=True, exist_ok=True)

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram  # noqa: E402

# Sums over the living processes, or what whoever measured last has seen of something that all share.
EACH: Literal["livesum"] = "livesum"
SHARED: Literal["mostrecent"] = "mostrecent"
REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
JOB_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)

REGISTRY = CollectorRegistry()


def counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=REGISTRY)


def gauge(name: str, text: str, mode: Literal["livesum", "mostrecent"], *labels: str) -> Gauge:
    return Gauge(name, text, labels, registry=REGISTRY, multiprocess_mode=mode)


def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(name, text, labels, registry=REGISTRY, buckets=buckets)


# Requests.
REQUESTS = counter("http_requests_total", "Answers sent.", "method", "route", "status")
REQUEST_DURATION = histogram(
    "http_request_duration_seconds", "Time to the end of the answer.", REQUEST_SECONDS, "method", "route", "status"
)
IN_FLIGHT = gauge("http_requests_in_flight", "Requests that are being answered.", EACH)
WEBSOCKETS = gauge("websocket_connections", "WebSockets that are open.", EACH)
ERRORS = counter("cashflow_errors_total", "Errors that nobody raised on purpose, by part of the service.", "part")
AUTHENTICATION_FAILURES = counter(
    "cashflow_authentication_failures_total", "Requests refused for their token.", "reason"
)
RATE_LIMIT_REJECTIONS = counter(
    "cashflow_rate_limit_rejections_total", "Requests refused because too many came, by who is counted.", "scope"
)

# Projections.
PROJECTIONS = counter("cashflow_projections_total", "Projections made.", "level", "interface")
LOAN_MONTHS = counter("cashflow_loan_months_total", "Loans x months x scenarios projected.", "interface")
KERNEL_SECONDS = counter("cashflow_kernel_seconds_total", "Time spent projecting.", "interface")

# Runs and workers.
RUNS = gauge("cashflow_runs", "Runs by state.", SHARED, "state")
RUNS_FINISHED = counter("cashflow_runs_finished_total", "Runs that reached a final state.", "state")
RUN_DURATION = histogram("cashflow_run_duration_seconds", "Time from start to final state.", JOB_SECONDS, "state")
RUN_WAIT = histogram("cashflow_run_wait_seconds", "Time a run was queued before it started.", JOB_SECONDS)
SHARDS = counter("cashflow_shards_total", "Shards that workers have ended.", "outcome")
SHARD_DURATION = histogram("cashflow_shard_duration_seconds", "Time a shard took.", JOB_SECONDS, "outcome")
QUEUE_DEPTH = gauge("cashflow_queue_depth", "Messages that wait.", SHARED, "queue")
WORKERS = gauge("cashflow_workers", "Workers whose heartbeat is fresh.", SHARED, "state")
HEARTBEAT = gauge("cashflow_worker_heartbeat_timestamp_seconds", "When the worker last gave a sign.", SHARED, "kind")
WEBHOOKS = counter("cashflow_webhook_deliveries_total", "Webhook deliveries tried.", "outcome")
WEBHOOK_DURATION = histogram("cashflow_webhook_duration_seconds", "Time a delivery took.", REQUEST_SECONDS, "outcome")

# What the service leans on.
CACHE_REQUESTS = counter("cashflow_cache_requests_total", "Look-ups in a cache.", "cache", "outcome")
POOL_CHECKED_OUT = gauge("cashflow_database_pool_checked_out", "Connections in use.", EACH)
POOL_SIZE = gauge("cashflow_database_pool_size", "Connections the pool keeps.", EACH)
POOL_OVERFLOW = gauge("cashflow_database_pool_overflow", "Connections open beyond the pool's size.", EACH)
COMPONENT_UP = gauge("cashflow_component_up", "Whether the last check of a component passed.", SHARED, "component")
COMPONENT_LATENCY = gauge("cashflow_component_latency_seconds", "Time the last check took.", SHARED, "component")

# Backups.
BACKUPS = counter("cashflow_backups_total", "Backups tried.", "database", "outcome")
BACKUP_JOBS = counter("cashflow_backup_jobs_total", "What workers did for backups.", "kind", "outcome")
BACKUP_DURATION = gauge("cashflow_backup_duration_seconds", "Time the last backup took.", SHARED, "database")
BACKUP_SIZE = gauge("cashflow_backup_size_bytes", "Size of the last backup.", SHARED, "database")
BACKUP_SUCCESS = gauge(
    "cashflow_backup_last_success_timestamp_seconds", "When the last good backup ended.", SHARED, "database"
)
DRILL_SUCCESS = gauge(
    "cashflow_backup_drill_success", "Whether the last restore drill passed (1) or failed (0).", SHARED, "database"
)
DRILL_TIME = gauge("cashflow_backup_drill_timestamp_seconds", "When the last restore drill ended.", SHARED, "database")

# A counter that begins at one has not increased, so what alerts watch begins at nought.
for of_errors in ("api", "graphql", "worker", "scheduler"):
    ERRORS.labels(of_errors)
for of_runs in ("succeeded", "failed", "cancelled", "dead"):
    RUNS_FINISHED.labels(of_runs)
for of_limits in ("user", "address"):
    RATE_LIMIT_REJECTIONS.labels(of_limits)
for of_tokens in ("missing", "invalid"):
    AUTHENTICATION_FAILURES.labels(of_tokens)
for of_webhooks in ("delivered", "refused", "unreachable", "given_up"):
    WEBHOOKS.labels(of_webhooks)


@lru_cache(maxsize=1024)
def of_request(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """What counts the answers of a method, route and status."""
    labels = (method, route, str(status))
    return REQUESTS.labels(*labels), REQUEST_DURATION.labels(*labels)


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Counts one answer."""
    count, duration = of_request(method, route, status)
    count.inc()
    duration.observe(seconds)


def count_error(part: Literal["api", "graphql", "worker", "scheduler"]) -> None:
    """Counts an error that nobody raised on purpose."""
    ERRORS.labels(part).inc()


def count_authentication_failure(reason: str) -> None:
    """Counts a refused token; `reason` is a word of the code (missing or invalid), never of the token."""
    AUTHENTICATION_FAILURES.labels(reason).inc()


def count_rate_limit_rejection(scope: Literal["user", "address"]) -> None:
    """Counts a request refused because too many came."""
    RATE_LIMIT_REJECTIONS.labels(scope).inc()


@lru_cache(maxsize=64)
def of_projection(level: str, interface: str) -> tuple[Counter, Counter, Counter]:
    """What counts the projections of a level and interface, their loan-months and their seconds."""
    return PROJECTIONS.labels(level, interface), LOAN_MONTHS.labels(interface), KERNEL_SECONDS.labels(interface)


def record_projection(level: str, interface: str, loan_months: int, kernel_seconds: float) -> None:
    """Counts a projection; `interface` is where it was asked for: rest, graphql or worker."""
    made, months, seconds = of_projection(level, interface)
    made.inc()
    months.inc(loan_months)
    seconds.inc(kernel_seconds)


def record_run(state: str, seconds: float) -> None:
    """Counts a run that reached `state`, one of the final ones, `seconds` after it started."""
    RUNS_FINISHED.labels(state).inc()
    RUN_DURATION.labels(state).observe(seconds)


def record_run_start(waited_seconds: float) -> None:
    """Counts a run that starts after it was queued for `waited_seconds`."""
    RUN_WAIT.observe(waited_seconds)


def record_shard(outcome: str, seconds: float) -> None:
    """Counts a shard that ended: done, failed, lost (its lease was taken) or cancelled."""
    SHARDS.labels(outcome).inc()
    SHARD_DURATION.labels(outcome).observe(seconds)


def set_queue_depth(queue: str, messages: int) -> None:
    """Notes how many messages wait in a queue."""
    QUEUE_DEPTH.labels(queue).set(messages)


def set_runs(by_state: Mapping[str, int]) -> None:
    """Notes how many runs there are in each state; name all states, so that none keeps an old number."""
    for state, runs in by_state.items():
        RUNS.labels(state).set(runs)


def set_workers(alive: int) -> None:
    """Notes how many workers have a fresh heartbeat."""
    WORKERS.labels("alive").set(alive)


def beat(kind: Literal["worker", "scheduler"]) -> None:
    """Notes that this worker or scheduler lives."""
    HEARTBEAT.labels(kind).set(time.time())


def record_webhook(outcome: str, seconds: float) -> None:
    """Counts an attempt to deliver a webhook: delivered; refused (by the answer) or unreachable, to be tried again; or
    given_up after the last."""
    WEBHOOKS.labels(outcome).inc()
    WEBHOOK_DURATION.labels(outcome).observe(seconds)


def count_cache(cache: str, hit: bool) -> None:
    """Counts a look-up in a cache."""
    CACHE_REQUESTS.labels(cache, "hit" if hit else "miss").inc()


def record_check(component: str, ok: bool, seconds: float) -> None:
    """Notes the result of a component's health check."""
    COMPONENT_UP.labels(component).set(ok)
    COMPONENT_LATENCY.labels(component).set(seconds)


def watch_pool(pool: Any) -> None:
    """Follows a SQLAlchemy pool (`engine.pool`, or `engine.sync_engine.pool` of an async engine) with the pool gauges.

    The gauges add up the pools of a process, and the page the processes.
    """
    from sqlalchemy import event

    # Counted by its events: on check-in the pool's own figures still include the connection that comes back.
    lock, opened = threading.Lock(), 0
    checked_out, overflow = POOL_CHECKED_OUT, POOL_OVERFLOW
    size: int = pool.size() if hasattr(pool, "size") else 0
    POOL_SIZE.inc(size)

    def count(change: int) -> None:
        nonlocal opened
        with lock:
            before, opened = opened, opened + change
            if size:
                overflow.inc(max(0, opened - size) - max(0, before - size))

    event.listen(pool, "connect", lambda *_: count(1))
    event.listen(pool, "close", lambda *_: count(-1))
    event.listen(pool, "checkout", lambda *_: checked_out.inc())
    event.listen(pool, "checkin", lambda *_: checked_out.dec())


def record_backup(database: str, succeeded: bool, seconds: float, size: int = 0) -> None:
    """Counts a backup that ended now; `size` in bytes, of one that succeeded."""
    BACKUPS.labels(database, "succeeded" if succeeded else "failed").inc()
    if succeeded:
        set_last_backup(database, time.time(), size, seconds)


def record_backup_job(kind: str, outcome: str) -> None:
    """Counts a job that ended: create, verify, drill or prune, and succeeded or failed."""
    BACKUP_JOBS.labels(kind, outcome).inc()


def set_last_backup(database: str, ended: float, size: int, seconds: float | None = None) -> None:
    """Notes the last good backup, read from where backups are kept; `ended` in seconds since 1970.

    A backup made by a short-lived command reaches no scrape, so a process that lives tells of it.
    """
    BACKUP_SUCCESS.labels(database).set(ended)
    BACKUP_SIZE.labels(database).set(size)
    if seconds is not None:
        BACKUP_DURATION.labels(database).set(seconds)


def set_last_drill(database: str, passed: bool, ended: float) -> None:
    """Notes the last restore drill; `ended` in seconds since 1970."""
    DRILL_SUCCESS.labels(database).set(passed)
    DRILL_TIME.labels(database).set(ended)

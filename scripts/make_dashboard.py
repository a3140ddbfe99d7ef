"""Writes grafana/provisioning/dashboards/dashboard.json: the rows below, each with its panels from left to right.

A panel is a title, a unit and its expressions with their legends; its place, ids and data source follow. Run it after a
change; a test holds the file against it, and every metric against what the service serves.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).resolve().parent.parent / "grafana" / "provisioning" / "dashboards" / "dashboard.json"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
WIDTH = 24
RATE = "[$__rate_interval]"


class Panel(NamedTuple):
    """A graph, or a single number where `kind` is stat; `limits` are the values from which it is yellow and red."""

    title: str
    unit: str
    queries: dict[str, str]
    kind: str = "timeseries"
    text: str = ""
    limits: tuple[float, float] | None = None
    stacked: bool = False


def quantiles(metric: str, by: str = "", where: str = "") -> dict[str, str]:
    """The 50th, 95th and 99th percentile of a histogram."""
    labels = f"le, {by}" if by else "le"
    return {
        f"p{p}": f"histogram_quantile(0.{p}, sum by ({labels}) (rate({metric}_bucket{where}{RATE})))"
        for p in (50, 95, 99)
    }


def rate_by(metric: str, label: str, where: str = "") -> dict[str, str]:
    return {f"{{{{{label}}}}}": f"sum by ({label}) (rate({metric}{where}{RATE}))"}


ANSWERS = 'http_requests_total{route!~"/health.*|/metrics"}'
ERROR_RATIO = (
    f'sum(rate(http_requests_total{{status=~"5.."}}{RATE})) / clamp_min(sum(rate(http_requests_total{RATE})), 0.001)'
)
DURATION = 'http_request_duration_seconds_bucket{route!~"/health.*|/metrics"}'
SLOWEST = f"histogram_quantile(0.95, sum by (le, route) (rate({DURATION}{RATE})))"
THROUGHPUT = (
    f"sum by (interface) (rate(cashflow_loan_months_total{RATE}))"
    f" / clamp_min(sum by (interface) (rate(cashflow_kernel_seconds_total{RATE})), 0.000001)"
)
HIT_RATIO = (
    f'sum by (cache) (rate(cashflow_cache_requests_total{{outcome="hit"}}{RATE}))'
    f" / sum by (cache) (rate(cashflow_cache_requests_total{RATE}))"
)
AGE = "time() - max by (database) (cashflow_backup_last_success_timestamp_seconds)"

ROWS: dict[str, list[Panel]] = {
    "At a glance": [
        Panel("Requests", "reqps", {"": f"sum(rate({ANSWERS}{RATE}))"}, "stat"),
        Panel("Failed requests", "percentunit", {"": ERROR_RATIO}, "stat", limits=(0.01, 0.05)),
        Panel(
            "95th percentile", "s",
            {"": f"histogram_quantile(0.95, sum by (le) (rate({DURATION}{RATE})))"}, "stat", limits=(1, 2),
        ),
        Panel("Components down", "none", {"": "count(min by (component) (cashflow_component_up) == 0) or vector(0)"},
              "stat", limits=(1, 1)),
        Panel("Waiting messages", "none", {"": "sum(max by (queue) (cashflow_queue_depth))"},
              "stat", limits=(100, 1000)),
        Panel("Backup age", "s", {"{{database}}": AGE}, "stat", limits=(90_000, 93_600)),
    ],
    "Traffic": [
        Panel("Requests by route", "reqps", rate_by("http_requests_total", "route"), stacked=True),
        Panel("Answers by status", "reqps", rate_by("http_requests_total", "status"), stacked=True),
        Panel("In flight", "none", {
            "requests": "sum(http_requests_in_flight)", "WebSockets": "sum(websocket_connections)"}),
    ],
    "Errors": [
        Panel("Share of answers that failed", "percentunit", {"5xx": ERROR_RATIO}),
        Panel("Errors nobody raised on purpose", "ops", rate_by("cashflow_errors_total", "part"),
              text="Each is in the log with its stack trace, and at Sentry where SENTRY_DSN is set."),
        Panel("Refused tokens", "ops", rate_by("cashflow_authentication_failures_total", "reason")),
        Panel("Refused by the rate limit", "ops", rate_by("cashflow_rate_limit_rejections_total", "scope")),
    ],
    "Latency": [
        Panel("Percentiles", "s", quantiles("http_request_duration_seconds")),
        Panel("95th percentile by route", "s", {"{{route}}": SLOWEST}),
        Panel("Health checks", "s", {
            "{{component}}": "max by (component) (cashflow_component_latency_seconds)"}),
    ],
    "Queue and runs": [
        Panel("Waiting messages", "none", {"{{queue}}": "max by (queue) (cashflow_queue_depth)"}),
        Panel("Runs by state", "none", {"{{state}}": "max by (state) (cashflow_runs)"}),
        Panel("Runs finished", "ops", rate_by("cashflow_runs_finished_total", "state")),
        Panel("Run duration", "s", quantiles("cashflow_run_duration_seconds")),
        Panel("Wait before a run starts", "s", quantiles("cashflow_run_wait_seconds")),
        Panel("Shards", "ops", rate_by("cashflow_shards_total", "outcome"), stacked=True),
        Panel("Shard duration", "s", quantiles("cashflow_shard_duration_seconds")),
        Panel("Workers", "none", {"{{state}}": "max by (state) (cashflow_workers)"}),
        Panel("Last sign of each", "s", {
            "{{kind}} {{instance}}": "time() - cashflow_worker_heartbeat_timestamp_seconds"}),
        Panel("Webhook deliveries", "ops", rate_by("cashflow_webhook_deliveries_total", "outcome")),
        Panel("Webhook duration", "s", quantiles("cashflow_webhook_duration_seconds")),
    ],
    "Kernel": [
        Panel("Loan-months by interface", "ops", rate_by("cashflow_loan_months_total", "interface"), stacked=True),
        Panel("Loan-months a second of kernel time", "none", {"{{interface}}": THROUGHPUT},
              text="How fast the kernel is while it runs, however busy it is."),
        Panel("Projections by level", "ops", rate_by("cashflow_projections_total", "level"), stacked=True),
        Panel("Time in the kernel", "percentunit", rate_by("cashflow_kernel_seconds_total", "interface"),
              text="1 is one projection at any time."),
    ],
    "Database and caches": [
        Panel("Connections", "none", {
            "in use": "sum(cashflow_database_pool_checked_out)", "pool size": "sum(cashflow_database_pool_size)",
            "overflow": "sum(cashflow_database_pool_overflow)"}),
        Panel("Components up", "none", {"{{component}}": "min by (component) (cashflow_component_up)"}),
        Panel("Cache hits", "percentunit", {"{{cache}}": HIT_RATIO}),
    ],
    "Processes": [
        Panel("Memory", "bytes", {"{{instance}} {{pid}}": "process_resident_memory_bytes{job=~\"cashflow.*\"}"}),
        Panel("Processor", "percentunit", {
            "{{instance}} {{pid}}": f"rate(process_cpu_seconds_total{{job=~\"cashflow.*\"}}{RATE})"}),
        Panel("Threads and open files", "none", {
            "threads {{instance}}": "sum by (instance) (process_threads)",
            "files {{instance}}": "sum by (instance) (process_open_fds{job=~\"cashflow.*\"})"}),
        Panel("Versions", "none", {"{{version}}": "count by (version) (cashflow_build_info)"}),
    ],
    "Backups": [
        Panel("Age", "s", {"{{database}}": "max by (database) (cashflow_backup_age_seconds)"}),
        Panel("Size", "bytes", {"{{database}}": "max by (database) (cashflow_backup_size_bytes)"}),
        Panel("Duration", "s", {"{{database}}": "max by (database) (cashflow_backup_duration_seconds)"}),
        Panel("Outcomes a day", "none", {
            "{{outcome}}": "sum by (outcome) (increase(cashflow_backups_total[1d]))"}),
        Panel("Restore drill passed", "none", {"{{database}}": "min by (database) (cashflow_backup_drill_success)"}),
        Panel("Since the restore drill", "s", {
            "{{database}}": "time() - max by (database) (cashflow_backup_drill_timestamp_seconds)"}),
    ],
}  # fmt: skip


def thresholds(limits: tuple[float, float] | None) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if limits is not None:
        steps += [{"color": "yellow", "value": limits[0]}, {"color": "red", "value": limits[1]}]
    return {"mode": "absolute", "steps": steps}


def drawn(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    """A panel in Grafana's words."""
    targets = [
        {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expression, "legendFormat": legend or "__auto"}
        for i, (legend, expression) in enumerate(panel.queries.items())
    ]
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": thresholds(panel.limits), "min": 0}
    whole = {"id": number, "type": panel.kind, "title": panel.title, "description": panel.text, "gridPos": place}
    if panel.kind == "stat":
        options: dict[str, Any] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"}
    else:
        stacking = {"mode": "normal" if panel.stacked else "none"}
        defaults["custom"] = {"lineWidth": 1, "fillOpacity": 20 if panel.stacked else 0, "stacking": stacking}
        options = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    fields = {"defaults": defaults, "overrides": []}
    return {**whole, "datasource": SOURCE, "targets": targets, "fieldConfig": fields, "options": options}


def dashboard() -> dict[str, Any]:
    """The dashboard: up to four panels side by side, six single numbers."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        place = {"x": 0, "y": top, "w": WIDTH, "h": 1}
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "gridPos": place, "collapsed": False})
        top += 1
        stats = row[0].kind == "stat"
        side, height = (6, 4) if stats else (3 if len(row) % 3 == 0 or len(row) > 4 else len(row), 8)
        for i, panel in enumerate(row):
            w = WIDTH // side
            place = {"x": i % side * w, "y": top + i // side * height, "w": w, "h": height}
            panels.append(drawn(panel, len(panels) + 1, place))
        top += -(-len(row) // side) * height
    return {
        "uid": "cashflow",
        "title": "Credit cashflow engine",
        "tags": ["cashflow"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": []},
        "annotations": {"list": []},
        "panels": panels,
    }


def text() -> str:
    """What the file holds."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())

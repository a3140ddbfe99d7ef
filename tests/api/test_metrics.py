"""Metrics: declared once, right under several processes, and without labels that callers make."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from prometheus_client import Gauge
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import create_engine
from sqlalchemy.pool import QueuePool

from api import metrics
from api.auth import issue_token
from api.exposition import page_registry, prepare, render, serve_worker_metrics
from api.observe import OTHER, Routes
from api.settings import Settings

Client = TestClient[Litestar]
ROOT = Path(__file__).parents[2]
SECRET = "the secret of a service of several processes"


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of a page, by its name and labels."""
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(text: str, name: str, **labels: str) -> float:
    return samples(text).get((name, frozenset(labels.items())), 0.0)


def own() -> str:
    return render(page_registry("1.2.3")).decode()


def test_projections_are_counted_by_level_and_loan_months(
    client: Client, bearer: dict[str, str], scenarios_body: dict[str, Any]
) -> None:
    before = client.get("/metrics").text
    response = client.post("/v1/projections", json={**scenarios_body, "level": "group"}, headers=bearer)
    assert response.status_code == 200
    after = client.get("/metrics").text

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert grown("cashflow_projections_total", level="group", interface="rest") == 1
    # Two loans, five months to the end of the longer one, two scenarios.
    assert grown("cashflow_loan_months_total", interface="rest") == 2 * 5 * 2
    assert grown("cashflow_kernel_seconds_total", interface="rest") > 0
    route = {"method": "POST", "route": "/v1/projections", "status": "200"}
    assert grown("http_requests_total", **route) == 1
    assert grown("http_request_duration_seconds_count", **route) == 1
    assert value(after, "http_requests_in_flight") == 1  # the scrape itself


def test_graphql_counts_its_projections(client: Client, bearer: dict[str, str], body: dict[str, Any]) -> None:
    before = client.get("/metrics").text
    query = "query ($request: ProjectionRequestInput!) { projection(request: $request) { columns { interest } } }"
    variables = {"request": {"tape": body["tape"]}}
    client.post("/graphql", json={"query": query, "variables": variables}, headers=bearer).raise_for_status()
    labels = {"level": "pool", "interface": "graphql"}
    name = "cashflow_projections_total"
    assert value(client.get("/metrics").text, name, **labels) == value(before, name, **labels) + 1


def test_the_page_tells_of_the_process_and_the_build(client: Client) -> None:
    text = client.get("/metrics").text
    pid = str(os.getpid())
    assert value(text, "process_resident_memory_bytes", pid=pid) > 10_000_000
    assert value(text, "process_cpu_seconds_total", pid=pid) > 0
    assert value(text, "process_threads", pid=pid) >= 1
    assert 'cashflow_build_info{python="' in text


def test_every_metric_declared_has_help_and_type_on_the_page(client: Client) -> None:
    text = client.get("/metrics").text
    declared = re.findall(r'= (?:counter|gauge|histogram)\(\s*"(\w+)"', (ROOT / "api/metrics.py").read_text())
    assert len(declared) > 30
    for name in declared:
        # The text format of version 0.0.4 names counters with their ending.
        assert f"# HELP {name} " in text
        assert re.search(rf"# TYPE {name} (counter|gauge|histogram)\n", text)


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/v1/runs/4711", "/v1/runs/{run_id}"),
        ("/v1/runs", "/v1/runs"),
        ("/v1/runs/4711/results", OTHER),
        ("/v1/runs/", OTHER),
        ("/v1/xruns/1", OTHER),
        ("/made/up", OTHER),
    ],
)
def test_a_path_is_counted_under_its_template(path: str, template: str) -> None:
    assert Routes(["/v1/runs", "/v1/runs/{run_id}"]).template({"path": path}) == template


def test_a_refused_asset_is_counted_under_its_template(client: Client) -> None:
    assert client.get("/schema/assets/secret-name.js").status_code == 401
    text = client.get("/metrics").text
    assert value(text, "http_requests_total", method="GET", route="/schema/assets/{name}", status="401") >= 1
    assert "secret-name" not in text


def test_the_pool_gauges_follow_connections_out_in_and_beyond_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Gauges of its own: the pools of other tests' services still work in this process.
    names = ["POOL_SIZE", "POOL_CHECKED_OUT", "POOL_OVERFLOW"]
    gauges = [Gauge(name.lower(), name, registry=None) for name in names]
    for name, gauge in zip(names, gauges, strict=True):
        monkeypatch.setattr(metrics, name, gauge)
    engine = create_engine(f"sqlite:///{tmp_path}/x.db", poolclass=QueuePool, pool_size=2, max_overflow=2)
    metrics.watch_pool(engine.pool)

    def pool() -> tuple[float, ...]:
        return tuple(sample.value for gauge in gauges for metric in gauge.collect() for sample in metric.samples)

    assert pool() == (2, 0, 0)
    connections = [engine.connect() for _ in range(3)]
    assert pool() == (2, 3, 1)
    for connection in connections:
        connection.close()
    assert pool() == (2, 0, 0)
    engine.dispose()


def test_the_age_of_a_backup_counts_from_its_end() -> None:
    metrics.set_last_backup("ledger", time.time() - 3600, 4096, 12.5)
    text = own()
    assert value(text, "cashflow_backup_age_seconds", database="ledger") == pytest.approx(3600, abs=60)
    assert value(text, "cashflow_backup_size_bytes", database="ledger") == 4096
    assert value(text, "cashflow_backup_duration_seconds", database="ledger") == 12.5


def test_a_worker_serves_its_page_on_a_port_of_its_own() -> None:
    metrics.record_shard("done", 0.2)
    server, thread = serve_worker_metrics(0, "1.2.3", "127.0.0.1")
    try:
        text = httpx.get(f"http://127.0.0.1:{server.server_port}/metrics").raise_for_status().text
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert value(text, "cashflow_shards_total", outcome="done") >= 1
    assert 'cashflow_build_info{python="' in text


COUNTER = """
import sys
from api import metrics
metrics.record_projection("pool", "worker", 10, 0.5)
metrics.IN_FLIGHT.inc()
print("counted", flush=True)
sys.stdin.read()
"""
READER = """
from api.exposition import page_registry, render
print(render(page_registry("1")).decode())
"""


def test_counts_of_a_dead_process_stay_and_its_gauges_go(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")}

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", COUNTER], cwd=ROOT, env=environ, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "counted\n"
        return process

    def read() -> str:
        return subprocess.check_output([sys.executable, "-c", READER], cwd=ROOT, env=environ, text=True)

    first, second = start(), start()
    try:
        both = read()
        first.kill()
        first.wait()
        one = read()
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    for text in (both, one):
        assert value(text, "cashflow_loan_months_total", interface="worker") == 20
        assert "# TYPE cashflow_backups_total counter" in text
    assert value(both, "http_requests_in_flight") == 2
    assert value(one, "http_requests_in_flight") == 1
    assert (str(second.pid) in one, str(first.pid) in one) == (True, False)


def test_a_start_empties_the_directory_of_what_the_last_one_left(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    for name in ("counter_1.db", f"counter_{os.getpid()}.db", "notes.txt"):
        (tmp_path / name).write_text("")
    prepare(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"counter_{os.getpid()}.db", "notes.txt"}
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(tmp_path)


@pytest.fixture
def several(tmp_path: Path) -> Iterator[str]:
    """The address of a service of two processes, started by the command as an operator would."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {
        "PATH": os.environ["PATH"], "STATE_DIR": str(tmp_path / "state"), "WEB_CONCURRENCY": "2", "JWT_SECRET": SECRET
    }  # fmt: skip
    command = [str(Path(sys.executable).with_name("cashflow")), "serve", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=log, stderr=log)
    try:
        for _ in range(300):
            assert server.poll() is None, (tmp_path / "log").read_text()
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health/live").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0


def test_a_scrape_adds_up_all_processes_of_the_service(several: str, tmp_path: Path) -> None:
    token = issue_token(Settings(jwt_secret=SECRET), "tester", timedelta(hours=1))
    headers = {"authorization": f"Bearer {token}"}
    loan = {"type": "loan", "balance": 1.0, "annual_rate": 0.0, "remaining_term": 1}
    assert len(list((tmp_path / "state").glob("metrics-*"))) == 1
    sent = 40
    # A new connection each time goes to either process.
    with httpx.Client(base_url=several, headers={"connection": "close"}) as client:
        for _ in range(sent):
            answer = client.post("/v1/projections", json={"tape": {"loans": [loan]}}, headers=headers)
            assert answer.status_code == 200, answer.text
        pages = [client.get("/metrics").text for _ in range(6)]
    for text in pages:
        assert value(text, "cashflow_loan_months_total", interface="rest") == sent
        labels = {"method": "POST", "route": "/v1/projections", "status": "200"}
        assert value(text, "http_request_duration_seconds_count", **labels) == sent
        assert text.count("\nprocess_resident_memory_bytes{") == 2


def test_a_query_parsed_before_is_a_hit(client: Client, bearer: dict[str, str]) -> None:
    before = client.get("/metrics").text
    for _ in range(3):
        client.post("/graphql", json={"query": "{ onlyInThisTest: __typename }"}, headers=bearer).raise_for_status()
    after = client.get("/metrics").text

    def grown(outcome: str) -> float:
        labels = {"cache": "graphql_queries", "outcome": outcome}
        return value(after, "cashflow_cache_requests_total", **labels) - value(
            before, "cashflow_cache_requests_total", **labels
        )

    assert (grown("miss"), grown("hit")) == (1, 2)

"""The service end to end over sockets, beside the framework's empty handler in the same run; one worker process.

Under load 16 connections are kept busy; latencies alone are of one connection. The client needs a processor too.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import engine
from bench.native import ROOT
from bench.service import EMPTY, SERVE, Load, Server, load, serving
from bench.timing import ROUNDS
from engine.tape_cells import WHOLE_COLUMNS
from engine.tape_files import read_tape

GROUP = "service, one worker"
LOAN = engine.Loan(balance=250_000.0, annual_rate=0.065, remaining_term=360)
ASSUMED = engine.Assumptions(
    prepayment=engine.Psa(speed=1.5), default=engine.Cdr(rate=0.01), severity=0.35, recovery_lag=12
)
EIGHT = ["balance", "interest", "scheduled_principal", "prepayment", "default", "recovery", "loss", "cashflow"]
PROJECTION = "query ($r: ProjectionRequestInput!) { projection(request: $r) { columns { %s } } }"
STORED = 'query ($id: ID!) { run(id: $id) { cashflows(scenarios: ["cpr 3"]) { columns { %s } } } }'
rates: dict[str, float] = {}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(SERVE, tmp_path_factory.mktemp("service")) as server:
        yield server


def body_of(tape: engine.Tape, **rest: Any) -> bytes:
    return msgspec.json.encode(engine.ProjectionRequest(tape=tape, assumptions=ASSUMED, periods=360, **rest))


def under_load(benchmark: BenchmarkFixture, port: int, request: bytes, requests: int, connections: int = 16) -> Load:
    """The best of the rounds; a round is one load."""
    benchmark.group = GROUP
    load(port, request, max(requests // 10, 16), connections)
    found: list[Load] = []
    benchmark.pedantic(lambda: found.append(load(port, request, requests, connections)), rounds=min(ROUNDS, 3))
    best = min(found, key=lambda each: each.seconds)
    benchmark.extra_info.update(connections=connections, **best.told())
    return best


def test_empty_handler_of_the_framework(benchmark: BenchmarkFixture, tmp_path_factory: pytest.TempPathFactory) -> None:
    body = body_of(engine.Tape.from_loans([LOAN]))
    with serving(EMPTY, tmp_path_factory.mktemp("empty")) as server:
        best = under_load(benchmark, server.port, server.request("/v1/projections", body), 4000)
    rates["empty"] = best.requests / best.seconds


def beside_empty(benchmark: BenchmarkFixture, best: Load) -> None:
    if "empty" in rates:
        benchmark.extra_info["of_the_empty_handler"] = best.requests / best.seconds / rates["empty"]


def test_rest_projection_of_one_loan(benchmark: BenchmarkFixture, server: Server) -> None:
    """All twelve fields of 360 months, as JSON."""
    request = server.request("/v1/projections", body_of(engine.Tape.from_loans([LOAN])))
    best = under_load(benchmark, server.port, request, 2000)
    assert len(json.loads(best.answer)["columns"]["balance"]) == 360
    beside_empty(benchmark, best)


def test_rest_projection_of_one_loan_and_field(benchmark: BenchmarkFixture, server: Server) -> None:
    body = body_of(engine.Tape.from_loans([LOAN]), fields=["balance"])
    beside_empty(benchmark, under_load(benchmark, server.port, server.request("/v1/projections", body), 2000))


def test_rest_latency_of_one_loan(benchmark: BenchmarkFixture, server: Server) -> None:
    request = server.request("/v1/projections", body_of(engine.Tape.from_loans([LOAN])))
    under_load(benchmark, server.port, request, 300, connections=1)


def plain(name: str, column: Any) -> Any:
    """A column as JSON has it: lists, null for a blank, whole months."""
    values = column.tolist() if isinstance(column, np.ndarray) else column
    if not isinstance(values, list):
        return values
    blank_free = [None if value != value else value for value in values]
    return [int(value) if value is not None else None for value in blank_free] if name in WHOLE_COLUMNS else blank_free


def test_rest_sample_of_ten_thousand_loans(benchmark: BenchmarkFixture, server: Server) -> None:
    columns = read_tape(ROOT / "samples" / "loans.csv").columns
    assert columns is not None
    lists = {name: plain(name, getattr(columns, name)) for name in columns.__struct_fields__}
    body = body_of(engine.Tape.from_columns(**lists))
    best = under_load(benchmark, server.port, server.request("/v1/projections", body), 30, connections=1)
    assert len(json.loads(best.answer)["columns"]["balance"]) == 360
    benchmark.extra_info["request_kb"] = len(body) // 1000


@pytest.mark.parametrize("fields", [1, 8])
def test_graphql_projection_of_one_loan(benchmark: BenchmarkFixture, server: Server, fields: int) -> None:
    """A query whose text was parsed before, its request in the variables."""
    variables = {"r": json.loads(body_of(engine.Tape.from_loans([LOAN])))}
    operation = {"query": PROJECTION % " ".join(EIGHT[:fields]), "variables": variables}
    best = under_load(benchmark, server.port, server.request("/graphql", json.dumps(operation).encode()), 1000)
    assert len(json.loads(best.answer)["data"]["projection"]["columns"]["balance"]) == 360
    beside_empty(benchmark, best)


@pytest.fixture(scope="module")
def run_id(server: Server) -> str:
    """A finished run of one loan under twenty scenarios."""
    headers = {"authorization": f"Bearer {server.token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers=headers) as client:
        csv = b"balance,annual_rate,remaining_term\n250000,0.065,360\n"
        tape = client.post("/v1/tapes?name=bench", content=csv, headers={"content-type": "text/csv"})
        assert tape.status_code == 201, tape.text
        scenarios = [
            {"scenario": {"name": f"cpr {k}", "assumptions": {"prepayment": {"type": "cpr", "rate": k / 100}}}}
            for k in range(20)
        ]
        body = {"tape_id": tape.json()["id"], "scenarios": scenarios, "fields": EIGHT, "periods": 360}
        made = client.post("/v1/runs", json=body)
        assert made.status_code in (200, 201, 202), made.text
        deadline = time.monotonic() + 30
        while (run := client.get(f"/v1/runs/{made.json()['id']}").json())["state"] != "succeeded":
            assert run["state"] in ("queued", "running"), run
            assert time.monotonic() < deadline, run
            time.sleep(0.05)
    return str(run["id"])


@pytest.mark.parametrize("connections", [1, 16])
def test_graphql_stored_columns(benchmark: BenchmarkFixture, server: Server, run_id: str, connections: int) -> None:
    """Eight columns of 360 months of one of twenty stored scenarios."""
    operation = {"query": STORED % " ".join(EIGHT), "variables": {"id": run_id}}
    request = server.request("/graphql", json.dumps(operation).encode())
    best = under_load(benchmark, server.port, request, 400, connections)
    columns = json.loads(best.answer)["data"]["run"]["cashflows"]["columns"]
    assert [len(columns[name]) for name in EIGHT] == [360] * 8


def test_service_becomes_ready(benchmark: BenchmarkFixture, tmp_path_factory: pytest.TempPathFactory) -> None:
    """From the start of the process to the first 200 of /health/ready: with an empty folder, database and all.

    Its bytecode is there, as in the image.
    """
    benchmark.group = "import and start"
    found: list[float] = []

    def start() -> None:
        with serving(SERVE, tmp_path_factory.mktemp("fresh")) as server:
            found.append(server.seconds_to_ready)

    benchmark.pedantic(start, rounds=min(ROUNDS, 3), warmup_rounds=1)
    benchmark.extra_info["seconds_to_ready"] = min(found)

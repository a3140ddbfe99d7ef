"""Latency of the service over a real socket: one loan, and the sample of ten thousand, with the answer in JSON."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
import uvicorn
from pytest_benchmark.fixture import BenchmarkFixture

import engine
from api.app import create_app
from api.auth import issue_token
from api.settings import Settings
from bench.peers import ROOT
from engine.tape_cells import WHOLE_COLUMNS
from engine.tape_files import read_tape

URL = "/v1/projections"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client with a token, connected to a server on a free port of this machine."""
    secret = "a secret of the benchmarks, of 32 bytes and more"
    state_dir = str(tmp_path_factory.mktemp("state"))
    settings = Settings(jwt_secret=secret, state_dir=state_dir, rate_limit_enabled=False)
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
        assert thread.is_alive(), "the server stopped while it was starting"
    port = server.servers[0].sockets[0].getsockname()[1]
    token = issue_token(settings, "bench", timedelta(hours=1))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {token}"}) as client:
        yield client
    server.should_exit = True
    thread.join()


def answer(benchmark: BenchmarkFixture, client: httpx.Client, tape: engine.Tape) -> None:
    assumed = engine.Assumptions(
        prepayment=engine.Psa(speed=1.5), default=engine.Cdr(rate=0.01), severity=0.35, recovery_lag=12
    )
    body = msgspec.json.encode(engine.ProjectionRequest(tape=tape, assumptions=assumed))
    headers = {"content-type": "application/json"}
    response = benchmark.pedantic(lambda: client.post(URL, content=body, headers=headers), rounds=30, warmup_rounds=3)
    assert response.status_code in (200, 201), response.text
    benchmark.extra_info.update(
        loans=len(tape), median_ms=round(1e3 * benchmark.stats.stats.median, 2), request_kb=len(body) // 1000
    )


def test_one_loan(benchmark: BenchmarkFixture, client: httpx.Client) -> None:
    loan = engine.Loan(balance=250_000.0, annual_rate=0.065, remaining_term=360)
    answer(benchmark, client, engine.Tape.from_loans([loan]))


def plain(name: str, column: Any) -> Any:
    """A column as JSON has it: lists, null for a blank, whole months."""
    values = column.tolist() if isinstance(column, np.ndarray) else column
    if not isinstance(values, list):
        return values
    blank_free = [None if value != value else value for value in values]
    return [int(value) if value is not None else None for value in blank_free] if name in WHOLE_COLUMNS else blank_free


def test_sample_of_ten_thousand_loans(benchmark: BenchmarkFixture, client: httpx.Client) -> None:
    columns = read_tape(ROOT / "samples" / "loans.csv").columns
    assert columns is not None
    lists = {name: plain(name, getattr(columns, name)) for name in columns.__struct_fields__}
    answer(benchmark, client, engine.Tape.from_columns(**lists))

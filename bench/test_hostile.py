"""Time to refuse hostile GraphQL over the whole service: each operation of the corpus in less than 50 ms (median).

Processor time of the process, so that what else the machine does is not in it. Each round sends another text, by a
comment at its end, so that no round finds what an earlier one has parsed.
"""

import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from pytest_benchmark.fixture import BenchmarkFixture

from api.app import create_app
from api.auth import issue_token
from api.settings import Settings
from tests.api.hostile import BODIES, QUERIES

Client = TestClient[Litestar]
ROUNDS = 9
OPERATIONS = {name: {"query": query} for name, query in QUERIES.items()} | BODIES


@pytest.fixture(scope="module", params=[True, False], ids=["development", "production"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The service, with questions about its schema (and names suggested in errors) and without."""
    settings = Settings(
        jwt_secret="a secret of the benchmarks, of 32 bytes and more",
        rate_limit_enabled=False,
        graphql_introspection=request.param,
        state_dir=str(tmp_path_factory.mktemp("state")),
        log_level="error",
    )
    token = issue_token(settings, "bench", timedelta(hours=1))
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        client.headers.update(headers)
        client.post("/graphql", content=b'{"query": "{ __typename }"}')
        yield client


def contents(operation: Any) -> Iterator[bytes]:
    """The body of an operation, another one each time where it has a query."""
    for number in count():
        if isinstance(operation, dict) and isinstance(operation.get("query"), str):
            yield msgspec.json.encode({**operation, "query": f"{operation['query']} #{number}"})
        elif isinstance(operation, str) and operation.startswith("{"):
            yield operation.encode()
        else:
            yield msgspec.json.encode(operation)


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("name", OPERATIONS)
def test_refusal(benchmark: BenchmarkFixture, client: Client, name: str) -> None:
    texts = contents(OPERATIONS[name])
    answer = benchmark.pedantic(
        lambda content: client.post("/graphql", content=content),
        setup=lambda: ((next(texts),), {}),
        rounds=ROUNDS,
    )
    assert answer.status_code == 400
    benchmark.extra_info.update(milliseconds=round(1e3 * benchmark.stats.stats.median, 1))

"""Time to refuse hostile GraphQL, over the whole service; each operation of the corpus should take less than 50 ms."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from litestar.testing import TestClient
from pytest_benchmark.fixture import BenchmarkFixture

from api.app import create_app
from api.auth import issue_token
from api.settings import Settings
from tests.api.hostile import BODIES, QUERIES

OPERATIONS = {name: {"query": query} for name, query in QUERIES.items()} | BODIES


@pytest.mark.parametrize("name", OPERATIONS)
def test_refusal(benchmark: BenchmarkFixture, name: str, tmp_path: Path) -> None:
    secret = "a secret of the benchmarks, of 32 bytes and more"
    settings = Settings(jwt_secret=secret, rate_limit_enabled=False, state_dir=str(tmp_path), log_level="error")
    token = issue_token(settings, "bench", timedelta(hours=1))
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    operation = OPERATIONS[name]
    written = isinstance(operation, str) and operation.startswith("{")
    content = operation if written else msgspec.json.encode(operation)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        client.post("/graphql", content=b'{"query": "{ __typename }"}', headers=headers)
        # Once: what was parsed and refused a moment ago may be remembered.
        answer = benchmark.pedantic(lambda: client.post("/graphql", content=content, headers=headers), rounds=1)
    assert answer.status_code == 400
    benchmark.extra_info.update(milliseconds=round(1e3 * benchmark.stats.stats.max, 1))

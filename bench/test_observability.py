"""What ids, metrics, the access log and the rate limit cost a request: an app that answers at once, or behind them."""

import asyncio
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from api.logging import formatter
from api.observe import Routes, observed
from api.quotas import Limiter
from api.rate_limit import limited_by_address, limited_by_user
from api.scrub import Scrubber
from api.settings import Settings
from tests.servers import valkey_server

ROUTES = Routes(["/v1/projections", "/v1/runs/{run_id}"])
REQUESTS = 1000
SECRETS = ["a secret of the benchmarks, of 32 bytes and more", "another one, of redis"]


async def at_once(scope: Any, receive: Any, send: Any) -> None:
    """An application that only answers."""
    scope["path_template"] = "/v1/runs/{run_id}"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b"{}"})


async def dropped(message: Any) -> None:
    """A client that takes every message and does nothing."""


def requests(benchmark: BenchmarkFixture, app: Any, limiter: Limiter | None = None) -> None:
    """Times REQUESTS requests one after another, and tells the microseconds of one. limiter: closed at the end."""

    async def run() -> None:
        for _ in range(REQUESTS):
            headers = [(b"host", b"x"), (b"user-agent", b"bench"), (b"authorization", b"Bearer x")]
            scope = {"type": "http", "method": "GET", "path": "/v1/runs/run_1", "headers": headers, "user": "bench"}
            await app(scope, None, dropped)

    with asyncio.Runner() as loop:
        benchmark.pedantic(lambda: loop.run(run()), rounds=10, warmup_rounds=1)
        if limiter is not None:
            loop.run(limiter.close())
    benchmark.extra_info.update(microseconds_a_request=round(1e6 * benchmark.stats.stats.median / REQUESTS, 1))


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """The access log as JSON into memory."""
    out, logger = io.StringIO(), logging.getLogger("api.access")
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter(Scrubber(SECRETS), as_json=True))
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield out
    logger.removeHandler(handler)
    logger.setLevel(level)
    logger.propagate = propagate


def test_request_without_observation(benchmark: BenchmarkFixture) -> None:
    requests(benchmark, at_once)


def test_request_with_metrics_alone(benchmark: BenchmarkFixture) -> None:
    logger = logging.getLogger("api.access")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        requests(benchmark, observed(at_once, ROUTES))
    finally:
        logger.setLevel(level)


def test_request_with_metrics_and_a_line_of_json(benchmark: BenchmarkFixture, logged: io.StringIO) -> None:
    requests(benchmark, observed(at_once, ROUTES))
    assert logged.getvalue().count('"event":"request"') >= REQUESTS


def limited(benchmark: BenchmarkFixture, redis_url: str) -> None:
    """Each request takes from its address, gives it back, and takes from its user."""
    settings = Settings(jwt_secret=SECRETS[0], redis_url=redis_url, rate_limit_requests=10**9)
    limiter = Limiter(settings)
    told = []

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        told.append(scope["quota"][1].allowed)
        await at_once(scope, receive, send)

    requests(benchmark, limited_by_address(limited_by_user(counted, limiter), limiter), limiter)
    assert all(told)
    assert len(told) >= REQUESTS
    assert limiter.failed_at == float("-inf")


def test_request_with_the_rate_limit_in_memory(benchmark: BenchmarkFixture) -> None:
    limited(benchmark, "")


def test_request_with_the_rate_limit_in_redis(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    with valkey_server(tmp_path) as server:
        limited(benchmark, server.url)

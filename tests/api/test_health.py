"""GET /health tells what runs and how each component does; probes ask for what they need and no more."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api import checks
from api.app import create_app
from api.backup.manager import BackupManager
from api.components import Components
from api.exposition import page_registry, render
from api.settings import Settings
from api.storage.database import Database
from tests.servers import Valkey

Client = TestClient[Litestar]


@pytest.fixture
def own(settings: Settings) -> Iterator[Client]:
    """A service of its own, so that the components a test registers are nobody else's."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


async def passes() -> dict[str, Any]:
    return {"queue_depth": 3}


async def fails() -> None:
    raise ConnectionError("postgresql://app:hunter22@db refused")


async def hangs() -> None:
    await asyncio.sleep(3600)


def test_health_names_the_version_and_the_engine(client: Client) -> None:
    found = client.get("/health").json()
    assert found["status"] == "ok"
    assert found["version"] == metadata.version("credit-cashflow-engine")
    assert found["engine"]["threads"] >= 1
    assert found["engine"]["dispatch"] in ("plain", "x86-64", "x86-64-v3", "x86-64-v4")
    assert found["components"]["api"]["status"] == "ok"
    assert found["components"]["api"]["latency_ms"] >= 0


def test_a_component_tells_its_status_latency_and_figures(own: Client) -> None:
    own.app.state.components.register("workers", passes, ready=False)
    found = own.get("/health")
    assert found.status_code == 200
    workers = found.json()["components"]["workers"]
    assert workers["status"] == "ok"
    assert workers["details"] == {"queue_depth": 3}
    text = own.get("/metrics").text
    assert 'cashflow_component_up{component="workers"} 1.0' in text


def test_a_failing_component_is_told_without_its_reason(own: Client) -> None:
    own.app.state.components.register("database", fails)
    found = own.get("/health")
    assert found.status_code == 503
    assert found.json()["status"] == "failing"
    assert found.json()["components"]["database"]["status"] == "failing"
    assert found.json()["components"]["api"]["status"] == "ok"
    assert "hunter22" not in found.text
    assert "refused" not in found.text
    assert own.get("/health/ready").status_code == 503
    assert own.get("/health/live").status_code == 200
    assert 'cashflow_component_up{component="database"} 0.0' in own.get("/metrics").text


def test_what_requests_do_not_need_keeps_none_away(own: Client) -> None:
    own.app.state.components.register("workers", fails, ready=False)
    assert own.get("/health").status_code == 503
    ready = own.get("/health/ready")
    assert ready.status_code == 200
    assert "workers" not in ready.json()["components"]


async def test_a_component_that_hangs_fails_when_its_time_is_over_and_holds_up_no_other() -> None:
    components = Components(timeout=0.05)
    components.register("slow", hangs)
    components.register("quick", passes)
    found = await components.check()
    assert (found["slow"].status, found["quick"].status) == ("timeout", "ok")


async def test_checks_run_side_by_side_and_callers_at_one_time_share_them() -> None:
    components, started, both = Components(), 0, asyncio.Event()

    async def meets() -> None:
        nonlocal started
        started += 1
        if started == 2:
            both.set()
        await both.wait()

    components.register("one", meets)
    components.register("other", meets)
    results = await asyncio.gather(*(components.check() for _ in range(10)))
    assert all(found["one"].status == found["other"].status == "ok" for found in results)
    assert started == 2
    await components.check()
    assert started == 2  # a result is kept for a second


async def test_a_caller_that_leaves_does_not_end_the_check_of_the_others() -> None:
    components, go = Components(), asyncio.Event()

    async def waits() -> None:
        await go.wait()

    components.register("one", waits)
    leaving, staying = asyncio.create_task(components.check()), asyncio.create_task(components.check())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    go.set()
    assert (await staying)["one"].status == "ok"


async def test_a_failure_is_logged_with_its_reason_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    components, broken = Components(kept=0.0), True

    async def sometimes() -> None:
        if broken:
            raise ConnectionError("refused by 10.0.0.7")

    components.register("one", sometimes)
    with caplog.at_level("INFO", "api.health"):
        await components.check()
        await components.check()
        broken = False
        await components.check()
        await components.check()
    first, second = caplog.records
    assert first.getMessage() == "component is failing"
    assert first.exc_info is not None
    assert "refused by 10.0.0.7" in str(first.exc_info[1])
    assert second.getMessage() == "component is ok"


async def test_a_result_is_asked_for_again_when_it_is_old() -> None:
    components, calls = Components(kept=0.0), 0

    async def counts() -> None:
        nonlocal calls
        calls += 1

    components.register("one", counts)
    await components.check()
    await components.check()
    assert calls == 2


async def test_redis_is_asked_and_is_needed_only_where_the_limit_is_closed_without_it(valkey: Valkey) -> None:
    settings = Settings(jwt_secret="s" * 32, redis_url=valkey.url)
    components = Components()
    checks.register(components, settings)
    assert (await components.check())["redis"].status == "ok"
    assert components.needed() == set()
    closed = Components()
    checks.register(closed, msgspec.structs.replace(settings, rate_limit_on_failure="closed"))
    assert closed.needed() == {"redis"}
    away = Components()
    checks.register(away, msgspec.structs.replace(settings, redis_url="redis://127.0.0.1:1/0"))
    assert (await away.check())["redis"].status == "failing"


async def test_the_last_backup_is_told_with_what_failed_since(tmp_path: Path) -> None:
    settings = Settings.from_env({"STATE_DIR": str(tmp_path), "JWT_SECRET": "s" * 32})
    assert (await checks.backup_check(settings)()) == {"last_backup": None, "age_seconds": None, "failures_since": 0}
    database = Database.from_settings(settings)
    await database.migrate()
    await database.dispose()
    made = await asyncio.to_thread(BackupManager(settings).backup_database)
    found = await checks.backup_check(settings)()
    assert found is not None
    assert datetime.fromisoformat(found["last_backup"]) >= made.created
    assert 0 <= found["age_seconds"] < 600
    shown = render(page_registry("1")).decode()
    assert f'cashflow_backup_last_success_timestamp_seconds{{database="{made.database}"}}' in shown

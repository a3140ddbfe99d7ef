"""A run carries the id of its request into the worker's log, and what waits and works is told to whoever scrapes."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import suppress

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.correlation import correlated
from api.exposition import page_registry, render
from api.jobs.service import Jobs
from api.logging import formatter
from api.scrub import Scrubber
from api.storage.runs import finish
from tests.api.jobs.setting import ended, loans, submitted


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the jobs log as JSON."""
    out, logger = io.StringIO(), logging.getLogger("api.jobs")
    handler, level = logging.StreamHandler(out), logger.level
    handler.setFormatter(formatter(Scrubber(), as_json=True))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield out
    logger.removeHandler(handler)
    logger.setLevel(level)


def gauge(name: str, **labels: str) -> float:
    families = text_string_to_metric_families(render(page_registry("1")).decode())
    return next(s.value for family in families for s in family.samples if s.name == name and s.labels == labels)


async def test_the_log_of_a_run_has_the_id_of_the_request_it_came_with(jobs: Jobs, lines: io.StringIO) -> None:
    with correlated("order-7"):
        run = await submitted(jobs, loans(50))
    await ended(jobs, run.id)
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    (told,) = [line for line in found if line["event"] == "run succeeded"]
    assert (told["correlation_id"], told["run_id"]) == ("order-7", run.id)


async def test_a_check_tells_what_waits_though_nobody_works(idle: Jobs) -> None:
    await submitted(idle, loans(50))
    await idle.check()
    assert gauge("cashflow_queue_depth", queue="shards") == 1
    assert gauge("cashflow_runs", state="queued") == 1
    assert gauge("cashflow_runs", state="dead") == 0
    assert gauge("cashflow_workers", state="alive") == 0


async def test_the_end_of_a_run_is_counted_when_it_is_committed_and_not_when_it_is_rolled_back(idle: Jobs) -> None:
    run = await submitted(idle, loans(5))
    before = gauge("cashflow_runs_finished_total", state="cancelled")
    with suppress(ZeroDivisionError):
        async with idle.storage.database.write() as connection:
            assert await finish(connection, run.id, "cancelled")
            raise ZeroDivisionError
    assert gauge("cashflow_runs_finished_total", state="cancelled") == before
    async with idle.storage.database.write() as connection:
        assert await finish(connection, run.id, "cancelled")
    assert gauge("cashflow_runs_finished_total", state="cancelled") == before + 1

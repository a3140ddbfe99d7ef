"""While the database is away or takes no notes, workers try again quietly: few lines in the log, few reads of tapes."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from api.jobs import outages
from api.jobs.outages import Outage
from api.jobs.schedule import Scheduler
from api.jobs.service import Jobs
from api.jobs.worker import Worker
from api.settings import Settings
from api.storage.database import Database
from api.storage.opened import Storage
from tests.api.jobs.setting import ended, loans, submitted
from tests.servers import Postgres, run_apart

REFUSING = (
    "CREATE TRIGGER refusing BEFORE UPDATE ON run_shards BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
)


def lines(caplog: pytest.LogCaptureFixture) -> Counter[str]:
    """How often each line of the jobs was logged, without what follows its second colon."""
    told = (record.getMessage() for record in caplog.records if record.name == "api.jobs")
    return Counter(":".join(line.split(":")[:2]) for line in told if "failing" in line)


class TestAnOutage:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
        """Sets the time."""
        at = {"now": 1_000.0}
        monkeypatch.setattr(outages.time, "monotonic", lambda: at["now"])
        return lambda seconds: at.update(now=1_000.0 + seconds)

    def test_it_is_told_as_it_begins_once_a_minute_and_as_it_ends(
        self, clock: Callable[[float], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        outage = Outage(logging.getLogger("api.jobs"), "counting")
        outage.passed()
        # Every half second for 150 s: told at 0, 60 and 120.
        for half in range(300):
            clock(half / 2)
            outage.failed(OSError("it is away\nand more of that"))
            assert outage.failing
        clock(150)
        outage.passed()
        outage.passed()
        assert not outage.failing
        told: list[Any] = caplog.records
        assert [record.getMessage() for record in told] == [
            *["failing: counting: it is away"] * 3, "no longer failing: counting"
        ]  # fmt: skip
        assert [record.for_seconds for record in told] == [0, 60, 120, 150]
        assert [record.failures for record in told[:3]] == [1, 121, 241]
        assert all(record.exc_info is None for record in told)

    def test_what_nobody_foresaw_has_its_trace(self, caplog: pytest.LogCaptureFixture) -> None:
        outage = Outage(logging.getLogger("api.jobs"), "counting")
        for _ in range(10):
            outage.failed(ZeroDivisionError("by nought"), foreseen=False)
        (record,) = caplog.records
        assert (record.levelname, record.exc_info is not None) == ("ERROR", True)

    def test_the_next_outage_is_told_at_once(self, caplog: pytest.LogCaptureFixture) -> None:
        outage = Outage(logging.getLogger("api.jobs"), "counting")
        for _ in range(2):
            outage.failed(OSError("away"))
            outage.passed()
        assert [record.levelname for record in caplog.records].count("WARNING") == 2


async def test_a_database_that_is_away_costs_a_line_an_activity(
    settings: Settings, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    """A database that is not there, and is made while the worker and the scheduler look for it."""
    caplog.set_level(logging.INFO)
    name = f"test_outage_{time.monotonic_ns()}"
    used = msgspec.structs.replace(settings, database_url=postgres.dsn(name), worker_concurrency=2)
    activities = ["looking for work", "looking for jobs of backups", "upkeep", "reaching the scheduler's lock"]
    worker = await asyncio.to_thread(Worker, used)
    worker.start()
    try:
        async with Storage(used).opened() as storage:
            scheduler = Scheduler(used, storage)
            for _ in range(6):
                await scheduler.stand()
                await asyncio.sleep(0.5)
        assert lines(caplog) == Counter(f"failing: {each}" for each in activities)
        assert all(record.exc_info is None for record in caplog.records if record.name == "api.jobs")
        await asyncio.to_thread(postgres.run, f"CREATE DATABASE {name}")

        async def migrated() -> None:
            database = Database(postgres.url(name))
            await database.migrate()
            await database.dispose()

        await asyncio.to_thread(run_apart, migrated)
        caplog.clear()
        async with asyncio.timeout(20):
            while worker.looking.failing or worker.keeper.looking.failing or worker.upkeep.rounds.failing:  # type: ignore[union-attr]
                await asyncio.sleep(0.1)
        async with Storage(used).opened() as storage:
            scheduler.storage = storage
            await scheduler.stand()
        told = lines(caplog)
        assert {f"no longer failing: {each}" for each in activities} <= set(told)
        assert max(told.values()) == 1
    finally:
        await asyncio.to_thread(worker.stop)
        await asyncio.to_thread(postgres.drop, name)


async def test_no_tape_is_read_for_a_database_that_takes_no_notes(
    settings: Settings, idle: Jobs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = await submitted(idle, loans(10))
    async with idle.storage.database.write() as connection:
        await connection.exec_driver_sql(REFUSING)
    worker = await asyncio.to_thread(Worker, settings)
    read, take, reads, takes = worker.performer.read, worker.performer.take, 0, 0

    def counted_read(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        return read(*arguments)

    def counted_take(*arguments: Any) -> Any:
        nonlocal takes
        takes += 1
        return take(*arguments)

    monkeypatch.setattr(worker.performer, "read", counted_read)
    monkeypatch.setattr(worker.performer, "take", counted_take)
    worker.start()
    try:
        await asyncio.sleep(4)
        # Tried at once, and again after pauses of 1 and 2 seconds; the next is 4 seconds long. It was eight times.
        assert reads == 1
        assert 2 <= takes <= 4
        assert lines(caplog) == {"failing: taking shards": 1}
        async with idle.storage.database.write() as connection:
            await connection.exec_driver_sql("DROP TRIGGER refusing")
        assert (await ended(idle, run.id, 10)).state == "succeeded"
        assert lines(caplog)["no longer failing: taking shards"] == 1
        # From then on tapes are read while they are taken, and runs begin at the usual pace.
        again = await submitted(idle, loans(10))
        begun = time.monotonic()
        assert (await ended(idle, again.id, 10)).state == "succeeded"
        assert time.monotonic() - begun < 3
    finally:
        await asyncio.to_thread(worker.stop)

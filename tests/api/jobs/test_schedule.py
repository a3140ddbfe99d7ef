"""The schedule: one leads, another takes over, and the duties do what they say."""

from datetime import timedelta
from pathlib import Path

import pytest
from apscheduler.triggers.cron import CronTrigger
from sqlalchemy import func, insert, select, update

from api.jobs import schedule
from api.jobs.schedule import DUTIES, Duty, Scheduler
from api.jobs.service import Jobs
from api.settings import Settings
from api.storage.database import now
from api.storage.opened import Storage
from api.storage.tables import idempotency, locks
from tests.api.jobs.setting import loans, stored_tape


@pytest.mark.parametrize("duty", DUTIES, ids=lambda duty: duty.name)
def test_the_cron_line_of_a_duty_is_one(duty: Duty) -> None:
    assert CronTrigger.from_crontab(duty.line(Settings())).get_next_fire_time(None, now()) is not None


async def test_of_two_schedulers_one_leads_until_it_falls_silent(settings: Settings, storage: Storage) -> None:
    done: list[str] = []

    async def work(storage: Storage, settings: Settings) -> None:
        done.append("x")

    first, second = Scheduler(settings, storage), Scheduler(settings, storage)
    for scheduler in (first, second):
        await scheduler.stand()
    assert (first.leads, second.leads) == (True, False)
    duty = Duty("work", "* * * * *", work)
    assert [await first.see_to(duty), await second.see_to(duty)] == [True, False]
    assert done == ["x"]
    async with storage.database.write() as connection:
        await connection.execute(update(locks).values(until=now() - timedelta(seconds=1)))
    for scheduler in (second, first):
        await scheduler.stand()
    assert (first.leads, second.leads) == (False, True)


async def test_a_duty_that_fails_does_not_end_the_scheduler(settings: Settings, storage: Storage) -> None:
    async def work(storage: Storage, settings: Settings) -> None:
        raise ValueError("as a bug would")

    scheduler = Scheduler(settings, storage)
    await scheduler.stand()
    assert await scheduler.see_to(Duty("work", "* * * * *", work))


async def test_objects_without_a_row_are_swept_once_they_are_old(
    settings: Settings, storage: Storage, idle: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    tape = await stored_tape(storage, loans(3))
    storage.objects.put_stream("tapes/orphan.parquet", [b"x"])
    storage.objects.put_stream("results/run_x/1/0.parquet", [b"x"])
    storage.objects.put_stream("backups/kept", [b"x"])
    await schedule.sweep_objects(storage, settings)
    assert len(list(storage.objects.list())) == 4
    monkeypatch.setattr(schedule, "ORPHAN_AGE", timedelta(0))
    await schedule.sweep_objects(storage, settings)
    assert [info.key for info in storage.objects.list()] == ["backups/kept", tape.object_key]


async def test_a_store_whose_rows_are_gone_is_not_swept_empty(
    settings: Settings, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(21):
        storage.objects.put_stream(f"tapes/{i}.parquet", [b"x"])
    monkeypatch.setattr(schedule, "ORPHAN_AGE", timedelta(0))
    await schedule.sweep_objects(storage, settings)
    assert len(list(storage.objects.list())) == 21


async def test_nothing_is_swept_while_a_replaced_database_is_kept(
    settings: Settings, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its rows may name objects that came after the backup which took its place, and it may be put back.
    storage.objects.put_stream("tapes/newer.parquet", [b"x"])
    monkeypatch.setattr(schedule, "ORPHAN_AGE", timedelta(0))
    former = tmp_path / "cashflow.db.before_20261130010203"
    former.touch()
    await schedule.sweep_objects(storage, settings)
    assert [info.key for info in storage.objects.list()] == ["tapes/newer.parquet"]
    former.unlink()
    await schedule.sweep_objects(storage, settings)
    assert list(storage.objects.list()) == []


async def test_idempotency_keys_are_forgotten_after_a_week(settings: Settings, storage: Storage) -> None:
    rows = [
        {"owner": "ann", "key": str(days), "request_hash": "x", "run_id": "r", "created_at": now() - timedelta(days)}
        for days in (0, 6, 8)
    ]
    async with storage.database.write() as connection:
        await connection.execute(insert(idempotency), rows)
    await schedule.forget_idempotency_keys(storage, settings)
    async with storage.database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(idempotency)) == 2

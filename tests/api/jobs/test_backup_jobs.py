"""Jobs of backups: asked for once, held under a lease, ended once, put off while another has the database."""

import json
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import func, select, update

from api.backup.sqlite import SqliteDatabase
from api.jobs import backups
from api.jobs.schedule import DUTIES, back_up, drill_a_restore
from api.jobs.service import Jobs
from api.settings import Settings
from api.storage import backup_jobs
from api.storage.backup_jobs import BackupJob
from api.storage.database import now
from api.storage.opened import Storage
from api.storage.tables import backup_jobs as rows
from api.storage.tables import locks
from tests.api.jobs.setting import until


async def job(storage: Storage, id: str) -> BackupJob:
    async with storage.database.read() as connection:
        return await backup_jobs.get(connection, id)


async def lapse(storage: Storage) -> None:
    """As if the worker had fallen silent long enough."""
    async with storage.database.write() as connection:
        await connection.execute(update(rows).values(lease_until=now() - timedelta(seconds=1)))


async def ended(storage: Storage, id: str) -> BackupJob:
    async def check() -> bool:
        return (await job(storage, id)).finished_at is not None

    await until(check)
    return await job(storage, id)


async def test_what_is_under_way_is_not_asked_for_again(storage: Storage) -> None:
    first = await backup_jobs.ask(storage.database, "create", "ann")
    assert await backup_jobs.ask(storage.database, "create", "ben", prune=True) == first
    assert (await backup_jobs.ask(storage.database, "verify", "ann", "x")).id != first.id
    async with storage.database.write() as connection:
        lease = await backup_jobs.take(connection, 30)
        assert lease is not None
        assert await backup_jobs.end(connection, lease, report=b"{}", error=None)
    assert (await backup_jobs.ask(storage.database, "create", "ann")).id != first.id


async def test_only_the_newest_holder_ends_a_job_and_the_third_loss_fails_it(storage: Storage) -> None:
    asked = await backup_jobs.ask(storage.database, "create", "ann")
    leases = []
    for _ in range(3):
        async with storage.database.write() as connection:
            leases.append(await backup_jobs.take(connection, 30))
            assert await backup_jobs.take(connection, 30) is None
        await lapse(storage)
    first, _, third = leases
    assert first is not None
    assert third is not None
    async with storage.database.write() as connection:
        assert not await backup_jobs.renew(connection, first, 30)
        assert not await backup_jobs.end(connection, first, report=b"{}", error=None)
    async with storage.database.write() as connection:
        assert await backup_jobs.take(connection, 30) is None
    found = await job(storage, asked.id)
    assert (found.state, found.error) == ("failed", backup_jobs.LOST)
    async with storage.database.write() as connection:
        assert not await backup_jobs.end(connection, third, report=b"{}", error=None)


async def test_a_job_that_is_put_off_waits_and_does_not_count(storage: Storage) -> None:
    asked = await backup_jobs.ask(storage.database, "drill", "ann")
    async with storage.database.write() as connection:
        lease = await backup_jobs.take(connection, 30)
        assert lease is not None
        assert await backup_jobs.put_off(connection, lease, 30)
        assert not await backup_jobs.waiting(connection)
    found = await job(storage, asked.id)
    assert (found.state, found.attempts) == ("queued", 0)
    await lapse(storage)
    async with storage.database.read() as connection:
        assert await backup_jobs.waiting(connection)


async def test_jobs_are_forgotten_after_three_months(storage: Storage) -> None:
    for kind in ("create", "drill", "prune"):
        await backup_jobs.ask(storage.database, kind, "ann")  # type: ignore[arg-type]
    async with storage.database.write() as connection:
        for kind, days in (("create", 91), ("drill", 89)):
            old = now() - timedelta(days=days)
            await connection.execute(update(rows).where(rows.c.kind == kind).values(finished_at=old))
        await backup_jobs.forget(connection)
        assert [each.kind for each in await backup_jobs.recent(connection)] == ["prune", "drill"]


async def test_the_service_makes_a_backup_that_the_schedule_asks_for(
    settings: Settings, storage: Storage, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "POLL_SECONDS", 0.1)
    jobs.worker.keeper.wake()  # type: ignore[union-attr]
    await back_up(storage, settings)
    async with storage.database.read() as connection:
        asked = (await backup_jobs.recent(connection))[0]
    assert (asked.asked_by, asked.prune) == ("schedule", True)
    found = await ended(storage, asked.id)
    assert found.state == "succeeded", found.error
    assert found.report is not None
    made = json.loads(bytes(found.report))
    assert made["prune"]["kept"] == [made["create"]["key"]]
    await drill_a_restore(storage, settings)
    async with storage.database.read() as connection:
        drill = (await backup_jobs.recent(connection))[0]
    done = await ended(storage, drill.id)
    assert done.report is not None
    assert json.loads(bytes(done.report))["drill"]["key"] == made["create"]["key"]


async def test_a_job_waits_until_the_database_is_free(
    settings: Settings, storage: Storage, jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "BUSY_SECONDS", 0.2)
    with SqliteDatabase(tmp_path / "cashflow.db").locked():
        asked = await jobs.ask_of_backups("create", "ann")

        async def put_off() -> bool:
            async with storage.database.read() as connection:
                return bool(await connection.scalar(select(rows.c.fence).where(rows.c.state == "queued")))

        await until(put_off)
    jobs.worker.keeper.wake()  # type: ignore[union-attr]
    assert (await ended(storage, asked.id)).state == "succeeded"


async def test_a_job_that_fails_says_why(settings: Settings, storage: Storage) -> None:
    broken = msgspec.structs.replace(settings, backup_encryption_keys="x:AAAA")
    async with Jobs(broken, storage).opened() as jobs:
        failed = await ended(storage, (await jobs.ask_of_backups("create", "ann")).id)
        assert failed.state == "failed"
        assert "BACKUP_ENCRYPTION_KEYS" in (failed.error or "")
        missing = await ended(storage, (await jobs.ask_of_backups("drill", "ann")).id)
        assert (missing.state, missing.report) == ("failed", None)


async def test_without_redis_the_service_leads_the_schedule_itself(storage: Storage, jobs: Jobs) -> None:
    async def led() -> bool:
        async with storage.database.read() as connection:
            return bool(await connection.scalar(select(func.count()).where(locks.c.name == "scheduler")))

    await until(led)


def test_times_are_settings_and_never_is_one(settings: Settings) -> None:
    lines = {duty.name: duty.line(settings) for duty in DUTIES}
    assert lines["back_up"] == "30 1 * * *"
    assert lines["drill_a_restore"] == "30 3 * * *"
    changed = msgspec.structs.replace(settings, backup_cron="never", backup_drill_cron="0 5 * * sun")
    lines = {duty.name: duty.line(changed) for duty in DUTIES}
    assert (lines["back_up"], lines["drill_a_restore"]) == ("", "0 5 * * sun")
    keyless = msgspec.structs.replace(settings, env="production")
    assert [duty.line(keyless) for duty in DUTIES if duty.setting] == ["", ""]
    given = msgspec.structs.replace(keyless, backup_kms_key_id="alias/backups")
    assert "" not in [duty.line(given) for duty in DUTIES]


@pytest.mark.parametrize("line", ["30 1 * *", "daily", "61 1 * * *", "0 0 31 2 *"])
def test_a_line_that_no_scheduler_reads_is_refused(line: str) -> None:
    environ = {"JWT_SECRET": "a secret of the tests, made of 32 bytes and more", "BACKUP_CRON": line}
    with pytest.raises(ValueError, match=r"BACKUP_CRON is .*; expected minute hour day month weekday, or never"):
        Settings.from_env(environ)

"""What happens by the clock: each duty is declared with its cron line, and one scheduler at a time sees to them.

Any number of `cashflow scheduler` may run: the one that holds the lock in the database leads, and another takes over
when it ends or falls silent.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, timedelta

import msgspec
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from api import metrics
from api.backup.places import database_from
from api.jobs.outages import Outage
from api.jobs.upkeep import this_worker
from api.setting_checks import NEVER
from api.settings import Settings
from api.storage import backup_jobs, leadership
from api.storage.database import now
from api.storage.opened import Storage
from api.storage.tables import idempotency, results, tapes

logger = logging.getLogger("api.jobs")
LOCK = "scheduler"
# Who asked for a job that the schedule asks for.
SCHEDULE = "schedule"
LOCK_SECONDS = 15.0
RENEW_SECONDS = 5.0
# An object is written before its row: younger ones may be waiting for theirs.
ORPHAN_AGE = timedelta(days=1)
# More orphans than these are deleted only where they are at most one in four of all objects.
FEW_ORPHANS, MOST_SWEPT = 20, 4
KEY_AGE = timedelta(days=7)

Work = Callable[[Storage, Settings], Awaitable[None]]


class Duty(msgspec.Struct, frozen=True):
    """Something to do by the clock: its cron line (minute hour day month weekday, UTC) and the work.

    setting: the setting of backups that holds the line instead, where `never` keeps it from being done.
    """

    name: str
    cron: str
    work: Work
    setting: str = ""

    def line(self, settings: Settings) -> str:
        """The cron line under these settings; blank where it is never done."""
        if not self.setting:
            return self.cron
        found: str = getattr(settings, self.setting)
        return found if found != NEVER and settings.has_backup_keys else ""


DUTIES: list[Duty] = []


def scheduled(cron: str = "", *, setting: str = "") -> Callable[[Work], Work]:
    """Declares a function as a duty at the times of a cron line, UTC, or of the line in a setting."""

    def declare(work: Work) -> Work:
        DUTIES.append(Duty(work.__name__, cron, work, setting))
        return work

    return declare


@scheduled("17 * * * *")
async def forget_idempotency_keys(storage: Storage, settings: Settings) -> None:
    """Forgets keys of submissions made a week ago, and jobs of backups that ended three months ago."""
    async with storage.database.write() as connection:
        await connection.execute(delete(idempotency).where(idempotency.c.created_at < now() - KEY_AGE))
        await backup_jobs.forget(connection)


@scheduled(setting="backup_cron")
async def back_up(storage: Storage, settings: Settings) -> None:
    """Asks the workers for a backup, and to prune afterwards."""
    await backup_jobs.ask(storage.database, "create", SCHEDULE, prune=True)


@scheduled(setting="backup_drill_cron")
async def drill_a_restore(storage: Storage, settings: Settings) -> None:
    """Asks the workers to restore the newest backup beside the database, and to compare it."""
    await backup_jobs.ask(storage.database, "drill", SCHEDULE)


@scheduled("41 3 * * *")
async def sweep_objects(storage: Storage, settings: Settings) -> None:
    """Deletes objects that no row names, and writes that were begun and never ended.

    None while there is a database that a restore replaced: its rows name what those of the restored one do not.
    """
    if formers := await asyncio.to_thread(database_from(settings).formers):
        logger.warning("no objects are swept while a replaced database is kept", extra={"databases": formers})
        return
    async with storage.database.read() as connection:
        known = set((await connection.execute(select(tapes.c.object_key))).scalars())
        large = select(results.c.object_key).where(results.c.object_key.is_not(None)).distinct()
        known |= set((await connection.execute(large)).scalars())

    def sweep() -> int:
        prefixes = ("tapes/", "results/")
        found = [info for prefix in prefixes for info in storage.objects.list(prefix)]
        orphans = [info.key for info in found if info.key not in known and info.modified < now() - ORPHAN_AGE]
        # So many at once are no leftovers: the database is another one, or was replaced by an earlier state of it.
        if len(orphans) > FEW_ORPHANS and len(orphans) * MOST_SWEPT > len(found):
            logger.error("too many objects have no row; none is deleted", extra={"objects": len(orphans)})
            return 0
        for key in orphans:
            storage.objects.delete(key)
        return len(orphans) + sum(storage.objects.abort_incomplete(prefix, ORPHAN_AGE) for prefix in prefixes)

    if swept := await asyncio.to_thread(sweep):
        logger.info("objects without a row were deleted", extra={"objects": swept})


class Scheduler:
    """Leads where it can, until it is cancelled."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self.settings, self.storage = settings, storage
        self.holder = this_worker(0).id
        self.leads = False
        self.standing = Outage(logger, "reaching the scheduler's lock")

    async def run(self) -> None:
        """Sees to the duties while it leads."""
        clock = AsyncIOScheduler(timezone=UTC)
        for duty in DUTIES:
            if not (line := duty.line(self.settings)):
                continue
            trigger = CronTrigger.from_crontab(line, timezone=UTC)
            clock.add_job(self.see_to, trigger, [duty], id=duty.name, coalesce=True, misfire_grace_time=600)
        clock.start()
        try:
            while True:
                await self.stand()
                metrics.beat("scheduler")
                await asyncio.sleep(RENEW_SECONDS)
        finally:
            clock.shutdown(wait=False)
            if self.leads:
                with suppress(SQLAlchemyError, OSError):
                    await leadership.let_go(self.storage.database, LOCK, self.holder)

    async def stand(self) -> None:
        """Takes or renews the lead where it is free."""
        try:
            led, self.leads = self.leads, await leadership.hold(self.storage.database, LOCK, self.holder, LOCK_SECONDS)
        except (SQLAlchemyError, OSError) as error:
            led, self.leads = self.leads, False
            self.standing.failed(error)
        else:
            self.standing.passed()
        if led != self.leads:
            logger.info("this scheduler leads" if self.leads else "another scheduler leads")

    async def see_to(self, duty: Duty) -> bool:
        """Whether this scheduler leads and so did the work; what fails is logged and done at its next time."""
        if not self.leads:
            return False
        try:
            await duty.work(self.storage, self.settings)
        except Exception:
            metrics.count_error("scheduler")
            logger.exception("a duty failed", extra={"duty": duty.name})
        return True

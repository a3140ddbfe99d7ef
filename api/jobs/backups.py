"""Works on jobs of backups: one thread a worker, beside those that project, so that neither waits for the other.

The row in the database is the job, and the message on Redis a doorbell, as for runs: a job whose message is lost is
found within seconds, and one whose worker died is taken by another when its lease ends.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from api import metrics
from api.backup import BackupBusy, BackupError, BackupManager
from api.correlation import correlated
from api.jobs.bridge import Bridge
from api.jobs.outages import Outage
from api.settings import Settings, SettingsError
from api.storage import backup_jobs
from api.storage.backup_jobs import BackupLease
from api.storage.database import Database

logger = logging.getLogger("api.jobs")
POLL_SECONDS = 3.0
# Another backup, restore or drill of the same database has to end first.
BUSY_SECONDS = 10.0


class Keeper:
    """The thread. `wake` makes it look for jobs at once."""

    def __init__(self, settings: Settings, bridge: Bridge, database: Database) -> None:
        self.settings, self.bridge, self.database = settings, bridge, database
        self.lease_seconds = float(settings.run_lease_seconds)
        self.looking = Outage(logger, "looking for jobs of backups")
        self.woken = threading.Event()
        self.stopping = False
        self.holding: BackupLease | None = None
        self.thread = threading.Thread(target=self.work, name="backups", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def wake(self) -> None:
        self.woken.set()

    def stop(self, seconds: float = 5.0) -> None:
        """Ends it; what takes longer than a few seconds is given back, and ends with the process."""
        self.stopping = True
        self.woken.set()
        if self.thread.is_alive():
            self.thread.join(timeout=seconds)
        held = self.holding
        if held is not None:
            with suppress(SQLAlchemyError, OSError):
                self.bridge.call(self.give_back(held, 0.0))

    def work(self) -> None:
        """Takes jobs until it is told to stop."""
        while not self.stopping:
            try:
                lease = self.bridge.call(self.take())
                self.looking.passed()
                if lease is not None:
                    with correlated(lease.correlation_id, backup_job=lease.id):
                        self.perform(lease)
                    continue
            except (SQLAlchemyError, OSError) as error:
                self.looking.failed(error)
            except Exception as error:
                metrics.count_error("worker")
                self.looking.failed(error, foreseen=False)
            self.woken.wait(POLL_SECONDS)
            self.woken.clear()

    def perform(self, lease: BackupLease) -> None:
        """Does the job and ends it; it is put off where the database is backed up or restored by somebody else."""
        self.holding = lease
        renewing = self.bridge.start(self.renew(lease))
        try:
            report = done(self.settings, lease)
        except BackupBusy:
            self.bridge.call(self.give_back(lease, BUSY_SECONDS))
        except (BackupError, SettingsError) as error:
            self.end(lease, None, str(error))
        except Exception as error:
            metrics.count_error("worker")
            logger.exception("a job of backups broke off")
            self.end(lease, None, f"an unforeseen failure ({type(error).__name__}); the worker's log has it")
        else:
            self.end(lease, msgspec.json.encode(report), None)
        finally:
            self.holding = None
            renewing.cancel()

    def end(self, lease: BackupLease, report: bytes | None, error: str | None) -> None:
        outcome = "succeeded" if error is None else "failed"
        log = {"kind": lease.kind, "attempt": lease.attempts, **({"reason": error} if error else {})}
        self.bridge.call(self.ended(lease, report, error))
        metrics.record_backup_job(lease.kind, outcome)
        (logger.info if error is None else logger.error)("job of backups %s", outcome, extra=log)

    async def take(self) -> BackupLease | None:
        async with self.database.read() as connection:
            if not await backup_jobs.waiting(connection):
                return None
        async with self.database.write() as connection:
            return await backup_jobs.take(connection, self.lease_seconds)

    async def give_back(self, lease: BackupLease, seconds: float) -> None:
        async with self.database.write() as connection:
            await backup_jobs.put_off(connection, lease, seconds)

    async def ended(self, lease: BackupLease, report: bytes | None, error: str | None) -> None:
        """Writes the end, and tries for a while: the database may be down just now."""
        for pause in (0.5, 2.0, 10.0, None):
            try:
                async with self.database.write() as connection:
                    if not await backup_jobs.end(connection, lease, report=report, error=error):
                        logger.warning("a job of backups was lost to another worker")
                return
            except (SQLAlchemyError, OSError):
                if pause is None:
                    raise
                await asyncio.sleep(pause)

    async def renew(self, lease: BackupLease) -> None:
        """Renews the lease until it is cancelled or lost; a database that is away for a moment loses nothing."""
        while True:
            await asyncio.sleep(self.lease_seconds / 5)
            try:
                async with self.database.write() as connection:
                    if not await backup_jobs.renew(connection, lease, self.lease_seconds):
                        return
            except (SQLAlchemyError, OSError) as error:
                logger.warning("the lease of a job of backups was not renewed: %s", error)


def done(settings: Settings, lease: BackupLease) -> dict[str, msgspec.Struct]:
    """What came of a job, by what was done. Raises BackupError, SettingsError."""
    manager = BackupManager(settings)
    work: dict[str, Callable[[], msgspec.Struct]] = {
        "create": manager.backup_database,
        "verify": lambda: manager.verify_backup(lease.key or manager.newest().key),
        "drill": lambda: manager.drill(lease.key),
        "prune": manager.prune,
    }
    report: dict[str, msgspec.Struct] = {lease.kind: work[lease.kind]()}
    if lease.prune:
        report["prune"] = manager.prune()
    return report

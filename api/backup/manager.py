"""Backups from beginning to end: make, list, verify, restore, prune, drill.

A backup exists from the moment its manifest does, and its manifest is written after the stored archive was read back
whole. A restore reads the whole archive before it touches a database, and touches the live database last.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Literal

import msgspec

from api import metrics
from api.backup import archive, inventory, plain, status
from api.backup.errors import (
    ArchiveDamaged,
    BackupBusy,
    BackupError,
    ContentsDiffer,
    CopiesDamaged,
    NoSuchBackup,
    Unusable,
    WrongKey,
)
from api.backup.inventory import ObjectsReport
from api.backup.manifest import MANIFEST, Check, Contents, Manifest, moment, shown
from api.backup.places import backup_store, database_from, keys_from, object_store, retention_from
from api.backup.postgres import LockedPostgres, PostgresDatabase, Restored
from api.backup.records import BackupRecord, DrillReport, PruneReport, RestoreReport, VerifyReport, record_of
from api.backup.retention import Candidate, Retention, kept
from api.backup.sqlite import LockedSqlite, SqliteDatabase
from api.backup.status import Status
from api.backup.vault import Vault, list_key
from api.settings import Settings
from api.storage.objects import MissingObject, StoreError

logger = logging.getLogger("api.backup")
Database = PostgresDatabase | SqliteDatabase
Locked = LockedPostgres | LockedSqlite


class BackupManager:
    """Backups of the configured database, or of another. settings: from the environment by default.

    Every method blocks, for minutes where databases are large; async callers use a thread. Arguments that name a
    database default to the configured one. What goes wrong is a BackupError.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings if settings is not None else Settings.from_env()
        self.keys = keys_from(self.settings)
        try:
            self.store = backup_store(self.settings)
            self.objects = object_store(self.settings)
        except StoreError as error:
            raise Unusable(f"the store of backups or of objects: {error}") from error
        self.vault = Vault(self.store)
        self.retention = retention_from(self.settings)

    def database(
        self,
        db_name: str | None = None,
        db_user: str | None = None,
        db_password: str | None = None,
        db_host: str | None = None,
        db_port: int | None = None,
    ) -> Database:
        """The database that the arguments name."""
        return database_from(self.settings, db_name, db_user, db_password, db_host, db_port)

    def backup_database(
        self,
        db_name: str | None = None,
        db_user: str | None = None,
        db_password: str | None = None,
        db_host: str | None = None,
        db_port: int | None = None,
    ) -> BackupRecord:
        """The backup that was made, and read back whole.

        Raises BackupBusy where one is running, ClientTooOld before anything is stored. After any error no backup of
        this run exists.
        """
        database = self.database(db_name, db_user, db_password, db_host, db_port)
        started = time.monotonic()
        with self.counted(database.name, started), translated(), database.locked() as locked:
            for key in self.vault.clear(database.name):
                logger.warning("removed what a backup that was killed had left", extra={"key": key})
            manifest = self.made(locked, started)
            self.vault.note(manifest.key, check := Check(at=moment(), how="verify", sound=True))
        record = record_of(manifest, check)
        logger.info("backup made", extra={"key": record.key, "bytes": record.size, "seconds": record.seconds})
        metrics.record_backup(record.database, True, record.seconds, record.size)
        outcome = {"key": record.key, "ended": moment(), "size": record.size, "seconds": record.seconds}
        status.succeeded(self.store, shown(record.database), **outcome)
        return record

    def made(self, locked: Locked, started: float) -> Manifest:
        """The manifest of a new backup, written after everything else."""
        with locked.dump() as dump:
            former = max(self.vault.manifests(locked.name), key=lambda one: one.created, default=None)
            # Later than any before it, also where two are made within a second or the clock was set back.
            earliest = moment() if former is None else max(moment(), former.created + timedelta(seconds=1))
            key, created = self.vault.begin(locked.name, earliest)
            try:
                data_key = self.keys.fresh(key)
                stored = archive.write(self.store, key, dump.chunks, data_key)
                contents = self.with_objects(dump.held(), locked.name, key, former)
                archive.check(self.store, key, stored.sha256, self.keys)
                locked.still_locked()
                manifest = Manifest(
                    key=key,
                    kind=dump.kind,
                    database=locked.name,
                    created=created,
                    seconds=round(time.monotonic() - started, 3),
                    size=stored.size,
                    sha256=stored.sha256,
                    server_version=dump.server_version,
                    client_version=dump.client_version,
                    key_id=data_key.key_id,
                    wrapped=data_key.wrapped,
                ).with_contents(contents, data_key)
                self.vault.finish(manifest)
            except BaseException:
                with suppress(StoreError):  # what remains, the next run removes
                    self.vault.discard(key)
                raise
        return manifest

    def with_objects(self, contents: Contents, database: str, key: str, former: Manifest | None) -> Contents:
        """The contents with the inventory of tapes and results, whose new ones are copied."""
        check = self.vault.check(former.key) if former is not None else None
        before = inventory.readable(self.store, former, check, self.keys)
        taken = inventory.taken(self.objects, self.store, key, list_key(key), self.keys, before, shown(database))
        return msgspec.structs.replace(contents, inventory=taken)

    def list_backups(self, db_name: str | None = None) -> list[BackupRecord]:
        """The backups in the store, newest first; of one database where one is named."""
        with translated():
            found = [record_of(one, self.vault.check(one.key)) for one in self.vault.manifests(db_name)]
        return sorted(found, key=lambda record: (record.created, record.key), reverse=True)

    def unreadable_backups(self, db_name: str | None = None) -> list[str]:
        """The keys of what list_backups leaves out, since its manifest cannot be read."""
        unreadable: list[str] = []
        with translated():
            for _ in self.vault.manifests(db_name, unreadable):
                pass
        return unreadable

    def newest(self, db_name: str | None = None) -> BackupRecord:
        """The newest backup of a database, of the configured one by default. Raises NoSuchBackup."""
        name = db_name if db_name is not None else self.database().name
        found = self.list_backups(name)
        if not found:
            raise NoSuchBackup(f"there is no backup of {name!r}")
        return found[0]

    def verify_backup(self, backup_key: str) -> VerifyReport:
        """What a backup holds: its archive and the copies of its objects were read whole and are what was written.

        No database is needed. Raises NoSuchBackup, KeyMissing, and ArchiveDamaged for anything that is not as it was;
        its kind CopiesDamaged says which objects.
        """
        with translated():
            report, manifest, contents = self.whole(backup_key)
            if manifest is None or contents is None:
                return report
            with self.doubted(backup_key, "verify"):
                self.check_copies(contents, backup_key)
            self.vault.note(backup_key, Check(at=moment(), how="verify", sound=True))
        return report

    def whole(self, key: str) -> tuple[VerifyReport, Manifest | None, Contents | None]:
        """The report on an archive, which was read whole, its manifest and its contents; none of a plain SQL archive.

        The copies of its objects are not looked at.
        """
        if key.endswith(".sql"):
            try:
                cannot = plain.checked(self.store.get_stream(key), key)
            except MissingObject as error:
                raise NoSuchBackup(f"there is no archive {key!r}") from error
            info = self.store.head(key)
            return VerifyReport(key=key, size=info.size if info else 0, cannot_tell=cannot), None, None
        manifest = self.vault.manifest(key)
        with self.doubted(key, "verify"):
            contents = manifest.contents(self.keys)
            archive.check(self.store, key, manifest.sha256, self.keys)
        report = VerifyReport(
            key=key,
            size=manifest.size,
            tables=len(contents.tables),
            rows=rows_of(contents),
            objects=contents.inventory.objects if contents.inventory else 0,
        )
        return report, manifest, contents

    def check_copies(self, contents: Contents | None, key: str) -> int:
        """How many objects belong to a backup, the copy of each read whole. Raises CopiesDamaged."""
        listed = contents.inventory if contents is not None else None
        return inventory.check_copies(self.store, listed, self.keys, key)

    def restore_database(
        self,
        backup_key: str,
        db_name: str | None = None,
        db_user: str | None = None,
        db_password: str | None = None,
        db_host: str | None = None,
        db_port: int | None = None,
        *,
        drop_old: bool = False,
    ) -> RestoreReport:
        """The database, restored from a backup and put in place of the one of its name.

        The archive is read whole first; it is restored into a scratch database, which is compared with what was backed
        up; then the names are swapped. The replaced database is kept under another name unless drop_old is set. Until
        the swap the live database is not touched; after an error it is what it was, and the restore can be run again.
        """
        database = self.database(db_name, db_user, db_password, db_host, db_port)
        started = time.monotonic()
        with translated():
            report, manifest, contents = self.whole(backup_key)
            with database.locked() as locked, locked.scratch("restore") as scratch:
                rows = self.filled(locked, scratch, manifest, contents, backup_key)
                locked.end_unfinished(scratch)
                listed = contents.inventory if contents is not None else None
                objects = inventory.brought_back(self.objects, self.store, listed, self.keys)
                former = locked.swap(scratch)
                # From here on the database is restored, whatever else fails: what does is told beside that.
                notes = scratch.notes + ([report.cannot_tell] if report.cannot_tell else [])
                with told(notes, f"the replaced database is still there as {former}"):
                    if drop_old and former is not None:
                        locked.drop(former)
                        former = None
                kept: list[str] = []
                with told(notes, "what earlier restores left cannot be listed"):
                    kept = [name for name in locked.found_beside("before") if name != former]
        with told(notes, "the store does not keep that this backup was restored"):
            if manifest is not None:
                self.note_restore(backup_key, objects)
        restored = RestoreReport(
            key=backup_key,
            database=database.name,
            tables=report.tables,
            rows=rows,
            seconds=round(time.monotonic() - started, 3),
            former=former,
            kept=kept,
            objects=objects,
            notes=notes,
        )
        logger.info("backup restored", extra={"key": backup_key, "rows": rows, "seconds": restored.seconds})
        return restored

    def note_restore(self, key: str, objects: ObjectsReport) -> None:
        """Keeps that a backup was restored, and what was lost. It looks at few copies, so a doubt stays a doubt."""
        former = self.vault.check(key)
        if objects.losses:
            detail = f"{objects.losses} tapes and results could not be brought back"
            self.vault.note(key, Check(at=moment(), how="restore", sound=False, detail=detail, copies=objects.lost))
        elif former is None or former.sound:
            self.vault.note(key, Check(at=moment(), how="restore", sound=True))

    def filled(
        self, locked: Locked, scratch: Restored, manifest: Manifest | None, contents: Contents | None, key: str
    ) -> int:
        """How many rows the scratch database has, now that it holds the archive and is what was backed up."""
        if manifest is None or contents is None:
            return locked.fill_plain(scratch, plain.guarded(self.store.get_stream(key), key))
        if manifest.kind != locked.kind:
            raise Unusable(f"{key} is of {manifest.kind}; the database to restore is of {locked.kind}")
        locked.fill(scratch, archive.read(self.store, key, manifest.sha256, self.keys), manifest, contents)
        locked.compare(scratch, contents)
        return rows_of(contents)

    def drill(self, backup_key: str | None = None, db_name: str | None = None) -> DrillReport:
        """The newest backup, or the one named, restored beside the live database, compared and dropped again.

        The copy of each of its objects is read whole. Raises BackupBusy where another backup, restore or drill of the
        database is running: that is no failed drill.
        """
        database = self.database(db_name)
        started = time.monotonic()
        try:
            with translated(), database.locked() as locked:
                report = self.drilled(locked, backup_key or self.newest(database.name).key, started)
        except BackupBusy:
            raise
        except BaseException:
            self.tell_drill(database.name, False)
            raise
        self.tell_drill(database.name, True)
        log = {"key": report.key, "rows": report.rows, "objects": report.objects, "seconds": report.seconds}
        logger.info("restore drill passed", extra=log)
        return report

    def drilled(self, locked: Locked, key: str, started: float) -> DrillReport:
        """The report on a drill of a backup of a locked database. Raises BackupError for anything that is not sound."""
        report, manifest, contents = self.whole(key)
        with locked.scratch("drill") as scratch, self.doubted(key, "drill"):
            rows = self.filled(locked, scratch, manifest, contents, key)
        with self.doubted(key, "drill"):
            objects = self.check_copies(contents, key)
        self.vault.note(key, Check(at=moment(), how="drill", sound=True))
        seconds = round(time.monotonic() - started, 3)
        return DrillReport(
            key=key, tables=report.tables, rows=rows, objects=objects, seconds=seconds, notes=scratch.notes
        )

    def tell_drill(self, database: str, passed: bool) -> None:
        """Tells the metrics of this process, and the status that others read, how a drill went."""
        metrics.set_last_drill(database, passed, time.time())
        status.drilled(self.store, shown(database), moment(), passed)

    def prune(self, db_name: str | None = None, retention: Retention | None = None) -> PruneReport:
        """What was kept and what deleted. The newest backup and the newest sound one are always kept.

        A backup whose manifest cannot be read is left alone, and so are all copies of objects, which it may share.
        """
        database = self.database(db_name)
        with translated(), database.locked() as locked:
            self.vault.clear(locked.name)
            unreadable: list[str] = []
            manifests = {one.key: one for one in self.vault.manifests(locked.name, unreadable)}
            checks = {key: self.vault.check(key) for key in manifests}
            candidates = [
                Candidate(one.created, key, check.sound if (check := checks[key]) else None)
                for key, one in manifests.items()
            ]
            keep = kept(candidates, retention or self.retention)
            deleted = [key for key in manifests if key not in keep]
            for key in deleted:
                self.vault.discard(key)
            left = [manifests[key] for key in sorted(keep)]
            copies = 0
            if unreadable:
                logger.warning("manifests cannot be read, so no copies are deleted", extra={"keys": unreadable})
            else:
                copies = inventory.unlisted_deleted(self.store, shown(locked.name), left, self.keys)
        logger.info("backups pruned", extra={"kept": len(keep), "deleted": len(deleted), "copies": copies})
        return PruneReport(kept=sorted(keep), deleted=deleted, copies=copies, unreadable=unreadable)

    def status(self, db_name: str | None = None) -> Status:
        """How backups of a database went lately, for /health and /metrics; also told to the metrics of this process."""
        name = db_name if db_name is not None else self.database().name
        with translated():
            found = status.read(self.store, shown(name))
        if found.ended is not None:
            metrics.set_last_backup(name, found.ended.timestamp(), found.size, found.seconds)
        if found.drilled is not None:
            metrics.set_last_drill(name, bool(found.drill_passed), found.drilled.timestamp())
        return found

    @contextmanager
    def counted(self, database: str, started: float) -> Iterator[None]:
        """Counts, logs and keeps a failure of the block; that another backup is running is none."""
        try:
            yield
        except BackupBusy:
            raise
        except Exception as error:
            metrics.record_backup(database, False, time.monotonic() - started)
            logger.error("backup failed", extra={"database": database, "reason": str(error)})
            status.failed(self.store, shown(database), moment(), str(error))
            raise

    @contextmanager
    def doubted(self, key: str, how: Literal["verify", "drill"]) -> Iterator[None]:
        """Keeps that a backup was found damaged. A store, key or database that is away says nothing of the backup."""
        try:
            yield
        except WrongKey:
            raise
        except (ArchiveDamaged, ContentsDiffer) as error:
            if self.store.head(key + MANIFEST) is None:
                raise NoSuchBackup(f"{key} was deleted while it was read") from error
            copies = [*error.missing, *error.damaged] if isinstance(error, CopiesDamaged) else []
            detail = str(error)[: status.REASON]
            self.vault.note(key, Check(at=moment(), how=how, sound=False, detail=detail, copies=copies))
            raise


@contextmanager
def translated() -> Iterator[None]:
    """Raises BackupError for what the store raises."""
    try:
        yield
    except StoreError as error:
        raise BackupError(f"the store of backups: {error}") from error


@contextmanager
def told(notes: list[str], what: str) -> Iterator[None]:
    """Has a failure noted instead of raised."""
    try:
        yield
    except (BackupError, StoreError) as error:
        logger.warning("%s: %s", what, error)
        notes.append(f"{what}: {error}")


def rows_of(contents: Contents) -> int:
    return sum(mark.rows for mark in contents.tables.values())

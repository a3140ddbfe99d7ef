"""Backups that restore: `BackupManager` makes, lists, verifies, restores, prunes and drills them.

errors <- keys <- encryption <- manifest <- clients, session, contents, unfinished <- postgres, sqlite <- archive,
inventory, vault <- manager; each module knows only those before it.
"""

from api.backup.errors import (
    ArchiveDamaged,
    BackupBusy,
    BackupError,
    ClientTooOld,
    ContentsDiffer,
    CopiesDamaged,
    KeyMissing,
    NoSuchBackup,
    Unusable,
)
from api.backup.manager import BackupManager
from api.backup.records import BackupRecord, DrillReport, PruneReport, RestoreReport, VerifyReport
from api.backup.retention import Retention

__all__ = [
    "ArchiveDamaged",
    "BackupBusy",
    "BackupError",
    "BackupManager",
    "BackupRecord",
    "ClientTooOld",
    "ContentsDiffer",
    "CopiesDamaged",
    "DrillReport",
    "KeyMissing",
    "NoSuchBackup",
    "PruneReport",
    "RestoreReport",
    "Retention",
    "Unusable",
    "VerifyReport",
]

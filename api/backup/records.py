"""What the manager answers with."""

from datetime import datetime

import msgspec

from api.backup.inventory import ObjectsReport
from api.backup.manifest import Check, Manifest


class BackupRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A backup. size and sha256 are of the encrypted archive; check is the last one of it, if any was made."""

    key: str
    kind: str
    database: str
    created: datetime
    seconds: float
    size: int
    sha256: str
    server_version: str
    client_version: str
    key_id: str
    check: Check | None = None


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """An archive that was read whole and is what was written, and so are the copies of its objects, tapes and results.

    cannot_tell: what such an archive lets nobody check.
    """

    key: str
    size: int
    tables: int = 0
    rows: int = 0
    objects: int = 0
    cannot_tell: str = ""


class RestoreReport(msgspec.Struct, frozen=True, kw_only=True):
    """A database that was restored.

    former: what the replaced one is called now, none where there was none or it was dropped. kept: what earlier
    restores left and nobody dropped yet. notes: what is not as it was, and what failed after the swap.
    """

    key: str
    database: str
    tables: int
    rows: int
    seconds: float
    former: str | None
    kept: list[str]
    objects: ObjectsReport
    notes: list[str]


class DrillReport(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that was restored into a scratch database, and was what was backed up; so were its objects' copies."""

    key: str
    tables: int
    rows: int
    objects: int
    seconds: float
    notes: list[str]


class PruneReport(msgspec.Struct, frozen=True, kw_only=True):
    """What retention kept and deleted. copies: objects' copies deleted since no backup lists them any more.

    unreadable: backups whose manifest cannot be read. They are left alone, and so are all copies while there are any.
    """

    kept: list[str]
    deleted: list[str]
    copies: int
    unreadable: list[str] = []


def record_of(manifest: Manifest, check: Check | None) -> BackupRecord:
    return BackupRecord(
        key=manifest.key,
        kind=manifest.kind,
        database=manifest.database,
        created=manifest.created,
        seconds=manifest.seconds,
        size=manifest.size,
        sha256=manifest.sha256,
        server_version=manifest.server_version,
        client_version=manifest.client_version,
        key_id=manifest.key_id,
        check=check,
    )

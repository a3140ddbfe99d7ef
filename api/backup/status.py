"""How backups of a database went lately, kept beside them for /health, /metrics and alerts.

A backup runs as a command of its own that no scrape reaches, so the last outcome is an object that the service reads.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import msgspec

from api.backup.encryption import UNREADABLE
from api.storage.objects import MissingObject, ObjectStore, StoreError

FOLDER = "backups/status/"
REASON = 500


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The last good backup, the failures since, and the last drill; none where there was none."""

    key: str | None = None
    ended: datetime | None = None
    size: int = 0
    seconds: float = 0.0
    failures: int = 0
    failed: datetime | None = None
    failure: str = ""
    drilled: datetime | None = None
    drill_passed: bool | None = None


def read(store: ObjectStore, shown: str) -> Status:
    """The status of the database written as `shown` in keys; an empty one where there is none that can be read."""
    try:
        return msgspec.json.decode(b"".join(store.get_stream(f"{FOLDER}{shown}.json")), type=Status)
    except (MissingObject, *UNREADABLE):
        return Status()


def succeeded(store: ObjectStore, shown: str, **facts: object) -> None:
    """Keeps a good backup, which ends a row of failures."""
    change(store, shown, lambda status: msgspec.structs.replace(status, failures=0, **facts))


def failed(store: ObjectStore, shown: str, when: datetime, reason: str) -> None:
    """Keeps a failure."""

    def one_more(status: Status) -> Status:
        return msgspec.structs.replace(status, failures=status.failures + 1, failed=when, failure=reason[:REASON])

    change(store, shown, one_more)


def drilled(store: ObjectStore, shown: str, when: datetime, passed: bool) -> None:
    """Keeps the outcome of a drill."""
    change(store, shown, lambda status: msgspec.structs.replace(status, drilled=when, drill_passed=passed))


def change(store: ObjectStore, shown: str, changed: Callable[[Status], Status]) -> None:
    """Writes what changed. A store that cannot be reached is no further failure: the age of the last backup tells."""
    with suppress(StoreError):
        store.put_stream(f"{FOLDER}{shown}.json", [msgspec.json.encode(changed(read(store, shown)))])

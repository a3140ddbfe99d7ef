"""The store as backups see it: a backup is there when its manifest is, and one under way has left a mark.

Order is everything here. A mark is written before the archive, the manifest after it, the mark is removed last; and a
manifest is deleted before what it describes. So wherever a process is killed, what is listed is whole, and the next
run knows exactly what to remove.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from api.backup.encryption import UNREADABLE
from api.backup.errors import ArchiveDamaged, NoSuchBackup
from api.backup.inventory import COPIES, LISTS
from api.backup.manifest import CHECK, FOLDER, MANIFEST, NAME, Check, Manifest, database_of, key_for, parsed, shown
from api.storage.objects import ExistingObject, MissingObject, ObjectStore

BEGUN = ".begun.json"


class Vault:
    """The backups in a store."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    def begin(self, database: str, created: datetime) -> tuple[str, datetime]:
        """A key that nobody has, marked as under way, and the moment in it: the given one or the next that is free."""
        while True:
            key = key_for(database, created)
            if self.store.head(key) is None and self.store.head(key + MANIFEST) is None:
                with suppress(ExistingObject):
                    self.store.put_stream(key + BEGUN, [b"{}"], if_none_match=True)
                    return key, created
            created += timedelta(seconds=1)

    def finish(self, manifest: Manifest) -> None:
        """Writes the manifest, with which the backup exists."""
        key, raw = manifest.key + MANIFEST, msgspec.json.encode(manifest)
        try:
            self.store.put_stream(key, [raw], if_none_match=True)
        except ExistingObject:
            # The answer to a first attempt may have been lost on the way: then the manifest there is this one.
            if b"".join(self.store.get_stream(key)) != raw:
                raise
        self.store.delete(manifest.key + BEGUN)

    def discard(self, key: str) -> None:
        """Removes a backup and all that belongs to it, its manifest first."""
        self.store.delete(key + MANIFEST)
        for unfinished in (key, list_key(key)):
            self.store.abort_incomplete(unfinished)
        for name in (key, key + CHECK, list_key(key), key + BEGUN):
            self.store.delete(name)

    def clear(self, database: str) -> list[str]:
        """The keys of backups that were under way when their process ended; what they left is removed.

        To be called with the database locked, so that none of them is still running.
        """
        begun = []
        for info in self.store.list(FOLDER):
            key = info.key.removesuffix(BEGUN)
            if key != info.key and belongs(key, database):
                begun.append(key)
        if begun:
            self.store.abort_incomplete(f"{COPIES}{shown(database)}/")
        for key in begun:
            if self.store.head(key + MANIFEST) is None:
                self.discard(key)
            else:
                self.store.delete(key + BEGUN)
        return begun

    def manifests(self, database: str | None = None, unreadable: list[str] | None = None) -> Iterator[Manifest]:
        """The manifests there are, of one database or of all, by key; one that cannot be read is no backup.

        unreadable: takes the keys of those.
        """
        for info in self.store.list(FOLDER):
            key = info.key.removesuffix(MANIFEST)
            if key != info.key and belongs(key, database):
                try:
                    yield self.manifest(key)
                except NoSuchBackup:
                    continue  # deleted since it was listed
                except ArchiveDamaged:
                    if unreadable is not None:
                        unreadable.append(key)

    def manifest(self, key: str) -> Manifest:
        """The manifest of a backup. Raises NoSuchBackup, and Unusable for a key of another form."""
        database_of(key)
        try:
            return parsed(b"".join(self.store.get_stream(key + MANIFEST)), key)
        except MissingObject as error:
            raise NoSuchBackup(f"there is no backup {key!r} (a dump without a manifest is none)") from error

    def check(self, key: str) -> Check | None:
        """The last check of a backup; none where none was made."""
        try:
            return msgspec.json.decode(b"".join(self.store.get_stream(key + CHECK)), type=Check)
        except (MissingObject, *UNREADABLE):
            return None

    def note(self, key: str, check: Check) -> None:
        """Keeps the outcome of a check."""
        self.store.put_stream(key + CHECK, [msgspec.json.encode(check)])


def belongs(key: str, database: str | None) -> bool:
    """Whether a key is that of a backup, of the database if one is given."""
    return NAME.fullmatch(key) is not None and database in (None, database_of(key))


def list_key(key: str) -> str:
    """The key of the inventory that goes with a backup."""
    return f"{LISTS}{key.removeprefix(FOLDER).removesuffix('.dump')}.jsonl"

"""Tapes and results beside the database: listed with each backup, and copied once.

Objects of the object store are written once and never changed, so a backup copies those that the last one did not have
and lists them all. The list is an archive of its own, a line an object in order of keys. Copies lie apart from the
store they come from if BACKUP_STORE is another place, and are encrypted like the dump.
"""

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime

import msgspec

from api.backup import archive
from api.backup.encryption import encrypted
from api.backup.errors import ArchiveDamaged, KeyMissing
from api.backup.keys import Keys
from api.backup.manifest import Inventory, Manifest
from api.storage.objects import MissingObject, ObjectStore, StoreError

BACKUPS = "backups/"
COPIES = "backups/objects/"
LISTS = "backups/inventory/"


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One object: its key, size and time in the object store, its SHA-256, and where its copy is, of what SHA-256."""

    key: str
    size: int
    modified: datetime
    sha256: str
    copy: str
    copy_sha256: str


class ObjectsReport(msgspec.Struct, kw_only=True):
    """What became of a backup's objects. lost: keys that neither the object store nor the copies have."""

    objects: int = 0
    present: int = 0
    brought_back: int = 0
    lost: list[str] = msgspec.field(default_factory=list)


def entries(store: ObjectStore, inventory: Inventory | None, keys: Keys) -> Iterator[Entry]:
    """The objects that an inventory lists, in order of keys; none where there is no inventory."""
    if inventory is None:
        return
    held = b""
    for chunk in archive.read(store, inventory.key, inventory.sha256, keys):
        *lines, held = (held + chunk).split(b"\n")
        for line in lines:
            yield msgspec.json.decode(line, type=Entry)


def readable(store: ObjectStore, former: Manifest | None, keys: Keys) -> Iterator[Entry]:
    """The entries of an earlier backup's inventory, as far as they can be read: what cannot is copied again."""
    if former is not None:
        with suppress(ArchiveDamaged, KeyMissing):
            yield from entries(store, former.contents(keys).inventory, keys)


def copied(
    source: ObjectStore, store: ObjectStore, folder: str, keys: Keys, before: Iterator[Entry]
) -> Iterator[Entry]:
    """Every object of `source`, copied into the folder unless `before` lists it and its copy is there.

    Both are in order of keys, so that neither has to be held.
    """
    have = Copies(store, folder)
    former = (entry for entry in before if entry.copy in have)
    known = next(former, None)
    for info in source.list():
        if info.key.startswith(BACKUPS):
            continue
        while known is not None and known.key < info.key:
            known = next(former, None)
        if known is not None and (known.key, known.size, known.modified) == (info.key, info.size, info.modified):
            yield known
            continue
        entry = copy(source, store, folder, keys, info.key, info.modified)
        if entry is not None:
            yield entry


def copy(
    source: ObjectStore, store: ObjectStore, folder: str, keys: Keys, key: str, modified: datetime
) -> Entry | None:
    """One object, copied; none where it was deleted since it was listed."""
    identity = hashlib.sha256(f"{key}\n{modified.isoformat()}".encode()).hexdigest()
    target = f"{COPIES}{folder}/{identity}"
    digest, size = hashlib.sha256(), 0

    def watched() -> Iterator[bytes]:
        nonlocal size
        for chunk in source.get_stream(key):
            digest.update(chunk)
            size += len(chunk)
            yield chunk

    try:
        stored = archive.write(store, target, watched(), keys.fresh(target), new=False)
    except MissingObject:
        return None
    return Entry(key, size, modified, digest.hexdigest(), target, stored.sha256)


def taken(
    source: ObjectStore, store: ObjectStore, key: str, keys: Keys, before: Iterator[Entry], folder: str
) -> Inventory:
    """The inventory of the object store, written as the archive `key`. folder: where the copies go, below COPIES."""
    count, total = 0, 0

    def lines() -> Iterator[bytes]:
        nonlocal count, total
        for entry in copied(source, store, folder, keys, before):
            count += 1
            total += entry.size
            yield msgspec.json.encode(entry) + b"\n"

    stored = store.put_stream(key, encrypted(lines(), keys.fresh(key), key))
    return Inventory(key, stored.sha256, count, total)


def uncopied(store: ObjectStore, inventory: Inventory | None, keys: Keys, folder: str) -> list[str]:
    """The keys of objects whose copies are not in the store."""
    have = Copies(store, folder)
    return [entry.key for entry in entries(store, inventory, keys) if entry.copy not in have]


def unlisted_deleted(store: ObjectStore, folder: str, manifests: Iterable[Manifest], keys: Keys) -> int:
    """How many copies were deleted because no inventory of the manifests lists them.

    Where an inventory cannot be read, nothing is deleted: it may list any of them.
    """
    listed = array("Q")
    try:
        for manifest in manifests:
            inventory = manifest.contents(keys).inventory
            listed.extend(number(entry.copy) for entry in entries(store, inventory, keys))
    except (ArchiveDamaged, KeyMissing):
        return 0
    numbers = array("Q", sorted(listed))
    unlisted = [info.key for info in store.list(f"{COPIES}{folder}/") if not among(number(info.key), numbers)]
    for key in unlisted:
        store.delete(key)
    return len(unlisted)


class Copies:
    """The copies there are of a database's objects, eight bytes each."""

    def __init__(self, store: ObjectStore, folder: str) -> None:
        # A store lists in order of keys, and so of their numbers.
        self.numbers = array("Q", (number(info.key) for info in store.list(f"{COPIES}{folder}/")))

    def __contains__(self, key: str) -> bool:
        return among(number(key), self.numbers)


def number(copy: str) -> int:
    """The first 64 bits of the digest that names a copy."""
    return int(copy.rpartition("/")[2][:16], 16)


def among(value: int, ordered: "array[int]") -> bool:
    at = bisect_left(ordered, value)
    return at < len(ordered) and ordered[at] == value


def brought_back(source: ObjectStore, store: ObjectStore, inventory: Inventory | None, keys: Keys) -> ObjectsReport:
    """What became of the objects of a backup: those missing from the object store are put back from their copies."""
    report = ObjectsReport()
    for entry in entries(store, inventory, keys):
        report.objects += 1
        info = source.head(entry.key)
        if info is not None and info.size == entry.size:
            report.present += 1
            continue
        try:
            source.put_stream(entry.key, archive.read(store, entry.copy, entry.copy_sha256, keys))
            report.brought_back += 1
        except (ArchiveDamaged, StoreError):
            report.lost.append(entry.key)
    return report

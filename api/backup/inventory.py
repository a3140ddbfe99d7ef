"""Tapes and results beside the database: listed with each backup, and copied once.

Objects of the object store are written once and never changed, so a backup copies those that the last one did not have
and lists them all. The list is an archive of its own, a line an object in order of keys. Copies lie apart from the
store they come from if BACKUP_STORE is another place, and are encrypted like the dump.

A copy has a name of its own and is never written again: backups share it, and what went wrong since with the object,
or another key, must not reach the copies that earlier backups rest on.
"""

import hashlib
import re
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import TypeVar

import msgspec

from api.backup import archive
from api.backup.encryption import encrypted
from api.backup.errors import ArchiveDamaged, ArchiveGone, CopiesDamaged, KeyMissing
from api.backup.keys import Keys
from api.backup.manifest import Check, Inventory, Manifest
from api.storage.objects import MissingObject, ObjectInfo, ObjectStore

BACKUPS = "backups/"
COPIES = "backups/objects/"
LISTS = "backups/inventory/"
# Keys that a report or an error names; how many there are is told in full.
MOST_NAMED = 1000
# Copies that are read at once; each holds a piece or two of a megabyte.
AT_ONCE = 8
COPY = re.compile(r"[0-9a-f]{64}")
T = TypeVar("T")


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One object: its key, size and time in the object store, its SHA-256, and where its copy is, of what SHA-256.

    key_id: the key that wraps the copy's; blank in the inventories of earlier versions.
    """

    key: str
    size: int
    modified: datetime
    sha256: str
    copy: str
    copy_sha256: str
    key_id: str = ""


class ObjectsReport(msgspec.Struct, kw_only=True):
    """What became of a backup's objects. present: those that are there as they were.

    lost: keys that neither the object store nor the copies have, the first thousand; losses: how many in all.
    """

    objects: int = 0
    present: int = 0
    brought_back: int = 0
    losses: int = 0
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


def readable(store: ObjectStore, former: Manifest | None, check: Check | None, keys: Keys) -> Iterator[Entry]:
    """The entries of an earlier backup's inventory, as far as they can be read: what cannot is copied again.

    check: of that backup; what it found gone or damaged is left out.
    """
    doubted = set(check.copies) if check is not None else set()
    if former is not None:
        with suppress(ArchiveDamaged, KeyMissing):
            for entry in entries(store, former.contents(keys).inventory, keys):
                if entry.key not in doubted:
                    yield entry


def copied(
    source: ObjectStore, store: ObjectStore, backup: str, folder: str, keys: Keys, before: Iterator[Entry]
) -> Iterator[Entry]:
    """Every object of `source`, copied into the folder unless `before` lists it and its copy is there.

    What was copied under another key than the current one is copied again, so that a key can go when its backups have.
    Both are in order of keys, so that neither has to be held.
    """
    have = Copies(store, folder)
    former = (entry for entry in before if entry.copy in have and entry.key_id == keys.current)
    known = next(former, None)
    for info in source.list():
        if info.key.startswith(BACKUPS):
            continue
        while known is not None and known.key < info.key:
            known = next(former, None)
        if known is not None and (known.key, known.size, known.modified) == (info.key, info.size, info.modified):
            yield known
            continue
        identity = hashlib.sha256(f"{backup}\n{info.key}".encode()).hexdigest()
        entry = copy(source, store, f"{COPIES}{folder}/{identity}", keys, info)
        if entry is not None:
            yield entry


def copy(source: ObjectStore, store: ObjectStore, target: str, keys: Keys, info: ObjectInfo) -> Entry | None:
    """One object, copied and read back; none where it was deleted since it was listed. Raises ArchiveDamaged."""
    digest, size = hashlib.sha256(), 0

    def watched() -> Iterator[bytes]:
        nonlocal size
        for chunk in source.get_stream(info.key):
            digest.update(chunk)
            size += len(chunk)
            yield chunk

    data_key = keys.fresh(target)
    try:
        stored = archive.write(store, target, watched(), data_key, new=False)
    except MissingObject:
        return None
    entry = Entry(info.key, size, info.modified, digest.hexdigest(), target, stored.sha256, data_key.key_id)
    for _ in content(store, entry, keys):
        pass
    return entry


def content(store: ObjectStore, entry: Entry, keys: Keys) -> Iterator[bytes]:
    """What an object held, from its copy; it ends only where that is to the bit what was copied.

    Raises ArchiveDamaged, ArchiveGone and KeyMissing.
    """
    digest = hashlib.sha256()
    # By what is in it and not by the bytes stored: earlier versions wrote a copy anew under its name.
    for chunk in archive.read(store, entry.copy, None, keys):
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != entry.sha256:
        raise ArchiveDamaged(f"the copy of {entry.key} has the SHA-256 {digest.hexdigest()}; it was {entry.sha256}")


def check_copies(store: ObjectStore, inventory: Inventory | None, keys: Keys, backup: str) -> int:
    """How many objects a backup lists, the copy of each read whole. Raises CopiesDamaged, and KeyMissing."""
    missing: list[str] = []
    damaged: list[str] = []
    count, faults = 0, 0
    for entry, fault in side_by_side(lambda entry: fault_of(store, entry, keys), entries(store, inventory, keys)):
        count += 1
        if fault is not None:
            faults += 1
            if faults <= MOST_NAMED:
                (missing if isinstance(fault, ArchiveGone) else damaged).append(entry.key)
    if faults:
        raise CopiesDamaged(backup, missing, damaged, faults)
    return count


def fault_of(store: ObjectStore, entry: Entry, keys: Keys) -> ArchiveDamaged | None:
    """What is wrong with the copy of an object, none where it is to the bit what was copied. Raises KeyMissing."""
    try:
        for _ in content(store, entry, keys):
            pass
    except ArchiveDamaged as error:
        return error
    return None


def side_by_side(look: Callable[[Entry], T], todo: Iterable[Entry]) -> Iterator[tuple[Entry, T]]:
    """Each entry and what `look` returns for it, in their order; a few are looked at at once, and no more are held.

    Small objects are mostly waiting for the store's first byte. Raises what the first look that fails raises.
    """
    ahead: deque[tuple[Entry, Future[T]]] = deque()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="copies") as pool:
        try:
            for entry in todo:
                ahead.append((entry, pool.submit(look, entry)))
                if len(ahead) >= AT_ONCE:
                    oldest, found = ahead.popleft()
                    yield oldest, found.result()
            for entry, found in ahead:
                yield entry, found.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def taken(
    source: ObjectStore, store: ObjectStore, backup: str, key: str, keys: Keys, before: Iterator[Entry], folder: str
) -> Inventory:
    """The inventory of the object store, written as the archive `key`.

    backup: whose it is. folder: where the copies go, below COPIES.
    """
    count, total = 0, 0

    def lines() -> Iterator[bytes]:
        nonlocal count, total
        for entry in copied(source, store, backup, folder, keys, before):
            count += 1
            total += entry.size
            yield msgspec.json.encode(entry) + b"\n"

    stored = store.put_stream(key, encrypted(lines(), keys.fresh(key), key))
    return Inventory(key, stored.sha256, count, total)


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
    unlisted = [key for key in copies_in(store, folder) if not among(number(key), numbers)]
    for key in unlisted:
        store.delete(key)
    return len(unlisted)


class Copies:
    """The copies there are of a database's objects, eight bytes each."""

    def __init__(self, store: ObjectStore, folder: str) -> None:
        # A store lists in order of keys, and so of their numbers.
        self.numbers = array("Q", map(number, copies_in(store, folder)))

    def __contains__(self, key: str) -> bool:
        return among(number(key), self.numbers)


def copies_in(store: ObjectStore, folder: str) -> Iterator[str]:
    """The keys of the copies in a folder, in order; what else lies there is nobody's business here."""
    return (info.key for info in store.list(f"{COPIES}{folder}/") if COPY.fullmatch(info.key.rpartition("/")[2]))


def number(copy: str) -> int:
    """The first 64 bits of the digest that names a copy."""
    return int(copy.rpartition("/")[2][:16], 16)


def among(value: int, ordered: "array[int]") -> bool:
    at = bisect_left(ordered, value)
    return at < len(ordered) and ordered[at] == value


def brought_back(source: ObjectStore, store: ObjectStore, inventory: Inventory | None, keys: Keys) -> ObjectsReport:
    """What became of the objects of a backup: those that are missing or damaged are put back from their copies.

    A store that cannot be reached is an error, not a loss.
    """
    report = ObjectsReport()
    for entry in entries(store, inventory, keys):
        report.objects += 1
        if is_there(source, entry):
            report.present += 1
            continue
        try:
            source.put_stream(entry.key, content(store, entry, keys))
            report.brought_back += 1
        except (ArchiveDamaged, KeyMissing):
            report.losses += 1
            if report.losses <= MOST_NAMED:
                report.lost.append(entry.key)
    return report


def is_there(source: ObjectStore, entry: Entry) -> bool:
    """Whether the object store has an object as it was backed up, to the bit."""
    info = source.head(entry.key)
    if info is None or info.size != entry.size:
        return False
    digest = hashlib.sha256()
    for chunk in source.get_stream(entry.key):
        digest.update(chunk)
    return digest.hexdigest() == entry.sha256

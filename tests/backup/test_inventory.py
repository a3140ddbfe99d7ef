"""Tapes and results beside the database: copied once, listed with each backup, brought back by a restore."""

from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from api.backup import (
    ArchiveDamaged,
    BackupError,
    BackupManager,
    CopiesDamaged,
    KeyMissing,
    NoSuchBackup,
    Retention,
    archive,
    inventory,
)
from api.backup.keys import Keys
from api.backup.manifest import MANIFEST, moment
from api.backup.vault import list_key
from api.settings import Settings
from api.storage.objects import StoreError
from tests.backup.world import KEYS, put_file
from tests.servers import Postgres

TAPES = {"tapes/a/1.parquet": b"first tape" * 50_000, "tapes/b/2.parquet": b"second", "results/r1": b""}


@pytest.fixture
def kept(manager: BackupManager) -> BackupManager:
    for key, content in TAPES.items():
        manager.objects.put_stream(key, [content])
    return manager


def copies(manager: BackupManager) -> list[str]:
    return [info.key for info in manager.store.list(inventory.COPIES)]


def content(manager: BackupManager, key: str) -> bytes:
    return b"".join(manager.objects.get_stream(key))


def entries_of(manager: BackupManager, key: str) -> list[inventory.Entry]:
    return list(
        inventory.entries(manager.store, manager.vault.manifest(key).contents(manager.keys).inventory, manager.keys)
    )


def is_sound(manager: BackupManager, key: str) -> bool:
    check = manager.vault.check(key)
    assert check is not None
    return check.sound


def test_missing_objects_are_brought_back_and_what_is_lost_is_told(kept: BackupManager) -> None:
    key = kept.backup_database().key
    assert kept.verify_backup(key).objects == kept.drill().objects == 3
    kept.objects.delete("tapes/a/1.parquet")
    kept.objects.put_stream("results/r1", [b"of another size"])
    report = kept.restore_database(key, drop_old=True).objects
    assert (report.objects, report.present, report.brought_back, report.lost) == (3, 1, 2, [])
    assert {name: content(kept, name) for name in TAPES} == TAPES
    # A copy that is damaged, and one that is gone: the restore goes through and says which objects it cannot give back.
    entries = entries_of(kept, key)
    assert [entry.key for entry in entries] == sorted(TAPES)
    kept.store.put_stream(entries[0].copy, [b"damaged"])
    kept.store.delete(entries[2].copy)
    kept.objects.delete(entries[0].key)
    kept.objects.delete(entries[2].key)
    report = kept.restore_database(key, drop_old=True).objects
    assert (report.present, report.brought_back, report.losses) == (1, 0, 2)
    assert report.lost == [entries[0].key, entries[2].key]
    assert kept.objects.head(entries[0].key) is None
    assert not is_sound(kept, key)


def test_an_object_of_the_same_size_with_other_bits_is_put_back(kept: BackupManager) -> None:
    key = kept.backup_database().key
    kept.objects.put_stream("tapes/b/2.parquet", [b"sEcond"])
    report = kept.restore_database(key, drop_old=True).objects
    assert (report.present, report.brought_back) == (2, 1)
    assert content(kept, "tapes/b/2.parquet") == b"second"


@pytest.mark.parametrize("look", ["verify_backup", "drill"])
@pytest.mark.parametrize("harm", ["gone", "cut short", "a bit", "its header", "another's"])
def test_a_copy_that_is_missing_or_damaged_fails_verify_and_drill(kept: BackupManager, look: str, harm: str) -> None:
    key = kept.backup_database().key
    entries = entries_of(kept, key)
    copy, other = entries[1].copy, entries[2].copy
    raw = bytearray(b"".join(kept.store.get_stream(copy)))
    if harm == "gone":
        kept.store.delete(copy)
    else:
        raw[len(raw) // 2 if harm == "a bit" else 150] ^= 4
        changed = {"cut short": bytes(raw[:-1]), "another's": b"".join(kept.store.get_stream(other))}
        kept.store.put_stream(copy, [changed.get(harm, bytes(raw))])
    with pytest.raises(CopiesDamaged, match=r"1 cannot be had from their copies: tapes/a/1\.parquet is") as raised:
        getattr(kept, look)(key)
    assert (raised.value.missing, raised.value.damaged) == (
        ([entries[1].key], []) if harm == "gone" else ([], [entries[1].key])
    )
    assert not is_sound(kept, key)
    if look == "drill":
        assert kept.status().drill_passed is False
    # A restore looks only at the copies it needs, and clears no doubt.
    kept.restore_database(key, drop_old=True)
    assert not is_sound(kept, key)


def test_a_thousand_keys_are_named_and_all_are_counted(kept: BackupManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "MOST_NAMED", 2)
    key = kept.backup_database().key
    for entry in entries_of(kept, key):
        kept.store.delete(entry.copy)
        kept.objects.delete(entry.key)
    with pytest.raises(CopiesDamaged, match=r"3 cannot be had .*; and 1 more") as raised:
        kept.verify_backup(key)
    assert (len(raised.value.missing), raised.value.faults) == (2, 3)
    report = kept.restore_database(key, drop_old=True).objects
    assert (report.lost, report.losses) == (sorted(TAPES)[:2], 3)


def test_what_was_found_damaged_is_copied_again_by_the_next_backup(kept: BackupManager) -> None:
    key = kept.backup_database().key
    first = entries_of(kept, key)
    kept.store.put_stream(first[0].copy, [b"damaged"])
    with pytest.raises(CopiesDamaged):
        kept.drill()
    again = kept.backup_database().key
    assert kept.verify_backup(again).objects == 3
    second = entries_of(kept, again)
    assert [one.copy == other.copy for one, other in zip(first, second, strict=True)] == [False, True, True]


def test_a_copy_that_is_not_what_was_read_fails_the_backup(
    kept: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = kept.store.put_stream

    def spoils(key: str, chunks: Iterable[bytes], **options: bool) -> object:
        whole = b"".join(chunks)
        return real(key, [whole[:-1] if key.startswith(inventory.COPIES) else whole], **options)

    monkeypatch.setattr(kept.store, "put_stream", spoils)
    with pytest.raises(ArchiveDamaged, match="does not authenticate"):
        kept.backup_database()
    assert kept.list_backups() == []


def test_a_copy_of_other_content_under_its_name_is_found_by_its_digest(kept: BackupManager) -> None:
    key = kept.backup_database().key
    entry = entries_of(kept, key)[2]
    archive.write(kept.store, entry.copy, [b"sEcond"], kept.keys.fresh(entry.copy), new=False)
    with pytest.raises(CopiesDamaged, match=r"tapes/b/2\.parquet is damaged"):
        kept.verify_backup(key)


def test_a_new_key_copies_everything_again_and_leaves_older_copies_alone(
    kept: BackupManager, settings: Settings
) -> None:
    old = kept.backup_database().key
    only_new = "second:" + "B" * 43 + "="
    both = BackupManager(msgspec.structs.replace(settings, backup_encryption_keys=f"{only_new},{KEYS}"))
    new = both.backup_database().key
    assert {entry.key_id for entry in entries_of(both, new)} == {"second"}
    # The old key can go with the last backup that was made with it.
    lone = BackupManager(msgspec.structs.replace(settings, backup_encryption_keys=only_new))
    assert lone.verify_backup(new).objects == 3
    assert kept.verify_backup(old).objects == 3


def test_a_copy_whose_key_is_missing_is_no_damage(kept: BackupManager, monkeypatch: pytest.MonkeyPatch) -> None:
    # As earlier versions left it after a rotation: a copy under a key that is not at hand any more.
    key = kept.backup_database().key
    entry = entries_of(kept, key)[2]
    other = Keys({"gone": bytes(32)})
    archive.write(kept.store, entry.copy, [b"second"], other.fresh(entry.copy), new=False)
    with pytest.raises(KeyMissing, match="needs the key 'gone'"):
        kept.verify_backup(key)
    assert is_sound(kept, key)
    kept.objects.delete(entry.key)
    assert kept.restore_database(key, drop_old=True).objects.lost == [entry.key]


def test_an_outage_is_no_loss(kept: BackupManager, monkeypatch: pytest.MonkeyPatch, database: str) -> None:
    key = kept.backup_database().key
    kept.objects.delete("tapes/b/2.parquet")

    def fails(*arguments: object, **options: object) -> object:
        raise StoreError("away")

    with monkeypatch.context() as patched:
        patched.setattr(kept.objects, "put_stream", fails)
        with pytest.raises(BackupError, match="away"):
            kept.restore_database(key)
    assert kept.restore_database(key, drop_old=True).objects.brought_back == 1


def test_a_backup_that_is_deleted_while_it_is_read_is_no_damaged_one(
    kept: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = kept.backup_database().key

    def pruned(contents: object, key: str) -> int:
        kept.vault.discard(key)
        raise CopiesDamaged(key, ["x"], [], 1)

    monkeypatch.setattr(kept, "check_copies", pruned)
    with pytest.raises(NoSuchBackup, match="was deleted while it was read"):
        kept.verify_backup(key)
    assert kept.vault.check(key) is None


def test_an_object_is_copied_once_and_its_copy_is_encrypted(
    kept: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = kept.objects.get_stream

    def watched(key: str, *arguments: int) -> object:
        read.append(key)
        return real(key, *arguments)

    monkeypatch.setattr(kept.objects, "get_stream", watched)
    kept.backup_database()
    assert read == sorted(TAPES)
    first = copies(kept)
    assert all(b"first tape" not in b"".join(kept.store.get_stream(key)) for key in first)
    read.clear()
    kept.objects.put_stream("tapes/b/1.parquet", [b"between"])
    kept.objects.delete("tapes/a/1.parquet")
    kept.backup_database()
    assert read == ["tapes/b/1.parquet"]
    assert set(first) < set(copies(kept))
    # A copy that went away is made again.
    for key in copies(kept):
        kept.store.delete(key)
    read.clear()
    key = kept.backup_database().key
    assert read == ["results/r1", "tapes/b/1.parquet", "tapes/b/2.parquet"]
    assert kept.verify_backup(key).objects == 3


def test_an_earlier_inventory_that_cannot_be_read_keeps_no_backup_from_being_made(
    kept: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = kept.backup_database().key
    listed = kept.vault.manifest(key).contents(kept.keys).inventory
    assert listed is not None
    kept.store.put_stream(listed.key, [b"damaged"])
    with pytest.raises(ArchiveDamaged):
        kept.verify_backup(key)
    assert kept.verify_backup(kept.backup_database().key).objects == 3
    other = Keys({"other": bytes(32)})
    monkeypatch.setattr(kept, "keys", other)
    assert kept.verify_backup(kept.backup_database().key).objects == 3
    with pytest.raises(KeyMissing):
        kept.verify_backup(key)


def test_copies_that_no_backup_lists_are_pruned(kept: BackupManager) -> None:
    kept.backup_database()
    kept.objects.delete("tapes/a/1.parquet")
    kept.objects.put_stream("tapes/c", [b"third"])
    kept.backup_database()
    assert len(copies(kept)) == 4
    report = kept.prune(retention=Retention(daily=1, weekly=0, monthly=0))
    assert (len(report.deleted), report.copies, len(copies(kept))) == (1, 1, 3)
    assert kept.verify_backup(report.kept[0]).objects == 3


def test_nothing_is_pruned_while_an_inventory_cannot_be_read(kept: BackupManager) -> None:
    key = kept.backup_database().key
    listed = kept.vault.manifest(key).contents(kept.keys).inventory
    assert listed is not None
    kept.store.put_stream(listed.key, [b"damaged"])
    stray = f"{copies(kept)[0].rpartition('/')[0]}/{'0' * 64}"
    kept.store.put_stream(stray, [b""])
    assert kept.prune().copies == 0
    assert len(copies(kept)) == 4


def test_nothing_that_a_backup_with_an_unreadable_manifest_may_share_is_pruned(kept: BackupManager) -> None:
    old = kept.backup_database().key
    raw = b"".join(kept.store.get_stream(old + MANIFEST))
    kept.objects.delete("tapes/a/1.parquet")
    new = kept.backup_database().key
    kept.store.put_stream(old + MANIFEST, [raw[:-1]])
    report = kept.prune(retention=Retention(daily=1, weekly=0, monthly=0))
    assert (report.kept, report.deleted, report.copies, report.unreadable) == ([new], [], 0, [old])
    # Its manifest comes back (another version of the bucket has it): everything is there still.
    kept.store.put_stream(old + MANIFEST, [raw])
    assert kept.verify_backup(old).objects == 3
    assert kept.prune(retention=Retention(daily=1, weekly=0, monthly=0)).copies == 1


def test_copies_that_a_killed_backup_had_begun_to_write_are_thrown_away(kept: BackupManager) -> None:
    kept.backup_database()
    begun, _ = kept.vault.begin(kept.database().name, moment())
    root = Path(kept.settings.state_dir) / "backups" / ".incomplete"
    folder = copies(kept)[0].rpartition("/")[0]
    of_it = (f"{folder}/{'0' * 64}", list_key(begun), begun)
    for key in (*of_it, f"{inventory.COPIES}another/{'0' * 64}"):
        put_file(root, f"{key}.0123", b"half of it")
    kept.backup_database()
    left = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    assert left == [f"{inventory.COPIES}another/{'0' * 64}.0123"]


def test_what_is_no_copy_is_left_alone(kept: BackupManager) -> None:
    kept.backup_database()
    folder = copies(kept)[0].rpartition("/")[0]
    for name in ("README", "f" * 64):
        kept.store.put_stream(f"{folder}/{name}", [b"x"])
    assert kept.prune().copies == 1  # that of the form of a copy, which nothing lists
    assert kept.store.head(f"{folder}/README") is not None
    assert kept.verify_backup(kept.backup_database().key).objects == 3


def test_an_object_deleted_while_the_backup_runs_is_left_out(
    kept: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = kept.objects.list

    def listing() -> object:
        for info in list(real()):
            if info.key == "tapes/b/2.parquet":
                kept.objects.delete(info.key)
            yield info

    monkeypatch.setattr(kept.objects, "list", listing)
    assert kept.verify_backup(kept.backup_database().key).objects == 2


def test_backups_in_the_object_store_itself_do_not_back_themselves_up(
    kept: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "store", kept.objects)
    monkeypatch.setattr(kept.vault, "store", kept.objects)
    for _ in range(2):
        assert kept.verify_backup(kept.backup_database().key).objects == 3


def test_an_object_store_that_fails_fails_the_backup(
    kept: BackupManager, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> object:
        raise StoreError("away")

    monkeypatch.setattr(kept.objects, "list", fails)
    with pytest.raises(Exception, match="away"):
        kept.backup_database()
    assert kept.list_backups() == []
    assert [path for path in Path(kept.settings.state_dir).rglob("*.dump*") if path.is_file()] == []

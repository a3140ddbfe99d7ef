"""Tapes and results beside the database: copied once, listed with each backup, brought back by a restore."""

from pathlib import Path

import pytest

from api.backup import ArchiveDamaged, BackupManager, KeyMissing, Retention, inventory
from api.backup.keys import Keys
from api.storage.objects import StoreError
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


def test_missing_objects_are_brought_back_and_what_is_lost_is_told(kept: BackupManager) -> None:
    key = kept.backup_database().key
    assert (kept.verify_backup(key).objects, kept.verify_backup(key).missing_objects) == (3, [])
    kept.objects.delete("tapes/a/1.parquet")
    kept.objects.put_stream("results/r1", [b"of another size"])
    report = kept.restore_database(key, drop_old=True).objects
    assert (report.objects, report.present, report.brought_back, report.lost) == (3, 1, 2, [])
    assert {name: content(kept, name) for name in TAPES} == TAPES
    # A copy that is damaged, and one that is gone: the restore goes through and says which objects it cannot give back.
    entries = list(inventory.entries(kept.store, kept.vault.manifest(key).contents(kept.keys).inventory, kept.keys))
    assert [entry.key for entry in entries] == sorted(TAPES)
    kept.store.put_stream(entries[0].copy, [b"damaged"])
    kept.store.delete(entries[2].copy)
    kept.objects.delete(entries[0].key)
    kept.objects.delete(entries[2].key)
    assert kept.verify_backup(key).missing_objects == [entries[2].key]
    report = kept.restore_database(key, drop_old=True).objects
    assert (report.present, report.brought_back, report.lost) == (1, 0, [entries[0].key, entries[2].key])
    assert kept.objects.head(entries[0].key) is None


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
    assert kept.verify_backup(key).missing_objects == []


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
    assert kept.verify_backup(report.kept[0]).missing_objects == []


def test_nothing_is_pruned_while_an_inventory_cannot_be_read(kept: BackupManager) -> None:
    key = kept.backup_database().key
    listed = kept.vault.manifest(key).contents(kept.keys).inventory
    assert listed is not None
    kept.store.put_stream(listed.key, [b"damaged"])
    stray = f"{copies(kept)[0].rpartition('/')[0]}/{'0' * 64}"
    kept.store.put_stream(stray, [b""])
    assert kept.prune().copies == 0
    assert len(copies(kept)) == 4


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

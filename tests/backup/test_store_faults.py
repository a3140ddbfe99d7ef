"""B3, B4 and B13 where the store fails: behind a proxy that verifies digests and injects 503, resets and bit flips."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from api import metrics
from api.backup import ArchiveDamaged, BackupError, BackupManager, CopiesDamaged, inventory, places
from api.settings import Settings
from tests.backup.fault_proxy import Faults, always, fault_proxy, first, only
from tests.backup.world import databases, state
from tests.servers import Postgres, create_bucket

PART = 256 * 1024


@pytest.fixture
def proxied(s3_endpoint: str) -> Iterator[tuple[str, Faults]]:
    with fault_proxy(s3_endpoint) as proxy:
        yield proxy


@pytest.fixture
def faults(proxied: tuple[str, Faults]) -> Faults:
    return proxied[1]


@pytest.fixture
def s3_settings(settings: Settings, proxied: tuple[str, Faults]) -> Settings:
    bucket = create_bucket(proxied[0])
    return msgspec.structs.replace(settings, backup_store=f"s3://{bucket}/prod", s3_endpoint_url=proxied[0])


@pytest.fixture
def s3(s3_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> BackupManager:
    """A manager whose dump takes several parts, and which does not wait long between attempts."""
    monkeypatch.setattr("api.storage.s3.PART_BYTES", PART)
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", PART)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0.01)
    monkeypatch.setattr(places, "ATTEMPTS", 4)
    return BackupManager(s3_settings)


@pytest.fixture
def wide(postgres: Postgres, database: str) -> str:
    """The database with two megabytes in it that do not compress."""
    postgres.run(
        "CREATE TABLE noise AS SELECT i, sha512(i::text::bytea) || sha512((-i)::text::bytea) AS b"
        " FROM generate_series(1, 16000) i",
        database=database,
    )
    return database


def test_round_trip_through_s3_in_parts(s3: BackupManager, faults: Faults, postgres: Postgres, wide: str) -> None:
    before = state(postgres, wide)
    record = s3.backup_database()
    assert sum("partNumber=" in line for line in faults.seen) >= record.size // PART >= 5
    assert [one.key for one in s3.list_backups()] == [record.key]
    s3.restore_database(record.key, drop_old=True)
    assert state(postgres, wide) == before
    assert faults.refused == []


@pytest.mark.parametrize("action", ["503", "reset", "lost", "flip up"])
def test_uploads_that_fail_now_and_then_are_retried(
    s3: BackupManager, faults: Faults, postgres: Postgres, wide: str, action: str
) -> None:
    faults.add("PUT", "partNumber=2", first(2, action))
    faults.add("PUT", "manifest.json", first(1, action))
    faults.add("GET", "dump", only(1, "cut"))
    record = s3.backup_database()
    assert s3.verify_backup(record.key).rows == 19326
    assert (len(faults.refused) > 0) == (action == "flip up")


def test_a_store_that_is_down_for_good_is_a_clean_failure(
    s3: BackupManager, faults: Faults, postgres: Postgres, wide: str
) -> None:
    good = s3.backup_database()
    failed = metrics.BACKUPS.labels(wide, "failed")._value.get()
    faults.add("PUT", "partNumber=3", always("503"))
    with pytest.raises(BackupError, match="the store of backups"):
        s3.backup_database()
    assert metrics.BACKUPS.labels(wide, "failed")._value.get() == failed + 1
    assert [one.key for one in s3.list_backups()] == [good.key]
    assert s3.status().failures == 1
    assert "SlowDown" in s3.status().failure
    faults.clear()
    again = s3.backup_database()
    assert {one.key for one in s3.list_backups()} == {good.key, again.key}
    assert (s3.status().failures, s3.status().key) == (0, again.key)


def test_a_bit_flipped_on_the_way_down_is_found_before_any_database_is_touched(
    s3: BackupManager, faults: Faults, postgres: Postgres, wide: str
) -> None:
    record = s3.backup_database()
    before, there = state(postgres, wide), databases(postgres)
    faults.add("GET", ".dump", always("flip down"))
    with pytest.raises((ArchiveDamaged, BackupError)):
        s3.restore_database(record.key)
    assert databases(postgres) == there
    assert state(postgres, wide) == before
    faults.clear()
    # It was the way, and not the backup: the next check finds it sound again.
    assert s3.verify_backup(record.key).rows == 19326
    assert s3.list_backups()[0].check.sound


def test_a_backup_killed_in_its_upload_leaves_nothing_listed_and_the_next_run_removes_the_rest(
    s3: BackupManager, s3_settings: Settings, faults: Faults, postgres: Postgres, wide: str
) -> None:
    faults.add("PUT", "partNumber=4", always("stall"))
    code = (
        "import sys, msgspec, api.storage.s3 as s3; from api.settings import Settings; from api.backup import *;"
        f"s3.PART_BYTES = {PART};"
        "BackupManager(msgspec.json.decode(sys.stdin.buffer.read(), type=Settings)).backup_database()"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, cwd=Path.cwd())
    assert child.stdin is not None
    child.stdin.write(msgspec.json.encode(s3_settings))
    child.stdin.close()
    assert faults.stalled.wait(60)
    child.kill()
    child.wait()
    faults.clear()
    assert s3.list_backups() == []
    uploads = s3.store.client.list_multipart_uploads(Bucket=s3.store.bucket)["Uploads"]
    assert len(uploads) == 1
    record = s3.backup_database()
    assert "Uploads" not in s3.store.client.list_multipart_uploads(Bucket=s3.store.bucket)
    assert [one.key for one in s3.list_backups()] == [record.key]
    assert not [info for info in s3.store.list() if "begun" in info.key]


def test_copies_are_read_side_by_side_never_too_many_and_told_in_order(s3: BackupManager, faults: Faults) -> None:
    for i in range(3 * inventory.AT_ONCE):
        s3.objects.put_stream(f"tapes/{i:02}", [b"loans %d" % i])
    key = s3.backup_database().key
    listed = s3.vault.manifest(key).contents(s3.keys).inventory
    entries = list(inventory.entries(s3.store, listed, s3.keys))
    for gone in (9, 12):
        s3.store.delete(entries[gone].copy)
    s3.store.put_stream(entries[7].copy, [b"damaged"])
    faults.seen.clear()
    faults.add("GET", entries[0].copy.rpartition("/")[2], only(1, "stall"))

    def asked() -> int:
        reads = [each for each in faults.seen if each.startswith("GET") and inventory.COPIES in each]
        return len({each.partition("?")[0] for each in reads})

    with ThreadPoolExecutor(1) as pool:
        verifying = pool.submit(s3.verify_backup, key)
        assert faults.stalled.wait(30)
        # One copy does not come: the next ones are read meanwhile, and none beyond them is begun.
        until = time.monotonic() + 30
        while asked() < inventory.AT_ONCE and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.3)
        assert asked() == inventory.AT_ONCE
        faults.resume.set()
        with pytest.raises(CopiesDamaged, match="3 cannot be had from their copies") as raised:
            verifying.result(60)
    assert raised.value.missing == ["tapes/09", "tapes/12"]
    assert raised.value.damaged == ["tapes/07"]
    # Those that are gone are not there to be read.
    assert asked() == 3 * inventory.AT_ONCE - 2

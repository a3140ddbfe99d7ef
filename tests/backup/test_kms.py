"""Data keys of KMS, against moto."""

import boto3
import msgspec
import pytest

from api.backup import ArchiveDamaged, BackupError, BackupManager
from api.backup.keys import KMS, Keys
from api.settings import Settings
from tests.servers import free_port


@pytest.fixture
def key_id(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", s3_endpoint)
    return str(boto3.client("kms").create_key()["KeyMetadata"]["KeyId"])


def test_a_backup_under_a_key_of_kms_is_read_back_and_named_in_its_context(key_id: str, settings: Settings) -> None:
    manager = BackupManager(msgspec.structs.replace(settings, backup_kms_key_id=key_id))
    record = manager.backup_database()
    assert record.key_id == KMS
    assert manager.verify_backup(record.key).rows == 3326
    # What was made with the operator's keys before stays readable, and the other way round.
    before = BackupManager(settings).backup_database()
    assert manager.verify_backup(before.key).rows == 3326
    assert BackupManager(settings).verify_backup(record.key).rows == 3326


def test_a_wrapped_key_of_kms_is_bound_to_its_archive(key_id: str) -> None:
    keys = Keys({}, key_id)
    made = keys.fresh("one")
    assert keys.unwrap(KMS, made.wrapped, "one") == made.secret
    for wrapped, context in [(made.wrapped, "other"), (made.wrapped[:-1] + bytes([made.wrapped[-1] ^ 1]), "one")]:
        with pytest.raises(ArchiveDamaged, match="KMS refuses the wrapped key of"):
            keys.unwrap(KMS, wrapped, context)


def test_kms_that_refuses_or_is_away_is_told(key_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackupError, match="KMS: generate_data_key failed: NotFoundException"):
        Keys({}, "no-such-key").fresh("x")
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(BackupError, match="KMS: generate_data_key failed: Could not connect"):
        Keys({}, key_id).fresh("x")

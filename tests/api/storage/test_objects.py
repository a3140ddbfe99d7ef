"""Object stores: the same tests on a folder and on an S3 endpoint."""

import hashlib
import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from api.storage import s3
from api.storage.objects import (
    BadKey,
    ExistingObject,
    MissingObject,
    ObjectStore,
    Stored,
    StoredFile,
    StoreError,
    store_from,
)
from tests.servers import create_bucket


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return store_from(str(tmp_path / "objects"))
    endpoint = request.getfixturevalue("s3_endpoint")
    return store_from(f"s3://{create_bucket(endpoint)}/some/prefix", endpoint)


def whole(store: ObjectStore, key: str) -> bytes:
    return b"".join(store.get_stream(key))


def test_what_is_put_is_got_with_its_size_and_digest(store: ObjectStore) -> None:
    stored = store.put_stream("tapes/a.parquet", [b"one ", b"", b"two"])
    assert stored == Stored("tapes/a.parquet", 7, hashlib.sha256(b"one two").hexdigest())
    assert whole(store, "tapes/a.parquet") == b"one two"
    info = store.head("tapes/a.parquet")
    assert info is not None
    assert (info.key, info.size) == ("tapes/a.parquet", 7)
    assert info.modified.utcoffset() is not None


def test_an_object_of_several_parts_is_the_sum_of_its_chunks(store: ObjectStore) -> None:
    chunk = os.urandom(1_000_003)
    stored = store.put_stream("large", (chunk for _ in range(18)))
    assert stored.size == 18 * len(chunk) > 2 * s3.PART_BYTES
    assert stored.sha256 == hashlib.sha256(chunk * 18).hexdigest()
    assert whole(store, "large") == chunk * 18


def test_a_range_is_what_the_slice_is(store: ObjectStore) -> None:
    store.put_stream("letters", [b"abcdefghij"])
    for start, end in ((0, None), (3, None), (3, 7), (0, 0), (9, 50), (10, None)):
        assert b"".join(store.get_stream("letters", start, end)) == b"abcdefghij"[start:end]


def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    assert store.put_stream("empty", []).size == 0
    assert whole(store, "empty") == b""


def test_a_second_write_replaces_the_first_unless_told_otherwise(store: ObjectStore) -> None:
    store.put_stream("key", [b"first"])
    with pytest.raises(ExistingObject):
        store.put_stream("key", [b"second"], if_none_match=True)
    assert whole(store, "key") == b"first"
    store.put_stream("key", [b"third"])
    assert whole(store, "key") == b"third"


def test_of_many_that_write_if_none_match_at_once_one_wins(tmp_path: Path) -> None:
    store = store_from(str(tmp_path))

    def write(i: int) -> bool:
        try:
            store.put_stream("key", [str(i).encode()], if_none_match=True)
        except ExistingObject:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(write, range(64))) == 1


def test_a_stream_that_fails_leaves_nothing(store: ObjectStore) -> None:
    def failing(chunks: int) -> Iterator[bytes]:
        for _ in range(chunks):
            yield bytes(1_000_000)
        raise RuntimeError("the source broke off")

    for chunks in (1, 20):
        with pytest.raises(RuntimeError):
            store.put_stream("broken", failing(chunks))
    assert store.head("broken") is None
    assert list(store.list()) == []
    assert store.abort_incomplete() == 0


def test_what_a_killed_writer_left_is_aborted_below_the_prefix(store: ObjectStore) -> None:
    if isinstance(store, s3.S3Store):
        for name in ("backups/x", "tapes/x"):
            store.client.create_multipart_upload(Bucket=store.bucket, Key=store.prefix + name)
    else:
        for name in ("backups/x.0f", "tapes/x.0f"):
            part = store.root / ".incomplete" / name  # type: ignore[attr-defined]
            part.parent.mkdir(parents=True)
            part.write_bytes(b"half")
    assert list(store.list()) == []
    assert store.abort_incomplete("backups/") == 1
    assert store.abort_incomplete() == 1


def test_objects_are_listed_by_prefix_in_order(store: ObjectStore) -> None:
    for key in ("b/2", "a/1", "b/1", "b2"):
        store.put_stream(key, [b"x"])
    assert [each.key for each in store.list()] == ["a/1", "b/1", "b/2", "b2"]
    assert [each.key for each in store.list("b/")] == ["b/1", "b/2"]


def test_an_object_that_goes_while_others_are_listed_is_left_out(store: ObjectStore) -> None:
    for key in ("a/1", "b/1", "c/1"):
        store.put_stream(key, [b"x"])
    told = store.list()
    found = [next(told).key]
    store.delete("b/1")
    found += [each.key for each in told]
    assert found in (["a/1", "c/1"], ["a/1", "b/1", "c/1"])  # S3 tells a page at once


def test_a_deleted_object_is_gone_and_deleting_again_is_no_error(store: ObjectStore) -> None:
    store.put_stream("a/b/c", [b"x"])
    store.delete("a/b/c")
    store.delete("a/b/c")
    assert store.head("a/b/c") is None
    with pytest.raises(MissingObject):
        store.get_stream("a/b/c")


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../up", "a/../../up", "a//b", ".hidden", "a/.", "a\\b", "a\0b", "a b", "x" * 600]
)
def test_keys_that_could_lead_elsewhere_are_refused(store: ObjectStore, key: str) -> None:
    calls: list[Any] = [
        lambda: store.put_stream(key, [b"x"]),
        lambda: store.get_stream(key),
        lambda: store.head(key),
        lambda: store.delete(key),
    ]
    for call in calls:
        with pytest.raises(BadKey):
            call()


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    store = store_from(str(tmp_path / "objects"))
    (tmp_path / "objects" / "out").symlink_to(tmp_path)
    (tmp_path / "objects" / "file").symlink_to(tmp_path / "secret")
    for key in ("out/secret", "file"):
        with pytest.raises(BadKey):
            store.get_stream(key)


def test_a_parquet_file_is_read_by_row_groups_through_ranges(store: ObjectStore) -> None:
    held = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({"balance": list(range(1000))}), held, row_group_size=100)
    store.put_stream("tape.parquet", [held.getvalue()])
    file = pyarrow.parquet.ParquetFile(StoredFile(store, "tape.parquet"))
    assert file.read_row_group(7).column("balance").to_pylist() == list(range(700, 800))


def test_a_stored_file_gives_the_bytes_of_its_object(store: ObjectStore) -> None:
    data = bytes(range(256)) * 5_000  # more than a chunk of a stream
    store.put_stream("large", [data])
    file = StoredFile(store, "large")
    assert (file.read(3), file.tell()) == (data[:3], 3)
    assert file.seek(-5, io.SEEK_END) == len(data) - 5
    assert (file.read(100), file.read(1), file.tell()) == (data[-5:], b"", len(data))
    assert file.seek(7) == 7
    assert file.read() == data[7:]
    file.seek(len(data) - 2)
    into = bytearray(b"....")
    assert (file.readinto(memoryview(into)), bytes(into)) == (2, data[-2:] + b"..")


def test_a_store_that_cannot_be_reached_says_so(s3_endpoint: str) -> None:
    store = store_from("s3://no-such-bucket", s3_endpoint)
    with pytest.raises(StoreError, match="NoSuchBucket"):
        store.put_stream("key", [b"x"])
    with pytest.raises(StoreError, match="names no bucket"):
        store_from("s3://")

"""Object stores: bytes by key, in a local folder or in S3.

Every method blocks; async callers use a thread. An object appears whole or not at all: the folder renames a finished
temporary file, S3 completes a multipart upload. Keys are relative paths of plain segments, checked on every call.
"""

import io
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import msgspec

READ_BYTES = 1024 * 1024
MAX_KEY = 512
SEGMENT = re.compile(r"[A-Za-z0-9_=+@,-][A-Za-z0-9._=+@,-]{0,199}")


class StoreError(Exception):
    """Base of what an object store raises; on its own: the store failed or cannot be reached."""


class BadKey(StoreError, ValueError):
    """A key that is no relative path of plain segments."""


class MissingObject(StoreError, LookupError):
    """No object has the key."""


class ExistingObject(StoreError):
    """An object has the key already, and `if_none_match` was asked for."""


class Stored(msgspec.Struct, frozen=True):
    """An object as it was written: its key, size in bytes and SHA-256 in hex."""

    key: str
    size: int
    sha256: str


class ObjectInfo(msgspec.Struct, frozen=True):
    """An object that is there: its key, size in bytes and when it was written (UTC)."""

    key: str
    size: int
    modified: datetime


class ObjectStore(Protocol):
    """Bytes by key. Raises StoreError where the store fails, BadKey for a key it would not take."""

    def put_stream(self, key: str, chunks: Iterable[bytes], *, if_none_match: bool = False) -> Stored:
        """What was written from chunks of any size; an error among them leaves no object and no part of one.

        if_none_match: raises ExistingObject where the key is taken, however close the race.
        """

    def get_stream(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to `end` (exclusive, to the last where none). Raises MissingObject at once.

        A range with an end may come in one piece.
        """

    def head(self, key: str) -> ObjectInfo | None:
        """The object's size and time, none where there is no such object."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key starts with `prefix`, in order of keys."""

    def delete(self, key: str) -> None:
        """Removes the object; one that is not there is no error."""

    def abort_incomplete(self, prefix: str = "", older_than: timedelta = timedelta(0)) -> int:
        """How many unfinished writes below `prefix`, begun at least `older_than` ago, were thrown away."""


def checked_key(key: str) -> str:
    """The key. Raises BadKey where it could lead out of its folder or be read in two ways."""
    if len(key) > MAX_KEY or not all(SEGMENT.fullmatch(part) for part in key.split("/")):
        message = f"the key is {key[:80]!r}; expected segments of letters, digits and ._=+@,- joined by /"
        raise BadKey(message)
    return key


def store_from(place: str, endpoint_url: str | None = None, *, attempts: int = 5) -> ObjectStore:
    """The store at `place`: `s3://bucket/prefix` or the path of a folder, which is made.

    endpoint_url: where S3 is not Amazon's. attempts: how often a request to S3 is made until it succeeds.
    Raises StoreError for an address without a bucket.
    """
    if place.startswith("s3://"):
        from api.storage.s3 import S3Store  # boto3 takes a while to import

        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        return S3Store(bucket, prefix, endpoint_url=endpoint_url, attempts=attempts)
    from api.storage.folder import FolderStore

    return FolderStore(Path(place))


class StoredFile(io.RawIOBase):
    """A seekable, read-only file over an object, reading the ranges asked for.

    failure: what the store raised in the last read, none where the bytes came: readers may hide it in errors of theirs.
    """

    def __init__(self, store: ObjectStore, key: str) -> None:
        info = store.head(key)
        if info is None:
            raise MissingObject(key)
        self.store, self.key, self.size, self.place = store, key, info.size, 0
        self.failure: Exception | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.place = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.size}[whence])
        return self.place

    def read(self, size: int | None = -1) -> bytes:
        # Whole, where RawIOBase would copy what readinto has copied.
        end = self.size if size is None or size < 0 else min(self.place + size, self.size)
        chunks = list(self.chunks(end))
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        filled = 0
        for chunk in self.chunks(min(self.place + len(buffer), self.size)):
            buffer[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
        return filled

    def chunks(self, end: int) -> Iterator[bytes]:
        """The bytes from the present place to `end`, which is the place once all were taken."""
        if end <= self.place:
            return
        read = 0
        try:
            for chunk in self.store.get_stream(self.key, self.place, end):
                yield chunk
                read += len(chunk)
        except (StoreError, OSError) as error:
            self.failure = error
            raise
        self.place += read

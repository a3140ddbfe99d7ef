"""The object store in S3 or what speaks its protocol.

Streams go up in parts, so that memory stays at one part whatever the size; a stream that fails is aborted. Downloads
that break are continued from where they stopped, on the same version of the object (If-Match).
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from api.storage.objects import (
    READ_BYTES,
    ExistingObject,
    MissingObject,
    ObjectInfo,
    Stored,
    StoreError,
    checked_key,
)

PART_BYTES = 8 * 1024 * 1024
# S3 takes 10,000 parts an object; every thousandth part the next ones grow, which makes room for 440 GB.
PARTS_OF_A_SIZE = 1_000
RESUMES = 5
MISSING = {"404", "NoSuchKey", "NotFound"}
DAMAGED = {"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"}
DAMAGED_ATTEMPTS = 5
EXISTING = {"412", "PreconditionFailed", "ConditionalRequestConflict"}


class DamagedOnTheWay(StoreError):
    """A body that did not arrive as it was sent; the store noticed by its digest."""


class S3Store:
    """Objects of a bucket whose keys start with a prefix. Credentials and region are found as boto3 finds them."""

    def __init__(self, bucket: str, prefix: str = "", *, endpoint_url: str | None = None, attempts: int = 5) -> None:
        if not bucket:
            raise StoreError("the address of the store names no bucket; expected s3://bucket/prefix")
        self.bucket = bucket
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        retries = {"mode": "standard", "max_attempts": attempts}
        config = Config(retries=retries, connect_timeout=5, read_timeout=60, max_pool_connections=16)
        self.client: Any = boto3.client("s3", endpoint_url=endpoint_url or None, config=config)

    def put_stream(self, key: str, chunks: Iterable[bytes], *, if_none_match: bool = False) -> Stored:
        name = self.name_of(key)
        condition = {"IfNoneMatch": "*"} if if_none_match else {}
        digest, size = hashlib.sha256(), 0
        parts = parts_of(chunks)
        part, last = next(parts)
        digest.update(part)
        size += len(part)
        if last:
            self.call("put_object", key, Key=name, Body=part, **condition)
            return Stored(key, size, digest.hexdigest())
        upload = self.call("create_multipart_upload", key, Key=name)["UploadId"]
        done: list[dict[str, Any]] = []
        try:
            for number in count(1):
                answer = self.call("upload_part", key, Key=name, UploadId=upload, PartNumber=number, Body=part)
                checks = {field: value for field, value in answer.items() if field.startswith("ChecksumCRC")}
                done.append({"PartNumber": number, "ETag": answer["ETag"], **checks})
                if last:
                    break
                del part  # let go before the next one is put together
                part, last = next(parts)
                digest.update(part)
                size += len(part)
            whole = {"Parts": done}
            self.call("complete_multipart_upload", key, Key=name, UploadId=upload, MultipartUpload=whole, **condition)
        except BaseException:
            with suppress(StoreError):  # what remains is found by abort_incomplete
                self.call("abort_multipart_upload", key, Key=name, UploadId=upload)
            raise
        return Stored(key, size, digest.hexdigest())

    def get_stream(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        info = self.call("head_object", key, Key=self.name_of(key))
        last = info["ContentLength"] if end is None else min(end, info["ContentLength"])
        return self.resumed(key, info["ETag"], start, last)

    def resumed(self, key: str, etag: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes of one version of an object; a broken connection is taken up where it broke."""
        failures = 0
        while start < end:
            ranged = f"bytes={start}-{end - 1}"
            body = self.call("get_object", key, Key=self.name_of(key), Range=ranged, IfMatch=etag)["Body"]
            try:
                for chunk in body.iter_chunks(READ_BYTES):
                    start += len(chunk)
                    yield chunk
            except (BotoCoreError, OSError) as error:
                failures += 1
                if failures > RESUMES:
                    raise StoreError(f"{key!r} broke off {failures} times while it was read: {error}") from error
            finally:
                body.close()

    def head(self, key: str) -> ObjectInfo | None:
        try:
            info = self.call("head_object", key, Key=self.name_of(key))
        except MissingObject:
            return None
        return ObjectInfo(key, info["ContentLength"], info["LastModified"].astimezone(UTC))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for entry in self.pages("list_objects_v2", "Contents", prefix):
            key = entry["Key"].removeprefix(self.prefix)
            yield ObjectInfo(key, entry["Size"], entry["LastModified"].astimezone(UTC))

    def delete(self, key: str) -> None:
        self.call("delete_object", key, Key=self.name_of(key))

    def abort_incomplete(self, prefix: str = "", older_than: timedelta = timedelta(0)) -> int:
        newest = datetime.now(UTC) - older_than
        # S3 tells whole seconds.
        begun = [
            entry
            for entry in self.pages("list_multipart_uploads", "Uploads", prefix)
            if entry["Initiated"].astimezone(UTC) <= newest
        ]
        for entry in begun:
            with suppress(MissingObject):
                self.call("abort_multipart_upload", entry["Key"], Key=entry["Key"], UploadId=entry["UploadId"])
        return len(begun)

    def pages(self, operation: str, entries: str, prefix: str) -> Iterator[dict[str, Any]]:
        """The entries of every page of a listing below `prefix`."""
        try:
            for page in self.client.get_paginator(operation).paginate(Bucket=self.bucket, Prefix=self.prefix + prefix):
                yield from page.get(entries, [])
        except (ClientError, BotoCoreError) as error:
            raise StoreError(f"the bucket {self.bucket!r} cannot be listed: {error}") from error

    def call(self, operation: str, key: str, **arguments: Any) -> Any:
        """The answer of one operation. Raises StoreError, by kind."""
        for attempt in range(DAMAGED_ATTEMPTS):
            try:
                return self.asked(operation, key, **arguments)
            except DamagedOnTheWay:
                # Bodies are bytes in memory, so they can be sent again; boto3 itself does not for these codes.
                if attempt == DAMAGED_ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def asked(self, operation: str, key: str, **arguments: Any) -> Any:
        """The answer of one operation, asked for once more by boto3 alone. Raises StoreError, by kind."""
        try:
            return getattr(self.client, operation)(Bucket=self.bucket, **arguments)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in DAMAGED:
                raise DamagedOnTheWay(f"{key!r}: {operation} failed: {error}") from error
            if code in EXISTING and "IfNoneMatch" in arguments:
                raise ExistingObject(key) from error
            if code in MISSING or code == "NoSuchUpload":
                raise MissingObject(key) from error
            raise StoreError(f"{key!r}: {operation} failed: {error}") from error
        except BotoCoreError as error:
            raise StoreError(f"{key!r}: {operation} failed: {error}") from error

    def name_of(self, key: str) -> str:
        return self.prefix + checked_key(key)


def parts_of(chunks: Iterable[bytes]) -> Iterator[tuple[bytearray, bool]]:
    """The chunks cut into parts as S3 takes them, each with whether it is the last; the others have PART_BYTES or more.

    A part is handed out when more than it has come, and not held after.
    """
    held, number = bytearray(), 0
    for chunk in chunks:
        rest = memoryview(chunk)
        while len(rest) > (room := part_bytes(number) - len(held)):
            held += rest[:room]
            rest = rest[room:]
            yield held, False
            held, number = bytearray(), number + 1
        held += rest
    yield held, True


def part_bytes(number: int) -> int:
    return PART_BYTES * (1 + number // PARTS_OF_A_SIZE)

"""The object store in a local folder."""

import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from api.storage.objects import (
    READ_BYTES,
    BadKey,
    ExistingObject,
    MissingObject,
    ObjectInfo,
    Stored,
    StoreError,
    checked_key,
)

# Segments of keys do not start with a dot, so no key leads here.
INCOMPLETE = ".incomplete"


class FolderStore:
    """Objects as files below `root`; what is being written lies in `root/.incomplete` until it is whole."""

    def __init__(self, root: Path) -> None:
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the folder {str(root)!r} cannot be made: {error.strerror}") from error
        self.root = root.resolve()

    def put_stream(self, key: str, chunks: Iterable[bytes], *, if_none_match: bool = False) -> Stored:
        path = self.path_of(key)
        part = self.root / INCOMPLETE / f"{key}.{secrets.token_hex(8)}"
        digest, size = hashlib.sha256(), 0
        try:
            part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if if_none_match:
                os.link(part, path)
            else:
                os.replace(part, path)
            sync_folder(path.parent)
        except FileExistsError as error:
            raise ExistingObject(key) from error
        except OSError as error:
            raise StoreError(f"{key!r} cannot be written: {error.strerror or error}") from error
        finally:
            part.unlink(missing_ok=True)
        return Stored(key, size, digest.hexdigest())

    def get_stream(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        try:
            file = self.path_of(key).open("rb", buffering=0)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise MissingObject(key) from error

        def chunks() -> Iterator[bytes]:
            with file:
                file.seek(start)
                left = None if end is None else max(0, end - start)
                # A range is what its reader has room for, so it comes in one piece.
                while chunk := file.read(READ_BYTES if left is None else left):
                    left = None if left is None else left - len(chunk)
                    yield chunk

        return chunks()

    def head(self, key: str) -> ObjectInfo | None:
        path = self.path_of(key)
        return info_of(key, path) if path.is_file() else None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for key, path in sorted(files_below(self.root)):
            chosen = key.startswith(prefix) and not key.startswith(f"{INCOMPLETE}/")
            if chosen and (info := info_of(key, path)) is not None:
                yield info

    def delete(self, key: str) -> None:
        path = self.path_of(key)
        path.unlink(missing_ok=True)
        for folder in path.relative_to(self.root).parents[:-1]:
            try:
                (self.root / folder).rmdir()
            except OSError:
                break  # not empty: something else lives there

    def abort_incomplete(self, prefix: str = "", older_than: timedelta = timedelta(0)) -> int:
        aborted, newest = 0, time.time() - older_than.total_seconds()
        for key, path in files_below(self.root / INCOMPLETE):
            if not key.startswith(prefix):
                continue
            with suppress(FileNotFoundError):  # its writer has finished
                if path.stat().st_mtime <= newest:
                    path.unlink()
                    aborted += 1
        return aborted

    def path_of(self, key: str) -> Path:
        """The file of a key. Raises BadKey where a link leads out of the folder."""
        path = self.root / checked_key(key)
        if not path.parent.resolve().is_relative_to(self.root) or path.is_symlink():
            raise BadKey(f"the key {key!r} leads out of the store")
        return path


def files_below(folder: Path) -> list[tuple[str, Path]]:
    """The files below a folder, each with its path from there. Folders that go meanwhile are passed over."""
    # As Path.rglob, which a folder that is deleted under it ends with an error.
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return [(path.relative_to(folder).as_posix(), path) for path in paths if path.is_file()]


def info_of(key: str, path: Path) -> ObjectInfo | None:
    """What is told of a file, none where it was deleted meanwhile."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return ObjectInfo(key, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

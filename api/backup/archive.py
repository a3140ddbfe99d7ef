"""Archives in the store: written encrypted, and read with every bit of them checked."""

import hashlib
from collections.abc import Iterable, Iterator

from api.backup.encryption import decrypted, encrypted
from api.backup.errors import ArchiveDamaged, ArchiveGone
from api.backup.keys import DataKey, Keys
from api.storage.objects import MissingObject, ObjectStore, Stored


def write(store: ObjectStore, key: str, chunks: Iterable[bytes], data_key: DataKey, *, new: bool = True) -> Stored:
    """The archive as it was stored. new: raises ExistingObject where the key is taken."""
    return store.put_stream(key, encrypted(chunks, data_key, key), if_none_match=new)


def read(store: ObjectStore, key: str, sha256: str | None, keys: Keys) -> Iterator[bytes]:
    """What is in an archive; it ends only where the whole archive is what was written. Raises ArchiveDamaged.

    sha256: of the archive as it is stored; none where its reader knows the digest of what is in it.
    """
    digest = hashlib.sha256()

    def watched() -> Iterator[bytes]:
        for chunk in store.get_stream(key):
            digest.update(chunk)
            yield chunk

    try:
        yield from decrypted(watched(), keys, key)
    except MissingObject as error:
        raise ArchiveGone(f"{key} is gone") from error
    if sha256 is not None and digest.hexdigest() != sha256:
        raise ArchiveDamaged(f"{key} has the SHA-256 {digest.hexdigest()}; its manifest says {sha256}")


def check(store: ObjectStore, key: str, sha256: str, keys: Keys) -> int:
    """How many bytes are in an archive, which was read to its end. Raises ArchiveDamaged."""
    return sum(len(chunk) for chunk in read(store, key, sha256, keys))

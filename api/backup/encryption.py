"""Archives as authenticated streams, encrypted before they leave the process.

An archive is MAGIC, the length of the header (4 bytes, big endian), the header (JSON), then chunks. A chunk is
AES-256-GCM of CHUNK bytes of the dump, the last one of fewer (perhaps none), each followed by its tag of 16 bytes.

- Each archive has a data key of its own, which the header carries wrapped by a key of the operator's or of KMS.
- The stream key is HKDF-SHA256 of the data key; being used for one archive only, its nonces can count: eleven bytes of
  chunk number and one that is 1 for the last chunk. So chunks cannot be reordered, dropped, or cut off at the end.
- Every chunk authenticates the header and the name of the archive, so an archive under another's name is refused.

The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance, CRYPTO 2015), with the name and header as associated data.
"""

import hashlib
from collections.abc import Iterable, Iterator

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from api.backup.errors import ArchiveDamaged
from api.backup.keys import DataKey, Keys

MAGIC = b"CASHFLOW BACKUP 1\n"
CHUNK = 1024 * 1024
TAG = 16
NONCE = 12
MAX_HEADER = 16 * 1024
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What opens an archive: whose key wraps its data key, and the data key wrapped."""

    key_id: str
    wrapped: bytes


def derived(secret: bytes, purpose: bytes) -> AESGCM:
    """The cipher for one purpose of a data key."""
    return AESGCM(HKDF(SHA256(), 32, salt=None, info=b"cashflow backup " + purpose).derive(secret))


def nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(NONCE - 1, "big") + bytes([last])


def cut(chunks: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """The bytes in pieces of `size`, each with whether it is the last; the last has what remains, perhaps nothing."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        # A full piece is held back until more follows, since it may be the last.
        while len(held) > size:
            yield bytes(memoryview(held)[:size]), False
            del held[:size]
    yield bytes(held), True


def encrypted(chunks: Iterable[bytes], key: DataKey, name: str) -> Iterator[bytes]:
    """The archive of a dump, in pieces. key: fresh, never used for another archive. name: what it will be stored as."""
    header = msgspec.json.encode(Header(key.key_id, key.wrapped))
    opening = MAGIC + len(header).to_bytes(4, "big") + header
    yield opening
    cipher, bound = derived(key.secret, b"stream"), hashlib.sha256(opening + name.encode()).digest()
    for number, (piece, last) in enumerate(cut(chunks, CHUNK)):
        yield cipher.encrypt(nonce(number, last), piece, bound)


def opened(chunks: Iterable[bytes], name: str) -> tuple[Header, bytes, Iterator[bytes]]:
    """The header of an archive, the bytes it was read from, and the bytes after it. Raises ArchiveDamaged."""
    rest = iter(chunks)
    held = b""
    fixed = len(MAGIC) + 4
    length = 0
    while len(held) < fixed + length:
        more = next(rest, None)
        if more is None:
            raise ArchiveDamaged(f"{name} ends within its header")
        held += more
        if not held.startswith(MAGIC[: len(held)]):
            raise ArchiveDamaged(f"{name} does not start as an archive does")
        if len(held) >= fixed:
            length = int.from_bytes(held[len(MAGIC) : fixed], "big")
            if length > MAX_HEADER:
                raise ArchiveDamaged(f"{name} has a header of {length} bytes; expected {MAX_HEADER} at most")
    try:
        header = msgspec.json.decode(held[fixed : fixed + length], type=Header)
    except UNREADABLE as error:
        raise ArchiveDamaged(f"{name} has a header that cannot be read") from error

    def following() -> Iterator[bytes]:
        yield held[fixed + length :]
        yield from rest

    return header, held[: fixed + length], following()


def decrypted(chunks: Iterable[bytes], keys: Keys, name: str) -> Iterator[bytes]:
    """The dump in an archive, piece by piece, each authenticated before it is handed out.

    What is handed out is a prefix of the dump until the iterator ends: only then is the whole known to be intact.
    Raises ArchiveDamaged, and KeyMissing where the key is not at hand.
    """
    header, opening, rest = opened(chunks, name)
    secret = keys.unwrap(header.key_id, header.wrapped, name)
    cipher, bound = derived(secret, b"stream"), hashlib.sha256(opening + name.encode()).digest()
    for number, (piece, last) in enumerate(cut(rest, CHUNK + TAG)):
        try:
            yield cipher.decrypt(nonce(number, last), piece, bound)
        except InvalidTag as error:
            where = "its last chunk" if last else f"chunk {number}"
            raise ArchiveDamaged(f"{name} is not what was written: {where} does not authenticate") from error


def sealed(secret: bytes, plain: bytes, bound: bytes) -> bytes:
    """A manifest's contents, encrypted under the archive's data key and bound to the manifest's open part."""
    return derived(secret, b"manifest").encrypt(bytes(NONCE), plain, bound)


def unsealed(secret: bytes, contents: bytes, bound: bytes, name: str) -> bytes:
    """The contents of a manifest. Raises ArchiveDamaged where they or the open part were altered."""
    try:
        return derived(secret, b"manifest").decrypt(bytes(NONCE), contents, bound)
    except InvalidTag as error:
        raise ArchiveDamaged(f"the manifest of {name} is not what was written") from error

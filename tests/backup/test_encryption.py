"""B2 and B13 on the archive itself: nothing altered, cut, reordered, renamed or under another key is ever accepted."""

import os
import random
from collections.abc import Callable, Iterator

import pytest

from api.backup import encryption
from api.backup.encryption import CHUNK, MAGIC, TAG, decrypted, encrypted, opened, sealed, unsealed
from api.backup.errors import ArchiveDamaged, BackupError, KeyMissing
from api.backup.keys import Keys, key_ring
from tests.backup.world import KEYS

NAME = "backups/database/db_backup_app_20261125010203.dump"


@pytest.fixture
def keys() -> Keys:
    return Keys(key_ring(KEYS))


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    yield from (data[at : at + size] for at in range(0, len(data), size))


def archive_of(data: bytes, keys: Keys, size: int = 1000) -> bytes:
    return b"".join(encrypted(pieces(data, size), keys.fresh(NAME), NAME))


def content_of(archive: bytes, keys: Keys, size: int = 700, name: str = NAME) -> bytes:
    return b"".join(decrypted(pieces(archive, size), keys, name))


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 12345])
def test_what_is_decrypted_is_what_was_encrypted(keys: Keys, size: int) -> None:
    data = random.Random(size).randbytes(size)
    archive = archive_of(data, keys, 65_537)
    assert content_of(archive, keys, 70_001) == data
    # Every chunk but the last has CHUNK bytes; an archive that ends at a full chunk has no empty one after it.
    chunks = max(1, -(-size // CHUNK))
    _, opening, _ = opened([archive], NAME)
    assert len(archive) == len(opening) + size + chunks * TAG


def test_a_hundred_truncations_are_all_rejected(keys: Keys) -> None:
    archive = archive_of(bytes(3 * CHUNK + 5000), keys, 65_536)
    draw = random.Random(1)
    ends = {0, 1, len(MAGIC), len(archive) - 1, len(archive) - TAG}
    start = len(opened([archive], NAME)[1])
    ends |= {start + n * (CHUNK + TAG) for n in range(4)}  # at the very ends of chunks
    ends |= {draw.randrange(len(archive)) for _ in range(100 - len(ends))}
    for end in ends:
        with pytest.raises(ArchiveDamaged):
            content_of(archive[:end], keys, 65_536)
    with pytest.raises(ArchiveDamaged):
        content_of(archive + b"\0", keys, 65_536)


def test_every_single_bit_flip_of_a_small_archive_is_rejected(keys: Keys) -> None:
    archive = bytearray(archive_of(b"the dump", keys))
    for bit in range(8 * len(archive)):
        archive[bit // 8] ^= 1 << bit % 8
        with pytest.raises((ArchiveDamaged, KeyMissing)):  # a flip in the key's id names a key that nobody has
            content_of(bytes(archive), keys)
        archive[bit // 8] ^= 1 << bit % 8
    assert content_of(bytes(archive), keys) == b"the dump"


@pytest.mark.parametrize(
    "altered",
    [
        lambda first, second, third, last: second + first + third + last,
        lambda first, second, third, last: first + third + last,
        lambda first, second, third, last: first + first + second + third + last,
        lambda first, second, third, last: first + second + third,
        lambda first, second, third, last: last,
    ],
    ids=["swapped", "dropped", "doubled", "last dropped", "last alone"],
)
def test_chunks_cannot_be_moved(keys: Keys, altered: Callable[..., bytes]) -> None:
    archive = archive_of(os.urandom(3 * CHUNK + 10), keys, CHUNK)
    _, opening, rest = opened([archive], NAME)
    body = b"".join(rest)
    chunks = [body[at : at + CHUNK + TAG] for at in range(0, len(body), CHUNK + TAG)]
    with pytest.raises(ArchiveDamaged, match="does not authenticate"):
        content_of(opening + altered(*chunks), keys, CHUNK)


def test_an_archive_under_the_name_of_another_is_rejected(keys: Keys) -> None:
    with pytest.raises(ArchiveDamaged):
        content_of(archive_of(b"x", keys), keys, name=NAME.replace("2026", "2027"))


def test_chunks_of_one_archive_do_not_fit_into_another(keys: Keys) -> None:
    one, other = (opened([archive_of(b"x" * 100, keys)], NAME) for _ in range(2))
    with pytest.raises(ArchiveDamaged):
        content_of(one[1] + b"".join(other[2]), keys)


def test_the_dump_cannot_be_seen_in_its_archive(keys: Keys) -> None:
    archive = archive_of(b"a secret of the database" * 100, keys)
    assert b"secret" not in archive
    assert archive != archive_of(b"a secret of the database" * 100, keys)


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (b"PGDMP is no archive of ours", "does not start as an archive"),
        (MAGIC + (20_000).to_bytes(4, "big"), "a header of 20000 bytes"),
        (MAGIC + (3).to_bytes(4, "big") + b"{} ", "a header that cannot be read"),
    ],
)
def test_what_is_no_archive_is_rejected(keys: Keys, archive: bytes, message: str) -> None:
    with pytest.raises(ArchiveDamaged, match=message):
        content_of(archive, keys)


def test_the_wrong_key_and_a_missing_key_are_told_apart(keys: Keys) -> None:
    archive = archive_of(b"x", keys)
    with pytest.raises(ArchiveDamaged, match="the key 'first' at hand is another"):
        content_of(archive, Keys({"first": b"w" * 32}))
    with pytest.raises(KeyMissing, match="needs the key 'first'; BACKUP_ENCRYPTION_KEYS has second, third"):
        content_of(archive, Keys({"second": b"w" * 32, "third": b"v" * 32}))


def test_archives_stay_readable_when_a_new_key_comes_first(keys: Keys) -> None:
    rotated = Keys({"second": b"s" * 32, **keys.ring})
    assert content_of(archive_of(b"old", keys), rotated) == b"old"
    new = archive_of(b"new", rotated)
    assert opened([new], NAME)[0].key_id == "second"
    assert content_of(new, rotated) == b"new"


def test_sealed_contents_are_bound_to_what_stands_beside_them() -> None:
    seal = sealed(b"k" * 32, b"contents", b"beside")
    assert unsealed(b"k" * 32, seal, b"beside", NAME) == b"contents"
    for secret, contents, beside in [
        (b"l" * 32, seal, b"beside"),
        (b"k" * 32, seal[:-1] + bytes([seal[-1] ^ 1]), b"beside"),
        (b"k" * 32, seal, b"besides"),
    ]:
        with pytest.raises(ArchiveDamaged):
            unsealed(secret, contents, beside, NAME)


def test_the_construction_is_the_one_written_down(keys: Keys) -> None:
    # Opened by hand with the primitives alone, from the module's description: the header's JSON, HKDF-SHA256 of the
    # data key, nonce = eleven bytes of number and one of "last", SHA-256 of opening and name as associated data.
    import hashlib
    import hmac

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    data_key = keys.fresh(NAME)
    archive = b"".join(encrypted([b"a" * CHUNK, b"b"], data_key, NAME))
    length = int.from_bytes(archive[len(MAGIC) : len(MAGIC) + 4], "big")
    opening, body = archive[: len(MAGIC) + 4 + length], archive[len(MAGIC) + 4 + length :]
    # HKDF (RFC 5869) of 32 bytes: extract with a salt of zeros, expand once.
    extracted = hmac.digest(bytes(32), data_key.secret, "sha256")
    stream_key = hmac.digest(extracted, b"cashflow backup stream" + b"\x01", "sha256")
    beside = hashlib.sha256(opening + NAME.encode()).digest()
    first = AESGCM(stream_key).decrypt(bytes(12), body[: CHUNK + TAG], beside)
    last = AESGCM(stream_key).decrypt(bytes(10) + b"\x01\x01", body[CHUNK + TAG :], beside)
    assert (first, last) == (b"a" * CHUNK, b"b")
    assert encryption.nonce(256, False) == bytes(9) + b"\x01\x00\x00"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("first", 1),
        (f"{KEYS},second:AAAA", 2),
        (f"{KEYS},{KEYS}", 2),
        (KEYS.replace("first", "kms"), 1),
        (KEYS.replace("first", "a b"), 1),
        (KEYS.replace("first:", "first:*"), 1),
    ],
)
def test_a_key_that_cannot_be_used_is_named_by_its_place_and_not_shown(text: str, number: int) -> None:
    with pytest.raises(BackupError, match=f"entry {number} of BACKUP_ENCRYPTION_KEYS cannot be used") as raised:
        key_ring(text)
    assert KEYS.partition(":")[2] not in str(raised.value)


def test_without_any_key_nothing_is_encrypted() -> None:
    with pytest.raises(BackupError, match="there is no key to encrypt with"):
        Keys({})


def test_a_data_key_does_not_show_its_secret(keys: Keys) -> None:
    assert repr(keys.fresh(NAME)) == "DataKey('first')"

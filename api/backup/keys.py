"""The keys that archives are encrypted with: the operator's own, or those of KMS.

Each archive has a data key, made for it alone. An operator's key wraps it with AES-256-GCM; KMS makes and wraps it
itself. Archives name the key that wraps theirs, so old ones stay readable for as long as their key is listed.
"""

import base64
import binascii
import os
import re
import threading
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from api.backup.errors import ArchiveDamaged, BackupError, KeyMissing, Unusable, WrongKey

KEY_BYTES = 32
KMS = "kms"
KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class DataKey(msgspec.Struct, frozen=True):
    """The key of one archive, as it is and wrapped by the key named `key_id`."""

    key_id: str
    secret: bytes
    wrapped: bytes

    def __repr__(self) -> str:
        return f"DataKey({self.key_id!r})"


# boto3 makes clients in one thread at a time; the clients themselves may be used in several.
MAKING = threading.Lock()


class Keys:
    """The keys at hand. ring: the operator's by id, the first one current. kms_key_id: of KMS, current where given."""

    def __init__(self, ring: dict[str, bytes], kms_key_id: str = "") -> None:
        if not ring and not kms_key_id:
            raise Unusable("there is no key to encrypt with; set BACKUP_ENCRYPTION_KEYS or BACKUP_KMS_KEY_ID")
        self.ring, self.kms_key_id = ring, kms_key_id

    @property
    def current(self) -> str:
        """The id of the key that wraps new data keys."""
        return KMS if self.kms_key_id else next(iter(self.ring))

    def fresh(self, context: str) -> DataKey:
        """A new data key for the archive named `context`."""
        if self.kms_key_id:
            answer = kms(
                "generate_data_key", KeyId=self.kms_key_id, KeySpec="AES_256", EncryptionContext=bound(context)
            )
            return DataKey(KMS, answer["Plaintext"], answer["CiphertextBlob"])
        key_id, secret = self.current, os.urandom(KEY_BYTES)
        nonce = os.urandom(12)
        wrapped = nonce + wrapper(self.ring[key_id]).encrypt(nonce, secret, context.encode())
        return DataKey(key_id, secret, wrapped)

    def unwrap(self, key_id: str, wrapped: bytes, context: str) -> bytes:
        """The data key of the archive named `context`. Raises KeyMissing and WrongKey."""
        if key_id == KMS:
            secret: bytes = kms("decrypt", CiphertextBlob=wrapped, EncryptionContext=bound(context))["Plaintext"]
            return secret
        if key_id not in self.ring:
            at_hand = ", ".join(self.ring) or "none"
            raise KeyMissing(f"{context} needs the key {key_id!r}; BACKUP_ENCRYPTION_KEYS has {at_hand}")
        try:
            return wrapper(self.ring[key_id]).decrypt(wrapped[:12], wrapped[12:], context.encode())
        except (InvalidTag, ValueError) as error:
            message = (
                f"{context}: the key {key_id!r} at hand is another than it was made with, or its header is altered"
            )
            raise WrongKey(message) from error


def wrapper(key: bytes) -> AESGCM:
    """The cipher with which an operator's key wraps data keys."""
    return AESGCM(HKDF(SHA256(), 32, salt=None, info=b"cashflow backup wrap").derive(key))


def bound(context: str) -> dict[str, str]:
    """What KMS authenticates, and writes into its trail, beside a data key."""
    return {"backup": context}


def kms(operation: str, **arguments: Any) -> Any:
    """The answer of KMS. Raises ArchiveDamaged where it refuses the wrapped key, BackupError otherwise."""
    import boto3  # takes a while to import, and most keys are the operator's
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        with MAKING:
            client = boto3.client("kms")
        return getattr(client, operation)(**arguments)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in {"InvalidCiphertextException", "IncorrectKeyException"}:
            raise ArchiveDamaged(
                f"KMS refuses the wrapped key of {arguments['EncryptionContext']['backup']}"
            ) from error
        raise BackupError(f"KMS: {operation} failed: {code}") from error
    except BotoCoreError as error:
        raise BackupError(f"KMS: {operation} failed: {error}") from error


def key_ring(text: str) -> dict[str, bytes]:
    """The keys in `id:base64,id:base64`, in their order. Raises Unusable without showing any of a key."""
    ring: dict[str, bytes] = {}
    for number, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), start=1):
        key_id, _, encoded = entry.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if not KEY_ID.fullmatch(key_id) or len(key) != KEY_BYTES or key_id in ring or key_id == KMS:
            expected = f"an id of its own, a colon and {KEY_BYTES} random bytes in base64 (`openssl rand -base64 32`)"
            raise Unusable(f"entry {number} of BACKUP_ENCRYPTION_KEYS cannot be used; expected {expected}")
        ring[key_id] = key
    return ring

"""The manifest of a backup, written last: without one there is no backup.

Its open part says what a list shows and what must be known before a database is touched. Its sealed part says what the
database held, and is readable only with the key of the archive; it authenticates the open part too.
"""

import re
from datetime import UTC, datetime
from typing import Literal

import msgspec

from api.backup.encryption import UNREADABLE, sealed, unsealed
from api.backup.errors import ArchiveDamaged, Unusable
from api.backup.keys import DataKey, Keys

FOLDER = "backups/database/"
MANIFEST = ".manifest.json"
CHECK = ".check.json"
NAME = re.compile(r"backups/database/db_backup_(.+)_(\d{14})\.(dump|sql)")
PLAIN = re.compile(r"[A-Za-z0-9_.+@-]")


class TableMark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a table held: its rows, and the sum of their SHA-256, which does not depend on their order."""

    rows: int
    mark: str


class Names(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many there are of a kind (constraints, indexes, ...), and the SHA-256 of their sorted names."""

    count: int
    sha256: str


class Properties(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a PostgreSQL database has beside its contents, and the dump does not carry.

    roles: whom the dump names as owner or grantee. grants: (role, privilege) on the database, role blank for PUBLIC;
    none where they were never changed.
    """

    encoding: str
    provider: str
    collate: str
    ctype: str
    locale: str | None
    owner: str
    settings: list[str]
    roles: list[str]
    grants: list[tuple[str, str]] | None


class Inventory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The list of stored tapes and results that belong to a backup: its key, SHA-256, and how many of what size."""

    key: str
    sha256: str
    objects: int
    size: int


class Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a database held when it was dumped. sequences: the values before and after the dump."""

    tables: dict[str, TableMark]
    sequences: dict[str, tuple[int, int]] = {}
    names: dict[str, Names] = {}
    properties: Properties | None = None
    inventory: Inventory | None = None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A backup. size and sha256 are of the archive as it is stored; seconds is how long the backup took."""

    version: Literal[1] = 1
    key: str
    kind: Literal["postgresql", "sqlite"]
    database: str
    created: datetime
    seconds: float
    size: int
    sha256: str
    server_version: str
    client_version: str
    key_id: str
    wrapped: bytes
    sealed: bytes = b""

    def with_contents(self, contents: Contents, key: DataKey) -> "Manifest":
        """The manifest with its contents sealed in."""
        seal = sealed(key.secret, msgspec.json.encode(contents), msgspec.json.encode(self))
        return msgspec.structs.replace(self, sealed=seal)

    def contents(self, keys: Keys) -> Contents:
        """What the database held. Raises ArchiveDamaged where any of the manifest was altered, and KeyMissing."""
        secret = keys.unwrap(self.key_id, self.wrapped, self.key)
        open_part = msgspec.json.encode(msgspec.structs.replace(self, sealed=b""))
        return msgspec.json.decode(unsealed(secret, self.sealed, open_part, self.key), type=Contents)


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The outcome of the last check of a backup: read back whole (`verify`), or restored and compared too (`drill`).

    copies: objects whose copies were found gone or damaged, a thousand at most; the next backup copies them again.
    """

    at: datetime
    how: Literal["verify", "drill", "restore"]
    sound: bool
    detail: str = ""
    copies: list[str] = []


def parsed(raw: bytes, key: str) -> Manifest:
    """The manifest of the backup `key`. Raises ArchiveDamaged."""
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except UNREADABLE as error:
        raise ArchiveDamaged(f"the manifest of {key} cannot be read: {error}") from error
    if manifest.key != key:
        raise ArchiveDamaged(f"the manifest of {key} is that of {manifest.key}")
    return manifest


def key_for(database: str, when: datetime) -> str:
    """The key of a backup begun at `when`; bytes that a store may not take are written as =XX."""
    return f"{FOLDER}db_backup_{shown(database)}_{when.astimezone(UTC):%Y%m%d%H%M%S}.dump"


def shown(database: str) -> str:
    """A database's name as keys have it."""
    return "".join(c if PLAIN.fullmatch(c) else "".join(f"={b:02X}" for b in c.encode()) for c in database)


def database_of(key: str) -> str:
    """The database that a backup's key names. Raises Unusable for a key of another form."""
    found = NAME.fullmatch(key)
    if not found:
        expected = f"{FOLDER}db_backup_{{database}}_{{YYYYMMDDHHMMSS}}.dump"
        raise Unusable(f"the backup key is {key!r}; expected {expected}")
    return re.sub(
        r"(?:=[0-9A-F]{2})+", lambda m: bytes.fromhex(m[0].replace("=", "")).decode(errors="replace"), found[1]
    )


def moment() -> datetime:
    """Now, to the second."""
    return datetime.now(UTC).replace(microsecond=0)

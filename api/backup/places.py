"""Where things are, from the settings: the database, the keys, the store of backups and the one they protect."""

import base64
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from api.backup.clients import Target
from api.backup.errors import Unusable
from api.backup.keys import Keys, key_ring
from api.backup.postgres import PostgresDatabase
from api.backup.retention import Retention
from api.backup.sqlite import SqliteDatabase
from api.settings import Settings, development_secret
from api.storage.objects import ObjectStore, store_from

# With the pauses that boto3 makes between them, attempts enough for a store that is away for some minutes.
ATTEMPTS = 20


def database_from(
    settings: Settings,
    name: str | None = None,
    user: str | None = None,
    password: str | None = None,
    host: str | None = None,
    port: int | None = None,
) -> PostgresDatabase | SqliteDatabase:
    """The database of the settings, with what is given in place of what they say.

    A name or host given beside SQLite settings means PostgreSQL, unless it is that file's own name.
    """
    url = urlsplit(settings.used_database_url)
    if url.scheme.startswith("sqlite") and host is None:
        path = Path(unquote(settings.used_database_url.partition(":///")[2].partition("?")[0]))
        if name in (None, path.stem):
            return SqliteDatabase(path)
        if user is None:
            raise Unusable(f"the database is {name!r}, and DATABASE_URL is the SQLite file {str(path)!r}")
    if url.scheme.startswith("sqlite"):
        url = urlsplit("postgresql://localhost/")
    options = {key: values[-1] for key, values in parse_qs(url.query).items()}
    target = Target(
        host=host or url.hostname or options.get("host", "localhost"),
        port=port or url.port or int(options.get("port", "5432")),
        user=user or unquote(url.username or "postgres"),
        password=password if password is not None else unquote(url.password or ""),
        database=name or unquote(url.path.lstrip("/")) or "postgres",
        sslmode=options.get("sslmode") or options.get("ssl", ""),
    )
    return PostgresDatabase(target, settings.pg_bin, settings.backup_maintenance_database)


def backup_store(settings: Settings, attempts: int = ATTEMPTS) -> ObjectStore:
    """The store that holds the backups; a folder in STATE_DIR where none is set."""
    place = settings.backup_store or str(Path(settings.state_dir) / "backups")
    return store_from(place, settings.s3_endpoint_url, attempts=attempts)


def object_store(settings: Settings) -> ObjectStore:
    """The store of tapes and results, which backups cover."""
    return store_from(settings.used_object_store, settings.s3_endpoint_url, attempts=ATTEMPTS)


def keys_from(settings: Settings) -> Keys:
    """The keys to encrypt with. In development one is made in STATE_DIR; in production they have to be given."""
    ring = key_ring(settings.backup_encryption_keys)
    if not ring and not settings.backup_kms_key_id and settings.env == "development":
        text = development_secret(Path(settings.state_dir), "backup_key")
        ring = {"development": base64.urlsafe_b64decode(text)[:32]}
    return Keys(ring, settings.backup_kms_key_id)


def retention_from(settings: Settings) -> Retention:
    return Retention(
        daily=settings.backup_keep_daily, weekly=settings.backup_keep_weekly, monthly=settings.backup_keep_monthly
    )

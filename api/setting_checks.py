"""What is wrong with settings: values out of range, and what production refuses. Each fault begins with its name."""

import ipaddress
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from api.settings import Settings

MIN_SECRET_BYTES = 32
# Fewer distinct characters than these are no 32 random bytes, in hexadecimal either.
MIN_DISTINCT = 10
PLACEHOLDERS = ("secret", "changeme", "change-me", "change_me", "password", "example", "default", "placeholder")
POSITIVE = (
    "jwt_jwks_refresh",
    "rate_limit_requests",
    "rate_limit_window",
    "max_body_bytes",
    "max_graphql_body_bytes",
    "max_upload_bytes",
    "max_layout_bytes",
    "max_tape_loans",
    "max_loan_months",
    "max_result_cells",
    "max_run_cells",
    "calculation_thread_pool_size",
    "web_concurrency",
    "database_pool_size",
    "worker_concurrency",
    "run_lease_seconds",
)
# Kind of database -> SQLAlchemy's name with the driver.
DATABASES = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
# What takes the place of a cron line for what is not to be done.
NEVER = "never"
ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")
SENTRY_DSN = re.compile(r"https?://[^\s/@]+@[^\s/@]+(/[^\s/]+)*/\d+")
HOST = re.compile(r"(\*\.)?[a-z0-9.-]+|\[[0-9a-f:]+\]")


def faults(settings: "Settings") -> list[str]:
    """Every fault of the settings, with what is expected instead."""
    found = [*secret_faults(settings), *range_faults(settings), *list_faults(settings)]
    found += [*storage_faults(settings), *backup_faults(settings), *file_faults(settings)]
    if settings.env == "production":
        found += production_faults(settings)
    return found


def secret_faults(settings: "Settings") -> Iterator[str]:
    """Faults of the keys that tokens are checked with: secrets or a key set, one of the two."""
    if settings.jwt_jwks:
        for name in ("jwt_secret", "jwt_secret_previous"):
            if getattr(settings, name):
                yield f"{name.upper()} is set beside JWT_JWKS; expected one of the two kinds of keys"
        split = urlsplit(settings.jwt_jwks)
        if split.scheme == "http" or (split.scheme == "https" and not split.hostname):
            yield f"JWT_JWKS is {settings.jwt_jwks!r}; expected an https address or a file"
        return
    for name in ("jwt_secret", "jwt_secret_previous"):
        size = len(getattr(settings, name).encode())
        if size < MIN_SECRET_BYTES and (size or name == "jwt_secret"):
            what = f"has {size} bytes" if size else "is missing"
            yield f"{name.upper()} {what}; expected at least {MIN_SECRET_BYTES} random bytes"


def range_faults(settings: "Settings") -> Iterator[str]:
    """Numbers and names out of range."""
    for name in ("port", "worker_metrics_port"):
        number = getattr(settings, name)
        if number is not None and not 1 <= number <= 65535:
            yield f"{name.upper()} is {number}; expected 1 to 65535"
    if not 0 <= settings.sentry_traces_sample_rate <= 1:
        yield f"SENTRY_TRACES_SAMPLE_RATE is {settings.sentry_traces_sample_rate:g}; expected 0 to 1"
    if settings.sentry_dsn and not SENTRY_DSN.fullmatch(settings.sentry_dsn):
        yield "SENTRY_DSN has another form; expected https://key@host/project"
    for name in ("jwt_issuer", "jwt_audience", "jwt_roles_claim"):
        if not getattr(settings, name):
            yield f"{name.upper()} is empty; expected a name"
    if not 0 <= settings.jwt_leeway <= 300:
        yield f"JWT_LEEWAY is {settings.jwt_leeway}; expected 0 to 300 seconds"
    for name in POSITIVE:
        value = getattr(settings, name)
        if value is not None and value < 1:
            yield f"{name.upper()} is {value}; expected a whole number of at least 1"


def storage_faults(settings: "Settings") -> Iterator[str]:
    """Faults of where things are kept, and of the workers."""
    for name in ("database_max_overflow", "worker_memory_limit"):
        if getattr(settings, name) < 0:
            yield f"{name.upper()} is {getattr(settings, name)}; expected a whole number of at least 0"
    scheme = urlsplit(settings.database_url).scheme.partition("+")[0]
    if settings.database_url and scheme not in DATABASES:
        yield "DATABASE_URL has another scheme; expected postgresql://user:password@host/name or sqlite:///path"
    if settings.object_store.startswith("s3://") and not urlsplit(settings.object_store).netloc:
        yield "OBJECT_STORE names no bucket; expected a folder or s3://bucket/prefix"
    size = len(settings.webhook_secret.encode())
    if 0 < size < MIN_SECRET_BYTES:
        yield f"WEBHOOK_SECRET has {size} bytes; expected at least {MIN_SECRET_BYTES} random bytes"
    for port in settings.webhook_ports:
        if not 1 <= port <= 65_535:
            yield f"WEBHOOK_PORTS has {port}; expected ports from 1 to 65535, such as 443, 8443"


def backup_faults(settings: "Settings") -> Iterator[str]:
    """Numbers of backups to keep that are none, and times that are no cron lines."""
    for name in ("backup_keep_daily", "backup_keep_weekly", "backup_keep_monthly"):
        if getattr(settings, name) < 0:
            yield f"{name.upper()} is {getattr(settings, name)}; expected a whole number of at least 0"
    for field in msgspec.structs.fields(settings):
        line = getattr(settings, field.name)
        if field.name.endswith("_cron") and line not in (field.default, NEVER) and not is_cron(line):
            yield f"{field.name.upper()} is {line!r}; expected minute hour day month weekday, or {NEVER}"


def is_cron(line: str) -> bool:
    """Whether the scheduler reads a line."""
    # Loaded for lines that somebody wrote: the command that makes backups is to stay small.
    from apscheduler.triggers.cron import CronTrigger

    try:
        return CronTrigger.from_crontab(line, timezone=UTC).get_next_fire_time(None, datetime.now(UTC)) is not None
    except ValueError:
        return False


def list_faults(settings: "Settings") -> Iterator[str]:
    """Entries of lists that are no hosts, origins or networks."""
    for host in settings.allowed_hosts:
        if host != "*" and not HOST.fullmatch(host.lower()):
            yield f"ALLOWED_HOSTS has {host!r}; expected names such as api.example.com or *.example.com"
    for origin in settings.cors_origins:
        if origin != "*" and not ORIGIN.fullmatch(origin):
            yield f"CORS_ORIGINS has {origin!r}; expected origins such as https://app.example.com"
    for network in settings.trusted_proxies:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            yield f"TRUSTED_PROXIES has {network!r}; expected addresses or networks such as 10.0.0.0/8"
    if settings.redis_url and urlsplit(settings.redis_url).scheme not in ("redis", "rediss", "unix"):
        yield "REDIS_URL is no address of Redis; expected redis://, rediss:// or unix://"


def file_faults(settings: "Settings") -> Iterator[str]:
    """Files that are named and cannot be read, and a certificate without its key."""
    for name, other in (("tls_cert_file", "tls_key_file"), ("tls_key_file", "tls_cert_file")):
        path = getattr(settings, name)
        if path and not Path(path).is_file():
            yield f"{name.upper()} is {path!r}, which is no file"
        if not path and getattr(settings, other):
            yield f"{name.upper()} is missing; expected it beside {other.upper()}"
    if settings.jwt_jwks and not urlsplit(settings.jwt_jwks).scheme and not Path(settings.jwt_jwks).is_file():
        yield f"JWT_JWKS is {settings.jwt_jwks!r}, which is no file; expected one or an https address"


def weakness(secret: str) -> str | None:
    """Why a secret that is long enough may still be guessed, if it may."""
    lowered = secret.lower()
    found = next((word for word in PLACEHOLDERS if word in lowered), None)
    if found is not None:
        return f"contains {found!r}, as a placeholder does"
    distinct = len(set(secret))
    return f"has {distinct} distinct characters" if distinct < MIN_DISTINCT else None


def production_faults(settings: "Settings") -> Iterator[str]:
    """What is allowed in development alone."""
    for name in ("jwt_secret", "jwt_secret_previous"):
        secret = getattr(settings, name)
        why = weakness(secret)
        if why and len(secret.encode()) >= MIN_SECRET_BYTES:
            yield f"{name.upper()} {why}; expected random bytes, such as those of `openssl rand -base64 48`"
    if settings.debug:
        yield "DEBUG is true; expected false in production"
    if not settings.allowed_hosts:
        yield "ALLOWED_HOSTS is missing; expected the names that the service is reached by"
    for name in ("allowed_hosts", "cors_origins"):
        if "*" in getattr(settings, name):
            yield f"{name.upper()} is '*'; expected exact names in production"
    for network in settings.trusted_proxies:
        if network in ("0.0.0.0/0", "::/0"):
            yield f"TRUSTED_PROXIES is {network}, which trusts every caller; expected the addresses of your proxies"
    if not settings.database_url:
        yield "DATABASE_URL is missing; expected postgresql://user:password@host/name"
    elif urlsplit(settings.database_url).scheme.startswith("sqlite"):
        yield "DATABASE_URL is SQLite, which is for one process on one machine; expected PostgreSQL"
    if not settings.redis_url:
        yield "REDIS_URL is missing; expected Redis, on which the processes share the rate limit"
    for name, kept in (("object_store", "tapes and results"), ("backup_store", "backups")):
        if not getattr(settings, name):
            yield f"{name.upper()} is missing; expected s3://bucket/prefix or a folder where {kept} are safe"

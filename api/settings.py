"""Every setting of the service, read from the environment once; .env.example lists exactly these."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_origin

import msgspec

from api.setting_checks import DATABASES, faults

Role = Literal["reader", "analyst", "admin"]
# Names that deployments made before still set.
OLDER_NAMES = {"worker_concurrency": "CELERY_CONCURRENCY"}


class SettingsError(ValueError):
    """Settings with which the service refuses to start; the message lists every fault."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings; each field is read from the environment variable of its name in capitals, lists by commas.

    jwt_secret: at least 32 bytes; blank is allowed in development only, where one is made and kept in state_dir.
    max_layout_bytes: of a file in a lender's layout, which is read whole. max_tape_loans: of a stored tape.
    max_loan_months: loans x months x scenarios of one request. max_result_cells: numbers in one answer below pool
    level. calculation_thread_pool_size: threads of one projection, none for one a CPU. graphql_introspection: none for
    on in development and off in production. web_concurrency: processes of the API. prometheus_multiproc_dir: where they
    put their metrics, blank for a folder in state_dir. database_url, object_store: blank for SQLite and a folder in
    state_dir. redis_url: blank for workers inside the service. worker_concurrency: shards at a time in a worker
    process. worker_memory_limit: bytes of one, 0 for no limit. run_lease_seconds: how long a worker may be silent
    before its shard goes to another. webhook_secret: signs webhooks, blank refuses them. webhook_ports: where they may
    go, none for 443, in development 80 too. backup_store: blank for a folder in state_dir. backup_encryption_keys:
    `id:base64`, the first one current; blank in development makes one in state_dir. backup_kms_key_id: of KMS, used
    instead. backup_cron, backup_drill_cron: when the schedule asks for them (UTC), `never` for not at all.
    backup_maintenance_database: the one to connect to for locks and renames. pg_bin: folders of PostgreSQL's clients.
    """

    env: Literal["development", "production"] = "development"
    debug: bool = False
    host: str = "127.0.0.1"
    port: int = 8000
    state_dir: str = ".cashflow"
    tls_cert_file: str = ""
    tls_key_file: str = ""
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    jwt_secret: str = ""
    jwt_secret_previous: str = ""
    jwt_jwks: str = ""
    jwt_jwks_refresh: int = 600
    jwt_issuer: str = "cashflow"
    jwt_audience: str = "cashflow-api"
    jwt_leeway: int = 30
    jwt_roles_claim: str = "roles"
    jwt_default_role: Role = "reader"
    redis_url: str = ""
    rate_limit_enabled: bool = True
    rate_limit_requests: int = 100
    rate_limit_window: int = 3600
    rate_limit_on_failure: Literal["open", "closed"] = "open"
    max_body_bytes: int = 64 * 1024 * 1024
    max_graphql_body_bytes: int = 16 * 1024 * 1024
    max_upload_bytes: int = 2 * 1024 * 1024 * 1024
    max_layout_bytes: int = 512 * 1024 * 1024
    max_tape_loans: int = 20_000_000
    max_loan_months: int = 500_000_000
    max_result_cells: int = 20_000_000
    max_run_cells: int = 200_000_000
    calculation_thread_pool_size: int | None = None
    graphql_introspection: bool | None = None
    web_concurrency: int = 1
    prometheus_multiproc_dir: str = ""
    worker_metrics_port: int | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"
    sentry_dsn: str = ""
    sentry_traces_sample_rate: float = 0.0
    sentry_environment: str = ""
    database_url: str = ""
    database_pool_size: int = 5
    database_max_overflow: int = 10
    object_store: str = ""
    s3_endpoint_url: str = ""
    worker_concurrency: int = 1
    worker_memory_limit: int = 4 * 1024 * 1024 * 1024
    run_lease_seconds: int = 30
    webhook_secret: str = ""
    webhook_ports: tuple[int, ...] = ()
    backup_store: str = ""
    backup_encryption_keys: str = ""
    backup_kms_key_id: str = ""
    backup_cron: str = "30 1 * * *"
    backup_drill_cron: str = "30 3 * * *"
    backup_keep_daily: int = 7
    backup_keep_weekly: int = 5
    backup_keep_monthly: int = 12
    backup_maintenance_database: str = "postgres"
    pg_bin: str = ""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """The settings in `environ` (the process environment by default). Raises SettingsError."""
        source = os.environ if environ is None else environ
        problems: list[str] = []
        unread: set[str] = set()
        values: dict[str, Any] = {}
        for field in msgspec.structs.fields(cls):
            names = [field.name.upper(), OLDER_NAMES.get(field.name, "")]
            name = next((name for name in names if source.get(name, "").strip()), None)
            if name is None:
                continue
            text = source[name].strip()
            try:
                values[field.name] = msgspec.convert(parts(text, field.type), field.type, strict=False)
            except msgspec.ValidationError as error:
                secret = any(word in field.name for word in ("secret", "url", "dsn", "keys"))
                shown = "a value" if secret else repr(text)
                problems.append(f"{name} is {shown}: {error}")
                unread.add(field.name.upper())
        settings = cls(**values)
        # What is wrong beside it is named in the same message, so that one start shows all there is to mend.
        if settings.env == "development" and not (settings.jwt_secret or settings.jwt_jwks or problems):
            settings = msgspec.structs.replace(settings, jwt_secret=development_secret(Path(settings.state_dir)))
        skipped = unread | ({"JWT_SECRET"} if problems and settings.env == "development" else set())
        problems += [fault for fault in faults(settings) if fault.split()[0] not in skipped]
        if problems:
            raise SettingsError("\n".join(problems))
        return settings

    def check(self) -> None:
        """Raises SettingsError with every value that is refused."""
        problems = faults(self)
        if problems:
            raise SettingsError("\n".join(problems))

    @property
    def used_database_url(self) -> str:
        """The database's address with its driver; a file in state_dir where none is set."""
        if not self.database_url:
            return f"sqlite+aiosqlite:///{Path(self.state_dir) / 'cashflow.db'}"
        scheme, _, rest = self.database_url.partition("://")
        return f"{DATABASES[scheme.partition('+')[0]]}://{rest}"

    @property
    def used_object_store(self) -> str:
        """The object store's place; a folder in state_dir where none is set."""
        return self.object_store or str(Path(self.state_dir) / "objects")

    @property
    def used_webhook_ports(self) -> tuple[int, ...]:
        """The ports that webhooks may go to: of https, and of http where it is taken, unless others are set."""
        return self.webhook_ports or ((443,) if self.env == "production" else (443, 80))

    @property
    def has_backup_keys(self) -> bool:
        """Whether backups can be encrypted here: in production many a process is not given the keys."""
        return self.env == "development" or bool(self.backup_encryption_keys or self.backup_kms_key_id)

    @property
    def introspection(self) -> bool:
        """Whether GraphQL answers questions about its schema."""
        given = self.graphql_introspection
        return self.env == "development" if given is None else given


def parts(text: str, kind: Any) -> Any:
    """The text of a setting, or the entries between its commas where the setting is a list."""
    if get_origin(kind) is not tuple:
        return text
    return tuple(part.strip() for part in text.split(",") if part.strip())


def development_secret(folder: Path, name: str = "jwt_secret") -> str:
    """The secret kept in `folder` as the file `name`, made on first use; readable by its owner alone."""
    path = folder / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The folder ignores itself, so that no checkout can commit a secret.
        (folder / ".gitignore").write_text("*\n")
        # Written under another name and linked into place: two processes starting at once agree on one secret.
        fresh = folder / f"{name}.{secrets.token_hex(8)}"
        if not path.exists():
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                out.write(secrets.token_urlsafe(48))
            try:
                os.link(fresh, path)
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        return path.read_text().strip()
    except OSError as error:
        raise SettingsError(f"STATE_DIR {str(folder)!r} cannot keep a development secret: {error}") from error

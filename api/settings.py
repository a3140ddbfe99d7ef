"""Every setting of the service, read from the environment once; .env.example lists exactly these."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

MIN_SECRET_BYTES = 32


class SettingsError(ValueError):
    """Settings with which the service refuses to start; the message lists every fault."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings; each field is read from the environment variable of its name in capitals.

    jwt_secret: at least 32 bytes; blank is allowed in development only, where one is made and kept in state_dir.
    max_loan_months: loans x months x scenarios of one request. max_result_cells: numbers in one answer below
    pool level. calculation_thread_pool_size: threads of one projection, none for one a CPU.
    """

    env: Literal["development", "production"] = "development"
    host: str = "127.0.0.1"
    port: int = 8000
    state_dir: str = ".cashflow"
    jwt_secret: str = ""
    jwt_issuer: str = "cashflow"
    jwt_audience: str = "cashflow-api"
    max_body_bytes: int = 64 * 1024 * 1024
    max_loan_months: int = 500_000_000
    max_result_cells: int = 20_000_000
    calculation_thread_pool_size: int | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """The settings in `environ` (the process environment by default). Raises SettingsError."""
        source = os.environ if environ is None else environ
        given = {name: source[name.upper()] for name in cls.__struct_fields__ if source.get(name.upper(), "").strip()}
        problems: list[str] = []
        values: dict[str, object] = {}
        for field in msgspec.structs.fields(cls):
            if field.name not in given:
                continue
            try:
                values[field.name] = msgspec.convert(given[field.name].strip(), field.type, strict=False)
            except msgspec.ValidationError as error:
                shown = "a value" if "secret" in field.name else repr(given[field.name])
                problems.append(f"{field.name.upper()} is {shown}: {error}")
        if problems:
            raise SettingsError("\n".join(problems))
        settings = cls(**values)  # type: ignore[arg-type]
        if not settings.jwt_secret and settings.env == "development":
            settings = msgspec.structs.replace(settings, jwt_secret=development_secret(Path(settings.state_dir)))
        settings.check()
        return settings

    def check(self) -> None:
        """Raises SettingsError with every value out of range."""
        problems = []
        size = len(self.jwt_secret.encode())
        if size < MIN_SECRET_BYTES:
            what = f"has {size} bytes" if size else "is missing"
            problems.append(f"JWT_SECRET {what}; expected at least {MIN_SECRET_BYTES} random bytes")
        if not 1 <= self.port <= 65535:
            problems.append(f"PORT is {self.port}; expected 1 to 65535")
        for name in ("jwt_issuer", "jwt_audience"):
            if not getattr(self, name):
                problems.append(f"{name.upper()} is empty; expected a name")
        for name in ("max_body_bytes", "max_loan_months", "max_result_cells", "calculation_thread_pool_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                problems.append(f"{name.upper()} is {value}; expected a whole number of at least 1")
        if problems:
            raise SettingsError("\n".join(problems))


def development_secret(folder: Path) -> str:
    """The secret kept in `folder`, made on first use; readable by its owner alone."""
    path = folder / "jwt_secret"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The folder ignores itself, so that no checkout can commit a secret.
        (folder / ".gitignore").write_text("*\n")
        # Written under another name and linked into place: two processes starting at once agree on one secret.
        fresh = folder / f"jwt_secret.{secrets.token_hex(8)}"
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

"""A database with everything in it that a dump has to carry, a manager for it, and stores in a folder and in S3."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.backup import BackupManager
from api.settings import Settings
from tests.backup.world import FILL, KEYS, PROGRAMS, databases
from tests.servers import Postgres


@pytest.fixture(scope="session")
def filled(postgres: Postgres) -> Iterator[str]:
    """A database with tables, sequences, constraints and more, for tests to copy."""
    name = postgres.create()
    postgres.run(FILL, database=name)
    yield name
    postgres.drop(name)


@pytest.fixture
def database(postgres: Postgres, filled: str) -> Iterator[str]:
    """A copy of it whose name needs quoting."""
    name = f"Cash-flow {secrets.token_hex(4)}"
    postgres.run(f'CREATE DATABASE "{name}" TEMPLATE "{filled}"')
    yield name
    for other in [one for one in databases(postgres) if one.startswith(name)]:
        postgres.run(f'DROP DATABASE "{other}" WITH (FORCE)')


@pytest.fixture
def settings(postgres: Postgres, database: str, tmp_path: Path) -> Settings:
    return Settings(
        database_url=postgres.url(database),
        state_dir=str(tmp_path / "state"),
        backup_encryption_keys=KEYS,
        pg_bin=PROGRAMS,
    )


@pytest.fixture
def manager(settings: Settings) -> BackupManager:
    return BackupManager(settings)

"""What every test shares: Hypothesis without deadlines, since machines are noisy and sanitizers slow; real servers.

Continuous integration draws the same examples each time; a run by hand looks further. A server starts with the first
test that asks for it, one for each test process, and ends with that process.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.servers import Postgres, Valkey, postgres_server, s3_server, valkey_server

settings.register_profile("steady", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with postgres_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of an S3 endpoint; tests.servers.create_bucket makes a bucket there."""
    with s3_server() as endpoint:
        yield endpoint

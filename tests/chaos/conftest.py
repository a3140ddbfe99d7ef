"""A cluster for each test on servers of its own, that may be killed."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from api.storage.database import Database
from tests.chaos.cluster import Cluster
from tests.servers import Postgres, Valkey, postgres_server, valkey_server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "chaos" in item.path.parts:
            item.add_marker(pytest.mark.chaos)


@pytest.fixture(scope="module")
def durable_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with postgres_server(tmp_path_factory.mktemp("durable"), durable=True) as server:
        yield server


@pytest.fixture(scope="module")
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey_server(tmp_path_factory.mktemp("valkey"), own=True) as server:
        yield server


@pytest.fixture
async def cluster(tmp_path: Path, durable_postgres: Postgres, own_valkey: Valkey) -> AsyncIterator[Cluster]:
    own_valkey.wipe()
    name = await asyncio.to_thread(durable_postgres.create)
    database = Database(durable_postgres.url(name))
    await database.migrate()
    await database.dispose()
    cluster = Cluster(tmp_path, durable_postgres, own_valkey, name)
    try:
        async with cluster.storage.opened(), cluster.jobs.opened():
            yield cluster
    finally:
        cluster.stop_workers()
        await asyncio.to_thread(durable_postgres.drop, name)

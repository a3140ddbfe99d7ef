"""A backup that was asked for over HTTP outlives the worker that makes it."""

import json
import os
import signal

from api.backup import BackupManager
from api.settings import Settings
from api.storage import backup_jobs
from api.storage.backup_jobs import BackupJob
from tests.api.jobs.setting import until
from tests.backup.world import KEYS, PROGRAMS
from tests.chaos.cluster import LEASE_SECONDS, Cluster

NOISE = "CREATE TABLE noise AS SELECT i, sha512(i::text::bytea) AS b FROM generate_series(1, 1500000) i"


async def job(cluster: Cluster, id: str) -> BackupJob:
    async with cluster.storage.database.read() as connection:
        return await backup_jobs.get(connection, id)


async def test_a_backup_whose_worker_was_killed_is_made_by_another(cluster: Cluster) -> None:
    cluster.postgres.run(NOISE, database=cluster.name)
    environment = {"BACKUP_ENCRYPTION_KEYS": KEYS, "PG_BIN": PROGRAMS}
    asked = await cluster.jobs.ask_of_backups("create", "root", prune=True)
    first = cluster.start_worker(**environment)
    begun = cluster.folder / "backups" / "backups" / "database"

    async def under_way() -> bool:
        return any(found.name.endswith(".begun.json") for found in begun.glob("*"))

    await until(under_way, 60)
    os.killpg(first.pid, signal.SIGKILL)
    assert (await job(cluster, asked.id)).state == "running"
    # Whoever asks again meanwhile is told of the same one.
    assert (await cluster.jobs.ask_of_backups("create", "root")).id == asked.id
    cluster.start_worker(**environment)

    async def taken_again() -> bool:
        return (await job(cluster, asked.id)).attempts == 2

    assert await until(taken_again, 40) < LEASE_SECONDS + 15  # a worker needs a moment to start

    async def ended() -> bool:
        return (await job(cluster, asked.id)).finished_at is not None

    await until(ended, 90)
    found = await job(cluster, asked.id)
    assert found.state == "succeeded", found.error
    assert found.report is not None
    settings = Settings(
        database_url=cluster.settings.database_url, state_dir=str(cluster.folder), backup_encryption_keys=KEYS,
        pg_bin=PROGRAMS,
    )  # fmt: skip
    (only,) = BackupManager(settings).list_backups()
    assert only.key == json.loads(bytes(found.report))["create"]["key"]
    assert not list(begun.glob("*.begun.json"))

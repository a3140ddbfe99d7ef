"""The API itself as a process that is killed (J8) or has no Redis (J4); workers and memory; the supervisor's death."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
from sqlalchemy import select

import engine
from api.auth import issue_token
from api.storage import tapes
from api.storage.tables import runs
from api.storage.tape_parquet import ROW_GROUP
from tests.api.jobs.setting import until
from tests.chaos.cluster import OWNER, ROOT, SECRET, Cluster, wait_for
from tests.servers import free_port

DOOMED = str(Path(__file__).with_name("doomed_service.py"))
HEALTHY = ["-c", "import sys; from api.shell import main; sys.argv.insert(1, 'serve'); main()"]
DOWN_SECONDS = 60
LIMIT = 640 * 1024 * 1024
SUPERVISOR = "import sys; sys.path.insert(0, sys.argv[1]); from api.jobs.supervisor import supervise; supervise(1)"


@asynccontextmanager
async def service(cluster: Cluster, arguments: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API process, once it answers; it is killed at the end."""
    port = free_port()
    command = [sys.executable, *arguments, "--port", str(port)]
    process = cluster.start_worker(command, RATE_LIMIT_ENABLED="true", RATE_LIMIT_REQUESTS="100000")
    token = issue_token(cluster.settings, OWNER, timedelta(hours=1), "analyst")
    headers = {"authorization": f"Bearer {token}"}
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:

            async def ready() -> bool:
                assert process.poll() is None, (cluster.folder / "workers.log").read_text()[-2000:]
                try:
                    return (await client.get("/health/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(ready, 60)
            yield client
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def post(client: httpx.AsyncClient, tape_id: str, key: str) -> httpx.Response:
    body = {"tape_id": tape_id, "scenarios": [{"template": "base"}, {"template": "credit_crisis"}]}
    return await client.post("/v1/runs", json=body, headers={"idempotency-key": key})


async def in_the_database(cluster: Cluster) -> list[str]:
    async with cluster.storage.database.read() as connection:
        return list((await connection.execute(select(runs.c.id))).scalars())


async def test_j8_a_run_whose_api_was_killed_before_it_rang_is_worked_on(cluster: Cluster) -> None:
    cluster.start_worker()
    tape = await cluster.tape(100)
    async with service(cluster, [DOOMED]) as client:
        with pytest.raises(httpx.TransportError):
            await post(client, tape, "once")
    (id,) = await in_the_database(cluster)

    async def succeeded() -> bool:
        return await cluster.state(id) == "succeeded"

    assert await until(succeeded, 30) < 10
    # Whoever had no answer asks again, with the same key, and has the same run.
    async with service(cluster, HEALTHY) as client:
        again = await post(client, tape, "once")
        assert (again.status_code, again.json()["id"]) == (202, id)
    assert await in_the_database(cluster) == [id]


async def test_j4_a_minute_without_redis_loses_nothing_that_was_accepted(cluster: Cluster) -> None:
    cluster.start_worker()
    tape = await cluster.tape(100)
    assert cluster.valkey.process is not None
    answers: list[httpx.Response] = []
    async with service(cluster, HEALTHY) as client:
        cluster.valkey.process.stop(signal.SIGKILL)
        try:
            for number in range(DOWN_SECONDS // 4):
                answers.append(await post(client, tape, f"down-{number}"))
                await asyncio.sleep(4)
        finally:
            await asyncio.to_thread(cluster.valkey.process.start)
        answers.append(await post(client, tape, "up"))
    assert {answer.status_code for answer in answers} <= {202, 503}
    accepted = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    assert answers[-1].status_code == 202

    async def all_done() -> bool:
        return {await cluster.state(id) for id in accepted} == {"succeeded"}

    await until(all_done, 60)
    assert sorted(await in_the_database(cluster)) == sorted(accepted)
    print(f"accepted {len(accepted)} of {len(answers)}, finished {len(accepted)}, lost 0")  # noqa: T201


def loans(count: int) -> Iterator[engine.Tape]:
    """Batches of a generated tape."""
    for start in range(0, count, ROW_GROUP):
        draw, size = np.random.default_rng(start), min(ROW_GROUP, count - start)
        yield engine.Tape.from_columns(
            balance=draw.uniform(1e4, 9e5, size), annual_rate=draw.uniform(0.02, 0.09, size),
            remaining_term=draw.integers(100, 361, size), age=draw.integers(0, 240, size),
        )  # fmt: skip


async def peak_of(cluster: Cluster, count: int) -> int:
    """The most bytes that a worker had resident that ran a tape of so many loans under a small limit."""
    tape = await tapes.create_tape(cluster.storage.database, cluster.storage.objects, OWNER, "large", loans(count))
    worker = cluster.start_worker(WORKER_MEMORY_LIMIT=str(LIMIT))
    run_id = await cluster.submit(tape.id, 4)

    async def ended() -> bool:
        return (await cluster.jobs.get(OWNER, run_id)).is_final

    await until(ended, 180)
    run = await cluster.jobs.get(OWNER, run_id)
    assert run.state == "succeeded", run.error
    status = Path(f"/proc/{worker.pid}/status").read_text()
    worker.terminate()
    await asyncio.to_thread(worker.wait, 30)
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


async def test_a_worker_stays_under_its_limit_whatever_the_tape(cluster: Cluster) -> None:
    # A shard of a run that is cut is 524,288 loans: the larger tape is more of them, not larger ones.
    small, large = await peak_of(cluster, 1_040_000), await peak_of(cluster, 4_000_000)
    print(f"resident: {small >> 20} MiB for 1,040,000 loans, {large >> 20} MiB for 4,000,000")  # noqa: T201
    assert large < LIMIT
    assert large < 1.25 * small


def children_of(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


async def test_a_worker_ends_with_its_killed_supervisor(cluster: Cluster) -> None:
    supervisor = cluster.start_worker([sys.executable, "-c", SUPERVISOR, str(ROOT)])
    await asyncio.to_thread(wait_for, lambda: cluster.log_lines("worker starts") == 1, 60)
    (child,) = children_of(supervisor.pid)
    supervisor.kill()
    supervisor.wait()
    await asyncio.to_thread(wait_for, lambda: not Path(f"/proc/{child}").exists(), 30)
    assert SECRET not in (cluster.folder / "workers.log").read_text()

"""Breaks everything at random while runs are accepted, seeded."""

import asyncio
import os
import random
import signal

import sqlalchemy.exc

from tests.chaos.cluster import Cluster

WORKERS = 3


async def storm(cluster: Cluster, seed: int, seconds: float) -> None:
    """Submits runs and meanwhile kills, stops and continues workers, wipes Valkey and crashes PostgreSQL."""
    draw = random.Random(seed)
    tapes = [await cluster.tape(loans) for loans in (100, 3_000, 20_000)]
    workers = [cluster.start_worker() for _ in range(WORKERS)]
    kills = 0
    end = asyncio.get_running_loop().time() + seconds

    async def submit() -> None:
        number = 0
        while asyncio.get_running_loop().time() < end:
            number += 1
            try:
                # The key makes a submission whose answer was lost safe to repeat.
                await cluster.submit(draw.choice(tapes), draw.randint(1, 20), key=f"{seed}-{number}")
            except (sqlalchemy.exc.SQLAlchemyError, OSError):
                number -= 1
                await asyncio.sleep(0.2)
            await asyncio.sleep(draw.uniform(0.05, 0.3))

    async def destroy() -> None:
        nonlocal kills
        postgres, crashed = cluster.postgres.process, 0
        assert postgres is not None
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(draw.uniform(0.3, 1.5))
            i = draw.randrange(WORKERS)
            match draw.choice(["kill"] * 4 + ["stop", "term", "wipe", "crash"]):
                case "kill":
                    os.killpg(workers[i].pid, signal.SIGKILL)
                case "term":
                    workers[i].terminate()
                case "stop":
                    os.killpg(workers[i].pid, signal.SIGSTOP)
                    await asyncio.sleep(draw.uniform(0.5, 5))
                    os.killpg(workers[i].pid, signal.SIGCONT)
                case "wipe":
                    cluster.valkey.wipe()
                case "crash" if crashed < 2:
                    crashed += 1
                    postgres.stop(signal.SIGKILL)
                    await asyncio.to_thread(postgres.start)
            for k, worker in enumerate(workers):
                if worker.poll() is not None:
                    workers[k] = cluster.start_worker()
                    kills += 1

    await asyncio.gather(submit(), destroy())
    print(f"seed {seed}: {kills} workers ended and were started again")  # noqa: T201

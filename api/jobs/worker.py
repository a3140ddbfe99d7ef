"""One worker: threads that perform shards, woken by Redis or, without it, by the database.

Without Redis it lives in the service's own process; a restart loses nothing, since the shards that it held are taken
again when their leases end, and those that it can give back it gives back when it stops.
"""

import asyncio
import logging
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import suppress

from dramatiq.worker import Worker as Consumer
from sqlalchemy.exc import SQLAlchemyError

from api.jobs.backups import Keeper
from api.jobs.bridge import Bridge
from api.jobs.broker import Doorbell, declare, depth, doorbell, ring
from api.jobs.outages import Outage
from api.jobs.perform import Performer
from api.jobs.upkeep import Upkeep, this_worker
from api.settings import Settings
from api.storage import leadership, shards
from api.storage.database import Database
from api.storage.objects import store_from

logger = logging.getLogger("api.jobs")
POLL_SECONDS = 0.5
LONGEST_PAUSE = 4.0


class Worker:
    """Starts and stops the threads of a worker. `wake` makes it begin a run, or look for work, at once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.me = this_worker(settings.worker_concurrency)
        self.bridge = Bridge()
        self.database = self.bridge.call(self.open())
        objects = store_from(settings.used_object_store, settings.s3_endpoint_url)
        self.performer = Performer(settings, self.bridge, self.database, objects, self.me.id)
        self.keeper = Keeper(settings, self.bridge, self.database)
        self.looking = Outage(logger, "looking for work")
        self.working = Outage(logger, "working on shards")
        self.woken = threading.Event()
        self.rung: deque[str] = deque()
        self.threads: list[threading.Thread] = []
        self.consumer: Consumer | None = None
        self.upkeep: Upkeep | None = None
        self.rounds: Future[None] | None = None

    async def open(self) -> Database:
        return Database.from_settings(self.settings)

    def start(self) -> None:
        """Starts to work."""
        broker = doorbell(self.settings.redis_url) if self.settings.redis_url else None
        if broker is None:
            upkeep = Upkeep(self.settings, self.database, self.me)
            for i in range(self.settings.worker_concurrency):
                self.threads.append(threading.Thread(target=self.poll, name=f"worker-{i}", daemon=True))
        else:
            upkeep = self.ringing(broker)
            declare(broker, self.performer, self.keeper)
            self.consumer = Consumer(broker, worker_threads=self.settings.worker_concurrency, worker_timeout=200)
            # Not more than it works on: what lies here waits though another worker is idle.
            self.consumer.queue_prefetch = self.settings.worker_concurrency
            self.consumer.start()
        for thread in self.threads:
            thread.start()
        self.keeper.start()
        self.upkeep = upkeep
        self.rounds = self.bridge.start(upkeep.run())

    def ringing(self, broker: Doorbell) -> Upkeep:
        """The upkeep of a worker that is woken by Redis."""

        async def send(found: list[tuple[str, int]]) -> None:
            await asyncio.to_thread(ring, broker, found)

        async def waiting() -> int:
            return await asyncio.to_thread(depth, broker)

        return Upkeep(self.settings, self.database, self.me, send, waiting)

    def poll(self) -> None:
        """Takes what nobody holds, oldest first, until the worker stops.

        Looks again less and less often while what it finds cannot be taken, or it cannot look at all.
        """
        idle, pause = False, POLL_SECONDS
        while not self.performer.stopping.is_set():
            # Where nothing was due a moment ago, a run that was rung for is the oldest there is.
            found = self.rung_for() if idle else []
            asked = not found
            found = found or self.found()
            worked = [self.tried(*shard) for shard in found if not self.performer.stopping.is_set()]
            idle = not any(worked)
            if idle and asked:
                failing = self.looking.failing or self.performer.taking.failing
                pause = min(2 * pause, LONGEST_PAUSE) if failing else POLL_SECONDS
                self.woken.wait(pause)
                self.woken.clear()

    def rung_for(self) -> list[tuple[str, int]]:
        """The first shard of the next run that was rung for, if there is one."""
        with suppress(IndexError):
            return [(self.rung.popleft(), 0)]
        return []

    def found(self) -> list[tuple[str, int]]:
        """Shards that are due, those of runs that were rung for among them; none where the database is away."""
        self.rung.clear()
        try:
            found = self.bridge.call(self.due())
        except (SQLAlchemyError, OSError) as error:
            self.looking.failed(error)
            return []
        self.looking.passed()
        return found

    def tried(self, run_id: str, number: int) -> bool:
        """Whether a shard was worked on; what goes wrong beyond it must not end the thread that looks for work."""
        try:
            worked = self.performer.perform(run_id, number)
        except Exception as error:
            self.working.failed(error, foreseen=False)
            return False
        if worked:
            self.working.passed()
        return worked

    async def due(self) -> list[tuple[str, int]]:
        async with self.database.read() as connection:
            return await shards.due_shards(connection, self.settings.worker_concurrency)

    def wake(self, run_id: str) -> None:
        """Makes a worker without Redis begin a run at once where it has nothing else to do."""
        self.rung.append(run_id)
        self.woken.set()

    def stop(self) -> None:
        """Gives back what it holds and ends; within a few seconds."""
        self.performer.stopping.set()
        self.woken.set()
        if self.consumer is not None:
            self.consumer.stop(timeout=10_000)
        for thread in self.threads:
            thread.join(timeout=10)
        self.keeper.stop()
        if self.upkeep is not None and self.rounds is not None:
            self.bridge.call(self.upkeep.end())
            with suppress(TimeoutError):
                self.rounds.result(timeout=10)
        with suppress(SQLAlchemyError, OSError):
            self.bridge.call(self.leave())
        self.bridge.close()

    async def leave(self) -> None:
        try:
            async with self.database.write() as connection:
                await leadership.gone(connection, self.me.id)
            await leadership.let_go(self.database, "upkeep", self.me.id)
        finally:
            await self.database.dispose()

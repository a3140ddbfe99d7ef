"""What must go on beside the work: heartbeats, sending what nobody holds, burying what kills its workers, webhooks.

Runs in the bridge's loop of every worker. Sending and webhooks are one process's at a time, by a lock in the database
that ends soon after its holder does.
"""

import asyncio
import logging
import math
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from api import metrics
from api.jobs import webhooks
from api.jobs.outages import Outage
from api.settings import Settings
from api.storage import leadership, shards
from api.storage.database import Database, now
from api.storage.leadership import Worker

logger = logging.getLogger("api.jobs")
ROUND_SECONDS = 1.0
LOCK_SECONDS = 4.0
# A message that was sent so long ago and is in no queue is lost.
RESEND_SECONDS = 4.0
MOST_SENT = 500

Send = Callable[[list[tuple[str, int]]], Awaitable[None]]
Depth = Callable[[], Awaitable[int]]


def this_worker(concurrency: int) -> Worker:
    """A description of this process."""
    host, at = socket.gethostname(), now()
    id = f"{host[:40]}:{os.getpid()}:{secrets.token_hex(4)}"
    return Worker(id=id, host=host, pid=os.getpid(), concurrency=concurrency, started_at=at, seen_at=at)


class Upkeep:
    """The rounds of one worker. send: rings for shards; depth: messages that wait; none where there is no queue."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        worker: Worker,
        send: Send | None = None,
        depth: Depth | None = None,
    ) -> None:
        self.settings, self.database, self.worker = settings, database, worker
        self.send, self.depth = send, depth
        self.ending = asyncio.Event()
        self.rounds = Outage(logger, "upkeep")
        self.deliveries: asyncio.Task[int] | None = None

    async def run(self) -> None:
        """Goes round until `ending` is set; one that fails is told, and the next tries again."""
        while not self.ending.is_set():
            try:
                await self.round()
                self.rounds.passed()
            except Exception as error:
                self.rounds.failed(error, foreseen=isinstance(error, SQLAlchemyError | OSError | TimeoutError))
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), ROUND_SECONDS)
        if self.deliveries is not None:
            self.deliveries.cancel()
            await asyncio.gather(self.deliveries, return_exceptions=True)

    async def end(self) -> None:
        """Lets the round that is under way come to its end: one cut short would hold its transaction."""
        self.ending.set()

    async def round(self) -> None:
        """One round: a heartbeat, and the rest where this worker has the lock."""
        async with self.database.write() as connection:
            await leadership.beat(connection, self.worker)
        metrics.beat("worker")
        if not await leadership.hold(self.database, "upkeep", self.worker.id, LOCK_SECONDS):
            return
        async with self.database.write() as connection:
            for run_id in await shards.bury(connection):
                logger.error("run is dead: its workers were lost", extra={"run_id": run_id})
        if self.deliveries is None or self.deliveries.done():
            self.deliveries = asyncio.create_task(webhooks.deliver_due(self.database, self.settings))
        if self.send is not None:
            await self.resend(self.send)

    async def resend(self, send: Send) -> int:
        """How many messages were sent: for shards that never had one, and for those whose message is in no queue."""
        there = await self.depth() if self.depth is not None else 0
        async with self.database.write() as connection:
            found = await shards.due_shards(connection, MOST_SENT, sent_before=math.inf)
            missing = await shards.waiting(connection) - there
            if missing > 0:
                lost = await shards.due_shards(connection, min(missing, MOST_SENT), sent_before=RESEND_SECONDS)
                found = list(dict.fromkeys([*found, *lost]))
            await shards.mark_sent(connection, found)
        if found:
            await send(found)
        return len(found)

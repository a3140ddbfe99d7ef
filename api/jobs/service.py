"""Runs as the API asks for them: submitted, read, cancelled, followed; and jobs of backups. The face of the jobs.

What is submitted is in the database before this answers; ringing for a worker comes after and may fail, since the
workers' upkeep sends again what nobody holds.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from api import metrics
from api.jobs.broker import Doorbell, doorbell, ring, ring_for_backup
from api.jobs.schedule import Scheduler
from api.jobs.webhook_urls import check_url
from api.jobs.worker import Worker
from api.settings import Settings
from api.storage import backup_jobs, leadership, results, runs, shards
from api.storage.backup_jobs import BackupJob, Kind
from api.storage.opened import Storage
from api.storage.pages import Page
from api.storage.results import ScenarioColumns
from api.storage.rows import Run, RunRequest
from api.storage.tables import STATES

logger = logging.getLogger("api.jobs")
PROGRESS_SECONDS = 0.5
# Messages that a submission sends itself; the rest follow from the upkeep.
MOST_RUNG = 200
Found = list[ScenarioColumns]


class Jobs:
    """The runs of an opened Storage; every call takes the owner, and another's run is NotFound."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self.settings, self.storage = settings, storage
        self.broker: Doorbell | None = None
        self.worker: Worker | None = None
        self.ringing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Jobs"]:
        """Connects to Redis, or works on runs in this process, and by the schedule, where there is none."""
        worker: Worker | None = None
        clock: asyncio.Task[None] | None = None
        if self.settings.redis_url:
            self.broker = doorbell(self.settings.redis_url)
        else:
            worker = self.worker = await asyncio.to_thread(Worker, self.settings)
            worker.start()
            clock = asyncio.create_task(Scheduler(self.settings, self.storage).run())
        try:
            yield self
        finally:
            if clock is not None:
                clock.cancel()
                await asyncio.gather(clock, return_exceptions=True)
            if worker is not None:
                await asyncio.to_thread(worker.stop)
            await asyncio.gather(*self.ringing, return_exceptions=True)

    async def submit(self, owner: str, request: RunRequest, idempotency_key: str | None = None) -> Run:
        """The run, queued; the one made before where the key comes again with the same request.

        Raises NotFound for its tape or scenarios, AssumptionError and BadRequest for what cannot be run, Conflict where
        the key came with another request.
        """
        self.check_webhook(request)
        run = await runs.accept_run(
            self.storage.database, owner, request, max_cells=self.settings.max_run_cells,
            max_column=self.settings.max_result_cells, idempotency_key=idempotency_key,
        )  # fmt: skip
        self.wake(run.id)
        return run

    async def rerun(self, owner: str, id: str, idempotency_key: str | None = None) -> Run:
        """A new run like that one, with its pinned scenarios; the one made before where the key comes again.

        Raises NotFound, BadRequest where its webhook is not taken any more, AssumptionError where its result would be
        too large, Conflict where the key came with something else or the request cannot be read any more.
        """
        run = await runs.rerun(
            self.storage.database, owner, id, max_cells=self.settings.max_run_cells,
            max_column=self.settings.max_result_cells, idempotency_key=idempotency_key, allowed=self.check_webhook,
        )  # fmt: skip
        self.wake(run.id)
        return run

    def check_webhook(self, request: RunRequest) -> None:
        """Raises BadRequest where the request names a webhook that is not taken."""
        if request.webhook_url is not None:
            check_url(request.webhook_url, self.settings)

    async def get(self, owner: str, id: str) -> Run:
        """The run. Raises NotFound."""
        async with self.storage.database.read() as connection:
            return await runs.get_run(connection, owner, id)

    async def list(self, owner: str, **filters: Any) -> Page[Run]:
        """A page of runs, newest first; filters are those of storage.runs.list_runs."""
        async with self.storage.database.read() as connection:
            return await runs.list_runs(connection, owner, **filters)

    async def cancel(self, owner: str, id: str) -> Run:
        """The run, cancelled. Raises NotFound, Conflict where it has ended otherwise."""
        async with self.storage.database.write() as connection:
            return await runs.cancel_run(connection, owner, id)

    async def delete(self, owner: str, id: str) -> None:
        """Deletes a run that has ended, with its results. Raises NotFound, Conflict."""
        await runs.delete_run(self.storage.database, self.storage.objects, owner, id)

    async def progress(self, owner: str, id: str) -> AsyncIterator[Run]:
        """The run now and whenever it has changed, until it has ended. Raises NotFound, at once or if it is deleted."""
        last: Run | None = None
        while last is None or not last.is_final:
            run = await self.get(owner, id)
            if run != last:
                last = run
                yield run
            if not run.is_final:
                await asyncio.sleep(PROGRESS_SECONDS)

    async def columns(
        self, owner: str, id: str, *, fields: Sequence[str] | None = None, scenarios: Sequence[str] | None = None
    ) -> tuple[Run, Found]:
        """The run and its columns, as storage.results.result_columns gives and refuses them. Raises NotFound."""
        async with self.storage.database.read() as connection:
            run = await runs.get_run(connection, owner, id)
            found = await results.result_columns(
                connection, self.storage.objects, run, fields=fields, scenarios=scenarios
            )
        return run, found

    async def ask_of_backups(
        self, kind: Kind, asked_by: str, key: str | None = None, *, prune: bool = False
    ) -> BackupJob:
        """The job, queued; the one under way where the same was asked before."""
        job = await backup_jobs.ask(self.storage.database, kind, asked_by, key, prune=prune)
        if self.worker is not None:
            self.worker.keeper.wake()
        elif self.broker is not None:
            self.in_background(asyncio.to_thread(ring_for_backup, self.broker, job.id))
        return job

    async def check(self) -> dict[str, Any]:
        """Workers that are alive, runs by state and shards that wait, for /health.

        A worker notes each second that it is there; one that was killed counts until it was not seen for 15 seconds.
        Without workers the service still takes runs, which then wait: that is for an alert, not for a load balancer.
        """
        async with self.storage.database.read() as connection:
            alive = await leadership.alive(connection)
            counts = await leadership.counts(connection)
        # Told by whoever is scraped, at each scrape: a worker that leads no more would go on telling old numbers.
        metrics.set_workers(len(alive))
        metrics.set_runs({state: counts.get(state, 0) for state in STATES})
        metrics.set_queue_depth("shards", counts["shards_waiting"])
        return {"alive": len(alive), "concurrency": sum(each.concurrency for each in alive), **counts}

    def wake(self, run_id: str) -> None:
        """Has workers look at a run, in the background."""
        if self.worker is not None:
            self.worker.wake(run_id)
        elif self.broker is not None:
            self.in_background(self.ring(self.broker, run_id))

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.ringing.add(task)
        task.add_done_callback(self.ringing.discard)

    async def ring(self, broker: Doorbell, run_id: str) -> None:
        try:
            async with self.storage.database.write() as connection:
                found = await shards.due_shards(connection, MOST_RUNG, run_id=run_id)
                await shards.mark_sent(connection, found)
            await asyncio.to_thread(ring, broker, found)
        except Exception:
            logger.exception("a run was not rung for; the workers' upkeep does it")

"""Works on one shard: takes it, projects its loans, commits its sums; the last one folds the run. The sums of a run's
only shard are its result, which is committed at once.

The thread that calls `perform` calculates; the lease is renewed in the bridge's loop meanwhile. The engine tells its
progress after every chunk of loans, some tens of milliseconds apart, and there the work stops when the lease is lost,
the run has ended or the worker is to stop. Whatever happens, nothing is committed without the fence.
"""

import asyncio
import logging
import re
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Literal, TypeVar

import msgspec
import numpy as np
from sqlalchemy.exc import SQLAlchemyError

import engine
from api import metrics
from api.correlation import correlated
from api.jobs.bridge import Bridge
from api.jobs.outages import Outage
from api.jobs.sums import Sums
from api.settings import Settings
from api.storage import shards
from api.storage.database import Database
from api.storage.errors import DamagedTape
from api.storage.objects import ObjectStore
from api.storage.outages import is_away
from api.storage.results import write_objects
from api.storage.rows import RunError, RunFault
from api.storage.run_inputs import projection_of
from api.storage.shards import MAX_ATTEMPTS, Lease, LeaseLost
from api.storage.tape_parquet import read_slice

T = TypeVar("T")
Reading = Future[engine.Tape]
logger = logging.getLogger("api.jobs")
# A value of a stored tape, which has columns.
CELL = re.compile(r"^(tape\.columns\.\w+)\[(\d+)\]")
RENEW_SECONDS = 1.0
PAUSE_SECONDS = 0.5
# Sums of shards that a fold holds at a time, 32 MB each at most (sharding.MAX_CELLS).
PARTIALS_AT_ONCE = 4


class Stopped(Exception):
    """The worker is to stop; the shard is given back."""


class Holding:
    """A lease while it is worked on: how much is done, and whether it still holds. reading: of the shard's loans."""

    def __init__(self, lease: Lease, seconds: float, stopping: threading.Event, reading: Reading | None) -> None:
        self.lease, self.seconds, self.stopping, self.reading = lease, seconds, stopping, reading
        self.done = 0
        self.lost = self.over = False
        self.until = time.monotonic() + seconds

    def check(self) -> None:
        """Raises LeaseLost or Stopped where the work is of no use any more."""
        if self.lost or time.monotonic() > self.until:
            raise LeaseLost
        if self.stopping.is_set():
            raise Stopped


class Performer:
    """Performs shards for one worker. stopping: set where the worker is to stop soon."""

    def __init__(
        self, settings: Settings, bridge: Bridge, database: Database, objects: ObjectStore, worker_id: str
    ) -> None:
        self.bridge, self.database, self.objects, self.worker_id = bridge, database, objects, worker_id
        self.lease_seconds = float(settings.run_lease_seconds)
        self.threads = settings.calculation_thread_pool_size
        self.stopping = threading.Event()
        self.taking = Outage(logger, "taking shards")
        self.renewing = Outage(logger, "renewing leases")

    def perform(self, run_id: str, number: int) -> bool:
        """Whether there was something to do: a shard that nobody else holds. Never raises for a shard that fails."""
        while True:
            try:
                lease, reading = self.bridge.call(self.take(run_id, number))
            except (SQLAlchemyError, OSError) as error:
                self.taking.failed(error)
                return False
            if lease is None:
                return False
            with correlated(lease.correlation_id, run_id=lease.run_id):
                fold = self.work(lease, reading)
            if fold is None or self.stopping.is_set():
                return True
            # The last shard is done: who finished it folds at once.
            number = fold

    def work(self, lease: Lease, reading: Reading | None) -> int | None:
        """Works on the shard of a lease; the number of the fold where it is due now. reading: of its loans."""
        holding = Holding(lease, self.lease_seconds, self.stopping, reading)
        self.bridge.start(self.renew(holding))
        begun, outcome = time.perf_counter(), "failed"
        log = {"shard": lease.number, "attempt": lease.attempts}
        try:
            if lease.is_fold:
                self.finish(holding, self.folded(holding))
                outcome = "done"
                return None
            sums, fold = self.compute(holding), None
            if lease.is_only:
                self.finish(holding, {0: sums})
            else:
                fold = self.bridge.call(self.commit(lease, sums.encoded()))
            outcome = "done"
            metrics.record_projection(lease.request.level, "worker", lease.loan_months, time.perf_counter() - begun)
            return fold
        except LeaseLost:
            outcome = "lost"
            logger.info("shard lost to another worker, or its run has ended", extra=log)
        except Stopped:
            outcome = "cancelled"
            self.bridge.call(self.give_back(lease, counted=False))
        except engine.InvalidInput as error:
            faults = [RunFault(of_tape(each.path, lease.loan_start), each.message) for each in error.problems]
            message = "\n".join(f"{fault.path} {fault.message}" for fault in faults)
            self.end(lease, "failed", RunError(code="invalid_input", message=message[:2000], faults=faults))
        except Exception as error:
            self.failed(lease, error, log)
        finally:
            holding.over = True
            metrics.record_shard(outcome, time.perf_counter() - begun)
        return None

    def failed(self, lease: Lease, error: Exception, log: dict[str, int]) -> None:
        """Puts the shard off where storage is away; anything else costs one of the attempts."""
        match error:
            case MemoryError():
                self.retry(lease, RunError(code="out_of_memory", message="It needs more memory than a worker has."))
            case DamagedTape(what=what):
                logger.error("the stored loans of a tape are %s", what, extra=log)
                text = f"The stored loans of its tape are {what}; upload the tape again."
                self.retry(lease, RunError(code="damaged_tape", message=text), last="failed")
            case _ if is_away(error):
                logger.warning("shard put off, since storage is away: %s", error, extra=log)
                self.bridge.call(self.postpone(lease))
            case _:
                metrics.count_error("worker")
                logger.error("shard failed", extra=log, exc_info=error)
                text = "The service failed on this run; the failure is logged."
                self.retry(lease, RunError(code="internal", message=text))

    def compute(self, holding: Holding) -> Sums:
        """The sums of the shard."""
        lease = holding.lease
        scenarios = lease.scenarios[lease.scenario_start : lease.scenario_stop]
        reading = holding.reading or self.read(lease.object_key, lease.loan_start, lease.loan_stop)
        # What renews the lease lives on for a while, and would keep the loans.
        holding.reading, tape = None, reading.result()
        terms, counted = tape.terms(), 0
        holding.check()

        def progress(loans: int) -> None:
            nonlocal counted
            holding.done += int(terms[counted:loans].sum(dtype=np.int64)) * len(scenarios)
            counted = max(counted, loans)
            holding.check()

        sums = Sums(lease.request.level)
        sums.add_cashflows(engine.project(projection_of(lease.request, scenarios, tape), self.threads, progress))
        return sums

    def read(self, key: str, start: int, stop: int) -> Reading:
        """Begins to read the loans of a shard, on a thread that keeps no worker from ending.

        Sums have no rows by loan, so nobody asks for the loans' ids: a million texts.
        """
        reading: Reading = Future()

        def work() -> None:
            try:
                reading.set_result(read_slice(self.objects, key, start, stop, without=("loan_id",)))
            except BaseException as error:
                reading.set_exception(error)

        threading.Thread(target=work, name="reader", daemon=True).start()
        return reading

    def folded(self, holding: Holding) -> dict[int, Sums]:
        """The sums of the shards, added up in the order of their numbers, by the first scenario of each block."""
        lease = holding.lease
        blocks: dict[int, Sums] = {}
        for number in range(0, lease.number, PARTIALS_AT_ONCE):
            read = self.partials(lease, number, min(number + PARTIALS_AT_ONCE, lease.number))
            for start, blob in self.bridge.call(read):
                holding.check()
                blocks.setdefault(start, Sums(lease.request.level)).add_partial(blob)
        return blocks

    def finish(self, holding: Holding, blocks: dict[int, Sums]) -> None:
        """Commits the result of the run. blocks: the sums of all its loans by the first scenario of each block."""
        lease = holding.lease
        rows: list[dict[str, object]] = []
        first = blocks[0]
        # Blocks of scenarios may differ in their longest lag; the shorter go on with zeros.
        periods = max(sums.periods for sums in blocks.values())
        for start, sums in blocks.items():
            columns = sums.finished(periods)
            rows += write_objects(self.objects, lease.run_id, lease.fence, columns, start)
            holding.check()
        values = {
            "opening_balance": first.opening_balance,
            "periods": periods,
            "groups": msgspec.json.encode(first.groups).decode(),
        }
        # Where the lease is lost the objects stay for the sweep: a commit whose answer was lost is told the same way,
        # and its rows name them.
        self.bridge.call(self.commit_result(lease, rows, values))
        logger.info("run succeeded", extra={"shard": lease.number, "attempt": lease.attempts})

    def end(self, lease: Lease, state: str, error: RunError) -> None:
        """Ends the run as failed or dead."""

        async def work() -> None:
            async with self.database.write() as connection:
                await shards.fail(connection, lease, state, error)

        self.bridge.call(self.persistently(work))

    def retry(self, lease: Lease, error: RunError, last: Literal["dead", "failed"] = "dead") -> None:
        """Gives the shard back for another attempt, or ends the run after the last."""
        if lease.attempts >= MAX_ATTEMPTS:
            self.end(lease, last, error)
        else:
            self.bridge.call(self.give_back(lease, counted=True))

    async def take(self, run_id: str, number: int) -> tuple[Lease | None, Reading | None]:
        """The lease of the shard, and its loans, which are read while the database notes who has it.

        Where it did not take the last note, as with a full disk, none are read before it takes one again.
        """
        begun: list[Reading] = []

        def begin(key: str, start: int, stop: int) -> None:
            if not self.taking.failing:
                begun.append(self.read(key, start, stop))

        async with self.database.write() as connection:
            lease = await shards.take(connection, run_id, number, self.worker_id, self.lease_seconds, begin)
        self.taking.passed()
        return lease, begun[0] if begun else None

    async def renew(self, holding: Holding) -> None:
        """Renews the lease until it is lost. A database that is away for a while is no loss until the lease ends."""
        while True:
            await asyncio.sleep(min(RENEW_SECONDS, self.lease_seconds / 4))
            if holding.over or holding.lost:
                return
            begun = time.monotonic()
            try:
                async with asyncio.timeout(self.lease_seconds), self.database.write() as connection:
                    holds = await shards.renew(connection, holding.lease, self.lease_seconds, holding.done)
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                self.renewing.failed(error)
                continue
            self.renewing.passed()
            if holds:
                holding.until = begun + self.lease_seconds
            else:
                holding.lost = True

    async def persistently(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` returns, tried again while the database is away, for as long as a lease.

        A commit whose answer was lost may be tried again: the fence lets it count once.
        """
        end = time.monotonic() + self.lease_seconds
        while True:
            try:
                return await work()
            except (SQLAlchemyError, OSError) as error:
                if time.monotonic() > end or not is_away(error):
                    raise
                await asyncio.sleep(PAUSE_SECONDS)

    async def commit(self, lease: Lease, partial: bytes) -> int | None:
        async def work() -> int | None:
            async with self.database.write() as connection:
                return await shards.commit_partial(connection, lease, partial)

        return await self.persistently(work)

    async def partials(self, lease: Lease, start: int, stop: int) -> list[tuple[int, bytes]]:
        async def work() -> list[tuple[int, bytes]]:
            async with self.database.read() as connection:
                return await shards.partials_of(connection, lease.run_id, start, stop)

        return await self.persistently(work)

    async def commit_result(self, lease: Lease, rows: list[dict[str, object]], values: dict[str, object]) -> None:
        async def work() -> None:
            async with self.database.write() as connection:
                await shards.commit_result(connection, lease, rows, values)

        await self.persistently(work)

    async def postpone(self, lease: Lease) -> None:
        with suppress(SQLAlchemyError, OSError):
            async with self.database.write() as connection:
                await shards.postpone(connection, lease, self.lease_seconds)

    async def give_back(self, lease: Lease, *, counted: bool) -> None:
        # What cannot be given back is taken by another when the lease ends.
        with suppress(SQLAlchemyError, OSError):
            async with self.database.write() as connection:
                await shards.give_back(connection, lease, counted=counted)


def of_tape(path: str, start: int) -> str:
    """The path of a value in the whole tape. path: in a slice, whose first loan is number `start` of the tape."""
    return CELL.sub(lambda found: f"{found[1]}[{int(found[2]) + start}]", path)

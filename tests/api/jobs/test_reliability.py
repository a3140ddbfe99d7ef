"""What must hold for runs, without killing processes (tests/chaos does): one effect, one end, nothing stale."""

import asyncio
from collections.abc import AsyncIterator

import dramatiq
import numpy as np
import pytest
from sqlalchemy import select, update

import engine
from api.jobs import broker as doorbells
from api.jobs.perform import Holding, Performer
from api.jobs.service import Jobs
from api.jobs.sums import Sums
from api.jobs.upkeep import Upkeep, this_worker
from api.jobs.worker import Worker
from api.settings import Settings
from api.storage import sharding, shards
from api.storage.database import now
from api.storage.errors import Conflict
from api.storage.objects import StoreError
from api.storage.opened import Storage
from api.storage.rows import Run, RunRequest
from api.storage.shards import Lease, LeaseLost
from api.storage.tables import run_shards
from tests.api.jobs.setting import OWNER, SCENARIOS, ended, lease_of, loans, stored_tape, submitted, until
from tests.servers import Valkey


@pytest.fixture
async def worker(on_postgres: Jobs) -> AsyncIterator[Worker]:
    worker = await asyncio.to_thread(Worker, on_postgres.settings)
    worker.start()
    yield worker
    await asyncio.to_thread(worker.stop)


def some_sums() -> bytes:
    sums = Sums("pool")
    sums.add(1.0, 2, [], {"balance": np.ones((4, 2))})
    return sums.encoded()


async def test_a_lease_is_held_by_one_and_goes_to_another_when_it_ends(either: Jobs) -> None:
    run = await submitted(either, loans(10))
    first = await lease_of(either, run.id, "first")
    assert first is not None
    assert (first.fence, first.attempts) == (1, 1)
    assert await lease_of(either, run.id, "second") is None
    async with either.storage.database.write() as connection:
        assert await shards.renew(connection, first, -1.0, 5)
    second = await lease_of(either, run.id, "second")
    assert second is not None
    assert second.fence == 2
    async with either.storage.database.write() as connection:
        assert not await shards.renew(connection, first, 60.0, 9)
    with pytest.raises(LeaseLost):
        async with either.storage.database.write() as connection:
            await shards.commit_partial(connection, first, some_sums())
    async with either.storage.database.write() as connection:
        assert await shards.commit_partial(connection, second, some_sums()) == 1
    assert (await either.get(OWNER, run.id)).shards_done == 1


async def test_a_shard_is_tried_three_times_and_then_its_run_is_dead(either: Jobs) -> None:
    run = await submitted(either, loans(10))
    for attempt in (1, 2, 3):
        lease = await lease_of(either, run.id, "doomed", seconds=-1.0)
        assert lease is not None
        assert lease.attempts == attempt
    assert await lease_of(either, run.id, "doomed") is None
    async with either.storage.database.write() as connection:
        assert await shards.bury(connection) == [run.id]
        assert await shards.bury(connection) == []
    dead = await either.get(OWNER, run.id)
    assert dead.state == "dead"
    assert dead.error is not None
    assert dead.error.code == "worker_lost"


async def test_the_fold_waits_for_the_last_shard(either: Jobs) -> None:
    run = await submitted(either, loans(10))
    assert await lease_of(either, run.id, "early", number=1) is None
    lease = await lease_of(either, run.id, "worker")
    assert lease is not None
    async with either.storage.database.write() as connection:
        await shards.commit_partial(connection, lease, some_sums())
    fold = await lease_of(either, run.id, "worker", number=1)
    assert fold is not None
    assert fold.is_fold


def rows_of(lease: Lease) -> list[dict[str, object]]:
    """The result of a run of the four scenarios, two months of balances."""
    row = {"run_id": lease.run_id, "field": "balance", "values": bytes(16), "object_key": None}
    return [{**row, "scenario": scenario} for scenario in range(4)]


async def test_the_only_shard_of_a_run_ends_it_for_whoever_holds_it_and_for_nobody_else(either: Jobs) -> None:
    run = await submitted(either, loans(10))
    first = await lease_of(either, run.id, "first", seconds=-1.0)
    second = await lease_of(either, run.id, "second")
    assert first is not None
    assert second is not None
    assert (second.is_only, second.is_fold) == (True, False)
    values = {"periods": 2, "groups": "[]"}
    with pytest.raises(LeaseLost):
        async with either.storage.database.write() as connection:
            await shards.commit_result(connection, first, rows_of(first), values)
    stale = await either.get(OWNER, run.id)
    assert (stale.state, stale.shards_done, stale.loan_months_done) == ("running", 0, 0)
    async with either.storage.database.write() as connection:
        await shards.commit_result(connection, second, rows_of(second), values)
    done = await either.get(OWNER, run.id)
    assert (done.state, done.shards_done, done.progress) == ("succeeded", 1, 1.0)
    assert done.loan_months_done == done.loan_months_total == second.loan_months
    with pytest.raises(LeaseLost):  # as where the answer to the first commit was lost
        async with either.storage.database.write() as connection:
            await shards.commit_result(connection, second, rows_of(second), values)
    assert (await either.get(OWNER, run.id)) == done
    assert await lease_of(either, run.id, "late", number=1) is None


async def test_who_takes_a_shard_is_told_its_loans_before_and_nobody_else_is(either: Jobs) -> None:
    run = await submitted(either, loans(10))
    tape = run.tape_id
    told: list[tuple[str, int, int]] = []

    async def taken(number: int) -> Lease | None:
        async with either.storage.database.write() as connection:
            lease = await shards.take(connection, run.id, number, "w", 60.0, lambda *each: told.append(each))
        return lease

    assert await taken(1) is None  # the fold has no loans
    assert told == []
    assert await taken(0) is not None
    assert told == [(f"tapes/{tape}.parquet", 0, 10)]
    assert await taken(0) is None
    assert len(told) == 1


async def test_of_a_run_in_two_shards_neither_is_the_only_one(
    either: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(sharding, "MAX_SCENARIOS", 2)
    run = await submitted(either, loans(10))
    leases = [await lease_of(either, run.id, "worker", number) for number in (0, 1)]
    assert [lease is not None and not lease.is_only and not lease.is_fold for lease in leases] == [True, True]


async def test_a_run_whose_sums_an_older_release_committed_is_folded(jobs: Jobs, idle: Jobs) -> None:
    """Its workers commit the sums of an only shard by themselves, and leave the fold for whoever takes it."""
    run = await submitted(idle, loans(10), fields=["balance"])
    lease = await lease_of(idle, run.id, "older")
    assert lease is not None
    async with idle.storage.database.write() as connection:
        assert await shards.commit_partial(connection, lease, some_sums()) == 1
    done = await ended(jobs, run.id)
    assert (done.state, done.shards_done) == ("succeeded", 1)
    _, found = await jobs.columns(OWNER, run.id)
    assert [each.columns["balance"].tolist() for each in found] == [[1.0, 1.0]] * 4


async def test_a_run_that_is_rung_for_and_gone_keeps_nobody_from_the_others(jobs: Jobs, idle: Jobs) -> None:
    assert jobs.worker is not None
    jobs.worker.wake("run_that_is_gone")
    run = await submitted(idle, loans(10))
    jobs.worker.wake("run_that_is_gone")
    assert (await ended(jobs, run.id)).state == "succeeded"


async def test_of_cancels_against_the_finish_each_run_has_one_end(either: Jobs) -> None:
    tape = await stored_tape(either.storage, loans(5))
    ends = []
    for i in range(20):
        run = await either.submit(OWNER, RunRequest(tape_id=tape.id, scenarios=SCENARIOS, fields=["balance"]))
        lease = await lease_of(either, run.id, "worker")
        assert lease is not None
        async with either.storage.database.write() as connection:
            await shards.commit_partial(connection, lease, some_sums())
        fold = await lease_of(either, run.id, "worker", number=1)
        assert fold is not None

        async def finish(fold: Lease = fold, i: int = i) -> bool:
            await asyncio.sleep(0.001 * (i % 3))
            try:
                async with either.storage.database.write() as connection:
                    await shards.commit_result(connection, fold, rows_of(fold), {"periods": 2, "groups": "[]"})
            except LeaseLost:
                return False
            return True

        async def cancel(run: Run = run) -> bool:
            try:
                await either.cancel(OWNER, run.id)
            except Conflict:
                return False
            return True

        finished, cancelled = await asyncio.gather(finish(), cancel())
        assert finished != cancelled
        assert (await either.get(OWNER, run.id)).state == ("succeeded" if finished else "cancelled")
        ends.append(finished)
    assert len(ends) == 20


async def test_a_run_on_redis_is_worked_on_at_once_and_the_message_a_hundred_times_has_one_effect(
    on_postgres: Jobs, worker: Worker
) -> None:
    run = await submitted(on_postgres, loans(200))
    assert on_postgres.broker is not None
    await asyncio.to_thread(doorbells.ring, on_postgres.broker, [(run.id, 0)] * 100)
    done = await ended(on_postgres, run.id)
    assert (done.state, done.shards_done) == ("succeeded", 1)

    async def drained() -> bool:
        assert on_postgres.broker is not None
        return await asyncio.to_thread(doorbells.depth, on_postgres.broker) == 0

    await until(drained)
    async with on_postgres.storage.database.read() as connection:
        tries = (await connection.execute(select(run_shards.c.attempts).order_by(run_shards.c.number))).scalars().all()
    # The run has one shard, whose sums are its result: its fold is never due.
    assert tries == [1, 0]


async def test_what_is_no_message_goes_to_the_dead_letters_and_the_worker_lives(
    on_postgres: Jobs, worker: Worker
) -> None:
    broker = on_postgres.broker
    assert broker is not None
    good = doorbells.message("run_x", 0)
    stranger = dramatiq.Message(queue_name="shards", actor_name="rm", args=("/", 0), kwargs={}, options={})
    large = doorbells.message("x" * 10_000, 0)
    wrong = dramatiq.Message(queue_name="shards", actor_name="work_on_shard", args=(1,), kwargs={}, options={})
    strangers = [b"\xff\xfe not json", b"{}", b"[]", stranger.encode(), large.encode(), wrong.encode(), good.encode()]
    for i, data in enumerate(strangers):
        broker.do_enqueue("shards", f"id-{i}", data)
    run = await submitted(on_postgres, loans(20))
    assert (await ended(on_postgres, run.id)).state == "succeeded"

    async def buried() -> bool:
        return int(await asyncio.to_thread(broker.client.llen, doorbells.DEAD_LETTERS)) == len(strangers)

    await until(buried)
    kept = broker.client.lrange(doorbells.DEAD_LETTERS, 0, -1)
    assert max(len(data) for data in kept) <= doorbells.MAX_MESSAGE_BYTES
    assert broker.client.hlen("cashflow:shards.msgs") == 0


async def test_runs_whose_messages_are_lost_are_sent_again(on_postgres: Jobs, valkey: Valkey) -> None:
    for _ in range(3):
        await submitted(on_postgres, loans(10))
    await asyncio.gather(*on_postgres.ringing)
    valkey.wipe()
    worker = await asyncio.to_thread(Worker, on_postgres.settings)
    assert on_postgres.broker is not None
    upkeep = worker.ringing(on_postgres.broker)
    upkeep.database = on_postgres.storage.database
    assert upkeep.send is not None
    assert await upkeep.resend(upkeep.send) == 0  # sent a moment ago: they may be on their way
    async with on_postgres.storage.database.write() as connection:
        await connection.execute(
            update(run_shards).values(sent_at=now().replace(year=2020)).where(run_shards.c.number == 0)
        )
    assert await upkeep.resend(upkeep.send) == 3
    assert await asyncio.to_thread(doorbells.depth, on_postgres.broker) == 3
    assert await upkeep.resend(upkeep.send) == 0
    await asyncio.to_thread(worker.stop)


async def test_a_cancelled_run_stops_its_worker(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is held up until the run is cancelled; what it then brings is not committed."""
    cancelled = asyncio.Event()
    loop = asyncio.get_running_loop()
    project = engine.project

    def slow(request: engine.ProjectionRequest, threads: int | None, progress: object = None) -> engine.Cashflows:
        if len(request.tape):
            asyncio.run_coroutine_threadsafe(cancelled.wait(), loop).result(20)
        return project(request, threads, progress)  # type: ignore[arg-type]

    tape = await stored_tape(jobs.storage, loans(50))
    monkeypatch.setattr("api.jobs.perform.engine.project", slow)
    run = await jobs.submit(OWNER, RunRequest(tape_id=tape.id))

    async def running() -> bool:
        return (await jobs.get(OWNER, run.id)).state == "running"

    await until(running)
    assert (await jobs.cancel(OWNER, run.id)).state == "cancelled"
    cancelled.set()
    monkeypatch.setattr("api.jobs.perform.engine.project", project)
    other = await ended(jobs, (await jobs.submit(OWNER, RunRequest(tape_id=tape.id))).id)
    assert other.state == "succeeded"
    assert (await jobs.get(OWNER, run.id)).state == "cancelled"
    with pytest.raises(Conflict):
        await jobs.columns(OWNER, run.id)


@pytest.mark.parametrize(
    ("failure", "code"), [(MemoryError(), "out_of_memory"), (ZeroDivisionError("a bug"), "internal")]
)
async def test_a_run_that_cannot_be_worked_on_is_dead_after_three_attempts(
    jobs: Jobs, failure: Exception, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def broken(self: Performer, holding: object) -> bytes:
        attempts.append(1)
        raise failure

    monkeypatch.setattr(Performer, "compute", broken)
    run = await ended(jobs, (await submitted(jobs, loans(10))).id)
    assert run.error is not None
    assert (run.state, run.error.code, len(attempts)) == ("dead", code, 3)
    assert "a bug" not in run.error.message


async def test_a_run_waits_while_the_object_store_is_away_and_counts_no_attempt(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute, calls = Performer.compute, []

    def away_at_first(self: Performer, holding: Holding) -> bytes:
        calls.append(holding.lease.attempts)
        if len(calls) <= 2:
            raise StoreError("the store cannot be reached")
        return compute(self, holding)

    monkeypatch.setattr(Performer, "compute", away_at_first)
    run = await ended(jobs, (await submitted(jobs, loans(10))).id)
    assert (run.state, calls) == ("succeeded", [1, 1, 1])


async def test_a_run_whose_loans_are_missing_fails_as_one_whose_loans_are_damaged(jobs: Jobs) -> None:
    tape = await stored_tape(jobs.storage, loans(10))
    jobs.storage.objects.delete(tape.object_key)
    run = await ended(jobs, (await jobs.submit(OWNER, RunRequest(tape_id=tape.id))).id)
    assert run.error is not None
    assert (run.state, run.error.code) == ("failed", "damaged_tape")
    assert run.error.message == "The stored loans of its tape are missing; upload the tape again."


async def test_input_that_only_the_tape_shows_to_be_wrong_fails_the_run_with_its_faults(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = engine.Problem("tape.columns.index[3]", "names no rate path; expected one of sofr")

    def refused(self: Performer, holding: object) -> bytes:
        raise engine.TapeError([problem])

    monkeypatch.setattr(Performer, "compute", refused)
    run = await ended(jobs, (await submitted(jobs, loans(10))).id)
    assert run.error is not None
    assert (run.state, run.error.code) == ("failed", "invalid_input")
    assert [(fault.path, fault.message) for fault in run.error.faults] == [(problem.path, problem.message)]


async def test_upkeep_is_one_workers_at_a_time(settings: Settings, storage: Storage, idle: Jobs) -> None:
    run = await submitted(idle, loans(10))
    for _ in range(3):
        await lease_of(idle, run.id, "doomed", seconds=-1.0)
    first, second = (Upkeep(settings, storage.database, this_worker(1)) for _ in range(2))
    await first.round()
    assert (await idle.get(OWNER, run.id)).state == "dead"
    other = await submitted(idle, loans(10))
    for _ in range(3):
        await lease_of(idle, other.id, "doomed", seconds=-1.0)
    await second.round()
    assert (await idle.get(OWNER, other.id)).state == "running"
    for upkeep in (first, second):
        if upkeep.deliveries is not None:
            await upkeep.deliveries

"""Runs whose tape or request cannot be read any more end with the reason; what is only away is waited for."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import DataError

from api.jobs.perform import Performer
from api.jobs.service import Jobs
from api.storage import tape_parquet
from api.storage.errors import DamagedTape
from api.storage.objects import ObjectStore, StoreError, store_from
from api.storage.rows import RunRequest
from api.storage.tables import run_shards, runs, webhook_deliveries
from tests.api.jobs.setting import OWNER, ended, lease_of, loans, stored_tape, submitted


async def test_a_run_whose_tape_is_damaged_fails_with_the_reason(jobs: Jobs) -> None:
    tape = await stored_tape(jobs.storage, loans(2_000))
    path = Path(jobs.settings.used_object_store) / tape.object_key
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 40] = bytes(40)
    path.write_bytes(data)
    run = await ended(jobs, (await jobs.submit(OWNER, RunRequest(tape_id=tape.id))).id, 20)
    assert run.error is not None
    assert (run.state, run.error.code) == ("failed", "damaged_tape")
    assert "upload the tape again" in run.error.message
    async with jobs.storage.database.read() as connection:
        attempts = select(run_shards.c.attempts).where(run_shards.c.number == 0)
        assert await connection.scalar(attempts) == 3


@pytest.fixture
def kept(tmp_path: Path) -> tuple[ObjectStore, Path, int]:
    """A store with a tape under `tape`, its file, and the count of its loans."""
    store, count = store_from(str(tmp_path)), 3_000
    batches = tape_parquet.in_row_groups(loans(count))
    store.put_stream("tape", tape_parquet.parquet_stream(batches, tape_parquet.Profiler()))
    return store, tmp_path / "tape", count


def test_a_flipped_bit_of_the_loans_is_noticed(kept: tuple[ObjectStore, Path, int]) -> None:
    """Wherever the pages lie: the footer is behind them, and each has its checksum in front of it."""
    store, path, count = kept
    data = path.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    draw, noticed, same = np.random.default_rng(3), 0, tape_parquet.read_slice(store, "tape", 0, count).columns
    assert same is not None
    for place in draw.integers(4, footer, 200):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(draw.integers(8))
        path.write_bytes(damaged)
        try:
            columns = tape_parquet.read_slice(store, "tape", 0, count).columns
        except DamagedTape:
            noticed += 1
        else:
            # A bit of a page's own heading that says nothing about its values.
            assert columns is not None
            for name in ("balance", "annual_rate", "remaining_term"):
                np.testing.assert_array_equal(getattr(columns, name), getattr(same, name))
    assert noticed >= 190


@pytest.mark.parametrize("kept_bytes", [0, 3, 0.5, 0.999])
def test_a_tape_that_is_cut_short_is_damaged(kept: tuple[ObjectStore, Path, int], kept_bytes: float) -> None:
    store, path, count = kept
    data = path.read_bytes()
    path.write_bytes(data[: int(kept_bytes * len(data)) if kept_bytes < 1 else int(kept_bytes)])
    with pytest.raises(DamagedTape):
        tape_parquet.read_slice(store, "tape", 0, count)


@pytest.mark.parametrize("failure", [StoreError("cannot be reached"), OSError(5, "Input/output error")])
def test_a_store_that_fails_in_the_middle_is_away_and_not_damage(
    kept: tuple[ObjectStore, Path, int], failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, count = kept
    reads, get_stream = [], store.get_stream

    def broken(key: str, start: int = 0, end: int | None = None) -> object:
        reads.append(start)
        if len(reads) > 1:
            raise failure
        return get_stream(key, start, end)

    monkeypatch.setattr(store, "get_stream", broken)
    with pytest.raises(type(failure)) as caught:
        tape_parquet.read_slice(store, "tape", 0, count)
    assert caught.value is failure


@pytest.mark.parametrize("column", ["request", "scenarios"])
async def test_a_run_whose_request_cannot_be_read_any_more_fails_and_tells_its_webhook(
    either: Jobs, column: str
) -> None:
    run = await submitted(either, loans(5), webhook_url="https://example.com/hook")
    async with either.storage.database.write() as connection:
        request = msgspec.json.decode(await connection.scalar(select(runs.c.request)))
        changed = {"request": request | {"an_old_field": 1}, "scenarios": [{"nom": "base"}]}[column]
        await connection.execute(update(runs).values({column: msgspec.json.encode(changed).decode()}))
    assert await lease_of(either, run.id, "worker") is None
    async with either.storage.database.read() as connection:
        found = (await connection.execute(select(runs.c.state, runs.c.error))).one()
        told = await connection.scalar(select(webhook_deliveries.c.url))
    assert (found.state, msgspec.json.decode(found.error)["code"]) == ("failed", "internal")
    assert told == "https://example.com/hook"


async def test_a_request_that_is_no_json_ends_too(either: Jobs) -> None:
    run = await submitted(either, loans(5))
    async with either.storage.database.write() as connection:
        await connection.execute(update(runs).values(request="{"))
    assert await lease_of(either, run.id, "worker") is None
    async with either.storage.database.read() as connection:
        assert await connection.scalar(select(runs.c.state)) == "failed"


async def test_what_the_database_refuses_for_good_is_not_tried_for_ever(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Performer, holding: object) -> bytes:
        raise DataError("INSERT", {}, Exception("value out of range"))

    monkeypatch.setattr(Performer, "compute", refused)
    run = await ended(jobs, (await submitted(jobs, loans(10))).id, 20)
    assert run.error is not None
    assert (run.state, run.error.code) == ("dead", "internal")

"""Runs from submission to result, worked on inside the process."""

from datetime import timedelta

import numpy as np
import pytest

import engine
from api.jobs.service import Jobs
from api.jobs.upkeep import this_worker
from api.rest.health import Health
from api.storage import leadership, sharding, tape_parquet
from api.storage.database import now
from api.storage.errors import Conflict, NotFound
from api.storage.results import as_cashflows
from api.storage.rows import Run, RunRequest, ScenarioChoice
from api.storage.run_inputs import projection_of
from api.storage.runs import input_of
from api.storage.tables import workers
from tests.api.jobs.setting import OWNER, SCENARIOS, ended, loans, stored_tape, submitted


def in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts tapes and scenarios into many shards, as large ones are."""
    monkeypatch.setattr(tape_parquet, "ROW_GROUP", 300)
    monkeypatch.setattr(sharding, "ROW_GROUP", 300)
    monkeypatch.setattr(sharding, "MAX_SCENARIOS", 3)
    monkeypatch.setattr(sharding, "UNCUT_LOAN_MONTHS", 0)


@pytest.mark.parametrize("level", ["pool", "group"])
async def test_a_run_in_shards_gives_what_the_engine_gives(
    jobs: Jobs, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_parts(monkeypatch)
    tape = loans(2_000)
    run = await ended(jobs, (await submitted(jobs, tape, level=level)).id)
    assert (run.state, run.shards, run.shards_done, run.error) == ("succeeded", 4, 4, None)
    assert run.loan_months_done == run.loan_months_total == 4 * int(tape.columns.remaining_term.sum())
    run, found = await jobs.columns(OWNER, run.id)
    flows = as_cashflows(run, found)
    async with jobs.storage.database.read() as connection:
        wanted = await input_of(connection, OWNER, run.id)
    expected = engine.project(projection_of(wanted.request, wanted.scenarios, tape))
    assert (flows.groups, flows.periods, flows.fields) == (expected.groups, expected.periods, expected.fields)
    assert flows.opening_balance == pytest.approx(expected.opening_balance, rel=1e-13)
    for name in expected.fields:
        # The sums are added in another order, no more.
        np.testing.assert_allclose(flows[name], expected[name], rtol=1e-11, atol=1e-6, err_msg=name)


async def test_any_number_of_workers_gives_the_same_bits(
    jobs: Jobs, idle: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_parts(monkeypatch)
    tape = loans(3_000)
    first = await ended(jobs, (await submitted(jobs, tape)).id)
    others = [Jobs(jobs.settings, jobs.storage) for _ in range(3)]
    async with others[0].opened(), others[1].opened(), others[2].opened():
        second = await ended(jobs, (await jobs.rerun(OWNER, first.id)).id)
    results = [(await jobs.columns(OWNER, run.id))[1] for run in (first, second)]
    for one, other in zip(*results, strict=True):
        for name, column in one.columns.items():
            assert column.tobytes() == other.columns[name].tobytes()


async def test_progress_grows_to_all_loan_months(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    in_small_parts(monkeypatch)
    run = await submitted(jobs, loans(2_000))
    seen = [each async for each in jobs.progress(OWNER, run.id)]
    done = [each.loan_months_done for each in seen]
    assert done == sorted(done)
    assert seen[-1].progress == 1.0
    assert [each.version for each in seen] == sorted(each.version for each in seen)


async def test_results_of_others_and_of_unfinished_runs_are_refused(idle: Jobs) -> None:
    run = await submitted(idle, loans(10))
    with pytest.raises(Conflict, match="queued"):
        await idle.columns(OWNER, run.id)
    for work in (idle.columns("bob", run.id), idle.cancel("bob", run.id), idle.get("bob", run.id)):
        with pytest.raises(NotFound):
            await work
    with pytest.raises(NotFound):
        async for _ in idle.progress("bob", run.id):
            pass


async def test_a_run_that_was_queued_while_nobody_worked_is_taken_at_the_next_start(
    settings: object, idle: Jobs
) -> None:
    run = await submitted(idle, loans(100))
    async with Jobs(idle.settings, idle.storage).opened() as jobs:
        assert (await ended(jobs, run.id)).state == "succeeded"


async def test_health_counts_the_workers(jobs: Jobs, idle: Jobs) -> None:
    run: Run = await ended(jobs, (await submitted(jobs, loans(10), scenarios=SCENARIOS[:1])).id)
    found = await jobs.check()
    assert run.state == "succeeded"
    assert (found["alive"], found["concurrency"], found["succeeded"], found["shards_waiting"]) == (1, 1, 1, 0)


async def test_health_shows_where_nobody_works(idle: Jobs) -> None:
    await submitted(idle, loans(10))
    found = await idle.check()
    assert (found["alive"], found["queued"], found["shards_waiting"]) == (0, 1, 1)


async def test_a_worker_that_fell_silent_is_counted_for_fifteen_seconds(either: Jobs) -> None:
    found = []
    for silent in (0, 14, 16):
        async with either.storage.database.write() as connection:
            await leadership.beat(connection, this_worker(1))
            seen = workers.update().values(seen_at=now() - timedelta(seconds=silent))
            await connection.execute(seen)
        found.append((await either.check())["alive"])
    assert found == [1, 2, 0]
    assert "last 15 seconds" in (Health.__doc__ or "")


async def test_an_inline_scenario_takes_the_assumptions_of_the_request(jobs: Jobs) -> None:
    tape = loans(50)
    stored = await stored_tape(jobs.storage, tape)
    assumptions = engine.Assumptions(prepayment=engine.Cpr(rate=0.1))
    choice = ScenarioChoice(scenario=engine.Scenario(name="mine"))
    request = RunRequest(tape_id=stored.id, scenarios=[choice], assumptions=assumptions, fields=["prepayment"])
    run = await ended(jobs, (await jobs.submit(OWNER, request)).id)
    _, (one,) = await jobs.columns(OWNER, run.id)
    asked = engine.ProjectionRequest(tape=tape, assumptions=assumptions, fields=["prepayment"])
    np.testing.assert_allclose(one.columns["prepayment"], engine.project(asked).prepayment, rtol=1e-12)

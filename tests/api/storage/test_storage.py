"""Tapes, scenarios and runs in the database: versions, owners, pages, and what is refused."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from pyarrow import parquet
from sqlalchemy import Connection, func, select

import engine
from api.storage import results, run_inputs, runs, scenarios, sharding, tape_parquet, tapes
from api.storage.database import Database, now
from api.storage.errors import BadCursor, BadRequest, Conflict, NotFound, StaleVersion
from api.storage.objects import ObjectStore, StoredFile
from api.storage.pages import encode_cursor
from api.storage.rows import Run, RunRequest, ScenarioChoice, StoredTape
from api.storage.tables import metadata
from api.storage.tables import runs as runs_table
from api.storage.templates import TEMPLATES
from api.stored import stored_refusal

LARGE = 10**9
LOANS = [
    engine.Loan(balance=1000.0, annual_rate=0.06, remaining_term=3, group="A", loan_id="1"),
    engine.Loan(balance=3000.0, annual_rate=0.03, remaining_term=5, age=7),
]


async def stored(database: Database, store: ObjectStore, owner: str = "ann") -> StoredTape:
    batches = tape_parquet.in_row_groups(engine.Tape.from_loans(LOANS))
    return await tapes.create_tape(database, store, owner, "two loans", batches)


async def accepted(database: Database, store: ObjectStore, owner: str = "ann", **options: Any) -> Run:
    tape = await stored(database, store, owner)
    return await runs.accept_run(database, owner, RunRequest(tape_id=tape.id, **options), max_cells=LARGE)


async def test_the_migrations_make_the_tables_that_are_declared(database: Database) -> None:
    def differences(connection: Connection) -> list[Any]:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    async with database.read() as connection:
        assert await connection.run_sync(differences) == []
    assert await database.is_current()


async def test_a_tape_comes_back_with_its_profile_and_its_loans(database: Database, store: ObjectStore) -> None:
    tape = await stored(database, store)
    assert (tape.loans, tape.loan_months, tape.balance, tape.row_groups) == (2, 8, 4000.0, [8])
    # (1000 x 6% + 3000 x 3%) / 4000 = 3.75%; (1000 x 3 + 3000 x 5) / 4000 = 4.5 months
    assert tape.profile.average_rate == pytest.approx(0.0375, abs=1e-15)
    assert tape.profile.average_term == pytest.approx(4.5, abs=1e-12)
    assert tape.profile.groups == {"A": 1000.0, "": 3000.0}
    async with database.read() as connection:
        assert await tapes.get_tape(connection, "ann", tape.id) == tape
    back = tape_parquet.read_slice(store, tape.object_key, 0, 2)
    arrays, expected = back.arrays(), engine.Tape.from_loans(LOANS).arrays()
    for name in ("balance", "rate", "fee", "payment", "term", "age", "interest_only", "amortization", "group"):
        np.testing.assert_array_equal(getattr(arrays, name), getattr(expected, name), err_msg=name)


def test_columns_are_read_as_they_lie_and_those_that_are_not_wanted_are_not(store: ObjectStore) -> None:
    columns = {"balance": np.arange(1.0, 10.0), "annual_rate": np.full(9, 0.05), "remaining_term": np.arange(12, 21)}
    tape = engine.Tape.from_columns(**columns, loan_id=[f"id {i}" for i in range(9)], age=[0, None, *range(7)])
    store.put_stream("tape", tape_parquet.parquet_stream(tape_parquet.in_row_groups(tape), tape_parquet.Profiler()))
    whole = tape_parquet.read_slice(store, "tape", 0, 9).columns
    part = tape_parquet.read_slice(store, "tape", 0, 9, without=("loan_id",)).columns
    assert whole is not None
    assert part is not None
    assert (list(whole.loan_id), part.loan_id) == ([f"id {i}" for i in range(9)], None)
    for name, column in columns.items():
        np.testing.assert_array_equal(getattr(part, name), column)
        # A view of what was unpacked, where any copy would be writable.
        assert not getattr(part, name).flags.writeable
    assert (part.remaining_term.dtype, part.age.dtype) == (np.int32, np.float64)
    assert np.isnan(part.age).tolist() == [False, True, *[False] * 7]


def test_numbers_are_written_as_codes_only_where_loans_share_them(store: ObjectStore) -> None:
    loans = tape_parquet.ROW_GROUP
    draw = np.random.default_rng(5)
    tape = engine.Tape.from_columns(
        balance=draw.uniform(1e3, 1e6, loans), annual_rate=draw.integers(20, 90, loans) / 1e3,
        remaining_term=draw.integers(12, 361, loans), loan_id=[str(i) for i in range(loans)],
    )  # fmt: skip
    store.put_stream("tape", tape_parquet.parquet_stream(tape_parquet.in_row_groups(tape), tape_parquet.Profiler()))
    about = parquet.read_metadata(StoredFile(store, "tape")).row_group(0)
    coded = {
        column.path_in_schema: column.dictionary_page_offset is not None
        for column in (about.column(j) for j in range(about.num_columns))
    }
    assert coded == {"balance": False, "annual_rate": True, "remaining_term": True, "loan_id": True}


async def test_a_bad_tape_leaves_neither_row_nor_object(database: Database, store: ObjectStore) -> None:
    bad = engine.Tape.from_columns(balance=[1.0, -1.0], annual_rate=0.05, remaining_term=12)
    with pytest.raises(engine.TapeError, match=r"balance\[1\]"):
        await tapes.create_tape(database, store, "ann", "bad", tape_parquet.in_row_groups(bad))
    assert list(store.list()) == []
    async with database.read() as connection:
        assert (await tapes.list_tapes(connection, "ann")).items == []


async def test_a_large_tape_is_cut_into_row_groups_and_shards(
    database: Database, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    loans = 4 * tape_parquet.ROW_GROUP + 5
    columns = {"balance": np.arange(1.0, loans + 1), "annual_rate": 0.05, "remaining_term": np.full(loans, 12)}
    batches = tape_parquet.in_row_groups(engine.Tape.from_columns(**columns))
    tape = await tapes.create_tape(database, store, "ann", "large", batches)
    assert tape.row_groups == [12 * tape_parquet.ROW_GROUP] * 4 + [60]
    part = tape_parquet.read_slice(store, tape.object_key, 3 * tape_parquet.ROW_GROUP, loans)
    assert len(part) == tape_parquet.ROW_GROUP + 5
    assert part.arrays().balance[-1] == loans
    request = RunRequest(tape_id=tape.id, scenarios=[ScenarioChoice(template=name) for name in TEMPLATES])
    for cut, shards in ((False, 1), (True, 2)):
        if cut:
            # As a run of more months would be: this one is done in less than a second.
            monkeypatch.setattr(sharding, "UNCUT_LOAN_MONTHS", 12 * loans * len(TEMPLATES) - 1)
        run = await runs.accept_run(database, "ann", request, max_cells=LARGE)
        assert (run.shards, run.loan_months_total) == (shards, 12 * loans * len(TEMPLATES))


async def test_every_change_of_a_scenario_is_a_version_that_stays(database: Database) -> None:
    first = TEMPLATES["base"][1]
    second = msgspec.structs.replace(first, name="mine", assumptions=engine.Assumptions(severity=0.5))
    async with database.write() as connection:
        made = await scenarios.create_scenario(connection, "ann", first, "the start")
    async with database.write() as connection:
        changed = await scenarios.update_scenario(connection, "ann", made.id, second, expected_version=1)
    assert (changed.version, changed.scenario, changed.description) == (2, second, "the start")
    async with database.write() as connection:
        with pytest.raises(StaleVersion) as caught:
            await scenarios.update_scenario(connection, "ann", made.id, first, expected_version=1)
        assert caught.value.current == 2
    async with database.read() as connection:
        assert (await scenarios.get_scenario(connection, "ann", made.id, 1)).scenario == first
        history = await scenarios.scenario_history(connection, "ann", made.id)
        assert [each.version for each in history] == [2, 1]
        with pytest.raises(NotFound):
            await scenarios.get_scenario(connection, "ann", made.id, 3)


async def test_two_scenarios_of_one_owner_have_two_names(database: Database) -> None:
    scenario = TEMPLATES["base"][1]
    for owner in ("ann", "bob"):
        async with database.write() as connection:
            await scenarios.create_scenario(connection, owner, scenario)
    with pytest.raises(Conflict, match="'base'"):
        async with database.write() as connection:
            await scenarios.create_scenario(connection, "ann", scenario)


async def test_a_faulty_scenario_is_refused_with_every_fault(database: Database) -> None:
    faulty = engine.Scenario(name="", assumptions=engine.Assumptions(severity=2.0))
    async with database.write() as connection:
        with pytest.raises(engine.AssumptionError) as caught:
            await scenarios.create_scenario(connection, "ann", faulty)
    assert [problem.path for problem in caught.value.problems] == ["name", "assumptions.severity"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_projects(name: str) -> None:
    request = engine.ProjectionRequest(tape=engine.Tape.from_loans(LOANS), scenarios=[TEMPLATES[name][1]])
    flows = engine.project(request)
    paid = flows.principal.sum() + flows.loss.sum()
    assert paid == pytest.approx(4000.0, rel=1e-12)


async def test_a_run_pins_its_scenarios_when_it_is_accepted(database: Database, store: ObjectStore) -> None:
    scenario = engine.Scenario(name="mine", assumptions=engine.Assumptions(severity=0.1))
    async with database.write() as connection:
        made = await scenarios.create_scenario(connection, "ann", scenario)
    run = await accepted(database, store, scenarios=[ScenarioChoice(scenario_id=made.id)], fields=["loss"])
    later = msgspec.structs.replace(scenario, assumptions=engine.Assumptions(severity=0.9))
    async with database.write() as connection:
        await scenarios.update_scenario(connection, "ann", made.id, later)
        await scenarios.delete_scenario(connection, "ann", made.id)
    async with database.read() as connection:
        again = await runs.get_run(connection, "ann", run.id)
    assert again == run
    assert (again.state, again.scenarios, again.fields) == ("queued", ["mine"], ["loss"])
    anew = await runs.rerun(database, "ann", run.id, max_cells=LARGE)
    for each in (again, anew):
        async with database.read() as connection:
            assert (await runs.input_of(connection, "ann", each.id)).scenarios == [scenario]


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"fields": ["nonsense"]}, "fields[0]"),
        ({"periods": 0}, "periods"),
        ({"conventions": "none"}, "conventions"),
        ({"assumptions": engine.Assumptions(severity=3.0)}, "assumptions.severity"),
        ({"scenarios": []}, "scenarios"),
        ({"scenarios": [ScenarioChoice()]}, "scenarios[0]"),
        ({"scenarios": [ScenarioChoice(template="base"), ScenarioChoice(template="base")]}, "scenarios[1].name"),
        ({"scenarios": [ScenarioChoice(template="base", version=1)]}, "scenarios[0].version"),
    ],
)
async def test_a_run_the_engine_would_refuse_is_refused_at_once(
    tmp_path: Path, store: ObjectStore, options: dict[str, Any], path: str
) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'one.db'}")
    await database.migrate()
    with pytest.raises(engine.AssumptionError) as caught:
        await accepted(database, store, **options)
    assert path in [problem.path for problem in caught.value.problems]
    await database.dispose()


async def test_a_result_that_would_be_too_large_is_refused(database: Database, store: ObjectStore) -> None:
    tape = await stored(database, store)
    with pytest.raises(engine.AssumptionError, match="asks for 60 numbers"):  # 12 fields x 5 months
        await runs.accept_run(database, "ann", RunRequest(tape_id=tape.id), max_cells=59)


async def test_the_same_key_is_the_same_run_and_another_request_a_conflict(
    database: Database, store: ObjectStore
) -> None:
    tape = await stored(database, store)
    request = RunRequest(tape_id=tape.id)

    async def send() -> Run:
        return await runs.accept_run(database, "ann", request, max_cells=LARGE, idempotency_key="k")

    made = await asyncio.gather(*(send() for _ in range(50)))
    assert len({run.id for run in made}) == 1
    async with database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(runs_table)) == 1
    other = msgspec.structs.replace(request, periods=3)
    with pytest.raises(Conflict, match="another request"):
        await runs.accept_run(database, "ann", other, max_cells=LARGE, idempotency_key="k")
    await stored(database, store, "bob")
    with pytest.raises(NotFound):
        await runs.accept_run(database, "bob", request, max_cells=LARGE, idempotency_key="k")


async def test_nothing_of_somebody_else_is_there(database: Database, store: ObjectStore) -> None:
    run = await accepted(database, store, "ann")
    async with database.write() as connection:
        scenario = await scenarios.create_scenario(connection, "ann", TEMPLATES["base"][1])
    request = RunRequest(tape_id=run.tape_id)
    chosen = RunRequest(
        tape_id=(await stored(database, store, "bob")).id, scenarios=[ScenarioChoice(scenario_id=scenario.id)]
    )

    def within(work: Callable[..., Awaitable[Any]], *arguments: Any) -> Callable[[], Awaitable[Any]]:
        async def call() -> Any:
            async with database.write() as connection:
                return await work(connection, "bob", *arguments)

        return call

    calls: list[Callable[[], Awaitable[Any]]] = [
        within(tapes.get_tape, run.tape_id),
        within(tapes.rename_tape, run.tape_id, "mine"),
        lambda: tapes.delete_tape(database, store, "bob", run.tape_id),
        within(scenarios.get_scenario, scenario.id),
        within(scenarios.get_scenario, scenario.id, 1),
        within(scenarios.scenario_history, scenario.id),
        within(scenarios.update_scenario, scenario.id, TEMPLATES["base"][1]),
        within(scenarios.delete_scenario, scenario.id),
        within(runs.get_run, run.id),
        within(runs.cancel_run, run.id),
        lambda: runs.delete_run(database, store, "bob", run.id),
        lambda: runs.rerun(database, "bob", run.id, max_cells=LARGE),
        lambda: runs.accept_run(database, "bob", request, max_cells=LARGE),
        lambda: runs.accept_run(database, "bob", chosen, max_cells=LARGE),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            await call()
    async with database.read() as connection:
        assert (await runs.list_runs(connection, "bob")).items == []
        assert (await scenarios.list_scenarios(connection, "bob")).items == []
        assert await runs.get_run(connection, "ann", run.id) == run


async def test_pages_hold_every_run_once_though_rows_come_meanwhile(database: Database, store: ObjectStore) -> None:
    tape = await stored(database, store)
    request = RunRequest(tape_id=tape.id)
    made = [(await runs.accept_run(database, "ann", request, max_cells=LARGE)).id for _ in range(7)]
    seen: list[str] = []
    cursor = None
    while True:
        async with database.read() as connection:
            page = await runs.list_runs(connection, "ann", after=cursor, limit=3, states=["queued"], tape_id=tape.id)
        seen += [run.id for run in page.items]
        if (cursor := page.next_cursor) is None:
            break
        await runs.accept_run(database, "ann", request, max_cells=LARGE)
    assert seen == made[::-1]


async def test_filters_leave_out_what_does_not_pass(database: Database, store: ObjectStore) -> None:
    run = await accepted(database, store)
    async with database.read() as connection:
        assert (await runs.list_runs(connection, "ann", states=["succeeded"])).items == []
        assert (await runs.list_runs(connection, "ann", tape_id="tape_other")).items == []
        assert (await runs.list_runs(connection, "ann", created_before=run.created_at)).items == []
        assert (await runs.list_runs(connection, "ann", created_from=run.created_at)).items == [run]
        with pytest.raises(BadRequest, match="lost"):
            await runs.list_runs(connection, "ann", states=["lost"])  # type: ignore[list-item]
        with pytest.raises(BadRequest, match="limit"):
            await runs.list_runs(connection, "ann", limit=101)


async def test_a_cursor_nobody_gave_is_refused(database: Database) -> None:
    async with database.read() as connection:
        for cursor in ("", "x", "=", "AAAA", "ünïcode", encode_cursor(now(), "a")[:-3]):
            with pytest.raises(BadCursor):
                await tapes.list_tapes(connection, "ann", after=cursor)


async def test_a_cancelled_run_is_final_and_can_be_deleted_with_its_tape(
    database: Database, store: ObjectStore
) -> None:
    run = await accepted(database, store)
    with pytest.raises(Conflict, match="not finished"):
        await tapes.delete_tape(database, store, "ann", run.tape_id)
    with pytest.raises(Conflict, match="cancel it first"):
        await runs.delete_run(database, store, "ann", run.id)
    for _ in range(2):
        async with database.write() as connection:
            cancelled = await runs.cancel_run(connection, "ann", run.id)
        assert (cancelled.state, cancelled.version) == ("cancelled", 2)
        assert cancelled.finished_at is not None
    async with database.write() as connection:
        assert not await runs.finish(connection, run.id, "succeeded")
    async with database.read() as connection:
        with pytest.raises(Conflict, match="no result"):
            await results.result_columns(connection, store, cancelled)
    with pytest.raises(Conflict, match="has 1 runs"):
        await tapes.delete_tape(database, store, "ann", run.tape_id)
    await runs.delete_run(database, store, "ann", run.id)
    await tapes.delete_tape(database, store, "ann", run.tape_id)
    assert list(store.list()) == []


@pytest.mark.parametrize("limit", [results.MAX_INLINE_BYTES, 0])
async def test_a_result_comes_back_by_field_and_scenario(
    database: Database, store: ObjectStore, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "MAX_INLINE_BYTES", limit)
    chosen = [ScenarioChoice(template=name) for name in ("base", "housing_bust")]
    run = await accepted(database, store, scenarios=chosen, level="group", fields=["loss", "balance"])
    async with database.read() as connection:
        wanted = await runs.input_of(connection, "ann", run.id)
    flows = engine.project(run_inputs.projection_of(wanted.request, wanted.scenarios, engine.Tape.from_loans(LOANS)))
    rows = results.write_objects(store, run.id, 1, flows.columns)
    async with database.write() as connection:
        await results.insert_results(connection, "ann", rows)
        groups = msgspec.json.encode(flows.groups).decode()
        values = {"periods": flows.periods, "groups": groups, "opening_balance": flows.opening_balance}
        assert await runs.finish(connection, run.id, "succeeded", None, **values)
    async with database.read() as connection:
        run = await runs.get_run(connection, "ann", run.id)
        found = await results.result_columns(connection, store, run)
        back = results.as_cashflows(run, found)
        for name in ("loss", "balance"):
            np.testing.assert_array_equal(back[name], flows[name])
        assert (back.groups, back.scenario_names) == (flows.groups, flows.scenario_names)
        (one,) = await results.result_columns(connection, store, run, fields=["balance"], scenarios=["housing_bust"])
        assert list(one.columns) == ["balance"]
        np.testing.assert_array_equal(one.columns["balance"], flows["balance"][1])
        for asked in ({"fields": ["interest"]}, {"scenarios": ["fast"]}, {"fields": []}):
            with pytest.raises(BadRequest):
                await results.result_columns(connection, store, run, **asked)
    await runs.delete_run(database, store, "ann", run.id)
    assert [info.key for info in store.list()] == [f"tapes/{run.tape_id}.parquet"]


async def test_times_are_utc_and_the_row_from_before_the_upgrade_is_there(
    database: Database, request: pytest.FixtureRequest
) -> None:
    async with database.read() as connection:
        rows = (await connection.exec_driver_sql("SELECT id FROM tapes")).scalars().all()
    expected = ["tape_old"] if "upgraded" in request.node.callspec.id else []
    assert rows == expected


async def test_processes_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    made = [Database(f"sqlite+aiosqlite:///{tmp_path / 'state' / 'new.db'}") for _ in range(4)]
    await asyncio.gather(*(each.migrate() for each in made))
    assert all([await each.is_current() for each in made])
    for each in made:
        await each.dispose()


async def test_a_text_that_postgresql_cannot_hold_is_refused_before_any_database(database: Database) -> None:
    scenario = engine.Scenario(name="with a NUL \0 in it")
    with pytest.raises(
        engine.AssumptionError, match=r"^name holds the character U\+0000 at place 11; expected"
    ) as told:
        async with database.write() as connection:
            await scenarios.create_scenario(connection, "ann", scenario)
    assert stored_refusal(told.value).status == 422
    # What is looked for under such an id is not there.
    with pytest.raises(NotFound):
        async with database.read() as connection:
            await scenarios.get_scenario(connection, "ann", "a\0b")

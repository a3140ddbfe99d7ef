"""What a run projects is kept once, and listings read none of it."""

from typing import Any

import msgspec
import pytest
from sqlalchemy import select, update

import engine
from api.storage import run_inputs, runs, scenarios, tape_parquet, tapes
from api.storage.database import Database
from api.storage.errors import BadRequest, Conflict
from api.storage.objects import ObjectStore
from api.storage.rows import Run, RunRequest, ScenarioChoice
from api.storage.tables import runs as runs_table

LARGE = 10**9
LOANS = [
    engine.Loan(balance=1000.0, annual_rate=0.06, remaining_term=3, group="A"),
    engine.Loan(balance=3000.0, annual_rate=0.03, remaining_term=5),
]
# Some 30 kB of JSON.
LONG = engine.Assumptions(prepayment=engine.Vector(unit="cpr", values=[i / 10_000 for i in range(4_000)]))
LATE = engine.Assumptions(default=engine.Cdr(rate=0.01), severity=0.4, recovery_lag=30)


async def accepted(database: Database, store: ObjectStore, max_cells: int = LARGE, **options: Any) -> Run:
    batches = tape_parquet.in_row_groups(engine.Tape.from_loans(LOANS))
    tape = await tapes.create_tape(database, store, "ann", "two loans", batches)
    return await runs.accept_run(database, "ann", RunRequest(tape_id=tape.id, **options), max_cells=max_cells)


async def texts_of(database: Database, id: str) -> dict[str, Any]:
    async with database.read() as connection:
        query = select(runs_table.c.request, runs_table.c.scenarios, runs_table.c.heading)
        return dict((await connection.execute(query.where(runs_table.c.id == id))).one()._mapping)


async def projected(database: Database, id: str) -> engine.Cashflows:
    async with database.read() as connection:
        found = await runs.input_of(connection, "ann", id)
    return engine.project(run_inputs.projection_of(found.request, found.scenarios, engine.Tape.from_loans(LOANS)))


async def test_assumptions_that_scenarios_share_are_kept_once(database: Database, store: ObjectStore) -> None:
    chosen = [ScenarioChoice(scenario=engine.Scenario(name=f"s{i}")) for i in range(50)]
    run = await accepted(database, store, scenarios=chosen, assumptions=LONG)
    texts = await texts_of(database, run.id)
    once = len(msgspec.json.encode(LONG))
    assert once > 25_000
    assert sum(len(text) for text in texts.values()) < once + 6_000
    assert run.scenarios == [f"s{i}" for i in range(50)]
    tape = engine.Tape.from_loans(LOANS)
    own = engine.project(engine.ProjectionRequest(tape=tape, assumptions=LONG))
    flows = await projected(database, run.id)
    assert flows["prepayment"][49].tolist() == own["prepayment"].tolist()
    assert own["prepayment"].sum() > 0


async def test_scenarios_written_out_are_kept_in_the_request_and_others_beside_it(
    database: Database, store: ObjectStore
) -> None:
    mine = engine.Scenario(name="mine", assumptions=LONG)
    async with database.write() as connection:
        made = await scenarios.create_scenario(connection, "ann", mine)
    written = msgspec.structs.replace(mine, name="written out")
    chosen = [ScenarioChoice(scenario=written), ScenarioChoice(scenario_id=made.id), ScenarioChoice(template="base")]
    run = await accepted(database, store, scenarios=chosen)
    texts = await texts_of(database, run.id)
    once = len(msgspec.json.encode(LONG))
    assert sum(len(text) for text in texts.values()) < 2 * once + 6_000
    async with database.write() as connection:
        await scenarios.delete_scenario(connection, "ann", made.id)
    anew = await runs.rerun(database, "ann", run.id, max_cells=LARGE)
    for each in (run, anew):
        async with database.read() as connection:
            found = await runs.input_of(connection, "ann", each.id)
        assert found.scenarios == [written, mine, scenarios.template("base")]


async def test_what_runs_pin_is_bounded(
    database: Database, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_inputs, "MAX_PINNED_BYTES", 40_000)
    chosen = []
    for name in ("one", "two"):
        async with database.write() as connection:
            scenario = engine.Scenario(name=name, assumptions=LONG)
            chosen.append(ScenarioChoice(scenario_id=(await scenarios.create_scenario(connection, "ann", scenario)).id))
    await accepted(database, store, scenarios=chosen[:1])
    with pytest.raises(engine.AssumptionError, match="bytes of assumptions"):
        await accepted(database, store, scenarios=chosen)


async def test_listings_and_progress_read_neither_request_nor_scenarios(database: Database, store: ObjectStore) -> None:
    run = await accepted(database, store, scenarios=[ScenarioChoice(template="base")], fields=["loss"], level="group")
    async with database.write() as connection:
        await connection.execute(update(runs_table).values(request="no JSON", scenarios="neither"))
    async with database.read() as connection:
        assert (await runs.list_runs(connection, "ann")).items == [run]
        assert await runs.get_run(connection, "ann", run.id) == run
        assert (run.scenarios, run.fields, run.level) == (["base"], ["loss"], "group")
        with pytest.raises(Conflict, match="cannot be read any more"):
            await runs.input_of(connection, "ann", run.id)
    with pytest.raises(Conflict, match="cannot be read any more"):
        await runs.rerun(database, "ann", run.id, max_cells=LARGE)


@pytest.mark.parametrize("broken", [False, True])
async def test_a_run_from_before_there_were_headings_is_shown(
    database: Database, store: ObjectStore, broken: bool
) -> None:
    """Its row has all scenarios with their assumptions, as they were kept then."""
    run = await accepted(database, store, scenarios=[ScenarioChoice(template="base")], fields=["loss"])
    pinned = "[1]" if broken else msgspec.json.encode([scenarios.template("base")]).decode()
    async with database.write() as connection:
        await connection.execute(update(runs_table).values(heading=None, scenarios=pinned))
    async with database.read() as connection:
        (listed,) = (await runs.list_runs(connection, "ann")).items
    assert (listed.scenarios, listed.fields) == (([], None) if broken else (["base"], ["loss"]))
    if not broken:
        assert listed == run
        assert (await projected(database, run.id)).scenario_names == ("base",)


@pytest.mark.parametrize(
    "assumptions",
    [
        LATE,
        engine.Assumptions(groups={"A": LATE}),
        engine.Assumptions(rules=[engine.Rule(where={"group": engine.Condition(one_of=["A"])}, assumptions=LATE)]),
        msgspec.structs.replace(LATE, recovery_lag=0, recovery_stages=[0.5, *[0.0] * 29, 0.5]),
    ],
    ids=["all", "groups", "rules", "stages"],
)
async def test_the_size_of_a_result_counts_the_months_of_the_longest_lag_wherever_it_stands(
    database: Database, store: ObjectStore, assumptions: engine.Assumptions
) -> None:
    """Five months of loans and thirty of recoveries are 35 numbers, as the engine gives."""
    flows = engine.project(
        engine.ProjectionRequest(tape=engine.Tape.from_loans(LOANS), assumptions=assumptions, fields=["loss"])
    )
    assert flows.periods == 35
    await accepted(database, store, 35, assumptions=assumptions, fields=["loss"])
    with pytest.raises(engine.AssumptionError, match="35 numbers"):
        await accepted(database, store, 34, assumptions=assumptions, fields=["loss"])


async def test_running_again_with_a_key_makes_one_run(database: Database, store: ObjectStore) -> None:
    old = await accepted(database, store)

    async def again(key: str | None, id: str = old.id) -> Run:
        return await runs.rerun(database, "ann", id, max_cells=LARGE, idempotency_key=key)

    first = await again("k")
    assert (await again("k")).id == first.id
    others = {(await again("other")).id, (await again(None)).id, (await again(None)).id}
    assert len(others | {first.id, old.id}) == 5
    with pytest.raises(Conflict, match="another request"):
        await again("k", first.id)
    with pytest.raises(Conflict, match="another request"):
        await accepted_with_key(database, old, "k")
    with pytest.raises(BadRequest):
        await again("")


async def accepted_with_key(database: Database, old: Run, key: str) -> Run:
    request = RunRequest(tape_id=old.tape_id)
    return await runs.accept_run(database, "ann", request, max_cells=LARGE, idempotency_key=key)

"""Stored results: float64 columns by run, scenario and field; a selection is one query for exactly those."""

import asyncio
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from pyarrow import PythonFile, parquet
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

import engine
from api.storage.errors import BadRequest, Conflict
from api.storage.objects import ObjectStore, StoredFile
from api.storage.rows import Run
from api.storage.run_inputs import fields_of
from api.storage.tables import results
from api.storage.tape_parquet import Sink

# Columns of a scenario beyond this go to the object store.
MAX_INLINE_BYTES = 2 * 1024 * 1024
LITTLE = np.dtype("<f8")


class ScenarioColumns(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of one scenario: float64 (periods,), or (groups, periods) at group level."""

    scenario: int
    columns: dict[str, NDArray[np.float64]]


def cells_chosen(run: Run, fields: Sequence[str] | None, scenarios: Sequence[str] | None) -> int:
    """Numbers in the columns that result_columns gives, known before any is read; 0 where there is no result yet.

    Raises BadRequest for a field or scenario that the run has not.
    """
    if run.state != "succeeded":
        return 0
    columns = len(selected("fields", fields, fields_of(run.fields)))
    blocks = len(selected("scenarios", scenarios, run.scenarios))
    return columns * blocks * (run.periods or 0) * (len(run.groups) if run.level == "group" else 1)


async def result_columns(
    connection: AsyncConnection,
    store: ObjectStore,
    run: Run,
    *,
    fields: Sequence[str] | None = None,
    scenarios: Sequence[str] | None = None,
) -> list[ScenarioColumns]:
    """The columns of a run that has succeeded: those fields (all by default) of those scenarios, by name.

    run: as get_run gave it to its owner. Raises Conflict while there is no result, BadRequest for a field or scenario
    that the run has not.
    """
    if run.state != "succeeded":
        raise Conflict(f"run {run.id!r} is {run.state}; it has no result")
    chosen = selected("fields", fields, fields_of(run.fields))
    places = [run.scenarios.index(name) for name in selected("scenarios", scenarios, run.scenarios)]
    query = select(results.c.scenario, results.c.field, results.c["values"], results.c.object_key).where(
        results.c.run_id == run.id, results.c.owner == run.owner, results.c.field.in_(chosen)
    )
    if scenarios is not None:
        query = query.where(results.c.scenario.in_(places))
    rows = {(row.scenario, row.field): row for row in (await connection.execute(query)).all()}
    found: list[ScenarioColumns] = []
    for place in places:
        keys = {row.object_key for field in chosen if (row := rows[place, field]).object_key is not None}
        stored = await asyncio.to_thread(read_columns, store, keys.pop(), chosen) if keys else {}
        flat = {name: stored[name] if stored else np.frombuffer(rows[place, name][2], LITTLE) for name in chosen}
        shape = (len(run.groups), run.periods or 0) if run.level == "group" else (run.periods or 0,)
        found.append(ScenarioColumns(scenario=place, columns={n: column.reshape(shape) for n, column in flat.items()}))
    return found


def as_cashflows(run: Run, found: list[ScenarioColumns]) -> engine.Cashflows:
    """The columns as the engine's result, which every encoder takes."""
    several = len(found) > 1
    names = list(found[0].columns)
    columns = {n: np.stack([each.columns[n] for each in found]) if several else found[0].columns[n] for n in names}
    return engine.Cashflows(
        columns=columns,
        level=run.level,
        scenario_names=tuple(run.scenarios[each.scenario] for each in found),
        groups=tuple(run.groups) if run.level == "group" else (),
        loan_ids=None,
        opening_balance=run.opening_balance or 0.0,
        periods=run.periods or 0,
    )


def selected(path: str, asked: Sequence[str] | None, known: list[str]) -> list[str]:
    """What is asked for, each once; all that is known by default. Raises BadRequest."""
    if asked is None:
        return known
    for i, name in enumerate(asked):
        if name not in known:
            shown = ", ".join(known[:40])
            raise BadRequest(f"{path}[{i}]", f"is {name!r}, which the run does not have; expected one of {shown}")
    if not asked:
        raise BadRequest(path, "is empty; expected at least one")
    return list(dict.fromkeys(asked))


def object_key(run_id: str, fence: int, scenario: int) -> str:
    """Where a large scenario's columns go: whoever folds writes under its own fence, and a late one harms nobody."""
    return f"results/{run_id}/{fence}/{scenario}.parquet"


def write_objects(
    store: ObjectStore, run_id: str, fence: int, columns: dict[str, NDArray[np.float64]], first: int = 0
) -> list[dict[str, object]]:
    """The rows of the results, without owner; what is large is written to the object store first.

    columns: (scenarios, ...) by field; first: number of the first scenario.
    """
    rows: list[dict[str, object]] = []
    for i in range(len(next(iter(columns.values())))):
        flat = {name: np.ascontiguousarray(column[i], LITTLE).ravel() for name, column in columns.items()}
        key = None
        if sum(column.nbytes for column in flat.values()) > MAX_INLINE_BYTES:
            key = object_key(run_id, fence, first + i)
            store.put_stream(key, parquet_bytes(flat))
        for name, column in flat.items():
            values = None if key else column.tobytes()
            rows.append({"run_id": run_id, "scenario": first + i, "field": name, "values": values, "object_key": key})
    return rows


async def insert_results(connection: AsyncConnection, owner: str, rows: list[dict[str, object]]) -> None:
    """Writes the rows; a second result of a run breaks the primary key."""
    await connection.execute(insert(results), [{**row, "owner": owner} for row in rows])


def parquet_bytes(columns: dict[str, NDArray[np.float64]]) -> list[bytes]:
    import pyarrow as pa

    sink = Sink()
    parquet.write_table(pa.table(dict(columns)), sink, compression="zstd")
    return sink.take()


def read_columns(store: ObjectStore, key: str, fields: list[str]) -> dict[str, NDArray[np.float64]]:
    table = parquet.read_table(PythonFile(StoredFile(store, key), mode="r"), columns=fields)
    return {name: table.column(name).to_numpy() for name in fields}

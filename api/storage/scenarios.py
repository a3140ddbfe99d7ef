"""Stored scenarios: every change is a new version, and every version stays readable."""

import msgspec
from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

import engine
from api.storage.database import new_id, now
from api.storage.errors import BadRequest, Conflict, NotFound, StaleVersion
from api.storage.pages import DEFAULT_PAGE, MAX_PAGE, Page, page_of
from api.storage.rows import StoredScenario
from api.storage.tables import scenario_versions, scenarios
from api.storage.templates import TEMPLATES
from api.storage.texts import MAX_DESCRIPTION, MAX_NAME, text_fault, unstorable
from engine.errors import AssumptionError, Problem

from_json = msgspec.json.Decoder(engine.Scenario)


async def create_scenario(
    connection: AsyncConnection, owner: str, scenario: engine.Scenario, description: str = ""
) -> StoredScenario:
    """The scenario at version 1. Raises AssumptionError, Conflict where the owner has one of that name."""
    body = body_of(scenario, description)
    id, at = new_id("scenario"), now()
    values = {"id": id, "owner": owner, "name": scenario.name, "description": description, "version": 1, "body": body}
    try:
        await connection.execute(insert(scenarios).values(**values, created_at=at, updated_at=at))
    except IntegrityError as error:
        raise Conflict(f"there is a scenario named {scenario.name!r} already") from error
    await add_version(connection, owner, id, 1, description, body)
    return await get_scenario(connection, owner, id)


async def update_scenario(
    connection: AsyncConnection,
    owner: str,
    id: str,
    scenario: engine.Scenario,
    description: str | None = None,
    expected_version: int | None = None,
) -> StoredScenario:
    """The scenario at its next version. Raises AssumptionError, NotFound, StaleVersion, Conflict for a taken name."""
    body = body_of(scenario, description or "")
    held = await held_row(connection, owner, id, expected_version)
    text = held.description if description is None else description
    version = held.version + 1
    change = update(scenarios).where(scenarios.c.owner == owner, scenarios.c.id == id)
    values = {"name": scenario.name, "description": text, "version": version, "body": body, "updated_at": now()}
    try:
        await connection.execute(change.values(**values))
    except IntegrityError as error:
        raise Conflict(f"there is a scenario named {scenario.name!r} already") from error
    await add_version(connection, owner, id, version, text, body)
    return await get_scenario(connection, owner, id)


async def get_scenario(connection: AsyncConnection, owner: str, id: str, version: int | None = None) -> StoredScenario:
    """The owner's scenario, at an earlier version if asked for. Raises NotFound."""
    query = select(scenarios).where(scenarios.c.owner == owner, scenarios.c.id == id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound("scenario", id)
    if version is None or version == row.version:
        return scenario_of(row)
    query = versions_of(owner, id).where(scenario_versions.c.version == version)
    earlier = (await connection.execute(query)).one_or_none()
    if earlier is None:
        raise NotFound("scenario version", f"{id}/{version}")
    return version_of(earlier, row)


async def list_scenarios(
    connection: AsyncConnection, owner: str, *, after: str | None = None, limit: int = DEFAULT_PAGE
) -> Page[StoredScenario]:
    """A page of the owner's scenarios, newest first. Raises BadCursor."""
    query = select(scenarios).where(scenarios.c.owner == owner)
    return await page_of(connection, query, scenarios, scenario_of, after=after, limit=limit)


async def scenario_history(
    connection: AsyncConnection, owner: str, id: str, *, before: int | None = None, limit: int = DEFAULT_PAGE
) -> list[StoredScenario]:
    """The versions of a scenario, newest first, those below `before` if given. Raises NotFound."""
    if not 1 <= limit <= MAX_PAGE:
        raise BadRequest("limit", f"is {limit}; expected 1 to {MAX_PAGE}")
    query = select(scenarios).where(scenarios.c.owner == owner, scenarios.c.id == id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound("scenario", id)
    versions = versions_of(owner, id).order_by(scenario_versions.c.version.desc()).limit(limit)
    if before is not None:
        versions = versions.where(scenario_versions.c.version < before)
    return [version_of(each, row) for each in (await connection.execute(versions)).all()]


async def delete_scenario(
    connection: AsyncConnection, owner: str, id: str, expected_version: int | None = None
) -> None:
    """Deletes a scenario and its history; runs keep what they pinned. Raises NotFound, StaleVersion."""
    await held_row(connection, owner, id, expected_version)
    await connection.execute(delete(scenarios).where(scenarios.c.owner == owner, scenarios.c.id == id))


async def held_row(
    connection: AsyncConnection, owner: str, id: str, expected_version: int | None
) -> Row[tuple[object, ...]]:
    """The row, held until the transaction ends. Raises NotFound, StaleVersion."""
    query = select(scenarios).where(scenarios.c.owner == owner, scenarios.c.id == id).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound("scenario", id)
    if expected_version is not None and row.version != expected_version:
        raise StaleVersion("scenario", id, expected_version, row.version)
    return row


async def add_version(
    connection: AsyncConnection, owner: str, id: str, version: int, description: str, body: str
) -> None:
    values = {"scenario_id": id, "version": version, "owner": owner, "description": description, "body": body}
    await connection.execute(insert(scenario_versions).values(**values, created_at=now()))


def body_of(scenario: engine.Scenario, description: str) -> str:
    """The JSON of a scenario as it is stored. Raises AssumptionError with every fault of it and of its description."""
    told = {
        "name": text_fault(scenario.name, 1, MAX_NAME),
        "description": text_fault(description, 0, MAX_DESCRIPTION),
    }
    problems = [Problem(path, fault) for path, fault in told.items() if fault is not None]
    if scenario.assumptions is not None:
        problems += scenario.assumptions.problems("assumptions")
    if problems:
        raise AssumptionError(problems)
    body = msgspec.json.encode(scenario)
    if problems := unstorable(body):
        raise AssumptionError(problems)
    return body.decode()


def template(name: str) -> engine.Scenario:
    """The template of that name. Raises NotFound."""
    if name not in TEMPLATES:
        raise NotFound("template", name)
    return TEMPLATES[name][1]


def versions_of(owner: str, id: str):  # type: ignore[no-untyped-def]
    owned = (scenario_versions.c.owner == owner, scenario_versions.c.scenario_id == id)
    return select(scenario_versions).where(*owned)


def scenario_of(row: Row[tuple[object, ...]]) -> StoredScenario:
    values = row._mapping
    return StoredScenario(
        id=values["id"], owner=values["owner"], version=values["version"], description=values["description"],
        scenario=from_json.decode(values["body"]), created_at=values["created_at"], updated_at=values["updated_at"],
    )  # fmt: skip


def version_of(earlier: Row[tuple[object, ...]], row: Row[tuple[object, ...]]) -> StoredScenario:
    values = earlier._mapping
    return StoredScenario(
        id=row._mapping["id"], owner=values["owner"], version=values["version"], description=values["description"],
        scenario=from_json.decode(values["body"]), created_at=row._mapping["created_at"],
        updated_at=values["created_at"],
    )  # fmt: skip

"""Changes: all that REST can do to stored tapes, scenarios and runs, under the same roles."""

from typing import Annotated, Any

import msgspec
import strawberry
from msgspec import inspect

import engine
from api.faults import OfTape, type_refusal
from api.graphql.inputs import plain, struct_input
from api.graphql.refusals import graphql_error
from api.graphql.stored import Context, Id, Run, ScenarioVersion, Tape, owner_of, refusing, storage_of
from api.graphql.texts import first_line
from api.roles import asks
from api.storage.rows import RunRequest
from api.storage.scenarios import create_scenario, delete_scenario, update_scenario
from api.storage.tape_parquet import in_row_groups
from api.storage.tapes import create_tape, delete_tape, rename_tape
from api.storage.texts import MAX_KEY, MAX_NAME
from api.stored import ScenarioBody, checked_name, run_view, scenario_view, tape_view


def input_of(cls: type[msgspec.Struct]) -> Any:
    kind = inspect.type_info(cls)
    assert isinstance(kind, inspect.StructType)
    return struct_input(kind)


ScenarioArgument: Any = Annotated[input_of(ScenarioBody), strawberry.argument(description=first_line(ScenarioBody))]
RunArgument: Any = Annotated[input_of(RunRequest), strawberry.argument(description=first_line(RunRequest))]
TapeArgument: Any = Annotated[input_of(engine.Tape), strawberry.argument(description=first_line(engine.Tape))]
Version = Annotated[int | None, strawberry.argument(description="The version that the change is based on.")]
Name = Annotated[str, strawberry.argument(description=f"The name, 1 to {MAX_NAME} characters.")]
Key = Annotated[
    str | None,
    strawberry.argument(
        description=f"1 to {MAX_KEY} characters; the same key with the same request gives the same run."
    ),
]


def changed(text: str) -> Any:
    return strawberry.mutation(description=text, permission_classes=[asks("analyst")])


def as_struct(given: Any, kind: Any, path: str) -> Any:
    """An input as a Struct. Raises GraphQLError with the path to the fault."""
    try:
        return msgspec.convert(plain(given), kind)
    except msgspec.ValidationError as error:
        raise graphql_error(type_refusal(error, plain(given), kind, path)) from error


@strawberry.type(description="Changes to what is stored.")
class Mutation:
    @changed("Stores a tape; files are uploaded to /v1/tapes.")
    @refusing
    async def create_tape(self, info: Context, name: Name, tape: TapeArgument) -> Tape:
        body = plain(tape)
        try:
            given = msgspec.convert(body, engine.Tape)
        except msgspec.ValidationError as error:
            raise type_refusal(error, {"tape": body}, OfTape) from error
        given.arrays()
        storage = storage_of(info)
        batches = in_row_groups(given)
        most = info.context["settings"].max_tape_loans
        stored = await create_tape(storage.database, storage.objects, owner_of(info), checked_name(name), batches, most)
        return tape_view(stored)

    @changed("Renames a tape.")
    @refusing
    async def rename_tape(self, info: Context, id: Id, name: Name, expected_version: Version = None) -> Tape:
        async with storage_of(info).database.write() as connection:
            found = await rename_tape(connection, owner_of(info), id, checked_name(name), expected_version)
        return tape_view(found)

    @changed("Deletes a tape that no run is on; answers with its id.")
    @refusing
    async def delete_tape(self, info: Context, id: Id, expected_version: Version = None) -> strawberry.ID:
        storage = storage_of(info)
        await delete_tape(storage.database, storage.objects, owner_of(info), id, expected_version)
        return id

    @changed("Stores a scenario.")
    @refusing
    async def create_scenario(self, info: Context, scenario: ScenarioArgument) -> ScenarioVersion:
        given = as_struct(scenario, ScenarioBody, "scenario")
        async with storage_of(info).database.write() as connection:
            stored = await create_scenario(connection, owner_of(info), given.scenario, given.description)
        return scenario_view(stored)

    @changed("Stores the next version of a scenario.")
    @refusing
    async def update_scenario(
        self, info: Context, id: Id, scenario: ScenarioArgument, expected_version: Version = None
    ) -> ScenarioVersion:
        given = as_struct(scenario, ScenarioBody, "scenario")
        async with storage_of(info).database.write() as connection:
            stored = await update_scenario(
                connection, owner_of(info), id, given.scenario, given.description, expected_version
            )
        return scenario_view(stored)

    @changed("Deletes a scenario and its history; answers with its id.")
    @refusing
    async def delete_scenario(self, info: Context, id: Id, expected_version: Version = None) -> strawberry.ID:
        async with storage_of(info).database.write() as connection:
            await delete_scenario(connection, owner_of(info), id, expected_version)
        return id

    @changed("Runs a stored tape on the workers.")
    @refusing
    async def submit_run(self, info: Context, request: RunArgument, idempotency_key: Key = None) -> Run:
        asked = as_struct(request, RunRequest, "request")
        return run_view(await info.context["jobs"].submit(owner_of(info), asked, idempotency_key))

    @changed("Cancels a run that is queued or running.")
    @refusing
    async def cancel_run(self, info: Context, id: Id) -> Run:
        return run_view(await info.context["jobs"].cancel(owner_of(info), id))

    @changed("Runs the same again, on the scenarios as they were pinned.")
    @refusing
    async def rerun(self, info: Context, id: Id, idempotency_key: Key = None) -> Run:
        return run_view(await info.context["jobs"].rerun(owner_of(info), id, idempotency_key))

    @changed("Deletes a run that has ended, with its result; answers with its id.")
    @refusing
    async def delete_run(self, info: Context, id: Id) -> strawberry.ID:
        await info.context["jobs"].delete(owner_of(info), id)
        return id

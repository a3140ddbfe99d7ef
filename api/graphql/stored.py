"""Stored tapes, scenarios and runs: read one by one, listed by pages, results by the columns that a query selects."""

import functools
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Optional

import msgspec
import strawberry
from graphql import GraphQLError
from msgspec import inspect
from strawberry.types import Info

import engine
from api.graphql.connections import DEFAULT_PAGE, After, First, connected, connection_of
from api.graphql.outputs import output_kind, output_of
from api.graphql.projections import Projection, selected
from api.graphql.refusals import graphql_error, invalid
from api.graphql.types import CashflowColumns, Summary, View, to_summary
from api.storage.opened import Storage
from api.storage.results import as_cashflows, cells_chosen, result_columns
from api.storage.rows import Run as StoredRun
from api.storage.rows import RunRequest, RunState
from api.storage.run_inputs import fields_of, projection_of
from api.storage.runs import get_run, input_of, list_runs, request_of
from api.storage.scenarios import get_scenario, list_scenarios, scenario_history
from api.storage.tapes import get_tape, list_tapes
from api.storage.templates import TEMPLATES
from api.stored import RunView, ScenarioView, TapeView, TemplateView, run_view, scenario_view, stored_refusal, tape_view
from engine.fields import FIELD_INDEX
from engine.summary import summary_of

Context = Info[Any, Any]
Id = Annotated[strawberry.ID, strawberry.argument(description="The id.")]
Version = Annotated[int | None, strawberry.argument(description="An earlier version; the current one by default.")]
Before = Annotated[int | None, strawberry.argument(description="Only versions below this one.")]
Names = Annotated[
    list[str] | None, strawberry.argument(description="Names of scenarios of the run; all of them by default.")
]


def storage_of(info: Context) -> Storage:
    storage: Storage = info.context["storage"]
    return storage


def owner_of(info: Context) -> str:
    return str(info.context["caller"].subject)


def refusing(resolver: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The resolver, whose refusals become GraphQL errors with a code; errors that have one pass."""

    @functools.wraps(resolver)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return await resolver(*args, **kwargs)
        except GraphQLError:
            raise
        except Exception as error:
            raise graphql_error(stored_refusal(error, "graphql")) from error

    return wrapped


async def flows_of(
    info: Context, run: RunView, parent: str, scenarios: list[str] | None = None
) -> tuple[StoredRun, engine.Cashflows]:
    """The run and the columns that the query selects below the field: one query for exactly those."""
    names = selected([s for field in info.selected_fields for s in field.selections], parent)
    fields = sorted(names, key=FIELD_INDEX.__getitem__) or None
    async with storage_of(info).database.read() as connection:
        stored = await get_run(connection, owner_of(info), run.id)
        wanted = fields or fields_of(stored.fields)[:1]
        await info.context["meter"].charge(cells_chosen(stored, wanted, scenarios))
        found = await result_columns(connection, storage_of(info).objects, stored, fields=wanted, scenarios=scenarios)
    return stored, as_cashflows(stored, found)


@refusing
async def cashflows_of(root: RunView, info: Context, scenarios: Names = None) -> Projection | None:
    stored, cashflows = await flows_of(info, root, "cashflows", scenarios)
    async with storage_of(info).database.read() as connection:
        wanted = await input_of(connection, owner_of(info), stored.id)
    chosen = [each for each in wanted.scenarios if scenarios is None or each.name in scenarios]
    return Projection(cashflows=cashflows, request=projection_of(wanted.request, chosen, engine.Tape()))


@refusing
async def request_shown(root: RunView, info: Context) -> Any:
    async with storage_of(info).database.read() as connection:
        text = bytes(await request_of(connection, owner_of(info), root.id))
    await info.context["meter"].charge(len(text) // 8)
    return msgspec.json.decode(text)


@strawberry.type(description="A scenario beside another: its columns less the other's.")
class ScenarioComparison:
    cashflows: strawberry.Private[engine.Cashflows]
    name: str = strawberry.field(description="The scenario's name.")
    base: str = strawberry.field(description="The scenario that it is compared with.")

    @strawberry.field(description="The columns of the scenario less those of the base.")
    def columns(self) -> CashflowColumns:
        return View(self.cashflows, ())

    @strawberry.field(description="The figures of the scenario itself.")
    def summary(self) -> Summary:
        return to_summary(summary_of(self.own))

    own: strawberry.Private[engine.Cashflows]


Base = Annotated[str, strawberry.argument(description="The scenario that the others are compared with.")]


@refusing
async def comparison_of(
    root: RunView, info: Context, base: Base, scenarios: Names = None
) -> list[ScenarioComparison] | None:
    others = [name for name in root.scenarios if name != base] if scenarios is None else scenarios
    if root.level == "group":
        raise invalid("comparison is of runs at pool level; this one is by group")
    _, cashflows = await flows_of(info, root, "comparison", list(dict.fromkeys([base, *others])))
    names = cashflows.scenario_names
    parts = {name: cashflows.scenario(i) if cashflows.several else cashflows for i, name in enumerate(names)}
    found = []
    for name in others:
        columns = {field: parts[name].columns[field] - parts[base].columns[field] for field in cashflows.fields}
        less = engine.Cashflows(
            columns=columns, level="pool", scenario_names=(name,), groups=(), loan_ids=None,
            opening_balance=parts[name].opening_balance, periods=cashflows.periods,
        )  # fmt: skip
        found.append(ScenarioComparison(cashflows=less, own=parts[name], name=name, base=base))
    return found


def resolved(resolver: Any, text: str) -> Any:
    return strawberry.field(resolver=resolver, description=text)


Tape: Any = output_of(TapeView)
ScenarioTemplate: Any = output_of(TemplateView)
ScenarioVersion: Any = output_of(ScenarioView)
Run: Any = output_of(
    RunView,
    request=(
        output_kind("request", inspect.type_info(RunRequest)),
        resolved(request_shown, "What it was accepted with; read where it is selected."),
    ),
    # A field that must have a value would take the whole listing with it where one of its runs has no result.
    cashflows=(
        Projection | None,
        resolved(
            cashflows_of, "The result; only the columns that are selected are read. Null, with an error, without one."
        ),
    ),
    comparison=(
        list[ScenarioComparison] | None,
        resolved(
            comparison_of,
            "Scenarios beside one of them, as differences; at pool level. Null, with an error, without a result.",
        ),
    ),
)
TapeConnection: Any = connection_of("Tape", Tape)
ScenarioConnection: Any = connection_of("Scenario", ScenarioVersion)
RunConnection: Any = connection_of("Run", Run)
State: Any = output_kind("state", inspect.type_info(RunState))
Filter = strawberry.argument(description="Only runs like this.")


@strawberry.type
class StoredQuery:
    @strawberry.field(description="The caller's tapes, newest first.")
    @refusing
    async def tapes(self, info: Context, first: First = DEFAULT_PAGE, after: After = None) -> TapeConnection:
        async with storage_of(info).database.read() as connection:
            page = await list_tapes(connection, owner_of(info), after=after, limit=first)
        return connected(TapeConnection, page, tape_view, after)

    @strawberry.field(description="A stored tape.")
    @refusing
    async def tape(self, info: Context, id: Id) -> Tape:
        async with storage_of(info).database.read() as connection:
            return tape_view(await get_tape(connection, owner_of(info), id))

    @strawberry.field(description="The caller's scenarios, newest first.")
    @refusing
    async def scenarios(self, info: Context, first: First = DEFAULT_PAGE, after: After = None) -> ScenarioConnection:
        async with storage_of(info).database.read() as connection:
            page = await list_scenarios(connection, owner_of(info), after=after, limit=first)
        return connected(ScenarioConnection, page, scenario_view, after)

    @strawberry.field(description="A stored scenario, at an earlier version if asked for.")
    @refusing
    async def scenario(self, info: Context, id: Id, version: Version = None) -> ScenarioVersion:
        async with storage_of(info).database.read() as connection:
            return scenario_view(await get_scenario(connection, owner_of(info), id, version))

    @strawberry.field(description="The versions of a scenario, newest first.")
    @refusing
    async def scenario_history(
        self, info: Context, id: Id, first: First = DEFAULT_PAGE, before: Before = None
    ) -> list[ScenarioVersion]:
        async with storage_of(info).database.read() as connection:
            found = await scenario_history(connection, owner_of(info), id, before=before, limit=first)
        return [scenario_view(each) for each in found]

    @strawberry.field(description="Scenarios to start from.")
    def scenario_templates(self) -> list[ScenarioTemplate]:
        return [
            TemplateView(name=name, description=text, assumptions=scenario.assumptions)
            for name, (text, scenario) in TEMPLATES.items()
        ]

    @strawberry.field(description="The caller's runs, newest first.")
    @refusing
    async def runs(
        self,
        info: Context,
        first: First = DEFAULT_PAGE,
        after: After = None,
        states: Annotated[Optional[list[State]], Filter] = None,  # noqa: UP045
        tape_id: Annotated[strawberry.ID | None, Filter] = None,
        created_from: Annotated[datetime | None, Filter] = None,
        created_before: Annotated[datetime | None, Filter] = None,
    ) -> RunConnection:
        chosen = None if states is None else [state.value for state in states]
        async with storage_of(info).database.read() as connection:
            page = await list_runs(
                connection, owner_of(info), after=after, limit=first, states=chosen, tape_id=tape_id,
                created_from=created_from, created_before=created_before,
            )  # fmt: skip
        return connected(RunConnection, page, run_view, after)

    @strawberry.field(description="A run.")
    @refusing
    async def run(self, info: Context, id: Id) -> Run:
        async with storage_of(info).database.read() as connection:
            return run_view(await get_run(connection, owner_of(info), id))

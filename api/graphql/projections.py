"""`projection(request)` answers with just the columns that the query selects.

The selection decides what is computed: `request.fields` are the names below `columns`, `nodes` and `totals`, and
what the selected figures of `summary` are made of. `fields` in the input is checked and otherwise has no effect.
"""

from typing import Annotated, Any

import anyio.to_thread
import msgspec
import strawberry
from strawberry.types import Info
from strawberry.types.nodes import SelectedField, Selection

import engine
from api import limits
from api.graphql.analytics import (
    Analytics,
    CashflowsArgument,
    CurveArgument,
    SettlementArgument,
    needed,
    of_arrays,
    of_cashflows,
)
from api.graphql.cost import cost, skipped
from api.graphql.inputs import ProjectionRequestInput, to_request
from api.graphql.profiles import Profile, TapeArgument, profiled
from api.graphql.refusals import graphql_error, invalid
from api.graphql.texts import first_line
from api.graphql.transitions import TransitionArgument, Transitions, transitions_of
from api.graphql.types import DEFAULT_PAGE, MAX_PAGE, CashflowColumns, RowConnection, Summary, View, page, to_summary
from api.kernel import check, project
from api.named_tapes import with_tape
from api.settings import Settings
from api.stored import stored_refusal
from engine.fields import FIELD_INDEX
from engine.plan import select
from engine.summary import summary_of

COLUMN_PARENTS = frozenset({"columns", "nodes", "totals"})
# The field that a figure of the summary is made from.
MADE_FROM = {
    "wal_years": "principal",
    "peak_balance": "balance",
    "final_period": "cashflow",
    "opening_balance": "balance",
}


def columns_of(root: Any) -> Any:
    return root.view("columns")


First = Annotated[int, strawberry.argument(description=f"Rows of the page, 1 to {MAX_PAGE}.")]
After = Annotated[str | None, strawberry.argument(description="The `end_cursor` of the page before; none to begin.")]
REQUEST = strawberry.argument(description=first_line(engine.ProjectionRequest))
Request = Annotated[ProjectionRequestInput, REQUEST]


def rows_of(root: Any, first: First = DEFAULT_PAGE, after: After = None) -> RowConnection:
    if not 1 <= first <= MAX_PAGE:
        raise invalid(f"first is {first}; expected 1 to {MAX_PAGE}")
    if after is not None and not (after.isascii() and after.isdigit() and len(after) < 19):
        raise invalid("after is no cursor; expected an end_cursor of these rows")
    return page(root.view("rows"), first, after)


def part_field(resolver: Any, kind: Any, text: str) -> Any:
    return strawberry.field(resolver=resolver, graphql_type=kind, description=text)


MEASURES_TEXT = "Measures of these cashflows; each is computed where it is selected."
ROWS = f"The same by pages of rows, at most {MAX_PAGE} each; at loan level loan after loan."


@strawberry.type(description="The cashflows of one group of loans.")
class GroupProjection:
    found: strawberry.Private[View]
    name: str = strawberry.field(description="The group's name, as its loans carry it.")
    columns: CashflowColumns = part_field(columns_of, CashflowColumns, "The columns.")
    rows: RowConnection = part_field(rows_of, RowConnection, ROWS)

    def view(self, _: str) -> View:
        return self.found

    @strawberry.field(graphql_type=Analytics, description=MEASURES_TEXT)
    def analytics(
        self, info: Info[Any, Any], settlement: SettlementArgument = None, curve: CurveArgument = None
    ) -> Any:
        return of_cashflows(self.found.cashflows, self.found.index, 0, None, settlement, curve, info)


def groups_at(cashflows: engine.Cashflows, index: tuple[int, ...]) -> list[GroupProjection]:
    """The groups of one scenario, none at another level."""
    return [GroupProjection(found=View(cashflows, (*index, i)), name=name) for i, name in enumerate(cashflows.groups)]


def view_at(cashflows: engine.Cashflows, index: tuple[int, ...], asked: str) -> View:
    """The view of one scenario. Raises GraphQLError if its columns are by group."""
    if cashflows.level == "group":
        raise invalid(f"{asked} are by group at this level; select groups {{ {asked} }}")
    return View(cashflows, index)


@strawberry.type(description="The cashflows under one scenario.")
class ScenarioProjection:
    cashflows: strawberry.Private[engine.Cashflows]
    at: strawberry.Private[int]
    request: strawberry.Private[engine.ProjectionRequest]
    name: str = strawberry.field(description="The scenario's name in the request.")
    columns: CashflowColumns = part_field(columns_of, CashflowColumns, "The columns, at pool and loan level.")
    rows: RowConnection = part_field(rows_of, RowConnection, ROWS)

    @property
    def index(self) -> tuple[int, ...]:
        return (self.at,) if self.cashflows.several else ()

    def view(self, asked: str) -> View:
        return view_at(self.cashflows, self.index, asked)

    @strawberry.field(description="The groups, at group level.")
    def groups(self) -> list[GroupProjection]:
        return groups_at(self.cashflows, self.index)

    @strawberry.field(description="The figures of the whole tape.")
    def summary(self) -> Summary:
        return to_summary(summary_of(self.cashflows.scenario(self.at)))

    @strawberry.field(graphql_type=Analytics, description=MEASURES_TEXT)
    def analytics(
        self, info: Info[Any, Any], settlement: SettlementArgument = None, curve: CurveArgument = None
    ) -> Any:
        self.view("analytics")
        return of_cashflows(self.cashflows, self.index, self.at, self.request, settlement, curve, info)


@strawberry.type(description="The cashflows of a request.")
class Projection:
    cashflows: strawberry.Private[engine.Cashflows]
    request: strawberry.Private[engine.ProjectionRequest]
    columns: CashflowColumns = part_field(columns_of, CashflowColumns, "The columns, where there is one scenario.")
    rows: RowConnection = part_field(rows_of, RowConnection, ROWS)

    def one(self, asked: str) -> engine.Cashflows:
        if self.cashflows.several:
            raise invalid(f"{asked} are by scenario in this request; select scenarios {{ name {asked} }}")
        return self.cashflows

    def view(self, asked: str) -> View:
        return view_at(self.one(asked), (), asked)

    @strawberry.field(description="The groups, at group level and where there is one scenario.")
    def groups(self) -> list[GroupProjection]:
        return groups_at(self.one("groups"), ())

    @strawberry.field(description="The figures of the whole tape, where there is one scenario.")
    def summary(self) -> Summary:
        return to_summary(summary_of(self.one("summary")))

    @strawberry.field(graphql_type=Analytics, description=MEASURES_TEXT)
    def analytics(
        self, info: Info[Any, Any], settlement: SettlementArgument = None, curve: CurveArgument = None
    ) -> Any:
        self.view("analytics")
        return of_cashflows(self.cashflows, (), 0, self.request, settlement, curve, info)

    @strawberry.field(description="Each scenario of the request, in its order.")
    def scenarios(self) -> list[ScenarioProjection]:
        names = self.cashflows.scenario_names
        return [
            ScenarioProjection(cashflows=self.cashflows, at=i, request=self.request, name=name)
            for i, name in enumerate(names)
        ]


def selected(selections: list[Selection], parent: str) -> set[str]:
    """The engine's fields that selections need, through fragments and whatever the aliases."""
    found: set[str] = set()
    for selection in selections:
        if skipped(selection):
            continue
        if not isinstance(selection, SelectedField):
            found |= selected(selection.selections, parent)
            continue
        if parent in COLUMN_PARENTS and selection.name in FIELD_INDEX:
            found.add(selection.name)
        if parent == "analytics":
            found.update(needed(selection))
        if parent == "summary" and selection.name in MADE_FROM:
            found.add(MADE_FROM[selection.name])
        found |= selected(selection.selections, selection.name)
    return found


def with_selection(request: engine.ProjectionRequest, info: Info[Any, Any]) -> engine.ProjectionRequest:
    """The request for the fields that the query selects; a single stock where it selects none."""
    select(request.fields or None)
    names = selected([s for field in info.selected_fields for s in field.selections], "projection")
    return msgspec.structs.replace(request, fields=sorted(names, key=FIELD_INDEX.__getitem__) or ["balance"])


@strawberry.type
class ProjectionQuery:
    @strawberry.field(description="Projects a tape; only the columns that are selected are computed.")
    async def projection(self, info: Info[Any, Any], request: Request) -> Projection:
        settings: Settings = info.context["settings"]
        threads = settings.calculation_thread_pool_size
        try:
            async with info.context["meter"].part() as charge:
                wanted = with_selection(to_request(request), info)
                wanted = await with_tape(wanted, info.context["storage"], info.context["caller"].subject, settings)
                work = limits.check(wanted, settings)
                if info.context["meter"].several:
                    await anyio.to_thread.run_sync(check, wanted)
                await charge(cost(wanted, info))
            if work > limits.INLINE_LOAN_MONTHS:
                cashflows = await anyio.to_thread.run_sync(project, wanted, threads, "graphql", work)
            else:
                cashflows = project(wanted, threads, "graphql", work)
        except Exception as error:
            raise graphql_error(stored_refusal(error, "graphql")) from error
        return Projection(cashflows=cashflows, request=wanted)

    @strawberry.field(graphql_type=Analytics, description="Measures of cashflows that are given as arrays.")
    async def analytics(
        self,
        info: Info[Any, Any],
        cashflows: CashflowsArgument = None,
        settlement: SettlementArgument = None,
        curve: CurveArgument = None,
    ) -> Any:
        return await of_arrays(cashflows, settlement, curve, info)

    @strawberry.field(description="What a tape holds: counts, weighted averages, ranges, missing values and strata.")
    async def profile(self, info: Info[Any, Any], tape: TapeArgument) -> Profile:
        try:
            return await profiled(tape, info.context)
        except Exception as error:
            raise graphql_error(stored_refusal(error, "graphql")) from error

    @strawberry.field(description="Moves a tape between states by a transition matrix: cash, roll rates and vintages.")
    async def transitions(self, info: Info[Any, Any], request: TransitionArgument) -> Transitions:
        try:
            return await transitions_of(request, info)
        except Exception as error:
            raise graphql_error(stored_refusal(error, "graphql")) from error

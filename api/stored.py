"""Stored tapes, scenarios and runs as REST and GraphQL show them, and what both do with them.

The views leave out what is the service's own: the owner, keys in the object store. Their names are those of the
stored Structs.
"""

import re
from datetime import datetime
from typing import Any, Literal

import msgspec
from litestar import Request, Response

import engine
from api.errors import Fault, Refusal, as_refusal, refuse
from api.storage.errors import BadCursor, BadRequest, Conflict, DamagedTape, NotFound, StaleVersion, TooLarge
from api.storage.outages import database_is_away, disk_is_full, store_is_away
from api.storage.rows import Delivery, Run, RunError, RunRequest, RunState, StoredScenario, StoredTape, TapeProfile
from api.storage.texts import MAX_NAME, text_fault

# What the parts of a request are called below, and by who sends it: by REST and by GraphQL.
CALLED: dict[str, dict[str, str]] = {
    "api": {"states": "state", "idempotency_key": "Idempotency-Key"},
    "graphql": {"limit": "first"},
}
LATER = {"retry-after": "5"}


class TapeView(msgspec.Struct, frozen=True, kw_only=True):
    """A stored tape. version: for If-Match. sha256, size in bytes: of its Parquet file."""

    id: str
    name: str
    version: int
    loans: int
    loan_months: int
    balance: float
    profile: TapeProfile
    size: int
    sha256: str
    created_at: datetime
    updated_at: datetime


class ScenarioView(msgspec.Struct, frozen=True, kw_only=True):
    """A stored scenario at one of its versions. created_at: of the first, updated_at: of this one."""

    id: str
    version: int
    name: str
    description: str
    assumptions: engine.Assumptions | None
    created_at: datetime
    updated_at: datetime


class ScenarioBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A scenario to be stored.

    name: 1 to 255 characters. assumptions: none takes those of the run. description: at most 4,000 characters.
    """

    name: str
    assumptions: engine.Assumptions | None = None
    description: str = ""

    @property
    def scenario(self) -> engine.Scenario:
        return engine.Scenario(name=self.name, assumptions=self.assumptions)


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """A run. progress: loan_months_done of loan_months_total, in [0, 1]. scenarios: names, in the order of its columns.

    opening_balance, periods: known once it has succeeded. error: why it failed or died. webhook: how its delivery
    fares, once the run has ended.
    """

    id: str
    tape_id: str
    state: RunState
    version: int
    progress: float
    loan_months_done: int
    loan_months_total: int
    scenarios: list[str]
    fields: list[str] | None
    level: Literal["pool", "group"]
    error: RunError | None
    opening_balance: float | None
    periods: int | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    webhook: Delivery | None


class RequestedRun(RunView, frozen=True, kw_only=True):
    """A run, with the request that it was accepted with."""

    request: RunRequest


class TemplateView(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario to start from."""

    name: str
    description: str
    assumptions: engine.Assumptions | None


def checked_name(name: str) -> str:
    """The name of a tape. Raises BadRequest."""
    if (fault := text_fault(name, 1, MAX_NAME)) is not None:
        raise BadRequest("name", fault)
    return name


def tape_view(tape: StoredTape) -> TapeView:
    return TapeView(**{name: getattr(tape, name) for name in TapeView.__struct_fields__})


def scenario_view(stored: StoredScenario) -> ScenarioView:
    return ScenarioView(
        id=stored.id, version=stored.version, name=stored.scenario.name, description=stored.description,
        assumptions=stored.scenario.assumptions, created_at=stored.created_at, updated_at=stored.updated_at,
    )  # fmt: skip


def run_view(run: Run) -> RunView:
    return RunView(
        id=run.id, tape_id=run.tape_id, state=run.state, version=run.version, progress=run.progress,
        loan_months_done=run.loan_months_done, loan_months_total=run.loan_months_total,
        scenarios=run.scenarios, fields=run.fields, level=run.level, error=run.error,
        opening_balance=run.opening_balance, periods=run.periods, created_at=run.created_at,
        started_at=run.started_at, finished_at=run.finished_at, webhook=run.webhook,
    )  # fmt: skip


def requested_run(run: Run, request: msgspec.Raw) -> RequestedRun:
    """The run with its request, which is written as it is stored, without being read."""
    shown: Any = request
    return RequestedRun(**msgspec.structs.asdict(run_view(run)), request=shown)


def away() -> Refusal:
    """The refusal while the database cannot be reached, or ends what it had begun."""
    return Refusal(503, "The database cannot be reached; nothing was accepted.", headers=LATER)


def stored_refusal(error: Exception, part: Literal["api", "graphql"] = "api") -> Refusal:
    """Any exception as a refusal, those of storage among them."""
    match error:
        case NotFound():
            return Refusal(404, f"There is no {error.what} {error.id!r}.")
        case StaleVersion():
            return Refusal(412, sentence(error), headers={"etag": f'"{error.current}"'})
        case Conflict():
            return Refusal(409, sentence(error))
        case BadCursor():
            wanted = "a next_cursor" if part == "api" else "an end_cursor"
            return Refusal(400, sentence(error), [Fault("after", f"is no cursor of a listing; expected {wanted}")])
        case BadRequest():
            name, *place = re.split(r"(?=[.\[])", error.path, maxsplit=1)
            path = CALLED[part].get(name, name) + "".join(place)
            return Refusal(422, f"{path} {error.message}", [Fault(path, error.message)])
        case TooLarge():
            return Refusal(413, sentence(error))
        case DamagedTape():
            return Refusal(500, sentence(error))
    if database_is_away(error):
        return away()
    if disk_is_full(error):
        return Refusal(507, "There is no room left to store this; nothing was accepted.")
    if store_is_away(error):
        return Refusal(503, "The object store cannot be reached; nothing was accepted.", headers=LATER)
    return as_refusal(error, part)


def sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + "."


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The exception handler of the whole application."""
    refusal = stored_refusal(error)
    if refusal.status == 500 and request.app.state.settings.debug:
        refusal = Refusal(500, f"{type(error).__name__}: {error}")
    return refuse(request, refusal)

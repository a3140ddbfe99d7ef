"""The part of the OpenAPI document on stored tapes, scenarios and runs."""

from typing import Any

from api import encode
from api.rest.projections import ASSUMPTIONS, COLUMNS
from api.rest.resources import Listing
from api.rest.tape_bodies import FORMATS, PARAMETERS, PARQUET
from api.rest.tapes import CreatedTape, TapeName
from api.storage.pages import DEFAULT_PAGE, MAX_PAGE
from api.storage.rows import RunRequest
from api.storage.tables import STATES
from api.storage.texts import MAX_DESCRIPTION, MAX_KEY, MAX_NAME, MAX_URL
from api.stored import RequestedRun, RunView, ScenarioBody, ScenarioView, TapeView, TemplateView
from engine.fields import FIELD_NAMES

ROOTS: list[Any] = [
    TapeView,
    CreatedTape,
    TapeName,
    ScenarioView,
    ScenarioBody,
    TemplateView,
    RunView,
    RequestedRun,
    RunRequest,
    Listing,
]
JSON = "application/json"
Problems = Any


def ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def parameter(name: str, where: str, description: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    found = {"name": name, "in": where, "description": description, "schema": schema or {"type": "string"}}
    return {**found, "required": True} if where == "path" else found


def many(name: str, description: str, values: list[str]) -> dict[str, Any]:
    schema = {"type": "array", "items": {"enum": values} if values else {"type": "string"}}
    return {**parameter(name, "query", description, schema), "style": "form", "explode": False}


PAGE = [
    parameter("after", "query", "The next_cursor of the page before."),
    parameter(
        "limit", "query", "Items of the page.",
        {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE},
    ),
]  # fmt: skip
IF_MATCH = parameter(
    "If-Match", "header", "The ETag of the version that the change is based on, its quotes may be missing.",
    {"type": "string", "pattern": r'^("[0-9]{1,9}"|[0-9]{1,9}|\*)$'},
)  # fmt: skip
NAME = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
IF_NONE_MATCH = parameter("If-None-Match", "header", "An ETag that the caller has already; 304 if it still holds.")
ETAG = {"ETag": {"description": "The version.", "schema": {"type": "string"}}}
LOCATION = {"Location": {"description": "Where it is.", "schema": {"type": "string"}}}


def content(schema: dict[str, Any], kind: str = JSON) -> dict[str, Any]:
    return {kind: {"schema": schema}}


def items(name: str) -> dict[str, Any]:
    properties = {"items": {"type": "array", "items": ref(name)}, "next_cursor": {"type": ["string", "null"]}}
    return {"type": "object", "properties": properties, "required": ["items"]}


def answer(description: str, schema: dict[str, Any], headers: dict[str, Any] | None = None) -> dict[str, Any]:
    found = {"description": description, "content": content(schema)}
    return {**found, "headers": headers} if headers else found


def linked(responses: dict[str, Any], name: str, *operations: str, run: bool = False) -> dict[str, Any]:
    """The answers; the first tells the id that other operations take as `name`. run: a run takes it in its body."""
    id = "$response.body#/id"
    links: dict[str, Any] = {each: {"operationId": each, "parameters": {name: id}} for each in operations}
    if run:
        links["createRun"] = {"operationId": "createRun", "requestBody": {name: id}}
    first, *_ = responses
    return {**responses, first: {**responses[first], "links": links}}


def operation(
    name: str, summary: str, responses: dict[str, Any], parameters: list[Any] | None = None, body: Any = None
) -> dict[str, Any]:
    found: dict[str, Any] = {"operationId": name, "summary": summary, "responses": responses}
    if parameters:
        found["parameters"] = parameters
    if body:
        found["requestBody"] = {"required": True, "content": body}
    return found


UNCHANGED = {"304": {"description": "The caller has it already."}}
GONE = {"204": {"description": "Deleted."}}


def tape_paths(problems: Problems) -> dict[str, Any]:
    id = parameter("tape_id", "path", "The tape's id.")
    binary: dict[str, Any] = {kind: {"schema": ref("Tape") if kind == JSON else {}} for kind in (JSON, *FORMATS)}
    binary[JSON]["example"] = {"columns": COLUMNS}
    binary["text/csv"]["example"] = "loan_id,balance,annual_rate,remaining_term\nA1,250000,0.065,360\n"
    named = [
        parameter("name", "query", "The tape's name.", NAME),
        *(parameter(key, "query", text, schema) for key, (text, schema) in PARAMETERS.items()),
    ]
    made = linked(
        {"201": answer("The stored tape.", ref("CreatedTape"), {**ETAG, **LOCATION})},
        "tape_id", "getTape", "renameTape", "deleteTape", "getTapeFile", run=True,
    )  # fmt: skip
    one = answer("The tape.", ref("TapeView"), ETAG)
    file = {"200": {"description": "The loans.", "content": {PARQUET: {"schema": {}}}}}
    return {
        "/v1/tapes": {
            "post": operation(
                "createTape", "Store a tape",
                {**made, **problems("400", "401", "403", "413", "415", "422", "503")}, named, binary,
            ),
            "get": operation(
                "listTapes", "The tapes, newest first",
                {"200": answer("A page.", items("TapeView")), **problems("400", "401", "422", "503")}, PAGE,
            ),
        },
        "/v1/tapes/{tape_id}": {
            "get": operation(
                "getTape", "A tape and what it holds",
                {"200": one, **UNCHANGED, **problems("400", "401", "404", "503")}, [id, IF_NONE_MATCH],
            ),
            "patch": operation(
                "renameTape", "Rename a tape",
                {"200": one, **problems("400", "401", "403", "404", "412", "415", "422", "503")}, [id, IF_MATCH],
                content(ref("TapeName")),
            ),
            "delete": operation(
                "deleteTape", "Delete a tape that no run is on",
                {**GONE, **problems("400", "401", "403", "404", "409", "412", "503")}, [id, IF_MATCH],
            ),
        },
        "/v1/tapes/{tape_id}/file": {
            "get": operation("getTapeFile", "The loans of a tape", {**file, **problems("401", "404", "503")}, [id])
        },
    }  # fmt: skip


def scenario_paths(problems: Problems) -> dict[str, Any]:
    id = parameter("scenario_id", "path", "The scenario's id.")
    whole = {"type": "integer", "minimum": 1, "maximum": 999_999_999}
    version = parameter("version", "query", "An earlier version.", whole)
    before = parameter("before", "query", "Versions below this one.", whole)
    one = answer("The scenario.", ref("ScenarioView"), ETAG)
    body = content(ref("ScenarioBody"))
    made = linked(
        {"201": answer("The stored scenario.", ref("ScenarioView"), {**ETAG, **LOCATION})},
        "scenario_id", "getScenario", "updateScenario", "deleteScenario", "getScenarioHistory",
    )  # fmt: skip
    changes = ("400", "401", "403", "404", "409", "412", "415", "422", "503")
    return {
        "/v1/scenarios": {
            "post": operation(
                "createScenario", "Store a scenario",
                {**made, **problems("400", "401", "403", "409", "415", "422", "503")}, None,
                {JSON: {**body[JSON], "example": {"name": "fast", "assumptions": ASSUMPTIONS}}},
            ),
            "get": operation(
                "listScenarios", "The scenarios, newest first",
                {"200": answer("A page.", items("ScenarioView")), **problems("400", "401", "422", "503")}, PAGE,
            ),
        },
        "/v1/scenarios/templates": {
            "get": operation(
                "listTemplates", "Scenarios to start from",
                {"200": answer("The templates.", items("TemplateView")), **problems("401")},
            )
        },
        "/v1/scenarios/{scenario_id}": {
            "get": operation(
                "getScenario", "A scenario, at an earlier version if asked for",
                {"200": one, **UNCHANGED, **problems("400", "401", "404", "503")}, [id, version, IF_NONE_MATCH],
            ),
            "put": operation(
                "updateScenario", "Store the next version of a scenario", {"200": one, **problems(*changes)},
                [id, IF_MATCH], body,
            ),
            "delete": operation(
                "deleteScenario", "Delete a scenario and its history",
                {**GONE, **problems("400", "401", "403", "404", "412", "503")}, [id, IF_MATCH],
            ),
        },
        "/v1/scenarios/{scenario_id}/history": {
            "get": operation(
                "getScenarioHistory", "The versions of a scenario, newest first",
                {"200": answer("The versions.", items("ScenarioView")),
                 **problems("400", "401", "404", "422", "503")},
                [id, before, PAGE[1]],
            )
        },
    }  # fmt: skip


def run_paths(problems: Problems) -> dict[str, Any]:
    id = parameter("run_id", "path", "The run's id.")
    time = {"type": "string", "format": "date-time"}
    filters = [
        many("state", "Only runs in these states.", list(STATES)),
        parameter("tape_id", "query", "Only runs on this tape."),
        parameter("created_from", "query", "Only runs created then or later.", time),
        parameter("created_before", "query", "Only runs created before then.", time),
    ]
    selection = [
        many("fields", "Output fields, separated by commas; all by default.", list(FIELD_NAMES)),
        many("scenarios", "Names of scenarios, separated by commas; all by default.", []),
        IF_NONE_MATCH,
    ]
    key = parameter("Idempotency-Key", "header", "The same key with the same request gives the same run.",
                    {"type": "string", "minLength": 1, "maxLength": MAX_KEY})  # fmt: skip
    one = answer("The run.", ref("RequestedRun"), ETAG)
    taken = linked(
        {"202": answer("The accepted run.", ref("RequestedRun"), {**ETAG, **LOCATION})},
        "run_id", "getRun", "deleteRun", "getRunCashflows", "followRun", "cancelRun", "rerunRun",
    )  # fmt: skip
    flows = {kind: {"schema": ref("Projection") if kind == JSON else {}} for kind in encode.ENCODERS}
    stream = {"200": {"description": "Events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}}
    place = "/v1/runs/{run_id}"
    return {
        "/v1/runs": {
            "post": operation(
                "createRun", "Run a stored tape on the workers",
                {**taken, **problems("400", "401", "403", "404", "409", "415", "422", "503")}, [key],
                content(ref("RunRequest")),
            ),
            "get": operation(
                "listRuns", "The runs, newest first",
                {"200": answer("A page.", items("RunView")), **problems("400", "401", "422", "503")},
                [*PAGE, *filters],
            ),
        },
        place: {
            "get": operation(
                "getRun", "A run: state, progress, request",
                {"200": one, **UNCHANGED, **problems("400", "401", "404", "503")}, [id, IF_NONE_MATCH],
            ),
            "delete": operation(
                "deleteRun", "Delete a run that has ended, with its result",
                {**GONE, **problems("401", "403", "404", "409", "412", "503")}, [id, IF_MATCH],
            ),
        },
        f"{place}/cashflows": {
            "get": operation(
                "getRunCashflows", "The result, in the media type that Accept asks for",
                {"200": {"description": "The cashflows.", "content": flows, "headers": ETAG}, **UNCHANGED,
                 **problems("400", "401", "404", "406", "409", "413", "422", "503")}, [id, *selection],
            )
        },
        f"{place}/events": {
            "get": operation(
                "followRun", "Progress as server-sent events, until the run has ended",
                {**stream, **problems("401", "404", "503")}, [id],
            )
        },
        f"{place}/cancel": {
            "post": operation(
                "cancelRun", "Cancel a run that is queued or running",
                {"200": one, **problems("401", "403", "404", "409", "503")}, [id],
            )
        },
        f"{place}/rerun": {
            "post": operation(
                "rerunRun", "Run the same again, on the scenarios as they were pinned",
                {**taken, **problems("401", "403", "404", "409", "422", "503")}, [id, key],
            )
        },
    }  # fmt: skip


def narrow(schemas: dict[str, Any]) -> None:
    """Adds the bounds of texts to the schemas of bodies, where they are checked after the body is read."""
    bounds: dict[str, dict[str, dict[str, Any]]] = {
        "TapeName": {"name": NAME},
        "ScenarioBody": {"name": NAME, "description": {"maxLength": MAX_DESCRIPTION}},
        "RunRequest": {"webhook_url": {"maxLength": MAX_URL}},
    }
    for name, properties in bounds.items():
        for each, bound in properties.items():
            schemas[name]["properties"][each] = {**schemas[name]["properties"][each], **bound}


def stored_paths(problems: Problems) -> dict[str, Any]:
    """The paths; problems: makes the answers of the statuses given."""
    return {**tape_paths(problems), **scenario_paths(problems), **run_paths(problems)}

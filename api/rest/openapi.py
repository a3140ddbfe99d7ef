"""GET /schema/openapi.json: the OpenAPI 3.1 document, made from the Structs that are the wire format."""

from typing import Any

import msgspec

import engine
from api import encode
from api.errors import ProblemDetails
from api.faults import OfTape
from api.rest import analytics, transitions
from api.rest.bodies import MEDIA_TYPES
from api.rest.health import Health, Live, version
from api.rest.openapi_answers import HEADERS, problems, told
from api.rest.openapi_backups import ROOTS as OF_BACKUPS
from api.rest.openapi_backups import backup_paths
from api.rest.openapi_stored import ROOTS, narrow, stored_paths
from api.rest.profiles import ANSWERS
from api.rest.projections import EXAMPLES
from api.rest.tape_bodies import FORMATS, PARAMETERS
from engine.analytics import MEASURES, AnalyticsRequest
from engine.fields import FIELDS
from engine.transition_views import TransitionViews
from engine.transitions import TransitionRequest

REFERENCE = "#/components/schemas/{name}"


def answer_schemas() -> dict[str, Any]:
    """Schemas of the answer with cashflows: columns, and the tree of scenarios and groups around them."""
    numbers = {"type": "array", "items": {"type": "number"}}
    column = {"anyOf": [numbers, {"type": "array", "items": numbers}]}
    properties: dict[str, Any] = {
        "loan_id": {"type": "array", "items": {"type": "string"}, "description": "The loans, at loan level."},
        "period": {"type": "array", "items": {"type": "integer"}, "description": "Months from the cut-off."},
    }
    properties |= {field.name: {**column, "description": f"{field.doc} ({field.kind})"} for field in FIELDS}
    part = {
        "columns": {"$ref": REFERENCE.format(name="CashflowColumns")},
        "summary": {"$ref": REFERENCE.format(name="Summary")},
        "groups": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"columns": {"$ref": REFERENCE.format(name="CashflowColumns")}},
                "required": ["columns"],
            },
        },
    }
    scenarios = {"type": "object", "additionalProperties": {"type": "object", "properties": part}}
    return {
        "CashflowColumns": {"type": "object", "properties": properties, "additionalProperties": False},
        "Projection": {"type": "object", "properties": {**part, "scenarios": scenarios}},
    }


def body_of(name: str, examples: dict[str, Any]) -> dict[str, Any]:
    """A body of a Struct, with examples in JSON."""
    body = {"schema": {"$ref": REFERENCE.format(name=name)}}
    content = {kind: {**body, "examples": examples} if kind == encode.JSON else body for kind in MEDIA_TYPES}
    return {"required": True, "content": content}


def projection_path() -> dict[str, Any]:
    nested = {"schema": {"$ref": REFERENCE.format(name="Projection")}}
    text = {"schema": {"type": "string"}}
    binary: dict[str, Any] = {"schema": {}}
    kinds = {encode.JSON: nested, "application/msgpack": nested, "application/vnd.msgpack": nested, "text/csv": text}
    operation = {
        "operationId": "createProjection",
        "summary": "Project a tape",
        "description": "The cashflows of the request in the body, in the media type that Accept asks for. "
        "JSON and MessagePack are nested columns; Arrow, Parquet and CSV one long table.",
        "parameters": [
            {
                "name": "fields",
                "in": "query",
                "description": "Output fields, separated by commas; takes the place of `fields` in the body.",
                "style": "form",
                "explode": False,
                "schema": {"type": "array", "items": {"enum": [field.name for field in FIELDS]}},
            }
        ],
        "requestBody": body_of("ProjectionRequest", EXAMPLES),
        "responses": {
            "200": {
                "description": "The cashflows.",
                "content": {name: kinds.get(name, binary) for name in encode.ENCODERS},
            },
            **problems("400", "401", "404", "406", "413", "415", "422", "500"),
        },
    }
    return {"post": operation}


def analytics_path() -> dict[str, Any]:
    kinds = {key: {"schema": {"$ref": REFERENCE.format(name="Analysis")}} for key in analytics.ENCODERS}
    operation = {
        "operationId": "createAnalysis",
        "summary": "Measure cashflows",
        "description": "The measures of the cashflows in the body, or of a projection that is made first, then by "
        "scenario where there are several.",
        "requestBody": body_of("AnalyticsRequest", analytics.EXAMPLES),
        "responses": {
            "200": {"description": "The results, in the order of the measures.", "content": kinds},
            **problems("400", "401", "404", "406", "413", "415", "422", "500"),
        },
    }  # fmt: skip
    return {"post": operation}


def transitions_path() -> dict[str, Any]:
    kinds = {key: {"schema": {"$ref": REFERENCE.format(name="TransitionViews")}} for key in transitions.ENCODERS}
    operation = {
        "operationId": "createTransitions",
        "summary": "Move a tape by a transition matrix",
        "description": "Cash of consumer credit whose loans move between states month by month, with the balances by "
        "state, the roll rates and the vintages.",
        "requestBody": body_of("TransitionRequest", transitions.EXAMPLES),
        "responses": {
            "200": {"description": "The views.", "content": kinds},
            **problems("400", "401", "404", "406", "413", "415", "422", "500"),
        },
    }
    return {"post": operation}


def analysis_schemas() -> dict[str, Any]:
    """Schemas of the answer with measures: the results of each, with its `type`."""
    results = []
    for name, measure in MEASURES.items():
        kind = {"type": "object", "properties": {"type": {"const": name}}, "required": ["type"]}
        reference = {"$ref": REFERENCE.format(name=measure.result.__name__)}
        results.append({"allOf": [kind, reference], "description": first_line(measure)})
    measures = {"type": "array", "items": {"oneOf": results}}
    part = {"type": "object", "properties": {"measures": measures}, "required": ["measures"]}
    scenarios = {"type": "object", "additionalProperties": part}
    return {"Analysis": {"type": "object", "properties": {"measures": measures, "scenarios": scenarios}}}


def first_line(cls: type) -> str:
    return (cls.__doc__ or cls.__name__).strip().splitlines()[0]


def profile_path() -> dict[str, Any]:
    binary: dict[str, Any] = {"schema": {}}
    body = {"schema": {"$ref": REFERENCE.format(name="OfTape")}}
    example = {"tape": EXAMPLES["scenarios_on_columns"]["value"]["tape"]}
    content = {encode.JSON: {**body, "example": example}, **dict.fromkeys(FORMATS, binary)}
    answer = {"schema": {"$ref": REFERENCE.format(name="Profile")}}
    operation = {
        "operationId": "createProfile",
        "summary": "Profile a tape",
        "description": "Counts, balance, WAC, WAM, WALA, ranges, missing values, outliers and strata of the tape in "
        "the body: a file, or a JSON object with `tape`. As JSON, or as a picture (PNG, SVG).",
        "parameters": [
            {"name": name, "in": "query", "description": text, "schema": schema}
            for name, (text, schema) in PARAMETERS.items()
        ],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {
                "description": "The profile.",
                "content": {name: answer if name == encode.JSON else binary for name in ANSWERS},
            },
            **problems("400", "401", "404", "406", "413", "415", "422", "500"),
        },
    }
    return {"post": operation}


def json_answer(summary: str, operation_id: str, schema: dict[str, Any], **extra: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    responses = {"200": {"description": summary + ".", "content": content}, **extra.pop("failures", {})}
    return {"operationId": operation_id, "summary": summary, "responses": responses, **extra}


def graphql_path() -> dict[str, Any]:
    query = "query ($request: ProjectionRequestInput!) { projection(request: $request) { columns { interest } } }"
    example = {"query": query, "variables": {"request": EXAMPLES["one_loan"]["value"]}}
    text = {"type": "string", "minLength": 1, "maxLength": 50_000}
    nullable = {"variables": {"type": ["object", "null"]}, "operationName": {"type": ["string", "null"]}}
    schema = {"type": "object", "properties": {"query": text, **nullable}, "required": ["query"]}
    body = {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}
    answer = {"schema": {"$ref": REFERENCE.format(name="QueryResult")}}
    events = {"schema": {"type": "string", "description": "Events `next`, each a QueryResult, then `complete`."}}
    refused = problems("400")["400"]
    refused = {
        "description": "A body that cannot be read, or a query that cannot run, with `errors`.",
        "content": {**refused["content"], "application/json": answer},
    }
    ran = {
        "description": "What the query selects, with `errors` where a field failed.",
        "content": {"application/json": answer, "text/event-stream": events},
    }
    post = {
        "operationId": "runQuery",
        "summary": "Run a GraphQL query",
        "description": "The query, or its events one by one where Accept is text/event-stream, which subscriptions ask "
        "for. A query pays as many requests as it has projections, or millions of numbers if they are more.",
        "requestBody": body,
        "responses": {"200": ran, "400": refused},
    }
    return {"post": post, "get": page("A page to write and run queries on", "graphqlPage")}


def query_schemas() -> dict[str, Any]:
    """Schemas of an answer of GraphQL."""
    error = {
        "type": "object",
        "properties": {
            "message": {"type": "string"},
            "locations": {"type": "array", "items": {"type": "object"}},
            "path": {"type": "array", "items": {"type": ["string", "integer"]}},
            "extensions": {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
        },
        "required": ["message", "extensions"],
    }
    errors = {"type": "array", "items": {"$ref": REFERENCE.format(name="QueryError")}}
    data = {"type": ["object", "null"], "description": "By the fields that the query selects."}
    return {"QueryError": error, "QueryResult": {"type": "object", "properties": {"data": data, "errors": errors}}}


def page(summary: str, operation_id: str) -> dict[str, Any]:
    token = {
        "name": "access_token",
        "in": "query",
        "description": "A token, for browsers: sets a cookie for this page and redirects to it.",
        "schema": {"type": "string"},
    }
    html = {"description": summary + ".", "content": {"text/html": {"schema": {"type": "string"}}}}
    redirect = {"description": "To the page, with the cookie."}
    responses = {"200": html, "303": redirect, **problems("401")}
    return {"operationId": operation_id, "summary": summary, "parameters": [token], "responses": responses}


def health_paths() -> dict[str, Any]:
    schema = {"$ref": REFERENCE.format(name="Health")}
    failing = {"503": {"description": "A component fails.", "content": {"application/json": {"schema": schema}}}}
    alive = {"$ref": REFERENCE.format(name="Live")}
    whole = json_answer("The state of the service and its components", "health", schema, security=[], failures=failing)
    ready = json_answer("Whether to send requests here", "healthReady", schema, security=[], failures=failing)
    live = json_answer("That the process answers", "healthLive", alive, security=[])
    return {"/health": {"get": whole}, "/health/ready": {"get": ready}, "/health/live": {"get": live}}


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    results = dict.fromkeys(measure.result for measure in MEASURES.values())
    roots: list[Any] = [
        engine.ProjectionRequest,
        AnalyticsRequest,
        TransitionRequest,
        TransitionViews,
        *results,
        engine.Summary,
        engine.Profile,
        OfTape,
        ProblemDetails,
        Health,
        Live,
        *ROOTS,
        *OF_BACKUPS,
    ]
    _, schemas = msgspec.json.schema_components(roots, ref_template=REFERENCE)
    metrics = {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    asset = {
        "operationId": "pageAsset",
        "summary": "A script or style of a page",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in ("page", "name")
        ],
        "responses": {"200": {"description": "The file."}, **problems("401", "404")},
    }
    paths = {
        "/v1/projections": projection_path(),
        "/v1/analytics": analytics_path(),
        "/v1/transitions": transitions_path(),
        "/v1/tapes/profile": profile_path(),
        **stored_paths(problems),
        **backup_paths(problems),
        "/graphql": graphql_path(),
        **health_paths(),
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "Metrics for Prometheus",
                "security": [],
                "responses": {"200": metrics},
            }
        },
        "/schema": {"get": page("This document as a page", "schemaPage")},
        "/schema/openapi.json": {
            "get": json_answer("This document", "openapi", {"type": "object"}, failures=problems("401"))
        },
        "/{page}/assets/{name}": {"get": asset},
    }
    narrow(schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Credit cashflow engine",
            "version": version(),
            "description": "Projects loan tapes month by month. Rates are decimals a year, money is currency units, "
            "terms and ages are months.",
        },
        "security": [{"token": []}],
        "paths": {path: {method: told(found) for method, found in item.items()} for path, item in paths.items()},
        "components": {
            "headers": HEADERS,
            "schemas": {**schemas, **answer_schemas(), **analysis_schemas(), **query_schemas()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }

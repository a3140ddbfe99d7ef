"""POST /graphql runs a query; the answer is encoded by orjson, so that columns go from array to bytes.

Status 400 with JSON errors for a query that cannot run, 200 for one that ran, with errors where a field failed.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
import orjson
from graphql import GraphQLError
from litestar import Request, Response, post
from litestar.connection import ASGIConnection
from litestar.response import Stream
from strawberry.schema.exceptions import InvalidOperationTypeError
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType

from api.errors import Refusal
from api.faults import json_refusal
from api.graphql.refusals import graphql_error
from api.graphql.root import schema
from api.rate_limit import Meter
from api.roles import requires
from api.streams import EXPIRED, Expired, while_valid

JSON = "application/json"
EVENTS = "text/event-stream"
# Queries are kept once parsed, and a single long text in one counts as one token; values belong in the variables.
MAX_QUERY_CHARACTERS = 50_000
SINGLE = (OperationType.QUERY, OperationType.MUTATION)
STREAMED = (
    f"A subscription is answered event by event; expected Accept: {EVENTS}, or a WebSocket to this address by the "
    "protocol graphql-transport-ws."
)


class Operation(msgspec.Struct, frozen=True):
    """A GraphQL request by HTTP."""

    query: str
    variables: dict[str, Any] | None = None
    operationName: str | None = None  # noqa: N815
    extensions: dict[str, Any] | None = None


decoder = msgspec.json.Decoder(Operation)


def discreet(error: Any, suggest: bool) -> dict[str, Any]:
    """An error as it is written, without the names of the schema that it suggests unless they may be."""
    return dict(error) if suggest else {**error, "message": error["message"].partition(" Did you mean ")[0]}


def formatted(error: GraphQLError, ran: bool, suggest: bool = True) -> dict[str, Any]:
    """An error of the answer; what nobody raised on purpose keeps its message to itself.

    suggest: whether names of the schema may be suggested; where questions about it are refused they are not.
    """
    found = discreet(dict(error.formatted), suggest)
    extensions = dict(error.extensions or {})
    if "code" not in extensions:
        unforeseen = ran and error.original_error is not None and not isinstance(error.original_error, GraphQLError)
        extensions["code"] = "INTERNAL" if unforeseen else "BAD_REQUEST"
        if unforeseen:
            found["message"] = "The service failed on this field; the failure is logged."
    found["extensions"] = extensions
    return found


def context_of(connection: ASGIConnection[Any, Any, Any, Any], **more: Any) -> dict[str, Any]:
    """What resolvers find in `info.context`, for a request or a socket."""
    state = connection.app.state
    settings = state.settings
    meter = Meter(connection.scope, state.limiter, settings.max_result_cells)
    return {"settings": settings, "storage": state.storage, "jobs": state.jobs, "meter": meter, **more}


def content_of(result: Any, context: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The answer's content, and whether the operation ran."""
    errors = result.errors or []
    ran = result.data is not None or any(error.path for error in errors)
    content: dict[str, Any] = {"data": result.data} if ran else {}
    if errors:
        content["errors"] = [formatted(error, ran, context["settings"].introspection) for error in errors]
    return content, ran


def encoded(content: dict[str, Any]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


@post("/graphql", status_code=200, guards=[requires("reader")])
async def run_query(request: Request[Any, Any, Any]) -> Response[bytes] | Stream:
    """The answer to the query in the body; its events one by one where Accept is text/event-stream."""
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != JSON:
        raise Refusal(415, f"Content-Type is {media_type!r}; expected {JSON}.")
    body = await request.body()
    try:
        operation = decoder.decode(body)
    except msgspec.ValidationError as error:
        raise json_refusal(error, body, Operation) from error
    if len(operation.query) > MAX_QUERY_CHARACTERS:
        size = f"{len(operation.query):,} characters; at most {MAX_QUERY_CHARACTERS:,} are read"
        raise Refusal(400, f"The query has {size}. Send values as variables.")
    context = context_of(request, caller=request.scope["auth"], operation_name=operation.operationName)
    if EVENTS in request.headers.get("accept", "").lower():
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return Stream(events(operation, context), media_type=EVENTS, headers=headers)
    result = await result_of(operation, context)
    # A quota that ends in the middle of a query refuses the whole, as it refuses a request.
    if context["meter"].refusal is not None:
        raise context["meter"].refusal
    content, ran = content_of(result, context)
    return Response(encoded(content), status_code=200 if ran else 400, media_type=JSON)


async def result_of(operation: Operation, context: dict[str, Any]) -> Any:
    """The one result of a query or a mutation; of a subscription the error that says how to ask for its events."""
    try:
        return await schema.execute(
            # The library takes an empty text for none at all; a blank has the syntax error of the specification.
            operation.query or " ",
            variable_values=operation.variables,
            operation_name=operation.operationName,
            context_value=context,
            allowed_operation_types=SINGLE,
        )
    except InvalidOperationTypeError:
        return PreExecutionError(data=None, errors=[GraphQLError(STREAMED)])


async def results_of(operation: Operation, context: dict[str, Any]) -> AsyncGenerator[Any, None]:
    """The results of an operation, one by one; what refuses it before it runs is the one result then."""
    try:
        results = await schema.stream(
            operation.query or " ",
            variable_values=operation.variables,
            operation_name=operation.operationName,
            context_value=context,
        )
        async with aclosing(results):
            async for result in results:
                yield result
    except GraphQLError as error:
        # The library makes a result of what a bound refuses for single answers alone.
        yield PreExecutionError(data=None, errors=[error])


def event_of(content: dict[str, Any]) -> bytes:
    return b"event: next\ndata: " + encoded(content) + b"\n\n"


async def events(operation: Operation, context: dict[str, Any]) -> AsyncIterator[bytes]:
    """The results of an operation as server-sent events, by the protocol graphql-sse, one connection an operation.

    The last one says so where the token has expired.
    """
    try:
        async with (
            aclosing(results_of(operation, context)) as results,
            aclosing(while_valid(results, context["caller"], context["settings"])) as told,
        ):
            async for result in told:
                yield b": still there\n\n" if result is None else event_of(content_of(result, context)[0])
    except Expired:
        yield event_of({"errors": [graphql_error(Refusal(401, EXPIRED)).formatted]})
    yield b"event: complete\ndata:\n\n"

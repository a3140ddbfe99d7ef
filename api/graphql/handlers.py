"""POST /graphql runs a query; the answer is encoded by orjson, so that columns go from array to bytes.

Status 400 with JSON errors for a query that cannot run, 200 for one that ran, with errors where a field failed.
"""

from typing import Any

import msgspec
import orjson
from graphql import GraphQLError
from litestar import Request, Response, post

from api.errors import Refusal
from api.graphql.root import schema
from api.rate_limit import Meter
from api.roles import requires

JSON = "application/json"
# Queries are kept once parsed, and a single long text in one counts as one token; values belong in the variables.
MAX_QUERY_CHARACTERS = 50_000


class Operation(msgspec.Struct, frozen=True):
    """A GraphQL request by HTTP."""

    query: str
    variables: dict[str, Any] | None = None
    operationName: str | None = None  # noqa: N815
    extensions: dict[str, Any] | None = None


decoder = msgspec.json.Decoder(Operation)


def formatted(error: GraphQLError, ran: bool) -> dict[str, Any]:
    """An error of the answer; what nobody raised on purpose keeps its message to itself."""
    found: dict[str, Any] = dict(error.formatted)
    extensions = dict(error.extensions or {})
    if "code" not in extensions:
        unforeseen = ran and error.original_error is not None and not isinstance(error.original_error, GraphQLError)
        extensions["code"] = "INTERNAL" if unforeseen else "BAD_REQUEST"
        if unforeseen:
            found["message"] = "The service failed on this field; the failure is logged."
    found["extensions"] = extensions
    return found


@post("/graphql", status_code=200, guards=[requires("reader")])
async def run_query(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The answer to the query in the body."""
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != JSON:
        raise Refusal(415, f"Content-Type is {media_type!r}; expected {JSON}.")
    operation = decoder.decode(await request.body())
    if len(operation.query) > MAX_QUERY_CHARACTERS:
        size = f"{len(operation.query):,} characters; at most {MAX_QUERY_CHARACTERS:,} are read"
        raise Refusal(400, f"The query has {size}. Send values as variables.")
    settings = request.app.state.settings
    meter = Meter(request.scope, request.app.state.limiter, settings.max_result_cells)
    result = await schema.execute(
        # The library takes an empty text for none at all; a blank has the same syntax error as in the specification.
        operation.query or " ",
        variable_values=operation.variables,
        operation_name=operation.operationName,
        context_value={
            "settings": settings,
            "caller": request.scope["auth"],
            "meter": meter,
            "operation_name": operation.operationName,
        },
    )
    # A quota that ends in the middle of a query refuses the whole, as it refuses a request.
    if meter.refusal is not None:
        raise meter.refusal
    errors = result.errors or []
    ran = result.data is not None or any(error.path for error in errors)
    content: dict[str, Any] = {"data": result.data} if ran else {}
    if errors:
        content["errors"] = [formatted(error, ran) for error in errors]
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status_code=200 if ran else 400, media_type=JSON)

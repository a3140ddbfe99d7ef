"""Refusals as GraphQL errors."""

import msgspec
from graphql import GraphQLError

from api.errors import Refusal

CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    409: "CONFLICT",
    412: "STALE_VERSION",
    413: "TOO_LARGE",
    422: "INVALID_INPUT",
    429: "RATE_LIMITED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


def graphql_error(refusal: Refusal) -> GraphQLError:
    """A refusal as a GraphQL error: its kind in extensions.code, the offending values in extensions.errors."""
    faults = [msgspec.to_builtins(fault) for fault in refusal.errors]
    code = CODES.get(refusal.status, "BAD_REQUEST")
    return GraphQLError(refusal.detail, extensions={"code": code, "errors": faults})


def invalid(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": "INVALID_INPUT", "errors": []})

"""The part of the OpenAPI document that all operations share: refusals by status, and headers of the rate limit."""

from typing import Any

from api.errors import PROBLEM_JSON

PROBLEMS = {
    "400": "A body, a value or a header that cannot be read, or another host.",
    "401": "No valid token.",
    "403": "The token's role may not do this.",
    "404": "Nothing is stored under this id.",
    "406": "None of the media types accepted is ours.",
    "409": "The state of things does not allow it; the detail says what is in the way.",
    "412": "The version in If-Match is not the current one, which the ETag names.",
    "413": "The body, the work or the answer is too large to be answered at once.",
    "415": "A body of a media type that is not read, or a compressed one.",
    "422": "Values that the engine refuses; `errors` lists each.",
    "429": "The user, or before a token is accepted the address, has sent too many requests.",
    "500": "A failure of the service.",
    "503": "The database, the object store, Redis or the issuer's keys cannot be reached; nothing was accepted.",
}
# What any operation that asks for a token may answer with, and any with a body besides.
OF_ALL = ("400", "401", "403", "429", "500", "503")
OF_BODIES = ("413", "415")
WAIT = "Seconds until another request is worth sending."
HEADERS: dict[str, Any] = {
    "RateLimit": {
        "description": "What is left of the quota: `r` requests, and `t` seconds until there are more.",
        "schema": {"type": "string", "examples": ['"user";r=99;t=3660']},
    },
    "RateLimit-Policy": {
        "description": "The quota: `q` requests in `w` seconds, of a `user`, or of an `address` without a token.",
        "schema": {"type": "string", "examples": ['"user";q=100;w=3600']},
    },
    "Retry-After": {"description": WAIT, "schema": {"type": "string", "pattern": "^[0-9]+$"}},
    "WWW-Authenticate": {"description": "How to authenticate (RFC 6750).", "schema": {"type": "string"}},
}
LIMIT = ("RateLimit", "RateLimit-Policy")
OF_STATUS = {"401": ("WWW-Authenticate",), "429": ("Retry-After",), "503": ("Retry-After",)}


def problem(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
    }


def problems(*statuses: str) -> dict[str, Any]:
    return {status: problem(PROBLEMS[status]) for status in statuses}


def told(operation: dict[str, Any]) -> dict[str, Any]:
    """An operation with the answers and headers that it has because it asks for a token."""
    if operation.get("security") == []:
        return operation
    common = problems(*OF_ALL, *(OF_BODIES if "requestBody" in operation else ()))
    answers = {status: with_headers(status, answer) for status, answer in (common | operation["responses"]).items()}
    return {**operation, "responses": dict(sorted(answers.items()))}


def with_headers(status: str, answer: dict[str, Any]) -> dict[str, Any]:
    """An answer with the headers of the rate limit, which it has where the service limits."""
    names = (*LIMIT, *OF_STATUS.get(status, ()))
    common = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return {**answer, "headers": {**answer.get("headers", {}), **common}}

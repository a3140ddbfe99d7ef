"""Errors as problem+json (RFC 9457): what is wrong, where in the request, and what is allowed."""

import logging
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

import engine
from api import metrics
from api.correlation import request_id
from engine.conversion import problem_of
from engine.errors import MAX_PROBLEMS

PROBLEM_JSON = "application/problem+json"
# The framework's own words for these only repeat the title.
PLAINER = {
    404: "There is nothing at this address; /schema/openapi.json lists what there is.",
    405: "This address does not take this method; /schema/openapi.json lists what it takes.",
    413: "The body is larger than the service reads (MAX_BODY_BYTES).",
}
logger = logging.getLogger("api")


class Fault(msgspec.Struct, frozen=True):
    """One offending value of a request."""

    path: str
    message: str


class ProblemDetails(msgspec.Struct, frozen=True):
    """An error by RFC 9457; `errors` lists the offending values, up to a hundred; `request_id` finds it in the log."""

    title: str
    status: int
    detail: str
    instance: str
    errors: list[Fault] = []
    request_id: str = ""
    type: str = "about:blank"


class Refusal(Exception):
    """A request that is refused: the status, a sentence, the offending values and extra headers."""

    def __init__(
        self, status: int, detail: str, errors: list[Fault] | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = status, detail, errors or [], headers or {}


def fault_of(error: msgspec.ValidationError, below: str = "") -> Fault:
    """The fault that msgspec names, its path below `below`."""
    problem = problem_of(error, below)
    return Fault(problem.path, problem.message)


def decode_refusal(error: msgspec.DecodeError) -> Refusal:
    """The refusal of a body that msgspec cannot decode, with the path to the offending value if it has one."""
    if not isinstance(error, msgspec.ValidationError):
        return Refusal(400, f"The body cannot be read: {error}")
    fault = fault_of(error)
    return Refusal(400, f"{fault.path or 'body'}: {fault.message}", [fault])


def input_refusal(error: engine.InvalidInput) -> Refusal:
    """The refusal of input that the engine refuses."""
    faults = [Fault(problem.path, problem.message) for problem in error.problems[:MAX_PROBLEMS]]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return Refusal(422, f"{faults[0].path} {faults[0].message}{more}" if faults else str(error), faults)


def file_refusal(error: engine.TapeFileError) -> Refusal:
    """The refusal of a file, with each faulty cell, or with the file itself as the body."""
    head = str(error).splitlines()[0][:2000]
    faults = [Fault(f"body, {problem.path}", problem.message[:500]) for problem in error.problems]
    return Refusal(422, head, faults or [Fault("body", head)])


def as_refusal(error: Exception, part: Literal["api", "graphql"] = "api") -> Refusal:
    """Any exception as a refusal; what nobody raised on purpose is a 500 without its message, counted and logged."""
    match error:
        case Refusal():
            return error
        case engine.TapeFileError():
            return file_refusal(error)
        case engine.InvalidInput():
            return input_refusal(error)
        case msgspec.DecodeError():
            return decode_refusal(error)
        case UnicodeDecodeError():
            # Only bodies are decoded here; files of tapes have readers that say more.
            return Refusal(400, "The body holds a text that is not UTF-8.")
        case RecursionError():
            # Nothing recurses but over the values of a body.
            return Refusal(400, "The body is nested too deeply.")
        case HTTPException():
            detail = PLAINER.get(error.status_code, error.detail)
            return Refusal(error.status_code, detail, headers=dict(error.headers or {}))
    metrics.count_error(part)
    logger.error("unhandled error", extra={"part": part}, exc_info=error)
    return Refusal(500, "The service failed on this request; the failure is logged.")


def problem_body(refusal: Refusal, instance: str) -> bytes:
    """The JSON of a refusal, for the path it happened on."""
    title = HTTPStatus(refusal.status).phrase
    details = ProblemDetails(title, refusal.status, refusal.detail, instance, refusal.errors, request_id())
    return msgspec.json.encode(details)


def refuse(request: Request[Any, Any, Any], refusal: Refusal) -> Response[bytes]:
    """The answer to a request that is refused."""
    body = problem_body(refusal, request.url.path)
    return Response(body, status_code=refusal.status, media_type=PROBLEM_JSON, headers=refusal.headers)

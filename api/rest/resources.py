"""What the controllers of stored things share: whose they are, versions as ETags, pages, bodies."""

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response

from api.errors import Fault, Refusal, decode_refusal
from api.faults import json_refusal
from api.storage.opened import Storage
from api.storage.pages import DEFAULT_PAGE, Page

T = TypeVar("T")
V = TypeVar("V", bound=msgspec.Struct)
AnyRequest = Request[Any, Any, Any]
JSON = "application/json"


class Listing(msgspec.Struct, frozen=True):
    """A page of a listing, newest first. next_cursor: `after` of the next page, null on the last."""

    items: list[Any]
    next_cursor: str | None


def storage_of(request: AnyRequest) -> Storage:
    storage: Storage = request.app.state.storage
    return storage


def owner_of(request: AnyRequest) -> str:
    """Whose things the request is about: its token's subject."""
    return str(request.scope["user"])


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(msgspec.json.encode(value), status_code=status, media_type=JSON, headers=headers or {})


def versioned(request: AnyRequest, value: Any, etag: str, status: int = 200) -> Response[bytes]:
    """The value with its ETag, or 304 where the caller has it already."""
    if status == 200 and matches(request.headers.get("if-none-match"), etag):
        return unchanged(etag)
    return json_response(value, status, versions(etag))


def unchanged(etag: str) -> Response[bytes]:
    """304: the caller has it already."""
    return Response(b"", status_code=304, headers=versions(etag), media_type=JSON)


def versions(etag: str) -> dict[str, str]:
    return {"etag": etag, "cache-control": "private, no-cache"}


def matches(given: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names the ETag."""
    tags = [] if given is None else [part.strip().removeprefix("W/") for part in given.split(",")]
    return "*" in tags or etag in tags


def expected_version(request: AnyRequest) -> int | None:
    """The version in If-Match, none without the header or for `*`. Raises Refusal (400)."""
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return None
    text = given.strip().removeprefix('"').removesuffix('"')
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        fault = Fault("If-Match", f'is {given[:80]!r}; expected the ETag of a version, such as "3", or *')
        raise Refusal(400, f"If-Match {fault.message}.", [fault])
    return int(text)


def check_match(request: AnyRequest, etag: str) -> None:
    """Raises Refusal (412) where If-Match names other ETags than that of what is to be changed."""
    given = request.headers.get("if-match")
    tags = [] if given is None else [part.strip().strip('"') for part in given.split(",")]
    if given is not None and "*" not in tags and etag.strip('"') not in tags:
        fault = Fault("If-Match", f"is {given[:80]!r}; the ETag is {etag} now")
        raise Refusal(412, f"If-Match {fault.message}; read it again.", [fault], headers={"etag": etag})


async def body_as(request: AnyRequest, kind: type[V]) -> V:
    """The JSON body as a Struct. Raises Refusal (400, 415)."""
    given = request.headers.get("content-type", JSON).split(";")[0].strip().lower()
    if given != JSON:
        raise Refusal(415, f"Content-Type is {given!r}; expected {JSON}.")
    body = await request.body()
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise json_refusal(error, body, kind) from error
    except msgspec.DecodeError as error:
        raise decode_refusal(error) from error


def page_arguments(request: AnyRequest) -> dict[str, Any]:
    """`after` and `limit` of the address. Raises Refusal (400)."""
    return {"after": request.query_params.get("after"), "limit": whole(request, "limit", DEFAULT_PAGE)}


def whole(request: AnyRequest, name: str, default: int) -> int:
    """A whole number of the address. Raises Refusal (400)."""
    return optional_whole(request, name) if name in request.query_params else default  # type: ignore[return-value]


def optional_whole(request: AnyRequest, name: str) -> int | None:
    """A whole number of the address, 1 or more, none where it is not there. Raises Refusal (400)."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        fault = Fault(name, f"is {text[:80]!r}; expected a whole number, 1 or more")
        raise Refusal(400, f"{name} {fault.message}.", [fault])
    return int(text)


def listed(request: AnyRequest, name: str) -> list[str] | None:
    """The values of a parameter of the address, by commas or by repetition; none where it is not there."""
    given = request.query_params.getall(name, None)
    return None if given is None else [part.strip() for text in given for part in text.split(",") if part.strip()]


def only(request: AnyRequest, allowed: Iterable[str]) -> None:
    """Raises Refusal (400) for a parameter of the address that means nothing here."""
    known = tuple(allowed)
    faults = [
        Fault(name, f"is no parameter here; expected {', '.join(known) or 'none'}")
        for name in dict.fromkeys(request.query_params)
        if name not in known
    ]
    if faults:
        raise Refusal(400, f"{faults[0].path} {faults[0].message}.", faults)


def listing(page: Page[T], items: list[Any]) -> Response[bytes]:
    return json_response(Listing(items, page.next_cursor))

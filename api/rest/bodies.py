"""Bodies in JSON or MessagePack, decoded as a Struct."""

from typing import Any, Generic, TypeVar

import anyio.to_thread
import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException

from api import encode
from api.errors import Refusal
from api.faults import json_refusal, type_refusal
from api.network import first_header

T = TypeVar("T")

MEDIA_TYPES = (encode.JSON, "application/msgpack", "application/vnd.msgpack")
# A body beyond this is decoded in a thread, so that other requests go on.
INLINE_BODY_BYTES = 128 * 1024


class Body(Generic[T]):
    """What reads bodies of one kind."""

    def __init__(self, kind: type[T]) -> None:
        self.kind = kind
        self.json, self.msgpack = msgspec.json.Decoder(kind), msgspec.msgpack.Decoder(kind)

    async def of(self, request: Request[Any, Any, Any]) -> T:
        """The request's body. Raises Refusal (400, 413, 415)."""
        given, body = body_type(request), await whole(request)
        if len(body) > INLINE_BODY_BYTES:
            return await anyio.to_thread.run_sync(self.decode, body, given)
        return self.decode(body, given)

    def decode(self, body: bytes, media_type: str) -> T:
        """The Struct in a body. Raises Refusal (400) with every fault, for which it is read once more as it is."""
        is_json = media_type == encode.JSON
        try:
            return self.json.decode(body) if is_json else self.msgpack.decode(body)
        except msgspec.ValidationError as error:
            if is_json:
                raise json_refusal(error, body, self.kind) from error
            raise type_refusal(error, msgspec.msgpack.decode(body), self.kind) from error


async def whole(request: Request[Any, Any, Any]) -> bytes:
    """The bytes of the body, as request.body() has them and refuses them, but for what most bodies do not need.

    One whose length is told, and allowed, is taken as it comes; the server sees to it that it is no longer.
    """
    told, most = first_header(request.scope, b"content-length"), request.route_handler.resolve_request_max_body_size()
    if not (told.isascii() and told.isdigit() and len(told) < 20) or (most is not None and int(told) > most):
        return await request.body()
    parts = []
    while True:
        message: Any = await request.receive()
        if message["type"] == "http.disconnect":
            raise InternalServerException("client disconnected prematurely")
        parts.append(message["body"])
        if not message.get("more_body", False):
            return b"".join(parts)


def body_type(request: Request[Any, Any, Any]) -> str:
    """The media type of the body, JSON if it has none. Raises Refusal (415)."""
    given = first_header(request.scope, b"content-type", encode.JSON).split(";")[0].strip().lower()
    if given not in MEDIA_TYPES:
        raise Refusal(415, f"Content-Type is {given!r}; expected one of {', '.join(MEDIA_TYPES)}.")
    return given

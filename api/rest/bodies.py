"""Bodies in JSON or MessagePack, decoded as a Struct."""

from typing import Any, Generic, TypeVar

import anyio.to_thread
import msgspec
from litestar import Request

from api import encode
from api.errors import Refusal
from api.faults import json_refusal, type_refusal

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
        given, body = body_type(request), await request.body()
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


def body_type(request: Request[Any, Any, Any]) -> str:
    """The media type of the body, JSON if it has none. Raises Refusal (415)."""
    given = request.headers.get("content-type", encode.JSON).split(";")[0].strip().lower()
    if given not in MEDIA_TYPES:
        raise Refusal(415, f"Content-Type is {given!r}; expected one of {', '.join(MEDIA_TYPES)}.")
    return given

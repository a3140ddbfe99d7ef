"""POST /v1/tapes/profile: what the tape in the body holds, as JSON or as a picture."""

import io
from collections.abc import Callable
from typing import Any

import anyio.to_thread
import msgspec
from litestar import Request, Response, post

import engine
from api import encode
from api.errors import Refusal
from api.named_tapes import loaded
from api.pictures import profile_picture
from api.rest.resources import owner_of, storage_of
from api.rest.tape_bodies import FORMATS, Body, file_tape, media_type_of, named_tape, options_of
from api.roles import requires
from api.settings import Settings
from api.unpacked import check_unpacked

ANSWERS: dict[str, Callable[[engine.Profile], bytes]] = {
    encode.JSON: msgspec.json.encode,
    "image/png": lambda found: profile_picture(found, "Profile of the tape", "png"),
    "image/svg+xml": lambda found: profile_picture(found, "Profile of the tape", "svg"),
}


def tape_in(body: bytes, media_type: str, options: dict[str, Any], settings: Settings) -> engine.Tape:
    """The tape in a body: a file of the media type, or a JSON object with `tape`. Raises Refusal, TapeFileError."""
    if media_type == encode.JSON:
        return named_tape(body)
    check_unpacked(io.BytesIO(body), FORMATS[media_type] or "", settings, whole=True)
    return file_tape(Body(body), media_type, options)


def answered(tape: engine.Tape, accepted: str) -> bytes:
    """The encoded profile of a tape."""
    found = engine.profile(tape)
    try:
        return ANSWERS[accepted](found)
    except engine.TapeFileError as error:
        raise Refusal(406, f"Pictures are not drawn here: {error}") from error


def accepted_type(accept: str) -> str:
    """The media type to answer with. Raises Refusal (406)."""
    if not accept.strip():
        return encode.JSON
    accepted = encode.parse_accept(accept)
    best = max(ANSWERS, key=lambda name: encode.quality(name, accepted))
    if encode.quality(best, accepted) <= 0:
        raise Refusal(406, f"Accept is {accept!r}; expected one of {', '.join(ANSWERS)}.")
    return best


@post("/v1/tapes/profile", status_code=200, guards=[requires("reader")])
async def create_profile(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The profile of the tape in the body."""
    settings: Settings = request.app.state.settings
    accepted = accepted_type(request.headers.get("accept", ""))
    given = media_type_of(request, encode.JSON)
    options = options_of(request, given)
    body = await request.body()
    tape = await anyio.to_thread.run_sync(tape_in, body, given, options, settings)
    tape = await loaded(tape, storage_of(request), owner_of(request), settings)
    content = await anyio.to_thread.run_sync(answered, tape, accepted)
    return Response(content, media_type=accepted, headers={"vary": "Accept"})

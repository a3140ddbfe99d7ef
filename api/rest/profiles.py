"""POST /v1/tapes/profile: what the tape in the body holds, as JSON or as a picture."""

import io
from collections.abc import Callable
from typing import Any

import anyio.to_thread
import msgspec
from litestar import Request, Response, post

import engine
from api import encode
from api.errors import Fault, Refusal
from api.faults import type_refusal
from api.named_tapes import loaded
from api.pictures import profile_picture
from api.rest.resources import only, owner_of, storage_of
from api.roles import requires
from api.settings import Settings
from api.unpacked import check_unpacked
from engine.errors import MAX_PROBLEMS

# Bytes of a column file once it is unpacked, by bytes of the largest body.
UNPACKED = 16


class ProfileRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tape to profile."""

    tape: engine.Tape


class Body(io.BytesIO):
    """The bytes of a request, under the name that messages call them by."""

    name = "the body"


# Parameters of the address, about how a file is read.
OPTIONS = ("layout", "on_error", "period")
# Media type of a file -> format of engine.read_tape, none for one that only a layout has.
READERS: dict[str, str | None] = {
    "text/csv": "csv",
    "text/plain": None,
    "application/xml": None,
    "text/xml": None,
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.apache.arrow.file": "arrow",
}
ANSWERS: dict[str, Callable[[engine.Profile], bytes]] = {
    encode.JSON: msgspec.json.encode,
    "image/png": lambda found: profile_picture(found, "Profile of the tape", "png"),
    "image/svg+xml": lambda found: profile_picture(found, "Profile of the tape", "svg"),
}
from_json = msgspec.json.Decoder(ProfileRequest)


def tape_in(body: bytes, media_type: str, options: dict[str, str], settings: Settings) -> engine.Tape:
    """The tape in a body: a file of the media type, or a JSON object with `tape`. Raises Refusal."""
    if media_type == encode.JSON:
        try:
            tape = from_json.decode(body)
        except msgspec.ValidationError as error:
            raise type_refusal(error, msgspec.json.decode(body)) from error
        return tape.tape
    if media_type == "application/vnd.apache.parquet":
        check_parquet(body, settings)
    check_unpacked(io.BytesIO(body), READERS[media_type] or "", settings)
    try:
        return engine.read_tape(Body(body), format=READERS[media_type], **options)  # type: ignore[arg-type]
    except engine.TapeFileError as error:
        raise file_refusal(error) from error


def check_parquet(body: bytes, settings: Settings) -> None:
    """Raises Refusal for a Parquet file that says it holds too much to be unpacked."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        about = parquet.ParquetFile(io.BytesIO(body)).metadata
    except (pa.ArrowException, OSError) as error:
        raise Refusal(422, f"The body cannot be read: {str(error).splitlines()[0]}") from error
    size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
    if size > UNPACKED * settings.max_body_bytes or about.num_rows > settings.max_result_cells:
        raise Refusal(413, f"The file holds {about.num_rows:,} rows in {size:,} bytes unpacked; that is too many.")


def file_refusal(error: engine.TapeFileError) -> Refusal:
    """The refusal of a file, with a line of its message for each fault."""
    head, *lines = str(error).splitlines()
    return Refusal(422, head[:2000], [Fault("body", line[:500]) for line in lines[:MAX_PROBLEMS]])


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
    given = request.headers.get("content-type", encode.JSON).split(";")[0].strip().lower()
    if given != encode.JSON and given not in READERS:
        raise Refusal(415, f"Content-Type is {given!r}; expected one of {', '.join([encode.JSON, *READERS])}.")
    only(request, OPTIONS)
    options = {name: request.query_params[name] for name in OPTIONS if name in request.query_params}
    if options and given == encode.JSON:
        faults = [Fault(name, "is about files; a JSON body is none") for name in options]
        raise Refusal(422, f"{faults[0].path} {faults[0].message}.", faults)
    body = await request.body()
    tape = await anyio.to_thread.run_sync(tape_in, body, given, options, settings)
    tape = await loaded(tape, storage_of(request), owner_of(request), settings)
    content = await anyio.to_thread.run_sync(answered, tape, accepted)
    return Response(content, media_type=accepted, headers={"vary": "Accept"})

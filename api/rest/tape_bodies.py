"""Tapes in the bodies of requests: a file by its media type, read as the address says, or a JSON object."""

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec
from litestar import Request

import engine
from api.errors import Fault, Refusal
from api.faults import OfTape, json_refusal
from api.rest.resources import JSON, only
from api.storage.tape_parquet import ROW_GROUP, in_row_groups
from engine.layout_options import LayoutTape, Options
from engine.layout_report import ReadReport
from engine.tape_files import layout_of

PARQUET = "application/vnd.apache.parquet"
# Media type of a file -> format of engine.read_tape, none for one that only a layout has.
FORMATS: dict[str, str | None] = {
    "text/csv": "csv",
    "text/plain": "csv",
    "application/xml": None,
    "text/xml": None,
    PARQUET: "parquet",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.apache.arrow.file": "arrow",
}
# Parameters of the address on how a file is read: those of engine.read_tape that need no second file.
PARAMETERS: dict[str, tuple[str, dict[str, Any]]] = {
    "layout": ("Layout of the file, by default as it shows.", {"enum": list(engine.LAYOUTS)}),
    "on_error": ("What faulty rows of a file of a layout do.", {"enum": ["refuse", "skip"], "default": "refuse"}),
    "period": ("Reporting month of a file of a layout, YYYY-MM, by default its latest.", {"type": "string"}),
    "floating": (
        "Whether the terms of floating rates of a file of a layout become columns of the tape, whose projection then "
        "needs a path for each index.",
        {"type": "boolean", "default": False},
    ),
}
BOOLEANS = {"true": True, "false": False}
from_json = msgspec.json.Decoder(engine.Tape)
named_from_json = msgspec.json.Decoder(OfTape)


class Body(io.BytesIO):
    """The bytes of a request, under the name that messages call them by."""

    name = "the body"


class BodyFile(io.BufferedRandom):
    """A file with the bytes of a request, under that name."""

    name = "the body"


def media_type_of(request: Request[Any, Any, Any], default: str = "") -> str:
    """The media type of the body. Raises Refusal (415)."""
    given = request.headers.get("content-type", default).split(";")[0].strip().lower()
    if given != JSON and given not in FORMATS:
        raise Refusal(415, f"Content-Type is {given!r}; expected one of {', '.join([JSON, *FORMATS])}.")
    return given


def options_of(request: Request[Any, Any, Any], media_type: str, *others: str) -> dict[str, Any]:
    """The options of engine.read_tape in the address, which takes `others` too. Raises Refusal (400, 422)."""
    only(request, (*others, *PARAMETERS))
    options: dict[str, Any] = {name: request.query_params[name] for name in PARAMETERS if name in request.query_params}
    if options and media_type == JSON:
        faults = [Fault(name, "is about files; a JSON body is none") for name in options]
        raise Refusal(422, f"{faults[0].path} {faults[0].message}.", faults)
    faults = []
    for name, value in options.items():
        allowed = PARAMETERS[name][1].get("enum") or (list(BOOLEANS) if name == "floating" else None)
        if allowed is not None and value not in allowed:
            faults.append(Fault(name, f"is {value[:80]!r}; expected one of {', '.join(allowed)}"))
    if faults:
        raise Refusal(422, f"{faults[0].path} {faults[0].message}.", faults)
    if "floating" in options:
        options["floating"] = BOOLEANS[options["floating"]]
    return options


def checked_layout(file: BinaryIO, media_type: str, options: dict[str, Any]) -> bool:
    """Whether the file is of a layout. Raises TapeFileError where it has to be, or where options are for one alone."""
    given = {name: value for name, value in options.items() if name != "layout"}
    found = layout_of(file, FORMATS[media_type], options.get("layout"), Options(**given)) is not None
    if not found and options.get("floating"):
        raise engine.TapeFileError("the body shows no layout; floating is for files of one")
    if not found and FORMATS[media_type] is None:
        allowed = ", ".join(engine.LAYOUTS)
        raise engine.TapeFileError(f"the body shows no layout; expected one of {allowed}, by name in `layout`")
    return found


def file_tape(file: BinaryIO, media_type: str, options: dict[str, Any]) -> engine.Tape:
    """The tape of a file, with all its columns. Raises TapeFileError."""
    checked_layout(file, media_type, options)
    return engine.read_tape(file, format=FORMATS[media_type], **options)


def file_batches(
    file: BinaryIO, media_type: str, options: dict[str, Any]
) -> tuple[Iterator[engine.Tape], ReadReport | None]:
    """The tape of a file in row groups, and what became of its rows if it is of a layout. Raises TapeFileError."""
    if checked_layout(file, media_type, options):
        # A layout's batches are as large as its rows happen to give; the tape is cut anew.
        tape = engine.read_tape(file, format=FORMATS[media_type], extra=False, **options)
        return in_row_groups(tape), tape.report if isinstance(tape, LayoutTape) else None
    return engine.iter_tape(file, batch_size=ROW_GROUP, format=FORMATS[media_type]), None


def json_tape(body: bytes) -> engine.Tape:
    """The tape in a JSON body, with loans or columns. Raises Refusal (400, 422), TapeError."""
    try:
        tape = from_json.decode(body)
    except msgspec.ValidationError as error:
        raise json_refusal(error, body, OfTape, "tape") from error
    if tape.tape_id is not None:
        fault = Fault("tape.tape_id", "names a stored tape; expected loans or columns")
        raise Refusal(422, f"{fault.path} {fault.message}.", [fault])
    tape.arrays()
    return tape


def named_tape(body: bytes) -> engine.Tape:
    """The tape in a JSON object that has one as `tape`. Raises Refusal (400)."""
    try:
        return named_from_json.decode(body).tape
    except msgspec.ValidationError as error:
        raise json_refusal(error, body, OfTape) from error

"""/v1/tapes: tapes uploaded as a stream, profiled, kept as Parquet, downloaded and deleted."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.params import FromPath
from litestar.response import Stream

import engine
from api.errors import Refusal
from api.rest.resources import (
    JSON,
    AnyRequest,
    body_as,
    expected_version,
    json_response,
    listing,
    only,
    owner_of,
    page_arguments,
    storage_of,
    versioned,
)
from api.rest.tape_bodies import (
    FORMATS,
    PARQUET,
    BodyFile,
    checked_layout,
    file_batches,
    json_tape,
    media_type_of,
    options_of,
)
from api.roles import requires
from api.settings import Settings
from api.storage.errors import DamagedTape
from api.storage.objects import MissingObject
from api.storage.tape_parquet import in_row_groups
from api.storage.tapes import create_tape, delete_tape, get_tape, list_tapes, rename_tape
from api.stored import TapeView, checked_name, tape_view
from api.unpacked import check_unpacked
from engine.layout_report import ReadReport

PATH = "/v1/tapes"


class TapeName(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A tape's new name."""

    name: str


def etag_of(view: TapeView) -> str:
    return f'"{view.version}"'


class CreatedTape(TapeView, frozen=True, kw_only=True, omit_defaults=True):
    """A tape that was just stored. report: what became of the file's rows, of one in a layout."""

    report: ReadReport | None = None


@post(PATH, status_code=201, guards=[requires("analyst")], request_max_body_size=None)
async def post_tape(request: AnyRequest) -> Response[bytes]:
    """Stores the tape in the body; its `name` and how a file is read are in the address."""
    given = media_type_of(request)
    options = options_of(request, given, "name")
    name = checked_name(request.query_params.get("name", "tape"))
    storage = storage_of(request)
    settings = request.app.state.settings
    limit = settings.max_upload_bytes
    folder = Path(settings.state_dir)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with BodyFile(tempfile.TemporaryFile(dir=folder, buffering=0)) as file:
        size = await receive(request, file, limit)
        batches, report = await asyncio.to_thread(batches_of, file, size, given, options, settings)
        most = settings.max_tape_loans
        stored = await create_tape(storage.database, storage.objects, owner_of(request), name, batches, most)
    view = CreatedTape(**msgspec.structs.asdict(tape_view(stored)), report=report)
    return json_response(view, 201, {"location": f"{PATH}/{view.id}", "etag": etag_of(view)})


async def receive(request: AnyRequest, file: BinaryIO, limit: int) -> int:
    """Writes the body to a file as it comes; its size. Raises Refusal (413)."""
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise Refusal(413, f"The tape is larger than the {limit:,} bytes that are read (MAX_UPLOAD_BYTES).")
        await asyncio.to_thread(file.write, part)
    file.seek(0)
    return size


def batches_of(
    file: BinaryIO, size: int, media_type: str, options: dict[str, Any], settings: Settings
) -> tuple[Iterator[engine.Tape], ReadReport | None]:
    """The tape in row groups, and the report of a file of a layout. Raises TapeFileError, TapeError, Refusal.

    size: of the file in bytes; what is read into memory as a whole is bounded by it.
    """
    if media_type == JSON:
        if size > settings.max_body_bytes:
            raise Refusal(
                413,
                f"The tape has {size:,} bytes of JSON; at most {settings.max_body_bytes:,} are read (MAX_BODY_BYTES). "
                "Send a larger one as CSV, Parquet or Arrow.",
            )
        return in_row_groups(json_tape(file.read())), None
    check_unpacked(file, FORMATS[media_type] or "", settings)
    if checked_layout(file, media_type, options) and size > settings.max_layout_bytes:
        raise Refusal(
            413,
            f"The file has {size:,} bytes; in a layout at most {settings.max_layout_bytes:,} are read "
            "(MAX_LAYOUT_BYTES). Send it in parts, or in columns of our names.",
        )
    return file_batches(file, media_type, options)


@get(PATH)
async def get_tapes(request: AnyRequest) -> Response[bytes]:
    """A page of the caller's tapes, newest first."""
    only(request, ("after", "limit"))
    async with storage_of(request).database.read() as connection:
        page = await list_tapes(connection, owner_of(request), **page_arguments(request))
    return listing(page, [tape_view(each) for each in page.items])


@get(f"{PATH}/{{tape_id:str}}")
async def get_one_tape(request: AnyRequest, tape_id: FromPath[str]) -> Response[bytes]:
    """A tape with what it holds; the loans are at `/file`."""
    only(request, ())
    async with storage_of(request).database.read() as connection:
        view = tape_view(await get_tape(connection, owner_of(request), tape_id))
    return versioned(request, view, etag_of(view))


@get(f"{PATH}/{{tape_id:str}}/file")
async def get_tape_file(request: AnyRequest, tape_id: FromPath[str]) -> Stream:
    """The loans as Parquet."""
    storage = storage_of(request)
    async with storage.database.read() as connection:
        tape = await get_tape(connection, owner_of(request), tape_id)
    try:
        parts = await asyncio.to_thread(lambda: iter(storage.objects.get_stream(tape.object_key)))
    except MissingObject as error:
        raise DamagedTape("missing") from error
    headers = {
        "etag": f'"{tape.sha256}"',
        "content-length": str(tape.size),
        "content-disposition": f'attachment; filename="{tape.id}.parquet"',
    }
    return Stream(in_threads(parts), media_type=PARQUET, headers=headers)


async def in_threads(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The parts, each read in a thread."""
    end: Any = object()
    while (part := await asyncio.to_thread(next, parts, end)) is not end:
        yield part


@patch(f"{PATH}/{{tape_id:str}}", guards=[requires("analyst")])
async def patch_tape(request: AnyRequest, tape_id: FromPath[str]) -> Response[bytes]:
    """Renames a tape."""
    name = checked_name((await body_as(request, TapeName)).name)
    expected = expected_version(request)
    async with storage_of(request).database.write() as connection:
        view = tape_view(await rename_tape(connection, owner_of(request), tape_id, name, expected))
    return json_response(view, 200, {"etag": etag_of(view)})


@delete(f"{PATH}/{{tape_id:str}}", guards=[requires("analyst")])
async def remove_tape(request: AnyRequest, tape_id: FromPath[str]) -> None:
    """Deletes a tape that no run is on."""
    storage = storage_of(request)
    await delete_tape(storage.database, storage.objects, owner_of(request), tape_id, expected_version(request))


HANDLERS = [post_tape, get_tapes, get_one_tape, get_tape_file, patch_tape, remove_tape]

"""/v1/runs: a stored tape under scenarios, projected by the workers; progress, results, cancelling, running again."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath
from litestar.response import Stream

from api import encode, limits
from api.errors import Fault, Refusal
from api.rest.resources import (
    AnyRequest,
    body_as,
    check_match,
    json_response,
    listed,
    listing,
    matches,
    only,
    owner_of,
    page_arguments,
    storage_of,
    unchanged,
    versioned,
)
from api.roles import requires
from api.storage.results import as_cashflows, cells_chosen, result_columns
from api.storage.rows import Run, RunRequest
from api.storage.runs import get_run, list_runs, request_of
from api.stored import RequestedRun, RunView, requested_run, run_view
from api.streams import EXPIRED, Expired, while_valid

PATH = "/v1/runs"


def etag_of(view: RunView) -> str:
    told = "" if view.webhook is None else f"-{view.webhook.state}-{view.webhook.attempts}"
    return f'"{view.version}-{view.loan_months_done}{told}"'


async def shown(request: AnyRequest, run: Run) -> RequestedRun:
    """The run with its request."""
    async with storage_of(request).database.read() as connection:
        return requested_run(run, await request_of(connection, owner_of(request), run.id))


async def accepted(request: AnyRequest, run: Run) -> Response[bytes]:
    """202 with the run and where it is."""
    view = await shown(request, run)
    return json_response(view, 202, {"location": f"{PATH}/{view.id}", "etag": etag_of(view)})


@post(PATH, status_code=202, guards=[requires("analyst")])
async def post_run(request: AnyRequest) -> Response[bytes]:
    """Accepts a run; the same Idempotency-Key with the same body gives the same run."""
    asked = await body_as(request, RunRequest)
    key = request.headers.get("idempotency-key")
    return await accepted(request, await request.app.state.jobs.submit(owner_of(request), asked, key))


@get(PATH)
async def get_runs(request: AnyRequest) -> Response[bytes]:
    """A page of the caller's runs, newest first: in some states, on a tape, created in a span of time."""
    only(request, ("after", "limit", "state", "tape_id", "created_from", "created_before"))
    filters: dict[str, Any] = {
        "states": listed(request, "state"),
        "tape_id": request.query_params.get("tape_id"),
        "created_from": moment(request, "created_from"),
        "created_before": moment(request, "created_before"),
    }
    async with storage_of(request).database.read() as connection:
        page = await list_runs(connection, owner_of(request), **page_arguments(request), **filters)
    return listing(page, [run_view(each) for each in page.items])


def moment(request: AnyRequest, name: str) -> datetime | None:
    """A time of the address, UTC where it names no zone. Raises Refusal (400)."""
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        found = msgspec.convert(text.replace(" ", "+"), datetime)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError) as error:
        fault = Fault(name, f"is {text[:80]!r}; expected a time such as 2026-01-31T00:00:00Z")
        raise Refusal(400, f"{name} {fault.message}.", [fault]) from error


async def run_of(request: AnyRequest, run_id: str) -> Run:
    async with storage_of(request).database.read() as connection:
        return await get_run(connection, owner_of(request), run_id)


@get(f"{PATH}/{{run_id:str}}")
async def get_one_run(request: AnyRequest, run_id: FromPath[str]) -> Response[bytes]:
    """A run: its state, its progress, and what it was asked for."""
    only(request, ())
    run = await run_of(request, run_id)
    etag = etag_of(run_view(run))
    if matches(request.headers.get("if-none-match"), etag):
        return unchanged(etag)
    return versioned(request, await shown(request, run), etag)


@get(f"{PATH}/{{run_id:str}}/cashflows")
async def get_run_cashflows(request: AnyRequest, run_id: FromPath[str]) -> Response[bytes]:
    """The cashflows of a run that has succeeded, in the media type that Accept asks for: `fields`, `scenarios`."""
    only(request, ("fields", "scenarios"))
    media_type = encode.choose(request.headers.get("accept", ""))
    fields, scenarios = listed(request, "fields"), listed(request, "scenarios")
    storage = storage_of(request)
    async with storage.database.read() as connection:
        run = await get_run(connection, owner_of(request), run_id)
        asked = repr((run.id, run.version, fields, scenarios, media_type)).encode()
        headers = {"etag": f'"{hashlib.sha256(asked).hexdigest()[:32]}"', "vary": "Accept", "cache-control": "private"}
        if run.state == "succeeded" and matches(request.headers.get("if-none-match"), headers["etag"]):
            return Response(b"", status_code=304, headers=headers, media_type=media_type)
        limits.check_answer(cells_chosen(run, fields, scenarios), request.app.state.settings)
        found = await result_columns(connection, storage.objects, run, fields=fields, scenarios=scenarios)
    content = await asyncio.to_thread(encode.ENCODERS[media_type], as_cashflows(run, found))
    return Response(content, media_type=media_type, headers=headers)


@get(f"{PATH}/{{run_id:str}}/events")
async def get_run_events(request: AnyRequest, run_id: FromPath[str]) -> Stream:
    """Server-sent events: the run at once and after each change, `event: end` when it has ended.

    A stream ends with its token, which `event: expired` tells.
    """
    await run_of(request, run_id)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return Stream(events(request, run_id), media_type="text/event-stream", headers=headers)


async def events(request: AnyRequest, run_id: str) -> AsyncIterator[bytes]:
    changes = aiter(request.app.state.jobs.progress(owner_of(request), run_id))
    valid = while_valid(changes, request.scope["auth"], request.app.state.settings)
    view: RunView | None = None
    try:
        async with aclosing(valid) as told:
            async for run in told:
                if run is None:
                    yield b": still there\n\n"
                    continue
                view = run_view(run)
                number = etag_of(view).strip('"').encode()
                yield b"event: progress\nid: " + number + b"\ndata: " + msgspec.json.encode(view) + b"\n\n"
    except Expired:
        yield b"event: expired\ndata: " + msgspec.json.encode({"detail": EXPIRED}) + b"\n\n"
        return
    if view is not None:
        yield b"event: end\ndata: " + msgspec.json.encode({"id": view.id, "state": view.state}) + b"\n\n"


@post(f"{PATH}/{{run_id:str}}/cancel", status_code=200, guards=[requires("analyst")])
async def post_cancel(request: AnyRequest, run_id: FromPath[str]) -> Response[bytes]:
    """Cancels a run that is queued or running."""
    view = await shown(request, await request.app.state.jobs.cancel(owner_of(request), run_id))
    return json_response(view, 200, {"etag": etag_of(view)})


@post(f"{PATH}/{{run_id:str}}/rerun", status_code=202, guards=[requires("analyst")])
async def post_rerun(request: AnyRequest, run_id: FromPath[str]) -> Response[bytes]:
    """Accepts a new run with the same request, on the scenarios as they were pinned; keys as for a new run."""
    key = request.headers.get("idempotency-key")
    return await accepted(request, await request.app.state.jobs.rerun(owner_of(request), run_id, key))


@delete(f"{PATH}/{{run_id:str}}", guards=[requires("analyst")])
async def remove_run(request: AnyRequest, run_id: FromPath[str]) -> None:
    """Deletes a run that has ended, with its result."""
    if "if-match" in request.headers:
        check_match(request, etag_of(run_view(await run_of(request, run_id))))
    await request.app.state.jobs.delete(owner_of(request), run_id)


HANDLERS = [
    post_run, get_runs, get_one_run, get_run_cashflows, get_run_events, post_cancel, post_rerun, remove_run,
]  # fmt: skip

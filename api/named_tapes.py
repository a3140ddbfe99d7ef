"""Stored tapes in requests that are answered at once: `{"tape": {"tape_id": ..}}` becomes the tape of that id."""

import anyio.to_thread
import msgspec

import engine
from api import limits
from api.errors import Fault, Refusal
from api.settings import Settings
from api.storage.errors import NotFound
from api.storage.opened import Storage
from api.storage.tape_parquet import read_slice
from api.storage.tapes import get_tape
from engine.tape_tables import Tables


async def loaded(
    tape: engine.Tape,
    storage: Storage,
    owner: str,
    settings: Settings,
    request: engine.ProjectionRequest | None = None,
    below: str = "",
) -> engine.Tape:
    """The tape itself, or the owner's stored one that it names.

    request: the projection of the tape, if it is for one. below: the path to the projection, with its dot. Raises
    Refusal: 404 where the owner has no such tape, 413 where it is too large to be read for one answer, 422 for tables
    beside the id.
    """
    # With loans or columns beside it, the engine says that the tape is one of them.
    if tape.tape_id is None or tape.loans is not None or tape.columns is not None:
        return tape
    message = "is stated beside tape_id; a stored tape has the tables that it was stored with"
    beside = [name for name in Tables.__struct_fields__ if getattr(tape, name) is not None]
    if faults := [Fault(f"{below}tape.{name}", message) for name in beside]:
        raise Refusal(422, f"{faults[0].path} {message}.", faults)
    try:
        async with storage.database.read() as connection:
            stored = await get_tape(connection, owner, tape.tape_id)
    except NotFound as error:
        fault = Fault(f"{below}tape.tape_id", "names no stored tape; expected the id of one of yours, loans or columns")
        raise Refusal(404, f"No tape is stored under the id {tape.tape_id!r}.", [fault]) from error
    # Before its loans are read: what is too large for one answer is not read for nothing.
    work = stored.loan_months if request is None else stored.loans * limits.steps(request, stored.profile.longest_term)
    limits.check_loan_months(work, settings)
    return await anyio.to_thread.run_sync(read_slice, storage.objects, stored.object_key, 0, stored.loans)


async def with_tape(
    request: engine.ProjectionRequest, storage: Storage, owner: str, settings: Settings, below: str = ""
) -> engine.ProjectionRequest:
    """The request with its tape loaded, as `loaded` does."""
    tape = await loaded(request.tape, storage, owner, settings, request, below)
    return request if tape is request.tape else msgspec.structs.replace(request, tape=tape)

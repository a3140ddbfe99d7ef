"""GraphQL: the profile of a tape, its types derived from the engine's Structs."""

from typing import Annotated, Any

import anyio.to_thread
import msgspec
import strawberry

import engine
from api.errors import Fault, Refusal
from api.faults import type_refusal
from api.graphql.inputs import inputs, plain
from api.graphql.outputs import output_of
from api.graphql.texts import first_line

Profile: Any = output_of(engine.Profile)
TapeInput: Any = inputs["TapeInput"]
TapeArgument = Annotated[TapeInput, strawberry.argument(description=first_line(engine.Tape))]


class ProfileRequest(msgspec.Struct, frozen=True):
    """A tape to profile; faults then carry the paths that projections give them."""

    tape: engine.Tape


async def profiled(given: Any) -> Any:
    """The profile of an input's tape. Raises Refusal or InvalidInput with the paths to the faults."""
    body = {"tape": plain(given)}
    try:
        tape = msgspec.convert(body, ProfileRequest).tape
    except msgspec.ValidationError as error:
        raise type_refusal(error, body) from error
    if tape.tape_id is not None and tape.loans is None and tape.columns is None:
        fault = Fault("tape.tape_id", "names no stored tape; expected loans or columns in the request")
        raise Refusal(404, f"No tape is stored under the id {tape.tape_id!r}.", [fault])
    return await anyio.to_thread.run_sync(engine.profile, tape)

"""GraphQL: the profile of a tape, its types derived from the engine's Structs."""

from typing import Annotated, Any

import anyio.to_thread
import msgspec
import strawberry

import engine
from api.faults import OfTape, type_refusal
from api.graphql.inputs import inputs, plain
from api.graphql.outputs import output_of
from api.graphql.texts import first_line
from api.named_tapes import loaded

Profile: Any = output_of(engine.Profile)
TapeInput: Any = inputs["TapeInput"]
TapeArgument = Annotated[TapeInput, strawberry.argument(description=first_line(engine.Tape))]


async def profiled(given: Any, context: Any) -> Any:
    """The profile of an input's tape, or of the caller's stored one that it names.

    Raises Refusal or InvalidInput with the paths to the faults.
    """
    body = {"tape": plain(given)}
    try:
        tape = msgspec.convert(body, OfTape).tape
    except msgspec.ValidationError as error:
        raise type_refusal(error, body, OfTape) from error
    tape = await loaded(tape, context["storage"], context["caller"].subject, context["settings"])
    return await anyio.to_thread.run_sync(engine.profile, tape)

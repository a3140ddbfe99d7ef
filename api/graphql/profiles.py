"""GraphQL: the profile of a tape, its types derived from the engine's Structs."""

from typing import Annotated, Any, Optional

import anyio.to_thread
import msgspec
import strawberry
from msgspec import inspect

import engine
from api.errors import Fault, Refusal
from api.faults import type_refusal
from api.graphql.inputs import inputs, plain, scalar
from api.graphql.texts import describe, field_texts, first_line

outputs: dict[str, Any] = {}
PLAIN: dict[type, Any] = {
    inspect.BoolType: bool,
    inspect.FloatType: float,
    inspect.IntType: int,
    inspect.StrType: str,
}


def output_kind(kind: inspect.Type) -> Any:
    """The GraphQL type of a field's type."""
    match kind:
        case inspect.StructType(cls=cls):
            return output_of(cls)
        case inspect.ListType(item_type=item):
            return list[output_kind(item)]  # type: ignore[misc]
        case inspect.DictType(value_type=inspect.IntType()):
            return scalar("CountByName", "An object: names to whole numbers.")
        case inspect.DictType():
            return scalar("NumberByName", "An object: names to numbers.")
        case inspect.UnionType(types=members):
            (inner,) = (member for member in members if not isinstance(member, inspect.NoneType))
            return Optional[output_kind(inner)]  # noqa: UP045
    return PLAIN[type(kind)]


def output_of(cls: type[msgspec.Struct]) -> Any:
    """The GraphQL type of a Struct: its fields by their names, read from its attributes."""
    if cls.__name__ not in outputs:
        kind = inspect.type_info(cls)
        assert isinstance(kind, inspect.StructType)
        texts = field_texts(cls)
        body: dict[str, Any] = {"__annotations__": {}, "__module__": __name__}
        for field in kind.fields:
            body["__annotations__"][field.name] = output_kind(field.type)
            body[field.name] = strawberry.field(description=texts[field.name])
        made = type(cls.__name__, (), body)
        outputs[cls.__name__] = strawberry.type(made, name=cls.__name__, description=describe(cls))
    return outputs[cls.__name__]


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

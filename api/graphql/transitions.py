"""GraphQL: a tape moved by a transition-matrix model, its types derived from the engine's Structs."""

from typing import Annotated, Any

import anyio.to_thread
import msgspec
import strawberry
from msgspec import inspect
from strawberry.types import Info
from strawberry.types.nodes import SelectedField, Selection

from api.faults import type_refusal
from api.graphql.cost import skipped
from api.graphql.inputs import plain, struct_input
from api.graphql.outputs import output_of
from api.graphql.texts import first_line
from api.named_tapes import loaded
from api.transitions import Size, check, moved
from engine.transition_views import TransitionViews
from engine.transitions import TransitionRequest

kind = inspect.type_info(TransitionRequest)
assert isinstance(kind, inspect.StructType)
TransitionRequestInput: Any = struct_input(kind)
Transitions: Any = output_of(TransitionViews)
TransitionArgument = Annotated[TransitionRequestInput, strawberry.argument(description=first_line(TransitionRequest))]


def answered(selections: list[Selection], size: Size) -> int:
    """Numbers that selections answer with, aliases each time."""
    found = 0
    for selection in selections:
        if skipped(selection):
            continue
        if selection.selections:
            name = selection.name if isinstance(selection, SelectedField) else ""
            times = {"vintages": size.vintages, "states": size.states, "roll_rates": size.states**2}.get(name, 1)
            found += times * answered(selection.selections, size)
        else:
            found += size.months
    return found


async def transitions_of(given: Any, info: Info[Any, Any]) -> Any:
    """The views of an input. Raises Refusal or InvalidInput with the paths to the faults."""
    context = info.context
    body = plain(given)
    async with context["meter"].part() as charge:
        try:
            asked = msgspec.convert(body, TransitionRequest)
        except msgspec.ValidationError as error:
            raise type_refusal(error, body, TransitionRequest) from error
        tape = await loaded(asked.tape, context["storage"], context["caller"].subject, context["settings"])
        asked = msgspec.structs.replace(asked, tape=tape)
        size = await anyio.to_thread.run_sync(check, asked, context["settings"])
        selections = [selection for field in info.selected_fields for selection in field.selections]
        await charge(max(size.numbers, answered(selections, size), 1))
    return await anyio.to_thread.run_sync(moved, asked)

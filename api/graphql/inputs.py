"""GraphQL inputs derived from the engine's Structs: same names, same descriptions, no second declaration.

A union of tagged Structs becomes one flat input with `type` and every member's fields, all optional but `type`.
What GraphQL cannot say (a list or one value, a name or a Struct, a mapping) is a scalar of its own. Values are
turned back into plain objects and decoded by msgspec, so faults carry the paths that REST gives them.
"""

import datetime
import enum
import re
from typing import Any, NewType, Optional

import msgspec
import strawberry
from msgspec import inspect
from strawberry.schema.config import StrawberryConfig
from strawberry.types.scalar import ScalarDefinition

import engine
from api.faults import type_refusal
from api.graphql.texts import PLAIN_WORDS, choices_text, describe, field_text, first_line, stated_texts, type_text

SCALARS: dict[object, ScalarDefinition] = {}
inputs: dict[str, type] = {}
enums: dict[tuple[object, ...], type] = {}
scalars: dict[str, Any] = {}
# What GraphQL can call a member of an enum; a Literal with other texts is a String.
NAME = re.compile(r"[A-Za-z_]\w*")
# Inputs whose fields are being read; what they hold of themselves is a reference by name.
unfinished: set[str] = set()


def scalar(name: str, description: str) -> Any:
    """The scalar of a name, made on first use; its values pass through unread."""
    if name not in scalars:
        scalars[name] = NewType(name, object)
        definition = strawberry.scalar(
            name=name, description=description, serialize=lambda value: value, parse_value=lambda value: value
        )
        SCALARS[scalars[name]] = definition
    return scalars[name]


def pascal(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def choice(owner: str, name: str, values: tuple[Any, ...], description: str) -> type:
    """The enum of a Literal, one for each set of values; named by its owner too where the name is taken."""
    if values not in enums:
        taken = {known.__name__ for known in enums.values()}
        word = pascal(name)
        word = f"{owner.removesuffix('Input')}{word}" if word in taken else word
        members = enum.Enum(word, {str(value): str(value) for value in values})  # type: ignore[misc]
        enums[values] = strawberry.enum(members, description=description)
    return enums[values]


def input_type(owner: str, name: str, kind: inspect.Type) -> Any:
    """The GraphQL input type of a field's type, without regard to null."""
    match kind:
        case inspect.BoolType():
            return bool
        case inspect.FloatType():
            return float
        case inspect.IntType():
            return int
        case inspect.StrType():
            return str
        case inspect.DateType():
            return datetime.date
        case inspect.Metadata(extra={"graphql": (str() as word, str() as text)}):
            return scalar(word, text)
        case inspect.LiteralType(values=values) if all(isinstance(value, int) for value in values):
            return int
        case inspect.LiteralType(values=values) if not all(NAME.fullmatch(str(value)) for value in values):
            return str
        case inspect.LiteralType(values=values):
            return choice(owner, name, tuple(values), f"One of the values of `{name}`.")
        case inspect.StructType():
            return struct_input(kind)
        case inspect.ListType(item_type=item):
            inner, optional = without_null(item)
            found = input_type(owner, "loan" if name == "loans" else name, inner)
            return list[Optional[found]] if optional else list[found]  # type: ignore[valid-type]  # noqa: UP045
        case inspect.DictType(value_type=inspect.StructType(cls=cls)):
            by = pascal(name.removesuffix("s"))
            return scalar(f"{cls.__name__}By{by}", f"An object: a name of `{name}` to {cls.__name__}.")
        case inspect.DictType(value_type=inspect.UnionType(types=members)):
            return scalar(
                f"{pascal(name)}ByName", f"An object: a name to an object whose `type` is one of {tags(members)}."
            )
        case inspect.DictType(value_type=inspect.ListType(item_type=inspect.UnionType(types=members))):
            said = f"An object: a name to a list of objects whose `type` is one of {tags(members)}."
            return scalar(f"{pascal(name)}ByName", said)
        case inspect.UnionType(types=members):
            return union_input(owner, name, tuple(m for m in members if not isinstance(m, inspect.NoneType)))
    raise TypeError(f"{owner}.{name} has a type that GraphQL inputs do not cover: {kind}")


def tags(members: tuple[inspect.Type, ...]) -> str:
    """The tags of the Structs of a union, as text."""
    return ", ".join(f"`{member.tag}`" for member in members if isinstance(member, inspect.StructType))


def union_input(owner: str, name: str, members: tuple[inspect.Type, ...]) -> Any:
    """The input of a union: flat for tagged Structs, a scalar for a list or one value and for a name or a Struct."""
    structs = [member for member in members if isinstance(member, inspect.StructType)]
    if len(structs) == len(members):
        return flat_input(f"{pascal(name)}Input", structs)
    if structs and any(isinstance(member, inspect.FloatType) for member in members):
        kinds = "\n\n".join(f"`{member.tag}`: {describe(member.cls)}" for member in structs)
        return scalar(pascal(name), f"A number, or an object by its `type`:\n\n{kinds}")
    lists = [member for member in members if isinstance(member, inspect.ListType)]
    if lists:
        item, _ = without_null(lists[0].item_type)
        words = {inspect.FloatType: "Float", inspect.IntType: "Int"}
        word = words.get(type(item), "Text")
        return scalar(f"{word}Column", "One value, or a list: one value a loan in a tape, one a month in a curve.")
    if len(structs) == 1 and any(isinstance(member, inspect.StrType) for member in members):
        cls = structs[0].cls
        parts = (first_line(cls), "The name of a preset, or an object of:", choices_text(cls))
        return scalar(cls.__name__, "\n\n".join(parts))
    raise TypeError(f"{owner}.{name} is a union that GraphQL inputs do not cover")


def without_null(kind: inspect.Type) -> tuple[inspect.Type, bool]:
    """A type without null, and whether null was allowed."""
    if not isinstance(kind, inspect.UnionType):
        return kind, False
    members = tuple(member for member in kind.types if not isinstance(member, inspect.NoneType))
    optional = len(members) < len(kind.types)
    return (members[0] if len(members) == 1 else inspect.UnionType(members)), optional


def make_input(name: str, description: str, fields: dict[str, tuple[Any, bool, str]]) -> type:
    """An input type: each field by name has its type, whether it is required, and a description."""
    if name in inputs:
        return inputs[name]
    body: dict[str, Any] = {"__annotations__": {}, "__module__": __name__}
    for field, (kind, required, text) in fields.items():
        body["__annotations__"][field] = kind if required else Optional[kind]  # noqa: UP045
        default = {} if required else {"default": strawberry.UNSET}
        body[field] = strawberry.field(description=text, **default)
    inputs[name] = strawberry.input(type(name, (), body), name=name, description=description)
    globals()[name] = inputs[name]  # where Strawberry looks a reference by name up
    unfinished.discard(name)
    return inputs[name]


def struct_input(kind: inspect.StructType) -> Any:
    """The input of one Struct, or its name while it is being made."""
    name = f"{kind.cls.__name__}Input"
    if name in inputs:
        return inputs[name]
    if name in unfinished:
        return name
    unfinished.add(name)
    fields: dict[str, tuple[Any, bool, str]] = {}
    if kind.tag is not None:
        fields[str(kind.tag_field)] = (str, True, f"`{kind.tag}`.")
    for field in kind.fields:
        inner, _ = without_null(field.type)
        fields[field.encode_name] = (input_type(name, field.name, inner), field.required, field_text(kind.cls, field))
    return make_input(name, describe(kind.cls), fields)


def flat_input(name: str, members: list[inspect.StructType]) -> Any:
    """The input of a union of tagged Structs: `type` and the fields of all, each with the types that take it.

    While it is being made, its name.
    """
    if name in inputs:
        return inputs[name]
    if name in unfinished:
        return name
    unfinished.add(name)
    takers: dict[str, list[str]] = {}
    kinds: dict[str, Any] = {}
    stated: dict[str, str] = {}
    typed: dict[str, str] = {}
    for member in members:
        stated = stated_texts(member.cls) | stated
        typed |= {field.encode_name: type_text(field.type) for field in member.fields}
        for field in member.fields:
            inner, _ = without_null(field.type)
            takers.setdefault(field.encode_name, []).append(f"`{member.tag}`")
            kinds.setdefault(field.encode_name, input_type(name, field.name, inner))
    tags = tuple(member.tag for member in members)
    # The type of a loan was a text before there were others, and stays one for the queries that write it so.
    kind = str if name == "LoanInput" else choice(name, name.removesuffix("Input") + "Type", tags, "The kinds.")
    fields = {str(members[0].tag_field): (kind, True, "Which of the kinds it is; each takes the fields that name it.")}
    said = typed | PLAIN_WORDS | stated
    texts = {field: f"Of {', '.join(takers[field])}. {said[field]}".strip() for field in kinds}
    fields |= {field: (kinds[field], False, texts[field]) for field in kinds}
    description = "\n".join(f"`{member.tag}`: {describe(member.cls)}" for member in members)
    return make_input(name, description, fields)


def plain(value: Any) -> Any:
    """An input as plain objects, without what was not given."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, list):
        return [plain(item) for item in value]
    definition = getattr(value, "__strawberry_definition__", None)
    if definition is None:
        return value
    given = ((field.python_name, getattr(value, field.python_name)) for field in definition.fields)
    return {name: plain(item) for name, item in given if item is not strawberry.UNSET}


request_kind = inspect.type_info(engine.ProjectionRequest)
assert isinstance(request_kind, inspect.StructType)
ProjectionRequestInput = struct_input(request_kind)


def to_request(given: Any) -> engine.ProjectionRequest:
    """The request in an input. Raises Refusal (400) with the paths to the faults."""
    body = plain(given)
    try:
        return msgspec.convert(body, engine.ProjectionRequest)
    except msgspec.ValidationError as error:
        raise type_refusal(error, body, engine.ProjectionRequest) from error


def config() -> StrawberryConfig:
    """Names as they are, and the scalars; made after every type is."""
    return StrawberryConfig(auto_camel_case=False, scalar_map=dict(SCALARS))

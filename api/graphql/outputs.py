"""GraphQL outputs derived from Structs: same names, same descriptions, read from the Structs' own attributes.

What GraphQL has no type for (mappings, and Structs that are unions below, such as assumptions) is a scalar that holds
the object as JSON has it.
"""

import datetime
from typing import Any, NewType, Optional

import msgspec
import strawberry
from msgspec import inspect

from api.graphql.inputs import SCALARS, choice, scalar, scalars
from api.graphql.texts import describe, field_texts

outputs: dict[str, Any] = {}
PLAIN: dict[type, Any] = {
    inspect.BoolType: bool,
    inspect.FloatType: float,
    inspect.IntType: int,
    inspect.StrType: str,
    inspect.DateType: datetime.date,
    inspect.DateTimeType: datetime.datetime,
}


def object_scalar(name: str, description: str) -> Any:
    """The scalar of a name, whose values are objects as JSON has them."""
    if name not in scalars:
        scalars[name] = NewType(name, object)
        SCALARS[scalars[name]] = strawberry.scalar(
            name=name, description=description, serialize=msgspec.to_builtins, parse_value=lambda value: value
        )
    return scalars[name]


def is_open(kind: inspect.Type) -> bool:
    """Whether a Struct holds a union of Structs, or itself, so that GraphQL cannot say what it is."""
    if not isinstance(kind, inspect.StructType):
        return False
    found: list[inspect.Type] = [field.type for field in kind.fields]
    seen = {kind.cls}
    while found:
        match found.pop():
            case inspect.StructType(cls=cls) as inner:
                if cls in seen:
                    return True
                seen.add(cls)
                found += [field.type for field in inner.fields]
            case inspect.UnionType(types=members):
                if sum(isinstance(member, inspect.StructType) for member in members) > 1:
                    return True
                found += members
            case inspect.ListType(item_type=item) | inspect.DictType(value_type=item):
                found.append(item)
    return False


def output_kind(name: str, kind: inspect.Type, owner: str = "") -> Any:
    """The GraphQL type of the type of the field `name` of the type `owner`."""
    match kind:
        case inspect.Metadata(extra={"graphql": (str() as word, str() as text)}):
            return scalar(word, text)
        case inspect.StructType(cls=cls):
            if is_open(kind):
                return object_scalar(f"{cls.__name__}Object", f"As in REST. {describe(cls)}")
            return output_of(cls)
        case inspect.ListType(item_type=item):
            return list[output_kind(name, item, owner)]  # type: ignore[misc]
        case inspect.DictType(value_type=inspect.IntType()):
            return object_scalar("CountByName", "An object: names to whole numbers.")
        case inspect.DictType():
            return object_scalar("NumberByName", "An object: names to numbers.")
        case inspect.LiteralType(values=values):
            return choice(owner, name, tuple(values), f"One of the values of `{name}`.")
        case inspect.UnionType(types=members):
            (inner,) = (member for member in members if not isinstance(member, inspect.NoneType))
            return Optional[output_kind(name, inner, owner)]  # noqa: UP045
    return PLAIN[type(kind)]


def output_of(cls: type[msgspec.Struct], **more: tuple[Any, Any]) -> Any:
    """The GraphQL type of a Struct; more: further fields by name, each with its type and its strawberry.field."""
    if cls.__name__ not in outputs:
        kind = inspect.type_info(cls)
        assert isinstance(kind, inspect.StructType)
        texts = field_texts(cls)
        body: dict[str, Any] = {"__annotations__": {}, "__module__": __name__}
        for field in kind.fields:
            body["__annotations__"][field.name] = output_kind(field.name, field.type, cls.__name__.removesuffix("View"))
            body[field.name] = strawberry.field(description=texts[field.name])
        for name, (found, resolver) in more.items():
            body["__annotations__"][name] = found
            body[name] = resolver
        name = cls.__name__.removesuffix("View")
        made = type(name, (), body)
        outputs[cls.__name__] = strawberry.type(made, name=name, description=describe(cls))
    return outputs[cls.__name__]

"""Enums of inputs that say which values they take, where the library only says that one is not among them."""

from collections.abc import Callable
from typing import Any

from graphql import GraphQLEnumType, GraphQLError, GraphQLSchema

from engine.errors import one_of

SHOWN = 80


def tell_choices(schema: GraphQLSchema) -> None:
    """Has every enum of the schema name its values in its errors; the values are in the REST description too."""
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLEnumType) and not kind.name.startswith("__"):
            names = list(kind.values)
            for method in ("coerce_input_value", "coerce_input_literal"):
                setattr(kind, method, telling(getattr(kind, method), names))


def telling(coerced: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
    """What coerces a value of an enum, its error in words that every interface has."""

    def with_choices(value: Any, hide_suggestions: bool = False) -> Any:
        try:
            return coerced(value, hide_suggestions)
        except GraphQLError as error:
            given = getattr(value, "value", value)
            message = f"is {repr(given)[:SHOWN]}; expected {one_of(given, names)}"
            raise GraphQLError(message, nodes=error.nodes) from None

    return with_choices

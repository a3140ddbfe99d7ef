"""Types of the arguments and results of measures, with what OpenAPI and GraphQL call them."""

from typing import Annotated, Any

import msgspec

Numbers = list[float | list[float]]
# `graphql` is the name of the scalar there, and what it holds.
PerVector = Annotated[
    float | list[float], msgspec.Meta(extra={"graphql": ("Figures", "One number, or a list with one for each vector.")})
]
Vectors = Annotated[
    Numbers, msgspec.Meta(extra={"graphql": ("FloatVectors", "Numbers, one a period; or such lists, one a vector.")})
]
Grid = Annotated[
    float | list[float | list[float | list[float]]],
    msgspec.Meta(extra={"graphql": ("FloatGrid", "A number, or lists of them; the periods or buckets are innermost.")}),
]
# What is answered: numbers or float64 arrays, which are written as numbers or lists.
NESTED = {"anyOf": [{"type": "number"}, {"type": "array"}]}
Figure = Annotated[
    Any,
    msgspec.Meta(
        # Lists of lists are what expected losses are of vectors of several scenarios each that no weights fold.
        extra_json_schema={
            "anyOf": [
                {"type": "number"},
                {
                    "type": "array",
                    "items": {"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]},
                },
            ]
        },
        extra={"graphql": ("Figures", "One number, or a list with one for each vector.")},
    ),
]
Series = Annotated[
    Any,
    msgspec.Meta(
        extra_json_schema={"type": "array", "items": NESTED},
        extra={"graphql": ("FloatVectors", "Numbers, one a period; or such lists, one a vector.")},
    ),
]

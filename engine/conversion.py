"""Plain objects, as JSON gives them, to Structs, with every fault: its path, the value and what is allowed.

msgspec itself tells the first fault alone, no keys of mappings and no choices. What does not convert is therefore taken
apart by its type, which only refused input pays for, until what is left is a value of the wrong type. Loans of the
right types are held to the engine's ranges too.
"""

import datetime
import json
import re
from collections.abc import Iterator
from itertools import islice
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
import numpy as np

from engine.assets import AnyLoan
from engine.errors import MAX_PROBLEMS, AssumptionError, InvalidInput, Problem, one_of
from engine.loan_arrays import validate
from engine.request import ProjectionRequest
from engine.tape import loan_columns

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)
# A value in a message is cut at so many characters.
SHOWN = 80
# Of a whole number that a double holds.
DIGITS = 308
INF = float("inf")
TYPES = re.compile(r"Expected `(.*)`, got `(.*)`$")


class TooLarge(msgspec.Struct, frozen=True):
    """A number of JSON beyond what a double holds, in its place."""

    text: str


def convert(given: Any, kind: type[T] = ProjectionRequest) -> T:  # type: ignore[assignment]
    """Plain objects (dictionaries, lists, numbers, texts) as a Struct, as msgspec.convert.

    kind: the Struct, a request by default. Raises InvalidInput with every fault, up to a hundred.
    """
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(faults_of(given, kind) or [problem_of(error)]) from error


def fitted(given: S, path: str) -> S:
    """A Struct with values of the types that it declares, arrays as lists; Python does not hold it to them.

    Raises AssumptionError with every fault, the paths below `path`.
    """
    kind = type(given)
    try:
        plain = msgspec.to_builtins(given, enc_hook=np.ndarray.tolist)
    except (TypeError, OverflowError) as error:
        raise AssumptionError([Problem(path or "request", f"does not fit: {error}")]) from None
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise AssumptionError(faults_of(plain, kind, path) or [problem_of(error, path)]) from None


def faults_of(given: Any, kind: Any, path: str = "") -> list[Problem]:
    """Every fault of plain objects as a value of `kind`, up to a hundred, the paths below `path`."""
    found = list(islice(faults_in(given, kind, path), MAX_PROBLEMS))
    return found or list(islice(too_large(given, path), MAX_PROBLEMS))


def too_large(value: Any, path: str) -> Iterator[Problem]:
    """The numbers beyond a double within plain objects, wherever anything is allowed."""
    if isinstance(value, TooLarge) or (isinstance(value, int) and abs(value) >= 2**1024):
        shown = value.text if isinstance(value, TooLarge) else str(value)
        yield Problem(path, f"is {shown[:SHOWN]}; expected a number that a double holds, up to 1.8e308")
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield from too_large(entry, below(path, name))
    elif isinstance(value, list):
        for i, entry in enumerate(value):
            yield from too_large(entry, f"{path}[{i}]")


def plain_json(body: bytes | str) -> Any:
    """The plain objects in JSON, numbers beyond a double as TooLarge. Raises msgspec.DecodeError."""
    try:
        return msgspec.json.Decoder(float_hook=held).decode(body)
    except msgspec.ValidationError as error:
        # msgspec reads no whole numbers of so many digits, whatever their type.
        try:
            return json.loads(body, parse_float=held, parse_int=held_whole, parse_constant=refused)
        except ValueError:
            raise error from None


def held(text: str) -> float | TooLarge:
    value = float(text)
    return value if abs(value) < INF else TooLarge(text)


def refused(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def held_whole(text: str) -> int | TooLarge:
    return int(text) if len(text) <= DIGITS else TooLarge(text)


def problem_of(error: msgspec.ValidationError, below: str = "") -> Problem:
    """The fault that msgspec names, its path below `below`."""
    message, found, path = str(error).partition(" - at `$")
    if types := TYPES.match(message):
        message = f"is a `{types[2]}`; expected `{types[1]}`"
    return Problem((below + (path.rstrip("`") if found else "")).lstrip("."), message)


def faults_in(value: Any, kind: Any, path: str) -> Iterator[Problem]:
    """The faults of a value: those of its parts where it has parts, else its own; none of one that converts."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        parts = list(islice(part_faults(value, kind, path), MAX_PROBLEMS))
        yield from parts or [told(error, value, kind, path)]


def told(error: msgspec.ValidationError, value: Any, kind: Any, path: str) -> Problem:
    """The fault of a value without faulty parts, with what is allowed where msgspec leaves that out."""
    members = members_of(kind)
    for large in too_large(value, path):
        return large
    tags = tags_of(members)
    if isinstance(value, dict) and tags:
        field = next(iter(tags))
        if field not in value:
            return Problem(below(path, field), f"is missing; expected {one_of(None, tags[field])}")
        return Problem(below(path, field), wrong(value[field], tags[field]))
    choices = [choice for member in members if get_origin(member) is Literal for choice in get_args(member)]
    if choices and (isinstance(value, str) or len(choices) == len(members)):
        return Problem(path, wrong(value, choices))
    if isinstance(value, str) and datetime.date in members:
        return Problem(path, f"is {value[:SHOWN]!r}; expected a date, YYYY-MM-DD")
    return problem_of(error, path)


def wrong(value: Any, choices: list[Any]) -> str:
    shown = value.text if isinstance(value, TooLarge) else repr(value)
    return f"is {shown[:SHOWN]}; expected {one_of(value, choices)}"


def tags_of(members: list[Any]) -> dict[str, list[str]]:
    """By the tags' field, the tags of the Structs among the types."""
    found: dict[str, list[str]] = {}
    for member in members:
        if is_struct(member) and member.__struct_config__.tag_field is not None:
            config = member.__struct_config__
            found.setdefault(str(config.tag_field), []).append(str(config.tag))
    return found


def part_faults(value: Any, kind: Any, path: str) -> Iterator[Problem]:
    """The faults of the entries of a list or mapping and of the fields of an object, where the type has such."""
    for member in members_of(kind):
        arguments = get_args(member)
        if isinstance(value, list) and get_origin(member) in (list, tuple):
            if arguments[0] == AnyLoan:
                yield from loan_faults(value, path)
                return
            for i, entry in enumerate(value):
                yield from faults_in(entry, arguments[0], f"{path}[{i}]")
            return
        if isinstance(value, dict) and get_origin(member) is dict:
            for name, entry in value.items():
                yield from faults_in(entry, arguments[1], f"{path}[{name!r}]")
            return
        if isinstance(value, dict) and is_struct(member) and is_meant(value, member):
            yield from struct_faults(value, member, path)
            return


def members_of(kind: Any) -> list[Any]:
    """The types that a type is one of."""
    if get_origin(kind) is Annotated:
        return members_of(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [member for each in get_args(kind) for member in members_of(each)]
    return [kind]


def is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def is_meant(value: dict[Any, Any], cls: type[msgspec.Struct]) -> bool:
    """Whether an object is to be a Struct: by its tag, where the Struct has one."""
    config = cls.__struct_config__
    return config.tag_field is None or value.get(config.tag_field) == config.tag


def loan_faults(loans: list[Any], path: str) -> Iterator[Problem]:
    """The faults of loans, by their place in the list, those of types before those of ranges."""
    typed: dict[int, Any] = {}
    for i, loan in enumerate(loans):
        faults = list(faults_in(loan, AnyLoan, f"{path}[{i}]"))
        yield from faults
        if not faults:
            typed[i] = msgspec.convert(loan, AnyLoan)
    places = list(typed)
    columns = loan_columns(list(typed.values()))
    try:
        if places:
            validate(columns, len(places), lambda name, k: f"{path}[{places[k or 0]}].{name}")
    except InvalidInput as error:
        yield from error.problems


def struct_faults(given: dict[Any, Any], cls: type[msgspec.Struct], path: str) -> Iterator[Problem]:
    """The faults of an object that is to be a Struct: unknown and missing names, then values of the wrong type."""
    known = {field.encode_name: field for field in msgspec.structs.fields(cls)}
    config = cls.__struct_config__
    for name in given:
        if name not in known and name != config.tag_field and config.forbid_unknown_fields:
            yield Problem(below(path, name), f"is no field of {cls.__name__}; expected {one_of(name, list(known))}")
    for name, field in known.items():
        if name in given:
            yield from faults_in(given[name], field.type, below(path, name))
        elif field.required:
            yield Problem(below(path, name), f"is missing; {cls.__name__} needs it")


def below(path: str, name: Any) -> str:
    return f"{path}.{name}" if path else str(name)

"""Every fault of a body that msgspec refuses; msgspec itself names the first alone, and no keys of mappings.

The body is read once more as plain objects, which only refused ones pay for: what does not convert is taken apart by
its type, until what is left is a value of the wrong type. Loans of the right types are held to the engine's ranges too.
"""

from collections.abc import Iterator
from itertools import islice
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

import engine
from api.errors import Fault, Refusal, fault_of
from engine.assets import AnyLoan
from engine.errors import MAX_PROBLEMS
from engine.loan_arrays import validate
from engine.tape import loan_columns


class OfTape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tape, under the name that requests have it by."""

    tape: engine.Tape


def type_refusal(error: msgspec.ValidationError, body: Any, kind: Any) -> Refusal:
    """The refusal of a body, given as plain objects, with every fault it has as a value of `kind`, up to a hundred."""
    return refusal_of(list(islice(faults_in(body, kind, ""), MAX_PROBLEMS)) or [fault_of(error)])


def refusal_of(found: list[Fault]) -> Refusal:
    """The refusal of a body for its faults."""
    found = found[:MAX_PROBLEMS]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Refusal(400, f"{found[0].path or 'body'}: {found[0].message}{more}", found)


def faults_in(value: Any, kind: Any, path: str) -> Iterator[Fault]:
    """The faults of a value: those of its parts where it has parts, else its own; none of one that converts."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        parts = list(islice(part_faults(value, kind, path), MAX_PROBLEMS))
        yield from parts or [fault_of(error, path)]


def part_faults(value: Any, kind: Any, path: str) -> Iterator[Fault]:
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


def loan_faults(loans: list[Any], path: str) -> Iterator[Fault]:
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
    except engine.InvalidInput as error:
        yield from (Fault(problem.path, problem.message) for problem in error.problems)


def struct_faults(given: dict[Any, Any], cls: type[msgspec.Struct], path: str) -> Iterator[Fault]:
    """The faults of an object that is to be a Struct: unknown and missing names, then values of the wrong type."""
    known = {field.encode_name: field for field in msgspec.structs.fields(cls)}
    config = cls.__struct_config__
    for name in given:
        if name not in known and name != config.tag_field and config.forbid_unknown_fields:
            yield Fault(below(path, name), f"Object contains unknown field `{name}`")
    for name, field in known.items():
        if name in given:
            yield from faults_in(given[name], field.type, below(path, name))
        elif field.required:
            yield Fault(below(path, name), f"Object missing required field `{name}`")


def below(path: str, name: Any) -> str:
    return f"{path}.{name}" if path else str(name)

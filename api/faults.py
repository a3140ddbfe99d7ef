"""Every fault of the tape in a body that msgspec refuses; msgspec itself names the first alone.

The body is read once more as plain objects, which only refused ones pay for. Each loan and each column is then
converted on its own; loans of the right types are held to the engine's ranges too.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, get_args, get_origin

import msgspec

import engine
from api.errors import Fault, Refusal, fault_of
from engine.assets import LOAN_TYPES, AnyLoan
from engine.errors import MAX_PROBLEMS
from engine.loan_arrays import validate
from engine.tape import Columns, loan_columns


def type_refusal(error: msgspec.ValidationError, body: Any, below: str = "") -> Refusal:
    """The refusal of a body, given as plain objects, with every fault of its tape, up to a hundred.

    below: the path to the projection in the body, with its dot, where it is not the body itself.
    """
    projection = body.get(below.rstrip(".")) if below and isinstance(body, dict) else body
    first = fault_of(error)
    faults = (Fault(below + fault.path, fault.message) for fault in tape_faults(projection))
    found = list(islice(faults, MAX_PROBLEMS))
    # The first of msgspec is among those of the tape where it lies in the tape's loans or columns.
    if not (found and first.path.startswith((f"{below}tape.loans", f"{below}tape.columns"))):
        found = [first, *found][:MAX_PROBLEMS]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Refusal(400, f"{found[0].path or 'body'}: {found[0].message}{more}", found)


def tape_faults(body: Any) -> Iterator[Fault]:
    """The faults of a body's tape, those of types before those of ranges."""
    tape = body.get("tape") if isinstance(body, dict) else None
    if not isinstance(tape, dict):
        return
    if isinstance(tape.get("columns"), dict):
        yield from struct_faults(tape["columns"], Columns, "tape.columns")
    if isinstance(tape.get("loans"), list):
        yield from loan_faults(tape["loans"])


def loan_faults(loans: list[Any]) -> Iterator[Fault]:
    """The faults of loans, by their place in the list."""
    typed: dict[int, AnyLoan] = {}
    for i, loan in enumerate(loans):
        try:
            typed[i] = msgspec.convert(loan, AnyLoan)
        except msgspec.ValidationError as error:
            path = f"tape.loans[{i}]"
            cls = LOAN_TYPES.get(str(loan.get("type"))) if isinstance(loan, dict) else None
            found = [] if cls is None else list(struct_faults(loan, cls, path))
            yield from found or [fault_of(error, path)]
    places = list(typed)
    columns = loan_columns(list(typed.values()))
    try:
        if places:
            validate(columns, len(places), lambda name, k: f"tape.loans[{places[k or 0]}].{name}")
    except engine.InvalidInput as error:
        yield from (Fault(problem.path, problem.message) for problem in error.problems)


def struct_faults(given: dict[Any, Any], cls: type[msgspec.Struct], path: str) -> Iterator[Fault]:
    """The faults of an object that is to be a Struct: unknown and missing names, then values of the wrong type."""
    known = {field.name: field for field in msgspec.structs.fields(cls)}
    tag = cls.__struct_config__.tag_field
    for name in given:
        if name not in known and name != tag:
            yield Fault(f"{path}.{name}", f"Object contains unknown field `{name}`")
    for name, field in known.items():
        if name in given:
            yield from value_faults(given[name], field.type, f"{path}.{name}")
        elif field.required:
            yield Fault(f"{path}.{name}", f"Object missing required field `{name}`")


def value_faults(value: Any, kind: Any, path: str) -> Iterator[Fault]:
    """The faults of a value: each entry of a list where the type takes one, else the value's own."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        lists = [member for member in get_args(kind) if get_origin(member) is list]
        if not (lists and isinstance(value, list)):
            yield fault_of(error, path)
            return
        (item,) = get_args(lists[0])
        for i, entry in enumerate(value):
            yield from value_faults(entry, item, f"{path}[{i}]")

"""Every fault of a body that does not convert to its Struct; engine/conversion.py finds them."""

from typing import Any

import msgspec

import engine
from api.errors import Fault, Refusal, fault_of
from engine.conversion import faults_of, plain_json
from engine.errors import MAX_PROBLEMS, Problem


class OfTape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tape, under the name that requests have it by."""

    tape: engine.Tape


def type_refusal(error: msgspec.ValidationError, body: Any, kind: Any, path: str = "") -> Refusal:
    """The refusal of a body, given as plain objects, with every fault it has as a value of `kind`, up to a hundred."""
    return refusal_of(told(faults_of(body, kind, path)) or [fault_of(error, path)])


def json_refusal(error: msgspec.ValidationError, body: bytes, kind: Any, below: str = "") -> Refusal:
    """As type_refusal, of a body in JSON, which is read once more as it is. below: the name that it goes by."""
    plain = plain_json(body)
    return type_refusal(error, {below: plain} if below else plain, kind)


def told(problems: list[Problem]) -> list[Fault]:
    return [Fault(problem.path, problem.message) for problem in problems]


def refusal_of(found: list[Fault]) -> Refusal:
    """The refusal of a body for its faults."""
    found = found[:MAX_PROBLEMS]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Refusal(400, f"{found[0].path or 'body'}: {found[0].message}{more}", found)

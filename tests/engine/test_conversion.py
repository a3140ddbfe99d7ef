"""Plain objects that do not convert are told with their path, their value and what is allowed."""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest

import engine
from engine.analytics.request import AnalyticsRequest
from engine.conversion import convert, faults_of, is_struct, members_of, plain_json
from engine.transitions import TransitionRequest

LOAN = {"type": "loan", "balance": 100.0, "annual_rate": 0.05, "remaining_term": 12}


def structs_within(kind: Any, found: set[Any]) -> set[Any]:
    """All Structs that a type holds, itself among them."""
    for member in members_of(kind):
        for argument in get_args(member) if get_origin(member) is not Literal else ():
            structs_within(argument, found)
        if is_struct(member) and member not in found:
            found.add(member)
            for field in msgspec.structs.fields(member):
                structs_within(field.type, found)
    return found


def fields_of(*kinds: Any) -> Iterator[tuple[Any, Any]]:
    for cls in sorted({each for kind in kinds for each in structs_within(kind, set())}, key=lambda each: each.__name__):
        for field in msgspec.structs.fields(cls):
            yield cls, field


REQUESTS = (engine.ProjectionRequest, AnalyticsRequest, TransitionRequest)
CHOICES = [
    (cls, field, [str(each) for member in members_of(field.type) if get_origin(member) is Literal
                  for each in get_args(member)])
    for cls, field in fields_of(*REQUESTS)
]  # fmt: skip
TAGGED = [
    (cls, field, [member.__struct_config__.tag for member in members_of(field.type)
                  if is_struct(member) and member.__struct_config__.tag])
    for cls, field in fields_of(*REQUESTS)
]  # fmt: skip


@pytest.mark.parametrize(
    ("cls", "field", "choices"), [each for each in CHOICES if each[2]],
    ids=lambda given: getattr(given, "__name__", None) or getattr(given, "name", ""),
)  # fmt: skip
def test_every_choice_of_every_struct_is_named(cls: Any, field: Any, choices: list[str]) -> None:
    tag = cls.__struct_config__
    given = {field.encode_name: "no such"} | ({tag.tag_field: tag.tag} if tag.tag_field else {})
    [fault] = [each for each in faults_of(given, cls) if each.path == field.encode_name]
    assert fault.message.startswith("is 'no such'; expected ")
    assert all(choice in fault.message for choice in choices)


@pytest.mark.parametrize(
    ("cls", "field", "tags"), [each for each in TAGGED if each[2]],
    ids=lambda given: getattr(given, "__name__", None) or getattr(given, "name", ""),
)  # fmt: skip
def test_every_kind_of_every_union_is_named(cls: Any, field: Any, tags: list[str]) -> None:
    own = cls.__struct_config__
    name = field.encode_name
    for inner, said in ({"type": "no such"}, "is 'no such'"), ({}, "is missing"):
        given = {name: inner} | ({own.tag_field: own.tag} if own.tag_field else {})
        [fault] = [each for each in faults_of(given, cls) if each.path == f"{name}.type"]
        assert fault.message.startswith(f"{said}; expected ")
        assert all(tag in fault.message for tag in tags)


def test_a_misspelt_name_is_told_with_the_nearest() -> None:
    request = {
        "tape": {"loans": [LOAN | {"type": "laon"}, LOAN | {"amortization": "liner"}, LOAN | {"blance": 1}]},
        "assumptions": {"prepayment": {"type": "crp", "rate": 0.1}, "rates": {"SOFR": {"type": "flatt", "rate": 0.04}}},
    }
    with pytest.raises(engine.InvalidInput) as caught:
        convert(request)
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert found["tape.loans[0].type"] == (
        "is 'laon'; expected one of loan, lease, receivable, student_loan, revolving, cashflow; did you mean loan?"
    )
    near = {
        "tape.loans[1].amortization": "linear", "tape.loans[2].blance": "balance", "assumptions.prepayment.type": "cpr",
        "assumptions.rates['SOFR'].type": "flat",
    }  # fmt: skip
    for path, name in near.items():
        assert found[path].endswith(f"; did you mean {name}?"), found[path]
    assert len(found) == 5


def test_what_converts_is_what_msgspec_makes_of_it() -> None:
    request = {"tape": {"loans": [LOAN]}, "assumptions": {"prepayment": {"type": "cpr", "rate": 0.1}}}
    assert convert(request) == msgspec.convert(request, engine.ProjectionRequest)
    assert convert({"rate": 0.1, "type": "cpr"}, engine.Cpr) == engine.Cpr(rate=0.1)


@pytest.mark.parametrize("number", ["1e999", "-1e400", "9" * 400, "9" * 5000])
def test_a_number_beyond_a_double_is_told_with_its_place(number: str) -> None:
    body = f'{{"tape": {{"columns": {{"balance": [1, {number}], "annual_rate": 0.1, "remaining_term": 3}}}}}}'
    [fault] = faults_of(plain_json(body), engine.ProjectionRequest)
    assert fault.path == "tape.columns.balance[1]"
    assert fault.message == f"is {number[:80]}; expected a number that a double holds, up to 1.8e308"


def test_structs_of_python_are_held_to_their_types_fault_by_fault() -> None:
    assumed: Any = engine.Assumptions(advancing="intrest", recovery_lag="x", severity="high")  # type: ignore[arg-type]
    tape = engine.Tape.from_columns(balance=[1.0], annual_rate=0.1, remaining_term=3)
    conventions = engine.Conventions(prepayment_base="net")  # type: ignore[arg-type]
    with pytest.raises(engine.AssumptionError) as caught:
        engine.project(engine.ProjectionRequest(tape=tape, assumptions=assumed, conventions=conventions))
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert found == {
        "assumptions.advancing": "is 'intrest'; expected one of none, interest, principal_and_interest; "
                                 "did you mean interest?",
        "assumptions.recovery_lag": "is a `str`; expected `int`",
        "assumptions.severity": "is a `str`; expected `float | object`",
        "conventions.prepayment_base": "is 'net'; expected one of gross, net_of_defaults, opening_net_of_defaults",
    }  # fmt: skip

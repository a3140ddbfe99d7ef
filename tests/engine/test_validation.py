"""What is refused, by which path and in which words; and one request for Python, JSON and MessagePack."""

import datetime
from typing import Any

import msgspec
import numpy as np
import pytest

import engine

GOOD = {"balance": 1000.0, "annual_rate": 0.06, "remaining_term": 12}
NAN, INF = float("nan"), float("inf")


def refused(request: engine.ProjectionRequest) -> list[str]:
    """The problems a request is refused with, as text."""
    with pytest.raises(engine.InvalidInput) as caught:
        engine.project(request)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return [str(problem) for problem in caught.value.problems]


def of_loans(*loans: dict[str, Any]) -> engine.ProjectionRequest:
    return engine.ProjectionRequest(tape=engine.Tape.from_loans([engine.Loan(**(GOOD | loan)) for loan in loans]))


def of_columns(**columns: Any) -> engine.ProjectionRequest:
    return engine.ProjectionRequest(tape=engine.Tape.from_columns(**columns))


def assuming(**assumptions: Any) -> engine.ProjectionRequest:
    tape = engine.Tape.from_loans([engine.Loan(**GOOD)])
    return engine.ProjectionRequest(tape=tape, assumptions=engine.Assumptions(**assumptions))


def test_a_percentage_for_a_decimal_is_told_in_full() -> None:
    loans = [{} for _ in range(20)]
    loans[17] = {"annual_rate": 6.5}
    assert refused(of_loans(*loans)) == [
        "tape.loans[17].annual_rate is 6.5; expected a decimal in [0, 1] (6.5% is 0.065)"
    ]


def test_columns_are_told_by_their_own_path() -> None:
    request = of_columns(balance=[1.0, 2.0], annual_rate=[0.05, 6.5], remaining_term=[12, 12])
    assert refused(request) == ["tape.columns.annual_rate[1] is 6.5; expected a decimal in [0, 1] (6.5% is 0.065)"]


BAD_LOANS: list[tuple[dict[str, Any], str]] = [
    ({"balance": -1.0}, "tape.loans[0].balance is -1; expected currency units"),
    ({"balance": 1e16}, "tape.loans[0].balance is 1e+16; expected currency units"),
    ({"balance": NAN}, "tape.loans[0].balance is nan; expected currency units"),
    ({"balance": INF}, "tape.loans[0].balance is inf; expected currency units"),
    ({"annual_rate": -0.01}, "tape.loans[0].annual_rate is -0.01; expected a decimal in [0, 1]"),
    ({"annual_rate": NAN}, "tape.loans[0].annual_rate is nan; expected a decimal in [0, 1]"),
    ({"annual_rate": -INF}, "tape.loans[0].annual_rate is -inf; expected a decimal in [0, 1]"),
    ({"servicing_fee": 0.25 * 100}, "tape.loans[0].servicing_fee is 25; expected a decimal in [0, 1] (25% is 0.25)"),
    ({"remaining_term": 0}, "tape.loans[0].remaining_term is 0; expected whole months in [1, 1200]"),
    ({"remaining_term": 1201}, "tape.loans[0].remaining_term is 1201; expected whole months in [1, 1200]"),
    ({"age": -1}, "tape.loans[0].age is -1; expected whole months in [0, 1200]"),
    ({"payment": -5.0}, "tape.loans[0].payment is -5; expected currency units a month"),
    ({"payment": INF}, "tape.loans[0].payment is inf; expected currency units a month"),
    ({"payment": 90.0, "amortization": "bullet"}, "tape.loans[0].payment is stated on a bullet loan"),
    ({"interest_only_term": 13}, "tape.loans[0].interest_only_term is 13; expected"),
    ({"amortization_term": 11}, "tape.loans[0].amortization_term is 11; expected 12 months at least"),
    ({"amortization": "balloon"}, "tape.loans[0].amortization is 'balloon'; expected one of level_pay, linear, bullet"),
]


@pytest.mark.parametrize(("loan", "message"), BAD_LOANS, ids=lambda value: str(value)[:50])
def test_bad_loans_are_refused(loan: dict[str, Any], message: str) -> None:
    problems = refused(of_loans(loan))
    assert len(problems) == 1
    assert problems[0].startswith(message)


def test_every_fault_is_told_at_once() -> None:
    problems = refused(of_loans({"annual_rate": 6.5}, {}, {"balance": -1.0, "remaining_term": 0}))
    assert sorted(problem.split(" is ")[0] for problem in problems) == [
        "tape.loans[0].annual_rate",
        "tape.loans[2].balance",
        "tape.loans[2].remaining_term",
    ]


def test_no_more_than_a_hundred_faults_are_told() -> None:
    rates = np.full(5_000, 6.5)
    assert len(refused(of_columns(balance=1.0, annual_rate=rates, remaining_term=12))) == 100


def test_columns_of_different_lengths_are_refused() -> None:
    problems = refused(of_columns(balance=[1.0, 2.0], annual_rate=[0.05] * 3, remaining_term=12))
    assert problems == ["tape.columns.annual_rate has 3 values; expected 2, one a loan"]


def test_columns_that_are_unknown_or_missing_are_refused() -> None:
    with pytest.raises(engine.TapeError, match=r"tape\.columns\.rate is no column; expected one of balance"):
        engine.Tape.from_columns(balance=1.0, rate=0.05, remaining_term=1)
    with pytest.raises(engine.TapeError, match=r"tape\.columns\.annual_rate is missing"):
        engine.Tape.from_columns(balance=1.0, remaining_term=1)


@pytest.mark.parametrize(
    ("tape", "message"),
    [
        (engine.Tape(), "tape is empty; expected exactly one of loans, columns, tape_id"),
        (engine.Tape(loans=[], tape_id="x"), "tape has loans and tape_id; expected exactly one"),
        (engine.Tape(tape_id="x"), "tape.tape_id names a stored tape"),
    ],
)
def test_a_tape_is_exactly_one_thing(tape: engine.Tape, message: str) -> None:
    assert refused(engine.ProjectionRequest(tape=tape))[0].startswith(message)


BAD_ASSUMPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"severity": 40.0}, "assumptions.severity is 40; expected a decimal in [0, 1] (40% is 0.4)"),
    ({"severity": NAN}, "assumptions.severity is nan; expected a decimal in [0, 1]"),
    ({"recovery_lag": 361}, "assumptions.recovery_lag is 361; expected whole months in [0, 360]"),
    ({"recovery_lag": -1}, "assumptions.recovery_lag is -1; expected whole months in [0, 360]"),
    (
        {"prepayment": engine.Cpr(rate=6.0)},
        "assumptions.prepayment.rate is 6; expected a decimal in [0, 1] (6% is 0.06)",
    ),
    ({"default": engine.Cdr(rate=INF)}, "assumptions.default.rate is inf; expected a decimal in [0, 1]"),
    ({"prepayment": engine.Psa(speed=165.0)}, "assumptions.prepayment.speed is 165; expected a multiple of the ramp"),
    (
        {"prepayment": engine.Vector(unit="cdr", values=[0.1])},
        "assumptions.prepayment.unit is 'cdr'; expected one of cpr, smm, psa",
    ),
    (
        {"default": engine.Vector(unit="mdr", values=[0.1, NAN])},
        "assumptions.default.values[1] is nan; expected a decimal in [0, 1]",
    ),
    (
        {"groups": {"a": engine.Assumptions(severity=2.0)}},
        "assumptions.groups['a'].severity is 2; expected a decimal in [0, 1] (2% is 0.02)",
    ),
    (
        {"groups": {"a": engine.Assumptions(groups={"b": engine.Assumptions()})}},
        "assumptions.groups['a'].groups nests groups in a group",
    ),
]


@pytest.mark.parametrize(("assumptions", "message"), BAD_ASSUMPTIONS, ids=lambda value: str(value)[:50])
def test_bad_assumptions_are_refused(assumptions: dict[str, Any], message: str) -> None:
    problems = refused(assuming(**assumptions))
    assert len(problems) == 1
    assert problems[0].startswith(message)


def test_scenarios_are_told_by_their_place() -> None:
    scenarios = [
        engine.Scenario(name="base"),
        engine.Scenario(name="stress", assumptions=engine.Assumptions(severity=3.0)),
    ]
    request = msgspec.structs.replace(assuming(), scenarios=scenarios)
    assert refused(request)[0].startswith("scenarios[1].assumptions.severity is 3; expected a decimal")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"periods": 0}, "periods is 0; expected whole months in [1, 2400]"),
        ({"fields": ["intrest"]}, "fields[0] is 'intrest'; expected one of balance, interest"),
        ({"conventions": "sifna"}, "conventions is 'sifna'; expected"),
    ],
)
def test_the_rest_of_a_request_is_checked(change: dict[str, Any], message: str) -> None:
    assert refused(msgspec.structs.replace(assuming(), **change))[0].startswith(message)


REQUEST = engine.ProjectionRequest(
    tape=engine.Tape.from_loans(
        [
            engine.Loan(**GOOD),
            engine.Loan(
                balance=5.5, annual_rate=0.0, remaining_term=3, loan_id="x", amortization="linear", age=4, group="a",
                original_balance=9.0, original_term=7, servicing_fee=0.001, interest_only_term=1, amortization_term=9,
            ),
        ]
    ),
    assumptions=engine.Assumptions(
        prepayment=engine.Psa(speed=1.5),
        default=engine.Vector(unit="cdr", values=[0.01, 0.02], by="age", beyond="zero"),
        severity=0.4,
        recovery_lag=6,
        advancing="interest",
        groups={"a": engine.Assumptions(prepayment=engine.Abs(rate=0.015), default=engine.Sda())},
    ),
    scenarios=[engine.Scenario(name="s", assumptions=engine.Assumptions(prepayment=engine.Hep(rate=0.2)))],
    conventions=engine.Conventions(prepayment_base="net_of_defaults"),
    level="group",
    fields=["balance", "loss"],
    periods=24,
)  # fmt: skip
AS_JSON: dict[str, Any] = {
    "tape": {
        "loans": [
            {"type": "loan", "balance": 1000, "annual_rate": 0.06, "remaining_term": 12},
            {
                "type": "loan", "balance": 5.5, "annual_rate": 0, "remaining_term": 3, "loan_id": "x",
                "amortization": "linear", "age": 4, "group": "a", "original_balance": 9, "original_term": 7,
                "servicing_fee": 0.001, "interest_only_term": 1, "amortization_term": 9,
            },
        ]
    },
    "assumptions": {
        "prepayment": {"type": "psa", "speed": 1.5},
        "default": {"type": "vector", "unit": "cdr", "values": [0.01, 0.02], "by": "age", "beyond": "zero"},
        "severity": 0.4,
        "recovery_lag": 6,
        "advancing": "interest",
        "groups": {"a": {"prepayment": {"type": "abs", "rate": 0.015}, "default": {"type": "sda"}}},
    },
    "scenarios": [{"name": "s", "assumptions": {"prepayment": {"type": "hep", "rate": 0.2}}}],
    "conventions": {"prepayment_base": "net_of_defaults"},
    "level": "group",
    "fields": ["balance", "loss"],
    "periods": 24,
}  # fmt: skip


def test_json_gives_the_request_that_python_writes() -> None:
    assert msgspec.convert(AS_JSON, engine.ProjectionRequest) == REQUEST
    assert msgspec.json.decode(msgspec.json.encode(AS_JSON), type=engine.ProjectionRequest) == REQUEST


def test_json_and_python_project_to_the_same_bits() -> None:
    ours, theirs = engine.project(REQUEST), engine.project(msgspec.convert(AS_JSON, engine.ProjectionRequest))
    for name in ours.fields:
        np.testing.assert_array_equal(ours[name], theirs[name])


STRUCTS: list[msgspec.Struct] = [
    REQUEST,
    REQUEST.tape,
    REQUEST.tape.loans[1],  # type: ignore[index]
    REQUEST.assumptions,
    engine.Scenario(name="x", assumptions=REQUEST.assumptions),
    engine.Conventions(servicing_fee_base="total", final_defaults="continue"),
    engine.Tape(tape_id="x"),
    engine.Columns(balance=[1.0, 2.0], annual_rate=0.05, remaining_term=[1, 2], group=["a", None], age=[None, 3]),
    engine.Problem("a.b", "is wrong"),
    engine.FIELDS[0],
    engine.summarize(engine.project(of_loans({}))),  # type: ignore[list-item]
]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: type(struct).__name__)
@pytest.mark.parametrize("codec", [msgspec.json, msgspec.msgpack], ids=["json", "msgpack"])
def test_every_struct_makes_the_round_trip(struct: msgspec.Struct, codec: Any) -> None:
    assert codec.decode(codec.encode(struct), type=type(struct)) == struct


@pytest.mark.parametrize(
    "part",
    [("tape", "loans", 0), ("assumptions",), ("assumptions", "prepayment"), ("scenarios", 0), ("conventions",), ()],
)
def test_unknown_names_are_refused(part: tuple[str | int, ...]) -> None:
    wrong = msgspec.json.decode(msgspec.json.encode(AS_JSON))
    place = wrong
    for step in part:
        place = place[step]
    place["unknown"] = 1
    with pytest.raises(msgspec.ValidationError, match="unknown"):
        msgspec.convert(wrong, engine.ProjectionRequest)


def test_structs_are_frozen() -> None:
    with pytest.raises(AttributeError):
        REQUEST.level = "pool"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"annual_rate": 6.5}, "tape.columns.annual_rate is 6.5; expected a decimal in [0, 1] (6.5% is 0.065)"),
        ({"remaining_term": 12.5}, "tape.columns.remaining_term is 12.5; expected whole months in [1, 1200]"),
        (
            {"remaining_term": 10**400},
            "tape.columns.remaining_term is not a number; expected whole months in [1, 1200]",
        ),
        ({"age": 0.5}, "tape.columns.age is 0.5; expected whole months in [0, 1200]"),
        ({"loan_id": ["a"]}, "tape.columns.loan_id has 1 values; expected 2, one a loan"),
        ({"balance": [1.0, "2"]}, "tape.columns.balance[1] is not a number; expected currency units in [0, 1e+15]"),
        ({"balance": [True, True]}, "tape.columns.balance[0] is not a number; expected currency units in [0, 1e+15]"),
    ],
)
def test_a_fault_is_reported_once_where_it_was_written(columns: dict[str, object], message: str) -> None:
    given: dict[str, object] = {"balance": [1.0, 2.0], "annual_rate": 0.05, "remaining_term": 12}
    with pytest.raises(engine.TapeError) as refusal:
        engine.project(engine.ProjectionRequest(tape=engine.Tape.from_columns(**{**given, **columns})))
    assert [str(problem) for problem in refusal.value.problems] == [message]


@pytest.mark.parametrize(
    ("assumed", "path"),
    [
        ({"recovery_lag": 1.5}, "assumptions.recovery_lag"),
        ({"advancing": "principal"}, "assumptions.advancing"),
        ({"severity": "x"}, "assumptions.severity"),
        ({"prepayment": engine.Cdr(rate=0.1)}, "assumptions.prepayment.type"),
        ({"prepayment": engine.Cpr(rate="6%")}, "assumptions.prepayment.rate"),
    ],
)
def test_struct_values_of_the_wrong_type_are_refused(assumed: dict[str, object], path: str) -> None:
    tape = engine.Tape.from_columns(balance=1.0, annual_rate=0.05, remaining_term=12)
    with pytest.raises(engine.AssumptionError) as refusal:
        engine.project(engine.ProjectionRequest(tape=tape, assumptions=engine.Assumptions(**assumed)))
    assert [problem.path for problem in refusal.value.problems] == [path]


def test_an_original_term_below_the_remaining_one_tells_no_age() -> None:
    loan = {"balance": 100, "annual_rate": 0.06, "remaining_term": 360, "original_term": 120}
    message = (
        "tape.loans[0].original_term is 120, less than remaining_term, which is 360; expected at least that, or the age"
    )
    assert refused(of_loans(loan)) == [message]
    # An extended loan whose age is known, and one that is drawn two months from now, are right.
    engine.project(of_loans(loan | {"age": 100}))
    later = loan | {"original_term": 358, "origination_date": "2025-03-01", "next_payment_date": "2025-04-01"}
    engine.project(msgspec.structs.replace(of_loans(later), cutoff_date=datetime.date(2025, 1, 1)))


def test_batches_are_projected_from_their_cut_off_date() -> None:
    columns = {"balance": [100.0, 200.0], "annual_rate": 0.06, "remaining_term": 24}
    rest = {
        "assumptions": engine.Assumptions(prepayment=engine.Cpr(rate=0.1)), "conventions": "opening_actual",
        "cutoff_date": datetime.date(2025, 1, 31),
    }  # fmt: skip
    parts = [engine.Tape.from_columns(**columns | {"balance": [each]}) for each in columns["balance"]]
    found = engine.project_batches(parts, **rest)
    whole = engine.project(engine.ProjectionRequest(tape=engine.Tape.from_columns(**columns), **rest))
    np.testing.assert_allclose(found.prepayment, whole.prepayment, rtol=1e-13)
    assert engine.project_batches([], **rest).periods == 0


def test_faults_of_the_tape_leave_those_of_everything_else() -> None:
    request = engine.ProjectionRequest(
        tape=engine.Tape.from_loans([engine.Loan(**(GOOD | {"annual_rate": 6.5, "remaining_term": 0}))]),
        assumptions=engine.Assumptions(severity=40.0, prepayment=engine.Cpr(rate=6.0)),
        scenarios=[engine.Scenario(name="a"), engine.Scenario(name="a")],
        fields=["interest", "intrest"],
        conventions="sifna",
        periods=0,
    )
    with pytest.raises(engine.TapeError):
        engine.project(request)
    assert [text.split()[0] for text in refused(request)] == [
        "tape.loans[0].annual_rate", "tape.loans[0].remaining_term", "fields[1]", "assumptions.severity",
        "assumptions.prepayment.rate", "scenarios[1].name", "conventions", "periods",
    ]  # fmt: skip


@pytest.mark.parametrize("given", [None, {"tape": {}}, [], "tape"])
def test_what_is_no_request_is_told(given: Any) -> None:
    with pytest.raises(engine.AssumptionError, match=r"request is a .*; expected an engine.ProjectionRequest"):
        engine.project(given)


def test_what_would_do_nothing_on_a_loan_is_refused() -> None:
    plain = {"balance": 100.0, "annual_rate": 0.05, "remaining_term": 12}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"amortization": "bullet", "amortization_term": 24}, r"loans\[0\]\.amortization_term is stated on a bullet"),
        ({"months_in_status": 3}, r"loans\[0\]\.months_in_status is stated on a loan whose status is current"),
        ({"months_in_status": 3, "status": "delinquent_60"}, r"whose status is delinquent_60; expected it in default"),
    ]
    for changed, told in wrong:
        with pytest.raises(engine.TapeError, match=told):
            engine.Tape(loans=[engine.Loan(**plain, **changed)]).arrays()
    for fine in ({"amortization_term": 24}, {"months_in_status": 0}, {"months_in_status": 3, "status": "reo"}):
        engine.Tape(loans=[engine.Loan(**plain, **fine)]).arrays()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("column", "condition", "told"),
    [
        ("type", engine.Condition(one_of=["loan", "laon"]), r"one_of\[1\] is 'laon'; expected one of loan, lease"),
        ("status", engine.Condition(one_of=["dead"]), r"one_of\[0\] is 'dead'; expected one of current"),
        ("group", engine.Condition(one_of=[]), r"one_of is empty; expected at least one text"),
        ("annual_rate", engine.Condition(min=6), r"min is 6, which no loan meets: annual_rate is in"),
        ("age", engine.Condition(min=5, below=5), r"below is 5, which no loan meets: min is 5"),
        ("balance", engine.Condition(max=-1), r"max is -1, which no loan meets: balance is in \[0, 1e\+15\]"),
        ("remaining_term", engine.Condition(below=1), r"below is 1, which no loan meets: remaining_term is in"),
    ],
)
def test_conditions_that_no_loan_can_meet_are_refused(column: str, condition: engine.Condition, told: str) -> None:
    rule = engine.Rule(where={column: condition}, assumptions=engine.Assumptions())
    tape = engine.Tape(loans=[engine.Loan(balance=100.0, annual_rate=0.05, remaining_term=12)])
    request = engine.ProjectionRequest(tape=tape, assumptions=engine.Assumptions(rules=[rule]))
    with pytest.raises(engine.AssumptionError, match=told):
        engine.project(request)

"""Every option does something: each field of every Struct of a request, and each of its choices, changes a result.

The worlds below are requests that hold one of every Struct. Each field is changed, given or left out, as its type
allows; what is refused is no effect. A field or choice that changes nothing in any world is accepted for nothing.
"""

import copy
import datetime
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import msgspec

import engine
from engine.assets import LOAN_TYPES
from engine.conversion import is_meant, is_struct, members_of
from engine.day_count import DAY_COUNTS
from tests.engine.test_conversion import structs_within

LOAN = {
    "type": "loan", "balance": 1000.0, "annual_rate": 0.06, "remaining_term": 24, "age": 5, "group": "A",
    "original_balance": 1500.0, "property_value": 1100.0,
}  # fmt: skip
FLOATS = {
    "type": "loan", "balance": 1000.0, "annual_rate": 0.04, "remaining_term": 30, "age": 7, "index": "SOFR",
    "margin": 0.02, "first_reset": 2, "reset_frequency": 3, "original_balance": 1000.0,
}  # fmt: skip
CAPPED = FLOATS | {
    "annual_rate": 0.01, "rate_rounding": 0.00125, "first_cap": 0.03, "periodic_cap": 0.02, "look_back": 3,
    "rounding_direction": "up", "remaining_term": 240,
    "payment_cap": 0.05, "recast_frequency": 3, "full_recast_frequency": 12, "neg_am_limit": 1.01,
}  # fmt: skip
FALLING = CAPPED | {"annual_rate": 0.12, "first_floor": 0.01, "periodic_floor": 0.02, "life_floor": 0.07}
DATED = {
    "type": "loan", "balance": 1000.0, "annual_rate": 0.06, "remaining_term": 13, "next_payment_date": "2025-02-28",
    "payment_frequency": "quarterly", "calendar": "own", "business_day": "following",
    "accrual_business_day": "following", "day_count": "ACT/365F", "maturity_date": "2026-01-20",
    "origination_date": "2024-11-30", "month_end": "last_day",
}  # fmt: skip
ASSUMED = {"prepayment": {"type": "cpr", "rate": 0.1}, "default": {"type": "cdr", "rate": 0.05}, "severity": 0.4}
LAGGED = ASSUMED | {"recovery_lag": 3, "advancing": "interest"}
SEASONS = [0.9, 0.8, 0.7, 1.0, 1.0, 0.9, 1.0, 1.1, 1.2, 1.2, 1.2, 1.0]


def world(*loans: dict[str, Any], tape: dict[str, Any] | None = None, **request: Any) -> dict[str, Any]:
    return {"tape": {"loans": list(loans or (LOAN,))} | (tape or {}),
            "cutoff_date": "2024-12-31"} | request  # fmt: skip


def curves(unit: str, *names: dict[str, Any]) -> list[dict[str, Any]]:
    return [world(assumptions=ASSUMED | {unit: curve}) for curve in names]


CPR = {"type": "cpr", "rate": 0.1}
SHOCK = {"type": "key_rate", "amount": 0.02, "month": 6, "before": 2, "after": 12}
LATE = ("current", "delinquent_30", "delinquent_60", "delinquent_90", "delinquent_120")
# Assumptions in which everything that any asset may state makes a difference.
BY_ALL = {
    "prepayment": {"type": "psa", "speed": 2.0}, "severity": 0.4, "recovery_lag": 9, "groups": {"B": {"severity": 0.9}},
    "rules": [
        *({"where": {"status": {"one_of": [status]}}, "assumptions": {"prepayment": {"type": "psa", "speed": 3.0 + k}}}
          for k, status in enumerate(LATE) if status != "current"),
        {"where": {"original_balance": {"min": 1.0}}, "assumptions": {"prepayment": {"type": "smm", "rate": 0.2}}},
    ],
}  # fmt: skip
SHARED = {
    "cashflows": {
        "given": {"balances": [100.0, 90.0, 95.0, 0.0], "interest": [1.0, 2.0, 3.0], "principal": [10.0, 5.0, 95.0]},
        "B": {"balances": [100.0, 50.0, 20.0, 0.0], "interest": [1.0, 1.0, 1.0]},
    },
    "schedules": {"curve": {"balances": [100.0, 50.0, 40.0, 0.0]}, "B": {"balances": [100.0, 70.0, 40.0, 0.0]}},
    "rate_schedules": {"B": {"steps": [{"month": 2, "annual_rate": 0.09}], "by": "age"}},
}  # fmt: skip
ASSETS: list[dict[str, Any]] = [
    {"type": "lease", "annual_rate": 0.06, "remaining_term": 24, "payment": 30.0, "residual_value": 400.0,
     "payment_timing": "advance"},
    {"type": "lease", "annual_rate": 0.06, "remaining_term": 24, "balance": 900.0, "residual_value": 400.0},
    {"type": "receivable", "remaining_term": 3, "face_value": 900.0, "discount": 0.03, "dilution": 0.02},
    {"type": "receivable", "remaining_term": 3, "face_value": 900.0, "balance": 800.0, "schedule": "curve"},
    {"type": "student_loan", "balance": 800.0, "annual_rate": 0.07, "remaining_term": 60, "school_term": 6,
     "grace_term": 3, "accrued_interest": 20.0, "deferment_start": 20, "deferment_term": 4,
     "deferment_interest": "paid"},
    {"type": "student_loan", "balance": 800.0, "annual_rate": 0.07, "remaining_term": 60, "school_term": 6,
     "deferment_start": 20, "deferment_term": 4, "deferment_interest": "forgiven", "school_interest": "paid"},
    {"type": "student_loan", "balance": 800.0, "annual_rate": 0.07, "remaining_term": 60, "rate_schedule": "B"},
    {"type": "student_loan", "balance": 800.0, "annual_rate": 0.07, "remaining_term": 60, "school_term": 6,
     "graduation_rate": 0.05, "graduation_frequency": 12},
    *({"type": "student_loan", "school_term": 6, "balance": 800.0, "remaining_term": 60} |
      {name: value for name, value in loan.items() if name in engine.StudentLoan.__struct_fields__
       and name not in ("balance", "remaining_term", "original_balance")} for loan in (CAPPED, FALLING)),
    {"type": "revolving", "balance": 500.0, "annual_rate": 0.2, "remaining_term": 24, "purchase_rate": 0.1,
     "payment_rate": 0.12, "draw_term": 12, "interchange_rate": 0.01, "fee_rate": 0.02},
    {"type": "revolving", "balance": 500.0, "annual_rate": 0.2, "remaining_term": 24, "draw_term": 12,
     "credit_limit": 1000.0, "utilization": 0.8},
    *({"type": "revolving", "balance": 500.0, "remaining_term": 30, "payment_rate": 0.1, "purchase_rate": 0.05} |
      {name: value for name, value in loan.items() if name in engine.Revolving.__struct_fields__
       and name not in ("balance", "remaining_term", "original_balance")} for loan in (CAPPED, FALLING)),
    {"type": "cashflow", "cashflows": "given", "balance": 700.0, "behaviour": "none"},
    {"type": "cashflow", "cashflows": "given"}, {"type": "cashflow", "cashflows": "B"},
]  # fmt: skip
WORLDS: list[dict[str, Any]] = [
    world(assumptions=LAGGED, conventions={"final_defaults": "continue"}),
    world(assumptions=LAGGED | {"advancing": "principal_and_interest"}, conventions={"recoup": "at_liquidation"}),
    world(assumptions=LAGGED, conventions={"advance_share": 0.5, "advance_months": 2, "final_defaults": "continue"}),
    world(LOAN | {"servicing_fee": 0.01}, assumptions=LAGGED, conventions={"final_defaults": "continue"}),
    world(assumptions=ASSUMED | {"curtailment": {"type": "smm", "rate": 0.01}, "prepayment": CPR}, conventions={}),
    world(assumptions=ASSUMED | {"recovery_stages": [0.5, 0.25, 0.25]}, conventions={"loss_timing": "default"}),
    world(assumptions=ASSUMED | {"burnout": {"floor": 0.5, "survived": 0.8}}),
    *curves("prepayment", {"type": "smm", "rate": 0.01}, {"type": "psa"}, {"type": "mhp", "speed": 0.5},
            {"type": "abs", "rate": 0.01}, {"type": "hep", "rate": 0.1},
            {"type": "vector", "unit": "cpr", "values": [0.1, 0.3, 0.2]},
            {"type": "vector", "unit": "psa", "values": [1.0, 3.0, 2.0], "by": "age"},
            {"type": "vector", "unit": "smm", "values": [0.1, 0.3, 0.2], "by": "age"},
            {"type": "vector", "unit": "smm", "values": [x / 100 for x in SEASONS], "by": "calendar_month"},
            {"type": "scaled", "curve": CPR, "multiplier": [1.0, 2.0], "shift": [0.0, 0.01]},
            {"type": "scaled", "curve": CPR, "multiplier": SEASONS},
            {"type": "seasonal", "curve": CPR, "factors": SEASONS}),
    *curves("default", {"type": "mdr", "rate": 0.01}, {"type": "sda", "speed": 2.0},
            {"type": "vector", "unit": "mdr", "values": [0.01, 0.02]},
            {"type": "vector", "unit": "sda", "values": [1.0, 2.0], "by": "age"},
            {"type": "vector", "unit": "mdr", "values": [0.1, 0.2], "by": "age"},
            {"type": "timing", "cumulative": 0.1, "timing": [0.4, 0.6], "months_a_share": 2},
            {"type": "timing", "cumulative": 0.9, "timing": [0.4, 0.6], "months_a_share": 12, "at_end": "drop"}),
    world(assumptions=LAGGED | {"severity": {"type": "vector", "values": [0.1, 0.2, 0.4]}}),
    world(assumptions=LAGGED | {"severity": {"type": "vector", "values": [0.1, 0.2, 0.4], "beyond": "repeat"}}),
    world(LOAN | {"mortgage_insurance": 0.2}, assumptions=LAGGED | {
        "severity": {"type": "property", "liquidation_cost": 0.2, "home_price_growth": -0.2, "minimum": 0.01}}),
    world(assumptions=LAGGED | {"severity": {
        "type": "ltv", "ltv": [0.7, 0.9], "severities": [0.1, 0.3], "home_price_growth": -0.5,
        "interpolation": "linear"}}),
    world(assumptions=LAGGED | {"severity": {
        "type": "ltv", "ltv": [0.5, 0.9], "severities": [0.1, 0.3, 0.6], "home_price_growth": -0.5}}),
    *(world(LOAN | {"status": status}, assumptions={"severity": 0.5, "delinquency": {
        "roll": [0.1, 0.3, 0.5], "cure": [0.2, 0.1],
        "forbearance": {"months": 3, "enter": [0.02, 0.1], "reinstate": 0.2, "modify": 0.5},
        "modification": {"rates": [0.1, 0.2], "interest_relief": 0.2, "forgiveness": 0.05, "redefault": 0.01}},
        "prepayment": CPR}) for status in ("delinquent_30", "delinquent_60")),
    world(LOAN | {"status": "delinquent_30", "age": 5}, assumptions={"severity": 0.5, "delinquency": {
        "roll": [0.1, 0.3, 0.5], "cure": [0.2, 0.1], "modification": {
            "rates": [0.1, 0.2], "annual_rate": 0.03, "term": 40, "arrears": "capitalized", "redefault": 0.01}}}),
    world(assumptions={"severity": 0.5, "delinquency": {"roll": [0.1, 0.3, 0.5, 0.5, 0.5], "cure": [0.2] * 4}}),
    world(LOAN | {"status": "reo", "months_in_status": 2}, assumptions=LAGGED | {"recovery_lag": 9}),
    *(world(LOAN, LOAN | {"status": "delinquent_30", "group": "B"}, assumptions=ASSUMED | {
        "groups": {"A": {"prepayment": {"type": "smm", "rate": 0.05}}},
        "rules": [{"where": {column: condition}, "assumptions": {"default": {"type": "cdr", "rate": 0.2}}}]})
      for column, condition in [("age", {"min": 6, "max": 9}), ("age", {"min": 2, "max": 9}),
                                ("ltv", {"below": 0.95}), ("balance", {"max": 1500}),
                                ("status", {"one_of": ["delinquent_30"]}), ("group", {"one_of": ["B"]})]),
    world(scenarios=[{"name": "a", "assumptions": ASSUMED}, {"name": "b"}], level="group", fields=["loss"], periods=9),
    *(world(loan, assumptions={"rates": {
        "SOFR": path | {"shocks": [SHOCK, {"type": "parallel", "amount": 0.01}], "history": [0.01, 0.02]},
        "B": {"type": "flat", "rate": 0.07}}}) for loan in (FLOATS, CAPPED, FALLING) for path in (
        {"type": "flat", "rate": 0.05}, {"type": "flat", "rate": 0.01},
        {"type": "path", "rates": [0.03, 0.04, 0.09, 0.02, 0.1]},
        {"type": "dated", "dates": ["2024-12-01", "2025-07-01", "2026-01-01"], "rates": [0.02, 0.08, 0.04]},
        {"type": "forwards", "tenor": 3, "months": [6, 12, 36], "zero_rates": [0.03, 0.05, 0.06]},
        {"type": "forwards", "tenor": 3, "months": [6, 12, 36], "discount_factors": [0.98, 0.95, 0.8]})),
    world(FLOATS | {"annual_rate": 0.01, "remaining_term": 360, "first_reset": 1, "reset_frequency": 12,
                    "payment_cap": 0.05, "neg_am_limit": 1.02},
          assumptions={"rates": {"SOFR": {"type": "flat", "rate": 0.09}}}),
    world(FLOATS | {"status": "delinquent_60", "periodic_cap": 0.01, "previous_rate": 0.03}, assumptions={
        "delinquency": {"roll": [0.1, 0.3, 0.5], "cure": [0.2, 0.1]}, "severity": 0.5,
        "rates": {"SOFR": {"type": "flat", "rate": 0.05, "history": [0.01, 0.02, 0.03, 0.02, 0.01]}}}),
    world(LOAN | {"rate_schedule": "steps"}, tape={"rate_schedules": {
        "steps": {"steps": [{"month": 6, "annual_rate": 0.09}, {"month": 12, "annual_rate": 0.03}]}}}),
    world(LOAN | {"amortization": "schedule", "schedule": "curve"}, tape={"schedules": {
        "curve": {"balances": [100.0 - 3 * k for k in range(31)]}, "B": {"balances": [100.0 - k for k in range(31)]}}}),
    world(LOAN | {"graduation_rate": 0.05, "graduation_years": 2}),
    world(LOAN | {"holiday_start": 3, "holiday_months": 2, "holiday_interest": "paid"}),
    world(LOAN | {"payment": 40.0}), world(LOAN | {"interest_only_term": 9, "amortization_term": 60}),
    world({name: value for name, value in LOAN.items() if name != "age"} | {"original_term": 30}, assumptions={
        "prepayment": {"type": "psa"}}),
    world({name: value for name, value in LOAN.items() if name != "property_value"} | {"ltv": 0.9},
          assumptions=ASSUMED | {"severity": {"type": "property", "liquidation_cost": 0.1}}),
    *(world(DATED | changed, tape={"calendars": {"own": {
        "holidays": ["2025-02-28", "2025-03-03", "2025-05-30"]}}},
        assumptions=ASSUMED)
      for changed in ({}, {"final_stub": "long"}, {"payment_frequency": "monthly"}, {"day_count": "ACT/ACT ICMA"},
                      {"paid_to_date": "2024-11-30"},
                      {"origination_date": "2025-03-05", "next_payment_date": "2025-05-31"},
                      {"next_payment_date": "2025-01-31", "day_count": "30/360 US", "month_end": "same_day"},
                      {"next_payment_date": "2025-01-30", "day_count": "30E/360", "month_end": "same_day",
                       "maturity_date": "2026-02-28", "remaining_term": 14})),
    *(world(DATED | {"next_payment_date": "2025-02-01", "payment_frequency": "monthly", "month_end": "same_day",
                     "maturity_date": "2026-01-01"}, tape={"calendars": {"own": calendar}})
      for calendar in ({"market": "TARGET"}, {"country": "DE"})),
    world(LOAN | {"payment_frequency": "quarterly"}),
    *(world(LOAN | {"penalty": "all"}, tape={"penalties": {"all": phases}}, assumptions={"prepayment": CPR})
      for phases in (
        [{"type": "lockout", "months": 8}, {"type": "percentage", "months": 4, "rate": 0.03},
         {"type": "step_down", "rates": [0.03, 0.02, 0.01], "months_a_rate": 2}],
        [{"type": "months_of_interest", "interest_months": 6, "share": 0.8, "months": 20},
         {"type": "fixed_amount", "amount": 10.0, "months": 20}],
        [{"type": "yield_maintenance", "discount_rate": 0.02, "months": 20}],
        [{"type": "yield_maintenance", "discount_rate": 0.07, "minimum": 0.01}])),
    *(world(loan | more, tape=SHARED, assumptions=assumed | {
        "residual_share": 0.9,
        "rates": {"SOFR": {"type": "flat", "rate": 0.0427, "history": [0.01] * 9},
                  "B": {"type": "flat", "rate": 0.07}}})
      for loan in ASSETS for more, assumed in (
          ({}, ASSUMED), ({}, BY_ALL), ({"status": "delinquent_30"}, BY_ALL),
          ({"status": "default", "months_in_status": 1}, BY_ALL))),
]  # fmt: skip

NUMBERS = (0.0, 0.001, 0.03, 0.3, 2.0, 20.0, 950.0, 5000.0)
WHOLES = (0, 1, 2, 5, 12, 36, 60, 72)
DATES = ("2024-10-31", "2024-12-15", "2025-01-31", "2025-03-10", "2026-03-15")
NAMES = ("B", "SOFR", "own", "DE", "TARGET")
# Texts by the field that they are for.
TEXTS: dict[str, tuple[str, ...]] = {"day_count": DAY_COUNTS, "conventions": ("opening_actual",)} | {
    name: DATES for name in engine.Loan.__struct_fields__ if name.endswith("_date")
}
# Without a result of their own, each with its reason.
WITHOUT: dict[tuple[str, str], str] = {
    ("LtvSeverity", "interpolation"): "goes with the number of severities; tests/engine/test_severity.py",
    ("Timing", "at_end"): "decides between a result and a refusal; tests/engine/test_assumptions.py",
    ("StepDownPenalty", "months"): "follows from its rates, and is refused",
    ("GivenCashflow", "remaining_term"): "is what its table says, and refused where it is not",
    ("Tape", "tape_id"): "names a tape that the service keeps; tests/api/test_named_tapes.py",
    ("Scenario", "name"): "is told in scenario_names, which names and does not project",
}

# Choices that are taken only with another field, which is walked.
TOGETHER = {("Loan", "amortization", "schedule")}


def candidates(kind: Any, name: str) -> Iterator[Any]:
    """Values of a type to try for a field in place of the one that is there."""
    for member in members_of(kind):
        if get_origin(member) is Literal:
            yield from get_args(member)
        elif member is float:
            yield from NUMBERS
        elif member is int:
            yield from WHOLES
        elif member is datetime.date:
            yield from DATES
        elif member is str:
            yield from TEXTS.get(name, NAMES)
        elif get_origin(member) in (list, tuple) and not is_struct(get_args(member)[0]):
            inner = [*candidates(get_args(member)[0], name)]
            yield from ([each] for each in inner[:3])
            yield from (inner[1 : size + 1] for size in (2, 3))
        elif member is type(None):
            yield None


def choices_of(kind: Any) -> list[Any]:
    """The choices of a type, none where it has none."""
    return [each for member in members_of(kind) if get_origin(member) is Literal for each in get_args(member)]


def changes(value: Any, kind: Any) -> Iterator[tuple[str, str, Any, Any, Any]]:
    """The Struct, the field, its type, the object that has it, and the value to set, of all within a value."""
    for member in members_of(kind):
        if isinstance(value, list) and get_origin(member) in (list, tuple):
            for entry in value:
                yield from changes(entry, get_args(member)[0])
        elif isinstance(value, dict) and get_origin(member) is dict:
            for entry in value.values():
                yield from changes(entry, get_args(member)[1])
        elif isinstance(value, dict) and is_struct(member) and is_meant(value, member):
            for field in msgspec.structs.fields(member):
                for new in candidates(field.type, field.name):
                    yield member.__name__, field.name, field.type, value, new
                if field.name in value and not field.required:
                    yield member.__name__, field.name, field.type, value, msgspec.UNSET
                if isinstance(value.get(field.name), list) and len(value[field.name]) > 1:
                    yield member.__name__, field.name, field.type, value, value[field.name][::-1]
                    if all(isinstance(each, float) for each in value[field.name]):
                        yield member.__name__, field.name, field.type, value, [x / 2 for x in value[field.name]]
                if field.name in value:
                    yield from changes(value[field.name], field.type)


def result(request: dict[str, Any]) -> Any:
    """What comes of a request, none where it is refused."""
    try:
        flows = engine.project(
            msgspec.convert({"level": "loan", "fields": list(engine.FIELD_NAMES)} | request, engine.ProjectionRequest),
            threads=1,
        )
    except (engine.EngineError, msgspec.ValidationError):
        return None
    columns = {name: column.tobytes() for name, column in flows.columns.items()}
    return columns, flows.loan_ids, flows.groups, flows.periods


def effects() -> dict[tuple[str, str], set[Any]]:
    """The values of each field of each Struct that changed the result of a world."""
    found: dict[tuple[str, str], set[Any]] = {}
    for each in WORLDS:
        request = copy.deepcopy(each)
        plain = result(request)
        assert plain is not None, each
        for owner, name, kind, holder, new in changes(request, engine.ProjectionRequest):
            choices = choices_of(kind)
            known = found.setdefault((owner, name), set())
            had = holder.get(name, msgspec.UNSET)
            if known and (not choices or {repr(new), repr(had)} <= known):
                continue
            put(holder, name, new)
            changed = result(request)
            put(holder, name, had)
            if changed is not None and changed != plain:
                known.add(repr(new))
                if choices and isinstance(had, str):
                    known.add(repr(had))
    return found


def put(holder: dict[str, Any], name: str, value: Any) -> None:
    if value is msgspec.UNSET:
        holder.pop(name, None)
    else:
        holder[name] = value


STRUCTS = sorted(structs_within(engine.ProjectionRequest, set()) - {engine.Columns}, key=lambda cls: cls.__name__)


def holds_structs(kind: Any) -> bool:
    """Whether a field is of Structs, whose own fields are what is tested."""
    return any(is_struct(member) or (get_origin(member) is not Literal and any(map(holds_structs, get_args(member))))
               for member in members_of(kind))  # fmt: skip


def test_every_column_is_a_field_of_some_asset() -> None:
    # Columns are read by the checks that read the fields of loans, which the tests below walk.
    fields = {name for cls in LOAN_TYPES.values() for name in cls.__struct_fields__}
    assert set(engine.Columns.__struct_fields__) == fields | {"type"}


def test_every_field_and_choice_changes_a_result() -> None:
    # One test, not one a Struct: the walk takes half a minute, and each process of the suite would take it anew.
    found, idle = effects(), []
    for cls in STRUCTS:
        for field in msgspec.structs.fields(cls):
            if (cls.__name__, field.name) in WITHOUT:
                continue
            known = found.get((cls.__name__, field.name), set())
            if not known and not holds_structs(field.type):
                idle.append(f"{cls.__name__}.{field.name}")
            # A default changes nothing where it is set, and something where another choice is taken from its place.
            idle += [
                f"{cls.__name__}.{field.name}={each}"
                for each in choices_of(field.type)
                if repr(each) not in known
                and each != field.default
                and (cls.__name__, field.name, each) not in TOGETHER
            ]
    assert idle == []

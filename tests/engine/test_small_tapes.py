"""Tapes of a few loans take short cuts; they tell the same, and refuse the same, as the long way."""

import datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine import at_sight, behaviour, checks
from engine.at_sight import arrays_at_sight
from engine.fields import FIELD_NAMES
from engine.loan_arrays import LoanArrays, validate
from engine.summary import summary_of
from engine.tape import loan_columns

ASSUMED = engine.Assumptions(
    prepayment=engine.Psa(speed=1.5), default=engine.Cdr(rate=0.01), severity=0.35, recovery_lag=12
)


def projected(loans: list[engine.Loan], **more: object) -> engine.Cashflows:
    tape = engine.Tape.from_loans(loans)
    return engine.project(engine.ProjectionRequest(tape=tape, assumptions=ASSUMED, **more))  # type: ignore[arg-type]


def test_one_loan_is_to_the_bit_the_first_of_a_pool_of_it_and_another_of_nothing() -> None:
    loan = engine.Loan(balance=250_000.0, annual_rate=0.065, remaining_term=360, age=7, servicing_fee=0.0025)
    nothing = engine.Loan(balance=0.0, annual_rate=0.065, remaining_term=360, age=7, servicing_fee=0.0025)
    alone, pair = projected([loan]), projected([loan, nothing])
    for name in alone.fields:
        assert alone[name].tobytes() == pair[name].tobytes(), name


@pytest.mark.parametrize("advancing", ["none", "interest", "principal_and_interest"])
@pytest.mark.parametrize("preset", ["sifma", "opening_actual"])
@pytest.mark.parametrize("terms", [{}, {"interest_only_term": 24}, {"amortization": "linear"}, {"payment": 1_800.0}])
def test_every_field_of_one_loan_is_to_the_bit_that_of_a_pool_with_nothing_beside_it(
    advancing: Any, preset: str, terms: dict[str, Any]
) -> None:
    loan = engine.Loan(balance=250_000.0, annual_rate=0.065, remaining_term=177, servicing_fee=0.0025, **terms)
    nothing = engine.Loan(balance=0.0, annual_rate=0.065, remaining_term=177, servicing_fee=0.0025)
    assumed = engine.Assumptions(
        prepayment=engine.Psa(speed=1.5), default=engine.Cdr(rate=0.01), severity=0.35, recovery_lag=12,
        advancing=advancing,
    )  # fmt: skip
    alone, pair = (
        engine.project(
            engine.ProjectionRequest(
                tape=engine.Tape.from_loans(loans),
                assumptions=assumed,
                conventions=preset,
                fields=list(FIELD_NAMES),
                cutoff_date=datetime.date(2024, 1, 31),
            )
        )
        for loans in ([loan], [loan, nothing])
    )
    for name in alone.fields:
        assert alone[name].tobytes() == pair[name].tobytes(), name


@pytest.mark.parametrize("few", [0, checks.FEW])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("balance", -1.0, "is -1; expected currency units in"),
        ("annual_rate", 6.5, r"is 6.5; expected a decimal in \[0, 1\] \(6.5% is 0.065\)"),
        ("annual_rate", float("nan"), "is nan; expected a decimal"),
        ("remaining_term", 0, "is 0; expected whole months"),
        ("age", 1.5, "is 1.5; expected whole months"),
        ("age", True, "is not a number"),
        ("payment", "much", "is not a number"),
        ("amortization", "level", "is 'level'; expected one of"),
        ("amortization", {}, "is '{}'; expected one of"),
        ("interest_only_term", 400, "expected 360 months at most"),
    ],
)
def test_what_is_wrong_with_a_loan_is_told_alike_by_either_way(
    monkeypatch: pytest.MonkeyPatch, few: int, name: str, value: object, message: str
) -> None:
    monkeypatch.setattr(checks, "FEW", few)
    loan = engine.Loan(**{"balance": 1e5, "annual_rate": 0.06, "remaining_term": 360, name: value})
    with pytest.raises(engine.TapeError, match=message) as told:
        engine.Tape.from_loans([loan]).arrays()
    assert [problem.path for problem in told.value.problems] == [f"tape.loans[0].{name}"]


def test_short_lists_become_the_arrays_that_long_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    loans = [
        engine.Loan(
            balance=1e5 * k, annual_rate=0.01 * k, remaining_term=100 + k, age=k if k % 2 else None,
            amortization="linear" if k == 3 else "level_pay", group="a" if k == 1 else None,
        )
        for k in range(1, 6)
    ]  # fmt: skip
    monkeypatch.setattr(at_sight, "FEW", 0)
    short = engine.Tape.from_loans(loans).arrays()
    monkeypatch.setattr(checks, "FEW", 0)
    same(short, engine.Tape.from_loans(loans).arrays())


def same(one: LoanArrays, other: LoanArrays) -> None:
    """Fails where two tapes' arrays differ in a value or in a type."""
    for name in one.__struct_fields__:
        mine, theirs = getattr(one, name), getattr(other, name)
        if isinstance(mine, np.ndarray):
            assert mine.dtype == theirs.dtype, name
            np.testing.assert_array_equal(mine, theirs, err_msg=name)
        else:
            assert mine == theirs, name


def checked_at_length(loans: list[engine.Loan]) -> LoanArrays:
    """The arrays by way of the checks of whole tapes."""
    return validate(loan_columns(loans), len(loans), lambda name, i: f"{name}[{i}]", engine.Tape(loans=[]).shared)


ODD: list[Any] = [None, -1, 0, 1, 1.0, 12, True, "much", "", "level_pay", "A", float("nan"), float("inf"), 10**400, {}]
SHOWN = st.builds(
    engine.Loan,
    balance=st.one_of(st.floats(0, 1e15), st.integers(0, 10**6)),
    annual_rate=st.floats(0, 1),
    remaining_term=st.integers(1, 1200),
    age=st.one_of(st.none(), st.integers(0, 1200)),
    servicing_fee=st.floats(0, 1),
    mortgage_insurance=st.floats(0, 1),
    amortization=st.sampled_from(["level_pay", "linear", "bullet"]),
    group=st.one_of(st.none(), st.sampled_from(["", "a", "b", "B"])),
    loan_id=st.one_of(st.none(), st.text(max_size=3)),
)


@given(st.lists(SHOWN, min_size=1, max_size=checks.FEW))
def test_loans_that_are_right_at_sight_are_what_the_checks_make_of_them(loans: list[engine.Loan]) -> None:
    found = arrays_at_sight(loans)
    assert found is not None
    same(found, checked_at_length(loans))


@given(SHOWN, st.sampled_from(engine.Loan.__struct_fields__), st.sampled_from(ODD))
def test_what_is_taken_at_sight_is_nothing_that_the_checks_refuse(loan: engine.Loan, name: str, value: Any) -> None:
    odd = msgspec.structs.replace(loan, **{name: value})
    found = arrays_at_sight([loan, odd])
    if found is not None:
        same(found, checked_at_length([loan, odd]))


def test_a_curve_that_was_read_before_gives_what_it_gave_and_cannot_be_written_to() -> None:
    loan = engine.Loan(balance=1e5, annual_rate=0.06, remaining_term=60, age=3)
    behaviour.remembered.cache_clear()
    first = projected([loan])
    before = behaviour.remembered.cache_info()
    again = projected([loan])
    after = behaviour.remembered.cache_info()
    assert (after.hits - before.hits, after.misses - before.misses) == (2, 0)
    assert all(first[name].tobytes() == again[name].tobytes() for name in first.fields)
    projected([engine.Loan(balance=1e5, annual_rate=0.06, remaining_term=61, age=3)])
    assert behaviour.remembered.cache_info().misses == after.misses + 2
    key = behaviour.msgspec.msgpack.encode(ASSUMED.prepayment)
    rows, _ = behaviour.remembered(key, engine.Psa, 72, 3, None)
    assert not rows.flags.writeable


def test_the_summary_is_of_the_columns() -> None:
    loan = engine.Loan(balance=1e5, annual_rate=0.06, remaining_term=60, age=3)
    flows = projected([loan], periods=100)
    told = summary_of(flows)
    assert told.totals == {
        name: float(flows[name].sum()) for name in flows.fields if name not in ("balance", "foreclosure")
    }
    assert told.peak_balance == flows.balance.max()
    assert told.final_period == 60
    assert told.wal_years == float(np.dot(flows.principal, np.arange(1, 101)) / flows.principal.sum() / 12)
    few = summary_of(projected([loan], fields=["interest"], periods=10))
    assert (few.wal_years, few.peak_balance, few.final_period) == (None, None, 10)


@pytest.mark.parametrize("size", [0, 2, 4])
@pytest.mark.parametrize("name", sorted({*engine.Columns.__struct_fields__} - {"balance", "extra"}))
def test_a_column_of_another_length_is_told_whatever_it_holds(name: str, size: int) -> None:
    texts = {
        "origination_date": "2024-01-01", "next_payment_date": "2024-01-01", "paid_to_date": "2024-01-01",
        "maturity_date": "2024-01-01", "amortization": "linear", "type": "loan", "status": "current",
        "day_count": "ACT/360", "payment_frequency": "monthly",
    }  # fmt: skip
    given = {"balance": [1.0] * 3, "annual_rate": 0.05, "remaining_term": 12}
    columns = engine.Columns(**(given | {name: [texts.get(name, 1)] * size}))  # type: ignore[arg-type]
    with pytest.raises(engine.TapeError) as told:
        engine.Tape(columns=columns).arrays()
    assert f"tape.columns.{name}" in [problem.path for problem in told.value.problems]

"""Rows by loan: written past the caches or not, into new memory or a given array, they are the same numbers."""

from typing import Any

import msgspec
import numpy as np
import pytest

import engine
from engine.chunks import CHUNK_BY_LOAN
from tests import reference

FIELDS = ["balance", "interest", "loss"]
ASSUMED = engine.Assumptions(
    prepayment=engine.Cpr(rate=0.08), default=engine.Cdr(rate=0.02), severity=0.4, recovery_lag=6
)
PLAIN = ["balance", "interest", "scheduled_principal", "prepayment", "default", "recovery", "loss", "servicing_fee"]
AFTER = engine.Conventions(prepayment_base="net_of_defaults", final_defaults="continue")
MANY = 3_000  # loans x 3 fields x 361 months take 26 MB, above what is written past the caches
FEW = 500


def loans(first: int, last: int) -> engine.Tape:
    number = np.arange(first, last)
    return engine.Tape.from_columns(
        balance=1000.0 + number, annual_rate=0.03 + number % 7 * 0.005, remaining_term=20 + number * 37 % 331,
        servicing_fee=0.0025,
    )  # fmt: skip


def request(tape: engine.Tape, **rest: Any) -> engine.ProjectionRequest:
    usual = {"assumptions": ASSUMED, "level": "loan", "fields": FIELDS}
    return engine.ProjectionRequest(tape=tape, **(usual | rest))


@pytest.mark.parametrize("periods", [360, 361, 400])
def test_rows_written_past_the_caches_are_those_of_a_small_tape(periods: int) -> None:
    # 361 months: rows begin anywhere in a line. 400: longer than any loan, so the last months are nought.
    whole = engine.project(request(loans(0, MANY), periods=periods))
    for first in range(0, MANY, FEW):
        part = engine.project(request(loans(first, first + FEW), periods=periods))
        for name in FIELDS:
            np.testing.assert_array_equal(whole[name][first : first + FEW], part[name])
    assert (whole.balance[:, 357:] == 0).all()


def test_every_number_of_threads_writes_the_same_rows() -> None:
    asked = request(loans(0, 2 * CHUNK_BY_LOAN + 3), fields=["cashflow"], periods=121)
    one = engine.project(asked, threads=1)
    for threads in (2, 4, 8):
        np.testing.assert_array_equal(engine.project(asked, threads=threads).cashflow, one.cashflow)


def assorted(count: int) -> engine.Tape:
    """Loans of every way to amortize, of any term, some that owe nothing, bear nothing or pay what is stated."""
    number = np.arange(count)
    term = 1 + number * 37 % 345
    return engine.Tape.from_columns(
        balance=np.where(number % 29, 1000.0 + number, 0.0), remaining_term=term, age=number % 40,
        annual_rate=np.where(number % 31, number % 13 * 0.007, 0.0), servicing_fee=number % 3 * 0.002,
        interest_only_term=np.where(number % 5, 0, term // 3),
        amortization=np.array(["level_pay", "level_pay", "linear", "bullet"])[number % 4],
        payment=np.where((number % 4 == 0) & (number % 3 == 0), 15.0, np.nan),
    )  # fmt: skip


@pytest.mark.parametrize("fields", [PLAIN, ["recovery"], ["loss", "balance"], ["servicing_fee", "expected_principal"]])
@pytest.mark.parametrize("lag", [0, 1, 7, 8, 12, 30])
@pytest.mark.parametrize("conventions", ["sifma", AFTER])
def test_one_pass_writes_what_working_rows_hold(fields: list[str], lag: int, conventions: Any) -> None:
    # What is in foreclosure is not taken in one pass, so who asks for it too has rows made of working rows.
    assumed = engine.Assumptions(
        prepayment=engine.Psa(speed=1.5), default=engine.Cdr(rate=0.03), severity=0.4, recovery_lag=lag
    )
    for count, periods in [(37, 1), (37, 7), (37, 8), (37, 20), (400, 361), (1_000, 360), (1_000, 400), (3_000, 360)]:
        asked = request(
            assorted(count), assumptions=assumed, fields=fields, periods=periods, conventions=conventions
        )  # fmt: skip
        one_pass = engine.project(asked, threads=1)
        by_rows = engine.project(msgspec.structs.replace(asked, fields=[*fields, "foreclosure"]), threads=1)
        for name in fields:
            np.testing.assert_array_equal(one_pass[name], by_rows[name], err_msg=f"{name} of {count} over {periods}")


@pytest.mark.parametrize("count", [MANY, MANY + 1])
@pytest.mark.parametrize("offset", range(8))
def test_rows_that_begin_within_a_line_are_the_same(count: int, offset: int) -> None:
    # With an odd number of odd rows those of one loan begin at other places within a line for each field.
    asked = request(assorted(count), fields=PLAIN, periods=361)
    room = np.full(8 * count * 361 + 16, np.nan)
    first = -room.ctypes.data // 8 % 8 + offset
    last = first + 8 * count * 361
    engine.project(asked, out=room[first:last].reshape(8, count, 361), threads=1)
    new = engine.project(asked, threads=1)
    np.testing.assert_array_equal(room[first:last].reshape(8, count, 361), [new[name] for name in PLAIN])
    assert np.isnan(room[:first]).all()
    assert np.isnan(room[last:]).all()


def test_rows_of_one_pass_do_not_depend_on_threads_or_scenarios() -> None:
    fast = engine.Assumptions(prepayment=engine.Cpr(rate=0.3), default=engine.Cdr(rate=0.05), recovery_lag=3)
    several = [engine.Scenario(name="base"), engine.Scenario(name="fast", assumptions=fast)]
    asked = request(assorted(2 * CHUNK_BY_LOAN + 3), fields=["balance", "loss"], periods=64)
    one = engine.project(asked, threads=1)
    for threads in (1, 2, 4):
        both = engine.project(msgspec.structs.replace(asked, scenarios=several), threads=threads)
        for name in ("balance", "loss"):
            np.testing.assert_array_equal(both[name][0], one[name])
            assert (both[name][1] != one[name]).any()


@pytest.mark.parametrize("term", [1, 2, 7, 8, 9, 15, 16, 17])
def test_short_loans_equal_the_reference(term: int) -> None:
    # Eight months are taken at a time: fewer, as many, and ends that overlap.
    loan = engine.Loan(balance=1000.0, annual_rate=0.12, remaining_term=term, servicing_fee=0.01)
    assumed = engine.Assumptions(prepayment=engine.Smm(rate=0.02), default=engine.Mdr(rate=0.01), severity=0.5)
    flows = engine.project(request(engine.Tape(loans=[loan]), assumptions=assumed, fields=list(engine.FIELD_NAMES)))
    expected = reference.project_loan(loan, assumed, engine.Conventions(), term)
    for name in engine.FIELD_NAMES:
        assert flows[name][0] == pytest.approx(expected[name], rel=1e-12, abs=1e-12), name


@pytest.mark.parametrize("loans_of", [FEW, MANY])
def test_a_given_array_is_filled_whatever_it_held(loans_of: int) -> None:
    asked = request(loans(0, loans_of), periods=361)
    room = np.full((3, loans_of, 361), np.nan)
    flows = engine.project(asked, out=room)
    new = engine.project(asked)
    for place, name in enumerate(FIELDS):
        np.testing.assert_array_equal(flows[name], new[name])
        assert np.shares_memory(flows[name], room[place])
    other = engine.project(request(loans(7, 7 + loans_of), periods=361), out=room)
    np.testing.assert_array_equal(room[0], other.balance)
    assert (room[0] != new.balance).any()


def test_a_given_array_takes_scenarios_before_loans() -> None:
    fast = engine.Assumptions(prepayment=engine.Cpr(rate=0.3))
    both = [engine.Scenario(name="base"), engine.Scenario(name="fast", assumptions=fast)]
    asked = request(loans(0, FEW), scenarios=both, periods=24)
    room = np.empty((3, 2, FEW, 24))
    engine.project(asked, out=room)
    np.testing.assert_array_equal(room[0], engine.project(asked).balance)


def readonly() -> np.ndarray:
    room = np.empty((3, FEW, 24))
    room.flags.writeable = False
    return room


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ([1.0], "is a list; expected a NumPy array"),
        (np.empty((3, FEW, 24), dtype=np.float32), "has dtype float32; expected float64"),
        (np.empty((3, FEW, 24), dtype=">f8"), "has dtype >f8; expected float64"),
        (np.empty((3, FEW, 25)), r"has shape \(3, 500, 25\); expected \(3, 500, 24\)"),
        (np.empty((3, 1, FEW, 24)), r"has shape \(3, 1, 500, 24\); expected \(3, 500, 24\)"),
        (np.empty((24, FEW, 3)).T, "is not contiguous; expected an array in C order"),
        (readonly(), "is read-only; expected an array that can be written"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(out: Any, message: str) -> None:
    with pytest.raises(engine.AssumptionError, match=f"^out {message}"):
        engine.project(request(loans(0, FEW), periods=24), out=out)


def test_only_rows_by_loan_can_be_given_an_array() -> None:
    with pytest.raises(engine.AssumptionError, match=r"^out is given for level 'pool'; expected none, or level 'loan'"):
        engine.project(request(loans(0, FEW), level="pool", periods=24), out=np.empty((3, 24)))


def test_the_tape_is_not_written_over() -> None:
    room = np.full((1, FEW, 24), 1000.0)
    tape = engine.Tape.from_columns(balance=room.reshape(-1)[:FEW], annual_rate=0.05, remaining_term=24)
    with pytest.raises(engine.AssumptionError, match=r"^out shares memory with a column of the tape"):
        engine.project(request(tape, fields=["balance"], periods=24), out=room)
    assert (room == 1000.0).all()


def test_terms_beyond_the_plainest_are_not_written_over_either() -> None:
    # Margins are read chunk by chunk, while the rows of the chunks before them are written.
    room = np.zeros((1, FEW, 24))
    margin = room.reshape(-1)[-FEW:]
    margin[:] = 0.02
    tape = engine.Tape.from_columns(
        balance=1000.0, annual_rate=0.05, remaining_term=24, index=["prime"] * FEW, first_reset=3, margin=margin
    )
    floating = engine.Assumptions(rates={"prime": engine.FlatRate(rate=0.04)})
    with pytest.raises(engine.AssumptionError, match=r"^out shares memory with a column of the tape"):
        engine.project(request(tape, assumptions=floating, fields=["balance"], periods=24), out=room)
    assert (margin == 0.02).all()


def test_columns_that_are_read_as_another_type_are_not_written_over() -> None:
    room = np.zeros((1, FEW, 24))
    terms = room.view(np.int64).reshape(-1)[:FEW]
    terms[:] = 24
    tape = engine.Tape.from_columns(balance=np.full(FEW, 1000.0), annual_rate=0.05, remaining_term=terms)
    with pytest.raises(engine.AssumptionError, match=r"^out shares memory with a column of the tape"):
        engine.project(request(tape, fields=["balance"], periods=24), out=room)

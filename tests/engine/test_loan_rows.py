"""Rows by loan: written past the caches or not, into new memory or a given array, they are the same numbers."""

from typing import Any

import numpy as np
import pytest

import engine
from engine.chunks import CHUNK_BY_LOAN
from tests import reference

FIELDS = ["balance", "interest", "loss"]
ASSUMED = engine.Assumptions(
    prepayment=engine.Cpr(rate=0.08), default=engine.Cdr(rate=0.02), severity=0.4, recovery_lag=6
)
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

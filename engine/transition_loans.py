"""The loans that a transition model moves: the state in which each begins, and which loans it cannot represent."""

import datetime
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.asset_terms import LOAN, STUDENT
from engine.errors import MAX_PROBLEMS, AssumptionError, Problem
from engine.loan_arrays import LoanArrays
from engine.loans import STATUSES
from engine.payment_calendars import on_dates
from engine.payments import IN_DEFAULT
from engine.tape import Tape, is_scalar

# What these owe is their schedule; others draw, or owe something beside their balance.
TYPES = (LOAN, STUDENT)


class LoanState(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A state: open with so many payments missed (0 for a performing loan), in default, or prepaid.

    name: what the answer calls it. kind: whether its loans are open, in default or prepaid. missed: monthly payments.
    """

    name: str
    kind: Literal["open", "default", "prepaid"] = "open"
    missed: int = 0


def place(tape: Tape, name: str, i: int) -> str:
    """The path of a loan's value."""
    if tape.loans is not None:
        return f"tape.loans[{i}].{name}"
    return f"tape.columns.{name}" + ("" if is_scalar(getattr(tape.columns, name)) else f"[{i}]")


def performing(tape: Tape) -> Tape:
    """The tape with loans that all perform."""
    if tape.loans is not None:
        loans = [msgspec.structs.replace(loan, **stated(loan)) for loan in tape.loans]
        return msgspec.structs.replace(tape, loans=loans)
    if tape.columns is None:
        return tape
    return msgspec.structs.replace(tape, columns=msgspec.structs.replace(tape.columns, **stated(tape.columns)))


def stated(struct: msgspec.Struct) -> dict[str, None]:
    """The fields of a Struct that say how a loan performs, as blanks."""
    return {name: None for name in ("status", "months_in_status") if getattr(struct, name, None) is not None}


def open_loans(
    tape: Tape, states: list[LoanState], cutoff_date: datetime.date | None, problems: list[Problem]
) -> LoanArrays:
    """The tape's loans, their payments reckoned by date. Those that the model does not represent go to OUT problems."""
    loans = on_dates(tape.arrays(), cutoff_date)

    def refuse(where: NDArray[np.bool_], name: str, message: str) -> None:
        problems.extend(Problem(place(tape, name, i), message) for i in np.flatnonzero(where)[:MAX_PROBLEMS].tolist())

    refuse(
        np.isin(loans.status, IN_DEFAULT),
        "status",
        "is of a loan in default; expected it open, or a `status` for the model",
    )
    refuse(loans.age < 0, "origination_date", "is after cutoff_date; expected loans that are drawn at the cut-off")
    message = "is stated, and the model takes what insurance pays to be in its severity; expected none"
    refuse(loans.mortgage_insurance > 0, "mortgage_insurance", message)
    terms = loans.contracts
    if terms is not None and terms.assets is not None:
        message = "is an asset that does not move by payments missed; expected loan or student_loan"
        refuse(~np.isin(terms.assets.kind, TYPES), "type", message)
    if terms is not None:
        message = "is a prepayment penalty or a lockout, which the matrices of the model do not look at; expected none"
        refuse(terms.penalty >= 0, "penalty", message)
    late = any(state.missed > 0 for state in states)
    if terms is not None and terms.calendars is not None and late:
        message = "leaves months without a payment; a model with states that missed some counts them by the month"
        dated = terms.payments is not None and terms.payments.dated.any()
        refuse(terms.calendars.pattern >= 0, "next_payment_date" if dated else "payment_frequency", message)
    return loans


def first_states(
    tape: Tape, loans: LoanArrays, states: list[LoanState], status: list[str] | str | None
) -> NDArray[np.int64]:
    """The index of the state in which each loan begins. Raises AssumptionError with every fault."""
    problems: list[Problem] = []
    if status is None:
        found = of_tape(tape, loans, states, problems)
    else:
        found = of_names([status] * len(loans) if isinstance(status, str) else status, len(loans), states, problems)
    if problems:
        raise AssumptionError(problems)
    return found


def of_names(given: list[str], n: int, states: list[LoanState], problems: list[Problem]) -> NDArray[np.int64]:
    """The states of names; faults go to OUT problems."""
    index = {state.name: i for i, state in enumerate(states) if state.kind == "open"}
    if len(given) != n:
        problems.append(Problem("status", f"has {len(given)} values; expected {n}, one a loan"))
        return np.zeros(n, dtype=np.int64)
    allowed = ", ".join(index)
    for i, name in enumerate(given):
        if name not in index:
            problems.append(Problem(f"status[{i}]", f"is {name!r}; expected an open state: {allowed}"))
    return np.array([index.get(name, 0) for name in given], dtype=np.int64)


def of_tape(tape: Tape, loans: LoanArrays, states: list[LoanState], problems: list[Problem]) -> NDArray[np.int64]:
    """The states that the tape's own status stands for; faults go to OUT problems."""
    missed: dict[int, int] = {}
    for i, state in enumerate(states):
        if state.kind == "open":
            missed.setdefault(state.missed, i)
    latest = max(missed)
    state_of = np.full(len(STATUSES), -1)
    for k in range(STATUSES.index("delinquent_120") + 1):
        state_of[k] = missed.get(min(k, latest) if latest else k, -1)
    found = state_of[loans.status]
    for i in np.flatnonzero(found < 0)[:MAX_PROBLEMS].tolist():
        name = STATUSES[loans.status[i]]
        message = f"is {name!r}; the model has no open state of {loans.status[i]} payments missed"
        problems.append(Problem(place(tape, "status", i), message))
    return found.astype(np.int64)

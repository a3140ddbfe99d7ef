"""Consumer credit by a transition matrix: loans move between states month by month, and pay accordingly.

A state says how many payments its loans have missed. A move to a state with more missed payments pays nothing and
carries the balance; a move to one with as many or fewer pays down to the balance that the schedule has for that many
missed payments (staying 30 days late pays one instalment, curing pays all that was missed). The last state of late
loans is `or more`: staying there pays nothing. Interest that is missed is added up without interest on it; of k + 1
months due a move that leaves k' missed pays the share (k + 1 - k') / (k + 1). The balance on the tape is what is owed
at the cut-off; the payments of a month are missed or made together. The servicing fee is on what open loans owe at the
month's start, late or not. Everything is linear in the balances, so loans are
summed by age and state first, and the cost does not grow with the tape. Source: Cyert, Davidson and Thompson (1962),
Estimation of the Allowance for Doubtful Accounts by Markov Chains.
"""

import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.assumptions import Assumptions
from engine.conversion import fitted
from engine.curves import UNIT_RANGE, out_of_range
from engine.errors import AssumptionError, InvalidInput, Problem
from engine.projection import project
from engine.rates import RatePath
from engine.request import ProjectionRequest
from engine.tape import Tape
from engine.transition_loans import LoanState, first_states, open_loans, performing

__all__ = [
    "LoanState", "TransitionModel", "TransitionRequest", "Transitions", "project_transitions", "roll_rates",
    "vintage_curves",
]  # fmt: skip

Array = NDArray[np.float64]
MAX_MONTHS = 2400
MAX_STATES = 40
SCHEDULED = ("balance", "expected_interest", "servicing_fee")


class TransitionModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """States and the chances of moving between them.

    states: forty at most, one of them performing (open, with no payment missed). matrices: one a month, the last holds
    on; row i has the chances of moving from state i to each, and adds up to 1. Nothing leaves a default or prepaid
    state. severity: share of the defaulted balance that is lost. recovery_lag:
    months from default to the recovery and the loss.
    """

    states: list[LoanState]
    matrices: list[list[list[float]]]
    severity: float = 1.0
    recovery_lag: int = 0

    def problems(self, path: str) -> list[Problem]:
        """Every fault, with its path below `path`."""
        found = out_of_range(f"{path}.severity", self.severity, 0, 1, UNIT_RANGE)
        if not 0 <= self.recovery_lag <= 360:
            message = f"is {self.recovery_lag}; expected whole months in [0, 360]"
            found.append(Problem(f"{path}.recovery_lag", message))
        found += self.state_problems(path)
        if not self.matrices:
            found.append(Problem(f"{path}.matrices", "is empty; expected at least one matrix"))
        for m, matrix in enumerate(self.matrices):
            found += self.matrix_problems(f"{path}.matrices[{m}]", matrix)
        return found

    def state_problems(self, path: str) -> list[Problem]:
        found: list[Problem] = []
        names = [state.name for state in self.states]
        if len(names) > MAX_STATES:
            found.append(Problem(f"{path}.states", f"has {len(names)}; expected {MAX_STATES} at most"))
        for i, state in enumerate(self.states):
            if not state.name or names.index(state.name) < i:
                message = f"is {state.name!r}; expected names that differ"
                found.append(Problem(f"{path}.states[{i}].name", message))
            if not 0 <= state.missed <= 120 or (state.missed and state.kind != "open"):
                message = f"is {state.missed}; expected payments in [0, 120], and 0 but for open states"
                found.append(Problem(f"{path}.states[{i}].missed", message))
        if not any(state.kind == "open" and not state.missed for state in self.states):
            found.append(Problem(f"{path}.states", "has no performing state: open, with no payment missed"))
        return found

    def matrix_problems(self, path: str, matrix: list[list[float]]) -> list[Problem]:
        n = len(self.states)
        if len(matrix) != n or any(len(row) != n for row in matrix):
            return [Problem(path, f"is not {n} x {n}; expected a row and a column for each state")]
        found: list[Problem] = []
        for i, row in enumerate(matrix):
            for j, chance in enumerate(row):
                found += out_of_range(f"{path}[{i}][{j}]", chance, 0, 1, UNIT_RANGE)
            if not abs(sum(row) - 1) <= 1e-9:
                found.append(Problem(f"{path}[{i}]", f"adds up to {sum(row):.15g}; expected 1"))
            if self.states[i].kind != "open" and row[i] != 1:
                found.append(Problem(f"{path}[{i}][{i}]", f"is {row[i]:g}; expected 1: nothing leaves this state"))
        return found


class TransitionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A tape and the model it moves by: the wire format of REST and GraphQL.

    status: the state's name for each loan or for all, whatever the tape says; none for the tape's own status:
    `delinquent_30` is the state with one payment missed and so on, beyond the model's latest state that one, and
    current the first performing state.
    months: to project, none for the longest term, a year for those who are late then, and the recovery lag. rates: the
    path of each index that floating loans name. cutoff_date: where month 1 begins; dated loans and rates need it.
    """

    tape: Tape
    model: TransitionModel
    status: list[str] | str | None = None
    months: int | None = None
    rates: dict[str, RatePath] | None = None
    cutoff_date: datetime.date | None = None


class Transitions(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome by vintage: loans of one age at the cut-off, the first axis; months 1 .. months are the last.

    is_open: of each state. balance: (vintages, states, months + 1), owed by the loans in each open state, from the
    cut-off; what went to the other states, added up. flows: (vintages, months, states, states), the balance at the
    month's start by the move that it made. The others are (vintages, months); scheduled_principal has instalments
    caught up too, missed_interest is what loans in default owed, servicing_fee is not taken off interest.
    """

    states: tuple[str, ...]
    is_open: NDArray[np.bool_]
    ages: NDArray[np.int64]
    original_balance: Array
    balance: Array
    flows: Array
    interest: Array
    scheduled_principal: Array
    prepayment: Array
    default: Array
    recovery: Array
    loss: Array
    missed_interest: Array
    servicing_fee: Array


def project_transitions(
    tape: Tape,
    model: TransitionModel,
    status: list[str] | str | None = None,
    months: int | None = None,
    *,
    rates: dict[str, RatePath] | None = None,
    cutoff_date: datetime.date | None = None,
) -> Transitions:
    """The tape under the model; the arguments are the fields of TransitionRequest.

    Raises TapeError or AssumptionError with every fault found, among them loans that the model does not represent.
    """
    model = fitted(model, "model")
    problems = model.problems("model")
    if months is not None and not 1 <= months <= MAX_MONTHS:
        problems.append(Problem("months", f"is {months}; expected whole months in [1, {MAX_MONTHS}]"))
    if status is not None:
        tape = performing(tape)
    try:
        loans = open_loans(tape, model.states, cutoff_date, problems)
    except InvalidInput as error:
        raise type(error)([*error.problems, *problems]) from error
    if problems:
        raise AssumptionError(problems)
    first = first_states(tape, loans, model.states, status)
    count = months or default_months(model, int(loans.term.max(initial=0)))
    ages, vintage = np.unique(loans.age, return_inverse=True)
    label = vintage.reshape(-1) * len(model.states) + first
    shape = (len(ages), len(model.states))
    owed = scheduled(tape, label, shape[0] * shape[1], count, rates, cutoff_date)
    balance, interest, fee = (each.reshape(*shape, each.shape[-1]) for each in owed)
    opening = np.bincount(label, weights=loans.balance, minlength=shape[0] * shape[1]).reshape(shape)
    original = np.where(np.isnan(loans.original_balance), loans.balance, loans.original_balance)
    return stepped(
        model,
        np.concatenate([opening[..., None], balance], axis=-1),
        np.stack([interest, fee]),
        ages.astype(np.int64),
        np.bincount(vintage.reshape(-1), weights=original, minlength=len(ages)).astype(np.float64),
    )


def default_months(model: TransitionModel, longest_term: int) -> int:
    """Months to project where the request says none: a year for those who are late at the end, and the recovery lag."""
    return longest_term + 12 + model.recovery_lag


def scheduled(
    tape: Tape,
    label: NDArray[np.int64],
    labels: int,
    months: int,
    rates: dict[str, RatePath] | None,
    cutoff_date: datetime.date | None,
) -> Array:
    """Balance after, interest due and fee of each month by the contract, (3, labels, months), summed by label."""
    names, tape = [f"{each:06d}" for each in label], performing(tape)
    if tape.loans is not None:
        loans = [msgspec.structs.replace(loan, group=name) for loan, name in zip(tape.loans, names, strict=True)]
        labelled = msgspec.structs.replace(tape, loans=loans)
    else:
        assert tape.columns is not None
        labelled = msgspec.structs.replace(tape, columns=msgspec.structs.replace(tape.columns, group=names))
    request = ProjectionRequest(
        tape=labelled, level="group", fields=list(SCHEDULED), periods=months,
        assumptions=Assumptions(rates=rates), cutoff_date=cutoff_date,
    )  # fmt: skip
    try:
        flows = project(request)
    except AssumptionError as error:
        raise AssumptionError([without_assumptions(problem) for problem in error.problems]) from error
    found = np.zeros((len(SCHEDULED), labels, months))
    found[:, [int(name) for name in flows.groups]] = [flows[name] for name in SCHEDULED]
    return found


def without_assumptions(problem: Problem) -> Problem:
    """A problem of the projection in words of this request, whose rates stand by themselves."""
    message = problem.message.replace("for which assumptions has", "for which the request has")
    return Problem(problem.path.removeprefix("assumptions."), message.replace("assumptions.rates", "rates"))


class Ledger(msgspec.Struct, frozen=True):
    """What loans owe, by the state in which they began and the one in which they are.

    shares: (first states, states) of the loans. The others are (vintages, first states, states): owed balance, missed
    interest, and as (2, ..) the interest that one more missed month adds and the fee of a month.
    """

    shares: Array
    owed: Array
    arrears: Array
    monthly: Array


class Moves(msgspec.Struct, frozen=True):
    """The moves between states, by (from, to): whether they pay, and what share of the interest due they pay.

    missed: payments missed by state. open, default, prepaid: which states are so.
    """

    pays: NDArray[np.bool_]
    paid_share: Array
    missed: NDArray[np.int64]
    open: NDArray[np.bool_]
    default: NDArray[np.bool_]
    prepaid: NDArray[np.bool_]


def moves_of(states: list[LoanState]) -> Moves:
    missed = np.array([state.missed for state in states])
    is_open, default, prepaid = (
        np.array([state.kind == kind for state in states]) for kind in ("open", "default", "prepaid")
    )
    latest = is_open & (missed == missed.max()) & (missed > 0)
    pays = is_open[:, None] & is_open & (missed <= missed[:, None]) & ~(latest[:, None] & latest)
    share = np.where(pays, (missed[:, None] + 1 - missed) / (missed[:, None] + 1), 0.0)
    share[:, prepaid] = 1.0
    return Moves(pays, share, missed, is_open, default, prepaid)


def stepped(
    model: TransitionModel, balance: Array, due: Array, ages: NDArray[np.int64], original: Array
) -> Transitions:
    """The outcome of loans that owe by contract, by vintage and first state.

    balance: (vintages, first states, months + 1), from the cut-off. due: (2, vintages, first states, months), interest
    and fee.
    """
    moves, months, states = moves_of(model.states), due.shape[-1], len(model.states)
    begin = np.eye(states)
    owed = balance[..., 0, None] * begin
    ledger = Ledger(begin, owed, np.zeros_like(owed), due[..., 0, None] * begin)
    result = {name: np.zeros((len(ages), months)) for name in FLOWS}
    by_state = np.zeros((len(ages), states, months + 1))
    by_state[..., 0] = owed.sum(axis=1)
    flows = np.zeros((len(ages), months, states, states))
    for t in range(1, months + 1):
        matrix = np.asarray(model.matrices[min(t, len(model.matrices)) - 1]) * moves.open[:, None]
        paid, ledger, flows[:, t - 1] = month_of(matrix, moves, ledger, balance, due, t)
        for name in FLOWS:
            result[name][:, t - 1] = paid[name]
        gone = flows[:, t - 1].sum(axis=1) * ~moves.open
        by_state[..., t] = ledger.owed.sum(axis=1) + by_state[..., t - 1] * ~moves.open + gone
    lag = min(model.recovery_lag, months)
    late = np.pad(result["default"], ((0, 0), (lag, 0)))[:, :months]
    return Transitions(
        states=tuple(state.name for state in model.states), is_open=moves.open, ages=ages, original_balance=original,
        balance=by_state, flows=flows, recovery=late * (1 - model.severity), loss=late * model.severity, **result,
    )  # fmt: skip


FLOWS = ("interest", "scheduled_principal", "prepayment", "default", "missed_interest", "servicing_fee")


def month_of(
    matrix: Array, moves: Moves, ledger: Ledger, balance: Array, by_schedule: Array, t: int
) -> tuple[dict[str, Array], Ledger, Array]:
    """What month t pays by vintage, the ledger after it, and the balance by move (vintages, states, states)."""
    shares = ledger.shares[..., None] * matrix
    moved = ledger.owed[..., None] * matrix
    due = (ledger.arrears + ledger.monthly[0])[..., None] * matrix
    schedule = np.maximum(t - moves.missed, 0)  # the month whose balance a state owes
    stays = np.where(moves.pays, shares * balance[:, :, None, schedule], moved * moves.open)
    ends = shares * balance[:, :, None, t, None] * moves.prepaid
    received = due * moves.paid_share
    every = (1, 2, 3)
    paid = {
        "scheduled_principal": ((moved - stays) * ~moves.default - ends).sum(axis=every),
        "prepayment": ends.sum(axis=every),
        "default": (moved * moves.default).sum(axis=every),
        "interest": received.sum(axis=every),
        "missed_interest": (due * moves.default).sum(axis=every),
        "servicing_fee": (ledger.monthly[1] * moves.open).sum(axis=(1, 2)),
    }
    following = by_schedule[..., np.minimum(schedule, by_schedule.shape[-1] - 1)]
    monthly = np.where(moves.pays, shares * following[..., None, :], ledger.monthly[..., None] * matrix * moves.open)
    arrears = (due - received) * moves.open
    after = Ledger(shares.sum(axis=1), stays.sum(axis=2), arrears.sum(axis=2), monthly.sum(axis=3))
    return paid, after, moved.sum(axis=1)


def roll_rates(outcome: Transitions) -> Array:
    """The share of each state's balance that moved to each other in a month, (months, states, states); 0 of nothing."""
    flows = outcome.flows.sum(axis=0)
    total = flows.sum(axis=-1, keepdims=True)
    rates: Array = np.divide(flows, total, out=np.zeros_like(flows), where=total > 0)
    return rates


def vintage_curves(outcome: Transitions) -> Array:
    """Cumulative default since the cut-off as a share of the original balance, by vintage and loan age in months.

    (vintages, oldest age + months + 1): the value at a vintage's age at the cut-off is 0, and NaN stands before it and
    after the last month, where the projection says nothing.
    """
    months = outcome.default.shape[1]
    curves = np.full((len(outcome.ages), int(outcome.ages.max(initial=0)) + months + 1), np.nan)
    for i, age in enumerate(outcome.ages):
        share = np.cumsum(outcome.default[i]) / outcome.original_balance[i] if outcome.original_balance[i] > 0 else 0.0
        curves[i, age] = 0.0
        curves[i, age + 1 : age + months + 1] = share
    return curves

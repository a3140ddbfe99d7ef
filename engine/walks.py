"""What the forward walk of ext/stepped.h reads: a row of doubles for each term, and a program for each loan.

`walks_of` makes what a whole tape shares, `rows_of` the rows of a slice of it in the order of _core.STEPPED_NAMES.
"""

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import _core
from engine.annuity import annuity
from engine.asset_terms import asset_rows, drawn_of, operations
from engine.checks import INF
from engine.contracts import Contracts
from engine.loans import AMORTIZATIONS, ROUNDING_DIRECTIONS
from engine.payment_calendars import PaymentCalendars

if TYPE_CHECKING:
    from engine.loan_arrays import LoanArrays

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
LEVEL_PAY, LINEAR = AMORTIZATIONS.index("level_pay"), AMORTIZATIONS.index("linear")
MAX_GRADUATIONS = 30
# The columns of Walks that have a value a loan.
OF_LOANS = ("program", "schedule", "payment", "steady", "phase", "calendar", "period", "amortized")


class Walks(msgspec.Struct, frozen=True, kw_only=True):
    """Programs, schedules and payments of a tape's stepped loans.

    month, op, value: operations of all programs back to back, each program ended by an operation in no month. program,
    schedule: float64 (loans,), where a loan's operations and its schedule's shares begin, the schedule -1 for none.
    shares, drawn: what is left and what is drawn by month, of the balance at the cut-off, back to back. payment:
    float64 (loans,), NaN where it follows from the balance. assets: whether any is no term loan. phase: int64 (loans,),
    equal for loans that reset in the same months. calendar: float64 (loans,), the row of payments_begin, -1 for none;
    period: years between its payments; amortized: how many repay it.
    """

    month: Floats
    op: NDArray[np.int32]
    value: Floats
    program: Floats
    shares: Floats
    drawn: Floats
    schedule: Floats
    payment: Floats
    steady: Floats
    assets: bool
    phase: NDArray[np.int32]
    calendar: Floats
    period: Floats
    amortized: Floats
    payments_begin: NDArray[np.int32]
    years_due: Floats

    def taken(self, index: Integers) -> "Walks":
        """Those of the loans at the index, in its order."""
        return msgspec.structs.replace(self, **{name: getattr(self, name)[index] for name in OF_LOANS})


def walks_of(loans: "LoanArrays", terms: Contracts) -> Walks:
    """The programs, schedules and payments of a tape with contracts."""
    month, op, value, program = programs(loans, terms)
    shares, drawn, schedule = shares_of(loans, terms)
    numbers = terms.numbers
    growing = growths_ahead(loans, terms)
    graduated = growing | (numbers["graduation_rate"] != 0)
    kept = (terms.index >= 0) | (terms.steps >= 0)
    kept &= numbers["recast_frequency"] >= 0
    every, start = numbers["reset_frequency"], numbers["first_reset"]
    phase = np.where(terms.index >= 0, 1200 * np.minimum(every, 12) + np.maximum(start, 0) % every, 0)
    calendars = terms.calendars
    kept |= False if terms.curtailed is None else terms.curtailed
    uneven = np.False_ if calendars is None else (calendars.calendar >= 0) & ~calendars.steady
    return Walks(
        month=month, op=op, value=value, program=program, shares=shares, drawn=drawn, schedule=schedule,
        assets=terms.assets is not None,
        payment=graduated_payment(loans, terms, growing),
        steady=np.where(kept | np.isfinite(numbers["payment_cap"]) | graduated | uneven, 0.0, 1.0),
        phase=phase.astype(np.int32), **calendar_columns(loans, calendars),
    )  # fmt: skip


def calendar_columns(loans: "LoanArrays", calendars: PaymentCalendars | None) -> dict[str, Any]:
    """What Walks says of calendars."""
    spread, free = loans.amortization_term, loans.interest_only
    amortized = np.where(spread > 0, free + spread, loans.term).astype(np.float64)
    if calendars is None:
        none = np.broadcast_to(np.float64(-1), (len(loans),))
        return {
            "calendar": none, "period": np.broadcast_to(np.float64(1 / 12), (len(loans),)), "amortized": amortized,
            "payments_begin": np.zeros((1, 1), dtype=np.int32), "years_due": np.zeros(1),
        }  # fmt: skip
    return {
        "calendar": calendars.calendar.astype(np.float64), "period": calendars.period,
        "amortized": np.where(calendars.calendar >= 0, calendars.payments, amortized),
        "payments_begin": calendars.begins, "years_due": calendars.years,
    }  # fmt: skip


def growths_ahead(loans: "LoanArrays", terms: Contracts) -> NDArray[np.bool_]:
    """Where a payment is yet to grow."""
    years = terms.numbers["graduation_years"]
    ahead: NDArray[np.bool_] = (years > 0) & (12 * years > loans.first_age)
    return ahead


def graduated_payment(loans: "LoanArrays", terms: Contracts, growing: NDArray[np.bool_]) -> Floats:
    """The payment as stated, the first one of a graduated loan where it follows from the balance, else NaN.

    Solves balance = payment x sum over the years of (1 + growth)^year x annuity of that year's months.
    """
    solve = growing & np.isnan(loans.payment)
    if not solve.any():
        return loans.payment
    age, term = loans.first_age[solve].astype(np.float64), loans.term[solve].astype(np.float64)
    spread = loans.amortization_term[solve]
    n = np.where(spread > 0, spread, term)
    r, grown = loans.rate[solve] / 12, 1 + terms.numbers["graduation_rate"][solve]
    years = terms.numbers["graduation_years"][solve]
    start, level, worth = np.zeros(len(n)), np.ones(len(n)), np.zeros(len(n))
    for year in range(1, MAX_GRADUATIONS + 1):
        at = 12 * year - age
        grows = (at > 0) & (year <= years) & (at < n)
        worth += np.where(grows, level * annuity(r, start, at), 0.0)
        start, level = np.where(grows, at, start), np.where(grows, level * grown, level)
    worth += level * annuity(r, start, n)
    payment = np.array(loans.payment)
    payment[solve] = loans.balance[solve] / worth
    return payment


def shares_of(loans: "LoanArrays", terms: Contracts) -> tuple[Floats, Floats, Floats]:
    """The schedules back to back as shares of the cut-off balance, one copy for each age at which loans enter.

    Then what is drawn in each month, which only given cashflows say, and where each loan's begin.
    """
    if not terms.schedules:
        return np.zeros(1), np.zeros(1), np.broadcast_to(np.float64(-1), (len(loans),))
    by_age = np.array([each.by == "age" for each in terms.schedules])
    entered = np.where(by_age[terms.schedule] & (terms.schedule >= 0), loans.first_age, 0)
    keys, which = np.unique(terms.schedule.astype(np.int64) * 4096 + entered, return_inverse=True)
    tables = () if terms.assets is None else terms.assets.tables
    parts: list[Floats] = []
    draws: list[Floats] = []
    begins = np.full(len(keys), -1.0)
    length = 0
    longest = int(loans.term.max()) + 1
    for i, key in enumerate(keys.tolist()):
        schedule, age = key // 4096, key % 4096
        if schedule < 0:
            continue
        balances = np.asarray(terms.schedules[schedule].balances, dtype=np.float64)[age:][:longest]
        shares = np.zeros(longest + 1)
        shares[: len(balances)] = balances / balances[0] if balances[0] > 0 else 0.0
        parts.append(shares)
        drawn = np.zeros(longest + 1)
        if schedule >= len(terms.schedules) - len(tables):
            given = drawn_of(tables[schedule - len(terms.schedules)])[:longest]
            drawn[: len(given)] = given
        draws.append(drawn)
        begins[i] = length
        length += len(shares)
    return np.concatenate(parts), np.concatenate(draws), begins[which].reshape(len(loans))


def programs(loans: "LoanArrays", terms: Contracts) -> tuple[Floats, NDArray[np.int32], Floats, Floats]:
    """Months, operations and values of all programs, and where each loan's begins; entry 0 ends the empty program."""
    entries: list[tuple[Integers, Floats, str, Floats]] = []

    def add(where: NDArray[np.bool_], month: Floats, op: str, value: Floats | float = 0.0) -> None:
        at = np.flatnonzero(where & (month >= 0) & (month < loans.term))
        entries.append((at, month[at], op, np.broadcast_to(value, where.shape)[at]))

    numbers, free = terms.numbers, loans.interest_only.astype(np.float64)
    add(terms.stepped & (free > 0), free, "amortize")
    held = np.where(terms.interest < 0, 0, terms.interest) + 1.0
    start = numbers["holiday_start"] - 1
    add(numbers["holiday_start"] > 0, start, "hold", held)
    add(numbers["holiday_start"] > 0, start + numbers["holiday_months"], "resume")
    begun = np.zeros(len(loans)) if loans.begun is None else loans.begun.astype(np.float64)
    if terms.past is not None:
        for ago in range(terms.past.rates.shape[1]):
            rates = terms.past.rates[:, ago]
            add(~np.isnan(rates), begun - ago, "rate", rates)
    for k, steps in enumerate(terms.rate_schedules):
        mine = terms.steps == k
        for step in steps.steps:
            month = step.month - (loans.age if steps.by == "age" else np.zeros(len(loans)))
            # A step to the rate that holds at the cut-off is no change there, and leaves the stated payment.
            changes = (month > 0) | ((month == 0) & (loans.rate != step.annual_rate))
            add(mine & changes, month + begun, "rate", step.annual_rate)
    years = numbers["graduation_years"]
    for year in range(1, int(years.max(initial=0)) + 1):
        anniversary = 12.0 * year - loans.first_age.astype(np.float64)
        add((years >= year) & (anniversary > 0), anniversary, "grow", numbers["graduation_rate"])
        add((years == year) & (anniversary > 0) & np.isnan(loans.payment), anniversary, "level")
    if terms.assets is not None:
        operations(loans, terms.assets, add)
    return joined(entries, len(loans))


def joined(
    entries: list[tuple[Integers, Floats, str, Floats]], n: int
) -> tuple[Floats, NDArray[np.int32], Floats, Floats]:
    """The entries in order of loan, month and operation, with an end after those of each loan."""
    loan = np.concatenate([at for at, _, _, _ in entries])
    month = np.concatenate([months for _, months, _, _ in entries])
    value = np.concatenate([values for _, _, _, values in entries])
    op = np.concatenate([np.full(len(at), _core.OPERATIONS.index(name)) for at, _, name, _ in entries])
    some = np.unique(loan)
    end = np.full(len(some), _core.OPERATIONS.index("end"))
    loan, month = np.concatenate([loan, some]), np.concatenate([month, np.full(len(some), INF)])
    op, value = np.concatenate([op, end]), np.concatenate([value, np.zeros(len(some))])
    order = np.lexsort((op, month, loan))
    program = np.zeros(n)
    begins = np.searchsorted(loan[order], some) + 1
    program[some] = begins
    none = np.array([INF])
    return (
        np.concatenate([none, month[order]]),
        np.concatenate([[_core.OPERATIONS.index("end")], op[order]]).astype(np.int32),
        np.concatenate([[0.0], value[order]]),
        program,
    )


def rows_of(loans: "LoanArrays", terms: Contracts, walks: Walks, part: slice) -> dict[str, Floats]:
    """Rows of the loans in a slice by the names of _core.STEPPED_NAMES, each float64 of the slice's length."""
    numbers = {name: column[part] for name, column in terms.numbers.items()}
    kind, term = loans.amortization[part], loans.term[part]
    free = loans.interest_only[part]
    age, wait = recast_ages(loans, terms, part)
    floating, direction = terms.index[part] >= 0, terms.direction[part]
    recast, full = numbers["recast_frequency"], numbers["full_recast_frequency"]
    first_cap, first_floor = numbers["first_cap"], numbers["first_floor"]
    return {
        "balance": loans.balance[part],
        "rate": loans.rate[part] if terms.past is None else terms.past.first[part],
        "fee": loans.fee[part] / 12,
        "payment": walks.payment[part],
        "compound": as_floats(kind == LEVEL_PAY),
        "pays": as_floats((kind == LEVEL_PAY) | (kind == LINEAR)),
        "last": term - 1.0,
        "amortized": walks.amortized[part],
        "interest_only": as_floats(free > 0),
        "steady": walks.steady[part],
        "index": as_floats(np.maximum(terms.index[part], 0)),
        "next_reset": np.where(floating, numbers["first_reset"], INF),
        "reset_every": numbers["reset_frequency"],
        "look_back": numbers["look_back"],
        "margin": numbers["margin"],
        "first_cap": np.where(np.isinf(first_cap), numbers["periodic_cap"], first_cap),
        "first_floor": np.where(np.isinf(first_floor), numbers["periodic_floor"], first_floor),
        "cap": numbers["periodic_cap"],
        "floor": numbers["periodic_floor"],
        "life_cap": numbers["life_cap"],
        "life_floor": numbers["life_floor"],
        "rounding": numbers["rate_rounding"],
        "up": as_floats(direction == ROUNDING_DIRECTIONS.index("up")),
        "down": as_floats(direction == ROUNDING_DIRECTIONS.index("down")),
        "recast_on_reset": as_floats(recast < 0),
        "next_recast": next_multiple(recast, age) + wait,
        "recast_every": recast,
        "next_full": next_multiple(full, age) + wait,
        "full_every": full,
        "payment_cap": numbers["payment_cap"],
        "limit": terms.limit[part],
        "schedule": walks.schedule[part],
        "program": walks.program[part],
        "calendar": walks.calendar[part],
        "period": walks.period[part],
    }


def recast_ages(loans: "LoanArrays", terms: Contracts, part: slice) -> tuple[NDArray[np.int32], Integers | int]:
    """The age from which recasts by age are counted, and the months of the contract before it."""
    if terms.past is None or loans.begun is None:
        return loans.age[part], 0
    wait = np.where(terms.past.held[part], loans.begun[part], 0)
    return (loans.first_age[part] + wait).astype(np.int32), wait


def as_floats(values: NDArray[np.generic]) -> Floats:
    return values.astype(np.float64)


def next_multiple(every: Floats, age: NDArray[np.int32]) -> Floats:
    """Months to the next age that is a multiple of `every`; infinite where that is 0, negative or infinite."""
    if every.strides == (0,) and not 0 < every[0] < INF:
        return np.broadcast_to(np.float64(INF), every.shape)
    some = (every > 0) & np.isfinite(every)
    period = np.where(some, every, 1.0)
    return np.where(some, period - age % period, INF)


def assets_placed(
    loans: "LoanArrays", terms: Contracts, part: slice, order: Integers, place: Integers, lanes: int
) -> Floats:
    """The rows of a slice's assets in their lanes, float64 (rows, lanes), without lanes where all are term loans."""
    if terms.assets is None or not terms.assets.kind[part].any():
        return np.zeros((len(_core.ASSET_NAMES), 0))
    rows = asset_rows(loans, terms.assets, part)
    return np.stack([in_lanes(name, rows[name], order, place, lanes) for name in _core.ASSET_NAMES])


def placed(rows: dict[str, Floats], order: Integers, place: Integers, lanes: int) -> list[Floats]:
    """The rows of the walk in their lanes, one vector of a row that is the same for all loans.

    The other lanes owe nothing, whatever else such a row says of them.
    """
    out = []
    for name in _core.STEPPED_NAMES:
        column = rows[name]
        varies = name == "balance" or (column.strides != (0,) and (column != column[0]).any())
        one = np.full(_core.LANES_A_VECTOR, column[0])
        out.append(in_lanes(name, column, order, place, lanes) if varies else one)
    return out


def in_lanes(name: str, column: Floats, order: Integers, place: Integers, lanes: int) -> Floats:
    """The column in its lanes, lane place[j] for loan order[j]; what owes nothing in the others."""
    row = np.full(lanes, EMPTY.get(name, 0.0))
    _core.place(column, order, place, row)
    return row


# What an empty lane holds where nought would mean something.
EMPTY = {
    "last": -1.0, "next_reset": INF, "next_recast": INF, "next_full": INF, "limit": INF, "schedule": -1.0,
    "calendar": -1.0,
}  # fmt: skip

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
from engine.checks import INF, alike, repeated
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
    numbers, calendars = terms.numbers, terms.calendars
    growing = growths_ahead(loans, terms)
    steady = alike(
        lambda index, steps, recast, cap, growing, growth: ~(
            (((index >= 0) | (steps >= 0)) & (recast >= 0)) | np.isfinite(cap) | growing | (growth != 0)
        ),
        terms.index, terms.steps, numbers["recast_frequency"], numbers["payment_cap"], growing,
        numbers["graduation_rate"],
    )  # fmt: skip
    if terms.curtailed is not None:
        steady = steady & ~terms.curtailed
    if calendars is not None:
        steady = steady & ((calendars.calendar < 0) | calendars.steady)
    return Walks(
        month=month, op=op, value=value, program=program, shares=shares, drawn=drawn, schedule=schedule,
        assets=terms.assets is not None,
        payment=graduated_payment(loans, terms, growing),
        steady=as_floats(steady),
        phase=alike(phases, terms.index, numbers["reset_frequency"], numbers["first_reset"]),
        **calendar_columns(loans, calendars),
    )  # fmt: skip


def phases(index: NDArray[np.int32], every: Floats, start: Floats) -> NDArray[np.int32]:
    """A number that loans which reset in the same months have in common, 0 of loans without an index."""
    apart, months = every.astype(np.int32), np.maximum(start.astype(np.int32), 0)
    phase: NDArray[np.int32] = 1200 * np.minimum(apart, 12) + months % apart
    return phase if index.min(initial=0) >= 0 else np.where(index >= 0, phase, np.int32(0))


def calendar_columns(loans: "LoanArrays", calendars: PaymentCalendars | None) -> dict[str, Any]:
    """What Walks says of calendars."""
    spread, free = loans.amortization_term, loans.interest_only
    amortized = loans.term.astype(np.float64)
    if (longer := alike(lambda spread: spread > 0, spread)).any():
        amortized = np.where(longer, free + spread, amortized)
    if calendars is None:
        return {
            "calendar": repeated(np.float64(-1), len(loans)), "period": repeated(np.float64(1 / 12), len(loans)),
            "amortized": amortized,
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
    return alike(lambda years, age: (years > 0) & (12 * years > age), years, loans.first_age)


def graduated_payment(loans: "LoanArrays", terms: Contracts, growing: NDArray[np.bool_]) -> Floats:
    """The payment as stated, the first one of a graduated loan where it follows from the balance, else NaN.

    Solves balance = payment x sum over the years of (1 + growth)^year x annuity of that year's months.
    """
    solve = alike(lambda growing, payment: growing & np.isnan(payment), growing, loans.payment)
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
    if terms.schedule.max(initial=-1) < 0:  # some of a tape's loans may have none of its schedules
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
        if not where.any():
            return
        at = np.flatnonzero(where & (month >= 0) & (month < loans.term))
        entries.append((at, month[at], op, np.broadcast_to(value, where.shape)[at]))

    numbers, free = terms.numbers, as_floats(loans.interest_only)
    if (waits := alike(lambda free: free > 0, free)).any():
        add(terms.stepped & waits, free, "amortize")
    if (holiday := alike(lambda start: start > 0, numbers["holiday_start"])).any():
        held = np.where(terms.interest < 0, 0, terms.interest) + 1.0
        start = numbers["holiday_start"] - 1
        add(holiday, start, "hold", held)
        add(holiday, start + numbers["holiday_months"], "resume")
    begun = repeated(np.float64(0), len(loans)) if loans.begun is None else loans.begun.astype(np.float64)
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
    none = np.array([INF])
    if not entries:
        ends = np.array([_core.OPERATIONS.index("end")], dtype=np.int32)
        return none, ends, np.zeros(1), repeated(np.float64(0), n)
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
    index, direction = terms.index[part], terms.direction[part]
    recast, full = numbers["recast_frequency"], numbers["full_recast_frequency"]
    first_cap, first_floor = numbers["first_cap"], numbers["first_floor"]
    return {
        "balance": loans.balance[part],
        "rate": loans.rate[part] if terms.past is None else terms.past.first[part],
        "fee": alike(lambda fee: fee / 12, loans.fee[part]),
        "payment": walks.payment[part],
        "compound": alike(lambda kind: as_floats(kind == LEVEL_PAY), kind),
        "pays": alike(lambda kind: as_floats((kind == LEVEL_PAY) | (kind == LINEAR)), kind),
        "last": term - 1.0,
        "amortized": walks.amortized[part],
        "interest_only": alike(lambda free: as_floats(free > 0), free),
        "steady": walks.steady[part],
        "index": alike(lambda index: as_floats(np.maximum(index, 0)), index),
        "next_reset": alike(lambda index, start: np.where(index >= 0, start, INF), index, numbers["first_reset"]),
        "reset_every": numbers["reset_frequency"],
        "look_back": numbers["look_back"],
        "margin": numbers["margin"],
        "first_cap": alike(stated_or, first_cap, numbers["periodic_cap"]),
        "first_floor": alike(stated_or, first_floor, numbers["periodic_floor"]),
        "cap": numbers["periodic_cap"],
        "floor": numbers["periodic_floor"],
        "life_cap": numbers["life_cap"],
        "life_floor": numbers["life_floor"],
        "rounding": numbers["rate_rounding"],
        "up": alike(lambda way: as_floats(way == ROUNDING_DIRECTIONS.index("up")), direction),
        "down": alike(lambda way: as_floats(way == ROUNDING_DIRECTIONS.index("down")), direction),
        "recast_on_reset": alike(lambda recast: as_floats(recast < 0), recast),
        "next_recast": alike(lambda months, wait: months + wait, next_multiple(recast, age), wait),
        "recast_every": recast,
        "next_full": alike(lambda months, wait: months + wait, next_multiple(full, age), wait),
        "full_every": full,
        "payment_cap": numbers["payment_cap"],
        "limit": terms.limit[part],
        "schedule": walks.schedule[part],
        "program": walks.program[part],
        "calendar": walks.calendar[part],
        "period": walks.period[part],
    }


def recast_ages(loans: "LoanArrays", terms: Contracts, part: slice) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The age from which recasts by age are counted, and the months of the contract before it."""
    if terms.past is None or loans.begun is None:
        age = loans.age[part]
        return age, repeated(np.int32(0), len(age))
    wait = np.where(terms.past.held[part], loans.begun[part], 0).astype(np.int32)
    return (loans.first_age[part] + wait).astype(np.int32), wait


def as_floats(values: NDArray[Any]) -> Floats:
    return alike(lambda values: values.astype(np.float64), values)


def stated_or(value: Floats, otherwise: Floats) -> Floats:
    """The value, or the other one where it is infinite."""
    return np.where(np.isinf(value), otherwise, value)


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
    same = np.empty((len(_core.STEPPED_NAMES), _core.LANES_A_VECTOR))
    out = []
    for name, one in zip(_core.STEPPED_NAMES, same, strict=True):
        column = rows[name]
        one[:] = column[0]
        varies = name == "balance" or (column.strides != (0,) and (column != column[0]).any())
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

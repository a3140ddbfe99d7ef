"""Terms of contracts beyond the plain ones: their columns, what contradicts what, and the loans that have them.

A loan with any of them is walked forward (ext/stepped.h) instead of backward (ext/contract.h); engine/walks.py turns
these columns into the rows and programs of that walk. What the walk cannot represent is refused here.

To add a term: its field in Loan and Columns, its line in NUMBERS, what contradicts it in `contradictions`, and its row
or operation in engine/walks.py.
"""

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.asset_terms import LOAN, Assets, table_problems
from engine.assets import CashflowTable
from engine.checks import (
    INF,
    NAN,
    RATE,
    Checks,
    Range,
    Where,
    alike,
    anywhere,
    first,
    is_stated,
    months,
    named,
    number,
    repeated,
)
from engine.dates import Calendar
from engine.errors import MAX_PROBLEMS, Problem
from engine.loans import AMORTIZATIONS, HOLIDAY_INTEREST, MAX_TERM, ROUNDING_DIRECTIONS, RateSchedule, Schedule
from engine.payment_calendars import PaymentCalendars
from engine.payments import PAYMENT_COLUMNS, Payments, payments_of, refuse_payments
from engine.penalties import Penalty, penalty_problems
from engine.penalty_tables import refuse_penalties

if TYPE_CHECKING:
    from engine.loan_arrays import LoanArrays

MAX_LOOK_BACK = 120
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


FLOATING: dict[str, Range] = {
    "margin": Range(-1, 1, "a decimal in [-1, 1]", 0),
    "first_reset": months(0, MAX_TERM, -1),
    "reset_frequency": months(1, MAX_TERM, 12),
    "look_back": months(0, MAX_LOOK_BACK, 0),
    "rate_rounding": Range(1e-7, 0.05, "a decimal in [1e-7, 0.05], 0.00125 for an eighth of a per cent", 0),
    "first_cap": Range(0, 1, RATE, INF),
    "first_floor": Range(0, 1, RATE, INF),
    "periodic_cap": Range(0, 1, RATE, INF),
    "periodic_floor": Range(0, 1, RATE, INF),
    "life_cap": Range(0, 1, RATE, INF),
    "life_floor": Range(0, 1, RATE, 0),
}
RECASTING: dict[str, Range] = {
    "recast_frequency": months(0, MAX_TERM, -1),
    "payment_cap": Range(0, 10, "a share of the payment in [0, 10], 0.075 for 7.5%", INF),
    "full_recast_frequency": months(1, MAX_TERM, INF),
    "neg_am_limit": Range(1, 10, "a multiple of original_balance in [1, 10], 1.1 for 110%", INF),
}
GRADUATED: dict[str, Range] = {
    "graduation_rate": Range(-0.5, 0.5, "a decimal in [-0.5, 0.5]", 0),
    "graduation_years": Range(1, 30, "whole years in [1, 30]", 0, whole=True),
}
HOLIDAYS: dict[str, Range] = {
    "holiday_start": months(1, MAX_TERM, 0),
    "holiday_months": months(1, MAX_TERM, 0),
}
CHANGING: dict[str, Range] = {"previous_rate": Range(0, 1, RATE, NAN)}
NUMBERS = FLOATING | RECASTING | CHANGING | GRADUATED | HOLIDAYS
TEXTS = ("index", "schedule", "rate_schedule", "rounding_direction", "holiday_interest", "penalty", *PAYMENT_COLUMNS)
CONTRACT_COLUMNS = (*NUMBERS, *TEXTS)


class Shared(msgspec.Struct, frozen=True):
    """What the loans of a tape name: schedules, rate schedules and given cashflows."""

    schedules: dict[str, Schedule] | None = None
    rate_schedules: dict[str, RateSchedule] | None = None
    cashflows: dict[str, CashflowTable] | None = None
    calendars: dict[str, Calendar] | None = None
    penalties: dict[str, list[Penalty]] | None = None

    def problems(self) -> list[Problem]:
        """Every value out of range, by the path in the tape."""
        found: list[Problem] = []
        for name, schedule in (self.schedules or {}).items():
            found += schedule_problems(f"tape.schedules[{name!r}].balances", schedule.balances)
        for name, rates in (self.rate_schedules or {}).items():
            found += step_problems(f"tape.rate_schedules[{name!r}].steps", rates)
        for name, table in (self.cashflows or {}).items():
            found += table_problems(f"tape.cashflows[{name!r}]", table)
        for name, phases in (self.penalties or {}).items():
            found += penalty_problems(f"tape.penalties[{name!r}]", phases)
        return found


class PastTerms(msgspec.Struct, frozen=True):
    """Terms in the months before the cut-off, of loans whose contract begins there (engine/arrears.py).

    first: float64 (loans,), annual rates when the contract begins. rates: float64 (loans, months), entry j the annual
    rate that comes into force j months before the cut-off, NaN for none. held: bool (loans,), loans whose terms at the
    cut-off are taken to have held all along.
    """

    first: Floats
    rates: Floats
    held: Mask

    def taken(self, index: NDArray[np.int64]) -> "PastTerms":
        """Those of the loans at the index, in its order."""
        return PastTerms(self.first[index], self.rates[index], self.held[index])


class Contracts(msgspec.Struct, frozen=True, kw_only=True):
    """Terms of a tape's loans, each of shape (loans,), and what they name.

    numbers: the columns of NUMBERS, blanks replaced. index, schedule, steps, penalty: positions in the names, -1 for
    none.
    direction, interest: positions in ROUNDING_DIRECTIONS and HOLIDAY_INTEREST, -1 for the default. limit: the highest
    balance, infinite without one. stepped: the loans that are walked forward. curtailed: those that keep their payment
    when they pay down more than is due. index_paths: where the tape
    names each index first. where: the path of a loan's value. past: none where all begin at the cut-off.
    """

    numbers: dict[str, Floats]
    index: NDArray[np.int32]
    schedule: NDArray[np.int32]
    steps: NDArray[np.int32]
    direction: NDArray[np.int8]
    interest: NDArray[np.int8]
    penalty: NDArray[np.int32]
    limit: Floats
    stepped: Mask
    indices: tuple[str, ...]
    index_paths: tuple[str, ...]
    schedules: tuple[Schedule, ...]
    rate_schedules: tuple[RateSchedule, ...]
    penalties: tuple[list[Penalty], ...] | None = None
    assets: Assets | None = None
    curtailed: Mask | None = None
    payments: Payments | None = None
    calendars: PaymentCalendars | None = None
    where: Where | None = None
    past: PastTerms | None = None

    def taken(self, index: NDArray[np.int64]) -> "Contracts":
        """The terms of the loans at the index, in its order."""
        columns = {name: getattr(self, name) for name in self.__struct_fields__}
        arrays = {name: column[index] for name, column in columns.items() if isinstance(column, np.ndarray)}
        numbers = {name: column[index] for name, column in self.numbers.items()}
        assets = None if self.assets is None else self.assets.taken(index)
        payments = None if self.payments is None else self.payments.taken(index)
        calendars = None if self.calendars is None else self.calendars.taken(index)
        past = None if self.past is None else self.past.taken(index)
        parts = {"assets": assets, "payments": payments, "calendars": calendars, "past": past}
        return msgspec.structs.replace(self, numbers=numbers, **parts, **arrays)


def contracts_of(
    check: Checks, loans: "LoanArrays", shared: Shared | None, assets: Assets | None = None
) -> Contracts | None:
    """The contracts of a tape, none where no loan has terms beyond the plain ones; faults go to `check`."""
    check.problems += [] if shared is None else shared.problems()
    scheduled = alike(lambda kind: kind == AMORTIZATIONS.index("schedule"), loans.amortization)
    stated = [column for name in CONTRACT_COLUMNS if (column := check.columns[name]) is not None]
    if all(map(is_empty, stated)) and not anywhere(scheduled) and assets is None:
        check.check_lengths(CONTRACT_COLUMNS)
        return None
    numbers = {name: number(check, name, known) for name, known in NUMBERS.items()}
    index, indices = check.names("index")
    schedule, schedule_names = check.names("schedule")
    steps, step_names = check.names("rate_schedule")
    penalty, penalty_names = check.names("penalty")
    direction = check.choice("rounding_direction", ROUNDING_DIRECTIONS)
    interest = check.choice("holiday_interest", HOLIDAY_INTEREST)
    payments = payments_of(check, None if shared is None else shared.calendars or {})
    if check.problems:
        return None
    schedules = named(
        check, "schedule", "tape.schedules", schedule, schedule_names, shared and (shared.schedules or {})
    )
    if assets is not None:
        schedule = np.where(assets.table >= 0, len(schedules) + assets.table, schedule).astype(np.int32)
        schedules += assets.schedules
    terms = Contracts(
        numbers=numbers, index=index, schedule=schedule, steps=steps, direction=direction, interest=interest,
        penalty=penalty,
        limit=highest_balance(check, numbers["neg_am_limit"], loans.original_balance),
        stepped=alike(lambda index, steps, years, start: (index >= 0) | (steps >= 0) | (years > 0) | (start > 0),
                      index, steps, numbers["graduation_years"], numbers["holiday_start"])
        | scheduled | (False if assets is None else assets.kind != LOAN)
        | (False if payments is None else payments.stated),
        indices=indices, index_paths=first_paths(check, "index", index, len(indices)),
        schedules=schedules,
        rate_schedules=named(check, "rate_schedule", "tape.rate_schedules", steps, step_names,
                             shared and (shared.rate_schedules or {})),
        penalties=named(check, "penalty", "tape.penalties", penalty, penalty_names, shared and (shared.penalties or {}))
        or None,
        assets=assets, payments=payments, where=check.where,
    )  # fmt: skip
    if not check.problems:
        contradictions(check, loans, terms)
    return terms


def plain_terms(n: int) -> Contracts:
    """The contracts of n loans without any term beyond the plain ones."""
    none = repeated(np.int32(-1), n)
    blank = repeated(np.int8(-1), n)
    return Contracts(
        numbers={name: repeated(np.float64(known.blank), n) for name, known in NUMBERS.items()}, index=none,
        schedule=none, steps=none, penalty=none, direction=blank, interest=blank, limit=repeated(np.float64(INF), n),
        stepped=np.zeros(n, dtype=bool), indices=(), index_paths=(), schedules=(), rate_schedules=(),
    )  # fmt: skip


def highest_balance(check: Checks, multiple: Floats, original: Floats) -> Floats:
    """What the balance may reach, infinite where nothing limits it (or what does is missing, which is refused)."""
    limited = np.isfinite(multiple) & ~np.isnan(original)
    if not limited.any():
        return repeated(np.float64(INF), check.n)
    return np.where(limited, np.where(limited, multiple, 1.0) * original, INF)


def is_empty(column: Any) -> bool:
    """Whether an optional column says nothing."""
    return column is None or (isinstance(column, list) and all(value is None for value in column))


def first_paths(check: Checks, column: str, which: NDArray[np.int32], count: int) -> tuple[str, ...]:
    return tuple(check.where(column, first(which, k)) for k in range(count))


def schedule_problems(path: str, balances: list[float]) -> list[Problem]:
    if not balances or not balances[0] > 0:
        return [Problem(path, "has no balance above 0 at month 0; expected one, then what is left month by month")]
    return [
        Problem(f"{path}[{i}]", f"is {value:g}; expected a balance in [0, 1e15]")
        for i, value in enumerate(balances)
        if not 0 <= value <= 1e15
    ]


def step_problems(path: str, rates: RateSchedule) -> list[Problem]:
    if not rates.steps:
        return [Problem(path, "is empty; expected at least one step")]
    found: list[Problem] = []
    for i, step in enumerate(rates.steps):
        if not 0 <= step.annual_rate <= 1:
            found.append(Problem(f"{path}[{i}].annual_rate", f"is {step.annual_rate:g}; expected {RATE}"))
        if not 0 <= step.month <= 2 * MAX_TERM:
            allowed = f"whole months in [0, {2 * MAX_TERM}]"
            found.append(Problem(f"{path}[{i}].month", f"is {step.month}; expected {allowed}"))
        if i and step.month <= rates.steps[i - 1].month:
            message = f"is {step.month}, after {rates.steps[i - 1].month}; expected later steps to be later"
            found.append(Problem(f"{path}[{i}].month", message))
    return found


def contradictions(check: Checks, loans: "LoanArrays", terms: Contracts) -> None:
    """Reports terms that contradict one another or that the walk does not represent."""

    def refuse(where: Mask, column: str, message: str) -> None:
        for i in np.flatnonzero(where)[:MAX_PROBLEMS] if where.any() else ():
            check.report(column, int(i), message)

    def stated(column: str) -> Mask:
        return is_stated(check.columns[column], check.n)

    no_index, no_steps = terms.index < 0, terms.steps < 0
    fixed, level = no_index & no_steps, loans.amortization == AMORTIZATIONS.index("level_pay")
    paid, free, term = ~np.isnan(loans.payment), loans.interest_only > 0, loans.term
    original = loans.original_balance
    given = {name for name in CONTRACT_COLUMNS if check.columns[name] is not None}
    for name in filter(given.__contains__, (*FLOATING, "rounding_direction")):
        refuse(stated(name) & no_index, name, "is stated on a loan without an index; only a floating one takes it")
    for name in filter(given.__contains__, RECASTING):
        refuse(
            stated(name) & fixed, name, "is stated on a fixed loan; only one with an index or rate_schedule takes it"
        )
        refuse(stated(name) & ~level, name, "is stated on a loan that is not level_pay; it has no payment to recast")
    refuse(
        stated("previous_rate") & fixed, "previous_rate",
        "is stated on a fixed loan; only one with an index or rate_schedule had another rate",
    )  # fmt: skip
    refuse(
        ~no_index & ~stated("first_reset"), "first_reset",
        "is missing; a floating loan needs the months from the cut-off to its next reset (0 for one at it)",
    )  # fmt: skip
    refuse(~no_index & ~no_steps, "rate_schedule", "is stated beside an index; expected one of the two")
    floating, numbers = ~no_index, terms.numbers
    refuse(
        floating & (numbers["first_reset"] > term),
        "first_reset",
        "lies after maturity; expected remaining_term at most",
    )
    refuse(
        floating & (numbers["life_floor"] > numbers["life_cap"]),
        "life_floor",
        "is above life_cap; expected at most that",
    )
    refuse(floating & (loans.rate > numbers["life_cap"]), "annual_rate", "is above life_cap; expected at most that")
    refuse(
        stated("rounding_direction") & ~stated("rate_rounding"), "rate_rounding", "is missing beside rounding_direction"
    )
    refuse(
        ~fixed & paid & free, "payment",
        "is stated on a loan whose rate changes, in its interest-only months; what it pays later follows from the rate",
    )  # fmt: skip
    limited = np.isfinite(numbers["neg_am_limit"])
    refuse(limited & np.isnan(original), "original_balance", "is missing; neg_am_limit is a multiple of it")
    refuse(
        limited & ~np.isnan(original) & (loans.balance > terms.limit),
        "neg_am_limit",
        "is below the balance already reached",
    )
    if terms.assets is None:
        refuse_graduations(refuse, stated, fixed, level, free)
    else:
        mine = terms.assets.kind == LOAN
        refuse_graduations(refuse, lambda name: stated(name) & mine, fixed, level, free)
    refuse_holidays(refuse, stated, numbers, limited, term)
    refuse_schedules(refuse, stated, check, loans, terms, paid, free)
    refuse_penalties(refuse, loans, terms)
    if terms.payments is not None:
        refuse_payments(refuse, stated, loans, terms, terms.payments)


def refuse_graduations(refuse: Any, stated: Any, fixed: Mask, level: Mask, free: Mask) -> None:
    rate, years = stated("graduation_rate"), stated("graduation_years")
    if not rate.any() and not years.any():
        return
    refuse(rate & ~years, "graduation_years", "is missing beside graduation_rate")
    refuse(years & ~rate, "graduation_rate", "is missing beside graduation_years")
    refuse(
        years & ~fixed, "graduation_rate", "is stated on a loan whose rate changes; graduated payments need a fixed one"
    )
    refuse(years & ~level, "graduation_rate", "is stated on a loan that is not level_pay; it has no payment to grow")
    refuse(
        years & free, "graduation_rate", "is stated on a loan in its interest-only months; expected one or the other"
    )
    refuse(years & stated("holiday_start"), "holiday_start", "is stated on a graduated loan; expected one or the other")


def refuse_holidays(refuse: Any, stated: Any, numbers: dict[str, Floats], limited: Mask, term: Any) -> None:
    start, count = stated("holiday_start"), stated("holiday_months")
    if not start.any() and not count.any() and not stated("holiday_interest").any():
        return
    refuse(start & ~count, "holiday_months", "is missing beside holiday_start")
    refuse(count & ~start, "holiday_start", "is missing beside holiday_months")
    refuse(
        stated("holiday_interest") & ~start,
        "holiday_interest",
        "is stated without a holiday; expected holiday_start too",
    )
    last = numbers["holiday_start"] + numbers["holiday_months"] - 1
    refuse(start & count & (last >= term), "holiday_months", "reaches maturity; expected a payment after the holiday")
    refuse(start & limited, "neg_am_limit", "is stated beside a holiday, which it would end; expected one or the other")


def refuse_schedules(
    refuse: Any, stated: Any, check: Checks, loans: "LoanArrays", terms: Contracts, paid: Mask, free: Mask
) -> None:
    scheduled = loans.amortization == AMORTIZATIONS.index("schedule")
    if not scheduled.any() and not terms.schedules:
        return
    refuse(scheduled & (terms.schedule < 0), "schedule", "is missing; amortization is schedule")
    refuse(~scheduled & (terms.schedule >= 0), "schedule", "is stated on a loan whose amortization is not schedule")
    for name, where in (("interest_only_term", free), ("amortization_term", loans.amortization_term > 0)):
        refuse(scheduled & where, name, "is stated on a loan of a given schedule, which says it all")
    refuse(
        scheduled & stated("holiday_start"),
        "holiday_start",
        "is stated on a loan of a given schedule, which says it all",
    )
    if not terms.schedules or check.problems:
        return
    sizes = np.array([len(each.balances) for each in terms.schedules])
    ages = np.where(np.array([each.by == "age" for each in terms.schedules])[terms.schedule], loans.age, 0)
    short = scheduled & (sizes[terms.schedule] < ages + loans.term)
    for i in np.flatnonzero(short)[:MAX_PROBLEMS]:
        known, least = sizes[terms.schedule[i]], ages[i] + loans.term[i]
        check.report(
            "schedule", int(i), f"has {known} balances; expected {least} at least, to the month before maturity"
        )
    if short.any():
        return
    for k, each in enumerate(terms.schedules):
        balances = np.asarray(each.balances)
        mine = scheduled & (terms.schedule == k) & (loans.balance > 0)
        for i in np.flatnonzero(mine)[balances[ages[mine]] <= 0][:MAX_PROBLEMS]:
            check.report("schedule", int(i), f"is paid off at age {ages[i]}, while the loan has a balance")

"""What late loans had agreed in the months whose payments they missed: rates before the cut-off, and payments.

Their contract is walked from where they stopped paying (engine/arrears.py). Terms that count from origination say what
held then, and so do resets that the loan's own terms tell: where none fell into those months the rate at the cut-off
held in them; where one did the tape's `previous_rate` or the index's `history` says the rate before it. Nothing else
is taken for granted: loans of which it cannot be told are refused, one by one, unless the assumptions say that the
terms at the cut-off held all along (`missed_terms`).
"""

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import _core
from engine.asset_terms import LOAN
from engine.checks import Where
from engine.contracts import Contracts, PastTerms
from engine.errors import MAX_PROBLEMS, Problem, TapeError
from engine.index_rates import Histories
from engine.loan_arrays import LoanArrays
from engine.loans import AMORTIZATIONS, ROUNDING_DIRECTIONS

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Refuse = Callable[[Mask, str, str], None]
# Months in which a rate can have changed since the first missed payment, that of the cut-off included.
WITHIN: int = _core.LATE_MOST
SCHEDULED = AMORTIZATIONS.index("schedule")
CURRENT = "or delinquency.missed_terms 'current'"
# A change of the rate: months from the cut-off, 0 or less, and what it led to, where that is known.
Change = tuple[int, float | None]


def past_terms(loans: LoanArrays, ago: Integers, held: Mask, histories: Histories) -> tuple[PastTerms | None, Floats]:
    """The terms before the cut-off, none where no stepped loan is late; and the payments as the contract begins.

    ago: payments missed; held: whether the terms at the cut-off are taken to have held. Raises TapeError with every
    loan whose terms then cannot be told.
    """
    terms = loans.contracts
    if terms is None or not (terms.stepped & (ago > 0)).any():
        return None, loans.payment
    some = np.flatnonzero(terms.stepped & (ago > 0))
    late = Late(loans.taken(some), ago[some], held[some], histories, terms.where, some)
    late.check()
    first, rates = np.array(loans.rate), np.full((len(loans), WITHIN), np.nan)
    first[some], rates[some] = late.first, late.rates
    payment = np.array(loans.payment)
    payment[some] = late.payment()
    every = np.zeros(len(loans), dtype=bool)
    every[some] = held[some]
    return PastTerms(first, rates, every), payment


class Late:
    """Stepped loans that are late: `first`, the rate as their contract begins, and `rates`, as PastTerms says."""

    def __init__(
        self, loans: LoanArrays, ago: Integers, held: Mask, histories: Histories, where: Where | None, places: Integers
    ) -> None:
        assert loans.contracts is not None
        assert where is not None
        self.loans, self.ago, self.held, self.histories = loans, ago, held, histories
        self.terms: Contracts = loans.contracts
        self.where, self.places = where, places
        self.problems: list[Problem] = []
        self.first = np.array(loans.rate)
        self.rates = np.full((len(loans), WITHIN), np.nan)
        self.aged = loans.age >= ago

    def check(self) -> None:
        """Finds the rates. Raises TapeError with every loan whose terms cannot be told."""
        self.refuse_kinds()
        self.refuse_ages()
        self.from_steps()
        self.from_resets()
        self.refuse_payments()
        if self.problems:
            raise TapeError(self.problems)

    def refuse(self, where: Mask, column: str, message: str) -> None:
        """Reports `message`, in which {k} is how many payments are missed, for the loans `where`."""
        for i in np.flatnonzero(where)[:MAX_PROBLEMS].tolist():
            path = self.where(column, int(self.places[i]))
            self.problems.append(Problem(path, message.replace("{k}", payments(int(self.ago[i])))))

    def refuse_kinds(self) -> None:
        """What is no term loan, and payments by date."""
        terms, every = self.terms, np.ones(len(self.ago), dtype=bool)
        rule = "expected a rule by status that gives late ones a default curve"
        if terms.assets is not None:
            what = "is of a loan that missed {k}, whose deferments are told from the cut-off on"
            self.refuse(terms.assets.kind != LOAN, "type", f"{what}; {rule}")
        if terms.calendars is not None:
            what = "is of a loan with payment dates that missed {k}; its dates are told from the cut-off on"
            self.refuse(every & (terms.calendars.calendar >= 0), "status", f"{what}; {rule}")

    def refuse_ages(self) -> None:
        """Terms that count from origination, of loans that are not old enough to have missed so many payments."""
        terms = self.terms
        by_period = np.array([each.by == "period" for each in terms.schedules] + [False])
        scheduled = self.loans.amortization == SCHEDULED
        self.refuse(
            scheduled & by_period[terms.schedule], "schedule",
            "counts from the cut-off, before which the loan missed {k}; expected a schedule by age, which tells what "
            "it owed then",
        )  # fmt: skip
        steps = np.array([each.by == "age" for each in terms.rate_schedules] + [False])[terms.steps] & ~self.held
        by_age = scheduled | steps | (terms.numbers["graduation_years"] > 0)
        self.refuse(
            by_age & ~self.aged, "age",
            "is less than the {k} that the loan missed; expected its age, from which its schedule, steps or growing "
            "payments are counted",
        )  # fmt: skip

    def from_steps(self) -> None:
        """Rates of step schedules by age; those by period have no step before the cut-off."""
        for k, steps in enumerate(self.terms.rate_schedules):
            if steps.by != "age":
                continue
            for i in np.flatnonzero((self.terms.steps == k) & self.aged & ~self.held).tolist():
                age, missed = int(self.loans.age[i]), int(self.ago[i])
                now = self.loans.rate[i]
                past = [(each.month - age, each.annual_rate) for each in steps.steps]
                # One at the cut-off to the loan's own rate has been taken already (engine.RateSchedule).
                past = [(month, rate) for month, rate in past if month < 0 or (month == 0 and rate == now)]
                within: list[Change] = [each for each in past if each[0] > -missed]
                before = [rate for month, rate in past if month <= -missed]
                if within and not self.changed(i, before[-1] if before else None, within):
                    what = "has its first step after the first of the {k} that the loan missed, and the rate before it "
                    self.refuse(self.only(i), "rate_schedule", f"{what}is not known; expected previous_rate, {CURRENT}")

    def from_resets(self) -> None:
        """Rates of floating loans of which a reset fell within the missed months."""
        numbers, terms = self.terms.numbers, self.terms
        last = numbers["first_reset"] - numbers["reset_frequency"]
        # A cap of the next reset alone says that there was none before it.
        unset = np.isfinite(numbers["first_cap"]) | np.isfinite(numbers["first_floor"])
        some = (terms.index >= 0) & (last < 0) & (last > -self.ago) & ~unset & ~self.held
        for i in np.flatnonzero(some).tolist():
            every, missed = int(numbers["reset_frequency"][i]), int(self.ago[i])
            months = list(range(int(last[i]), -missed, -every))[::-1]
            told = self.reset_rates(i, [months[0] - every, *months])
            rates = [None] * (len(months) + 1) if told is None else told
            if not self.changed(i, rates[0], list(zip(months, rates[1:], strict=True))):
                what = (
                    f"puts the reset before it {-months[-1]} months before the cut-off, after the first of the {{k}} "
                )
                why = f"{what}that the loan missed, and the rate before that is not known; expected previous_rate, "
                how = "first_cap where there was no reset yet, history of the index back to that before (the same in "
                how = f"{how}every scenario, for loans without periodic caps)"
                self.refuse(self.only(i), "first_reset", f"{why}{how}, {CURRENT}")

    def only(self, i: int) -> Mask:
        """Loan i alone."""
        found: Mask = np.arange(len(self.ago)) == i
        return found

    def reset_rates(self, i: int, months: list[int]) -> list[float | None] | None:
        """What resets before the cut-off gave, from the index's history; none where that cannot be told."""
        numbers, terms = self.terms.numbers, self.terms
        limited = np.isfinite(numbers["periodic_cap"][i]) or np.isfinite(numbers["periodic_floor"][i])
        if limited or not self.aged[i] or self.loans.age[i] <= -months[0]:
            return None
        at = np.array(months) - int(numbers["look_back"][i])
        history = self.histories(terms.indices[terms.index[i]], at)
        if history is None:
            return None
        rates = history + numbers["margin"][i]
        grid = numbers["rate_rounding"][i]
        if grid > 0:
            way, steps = ROUNDING_DIRECTIONS[max(int(terms.direction[i]), 0)], rates / grid
            up, down = np.ceil(steps - FUZZ), np.floor(steps + FUZZ)
            rates = {"up": up, "down": down, "nearest": np.floor(steps + 0.5 + FUZZ)}[way] * grid
        bounded: list[float | None] = np.clip(rates, numbers["life_floor"][i], numbers["life_cap"][i]).tolist()
        return bounded

    def changed(self, i: int, before: float | None, within: list[Change]) -> bool:
        """Sets the rates of loan i, which changed in the months `within`, `before` them; returns whether all are known.

        The last change led to the rate at the cut-off; the rate before it is `previous_rate` where the tape states it.
        """
        stated, now = float(self.terms.numbers["previous_rate"][i]), float(self.loans.rate[i])
        rates = [before, *(rate for _, rate in within[:-1]), now]
        if not np.isnan(stated):
            rates[-2] = stated
        known = [rate for rate in rates if rate is not None]
        if len(known) < len(rates):
            return False
        if any(rate != now for rate in known):
            self.first[i] = known[0]
            self.rates[i, [-month for month, _ in within]] = known[1:]
        return True

    def refuse_payments(self) -> None:
        """Stated payments that a change within the missed months led to: those before it are not known."""
        numbers, stated = self.terms.numbers, ~np.isnan(self.loans.payment) & ~self.held
        follows = (numbers["recast_frequency"] < 0) & ~np.isnan(self.rates).all(axis=1)
        for name in ("recast_frequency", "full_recast_frequency"):
            every = numbers[name]
            some = (every > 0) & np.isfinite(every)
            follows |= some & (self.loans.age % np.where(some, every, 1.0) < self.ago)
        self.refuse(
            stated & follows, "payment",
            "was recast after the first of the {k} that the loan missed, and what it was before is not known; expected "
            f"it blank, {CURRENT}",
        )  # fmt: skip

    def payment(self) -> Floats:
        """Payments as the contract begins: stated ones of graduated loans before they last grew."""
        numbers, age = self.terms.numbers, self.loans.age
        year = age // 12
        grew = (year >= 1) & (year <= numbers["graduation_years"]) & (12 * year - age > -self.ago)
        grown: Floats = self.loans.payment / np.where(grew, 1 + numbers["graduation_rate"], 1.0)
        return grown


FUZZ = 1e-9  # as ext/stepped.h has it


def payments(count: int) -> str:
    return f"{count} payment" if count == 1 else f"{count} payments"


def shifted(terms: Contracts, ago: Integers, past: PastTerms | None) -> Contracts:
    """The terms whose months count from the cut-off, counted from where each contract begins instead."""
    if past is None:
        return terms
    numbers = dict(terms.numbers)
    for name in ("first_reset", "look_back"):
        numbers[name] = numbers[name] + np.where(terms.index >= 0, ago, 0)
    numbers["holiday_start"] = numbers["holiday_start"] + np.where(numbers["holiday_start"] > 0, ago, 0)
    return msgspec.structs.replace(terms, numbers=numbers, past=past)

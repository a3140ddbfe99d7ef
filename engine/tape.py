"""The loan tape: loans, columns or the id of a stored tape.

Files are read in engine/tape_files.py, which builds the same Tape. Validation reports every fault, up to a
hundred, by the path the user wrote: `tape.loans[17].annual_rate` or `tape.columns.annual_rate[17]`.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.assets import (
    AnyLoan,
    CashflowTable,
    DeferredInterest,
    GivenBehaviour,
    PaymentTiming,
)  # fmt: skip
from engine.at_sight import arrays_at_sight
from engine.contracts import CONTRACT_COLUMNS, Shared
from engine.dates import BusinessDayConvention, Calendar, Frequency
from engine.errors import Problem, TapeError, one_of
from engine.loan_arrays import LoanArrays, validate
from engine.loans import (
    Amortization,
    FinalStub,
    HolidayInterest,
    Loan,
    MonthEnd,
    RateSchedule,
    RoundingDirection,
    Schedule,
    Status,
)
from engine.penalties import Penalty

Kind = Literal["loan", "lease", "receivable", "student_loan", "revolving", "cashflow"]


class Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A tape by columns: one value a loan, or one value for all. The names are those of Loan and of the other types.

    In Python the columns may be NumPy arrays. A blank optional number is NaN or null, a blank text is null or "".
    """

    balance: list[float | None] | float
    annual_rate: list[float] | float
    remaining_term: list[int] | int
    loan_id: list[str | None] | None = None
    amortization: list[Amortization] | Amortization = "level_pay"
    original_balance: list[float | None] | float | None = None
    original_term: list[int | None] | int | None = None
    age: list[int | None] | int | None = None
    payment: list[float | None] | float | None = None
    servicing_fee: list[float] | float = 0.0
    group: list[str | None] | str | None = None
    interest_only_term: list[int] | int = 0
    amortization_term: list[int | None] | int | None = None
    property_value: list[float | None] | float | None = None
    ltv: list[float | None] | float | None = None
    mortgage_insurance: list[float] | float = 0.0
    schedule: list[str | None] | str | None = None
    index: list[str | None] | str | None = None
    margin: list[float | None] | float | None = None
    first_reset: list[int | None] | int | None = None
    reset_frequency: list[int | None] | int | None = None
    look_back: list[int | None] | int | None = None
    rate_rounding: list[float | None] | float | None = None
    rounding_direction: list[RoundingDirection | None] | RoundingDirection | None = None
    first_cap: list[float | None] | float | None = None
    first_floor: list[float | None] | float | None = None
    periodic_cap: list[float | None] | float | None = None
    periodic_floor: list[float | None] | float | None = None
    life_cap: list[float | None] | float | None = None
    life_floor: list[float | None] | float | None = None
    recast_frequency: list[int | None] | int | None = None
    payment_cap: list[float | None] | float | None = None
    full_recast_frequency: list[int | None] | int | None = None
    neg_am_limit: list[float | None] | float | None = None
    rate_schedule: list[str | None] | str | None = None
    previous_rate: list[float | None] | float | None = None
    graduation_rate: list[float | None] | float | None = None
    graduation_years: list[int | None] | int | None = None
    holiday_start: list[int | None] | int | None = None
    holiday_months: list[int | None] | int | None = None
    holiday_interest: list[HolidayInterest | None] | HolidayInterest | None = None
    type: list[Kind] | Kind = "loan"
    status: list[Status | None] | Status | None = None
    months_in_status: list[int | None] | int | None = None
    residual_value: list[float | None] | float | None = None
    payment_timing: list[PaymentTiming | None] | PaymentTiming | None = None
    face_value: list[float | None] | float | None = None
    discount: list[float | None] | float | None = None
    dilution: list[float | None] | float | None = None
    accrued_interest: list[float | None] | float | None = None
    school_term: list[int | None] | int | None = None
    grace_term: list[int | None] | int | None = None
    school_interest: list[DeferredInterest | None] | DeferredInterest | None = None
    deferment_start: list[int | None] | int | None = None
    deferment_term: list[int | None] | int | None = None
    deferment_interest: list[DeferredInterest | None] | DeferredInterest | None = None
    graduation_frequency: list[int | None] | int | None = None
    draw_term: list[int | None] | int | None = None
    credit_limit: list[float | None] | float | None = None
    purchase_rate: list[float | None] | float | None = None
    utilization: list[float | None] | float | None = None
    payment_rate: list[float | None] | float | None = None
    interchange_rate: list[float | None] | float | None = None
    fee_rate: list[float | None] | float | None = None
    cashflows: list[str | None] | str | None = None
    behaviour: list[GivenBehaviour | None] | GivenBehaviour | None = None
    payment_frequency: list[Frequency | None] | Frequency | None = None
    origination_date: list[str | None] | str | None = None
    next_payment_date: list[str | None] | str | None = None
    paid_to_date: list[str | None] | str | None = None
    maturity_date: list[str | None] | str | None = None
    final_stub: list[FinalStub | None] | FinalStub | None = None
    day_count: list[str | None] | str | None = None
    business_day: list[BusinessDayConvention | None] | BusinessDayConvention | None = None
    accrual_business_day: list[BusinessDayConvention | None] | BusinessDayConvention | None = None
    calendar: list[str | None] | str | None = None
    month_end: list[MonthEnd | None] | MonthEnd | None = None
    penalty: list[str | None] | str | None = None


COLUMN_NAMES: tuple[str, ...] = Columns.__struct_fields__
PLAIN_COLUMNS = tuple(name for name in COLUMN_NAMES if name in Loan.__struct_fields__ and name not in CONTRACT_COLUMNS)
contract_terms = attrgetter(*CONTRACT_COLUMNS)
LOAN_COLUMNS = tuple(name for name in COLUMN_NAMES if name in Loan.__struct_fields__)
# What an asset without a column has in it.
DEFAULTS: dict[str, Any] = {
    field.name: None if field.required else field.default for field in msgspec.structs.fields(Columns)
}
OPTIONAL = frozenset(name for name, default in DEFAULTS.items() if default is None) - {
    "balance",
    "annual_rate",
    "remaining_term",
}
NO_TERMS = (None,) * len(CONTRACT_COLUMNS)
NOTHING_SHARED = Shared()


class Tape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Exactly one of: `loans`, `columns`, or `tape_id` of a tape stored in the service.

    schedules: the given schedules that loans name. rate_schedules: the step rates that loans name. cashflows: the
    projected cashflows that assets of type cashflow name; calendars, penalties: those that loans name.
    """

    loans: list[AnyLoan] | None = None
    columns: Columns | None = None
    tape_id: str | None = None
    schedules: dict[str, Schedule] | None = None
    rate_schedules: dict[str, RateSchedule] | None = None
    cashflows: dict[str, CashflowTable] | None = None
    calendars: dict[str, Calendar] | None = None
    penalties: dict[str, list[Penalty]] | None = None

    @classmethod
    def from_columns(
        cls,
        *,
        schedules: dict[str, Schedule] | None = None,
        rate_schedules: dict[str, RateSchedule] | None = None,
        cashflow_tables: dict[str, CashflowTable] | None = None,
        calendars: dict[str, Calendar] | None = None,
        penalties: dict[str, list[Penalty]] | None = None,
        **columns: Any,
    ) -> "Tape":
        """A tape from arrays, lists or scalars named as the fields of Loan.

        balance, annual_rate and remaining_term are needed. schedules, rate_schedules, cashflow_tables, calendars,
        penalties: what the columns schedule, rate_schedule, cashflows, calendar and penalty name.
        Raises TapeError for a missing or unknown column.
        """
        unknown = [name for name in columns if name not in COLUMN_NAMES]
        if unknown:
            raise TapeError(
                [
                    Problem(f"tape.columns.{name}", f"is no column; expected {one_of(name, COLUMN_NAMES)}")
                    for name in unknown
                ]
            )
        missing = [name for name in COLUMN_NAMES[:3] if name not in columns]
        if missing:
            raise TapeError([Problem(f"tape.columns.{name}", "is missing; every loan needs it") for name in missing])
        return cls(
            columns=Columns(**columns),
            schedules=schedules,
            rate_schedules=rate_schedules,
            cashflows=cashflow_tables,
            calendars=calendars,
            penalties=penalties,
        )

    @classmethod
    def from_loans(
        cls,
        loans: Sequence[AnyLoan],
        *,
        schedules: dict[str, Schedule] | None = None,
        rate_schedules: dict[str, RateSchedule] | None = None,
        cashflows: dict[str, CashflowTable] | None = None,
        calendars: dict[str, Calendar] | None = None,
        penalties: dict[str, list[Penalty]] | None = None,
    ) -> "Tape":
        """A tape from Structs of loans and other assets, with the schedules, steps and cashflows that they name."""
        return cls(
            loans=list(loans),
            schedules=schedules,
            rate_schedules=rate_schedules,
            cashflows=cashflows,
            calendars=calendars,
            penalties=penalties,
        )  # fmt: skip

    def __len__(self) -> int:
        if self.loans is not None:
            return len(self.loans)
        if self.columns is None:
            return 0
        return next((len(v) for v in msgspec.structs.astuple(self.columns) if not is_scalar(v)), 1)

    def arrays(self) -> LoanArrays:
        """The validated arrays. Raises TapeError with every fault found, up to a hundred."""
        if self.loans is not None and self.names_nothing and (found := arrays_at_sight(self.loans)) is not None:
            return found
        given = [name for name in ("loans", "columns", "tape_id") if getattr(self, name) is not None]
        if len(given) != 1:
            what = "is empty" if not given else f"has {' and '.join(given)}"
            raise TapeError([Problem("tape", f"{what}; expected exactly one of loans, columns, tape_id")])
        if self.tape_id is not None or (self.loans is None and self.columns is None):
            raise TapeError([Problem("tape.tape_id", "names a stored tape; expected loans or columns here")])
        if self.loans is not None:
            loans, where = self.loans, lambda name, i: f"tape.loans[{i or 0}].{name}"
            return validate(loan_columns(loans), len(loans), where, self.shared)
        raw = {name: getattr(self.columns, name) for name in COLUMN_NAMES}
        return validate(raw, len(self), column_path, self.shared)

    def terms(self) -> NDArray[np.signedinteger[Any]]:
        """The remaining term of each loan, worked out where an asset states none. Raises TapeError as `arrays`."""
        stated = None if self.columns is None else np.asarray(self.columns.remaining_term)
        if stated is None or stated.dtype.kind != "i":
            return self.arrays().term.astype(np.int64)
        return np.broadcast_to(stated, len(self))

    @property
    def names_nothing(self) -> bool:
        """Whether there is nothing in the tape beside its loans."""
        return self.columns is None and self.tape_id is None and self.shared == NOTHING_SHARED

    @property
    def shared(self) -> Shared:
        """What the loans name."""
        return Shared(self.schedules, self.rate_schedules, self.cashflows, self.calendars, self.penalties)


def loan_columns(loans: Sequence[AnyLoan]) -> dict[str, Any]:
    """The columns of Structs of loans and other assets; those beyond the plain ones are none where no loan has any."""
    columns: dict[str, Any] = dict.fromkeys(COLUMN_NAMES)
    if all(type(loan) is Loan for loan in loans):
        plain = all(contract_terms(loan) == NO_TERMS for loan in loans)
        for name in PLAIN_COLUMNS if plain else LOAN_COLUMNS:
            column = [getattr(loan, name) for loan in loans]
            # A column that no loan states is no column: nothing in it needs looking at.
            columns[name] = None if name in OPTIONAL and column.count(None) == len(column) else column
        return columns
    for name in COLUMN_NAMES:
        columns[name] = [getattr(loan, name, DEFAULTS[name]) for loan in loans]
    columns["type"] = [loan.__struct_config__.tag for loan in loans]
    return columns


def column_path(name: str, i: int | None) -> str:
    return f"tape.columns.{name}" + ("" if i is None else f"[{i}]")


def is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str) or np.ndim(value) == 0

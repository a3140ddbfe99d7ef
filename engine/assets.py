"""Assets beside the term loan: rows of a tape that are leases, receivables, student loans, revolving balances or given
cashflows. Each carries its `type`, and what every row of a tape has.
"""

from typing import Literal, get_args

import msgspec

from engine.loans import Loan, RoundingDirection, Status

PaymentTiming = Literal["arrears", "advance"]
PAYMENT_TIMINGS: tuple[str, ...] = get_args(PaymentTiming)
DeferredInterest = Literal["capitalized", "subsidized", "paid", "forgiven"]
DEFERRED_INTEREST: tuple[str, ...] = get_args(DeferredInterest)
GivenBehaviour = Literal["applied", "none"]
GIVEN_BEHAVIOUR: tuple[str, ...] = get_args(GivenBehaviour)


class CashflowTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A projected cashflow that assets share by name, in any unit: an asset's balance is scaled to it.

    balances: what is left after months 0, 1, 2, ..; nothing after the last. interest: due in months 1, 2, .. and so on.
    principal: paid in months 1, 2, .., by default what the balance falls by; where it falls by less, the rest is drawn.
    """

    balances: list[float]
    interest: list[float]
    principal: list[float] | None = None


class Asset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every asset has; the fields are those of Loan."""

    loan_id: str | None = None
    group: str | None = None
    original_balance: float | None = None
    original_term: int | None = None
    age: int | None = None
    servicing_fee: float = 0.0
    status: Status | None = None
    months_in_status: int | None = None


class Floating(Asset, frozen=True, kw_only=True):
    """The terms of a floating rate and of step rates, as those of Loan."""

    index: str | None = None
    margin: float | None = None
    first_reset: int | None = None
    reset_frequency: int | None = None
    look_back: int | None = None
    rate_rounding: float | None = None
    rounding_direction: RoundingDirection | None = None
    first_cap: float | None = None
    first_floor: float | None = None
    periodic_cap: float | None = None
    periodic_floor: float | None = None
    life_cap: float | None = None
    life_floor: float | None = None
    rate_schedule: str | None = None


class Lease(Asset, frozen=True, kw_only=True, tag="lease"):
    """A lease: rentals, then a residual that is worth its value times the assumptions' `residual_share`.

    annual_rate: the rate implicit in the lease, at which rentals and residual are worth the balance. remaining_term:
    months to the residual. payment: the rental a month. residual_value: of the lease, currency units. balance: the
    present value; of balance and payment the one that is not stated follows. payment_timing: arrears pays a rental with
    the residual; advance pays each a month earlier, so that none is due with it (the cut-off is just after a rental).
    interest of the last month: due with rental and residual and paid in full; where the rental is less the residual has
    it, and what a low residual_share leaves for principal is then negative if the shortfall is more than the balance.
    """

    annual_rate: float
    remaining_term: int
    balance: float | None = None
    payment: float | None = None
    residual_value: float = 0.0
    payment_timing: PaymentTiming | None = None


class Receivable(Asset, frozen=True, kw_only=True, tag="receivable"):
    """A receivable or an invoice, or a pool of them bought at a discount.

    remaining_term: months until it is due, or to the last month of its collection. face_value: what is due. discount:
    share of the face value it was bought below, earned as it is collected. balance: what was paid for it, face_value
    less the discount; of the three one may be left out. dilution: share of the face value that is never due, for
    returns and credit notes; booked as a shortfall as the rest is collected. annual_rate: charged on the balance, 0 by
    default. schedule: name in the tape's `schedules` of a collection curve, what is left after months 0, 1, 2, ..; by
    default all is collected when due.
    """

    remaining_term: int
    balance: float | None = None
    face_value: float | None = None
    discount: float | None = None
    dilution: float = 0.0
    annual_rate: float = 0.0
    schedule: str | None = None


class StudentLoan(Floating, frozen=True, kw_only=True, tag="student_loan"):
    """A loan that is repaid after school and grace, with a deferment on the way if there is one.

    balance: principal and the interest accrued on it so far. accrued_interest: the part of balance that bears no
    interest until it is capitalized. remaining_term: months to maturity, those without a payment included. school_term,
    grace_term: months of them still to come. deferment_start, deferment_term: the first month from the cut-off without
    a payment again, and how many. school_interest, deferment_interest: what becomes of the interest of months without a
    payment: capitalized (by default) accrues without interest on it and bears some once payments begin; subsidized is
    paid by someone else as it falls due, paid by the borrower; forgiven is never due. graduation_rate,
    graduation_frequency: the payment grows by this share every so many months of repayment, 24 by default.
    """

    balance: float
    annual_rate: float
    remaining_term: int
    accrued_interest: float = 0.0
    school_term: int = 0
    grace_term: int = 0
    school_interest: DeferredInterest | None = None
    deferment_start: int | None = None
    deferment_term: int | None = None
    deferment_interest: DeferredInterest | None = None
    graduation_rate: float | None = None
    graduation_frequency: int | None = None


class Revolving(Floating, frozen=True, kw_only=True, tag="revolving"):
    """A credit card, a line of credit, or many: drawn and repaid. Its charge-offs are the default curve's.

    annual_rate: yield on the balance. remaining_term: months until all that is left is due. draw_term: months in which
    money is drawn, the whole term by default. credit_limit: most that draws may bring the balance to, none by default.
    purchase_rate: drawn in a month, a share of the balance; without a credit_limit it may not bring it above 1e15.
    utilization: share of the credit limit that draws fill the
    balance up to; the larger of the two is drawn. payment_rate: principal repaid in a month, a share of the balance, in
    and after the draw term; by default interest alone is paid in the draw term, then level payments to maturity.
    interchange_rate: income on what is drawn, a share of it. fee_rate: income beside interest, a decimal a year of the
    balance.
    """

    balance: float
    annual_rate: float
    remaining_term: int
    draw_term: int | None = None
    credit_limit: float | None = None
    purchase_rate: float = 0.0
    utilization: float | None = None
    payment_rate: float | None = None
    interchange_rate: float = 0.0
    fee_rate: float = 0.0


class GivenCashflow(Asset, frozen=True, kw_only=True, tag="cashflow"):
    """A projected cashflow taken as it is given.

    cashflows: name in the tape's `cashflows` of its balances, interest and principal. balance: what the table's first
    balance is scaled to, that balance itself by default. remaining_term: the months of the table. behaviour: whether
    the assumptions are applied to it, as to a contract (by default), or none of them.
    """

    cashflows: str
    balance: float | None = None
    remaining_term: int | None = None
    behaviour: GivenBehaviour | None = None


AnyLoan = Loan | Lease | Receivable | StudentLoan | Revolving | GivenCashflow
LOAN_TYPES: dict[str, type[msgspec.Struct]] = {str(cls.__struct_config__.tag): cls for cls in get_args(AnyLoan)}
TYPES: tuple[str, ...] = tuple(LOAN_TYPES)

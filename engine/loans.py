"""Loan Structs: the rows of a tape. Every loan carries `type`."""

from typing import Literal

import msgspec

Amortization = Literal["level_pay", "linear", "bullet"]
AMORTIZATIONS: tuple[str, ...] = ("level_pay", "linear", "bullet")


class Loan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="loan"):
    """A term loan, or a rep line of many alike.

    balance: performing balance at the cut-off, currency units. annual_rate, servicing_fee: decimals a year.
    remaining_term: months to maturity. age: months since origination, 0 for a new loan (the first payment is
    then month 1 of age-based curves). original_term, original_balance: for information. payment: stated
    monthly payment of a level-pay loan in place of the computed one (amortization_term then says nothing); what it
    leaves at maturity is a balloon, and what it leaves unpaid of the interest is added to the balance.
    interest_only_term, amortization_term: terms of the contract, from origination like original_term: the months
    that pay interest only at first, and the months after those over which principal is spread, longer than the term
    for a balloon. A loan of age 24 with 60 interest-only months has 36 of them to go.
    property_value: of what secures the loan, at the cut-off, currency units. mortgage_insurance: share of the balance
    at default that insurance pays of a loss, a decimal.
    """

    balance: float
    annual_rate: float
    remaining_term: int
    loan_id: str | None = None
    amortization: Amortization = "level_pay"
    original_balance: float | None = None
    original_term: int | None = None
    age: int | None = None
    payment: float | None = None
    servicing_fee: float = 0.0
    group: str | None = None
    interest_only_term: int = 0
    amortization_term: int | None = None
    property_value: float | None = None
    mortgage_insurance: float = 0.0

"""What assets are worth, and what contradicts what in their terms; engine/asset_terms.py calls these."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.annuity import annuity
from engine.assets import PAYMENT_TIMINGS, TYPES
from engine.checks import INF, MAX_BALANCE, Checks, Floats, is_stated
from engine.errors import MAX_PROBLEMS

if TYPE_CHECKING:
    from engine.asset_terms import Assets

CENT = 0.01
ROUNDING = 1e-9


def priced_receivables(check: Checks, assets: "Assets", balance: Floats) -> tuple[Floats, Floats]:
    """Discount and dilution as shares of the balance repaid; sets OUT balance where it is not stated."""
    numbers, mine = assets.numbers, assets.kind == TYPES.index("receivable")
    face, discount, paid = numbers["face_value"].copy(), numbers["discount"].copy(), balance
    known = [~np.isnan(values) for values in (face, discount, paid)]
    for i in np.flatnonzero(mine & ~known[0] & ~known[2])[:MAX_PROBLEMS]:
        check.report("balance", int(i), "is missing, and so is face_value; a receivable needs one of them")
    price = face * (1 - np.where(known[1], discount, 0))
    off = mine & known[0] & known[1] & known[2] & (np.abs(price - paid) > 1e-6 * face + CENT)
    for i in np.flatnonzero(off)[:MAX_PROBLEMS]:
        message = (
            f"is {paid[i]:.15g}, and face_value less discount {price[i]:.15g}; expected one of them to be left out"
        )
        check.report("balance", int(i), message)
    paid[mine] = np.where(known[2], paid, price)[mine]
    face = np.where(known[0], face, paid / (1 - np.where(known[1], discount, 0)))
    for i in np.flatnonzero(mine & (face < paid * (1 - 1e-9)))[:MAX_PROBLEMS]:
        check.report("face_value", int(i), f"is {face[i]:.15g}, below the balance; expected what is due of it")
    diluted = numbers["dilution"] * face
    for i in np.flatnonzero(mine & (diluted > paid * (1 + 1e-12)))[:MAX_PROBLEMS]:
        check.report("dilution", int(i), f"is worth {diluted[i]:.15g}, more than the balance; expected less")
    some = mine & (paid > 0)
    base = np.where(some, paid, 1.0)
    return np.where(some, np.maximum(face / base - 1, 0), 0.0), np.where(some, diluted / base, 0.0)


def priced_leases(
    check: Checks, assets: "Assets", balance: Floats, rate: Floats, term: NDArray[np.int32], payment: Floats
) -> None:
    """Sets OUT balance and payment of leases where they are not stated."""
    mine = assets.kind == TYPES.index("lease")
    advance = assets.choices["payment_timing"] == PAYMENT_TIMINGS.index("advance")
    months_, r = term.astype(np.float64), rate / 12
    rentals = annuity(r, np.zeros(len(r)), months_ - advance)
    residual = assets.numbers["residual_value"] * np.exp(-months_ * np.log1p(r))
    has_balance, has_payment = ~np.isnan(balance), ~np.isnan(payment)
    worth = np.where(has_payment, payment, 0) * rentals + residual
    for i in np.flatnonzero(mine & ~has_balance & ~has_payment)[:MAX_PROBLEMS]:
        check.report("balance", int(i), "is missing, and so is payment; a lease needs one of them")
    fits = np.abs(worth - balance) <= 1e-6 * balance + CENT * np.maximum(months_, 1)
    for i in np.flatnonzero(mine & has_balance & has_payment & ~fits)[:MAX_PROBLEMS]:
        message = f"is {balance[i]:.15g}, while rentals and residual are worth {worth[i]:.15g} at annual_rate; expected"
        check.report("balance", int(i), f"{message} one of balance and payment to be left out")
    short = mine & has_balance & ~has_payment & (residual > balance * (1 + 1e-12))
    for i in np.flatnonzero(short)[:MAX_PROBLEMS]:
        check.report(
            "residual_value", int(i), f"is worth {residual[i]:.15g} today, more than the balance; expected less"
        )
    balance[mine & ~has_balance] = worth[mine & ~has_balance]
    solve = mine & has_balance & ~has_payment
    payment[solve] = (np.maximum(balance - residual, 0) / np.where(rentals > 0, rentals, INF))[solve]


def check_students(check: Checks, assets: "Assets", balance: Floats, term: NDArray[np.int32]) -> None:
    """Reports phases of student loans that do not fit into their terms."""
    numbers, mine = assets.numbers, assets.kind == TYPES.index("student_loan")
    begins = numbers["school_term"] + numbers["grace_term"]
    start, count = numbers["deferment_start"], numbers["deferment_term"]
    capitalized = assets.choices["school_interest"] <= 0
    deferred, graduated = (
        mine & ((start > 0) | (count > 0)),
        mine & is_stated(check.columns["graduation_rate"], check.n),
    )
    changes = is_stated(check.columns["index"], check.n) | is_stated(check.columns["rate_schedule"], check.n)
    refusals = (
        (mine & (begins >= term), "school_term", "and grace_term reach maturity; expected a month to repay in"),
        (deferred & ((start == 0) | (count == 0)), "deferment_start", "and deferment_term come together"),
        (deferred & (start > 0) & (start <= begins), "deferment_start", "lies before repayment begins"),
        (deferred & (start + count - 1 >= term), "deferment_term", "reaches maturity; expected a payment after it"),
        (mine & (numbers["accrued_interest"] > balance), "accrued_interest", "is more than the balance it is part of"),
        (mine & (numbers["accrued_interest"] > 0) & ((begins == 0) | ~capitalized), "accrued_interest",
         "is stated on a loan that does not capitalize it later; expected it in school or grace, capitalized"),
        (graduated & deferred, "graduation_rate", "is stated beside a deferment; expected one or the other"),
        (graduated & changes, "graduation_rate", "is stated on a loan whose rate changes; expected a fixed one"),
    )  # fmt: skip
    for where, column, message in refusals:
        for i in np.flatnonzero(where)[:MAX_PROBLEMS]:
            check.report(column, int(i), message)


def check_revolving(check: Checks, assets: "Assets", balance: Floats, term: NDArray[np.int32]) -> None:
    """Reports what revolving balances cannot be drawn to."""
    numbers, mine = assets.numbers, assets.kind == TYPES.index("revolving")
    for i in np.flatnonzero(mine & ~np.isnan(numbers["utilization"]) & np.isinf(numbers["credit_limit"]))[
        :MAX_PROBLEMS
    ]:
        check.report("utilization", int(i), "is stated without credit_limit, which it is a share of")
    paid = np.nan_to_num(numbers["payment_rate"])
    drawn = np.minimum(numbers["draw_term"], term - 1.0)
    highest = np.log(np.where(balance > 0, balance, 1)) + drawn * np.log1p(
        np.maximum(numbers["purchase_rate"] - paid, 0)
    )
    grows = mine & np.isinf(numbers["credit_limit"]) & (numbers["purchase_rate"] > paid) & (balance > 0)
    for i in np.flatnonzero(grows & (highest > np.log(MAX_BALANCE) + ROUNDING))[:MAX_PROBLEMS]:
        rate = numbers["purchase_rate"][i]
        message = f"is {rate:g} for {drawn[i]:g} months without credit_limit, which brings the balance to"
        fix = f"1e{highest[i] / np.log(10):.0f}; expected {MAX_BALANCE:g} at most, or a credit_limit"
        check.report("purchase_rate", int(i), f"{message} {fix}")

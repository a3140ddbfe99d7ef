"""Loans that are late at the cut-off under roll rates: their contracts begin where they stopped paying.

A loan that has missed k payments owes what its schedule had k months before the cut-off. So its contract is that of a
loan with k more months to go, walked from there; the core reads it from the cut-off on (ext/delinquent.pxi), and roll
rates begin with the loan k payments late. What its terms were in those months: engine/past_terms.py.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import AssumptionError, Problem
from engine.index_rates import Histories
from engine.loan_arrays import LoanArrays
from engine.past_terms import past_terms, shifted
from engine.segments import AS_LATE, DEFAULTED, Segments

PATH = "assumptions.delinquency"


def missed_payments(segments: Segments) -> NDArray[np.int32]:
    """Payments that the loans of each set have missed when roll rates begin, int32 (sets,); 0 without roll rates.

    Those later than the last bucket are in it. Raises AssumptionError where scenarios differ in it.
    """
    found = np.zeros(len(segments.states), dtype=np.int32)
    for k, state in enumerate(segments.states):
        if not AS_LATE < state < DEFAULTED:
            continue
        late = {min(state - AS_LATE, each.delinquency.buckets) if each.delinquency else 0 for each in segments.of(k)}
        if len(late) > 1:
            message = (
                "begins late loans in another bucket in one scenario than in another; expected roll rates for them"
            )
            fix = "in every scenario or in none, with as many buckets, since a contract has one beginning"
            raise AssumptionError([Problem(PATH, f"{message} {fix}")])
        (found[k],) = late
    return found


def terms_held(segments: Segments) -> NDArray[np.bool_]:
    """Whether the terms at the cut-off are taken to have held in the missed months, bool (sets,).

    Raises AssumptionError where scenarios differ in it for late loans.
    """
    found = np.zeros(len(segments.states), dtype=bool)
    for k, state in enumerate(segments.states):
        if not AS_LATE < state < DEFAULTED:
            continue
        held = {each.delinquency.missed_terms == "current" for each in segments.of(k) if each.delinquency}
        if len(held) > 1:
            message = "is 'current' in one scenario and 'contract' in another; expected one of them for late loans"
            raise AssumptionError([Problem(f"{PATH}.missed_terms", f"{message}, since a contract has one beginning")])
        found[k] = held == {True}
    return found


def begun_earlier(
    loans: LoanArrays, missed: NDArray[np.int32], held: NDArray[np.bool_], members: NDArray[np.int32],
    histories: Histories,
) -> LoanArrays:  # fmt: skip
    """The loans with the contracts of where they stopped paying. missed, held: by set; members: the set of each.

    Raises TapeError with every loan whose terms in the months that it missed cannot be told.
    """
    if not missed.any():
        return loans
    ago = np.broadcast_to(missed[members], (len(loans),))
    past, payment = past_terms(
        loans, ago.astype(np.int64), np.broadcast_to(held[members], (len(loans),)), histories
    )  # fmt: skip
    free, since = loans.interest_only, loans.amortizing_since
    spread, paying = loans.amortization_term, free == 0
    terms = None if loans.contracts is None else shifted(loans.contracts, ago.astype(np.int64), past)
    return msgspec.structs.replace(
        loans,
        begun=ago,
        payment=payment,
        contracts=terms,
        term=loans.term + ago,
        interest_only=np.where(paying, np.maximum(ago - since, 0), free + ago).astype(np.int32),
        amortization_term=np.where((spread > 0) & paying, spread + np.minimum(ago, since), spread).astype(np.int32),
    )

"""Loans that are late at the cut-off under roll rates: their contracts begin where they stopped paying.

A loan that has missed k payments owes what its schedule had k months before the cut-off. So its contract is that of a
loan with k more months to go, walked from there; the core reads it from the cut-off on (ext/delinquent.pxi), and roll
rates begin with the loan k payments late.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import AssumptionError, Problem
from engine.loan_arrays import LoanArrays
from engine.segments import AS_LATE, DEFAULTED, Segments

PATH = "assumptions.delinquency"


def missed_payments(segments: Segments, loans: LoanArrays) -> NDArray[np.int32]:
    """Payments that the loans of each set have missed when roll rates begin, int32 (sets,); 0 without roll rates.

    Those later than the last bucket are in it. Raises AssumptionError where scenarios differ in it, or where a contract
    cannot be told before the cut-off.
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
    walked = None if loans.contracts is None else loans.contracts.stepped | (loans.contracts.penalty >= 0)
    if walked is not None and (walked & (found[segments.members] > 0)).any():
        message = "is stated for loans that are delinquent at the cut-off and have an index, rate steps, a schedule, "
        what = "graduations, a holiday, dates or penalties, which are told from the cut-off on; expected fixed loans"
        raise AssumptionError([Problem(PATH, f"{message}{what}, or rules by status that give the others a curve")])
    return found


def begun_earlier(loans: LoanArrays, missed: NDArray[np.int32], members: NDArray[np.int32]) -> LoanArrays:
    """The loans with the contracts of where they stopped paying. missed: payments by set; members: the set of each."""
    if not missed.any():
        return loans
    ago = np.broadcast_to(missed[members], (len(loans),))
    held, since = loans.interest_only, loans.amortizing_since
    spread, paying = loans.amortization_term, held == 0
    return msgspec.structs.replace(
        loans,
        term=loans.term + ago,
        interest_only=np.where(paying, np.maximum(ago - since, 0), held + ago).astype(np.int32),
        amortization_term=np.where((spread > 0) & paying, spread + np.minimum(ago, since), spread).astype(np.int32),
    )

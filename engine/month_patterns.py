"""What each month is to loans for which not every one is alike: it pays or waits, is locked, comes before the draw."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine import _core
from engine.assumptions import Assumptions, Conventions
from engine.composed_curves import Timing
from engine.curves import Curve
from engine.errors import AssumptionError, Problem
from engine.loan_arrays import LoanArrays
from engine.penalty_tables import locks_of

if TYPE_CHECKING:
    from engine.behaviour import Tables

EVERY_MONTH = "expected loans that pay every month from the cut-off"


def patterns_of(
    loans: LoanArrays, tables: "Tables", every: list[Assumptions], conventions: Conventions, curves: list[Curve]
) -> NDArray[np.int64] | None:
    """Where the tables tell what each month is to each loan, 0 for every month alike; none where all loans are so.

    Raises AssumptionError for assumptions that count every month, or take every month's prepayments as stated.
    """
    calendars = None if loans.contracts is None else loans.contracts.calendars
    locks = locks_of(loans, tables.months)
    uneven = calendars is not None and bool((calendars.pattern >= 0).any())
    if not uneven and locks is None:
        return None
    problems = calendar_problems(loans, every, conventions, curves) if uneven else []
    if locks is not None and any(isinstance(each.default, Timing) for each in every):
        message = "is a timing curve, whose rates follow from the prepayments of all loans; expected no lockouts"
        problems.append(Problem("assumptions.default", message))
    if problems:
        raise AssumptionError(problems)
    pattern = np.full(len(loans), -1, dtype=np.int64)
    rows = np.full((1, tables.months + 1), _core.MONTH_PAYS, dtype=np.int64)
    if uneven and calendars is not None:
        given = np.repeat(rows, len(calendars.patterns), axis=0)
        width = min(given.shape[1], calendars.patterns.shape[1])
        given[:, :width] = calendars.patterns[:, :width]
        pattern, rows = calendars.pattern.astype(np.int64), np.concatenate([given, rows])
    if locks is not None:
        which, locked = locks
        kinds, kind = np.unique((pattern + 1) * (len(locked) + 1) + which + 1, return_inverse=True)
        base, lock = kinds // (len(locked) + 1) - 1, kinds % (len(locked) + 1) - 1
        rows = rows[base] | np.where(lock[:, None] >= 0, _core.MONTH_LOCKED * locked[lock], 0)
        pattern = np.where((base >= 0) | (lock >= 0), np.arange(len(kinds)), -1)[kind.reshape(-1)]
    places = np.array([*(tables.keep(row.astype(np.float64)) for row in rows), 0], dtype=np.int64)
    return places[pattern]


def calendar_problems(
    loans: LoanArrays, every: list[Assumptions], conventions: Conventions, curves: list[Curve]
) -> list[Problem]:
    """Assumptions that count every month, where loans do not pay in every one."""
    problems = []
    if any(each.delinquency is not None for each in every):
        problems.append(Problem("assumptions.delinquency", f"counts payments missed by month; {EVERY_MONTH}"))
    if any(isinstance(each.default, Timing) for each in every):
        problems.append(Problem("assumptions.default", f"is a timing curve, which states every month; {EVERY_MONTH}"))
    if conventions.default_base != "opening":
        what_else = "which pay no interest in the month after; " + EVERY_MONTH
        problems.append(Problem("conventions.default_base", f"freezes balances that have just paid, {what_else}"))
    if conventions.recoup != "none":
        problems.append(Problem("conventions.recoup", f"counts interest advanced by month; {EVERY_MONTH}"))
    if loans.age.min() < 0 and any("age" in curve.reads and len(curve.reads) > 1 for curve in curves):
        problems.append(Problem("assumptions", "has curves by age and by month; expected one for loans yet to start"))
    return problems

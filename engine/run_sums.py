"""Contract sums of a tape by run, and behaviour applied to them: a scenario costs runs x months, not loans x months.

A run is loans that share assumptions, age (where a curve goes by age), last month with defaults (where defaults stop
before maturity), walk and output row; runs that differ in that month alone are a family (ext/families.pxi). Chunks sum
what their runs owe; the rows of a run are added over the chunks in tape order. Behaviour then goes over the runs of the
whole tape, cut by scenario or, where those are few, by run, again by the request alone.
"""

from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import _core
from engine.cashflows import Work
from engine.lanes import lay_out
from engine.loan_arrays import LoanArrays
from engine.plan import Plan

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]
# Columns of a chunk's runs that make two of them one, and the months to the last flow, of which the most counts.
KEY = (2, 3, 4, 5, 7)
MONTHS = 6
OUTPUT_ROW = 5
BLOCKS = 16
FEW_SCENARIOS = 4
RUNS_A_TASK = 256
# Runs whose sums are taken and used before those of the next: as many as stay in a cache, or this many bytes of them.
RUNS_AT_A_TIME = 64
ROOM = 2**24


class Task(msgspec.Struct, frozen=True):
    """Some scenarios of some runs (places in the order of output rows), and the output rows they fill."""

    scenarios: slice
    runs: slice
    first_row: int
    last_row: int


def losses_need_loans(plan: Plan) -> bool:
    """Whether a loss is not linear in the balance, so that a run's sums do not tell it; but for capped ones."""
    return bool(plan.behaviour.rules["general"].any() and sets_that_need_loans(plan).any())


def sets_that_need_loans(plan: Plan) -> NDArray[np.bool_]:
    """The sets of assumptions of which that is so in any scenario, bool (sets,)."""
    rules = plan.behaviour.rules
    advanced = rules["advancing"] == _core.ADVANCES_PRINCIPAL
    each = advanced | (rules["insured"] != 0) | (rules["recoups"] != 0) | (rules["proceeds_at"] >= 0)
    found: NDArray[np.bool_] = ((rules["general"] != 0) & each).any(axis=0)
    return found


def work_of(plan: Plan, loans: LoanArrays) -> Work:
    """How many of the loans are stepped, and how many scenarios go over again."""
    stepped = 0 if loans.contracts is None else int(np.count_nonzero(loans.contracts.stepped))
    repeated = len(loans) if plan.level == "loan" else 0
    if plan.level != "loan":
        again = sets_capped_anew(plan)
        if losses_need_loans(plan):
            again |= sets_that_need_loans(plan)
        if again.any():
            repeated = int(np.count_nonzero(np.broadcast_to(again[plan.behaviour.members], len(loans))))
    return Work(loans=len(loans), stepped=stepped, repeated=repeated)


def sets_capped_anew(plan: Plan) -> NDArray[np.bool_]:
    """The sets whose capped losses differ in severity or lag by scenario, bool (sets,)."""
    rules, capped = plan.behaviour.rules, losses_capped(plan)
    several = np.zeros(rules.shape[1], dtype=np.bool_)
    for name in ("severity", "lag") if capped.any() else ():
        least, most = (np.where(capped, rules[name], beyond) for beyond in (np.inf, -np.inf))
        several |= least.min(axis=0) < most.max(axis=0)
    return several


def losses_capped(plan: Plan) -> NDArray[np.bool_]:
    """Where the lesser of a loan's loss and of what is left of it is summed, bool (scenarios, sets)."""
    rules = plan.behaviour.rules
    needed = bool(_core.needs_losses(plan.selection.needed))
    capped: NDArray[np.bool_] = (rules["advancing"] == _core.ADVANCES_PRINCIPAL) & (rules["general"] == 0) & needed
    return capped


class RunSums:
    """The sums of the runs seen so far: `add` takes a chunk's, in tape order, `applied` makes fields of them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        needed = plan.selection.needed
        self.with_rate = bool(_core.needs_interest(needed, plan.behaviour.rules))
        self.with_fee = bool(_core.needs_fees(needed))
        self.pairs, self.pair = capped_pairs(plan)
        self.severities = np.array([severity for severity, _ in self.pairs])
        self.lags = np.array([lag for _, lag in self.pairs], dtype=np.int64)
        self.uses = np.zeros((self.pair.shape[1], len(self.pairs)), dtype=np.int8)
        for k, places in enumerate(self.pair.T if self.pairs else ()):
            self.uses[k, places[places >= 0]] = 1
        self.set_of = np.zeros(plan.behaviour.scenarios, dtype=np.int64)
        self.sets = 1
        if plan.rates is not None:
            self.set_of = np.ascontiguousarray(plan.rates.set_of_scenario, dtype=np.int64)
            self.sets = len(plan.rates.values)
        self.place: dict[bytes, int] = {}
        self.keys = np.zeros((0, 6), dtype=np.int64)
        kinds = 1 + self.with_rate + self.with_fee + len(self.pairs)
        has_flows = plan.walks is not None and (plan.walks.assets or plan.curtailments is not None)
        self.flows_at = kinds if has_flows else -1
        kinds += _core.FLOW_KINDS if self.flows_at >= 0 else 0
        self.penalties_at = -1 if plan.penalties is None else kinds
        kinds += 0 if plan.penalties is None else _core.PENALTY_KINDS
        self.prepays_opening = bool((plan.behaviour.rules["prepayment_base"] == _core.PREPAYS_OPENING).any())
        self.rows = np.zeros((0, self.sets, kinds, plan.months + 2))
        self.order = np.zeros(0, dtype=np.int64)

    def of_chunk(self, loans: LoanArrays, part: slice) -> tuple[Longs, Floats]:
        """The keys of a chunk's runs, and what each owes: (runs, sets, kinds, months)."""
        chunk = lay_out(self.plan, loans, part)
        sets = self.sets if chunk.walked is not None else 1
        rows = np.zeros((len(chunk.runs), sets, *self.rows.shape[2:]))
        _core.contract_rows(
            chunk.vectors, chunk.walked, chunk.penalties, chunk.runs,
            self.severities, self.lags, self.uses, self.with_rate, self.with_fee, self.flows_at >= 0,
            self.prepays_opening, self.plan.behaviour.rates, self.plan.months, rows,
        )  # fmt: skip
        return chunk.runs[:, [*KEY, MONTHS]], rows

    @property
    def bytes_a_run(self) -> int:
        """The room that a run's rows take."""
        return 8 * int(np.prod(self.rows.shape[1:]))

    def of_part(self, loans: LoanArrays, part: slice) -> tuple[Task, Floats]:
        """The fields of a part of the tape whose runs have all their loans in it; and where they go."""
        plan, chunk = self.plan, lay_out(self.plan, loans, part)
        rows_out = chunk.runs[:, OUTPUT_ROW]
        low, high = int(rows_out.min()), int(rows_out.max())
        shape = (len(plan.selection.names), plan.behaviour.scenarios, high + 1 - low, plan.periods)
        out = np.zeros(shape)
        at_a_time = max(1, min(RUNS_AT_A_TIME, ROOM // self.bytes_a_run, len(chunk.runs)))
        room = np.empty((at_a_time, *self.rows.shape[1:]))
        _core.project_runs(
            chunk.vectors, chunk.walked, chunk.penalties, chunk.runs, self.severities, self.lags, self.uses,
            self.with_rate, self.with_fee, self.flows_at, self.penalties_at, self.prepays_opening, self.set_of,
            self.pair, plan.behaviour.rates, plan.behaviour.rules, plan.selection.needed, plan.selection.slot,
            plan.months, plan.periods, low, room, out,
        )  # fmt: skip
        return Task(slice(0, plan.behaviour.scenarios), slice(0, len(chunk.runs)), low, high + 1), out

    def over_sets(self, rows: Floats) -> Floats:
        """Rows of all sets of index values, where loans that read none have filled the first alone."""
        if rows.shape[1] == self.sets:
            return rows
        more = np.zeros((len(rows), self.sets - rows.shape[1], *rows.shape[2:]))
        return np.concatenate([rows, more], axis=1)

    def add(self, keys: Longs, rows: Floats) -> None:
        """Adds the runs of the next chunk."""
        known = len(self.place)
        if len(keys) == known and np.array_equal(keys[:, :-1], self.keys[:, :-1]):  # the same runs in the same order
            self.keys[:, -1] = np.maximum(self.keys[:, -1], keys[:, -1])
            _core.add_rows(self.rows, np.arange(known), rows)
            return
        ids = np.empty(len(keys), dtype=np.int64)
        for i, key in enumerate(np.ascontiguousarray(keys[:, :-1])):
            ids[i] = self.place.setdefault(key.tobytes(), len(self.place))
        fresh = ids >= known
        if fresh.any():
            more = self.over_sets(rows[fresh])
            self.rows = np.concatenate([self.rows, more]) if known else more
            self.keys = np.concatenate([self.keys, keys[fresh]])
        old = ids[~fresh]
        self.keys[old, -1] = np.maximum(self.keys[old, -1], keys[~fresh, -1])
        if len(old):
            _core.add_rows(self.rows, old, rows if not fresh.any() else rows[~fresh])

    def empty(self) -> Floats:
        plan = self.plan
        return np.zeros((len(plan.selection.names), plan.behaviour.scenarios, plan.rows, plan.periods))

    def tasks(self) -> list[Task]:
        """The work to be shared: blocks of scenarios, or blocks of runs where there are few scenarios."""
        scenarios, runs = self.plan.behaviour.scenarios, len(self.keys)
        if not runs:
            return []
        if runs == 1 and scenarios < FEW_SCENARIOS:
            self.order = np.zeros(1, dtype=np.int64)
            row = int(self.keys[0, 3])
            return [Task(slice(0, scenarios), slice(0, 1), row, row + 1)]
        if scenarios >= FEW_SCENARIOS:
            # Runs that behave alike side by side, those of a family by term: the core takes such months once.
            self.order = np.lexsort(self.keys[:, [2, 3, 4, 1, 0]].T)
            cuts = np.linspace(0, scenarios, min(BLOCKS, scenarios) + 1).astype(int)
            every = slice(0, runs)
            return [Task(slice(int(a), int(b)), every, 0, self.plan.rows) for a, b in pairwise(cuts)]
        self.order = np.lexsort(self.keys[:, [2, 4, 1, 0, 3]].T)
        rows = self.keys[self.order, 3]
        parts = [slice(start, min(start + RUNS_A_TASK, runs)) for start in range(0, runs, RUNS_A_TASK)]
        return [Task(slice(0, scenarios), p, int(rows[p.start]), int(rows[p.stop - 1]) + 1) for p in parts]

    def applied(self, task: Task) -> Floats:
        """The fields of a task: (fields, scenarios, output rows, periods)."""
        plan, rules = self.plan, self.plan.behaviour.rules[task.scenarios]
        shape = (len(plan.selection.names), len(rules), task.last_row - task.first_row, plan.periods)
        out = np.zeros(shape)
        _core.apply_rows(
            self.rows, self.keys, self.order[task.runs], self.set_of[task.scenarios], self.pair[task.scenarios],
            self.with_rate, self.with_fee, self.flows_at, self.penalties_at, plan.behaviour.rates, rules,
            plan.selection.needed, plan.selection.slot,
            plan.months, plan.periods, task.first_row, out,
        )  # fmt: skip
        return out


def capped_pairs(plan: Plan) -> tuple[list[tuple[float, int]], NDArray[np.int32]]:
    """The distinct (severity, lag) whose capped losses are summed; for each (scenario, set) its place, -1 for none."""
    rules = plan.behaviour.rules
    place = np.full(rules.shape, -1, dtype=np.int32)
    pairs: dict[tuple[float, int], int] = {}
    for at in zip(*np.nonzero(losses_capped(plan)), strict=True):
        pair = (float(rules["severity"][at]), int(rules["lag"][at]))
        place[at] = pairs.setdefault(pair, len(pairs))
    return list(pairs), place

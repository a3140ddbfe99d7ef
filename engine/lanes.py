"""Loans of a chunk laid out for the core: sorted into runs, prepared in vectors of eight lanes."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import _core
from engine.checks import repeated
from engine.loan_arrays import LoanArrays
from engine.plan import Plan
from engine.walks import assets_placed, placed, rows_of

# Loans that reset in different months have vectors of their own while that takes at most so many lanes a loan, or so
# many lanes in all: a vector resets as often as any of its lanes does.
SPREAD = 4
SPREAD_LANES = 65_536


class Chunk(msgspec.Struct, frozen=True):
    """A slice of the tape laid out for the core: contract vectors, runs, and which loan is in which lane."""

    vectors: NDArray[np.float64]
    extras: NDArray[np.float64]
    walked: _core.Walked | None
    runs: NDArray[np.int64]
    loan_at: NDArray[np.int64]
    penalties: _core.Penalties | None = None


class Lanes(msgspec.Struct, frozen=True):
    """Loans of a slice in runs, every run in whole vectors of eight lanes: loan order[j] is in lane place[j]."""

    order: NDArray[np.int64]
    place: NDArray[np.int64]
    count: int
    runs: NDArray[np.int64]


def lay_out(plan: Plan, loans: LoanArrays, part: slice) -> Chunk:
    """Sorts some loans into runs and prepares their vectors, those of plain loans and those of stepped ones."""
    terms = loans.contracts
    stepped = None if terms is None else terms.stepped[part]
    some = None if stepped is None else np.flatnonzero(~stepped)
    # Loans that end together side by side; where defaults stop before maturity that makes them a run already.
    terms_near = [] if plan.behaviour.stops or len(loans.term) <= _core.LANES_A_VECTOR else [loans.term[part]]
    plain = in_lanes(plan, loans, part, some, terms_near)
    vectors = np.zeros((_core.VECTOR_ROWS, plain.count))
    vectors[_core.LAST_MONTH_ROW] = -1
    _core.prepare(
        loans.balance[part], loans.rate[part], loans.fee[part], loans.payment[part], loans.term[part],
        loans.interest_only[part], loans.amortization_term[part], loans.amortization[part], plain.order, plain.place,
        vectors,
    )  # fmt: skip
    laid = [plain]
    walked = None
    if terms is not None and stepped is not None and stepped.any():
        assert plan.walks is not None
        assert plan.rates is not None
        floating = (terms.index[part] >= 0).astype(np.int32)
        if plan.curtailments is not None:
            floating |= plan.curtailments.loans[part]
        calendar = plan.walks.calendar[part].astype(np.int32)
        near = [*terms_near, plan.walks.phase[part], terms.schedule[part], calendar]
        near = [key for key in near if (key != key[0]).any()]
        phase = None if plan.level == "loan" else plan.walks.phase[part]
        laid.append(in_lanes(plan, loans, part, np.flatnonzero(stepped), near, floating, plain.count, phase))
        rows = placed(rows_of(loans, terms, plan.walks, part), laid[1].order, laid[1].place, laid[1].count)
        walked = _core.Walked(
            rows, plan.rates.values, np.array(plan.rates.set_of_scenario), plan.rates.past, plan.walks.shares,
            plan.walks.month, plan.walks.op, plan.walks.value,
            assets_placed(loans, terms, part, laid[1].order, laid[1].place, laid[1].count), plan.walks.drawn,
            plan.walks.payments_begin, plan.walks.years_due, *placed_curtailments(plan),
        )  # fmt: skip
    loan_at = np.full(sum(each.count for each in laid) if plan.level == "loan" else 0, -1, dtype=np.int64)
    if plan.level == "loan":
        for each, offset in zip(laid, (0, plain.count), strict=False):
            loan_at[each.place + offset] = each.order + part.start
    extras = np.zeros((2, sum(each.count for each in laid) if plan.behaviour.per_loan_losses else 0))
    if plan.behaviour.per_loan_losses:
        for each, offset in zip(laid, (0, plain.count), strict=False):
            extras[0, each.place + offset] = np.nan_to_num(loans.property_value[part][each.order])
            extras[1, each.place + offset] = loans.mortgage_insurance[part][each.order]
    penalties = None
    if plan.penalties is not None:
        places = [(each.order, each.place + offset) for each, offset in zip(laid, (0, plain.count), strict=False)]
        penalties = plan.penalties.placed(part, places, sum(each.count for each in laid))
    return Chunk(vectors, extras, walked, np.concatenate([each.runs for each in laid]), loan_at, penalties)


def placed_curtailments(plan: Plan) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the curtailments of each set of rates begin by set of assumptions, and their strides."""
    if plan.curtailments is None:
        none = np.zeros((1, 0), dtype=np.int64)
        return none, none
    return plan.curtailments.at, plan.curtailments.stride


def in_lanes(
    plan: Plan,
    loans: LoanArrays,
    part: slice,
    some: NDArray[np.int64] | None,
    near: list[NDArray[np.int32]],
    floating: NDArray[np.int32] | None = None,
    offset: int = 0,
    apart: NDArray[np.int32] | None = None,
) -> Lanes:
    """The loans `some` of a slice (none: all) in lanes, by run and within it by the keys `near`, the last first.

    floating: for stepped loans, 1 where an index is read, else 0. offset: lanes before these. apart: one of the keys
    `near`; loans that differ in it share no vector unless that takes too many lanes.
    """
    behaviour, term = plan.behaviour, loans.term[part]
    stop_term, age, members, walk, row = run_keys(plan, loans, part, None if floating is None else floating + 1)
    if len(term) == 1 and some is None:
        only = [members[0], age[0], stop_term[0], row[0], term[0] + behaviour.longest_lag, walk[0]]
        runs = np.array([[0, 1, *only, offset]], dtype=np.int64)
        return Lanes(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), _core.LANES_A_VECTOR, runs)
    order, begins = runs_of(near, [stop_term, age, members, row, walk], some, len(term) if some is None else len(some))
    alike = repeated(np.int32(0), len(term))
    for parted in [alike] if apart is None else [apart, alike]:
        place, runs, lanes = _core.lanes_of_runs(
            order, begins, parted, term, stop_term, age, members, row, walk, behaviour.longest_lag, offset
        )
        if lanes <= max(SPREAD * len(order), SPREAD_LANES):
            break
    return Lanes(order, place, lanes, runs)


def run_keys(
    plan: Plan, loans: LoanArrays, part: slice, walk: NDArray[np.int32] | None
) -> list[NDArray[np.int32]]:  # fmt: skip
    """What loans of one run share: last month with defaults, age, set of assumptions, walk and output row.

    A key that is the same for all has no strides. walk: how each loan is walked, none for all backward.
    """
    behaviour, group = plan.behaviour, loans.group[part]
    zero = repeated(np.int32(0), len(group))
    walked = zero if walk is None else walk
    if behaviour.pattern is not None:
        walked = (walked + _core.WALKS_A_PATTERN * behaviour.pattern[part]).astype(np.int32)
    return [
        loans.term[part] if behaviour.stops else zero,
        loans.age[part] if behaviour.by_age else zero,
        behaviour.members[part] if len(behaviour.members) > 1 else zero,
        walked,
        zero if plan.level != "group" else group if group.min(initial=0) >= 0 else with_blanks_last(group, loans),
    ]


def with_blanks_last(group: NDArray[np.int32], loans: LoanArrays) -> NDArray[np.int32]:
    """Groups as output rows: those without a name come after all others."""
    return np.where(group < 0, np.int32(len(loans.groups)), group)


def runs_of(
    near: list[NDArray[np.int32]], keys: list[NDArray[np.int32]], some: NDArray[np.int64] | None, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The `count` loans `some` (none: all) by keys, the last first, then by near ones; and where each run begins."""
    varying = [key for key in keys if key.strides != (0,)]
    return _core.in_runs([key for key in near if key.strides != (0,)], varying, some, count)

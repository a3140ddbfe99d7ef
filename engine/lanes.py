"""Loans of a chunk laid out for the core: sorted into runs, prepared in vectors of eight lanes."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import _core
from engine.checks import repeated
from engine.loan_arrays import LoanArrays
from engine.plan import Plan
from engine.walks import assets_placed, placed, rows_of


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
    plain = in_lanes(plan, loans, part, some, [loans.term[part]] if len(loans.term) > 8 else [])
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
        near = [loans.term[part], plan.walks.phase[part], terms.schedule[part], calendar]
        near = [key for key in near if (key != key[0]).any()]
        laid.append(in_lanes(plan, loans, part, np.flatnonzero(stepped), near, floating, plain.count))
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
) -> Lanes:
    """The loans `some` of a slice (none: all) in lanes, by run and within it by the keys `near`, the last first.

    floating: for stepped loans, 1 where an index is read, else 0. offset: lanes before these.
    """
    behaviour, term = plan.behaviour, loans.term[part]
    stop_term, age, members, walk, row = run_keys(plan, loans, part, None if floating is None else floating + 1)
    if len(term) == 1 and some is None:
        only = [members[0], age[0], stop_term[0], row[0], term[0] + behaviour.longest_lag, walk[0]]
        runs = np.array([[0, 1, *only, offset]], dtype=np.int64)
        return Lanes(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), _core.LANES_A_VECTOR, runs)
    keys = [key for key in (stop_term, age, members, row, walk) if key.strides != (0,)]
    order = sort_by([*near, *keys], np.arange(len(term)) if some is None else some)
    if not len(order):
        return Lanes(order, order, 0, np.zeros((0, 9), dtype=np.int64))
    first_of_run = np.zeros(len(order), dtype=bool)
    first_of_run[0] = True
    for key in keys:
        first_of_run[1:] |= np.diff(key[order]) != 0
    begins = np.flatnonzero(first_of_run)
    counts = np.diff(np.append(begins, len(order)))
    vectors = -(-counts // _core.LANES_A_VECTOR)
    first_lane = np.concatenate([[0], np.cumsum(vectors)[:-1]]) * _core.LANES_A_VECTOR
    place = np.arange(len(order)) + np.repeat(first_lane - begins, counts)
    lead = order[begins]
    flows = np.maximum.reduceat(term[order], begins) + behaviour.longest_lag
    runs = np.stack(
        [first_lane, vectors, members[lead], age[lead], stop_term[lead], row[lead], flows, walk[lead],
         first_lane + offset],
        axis=1,
    )  # fmt: skip
    lanes = int(vectors.sum()) * _core.LANES_A_VECTOR
    return Lanes(order, place, lanes, np.ascontiguousarray(runs, dtype=np.int64))


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
        walked = walked + _core.WALKS_A_PATTERN * behaviour.pattern[part]
    return [
        loans.term[part] if behaviour.stops else zero,
        loans.age[part] if behaviour.by_age else zero,
        behaviour.members[part] if len(behaviour.members) > 1 else zero,
        walked,
        np.where(group < 0, len(loans.groups), group) if plan.level == "group" else zero,
    ]


def sort_by(keys: list[NDArray[np.int32]], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The loans of `order` sorted by the last key, then the one before it, and so on; stable.

    Sixteen-bit keys sort by radix, in a few passes; wider ones (many groups) by merging.
    """
    for key in keys:
        narrow = key.astype(np.int16) if len(key) and key.max() < 32_768 else key
        order = order[np.argsort(narrow[order], kind="stable")]
    return order

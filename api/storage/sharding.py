"""How a run is cut into shards: by its tape and its request alone, never by who works on it.

A shard is a slice of the tape, whole row groups, under a block of the scenarios. Sums of shards are folded in the order
of their numbers, so any number of workers gives the same bits.
"""

import msgspec

from api.storage.rows import StoredTape
from api.storage.tape_parquet import ROW_GROUP

# The engine cuts a slice into sixteen chunks, each of which pays for every scenario: half a million loans, projected in
# one call, cost what they cost in a whole tape, where an eighth as many cost three times as much.
ROW_GROUPS_A_SHARD = 4
# Numbers in the partial result of a shard: 32 MB.
MAX_CELLS = 4_000_000
MAX_SCENARIOS = 100


class Shard(msgspec.Struct, frozen=True):
    """A slice of the tape and a block of the scenarios, ends exclusive; loan_months over the block."""

    number: int
    loan_start: int
    loan_stop: int
    scenario_start: int
    scenario_stop: int
    loan_months: int


def shards_of(tape: StoredTape, scenarios: int, cells_a_scenario: int) -> list[Shard]:
    """The shards, block by block of the scenarios and slice by slice within. cells_a_scenario: of a result."""
    block = max(1, min(MAX_SCENARIOS, MAX_CELLS // max(cells_a_scenario, 1)))
    size = ROW_GROUP * ROW_GROUPS_A_SHARD
    found: list[Shard] = []
    for first in range(0, scenarios, block):
        last = min(first + block, scenarios)
        for start in range(0, tape.loans, size):
            groups = tape.row_groups[start // ROW_GROUP : start // ROW_GROUP + ROW_GROUPS_A_SHARD]
            stop = min(start + size, tape.loans)
            found.append(Shard(len(found), start, stop, first, last, sum(groups) * (last - first)))
    return found

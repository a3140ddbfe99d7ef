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
# A run that is done in seconds is not cut at all, up to a million loans: a second shard costs some twenty milliseconds
# of taking, setting up and committing. The size of a tape's file stands for the memory that its columns take.
ROW_GROUPS_UNCUT = 8
UNCUT_LOAN_MONTHS = 8_000_000_000
UNCUT_BYTES = 64 * 1024 * 1024
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
    row_groups = row_groups_a_shard(tape, min(block, scenarios))
    size = ROW_GROUP * row_groups
    found: list[Shard] = []
    for first in range(0, scenarios, block):
        last = min(first + block, scenarios)
        for start in range(0, tape.loans, size):
            groups = tape.row_groups[start // ROW_GROUP : start // ROW_GROUP + row_groups]
            stop = min(start + size, tape.loans)
            found.append(Shard(len(found), start, stop, first, last, sum(groups) * (last - first)))
    return found


def row_groups_a_shard(tape: StoredTape, scenarios: int) -> int:
    """Row groups of a slice, under so many scenarios at a time."""
    small = tape.loan_months * scenarios <= UNCUT_LOAN_MONTHS and tape.size <= UNCUT_BYTES
    return ROW_GROUPS_UNCUT if small and tape.loans <= ROW_GROUP * ROW_GROUPS_UNCUT else ROW_GROUPS_A_SHARD

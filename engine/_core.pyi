from typing import Any

import numpy as np
from numpy.typing import NDArray

FIELD_ORDER: tuple[str, ...]
LANES_A_VECTOR: int
VECTOR_ROWS: int
LAST_MONTH_ROW: int
RULES: np.dtype[Any]
STEPPED_NAMES: tuple[str, ...]
OPERATIONS: tuple[str, ...]
ADVANCES_PRINCIPAL: int
ASSET_NAMES: tuple[str, ...]
FLOW_KINDS: int
MONTH_PAYS: int
MONTH_LOCKED: int
MONTH_UNDRAWN: int
WALKS_A_PATTERN: int
LATE_MOST: int
FORBORNE_MOST: int
PENALTY_TABLES: tuple[str, ...]
PENALTY_TERMS: tuple[str, ...]
PENALTY_ROWS: tuple[str, ...]
PENALTY_KINDS: int
PREPAYS_OPENING: int

class Walked:
    def __init__(
        self,
        rows: list[NDArray[np.float64]],
        index: NDArray[np.float64],
        set_of: NDArray[np.int64],
        past: int,
        shares: NDArray[np.float64],
        month: NDArray[np.float64],
        op: NDArray[np.int32],
        value: NDArray[np.float64],
        asset: NDArray[np.float64],
        drawn: NDArray[np.float64],
        payments_begin: NDArray[np.int32],
        years_due: NDArray[np.float64],
        curtail_at: NDArray[np.int64],
        curtail_stride: NDArray[np.int64],
    ) -> None: ...

class Penalties:
    def __init__(
        self,
        by_age: NDArray[np.float64],
        worth: NDArray[np.float64],
        terms: NDArray[np.float64],
        lanes: NDArray[np.float64],
    ) -> None: ...

def place(
    column: NDArray[np.float64], order: NDArray[np.int64], place: NDArray[np.int64], out: NDArray[np.float64]
) -> None: ...
def prepare(
    balance: NDArray[np.float64],
    rate: NDArray[np.float64],
    fee: NDArray[np.float64],
    payment: NDArray[np.float64],
    term: NDArray[np.int32],
    interest_only: NDArray[np.int32],
    amortization_term: NDArray[np.int32],
    amortization: NDArray[np.int8],
    order: NDArray[np.int64],
    place: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None: ...
def project_sums(
    loans: NDArray[np.float64],
    extras: NDArray[np.float64],
    walked: Walked | None,
    penalties: Penalties | None,
    runs: NDArray[np.int64],
    rates: NDArray[np.float64],
    rules: NDArray[Any],
    needed: NDArray[np.int32],
    slot: NDArray[np.int32],
    months: int,
    periods: int,
    out: NDArray[np.float64],
) -> None: ...
def project_loans(
    loans: NDArray[np.float64],
    extras: NDArray[np.float64],
    walked: Walked | None,
    penalties: Penalties | None,
    runs: NDArray[np.int64],
    loan_at: NDArray[np.int64],
    rates: NDArray[np.float64],
    rules: NDArray[Any],
    needed: NDArray[np.int32],
    slot: NDArray[np.int32],
    months: int,
    periods: int,
    out: NDArray[np.float64],
) -> None: ...
def needs_interest(needed: NDArray[np.int32], rules: NDArray[np.void]) -> bool: ...
def needs_fees(needed: NDArray[np.int32]) -> bool: ...
def needs_losses(needed: NDArray[np.int32]) -> bool: ...
def contract_rows(
    loans: NDArray[np.float64],
    walked: Walked | None,
    penalties: Penalties | None,
    runs: NDArray[np.int64],
    severity: NDArray[np.float64],
    lag: NDArray[np.int64],
    uses: NDArray[np.int8],
    with_rate: bool,
    with_fee: bool,
    with_flows: bool,
    opening: bool,
    rates: NDArray[np.float64],
    months: int,
    out: NDArray[np.float64],
) -> None: ...
def add_rows(out: NDArray[np.float64], ids: NDArray[np.int64], rows: NDArray[np.float64]) -> None: ...
def apply_rows(
    rows: NDArray[np.float64],
    keys: NDArray[np.int64],
    order: NDArray[np.int64],
    set_of: NDArray[np.int64],
    pair: NDArray[np.int32],
    with_rate: bool,
    with_fee: bool,
    flows_at: int,
    penalties_at: int,
    rates: NDArray[np.float64],
    rules: NDArray[Any],
    needed: NDArray[np.int32],
    slot: NDArray[np.int32],
    months: int,
    periods: int,
    first_out: int,
    out: NDArray[np.float64],
) -> None: ...
def project_runs(
    loans: NDArray[np.float64],
    walked: Walked | None,
    penalties: Penalties | None,
    runs: NDArray[np.int64],
    severity: NDArray[np.float64],
    lag: NDArray[np.int64],
    uses: NDArray[np.int8],
    with_rate: bool,
    with_fee: bool,
    flows_at: int,
    penalties_at: int,
    opening: bool,
    set_of: NDArray[np.int64],
    pair: NDArray[np.int32],
    rates: NDArray[np.float64],
    rules: NDArray[Any],
    needed: NDArray[np.int32],
    slot: NDArray[np.int32],
    months: int,
    periods: int,
    first_out: int,
    rows: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None: ...
def text_codes(texts: list[Any]) -> tuple[NDArray[np.int32], list[str]]: ...
def character_codes(rows: NDArray[np.uint32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]: ...
def in_runs(
    near: list[NDArray[np.int32]], keys: list[NDArray[np.int32]], some: NDArray[np.int64] | None, n: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
def lanes_of_runs(
    order: NDArray[np.int64],
    begins: NDArray[np.int64],
    apart: NDArray[np.int32],
    term: NDArray[np.int32],
    stop: NDArray[np.int32],
    age: NDArray[np.int32],
    members: NDArray[np.int32],
    row: NDArray[np.int32],
    walk: NDArray[np.int32],
    longest_lag: int,
    offset: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]: ...

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

class Walked:
    def __init__(
        self,
        rows: NDArray[np.float64],
        index: NDArray[np.float64],
        set_of: NDArray[np.int64],
        past: int,
        shares: NDArray[np.float64],
        month: NDArray[np.float64],
        op: NDArray[np.int32],
        value: NDArray[np.float64],
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

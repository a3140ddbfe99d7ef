"""What level payments are worth."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def annuity(r: Floats, start: Floats, stop: Floats) -> Floats:
    """Present value of one unit a month in the months after `start`, up to `stop`, at r a month."""
    growth = np.log1p(r)
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = np.exp(-start * growth) * -np.expm1(-(stop - start) * growth) / r
    return np.where(r < 1e-18, stop - start, worth)

"""What is asked of a file of a layout, and the tape that comes of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from engine.layout_files import Source
from engine.layout_report import ReadReport
from engine.tape import COLUMN_NAMES, Tape

ON_ERROR = ("refuse", "skip")
NEEDED = COLUMN_NAMES[:3]
# A projection of a floating rate needs a path for its index: the caller maps these columns where there is one.
FLOATING = ("index", "margin", "first_reset", "reset_frequency", "periodic_cap", "life_cap", "life_floor")
# Age and term are worked out from these; as columns they would ask for payment by date, which the files do not state.
DATES = ("origination_date", "maturity_date")
WHOLE = ("remaining_term", "original_term", "age", "interest_only_term", "amortization_term")


class LayoutTape(Tape, frozen=True, kw_only=True):
    """A tape read from a file of a layout.

    extra: columns of the file that are none of the tape, by their names there, beside `status`, `days_past_due` and
    the terms of floating rates, one value a loan. report: what became of the file's rows.
    """

    extra: dict[str, Any] = msgspec.field(default_factory=dict)
    report: ReadReport | None = None


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is to be read; see read_tape."""

    on_error: str = "refuse"
    extra: bool | Sequence[str] = True
    period: str | None = None
    mapping: Mapping[str, str] = {}
    origination: Source | None = None
    floating: bool = False

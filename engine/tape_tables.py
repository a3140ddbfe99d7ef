"""What the loans of a tape name (schedules, cashflows, calendars, penalties ..), as the metadata of a Parquet file.

A file's columns hold the names alone; without the tables behind them the loans could not be projected. They stand in
the file's key-value metadata under KEY, as the JSON that a request has.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from engine.assets import CashflowTable
from engine.dates import Calendar
from engine.errors import Problem, TapeError, TapeFileError
from engine.loans import RateSchedule, Schedule
from engine.penalties import Penalty
from engine.tape import Tape

KEY = b"credit_cashflow_engine.tables"
# Parquet readers take texts of a hundred megabytes at most, and each slice of a tape reads the tables anew.
MAX_BYTES = 32 << 20


class Tables(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The tables of a tape, under their names in Tape."""

    schedules: dict[str, Schedule] | None = None
    rate_schedules: dict[str, RateSchedule] | None = None
    cashflows: dict[str, CashflowTable] | None = None
    calendars: dict[str, Calendar] | None = None
    penalties: dict[str, list[Penalty]] | None = None

    def of(self, tape: Tape) -> Tape:
        """The tape with these tables."""
        return msgspec.structs.replace(tape, **msgspec.structs.asdict(self))


NONE = Tables()


def tables_of(tape: Tape) -> Tables:
    """The tables of a tape; one without an entry is none."""
    return Tables(**{name: getattr(tape, name) or None for name in Tables.__struct_fields__})


def to_metadata(tables: Tables) -> dict[str, str]:
    """The metadata of a file with these tables, empty for none. Raises TapeError for more than MAX_BYTES."""
    if tables == NONE:
        return {}
    text = msgspec.json.encode(tables)
    if len(text) > MAX_BYTES:
        sizes: dict[str, int] = {
            name: len(msgspec.json.encode(getattr(tables, name))) for name in Tables.__struct_fields__
        }
        largest = max(sizes, key=sizes.__getitem__)
        message = (
            f"is {sizes[largest]:,} bytes of the {len(text):,} that the tape's tables have as JSON; "
            f"expected {MAX_BYTES:,} at most in a stored tape (loans may share a table by its name)"
        )
        raise TapeError([Problem(f"tape.{largest}", message)])
    return {KEY.decode(): text.decode()}


def from_metadata(file: str, metadata: Mapping[bytes, Any] | None) -> Tables:
    """The tables in a file's metadata. Raises TapeFileError for what is none."""
    text = (metadata or {}).get(KEY)
    if text is None:
        return NONE
    try:
        return msgspec.json.decode(text, type=Tables)
    except msgspec.DecodeError as error:
        raise TapeFileError(f"{file} has metadata '{KEY.decode()}' that cannot be read: {error}") from error

"""The projection request: one Struct for Python, JSON, MessagePack and GraphQL variables."""

import datetime
from typing import Literal

import msgspec

from engine.assumptions import Assumptions, Conventions, Scenario
from engine.tape import Tape


class ProjectionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A tape, what to assume and what to answer with.

    scenarios: each is projected on the same tape; none means one projection under `assumptions`.
    conventions: a preset's name or the Struct. level: what the columns are summed over. fields: output columns
    (engine.FIELD_NAMES), none for the standard twelve. periods: months to project, none for the last flow.
    cutoff_date: where period 1 begins; needed where conventions count actual days.
    """

    tape: Tape
    assumptions: Assumptions = msgspec.field(default_factory=Assumptions)
    scenarios: list[Scenario] | None = None
    conventions: str | Conventions = "sifma"
    level: Literal["pool", "group", "loan"] = "pool"
    fields: list[str] | None = None
    periods: int | None = None
    cutoff_date: datetime.date | None = None

"""The rows that queries return, as Structs, and what a run is asked for."""

from datetime import date, datetime
from typing import Literal

import msgspec

import engine

RunState = Literal["queued", "running", "succeeded", "failed", "cancelled", "dead"]


class TapeProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What a tape holds: counts, sums in currency units, averages weighted by balance, groups with their balance.

    groups: the first 1,000 of group_count names in the order of the tape, "" for loans without one.
    """

    loans: int
    balance: float
    loan_months: int
    average_rate: float
    average_term: float
    longest_term: int
    groups: dict[str, float]
    group_count: int
    columns: list[str]


class StoredTape(msgspec.Struct, frozen=True, kw_only=True):
    """A stored tape. version: its ETag. sha256, size: of its Parquet file. row_groups: loan-months of each."""

    id: str
    owner: str
    name: str
    version: int
    loans: int
    loan_months: int
    balance: float
    profile: TapeProfile
    row_groups: list[int]
    object_key: str
    size: int
    sha256: str
    created_at: datetime
    updated_at: datetime


class StoredScenario(msgspec.Struct, frozen=True, kw_only=True):
    """A stored scenario at its current version, or at an earlier one."""

    id: str
    owner: str
    version: int
    description: str
    scenario: engine.Scenario
    created_at: datetime
    updated_at: datetime


class ScenarioChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Exactly one of: `scenario_id` of a stored scenario (at `version`, none for the current one, which is then
    pinned), `template` (engine-declared, see api.storage.templates), or a `scenario` written out."""

    scenario_id: str | None = None
    version: int | None = None
    template: str | None = None
    scenario: engine.Scenario | None = None


class RunRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a run is asked for; kept as accepted. The fields it shares with engine.ProjectionRequest mean the same.

    scenarios: none means one, named "base", under `assumptions`. webhook_url: told when the run has ended, at
    most 2,000 characters.
    """

    tape_id: str
    scenarios: list[ScenarioChoice] | None = None
    assumptions: engine.Assumptions = msgspec.field(default_factory=engine.Assumptions)
    conventions: str | engine.Conventions = "sifma"
    level: Literal["pool", "group"] = "pool"
    fields: list[str] | None = None
    periods: int | None = None
    cutoff_date: date | None = None
    webhook_url: str | None = None


class RunInput(msgspec.Struct, frozen=True, kw_only=True):
    """What a run projects: its request, and its scenarios as pinned at acceptance; those without assumptions take those
    of the request."""

    request: RunRequest
    scenarios: list[engine.Scenario]


class RunHeading(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of that in listings: the names of its scenarios, the fields and the level that were asked for."""

    scenarios: list[str] = []
    fields: list[str] | None = None
    level: Literal["pool", "group"] = "pool"


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """How a run's webhook fares. next_at: when it is tried again while it is pending. last_status: of the last answer.

    last_error: why the last attempt did not deliver it.
    """

    state: Literal["pending", "delivered", "failed"]
    attempts: int
    next_at: datetime
    last_status: int | None
    last_error: str | None


class RunFault(msgspec.Struct, frozen=True):
    """One offending value of a run that failed."""

    path: str
    message: str


class RunError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run failed or died: a sentence, and the offending values where input was at fault."""

    code: Literal["invalid_input", "damaged_tape", "out_of_memory", "worker_lost", "internal"]
    message: str
    faults: list[RunFault] = []


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run. version: its ETag, which grows with every change. progress is loan_months_done of loan_months_total.

    scenarios: their names, in the order of its columns. fields: as asked for, none for the engine's default.
    opening_balance, periods, groups: known once it has succeeded; groups are the rows of its columns at group level, ""
    for loans without a group. webhook: none where there is no webhook, or the run has not ended.
    """

    id: str
    owner: str
    tape_id: str
    state: RunState
    version: int
    scenarios: list[str]
    fields: list[str] | None
    level: Literal["pool", "group"]
    shards: int
    shards_done: int
    loan_months_total: int
    loan_months_done: int
    error: RunError | None
    opening_balance: float | None
    periods: int | None
    groups: list[str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    webhook: Delivery | None

    @property
    def is_final(self) -> bool:
        """Whether the run has ended, in whatever way."""
        return self.state not in ("queued", "running")

    @property
    def progress(self) -> float:
        """The share done, in [0, 1]."""
        if self.state == "succeeded":
            return 1.0
        return self.loan_months_done / self.loan_months_total if self.loan_months_total else 0.0

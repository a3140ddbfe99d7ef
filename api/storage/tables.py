"""The tables. Every row that a user caused has an owner; times are UTC; versions count from 1 and make the ETag.

State machine of runs: queued -> running -> succeeded | failed | cancelled | dead. A shard is a slice of the tape under
a block of the scenarios; its fence grows with every lease, and only the holder of the current fence may commit.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)

from api.storage.texts import character_fault

FINAL_STATES = ("succeeded", "failed", "cancelled", "dead")
STATES = ("queued", "running", *FINAL_STATES)


class UtcTime(TypeDecorator[datetime]):
    """Aware UTC datetimes to the microsecond, on databases that keep the zone and on those that do not."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Id(TypeDecorator[str]):
    """Ids, which are texts of ours: one with a character that not every database holds is the id of nothing."""

    impl = String(40)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return "" if value is not None and character_fault(value) else value


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


def id_column() -> Column[str]:
    return Column("id", Id, primary_key=True)


def owner_column() -> Column[str]:
    return Column("owner", String(255), nullable=False)


def time_column(name: str, nullable: bool = False) -> Column[datetime]:
    return Column(name, UtcTime, nullable=nullable)


def count_column(name: str, default: int | None = 0) -> Column[int]:
    extra: dict[str, Any] = {} if default is None else {"server_default": str(default)}
    return Column(name, BigInteger, nullable=False, **extra)


# object_key: the Parquet file of the loans, in row groups of tape_parquet.ROW_GROUP. profile: JSON of rows.Profile.
# row_groups: JSON list of the loan-months of each.
tapes = Table(
    "tapes",
    metadata,
    id_column(),
    owner_column(),
    Column("name", String(255), nullable=False),
    count_column("version", 1),
    count_column("loans", None),
    count_column("loan_months", None),
    Column("balance", Float, nullable=False),
    Column("profile", Text, nullable=False),
    Column("row_groups", Text, nullable=False),
    Column("object_key", String(512), nullable=False),
    count_column("size", None),
    Column("sha256", String(64), nullable=False),
    time_column("created_at"),
    time_column("updated_at"),
    Index(None, "owner", "created_at", "id"),
)

# body: JSON of engine.Scenario at the current version; every version is in scenario_versions.
scenarios = Table(
    "scenarios",
    metadata,
    id_column(),
    owner_column(),
    Column("name", String(255), nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    count_column("version", 1),
    Column("body", Text, nullable=False),
    time_column("created_at"),
    time_column("updated_at"),
    UniqueConstraint("owner", "name"),
    Index(None, "owner", "created_at", "id"),
)

scenario_versions = Table(
    "scenario_versions",
    metadata,
    Column("scenario_id", ForeignKey("scenarios.id", ondelete="CASCADE"), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    owner_column(),
    Column("description", Text, nullable=False, server_default=""),
    Column("body", Text, nullable=False),
    time_column("created_at"),
)

# request: JSON of rows.RunRequest as accepted. scenarios: JSON of [engine.Scenario], pinned at acceptance, null for one
# that the request writes out. heading: JSON of rows.RunHeading, null in rows from before there was one.
# error: JSON of rows.RunError; groups: JSON of the names along the rows of its columns. correlation_id: of the request
# it came with (api/correlation.py), for the log of whoever works on it.
runs = Table(
    "runs",
    metadata,
    id_column(),
    owner_column(),
    Column("tape_id", ForeignKey("tapes.id"), nullable=False),
    Column("state", String(16), nullable=False),
    count_column("version", 1),
    Column("request", Text, nullable=False),
    Column("scenarios", Text, nullable=False),
    Column("heading", Text),
    count_column("shards", None),
    count_column("shards_done"),
    count_column("loan_months_total", None),
    count_column("loan_months_done"),
    Column("error", Text),
    Column("opening_balance", Float),
    Column("periods", Integer),
    Column("groups", Text),
    Column("correlation_id", String(128)),
    time_column("created_at"),
    time_column("started_at", nullable=True),
    time_column("finished_at", nullable=True),
    Index(None, "owner", "created_at", "id"),
    Index(None, "tape_id"),
    Index(None, "state"),
)

# sent_at: when a message for it was last sent to workers; the row is the outbox. partial: the sums of the
# shard until the run is folded. loan_months_done counts within the shard while it runs.
run_shards = Table(
    "run_shards",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    owner_column(),
    Column("state", String(16), nullable=False),
    count_column("loan_start", None),
    count_column("loan_stop", None),
    Column("scenario_start", Integer, nullable=False),
    Column("scenario_stop", Integer, nullable=False),
    count_column("loan_months", None),
    count_column("loan_months_done"),
    count_column("fence"),
    count_column("attempts"),
    Column("worker_id", String(80)),
    time_column("lease_until", nullable=True),
    time_column("sent_at", nullable=True),
    Column("partial", LargeBinary),
    Index(None, "state", "lease_until"),
)

# values: float64, little-endian, (groups, periods) or (periods,); where they are large they are a column named as the
# field in the Parquet file `object_key` instead.
results = Table(
    "results",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("scenario", Integer, primary_key=True),
    Column("field", String(40), primary_key=True),
    owner_column(),
    Column("values", LargeBinary),
    Column("object_key", String(512)),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", String(255), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request_hash", String(64), nullable=False),
    Column("run_id", String(40), nullable=False),
    time_column("created_at"),
    Index(None, "created_at"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    id_column(),
    owner_column(),
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("url", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(16), nullable=False),
    count_column("attempts"),
    time_column("next_at"),
    Column("last_status", Integer),
    Column("last_error", Text),
    time_column("created_at"),
    UniqueConstraint("run_id"),
    Index(None, "state", "next_at"),
)

# The service's own rows, of no user: who works, and who holds which lock until when.
workers = Table(
    "workers",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("concurrency", Integer, nullable=False),
    time_column("started_at"),
    time_column("seen_at"),
)

locks = Table(
    "locks",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("holder", String(80), nullable=False),
    count_column("fence"),
    time_column("until"),
)

# What admins and the schedule ask of backups; the row is its own outbox. key: of the backup it is about, none for the
# newest or for no one. active: what no two rows may be at once, null once it has ended. report: JSON of what came of
# it. lease_until: until when its worker has it, or nobody should take it.
backup_jobs = Table(
    "backup_jobs",
    metadata,
    id_column(),
    Column("kind", String(16), nullable=False),
    Column("key", String(512)),
    Column("prune", Boolean, nullable=False, server_default=false()),
    Column("state", String(16), nullable=False),
    Column("active", String(600)),
    Column("asked_by", String(255), nullable=False),
    count_column("fence"),
    count_column("attempts"),
    time_column("lease_until", nullable=True),
    Column("report", Text),
    Column("error", Text),
    Column("correlation_id", String(128)),
    time_column("created_at"),
    time_column("started_at", nullable=True),
    time_column("finished_at", nullable=True),
    UniqueConstraint("active"),
    Index(None, "state", "lease_until"),
)

"""Jobs of backups as rows: asked for once while one is under way, held under a lease and a fence, ended once.

They are the service's own and have no owner: whoever may ask for one may see all of them.
"""

from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, and_, delete, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from api.correlation import correlation_id
from api.storage.database import Database, new_id, now
from api.storage.errors import NotFound
from api.storage.shards import MAX_ATTEMPTS, moment
from api.storage.tables import backup_jobs

Kind = Literal["create", "verify", "drill", "prune"]
State = Literal["queued", "running", "succeeded", "failed"]
UNDER_WAY = ("queued", "running")
MOST_LISTED = 50
KEPT = timedelta(days=90)
LOST = f"its worker was lost {MAX_ATTEMPTS} times"
row = backup_jobs.c


class BackupJob(msgspec.Struct, frozen=True, kw_only=True):
    """Something asked of backups. key: of the backup it is about, none for the newest. prune: afterwards.

    report: what came of it, none until it has succeeded. error: why it failed.
    """

    id: str
    kind: Kind
    key: str | None
    prune: bool
    state: State
    asked_by: str
    attempts: int
    report: msgspec.Raw | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class BackupLease(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a worker holds."""

    id: str
    kind: Kind
    key: str | None
    prune: bool
    fence: int
    attempts: int
    correlation_id: str | None


def job_of(found: Any) -> BackupJob:
    values = {name: getattr(found, name) for name in BackupJob.__struct_fields__}
    values["report"] = None if found.report is None else msgspec.Raw(found.report.encode())
    return BackupJob(**values)


async def ask(
    database: Database, kind: Kind, asked_by: str, key: str | None = None, *, prune: bool = False
) -> BackupJob:
    """The job, queued; the one under way where the same is asked again before it has ended."""
    active = f"{kind} {key or ''}".strip()
    while True:
        values = {
            "id": new_id("backup"), "kind": kind, "key": key, "prune": prune, "state": "queued", "active": active,
            "asked_by": asked_by, "correlation_id": correlation_id(), "created_at": now(),
        }  # fmt: skip
        try:
            async with database.write() as connection:
                made = await connection.execute(insert(backup_jobs).values(**values).returning(backup_jobs))
                return job_of(made.one())
        except IntegrityError:
            async with database.read() as connection:
                query = select(backup_jobs).where(row.active == active)
                found = (await connection.execute(query)).one_or_none()
            if found is not None:
                return job_of(found)  # else it ended just now, and another can be made


async def get(connection: AsyncConnection, id: str) -> BackupJob:
    """The job. Raises NotFound."""
    found = (await connection.execute(select(backup_jobs).where(row.id == id))).one_or_none()
    if found is None:
        raise NotFound("job of backups", id)
    return job_of(found)


async def recent(connection: AsyncConnection) -> list[BackupJob]:
    """The last fifty, newest first."""
    query = select(backup_jobs).order_by(row.created_at.desc(), row.id.desc()).limit(MOST_LISTED)
    return [job_of(found) for found in (await connection.execute(query)).all()]


def due(connection: AsyncConnection) -> ColumnElement[bool]:
    """Whether nobody holds the row and it has not ended."""
    return and_(row.state.in_(UNDER_WAY), or_(row.lease_until.is_(None), row.lease_until < moment(connection)))


async def waiting(connection: AsyncConnection) -> bool:
    """Whether a job is due."""
    return bool(await connection.scalar(select(exists().where(due(connection)))))


async def take(connection: AsyncConnection, seconds: float) -> BackupLease | None:
    """The lease of the oldest job that is due, none where there is none. One that was lost too often fails."""
    lost = {"state": "failed", "error": LOST, "active": None, "finished_at": now()}
    over = select(row.id).where(due(connection), row.attempts >= MAX_ATTEMPTS).with_for_update(skip_locked=True)
    await connection.execute(update(backup_jobs).where(row.id.in_(over)).values(**lost))
    oldest = select(row.id).where(due(connection)).order_by(row.created_at, row.id).limit(1).scalar_subquery()
    change = update(backup_jobs).where(row.id == oldest, due(connection))
    change = change.values(
        state="running", fence=row.fence + 1, attempts=row.attempts + 1, started_at=now(),
        lease_until=moment(connection, seconds),
    )  # fmt: skip
    found = (await connection.execute(change.returning(backup_jobs))).one_or_none()
    if found is None:
        return None
    return BackupLease(**{name: getattr(found, name) for name in BackupLease.__struct_fields__})


async def change_held(connection: AsyncConnection, lease: BackupLease, **values: Any) -> bool:
    """Whether the lease still held, and the values were written."""
    held = and_(row.id == lease.id, row.fence == lease.fence, row.state == "running")
    return (await connection.execute(update(backup_jobs).where(held).values(**values))).rowcount == 1


async def renew(connection: AsyncConnection, lease: BackupLease, seconds: float) -> bool:
    """Whether the lease holds for so many seconds from now."""
    return await change_held(connection, lease, lease_until=moment(connection, seconds))


async def put_off(connection: AsyncConnection, lease: BackupLease, seconds: float) -> bool:
    """Gives the job back for so many seconds; the attempt does not count."""
    return await change_held(
        connection, lease, state="queued", attempts=row.attempts - 1, lease_until=moment(connection, seconds)
    )


async def end(connection: AsyncConnection, lease: BackupLease, *, report: bytes | None, error: str | None) -> bool:
    """Ends the job: with a report it succeeded, with an error it failed."""
    text = None if report is None else report.decode()
    state = "succeeded" if error is None else "failed"
    ended = {"state": state, "report": text, "error": error, "active": None, "lease_until": None, "finished_at": now()}
    return await change_held(connection, lease, **ended)


async def forget(connection: AsyncConnection) -> None:
    """Deletes jobs that ended long ago."""
    await connection.execute(delete(backup_jobs).where(row.finished_at < now() - KEPT))

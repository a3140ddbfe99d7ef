"""/v1/backups, for admins: list backups, and have workers make, verify, rehearse the restore of, and prune them.

A database is not replaced over HTTP. That would end the connections of whoever is asked and of whoever does it, put
the row of the job away with the old database, and let a token that leaked put an old book in place of the current one.
`cashflow backup restore` does it, at a shell.
"""

import asyncio
import re
from collections.abc import Callable
from typing import TypeVar

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath

from api.backup import BackupError, BackupRecord, NoSuchBackup, status
from api.backup.manifest import FOLDER, NAME, shown
from api.backup.places import backup_store, database_from
from api.backup.records import record_of
from api.backup.status import Status
from api.backup.vault import Vault
from api.errors import Fault, Refusal
from api.rest.resources import AnyRequest, body_as, json_response, only, owner_of, storage_of
from api.roles import requires
from api.settings import Settings
from api.storage import backup_jobs
from api.storage.backup_jobs import BackupJob, Kind
from api.storage.errors import NotFound
from api.storage.objects import StoreError

T = TypeVar("T")
PATH = "/v1/backups"
JOBS = f"{PATH}/jobs"
ADMIN = [requires("admin")]
# A person waits for the answer: an object store that is away is told of, not waited for.
ATTEMPTS = 2
# What keys are written with (api/backup/manifest.py), and shorter than any store's limit.
WORDS = re.compile(r"[A-Za-z0-9_.+@=-]{1,240}")


class BackupView(BackupRecord, frozen=True, kw_only=True):
    """A backup. name: the last part of its key, its place below /v1/backups. check: the last one of it."""

    name: str


class BackupListing(msgspec.Struct, frozen=True):
    """The backups of the service's database, newest first, and how making them went lately."""

    items: list[BackupView]
    status: Status


class JobListing(msgspec.Struct, frozen=True):
    """The last fifty jobs, newest first."""

    items: list[BackupJob]


class BackupOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A backup to be made. prune: delete afterwards what retention does not keep."""

    prune: bool = False


class RestoreOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A restore beside the database. swap: put it in the database's place, which is refused over HTTP."""

    swap: bool = False


def view_of(record: BackupRecord) -> BackupView:
    return BackupView(**msgspec.structs.asdict(record), name=record.key.removeprefix(FOLDER))


def vault_of(settings: Settings) -> Vault:
    return Vault(backup_store(settings, ATTEMPTS))


def listing_of(settings: Settings) -> BackupListing:
    vault, name = vault_of(settings), database_from(settings).name
    found = [record_of(one, vault.check(one.key)) for one in vault.manifests(name)]
    found.sort(key=lambda record: (record.created, record.key), reverse=True)
    return BackupListing([view_of(record) for record in found], status.read(vault.store, shown(name)))


def record_named(settings: Settings, name: str) -> BackupView:
    """The backup of that name. Raises NoSuchBackup."""
    vault = vault_of(settings)
    manifest = vault.manifest(key_of(name))
    return view_of(record_of(manifest, vault.check(manifest.key)))


def key_of(name: str) -> str:
    """The key of a name. Raises NoSuchBackup for what is none."""
    key = FOLDER + name
    if not (WORDS.fullmatch(name) and NAME.fullmatch(key)):
        raise NoSuchBackup(f"there is no backup {name!r}")
    return key


def archive_named(settings: Settings, name: str) -> str:
    """The key of an archive that is there, a plain one (.sql) among them. Raises NoSuchBackup."""
    key, vault = key_of(name), vault_of(settings)
    if key.endswith(".sql"):
        if vault.store.head(key) is None:
            raise NoSuchBackup(f"there is no archive {name!r}")
        return key
    return vault.manifest(key).key


async def found(request: AnyRequest, work: Callable[..., T], *arguments: str) -> T:
    """What the work finds in the store, in a thread. Raises Refusal (404, 503)."""
    try:
        return await asyncio.to_thread(work, request.app.state.settings, *arguments)
    except NoSuchBackup as error:
        raise Refusal(404, f"There is no backup {arguments[-1]!r}.") from error
    except (BackupError, StoreError) as error:
        raise Refusal(503, "The store of backups cannot be read.", headers={"retry-after": "30"}) from error


async def asked(request: AnyRequest, kind: Kind, key: str | None = None, *, prune: bool = False) -> Response[bytes]:
    """202 with the job, and where it is."""
    job = await request.app.state.jobs.ask_of_backups(kind, owner_of(request), key, prune=prune)
    return json_response(job, 202, {"location": f"{JOBS}/{job.id}"})


async def order(request: AnyRequest, kind: type[T]) -> T:
    """The JSON body, or what an empty one means. Raises Refusal (400, 415)."""
    return await body_as(request, kind) if await request.body() else kind()  # type: ignore[type-var]


@post(PATH, status_code=202, guards=ADMIN)
async def post_backup(request: AnyRequest) -> Response[bytes]:
    """Has a worker make a backup; while one is being made or waits, asking again gives the same job."""
    only(request, ())
    return await asked(request, "create", prune=(await order(request, BackupOrder)).prune)


@get(PATH, guards=ADMIN)
async def get_backups(request: AnyRequest) -> Response[bytes]:
    """The backups there are."""
    only(request, ())
    return json_response(await found(request, listing_of))


@get(f"{PATH}/{{backup_name:str}}", guards=ADMIN)
async def get_backup(request: AnyRequest, backup_name: FromPath[str]) -> Response[bytes]:
    """A backup, from its manifest."""
    only(request, ())
    return json_response(await found(request, record_named, backup_name))


@post(f"{PATH}/{{backup_name:str}}/verify", status_code=202, guards=ADMIN)
async def post_verify(request: AnyRequest, backup_name: FromPath[str]) -> Response[bytes]:
    """Has a worker read an archive whole, and the copies of its tapes and results."""
    only(request, ())
    return await asked(request, "verify", await found(request, archive_named, backup_name))


@post(f"{PATH}/{{backup_name:str}}/restore", status_code=202, guards=ADMIN)
async def post_restore(request: AnyRequest, backup_name: FromPath[str]) -> Response[bytes]:
    """Has a worker restore a backup into a scratch database, compare it with what was backed up, and drop it."""
    only(request, ())
    wanted = await order(request, RestoreOrder)
    key = await found(request, archive_named, backup_name)
    if wanted.swap:
        fault = Fault("swap", f"is true; over HTTP no database is replaced. At a shell: cashflow backup restore {key}")
        raise Refusal(409, f"swap {fault.message}", [fault])
    if key.endswith(".sql"):
        fault = Fault(
            "backup_name", f"is a plain SQL archive, which may hold anything. At a shell: cashflow backup restore {key}"
        )
        raise Refusal(409, f"{key} {fault.message}", [fault])
    return await asked(request, "drill", key)


@post(f"{PATH}/prune", status_code=202, guards=ADMIN)
async def post_prune(request: AnyRequest) -> Response[bytes]:
    """Has a worker delete what retention does not keep."""
    only(request, ())
    return await asked(request, "prune")


@get(JOBS, guards=ADMIN)
async def get_backup_jobs(request: AnyRequest) -> Response[bytes]:
    """The last jobs."""
    only(request, ())
    async with storage_of(request).database.read() as connection:
        return json_response(JobListing(await backup_jobs.recent(connection)))


@get(f"{JOBS}/{{job_id:str}}", guards=ADMIN)
async def get_backup_job(request: AnyRequest, job_id: FromPath[str]) -> Response[bytes]:
    """A job: its state, and what came of it."""
    only(request, ())
    if not WORDS.fullmatch(job_id):
        raise NotFound("job of backups", job_id)
    async with storage_of(request).database.read() as connection:
        return json_response(await backup_jobs.get(connection, job_id))


HANDLERS = [
    post_backup, get_backups, get_backup, post_verify, post_restore, post_prune, get_backup_jobs, get_backup_job,
]  # fmt: skip

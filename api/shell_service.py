"""Commands that run the service's parts: migrate, worker, scheduler."""

import asyncio
import signal
from contextlib import suppress
from importlib.metadata import version

import click

from api import sentry
from api.exposition import expose_children, serve_worker_metrics
from api.jobs.schedule import Scheduler
from api.jobs.supervisor import supervise
from api.logging import configure
from api.settings import Settings
from api.storage.database import Database
from api.storage.errors import NoMigration
from api.storage.opened import Storage

DISTRIBUTION = "credit-cashflow-engine"


@click.command()
@click.option("--revision", default="head", show_default=True, help="Revision to bring the database up to.")
def migrate(revision: str) -> None:
    """Bring the database of DATABASE_URL to the newest schema; safe to run again, and from several places.

    There is no way back to an earlier schema but a backup.
    """
    settings = Settings.from_env()

    async def work() -> str:
        database = Database.from_settings(settings)
        try:
            return await database.migrate(revision)
        finally:
            await database.dispose()

    try:
        reached = asyncio.run(work())
    except NoMigration as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"The database is at revision {reached}.")


@click.command()
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True, help="Worker processes.")
def worker(processes: int) -> None:
    """Work on runs until Ctrl-C; each process works on WORKER_CONCURRENCY shards at a time."""
    settings = Settings.from_env()
    configure(settings)
    expose_children(settings, version(DISTRIBUTION))
    supervise(processes)


@click.command()
def scheduler() -> None:
    """See to what happens by the clock until Ctrl-C; of several schedulers one leads."""
    settings = Settings.from_env()
    configure(settings)
    sentry.start(settings, "scheduler", version(DISTRIBUTION))
    if settings.worker_metrics_port is not None:
        serve_worker_metrics(settings.worker_metrics_port, version(DISTRIBUTION))

    async def work() -> None:
        async with Storage(settings).opened() as storage:
            task = asyncio.ensure_future(Scheduler(settings, storage).run())
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(work())

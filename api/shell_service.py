"""Commands that run the service's parts: migrate."""

import asyncio

import click

from api.settings import Settings
from api.storage.database import Database


@click.command()
@click.option("--revision", default="head", show_default=True, help="Revision to bring the database to.")
def migrate(revision: str) -> None:
    """Bring the database of DATABASE_URL to the newest schema; safe to run again, and from several places."""
    settings = Settings.from_env()

    async def work() -> None:
        database = Database.from_settings(settings)
        try:
            await database.migrate(revision)
        finally:
            await database.dispose()

    asyncio.run(work())
    click.echo(f"The database is at revision {revision}.")

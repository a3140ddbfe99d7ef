"""The database and the object store of a running service."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from api.settings import Settings
from api.storage.database import Database
from api.storage.objects import ObjectStore, store_from

LOOK_SECONDS = 2.0

logger = logging.getLogger("api.storage")


class Storage:
    """`database` and `objects`, there while `opened()` is; each event loop needs its own Storage."""

    database: Database
    objects: ObjectStore

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Storage"]:
        """Opens both for the running event loop; the embedded database is brought to the newest schema."""
        settings = self.settings
        database = self.database = Database.from_settings(settings)
        try:
            if not settings.database_url:
                await database.migrate()
            else:
                await self.look()
            self.objects = await asyncio.to_thread(store_from, settings.used_object_store, settings.s3_endpoint_url)
            yield self
        finally:
            await database.dispose()

    async def look(self) -> None:
        """Says in the log where the database is not migrated; one that is away is told of by what needs it."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self.check()
        except RuntimeError as error:
            logger.error("%s", error)
        except Exception as error:
            logger.warning("the database was not looked at: %s", error)

    async def check(self) -> Mapping[str, Any]:
        """Nothing to add where the database answers and its schema is the newest; raises where not."""
        if not await self.database.is_current():
            raise RuntimeError("the database is not at the newest schema; run `cashflow migrate`")
        return {}

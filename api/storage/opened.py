"""The database and the object store of a running service."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from api.settings import Settings
from api.storage.database import Database
from api.storage.objects import ObjectStore, store_from


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
            self.objects = await asyncio.to_thread(store_from, settings.used_object_store, settings.s3_endpoint_url)
            yield self
        finally:
            await database.dispose()

    async def check(self) -> Mapping[str, Any]:
        """Nothing to add where the database answers and its schema is the newest; raises where not."""
        if not await self.database.is_current():
            raise RuntimeError("the database is not at the newest schema; run `cashflow migrate`")
        return {}

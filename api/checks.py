"""The health checks of Redis and of backups; the database and the workers bring their own."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from api import metrics
from api.components import Check, Components
from api.settings import Settings

# The outcome of a backup is read from the object store, which need not be asked each second.
BACKUP_SECONDS = 60.0


def redis_check(settings: Settings) -> Check:
    """A ping on a connection of its own."""
    import redis.asyncio

    async def check() -> None:
        # A client belongs to one event loop; connecting is part of what is checked.
        async with redis.asyncio.Redis.from_url(
            settings.redis_url, socket_timeout=2, socket_connect_timeout=2
        ) as client:
            await client.ping()

    return check


def backup_check(settings: Settings) -> Check:
    """When the last good backup ended and how many failed since; its age is for alerts to judge."""
    kept: dict[str, Any] = {}
    read_at = float("-inf")

    def read() -> dict[str, Any]:
        # Of what makes backups only what reads their status, and without the keys, which the API need not have.
        from api.backup import status
        from api.backup.manifest import shown
        from api.backup.places import backup_store, database_from

        name = database_from(settings).name
        found = status.read(backup_store(settings), shown(name))
        ended = found.ended
        if ended is not None:
            metrics.set_last_backup(name, ended.timestamp(), found.size, found.seconds)
        if found.drilled is not None:
            metrics.set_last_drill(name, bool(found.drill_passed), found.drilled.timestamp())
        age = None if ended is None else round(time.time() - ended.timestamp())
        last = None if ended is None else ended.isoformat()
        return {"last_backup": last, "age_seconds": age, "failures_since": found.failures}

    async def check() -> Mapping[str, Any]:
        nonlocal kept, read_at
        if time.monotonic() - read_at > BACKUP_SECONDS:
            kept = await asyncio.to_thread(read)
            read_at = time.monotonic()
        return kept

    return check


def register(components: Components, settings: Settings) -> None:
    """Registers both. Without Redis requests are still answered, unless the rate limit then refuses them all."""
    if settings.redis_url:
        closed = settings.rate_limit_enabled and settings.rate_limit_on_failure == "closed"
        components.register("redis", redis_check(settings), ready=closed)
    components.register("backup", backup_check(settings), ready=False)

"""Streams of events that end with the token that they were asked for with."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import TypeVar

from api.settings import Settings
from api.tokens import Caller

T = TypeVar("T")
# The end of a token is looked for this often, since the clock that it goes by may be set.
LOOK_SECONDS = 15.0
EXPIRED = "The token has expired; ask again with a new one."


class Expired(Exception):
    """The token of the stream has expired."""


async def while_valid(events: AsyncIterator[T], caller: Caller, settings: Settings) -> AsyncGenerator[T | None, None]:
    """The events, and nothing (None) where none came for a while. Raises Expired when the token does."""
    coming: asyncio.Future[T | None] = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            left = caller.lasts(settings)
            if left <= 0:
                raise Expired
            done, _ = await asyncio.wait({coming}, timeout=min(left, LOOK_SECONDS))
            if not done:
                if caller.lasts(settings) > 0:
                    yield None
                continue
            event = coming.result()
            if event is None:
                return
            yield event
            coming = asyncio.ensure_future(anext(events, None))
    finally:
        coming.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await coming

"""An event loop on a thread of its own, for the database work of threads that calculate.

What must go on while they calculate (renewing leases, heartbeats) runs there, whatever the kernel does meanwhile.
"""

import asyncio
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

if sys.platform == "win32":
    from asyncio import new_event_loop
else:
    # The loop of the service itself: what crosses threads takes two thirds of the time.
    from uvloop import new_event_loop

T = TypeVar("T")


class Bridge:
    """The loop and its thread; `call` runs a coroutine there and waits, `start` does not wait."""

    def __init__(self) -> None:
        self.loop = new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="jobs-loop", daemon=True)
        self.thread.start()

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Its future result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result. Raises what it raises."""
        return self.start(work).result()

    def close(self) -> None:
        """Ends the loop, after what it still runs was cancelled."""

        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self.call(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

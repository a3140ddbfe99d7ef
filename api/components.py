"""The components that the service leans on, and their checks: side by side, each with a timeout, kept for a second."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from api import metrics

logger = logging.getLogger("api.health")

CHECK_SECONDS = 2.0
KEPT_SECONDS = 1.0
# What a check tells: nothing, or figures such as the queue's depth. It raises where the component fails.
Check = Callable[[], Awaitable[Mapping[str, Any] | None]]


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """A component and its check. `ready`: whether no request should come here while it fails."""

    name: str
    check: Check
    ready: bool = True


class ComponentHealth(msgspec.Struct, frozen=True):
    """What a check found; `details` are the component's own figures."""

    status: str
    latency_ms: float
    details: dict[str, Any] = {}


class Components:
    """The components that registered, and what their last check found."""

    def __init__(self, timeout: float = CHECK_SECONDS, kept: float = KEPT_SECONDS) -> None:
        self.timeout, self.kept = timeout, kept
        self.components: dict[str, Component] = {}
        self.found: dict[str, ComponentHealth] = {}
        self.checked_at = float("-inf")
        self.running: asyncio.Task[dict[str, ComponentHealth]] | None = None

    def register(self, name: str, check: Check, *, ready: bool = True) -> None:
        """Adds a component. Its check returns its figures, if any, and raises if it fails."""
        self.components[name] = Component(name=name, check=check, ready=ready)
        self.checked_at = float("-inf")

    async def check(self) -> dict[str, ComponentHealth]:
        """The health of each component, at most `kept` seconds old; callers at one time share one check."""
        if time.monotonic() - self.checked_at < self.kept:
            return self.found
        if self.running is None or self.running.done() or self.running.get_loop() is not asyncio.get_running_loop():
            self.running = asyncio.create_task(self.check_all())
        # A caller that leaves must not end the check of the others.
        return await asyncio.shield(self.running)

    async def check_all(self) -> dict[str, ComponentHealth]:
        results = await asyncio.gather(*(self.check_one(component) for component in self.components.values()))
        self.found = dict(zip(self.components, results, strict=True))
        self.checked_at = time.monotonic()
        return self.found

    async def check_one(self, component: Component) -> ComponentHealth:
        started, status = time.perf_counter(), "ok"
        details: dict[str, Any] = {}
        reason: Exception | None = None
        try:
            async with asyncio.timeout(self.timeout):
                details = dict(await component.check() or {})
        except TimeoutError:
            status = "timeout"
        except Exception as error:
            status, reason = "failing", error
        seconds = time.perf_counter() - started
        before = self.found[component.name].status if component.name in self.found else "ok"
        if status != before:
            # The page is open to everyone, so the reason is only in the log; and there once, not with every probe.
            level = logging.INFO if status == "ok" else logging.WARNING
            logger.log(level, "component is %s", status, extra={"component": component.name}, exc_info=reason)
        metrics.record_check(component.name, status == "ok", seconds)
        return ComponentHealth(status, round(1e3 * seconds, 3), details)

    def needed(self) -> set[str]:
        """The components without which no request should come here."""
        return {name for name, component in self.components.items() if component.ready}

"""GET /health, /health/live and /health/ready: what runs, how each component does, and whether to send requests here.

/health/live asks nothing of anything else: restart the process when it does not answer. /health/ready is 503 while a
component fails that requests need. /health is 503 while any component fails, and tells of each.
"""

import asyncio
import os
import platform
import time
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import msgspec
from litestar import Request, Response, get

import engine
from api.components import ComponentHealth, Components

DISTRIBUTION = "credit-cashflow-engine"


class EngineHealth(msgspec.Struct, frozen=True):
    """The machine, the instruction set the kernel chose on it, and the threads of one projection."""

    machine: str
    dispatch: str
    threads: int


class Health(msgspec.Struct, frozen=True):
    """The state of the service: ok or failing, and that of each component: ok, failing or timeout.

    Workers count as alive that were seen in the last 15 seconds: those that stop take themselves out, those that are
    killed count so long.
    """

    status: str
    version: str
    engine: EngineHealth
    components: dict[str, ComponentHealth] = {}


class Live(msgspec.Struct, frozen=True):
    """That the process answers."""

    status: str


def version() -> str:
    """The version installed, 0+source when it runs from sources that are not."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "0+source"


def cpu_level() -> str:
    """The x86-64 level whose code the kernel runs on this processor; plain where there is only one."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return "plain"
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            flags = next((set(line.split(":")[1].split()) for line in lines if line.startswith("flags")), set())
    except OSError:
        return "unknown"
    if {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= flags:
        return "x86-64-v4"
    return "x86-64-v3" if {"avx2", "bmi1", "bmi2", "fma"} <= flags else "x86-64"


def measure(threads: int | None) -> EngineHealth:
    """What the engine runs on, after a projection that proves the kernel runs; nothing in it changes later."""
    tape = engine.Tape.from_columns(balance=1.0, annual_rate=0.0, remaining_term=1)
    paid = engine.project(engine.ProjectionRequest(tape=tape, fields=["principal"]))["principal"]
    if paid.tolist() != [1.0]:
        raise RuntimeError(f"the kernel projects {paid.tolist()} where [1.0] is due")
    return EngineHealth(platform.machine(), cpu_level(), threads or os.cpu_count() or 1)


def api_component(components: Components) -> None:
    """Registers the API itself: its latency is how long the event loop takes to come back to a waiting request."""
    started = time.monotonic()

    async def check() -> Mapping[str, Any]:
        await asyncio.sleep(0)
        return {"uptime_seconds": round(time.monotonic() - started)}

    components.register("api", check)


def told(request: Request[Any, Any, Any], found: dict[str, ComponentHealth]) -> Response[bytes]:
    """The answer that tells of components: 200 if all of them pass, else 503."""
    passed = all(component.status == "ok" for component in found.values())
    body = Health("ok" if passed else "failing", version(), request.app.state.health, found)
    return Response(msgspec.json.encode(body), status_code=200 if passed else 503, media_type="application/json")


@get("/health")
async def health(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The state of the service and of each component; asks for no token."""
    components: Components = request.app.state.components
    return told(request, await components.check())


@get("/health/ready")
async def ready(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Whether requests may be sent here: the components that they need; asks for no token."""
    components: Components = request.app.state.components
    needed = components.needed()
    return told(request, {name: found for name, found in (await components.check()).items() if name in needed})


@get("/health/live", sync_to_thread=False)
def live() -> Response[bytes]:
    """That the process answers, whatever else does not; asks for no token."""
    return Response(msgspec.json.encode(Live("ok")), media_type="application/json")

"""GET /health: whether the service answers, its version and the engine it runs on."""

import os
import platform
from importlib import metadata
from typing import Any

import msgspec
from litestar import Request, Response, get

import engine

DISTRIBUTION = "credit-cashflow-engine"


class EngineHealth(msgspec.Struct, frozen=True):
    """The machine, the instruction set the kernel chose on it, and the threads of one projection."""

    machine: str
    dispatch: str
    threads: int


class Health(msgspec.Struct, frozen=True):
    """The state of the service."""

    status: str
    version: str
    engine: EngineHealth


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


def measure(threads: int | None) -> bytes:
    """The JSON of the state, after a projection that proves the kernel runs; nothing in it changes later."""
    tape = engine.Tape.from_columns(balance=1.0, annual_rate=0.0, remaining_term=1)
    paid = engine.project(engine.ProjectionRequest(tape=tape, fields=["principal"]))["principal"]
    if paid.tolist() != [1.0]:
        raise RuntimeError(f"the kernel projects {paid.tolist()} where [1.0] is due")
    kernel = EngineHealth(platform.machine(), cpu_level(), threads or os.cpu_count() or 1)
    return msgspec.json.encode(Health("ok", version(), kernel))


@get("/health", sync_to_thread=False)
def health(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The state of the service; asks for no token."""
    return Response(request.app.state.health, media_type="application/json")

"""A worker whose kernel breaks on runs of certain lengths: a segmentation fault, too much memory, a call without end,
and one that takes its time and tells its progress meanwhile.

With --supervise it is the supervisor of such workers.
"""

import ctypes
import sys
import time

import numpy as np

import engine
from api.jobs import process, supervisor

SEGFAULT_PERIODS, MEMORY_PERIODS, SLOW_PERIODS, BUSY_PERIODS = 13, 17, 19, 23
SLOW_SECONDS, BUSY_SECONDS = 12, 8
project = engine.project


def broken(request: engine.ProjectionRequest, *arguments: object) -> engine.Cashflows:
    if len(request.tape) and request.periods == BUSY_PERIODS:
        for step in range(BUSY_SECONDS * 20):
            arguments[1](1 + step % len(request.tape))  # type: ignore[operator]
            time.sleep(0.05)
    if len(request.tape) and request.periods == SEGFAULT_PERIODS:
        ctypes.string_at(0)
    if len(request.tape) and request.periods == MEMORY_PERIODS:
        np.ones(1 << 31)  # 16 GiB, beyond the worker's limit
    if len(request.tape) and request.periods == SLOW_PERIODS:
        time.sleep(SLOW_SECONDS)  # as a call that tells no progress
    return project(request, *arguments)  # type: ignore[arg-type]


if __name__ == "__main__":
    if "--supervise" in sys.argv:
        supervisor.COMMAND = [sys.executable, __file__]
        supervisor.supervise(2)
    else:
        engine.project = broken
        process.main()

"""`python -m api.jobs.process [SUPERVISOR]`: one worker process, until SIGTERM or SIGINT.

SUPERVISOR is the process id of the one that starts it again when it dies: with it, this one ends too.
"""

import ctypes
import logging
import os
import resource
import signal
import sys
import threading
from importlib.metadata import version

from api import sentry
from api.jobs.worker import Worker
from api.logging import configure
from api.settings import Settings

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def limit_memory(size: int) -> None:
    """Makes allocations beyond `size` bytes fail, so that a run that is too large is a MemoryError."""
    if size:
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def ends_with(supervisor: int) -> bool:
    """Whether the supervisor lives; from now on its death is SIGTERM for this process, where the system can do that."""
    if sys.platform == "linux":
        # Of the thread that started this process, which in a supervisor is its only one.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return os.getppid() == supervisor


def main() -> None:
    """Works until it is told to stop."""
    settings = Settings.from_env()
    configure(settings)
    limit_memory(settings.worker_memory_limit)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    if sys.argv[1:] and not ends_with(int(sys.argv[1])):
        return
    reports = sentry.start(settings, "worker", version("credit-cashflow-engine"))
    logging.getLogger("api.jobs").info("worker starts", extra={"reports": reports})
    worker = Worker(settings)
    worker.start()
    # A supervisor that was killed tells nobody, so where the system does not either, it is looked for.
    parent = int(sys.argv[1]) if sys.argv[1:] else os.getppid()
    while not ended.wait(1.0) and os.getppid() == parent:
        pass
    worker.stop()


if __name__ == "__main__":
    main()

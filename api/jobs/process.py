"""`python -m api.jobs.process`: one worker process, until SIGTERM or SIGINT."""

import logging
import os
import resource
import signal
import threading
from importlib.metadata import version

from api import sentry
from api.jobs.worker import Worker
from api.logging import configure
from api.settings import Settings


def limit_memory(size: int) -> None:
    """Makes allocations beyond `size` bytes fail, so that a run that is too large is a MemoryError."""
    if size:
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def main() -> None:
    """Works until it is told to stop."""
    settings = Settings.from_env()
    configure(settings)
    limit_memory(settings.worker_memory_limit)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    reports = sentry.start(settings, "worker", version("credit-cashflow-engine"))
    logging.getLogger("api.jobs").info("worker starts", extra={"reports": reports})
    worker = Worker(settings)
    worker.start()
    # A supervisor that was killed tells nobody: a worker whose parent is another one stops too.
    parent = os.getppid()
    while not ended.wait(1.0) and os.getppid() == parent:
        pass
    worker.stop()


if __name__ == "__main__":
    main()

"""Keeps worker processes alive: one that dies is started again, alone, after a pause that grows as it keeps dying."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

logger = logging.getLogger("api.jobs")
COMMAND = [sys.executable, "-m", "api.jobs.process"]
CALM_SECONDS = 30.0
LONGEST_PAUSE = 10.0
GRACE_SECONDS = 25.0


class Child:
    """A worker process and when to start it again."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.started = self.next_start = 0.0
        self.pause = 0.25

    def look(self, now: float) -> None:
        """Starts the process where it is not running and its pause is over."""
        if self.process is not None and self.process.poll() is None:
            return
        if self.process is not None:
            logger.error("a worker process ended with %s; starting another", self.process.returncode)
            calm = now - self.started > CALM_SECONDS
            self.pause = 0.25 if calm else min(self.pause * 2, LONGEST_PAUSE)
            self.next_start, self.process = now + self.pause, None
        if now >= self.next_start:
            self.started = now
            # A group of its own, so that Ctrl-C at a terminal comes through the supervisor alone.
            self.process = subprocess.Popen([*COMMAND, str(os.getpid())], process_group=0)


def supervise(processes: int) -> None:
    """Runs so many worker processes until SIGTERM or SIGINT, which they get too and have a while to obey."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    children = [Child() for _ in range(processes)]
    while not ended.wait(0.1):
        for child in children:
            child.look(time.monotonic())
    running = [child.process for child in children if child.process is not None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

"""What is tried again and again tells of its failing once, then once a minute, and of its end."""

import logging
import threading
import time

REPEAT_SECONDS = 60.0


class Outage:
    """The failing of one activity, such as `looking for work`; threads may share it."""

    def __init__(self, logger: logging.Logger, activity: str) -> None:
        self.logger, self.activity = logger, activity
        self.lock = threading.Lock()
        self.since: float | None = None
        self.told_at = 0.0
        self.failures = 0

    @property
    def failing(self) -> bool:
        """Whether it failed when it was last tried."""
        return self.since is not None

    def failed(self, error: BaseException, *, foreseen: bool = True) -> None:
        """Notes a failure; logs the first, and one a minute.

        foreseen: it is logged without its trace, which says nothing where a database is away.
        """
        now = time.monotonic()
        with self.lock:
            first = self.since is None
            self.since = now if self.since is None else self.since
            self.failures = 1 if first else self.failures + 1
            if not first and now - self.told_at < REPEAT_SECONDS:
                return
            self.told_at, more = now, {"for_seconds": round(now - self.since), "failures": self.failures}
        text = str(error).strip().partition("\n")[0] or type(error).__name__
        level, trace = (logging.WARNING, None) if foreseen else (logging.ERROR, error)
        self.logger.log(level, "failing: %s: %s", self.activity, text, extra=more, exc_info=trace)

    def passed(self) -> None:
        """Notes a success, and logs it where it ends an outage."""
        if self.since is None:
            return
        with self.lock:
            begun, self.since = self.since, None
        if begun is not None:
            more = {"for_seconds": round(time.monotonic() - begun)}
            self.logger.info("no longer failing: %s", self.activity, extra=more)

"""GET /metrics: counts and durations of requests in the Prometheus text format (version 0.0.4)."""

import threading
import time
from bisect import bisect_left
from typing import Any

from litestar import Request, Response, get
from litestar.types import ASGIApp, Message, Receive, Send

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
Key = tuple[str, str, int]


class Metrics:
    """Requests of one process by method, route and status: how many, how long, in which bucket of time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.buckets: dict[Key, list[int]] = {}
        self.seconds: dict[Key, float] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one answer."""
        key = (method, route, status)
        with self.lock:
            counts = self.buckets.setdefault(key, [0] * (len(BUCKETS) + 1))
            counts[bisect_left(BUCKETS, seconds)] += 1
            self.seconds[key] = self.seconds.get(key, 0.0) + seconds

    def render(self) -> str:
        """The text that Prometheus reads."""
        name = "http_request_seconds"
        lines = [f"# HELP {name} Time to the end of the answer.", f"# TYPE {name} histogram"]
        with self.lock:
            found = [(key, list(counts), self.seconds[key]) for key, counts in sorted(self.buckets.items())]
        for (method, route, status), counts, seconds in found:
            labels = f'method="{method}",route="{route}",status="{status}"'
            below = 0
            for bound, count in zip((*BUCKETS, "+Inf"), counts, strict=True):
                below += count
                lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {below}')
            lines += [f"{name}_sum{{{labels}}} {seconds:.9g}", f"{name}_count{{{labels}}} {below}"]
        return "\n".join(lines) + "\n"


def measured(app: ASGIApp, metrics: Metrics, routes: frozenset[str]) -> ASGIApp:
    """`app` with each answer counted, refusals of authentication too.

    The label is the route, or "other" for any path that is none: callers cannot make labels.
    """

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, send_and_note)
        finally:
            route = scope["path"] if scope["path"] in routes else "other"
            method = scope["method"] if scope["method"] in METHODS else "other"
            metrics.observe(method, route, status, time.perf_counter() - started)

    return wrapped


@get("/metrics", sync_to_thread=False)
def metrics_page(request: Request[Any, Any, Any]) -> Response[str]:
    """The metrics of this process; asks for no token."""
    return Response(request.app.state.metrics.render(), media_type="text/plain; version=0.0.4")

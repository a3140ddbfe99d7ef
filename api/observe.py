"""The outermost layer of the service: ids, metrics and one line of the access log for every answer."""

import logging
import re
import time
from typing import Any

from litestar import Litestar
from litestar.types import ASGIApp, Message, Receive, Send

from api import correlation, metrics

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
# Probes and scrapes come every few seconds and say nothing by coming.
PROBES = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
access = logging.getLogger("api.access")


class Routes:
    """Finds the template of a request's path; callers cannot make labels, for what is no route is "other"."""

    def __init__(self, templates: list[str]) -> None:
        self.exact = frozenset(path for path in templates if "{" not in path)
        parametric = sorted({path for path in templates if "{" in path})
        self.patterns = [(re.compile(re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(path))), path) for path in parametric]

    @classmethod
    def of(cls, app: Litestar) -> "Routes":
        return cls([route.path_format for route in app.routes])

    def template(self, scope: Any) -> str:
        """The template: the router's, or found here where a request was refused before it reached the router."""
        path: str = scope["path"]
        if path in self.exact:
            return path
        routed = scope.get("path_template")
        if routed:
            return str(routed)
        return next((template for pattern, template in self.patterns if pattern.fullmatch(path)), OTHER)


def observed(app: ASGIApp, routes: Routes) -> ASGIApp:
    """`app` with every answer counted and logged, refusals of authentication and of the router too."""

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await answer(app, routes, scope, receive, send)
        elif scope["type"] == "websocket":
            await converse(app, routes, scope, receive, send)
        else:
            await app(scope, receive, send)

    return wrapped


async def answer(app: ASGIApp, routes: Routes, scope: Any, receive: Receive, send: Send) -> None:
    """Answers one request; its ids are in the context, in the log and on the answer."""
    ids = correlation.ids_of(scope["headers"])
    token = correlation.fields.set(ids)
    told = [(b"x-request-id", ids["request_id"].encode()), (b"x-correlation-id", ids["correlation_id"].encode())]
    status = 500

    async def send_and_note(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            message["headers"] = [*message["headers"], *told]
        await send(message)

    started = time.perf_counter()
    metrics.IN_FLIGHT.inc()
    try:
        await app(scope, receive, send_and_note)
    finally:
        seconds = time.perf_counter() - started
        metrics.IN_FLIGHT.dec()
        method = scope["method"] if scope["method"] in METHODS else OTHER
        route = routes.template(scope)
        metrics.observe_request(method, route, status, seconds)
        log(scope, "request", method=method, route=route, status=status, duration_ms=round(1e3 * seconds, 3))
        correlation.fields.reset(token)


async def converse(app: ASGIApp, routes: Routes, scope: Any, receive: Receive, send: Send) -> None:
    """Holds one WebSocket; what it does carries one pair of ids, and it is logged when it ends."""
    token = correlation.fields.set(correlation.ids_of(scope["headers"]))
    started = time.perf_counter()
    metrics.WEBSOCKETS.inc()
    try:
        await app(scope, receive, send)
    finally:
        metrics.WEBSOCKETS.dec()
        route = routes.template(scope)
        log(scope, "websocket", route=route, duration_ms=round(1e3 * (time.perf_counter() - started), 3))
        correlation.fields.reset(token)


def log(scope: Any, event: str, **fields: Any) -> None:
    """One line of the access log: the route's template, so neither ids nor tokens of an address are in it."""
    level = logging.DEBUG if fields["route"] in PROBES and fields.get("status") == 200 else logging.INFO
    if not access.isEnabledFor(level):
        return
    user, client = scope.get("user"), scope.get("client")
    who = {"user": user} if isinstance(user, str) else {}
    access.log(level, event, extra={**fields, **who, "client": client[0] if client else None})

"""Answers that are bytes already, and routes that give them, for what is asked for thousands of times a second.

The framework hands each guard a copy of its route, and makes a response by what routes may say of cookies, encoders and
background tasks. Both together take longer than reading the body of one loan.
"""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import HTTPRouteHandler
from litestar.types import Receive, Scope, Send


class Answer:
    """An answer of bytes, status 200. headers: beside its type and length, names in small letters."""

    def __init__(self, body: bytes, media_type: str, **headers: str) -> None:
        told = {**headers, "content-type": media_type, "content-length": str(len(body))}
        self.body, self.headers = body, [(name.encode(), value.encode("latin-1")) for name, value in told.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


class Route(HTTPRouteHandler):
    """A route whose guards look at the route itself."""

    async def authorize_connection(self, connection: ASGIConnection[Any, Any, Any, Any]) -> None:
        """Has every guard look at the connection."""
        for guard in self.resolve_guards():
            await guard(connection, self)  # type: ignore[misc]

"""WebSocket /graphql: the protocol graphql-transport-ws, for subscriptions and queries on one connection.

A browser cannot send a header with a WebSocket, so the token comes in the payload of `connection_init`, as
`{"authorization": "Bearer <token>"}`; until it has been accepted nothing runs. The connection ends with its token.
"""

import asyncio
import json
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

from graphql import GraphQLError
from litestar import WebSocket, websocket
from strawberry.exceptions import ConnectionRejectionError
from strawberry.litestar.controller import LitestarWebSocketAdapter
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.types.unset import UNSET

from api import metrics
from api.errors import Refusal
from api.graphql.handlers import MAX_QUERY_CHARACTERS, context_of, encoded
from api.graphql.root import schema
from api.rate_limit import charge_user
from api.tokens import Caller

INIT_SECONDS = 10
MAX_OPERATIONS = 20
WRONG_PROTOCOL, FORBIDDEN = 4406, 4403
UNFORESEEN = {"message": "The service failed on this field; the failure is logged.", "extensions": {"code": "INTERNAL"}}


class View:
    """What Strawberry's handler asks of the view that it belongs to."""

    def __init__(self, socket: WebSocket[Any, Any, Any]) -> None:
        self.socket = socket
        self.ending: asyncio.Task[None] | None = None

    def decode_json(self, text: str) -> Any:
        return json.loads(text)

    def encode_json(self, message: Any) -> bytes:
        return encoded(message)

    async def on_ws_connect(self, context: dict[str, Any]) -> Any:
        """Accepts the token in the payload. Raises ConnectionRejectionError."""
        given = context["connection_params"].get("authorization")
        scheme, _, token = given.partition(" ") if isinstance(given, str) else ("", "", "")
        try:
            if scheme.lower() != "bearer" or not token.strip():
                metrics.count_authentication_failure("missing")
                raise ConnectionRejectionError
            caller: Caller = await self.socket.app.state.tokens.caller(token.strip())
            self.socket.scope["auth"], self.socket.scope["user"] = caller, caller.subject
            if self.socket.app.state.limiter.enabled:
                await charge_user(self.socket.scope, self.socket.app.state.limiter, 1)
        except Refusal as refusal:
            if refusal.status == 401:
                metrics.count_authentication_failure("invalid")
            raise ConnectionRejectionError from refusal
        context["caller"] = caller
        self.ending = asyncio.create_task(self.end_with(caller))
        return UNSET

    async def end_with(self, caller: Caller) -> None:
        """Closes the connection when its token is over."""
        await asyncio.sleep(max(0.0, caller.expires - time.time()))
        with suppress(Exception):
            await self.socket.close(code=FORBIDDEN, reason="The token has expired")


class Handler(BaseGraphQLTransportWSHandler[Any, Any]):
    """Strawberry's handler, with the errors of our answers and the length of our queries."""

    async def handle_subscribe(self, message: Any) -> None:
        query = message["payload"]["query"]
        if not isinstance(query, str) or len(query) > MAX_QUERY_CHARACTERS:
            error = GraphQLError(f"The query is no text of at most {MAX_QUERY_CHARACTERS:,} characters.")
            await self.send_message({"id": message["id"], "type": "error", "payload": [error.formatted]})
            return
        await super().handle_subscribe(message)

    async def send_message(self, message: Any) -> None:
        errors = message["payload"].get("errors") if message["type"] == "next" else None
        if errors:
            # What was raised on purpose has a code; the text of anything else is for the log.
            told = [error if "code" in error.get("extensions", {}) else {**error, **UNFORESEEN} for error in errors]
            message = {**message, "payload": {**message["payload"], "errors": told}}
        await super().send_message(message)


@websocket("/graphql")
async def graphql_socket(socket: WebSocket[Any, Any, Any]) -> None:
    """Holds a connection until either side ends it."""
    if GRAPHQL_TRANSPORT_WS_PROTOCOL not in socket.scope.get("subprotocols", []):
        await socket.close(code=WRONG_PROTOCOL, reason="Subprotocol not acceptable; expected graphql-transport-ws")
        return
    await socket.accept(subprotocols=GRAPHQL_TRANSPORT_WS_PROTOCOL)
    view: Any = View(socket)
    handler = Handler(
        view=view,
        websocket=LitestarWebSocketAdapter(view, socket, socket),
        context=context_of(socket),
        root_value=None,
        schema=schema,
        connection_init_wait_timeout=timedelta(seconds=INIT_SECONDS),
        max_subscriptions_per_connection=MAX_OPERATIONS,
    )
    try:
        await handler.handle()
    finally:
        if view.ending is not None:
            view.ending.cancel()

"""WebSocket /graphql: the protocol graphql-transport-ws, for subscriptions and queries on one connection.

A browser cannot send a header with a WebSocket, so the token comes in the payload of `connection_init`, as
`{"authorization": "Bearer <token>"}`; until it has been accepted nothing runs. Cookies are not read here, so a page of
another origin has nothing to act with but a token that it holds already. Each operation is charged and held to the same
bounds as a request; the connection ends with its token, or when nothing has happened on it for a while.
"""

import asyncio
import json
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any, Literal

import msgspec
from litestar import WebSocket, websocket
from strawberry.exceptions import ConnectionRejectionError
from strawberry.litestar.controller import LitestarWebSocketAdapter
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.types.unset import UNSET

from api import metrics
from api.errors import Refusal
from api.graphql.handlers import MAX_QUERY_CHARACTERS, Operation, context_of, discreet, encoded, results_of
from api.graphql.refusals import graphql_error
from api.rate_limit import TOO_MANY, charge_user
from api.settings import Settings
from api.tokens import MAX_TOKEN_BYTES, Caller

INIT_SECONDS = 10
# Without a message and without an operation; clients that stay send pings.
IDLE_SECONDS = 300.0
MAX_OPERATIONS = 20
MAX_CONNECTIONS = 20
"""Of one user with one process."""
MAX_ID_CHARACTERS = 128
# What may be sent before the token has been accepted: the token.
MAX_FIRST_BYTES = MAX_TOKEN_BYTES + 1024
UNAUTHORIZED, FORBIDDEN, WRONG_PROTOCOL, SILENT, LATER = 4401, 4403, 4406, 4408, 1013
CLOSES = {429: TOO_MANY, 503: LATER}
MAX_REASON = 120
UNFORESEEN = {"message": "The service failed on this field; the failure is logged.", "extensions": {"code": "INTERNAL"}}


class Message(msgspec.Struct, omit_defaults=True):
    """A message of the protocol, from a client."""

    type: Literal["connection_init", "ping", "pong", "subscribe", "complete"]
    id: str | None = None
    payload: dict[str, Any] | None = None


decoder = msgspec.json.Decoder(Message)


class View:
    """What Strawberry's handler asks of the view that it belongs to."""

    def __init__(self, socket: WebSocket[Any, Any, Any]) -> None:
        self.socket = socket
        self.settings: Settings = socket.app.state.settings
        self.caller: Caller | None = None
        self.heard = time.monotonic()
        self.closed = False

    def decode_json(self, text: str) -> Any:
        """The message in a text. Raises JSONDecodeError, which ends the connection, for what is none."""
        self.heard = time.monotonic()
        most = MAX_FIRST_BYTES if self.caller is None else self.settings.max_graphql_body_bytes
        try:
            if len(text) > most:
                raise ValueError("too long")
            message = decoder.decode(text)
            if message.type in ("subscribe", "complete") and not 0 < len(message.id or "") <= MAX_ID_CHARACTERS:
                raise ValueError("no id")
            if message.type == "subscribe" and self.caller is not None:
                msgspec.convert(message.payload, Operation)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise json.JSONDecodeError("no message of the protocol", "", 0) from error
        return msgspec.to_builtins(message)

    def encode_json(self, message: Any) -> bytes:
        return encoded(message)

    async def on_ws_connect(self, context: dict[str, Any]) -> Any:
        """Accepts the token in the payload. Raises ConnectionRejectionError."""
        given = context["connection_params"].get("authorization")
        scheme, _, token = given.partition(" ") if isinstance(given, str) else ("", "", "")
        if scheme.lower() != "bearer" or not token.strip():
            metrics.count_authentication_failure("missing")
            raise ConnectionRejectionError
        state, scope = self.socket.app.state, self.socket.scope
        try:
            caller: Caller = await state.tokens.caller(token.strip())
            scope["auth"], scope["user"] = caller, caller.subject
            if state.limiter.enabled:
                await charge_user(scope, state.limiter, 1)
            if state.sockets[caller.subject] >= MAX_CONNECTIONS:
                raise Refusal(429, f"There are {MAX_CONNECTIONS} connections of this user; close one.")
        except Refusal as refusal:
            if refusal.status == 401:
                metrics.count_authentication_failure("invalid")
            if refusal.status in CLOSES:
                await self.close(CLOSES[refusal.status], refusal.detail)
            raise ConnectionRejectionError from refusal
        state.sockets[caller.subject] += 1
        self.caller = context["caller"] = caller
        return UNSET

    async def close(self, code: int, reason: str) -> None:
        """Ends the connection, with the first reason that was given."""
        if not self.closed:
            self.closed = True
            await self.socket.close(code=code, reason=reason[:MAX_REASON])

    def disconnected(self) -> None:
        """Counts the connection no more."""
        if self.caller is not None:
            sockets = self.socket.app.state.sockets
            sockets[self.caller.subject] -= 1
            # Kept at zero they would grow with every user there ever was.
            if sockets[self.caller.subject] <= 0:
                del sockets[self.caller.subject]


class Adapter(LitestarWebSocketAdapter):
    """Strawberry's way to the socket, which is closed once."""

    async def close(self, code: int, reason: str) -> None:
        view: Any = self.view
        await view.close(code, reason)


class Charged:
    """The schema, whose operations each have a context of their own: their size is counted alone."""

    def __init__(self, socket: WebSocket[Any, Any, Any]) -> None:
        self.socket = socket

    async def stream(
        self, query: str, *, context_value: Any, operation_name: Any = None, variable_values: Any = None, **_: Any
    ) -> Any:
        """The results of an operation."""
        context = context_of(self.socket, caller=context_value["caller"], operation_name=operation_name)
        return results_of(Operation(query, variable_values, operation_name), context)


class Handler(BaseGraphQLTransportWSHandler[Any, Any]):
    """Strawberry's handler, with the charges, the errors and the bounds of our answers."""

    view: Any

    async def handle_subscribe(self, message: Any) -> None:
        if not self.connection_acknowledged:
            metrics.count_authentication_failure("missing")
            await self.websocket.close(code=UNAUTHORIZED, reason="Unauthorized")
            return
        if len(message["payload"]["query"]) > MAX_QUERY_CHARACTERS:
            text = f"The query has more than the {MAX_QUERY_CHARACTERS:,} characters that are read."
            await self.refuse(message["id"], Refusal(400, text))
            return
        try:
            limiter = self.view.socket.app.state.limiter
            if limiter.enabled:
                await charge_user(self.view.socket.scope, limiter, 1)
        except Refusal as refusal:
            await self.refuse(message["id"], refusal)
            return
        await super().handle_subscribe(message)

    async def refuse(self, id: str, refusal: Refusal) -> None:
        """Ends an operation that did not begin."""
        await self.send_message({"id": id, "type": "error", "payload": [graphql_error(refusal).formatted]})

    async def send_message(self, message: Any) -> None:
        suggest = self.view.settings.introspection
        if message["type"] == "error":
            message = {**message, "payload": [discreet(error, suggest) for error in message["payload"]]}
        elif message["type"] == "next" and message["payload"].get("errors"):
            # What was raised on purpose has a code; the text of anything else is for the log.
            told = [
                discreet(error, suggest) if "code" in error.get("extensions", {}) else {**error, **UNFORESEEN}
                for error in message["payload"]["errors"]
            ]
            message = {**message, "payload": {**message["payload"], "errors": told}}
        await super().send_message(message)

    async def watch(self) -> None:
        """Ends the connection when its token is over, or when it has been idle for too long."""
        while True:
            now, caller = time.monotonic(), self.view.caller
            if self.operations:
                self.view.heard = now
            lasts = self.view.heard + IDLE_SECONDS - now
            valid = lasts if caller is None else caller.lasts(self.view.settings)
            if valid <= 0:
                await self.end(FORBIDDEN, "The token has expired")
                return
            if lasts <= 0:
                await self.end(SILENT, "Nothing has happened on this connection")
                return
            await asyncio.sleep(min(lasts, valid, 1.0 if caller is None else IDLE_SECONDS))

    async def end(self, code: int, reason: str) -> None:
        """Ends the operations, then the connection: what a client does about the close frame does not matter."""
        for id in list(self.operations):
            await self.cleanup_operation(id)
        with suppress(Exception):
            await self.websocket.close(code=code, reason=reason)


@websocket("/graphql")
async def graphql_socket(socket: WebSocket[Any, Any, Any]) -> None:
    """Holds a connection until either side ends it."""
    if GRAPHQL_TRANSPORT_WS_PROTOCOL not in socket.scope.get("subprotocols", []):
        await socket.close(code=WRONG_PROTOCOL, reason="Subprotocol not acceptable; expected graphql-transport-ws")
        return
    await socket.accept(subprotocols=GRAPHQL_TRANSPORT_WS_PROTOCOL)
    view: Any = View(socket)
    operations: Any = Charged(socket)
    handler = Handler(
        view=view,
        websocket=Adapter(view, socket, socket),
        context={},
        root_value=None,
        schema=operations,
        connection_init_wait_timeout=timedelta(seconds=INIT_SECONDS),
        max_subscriptions_per_connection=MAX_OPERATIONS,
    )
    watching = asyncio.create_task(handler.watch())
    try:
        await handler.handle()
    finally:
        watching.cancel()
        view.disconnected()

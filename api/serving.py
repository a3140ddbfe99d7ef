"""The server behind `cashflow serve`: uvicorn, made to stop without failing requests that a proxy has under way.

A proxy keeps connections open and sends its next request on one of them at any moment. uvicorn closes the idle ones as
it stops, so that a request on its way is lost, and a proxy may not repeat a POST. Here idle connections linger: whoever
uses one is answered, and told to close it.
"""

import gc
import sys
from contextlib import suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.supervisors import Multiprocess

from api.settings import Settings

# Longer than proxies keep a connection (nginx and AWS load balancers: 60), so that they are the ones to close it.
KEEP_ALIVE_SECONDS = 75
# What a stop waits for idle connections to be used once more, and for answers under way.
LINGER_SECONDS = 3.0
GRACE_SECONDS = 30


class Together:
    """A connection on which the head of an answer of known length waits for the body, and goes out with its beginning.

    The server writes the head by itself, which costs it and whoever reads an answer one more call of the system each.
    """

    def __init__(self, transport: Any, cycle: RequestResponseCycle) -> None:
        self.transport, self.cycle = transport, cycle
        self.head: bytes | None = None
        self.holds = cycle.scope["method"] != "HEAD"

    def write(self, data: bytes) -> None:
        """Writes data, the head of an answer only once there is more."""
        if self.head is not None:
            self.transport.writelines((self.head, data))
            self.head = None
        # The server knows by now whether the length was told.
        elif self.holds and self.cycle.response_started and self.cycle.chunked_encoding is False:
            self.head, self.holds = data, False
        else:
            self.transport.write(data)

    def close(self) -> None:
        """Ends the connection, with a head that nothing came after."""
        if self.head is not None:
            self.transport.write(self.head)
            self.head = None
        self.transport.close()

    def is_closing(self) -> bool:
        """Whether the connection ends."""
        closing: bool = self.transport.is_closing()
        return closing


class LingeringProtocol(HttpToolsProtocol):
    """Connections that answer one more request after the server was told to stop, and write answers at once.

    What cannot be read is refused in its turn: the server would do so at once, ahead of answers to earlier requests.
    """

    stopping = False
    unreadable: str | None = None

    def data_received(self, data: bytes) -> None:
        # Nothing after what could not be read is a request.
        if self.unreadable is None:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Refuses what cannot be read, after the answers to the requests before it."""
        newest, waits = self.cycle, bool(self.pipeline)
        if newest is None or newest.response_complete or (newest.more_body and not waits):
            super().send_400_response(msg)
            return
        if newest.more_body:
            # It is the body of a request that waits, the last to come, that cannot be read.
            self.pipeline.popleft()
        self.unreadable = msg
        # What still comes is taken and dropped: an end with something unread would take answers on their way with it.
        self.flow.resume_reading()

    def on_response_complete(self) -> None:
        last = not self.pipeline
        super().on_response_complete()
        if self.unreadable is not None and last and not self.transport.is_closing():
            super().send_400_response(self.unreadable)

    def shutdown(self) -> None:
        self.stopping = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
            return
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        self.timeout_keep_alive_task = self.loop.call_later(LINGER_SECONDS, self.timeout_keep_alive_handler)

    def on_headers_complete(self) -> None:
        begun = self.cycle
        super().on_headers_complete()
        if self.cycle is begun:
            return
        transport: Any = Together(self.transport, self.cycle)
        self.cycle.transport = transport
        if self.stopping:
            self.cycle.keep_alive = False


class Config(uvicorn.Config):
    """The server's configuration; once the application is loaded, the collector leaves alone what there is.

    It lives as long as the process. Going over it again and again took a tenth of the time of small requests.
    """

    def load(self) -> None:
        super().load()
        gc.collect()
        gc.freeze()


class Processes(Multiprocess):
    """Server processes on one socket, which nobody listens on once they were told to stop."""

    def terminate_all(self) -> None:
        # Open in this process it would go on taking connections that no process answers.
        for listening in self.sockets:
            listening.close()
        super().terminate_all()


def serve_app(settings: Settings, host: str, port: int, workers: int) -> None:
    """Serves api.app:create_app() until SIGTERM or SIGINT, in `workers` processes; exits with 3 if it cannot start."""
    # Every process builds its own app, so the server is given the factory's name. The access log is our own: the
    # address of a page opened in a browser holds a token.
    options: dict[str, Any] = {"loop": "uvloop", "http": LingeringProtocol, "log_config": None, "access_log": False}
    config = Config(
        "api.app:create_app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        proxy_headers=False,
        server_header=False,
        # What is compressed may unpack to any size, here as in bodies.
        ws_max_size=settings.max_graphql_body_bytes,
        ws_per_message_deflate=False,
        ssl_certfile=settings.tls_cert_file or None,
        ssl_keyfile=settings.tls_key_file or None,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        **options,
    )
    if workers > 1:
        Processes(config, sockets=[config.bind_socket()]).run()
        return
    server = uvicorn.Server(config)
    # The server raises the signal again that it has obeyed; Ctrl-C is no failure.
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(3)

"""Stopping the server: what is on its way over open connections is answered, and nobody listens any more."""

import asyncio
import contextlib
import gc
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from api import serving
from api.serving import Config, LingeringProtocol, Processes

REQUEST = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\nhi"


async def slow_app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers after a moment."""
    assert scope["type"] == "http"
    await receive()
    await asyncio.sleep(0.1)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def answered(connection: socket.socket) -> bytes:
    """One whole answer, or what came before the end of the connection."""
    found = b""
    while not found.endswith(b"\r\n\r\nok"):
        part = connection.recv(4096)
        if not part:
            break
        found += part
    return found.lower()


@pytest.fixture
def server() -> Iterator[tuple[uvicorn.Server, int]]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(slow_app, http=LingeringProtocol, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield server, listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def test_a_request_on_an_idle_connection_is_answered_while_the_server_stops(
    server: tuple[uvicorn.Server, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "LINGER_SECONDS", 30.0)
    running, port = server
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as connection:
        connection.sendall(REQUEST)
        assert b"connection: close" not in answered(connection)
        running.should_exit = True
        while not refuses(port):
            time.sleep(0.01)
        connection.sendall(REQUEST)
        last = answered(connection)
        assert last.startswith(b"http/1.1 200")
        assert b"connection: close" in last
        assert connection.recv(1) == b""


def test_an_idle_connection_does_not_hold_up_the_stop_for_long(
    server: tuple[uvicorn.Server, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "LINGER_SECONDS", 0.1)
    running, port = server
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as connection:
        running.should_exit = True
        assert connection.recv(1) == b""


def all_answered(connection: socket.socket) -> list[bytes]:
    """The statuses of all answers until the connection ends."""
    found = b""
    while part := connection.recv(4096):
        found += part
    return re.findall(rb"HTTP/1\.1 (\d+)", found)


CHUNKED = b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
UNREADABLE = {"no method": b"\x00\x01 nonsense\r\n\r\n", "a chunk without a size": CHUNKED + b"zz\r\nhi\r\n0\r\n\r\n"}


@pytest.mark.parametrize("bad", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("before", [0, 1, 2, 3])
@pytest.mark.parametrize("together", [True, False])
def test_what_cannot_be_read_is_refused_after_the_answers_to_what_came_before(
    server: tuple[uvicorn.Server, int], bad: bytes, before: int, together: bool
) -> None:
    _, port = server
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as connection:
        for part in [REQUEST * before + bad] if together else [*[REQUEST] * before, bad]:
            connection.sendall(part)
            time.sleep(0 if together else 0.02)
        if before:
            # What follows while the others are answered is no request any more.
            connection.sendall(REQUEST)
        assert all_answered(connection) == [b"200"] * before + [b"400"]


def test_the_processes_stop_listening_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uvicorn.supervisors.multiprocess.signal.signal", lambda *_: None)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    Processes(uvicorn.Config("api.app:create_app", factory=True, workers=2), sockets=[listening]).terminate_all()
    assert refuses(port)


def test_what_lives_as_long_as_the_process_is_left_to_itself_by_the_collector() -> None:
    before = gc.get_freeze_count()
    try:
        Config("tests.api.test_serving:slow_app").load()
        assert gc.get_freeze_count() > before + 1000
    finally:
        gc.unfreeze()


class Wire:
    """A transport that notes what is written in one go."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        self.sent.append(b"".join(parts))

    def close(self) -> None:
        self.sent.append(b"closed")

    def is_closing(self) -> bool:
        return self.sent[-1:] == [b"closed"]

    def get_extra_info(self, name: str) -> Any:
        return None

    def pause_reading(self) -> None:
        """Nothing is read."""

    resume_reading = pause_reading


def written(app: Any, request: bytes = REQUEST) -> list[bytes]:
    """What the protocol writes in answer to a request, each entry in one go."""
    wire = Wire()

    async def converse() -> None:
        config = uvicorn.Config(app, lifespan="off", log_config=None)
        config.load()
        protocol = LingeringProtocol(config, ServerState(), {})
        protocol.connection_made(wire)  # type: ignore[arg-type]
        protocol.data_received(request)
        while protocol.tasks:
            await asyncio.sleep(0)
        protocol.connection_lost(ConnectionError())

    asyncio.run(converse())
    return wire.sent


def app_of(headers: list[tuple[bytes, bytes]], *parts: bytes) -> Any:
    """An application that sends a head and then parts of a body."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for i, part in enumerate(parts):
            await send({"type": "http.response.body", "body": part, "more_body": i + 1 < len(parts)})

    return app


def test_the_head_of_an_answer_goes_out_with_its_body() -> None:
    (sent,) = written(app_of([(b"content-length", b"2")], b"ok"))
    assert sent == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def test_later_parts_of_a_body_go_out_as_they_come() -> None:
    sent = written(app_of([(b"content-length", b"4")], b"ok", b"ay"))
    assert [part[-2:] for part in sent] == [b"ok", b"ay"]


def test_the_head_of_a_stream_does_not_wait_for_what_follows() -> None:
    head, *rest = written(app_of([], b"ok", b""))
    assert head.endswith(b"transfer-encoding: chunked\r\n\r\n")
    assert rest == [b"2\r\nok\r\n", b"0\r\n\r\n"]


def test_the_head_of_an_answer_without_a_body_is_written() -> None:
    request = REQUEST.replace(b"POST", b"HEAD")
    assert written(app_of([(b"content-length", b"2")], b"ok"), request) == [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
    ]
    assert written(app_of([(b"content-length", b"0")], b"")) == [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]


def test_an_answer_that_breaks_off_shows_its_head_and_ends_the_connection() -> None:
    assert written(app_of([(b"content-length", b"2")])) == [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n",
        b"closed",
    ]


def test_each_answer_on_one_connection_is_written_whole() -> None:
    sent = written(app_of([(b"content-length", b"2")], b"ok"), REQUEST + REQUEST)
    assert sent == [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"] * 2

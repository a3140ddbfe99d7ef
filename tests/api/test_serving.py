"""Stopping the server: what is on its way over open connections is answered, and nobody listens any more."""

import asyncio
import contextlib
import gc
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

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

"""The service and the framework's empty handler as processes of their own, and a client that loads them.

The client keeps so many connections busy that the server never waits, and stops after so many requests or seconds.
Requests are whole bytes made beforehand; answers are parsed by httptools. So the client costs far less than a server.
"""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httptools
import msgspec
import numpy as np
import uvloop

from api.auth import issue_token
from api.settings import Settings
from bench.timing import of_child

SECRET = "a secret of the benchmarks, of 32 bytes and more"
START_SECONDS = 30.0
SERVE = [sys.executable, "-c", "from api.entry import main; main()", "serve", "--port"]
# Requests are counted as in production, against a quota that no load uses up.
QUOTA = {"RATE_LIMIT_ENABLED": "true", "RATE_LIMIT_REQUESTS": str(10**9)}
EMPTY = [sys.executable, "-m", "bench.empty"]


class Server(msgspec.Struct, frozen=True):
    """Where a server listens, what it took to become ready, and a token for it."""

    port: int
    seconds_to_ready: float
    token: str

    def request(self, path: str, body: bytes, method: str = "POST", content_type: str = "application/json") -> bytes:
        """A whole request as bytes."""
        return (
            f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\nauthorization: Bearer {self.token}\r\n"
            f"content-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode() + body


class Load(msgspec.Struct, frozen=True):
    """What a load showed: requests, seconds, latencies in seconds, and the size of the last answer."""

    requests: int
    seconds: float
    latencies: list[float]
    answer: bytes

    def told(self) -> dict[str, float]:
        median, slow = np.quantile(self.latencies, [0.5, 0.99]) * 1e3
        return {
            "requests_a_second": self.requests / self.seconds,
            "median_ms": float(median),
            "p99_ms": float(slow),
            "answer_bytes": len(self.answer),
        }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: list[str], folder: Path) -> Iterator[Server]:
    """A server started by the command and a free port, until the end of the block; its log is kept in the folder."""
    settings = Settings(jwt_secret=SECRET, state_dir=str(folder))
    given = {"JWT_SECRET": SECRET, "STATE_DIR": str(folder), "LOG_FORMAT": "json"} | QUOTA
    port, start = free_port(), time.perf_counter()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, str(port)], env=of_child() | given, stdout=log, stderr=log)
    try:
        while not is_ready(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.perf_counter() - start < START_SECONDS, "the server did not become ready"
            time.sleep(0.01)
        ready = time.perf_counter() - start
        yield Server(port, ready, issue_token(settings, "bench", timedelta(hours=1), "analyst"))
    finally:
        process.terminate()
        process.wait(timeout=30)


def is_ready(port: int) -> bool:
    """Whether GET /health/ready answers 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /health/ready HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


class Connection(asyncio.Protocol):
    """Sends the request again whenever it has been answered, as long as the budget lasts."""

    def __init__(self, request: bytes, budget: Iterator[int], done: "asyncio.Future[None]") -> None:
        self.request, self.budget, self.done = request, budget, done
        self.latencies: list[float] = []
        self.answer: list[bytes] = []
        self.sent = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        if next(self.budget, None) is None:
            self.transport.close()
            return
        self.answer = []
        self.parser = httptools.HttpResponseParser(self)
        self.sent = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        self.answer.append(part)

    def on_message_complete(self) -> None:
        self.latencies.append(time.perf_counter() - self.sent)
        status = self.parser.get_status_code()
        if status not in (200, 201):
            self.transport.close()
            self.done.set_exception(AssertionError(f"{status}: {b''.join(self.answer)[:500]!r}"))
            return
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None) if error is None else self.done.set_exception(error)


def load(port: int, request: bytes, requests: int, connections: int = 16, seconds: float = 30.0) -> Load:
    """The answers to so many requests over so many connections. Raises AssertionError for an answer but 200 or 201."""

    async def work() -> Load:
        loop = asyncio.get_running_loop()
        budget, made = iter(range(requests)), []
        start = time.perf_counter()
        async with asyncio.timeout(seconds):
            for _ in range(connections):
                connection = Connection(request, budget, loop.create_future())
                made.append(connection)
                await loop.create_connection(lambda found=connection: found, "127.0.0.1", port)
            await asyncio.gather(*(connection.done for connection in made))
        taken = time.perf_counter() - start
        latencies = [latency for connection in made for latency in connection.latencies]
        return Load(len(latencies), taken, latencies, b"".join(made[0].answer))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work())

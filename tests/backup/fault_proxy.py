"""An S3 endpoint that fails: a proxy before moto that checks what moto does not, and injects faults on demand.

Every body that comes with a digest is checked against it, and refused with BadDigest where it differs. A fault is a
function of the request's number among those that match; it answers what to do with it.
"""

import base64
import hashlib
import http.client
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length", "host"}
BAD_DIGEST = b"<Error><Code>BadDigest</Code><Message>The digest is another than the body's.</Message></Error>"
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
Fault = Callable[[int], str]


class Faults:
    """What to do with requests: rules of (method, part of the address, fault). A fault's answer is one of

    "" (pass), "503", "reset" (before the request is passed on), "lost" (after: the answer is lost), "stall" (until
    `resume` is set), "flip up" or "flip down" (one bit of the body), "cut" (the answer's body breaks off).
    """

    def __init__(self) -> None:
        self.rules: list[tuple[str, str, Fault]] = []
        self.counts: dict[int, int] = {}
        self.seen: list[str] = []
        self.refused: list[str] = []
        self.resume = threading.Event()
        self.stalled = threading.Event()
        self.lock = threading.Lock()

    def add(self, method: str, part: str, fault: Fault) -> None:
        self.rules.append((method, part, fault))

    def clear(self) -> None:
        self.rules.clear()
        self.counts.clear()

    def of(self, method: str, address: str) -> str:
        with self.lock:
            self.seen.append(f"{method} {address}")
            for number, (verb, part, fault) in enumerate(self.rules):
                if verb == method and part in address:
                    self.counts[number] = self.counts.get(number, 0) + 1
                    if action := fault(self.counts[number]):
                        return action
            return ""


def first(count: int, action: str) -> Fault:
    """The action for the first so many requests."""
    return lambda number: action if number <= count else ""


def only(which: int, action: str) -> Fault:
    return lambda number: action if number == which else ""


def always(action: str) -> Fault:
    return lambda number: action


def unchunked(body: bytes) -> bytes:
    """The content of an aws-chunked body, whose trailer is checked by `digests_fit`."""
    content, rest = b"", body
    while rest:
        head, _, rest = rest.partition(b"\r\n")
        size = int(head.split(b";")[0], 16)
        if size == 0:
            break
        content, rest = content + rest[:size], rest[size + 2 :]
    return content


def digests_fit(headers: Any, body: bytes) -> bool:
    """Whether a body is what the digests beside it say; those this cannot compute are not taken for granted."""
    content = unchunked(body) if "aws-chunked" in headers.get("content-encoding", "") else body
    given = {name.lower(): value for name, value in headers.items()}
    trailer = body.rpartition(b"\r\n0\r\n")[2] if content is not body else b""
    for line in trailer.split(b"\r\n"):
        name, _, value = line.decode().partition(":")
        given[name.lower()] = value
    fits = []
    if "content-md5" in given:
        fits.append(given["content-md5"] == base64.b64encode(hashlib.md5(content).digest()).decode())
    if "x-amz-checksum-sha256" in given:
        fits.append(given["x-amz-checksum-sha256"] == base64.b64encode(hashlib.sha256(content).digest()).decode())
    if "x-amz-checksum-crc32" in given:
        fits.append(given["x-amz-checksum-crc32"] == base64.b64encode(struct.pack(">I", zlib.crc32(content))).decode())
    return all(fits) if fits else not content


def flipped(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 4]) + body[middle + 1 :]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults: Faults
    upstream: tuple[str, int]

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keeps the tests' output free of requests."""

    def body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        content = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return content

    def reset(self) -> None:
        """Ends the connection with a reset instead of an answer."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes, sent: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in HOP:
                self.send_header(name, value)
        length = {name.lower(): value for name, value in headers}.get("content-length")
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:sent])
        if sent is not None:
            self.wfile.flush()
            self.reset()

    def work(self) -> None:
        if self.headers.get("expect", "").lower() == "100-continue":
            pass  # the base class has answered it
        body = self.body()
        action = self.faults.of(self.command, self.path)
        if action == "503":
            self.answer(503, [("Content-Type", "application/xml"), ("Retry-After", "0")], SLOW_DOWN)
            return
        if action == "reset":
            self.reset()
            return
        if action == "stall":
            self.faults.stalled.set()
            self.faults.resume.wait(600)
            self.reset()
            return
        if action == "flip up":
            body = flipped(body)
        if self.command == "PUT" and not digests_fit(self.headers, body):
            self.faults.refused.append(self.path)
            self.answer(400, [("Content-Type", "application/xml")], BAD_DIGEST)
            return
        upstream = http.client.HTTPConnection(*self.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP | {"expect"}}
        headers["Host"] = self.headers["host"]
        upstream.request(self.command, self.path, body, headers)
        response = upstream.getresponse()
        content = response.read()
        upstream.close()
        if action == "lost":
            self.reset()
            return
        if action == "flip down":
            content = flipped(content)
        self.answer(response.status, response.getheaders(), content, len(content) // 2 if action == "cut" else None)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = work  # noqa: N815


@contextmanager
def fault_proxy(endpoint: str) -> Iterator[tuple[str, Faults]]:
    """The proxy's address and its faults, none at first."""
    url, faults = urlsplit(endpoint), Faults()
    handler = type("Bound", (Handler,), {"faults": faults, "upstream": (url.hostname, url.port)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", faults
    finally:
        faults.resume.set()
        server.shutdown()
        server.server_close()

"""What a request says of where it comes from and goes to: forwarding headers, the host, the origin, the encoding.

Forwarding headers are believed only from the proxies in TRUSTED_PROXIES, read from the right: the entry that the
nearest proxy wrote first. The server's own handling of them is off (it would trust whatever runs on the same machine).
"""

import ipaddress
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Send

from api.auth import OPEN_PATHS, send_answer, send_refusal
from api.errors import Refusal
from api.settings import Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks = list[ipaddress.IPv4Network | ipaddress.IPv6Network]
ALLOWED_METHODS = "GET, POST, PUT, PATCH, DELETE"
ALLOWED_HEADERS = "authorization, content-type, accept, idempotency-key, if-match, x-request-id, x-correlation-id"
EXPOSED_HEADERS = "ratelimit, ratelimit-policy, retry-after, location, etag, x-request-id"
PREFLIGHT_SECONDS = 600


def header_values(scope: Any, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def first_header(scope: Any, name: bytes, default: str = "") -> str:
    """The first header of a name, without a table of all of them."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return default


def parsed(text: str) -> Address | None:
    """The address in an entry of X-Forwarded-For, with or without a port."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def caller_address(peer: Address, forwarded: list[str], trusted: Networks) -> Address:
    """The first address from the right that is no trusted proxy's; what is left of it anyone may have written."""
    address = peer
    for entry in reversed([entry for value in forwarded for entry in value.split(",")]):
        if not any(address in network for network in trusted):
            break
        found = parsed(entry)
        if found is None:
            break
        address = found
    return address


def behind_proxies(app: ASGIApp, settings: Settings) -> ASGIApp:
    """`app` with the caller's own address and scheme in the scope, where trusted proxies stand in between."""
    trusted: Networks = [ipaddress.ip_network(network) for network in settings.trusted_proxies]

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        peer = parsed(client[0]) if trusted and client else None
        if peer is not None and any(peer in network for network in trusted):
            scope["client"] = (str(caller_address(peer, header_values(scope, b"x-forwarded-for"), trusted)), 0)
            schemes = header_values(scope, b"x-forwarded-proto")
            scheme = schemes[-1].rpartition(",")[2].strip().lower() if schemes else ""
            if scheme in ("http", "https"):
                secure = {"http": "ws", "https": "wss"} if scope["type"] == "websocket" else {}
                scope["scheme"] = secure.get(scheme, scheme)
        await app(scope, receive, send)

    return wrapped


def host_allowed(scope: Any, allowed: tuple[str, ...]) -> bool:
    """Whether the one Host header names an allowed host; `*.example.com` stands for every name below it."""
    hosts = header_values(scope, b"host")
    if len(hosts) != 1:
        return False
    host = hosts[0].lower()
    name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    for pattern in allowed:
        if pattern == "*" or name == pattern.lower():
            return True
        if pattern.startswith("*.") and name.endswith(pattern[1:].lower()):
            return True
    return False


def well_addressed(app: ASGIApp, settings: Settings) -> ASGIApp:
    """`app` without requests for other hosts and without compressed bodies, which may unpack to any size."""

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        refusal = None
        if scope["type"] != "lifespan" and scope["path"] not in OPEN_PATHS:
            refusal = refused_request(scope, settings)
        if refusal is None:
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4400, "reason": refusal.detail})
        else:
            await send_refusal(refusal, scope["path"], send)

    return wrapped


def refused_request(scope: Any, settings: Settings) -> Refusal | None:
    """Why a request is refused for its headers alone, if it is."""
    if settings.allowed_hosts and not host_allowed(scope, settings.allowed_hosts):
        return Refusal(400, "The Host header names no host of this service (ALLOWED_HOSTS).")
    encodings = [value.strip().lower() for value in header_values(scope, b"content-encoding")]
    if any(encoding not in ("", "identity") for encoding in encodings):
        return Refusal(
            415, "Content-Encoding is not read; send the body uncompressed.", headers={"accept-encoding": "identity"}
        )
    return None


def shared_with(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """`app` with answers that pages of the origins may read (CORS)."""
    # Tokens go in a header, so answers with cookies are never shared.
    if not origins:
        return app

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        given = header_values(scope, b"origin") if scope["type"] == "http" else []
        origin = given[0] if len(given) == 1 and ("*" in origins or given[0] in origins) else None
        asked = header_values(scope, b"access-control-request-method") if origin else []
        if origin and asked and scope["method"] == "OPTIONS":
            await send_answer(204, preflight(origin), b"", send)
            return

        async def send_with_origin(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(b"vary", b"Origin")]
                if origin:
                    added.append((b"access-control-allow-origin", origin.encode("latin-1")))
                    added.append((b"access-control-expose-headers", EXPOSED_HEADERS.encode()))
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await app(scope, receive, send_with_origin)

    return wrapped


def preflight(origin: str) -> dict[str, str]:
    """The headers of the answer to a browser that asks whether it may send a request."""
    return {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": ALLOWED_METHODS,
        "access-control-allow-headers": ALLOWED_HEADERS,
        "access-control-max-age": str(PREFLIGHT_SECONDS),
        "vary": "Origin",
    }

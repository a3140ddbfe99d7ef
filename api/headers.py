"""Security headers on every answer, errors and refusals of authentication included."""

from typing import Any

from litestar.types import ASGIApp, Message, Receive, Send

# Pages and their scripts come from the service itself: no inline code, no other host.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: dict[str, str] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-xss-protection": "0",
    "cache-control": "no-store",
}
CACHING = b"cache-control"
RAW = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
BUT_CACHING = [header for header in RAW if header[0] != CACHING]


def security_headers(app: ASGIApp) -> ASGIApp:
    """`app` with SECURITY_HEADERS on each of its answers; what an answer says of caching itself stays alone."""

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message["headers"]
                told = any(name == CACHING for name, _ in own)
                message["headers"] = [*own, *(BUT_CACHING if told else RAW)]
            await send(message)

        await app(scope, receive, send_with_headers if scope["type"] == "http" else send)

    return wrapped

"""Authentication: a JWT on every route but /health and /metrics.

Programs send `Authorization: Bearer <token>`. A browser opening a page (/schema, /graphql) cannot; it opens
`/schema?access_token=<token>` instead, which sets an HttpOnly, SameSite=Strict cookie for that page and below
and redirects to the page without the token. The cookie reads pages and their files, and it runs GraphQL from
the page itself: a POST by cookie must carry `Sec-Fetch-Site: same-origin`, which browsers set and pages cannot.
"""

import time
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from litestar.types import ASGIApp, Receive, Send

from api import metrics
from api.errors import PROBLEM_JSON, Refusal, problem_body
from api.settings import Settings
from api.tokens import Caller, Tokens, issue_token, unauthorized, verify

__all__ = ["OPEN_PATHS", "Caller", "authentication", "issue_token", "verify"]

OPEN_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
PAGES = ("/schema", "/graphql")
SOCKET = "/graphql"
COOKIE = "cashflow_page"


def page_of(path: str) -> str | None:
    """The page that a path is or lies under, if any."""
    return next((page for page in PAGES if path == page or path.startswith(page + "/")), None)


def cookie_token(headers: dict[bytes, bytes]) -> str | None:
    try:
        morsel = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel else None


def presented_token(scope: Any) -> str:
    """The token in a request. Raises Refusal (401) if there is none where it may be."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    authorization = headers.get(b"authorization")
    # Two would leave open which of them a proxy has looked at.
    if sum(name == b"authorization" for name, _ in scope["headers"]) > 1:
        raise unauthorized("The Authorization header is there twice; expected one.")
    if authorization is not None:
        scheme, _, token = authorization.decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise unauthorized("The Authorization header is refused; expected `Bearer <token>`.")
        return token.strip()
    same_origin = headers.get(b"sec-fetch-site") == b"same-origin"
    reads = scope["method"] in ("GET", "HEAD")
    if page_of(scope["path"]) and (reads or (scope["path"] == "/graphql" and same_origin)):
        token = cookie_token(headers) or ""
        if token:
            return token
    raise unauthorized("A token is required: `Authorization: Bearer <token>`.")


def authentication(app: ASGIApp, settings: Settings, tokens: Tokens) -> ASGIApp:
    """`app` behind the token check; the Caller is put in scope["auth"] and its subject in scope["user"]."""

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in OPEN_PATHS):
            await app(scope, receive, send)
            return
        if scope["type"] != "http":
            # A browser sends no header with a WebSocket; this one's handler takes the token from its first message.
            if scope["path"] == SOCKET:
                await app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 4401, "reason": "no WebSocket here"})
            return
        try:
            query_token = page_query_token(scope)
            caller = await tokens.caller(query_token or presented_token(scope))
        except Refusal as refusal:
            if refusal.status == 401:
                invalid = "invalid_token" in refusal.headers.get("www-authenticate", "")
                metrics.count_authentication_failure("invalid" if invalid else "missing")
            await send_refusal(refusal, scope["path"], send)
            return
        if query_token:
            await redirect_with_cookie(scope["path"], query_token, caller, settings, send)
            return
        scope["auth"], scope["user"] = caller, caller.subject
        await app(scope, receive, send)

    return wrapped


def page_query_token(scope: Any) -> str | None:
    """The token in the address of a page that is opened in a browser, if any."""
    if scope["method"] != "GET" or scope["path"] not in PAGES:
        return None
    values = parse_qs(scope["query_string"].decode("latin-1")).get("access_token")
    return values[0] if values else None


async def send_refusal(refusal: Refusal, path: str, send: Send) -> None:
    body = problem_body(refusal, path)
    headers = {"content-type": PROBLEM_JSON, "content-length": str(len(body)), **refusal.headers}
    await send_answer(refusal.status, headers, body, send)


async def redirect_with_cookie(path: str, token: str, caller: Caller, settings: Settings, send: Send) -> None:
    """A redirect to the page, with the token in a cookie that lives as long as the token."""
    age = max(0, int(caller.expires - time.time()))
    secure = "; Secure" if settings.env == "production" else ""
    cookie = f"{COOKIE}={token}; Path={path}; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"
    await send_answer(303, {"location": path, "set-cookie": cookie, "content-length": "0"}, b"", send)


async def send_answer(status: int, headers: dict[str, str], body: bytes, send: Send) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})

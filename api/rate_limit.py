"""The rate limit: before authentication a request counts against its address, after it against its user instead.

An address is charged first and given it back once the token holds, so that guesses at tokens are counted exactly while
people behind one address do not take from each other. GraphQL pays more than a request where it asks for more (Meter).
Answers carry RateLimit and RateLimit-Policy (the IETF draft on RateLimit header fields), refusals Retry-After too.
"""

import asyncio
import ipaddress
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Send

from api import metrics
from api.auth import OPEN_PATHS, page_of, send_refusal
from api.errors import Refusal
from api.quotas import Count, Limiter, Quota

# Numbers in an answer that GraphQL gets for one request.
CELLS_PER_REQUEST = 1_000_000
TOO_MANY = 4429


def address_of(scope: Any) -> str:
    """Who is counted before authentication: an IPv4 address, or the network of 64 bits that an IPv6 one is in."""
    client = scope.get("client")
    return "unknown" if client is None else counted_as(str(client[0]))


@lru_cache(maxsize=4096)
def counted_as(host: str) -> str:
    """The address or network that a host is counted as, and what is no address as itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def headers_of(quota: Quota, count: Count) -> list[tuple[bytes, bytes]]:
    """The headers that tell a caller what is left."""
    policy = f'"{quota.name}";q={quota.limit};w={quota.window}'
    left = f'"{quota.name}";r={count.left};t={count.reset}'
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", left.encode())]


def too_many(quota: Quota, count: Count) -> Refusal:
    """The refusal of one more request, which is counted."""
    metrics.count_rate_limit_rejection(quota.name)
    text = (
        f"Too many requests of this {quota.name}: {quota.limit:,} in {quota.window:,} seconds are answered. "
        f"Try again in {count.retry:,} seconds."
    )
    return Refusal(429, text, headers={"retry-after": str(count.retry)})


def limited_by_address(app: ASGIApp, limiter: Limiter) -> ASGIApp:
    """`app`, which authenticates, behind the quota of the caller's address; its answers say what is left."""

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        if not limiter.enabled or scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS:
            await app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start" and "quota" in scope:
                message["headers"] = [*message["headers"], *headers_of(*scope["quota"])]
            await send(message)

        try:
            count = await limiter.take(limiter.address, address_of(scope))
            scope["quota"] = (limiter.address, count)
            if not count.allowed:
                raise too_many(limiter.address, count)
        except Refusal as refusal:
            await refuse(refusal, scope, send_with_headers)
            return
        await app(scope, receive, send_with_headers)

    return wrapped


async def refuse(refusal: Refusal, scope: Any, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": TOO_MANY, "reason": refusal.detail[:120]})
    else:
        await send_refusal(refusal, scope["path"], send)


def limited_by_user(app: ASGIApp, limiter: Limiter) -> ASGIApp:
    """`app` behind the quota of the user whose token was accepted; the files of the pages cost nothing."""

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        if limiter.enabled and scope["type"] == "http" and "quota" in scope:
            try:
                await charge_user(scope, limiter, 0 if is_page_file(scope["path"]) else 1)
            except Refusal as refusal:
                await send_refusal(refusal, scope["path"], send)
                return
        await app(scope, receive, send)

    return wrapped


def is_page_file(path: str) -> bool:
    page = page_of(path)
    return page is not None and path.startswith(f"{page}/assets/")


async def charge_user(scope: Any, limiter: Limiter, cost: int) -> None:
    """Takes a cost from the user's quota, gives the address its own back. Raises Refusal (429)."""
    quota, count = scope["quota"]
    if quota is limiter.address:
        await limiter.give_back(quota, address_of(scope), count)
    count = await limiter.take(limiter.user, scope["user"], cost)
    scope["quota"] = (limiter.user, count)
    if not count.allowed:
        raise too_many(limiter.user, count)


class Abandoned(Refusal):
    """A part of the query that is not computed, since another one is refused."""

    def __init__(self) -> None:
        super().__init__(422, "This part was not computed, since another part of the query is refused.")


class Meter:
    """What a GraphQL request costs: as many requests as it has projections, or millions of numbers if they are more.

    The parts of a query run side by side. Each tells its cost before any is paid for or computed: a query that is
    refused for one of them, or for what all cost together, pays for none.
    """

    def __init__(self, scope: Any, limiter: Limiter, max_cells: int) -> None:
        self.scope, self.limiter, self.max_cells = scope, limiter, max_cells
        self.cells = self.due = 0
        self.paid = 1
        self.refusal: Refusal | None = None
        self.untold = self.parts = 0
        self.abandoned = False
        self.all_told = asyncio.Event()
        self.paying = asyncio.Lock()

    @asynccontextmanager
    async def part(self) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
        """A part of the query, from its first look at its input; gives the charge that it awaits once.

        The charge raises Abandoned where another part was refused before it told its cost, and what `charge` raises.
        """
        self.untold += 1
        self.parts += 1
        self.all_told.clear()
        told = False

        def tell() -> None:
            nonlocal told
            told = True
            self.untold -= 1
            if not self.untold:
                self.all_told.set()

        async def charge(cells: int) -> None:
            self.count(cells)
            tell()
            await self.all_told.wait()
            if self.abandoned:
                # The part that was refused says why, and says it first.
                await asyncio.sleep(0)
                raise Abandoned
            await self.settle()

        # The parts beside it begin in the same round of the loop.
        await asyncio.sleep(0)
        try:
            yield charge
        finally:
            if not told:
                self.abandoned = True
                tell()

    @property
    def several(self) -> bool:
        """Whether the query has several parts: one that is refused should show it before the others are paid."""
        return self.parts > 1

    async def charge(self, cells: int) -> None:
        """Charges a projection with so many numbers in its answer. Raises Refusal: 413 or 429."""
        self.count(cells)
        await self.settle()

    def count(self, cells: int) -> None:
        self.cells += cells
        self.due += max(1, math.ceil(cells / CELLS_PER_REQUEST))

    async def settle(self) -> None:
        """Pays for what was counted and is not paid yet. Raises Refusal: 413 or 429."""
        async with self.paying:
            if self.refusal is not None:
                raise self.refusal
            if self.cells > self.max_cells:
                text = f"The answer has up to {self.cells:,} numbers; at most {self.max_cells:,} are sent at once."
                raise Refusal(413, text + " Ask for fewer columns, rows or projections.")
            if not self.limiter.enabled or self.due <= self.paid:
                return
            if self.due > (most := self.limiter.user.limit):
                raise Refusal(413, f"The query costs {self.due:,} requests; {most:,} are all there are.")
            try:
                await charge_user(self.scope, self.limiter, self.due - self.paid)
            except Refusal as refusal:
                self.refusal = refusal
                raise
            self.paid = self.due

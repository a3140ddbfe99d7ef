"""Webhooks: signed, tried again with growing pauses, and sent to public addresses and allowed ports alone.

The signature is that of the Standard Webhooks: `Webhook-Signature: v1,` and the base64 of HMAC-SHA256, with
WEBHOOK_SECRET, over `id.timestamp.body`, whose first two parts are in Webhook-Id and Webhook-Timestamp. Every address
that the host resolves to must be public, and the connection goes to one that was checked, not to a second look-up.
"""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import logging
import socket
import time
from collections.abc import Callable
from datetime import timedelta

import httpx
from sqlalchemy import Row, select, update

from api import metrics
from api.jobs.webhook_urls import Address, is_public, port_fault, port_of
from api.settings import Settings
from api.storage.database import Database, now
from api.storage.tables import webhook_deliveries

logger = logging.getLogger("api.jobs")
PAUSES = (10, 60, 300, 1_800, 7_200, 21_600, 43_200)
"""Seconds after each failure; after the last the delivery has failed."""
TIMEOUT_SECONDS = 10.0
MOST_AT_ONCE = 20


class Undeliverable(Exception):
    """Why a delivery was not made."""


def signature(secret: str, id: str, timestamp: int, body: str) -> str:
    """The value of Webhook-Signature."""
    digest = hmac.new(secret.encode(), f"{id}.{timestamp}.{body}".encode(), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


async def resolve(host: str, port: int, allowed: Callable[[Address], bool]) -> str:
    """An address of the host, all of which are allowed. Raises Undeliverable."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Undeliverable("the host has no address") from error
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    if not addresses or not all(allowed(ipaddress.ip_address(address)) for address in addresses):
        raise Undeliverable("the host is not on the public internet")
    return addresses[0]


async def post(url: str, id: str, body: str, settings: Settings, allowed: Callable[[Address], bool] = is_public) -> int:
    """The status of the answer to one delivery; redirects are not followed. Raises Undeliverable."""
    split = httpx.URL(url)
    # The settings may have changed since the run was accepted.
    if (fault := port_fault(split, settings)) is not None:
        raise Undeliverable(f"the address {fault}")
    address = await resolve(split.host, port_of(split), allowed)
    at = int(time.time())
    headers = {
        "host": split.netloc.decode("ascii"),
        "content-type": "application/json",
        "user-agent": "cashflow-webhooks",
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": signature(settings.webhook_secret, id, at, body),
    }
    try:
        async with (
            asyncio.timeout(TIMEOUT_SECONDS),
            httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS) as client,
            client.stream(
                "POST",
                split.copy_with(host=address),
                content=body,
                headers=headers,
                # The certificate is held to the name, whatever the address in the URL.
                extensions={"sni_hostname": split.host},
            ) as answer,
        ):
            return answer.status_code
    except (httpx.HTTPError, TimeoutError, OSError) as error:
        raise Undeliverable(type(error).__name__) from error


async def deliver_due(database: Database, settings: Settings, allowed: Callable[[Address], bool] = is_public) -> int:
    """How many deliveries that were due have been tried."""
    table = webhook_deliveries.c
    query = select(webhook_deliveries).where(table.state == "pending", table.next_at <= now())
    async with database.write() as connection:
        # What another worker is about to send is its own.
        query = query.order_by(table.next_at).limit(MOST_AT_ONCE).with_for_update(skip_locked=True)
        found = (await connection.execute(query)).all()
        for row in found:
            # Noted first: a worker that is killed while it sends leaves a delivery that is tried again later.
            pause = timedelta(seconds=PAUSES[min(row.attempts, len(PAUSES) - 1)])
            values = {"attempts": row.attempts + 1, "next_at": now() + pause}
            await connection.execute(update(webhook_deliveries).where(table.id == row.id).values(**values))
    await asyncio.gather(*(deliver(database, settings, row, allowed) for row in found), return_exceptions=True)
    return len(found)


async def deliver(
    database: Database, settings: Settings, row: Row[tuple[object, ...]], allowed: Callable[[Address], bool]
) -> None:
    """Tries one delivery and notes how it went."""
    values = row._mapping
    begun = time.perf_counter()
    status: int | None = None
    why: str | None = None
    try:
        status = await post(values["url"], values["id"], values["body"], settings, allowed)
        why = None if 200 <= status < 300 else f"the answer was {status}"
    except Undeliverable as error:
        why = str(error)
    except Exception as error:  # whatever it is, this delivery has had its attempt
        why = type(error).__name__
    state = "delivered" if why is None else "pending" if values["attempts"] + 1 <= len(PAUSES) else "failed"
    kinds = {"delivered": "delivered", "failed": "given_up", "pending": "unreachable" if status is None else "refused"}
    metrics.record_webhook(kinds[state], time.perf_counter() - begun)
    if why is not None:
        logger.warning("webhook not delivered: %s", why, extra={"run_id": values["run_id"]})
    change = update(webhook_deliveries).where(webhook_deliveries.c.id == values["id"])
    async with database.write() as connection:
        await connection.execute(change.values(state=state, last_status=status, last_error=why))

"""Webhooks: where they may go, how they are signed, and that they are tried again."""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from api.exposition import page_registry, render
from api.jobs import webhooks
from api.jobs.service import Jobs
from api.jobs.webhook_urls import check_url, is_public
from api.jobs.webhooks import Undeliverable, deliver_due, post, signature
from api.settings import Settings
from api.storage.database import now
from api.storage.errors import BadRequest
from api.storage.opened import Storage
from api.storage.tables import webhook_deliveries
from tests.api.jobs.setting import OWNER, SECRET, loans, submitted


class Receiver(HTTPServer):
    """A server on a free port that keeps what it is sent and answers with the statuses it is told."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?x=1"


class Answer(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def settings(settings: Settings, receiver: Receiver) -> Settings:
    """Settings with the receiver's port among those that are allowed."""
    return msgspec.structs.replace(settings, webhook_ports=(443, 80, 1, receiver.server_port))


def anywhere(address: object) -> bool:
    return True


async def finished_run(idle: Jobs, monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """The id of a run with that webhook, which has ended."""
    monkeypatch.setattr("api.jobs.service.check_url", lambda url, settings: check_url(url, settings, anywhere))
    run = await submitted(idle, loans(3), webhook_url=url)
    await idle.cancel(OWNER, run.id)
    return run.id


def told(outcome: str) -> float:
    """What the metrics count of an outcome."""
    families = text_string_to_metric_families(render(page_registry("1")).decode())
    name = "cashflow_webhook_deliveries_total"
    return sum(s.value for f in families for s in f.samples if s.name == name and s.labels == {"outcome": outcome})


async def due_now(storage: Storage) -> None:
    async with storage.database.write() as connection:
        await connection.execute(update(webhook_deliveries).values(next_at=now()))


async def test_the_end_of_a_run_is_told_once_and_signed(
    storage: Storage, settings: Settings, idle: Jobs, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await finished_run(idle, monkeypatch, receiver.url)
    assert await deliver_due(storage.database, settings, anywhere) == 1
    assert await deliver_due(storage.database, settings, anywhere) == 0
    ((headers, body),) = receiver.received
    told = json.loads(body)
    assert (told["event"], told["run_id"], told["state"]) == ("run.cancelled", run_id, "cancelled")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["host"] == f"127.0.0.1:{receiver.server_port}"
    delivery = (await idle.get(OWNER, run_id)).webhook
    assert delivery is not None
    assert (delivery.state, delivery.attempts, delivery.last_status) == ("delivered", 1, 200)
    (listed,) = (await idle.list(OWNER)).items
    assert listed.webhook == delivery


async def test_a_delivery_is_tried_again_and_redirects_are_not_followed(
    storage: Storage, settings: Settings, idle: Jobs, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.statuses = [500, 302, 204]
    run_id = await finished_run(idle, monkeypatch, receiver.url)
    states, before = [], {outcome: told(outcome) for outcome in ("refused", "delivered")}
    for _ in range(3):
        await due_now(storage)
        await deliver_due(storage.database, settings, anywhere)
        delivery = (await idle.get(OWNER, run_id)).webhook
        assert delivery is not None
        states.append((delivery.state, delivery.last_status))
    assert states == [("pending", 500), ("pending", 302), ("delivered", 204)]
    assert told("refused") == before["refused"] + 2
    assert told("delivered") == before["delivered"] + 1
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1


async def test_a_delivery_fails_for_good_after_its_last_pause(
    storage: Storage, settings: Settings, idle: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await finished_run(idle, monkeypatch, "http://127.0.0.1:1/nobody")
    before = told("unreachable"), told("given_up")
    for _ in range(len(webhooks.PAUSES) + 1):
        await due_now(storage)
        assert await deliver_due(storage.database, settings, anywhere) == 1
    delivery = (await idle.get(OWNER, run_id)).webhook
    assert delivery is not None
    assert (delivery.state, delivery.last_error) == ("failed", "ConnectError")
    assert (told("unreachable"), told("given_up")) == (before[0] + len(webhooks.PAUSES), before[1] + 1)


async def test_an_address_that_nothing_can_be_sent_to_uses_up_its_attempts(
    storage: Storage, settings: Settings, idle: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await finished_run(idle, monkeypatch, "http://127.0.0.1:1/nobody")
    async with storage.database.write() as connection:
        await connection.execute(update(webhook_deliveries).values(url="http://a..b/"))
    for _ in range(len(webhooks.PAUSES) + 1):
        await due_now(storage)
        assert await deliver_due(storage.database, settings, anywhere) == 1
    delivery = (await idle.get(OWNER, run_id)).webhook
    assert delivery is not None
    assert delivery.state == "failed"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fec0::1", "::ffff:10.0.0.1", "2002:7f00:1::",
        "64:ff9b::a00:1", "ff02::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused(address: str, settings: Settings) -> None:
    assert not is_public(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(BadRequest, match="public internet"):
        check_url(f"https://{host}/hook", settings)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_taken(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


async def test_a_name_that_resolves_to_a_private_address_is_not_connected_to(
    settings: Settings, receiver: Receiver
) -> None:
    with pytest.raises(Undeliverable, match="public internet"):
        await post(receiver.url.replace("127.0.0.1", "localhost"), "id", "{}", settings)
    assert receiver.received == []


async def test_a_name_with_one_private_address_among_public_ones_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found(*arguments: object, **options: object) -> list[Any]:
        return [(2, 1, 6, "", (address, 443)) for address in ("8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)
    with pytest.raises(Undeliverable, match="public internet"):
        await post("https://rebinding.example/hook", "id", "{}", settings)


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com/", "https:///x", "example.com", "https://user:pass@example.com/", "https://[::1", "https://x:y/",
     "https://example.com/" + "x" * 2000, "https://a b.com/", "https://example.com\\@10.0.0.1/", "https://exämple.com/",
     "https://a..b.com/", "https://-a.com/", "https://a_b.com/", "https://" + "a" * 64 + ".com/", "https://a.com%00/",
     "https://example.com:99999/", "https://a\t.com/", "https://example.com#@10.0.0.1\n", "https://.com/"],
)  # fmt: skip
def test_addresses_that_are_none_are_refused(url: str, settings: Settings) -> None:
    with pytest.raises(BadRequest):
        check_url(url, settings)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost.", "a.localhost", "printer.local", "db.internal", "router.lan",
     "nas.home.arpa", "service", "redis.svc.cluster.local", "2130706433", "0x7f.1", "0x7f000001", "127.1",
     "127.0.0.010", "0177.0.0.1", "127.0.0.0x1", "1.2.3.4.5", "256.1.1.1", "[fe80::1%25eth0]", "[::ffff:7f00:1]",
     "[64:ff9b:1::a00:1]", "a.b.0x7f"],
)  # fmt: skip
def test_hosts_that_name_no_place_of_the_public_internet_are_refused(host: str, settings: Settings) -> None:
    with pytest.raises(BadRequest) as caught:
        check_url(f"https://{host}/hook", settings)
    assert caught.value.path == "webhook_url"


@pytest.mark.parametrize(
    "url",
    ["https://example.com", "https://Hooks.Example.COM./x?y=%20#z", "https://xn--exmple-cua.com/", "https://8.8.8.8:443/",
     "https://[2606:4700:4700::1111]/", "http://a.example.co.uk:80/", "https://example.com:443/", "https://a-b.c4.io/"],
)  # fmt: skip
def test_hosts_of_the_public_internet_are_taken(url: str, settings: Settings) -> None:
    check_url(url, settings)


@pytest.mark.parametrize(
    ("ports", "env", "url", "message"),
    [
        ((), "development", "https://example.com:8443/", "has the port 8443; expected 443 or 80 (WEBHOOK_PORTS)"),
        ((), "development", "http://example.com:6379/", "has the port 6379; expected 443 or 80 (WEBHOOK_PORTS)"),
        ((), "production", "https://example.com:80/", "has the port 80; expected 443 (WEBHOOK_PORTS)"),
        ((8443, 9443), "production", "https://example.com/", "has the port 443; expected 8443 or 9443 (WEBHOOK_PORTS)"),
    ],
)
def test_ports_that_are_not_allowed_are_refused(
    settings: Settings, ports: tuple[int, ...], env: Any, url: str, message: str
) -> None:
    used = msgspec.structs.replace(settings, webhook_ports=ports, env=env)
    with pytest.raises(BadRequest) as caught:
        check_url(url, used)
    assert (caught.value.path, caught.value.message) == ("webhook_url", message)


@pytest.mark.parametrize(
    ("ports", "env", "url"),
    [
        ((), "development", "http://example.com/"),
        ((), "development", "https://example.com:443/"),
        ((), "production", "https://example.com/"),
        ((8443,), "production", "https://example.com:8443/"),
    ],
)
def test_ports_that_are_allowed_are_taken(settings: Settings, ports: tuple[int, ...], env: Any, url: str) -> None:
    check_url(url, msgspec.structs.replace(settings, webhook_ports=ports, env=env))


async def test_a_port_that_is_not_allowed_any_more_is_not_connected_to(
    storage: Storage, settings: Settings, idle: Jobs, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await finished_run(idle, monkeypatch, receiver.url)
    used = msgspec.structs.replace(settings, webhook_ports=(443,))
    assert await deliver_due(storage.database, used, anywhere) == 1
    delivery = (await idle.get(OWNER, run_id)).webhook
    assert delivery is not None
    assert (delivery.state, receiver.received) == ("pending", [])
    assert delivery.last_error == f"the address has the port {receiver.server_port}; expected 443 (WEBHOOK_PORTS)"


def test_production_takes_https_alone_and_nothing_without_a_secret(settings: Settings) -> None:
    check_url("http://example.com/hook", settings)
    production = msgspec.structs.replace(settings, env="production")
    check_url("https://example.com/hook", production)
    with pytest.raises(BadRequest, match="https"):
        check_url("http://example.com/hook", production)
    with pytest.raises(BadRequest, match="WEBHOOK_SECRET"):
        check_url("https://example.com/hook", msgspec.structs.replace(settings, webhook_secret=""))


def test_a_signature_is_the_one_worked_out_apart() -> None:
    # printf 'a.1.{}' | openssl dgst -sha256 -hmac key -binary | base64
    assert signature("key", "a", 1, "{}") == "v1,bL1jQXV9xdvhtjVTxMVmcec+7wicDeM5+UJZVhyrJw0="

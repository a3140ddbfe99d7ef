"""Where requests come from and go to: proxies, hosts, origins, encodings, TLS."""

import os
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.app import create_app
from api.headers import SECURITY_HEADERS
from api.network import behind_proxies
from api.settings import Settings
from tests.api.test_keys import self_signed
from tests.servers import free_port

Client = TestClient[Litestar]
COMMAND = str(Path(sys.executable).parent / "cashflow")
PROXIES = ("10.0.0.0/8", "2001:db8::/32")


async def seen_by_the_service(peer: str | None, forwarded: list[str], proto: str = "") -> tuple[Any, str]:
    """The client and the scheme that the service sees of a request by HTTP."""
    seen: list[tuple[Any, str]] = []

    async def service(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["client"], scope["scheme"]))

    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    headers += [(b"x-forwarded-proto", proto.encode())] if proto else []
    client = None if peer is None else (peer, 5000)
    scope = {"type": "http", "client": client, "scheme": "http", "headers": headers}
    await behind_proxies(service, Settings(trusted_proxies=PROXIES))(scope, None, None)  # type: ignore[arg-type]
    return seen[0]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        # The caller wrote the first entries itself.
        ("10.0.0.1", ["1.1.1.1, 2.2.2.2, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("10.0.0.1", ["[2001:db9::1]:4711"], "2001:db9::1"),
        ("10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("2001:db8::5", ["203.0.113.9"], "203.0.113.9"),
        # Rubbish at the right end: the proxy itself is counted.
        ("10.0.0.1", ["203.0.113.9, unknown"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        # Nobody else is believed.
        ("203.0.113.1", ["1.1.1.1"], "203.0.113.1"),
        ("127.0.0.1", ["1.1.1.1"], "127.0.0.1"),
    ],
)
async def test_the_caller_is_the_first_from_the_right_that_is_no_proxy(
    peer: str, forwarded: list[str], address: str
) -> None:
    client, _ = await seen_by_the_service(peer, forwarded)
    assert client[0] == address


async def test_the_scheme_is_believed_from_proxies_only() -> None:
    assert (await seen_by_the_service("10.0.0.1", [], "https"))[1] == "https"
    assert (await seen_by_the_service("10.0.0.1", [], "http, https"))[1] == "https"
    assert (await seen_by_the_service("10.0.0.1", [], "gopher"))[1] == "http"
    assert (await seen_by_the_service("203.0.113.1", [], "https"))[1] == "http"
    assert await seen_by_the_service(None, ["1.1.1.1"], "https") == (None, "http")


@pytest.fixture(scope="module")
def hosted(settings: Settings) -> Any:
    """The service under two kinds of host names, for pages of one origin."""
    changed = msgspec.structs.replace(
        settings, allowed_hosts=("api.example.com", "*.example.org"), cors_origins=("https://app.example.com",)
    )
    with TestClient(create_app(changed), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("api.example.com", 200),
        ("API.example.com:8443", 200),
        ("eu.example.org", 200),
        ("example.org", 400),
        ("api.example.com.evil.example", 400),
        ("evilexample.org", 400),
        ("[::1]", 400),
        ("", 400),
    ],
)
def test_only_allowed_hosts_are_answered(hosted: Client, bearer: dict[str, str], host: str, expected: int) -> None:
    response = hosted.get("/schema/openapi.json", headers={**bearer, "host": host})
    assert response.status_code == expected
    assert {name: response.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert hosted.get("/health", headers={"host": host}).status_code == 200


def test_two_hosts_are_refused(hosted: Client, bearer: dict[str, str]) -> None:
    headers = [*bearer.items(), ("host", "api.example.com"), ("host", "evil.example")]
    assert hosted.get("/schema/openapi.json", headers=headers).status_code == 400


def test_a_page_of_the_origin_may_read_answers_and_refusals(hosted: Client, bearer: dict[str, str]) -> None:
    from_page = {"host": "api.example.com", "origin": "https://app.example.com"}
    for headers in (from_page | bearer, from_page):
        response = hosted.get("/schema/openapi.json", headers=headers)
        assert response.headers["access-control-allow-origin"] == "https://app.example.com"
        assert "retry-after" in response.headers["access-control-expose-headers"]
        assert "Origin" in response.headers["vary"]
        assert "access-control-allow-credentials" not in response.headers


def test_a_browser_is_told_what_it_may_send(hosted: Client) -> None:
    asked = {"host": "api.example.com", "access-control-request-method": "POST"}
    response = hosted.options("/v1/projections", headers={**asked, "origin": "https://app.example.com"})
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "authorization" in response.headers["access-control-allow-headers"]
    assert "POST" in response.headers["access-control-allow-methods"]
    assert {name: response.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://app.example.com", "https://app.example.com.evil.example"]
)
def test_pages_of_other_origins_are_told_nothing(hosted: Client, bearer: dict[str, str], origin: str) -> None:
    headers = {"host": "api.example.com", "origin": origin}
    assert "access-control-allow-origin" not in hosted.get("/schema/openapi.json", headers=headers | bearer).headers
    asked = hosted.options("/v1/projections", headers={**headers, "access-control-request-method": "POST"})
    assert asked.status_code == 401
    assert "access-control-allow-origin" not in asked.headers


@pytest.mark.parametrize("path", ["/v1/projections", "/graphql"])
@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip"])
def test_compressed_bodies_are_not_unpacked(client: Client, bearer: dict[str, str], path: str, encoding: str) -> None:
    headers = {**bearer, "content-type": "application/json", "content-encoding": encoding}
    response = client.post(path, content=b"{}", headers=headers)
    assert response.status_code == 415
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["accept-encoding"] == "identity"


def test_graphql_has_a_body_limit_of_its_own(settings: Settings, bearer: dict[str, str]) -> None:
    small = create_app(msgspec.structs.replace(settings, max_graphql_body_bytes=100))
    with TestClient(small, raise_server_exceptions=False) as client:
        assert client.post("/graphql", json={"query": "{ __typename }"}, headers=bearer).status_code == 200
        long = client.post("/graphql", json={"query": "{ __typename }" + " " * 100}, headers=bearer)
        assert long.status_code == 413
        columns = {"balance": [1.0] * 50, "annual_rate": 0.05, "remaining_term": 12}
        rest = client.post("/v1/projections", json={"tape": {"columns": columns}}, headers=bearer)
        assert rest.status_code == 200


def test_the_service_speaks_tls_itself(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    port = free_port()
    environ = {
        **os.environ,
        "STATE_DIR": str(tmp_path / "state"),
        "TLS_CERT_FILE": str(certificate),
        "TLS_KEY_FILE": str(key),
    }
    server = subprocess.Popen(
        [COMMAND, "serve", "--port", str(port)], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        known = ssl.create_default_context(cafile=str(certificate))
        with httpx.Client(base_url=f"https://localhost:{port}", verify=known) as client:
            answer = answered(client, server)
            assert answer.json()["status"] == "ok"
            assert answer.headers["strict-transport-security"].startswith("max-age=31536000")
        with pytest.raises(httpx.ConnectError, match="certificate"):
            httpx.get(f"https://localhost:{port}/health")
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://localhost:{port}/health")
    finally:
        server.send_signal(signal.SIGINT)
        told, _ = server.communicate(timeout=20)
    assert f"Serving on https://127.0.0.1:{port}" in told


def answered(client: httpx.Client, server: subprocess.Popen[str]) -> httpx.Response:
    for _ in range(300):
        assert server.poll() is None, server.communicate()[1]
        try:
            return client.get("/health")
        except httpx.ConnectError:
            time.sleep(0.1)
    raise AssertionError("the service does not answer after thirty seconds")

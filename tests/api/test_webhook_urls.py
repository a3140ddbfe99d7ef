"""A run's webhook goes to the public internet alone: what names another place is refused when the run is submitted."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.app import create_app
from api.settings import Settings
from tests.api.test_stored import CSV, bearer_of, upload

Client = TestClient[Litestar]
PRIVATE = [
    "http://127.0.0.1/", "http://127.1.2.3:8000/health", "http://[::1]/", "http://10.0.0.1/", "http://172.16.3.4/",
    "http://192.168.1.1/", "http://169.254.169.254/latest/meta-data/", "http://0.0.0.0/", "http://[::ffff:127.0.0.1]/",
    "http://[fe80::1]/", "http://[fd00::1]/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://100.64.0.1/",
    "http://224.0.0.1/", "http://255.255.255.255/", "ftp://example.com/", "file:///etc/passwd", "//example.com/", "",
    "http:///x", "http://user:secret@example.com/", "http://example.com:99999/", "http://[::1", "gopher://example.com/",
    "http://example.com/" + "x" * 3000, "http://localhost/", "http://localhost:6379/", "http://2130706433/", "http://0x7f.1/",
    "http://redis:6379/", "http://db.internal/", "http://a..b/", "http://127.1/",
]  # fmt: skip


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[Client]:
    secret = "a secret of webhooks in tests, of 32 bytes and more"
    with TestClient(create_app(msgspec.structs.replace(settings, webhook_secret=secret))) as client:
        yield client


@pytest.fixture(scope="module")
def analyst(settings: Settings) -> dict[str, str]:
    return bearer_of(settings, "owner of webhooks")


@pytest.fixture(scope="module")
def tape_id(client: Client, analyst: dict[str, str]) -> str:
    return str(upload(client, analyst, CSV)["id"])


@pytest.mark.parametrize("url", PRIVATE)
def test_another_place_is_refused(client: Client, analyst: dict[str, str], tape_id: str, url: str) -> None:
    body: dict[str, Any] = {"tape_id": tape_id, "webhook_url": url}
    answer = client.post("/v1/runs", json=body, headers=analyst)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["path"] == "webhook_url"
    query = "mutation ($r: RunRequestInput!) { submit_run(request: $r) { id } }"
    asked = client.post("/graphql", json={"query": query, "variables": {"r": body}}, headers=analyst).json()
    assert asked["errors"][0]["extensions"]["code"] == "INVALID_INPUT"
    assert client.get("/v1/runs", headers=analyst).json()["items"] == []


def test_a_run_shows_how_its_webhook_fares(client: Client, analyst: dict[str, str], tape_id: str) -> None:
    """Its address is one that nobody has: nothing is delivered, and what happens is told."""
    body = {"tape_id": tape_id, "webhook_url": "https://nobody.invalid.example.com/hook"}
    made = client.post("/v1/runs", json=body, headers=analyst)
    assert made.status_code == 202
    assert made.json()["webhook"] is None
    with client.stream("GET", f"{made.headers['location']}/events", headers=analyst) as events:
        events.read()
    found = client.get(made.headers["location"], headers=analyst)
    delivery = found.json()["webhook"]
    assert delivery["state"] == "pending"
    assert delivery["last_status"] is None
    assert found.headers["etag"].endswith(f'-pending-{delivery["attempts"]}"')
    query = "query ($id: ID!) { run(id: $id) { webhook { state last_status } } }"
    asked = client.post("/graphql", json={"query": query, "variables": {"id": made.json()["id"]}}, headers=analyst)
    assert asked.json()["data"]["run"]["webhook"] == {"state": "pending", "last_status": None}


def test_running_again_checks_the_webhook_as_it_would_be_checked_now(
    client: Client, analyst: dict[str, str], tape_id: str
) -> None:
    """The service has lost its secret meanwhile, without which no webhook is taken."""
    body = {"tape_id": tape_id, "webhook_url": "https://example.com/hook"}
    made = client.post("/v1/runs", json=body, headers=analyst)
    jobs = client.app.state.jobs
    settings = jobs.settings
    jobs.settings = msgspec.structs.replace(settings, webhook_secret="")
    try:
        answer = client.post(f"{made.headers['location']}/rerun", headers=analyst)
    finally:
        jobs.settings = settings
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "webhook_url"
    assert client.post(f"{made.headers['location']}/rerun", headers=analyst).status_code == 202

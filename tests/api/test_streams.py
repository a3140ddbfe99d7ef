"""Streams of a run that goes on end with the token that they were asked for with."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.app import create_app
from api.settings import Settings
from api.tokens import issue_token
from tests.api.test_stored import CSV, bearer_of, upload
from tests.servers import Valkey

Client = TestClient[Litestar]
SECONDS = 3


@pytest.fixture
def waiting(settings: Settings, tmp_path: Path, valkey: Valkey) -> Iterator[tuple[Client, str, dict[str, str]]]:
    """A service without workers, a run of it that waits, and the header of a token that soon ends."""
    used = msgspec.structs.replace(
        settings, state_dir=str(tmp_path), redis_url=valkey.url, jwt_leeway=0, rate_limit_enabled=False
    )
    with TestClient(create_app(used)) as client:
        owner = bearer_of(used, "owner")
        tape = upload(client, owner, CSV)
        made = client.post("/v1/runs", json={"tape_id": tape["id"]}, headers=owner)
        token = issue_token(used, "owner", timedelta(seconds=SECONDS))
        yield client, made.json()["id"], {"authorization": f"Bearer {token}"}


def events_of(text: str) -> list[tuple[str, Any]]:
    """The events of a stream: their names and their data."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"]) if "data" in lines else None))
    return found


def test_the_events_of_a_run_end_with_the_token(waiting: tuple[Client, str, dict[str, str]]) -> None:
    client, run_id, headers = waiting
    begun = time.monotonic()
    answer = client.get(f"/v1/runs/{run_id}/events", headers=headers)
    assert time.monotonic() - begun < SECONDS + 3
    names = [name for name, _ in events_of(answer.text)]
    assert names == ["progress", "expired"]
    assert events_of(answer.text)[0][1]["state"] == "queued"
    assert client.get(f"/v1/runs/{run_id}/events", headers=headers).status_code == 401


def test_a_subscription_by_events_ends_with_the_token(waiting: tuple[Client, str, dict[str, str]]) -> None:
    client, run_id, headers = waiting
    query = "subscription ($id: ID!) { run_progress(id: $id) { state } }"
    body = {"query": query, "variables": {"id": run_id}}
    begun = time.monotonic()
    answer = client.post("/graphql", json=body, headers={**headers, "accept": "text/event-stream"})
    assert time.monotonic() - begun < SECONDS + 3
    (first, state), (second, error), (last, _) = events_of(answer.text + "data: null")
    assert (first, state) == ("next", {"data": {"run_progress": {"state": "queued"}}})
    assert (second, error["errors"][0]["extensions"]["code"]) == ("next", "UNAUTHENTICATED")
    assert last == "complete"

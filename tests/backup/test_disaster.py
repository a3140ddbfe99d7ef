"""The disaster drill from docs/backups.md alone: the production profile loses its database and its tapes."""

import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from api.auth import issue_token
from api.settings import Settings
from tests.backup.test_guide import GUIDE
from tests.backup.world import KEYS, PROGRAMS, asked, own_server
from tests.servers import Postgres, Valkey, create_bucket, free_port

pytestmark = pytest.mark.chaos
ROOT = GUIDE.parents[1]
QUERY = """query ($id: ID!) { run(id: $id) { state tape_id cashflows { scenarios { name
    columns { balance interest principal prepayment loss recovery cashflow } } } } }"""


def commands() -> list[str]:
    """The shell blocks of the guide's disaster drill: before the disaster, and after it."""
    part = GUIDE.read_text().partition("## Disaster drill")[2]
    return re.findall(r"```sh\n(.*?)```", part, re.DOTALL)


@pytest.fixture
def environment(tmp_path: Path, s3_endpoint: str, valkey: Valkey) -> Iterator[tuple[dict[str, str], Postgres]]:
    (tmp_path / "server").mkdir()
    with own_server(tmp_path / "server", PROGRAMS, "drill-password") as server:
        yield {
            **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "ENV": "production",
            "ALLOWED_HOSTS": "127.0.0.1", "JWT_SECRET": secrets.token_urlsafe(48), "STATE_DIR": str(tmp_path / "state"),
            "DATABASE_URL": f"postgresql://postgres:drill-password@127.0.0.1:{server.port}/cashflow",
            "REDIS_URL": valkey.url, "S3_ENDPOINT_URL": s3_endpoint, "BACKUP_ENCRYPTION_KEYS": KEYS, "PG_BIN": PROGRAMS,
            "OBJECT_STORE": f"s3://{create_bucket(s3_endpoint)}/live",
            "BACKUP_STORE": f"s3://{create_bucket(s3_endpoint)}/kept", "CALCULATION_THREAD_POOL_SIZE": "1",
        }, server  # fmt: skip


def shell(script: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def service(environment: dict[str, str], folder: Path) -> Iterator[httpx.Client]:
    """`cashflow serve` and `cashflow worker`, and a client with an analyst's token."""
    port = free_port()
    # As the identity provider would, which has the secret too.
    settings = Settings(jwt_secret=environment["JWT_SECRET"])
    token = issue_token(settings, "ann", timedelta(hours=1), "analyst")
    with (folder / "service.log").open("ab") as log:
        started = [
            subprocess.Popen(["cashflow", *command], env=environment, cwd=ROOT, stdout=log, stderr=log)
            for command in (["serve", "--port", str(port)], ["worker"])
        ]
    headers = {"authorization": f"Bearer {token}"}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
            ready(client, folder)
            yield client
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(40)


def ready(client: httpx.Client, folder: Path) -> None:
    for _ in range(300):
        try:
            if client.get("/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError((folder / "service.log").read_text()[-3000:])


def a_run(client: httpx.Client) -> str:
    """The id of a run of the sample tape that has succeeded."""
    content = (ROOT / "samples" / "loans.csv").read_bytes()
    tape = client.post("/v1/tapes?name=sample", content=content, headers={"content-type": "text/csv"})
    assert tape.status_code == 201, tape.text
    scenarios = [{"template": name} for name in ("base", "credit_crisis", "rate_shock_up")]
    run = client.post("/v1/runs", json={"tape_id": tape.json()["id"], "scenarios": scenarios})
    assert run.status_code == 202, run.text
    for _ in range(300):
        found = client.get(run.headers["location"]).json()
        if found["state"] == "succeeded":
            return str(found["id"])
        time.sleep(0.2)
    raise AssertionError(found)


def columns(client: httpx.Client, run_id: str) -> dict[str, Any]:
    """The run as GraphQL tells it."""
    answer = client.post("/graphql", json={"query": QUERY, "variables": {"id": run_id}}).json()
    assert "errors" not in answer, answer
    return dict(answer["data"]["run"])


def emptied(place: str, endpoint: str) -> int:
    """How many objects were deleted from an object store."""
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    client = boto3.client("s3", endpoint_url=endpoint)
    found = client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    for each in found:
        client.delete_object(Bucket=bucket, Key=each["Key"])
    return len(found)


def test_the_drill_of_the_guide_brings_a_run_back(
    environment: tuple[dict[str, str], Postgres], s3_endpoint: str, tmp_path: Path
) -> None:
    environ, server = environment
    before, after = commands()
    assert "cashflow backup create" in before
    assert "cashflow backup restore latest" in after
    server.run("CREATE DATABASE cashflow")
    shell("cashflow migrate", environ)
    with service(environ, tmp_path) as client:
        run_id = a_run(client)
        known = columns(client, run_id)
        assert len(known["cashflows"]["scenarios"]) == 3
        shell(before, environ)
    server.run("DROP DATABASE cashflow WITH (FORCE)")
    assert emptied(environ["OBJECT_STORE"], s3_endpoint) > 0
    told = shell(after, environ)
    assert '"lost": []' in told
    with service(environ, tmp_path) as client:
        assert columns(client, run_id) == known
        tape = client.get("/v1/tapes").json()["items"][0]
        file = client.get(f"/v1/tapes/{tape['id']}/file")
        assert (file.status_code, len(file.content)) == (200, tape["size"])
        assert a_run(client) != run_id
    assert asked(server, "SELECT count(*) FROM pg_database WHERE datname LIKE 'cashflow_%'") == [(0,)]

"""The rate limit of the service: on by default, by address before authentication and by user after it."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.app import create_app
from api.auth import OPEN_PATHS, issue_token
from api.kernel import project
from api.rate_limit import address_of
from api.rest.transitions import EXAMPLES
from api.settings import Settings
from tests.servers import Valkey, free_port

Client = TestClient[Litestar]
SECRET = "a secret of the tests, made of 32 bytes and more"
COMMAND = str(Path(sys.executable).parent / "cashflow")


@pytest.fixture
def limited() -> Any:
    """A service of its own with the limit of 5 in a minute."""
    settings = Settings(jwt_secret=SECRET, rate_limit_requests=5, rate_limit_window=60, max_result_cells=9_000_000)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def bearer(subject: str = "ada") -> dict[str, str]:
    token = issue_token(Settings(jwt_secret=SECRET), subject, timedelta(hours=1))
    return {"authorization": f"Bearer {token}"}


def test_a_hundred_requests_an_hour_are_the_default() -> None:
    with TestClient(create_app(Settings(jwt_secret=SECRET))) as client:
        answers = [client.get("/schema/openapi.json", headers=bearer()) for _ in range(103)]
    assert Counter(answer.status_code for answer in answers) == {200: 100, 429: 3}
    assert answers[0].headers["ratelimit-policy"] == '"user";q=100;w=3600'
    assert re.fullmatch(r'"user";r=99;t=36\d\d', answers[0].headers["ratelimit"])


def test_beyond_the_limit_is_429_that_says_when_to_come_again(limited: Client) -> None:
    for _ in range(5):
        assert limited.get("/schema/openapi.json", headers=bearer()).status_code == 200
    refused = limited.get("/schema/openapi.json", headers=bearer())
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert refused.headers["ratelimit"].startswith('"user";r=0;t=')
    assert refused.headers["x-content-type-options"] == "nosniff"
    assert "5 in 60 seconds" in refused.json()["detail"]
    # Others are not affected, on the same address either.
    assert limited.get("/schema/openapi.json", headers=bearer("bob")).status_code == 200


def test_guesses_at_tokens_are_counted_by_address_and_then_nobody_is_let_in_from_there(limited: Client) -> None:
    guesses = [limited.get("/schema", headers={"authorization": f"Bearer {i}"}) for i in range(8)]
    assert [answer.status_code for answer in guesses] == [401] * 5 + [429] * 3
    assert guesses[0].headers["ratelimit-policy"] == '"address";q=5;w=60'
    assert limited.get("/schema/openapi.json", headers=bearer()).status_code == 429


def test_accepted_tokens_cost_their_address_nothing(limited: Client) -> None:
    for subject in "abcdefgh":
        assert limited.get("/schema/openapi.json", headers=bearer(subject)).status_code == 200
    assert [limited.get("/schema").status_code for _ in range(6)] == [401] * 5 + [429]


def test_probes_metrics_and_the_files_of_pages_are_not_counted(limited: Client) -> None:
    for _ in range(8):
        for path in OPEN_PATHS:
            answer = limited.get(path)
            assert answer.status_code == 200
            assert "ratelimit" not in answer.headers
        assert limited.get("/schema/assets/schema.js", headers=bearer()).status_code == 200
    assert limited.get("/schema/openapi.json", headers=bearer()).headers["ratelimit"].startswith('"user";r=4')


def test_the_limit_can_be_turned_off() -> None:
    settings = Settings(jwt_secret=SECRET, rate_limit_requests=1, rate_limit_enabled=False)
    with TestClient(create_app(settings)) as client:
        answers = [client.get("/schema/openapi.json", headers=bearer()) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" not in answers[0].headers


QUERY = "query ($r: ProjectionRequestInput!) {{ {} }}"


def ask(client: Client, selection: str, request: dict[str, Any]) -> httpx.Response:
    body = {"query": QUERY.format(selection), "variables": {"r": request}}
    return client.post("/graphql", json=body, headers=bearer())


def tape(loans: int, term: int) -> dict[str, Any]:
    return {"columns": {"balance": [1.0] * loans, "annual_rate": 0.05, "remaining_term": term}}


def left(response: httpx.Response) -> int:
    found = re.match(r'"user";r=(\d+)', response.headers["ratelimit"])
    assert found is not None
    return int(found[1])


def test_graphql_pays_for_each_projection(limited: Client) -> None:
    three = " ".join(f"p{i}: projection(request: $r) {{ columns {{ loss }} }}" for i in range(3))
    answer = ask(limited, three, {"tape": tape(1, 3)})
    assert answer.status_code == 200
    assert left(answer) == 2
    refused = ask(limited, three, {"tape": tape(1, 3)})
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) >= 1
    # Two projections were left; three find no room, and the query pays for itself alone.
    assert left(refused) == 1


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The loan-months of every projection that GraphQL makes."""
    found: list[int] = []

    def noted(request: Any, threads: Any, interface: str, loan_months: int) -> Any:
        found.append(loan_months)
        return project(request, threads, interface, loan_months)

    monkeypatch.setattr("api.graphql.projections.project", noted)
    return found


def test_a_query_that_its_quota_refuses_computes_none_of_its_parts(limited: Client, computed: list[int]) -> None:
    parts = " ".join(f"p{i}: projection(request: $r) {{ columns {{ loss }} }}" for i in range(4))
    assert ask(limited, parts, {"tape": tape(1, 3)}).status_code == 200
    assert len(computed) == 4
    refused = ask(limited, "a: " + parts.partition(": ")[2], {"tape": tape(1, 3)})
    assert (refused.status_code, len(computed)) == (429, 4)


BAD = {"columns": {"balance": [-1.0], "annual_rate": 0.05, "remaining_term": 12}}


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ("projection(request: $bad) { columns { loss } }", "INVALID_INPUT"),
        ('projection(request: {tape: {tape_id: "tape_none"}}) { columns { loss } }', "NOT_FOUND"),
        ("analytics(curve: { times: [1.0], rates: [] }) { wal { value } }", None),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_a_query_that_is_refused_for_one_part_pays_and_computes_nothing_for_the_others(
    limited: Client, computed: list[int], other: str, code: str | None, first: bool
) -> None:
    good = " ".join(f"p{i}: projection(request: $r) {{ columns {{ loss }} }}" for i in range(3))
    parts = f"bad: {other} {good}" if first else f"{good} bad: {other}"
    declared = ", $bad: ProjectionRequestInput!" if "$bad" in other else ""
    query = f"query ($r: ProjectionRequestInput!{declared}) {{ {parts} }}"
    variables = {"r": {"tape": tape(1, 3)}} | ({"bad": {"tape": BAD}} if declared else {})
    answer = limited.post("/graphql", json={"query": query, "variables": variables}, headers=bearer())
    told = answer.json()["errors"][0]
    assert "another part" not in told["message"]
    if code is not None:
        assert (told["extensions"]["code"], told["path"]) == (code, ["bad"])
    assert computed == []
    assert left(answer) == 4


def test_graphql_pays_for_every_million_numbers(limited: Client) -> None:
    # 4,000 loans x 360 months x (1 field + period) = 2,880,000 numbers: three requests.
    request = {"tape": tape(4000, 360), "level": "loan"}
    assert left(ask(limited, "projection(request: $r) { rows(first: 1) { nodes { loss } } }", request)) == 2


def test_graphql_pays_for_columns_under_aliases_too(limited: Client) -> None:
    # 2,000 x 360 = 720,000 numbers a column; three of them are 2,160,000, though one is computed.
    request = {"tape": tape(2000, 360), "level": "loan", "periods": 360}
    columns = " ".join(f"c{i}: columns {{ loss }}" for i in range(3))
    assert left(ask(limited, f"projection(request: $r) {{ {columns} }}", request)) == 2


def test_graphql_pays_for_transitions_by_the_numbers_that_are_made(limited: Client) -> None:
    # 60 ages x 5 x 5 moves x 1,500 months = 2,250,000 numbers: three requests.
    columns = {"balance": [1.0] * 60, "annual_rate": 0.1, "remaining_term": 12, "age": list(range(60))}
    variables = {"r": {**EXAMPLES["one_matrix"]["value"], "tape": {"columns": columns}, "months": 1500}}
    query = "query ($r: TransitionRequestInput!) { transitions(request: $r) { columns { loss } } }"
    answer = limited.post("/graphql", json={"query": query, "variables": variables}, headers=bearer())
    assert "errors" not in answer.json()
    assert left(answer) == 2


def test_a_query_beyond_the_largest_answer_or_the_whole_quota_is_too_large(limited: Client) -> None:
    request = {"tape": tape(2000, 360), "level": "loan"}
    columns = " ".join(f"c{i}: columns {{ loss }}" for i in range(13))
    answer = ask(limited, f"projection(request: $r) {{ {columns} }}", request).json()
    assert answer["errors"][0]["extensions"]["code"] == "TOO_LARGE"
    assert "9,360,000 numbers" in answer["errors"][0]["message"]
    # 4,000 x 360 x (3 fields + period) = 5,760,000 numbers: six requests of the five there are.
    request = {"tape": tape(4000, 360), "level": "loan", "periods": 360}
    answer = ask(limited, "projection(request: $r) { columns { loss interest default } }", request).json()
    assert answer["errors"][0]["extensions"]["code"] == "TOO_LARGE"
    assert "costs 6 requests" in answer["errors"][0]["message"]


@pytest.mark.parametrize(
    ("client", "counted"),
    [
        (("192.0.2.7", 1), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("testclient", 1), "testclient"),
        (None, "unknown"),
    ],
)
def test_an_ipv6_caller_is_counted_by_its_network(client: Any, counted: str) -> None:
    assert address_of({"client": client}) == counted


async def test_the_limit_is_exact_under_four_processes_and_rotating_addresses(valkey: Valkey, tmp_path: Path) -> None:
    valkey.wipe()
    port = free_port()
    environ = {**os.environ, "JWT_SECRET": SECRET, "REDIS_URL": valkey.url, "STATE_DIR": str(tmp_path)}
    # A file and not a pipe: the access log of so many requests would fill it.
    log = tmp_path / "log"
    with log.open("w") as out:
        command = [COMMAND, "serve", "--port", str(port), "--workers", "4"]
        server = subprocess.Popen(command, env=environ, stdout=out, stderr=out)
    try:
        base = f"http://127.0.0.1:{port}"
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(base_url=base, limits=limits, timeout=60) as client:
            await until_up(client, server, log)
            for headers, expected in ((bearer(), {200: 100, 429: 200}), ({}, {401: 100, 429: 200})):
                requests = [
                    client.get("/schema/openapi.json", headers={**headers, "x-forwarded-for": f"198.51.100.{i % 256}"})
                    for i in range(300)
                ]
                answers = await asyncio.gather(*requests)
                assert Counter(answer.status_code for answer in answers) == expected
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=20)


async def until_up(client: httpx.AsyncClient, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        assert server.poll() is None, log.read_text()
        try:
            assert (await client.get("/health")).status_code == 200
            return
        except httpx.TransportError:
            await asyncio.sleep(0.1)
    raise AssertionError("the service does not answer after thirty seconds")


def test_the_settings_of_the_limit_are_read_from_the_environment() -> None:
    environ = {
        "JWT_SECRET": SECRET,
        "RATE_LIMIT_REQUESTS": "7",
        "RATE_LIMIT_WINDOW": "9",
        "RATE_LIMIT_ENABLED": "false",
    }
    settings = Settings.from_env(environ)
    assert (settings.rate_limit_requests, settings.rate_limit_window, settings.rate_limit_enabled) == (7, 9, False)
    assert msgspec.structs.replace(settings, rate_limit_enabled=True).rate_limit_on_failure == "open"

"""Security headers are on every answer, whatever its status; metrics count them all."""

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.headers import SECURITY_HEADERS
from tests.api.test_stored import CSV

Client = TestClient[Litestar]


@pytest.mark.parametrize(
    ("method", "path", "status", "authorized"),
    [
        ("GET", "/health", 200, False),
        ("GET", "/schema", 200, True),
        ("GET", "/schema", 401, False),
        ("GET", "/nothing", 404, True),
        ("DELETE", "/v1/projections", 405, True),
        ("POST", "/v1/projections", 400, True),
    ],
)
def test_security_headers_are_on_every_answer(
    client: Client, bearer: dict[str, str], method: str, path: str, status: int, authorized: bool
) -> None:
    response = client.request(method, path, headers=bearer if authorized else {})
    assert response.status_code == status
    assert {name: response.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS


def test_every_answer_says_once_how_it_is_cached(client: Client, bearer: dict[str, str]) -> None:
    analyst = {"content-type": "text/csv", **bearer}
    tape = client.post("/v1/tapes", content=CSV, headers=analyst).json()
    run = client.post("/v1/runs", json={"tape_id": tape["id"]}, headers=bearer).json()
    subscription = f'subscription {{ run_progress(id: "{run["id"]}") {{ state }} }}'
    stream = {"accept": "text/event-stream", **bearer}
    answers = {
        "no-store": [
            client.get(f"/v1/runs/{run['id']}/events", headers=bearer),
            client.post("/graphql", json={"query": subscription}, headers=stream),
            client.get("/v1/tapes", headers=bearer),
        ],
        "private, no-cache": [client.get(f"/v1/tapes/{tape['id']}", headers=bearer)],
        "private": [client.get(f"/v1/runs/{run['id']}/cashflows", headers=bearer)],
    }
    for said, found in answers.items():
        for answer in found:
            assert answer.status_code == 200, answer.text
            assert answer.headers.get_list("cache-control") == [said], answer.url


@pytest.mark.parametrize("page", ["schema", "graphql"])
def test_pages_load_nothing_from_other_hosts_and_have_no_inline_code(
    client: Client, bearer: dict[str, str], page: str
) -> None:
    html = client.get(f"/{page}", headers=bearer)
    assert html.headers["content-type"] == "text/html; charset=utf-8"
    assert "://" not in html.text
    assert "<style" not in html.text
    assert "onclick" not in html.text
    for part in html.text.split('"'):
        if part.endswith((".js", ".css")):
            assert "://" not in client.get(part, headers=bearer).raise_for_status().text
    assert html.text.count("<script src=") == html.text.count("<script") == 1


def test_metrics_count_refusals_and_do_not_let_callers_make_labels(client: Client) -> None:
    client.get("/made-up-by-a-caller")
    client.get("/schema")
    text = client.get("/metrics").text
    assert 'http_request_duration_seconds_count{method="GET",route="/schema",status="401"}' in text
    assert 'route="other",status="401"' in text
    assert "made-up" not in text


@pytest.mark.parametrize("path", ["/schema", "/graphql", "/schema/assets/schema.js", "/metrics", "/health", "/nothing"])
def test_the_media_type_is_stated_once_with_one_charset(client: Client, bearer: dict[str, str], path: str) -> None:
    # Twice, so that nothing is added to what an earlier answer left.
    for _ in range(2):
        kinds = client.get(path, headers=bearer).headers.get_list("content-type")
        assert len(kinds) == 1
        assert kinds[0].count("charset") == (1 if kinds[0].startswith("text/") else 0)

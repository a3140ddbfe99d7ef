"""Every route but /health and /metrics asks for a token."""

import time
from typing import Any

import jwt
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.auth import OPEN_PATHS
from api.settings import Settings

Client = TestClient[Litestar]


def claims(settings: Settings, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    whole = {
        "sub": "tester",
        "iat": now,
        "exp": now + 60,
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def assert_unauthorized(response: Any) -> None:
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.json()["status"] == 401


def test_every_route_but_the_open_two_refuses_a_request_without_a_token(app: Litestar, client: Client) -> None:
    closed = [route for route in app.routes if route.path not in OPEN_PATHS]
    assert len(closed) == len(app.routes) - len(OPEN_PATHS) >= 5
    for route in closed:
        for method in route.methods:
            assert_unauthorized(client.request(method, route.path.replace("{name:str}", "page.css")))


@pytest.mark.parametrize("path", sorted(OPEN_PATHS))
def test_the_open_routes_answer_without_a_token(client: Client, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/health/", "/health/x", "/x/health", "/healthy", "//health", "/metrics/", "/HEALTH"])
def test_paths_that_resemble_open_ones_are_closed(client: Client, path: str) -> None:
    assert_unauthorized(client.get(path))


@pytest.mark.parametrize("name", ["exp", "iat", "sub", "iss", "aud"])
def test_a_token_without_one_of_the_claims_is_refused(client: Client, settings: Settings, name: str) -> None:
    token = jwt.encode(claims(settings, **{name: None}), settings.jwt_secret, algorithm="HS256")
    assert_unauthorized(client.get("/schema", headers={"authorization": f"Bearer {token}"}))


@pytest.mark.parametrize(
    "changes",
    [{"exp": 1}, {"iat": 10**10}, {"iss": "other"}, {"aud": "other"}, {"sub": ""}, {"nbf": 10**10}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_token_with_a_wrong_claim_is_refused(client: Client, settings: Settings, changes: dict[str, Any]) -> None:
    token = jwt.encode(claims(settings, **changes), settings.jwt_secret, algorithm="HS256")
    assert_unauthorized(client.get("/schema", headers={"authorization": f"Bearer {token}"}))


def test_tokens_signed_otherwise_are_refused(client: Client, settings: Settings) -> None:
    forged = jwt.encode(claims(settings), "another secret of more than 32 bytes", algorithm="HS256")
    unsigned = jwt.encode(claims(settings), None, algorithm="none")
    longer = jwt.encode(claims(settings), settings.jwt_secret * 2, algorithm="HS512")
    for token in (forged, unsigned, longer, "x", "a.b.c", "\xe9"):
        assert_unauthorized(client.get("/schema", headers={"authorization": f"Bearer {token}".encode("latin-1")}))


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz"])
def test_an_authorization_header_of_another_form_is_refused(client: Client, value: str) -> None:
    assert_unauthorized(client.get("/schema", headers={"authorization": value}))


def test_a_page_opened_with_a_token_sets_a_cookie_and_redirects(app: Litestar, token: str) -> None:
    with TestClient(app) as client:
        response = client.get("/graphql", params={"access_token": token}, follow_redirects=False)
        assert response.status_code == 303
        assert response.headers["location"] == "/graphql"
        cookie = response.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Path=/graphql;" in cookie
        assert client.get("/graphql").status_code == 200
        assert client.get("/graphql/assets/graphql.js").status_code == 200
        assert client.get("/schema").status_code == 401


def test_a_query_by_cookie_runs_only_from_the_page_itself(client: Client, token: str) -> None:
    query = {"query": "{ __typename }"}
    cookie = {"cookie": f"cashflow_page={token}"}
    assert client.post("/graphql", json=query, headers={**cookie, "sec-fetch-site": "same-origin"}).status_code == 200
    assert_unauthorized(client.post("/graphql", json=query, headers=cookie))
    assert_unauthorized(client.post("/graphql", json=query, headers={**cookie, "sec-fetch-site": "cross-site"}))
    assert_unauthorized(client.post("/v1/projections", json={}, headers={**cookie, "sec-fetch-site": "same-origin"}))


def test_a_token_in_an_address_opens_pages_only(client: Client, token: str) -> None:
    for method, path in [("POST", "/v1/projections"), ("POST", "/graphql"), ("GET", "/schema/openapi.json")]:
        assert_unauthorized(client.request(method, path, params={"access_token": token}))

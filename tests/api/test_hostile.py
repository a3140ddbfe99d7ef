"""Hostile GraphQL is refused before it runs: each operation of the corpus, without a 500 and without data."""

from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.app import create_app
from api.graphql import bounds
from api.settings import Settings
from tests.api.hostile import BODIES, QUERIES

Client = TestClient[Litestar]


def send(client: Client, headers: dict[str, str], operation: Any) -> Any:
    written = isinstance(operation, str) and operation.startswith("{")
    content = operation if written else msgspec.json.encode(operation)
    return client.post("/graphql", content=content, headers={**headers, "content-type": "application/json"})


@pytest.mark.parametrize("name", QUERIES)
def test_a_hostile_query_is_refused(client: Client, bearer: dict[str, str], name: str) -> None:
    response = send(client, bearer, {"query": QUERIES[name]})
    assert response.status_code == 400
    assert "data" not in response.json()
    assert len(response.json().get("errors", [])) <= bounds.MAX_ERRORS + 1


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_is_refused(client: Client, bearer: dict[str, str], name: str) -> None:
    response = send(client, bearer, BODIES[name])
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("{" + " ".join(f"a{i}: __typename" for i in range(16)) + "}", "16 aliases; at most 15"),
        ("{" + "a {" * 10 + "b" + "}" * 11, "11 levels of fields"),
        ("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }", "spreads itself"),
        ("{ __typename } fragment A on Query { __typename }", "never used"),
        ("{" + " __typename" * 32 + "}", "repeats 31 fields"),
        ("{ ...A ...A } fragment A on Query { ...B ...B } fragment B on Query { a: __typename }", None),
    ],
)
def test_a_bound_says_which_it_is(client: Client, bearer: dict[str, str], query: str, told: str | None) -> None:
    response = send(client, bearer, {"query": query})
    if told is None:
        assert response.status_code == 200
    else:
        assert told in response.json()["errors"][0]["message"]


def test_fragments_are_measured_once_and_counted_each_time(client: Client, bearer: dict[str, str]) -> None:
    doubling = " ".join(f"fragment F{i} on Query {{ ...F{i + 1} ...F{i + 1} }}" for i in range(40))
    response = send(client, bearer, {"query": f"{{ ...F0 }} {doubling} fragment F40 on Query {{ __typename }}"})
    assert "billions of fields" in response.json()["errors"][0]["message"]


@pytest.fixture(scope="module")
def discreet(settings: Settings) -> Any:
    """A service that answers no questions about its schema, as in production."""
    changed = msgspec.structs.replace(settings, graphql_introspection=False)
    with TestClient(create_app(changed), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("query", ["{ __schema { types { name } } }", '{ __type(name: "Query") { name } }'])
def test_introspection_can_be_turned_off(discreet: Client, client: Client, bearer: dict[str, str], query: str) -> None:
    assert send(client, bearer, {"query": query}).status_code == 200
    refused = send(discreet, bearer, {"query": query})
    assert refused.status_code == 400
    assert "introspection" in refused.json()["errors"][0]["message"].lower()
    # The type of the answer is no secret, and clients ask for it.
    assert send(discreet, bearer, {"query": "{ __typename }"}).status_code == 200


def test_names_are_suggested_only_where_introspection_is(
    discreet: Client, client: Client, bearer: dict[str, str]
) -> None:
    query = {"query": "{ projectio }"}
    assert "Did you mean 'projection'" in send(client, bearer, query).text
    assert "Did you mean" not in send(discreet, bearer, query).text
    variables = {
        "query": "query ($r: ProjectionRequestInput!) { projection(request: $r) { summary { wal_years } } }",
        "variables": {"r": {"tap": {}}},
    }
    assert "Did you mean" not in send(discreet, bearer, variables).text

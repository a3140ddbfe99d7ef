"""The OpenAPI document covers every route, refers only to what it has, and its examples project."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

import engine
from api.encode import ENCODERS
from api.rest.openapi import document
from api.rest.projections import EXAMPLES

Client = TestClient[Litestar]
Headers = dict[str, str]


@pytest.fixture(scope="module")
def openapi(served: Client, bearer: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = served.get("/schema/openapi.json", headers=bearer).json()
    return found


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def operations(openapi: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for item in openapi["paths"].values() for operation in item.values()]


def test_every_route_is_documented_and_nothing_else(app: Litestar, openapi: dict[str, Any]) -> None:
    routes = set()
    for route in app.routes:
        path = re.sub(r"^/(schema|graphql)/assets/\{name\}$", "/{page}/assets/{name}", route.path_format)
        routes |= {(path, method.lower()) for method in route.methods if method != "OPTIONS"}
    documented = {(path, method) for path, item in openapi["paths"].items() for method in item}
    assert documented == routes


def test_every_reference_resolves(openapi: dict[str, Any]) -> None:
    found = set(references(openapi))
    assert "#/components/schemas/ProjectionRequest" in found
    for pointer in found:
        document, _, kind, name = pointer.split("/")
        assert document == "#"
        assert name in openapi["components"][kind]


def test_every_operation_has_an_id_of_its_own_and_described_answers(openapi: dict[str, Any]) -> None:
    ids = [operation["operationId"] for operation in operations(openapi)]
    assert len(ids) == len(set(ids))
    for operation in operations(openapi):
        assert operation["summary"]
        assert all(response["description"] for response in operation["responses"].values())
        if operation.get("security") != []:
            assert {"400", "401", "403", "429", "500", "503"} <= operation["responses"].keys()
            assert "requestBody" not in operation or {"413", "415"} <= operation["responses"].keys()
            for status, response in operation["responses"].items():
                assert {"RateLimit", "RateLimit-Policy"} <= response["headers"].keys()
                assert (status in ("429", "503")) == ("Retry-After" in response["headers"])


def test_the_formats_documented_are_those_there_are(openapi: dict[str, Any]) -> None:
    answers = openapi["paths"]["/v1/projections"]["post"]["responses"]
    assert list(answers["200"]["content"]) == list(ENCODERS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_project(client: Client, bearer: dict[str, str], openapi: dict[str, Any], name: str) -> None:
    content = openapi["paths"]["/v1/projections"]["post"]["requestBody"]["content"]
    example = content["application/json"]["examples"][name]["value"]
    response = client.post("/v1/projections", json=example, headers=bearer)
    assert response.status_code == 200, response.text
    assert engine.project(msgspec.convert(example, engine.ProjectionRequest)).periods > 0


def test_the_example_of_graphql_runs(client: Client, bearer: dict[str, str], openapi: dict[str, Any]) -> None:
    body = openapi["paths"]["/graphql"]["post"]["requestBody"]["content"]["application/json"]["example"]
    answer = client.post("/graphql", json=body, headers=bearer).json()
    assert "errors" not in answer
    assert len(answer["data"]["projection"]["columns"]["interest"]) > 0


def test_the_document_is_the_one_served(openapi: dict[str, Any]) -> None:
    assert openapi == msgspec.json.decode(msgspec.json.encode(document()))
    assert openapi["openapi"].startswith("3.1")


def test_options_name_every_method_of_an_address(client: Client, bearer: Headers, openapi: dict[str, Any]) -> None:
    for path, item in openapi["paths"].items():
        address = re.sub(r"\{\w+\}", "graphql", path)
        answer = client.options(address, headers=bearer)
        assert answer.status_code == 204, path
        assert set(answer.headers["allow"].lower().split(", ")) == {*item, "options"}, path
    assert client.options("/nowhere", headers=bearer).status_code == 404


def test_the_summary_says_which_fields_it_needs(openapi: dict[str, Any], served: Client, bearer: Headers) -> None:
    properties = openapi["components"]["schemas"]["Summary"]["properties"]
    for name, field in (("wal_years", "principal"), ("peak_balance", "balance")):
        assert f"Null unless `{field}` is among the fields" in properties[name]["description"]
        for fields, given in (([field], True), (["loss"], False)):
            body = EXAMPLES["one_loan"]["value"] | {"fields": fields}
            summary = served.post("/v1/projections", json=body, headers=bearer).json()["summary"]
            assert (summary[name] is not None) == given

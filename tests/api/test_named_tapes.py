"""A stored tape by its id is the tape itself, in projections, measures and profiles, for its owner alone."""

from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.settings import Settings
from tests.api.test_stored import ASSUMPTIONS, bearer_of, upload

Client = TestClient[Litestar]
COLUMNS: dict[str, Any] = {
    "loan_id": ["A", "B", "C"],
    "balance": [1000.0, 2000.0, 500.0],
    "annual_rate": [0.06, 0.05, 0.04],
    "remaining_term": [12, 24, 36],
    "group": ["x", "y", "x"],
    "age": [5, None, 7],
}
LEVELS = ["pool", "group", "loan"]
MEASURES = [{"type": "wal"}, {"type": "price", "annual_yield": 0.06}]
GRAPHQL = """query ($p: ProjectionRequestInput!, $t: TapeInput!) {
    projection(request: $p) { columns { interest balance } analytics { wal { value } } summary { opening_balance } }
    profile(tape: $t) { loans wac wam strata { by strata { label share } } } }"""


@pytest.fixture
def analyst(settings: Settings, request: pytest.FixtureRequest) -> dict[str, str]:
    return bearer_of(settings, request.node.nodeid[:200])


@pytest.fixture
def stored(client: Client, analyst: dict[str, str]) -> str:
    """The id of the tape of COLUMNS."""
    body = msgspec.json.encode({"columns": COLUMNS})
    return str(upload(client, analyst, body, "application/json")["id"])


def bodies(tape: dict[str, Any]) -> dict[str, Any]:
    """A request with a tape to each address that takes one."""
    projection = {"tape": tape, "assumptions": ASSUMPTIONS}
    return {
        **{f"/v1/projections?level={level}": {**projection, "level": level} for level in LEVELS},
        "/v1/analytics": {"projection": projection, "measures": MEASURES},
        "/v1/tapes/profile": {"tape": tape},
        "/graphql": {"query": GRAPHQL, "variables": {"p": projection, "t": tape}},
    }


@pytest.mark.parametrize("place", bodies({}))
def test_it_answers_what_its_columns_do(client: Client, analyst: dict[str, str], stored: str, place: str) -> None:
    given = client.post(place, json=bodies({"columns": COLUMNS})[place], headers=analyst)
    by_id = client.post(place, json=bodies({"tape_id": stored})[place], headers=analyst)
    assert (given.status_code, by_id.status_code) == (200, 200), by_id.text
    assert "errors" not in by_id.json()
    assert by_id.json() == given.json()


def said(answer: dict[str, Any]) -> list[str]:
    return [answer["detail"]] if "detail" in answer else sorted(error["message"] for error in answer["errors"])


@pytest.mark.parametrize("place", bodies({}))
def test_somebody_elses_is_not_there(client: Client, settings: Settings, stored: str, place: str) -> None:
    stranger = bearer_of(settings, "stranger")
    body = client.post(place, json=bodies({"tape_id": stored})[place], headers=stranger).json()
    unknown = client.post(place, json=bodies({"tape_id": "tape_0"})[place], headers=stranger).json()
    # Word for word what is said of one that nobody has.
    told = said(body)
    assert [text.replace(stored, "tape_0") for text in told] == said(unknown)
    if place == "/graphql":
        assert {error["extensions"]["code"] for error in body["errors"]} == {"NOT_FOUND"}
        assert body["data"] is None
        return
    assert body["status"] == 404
    assert body["errors"][0]["path"] == ("projection." if "analytics" in place else "") + "tape.tape_id"


@pytest.mark.parametrize("place", bodies({}))
def test_one_too_large_is_refused_before_it_is_read(
    app: Litestar, client: Client, analyst: dict[str, str], stored: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.named_tapes.read_slice", lambda *_: pytest.fail("the tape was read"))
    whole = app.state.settings
    app.state.settings = msgspec.structs.replace(whole, max_loan_months=70)
    try:
        answer = client.post(place, json=bodies({"tape_id": stored})[place], headers=analyst)
    finally:
        app.state.settings = whole
    if place == "/graphql":
        assert {error["extensions"]["code"] for error in answer.json()["errors"]} == {"TOO_LARGE"}
        return
    # Terms of 12, 24 and 36 months are 72 loan-months; a projection steps each loan to the last month, 36, of them.
    assert answer.status_code == 413
    assert f"{72 if 'profile' in place else 108} loan-months" in answer.json()["detail"]


def test_scenarios_count(app: Litestar, client: Client, analyst: dict[str, str], stored: str) -> None:
    whole = app.state.settings
    app.state.settings = msgspec.structs.replace(whole, max_loan_months=108)
    body: dict[str, Any] = {"tape": {"tape_id": stored}}
    try:
        assert client.post("/v1/projections", json=body, headers=analyst).status_code == 200
        twice = {**body, "scenarios": [{"name": "a"}, {"name": "b"}]}
        assert client.post("/v1/projections", json=twice, headers=analyst).status_code == 413
        shorter = {**twice, "periods": 18}
        assert client.post("/v1/projections", json=shorter, headers=analyst).status_code == 200
    finally:
        app.state.settings = whole


def test_a_reader_may(client: Client, analyst: dict[str, str], stored: str, request: Any, settings: Settings) -> None:
    reader = bearer_of(settings, request.node.nodeid[:200], "reader")
    assert client.post("/v1/projections", json={"tape": {"tape_id": stored}}, headers=reader).status_code == 200

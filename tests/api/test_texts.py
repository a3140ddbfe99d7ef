"""Texts that are stored: the same are refused on SQLite and on PostgreSQL, by their paths and with what is allowed."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from pyarrow import ipc, parquet

from api.app import create_app
from api.settings import Settings
from api.storage.database import Database
from api.storage.pages import encode_cursor
from api.storage.texts import MAX_DESCRIPTION, MAX_KEY, MAX_NAME, MAX_URL
from tests.api.test_stored import CSV, bearer_of, finished, upload
from tests.servers import Postgres, run_apart

Client = TestClient[Litestar]
NUL = "a\0b"
AT_ONE = "holds the character U+0000 at place 1; expected text without NUL and surrogates"
IN_CELL = "holds the character U+0000; expected text without it"
COLUMNS = {"balance": [1.0, 2.0], "annual_rate": [0.05, 0.06], "remaining_term": [12, 24]}
LOAN = {"type": "loan", "balance": 1.0, "annual_rate": 0.05, "remaining_term": 12}
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def client(
    request: pytest.FixtureRequest, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    used = msgspec.structs.replace(settings, state_dir=str(tmp_path_factory.mktemp("texts")), webhook_secret="s" * 32)
    if request.param == "sqlite":
        with TestClient(create_app(used), raise_server_exceptions=False) as client:
            yield client
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create()

    async def migrated() -> None:
        database = Database(server.url(name))
        await database.migrate()
        await database.dispose()

    run_apart(migrated)
    with TestClient(
        create_app(msgspec.structs.replace(used, database_url=server.dsn(name))), raise_server_exceptions=False
    ) as client:
        yield client
    server.drop(name)


@pytest.fixture
def analyst(settings: Settings, request: pytest.FixtureRequest) -> dict[str, str]:
    return bearer_of(settings, request.node.nodeid[:200])


def faults(answer: Any) -> list[tuple[str, str]]:
    """The faults of a refusal of REST."""
    assert answer.status_code == 422, answer.text
    return [(fault["path"], fault["message"]) for fault in answer.json()["errors"]]


def told(client: Client, headers: dict[str, str], query: str, **variables: Any) -> list[tuple[str, str]]:
    """The faults of a refusal of GraphQL."""
    answer = client.post("/graphql", json={"query": query, "variables": variables}, headers=headers).json()
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "INVALID_INPUT", answer
    return [(fault["path"], fault["message"]) for fault in error["extensions"]["errors"]]


def test_names_and_descriptions_with_nul_are_refused(client: Client, analyst: dict[str, str]) -> None:
    csv = {**analyst, "content-type": "text/csv"}
    assert faults(client.post("/v1/tapes?name=a%00b", content=CSV, headers=csv)) == [("name", AT_ONE)]
    tape = upload(client, analyst, CSV)
    renamed = client.patch(f"/v1/tapes/{tape['id']}", json={"name": NUL}, headers=analyst)
    assert faults(renamed) == [("name", AT_ONE)]
    both = client.post("/v1/scenarios", json={"name": NUL, "description": NUL}, headers=analyst)
    assert faults(both) == [("name", AT_ONE), ("description", AT_ONE)]
    made = client.post("/v1/scenarios", json={"name": "good"}, headers=analyst)
    changed = client.put(made.headers["location"], json={"name": "good", "description": NUL}, headers=analyst)
    assert faults(changed) == [("description", AT_ONE)]


def test_texts_inside_of_assumptions_and_requests_are_refused(client: Client, analyst: dict[str, str]) -> None:
    by_group = {"groups": {"prime": {"severity": 0.1}, NUL: {"severity": 0.2}}}
    answer = client.post("/v1/scenarios", json={"name": "good", "assumptions": by_group}, headers=analyst)
    assert faults(answer)[0] == (f"assumptions.groups.{NUL}", AT_ONE)
    tape = upload(client, analyst, CSV)
    body = {"tape_id": tape["id"], "scenarios": [{"template": "base"}, {"scenario": {"name": NUL}}]}
    assert faults(client.post("/v1/runs", json=body, headers=analyst)) == [("scenarios[1].scenario.name", AT_ONE)]
    assert faults(client.post("/v1/runs", json={"tape_id": NUL}, headers=analyst)) == [("tape_id", AT_ONE)]
    chosen = {"tape_id": tape["id"], "scenarios": [{"scenario_id": NUL}]}
    assert faults(client.post("/v1/runs", json=chosen, headers=analyst)) == [("scenarios[0].scenario_id", AT_ONE)]


def test_graphql_refuses_what_rest_refuses(client: Client, analyst: dict[str, str]) -> None:
    create = "mutation ($n: String!, $t: TapeInput!) { create_tape(name: $n, tape: $t) { id } }"
    assert told(client, analyst, create, n=NUL, t={"columns": COLUMNS}) == [("name", AT_ONE)]
    grouped = {"columns": {**COLUMNS, "group": ["a", NUL]}}
    assert told(client, analyst, create, n="good", t=grouped) == [("tape.columns.group[1]", AT_ONE)]
    scenario = "mutation ($s: ScenarioBodyInput!) { create_scenario(scenario: $s) { id } }"
    assert told(client, analyst, scenario, s={"name": "x", "description": NUL}) == [("description", AT_ONE)]
    # Written out in the query, where the escape is GraphQL's own.
    inline = r'mutation { create_scenario(scenario: {name: "a\u0000b"}) { id } }'
    assert told(client, analyst, inline) == [("name", AT_ONE)]
    tape = upload(client, analyst, CSV)
    submit = "mutation ($r: RunRequestInput!, $k: String) { submit_run(request: $r, idempotency_key: $k) { id } }"
    assert told(client, analyst, submit, r={"tape_id": tape["id"]}, k=NUL) == [("idempotency_key", AT_ONE)]


@pytest.mark.parametrize("kind", ["text/csv", PARQUET, ARROW])
@pytest.mark.parametrize("column", ["loan_id", "group", "calendar"])
def test_cells_of_files_with_nul_are_refused_by_row_and_column(
    client: Client, analyst: dict[str, str], kind: str, column: str
) -> None:
    table, out = pa.table({**COLUMNS, column: ["good", NUL]}), io.BytesIO()
    if kind == PARQUET:
        parquet.write_table(table, out)
    elif kind == ARROW:
        with ipc.new_stream(out, table.schema) as sink:
            sink.write_table(table)
    else:
        out.write(f"{','.join(table.column_names)}\n1,0.05,12,good\n2,0.06,24,{NUL}\n".encode())
    answer = client.post("/v1/tapes", content=out.getvalue(), headers={**analyst, "content-type": kind})
    assert faults(answer) == [(f"body, row 2, column '{column}'", IN_CELL)]
    assert client.get("/v1/tapes", headers=analyst).json()["items"] == []


def test_cells_of_layouts_and_json_with_nul_are_refused(client: Client, analyst: dict[str, str]) -> None:
    path = Path(__file__).parents[2] / "samples/layouts/lending_club.csv"
    body = path.read_text().replace('"68000000"', '"680\x000000"').encode()
    answer = client.post("/v1/tapes", content=body, headers={**analyst, "content-type": "text/csv"})
    ((place, message),) = faults(answer)
    assert (place, "text without the character U+0000" in message) == ("body, row 1, column 'id'", True)
    loans = {"loans": [LOAN, {**LOAN, "group": NUL}]}
    assert faults(client.post("/v1/tapes", json=loans, headers=analyst)) == [("tape.loans[1].group", AT_ONE)]
    columns = {"columns": {**COLUMNS, "loan_id": [NUL, "b"]}}
    assert faults(client.post("/v1/tapes", json=columns, headers=analyst)) == [("tape.columns.loan_id[0]", AT_ONE)]


@pytest.mark.parametrize("kind", ["tapes", "runs", "scenarios"])
def test_an_id_with_nul_is_the_id_of_nothing(client: Client, analyst: dict[str, str], kind: str) -> None:
    assert client.get(f"/v1/{kind}/a%00b", headers=analyst).status_code == 404
    assert client.delete(f"/v1/{kind}/a%00b", headers=analyst).status_code == 404
    query = f'{{ {kind[:-1]}(id: "a\\u0000b") {{ id }} }}'
    answer = client.post("/graphql", json={"query": query}, headers=analyst).json()
    assert answer["errors"][0]["extensions"]["code"] == "NOT_FOUND"


def test_listings_by_texts_with_nul(client: Client, analyst: dict[str, str]) -> None:
    upload(client, analyst, CSV)
    assert client.get("/v1/runs?tape_id=a%00b", headers=analyst).json()["items"] == []
    forged = client.get(f"/v1/tapes?after={encode_cursor(datetime.now(UTC), NUL)}", headers=analyst)
    assert (forged.status_code, forged.json()["errors"][0]["path"]) == (400, "after")


@pytest.mark.parametrize("escape", [r"\ud800", r"\udc00\ud800", r"a\udfff"])
def test_halves_of_surrogate_pairs_do_not_arrive(client: Client, analyst: dict[str, str], escape: str) -> None:
    headers = {**analyst, "content-type": "application/json"}
    body = f'{{"name": "{escape}"}}'.encode()
    assert client.post("/v1/scenarios", content=body, headers=headers).status_code == 400
    query = f'mutation {{ create_scenario(scenario: {{name: "{escape}"}}) {{ id }} }}'
    answer = client.post("/graphql", json={"query": query}, headers=headers)
    assert (answer.status_code, "Unicode" in answer.json()["errors"][0]["message"]) == (400, True)
    # In addresses what is no UTF-8 is the sign for a character that cannot be read.
    named = client.post("/v1/tapes?name=a%ED%A0%80", content=CSV, headers={**analyst, "content-type": "text/csv"})
    assert (named.status_code, "\N{REPLACEMENT CHARACTER}" in named.json()["name"]) == (201, True)


def test_every_character_but_nul_comes_back_as_it_was_sent(client: Client, analyst: dict[str, str]) -> None:
    text = "".join(map(chr, range(1, 0x180))) + "\ufffd\uffff\U0001f600\U0010ffff"
    made = client.post("/v1/scenarios", json={"name": text[:MAX_NAME], "description": text}, headers=analyst)
    found = client.get(made.headers["location"], headers=analyst).json()
    assert (found["name"], found["description"]) == (text[:MAX_NAME], text)


def test_texts_are_bounded(client: Client, analyst: dict[str, str]) -> None:
    longest = {"name": "n" * MAX_NAME, "description": "ä" * MAX_DESCRIPTION}
    assert client.post("/v1/scenarios", json=longest, headers=analyst).status_code == 201
    longer = {"name": "n" * (MAX_NAME + 1), "description": "ä" * (MAX_DESCRIPTION + 1)}
    assert faults(client.post("/v1/scenarios", json=longer, headers=analyst)) == [
        ("name", "has 256 characters; expected 1 to 255"),
        ("description", "has 4,001 characters; expected at most 4,000"),
    ]
    change = "mutation ($s: ScenarioBodyInput!) { create_scenario(scenario: $s) { id } }"
    assert [path for path, _ in told(client, analyst, change, s=longer)] == ["name", "description"]
    tape = upload(client, analyst, CSV)
    run = {"tape_id": tape["id"], "scenarios": [{"scenario": {"name": longer["name"]}}]}
    assert faults(client.post("/v1/runs", json=run, headers=analyst))[0][0] == "scenarios[0].scenario.name"
    hook = {"tape_id": tape["id"], "webhook_url": f"https://example.com/{'a' * MAX_URL}"}
    assert faults(client.post("/v1/runs", json=hook, headers=analyst))[0][0] == "webhook_url"


def test_the_bounds_are_those_of_the_description(client: Client, analyst: dict[str, str]) -> None:
    document = client.get("/schema/openapi.json", headers=analyst).json()
    schemas = document["components"]["schemas"]
    bounds = {
        ("ScenarioBody", "name"): MAX_NAME, ("ScenarioBody", "description"): MAX_DESCRIPTION,
        ("TapeName", "name"): MAX_NAME, ("RunRequest", "webhook_url"): MAX_URL,
    }  # fmt: skip
    for (schema, name), most in bounds.items():
        assert schemas[schema]["properties"][name]["maxLength"] == most
    keys = [p for p in document["paths"]["/v1/runs"]["post"]["parameters"] if p["name"] == "Idempotency-Key"]
    assert keys[0]["schema"]["maxLength"] == MAX_KEY
    asked = '{ __type(name: "ScenarioBodyInput") { inputFields { name description } } }'
    kind = client.post("/graphql", json={"query": asked}, headers=analyst).json()["data"]["__type"]
    said = {field["name"]: field["description"] for field in kind["inputFields"]}
    assert f"{MAX_NAME} characters" in said["name"]
    assert f"{MAX_DESCRIPTION:,} characters" in said["description"]


def test_faults_bear_the_names_that_the_client_sent(client: Client, analyst: dict[str, str]) -> None:
    tape = upload(client, analyst, CSV)
    key = {**analyst, "idempotency-key": "k" * (MAX_KEY + 1)}
    answer = client.post("/v1/runs", json={"tape_id": tape["id"]}, headers=key)
    assert faults(answer) == [("Idempotency-Key", "has 256 characters; expected 1 to 255")]
    assert answer.json()["detail"].startswith("Idempotency-Key has")
    state = client.get("/v1/runs?state=queued,sleeping", headers=analyst)
    assert faults(state)[0][0] == "state"
    assert state.json()["detail"].startswith("state has 'sleeping'")
    assert faults(client.get("/v1/runs?limit=101", headers=analyst))[0][0] == "limit"
    made = client.post("/v1/runs", json={"tape_id": tape["id"]}, headers=analyst).json()
    finished(client, analyst, made["id"])
    place = f"/v1/runs/{made['id']}/cashflows"
    assert faults(client.get(f"{place}?fields=loss,colour", headers=analyst))[0][0] == "fields[1]"
    assert faults(client.get(f"{place}?scenarios=none", headers=analyst))[0][0] == "scenarios[0]"
    for listing in ("tapes", "runs", "scenarios"):
        ((path, message),) = told(client, analyst, f"{{ {listing}(first: 101) {{ nodes {{ id }} }} }}")
        assert (path, message) == ("first", "is 101; expected 1 to 100")
    query = '{ tapes(after: "zzz") { nodes { id } } }'
    (error,) = client.post("/graphql", json={"query": query}, headers=analyst).json()["errors"]
    assert error["extensions"]["errors"][0]["message"].endswith("expected an end_cursor")
    submit = "mutation ($r: RunRequestInput!, $k: String) { submit_run(request: $r, idempotency_key: $k) { id } }"
    found = told(client, analyst, submit, r={"tape_id": tape["id"]}, k="k" * 256)
    assert found == [("idempotency_key", "has 256 characters; expected 1 to 255")]


@pytest.mark.parametrize("name", ["NA", " spaced ", "none", "n" * 1_500])
def test_names_of_loans_and_groups_are_stored_as_they_were_sent(
    client: Client, analyst: dict[str, str], name: str
) -> None:
    tape = {"loans": [{**LOAN, "group": name, "loan_id": name}, {**LOAN, "group": "B"}]}
    stored = client.post("/v1/tapes", json=tape, headers=analyst).json()
    assert set(stored["profile"]["groups"]) == {name, "B"}
    asked = {"level": "group", "fields": ["balance"]}
    at_once = client.post("/v1/projections", json={"tape": tape, **asked}, headers=analyst).json()
    again = client.post("/v1/projections", json={"tape": {"tape_id": stored["id"]}, **asked}, headers=analyst).json()
    assert again == at_once
    made = client.post("/v1/runs", json={"tape_id": stored["id"], **asked}, headers=analyst).json()
    assert finished(client, analyst, made["id"])["state"] == "succeeded"
    flows = client.get(f"/v1/runs/{made['id']}/cashflows", headers=analyst).json()
    assert set(flows["groups"]) == set(at_once["groups"]) == {name, "B"}

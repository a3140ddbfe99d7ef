"""Stored tapes, scenarios and runs over GraphQL: pages, changes, selected columns, comparison, progress."""

import json
from typing import Any

import pytest
from litestar import Litestar
from litestar.exceptions import WebSocketDisconnect
from litestar.testing import TestClient

from api.settings import Settings
from tests.api.test_stored import ASSUMPTIONS, CSV, bearer_of, finished, upload

Client = TestClient[Litestar]
WS = "graphql-transport-ws"
PROGRESS = "subscription ($id: ID!) { run_progress(id: $id) { id state progress } }"


@pytest.fixture
def analyst(settings: Settings, request: pytest.FixtureRequest) -> dict[str, str]:
    return bearer_of(settings, request.node.nodeid[:200])


def asked(client: Client, headers: dict[str, str], query: str, **variables: Any) -> dict[str, Any]:
    """An answer, with its errors."""
    body = {"query": query, "variables": variables}
    return dict(client.post("/graphql", json=body, headers=headers).json())


def ask(client: Client, headers: dict[str, str], query: str, **variables: Any) -> dict[str, Any]:
    """The data of an answer without errors."""
    answer = asked(client, headers, query, **variables)
    assert "errors" not in answer, answer
    return dict(answer["data"])


def code_of(client: Client, headers: dict[str, str], query: str, **variables: Any) -> str:
    return str(asked(client, headers, query, **variables)["errors"][0]["extensions"]["code"])


@pytest.fixture
def run(client: Client, analyst: dict[str, str]) -> dict[str, Any]:
    """A run of two scenarios that has succeeded."""
    tape = upload(client, analyst, CSV)
    scenarios = [{"template": "base"}, {"scenario": {"name": "own"}}]
    body = {"tape_id": tape["id"], "scenarios": scenarios, "assumptions": ASSUMPTIONS}
    made = client.post("/v1/runs", json=body, headers=analyst)
    return finished(client, analyst, made.json()["id"])


def test_columns_of_a_stored_run_are_those_of_rest(
    client: Client, analyst: dict[str, str], run: dict[str, Any]
) -> None:
    query = """query ($id: ID!) { run(id: $id) { state scenarios
        cashflows { scenarios { name columns { interest loss } summary { wal_years } } } } }"""
    found = ask(client, analyst, query, id=run["id"])["run"]
    assert (found["state"], found["scenarios"]) == ("succeeded", ["base", "own"])
    place = f"/v1/runs/{run['id']}/cashflows?fields=interest,loss"
    stored = client.get(place, headers=analyst).json()["scenarios"]
    for each in found["cashflows"]["scenarios"]:
        columns = stored[each["name"]]["columns"]
        assert each["columns"] == {"interest": columns["interest"], "loss": columns["loss"]}
        assert each["summary"]["wal_years"] > 0


def test_one_scenario_alone_has_its_columns_at_the_top(
    client: Client, analyst: dict[str, str], run: dict[str, Any]
) -> None:
    query = 'query ($id: ID!) { run(id: $id) { cashflows(scenarios: ["own"]) { columns { balance } } } }'
    balance = ask(client, analyst, query, id=run["id"])["run"]["cashflows"]["columns"]["balance"]
    assert len(balance) == run["periods"]
    assert balance[0] < 3000


def test_a_comparison_is_the_difference_of_the_columns(
    client: Client, analyst: dict[str, str], run: dict[str, Any]
) -> None:
    query = """query ($id: ID!) { run(id: $id) {
        cashflows { scenarios { name columns { cashflow } } }
        comparison(base: "base") { name base columns { cashflow } summary { totals { cashflow } } } } }"""
    found = ask(client, analyst, query, id=run["id"])["run"]
    base, own = (each["columns"]["cashflow"] for each in found["cashflows"]["scenarios"])
    (compared,) = found["comparison"]
    assert (compared["name"], compared["base"]) == ("own", "base")
    assert compared["columns"]["cashflow"] == [a - b for a, b in zip(own, base, strict=True)]
    assert compared["summary"]["totals"]["cashflow"] == pytest.approx(sum(own), rel=1e-12)


def test_a_comparison_by_group_is_refused_with_the_reason(
    client: Client, analyst: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    tape = upload(client, analyst, CSV)
    body = {"tape_id": tape["id"], "level": "group", "scenarios": [{"template": "base"}, {"scenario": {"name": "own"}}]}
    run = finished(client, analyst, client.post("/v1/runs", json=body, headers=analyst).json()["id"])
    query = 'query ($id: ID!) { run(id: $id) { id comparison(base: "base") { columns { loss } } } }'
    answer = asked(client, analyst, query, id=run["id"])
    assert answer["data"] == {"run": {"id": run["id"], "comparison": None}}
    (error,) = answer["errors"]
    assert error["message"] == "comparison is of runs at pool level; this one is by group"
    assert error["extensions"] == {"code": "INVALID_INPUT", "errors": []}
    assert "unhandled error" not in caplog.text


def test_a_listing_is_whole_where_one_of_its_runs_has_no_result(
    client: Client, analyst: dict[str, str], run: dict[str, Any]
) -> None:
    # Loans with dates are projected from a cut-off date, which this run does not state.
    dated = b"balance,annual_rate,remaining_term,next_payment_date\n1000,0.06,12,2024-02-15\n"
    body = {"tape_id": upload(client, analyst, dated)["id"]}
    failed = finished(client, analyst, client.post("/v1/runs", json=body, headers=analyst).json()["id"])
    assert failed["state"] == "failed"
    query = """{ runs { nodes { id state
        cashflows(scenarios: ["base"]) { columns { loss } } comparison(base: "base") { name } } } }"""
    answer = asked(client, analyst, query)
    without, whole = answer["data"]["runs"]["nodes"]
    assert without == {"id": failed["id"], "state": "failed", "cashflows": None, "comparison": None}
    assert (whole["id"], whole["state"], whole["comparison"]) == (run["id"], "succeeded", [{"name": "own"}])
    assert len(whole["cashflows"]["columns"]["loss"]) == run["periods"]
    places = {(*error["path"], error["extensions"]["code"]) for error in answer["errors"]}
    assert places == {("runs", "nodes", 0, name, "CONFLICT") for name in ("cashflows", "comparison")}
    assert len(answer["errors"]) == 2


def test_pages_follow_their_cursors(client: Client, analyst: dict[str, str]) -> None:
    for i in range(3):
        upload(client, analyst, CSV, query=f"?name=t{i}")
    query = """query ($after: String) { tapes(first: 2, after: $after) {
        edges { cursor node { name } } page_info { has_next_page has_previous_page end_cursor } } }"""
    first = ask(client, analyst, query)["tapes"]
    assert [edge["node"]["name"] for edge in first["edges"]] == ["t2", "t1"]
    assert first["page_info"]["has_next_page"]
    assert first["page_info"]["end_cursor"] == first["edges"][-1]["cursor"]
    second = ask(client, analyst, query, after=first["page_info"]["end_cursor"])["tapes"]
    assert [edge["node"]["name"] for edge in second["edges"]] == ["t0"]
    assert (second["page_info"]["has_next_page"], second["page_info"]["has_previous_page"]) == (False, True)


def test_everything_that_rest_changes_can_be_changed(client: Client, analyst: dict[str, str]) -> None:
    loans = {"loans": [{"type": "loan", "balance": 1000.0, "annual_rate": 0.06, "remaining_term": 6}]}
    made = ask(
        client, analyst, 'mutation ($tape: TapeInput!) { create_tape(name: "a", tape: $tape) { id loans } }', tape=loans
    )["create_tape"]
    assert made["loans"] == 1
    renamed = ask(
        client, analyst, 'mutation ($id: ID!) { rename_tape(id: $id, name: "b") { name version } }', id=made["id"]
    )["rename_tape"]
    assert renamed == {"name": "b", "version": 2}
    scenario = ask(
        client, analyst, "mutation ($s: ScenarioBodyInput!) { create_scenario(scenario: $s) { id version } }",
        s={"name": "mild", "assumptions": ASSUMPTIONS},
    )["create_scenario"]  # fmt: skip
    update = """mutation ($id: ID!, $s: ScenarioBodyInput!, $v: Int) {
        update_scenario(id: $id, scenario: $s, expected_version: $v) { version assumptions } }"""
    changed = {"name": "mild", "assumptions": {"severity": 0.5}}
    told = ask(client, analyst, update, id=scenario["id"], s=changed, v=1)["update_scenario"]
    assert (told["version"], told["assumptions"]["severity"]) == (2, 0.5)
    assert code_of(client, analyst, update, id=scenario["id"], s=changed, v=1) == "STALE_VERSION"
    submit = "mutation ($r: RunRequestInput!, $k: String) { submit_run(request: $r, idempotency_key: $k) { id state } }"
    wanted = {"tape_id": made["id"], "scenarios": [{"scenario_id": scenario["id"]}], "fields": ["interest"]}
    run = ask(client, analyst, submit, r=wanted, k="one")["submit_run"]
    assert ask(client, analyst, submit, r=wanted, k="one")["submit_run"]["id"] == run["id"]
    assert code_of(client, analyst, submit, r={**wanted, "periods": 3}, k="one") == "CONFLICT"
    finished(client, analyst, run["id"])
    again = ask(client, analyst, "mutation ($id: ID!) { rerun(id: $id) { id } }", id=run["id"])["rerun"]
    finished(client, analyst, again["id"])
    assert code_of(client, analyst, "mutation ($id: ID!) { cancel_run(id: $id) { id } }", id=run["id"]) == "CONFLICT"
    for kind, id in (("run", run["id"]), ("run", again["id"]), ("scenario", scenario["id"]), ("tape", made["id"])):
        gone = ask(client, analyst, f"mutation ($id: ID!) {{ delete_{kind}(id: $id) }}", id=id)
        assert gone == {f"delete_{kind}": id}
        assert code_of(client, analyst, f"query ($id: ID!) {{ {kind}(id: $id) {{ id }} }}", id=id) == "NOT_FOUND"


def test_the_request_of_a_run_is_read_where_it_is_selected(
    client: Client, analyst: dict[str, str], run: dict[str, Any]
) -> None:
    found = ask(client, analyst, "{ runs { nodes { id fields level request webhook { state } } } }")["runs"]["nodes"]
    (one,) = found
    stored = client.get(f"/v1/runs/{run['id']}", headers=analyst).json()
    assert one == {name: stored[name] for name in ("id", "fields", "level", "request", "webhook")}
    assert one["request"]["scenarios"][1]["scenario"]["name"] == "own"


def test_faults_carry_their_paths(client: Client, analyst: dict[str, str]) -> None:
    tape = upload(client, analyst, CSV)
    query = "mutation ($r: RunRequestInput!) { submit_run(request: $r) { id } }"
    wanted = {"tape_id": tape["id"], "assumptions": {"severity": 2.0}}
    answer = asked(client, analyst, query, r=wanted)
    extensions = answer["errors"][0]["extensions"]
    assert extensions["code"] == "INVALID_INPUT"
    assert extensions["errors"][0]["path"].endswith("assumptions.severity")


CPR = {"prepayment": {"type": "cpr", "speed": 2.0}}


@pytest.mark.parametrize(
    ("change", "kind", "given", "path"),
    [
        ('create_tape(name: "a", tape: $given)', "TapeInput", {"tape_id": "tape_1"}, "tape.tape_id"),
        (
            "create_scenario(scenario: $given)", "ScenarioBodyInput", {"name": "s", "assumptions": CPR},
            "scenario.assumptions.prepayment.speed",
        ),
        (
            "submit_run(request: $given)", "RunRequestInput", {"tape_id": "tape_1", "assumptions": CPR},
            "request.assumptions.prepayment.speed",
        ),
    ],
)  # fmt: skip
def test_a_change_says_what_it_does_not_take(
    client: Client, analyst: dict[str, str], change: str, kind: str, given: dict[str, Any], path: str
) -> None:
    (error,) = asked(client, analyst, f"mutation ($given: {kind}!) {{ {change} {{ id }} }}", given=given)["errors"]
    code = "INVALID_INPUT" if path == "tape.tape_id" else "BAD_REQUEST"
    assert error["extensions"]["code"] == code
    assert error["extensions"]["errors"][0]["path"] == path
    assert error["message"].startswith(path)


def test_what_somebody_else_owns_is_not_there(
    client: Client, run: dict[str, Any], analyst: dict[str, str], settings: Settings
) -> None:
    stranger = bearer_of(settings, "stranger")
    scenario = client.post("/v1/scenarios", json={"name": "s"}, headers=analyst).json()["id"]
    new = {"s": {"name": "x"}}
    tried: list[tuple[str, str, dict[str, Any]]] = [
        ("query ($id: ID!) { run(id: $id) { id } }", run["id"], {}),
        ("query ($id: ID!) { tape(id: $id) { id } }", run["tape_id"], {}),
        ("query ($id: ID!) { scenario(id: $id) { id } }", scenario, {}),
        ("query ($id: ID!) { scenario_history(id: $id) { id } }", scenario, {}),
        ("mutation ($id: ID!) { rename_tape(id: $id, name: \"x\") { id } }", run["tape_id"], {}),
        ("mutation ($id: ID!) { delete_tape(id: $id) }", run["tape_id"], {}),
        (
            "mutation ($id: ID!, $s: ScenarioBodyInput!) { update_scenario(id: $id, scenario: $s) { id } }",
            scenario,
            new,
        ),
        ("mutation ($id: ID!) { delete_scenario(id: $id) }", scenario, {}),
        ("mutation ($id: String!) { submit_run(request: {tape_id: $id}) { id } }", run["tape_id"], {}),
        ("mutation ($id: ID!) { cancel_run(id: $id) { id } }", run["id"], {}),
        ("mutation ($id: ID!) { rerun(id: $id) { id } }", run["id"], {}),
        ("mutation ($id: ID!) { delete_run(id: $id) }", run["id"], {}),
    ]  # fmt: skip
    for query, id, more in tried:
        assert code_of(client, stranger, query, id=id, **more) == "NOT_FOUND", query
    from api.graphql.root import schema

    named = {name for query, _, _ in tried for name in query.replace("(", " ").split()}
    for kind in ("Query", "Mutation"):
        definition: Any = schema.get_type_by_name(kind)
        by_id = {f.python_name for f in definition.fields if any(a.python_name == "id" for a in f.arguments)}
        assert by_id <= named
    for listing in ("runs", "tapes", "scenarios"):
        assert ask(client, stranger, f"{{ {listing} {{ nodes {{ id }} }} }}")[listing]["nodes"] == []


def test_a_reader_changes_nothing(client: Client, settings: Settings) -> None:
    reader = bearer_of(settings, "reader", "reader")
    assert code_of(client, reader, 'mutation { delete_run(id: "run_1") }') == "FORBIDDEN"


class TestProgress:
    def test_it_comes_over_a_websocket(self, client: Client, analyst: dict[str, str], run: dict[str, Any]) -> None:
        with client.websocket_connect("/graphql", subprotocols=[WS]) as socket:
            socket.send_json({"type": "connection_init", "payload": analyst})
            assert socket.receive_json()["type"] == "connection_ack"
            wanted = {"query": PROGRESS, "variables": {"id": run["id"]}}
            socket.send_json({"id": "1", "type": "subscribe", "payload": wanted})
            told = socket.receive_json()
            assert told["payload"]["data"]["run_progress"] == {"id": run["id"], "state": "succeeded", "progress": 1.0}
            assert socket.receive_json() == {"id": "1", "type": "complete"}

    @pytest.mark.parametrize("payload", [{}, {"authorization": "Bearer x.y.z"}, {"authorization": 7}])
    def test_nothing_runs_without_a_token(self, client: Client, payload: dict[str, Any]) -> None:
        with client.websocket_connect("/graphql", subprotocols=[WS]) as socket:
            socket.send_json({"type": "connection_init", "payload": payload})
            with pytest.raises(WebSocketDisconnect) as closed:
                socket.receive_json()
            assert closed.value.code == 4403

    def test_nothing_runs_before_the_token(self, client: Client, run: dict[str, Any]) -> None:
        with client.websocket_connect("/graphql", subprotocols=[WS]) as socket:
            wanted = {"query": PROGRESS, "variables": {"id": run["id"]}}
            socket.send_json({"id": "1", "type": "subscribe", "payload": wanted})
            with pytest.raises(WebSocketDisconnect) as closed:
                socket.receive_json()
            assert closed.value.code == 4401

    def test_a_strangers_run_is_not_there(self, client: Client, run: dict[str, Any], settings: Settings) -> None:
        with client.websocket_connect("/graphql", subprotocols=[WS]) as socket:
            socket.send_json({"type": "connection_init", "payload": bearer_of(settings, "stranger")})
            socket.receive_json()
            wanted = {"query": PROGRESS, "variables": {"id": run["id"]}}
            socket.send_json({"id": "1", "type": "subscribe", "payload": wanted})
            assert socket.receive_json()["payload"]["errors"][0]["extensions"]["code"] == "NOT_FOUND"

    def test_it_comes_as_server_sent_events(self, client: Client, analyst: dict[str, str], run: dict[str, Any]) -> None:
        wanted = {"query": PROGRESS, "variables": {"id": run["id"]}}
        answer = client.post("/graphql", json=wanted, headers={**analyst, "accept": "text/event-stream"})
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.text.splitlines()
        data = json.loads(lines[lines.index("event: next") + 1].removeprefix("data: "))
        assert data["data"]["run_progress"]["state"] == "succeeded"
        assert "event: complete" in lines

    def test_without_events_it_says_how_to_ask_for_them(
        self, client: Client, analyst: dict[str, str], caplog: pytest.LogCaptureFixture
    ) -> None:
        # The second of two operations runs here: it is the one that is named that counts.
        query = "query Q { __typename } subscription S { run_progress(id: 1) { id } }"
        body = {"query": query, "operationName": "S"}
        answer = client.post("/graphql", json=body, headers={**analyst, "accept": "application/json"})
        assert answer.status_code == 400
        (error,) = answer.json()["errors"]
        assert "data" not in answer.json()
        assert error["extensions"]["code"] == "BAD_REQUEST"
        assert "Accept: text/event-stream" in error["message"]
        assert "graphql-transport-ws" in error["message"]
        assert "unhandled error" not in caplog.text
        assert asked(client, analyst, PROGRESS, id="run_1") == answer.json()
        answer = client.post("/graphql", json={**body, "operationName": "Q"}, headers=analyst)
        assert answer.json() == {"data": {"__typename": "Query"}}

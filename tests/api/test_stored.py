"""Stored tapes, scenarios and runs over REST, on the real application with SQLite and a folder."""

import errno
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from sqlalchemy.exc import DBAPIError

import engine
from api.auth import issue_token
from api.settings import Settings
from api.storage.objects import MissingObject, StoreError
from api.stored import stored_refusal

Client = TestClient[Litestar]
CSV = b"loan_id,balance,annual_rate,remaining_term,group\nA,1000,0.06,12,x\nB,2000,0.05,24,y\n"
ASSUMPTIONS = {"prepayment": {"type": "cpr", "rate": 0.06}, "default": {"type": "cdr", "rate": 0.02}, "severity": 0.4}


def bearer_of(settings: Settings, subject: str, role: str = "analyst") -> dict[str, str]:
    token = issue_token(settings, subject, timedelta(hours=1), role)
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def analyst(settings: Settings, request: pytest.FixtureRequest) -> dict[str, str]:
    """An owner of this test's own, so that listings hold what it made."""
    return bearer_of(settings, request.node.nodeid[:200])


@pytest.fixture
def tape(client: Client, analyst: dict[str, str]) -> dict[str, Any]:
    return upload(client, analyst, CSV)


def upload(
    client: Client, headers: dict[str, str], body: bytes, kind: str = "text/csv", query: str = "?name=first"
) -> dict[str, Any]:
    answer = client.post(f"/v1/tapes{query}", content=body, headers={**headers, "content-type": kind})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/tapes/{answer.json()['id']}"
    return dict(answer.json())


def finished(client: Client, headers: dict[str, str], run_id: str) -> dict[str, Any]:
    """The run once it has ended: what its event stream tells last."""
    with client.stream("GET", f"/v1/runs/{run_id}/events", headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = list(stream.iter_lines())
    assert "event: end" in lines
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    return dict(told[-2])


class TestTapes:
    def test_an_uploaded_tape_is_profiled_and_comes_back(
        self, client: Client, analyst: dict[str, str], tape: dict[str, Any]
    ) -> None:
        assert (tape["name"], tape["loans"], tape["balance"], tape["loan_months"]) == ("first", 2, 3000.0, 36)
        assert tape["profile"]["groups"] == {"x": 1000.0, "y": 2000.0}
        assert "object_key" not in tape
        assert "owner" not in tape
        found = client.get(f"/v1/tapes/{tape['id']}", headers=analyst)
        assert found.json() == tape
        file = client.get(f"/v1/tapes/{tape['id']}/file", headers=analyst)
        assert len(file.content) == tape["size"]
        table = pyarrow.parquet.read_table(io.BytesIO(file.content))
        assert table.column("balance").to_pylist() == [1000.0, 2000.0]
        assert table.column("loan_id").to_pylist() == ["A", "B"]

    def test_every_format_gives_the_same_tape(self, client: Client, analyst: dict[str, str]) -> None:
        table = pa.table({"balance": [1000.0, 2000.0], "annual_rate": [0.06, 0.05], "remaining_term": [12, 24]})
        parquet, stream, file = io.BytesIO(), io.BytesIO(), io.BytesIO()
        pyarrow.parquet.write_table(table, parquet)
        for sink, opened in ((stream, pa.ipc.new_stream), (file, pa.ipc.new_file)):
            with opened(sink, table.schema) as writer:
                writer.write_table(table)
        columns = json.dumps({"columns": table.to_pydict()}).encode()
        bodies = {
            "application/vnd.apache.parquet": parquet.getvalue(),
            "application/vnd.apache.arrow.stream": stream.getvalue(),
            "application/vnd.apache.arrow.file": file.getvalue(),
            "application/json": columns,
            "text/csv": b"UPB,Note Rate,WAM\n1000,6.0%,12\n2000,5.0%,24\n",
        }
        tapes = [upload(client, analyst, body, kind) for kind, body in bodies.items()]
        assert {(t["loans"], t["balance"], round(t["profile"]["average_rate"], 12)) for t in tapes} == {
            (2, 3000.0, round(160 / 3000, 12))
        }

    @pytest.mark.parametrize(
        ("kind", "body", "status", "where"),
        [
            ("text/csv", b"balance,annual_rate,remaining_term\n1000,six,12\n", 422, ""),
            ("text/csv", b"balance,annual_rate\n1000,0.06\n", 422, ""),
            ("application/json", b'{"loans": [{"type": "loan", "balance": "x"}]}', 400, "tape.loans[0].balance"),
            ("application/json", b'{"columns": {"balance": [1], "annual_rate": 7, "remaining_term": 2}}', 422, "tape"),
            ("application/json", b'{"tape_id": "t"}', 422, "tape.tape_id"),
            ("application/json", b'{"loans": ', 400, ""),
            ("application/vnd.apache.parquet", b"PAR1 nothing of the kind", 422, ""),
            ("application/pdf", b"", 415, ""),
            ("text/csv", b"", 422, ""),
        ],
    )
    def test_a_faulty_tape_is_refused_and_nothing_is_stored(
        self, client: Client, analyst: dict[str, str], kind: str, body: bytes, status: int, where: str
    ) -> None:
        answer = client.post("/v1/tapes", content=body, headers={**analyst, "content-type": kind})
        assert answer.status_code == status, answer.text
        if where:
            assert answer.json()["errors"][0]["path"].startswith(where)
        assert client.get("/v1/tapes", headers=analyst).json()["items"] == []

    def test_a_tape_beyond_the_limit_is_refused(self, app: Litestar, client: Client, analyst: dict[str, str]) -> None:
        import msgspec

        whole = app.state.settings
        app.state.settings = msgspec.structs.replace(whole, max_upload_bytes=20)
        try:
            answer = client.post("/v1/tapes", content=CSV, headers={**analyst, "content-type": "text/csv"})
        finally:
            app.state.settings = whole
        assert answer.status_code == 413
        assert "MAX_UPLOAD_BYTES" in answer.json()["detail"]

    @pytest.mark.parametrize(
        "body", [{"loans": []}, {"columns": {"balance": [], "annual_rate": [], "remaining_term": []}}]
    )
    def test_a_tape_without_loans_is_refused(
        self, client: Client, analyst: dict[str, str], body: dict[str, Any]
    ) -> None:
        answer = client.post("/v1/tapes", json=body, headers=analyst)
        assert answer.status_code == 422
        assert "tape has no loans; expected at least one" in answer.json()["detail"]
        query = 'mutation ($t: TapeInput!) { create_tape(name: "none", tape: $t) { id } }'
        asked = client.post("/graphql", json={"query": query, "variables": {"t": body}}, headers=analyst).json()
        assert "has no loans" in asked["errors"][0]["message"]
        assert client.get("/v1/tapes", headers=analyst).json()["items"] == []

    def test_loans_that_are_gone_are_told(
        self, client: Client, analyst: dict[str, str], tape: dict[str, Any], settings: Settings
    ) -> None:
        (Path(settings.used_object_store) / "tapes" / f"{tape['id']}.parquet").unlink()
        told = [
            client.get(f"/v1/tapes/{tape['id']}/file", headers=analyst),
            client.post("/v1/projections", json={"tape": {"tape_id": tape["id"]}}, headers=analyst),
        ]
        for answer in told:
            assert (answer.status_code, answer.json()["detail"]) == (
                500, "The stored loans of the tape are missing; upload it again.",
            )  # fmt: skip

    def test_a_tape_is_renamed_on_the_version_that_was_read(
        self, client: Client, analyst: dict[str, str], tape: dict[str, Any]
    ) -> None:
        address = f"/v1/tapes/{tape['id']}"
        seen = client.get(address, headers=analyst)
        assert seen.headers["etag"] == '"1"'
        assert client.get(address, headers={**analyst, "if-none-match": '"1"'}).status_code == 304
        renamed = client.patch(address, json={"name": "second"}, headers={**analyst, "if-match": '"1"'})
        assert (renamed.json()["name"], renamed.headers["etag"]) == ("second", '"2"')
        stale = client.patch(address, json={"name": "third"}, headers={**analyst, "if-match": '"1"'})
        assert stale.status_code == 412
        assert stale.headers["etag"] == '"2"'
        assert client.delete(address, headers={**analyst, "if-match": '"1"'}).status_code == 412
        assert client.delete(address, headers={**analyst, "if-match": '"2"'}).status_code == 204
        assert client.get(address, headers=analyst).status_code == 404

    def test_pages_hold_every_tape_once_newest_first(self, client: Client, analyst: dict[str, str]) -> None:
        made = [upload(client, analyst, CSV, query=f"?name=tape-{i}")["name"] for i in range(5)]
        names: list[str] = []
        after = ""
        while True:
            page = client.get(f"/v1/tapes?limit=2{after}", headers=analyst).json()
            names += [item["name"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            after = f"&after={page['next_cursor']}"
        assert names == made[::-1]

    @pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "after=zzz", "after=%00", "page=2"])
    def test_a_page_that_cannot_be_is_refused(self, client: Client, analyst: dict[str, str], query: str) -> None:
        answer = client.get(f"/v1/tapes?{query}", headers=analyst)
        assert answer.status_code in (400, 422)
        assert answer.json()["errors"][0]["path"] == query.split("=")[0]


class TestScenarios:
    def test_every_version_stays_readable(self, client: Client, analyst: dict[str, str]) -> None:
        made = client.post("/v1/scenarios", json={"name": "mild", "assumptions": ASSUMPTIONS}, headers=analyst)
        assert made.status_code == 201
        address = made.headers["location"]
        changed = {"name": "mild", "description": "worse", "assumptions": {**ASSUMPTIONS, "severity": 0.6}}
        second = client.put(address, json=changed, headers={**analyst, "if-match": made.headers["etag"]})
        assert (second.json()["version"], second.json()["assumptions"]["severity"]) == (2, 0.6)
        assert client.put(address, json=changed, headers={**analyst, "if-match": '"1"'}).status_code == 412
        first = client.get(f"{address}?version=1", headers=analyst).json()
        assert (first["version"], first["assumptions"]["severity"]) == (1, 0.4)
        history = client.get(f"{address}/history", headers=analyst).json()["items"]
        assert [each["version"] for each in history] == [2, 1]
        assert client.get(f"{address}?version=3", headers=analyst).status_code == 404
        assert client.delete(address, headers=analyst).status_code == 204
        assert client.get(address, headers=analyst).status_code == 404

    def test_a_taken_name_and_bad_values_are_refused(self, client: Client, analyst: dict[str, str]) -> None:
        good = {"name": "one", "assumptions": ASSUMPTIONS}
        assert client.post("/v1/scenarios", json=good, headers=analyst).status_code == 201
        assert client.post("/v1/scenarios", json=good, headers=analyst).status_code == 409
        bad = {"name": "two", "assumptions": {"severity": 1.5, "recovery_lag": -1}}
        answer = client.post("/v1/scenarios", json=bad, headers=analyst)
        assert answer.status_code == 422
        paths = {fault["path"] for fault in answer.json()["errors"]}
        assert paths == {"assumptions.severity", "assumptions.recovery_lag"}
        unknown = client.post("/v1/scenarios", json={**good, "colour": "red"}, headers=analyst)
        assert unknown.status_code == 400

    def test_the_templates_can_be_stored_as_they_are(self, client: Client, analyst: dict[str, str]) -> None:
        templates = client.get("/v1/scenarios/templates", headers=analyst).json()["items"]
        names = {each["name"] for each in templates}
        wanted = {"base", "rate_shock_up", "rate_shock_down", "credit_crisis", "liquidity_crisis", "housing_boom"}
        assert wanted | {"housing_bust"} <= names
        for each in templates:
            body = {"name": each["name"], "description": each["description"], "assumptions": each["assumptions"]}
            assert client.post("/v1/scenarios", json=body, headers=analyst).status_code == 201


class TestRuns:
    def test_a_run_gives_what_the_engine_gives(
        self, client: Client, analyst: dict[str, str], tape: dict[str, Any]
    ) -> None:
        body = {"tape_id": tape["id"], "scenarios": [{"template": "base"}, {"scenario": {"name": "own"}}]}
        made = client.post("/v1/runs", json={**body, "assumptions": ASSUMPTIONS}, headers=analyst)
        assert made.status_code == 202, made.text
        run = finished(client, analyst, made.json()["id"])
        assert (run["state"], run["progress"], run["scenarios"]) == ("succeeded", 1.0, ["base", "own"])
        flows = client.get(f"{made.headers['location']}/cashflows?fields=interest,loss", headers=analyst)
        expected = engine.project(
            engine.ProjectionRequest(
                tape=engine.Tape.from_columns(
                    balance=[1000.0, 2000.0], annual_rate=[0.06, 0.05], remaining_term=[12, 24], group=["x", "y"]
                ),
                assumptions=engine.Assumptions(
                    prepayment=engine.Cpr(rate=0.06), default=engine.Cdr(rate=0.02), severity=0.4
                ),
                fields=["interest", "loss"],
            )
        )
        own = flows.json()["scenarios"]["own"]["columns"]
        assert list(own) == ["period", "interest", "loss"]
        assert own["interest"][:24] == expected["interest"].tolist()
        assert own["loss"][:24] == expected["loss"].tolist()
        again = client.get(
            f"{made.headers['location']}/cashflows?fields=interest,loss",
            headers={**analyst, "if-none-match": flows.headers["etag"]},
        )
        assert again.status_code == 304

    def test_a_run_is_deleted_as_it_was_read(
        self, client: Client, analyst: dict[str, str], tape: dict[str, Any]
    ) -> None:
        made = client.post("/v1/runs", json={"tape_id": tape["id"]}, headers=analyst)
        address = made.headers["location"]
        finished(client, analyst, made.json()["id"])
        etag = client.get(address, headers=analyst).headers["etag"]
        stale = client.delete(address, headers={**analyst, "if-match": made.headers["etag"]})
        assert (stale.status_code, stale.headers["etag"]) == (412, etag)
        assert client.delete(address, headers={**analyst, "if-match": etag}).status_code == 204
        assert client.delete(address, headers={**analyst, "if-match": "*"}).status_code == 404

    def test_an_unknown_template_is_told_with_the_known_ones(
        self, client: Client, analyst: dict[str, str], tape: dict[str, Any]
    ) -> None:
        body = {"tape_id": tape["id"], "scenarios": [{"template": "base"}, {"template": "bases"}]}
        answer = client.post("/v1/runs", json=body, headers=analyst)
        fault = answer.json()["errors"][0]
        assert (answer.status_code, fault["path"]) == (422, "scenarios[1].template")
        assert "is 'bases'; expected one of base, rate_shock_up" in fault["message"]
        assert fault["message"].endswith("did you mean base?")

    def test_the_same_key_gives_the_same_run(
        self, client: Client, analyst: dict[str, str], tape: dict[str, Any]
    ) -> None:
        headers = {**analyst, "idempotency-key": "k1"}
        first = client.post("/v1/runs", json={"tape_id": tape["id"]}, headers=headers)
        second = client.post("/v1/runs", json={"tape_id": tape["id"]}, headers=headers)
        assert first.json()["id"] == second.json()["id"]
        other = client.post("/v1/runs", json={"tape_id": tape["id"], "periods": 3}, headers=headers)
        assert other.status_code == 409

    def test_running_again_with_a_key_makes_one_run(
        self, client: Client, analyst: dict[str, str], tape: dict[str, Any]
    ) -> None:
        made = client.post("/v1/runs", json={"tape_id": tape["id"]}, headers=analyst)
        headers = {**analyst, "idempotency-key": "again"}
        first, second = (client.post(f"{made.headers['location']}/rerun", headers=headers) for _ in range(2))
        assert first.status_code == 202
        assert first.json()["id"] == second.json()["id"] != made.json()["id"]
        assert client.post("/v1/runs", json={"tape_id": tape["id"]}, headers=headers).status_code == 409
        listed = client.get("/v1/runs", headers=analyst).json()["items"]
        assert [each["id"] for each in listed] == [first.json()["id"], made.json()["id"]]
        query = "mutation ($id: ID!, $k: String) { rerun(id: $id, idempotency_key: $k) { id } }"
        body = {"query": query, "variables": {"id": made.json()["id"], "k": "again"}}
        asked = client.post("/graphql", json=body, headers=analyst).json()
        assert asked["data"]["rerun"]["id"] == first.json()["id"]

    def test_a_run_shows_its_request_and_a_listing_does_not(
        self, client: Client, analyst: dict[str, str], tape: dict[str, Any]
    ) -> None:
        body = {"tape_id": tape["id"], "assumptions": ASSUMPTIONS, "fields": ["loss"], "periods": 3}
        made = client.post("/v1/runs", json=body, headers=analyst)
        finished(client, analyst, made.json()["id"])
        run = client.get(made.headers["location"], headers=analyst).json()
        for shown in (made.json()["request"], run["request"]):
            assert shown["assumptions"]["severity"] == 0.4
            assert (shown["fields"], shown["periods"]) == (["loss"], 3)
        (listed,) = client.get("/v1/runs", headers=analyst).json()["items"]
        assert listed == {name: value for name, value in run.items() if name != "request"}
        assert (listed["scenarios"], listed["fields"], listed["level"]) == (["base"], ["loss"], "pool")

    def test_runs_are_listed_by_state_and_tape(
        self, client: Client, analyst: dict[str, str], tape: dict[str, Any]
    ) -> None:
        made = client.post("/v1/runs", json={"tape_id": tape["id"]}, headers=analyst).json()
        finished(client, analyst, made["id"])
        listing = client.get(f"/v1/runs?state=succeeded&tape_id={tape['id']}", headers=analyst).json()
        assert [item["id"] for item in listing["items"]] == [made["id"]]
        assert client.get("/v1/runs?state=failed,dead", headers=analyst).json()["items"] == []
        since = client.get(f"/v1/runs?created_before={made['created_at']}", headers=analyst).json()
        assert since["items"] == []
        assert client.get("/v1/runs?state=lost", headers=analyst).status_code == 422
        assert client.get("/v1/runs?created_from=yesterday", headers=analyst).status_code == 400
        beyond = "0001-01-01T00:00:00%2B14:00"
        assert client.get(f"/v1/runs?created_from={beyond}", headers=analyst).status_code == 400

    def test_a_run_is_run_again_and_deleted(
        self, client: Client, analyst: dict[str, str], tape: dict[str, Any]
    ) -> None:
        made = client.post("/v1/runs", json={"tape_id": tape["id"]}, headers=analyst)
        finished(client, analyst, made.json()["id"])
        assert client.post(f"{made.headers['location']}/cancel", headers=analyst).status_code == 409
        again = client.post(f"{made.headers['location']}/rerun", headers=analyst)
        assert again.status_code == 202
        assert again.json()["id"] != made.json()["id"]
        finished(client, analyst, again.json()["id"])
        assert client.delete(f"/v1/tapes/{tape['id']}", headers=analyst).status_code == 409
        for place in (made.headers["location"], again.headers["location"]):
            assert client.delete(place, headers=analyst).status_code == 204
            assert client.get(place, headers=analyst).status_code == 404
        assert client.delete(f"/v1/tapes/{tape['id']}", headers=analyst).status_code == 204

    def test_what_a_run_cannot_have_is_refused(
        self, client: Client, analyst: dict[str, str], tape: dict[str, Any]
    ) -> None:
        made = client.post("/v1/runs", json={"tape_id": tape["id"], "fields": ["interest"]}, headers=analyst)
        finished(client, analyst, made.json()["id"])
        place = made.headers["location"]
        for query, path in (("fields=loss", "fields[0]"), ("scenarios=none", "scenarios[0]"), ("column=x", "column")):
            answer = client.get(f"{place}/cashflows?{query}", headers=analyst)
            assert answer.status_code in (400, 422)
            assert answer.json()["errors"][0]["path"] == path
        unknown = client.post("/v1/runs", json={"tape_id": "tape_0"}, headers=analyst)
        assert unknown.status_code == 404
        bad = {"tape_id": tape["id"], "fields": ["colour"]}
        assert client.post("/v1/runs", json=bad, headers=analyst).json()["errors"][0]["path"] == "fields[0]"


class TestOwners:
    def test_what_somebody_else_owns_is_not_there(
        self, client: Client, analyst: dict[str, str], tape: dict[str, Any], settings: Settings
    ) -> None:
        scenario = client.post("/v1/scenarios", json={"name": "s", "assumptions": ASSUMPTIONS}, headers=analyst)
        run = client.post("/v1/runs", json={"tape_id": tape["id"]}, headers=analyst)
        places = {"tape_id": tape["id"], "scenario_id": scenario.json()["id"], "run_id": run.json()["id"]}
        stranger = bearer_of(settings, "stranger")
        bodies: dict[str, Any] = {
            "PATCH /v1/tapes/{tape_id}": {"name": "mine"},
            "PUT /v1/scenarios/{scenario_id}": {"name": "mine"},
        }
        tried = 0
        for route in client.app.routes:
            path = route.path_format
            if not any(f"{{{name}}}" in path for name in places):
                continue
            address = path.format(**places)
            for method in sorted({m for handler in route.route_handlers for m in handler.http_methods} - {"OPTIONS"}):
                answer = client.request(method, address, json=bodies.get(f"{method} {path}"), headers=stranger)
                assert answer.status_code == 404, (method, path, answer.text)
                tried += 1
        assert tried >= 14
        for body in (
            {"tape_id": tape["id"]},
            {"tape_id": upload(client, stranger, CSV)["id"], "scenarios": [{"scenario_id": places["scenario_id"]}]},
        ):
            assert client.post("/v1/runs", json=body, headers=stranger).status_code == 404
        assert client.get("/v1/runs", headers=stranger).json()["items"] == []

    @pytest.mark.parametrize("path", ["tapes?name=x", "scenarios", "runs"])
    def test_a_reader_writes_nothing(self, client: Client, settings: Settings, path: str) -> None:
        reader = bearer_of(settings, "reader", "reader")
        answer = client.post(f"/v1/{path}", json={}, headers=reader)
        assert answer.status_code == 403


class Lost(Exception):
    """A driver's error with the state that the server sent."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DBAPIError("SELECT 1", {}, Lost("40P01")), 503),  # deadlock detected
        (DBAPIError("SELECT 1", {}, Lost("57P01")), 503),  # ended by an administrator
        (DBAPIError("SELECT 1", {}, Lost("53300")), 503),  # too many connections
        (DBAPIError("SELECT 1", {}, Lost("42P01")), 500),  # a table that is not there is a fault of ours
        (TimeoutError(), 503),
        (StoreError("gone"), 503),
        (MissingObject("gone"), 500),
        (OSError(errno.ENOSPC, "full"), 507),
        (OSError(errno.EACCES, "ours"), 500),
    ],
)
def test_an_outage_is_told_from_a_fault_of_ours(error: Exception, status: int) -> None:
    assert stored_refusal(error).status == status

"""Files in the bodies of requests: layouts, what the address says of their reading, and what is told of faults."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from litestar import Litestar
from litestar.testing import TestClient

import engine
from api.settings import Settings
from api.storage import sharding, tape_parquet
from tests.api.test_stored import bearer_of, finished, upload

Client = TestClient[Litestar]
SAMPLES = Path(__file__).parents[2] / "samples/layouts"
GOOD = b"balance,annual_rate,remaining_term\n1,0.1,2\n"
FAULTY = b"balance,annual_rate,remaining_term\n1,x,2\n"
TWICE = b"balance,current_balance,annual_rate,remaining_term\n1,3,0.1,2\n"
KINDS = {".txt": "text/plain", ".csv": "text/csv", ".xml": "application/xml"}


@pytest.fixture
def analyst(settings: Settings, request: pytest.FixtureRequest) -> dict[str, str]:
    return bearer_of(settings, request.node.nodeid[:200])


def post(client: Client, headers: dict[str, str], path: str, body: bytes, kind: str) -> Any:
    return client.post(path, content=body, headers={**headers, "content-type": kind})


@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.iterdir() if path.suffix in KINDS))
def test_every_layout_is_stored_as_python_reads_it(client: Client, analyst: dict[str, str], name: str) -> None:
    path = SAMPLES / name
    expected = engine.read_tape(path)
    found = upload(client, analyst, path.read_bytes(), KINDS[path.suffix])
    assert found["loans"] == len(expected)
    assert found["balance"] == pytest.approx(float(expected.arrays().balance.sum()), rel=1e-12)
    assert (found["report"]["layout"], found["report"]["loans"]) == (expected.report.layout, len(expected))
    assert found["report"]["left_pool"] == expected.report.left_pool
    body = {"tape": {"tape_id": found["id"]}, "fields": ["interest", "balance"]}
    answer = client.post("/v1/projections", json=body, headers=analyst)
    flows = engine.project(engine.ProjectionRequest(tape=expected, fields=["interest", "balance"]))
    np.testing.assert_allclose(answer.json()["columns"]["interest"], flows["interest"], rtol=1e-12)


def test_a_layout_is_cut_into_row_groups_of_the_size_that_runs_count_by(
    client: Client, analyst: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tape_parquet, "ROW_GROUP", 7)
    monkeypatch.setattr(sharding, "ROW_GROUP", 7)
    monkeypatch.setattr(sharding, "ROW_GROUPS_A_SHARD", 1)
    path = SAMPLES / "lending_club.csv"
    expected = engine.read_tape(path)
    tape_id = upload(client, analyst, path.read_bytes())["id"]
    made = client.post("/v1/runs", json={"tape_id": tape_id, "fields": ["interest"]}, headers=analyst).json()
    run = finished(client, analyst, made["id"])
    assert run["state"] == "succeeded"
    columns = client.get(f"/v1/runs/{run['id']}/cashflows", headers=analyst).json()
    (only,) = columns["scenarios"].values() if "scenarios" in columns else (columns,)
    flows = engine.project(engine.ProjectionRequest(tape=expected, fields=["interest"]))
    np.testing.assert_allclose(only["columns"]["interest"], flows["interest"], rtol=1e-12)


def test_floating_terms_are_read_where_the_address_asks_for_them(client: Client, analyst: dict[str, str]) -> None:
    path = SAMPLES / "fannie_mae.txt"
    expected = engine.read_tape(path, floating=True)
    found = upload(client, analyst, path.read_bytes(), "text/plain", "?floating=true")
    assert "index" in found["profile"]["columns"]
    plain = upload(client, analyst, path.read_bytes(), "text/plain", "?floating=false")
    assert "index" not in plain["profile"]["columns"]
    indices = {name for name in expected.columns.index if name}
    rates = {name: {"type": "path", "rates": [0.03, 0.05, 0.09]} for name in indices}
    body = {"tape": {"tape_id": found["id"]}, "assumptions": {"rates": rates}, "fields": ["interest"]}
    answer = client.post("/v1/projections", json=body, headers=analyst)
    assert answer.status_code == 200, answer.text
    paths = {name: engine.MonthlyRates(rates=[0.03, 0.05, 0.09]) for name in indices}
    request = engine.ProjectionRequest(tape=expected, assumptions=engine.Assumptions(rates=paths), fields=["interest"])
    np.testing.assert_allclose(answer.json()["columns"]["interest"], engine.project(request)["interest"], rtol=1e-12)
    del body["assumptions"]
    refused = client.post("/v1/projections", json=body, headers=analyst).json()
    assert refused["status"] == 422
    assert "has no rates" in refused["detail"]


def test_period_and_faulty_rows_are_as_the_address_says(client: Client, analyst: dict[str, str]) -> None:
    path = SAMPLES / "fannie_mae.txt"
    earlier = engine.read_tape(path, period="2024-11")
    found = upload(client, analyst, path.read_bytes(), "text/plain", "?period=2024-11")
    assert (found["report"]["period"], found["loans"]) == ("2024-11", len(earlier))
    faulty = path.read_text().replace("|100256.24|", "|1002x|").encode()
    refused = post(client, analyst, "/v1/tapes", faulty, "text/plain").json()
    assert refused["detail"].startswith("the body has 1 faulty rows")
    assert [fault["message"] for fault in refused["errors"]] == ["is '1002x'; expected a number"]
    skipped = upload(client, analyst, faulty, "text/plain", "?on_error=skip")
    whole = upload(client, analyst, path.read_bytes(), "text/plain")
    assert (skipped["report"]["skipped"], skipped["loans"]) == (1, whole["loans"] - 1)
    assert skipped["report"]["problems"][0]["column"] == "CURRENT_UPB"


@pytest.mark.parametrize("address", ["/v1/tapes", "/v1/tapes/profile"])
class TestRefusals:
    @pytest.mark.parametrize(
        ("kind", "body", "query", "path", "message"),
        [
            ("text/csv", b"balance,annual_rate\n1,0.06\n", "", "body", "the body lacks remaining_term"),
            ("text/csv", TWICE, "", "body", "the body has 'balance', 'current_balance' for balance"),
            ("text/csv", FAULTY, "", "body, row 1, column 'annual_rate'", "is 'x'"),
            ("text/csv", b"", "", "body", "the body is empty"),
            ("text/csv", GOOD, "?period=2024-01", "body", "the body shows no"),
            ("text/csv", GOOD, "?floating=true", "body", "the body shows no"),
            ("text/csv", GOOD, "?floating=yes", "floating", "is 'yes'"),
            ("text/csv", GOOD, "?layout=x", "layout", "is 'x'; expected one of"),
            ("text/csv", GOOD, "?on_error=x", "on_error", "is 'x'"),
            ("application/xml", b"<a/>", "", "body", "the body shows no layout; expected one of fannie_mae"),
            ("application/vnd.apache.arrow.stream", b"none", "?layout=fannie_mae", "body", "layout is 'fannie_mae'"),
        ],
    )  # fmt: skip
    def test_a_file_is_refused_by_the_name_of_the_body_and_with_each_fault(
        self, client: Client, analyst: dict[str, str], address: str, kind: str, body: bytes, query: str, path: str,
        message: str,
    ) -> None:  # fmt: skip
        answer = post(client, analyst, address + query, body, kind)
        if answer.status_code == 422 and not answer.json()["errors"]:
            pytest.fail(answer.text)
        assert answer.status_code == 422, answer.text
        (fault,) = answer.json()["errors"]
        assert fault["path"] == path
        assert fault["message"].startswith(message)

    def test_options_beside_json_are_refused(self, client: Client, analyst: dict[str, str], address: str) -> None:
        answer = post(client, analyst, f"{address}?floating=true", b"{}", "application/json")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["path"] == "floating"

    def test_media_types_are_those_of_both(self, client: Client, analyst: dict[str, str], address: str) -> None:
        answer = post(client, analyst, address, b"", "application/pdf")
        assert answer.status_code == 415
        assert "text/plain, application/xml, text/xml" in answer.json()["detail"]


def test_faults_of_a_json_tape_are_all_told(client: Client, analyst: dict[str, str]) -> None:
    loan = {"type": "loan", "balance": "x", "annual_rate": 0.05, "remaining_term": 12}
    tape = {"loans": [loan], "schedules": {"s": {"balances": "none"}}, "calendars": {"c": {"weekend": ["Son"]}}}
    answer = client.post("/v1/tapes", json=tape, headers=analyst)
    assert answer.status_code == 400
    assert [fault["path"] for fault in answer.json()["errors"]] == [
        "tape.loans[0].balance", "tape.schedules['s'].balances", "tape.calendars['c'].weekend[0]",
    ]  # fmt: skip


def test_queries_in_the_address_are_told_where_they_belong(client: Client, bearer: dict[str, str]) -> None:
    answer = client.get("/graphql", params={"query": "{ __typename }"}, headers=bearer)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert [fault["path"] for fault in answer.json()["errors"]] == ["query"]
    assert client.get("/graphql", headers=bearer).status_code == 200


def test_the_cutoff_of_a_stored_tape_is_the_requests(client: Client, analyst: dict[str, str]) -> None:
    rows = b"balance,annual_rate,remaining_term,next_payment_date,day_count\n1000,0.06,12,2024-02-15,ACT/360\n"
    tape_id = upload(client, analyst, rows)["id"]
    for date, days in (("2024-01-31", 31), ("2024-01-20", 31)):
        body = {"tape": {"tape_id": tape_id}, "cutoff_date": date, "fields": ["interest"]}
        answer = client.post("/v1/projections", json=body, headers=analyst).json()
        # Interest accrues from 15 January, the regular date before the first payment.
        assert answer["columns"]["interest"][0] == pytest.approx(1000 * 0.06 * days / 360)
        request = engine.ProjectionRequest(
            tape=engine.Tape.from_columns(balance=[1000.0], annual_rate=0.06, remaining_term=12,
                                          next_payment_date="2024-02-15", day_count="ACT/360"),
            cutoff_date=datetime.date.fromisoformat(date), fields=["interest"],
        )  # fmt: skip
        assert answer["columns"]["interest"] == engine.project(request)["interest"].tolist()

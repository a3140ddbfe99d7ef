"""Dated loans, and loans that name schedules, cashflows and calendars: one answer in Python, REST, GraphQL and runs."""

import datetime
import io
import json
from typing import Any

import msgspec
import numpy as np
import pytest
from litestar import Litestar
from litestar.testing import TestClient

import engine
from api.settings import Settings
from api.storage import sharding, tape_parquet
from api.storage.objects import store_from
from engine import tape_tables
from tests.api.test_stored import ASSUMPTIONS, bearer_of, finished, upload

Client = TestClient[Litestar]
CUTOFF = "2024-01-31"
FIELDS = [
    "interest",
    "scheduled_principal",
    "prepayment",
    "default",
    "loss",
    "recovery",
    "balance",
    "prepayment_penalty",
]
PLAIN = {"type": "loan", "balance": 1000.0, "annual_rate": 0.06, "remaining_term": 24}
DATED = {
    **PLAIN, "payment_frequency": "quarterly", "next_payment_date": "2024-03-31", "paid_to_date": "2024-01-15",
    "origination_date": "2022-09-15", "maturity_date": "2026-01-10", "final_stub": "long", "day_count": "ACT/360",
    "business_day": "modified_following", "accrual_business_day": "modified_following", "month_end": "last_day",
}  # fmt: skip
TABLES: dict[str, Any] = {
    "schedules": {"half": {"balances": [100.0 - 2.0 * month for month in range(24)], "by": "period"}},
    "rate_schedules": {"up": {"steps": [{"month": 6, "annual_rate": 0.07}, {"month": 12, "annual_rate": 0.08}]}},
    "cashflows": {"table": {"balances": [100.0, 70.0, 20.0, 0.0], "interest": [1.0, 0.7, 0.2]}},
    "calendars": {"mine": {"holidays": ["2024-04-02", "2024-07-01"], "weekend": ["Fri", "Sat"], "market": "TARGET"}},
    "penalties": {"5-4": [{"type": "lockout", "months": 3}, {"type": "step_down", "rates": [0.05, 0.04]}]},
}
LOANS: list[dict[str, Any]] = [
    PLAIN,
    {**DATED, "calendar": "mine"},
    {**DATED, "calendar": "NYSE", "business_day": "preceding", "day_count": "30E/360", "final_stub": "short"},
    {**PLAIN, "payment_frequency": "weekly", "next_payment_date": "2024-02-02", "day_count": "ACT/365F"},
    {**PLAIN, "origination_date": "2024-04-15"},
    {**PLAIN, "amortization": "schedule", "schedule": "half"},
    {**PLAIN, "rate_schedule": "up"},
    {**PLAIN, "penalty": "5-4"},
    {"type": "cashflow", "balance": 500.0, "cashflows": "table"},
]
TAPE = {"loans": LOANS, **TABLES}
GRAPHQL = f"query ($r: ProjectionRequestInput!) {{ projection(request: $r) {{ columns {{ {' '.join(FIELDS)} }} }} }}"


def request_of(tape: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {"tape": tape, "assumptions": ASSUMPTIONS, "cutoff_date": CUTOFF, "fields": FIELDS, **options}


def projected(tape: dict[str, Any]) -> dict[str, list[float]]:
    """What the engine gives in Python for the same JSON."""
    flows = engine.project(msgspec.convert(request_of(tape), engine.ProjectionRequest))
    return {name: column.tolist() for name, column in flows.columns.items()}


@pytest.fixture
def analyst(settings: Settings, request: pytest.FixtureRequest) -> dict[str, str]:
    return bearer_of(settings, request.node.nodeid[:200])


def stored(client: Client, analyst: dict[str, str], tape: dict[str, Any]) -> str:
    return str(upload(client, analyst, json.dumps(tape).encode(), "application/json")["id"])


def run_columns(client: Client, analyst: dict[str, str], tape_id: str, **options: Any) -> dict[str, Any]:
    """The columns of a run on a stored tape, once it has succeeded."""
    body = {"tape_id": tape_id, "assumptions": ASSUMPTIONS, "fields": FIELDS, "cutoff_date": CUTOFF, **options}
    made = client.post("/v1/runs", json=body, headers=analyst)
    assert made.status_code == 202, made.text
    run = finished(client, analyst, made.json()["id"])
    assert run["state"] == "succeeded", run["error"]
    assert run["loan_months_done"] == run["loan_months_total"]
    answer = client.get(f"/v1/runs/{run['id']}/cashflows", headers=analyst).json()
    (only,) = answer["scenarios"].values() if "scenarios" in answer else (answer,)
    return dict(only["columns"])


# Each loan alone, so that none hides another, then all of them together.
TAPES = {**{f"loan {i}": {**TAPE, "loans": [loan]} for i, loan in enumerate(LOANS)}, "all": TAPE}


@pytest.fixture
def shards_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every two loans of a stored tape are a shard of a run."""
    monkeypatch.setattr(tape_parquet, "ROW_GROUP", 2)
    monkeypatch.setattr(sharding, "ROW_GROUP", 2)
    monkeypatch.setattr(sharding, "ROW_GROUPS_A_SHARD", 1)
    monkeypatch.setattr(sharding, "UNCUT_LOAN_MONTHS", 0)


class TestOneAnswer:
    @pytest.mark.parametrize("name", TAPES)
    def test_rest_and_graphql_give_the_engines_numbers(self, client: Client, bearer: Any, name: str) -> None:
        body, expected = request_of(TAPES[name]), projected(TAPES[name])
        rest = client.post("/v1/projections", json=body, headers=bearer)
        assert rest.status_code == 200, rest.text
        assert {field: rest.json()["columns"][field] for field in FIELDS} == expected
        asked = {"query": GRAPHQL, "variables": {"r": body}}
        answer = client.post("/graphql", json=asked, headers=bearer).json()
        assert "errors" not in answer
        assert answer["data"]["projection"]["columns"] == expected

    @pytest.mark.parametrize("name", TAPES)
    def test_a_stored_tape_and_its_run_do_too(self, client: Client, analyst: dict[str, str], name: str) -> None:
        expected = projected(TAPES[name])
        tape_id = stored(client, analyst, TAPES[name])
        by_id = client.post("/v1/projections", json=request_of({"tape_id": tape_id}), headers=analyst)
        assert by_id.status_code == 200, by_id.text
        assert {field: by_id.json()["columns"][field] for field in FIELDS} == expected
        ran = run_columns(client, analyst, tape_id)
        for field in FIELDS:
            np.testing.assert_allclose(ran[field], expected[field], rtol=1e-12, atol=1e-9, err_msg=field)

    def test_runs_in_shards_find_the_tables_in_every_slice(
        self, client: Client, analyst: dict[str, str], shards_of_two: None
    ) -> None:
        expected = projected(TAPE)
        ran = run_columns(client, analyst, stored(client, analyst, TAPE))
        for field in FIELDS:
            np.testing.assert_allclose(ran[field], expected[field], rtol=1e-12, atol=1e-9, err_msg=field)


class TestFile:
    def test_the_parquet_file_has_the_tables_and_can_be_uploaded_again(
        self, client: Client, analyst: dict[str, str]
    ) -> None:
        tape_id = stored(client, analyst, TAPE)
        file = client.get(f"/v1/tapes/{tape_id}/file", headers=analyst).content
        read = engine.read_tape(io.BytesIO(file), format="parquet")
        given = msgspec.convert(TAPE, engine.Tape)
        for name in TABLES:
            assert getattr(read, name) == getattr(given, name)
        again = upload(client, analyst, file, "application/vnd.apache.parquet")
        by_id = client.post("/v1/projections", json=request_of({"tape_id": again["id"]}), headers=analyst)
        assert {field: by_id.json()["columns"][field] for field in FIELDS} == projected(TAPE)

    def test_a_tape_without_names_has_no_metadata(self) -> None:
        assert tape_tables.to_metadata(tape_tables.tables_of(engine.Tape.from_loans([]))) == {}

    def test_metadata_that_cannot_be_read_is_told(self) -> None:
        with pytest.raises(engine.TapeFileError, match=r"loans\.parquet has metadata .* Expected `object`"):
            tape_tables.from_metadata("loans.parquet", {tape_tables.KEY: b"[]"})

    def test_tables_beyond_the_limit_are_refused_by_name(
        self, client: Client, analyst: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tape_tables, "MAX_BYTES", 300)
        answer = client.post("/v1/tapes", json=TAPE, headers=analyst)
        assert answer.status_code == 422
        (fault,) = answer.json()["errors"]
        assert fault["path"] == "tape.schedules"
        assert "expected 300 at most" in fault["message"]
        assert client.get("/v1/tapes", headers=analyst).json()["items"] == []


class TestRefusals:
    def test_a_name_that_nothing_defines_is_refused_when_it_is_stored(
        self, client: Client, analyst: dict[str, str]
    ) -> None:
        answer = client.post("/v1/tapes", json={"loans": LOANS}, headers=analyst)
        assert answer.status_code == 422
        paths = [fault["path"] for fault in answer.json()["errors"]]
        assert {f"tape.loans[{i}].{name}" for i, name in ((1, "calendar"), (7, "cashflows"))} & set(paths)

    @pytest.mark.parametrize("name", TABLES)
    def test_tables_beside_an_id_are_refused(self, client: Client, analyst: dict[str, str], name: str) -> None:
        tape = {"tape_id": stored(client, analyst, {"loans": [PLAIN]}), name: TABLES[name]}
        answer = client.post("/v1/projections", json=request_of(tape), headers=analyst)
        assert answer.status_code == 422
        (fault,) = answer.json()["errors"]
        assert fault["path"] == f"tape.{name}"
        assert "beside tape_id" in fault["message"]

    def test_a_run_without_the_cutoff_says_what_is_missing(self, client: Client, analyst: dict[str, str]) -> None:
        body = {"tape_id": stored(client, analyst, TAPE)}
        run = finished(client, analyst, client.post("/v1/runs", json=body, headers=analyst).json()["id"])
        assert run["state"] == "failed"
        assert [fault["path"] for fault in run["error"]["faults"]] == ["cutoff_date"]

    def test_a_failed_run_names_the_loan_by_its_place_in_the_tape(
        self, client: Client, analyst: dict[str, str], shards_of_two: None
    ) -> None:
        late = {**PLAIN, "next_payment_date": "2024-01-15"}
        tape_id = stored(client, analyst, {"loans": [PLAIN, PLAIN, PLAIN, late, PLAIN]})
        body = {"tape_id": tape_id, "cutoff_date": CUTOFF}
        run = finished(client, analyst, client.post("/v1/runs", json=body, headers=analyst).json()["id"])
        assert run["state"] == "failed"
        (fault,) = run["error"]["faults"]
        assert fault == {"path": "tape.columns.next_payment_date[3]", "message": "is not after cutoff_date 2024-01-31"}
        assert "next_payment_date[3]" in run["error"]["message"]


def test_every_slice_has_the_tables(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tape_parquet, "ROW_GROUP", 3)
    store, tape = store_from(str(tmp_path)), msgspec.convert(TAPE, engine.Tape)
    profiler = tape_parquet.Profiler()
    store.put_stream("tape", tape_parquet.parquet_stream(tape_parquet.in_row_groups(tape), profiler))
    assert profiler.loans == len(LOANS)
    cutoff, total = datetime.date.fromisoformat(CUTOFF), np.zeros(1)
    for start in range(0, len(LOANS), 3):
        part = tape_parquet.read_slice(store, "tape", start, min(start + 3, len(LOANS)))
        assert part.calendars == tape.calendars
        flows = engine.project(engine.ProjectionRequest(tape=part, fields=["cashflow"], cutoff_date=cutoff, periods=36))
        total = total + flows["cashflow"]
    whole = engine.ProjectionRequest(tape=tape, fields=["cashflow"], cutoff_date=cutoff, periods=36)
    np.testing.assert_allclose(total, engine.project(whole)["cashflow"], rtol=1e-12)


def test_every_column_of_a_tape_has_a_type_of_its_own() -> None:
    # A batch that has a column all blank is then of the schema of one that states it.
    assert set(engine.Columns.__struct_fields__) - {"type"} <= set(tape_parquet.KINDS)

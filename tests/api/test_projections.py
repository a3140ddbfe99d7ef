"""POST /v1/projections: every format gives the engine's numbers; every fault is a problem with its path."""

import io
import json
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from litestar import Litestar
from litestar.testing import TestClient

import engine
from api.app import create_app
from api.settings import Settings

Client = TestClient[Litestar]
Headers = dict[str, str]
URL = "/v1/projections"
TABLES: dict[str, Any] = {
    "application/vnd.apache.arrow.stream": lambda content: pa.ipc.open_stream(content).read_all(),
    "application/vnd.apache.parquet": lambda content: pyarrow.parquet.read_table(io.BytesIO(content)),
    "text/csv": lambda content: pyarrow.csv.read_csv(io.BytesIO(content)),
}


def expected(body: dict[str, Any]) -> engine.Cashflows:
    return engine.project(msgspec.convert(body, engine.ProjectionRequest))


def assert_problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance", "errors", "request_id"}
    assert problem["status"] == status
    return problem


def test_json_has_the_columns_asked_for_in_their_order_and_the_summary(
    client: Client, bearer: Headers, body: dict[str, Any]
) -> None:
    answer = client.post(URL, json=body, headers=bearer).json()
    cashflows = expected(body)
    assert list(answer["columns"]) == ["period", "interest", "principal", "balance"]
    assert answer["columns"]["period"] == [1, 2, 3, 4, 5]
    assert answer["columns"]["interest"] == cashflows["interest"].tolist()
    # Interest of month 1: 1000 x 0.06 / 12 + 2000 x 0.03 / 12 = 5 + 5.
    assert answer["columns"]["interest"][0] == pytest.approx(10.0)
    assert answer["summary"] == msgspec.to_builtins(engine.summarize(cashflows))


def test_msgpack_in_and_out_is_the_same_answer_as_json(client: Client, bearer: Headers, body: dict[str, Any]) -> None:
    headers = {**bearer, "content-type": "application/msgpack", "accept": "application/msgpack"}
    response = client.post(URL, content=msgspec.msgpack.encode(body), headers=headers)
    assert response.headers["content-type"] == "application/msgpack"
    assert msgspec.msgpack.decode(response.content) == client.post(URL, json=body, headers=bearer).json()


@pytest.mark.parametrize("media_type", TABLES)
def test_tables_of_one_scenario_have_the_columns(
    client: Client, bearer: Headers, body: dict[str, Any], media_type: str
) -> None:
    response = client.post(URL, json=body, headers={**bearer, "accept": media_type})
    assert response.headers["content-type"].startswith(media_type)
    table = TABLES[media_type](response.content)
    assert table.column_names == ["period", "interest", "principal", "balance"]
    assert table["interest"].to_pylist() == expected(body)["interest"].tolist()


@pytest.mark.parametrize("media_type", TABLES)
@pytest.mark.parametrize("level", ["pool", "group", "loan"])
def test_tables_of_several_scenarios_are_long(
    client: Client, bearer: Headers, scenarios_body: dict[str, Any], media_type: str, level: str
) -> None:
    body = {**scenarios_body, "level": level}
    table = TABLES[media_type](client.post(URL, json=body, headers={**bearer, "accept": media_type}).content)
    key = {"pool": [], "group": ["group"], "loan": ["loan_id"]}[level]
    assert table.column_names == ["scenario", *key, "period", "interest", "principal", "balance"]
    assert table["principal"].to_pylist() == expected(body)["principal"].reshape(-1).tolist()
    lines = 1 if level == "pool" else 2
    assert table["scenario"].to_pylist() == ["base"] * 5 * lines + ["fast"] * 5 * lines
    assert table["period"].to_pylist() == [1, 2, 3, 4, 5] * lines * 2
    if level == "group":
        assert table["group"].to_pylist() == (["A"] * 5 + ["B"] * 5) * 2


def test_csv_texts_that_a_spreadsheet_would_run_are_quoted(
    client: Client, bearer: Headers, body: dict[str, Any]
) -> None:
    headers = {**bearer, "accept": "text/csv"}
    table = TABLES["text/csv"](client.post(URL, json={**body, "level": "loan"}, headers=headers).content)
    assert set(table["loan_id"].to_pylist()) == {"'=A1", "B1"}


def test_json_of_several_scenarios_is_by_name(client: Client, bearer: Headers, scenarios_body: dict[str, Any]) -> None:
    answer = client.post(URL, json=scenarios_body, headers=bearer).json()
    cashflows = expected(scenarios_body)
    assert list(answer) == ["scenarios"]
    assert list(answer["scenarios"]) == ["base", "fast"]
    for i, name in enumerate(("base", "fast")):
        assert answer["scenarios"][name]["columns"]["balance"] == cashflows["balance"][i].tolist()
        assert answer["scenarios"][name]["summary"]["totals"]["interest"] == pytest.approx(
            cashflows["interest"][i].sum()
        )


def test_json_by_group_and_by_loan(client: Client, bearer: Headers, body: dict[str, Any]) -> None:
    grouped = client.post(URL, json={**body, "level": "group"}, headers=bearer).json()
    loans = client.post(URL, json={**body, "level": "loan"}, headers=bearer).json()
    assert list(grouped["groups"]) == ["A", "B"]
    assert loans["columns"]["loan_id"] == ["=A1", "B1"]
    assert loans["columns"]["interest"][0] == grouped["groups"]["A"]["columns"]["interest"]
    assert loans["columns"]["interest"][1] == grouped["groups"]["B"]["columns"]["interest"]


def test_fields_in_the_address_take_the_place_of_those_in_the_body(
    client: Client, bearer: Headers, body: dict[str, Any]
) -> None:
    answer = client.post(URL, params={"fields": "loss,default"}, json=body, headers=bearer).json()
    assert list(answer["columns"]) == ["period", "loss", "default"]


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/*", "text/csv"),
        ("text/csv;q=0.5, application/msgpack;q=0.8", "application/msgpack"),
        ("text/csv, */*;q=0.1", "text/csv"),
        ("application/json;q=0, */*", "application/msgpack"),
        ("image/png, TEXT/CSV", "text/csv"),
    ],
)
def test_accept_chooses_the_format(
    client: Client, bearer: Headers, body: dict[str, Any], accept: str, media_type: str
) -> None:
    response = client.post(URL, json=body, headers={**bearer, "accept": accept})
    assert response.headers["content-type"].startswith(media_type)


def test_what_is_not_acceptable_names_what_is(client: Client, bearer: Headers, body: dict[str, Any]) -> None:
    problem = assert_problem(client.post(URL, json=body, headers={**bearer, "accept": "image/png"}), 406)
    assert "application/vnd.apache.parquet" in problem["detail"]


def test_a_body_of_another_media_type_is_refused(client: Client, bearer: Headers) -> None:
    assert_problem(client.post(URL, content=b"<a/>", headers={**bearer, "content-type": "application/xml"}), 415)


@pytest.mark.parametrize("content", [b"", b"{", b'{"tape": NaN}', b"\xff", b'{"periods": Infinity}'])
def test_a_body_that_is_no_json_is_400(client: Client, bearer: Headers, content: bytes) -> None:
    problem = assert_problem(
        client.post(URL, content=content, headers={**bearer, "content-type": "application/json"}), 400
    )
    assert problem["instance"] == URL


def test_a_value_of_the_wrong_type_is_400_with_its_path(client: Client, bearer: Headers, body: dict[str, Any]) -> None:
    loans = [dict(loan) for loan in body["tape"]["loans"]]
    loans[1]["annual_rate"] = "high"
    problem = assert_problem(client.post(URL, json={"tape": {"loans": loans}}, headers=bearer), 400)
    assert problem["errors"] == [
        {"path": "tape.loans[1].annual_rate", "message": "is a `str`; expected `float`"},
    ]


def test_every_loan_of_the_wrong_type_is_listed_up_to_a_hundred(
    client: Client, bearer: Headers, body: dict[str, Any]
) -> None:
    loans = [{**body["tape"]["loans"][0], "annual_rate": "x"} for _ in range(150)]
    problem = assert_problem(client.post(URL, json={"tape": {"loans": loans}}, headers=bearer), 400)
    assert [fault["path"] for fault in problem["errors"]] == [f"tape.loans[{i}].annual_rate" for i in range(100)]
    assert problem["detail"] == "tape.loans[0].annual_rate: is a `str`; expected `float` (and 99 more)"


@pytest.mark.parametrize("media_type", ["application/json", "application/msgpack"])
def test_faults_of_types_do_not_hide_those_of_ranges_and_keep_their_places(
    client: Client, bearer: Headers, body: dict[str, Any], media_type: str
) -> None:
    good = body["tape"]["loans"][0]
    unnamed = {name: value for name, value in good.items() if name != "balance"}
    loans = [good, {**good, "foo": 1, "age": "x"}, {**good, "annual_rate": 6.5}, unnamed, 7, {**good, "type": "bond"}]
    codec: Any = msgspec.json if media_type == "application/json" else msgspec.msgpack
    content = codec.encode({"tape": {"loans": loans}})
    response = client.post(URL, content=content, headers={**bearer, "content-type": media_type})
    problem = assert_problem(response, 400)
    assert [fault["path"] for fault in problem["errors"]] == [
        "tape.loans[1].foo",
        "tape.loans[1].age",
        "tape.loans[3].balance",
        "tape.loans[4]",
        "tape.loans[5].type",
        "tape.loans[2].annual_rate",
    ]


def test_every_entry_of_a_column_of_the_wrong_type_is_listed(client: Client, bearer: Headers) -> None:
    columns = {"balance": [1, "x", {}], "annual_rate": "high", "foo": 1}
    problem = assert_problem(client.post(URL, json={"tape": {"columns": columns}}, headers=bearer), 400)
    assert [fault["path"] for fault in problem["errors"]] == [
        "tape.columns.foo",
        "tape.columns.balance[1]",
        "tape.columns.balance[2]",
        "tape.columns.annual_rate",
        "tape.columns.remaining_term",
    ]


def test_faults_of_every_part_are_listed_with_the_names_in_their_paths(
    client: Client, bearer: Headers, body: dict[str, Any]
) -> None:
    request = {
        "tape": {
            "loans": [{**body["tape"]["loans"][0], "balance": "x"}],
            "schedules": {"own one": {"balances": [1.0, "y"]}},
        },
        "assumptions": {
            "severity": "x",
            "rates": {
                "SOFR": {"type": "flat", "rate": "high"},
                "WSJ": {"type": "steep"},
                "OK": {"type": "flat", "rate": 0},
            },
            "groups": {"A": {"prepayment": {"type": "cpr", "rat": 0.1}}},
            "rules": [{"where": {"age": {"below": "x"}}, "assumptions": {}}],
        },
        "fields": ["loss", 7],
        "periods": "ten",
    }
    problem = assert_problem(client.post(URL, json=request, headers=bearer), 400)
    assert [fault["path"] for fault in problem["errors"]] == [
        "tape.loans[0].balance",
        "tape.schedules['own one'].balances[1]",
        "assumptions.severity",
        "assumptions.rules[0].where['age'].below",
        "assumptions.groups['A'].prepayment.rat",
        "assumptions.groups['A'].prepayment.rate",
        "assumptions.rates['SOFR'].rate",
        "assumptions.rates['WSJ'].type",
        "fields[1]",
        "periods",
    ]


def test_faults_of_the_tape_leave_those_of_the_rest(client: Client, bearer: Headers, body: dict[str, Any]) -> None:
    loans = [{**body["tape"]["loans"][0], "annual_rate": 6.5}]
    request = {"tape": {"loans": loans}, "assumptions": {"severity": 7}, "fields": ["los"], "periods": 0}
    problem = assert_problem(client.post(URL, json=request, headers=bearer), 422)
    paths = [fault["path"] for fault in problem["errors"]]
    assert paths == ["tape.loans[0].annual_rate", "fields[0]", "assumptions.severity", "periods"]


@pytest.mark.parametrize("depth", [400, 2000, 100_000])
def test_a_body_nested_too_deeply_is_refused(client: Client, bearer: Headers, depth: int) -> None:
    deep = '{"groups":{"A":' * depth + "{}" + "}}" * depth
    content = '{"tape":{"columns":{"balance":1,"annual_rate":0,"remaining_term":1}},"assumptions":' + deep + "}"
    response = client.post(URL, content=content, headers={**bearer, "content-type": "application/json"})
    assert_problem(response, 422 if depth == 400 else 400)


def test_an_unknown_name_is_400(client: Client, bearer: Headers, body: dict[str, Any]) -> None:
    problem = assert_problem(client.post(URL, json={**body, "field": ["loss"]}, headers=bearer), 400)
    assert "field" in problem["detail"]


def test_values_that_the_engine_refuses_are_422_with_all_their_paths(
    client: Client, bearer: Headers, body: dict[str, Any]
) -> None:
    loans = [{**loan, "annual_rate": 6.5} for loan in body["tape"]["loans"]]
    problem = assert_problem(client.post(URL, json={"tape": {"loans": loans}}, headers=bearer), 422)
    assert [fault["path"] for fault in problem["errors"]] == ["tape.loans[0].annual_rate", "tape.loans[1].annual_rate"]


def test_faults_beyond_a_hundred_are_not_listed(client: Client, bearer: Headers) -> None:
    columns = {"balance": [1.0] * 150, "annual_rate": [9.0] * 150, "remaining_term": 12}
    problem = assert_problem(client.post(URL, json={"tape": {"columns": columns}}, headers=bearer), 422)
    assert len(problem["errors"]) == 100


def test_a_stored_tape_is_404_and_named(client: Client, bearer: Headers) -> None:
    problem = assert_problem(client.post(URL, json={"tape": {"tape_id": "t-17"}}, headers=bearer), 404)
    assert "'t-17'" in problem["detail"]
    assert problem["errors"][0]["path"] == "tape.tape_id"


@pytest.mark.parametrize("other", ["loans", "columns"])
def test_a_stored_tape_beside_loans_is_422(client: Client, bearer: Headers, body: dict[str, Any], other: str) -> None:
    columns = {"balance": 1, "annual_rate": 0, "remaining_term": 1}
    tape = {"tape_id": "t-17", other: {"loans": body["tape"]["loans"], "columns": columns}[other]}
    problem = assert_problem(client.post(URL, json={"tape": tape}, headers=bearer), 422)
    assert problem["errors"][0]["path"] == "tape"
    assert "exactly one of" in problem["detail"]


def test_too_many_loan_months_are_413_and_point_to_runs(client: Client, bearer: Headers) -> None:
    columns = {"balance": [1.0] * 300, "annual_rate": 0.05, "remaining_term": 360}
    problem = assert_problem(client.post(URL, json={"tape": {"columns": columns}}, headers=bearer), 413)
    assert "/v1/runs" in problem["detail"]
    assert "108,000 loan-months" in problem["detail"]
    fewer = {"tape": {"columns": columns}, "periods": 10}
    assert client.post(URL, json=fewer, headers=bearer).status_code == 200


def test_a_request_large_enough_for_a_thread_gives_the_engine_s_numbers(client: Client, bearer: Headers) -> None:
    balances = [1000.0 + i for i in range(250)]
    body = {"tape": {"columns": {"balance": balances, "annual_rate": 0.05, "remaining_term": 360}}}
    answer = client.post(URL, json=body, headers=bearer).json()
    assert answer["columns"]["cashflow"] == expected(body)["cashflow"].tolist()


def test_a_large_body_is_413(settings: Settings, bearer: Headers, body: dict[str, Any]) -> None:
    small = create_app(msgspec.structs.replace(settings, max_body_bytes=200, max_result_cells=10))
    with TestClient(small, raise_server_exceptions=False) as client:
        assert_problem(client.post(URL, json=body, headers=bearer), 413)
        tiny = {"tape": {"columns": {"balance": 1, "annual_rate": 0, "remaining_term": 99}}, "fields": ["loss"]}
        problem = assert_problem(client.post(URL, json=tiny, headers=bearer), 413)
        assert "198 numbers" in problem["detail"]


def test_unknown_addresses_and_methods_are_problems(client: Client, bearer: Headers) -> None:
    assert_problem(client.get("/nothing", headers=bearer), 404)
    assert_problem(client.get(URL, headers=bearer), 405)


def test_a_failure_nobody_foresaw_is_a_500_without_its_message(
    client: Client, settings: Settings, bearer: Headers, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("inner detail")

    debugged = create_app(msgspec.structs.replace(settings, debug=True))
    monkeypatch.setattr(engine, "project", fail)
    problem = assert_problem(client.post(URL, json=body, headers=bearer), 500)
    assert "inner detail" not in json.dumps(problem)
    with TestClient(debugged, raise_server_exceptions=False) as other:
        assert other.post(URL, json=body, headers=bearer).json()["detail"] == "RuntimeError: inner detail"

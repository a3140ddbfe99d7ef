"""Profiles over REST and GraphQL: the same figures as the engine's, pictures, and bad files refused in words."""

import gzip
import io
import re
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from pyarrow import ipc, parquet

import engine

Client = TestClient[Litestar]
SAMPLES = Path(__file__).resolve().parent.parent.parent / "samples" / "layouts"
COLUMNS: dict[str, Any] = {"balance": [100.0, 300.0], "annual_rate": [0.05, 0.07], "remaining_term": [12, 24]}
BOMB = b'<!DOCTYPE a [<!ENTITY b "c">]><a xmlns="absee/autoloan/assetdata">&b;</a>'
WRONG_RATE = b'{"tape": {"columns": {"balance": [1], "annual_rate": [6.5], "remaining_term": [1]}}}'
CSV = "balance,annual_rate,remaining_term\n100,0.05,12\n300,0.07,24\n"


def arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def parquet_of(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()


def post(client: Client, bearer: dict[str, str], body: bytes, kind: str, query: str = "", accept: str = "") -> Any:
    headers = bearer | {"content-type": kind} | ({"accept": accept} if accept else {})
    return client.post(f"/v1/tapes/profile{query}", headers=headers, content=body)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/csv", CSV.encode()), ("application/json", msgspec.json.encode({"tape": {"columns": COLUMNS}})),
        ("application/vnd.apache.parquet", parquet_of(pa.table(COLUMNS))),
        ("application/vnd.apache.arrow.stream", arrow(pa.table(COLUMNS))),
    ],
)  # fmt: skip
def test_every_kind_of_body_has_one_profile(kind: str, body: bytes, client: Client, bearer: dict[str, str]) -> None:
    answer = post(client, bearer, body, kind)
    assert answer.status_code == 200, answer.text
    found = msgspec.json.decode(answer.content, type=engine.Profile)
    # 0.25 x 5% + 0.75 x 7%; 0.25 x 12 + 0.75 x 24.
    assert (found.loans, found.balance) == (2, 400)
    assert (found.wac, found.wam) == (pytest.approx(0.065), pytest.approx(21))


@pytest.mark.parametrize(
    ("file", "kind", "query"),
    [("fannie_mae.txt", "text/plain", ""), ("sec_auto.xml", "application/xml", "?layout=sec_auto"),
     ("esma_auto.csv", "text/csv", "?on_error=skip&period=2024-12")],
)  # fmt: skip
def test_files_of_a_layout(file: str, kind: str, query: str, client: Client, bearer: dict[str, str]) -> None:
    answer = post(client, bearer, (SAMPLES / file).read_bytes(), kind, query)
    assert answer.status_code == 200, answer.text
    direct = engine.profile(engine.read_tape(SAMPLES / file))
    found = msgspec.json.decode(answer.content, type=engine.Profile)
    assert (found.wac, found.wam, found.strata) == (direct.wac, direct.wam, direct.strata)
    assert found.report is not None
    assert found.report.layout == Path(file).stem


@pytest.mark.parametrize(("accept", "start"), [("image/png", b"\x89PNG"), ("image/svg+xml,*/*;q=0.1", b"<?xml")])
def test_a_picture_where_it_is_asked_for(accept: str, start: bytes, client: Client, bearer: dict[str, str]) -> None:
    answer = post(client, bearer, CSV.encode(), "text/csv", accept=accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(accept.split(",")[0])
    assert answer.content.startswith(start)


def test_bad_files_are_refused_in_words(client: Client, bearer: dict[str, str]) -> None:
    cases = [
        (b"balance,annual_rate,remaining_term\n1,x,12\n", "text/csv", 422, "column 'annual_rate' is 'x'"),
        (b"balance,annual_rate,remaining_term\n1,6.5,12\n", "text/csv", 422, "annual_rate"),
        (b"a|b\n1|2\n", "text/plain", 422, "the body lacks balance"),
        (b"", "text/csv", 422, "empty"),
        (b"not parquet", "application/vnd.apache.parquet", 422, "cannot be read"),
        (b"not arrow", "application/vnd.apache.arrow.stream", 422, "cannot be read"),
        (gzip.compress(CSV.encode()), "text/csv", 422, "lacks"),
        (b"<a/>", "application/xml", 422, "expected one of"),
        (BOMB, "application/xml", 422, "document type"),
        (b"{}", "application/json", 400, "tape"),
        (b'{"tape": {"tape_id": "x"}}', "application/json", 404, "No tape is stored"),
        (WRONG_RATE, "application/json", 422, "tape.columns.annual_rate[0] is 6.5"),
        (CSV.encode(), "image/gif", 415, "Content-Type is 'image/gif'"),
    ]  # fmt: skip
    for body, kind, status, text in cases:
        answer = post(client, bearer, body, kind)
        assert answer.status_code == status, (kind, answer.text)
        assert text in answer.text, (kind, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    assert post(client, bearer, CSV.encode(), "text/csv", "?layout=ginnie").status_code == 422
    assert post(client, bearer, CSV.encode(), "text/csv", accept="video/mp4").status_code == 406


def test_a_parquet_file_that_unpacks_to_too_much_is_refused(client: Client, bearer: dict[str, str]) -> None:
    n = 30_000_000
    rows = pa.table({"balance": pa.DictionaryArray.from_arrays(pa.nulls(n, pa.int8()), pa.array([1.0]))})
    answer = post(client, bearer, parquet_of(rows), "application/vnd.apache.parquet")
    assert answer.status_code == 413
    assert "30,000,000 loans" in answer.text


def test_each_fault_of_a_file_is_listed(client: Client, bearer: dict[str, str]) -> None:
    text = (SAMPLES / "fannie_mae.txt").read_text().replace("|100256.24|", "|1002x|")
    answer = post(client, bearer, text.encode(), "text/plain").json()
    assert answer["status"] == 422
    assert answer["detail"].startswith("the body has 1 faulty rows (on_error='skip' leaves them out)")
    (fault,) = answer["errors"]
    assert re.fullmatch(r"body, row \d+, column 'CURRENT_UPB'", fault["path"])
    assert fault["message"] == "is '1002x'; expected a number"


def test_the_first_fault_of_a_plain_file_is_listed_too(client: Client, bearer: dict[str, str]) -> None:
    answer = post(
        client, bearer, b"balance,annual_rate,remaining_term\nx,y,12\n1,0.06,12\n5,0.05,half\n", "text/csv"
    ).json()
    assert [(fault["path"], fault["message"]) for fault in answer["errors"]] == [
        ("body, row 1, column 'balance'", "is 'x'; expected a number"),
        ("body, row 1, column 'annual_rate'", "is 'y'; expected a number"),
        ("body, row 3, column 'remaining_term'", "is 'half'; expected a number"),
    ]


QUERY = """query ($tape: TapeInput!) { profile(tape: $tape) {
  loans wac wam wala warnings numbers { name missing percentiles } strata { by strata { label share } } report { loans }
} }"""


def graphql(client: Client, bearer: dict[str, str], tape: Any) -> Any:
    body = {"query": QUERY, "variables": {"tape": tape}}
    return client.post("/graphql", headers=bearer, json=body).json()


def test_graphql_answers_what_the_engine_does(client: Client, bearer: dict[str, str]) -> None:
    answer = graphql(client, bearer, {"columns": COLUMNS})
    assert "errors" not in answer
    found = answer["data"]["profile"]
    direct = engine.profile(engine.Tape.from_columns(**COLUMNS))
    assert (found["loans"], found["wac"], found["wam"], found["wala"]) == (2, direct.wac, direct.wam, None)
    assert found["numbers"][0]["percentiles"] == direct.numbers[0].percentiles
    assert [s["by"] for s in found["strata"]] == [s.by for s in direct.strata]
    assert found["report"] is None


def test_graphql_names_the_faults_of_a_tape(client: Client, bearer: dict[str, str]) -> None:
    wrong = {"columns": {**COLUMNS, "annual_rate": [0.05, 6.5]}}
    error = graphql(client, bearer, wrong)["errors"][0]
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert error["extensions"]["errors"][0]["path"] == "tape.columns.annual_rate[1]"
    assert graphql(client, bearer, {"tape_id": "x"})["errors"][0]["extensions"]["code"] == "NOT_FOUND"

"""Small files that become large: refused by what their headings say, before anything is unpacked."""

import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from pyarrow import ipc, parquet

from api import unpacked
from api.app import create_app
from api.errors import Refusal
from api.settings import Settings
from tests.api.test_stored import CSV, bearer_of, finished

Client = TestClient[Litestar]
PARQUET, ARROW = "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"
MOST = 1_000


@pytest.fixture(scope="module")
def client(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    used = msgspec.structs.replace(
        settings, state_dir=str(tmp_path_factory.mktemp("state")), max_tape_loans=MOST, max_body_bytes=20_000,
        max_layout_bytes=10_000, max_result_cells=600, rate_limit_requests=10_000,
    )  # fmt: skip
    with TestClient(create_app(used)) as client:
        yield client


@pytest.fixture(scope="module")
def analyst(settings: Settings) -> dict[str, str]:
    return bearer_of(settings, "owner of bombs")


def table_of(loans: int, **more: Any) -> pa.Table:
    columns = {"balance": np.full(loans, 1000.0), "annual_rate": np.full(loans, 0.05)}
    return pa.table({**columns, "remaining_term": np.full(loans, 12), **more})


def as_parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    parquet.write_table(table, out, compression="zstd")
    return out.getvalue()


def as_stream(table: pa.Table, compression: str | None = "zstd") -> bytes:
    out = io.BytesIO()
    with ipc.new_stream(out, table.schema, options=ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return out.getvalue()


def as_file(table: pa.Table) -> bytes:
    out = io.BytesIO()
    with ipc.new_file(out, table.schema, options=ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table)
    return out.getvalue()


def sent(client: Client, headers: dict[str, str], body: bytes, kind: str, query: str = "") -> Any:
    return client.post(f"/v1/tapes{query}", content=body, headers={**headers, "content-type": kind})


KINDS: dict[str, tuple[str, Callable[[pa.Table], bytes]]] = {
    "parquet": (PARQUET, as_parquet),
    "stream": (ARROW, as_stream),
    "plain stream": (ARROW, lambda table: as_stream(table, None)),
    "file": ("application/vnd.apache.arrow.file", as_file),
    "csv": ("text/csv", lambda table: b"balance,annual_rate,remaining_term\n" + b"1000,0.05,12\n" * table.num_rows),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_tape_has_at_most_so_many_loans_whatever_its_file(client: Client, analyst: dict[str, str], kind: str) -> None:
    media_type, encode = KINDS[kind]
    stored = sent(client, analyst, encode(table_of(MOST)), media_type)
    assert (stored.status_code, stored.json()["loans"]) == (201, MOST)
    refused = sent(client, analyst, encode(table_of(MOST + 1)), media_type)
    assert refused.status_code == 413, refused.text
    assert "MAX_TAPE_LOANS" in refused.json()["detail"]


def test_a_tape_by_graphql_has_as_many(client: Client, analyst: dict[str, str]) -> None:
    query = 'mutation ($t: TapeInput!) { create_tape(name: "a", tape: $t) { loans } }'
    tape = {"columns": {"balance": [1.0] * (MOST + 1), "annual_rate": 0.05, "remaining_term": 12}}
    answer = client.post("/graphql", json={"query": query, "variables": {"t": tape}}, headers=analyst).json()
    assert answer["errors"][0]["extensions"]["code"] == "TOO_LARGE"


def test_ten_million_loans_in_a_few_kilobytes_are_refused_unread(settings: Settings) -> None:
    body = as_parquet(table_of(10_000_000))
    assert len(body) < 150_000
    tight = msgspec.structs.replace(settings, max_tape_loans=9_999_999)
    tracemalloc.start()
    with pytest.raises(Refusal, match="10,000,000 loans"):
        unpacked.check_unpacked(io.BytesIO(body), "parquet", tight)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    unpacked.check_unpacked(io.BytesIO(body), "parquet", settings)


@pytest.mark.parametrize("kind", ["parquet", "stream", "plain stream", "file"])
def test_a_part_that_unpacks_to_too_much_is_refused(
    settings: Settings, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column of 100,000 random numbers is 800,000 bytes, and cannot be told in fewer."""
    numbers = np.random.default_rng(1).uniform(size=100_000)
    table = table_of(100_000, payment=numbers)
    format = "parquet" if kind == "parquet" else "arrow"
    monkeypatch.setattr(unpacked, "MAX_PART_BYTES", 4_000_000)
    unpacked.check_unpacked(io.BytesIO(KINDS[kind][1](table)), format, settings)
    monkeypatch.setattr(unpacked, "MAX_PART_BYTES", 700_000)
    with pytest.raises(Refusal, match="unpacks to"):
        unpacked.check_unpacked(io.BytesIO(KINDS[kind][1](table)), format, settings)


@pytest.mark.parametrize("kind", ["parquet", "stream", "file"])
def test_a_text_that_is_repeated_without_end_is_refused(client: Client, analyst: dict[str, str], kind: str) -> None:
    codes = pa.DictionaryArray.from_arrays(pa.array([0] * 500, pa.int32()), pa.array(["x" * 16_000]))
    media_type, encode = KINDS[kind]
    for column in ("group", "loan_id", "payment"):
        answer = sent(client, analyst, encode(table_of(500, **{column: codes})), media_type)
        assert answer.status_code == 422, answer.text
        assert "16,000 bytes" in answer.text


@pytest.mark.parametrize("kind", ["parquet", "stream", "file"])
@pytest.mark.parametrize("path", ["/v1/tapes", "/v1/tapes/profile"])
def test_a_nested_column_is_refused_by_its_name(client: Client, analyst: dict[str, str], kind: str, path: str) -> None:
    media_type, encode = KINDS[kind]
    body = encode(table_of(2, group=[["a"], ["b", "c"]]))
    answer = client.post(path, content=body, headers={**analyst, "content-type": media_type})
    assert answer.status_code == 422, answer.text
    assert "column 'group' holds list" in answer.text


@pytest.mark.parametrize("seed", range(3))
def test_headings_that_are_nonsense_are_left_to_the_readers(client: Client, analyst: dict[str, str], seed: int) -> None:
    draw = np.random.default_rng(seed)
    for kind in ("parquet", "stream", "file"):
        media_type, encode = KINDS[kind]
        body = encode(table_of(50))
        for _ in range(15):
            damaged = bytearray(body)
            for place in draw.integers(len(body), size=4):
                damaged[place] = int(draw.integers(256))
            assert sent(client, analyst, bytes(damaged), media_type).status_code in (201, 413, 422)
        for cut in draw.integers(len(body), size=5):
            assert sent(client, analyst, body[:cut], media_type).status_code in (201, 413, 422)


def test_what_is_read_whole_is_bounded(client: Client, analyst: dict[str, str]) -> None:
    tape = json.dumps({"columns": {"balance": [1000.0] * 900, "annual_rate": 0.05, "remaining_term": 12}}).encode()
    assert sent(client, analyst, tape, "application/json").status_code == 201
    refused = sent(client, analyst, tape + b" " * 20_000, "application/json")
    assert refused.status_code == 413
    assert "CSV, Parquet or Arrow" in refused.json()["detail"]
    file = Path("samples/layouts/fannie_mae.txt").read_bytes()
    assert len(file) > 10_000
    refused = sent(client, analyst, file, "text/csv", "?layout=fannie_mae")
    assert refused.status_code == 413
    assert "MAX_LAYOUT_BYTES" in refused.json()["detail"]
    assert sent(client, analyst, file[: file.rindex(b"\n", 0, 9_000) + 1], "text/csv", "?layout=fannie_mae").is_success


def test_stored_columns_are_bounded_before_they_are_read(
    client: Client, analyst: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two scenarios of 24 months in twelve fields are 576 numbers; three are 864, of which 600 are sent."""
    tape_id = sent(client, analyst, CSV, "text/csv").json()["id"]
    chosen = [{"template": name} for name in ("base", "housing_boom", "credit_crisis")]
    body = {"tape_id": tape_id, "scenarios": chosen, "periods": 24}
    run_id = client.post("/v1/runs", json=body, headers=analyst).json()["id"]
    finished(client, analyst, run_id)
    place = f"/v1/runs/{run_id}/cashflows"
    small = client.get(f"{place}?scenarios=base,housing_boom", headers=analyst)
    fields = len(small.json()["scenarios"]["base"]["columns"]) - 1
    assert 2 * fields * 24 <= 600 < 3 * fields * 24

    def read(*arguments: object, **options: object) -> None:
        raise AssertionError("read before it was refused")

    monkeypatch.setattr("api.rest.runs.result_columns", read)
    monkeypatch.setattr("api.graphql.stored.result_columns", read)
    answer = client.get(place, headers=analyst)
    assert answer.status_code == 413
    assert "MAX_RESULT_CELLS" in answer.json()["detail"]
    names = "interest principal loss balance default recovery prepayment scheduled_principal cashflow"
    query = f"query ($id: ID!) {{ run(id: $id) {{ cashflows {{ scenarios {{ columns {{ {names} }} }} }} }} }}"
    asked = client.post("/graphql", json={"query": query, "variables": {"id": run_id}}, headers=analyst).json()
    assert asked["errors"][0]["extensions"]["code"] == "TOO_LARGE"


def test_a_run_whose_columns_could_not_be_read_is_not_accepted(client: Client, analyst: dict[str, str]) -> None:
    """Thirty groups of 24 months are columns of 720 numbers."""
    rows = b"".join(b"1000,0.05,24,g%d\n" % i for i in range(30))
    tape = sent(client, analyst, b"balance,annual_rate,remaining_term,group\n" + rows, "text/csv").json()
    body = {"tape_id": tape["id"], "level": "group", "fields": ["loss"]}
    refused = client.post("/v1/runs", json=body, headers=analyst)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["path"] == "level"
    assert client.post("/v1/runs", json={**body, "periods": 20}, headers=analyst).status_code == 202

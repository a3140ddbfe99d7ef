"""Small files that become large: refused by what their headings say, before anything is unpacked."""

import io
import json
import subprocess
import sys
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

import engine
from api import unpacked
from api.app import create_app
from api.errors import Refusal
from api.parquet_pages import pages_of
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
    monkeypatch.setattr(unpacked, "MAX_PART_BYTES", 8_000_000)
    unpacked.check_unpacked(io.BytesIO(KINDS[kind][1](table)), format, settings)
    monkeypatch.setattr(unpacked, "MAX_PART_BYTES", 700_000)
    with pytest.raises(Refusal, match="unpacks to"):
        unpacked.check_unpacked(io.BytesIO(KINDS[kind][1](table)), format, settings)


def texts_of(count: int, size: int, coded: bool = False, name: str = "x{}") -> dict[str, Any]:
    """Columns of one text each, which a few bytes of a packed file tell."""
    text = pa.array(["x" * size])
    cells = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), text) if coded else text
    return {name.format(i): cells for i in range(count)}


def checked(body: bytes, format: str, settings: Settings, whole: bool = False) -> None:
    unpacked.check_unpacked(io.BytesIO(body), format, settings, whole=whole)


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_dictionaries_are_added_up_whether_or_not_they_are_ours(
    settings: Settings, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyarrow unpacks the dictionaries of columns that are not asked for too."""
    monkeypatch.setattr(unpacked, "MAX_PART_BYTES", 4_000_000)
    encode = KINDS[kind][1]
    checked(encode(table_of(1, **texts_of(3, 1_000_000, coded=True))), "arrow", settings)
    with pytest.raises(Refusal, match="What its dictionaries hold unpacks to"):
        checked(encode(table_of(1, **texts_of(8, 1_000_000, coded=True))), "arrow", settings)


OURS = ("loan_id", "group", "status", "type", "index", "calendar", "schedule", "penalty")


@pytest.mark.parametrize("kind", ["parquet", "stream", "file"])
def test_our_columns_are_added_up_and_others_are_not(
    settings: Settings, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacked, "MAX_PART_BYTES", 4_000_000)
    encode, format = KINDS[kind][1], "parquet" if kind == "parquet" else "arrow"
    checked(encode(table_of(1, **texts_of(8, 1_000_000))), format, settings)
    body = encode(table_of(1, **dict.fromkeys(OURS, pa.array(["x" * 1_000_000]))))
    assert len(body) < 40_000
    with pytest.raises(Refusal, match="unpacks to 8,"):
        checked(body, format, settings)


def test_columns_that_are_not_ours_are_not_unpacked() -> None:
    """Eight columns of 20 MB beside a tape of one loan."""
    for kind, format in (("parquet", "parquet"), ("stream", "arrow"), ("file", "arrow")):
        body = KINDS[kind][1](table_of(1, **texts_of(8, 20_000_000)))
        before = pa.total_allocated_bytes()
        (tape,) = engine.iter_tape(io.BytesIO(body), format=format)
        assert len(tape) == 1
        code = (
            "import io, sys, engine, pyarrow as pa\n"
            f"list(engine.iter_tape(io.BytesIO(sys.stdin.buffer.read()), format={format!r}))\n"
            "print(pa.default_memory_pool().max_memory())"
        )
        ran = subprocess.run([sys.executable, "-c", code], input=body, capture_output=True, check=True)
        assert int(ran.stdout) < 10_000_000
        assert pa.total_allocated_bytes() - before < 10_000_000


def test_a_wide_number_of_bytes_counts_for_each_loan(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A code of a few bits stands for 900 bytes in each of 10,000 rows."""
    wide = pa.array([b"a" * 900] * 10_000, pa.binary(900))
    body = as_parquet(table_of(10_000, loan_id=wide))
    assert len(body) < 10_000
    monkeypatch.setattr(unpacked, "MAX_PART_BYTES", 8_000_000)
    with pytest.raises(Refusal, match="unpacks to 9,"):
        checked(body, "parquet", settings)


def varint_of(value: int, length: int = 0) -> bytes:
    """A number as Thrift writes it in a footer, padded to a length."""
    left, out = value * 2, bytearray()
    while left > 127:
        out.append(left & 127 | 128)
        left >>= 7
    out.append(left)
    while len(out) < length:
        out[-1] |= 128
        out.append(0)
    return bytes(out)


def test_a_footer_that_lies_about_sizes_is_not_believed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    loans = 100_000
    out = io.BytesIO()
    table = pa.table({name: np.arange(loans) + 1.0 for name in ("balance", "annual_rate", "remaining_term")})
    parquet.write_table(table, out, compression="zstd", use_dictionary=False, write_statistics=False)
    body = bytearray(out.getvalue())
    about = parquet.ParquetFile(out).metadata
    footer = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
    for j in range(3):
        true = varint_of(about.row_group(0).column(j).total_uncompressed_size)
        place = body.index(true, footer)
        body[place : place + len(true)] = varint_of(100, len(true))
    forged = parquet.ParquetFile(io.BytesIO(body)).metadata.row_group(0)
    assert [forged.column(j).total_uncompressed_size for j in range(3)] == [100] * 3
    monkeypatch.setattr(unpacked, "MAX_PART_BYTES", 2_000_000)
    with pytest.raises(Refusal, match="unpacks to"):
        checked(bytes(body), "parquet", settings)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
@pytest.mark.parametrize("coded", [True, False])
def test_pages_are_found_in_every_kind_of_file(version: str, compression: str, coded: bool) -> None:
    """The pages of an honest file are as large as its footer says, but for their headers, and hold every value."""
    loans = 20_000
    texts = [f"loan {i}" for i in range(loans)]
    out = io.BytesIO()
    parquet.write_table(
        table_of(loans, loan_id=texts), out, data_page_version=version, compression=compression, use_dictionary=coded,
        data_page_size=10_000, row_group_size=15_000, write_page_checksum=True,
    )  # fmt: skip
    about = parquet.ParquetFile(out).metadata
    for i in range(about.num_row_groups):
        for j in range(about.num_columns):
            column = about.row_group(i).column(j)
            pages = list(pages_of(out, column))
            assert sum(page.values for page in pages) == column.num_values
            told = column.total_uncompressed_size
            headers = sum(100 for _ in pages)
            grown = sum(page.size for page in pages) - max(told, column.total_compressed_size)
            assert -headers <= grown <= headers


def test_texts_that_repeat_their_beginnings_are_refused(settings: Settings) -> None:
    out = io.BytesIO()
    table = table_of(100, group=["x" * 1000] * 100)
    parquet.write_table(table, out, use_dictionary=False, column_encoding={"group": "DELTA_BYTE_ARRAY"})
    with pytest.raises(Refusal, match="not as DELTA_BYTE_ARRAY") as caught:
        checked(out.getvalue(), "parquet", settings)
    assert caught.value.status == 422


def test_a_dictionary_in_a_column_that_is_said_to_be_in_differences_is_refused(settings: Settings) -> None:
    """A row group of codes beside one of differences: the texts of both would be written out row by row."""
    texts, out = ["one", "two"] * 100, io.BytesIO()
    parquet.write_table(
        table_of(200, group=texts), out, use_dictionary=False, column_encoding={"group": "DELTA_LENGTH_BYTE_ARRAY"}
    )
    checked(out.getvalue(), "parquet", settings)
    body = as_parquet(table_of(200, group=texts))
    checked(body, "parquet", settings)
    # The footer lists PLAIN (0), RLE (3) and RLE_DICTIONARY (8), doubled by zigzag, before the name of the column;
    # DELTA_LENGTH_BYTE_ARRAY is 6.
    forged = body.replace(b"\x00\x06\x10\x19\x18\x05group", b"\x0c\x06\x10\x19\x18\x05group")
    told = parquet.ParquetFile(io.BytesIO(forged)).metadata.row_group(0).column(3).encodings
    assert told == ("DELTA_LENGTH_BYTE_ARRAY", "RLE", "RLE_DICTIONARY")
    with pytest.raises(Refusal, match="repeat without end"):
        checked(forged, "parquet", settings)


@pytest.mark.parametrize("kind", ["stream", "file", "parquet"])
def test_what_a_profile_reads_whole_is_added_up(client: Client, analyst: dict[str, str], kind: str) -> None:
    """Five parts of 100 loans are within the 600 that are read whole, fifty are not."""
    media_type, _ = KINDS[kind]
    for parts, status in ((5, 200), (50, 413)):
        out, table = io.BytesIO(), table_of(100)
        if kind == "parquet":
            with parquet.ParquetWriter(out, table.schema) as writer:
                for _ in range(parts):
                    writer.write_table(table)
        else:
            new = ipc.new_stream if kind == "stream" else ipc.new_file
            with new(out, table.schema, options=ipc.IpcWriteOptions(compression="zstd")) as writer:
                for _ in range(parts):
                    writer.write_table(table)
        headers = {**analyst, "content-type": media_type}
        answer = client.post("/v1/tapes/profile", content=out.getvalue(), headers=headers)
        assert answer.status_code == status, answer.text


def test_many_messages_of_a_profile_are_added_up(settings: Settings) -> None:
    """Each message is small; together they are the 64,000 bytes times sixteen that a body may become."""
    tight = msgspec.structs.replace(settings, max_body_bytes=64_000)
    out, table = io.BytesIO(), table_of(10_000)
    with ipc.new_stream(out, table.schema, options=ipc.IpcWriteOptions(compression="zstd")) as writer:
        for _ in range(8):
            writer.write_table(table)
    checked(out.getvalue(), "arrow", tight)
    with pytest.raises(Refusal, match="at most 1,024,000 are read"):
        checked(out.getvalue(), "arrow", tight, whole=True)


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

"""Columns of Arrow and Parquet files by their type: nested ones refused by name, codes of any values read as values."""

import io
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from engine import tape_files
from engine.errors import TapeFileError
from engine.tape_files import iter_tape, read_tape


def file_of(format: str, **columns: Any) -> io.BytesIO:
    """A tape of as many loans as the columns have rows."""
    rows = len(next(iter(columns.values())))
    needed = {"balance": [1000.0] * rows, "annual_rate": [0.05] * rows, "remaining_term": [12] * rows}
    table, out = pa.table({**needed, **columns}), io.BytesIO()
    if format == "parquet":
        parquet.write_table(table, out)
    else:
        with ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
    out.seek(0)
    return out


def column(format: str, name: str, cells: Any) -> list[Any]:
    tape: Any = read_tape(file_of(format, **{name: cells}), format=format)
    return list(getattr(tape.columns, name))


def codes(indices: pa.Array, entries: Any) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(indices, entries)


NESTED = {
    "list": pa.array([["x"]]),
    "struct": pa.array([{"a": 1}]),
    "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    "list_view": pa.array([["x"]], pa.list_view(pa.string())),
}


@pytest.mark.parametrize("format", ["parquet", "arrow"])
@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize("name", ["group", "balance"])
def test_a_nested_column_is_refused_by_its_name(format: str, kind: str, name: str) -> None:
    expected = "texts" if name == "group" else "numbers"
    for read in (read_tape, iter_tape):
        with pytest.raises(TapeFileError, match=rf"column '{name}' holds {kind}.*; expected {expected}"):
            read(file_of(format, **{name: NESTED[kind]}), format=format)


def test_a_nested_column_that_is_none_of_ours_is_ignored() -> None:
    assert column("parquet", "group", ["x"]) == ["x"]
    tape = read_tape(file_of("parquet", notes=NESTED["list"]), format="parquet")
    assert len(tape) == 1


def test_codes_of_lists_and_runs_are_refused_by_name() -> None:
    lists = codes(pa.array([0]), pa.array([["x"]]))
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([1], pa.int32()), pa.array(["x"]))
    for cells in (lists, runs):
        with pytest.raises(TapeFileError, match=r"column 'group' holds .*; expected texts"):
            column("arrow", "group", cells)


@pytest.mark.parametrize("format", ["parquet", "arrow"])
@pytest.mark.parametrize(
    ("entries", "texts"),
    [
        (pa.array([5, 7]), ["7", "5", None]),
        (pa.array([True, False]), ["false", "true", None]),
        (pa.array([date(2024, 1, 31), date(2025, 2, 28)]), ["2025-02-28", "2024-01-31", None]),
        (pa.array([" a", "b "]), ["b", "a", None]),
    ],
    ids=["whole numbers", "truths", "dates", "texts with blanks around"],
)
def test_codes_stand_for_their_values_as_texts(format: str, entries: pa.Array, texts: list[str | None]) -> None:
    indices = pa.array([1, 0, None], pa.int8())
    assert column(format, "group", codes(indices, entries)) == texts
    assert column(format, "group", entries.take(pa.array([1, 0, None]))) == texts


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_codes_of_one_byte_may_use_all_its_values_and_be_blank(format: str) -> None:
    entries = pa.array([f"g{i}" for i in range(256)])
    indices = pa.array([255, None, 0], pa.uint8())
    assert column(format, "group", codes(indices, entries)) == ["g255", None, "g0"]


@pytest.mark.parametrize("format", ["parquet", "arrow"])
@pytest.mark.parametrize(
    ("entries", "numbers"),
    [
        (pa.array(["$1,200", "800", "unused"]), [800.0, 1200.0, np.nan]),
        (pa.array([1200, 800, 1]), [800.0, 1200.0, np.nan]),
        (pa.array([Decimal("1200.5"), Decimal("800.25"), Decimal("1")]), [800.25, 1200.5, np.nan]),
    ],
    ids=["texts", "whole numbers", "decimals"],
)
def test_codes_stand_for_their_values_as_numbers(format: str, entries: pa.Array, numbers: list[float]) -> None:
    """An entry that no cell names is not read."""
    cells = codes(pa.array([1, 0, None], pa.uint8()), entries)
    np.testing.assert_array_equal(column(format, "payment", cells), numbers)


def test_a_code_for_no_number_is_named_by_every_row_it_stands_in() -> None:
    cells = codes(pa.array([0, 1, 0, 1], pa.int32()), pa.array(["5", " abc "]))
    with pytest.raises(TapeFileError) as caught:
        column("arrow", "payment", cells)
    assert str(caught.value).splitlines() == [
        "the tape file, row 2, column 'payment' is 'abc'; expected a number",
        "the tape file, row 4, column 'payment' is 'abc'; expected a number",
    ]


VIEWS = pa.array(["a longer text than twelve", None, "b"], pa.string_view())


@pytest.mark.parametrize(
    "cells", [VIEWS, codes(pa.array([0, 1, 2]), VIEWS), codes(pa.array([2, 1, 0] * 2), VIEWS)[3:]], ids=str
)
def test_texts_as_views_are_read(cells: Any) -> None:
    expected = [None if each is None else str(each) for each in cells.to_pylist()]
    assert column("arrow", "group", cells) == expected


def test_numbers_as_views_are_read() -> None:
    assert column("arrow", "payment", pa.array(["12.5", " 7 "], pa.string_view())) == [12.5, 7]


@pytest.mark.parametrize("name", ["group", "payment"])
def test_a_long_text_that_views_repeat_is_refused(name: str) -> None:
    """Written out, a hundred thousand views of a text of a million bytes would be 100 GB."""
    views = np.zeros((100_000, 4), np.int32)
    views[:, 0] = 1_000_000
    views[:, 1] = np.frombuffer(b"xxxx", np.int32)[0]
    buffers = [None, pa.py_buffer(views.tobytes()), pa.py_buffer(b"x" * 1_000_000)]
    cells = pa.Array.from_buffers(pa.string_view(), len(views), buffers)
    with pytest.raises(TapeFileError, match=rf"'{name}' has a text of 1,000,000 bytes; expected at most 1,000"):
        column("arrow", name, cells)


def test_texts_of_a_fixed_width_are_read_unless_they_are_too_wide() -> None:
    assert column("parquet", "group", pa.array([b"ab"], pa.binary(2))) == ["ab"]
    with pytest.raises(TapeFileError, match=r"column 'group' holds fixed_size_binary\[8000\]; expected texts"):
        column("parquet", "group", pa.array([b"a" * 8000], pa.binary(8000)))


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN"])
def test_texts_are_read_however_parquet_codes_them(encoding: str) -> None:
    out, texts = io.BytesIO(), ["prime", None, "prime 2", "auto"]
    table = parquet.read_table(file_of("parquet", group=texts))
    parquet.write_table(table, out, use_dictionary=False, column_encoding={"group": encoding})
    (tape,) = iter_tape(out, format="parquet")
    columns: Any = tape.columns
    assert list(columns.group) == texts


def row_groups(texts: list[str]) -> io.BytesIO:
    """A Parquet file with a row group, and so a dictionary, for each text."""
    out = io.BytesIO()
    table = pa.table({"balance": [1.0], "annual_rate": [0.05], "remaining_term": [12], "group": texts[:1]})
    with parquet.ParquetWriter(out, table.schema) as writer:
        for text in texts:
            writer.write_table(table.set_column(3, "group", [[text]]))
    out.seek(0)
    return out


def test_small_parts_that_wait_for_more_rows_hold_a_bounded_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of 100 rows may hold 100 x 2,048 bytes of batches, or a million; twenty texts of 100 KB are two."""
    monkeypatch.setattr(tape_files, "HELD", 1_000_000)
    with pytest.raises(TapeFileError, match=r"bytes in 1\d loans; expected at most 1,000,000"):
        list(iter_tape(row_groups(["x" * 100_000] * 20), format="parquet", batch_size=100))
    tapes = list(iter_tape(row_groups([f"{i:0900}" for i in range(250)]), format="parquet", batch_size=100))
    assert [len(tape) for tape in tapes] == [100, 100, 50]


def test_a_dictionary_that_many_batches_share_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tape_files, "HELD", 100_000)
    entries = pa.array([f"loan {i:0100}" for i in range(5_000)])
    cells = codes(pa.array(np.arange(500), pa.int32()), entries)
    out = io.BytesIO()
    table = pa.table({"balance": np.full(500, 1.0), "annual_rate": np.full(500, 0.05),
                      "remaining_term": np.full(500, 12), "loan_id": cells})  # fmt: skip
    with ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=5)
    tapes: Any = list(iter_tape(out, format="arrow", batch_size=40))
    assert [each for tape in tapes for each in tape.columns.loan_id] == entries.to_pylist()[:500]

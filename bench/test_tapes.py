"""Tape files read and checked as columns, without a projection; a million rows with one are in test_large.py."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import engine
from bench.peers import pool_of
from bench.timing import ROUNDS

SIZES = {"small": 1_000, "medium": 20_000, "large": 200_000}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow"])
def test_read_tape(benchmark: BenchmarkFixture, tmp_path: Path, kind: str, size: str) -> None:
    loans, file = SIZES[size], tmp_path / f"loans.{kind}"
    columns = pool_of(loans).columns
    table = pa.table(
        {
            "loan_id": pa.array([f"L{i:07}" for i in range(loans)]),
            "balance": columns["balance"][:loans],
            "annual_rate": np.round(columns["rate"][:loans], 5),
            "remaining_term": columns["term"][:loans].astype(np.int32),
        }
    )
    if kind == "csv":
        pyarrow.csv.write_csv(table, file)
    elif kind == "parquet":
        pyarrow.parquet.write_table(table, file)
    else:
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    benchmark.group = "tape files"
    tape = benchmark.pedantic(lambda: engine.read_tape(file), rounds=ROUNDS, warmup_rounds=1)
    np.testing.assert_array_equal(tape.arrays().balance, columns["balance"][:loans])
    benchmark.extra_info.update(
        loans=loans, file_kb=file.stat().st_size / 1e3, million_rows_a_second=loans / benchmark.stats.stats.min / 1e6
    )

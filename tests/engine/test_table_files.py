"""Tables in CSV files: texts that a spreadsheet would run are quoted, numbers never."""

import csv
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from engine.table_files import write_table

TEXTS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "A-1", "", "1=1"]
SAFE = ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\tx", "'\rx", "A-1", "", "1=1"]


@pytest.mark.parametrize("kind", [np.str_, object])
def test_texts_that_are_formulas_are_quoted_and_numbers_are_not(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "flows.csv"
    numbers = [-1.5, -2, 3, 0, 1e300, -1e-300, 7, 8, 9]
    write_table(path, {"loan_id": np.array(TEXTS, dtype=kind), "cashflow": numbers, "period": np.arange(9) - 4})
    with path.open(newline="", encoding="utf-8") as lines:
        heading, *rows = csv.reader(lines)
    assert heading == ["loan_id", "cashflow", "period"]
    assert [row[0] for row in rows] == SAFE
    assert [float(row[1]) for row in rows] == numbers
    assert [row[2] for row in rows] == ["-4", "-3", "-2", "-1", "0", "1", "2", "3", "4"]


def test_other_formats_keep_texts_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "flows.parquet"
    write_table(path, {"loan_id": TEXTS})
    assert parquet.read_table(path)["loan_id"].to_pylist() == TEXTS

"""Large pools in processes of their own: seconds, peaks of memory, and what factoring saves.

BENCH_LARGE_LOANS, BENCH_MANY_LOANS, BENCH_PATH_LOANS and BENCH_PATHS set the sizes.
"""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.peers import MONTHS, pool_of
from bench.timing import in_child

LARGE = int(os.environ.get("BENCH_LARGE_LOANS", "10000000"))
MANY = int(os.environ.get("BENCH_MANY_LOANS", "1000000"))
PATH_LOANS = int(os.environ.get("BENCH_PATH_LOANS", "4000000"))
PATHS = int(os.environ.get("BENCH_PATHS", "200"))
GROUP = "large, in processes of their own"


def test_ten_million_loans(benchmark: BenchmarkFixture) -> None:
    """Twelve fields at pool level, and how far they raise the peak of memory over that of the tape."""
    told = in_child(benchmark, GROUP, "bench.large", "pool", str(LARGE))
    benchmark.extra_info.update(
        loan_months_per_second=LARGE * MONTHS / told["seconds"], threads=os.cpu_count(), against=["full, sorted"],
        tape_mb=LARGE * (8 + 8 + 4 + 8) / 1e6,
    )  # fmt: skip


def test_a_thousand_scenarios_on_a_million_loans(benchmark: BenchmarkFixture) -> None:
    told = in_child(benchmark, GROUP, "bench.large", "scenarios", str(MANY), "1000")
    benchmark.extra_info.update(
        loan_months_per_second=MANY * 1000 * MONTHS / told["seconds"], threads=os.cpu_count(), against=["full, sorted"]
    )


def test_curves_by_path_coupon_and_age(benchmark: BenchmarkFixture) -> None:
    """288 billion loan-months by default: 4 million loans, 200 paths, 48 buckets of coupon and age."""
    in_child(benchmark, GROUP, "bench.large", "paths", str(PATH_LOANS), str(PATHS))
    benchmark.extra_info.update(threads=os.cpu_count(), against=["paths, stepped"])


def test_curves_by_path_stepped_one_by_one(benchmark: BenchmarkFixture) -> None:
    """The yardstick on a hundredth of the loans, and the engine's agreement with it on the same hundredth."""
    few = max(PATH_LOANS // 100, 1)
    stepped = in_child(benchmark, GROUP, "bench.large", "stepped", str(few), str(PATHS))
    benchmark.extra_info.update(threads=2, yardstick="paths, stepped")
    factored = in_child_unmeasured(few)
    np.testing.assert_allclose(factored, stepped["balances"], rtol=1e-9)
    benchmark.extra_info["relative_difference_to_engine"] = abs(factored / stepped["balances"] - 1)


def in_child_unmeasured(loans: int) -> float:
    """The sum of all balances of all paths by the engine."""
    from bench.large import paths

    balances: float = paths(loans, PATHS)["balances"]
    return balances


@pytest.fixture(scope="module")
def tape_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """BENCH_MANY_LOANS loans as CSV and Parquet: an id, balance, rate, term, age, fee and group."""
    folder, columns = tmp_path_factory.mktemp("tapes"), pool_of(MANY).columns
    number = np.arange(MANY)
    table = pa.table(
        {
            "loan_id": pa.array([f"L{i:07}" for i in range(MANY)]),
            "balance": columns["balance"][:MANY],
            "annual_rate": np.round(columns["rate"][:MANY], 5),
            "remaining_term": columns["term"][:MANY].astype(np.int32),
            "age": (number * 11 % 120).astype(np.int32),
            "servicing_fee": columns["fee"][:MANY],
            "group": pa.array([f"pool {i % 20}" for i in range(MANY)]),
        }
    )
    files = {"csv": folder / "loans.csv", "parquet": folder / "loans.parquet"}
    pyarrow.csv.write_csv(table, files["csv"])
    pyarrow.parquet.write_table(table, files["parquet"])
    return files


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tape_file_to_cashflows(benchmark: BenchmarkFixture, tape_files: dict[str, Path], kind: str) -> None:
    """A million rows read, validated and projected end to end; seconds without the start of Python."""
    told = in_child(benchmark, GROUP, "bench.large", "tape", str(tape_files[kind]), rounds=2)
    assert told["balances"] == pytest.approx(pool_of(MANY).columns["balance"].sum(), rel=1e-12)
    benchmark.extra_info.update(
        loans=MANY, file_mb=tape_files[kind].stat().st_size / 1e6, rows_a_second=MANY / told["seconds"]
    )

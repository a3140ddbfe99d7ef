"""What importing costs: a process of its own that imports and nothing else, beside Python and NumPy alone."""

import subprocess
import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.timing import ROUNDS, of_child

TIMED = "import time; start = time.perf_counter(); import {0}; print(time.perf_counter() - start)"


@pytest.mark.parametrize("module", ["numpy", "engine", "engine.analytics", "api.app"])
def test_import(benchmark: BenchmarkFixture, module: str) -> None:
    """The whole process, and the import statement within it; bytecode is compiled by the round before the first."""
    benchmark.group = "import and start"
    command, found = [sys.executable, "-c", TIMED.format(module)], []

    def run() -> None:
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=of_child())
        found.append(float(done.stdout))

    benchmark.pedantic(run, rounds=ROUNDS, warmup_rounds=1)
    benchmark.extra_info.update(
        import_ms=1e3 * min(found), process_ms=1e3 * benchmark.stats.stats.min,
    )  # fmt: skip

"""How a case is timed, and what it leaves for the table and the report: its group, its size, what it stands beside.

A loan-month is a loan over one of the months asked for, whether or not it has matured; peers and engine are given the
same ones. The best round counts: the others measure what else the machine does.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture

from bench.native import BUILD, ROOT
from bench.peers import MONTHS

LOANS = int(os.environ.get("BENCH_LOANS", "200000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
THREADS = (1, 2)


def timed(
    benchmark: BenchmarkFixture,
    call: Callable[[], Any],
    *,
    group: str,
    loans: int,
    threads: int = 1,
    months: int = MONTHS,
    yardstick: str | None = None,
    against: Sequence[str] = ("level pay",),
    operations: float | None = None,
    bytes_moved: float | None = None,
    memory: str = "read",
    rounds: int = ROUNDS,
) -> Any:
    """What `call` gives; its best time is recorded as loan-months a second.

    yardstick: what a yardstick is called. against: the yardsticks that the case is a ratio of. operations, bytes_moved:
    floating-point operations and bytes of memory that a loan-month needs, by the formulas of docs/performance.md.
    memory: the measure of `bandwidth` that those bytes are held against.
    """
    benchmark.group = group
    result = benchmark.pedantic(call, rounds=rounds, warmup_rounds=1 if rounds > 1 else 0)
    benchmark.extra_info.update(
        loans=loans, months=months, threads=threads, loan_months_per_second=loans * months / benchmark.stats.stats.min
    )
    told = {"yardstick": yardstick, "operations": operations, "bytes": bytes_moved, "memory": memory}
    benchmark.extra_info.update({name: value for name, value in told.items() if value is not None})
    benchmark.extra_info["against"] = [] if yardstick else list(against)
    benchmark.extra_info.update(shares_of(result))
    return result


def shares_of(result: Any) -> dict[str, float]:
    """The shares of a projection's loans that were stepped, and that every scenario went over again; if any were."""
    work = getattr(result, "work", None)
    if work is None:
        return {}
    shares = {"stepped": work.stepped / work.loans, "gone_over_by_scenario": work.repeated / work.loans}
    return {name: share for name, share in shares.items() if share}


def of_child() -> dict[str, str]:
    """The environment of a process that is timed: it finds bench/, and keeps bytecode, as what is installed does."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": path, "PYTHONPYCACHEPREFIX": str(BUILD / "bytecode")}


def in_child(benchmark: BenchmarkFixture, group: str, module: str, *arguments: str, rounds: int = 1) -> dict[str, Any]:
    """What a module of bench/ printed as JSON when it ran as a process of its own, once or as the best of a few.

    A child has a peak of memory of its own, and pays for its imports.
    """
    command = [sys.executable, "-m", module, *arguments]

    def run() -> dict[str, Any]:
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=of_child(), timeout=600)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    benchmark.group = group
    told: list[dict[str, Any]] = []
    benchmark.pedantic(lambda: told.append(run()), rounds=rounds)
    best = min(told, key=lambda found: found.get("seconds", 0))
    benchmark.extra_info.update(best)
    return best

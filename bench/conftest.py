"""Fixtures of the benchmarks, the tables at their end, and the machine's description in the saved results."""

import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from bench.peers import Floats, Pool, floating_pool_of, pool_of
from bench.timing import LOANS

HIDDEN = frozenset(
    {"loan_months_per_second", "threads", "yardstick", "against", "operations", "bytes", "memory", "loans", "months"}
)


GROUPS = {
    "test_runs": "runs on workers",
    "test_backup": "backup and restore",
    "test_hostile": "hostile queries",
    "test_observability": "observation",
}


@pytest.fixture(autouse=True)
def grouped(request: pytest.FixtureRequest) -> None:
    """Gives the cases of files that name no group the one of their file."""
    group = GROUPS.get(request.module.__name__.rpartition(".")[2])
    if group is not None and "benchmark" in request.fixturenames:
        request.getfixturevalue("benchmark").group = group


@pytest.fixture(scope="session")
def pool() -> Pool:
    """BENCH_LOANS level-pay loans, 200,000 by default."""
    return pool_of(LOANS)


@pytest.fixture(scope="session")
def floating_pool() -> Pool:
    """As many floating loans."""
    return floating_pool_of(LOANS)


@pytest.fixture(scope="session")
def by_term(pool: Pool) -> dict[str, Floats]:
    """The yardstick's columns in the order it likes best."""
    return pool.sorted_by("term")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Adds what the report says of the machine: its load, caches and memory, and the compiler of the yardsticks."""
    machine_info["processors"] = os.cpu_count()
    machine_info["load"] = list(os.getloadavg())
    compiler = os.environ.get("CXX", "g++")
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    machine_info["compiler"] = version.partition("\n")[0]
    machine_info["kernel"] = platform.release()
    memory = Path("/proc/meminfo")
    if memory.exists():
        machine_info["memory"] = memory.read_text().partition("\n")[0].partition(":")[2].strip()
    for cache in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size = ((cache / name).read_text().strip() for name in ("type", "level", "size"))
        machine_info[f"cache L{level} {kind.lower()}"] = size


def limits_of(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, int], float]:
    """The rate of each yardstick by its name and number of threads."""
    return {
        (info["yardstick"], info["threads"]): info["loan_months_per_second"] for info in rows if "yardstick" in info
    }


def ratios_of(info: dict[str, Any], limits: dict[tuple[str, int], float]) -> dict[str, float]:
    """The case's rate over that of each of its yardsticks, on as many threads or on the most that one was run on."""
    found = {}
    for against in info.get("against", []):
        threads = [count for name, count in limits if name == against and count <= info["threads"]]
        if threads:
            found[against] = info["loan_months_per_second"] / limits[against, max(threads)]
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints each group: rates beside their yardstick on as many threads, and what else the cases say."""
    session = getattr(config, "_benchmarksession", None)
    found = [bench for bench in getattr(session, "benchmarks", []) if bench.extra_info]
    limits = limits_of(bench.extra_info for bench in found)
    for group in dict.fromkeys(bench.group or "other" for bench in found):
        terminalreporter.section(f"{group} ({LOANS:,} loans unless stated, {os.cpu_count()} processors, best round)")
        for bench in found:
            if (bench.group or "other") == group:
                terminalreporter.write_line(line_of(bench.name.removeprefix("test_"), bench.extra_info, limits))


def line_of(name: str, info: dict[str, Any], limits: dict[tuple[str, int], float]) -> str:
    rate = info.get("loan_months_per_second")
    told = "" if rate is None else f"{rate / 1e6:11,.1f} M loan-months/s"
    told += "".join(f"  {ratio:.2f} of `{name}`" for name, ratio in ratios_of(info, limits).items())
    told += "" if rate is None else f" on {info['threads']} thread(s)"
    more = ", ".join(f"{key} {shown(value)}" for key, value in info.items() if key not in HIDDEN)
    return f"{name:<58} {told}  {more}".rstrip()


def shown(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)

"""Fixtures of the benchmarks and the table at their end: loan-months a second, and ratios to the yardstick."""

import ctypes
import os

import pytest

from bench.peers import Pool, build_yardstick, pool_of

LOANS = int(os.environ.get("BENCH_LOANS", "200000"))
LARGE = int(os.environ.get("BENCH_LARGE_LOANS", "10000000"))


@pytest.fixture(scope="session")
def pool() -> Pool:
    """BENCH_LOANS level-pay loans, 200,000 by default."""
    return pool_of(LOANS)


@pytest.fixture(scope="session")
def yardstick() -> ctypes.CDLL:
    return build_yardstick()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the best rate of each benchmark that counts loan-months, beside the yardstick on as many threads."""
    session = getattr(config, "_benchmarksession", None)
    rows = [(bench.name, bench.extra_info) for bench in getattr(session, "benchmarks", []) if bench.extra_info]
    limits = {info["threads"]: info["loan_months_per_second"] for _, info in rows if info.get("role") == "yardstick"}
    if not rows:
        return
    terminalreporter.section(f"loan-months a second, best of the rounds ({LOANS:,} loans, {os.cpu_count()} processors)")
    for name, info in rows:
        rate = info.get("loan_months_per_second")
        if rate is None:
            told = ", ".join(f"{key} {value}" for key, value in info.items())
            terminalreporter.write_line(f"{name:<58} {told}")
            continue
        limit = limits.get(info.get("threads"))
        ratio = "" if limit is None else f"{rate / limit:7.2f} of the yardstick on {info['threads']} thread(s)"
        more = ", ".join(f"{key} {value}" for key, value in info.items() if key not in KNOWN)
        terminalreporter.write_line(f"{name:<58} {rate / 1e6:12,.1f} M {ratio} {more}")


KNOWN = ("loan_months_per_second", "threads", "role")

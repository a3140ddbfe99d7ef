"""The report of a run made up by hand: the roof that a case is held against, and what a missed goal says."""

from typing import Any

from bench.report import UNEXPLAINED, Run, roofline, targets

LOAN_LEVEL = {"operations": 13.5, "bytes": 64, "threads": 1}


def run_of(*cases: tuple[str, dict[str, Any]]) -> Run:
    machine = [(f"bandwidth[{kind}-{count}]", {"gigabytes_a_second": width}) for count in (1, 2)
               for kind, width in (("read", 20.0), ("store", 40.0), ("fill new memory", 16.0))]  # fmt: skip
    machine += [(f"peak[{count}]", {"gigaflops": 100.0}) for count in (1, 2)]
    benches = [{"name": f"test_{name}", "group": "", "extra_info": info} for name, info in [*machine, *cases]]
    return Run({"machine_info": {}, "datetime": "2026-01-01T00:00:00", "benchmarks": benches})


def test_what_writes_rows_is_held_against_the_bandwidth_of_its_memory() -> None:
    rate = {"loan_months_per_second": 0.5e9}  # 32 GB/s, 0.8 of `store`
    page = roofline(run_of(("a", LOAN_LEVEL | rate | {"memory": "store"})))
    assert "<td>80%</td>" in page
    page = roofline(run_of(("a", LOAN_LEVEL | {"loan_months_per_second": 0.125e9, "memory": "fill new memory"})))
    assert "<td>50%</td>" in page


def test_what_only_reads_is_held_against_the_peak() -> None:
    info = {"operations": 5, "bytes": 0.1, "threads": 1, "loan_months_per_second": 5e9, "memory": "read"}
    assert "<td>25%</td>" in roofline(run_of(("a", info)))


def test_a_missed_goal_says_why() -> None:
    page = targets(run_of(("import[engine]", {"import_ms": 200.0})))
    assert f"missed: {UNEXPLAINED}" in page
    page = targets(run_of(("import[engine]", {"import_ms": 100.0})))
    assert "missed" not in page
    assert "reached</td>" in page

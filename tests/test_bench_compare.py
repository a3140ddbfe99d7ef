"""Verdicts on instructions and times, and the reading of callgrind's output."""

import pytest

from bench.compare import drift_of, verdict, verdict_of_times
from bench.instructions import Count, count_of

PART = """\
desc: Trigger: Client Request: pool, one field
positions: line
events: Ir
summary: 1160

ob=/somewhere/engine/_core.cpython-311-x86_64-linux-gnu.so
fl=???
fn=contract
0 1000
cob=/lib/libc.so.6
cfn=memset
calls=2 0
0 60
0 100
ob=/lib/libc.so.6
fl=???
fn=memset
0 60
"""


def rounds(best: float, median: float, count: int = 5) -> dict[str, float]:
    return {"min": best, "median": median, "rounds": count}


def test_instructions_of_the_core_leave_out_what_it_calls() -> None:
    assert count_of(PART) == ("pool, one field", Count(core=1100, all=1160))


def test_a_verdict_needs_more_than_the_tolerance() -> None:
    assert verdict(1000, 1004, 0.005) == "same"
    assert verdict(1000, 1006, 0.005) == "worse"
    assert verdict(1000, 994, 0.005) == "better"


def test_times_within_the_noise_of_the_rounds_are_the_same() -> None:
    quiet, noisy = rounds(1.0, 1.02), rounds(1.0, 1.4)
    slower = rounds(1.2, 1.22)
    assert verdict_of_times(quiet, slower) == ("worse", pytest.approx(0.05))
    assert verdict_of_times(slower, quiet)[0] == "better"
    found, band = verdict_of_times(noisy, slower)
    assert found == "same"
    assert abs(band - 0.4) < 1e-12


def test_best_and_median_must_agree() -> None:
    assert verdict_of_times(rounds(1.0, 1.02), rounds(1.2, 1.03))[0] == "same"


def test_one_round_does_not_tell_its_noise() -> None:
    assert verdict_of_times(rounds(1.0, 1.0, 1), rounds(1.2, 1.2, 1)) == ("same", pytest.approx(0.5))
    assert verdict_of_times(rounds(1.0, 1.0, 1), rounds(1.6, 1.6, 1))[0] == "worse"


def test_what_the_machine_drifted_by_is_noise() -> None:
    case, yardstick, imported = (
        "bench/a.py::test_scenarios[1]",
        "bench/a.py::test_yardstick_full",
        "bench/a.py::test_numba",
    )
    old = {case: rounds(1.0, 1.0), yardstick: rounds(1.0, 1.0), imported: rounds(1.0, 1.0, 1)}
    new = {case: rounds(2.0, 2.0), yardstick: rounds(0.8, 0.8), imported: rounds(9.0, 9.0, 1)}
    drift = drift_of(old, new)
    assert abs(drift - 0.25) < 1e-12
    assert verdict_of_times(rounds(1.0, 1.0), rounds(1.2, 1.2), drift)[0] == "same"
    assert verdict_of_times(old[case], new[case], drift)[0] == "worse"

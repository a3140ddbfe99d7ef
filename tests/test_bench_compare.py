"""Verdicts on instructions and times, and the reading of callgrind's output."""

from bench.compare import verdict, verdict_of_times
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


def test_instructions_of_the_core_leave_out_what_it_calls() -> None:
    assert count_of(PART) == ("pool, one field", Count(core=1100, all=1160))


def test_a_verdict_needs_more_than_the_tolerance() -> None:
    assert verdict(1000, 1004, 0.005) == "same"
    assert verdict(1000, 1006, 0.005) == "worse"
    assert verdict(1000, 994, 0.005) == "better"


def test_times_within_the_noise_of_the_rounds_are_the_same() -> None:
    quiet, noisy = {"min": 1.0, "median": 1.02}, {"min": 1.0, "median": 1.4}
    slower = {"min": 1.2, "median": 1.22}
    assert verdict_of_times(quiet, slower) == ("worse", 0.05)
    assert verdict_of_times(slower, quiet)[0] == "better"
    found, band = verdict_of_times(noisy, slower)
    assert found == "same"
    assert abs(band - 0.4) < 1e-12


def test_best_and_median_must_agree() -> None:
    assert verdict_of_times({"min": 1.0, "median": 1.02}, {"min": 1.2, "median": 1.03})[0] == "same"

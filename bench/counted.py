"""The kernel's cases whose instructions are counted, one after another, with marks around each.

python -m bench.counted MARK_LIBRARY, under callgrind (bench/instructions.py). One thread, no clock, no randomness.
"""

import ctypes
import gc
import sys
from collections.abc import Callable

import numpy as np

import engine
from bench.peers import INDEX, floating_pool_of, index_path, pool_of
from bench.test_cases import scenarios_of
from bench.test_kernel import LIKE_YARDSTICK, assumptions, request

LOANS = 4_096
AGES = np.arange(LOANS) * 11 % 120
Case = Callable[[], engine.Cashflows]


def projected(asked: engine.ProjectionRequest) -> Case:
    return lambda: engine.project(asked, threads=1)


def cases() -> dict[str, Case]:
    """Each case by its name; the tapes are made here, so that making them is not counted."""
    tape, few = pool_of(LOANS).tape, pool_of(512).tape
    aged = pool_of(LOANS, age=AGES).tape
    lots = pool_of(LOANS, group=np.char.add("group ", (np.arange(LOANS) % 10).astype(str))).tape
    ramp = engine.Psa(speed=1.5)
    rates = {INDEX: engine.MonthlyRates(rates=index_path().tolist())}
    return {
        "pool, five fields": projected(request(tape, assumptions(recovery_lag=0), fields=LIKE_YARDSTICK)),
        "pool, twelve fields": projected(request(tape)),
        "pool, one field": projected(request(tape, fields=["balance"])),
        "pool, principal and interest advanced": projected(
            request(tape, assumptions(advancing="principal_and_interest"))
        ),
        "pool, curves by age": projected(request(aged, assumptions(prepayment=ramp))),
        "pool, linear": projected(request(pool_of(LOANS, amortization="linear").tape)),
        "pool, twenty scenarios": projected(request(tape, scenarios=scenarios_of(20))),
        "groups": projected(request(lots, level="group")),
        "loans, five fields": projected(request(few, level="loan", fields=LIKE_YARDSTICK)),
        "floating, twelve fields": projected(request(floating_pool_of(LOANS).tape, assumptions(rates=rates))),
    }


def main(library: str) -> None:
    marks, ready = ctypes.CDLL(library), cases()
    for call in ready.values():
        call()  # what is made once is not counted
    gc.disable()
    for name, call in ready.items():
        marks.begin_count()
        call()
        marks.end_count(name.encode())


if __name__ == "__main__":
    main(sys.argv[1])

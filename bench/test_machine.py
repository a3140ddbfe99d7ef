"""What the machine can do, in the same run: the roof that the report draws over the cases.

Peak: additions and multiplications in registers. Bandwidth: arrays far larger than the last cache.
"""

import ctypes
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.native import aligned, library, pointer
from bench.timing import ROUNDS, THREADS

GROUP = "machine"
PEAK_ROUNDS = 20_000_000
COUNT = 1 << 25  # doubles, 256 MB


@pytest.mark.parametrize("threads", THREADS)
def test_peak(benchmark: BenchmarkFixture, threads: int) -> None:
    benchmark.group, roof = GROUP, library("roofline")
    work = partial(roof.peak, ctypes.c_int64(PEAK_ROUNDS))
    with ThreadPoolExecutor(threads) as executor:
        benchmark.pedantic(lambda: list(executor.map(lambda _: work(), range(threads))), rounds=ROUNDS, warmup_rounds=1)
    operations = threads * PEAK_ROUNDS * roof.operations_a_round()
    benchmark.extra_info.update(threads=threads, gigaflops=operations / benchmark.stats.stats.min / 1e9)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("what", ["store", "copy", "read", "fill new memory"])
def test_bandwidth(benchmark: BenchmarkFixture, what: str, threads: int) -> None:
    """GB/s; a copy counts what it reads and what it writes. New memory includes the kernel's clearing of its pages."""
    benchmark.group, roof = GROUP, library("roofline")
    share = COUNT // threads
    parts = [(aligned(share), aligned(share if what == "copy" else 8)) for _ in range(threads)]

    def work(part: tuple[np.ndarray, np.ndarray]) -> None:
        to, other = pointer(part[0]), pointer(part[1])
        if what == "store":
            roof.stream_store(to, ctypes.c_int64(share))
        elif what == "copy":
            roof.stream_copy(other, to, ctypes.c_int64(share))
        elif what == "read":
            roof.stream_read(to, ctypes.c_int64(share))
        else:
            np.empty(share).fill(1.0)

    with ThreadPoolExecutor(threads) as executor:
        benchmark.pedantic(lambda: list(executor.map(work, parts)), rounds=ROUNDS, warmup_rounds=1)
    moved = COUNT * 8 * (2 if what == "copy" else 1)
    benchmark.extra_info.update(threads=threads, gigabytes_a_second=moved / benchmark.stats.stats.min / 1e9)

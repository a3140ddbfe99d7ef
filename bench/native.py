"""The yardsticks and the measures of the machine in C++: built for this processor, and called through ctypes.

ctypes lets go of the GIL, so the parts of a pool run side by side on threads.
"""

import ctypes
import functools
import itertools
import os
import platform
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "bench"
PAD = 128  # loans of the largest block; stepping.cc and yardstick.cc read whole blocks
FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi")


@functools.cache
def library(name: str) -> ctypes.CDLL:
    """bench/<name>.cc, compiled for this processor into build/bench."""
    BUILD.mkdir(parents=True, exist_ok=True)
    wide = ["-mprefer-vector-width=512"] if platform.machine() == "x86_64" else []
    built = BUILD / f"{name}.so"
    source = str(ROOT / "bench" / f"{name}.cc")
    compiler = os.environ.get("CXX", "g++")
    subprocess.run([compiler, "-shared", "-fPIC", *FLAGS, *wide, source, "-o", str(built)], check=True)
    loaded = ctypes.CDLL(str(built))
    for function in (
        "yardstick",
        "stepping_full",
        "stepping_floating",
        "stepping_factored",
        "stream_store",
        "stream_copy",
    ):
        if hasattr(loaded, function):
            getattr(loaded, function).restype = None
    for function in ("peak", "stream_read"):
        if hasattr(loaded, function):
            getattr(loaded, function).restype = ctypes.c_double
    if hasattr(loaded, "operations_a_round"):
        loaded.operations_a_round.restype = ctypes.c_int64
    return loaded


def pointer(array: Floats | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)


class Loans(ctypes.Structure):
    """As in stepping.cc."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("balance", "rate", "term", "fee", "margin", "first_reset")),
        ("count", ctypes.c_int64),
    )


class Assumed(ctypes.Structure):
    """As in stepping.cc."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("smm", "mdr", "index")),
        *((name, ctypes.c_double) for name in ("periodic_cap", "life_cap", "reset_every")),
        *((name, ctypes.c_int32) for name in ("months", "lag")),
    )


def on_threads(work: Callable[[slice], Floats], loans: int, threads: int) -> Floats:
    """The sum of work(part) over as many parts of the loans as threads, each of whole blocks."""
    cuts = np.linspace(0, -(-loans // PAD), threads + 1).astype(int) * PAD
    parts = [slice(first, min(last, loans)) for first, last in itertools.pairwise(cuts)]
    if threads == 1:
        return work(parts[0])
    with ThreadPoolExecutor(threads) as executor:
        return np.sum(list(executor.map(work, parts)), axis=0)


def stepped(
    name: str,
    rows: int,
    columns: dict[str, Floats],
    smm: Floats,
    mdr: Floats,
    *,
    lag: int = 0,
    index: Floats | None = None,
    caps: tuple[float, float] = (np.inf, np.inf),
    threads: int = 1,
) -> Floats:
    """Sums (rows, months) by a function of stepping.cc over columns of whole blocks of loans.

    caps: periodic and for life. Resets come every twelve months.
    """
    months = len(smm)
    function = getattr(library("stepping"), name)
    assumed = Assumed(pointer(smm), pointer(mdr), pointer(index), *caps, 12.0, months, lag)

    def work(part: slice) -> Floats:
        sums = np.zeros((rows, months))
        taken = {key: column[part] for key, column in columns.items()}
        order = ("balance", "rate", "term", "fee", "margin", "first_reset")
        loans = Loans(*(pointer(taken.get(key)) for key in order), part.stop - part.start)
        function(ctypes.byref(loans), ctypes.byref(assumed), pointer(sums))
        return sums

    return on_threads(work, len(columns["balance"]), threads)


def level_pay(columns: dict[str, Floats], smm: Floats, mdr: Floats, threads: int = 1) -> Floats:
    """Sums (5, months) by yardstick.cc: interest, scheduled principal, prepayment, default, balance."""
    months, function = len(smm), library("yardstick").yardstick

    def work(part: slice) -> Floats:
        sums = np.zeros((5, months))
        taken = [pointer(columns[name][part]) for name in ("balance", "rate", "term")]
        count = ctypes.c_int64(part.stop - part.start)
        function(*taken, count, pointer(smm), pointer(mdr), ctypes.c_int(months), pointer(sums))
        return sums

    return on_threads(work, len(columns["balance"]), threads)


def aligned(count: int) -> Floats:
    """`count` doubles from a cache line's start, every page of them touched."""
    raw = np.zeros(count * 8 + 64, dtype=np.uint8)
    first = -raw.ctypes.data % 64
    found = raw[first : first + count * 8].view(np.float64)
    found.fill(1.0)
    return found

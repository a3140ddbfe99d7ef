"""Peers of the engine on the same loans: the C++ yardstick, vectorised NumPy and parallel numba.

All five columns of the yardstick (interest, scheduled principal, prepayment, default, balance), summed over a pool of
level-pay loans at a constant prepayment and default rate; the engine gives more than these.
"""

import ctypes
import os
import platform
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numba
import numpy as np
from numpy.typing import NDArray

import engine

Floats = NDArray[np.float64]
MONTHS = 360
PAD = 64
ROOT = Path(__file__).resolve().parent.parent


class Pool(msgspec.Struct, frozen=True):
    """Level-pay loans: balance, annual rate and term, float64, padded to whole blocks; and the tape without padding."""

    balance: Floats
    rate: Floats
    term: Floats
    tape: engine.Tape


def pool_of(loans: int) -> Pool:
    """A pool of loans of 3% to 8% over 180 to 360 months, with a servicing fee of a quarter of a per cent."""
    number = np.arange(-(-loans // PAD) * PAD)
    balance = np.where(number < loans, 1e5 + number % 1000 * 100.0, 0.0)
    rate, term = 0.03 + 1e-5 * (number % 5000), 180.0 + number * 7 % 181
    tape = engine.Tape.from_columns(
        balance=balance[:loans],
        annual_rate=rate[:loans],
        remaining_term=term[:loans].astype(np.int32),
        servicing_fee=np.full(loans, 0.0025),
    )
    return Pool(balance, rate, term, tape)


def build_yardstick() -> ctypes.CDLL:
    """The yardstick, compiled for this processor into build/."""
    library = ROOT / "build" / "yardstick.so"
    library.parent.mkdir(exist_ok=True)
    wide = ["-mprefer-vector-width=512"] if platform.machine() == "x86_64" else []
    flags = ["-O3", "-march=native", *wide, "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]
    source = str(ROOT / "bench" / "yardstick.cc")
    compiler = os.environ.get("CXX", "g++")
    subprocess.run([compiler, "-shared", "-fPIC", *flags, source, "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.yardstick.restype = None
    return loaded


def pointer(array: Floats) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def run_yardstick(library: ctypes.CDLL, pool: Pool, smm: float, mdr: float, threads: int) -> Floats:
    """Sums (5, months) by the yardstick; ctypes lets go of the GIL, so threads run side by side."""
    smms, mdrs = np.full(MONTHS, smm), np.full(MONTHS, mdr)
    cuts = np.linspace(0, len(pool.balance) // PAD, threads + 1).astype(int) * PAD

    def part(k: int) -> Floats:
        sums, lots = np.zeros((5, MONTHS)), slice(cuts[k], cuts[k + 1])
        columns = [pointer(column[lots]) for column in (pool.balance, pool.rate, pool.term)]
        count = ctypes.c_int64(int(cuts[k + 1] - cuts[k]))
        library.yardstick(*columns, count, pointer(smms), pointer(mdrs), ctypes.c_int(MONTHS), pointer(sums))
        return sums

    if threads == 1:
        return part(0)
    with ThreadPoolExecutor(threads) as executor:
        return np.sum(list(executor.map(part, range(threads))), axis=0)


def run_numpy(pool: Pool, smm: float, mdr: float) -> Floats:
    """Sums (5, months) by vectorised NumPy, a month at a time over all loans."""
    rate, sums = pool.rate / 12, np.zeros((5, MONTHS))
    balance, payment = pool.balance.copy(), pool.balance * rate / -np.expm1(-pool.term * np.log1p(rate))
    for t in range(MONTHS):
        performing = balance * (1 - mdr)
        interest = performing * rate
        paid = np.where(t + 1 >= pool.term, performing, payment * (1 - mdr) - interest)
        prepaid = (performing - paid) * smm
        sums[:, t] = interest.sum(), paid.sum(), prepaid.sum(), (balance - performing).sum(), 0
        balance = performing - paid - prepaid
        payment *= (1 - mdr) * (1 - smm)
        sums[4, t] = balance.sum()
    return sums


@numba.njit(parallel=True)
def numba_sums(balances, rates, terms, smm, mdr, months, parts):  # type: ignore[no-untyped-def]
    partial = np.zeros((parts, 5, months))
    loans = len(balances)
    for k in numba.prange(parts):
        sums = partial[k]
        for i in range(loans * k // parts, loans * (k + 1) // parts):
            balance, rate = balances[i], rates[i] / 12
            payment = balance * rate / -np.expm1(-terms[i] * np.log1p(rate))
            for t in range(months):
                performing = balance * (1 - mdr)
                interest = performing * rate
                paid = performing if t + 1 >= terms[i] else payment * (1 - mdr) - interest
                prepaid = (performing - paid) * smm
                sums[0, t] += interest
                sums[1, t] += paid
                sums[2, t] += prepaid
                sums[3, t] += balance - performing
                balance = performing - paid - prepaid
                sums[4, t] += balance
                payment *= (1 - mdr) * (1 - smm)
    return partial.sum(axis=0)


def run_numba(pool: Pool, smm: float, mdr: float) -> Floats:
    """Sums (5, months) by numba, loans in parallel over all its threads."""
    return numba_sums(pool.balance, pool.rate, pool.term, smm, mdr, MONTHS, 4 * numba.get_num_threads())  # type: ignore[no-any-return]

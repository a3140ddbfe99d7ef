"""Large cases, each run as a process of its own: prints seconds and the peak of memory as JSON.

python -m bench.large pool LOANS | scenarios LOANS COUNT | paths LOANS COUNT | stepped LOANS COUNT | tape FILE
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import engine
from bench import native, peers
from bench.peers import MONTHS, Floats, Pool, pool_of
from bench.test_kernel import LAG, SEVERITY, assumptions, request
from bench.timing import shares_of

COUPONS = np.arange(0.03, 0.08, 0.00625)  # lower ends of eight buckets
AGES = np.array([0, 12, 24, 48, 72, 96])  # and of six


def status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1e3


def peak_mb() -> float:
    """The most memory that this process has held; Linux's ru_maxrss starts from what the parent held at the fork."""
    if Path("/proc/self/status").exists():
        return status_mb("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def held_mb() -> float:
    """The memory held now, from which the peak counts anew where the system can do that; else the peak so far."""
    clear = Path("/proc/self/clear_refs")
    if not clear.exists():
        return peak_mb()
    clear.write_text("5")
    return status_mb("VmRSS")


def measured(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    found = call()
    return found, time.perf_counter() - start


def pool(loans: int) -> dict[str, Any]:
    """One scenario of twelve fields, and the most memory it takes beside its tape."""
    tape = pool_of(loans).tape
    before = held_mb()
    flows, seconds = measured(lambda: engine.project(request(tape)))
    assert flows["cashflow"].sum() > 0
    return {"loans": loans, "seconds": seconds, "peak_mb": peak_mb(), "peak_mb_over_tape": peak_mb() - before}


def scenarios(loans: int, count: int) -> dict[str, Any]:
    """Many scenarios of four fields against one, on the same tape."""
    tape, fields = pool_of(loans).tape, ["balance", "interest", "principal", "loss"]
    several = [
        engine.Scenario(name=str(k), assumptions=assumptions(prepayment=engine.Cpr(rate=k / (2 * count))))
        for k in range(count)
    ]
    _, one = min((measured(lambda: engine.project(request(tape, fields=fields))) for _ in range(3)), key=lambda x: x[1])
    flows, all_of_them = measured(lambda: engine.project(request(tape, scenarios=several, fields=fields)))
    last = engine.project(request(tape, scenarios=several[-1:], fields=fields))
    for name in fields:
        np.testing.assert_allclose(flows[name][-1], last[name].reshape(MONTHS), rtol=1e-9, atol=1e-3)
    return {
        "loans": loans, "scenarios": count, "seconds_of_one": one, "seconds": all_of_them,
        "times_one": all_of_them / one, "peak_mb": peak_mb(), **shares_of(flows),
    }  # fmt: skip


def aged_pool(loans: int) -> tuple[Pool, Floats]:
    """The pool with ages from 0 to 119 months, and those of the padded columns."""
    padded = np.arange(-(-loans // peers.PAD) * peers.PAD) * 11 % 120
    return pool_of(loans, age=padded[:loans].astype(np.int32)), padded.astype(float)


def prepayment_of(path: int, coupon: float, age: int) -> list[float]:
    """Monthly rates of one path and bucket: an S-curve of the incentive over a rate that wanders, with a ramp."""
    month = np.arange(1, MONTHS + 1)
    market = 0.055 + 0.015 * np.sin((month + 3 * path) / 50) + 0.0001 * (path - 100)
    incentive = coupon + 0.003 - market
    cpr = (0.04 + 0.26 / (1 + np.exp(-150 * incentive))) * np.minimum((age + month) / 30, 1.0)
    rates: Floats = -np.expm1(np.log1p(-cpr) / 12)
    return [float(rate) for rate in rates]


def default_of(age: int) -> list[float]:
    """Monthly rates of an age bucket: the standard ramp at half speed, from the bucket's age on."""
    months = np.arange(age + 1, age + MONTHS + 1)
    return [float(rate) for rate in 0.5 * engine.Sda().monthly(months)]


def buckets() -> list[tuple[float, float, int, int]]:
    """Coupon from and below, age from and below."""
    coupons = zip(COUPONS, [*COUPONS[1:], 1.0], strict=True)
    ages = list(zip(AGES.tolist(), [*AGES[1:].tolist(), 10_000], strict=True))
    return [(float(low), float(high), young, old) for low, high in coupons for young, old in ages]


def curves_of(path: int, defaults: dict[int, engine.Vector]) -> engine.Assumptions:
    """A rule a bucket; vectors state each month, so defaults run on to maturity."""
    rules = [
        engine.Rule(
            where={
                "annual_rate": engine.Condition(min=low, below=high),
                "age": engine.Condition(min=young, below=old),
            },
            assumptions=assumptions(
                prepayment=engine.Vector(unit="smm", values=prepayment_of(path, low, young)), default=defaults[young]
            ),
        )
        for low, high, young, old in buckets()
    ]
    return assumptions(rules=rules)


def paths(loans: int, count: int) -> dict[str, Any]:
    """Curves by path, coupon and age bucket over every loan, path and month."""
    pool, _ = aged_pool(loans)
    defaults = {age: engine.Vector(unit="mdr", values=default_of(age)) for age in AGES.tolist()}
    several = [engine.Scenario(name=str(k), assumptions=curves_of(k, defaults)) for k in range(count)]
    asked = request(pool.tape, scenarios=several)
    flows, seconds = measured(lambda: engine.project(asked))
    return {
        "loans": loans, "paths": count, "seconds": seconds, "peak_mb": peak_mb(),
        "loan_months_per_second": loans * count * MONTHS / seconds, "balances": float(flows["balance"].sum()),
        **shares_of(flows),
    }  # fmt: skip


def stepped(loans: int, count: int) -> dict[str, Any]:
    """The same stepped loan by loan for each path by the yardstick, bucket by bucket, a path on each of two threads."""
    pool, age = aged_pool(loans)
    parts = []
    for low, high, young, old in buckets():
        rate = pool.columns["rate"]
        inside = np.flatnonzero((rate >= low) & (rate < high) & (age >= young) & (age < old))
        inside = inside[np.argsort(pool.columns["term"][inside], kind="stable")]
        padded = -(-len(inside) // peers.PAD) * peers.PAD
        columns = {name: np.resize(column[inside], padded) for name, column in pool.columns.items()}
        columns["balance"][len(inside) :] = 0.0
        parts.append((low, young, columns))
    mdrs = {young: np.array(default_of(young)) for young in AGES.tolist()}
    smms = {(k, low, young): np.array(prepayment_of(k, low, young)) for k in range(count) for low, young, _ in parts}

    opening = float(pool.columns["balance"].sum())

    def walk_path(k: int) -> float:
        sums = [
            native.stepped("stepping_full", 5, columns, smms[k, low, young], mdrs[young])
            for low, young, columns in parts
        ]
        return float(peers.twelve_fields(np.sum(sums, axis=0), opening, SEVERITY, LAG)["balance"].sum())

    def walk() -> float:
        with ThreadPoolExecutor(2) as executor:
            return sum(executor.map(walk_path, range(count)))

    walk_path(0)
    balances, seconds = measured(walk)
    return {
        "loans": loans, "paths": count, "seconds": seconds, "balances": balances,
        "loan_months_per_second": loans * count * MONTHS / seconds,
    }  # fmt: skip


def tape(file: str) -> dict[str, Any]:
    """A file read, validated and projected, from the first byte to the cashflows."""

    def work() -> engine.Cashflows:
        return engine.project(request(engine.read_tape(file)))

    flows, seconds = measured(work)
    _, reading = measured(lambda: engine.read_tape(file))
    assert flows["cashflow"].sum() > 0
    return {
        "seconds": seconds, "seconds_of_reading_again": reading, "peak_mb": peak_mb(),
        "balances": flows.opening_balance,
    }  # fmt: skip


def main(name: str, *given: str) -> None:
    commands: dict[str, Callable[..., dict[str, Any]]] = {
        "pool": pool, "scenarios": scenarios, "paths": paths, "stepped": stepped, "tape": tape,
    }  # fmt: skip
    print(json.dumps(commands[name](*(int(text) if text.isdigit() else text for text in given))))


if __name__ == "__main__":
    main(*sys.argv[1:])

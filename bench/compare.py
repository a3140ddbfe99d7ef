"""Better, same or worse than the baseline, case by case: instructions counted anew, and times of the last full run.

python -m bench.compare [--save]. Fails if a case executes more instructions than its tolerance allows; times are told
and never fail, since a busy machine moves them. --save makes what is found now the baseline.
"""

import shutil
import sys
from typing import Any

import msgspec

from bench.instructions import Baseline, MissingTool, counted, write
from bench.native import BUILD, ROOT

BASELINE = ROOT / "bench" / "baseline.json"
RESULTS, OLD_RESULTS = BUILD / "results.json", BUILD / "baseline-times.json"
TOLERANCE = {"core": 0.005, "all": 0.03}  # of counts made by the same compiler, Python and NumPy
OTHER_TOOLS = 0.15  # of counts made by others
LEAST_NOISE = 0.05  # of times
FEWEST_ROUNDS = 3  # that tell how far rounds lie apart
UNKNOWN_NOISE = 0.5  # of a case of fewer
UNTOUCHED = ("yardstick_", "numba", "import[numpy]", "empty_handler")  # cases in which nothing of the engine runs


def verdict(old: float, new: float, tolerance: float) -> str:
    """Better, same or worse: whether `new`, of which less is better, is within the tolerance of `old`."""
    if new > old * (1 + tolerance):
        return "worse"
    return "better" if new < old / (1 + tolerance) else "same"


def noise(stats: dict[str, float]) -> float:
    """How far the rounds of a case lie apart: the median over the best, as a share; of a few rounds it is not known."""
    if stats["rounds"] < FEWEST_ROUNDS:
        return UNKNOWN_NOISE
    return stats["median"] / stats["min"] - 1 if stats["min"] > 0 else 0.0


def verdict_of_times(old: dict[str, float], new: dict[str, float], drift: float = 0.0) -> tuple[str, float]:
    """The verdict on two sets of rounds, and the band of noise.

    Both the best and the median have to leave the band, which is as wide as the rounds of either lie apart, and wider
    by the machine's drift.
    """
    band = (1 + max(LEAST_NOISE, noise(old), noise(new))) * (1 + drift) - 1
    verdicts = {verdict(old[name], new[name], band) for name in ("min", "median")}
    return (verdicts.pop() if len(verdicts) == 1 else "same"), band


def drift_of(old: dict[str, dict[str, float]], new: dict[str, dict[str, float]]) -> float:
    """How much the machine changed between two runs: the most by which the best round of a case in UNTOUCHED did."""
    changes = [
        max(old[name]["min"], stats["min"]) / min(old[name]["min"], stats["min"]) - 1
        for name, stats in new.items()
        if name in old and name.partition("::test_")[2].startswith(UNTOUCHED) and stats["rounds"] >= FEWEST_ROUNDS
    ]
    return max(changes, default=0.0)


def compare_counts(old: Baseline, new: Baseline) -> int:
    """Prints a line a case; returns how many are worse."""
    tools = ("compiler", "python", "numpy", "valgrind")
    changed = [f"{name} {getattr(old, name)} -> {getattr(new, name)}" for name in tools
               if getattr(old, name) != getattr(new, name)]  # fmt: skip
    print(f"Instructions by callgrind, x86-64-v3 clone (valgrind has no AVX-512); {new.compiler}")
    if changed:
        print(f"Other tools than the baseline's, so {OTHER_TOOLS:.0%} is allowed: {', '.join(changed)}")
    worse = 0
    for name, count in new.counts.items():
        before = old.counts.get(name)
        if before is None:
            print(f"  {name:<42} new: core {count.core:,}, all {count.all:,}")
            continue
        told = []
        for part, tolerance in TOLERANCE.items():
            was, now = getattr(before, part), getattr(count, part)
            found = verdict(was, now, OTHER_TOOLS if changed else tolerance)
            worse += found == "worse"
            told.append(f"{part} {was / 1e6:,.2f} -> {now / 1e6:,.2f} M ({now / was - 1:+.2%}) {found}")
        print(f"  {name:<42} {';  '.join(told)}")
    for name in old.counts.keys() - new.counts.keys():
        print(f"  {name:<42} is in the baseline and was not counted")
    return worse


def compare_times() -> None:
    """Prints a line for each case whose verdict is not `same`, where both runs are kept and of one machine."""
    if not (RESULTS.exists() and OLD_RESULTS.exists()):
        print(
            "Times: nothing to compare; `make bench` keeps the last run, `make bench-baseline` what it is held against."
        )
        return
    old, new = (msgspec.json.decode(path.read_bytes()) for path in (OLD_RESULTS, RESULTS))
    brands = [run["machine_info"]["cpu"].get("brand_raw") for run in (old, new)]
    if brands[0] != brands[1]:
        print(f"Times: of other machines ({brands[0]}, {brands[1]}), not compared.")
        return
    before, now = ({bench["fullname"]: bench["stats"] for bench in run["benchmarks"]} for run in (old, new))
    drift = drift_of(before, now)
    verdicts: dict[str, list[str]] = {"worse": [], "better": [], "same": []}
    for bench in new["benchmarks"]:
        if (was := before.get(bench["fullname"])) is not None:
            found, band = verdict_of_times(was, bench["stats"], drift)
            change = bench["stats"]["min"] / was["min"] - 1
            verdicts[found].append(f"  {bench['name']:<58} {found}: {change:+.1%}, beyond {band:.0%} of noise")
    print(f"Times of {RESULTS.name} against {OLD_RESULTS.name}: {tally(verdicts)}")
    print(f"  Cases without the engine moved by {drift:.0%} at most; as much is allowed beside the noise of rounds.")
    print("\n".join(verdicts["worse"] + verdicts["better"]))


def tally(verdicts: dict[str, Any]) -> str:
    return ", ".join(f"{len(cases)} {name}" for name, cases in verdicts.items())


def main(arguments: list[str]) -> int:
    try:
        found = counted()
    except MissingTool as error:
        print(error, file=sys.stderr)
        compare_times()
        return 2
    if "--save" in arguments:
        write(BASELINE, found)
        if RESULTS.exists():
            shutil.copy(RESULTS, OLD_RESULTS)
        print(f"Saved {BASELINE.relative_to(ROOT)}" + (" and the times of the last run." if RESULTS.exists() else "."))
        return 0
    worse = compare_counts(msgspec.json.decode(BASELINE.read_bytes(), type=Baseline), found)
    compare_times()
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

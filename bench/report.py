"""build/bench/report.html from the last run of `make bench`: one file that asks nothing of a network.

python -m bench.report [RESULTS]
"""

import subprocess
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import msgspec

from bench.conftest import HIDDEN, limits_of, ratios_of, shown
from bench.native import BUILD, ROOT
from bench.svg import COLOURS, Axis, Chart, axis_of, bars
from bench.targets import LIMITS, TARGETS

RESULTS, REPORT = BUILD / "results.json", BUILD / "report.html"
STYLE = """
.roof{max-width:760px}
body{font:15px/1.5 system-ui,sans-serif;color:#1b1f24;background:#fff;max-width:1120px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem;margin-bottom:.2rem}h2{margin-top:2.4rem;border-bottom:1px solid #d5dae0;padding-bottom:.2rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}
th,td{text-align:right;padding:.28rem .6rem;border-bottom:1px solid #e8ebef;vertical-align:top}
th:first-child,td:first-child{text-align:left}td.text,th.text{text-align:left;color:#4a525c}th{background:#f4f6f8}
.met{color:#1c6b31}.missed{color:#a03616}.note{color:#4a525c}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(460px,1fr));gap:1rem}figure{margin:0}
figcaption{color:#4a525c;font-size:13px}svg{width:100%;height:auto;font:13px system-ui,sans-serif}
svg .grid{stroke:#e3e7ec}svg .mark{stroke:#a03616;stroke-dasharray:5 4;stroke-width:2}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:0}dt{color:#4a525c}dd{margin:0}
"""
UNEXPLAINED = "reached before, so others used the machine in this run, or the code became slower"
Bench = dict[str, Any]
MEMORY = ("read", *LIMITS.values())  # the measures of `bandwidth` that a case is held against


class Run:
    """The cases of a run, and the rates of its yardsticks."""

    def __init__(self, saved: dict[str, Any]) -> None:
        self.machine: dict[str, Any] = saved["machine_info"]
        self.when = str(saved["datetime"])[:16].replace("T", " ")
        self.cases: list[Bench] = saved["benchmarks"]
        self.limits = limits_of(bench["extra_info"] for bench in self.cases)

    def info(self, name: str) -> dict[str, Any]:
        """What the case `name` tells, nothing if it was not run."""
        return next((bench["extra_info"] for bench in self.cases if bench["name"] == f"test_{name}"), {})

    def ratio(self, name: str, against: str) -> float | None:
        info = self.info(name)
        return ratios_of(info, self.limits).get(against) if info else None

    def roof(self, name: str) -> float:
        info = self.info(name)
        return float(info.get("gigaflops", info.get("gigabytes_a_second", 0.0)))

    def groups(self) -> list[str]:
        return list(dict.fromkeys(bench["group"] or "other" for bench in self.cases))


def described(run: Run) -> str:
    """The machine, as a list of names and values."""
    cpu, told = run.machine["cpu"], run.machine
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    rows = {
        "Processor": f"{cpu.get('brand_raw', 'unknown')}, {told.get('processors')} of them visible",
        "Caches of one": ", ".join(
            f"{key.removeprefix('cache ')} {told[key]}" for key in told if key.startswith("cache ")
        ),
        "Memory": told.get("memory", "unknown"),
        "System": f"{told['system']} {told.get('kernel', '')}, Python {told['python_version']}",
        "Compiler of the yardsticks": told.get("compiler", "unknown"),
        "Load when the run ended": ", ".join(f"{value:.2f}" for value in told.get("load", [])) + busy(told),
        "Source": commit.stdout.strip() or "unknown",
    }
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in rows.items()) + "</dl>"


def busy(machine: dict[str, Any]) -> str:
    """A warning where more was under way, in the last five minutes, than a run of the benchmarks brings about."""
    load = machine.get("load") or [0.0, 0.0]
    return ": others used the machine, hold no figure against a goal" if load[1] > machine["processors"] + 1 else ""


def targets(run: Run) -> str:
    rows = []
    for target in TARGETS:
        value = target.measured(run)
        if value is None:
            rows.append(f"<tr><td>{target.name}</td><td>{target.goal}</td><td>not run</td><td></td></tr>")
            continue
        met = value >= target.least if target.least is not None else value <= (target.most or 0.0)
        why = f": {target.limit or UNEXPLAINED}"
        verdict = '<td class="met">reached</td>' if met else f'<td class="missed">missed{why}</td>'
        if target.is_smaller(run):
            verdict = '<td class="note">of a smaller size</td>'
        rows.append(
            f"<tr><td>{target.name}</td><td>{target.goal}</td><td>{shown(value)} {target.unit}</td>{verdict}</tr>"
        )
    heading = "<tr><th>what</th><th>goal</th><th>this run</th><th></th></tr>"
    return f"<table>{heading}{''.join(rows)}</table>"


def ratios(run: Run) -> str:
    """Bars of each case over its first yardstick: first those that have goals, then what features cost."""
    with_goals, features = [], []
    for bench in run.cases:
        for against, ratio in list(ratios_of(bench["extra_info"], run.limits).items())[:1]:
            group = bench["group"] or ""
            chosen = with_goals if group.startswith(("pool level", "floating", "large")) else features
            if not group.startswith(("by scenarios", "loan level", "by level and kind")) and ratio < 20:
                chosen.append((f"{title(bench)}, of {against}", ratio))
    parts = []
    if with_goals:
        parts.append(f'<p class="note">The dashed line is 0.8.</p>{bars(with_goals, mark=0.8)}')
    if features:
        parts.append(f'<p class="note">What features cost, on one thread.</p>{bars(features)}')
    return "".join(parts)


def title(bench: Bench) -> str:
    return str(bench["name"]).removeprefix("test_").replace("_", " ")


def roofline(run: Run) -> str:
    """Operations a second over operations a byte: the roofs are measured, the points are cases with stated formulas."""
    bandwidths = {(kind, count): run.roof(f"bandwidth[{kind}-{count}]") for kind in MEMORY for count in (1, 2)}
    peaks = {count: run.roof(f"peak[{count}]") for count in (1, 2)}
    if not (all(bandwidths.values()) and all(peaks.values())):
        return "<p>The machine was not measured in this run.</p>"
    across, up = (
        Axis("operations a byte of memory", 0.05, 2000),
        Axis("thousand million operations a second", 0.1, 5000),
    )
    chart = Chart(across, up)
    for (kind, count), width in bandwidths.items():
        if kind == "read" or count == 1:  # the points are of one thread
            peak, end = peaks[count], across.high if kind == "read" else peaks[count] / width
            first = max(across.low, up.low / width)
            label = f"{count} thread{'s' if count > 1 else ''}: {peak:.0f} Gflop/s, {width:.0f} GB/s {kind}"
            colour = COLOURS[count - 1] if kind == "read" else COLOURS[2 + MEMORY.index(kind)]
            roof = [(first, first * width), (peak / width, peak), (end, peak)]
            chart.line(roof, colour, label, dashed=kind != "read")
    rows = []
    for bench in run.cases:
        info = bench["extra_info"]
        if "operations" not in info or "loan_months_per_second" not in info:
            continue
        moved = info.get("bytes", 56 / 360)
        rate, intensity = info["operations"] * info["loan_months_per_second"] / 1e9, info["operations"] / moved
        count = min(info["threads"], 2)
        reached = rate / min(peaks[count], intensity * bandwidths[info.get("memory", "read"), count])
        rows.append((title(bench), count, info["operations"], moved, rate, reached))
        if info["threads"] == 1:
            chart.point(intensity, max(rate, 0.1), COLOURS[2], str(len(rows)), above=len(rows) % 2 == 0)
    table = "".join(
        f"<tr><td>{i}. {escape(name)}</td><td>{count}</td><td>{ops:.3g}</td><td>{moved:.3g}</td><td>{rate:.3g}</td>"
        f"<td>{reached:.0%}</td></tr>"
        for i, (name, count, ops, moved, rate, reached) in enumerate(rows, 1)
    )
    heading = "<tr><th>case</th><th>threads</th><th>operations a loan-month</th><th>bytes a loan-month</th>"
    heading += "<th>Gflop/s</th><th>of the roof</th></tr>"
    caption = "Points are cases on one thread, numbered as in the table; operations follow docs/performance.md. "
    caption += "What writes a loan's rows is held against the dashed roof of its memory, all else against reading."
    return (
        f'<figure class="roof">{chart.svg()}<figcaption>{caption}</figcaption></figure><table>{heading}{table}</table>'
    )


def scaling(run: Run) -> str:
    """What a case costs by its loans, months, scenarios and threads."""
    charts = []
    for name, pick, axis, log, caption in SCALES:
        points = sorted((x, y) for x, y in pick(run) if x > 0)
        if len(points) < 2:
            continue
        across, seconds = axis_of(axis, [x for x, _ in points], log), axis_of(name, [y for _, y in points], log)
        chart = Chart(across, seconds)
        chart.line(points, COLOURS[0], caption, dots=True)
        if log:
            first, last = points[0], points[-1]
            slope = [(x, last[1] * x / last[0]) for x in (first[0], last[0])]
            if slope[0][1] > seconds.low:
                chart.line(slope, "#8a939e", "in proportion to the last", dashed=True)
        charts.append(f"<figure>{chart.svg()}</figure>")
    return f'<div class="charts">{"".join(charts)}</div>'


def by(
    prefix: str, x: Callable[[dict[str, Any]], float], threads: int | None = 1
) -> Callable[[Run], list[tuple[float, float]]]:
    """Points (x of the case, its best milliseconds) of the cases whose names begin with the prefix."""
    return lambda run: [
        (x(bench["extra_info"]), 1e3 * bench["stats"]["min"])
        for bench in run.cases
        if bench["name"].startswith(f"test_{prefix}") and threads in (None, bench["extra_info"].get("threads"))
    ]


def loans_of(run: Run) -> list[tuple[float, float]]:
    sizes = by("size", lambda info: info["loans"])(run) + by("engine_full[1", lambda info: info["loans"])(run)
    return sizes


SCALES: list[tuple[str, Callable[[Run], list[tuple[float, float]]], str, bool, str]] = [
    ("milliseconds", loans_of, "loans", True, "twelve fields, one thread"),
    ("milliseconds", by("periods", lambda info: info["months"]), "months", False, "twelve fields, one thread"),
    (
        "milliseconds",
        by("scenarios", lambda info: info.get("scenarios", 0)),
        "scenarios",
        True,
        "four fields, one thread",
    ),
    ("milliseconds", by("engine_full", lambda info: info["threads"], None), "threads", False, "twelve fields"),
]


def stepped(run: Run) -> str:
    """The cases whose loans did not all factor into a contract summed once and behaviour by scenario, and how many."""
    rows = [
        f"<tr><td>{escape(title(bench))}</td><td>{info.get('stepped', 0):.0%}</td>"
        f"<td>{info.get('gone_over_by_scenario', 0):.0%}</td></tr>"
        for bench in run.cases
        if "stepped" in (info := bench["extra_info"]) or "gone_over_by_scenario" in info
    ]
    if not rows:
        return "<p>The contracts of all loans were summed backward from their last payment, once for all scenarios.</p>"
    heading = "<tr><th>share of loans</th><th>stepped by month, once</th><th>gone over by each scenario</th></tr>"
    note = "In all other cases every contract was summed backward from its last payment, once for all scenarios."
    return f'<p class="note">{note}</p><table>{heading}{"".join(rows)}</table>'


def tables(run: Run) -> str:
    parts = []
    for group in run.groups():
        rows = []
        for bench in run.cases:
            if (bench["group"] or "other") != group:
                continue
            info, stats = bench["extra_info"], bench["stats"]
            rate = info.get("loan_months_per_second")
            against = "<br>".join(
                f"{ratio:.2f} of {escape(name)}" for name, ratio in ratios_of(info, run.limits).items()
            )
            more = ", ".join(
                f"{key.replace('_', ' ')} {shown(value)}" for key, value in info.items() if key not in HIDDEN
            )
            rows.append(
                f"<tr><td>{escape(title(bench))}</td><td>{milliseconds(stats['min'])}</td>"
                f"<td>{milliseconds(stats['median'])}</td><td>{stats['rounds']}</td>"
                f"<td>{'' if rate is None else f'{rate / 1e6:,.1f}'}</td><td>{against}</td>"
                f'<td class="text">{escape(more)}</td></tr>'
            )
        heading = "<tr><th>case</th><th>best ms</th><th>median ms</th><th>rounds</th><th>M loan-months/s</th>"
        heading += '<th>ratio</th><th class="text">more</th></tr>'
        parts.append(f"<h3>{escape(group)}</h3><table>{heading}{''.join(rows)}</table>")
    return "".join(parts)


def milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.3g}" if seconds < 1 else f"{1e3 * seconds:,.0f}"


def page(run: Run) -> str:
    sections = [
        ("Goals", targets(run)),
        ("Ratios to the yardsticks", ratios(run)),
        ("Roofline", roofline(run)),
        ("Scaling", scaling(run)),
        ("What was stepped", stepped(run)),
        ("All cases", tables(run)),
    ]
    body = "".join(f"<h2>{name}</h2>{text}" for name, text in sections)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Benchmarks of the cashflow engine</title>'
        f"<style>{STYLE}</style><h1>Benchmarks of the cashflow engine</h1>"
        f'<p class="note">Run of {run.when} UTC. Best rounds; a ratio is a rate over that of the yardstick on as many '
        f"threads in the same run. docs/performance.md says what each case and yardstick does.</p>"
        f"{described(run)}{body}</html>\n"
    )


def main(arguments: list[str]) -> int:
    results = Path(arguments[0]) if arguments else RESULTS
    if not results.exists():
        print(f"{results} is missing; run `make bench` first", file=sys.stderr)
        return 1
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(page(Run(msgspec.json.decode(results.read_bytes()))))
    print(REPORT.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

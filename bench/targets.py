"""What is to be reached, and where a run tells how far it got."""

from collections.abc import Callable
from typing import Any

import msgspec

Measure = Callable[[Any], float | None]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A goal in words, and the value of a run that is to be at least or at most so much; limit: why it is missed."""

    name: str
    goal: str
    measured: Measure
    least: float | None = None
    most: float | None = None
    unit: str = ""
    limit: str = ""
    case: str = ""
    size: tuple[int, int] = (0, 1)

    def is_smaller(self, run: Any) -> bool:
        """Whether the case ran on fewer loans, or fewer paths, than the goal speaks of."""
        info = run.info(self.case)
        return bool(info) and (
            info.get("loans", self.size[0]) < self.size[0] or info.get("paths", self.size[1]) < self.size[1]
        )


def of(name: str, key: str) -> Measure:
    return lambda run: run.info(name).get(key)


def ratio(name: str, against: str) -> Measure:
    return lambda run: run.ratio(name, against)


def over(name: str, key: str, other: str, other_key: str) -> Measure:
    """The value of one case over that of another."""

    def measured(run: Any) -> float | None:
        below = run.info(other).get(other_key)
        value = run.info(name).get(key)
        return None if value is None or not below else value / below

    return measured


def either(*goals: tuple[Measure, float]) -> Measure:
    """The largest share that a value reaches of its goal."""

    def measured(run: Any) -> float | None:
        reached = [value / goal for measure, goal in goals if (value := measure(run)) is not None]
        return max(reached, default=None)

    return measured


def shared(name: str, against: str, goal: str, least: float, what: str) -> list[Target]:
    return [
        Target(name=f"{what}, {count} thread(s)", goal=goal, measured=ratio(f"{name}[{count}]", against), least=least)
        for count in (1, 2)
    ]


RATE, WRITTEN = "loan_months_per_second", "gigabytes_a_second"
CSV, PARQUET = "tape_file_to_cashflows[csv]", "tape_file_to_cashflows[parquet]"
THOUSAND, PATHS = "a_thousand_scenarios_on_a_million_loans", "curves_by_path_coupon_and_age"
LIMITS = {"memory in use": "store", "new memory": "fill new memory"}  # what a loan's rows are written to, and its limit
REST, RUN = "rest_projection_of_one_loan", "run_of_a_million_loans_beside_the_bare_kernel"
AROUND = "threads share stores and arithmetic, not the millisecond of checks, sorting and starting them around these"
SUMS = "the further scenarios cost months x fields of each run; the less one scenario takes, the more they are of it"
FACTORED = "fixed rates factor, so their months are not stepped; months and resets of floating loans are"
TARGETS: list[Target] = [
    *shared("engine_full", "full", "0.8 of the full yardstick", 0.8, "Pool level, all assumptions on"),
    *shared("engine_on_the_work_of_the_yardstick", "level pay", "0.8 of `level pay`", 0.8, "Plain level pay"),
    *shared("engine_floating", "level pay", "0.5 of plain `level pay`", 0.5, "Floating loans on a rate path"),
    *(
        Target(
            name=f"The same beside the engine's own fixed-rate loans, {count} thread(s)", goal="0.5 of engine_full",
            measured=over(f"engine_floating[{count}]", RATE, f"engine_full[{count}]", RATE), least=0.5, limit=FACTORED,
        )
        for count in (1, 2)
    ),
    *(
        Target(
            name=f"Loan level into {into}, eight fields, {count} thread(s)", goal=f"0.8 of `{limit}`", least=0.8,
            measured=over(f"loan_level[{into}-8-{count}]", WRITTEN, f"bandwidth[{limit}-{count}]", WRITTEN),
            limit=AROUND,
        )
        for into, limit in LIMITS.items()
        for count in (1, 2)
    ),
    *(
        Target(
            name=f"One field of eight at loan level into {into}", goal="2 times as fast as eight", least=2.0,
            measured=over(f"loan_level[{into}-1-1]", RATE, f"loan_level[{into}-8-1]", RATE),
        )
        for into in LIMITS
    ),
    Target(
        name="A thousand scenarios on a million loans", goal="3 times the time of one", most=3.0,
        measured=of(THOUSAND, "times_one"), limit=SUMS, case=THOUSAND, size=(1_000_000, 1),
    ),
    Target(
        name="Curves by path, coupon and age", goal="15 s for 4 million loans x 200 paths", most=15.0, unit="s",
        measured=of(PATHS, "seconds"), case=PATHS, size=(4_000_000, 200),
    ),
    Target(
        name="The same, peak of memory", goal="4 GB", most=4096.0, unit="MB",
        measured=of(PATHS, "peak_mb"), case=PATHS, size=(4_000_000, 200),
    ),
    Target(
        name="A million-row CSV to cashflows", goal="3 s", most=3.0, unit="s",
        measured=of(CSV, "seconds"), case=CSV, size=(1_000_000, 1),
    ),
    Target(
        name="A million-row Parquet to cashflows", goal="1 s", most=1.0, unit="s",
        measured=of(PARQUET, "seconds"), case=PARQUET, size=(1_000_000, 1),
    ),
    Target(name="import engine", goal="150 ms", most=150.0, unit="ms", measured=of("import[engine]", "import_ms")),
    Target(
        name="The service is ready", goal="3 s", most=3.0, unit="s",
        measured=of("service_becomes_ready", "seconds_to_ready"),
    ),
    Target(
        name="REST projection of one loan", goal="2,000 a second, or 0.6 of the empty handler", least=1.0,
        unit="of the nearer goal", limit="its JSON alone takes longer than the empty handler leaves",
        measured=either((of(REST, "requests_a_second"), 2000), (of(REST, "of_the_empty_handler"), 0.6)),
    ),
    Target(
        name="A run of a million loans x 20 scenarios through a worker", goal="0.7 of the bare kernel", least=0.7,
        measured=of(RUN, "share_of_the_bare_kernel"), limit="two transactions, and the tape read from its object",
        case=RUN, size=(1_000_000, 1),
    ),
    *(
        Target(
            name=f"A hundred {what}", goal=f"the rate of {one} halved at most", least=0.5,
            measured=over(f"payments[a hundred {what}]", RATE, f"payments[{one}]", RATE),
            limit="loans of a run have few calendars in common, so their vectors gather",
        )
        for what, one in (
            ("schedules", "one schedule"), ("sets of dates", "one set of dates"),
            ("sets of mixed frequencies", "one set of each frequency"),
        )
    ),
]  # fmt: skip

"""`cashflow profile`: figures, strata, columns, and what became of the file's rows, as tables and as a picture."""

import sys
from pathlib import Path
from typing import Any

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from api.pictures import TITLES, profile_picture
from api.shell_inputs import mapping, rows_of_file
from api.shell_report import check_plot_path
from engine.errors import InvalidInput, TapeFileError
from engine.layout_report import ReadReport
from engine.layouts import LAYOUTS
from engine.profile import NumberProfile, Profile, profile
from engine.strata import Stratification
from engine.tape_files import read_tape

MOST_ROWS = 12
MOST_COLUMNS = 16

# What says how a tape file is read, for every command that reads one.
TAPE_OPTIONS = (
    click.option("--layout", type=click.Choice(list(LAYOUTS)), help="Layout of the file.  [default: as it shows]"),
    click.option("--period", help="Reporting month of a file of a layout, YYYY-MM.  [default: its latest]"),
    click.option(
        "--on-error", type=click.Choice(["refuse", "skip"]), default="refuse", show_default=True,
        help="What faulty rows of a file of a layout do: refuse it, or be left out and told.",
    ),
    click.option(
        "--origination", type=click.Path(exists=True, dir_okay=False), help="Freddie Mac origination file of the loans."
    ),
    click.option(
        "--floating", is_flag=True,
        help="Read the terms of floating rates of a file of a layout; `project` then needs --index for each index.",
    ),
    click.option(
        "--map", "columns", type=mapping, multiple=True, metavar="FILE_COL=OUR_COL",
        help="Which column of the file is which of ours.",
    ),
)  # fmt: skip


def tape_options(command: Any) -> Any:
    """The command with the options that say how a tape file is read."""
    for option in reversed(TAPE_OPTIONS):
        command = option(command)
    return command


def reading(options: dict[str, Any]) -> dict[str, Any]:
    """The options of read_tape and iter_tape out of those of a command. Raises BadParameter."""
    named = [theirs for theirs, _ in options["columns"]]
    if again := [theirs for theirs in named if named.count(theirs) > 1]:
        raise click.BadParameter(f"'{again[0]}' is mapped {len(again)} times; expected it once", param_hint="--map")
    given = {name: options[name] for name in ("layout", "period", "on_error", "origination", "floating")}
    return given | {"mapping": dict(options["columns"])}


@click.command("profile")
@click.argument("tape", type=click.Path(exists=True, dir_okay=False))
@tape_options
@click.option("--json", "as_json", is_flag=True, help="Print the profile as JSON.")
@click.option("--plot", type=click.Path(dir_okay=False), help="File for a picture: .png, .svg or .pdf.")
def profile_command(tape: str, as_json: bool, plot: str | None, **options: Any) -> None:
    """Profile TAPE: counts, balance, WAC, WAM, WALA, strata, ranges, missing values and outliers."""
    check_plot_path(plot)
    if plot is not None and Path(plot).resolve() == Path(tape).resolve():
        raise TapeFileError(f"--plot is {plot}, which is the tape; expected another file")
    try:
        found = profile(read_tape(tape, **reading(options)))
    except InvalidInput as error:
        raise TapeFileError(rows_of_file(error, 0)) from error
    # Where the output is no terminal rich takes 80 columns, in which the tables do not fit.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        print_profile(console, Path(tape).name, found)
    if plot is not None:
        Path(plot).write_bytes(profile_picture(found, Path(tape).name, Path(plot).suffix.lstrip(".").casefold()))
        if not as_json:
            console.print(f"  The picture is in [bold]{plot}[/]", highlight=False)


def print_warnings(console: Console, report: ReadReport | None) -> None:
    """What a projection of a file of a layout did not take into account."""
    if report is None:
        return
    for text, count in report.notices.items():
        console.print(f"  [bold red]![/] {count:,} {text}", highlight=False, soft_wrap=True)
    print_rows(console, report)


def print_profile(console: Console, title: str, profile: Profile) -> None:
    """The profile as tables."""
    console.print(f"\n  [bold]{title}[/]", highlight=False)
    console.print(figures(profile))
    for warning in profile.warnings:
        console.print(f"  [bold red]![/] {warning}", highlight=False, soft_wrap=True)
    for strata in profile.strata:
        console.print(strata_table(strata))
    console.print(number_table(profile.numbers))
    if profile.texts:
        console.print(text_table(profile))
    if profile.report is not None:
        print_rows(console, profile.report)


def figures(profile: Profile) -> Table:
    """The figures of the whole tape."""
    grid = Table.grid(padding=(0, 3))
    wala = "none" if profile.wala is None else f"{profile.wala:.1f} months"
    grid.add_row("  Loans", f"[bold]{profile.loans:,}[/]", "Balance", f"[bold]{profile.balance:,.2f}[/]",
                 "Average", f"[bold]{profile.average_balance:,.2f}[/]")  # fmt: skip
    grid.add_row("  WAC", f"[bold]{profile.wac:.4%}[/]", "WAM", f"[bold]{profile.wam:.1f} months[/]",
                 "WALA", f"[bold]{wala}[/]")  # fmt: skip
    return grid


def strata_table(stratification: Stratification) -> Table:
    """The strata of one column."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    table.add_column(TITLES.get(stratification.by, stratification.by).lower(), no_wrap=True, min_width=24)
    for heading in ("loans", "balance", "share", "wac", "wam"):
        table.add_column(heading, justify="right", no_wrap=True)
    for stratum in stratification.strata[:MOST_ROWS]:
        table.add_row(stratum.label, f"{stratum.loans:,}", f"{stratum.balance:,.2f}", f"{stratum.share:.1%}",
                      f"{stratum.wac:.3%}", f"{stratum.wam:.1f}")  # fmt: skip
    if len(stratification.strata) > MOST_ROWS:
        table.add_row(f"and {len(stratification.strata) - MOST_ROWS} more", style="dim")
    return table


def number_table(numbers: list[NumberProfile]) -> Table:
    """The ranges of the columns of numbers."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("column", no_wrap=True)
    for heading in ("missing", "minimum", "5%", "median", "mean", "95%", "maximum", "outliers"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number in numbers:
        cuts = number.percentiles
        values = (number.minimum, cuts["p5"], cuts["p50"], number.mean, cuts["p95"], number.maximum)
        shown = [written(value, number.unit) for value in values]
        table.add_row(number.name, blank(number.missing), *shown, blank(number.outliers))
    return table


def written(value: float, unit: str) -> str:
    """A number in its unit."""
    if unit == "rate":
        return f"{value:.3%}"
    return f"{value:,.2f}" if unit == "currency" else f"{value:,.6g}"


def blank(count: int) -> str:
    return f"{count:,}" if count else "-"


def text_table(profile: Profile) -> Table:
    """The values of the columns of texts."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("column", no_wrap=True)
    table.add_column("missing", justify="right")
    table.add_column("values", justify="right")
    table.add_column("largest by balance", overflow="ellipsis", no_wrap=True, max_width=72)
    for text in profile.texts[:MOST_COLUMNS]:
        largest = ", ".join(f"{value.value[:24]} {value.share:.1%}" for value in text.values[:4])
        table.add_row(text.name, blank(text.missing), f"{text.distinct:,}", largest)
    if len(profile.texts) > MOST_COLUMNS:
        table.add_row(f"and {len(profile.texts) - MOST_COLUMNS} more", style="dim")
    return table


def print_rows(console: Console, report: ReadReport) -> None:
    """What became of the file's rows."""
    left = ", ".join(f"{count:,} {status}" for status, count in report.left_pool.items())
    parts = [f"{report.rows:,} rows in the layout {report.layout}", f"{report.loans:,} loans"]
    parts += [f"as of {report.period}"] if report.period else []
    parts += [f"{report.other_periods:,} rows of other months"] if report.other_periods else []
    parts += [f"left the pool: {left}"] if left else []
    parts += [f"{report.skipped:,} faulty rows left out"] if report.skipped else []
    console.print("  " + "; ".join(parts), highlight=False, soft_wrap=True)
    for problem in report.problems:
        console.print(f"    {problem.line()}", highlight=False, markup=False, soft_wrap=True)

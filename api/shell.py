"""The `cashflow` command: project a tape at the shell, serve the API, issue tokens."""

import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
from rich import box
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from api.auth import issue_token
from api.exposition import prepare
from api.logging import configure
from api.serving import serve_app
from api.settings import Role, Settings, SettingsError
from api.shell_backup import backup
from api.shell_inputs import assumptions_from, described, index_rate, percent, rows_of_file, speed
from api.shell_profile import print_warnings, profile_command, reading, tape_options
from api.shell_report import REPORT_FIELDS, Effort, check_plot_path, draw, file_columns, pool_columns, print_report
from api.shell_service import migrate, scheduler, worker
from api.shell_welcome import welcome
from api.tokens import ROLES
from engine.assumptions import Assumptions
from engine.cashflows import Cashflows
from engine.errors import EngineError, InvalidInput
from engine.fields import DEFAULT_FIELDS, FIELDS
from engine.layout_options import LayoutTape
from engine.layout_report import ReadReport
from engine.projection import project, project_batches
from engine.request import ProjectionRequest
from engine.summary import Summary, summarize
from engine.table_files import TABLE_ENDINGS, write_table
from engine.tape import Tape
from engine.tape_files import format_of, iter_tape, read_tape

DISTRIBUTION = "credit-cashflow-engine"
MAX_TOKEN_HOURS = 876_000


class Refused(click.ClickException):
    """Input that is refused: the message goes to stderr, the exit code is 2."""

    exit_code = 2


class Shell(click.Group):
    """The commands, with every refusal of the engine or the settings told in words."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (EngineError, SettingsError) as error:
            raise Refused(str(error)) from error
        except OSError as error:
            raise Refused(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from error


@click.group(cls=Shell, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(DISTRIBUTION), prog_name="cashflow")
def main() -> None:
    """Projects loan tapes month by month, and serves projections over REST and GraphQL."""


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """What `project` is asked for, beside the assumptions."""

    level: str
    fields: list[str]
    periods: int | None
    conventions: str
    cutoff_date: date | None
    threads: int | None
    reading: dict[str, Any]


class Counter:
    """Loans and loan-months that passed on their way to the projection."""

    def __init__(self, periods: int | None) -> None:
        self.periods = periods
        self.loans = 0
        self.loan_months = 0
        self.batch_start = 0
        self.report: ReadReport | None = None

    def watch(self, tapes: Iterable[Tape]) -> Iterator[Tape]:
        for tape in tapes:
            self.batch_start = self.loans
            self.loans += len(tape)
            if isinstance(tape, LayoutTape) and tape.report is not None:
                self.report = tape.report if self.report is None else self.report.plus(tape.report)
            terms = tape.terms()
            self.loan_months += int(np.minimum(terms, self.periods or terms).sum())
            yield tape


@main.command("project")
@click.argument("tape", type=click.Path(exists=True, dir_okay=False))
@click.option("--cpr", type=percent, help="Prepayments a year, such as 6%.")
@click.option("--smm", type=percent, help="Prepayments a month.")
@click.option("--psa", type=speed, help="Prepayments in percent of the PSA ramp, such as 150.")
@click.option("--abs", type=percent, help="Absolute prepayment speed a month, such as 1.5%.")
@click.option("--cdr", type=percent, help="Defaults a year.")
@click.option("--mdr", type=percent, help="Defaults a month.")
@click.option("--sda", type=speed, help="Defaults in percent of the SDA curve, such as 100.")
@click.option("--severity", type=percent, default=0.0, help="Share of a defaulted balance that is lost.  [default: 0%]")
@click.option("--lag", type=int, default=0, show_default=True, help="Months from default to recovery.")
@click.option(
    "--advancing",
    type=click.Choice(["none", "interest", "principal_and_interest"]),
    default="none",
    show_default=True,
    help="What the servicer advances on defaulted loans.",
)
@click.option(
    "--level", type=click.Choice(["pool", "group"]), default="pool", show_default=True, help="Level of the file's rows."
)
@click.option("--fields", help="Fields of the file, separated by commas (see `cashflow fields`).")
@click.option("--periods", type=int, help="Months to project.  [default: to the last flow]")
@click.option(
    "--index", type=index_rate, multiple=True, metavar="NAME=RATE",
    help="Level of an index that floating loans name, such as SOFR=4.3%.",
)  # fmt: skip
@click.option("--conventions", default="sifma", show_default=True, help="Preset of conventions.")
@click.option(
    "--cutoff-date", type=click.DateTime(["%Y-%m-%d"]), help="Where month 1 begins, such as 2025-12-31; dates need it."
)
@click.option("--threads", type=click.IntRange(1), help="Threads.  [default: one a processor]")
@tape_options
@click.option("--out", type=click.Path(dir_okay=False), help="File for the columns: .csv, .parquet, .arrow or .json.")
@click.option("--plot", type=click.Path(dir_okay=False), help="File for a picture: .png, .svg or .pdf.")
def project_command(tape: str, out: str | None, plot: str | None, fields: str | None, **options: Any) -> None:
    """Project TAPE, a CSV, Parquet or Arrow file, and sum it up by year."""
    assumptions = assumptions_from(options)
    output = Output(
        level=options["level"],
        fields=[name.strip() for name in fields.split(",")] if fields is not None else list(DEFAULT_FIELDS),
        periods=options["periods"],
        conventions=options["conventions"],
        cutoff_date=options["cutoff_date"] and options["cutoff_date"].date(),
        threads=options["threads"],
        reading=reading(options),
    )
    check_targets(tape, out, plot)
    counter = Counter(output.periods)
    start = time.perf_counter()
    cashflows = run(tape, assumptions, output, counter)
    effort = Effort(counter.loans, counter.loan_months, time.perf_counter() - start)
    summary = summarize(cashflows)
    if not isinstance(summary, Summary):
        raise AssertionError("one set of assumptions has one summary")
    # Where the output is no terminal rich takes 80 columns, in which the table does not fit.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    title = f"{Path(tape).name}: {described(options)}"
    print_report(console, title, cashflows, summary, effort)
    print_warnings(console, counter.report)
    if out is not None:
        write_table(out, file_columns(cashflows, output.fields))
        console.print(f"  Columns are in [bold]{out}[/]", highlight=False)
    if plot is not None:
        draw(plot, title, pool_columns(cashflows), summary)
        console.print(f"  The picture is in [bold]{plot}[/]", highlight=False)


def check_targets(tape: str, out: str | None, plot: str | None) -> None:
    """Refuses files that could not be written or would overwrite one another, before the work is done."""
    if out is not None:
        format_of(out, TABLE_ENDINGS)
    check_plot_path(plot)
    for path in (out, plot):
        if path is not None and not Path(path).resolve().parent.is_dir():
            raise Refused(f"{path}: its folder does not exist")
    for option, path in (("--out", out), ("--plot", plot)):
        if path is not None and same_file(path, tape):
            raise Refused(f"{option} is {path}, which is the tape; expected another file")
    if out is not None and plot is not None and same_file(out, plot):
        raise Refused(f"--out and --plot are both {out}; expected two files")


def same_file(a: str, b: str) -> bool:
    """Whether two paths lead to one file, by links too; neither has to exist."""
    if os.path.exists(a) and os.path.exists(b):
        return os.path.samefile(a, b)
    return Path(a).resolve() == Path(b).resolve()


def run(tape: str, assumptions: Assumptions, output: Output, counter: Counter) -> Cashflows:
    """The cashflows, with the progress on stderr where that is a terminal; a pool is streamed from its file."""
    fields = list(dict.fromkeys([*output.fields, *REPORT_FIELDS]))
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} loans projected"), TimeElapsedColumn())
    terminal = Console(stderr=True)
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as bar:
        task = bar.add_task("loans", total=None)

        def progress(done: int) -> None:
            bar.update(task, completed=done)

        try:
            if output.level == "pool":
                batches = counter.watch(iter_tape(tape, **output.reading))
                return project_batches(
                    batches,
                    assumptions=assumptions,
                    conventions=output.conventions,
                    fields=fields,
                    periods=output.periods,
                    cutoff_date=output.cutoff_date,
                    threads=output.threads,
                    progress=progress,
                )
            (whole,) = counter.watch([read_tape(tape, **output.reading)])
            request = ProjectionRequest(
                tape=whole,
                assumptions=assumptions,
                conventions=output.conventions,
                fields=fields,
                periods=output.periods,
                cutoff_date=output.cutoff_date,
                level="group",
            )
            return project(request, output.threads, progress)
        except InvalidInput as error:
            raise Refused(rows_of_file(error, counter.batch_start)) from error


@main.command()
@click.option("--host", help="Address to listen on.  [default: HOST, or 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: PORT, or 8000]")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: WEB_CONCURRENCY, or 1]")
def serve(host: str | None, port: int | None, workers: int | None) -> None:
    """Serve the API until Ctrl-C."""
    settings = Settings.from_env()
    host, port, workers = host or settings.host, port or settings.port, workers or settings.web_concurrency
    check_free(host, port)
    configure(settings)
    if workers > 1 or settings.prometheus_multiproc_dir:
        folder = settings.prometheus_multiproc_dir or Path(settings.state_dir) / f"metrics-{port}"
        prepare(Path(folder).resolve())
    if settings.env == "development" and not settings.jwt_jwks:
        click.echo(welcome(settings, host, port))
    serve_app(settings, host, port, workers)


def check_free(host: str, port: int) -> None:
    """Raises Refused if nothing can listen on the address, before the server starts and fails in its own words."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        message = f"cannot listen on {host}:{port} ({error.strerror}); choose another with --host and --port"
        raise Refused(message) from error


@main.command()
@click.option("--subject", default="dev", show_default=True, help="Whom the token names.")
@click.option("--hours", type=float, default=24.0, show_default=True, help="Its lifetime.")
@click.option("--role", type=click.Choice(ROLES), default="analyst", show_default=True, help="What its bearer may do.")
def token(subject: str, hours: float, role: Role) -> None:
    """Print a token for development (it is signed with JWT_SECRET)."""
    if not subject.strip():
        raise click.BadParameter("it is empty; expected whom the token names", param_hint="--subject")
    # Less than a second would round to a token that is expired when printed; NaN compares false.
    if not 1 / 3600 <= hours <= MAX_TOKEN_HOURS:
        message = f"{hours:g} is no lifetime; expected hours from a second to {MAX_TOKEN_HOURS:,} (a hundred years)"
        raise click.BadParameter(message, param_hint="--hours")
    settings = Settings.from_env()
    if settings.env == "production":
        raise Refused("ENV is production, where tokens come from your identity provider; this is for development")
    if settings.jwt_jwks:
        raise Refused("JWT_JWKS is set, so tokens come from the issuer of that key set; this signs with JWT_SECRET")
    click.echo(issue_token(settings, subject, timedelta(hours=hours), role))


for part_command in (profile_command, migrate, worker, scheduler, backup):
    main.add_command(part_command)


@main.command("fields")
def list_fields() -> None:
    """List the output fields."""
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("field", "kind", "unit", "meaning"):
        table.add_column(heading, no_wrap=heading != "meaning")
    for field in FIELDS:
        table.add_row(field.name, field.kind, field.unit, field.doc)
    Console().print(table)


if __name__ == "__main__":
    main()

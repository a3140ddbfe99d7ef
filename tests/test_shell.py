"""The `cashflow` command: what is typed, what is written, and what is said of bad input."""

import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from pyarrow import csv, feather, parquet

import engine
from api.auth import verify
from api.settings import Settings
from api.shell import main
from api.shell_inputs import assumptions_from, described
from engine.tape_files import read_tape

COMMAND = Path(sys.executable).with_name("cashflow")
SAMPLE = Path(__file__).resolve().parent.parent / "samples" / "loans.csv"
TAPE = "upb,rate,wam,wala,product\n100000,0.06,360,0,a\n50000,0.08,120,12,b\n"
NONE: dict[str, Any] = dict.fromkeys(("cpr", "smm", "psa", "abs", "cdr", "mdr", "sda")) | {
    "severity": 0.0,
    "lag": 0,
    "advancing": "none",
}
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    path = tmp_path / "tape.csv"
    path.write_text(TAPE)
    return path


def cashflow(*arguments: object, **options: Any) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], **options)


def done(*arguments: object) -> str:
    result = cashflow(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: object) -> str:
    """What is said on stderr; nothing is on stdout."""
    result = cashflow(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.split())


def written(path: Path) -> pa.Table:
    match path.suffix:
        case ".csv":
            return csv.read_csv(path)
        case ".parquet":
            return parquet.read_table(path)
        case ".arrow":
            return feather.read_table(path)
    return pa.table(msgspec.json.decode(path.read_bytes())["columns"])


@pytest.mark.parametrize("ending", ["csv", "parquet", "arrow", "json"])
def test_file_holds_what_the_engine_projects(ending: str, tape: Path, tmp_path: Path) -> None:
    out = tmp_path / f"flows.{ending}"
    options = ("--cpr", "6%", "--cdr", "2%", "--severity", "40%", "--lag", 12, "--advancing", "interest")
    done("project", tape, *options, "--fields", "interest,expected_interest,loss", "--out", out)
    expected = engine.project(
        engine.ProjectionRequest(
            tape=read_tape(tape),
            assumptions=engine.Assumptions(
                prepayment=engine.Cpr(rate=0.06),
                default=engine.Cdr(rate=0.02),
                severity=0.4,
                recovery_lag=12,
                advancing="interest",
            ),
            fields=["interest", "expected_interest", "loss"],
        )
    )
    table = written(out)
    assert table.column_names == ["period", "interest", "expected_interest", "loss"]
    assert table["period"].to_pylist() == list(range(1, expected.periods + 1))
    for name in expected.fields:
        np.testing.assert_allclose(table[name].to_numpy(), expected[name], rtol=1e-12)


def test_file_by_group_has_a_row_for_each_group_and_period(tape: Path, tmp_path: Path) -> None:
    done("project", tape, "--level", "group", "--periods", 3, "--fields", "interest", "--out", tmp_path / "flows.csv")
    table = written(tmp_path / "flows.csv")
    assert table["group"].to_pylist() == ["a"] * 3 + ["b"] * 3
    assert table["period"].to_pylist() == [1, 2, 3, 1, 2, 3]
    # First month's interest: 100,000 at 0.06 / 12 and 50,000 at 0.08 / 12.
    assert table["interest"][0].as_py() == pytest.approx(500)
    assert table["interest"][3].as_py() == pytest.approx(50_000 * 0.08 / 12)


def test_pool_and_group_levels_print_the_same_table(tape: Path) -> None:
    pool, group = (done("project", tape, "--cpr", "6%", "--level", level) for level in ("pool", "group"))
    assert pool.split("Time")[0].split() == group.split("Time")[0].split()


def test_summary_names_the_totals_and_the_life(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("balance,rate,wam\n1200,0.12,12\n")
    shown = done("project", tmp_path / "one.csv", "--fields", "interest")
    # Level payment 1200 x 0.01 / (1 - 1.01^-12) = 106.6185; twelve of them are 1279.42, of which 79.42 is interest.
    assert re.search(r"all +79\.42 +1,200\.00 .* 1,279\.42", shown)
    assert "1,200.00" in shown
    assert re.search(r"Final month +12", shown)
    # Principal of month k is 94.6185 x 1.01^(k-1), paid after k/12 years: 0.5636 years on average.
    life = sum(k / 12 * 1.01 ** (k - 1) for k in range(1, 13)) / sum(1.01 ** (k - 1) for k in range(1, 13))
    assert re.search(rf"WAL +{life:.2f} years", shown)


def test_threads_do_not_change_the_file(tmp_path: Path) -> None:
    for threads in (1, 2):
        done("project", SAMPLE, "--psa", 150, "--threads", threads, "--out", tmp_path / f"{threads}.csv")
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--cpr", "6%"), engine.Cpr(rate=0.06)),
        (("--cpr", "0.06"), engine.Cpr(rate=0.06)),
        (("--smm", "0.5 %"), engine.Smm(rate=0.005)),
        (("--psa", "150"), engine.Psa(speed=1.5)),
        (("--psa", "150%"), engine.Psa(speed=1.5)),
        (("--abs", "1.5%"), engine.Abs(rate=0.015)),
        (("--cdr", "100%"), engine.Cdr(rate=1.0)),
        (("--mdr", ".001"), engine.Mdr(rate=0.001)),
        (("--sda", "200"), engine.Sda(speed=2.0)),
    ],
)
def test_option_makes_its_curve(arguments: tuple[str, str], expected: Any, tape: Path) -> None:
    context = main.commands["project"].make_context("project", [str(tape), *arguments])
    assumptions = assumptions_from(context.params)
    assert expected in (assumptions.prepayment, assumptions.default)


def test_assumptions_are_described_in_the_words_of_the_market() -> None:
    assert described(NONE) == "no prepayments, no defaults"
    options = NONE | {"psa": 1.5, "cdr": 0.01, "severity": 0.4, "lag": 12}
    assert described(options) == "150 PSA, 1% CDR, 40% severity, recovery after 12 months"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--cpr", "6"), "6 is above 1; expected a decimal in [0, 1] or a percentage (6% is 0.06)"),
        (("--severity", "140%"), "140% is above 1"),
        (("--cpr", "six"), "'six' is no rate; expected one such as 6% or 0.06"),
        (("--psa", "fast"), "'fast' is no speed; expected percent of the ramp, such as 150"),
        (("--cpr", "6%", "--psa", "100"), "--cpr and --psa exclude each other"),
        (("--cdr", "1%", "--lag", "999"), "recovery_lag is 999; expected whole months"),
        (("--fields", "interest,colour"), "is 'colour'; expected one of balance"),
        (("--conventions", "martian"), "martian"),
        (("--conventions", "opening_actual", "--cpr", "6%"), "cutoff_date is missing"),
        (("--cutoff-date", "31.12.2025"), "does not match the format"),
        (("--periods", "0"), "periods is 0; expected whole months"),
        (("--map", "upb"), "'upb' maps nothing; expected file_col=our_col"),
        (("--map", "colour=balance"), "has no column 'colour'"),
        (("--out", "flows.xlsx"), "expected one of .csv"),
        (("--plot", "flows.xlsx"), "expected one of .png"),
        (("--out", "/no/such/folder/flows.csv"), "its folder does not exist"),
    ],
)
def test_bad_option_is_refused_with_what_is_allowed(arguments: tuple[str, ...], message: str, tape: Path) -> None:
    assert message in refused("project", tape, *arguments)


@pytest.mark.parametrize("option", ["--out", "--plot"])
@pytest.mark.parametrize("way", ["same", "relative", "symbolic_link", "hard_link", "link_is_the_tape"])
def test_tape_is_not_overwritten(option: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # --plot wants a picture's ending, so the tape and the target are told apart by links for it.
    ending = "csv" if option == "--out" else "png"
    tape, target = tmp_path / "tape.csv", tmp_path / f"target.{ending}"
    tape.write_text(TAPE)
    given: tuple[object, object] = (tape, target)
    match way:
        case "same" | "relative":
            tape.rename(target)
            tape = target
            monkeypatch.chdir(tmp_path)
            given = (tape, tape if way == "same" else f"./{tape.name}")
        case "symbolic_link":
            target.symlink_to(tape)
        case "hard_link":
            target.hardlink_to(tape)
        case "link_is_the_tape":
            tape.rename(target)
            tape.symlink_to(target)
    assert f"{option} is {given[1]}, which is the tape" in refused("project", given[0], option, given[1])
    assert tape.read_text() == TAPE


def test_columns_and_picture_in_one_file_are_refused(tape: Path, tmp_path: Path) -> None:
    (tmp_path / "flows.png").symlink_to(tmp_path / "flows.csv")
    message = refused("project", tape, "--out", tmp_path / "flows.csv", "--plot", tmp_path / "flows.png")
    assert "--out and --plot are both" in message
    assert not (tmp_path / "flows.csv").exists()


def test_every_unreadable_cell_of_the_tape_is_told(tmp_path: Path) -> None:
    (tmp_path / "tape.csv").write_text(TAPE + "x,0.05,12,0,a\n1,y,12,0,a\n")
    message = refused("project", tmp_path / "tape.csv")
    assert "row 3, column 'upb' is 'x'" in message
    assert "row 4, column 'rate' is 'y'" in message


def test_tape_with_a_quote_left_open_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tape.csv").write_text(TAPE + '1000,0.05,12,0,"c\n' + "1000,0.05,12,0,c\n" * 20)
    assert "row 3 has a quote that is not closed" in refused("project", tmp_path / "tape.csv")


def test_missing_tape_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refused("project", tmp_path / "none.csv")


def test_rate_in_percent_is_refused_by_its_row_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "tape.csv").write_text(TAPE + "1000,6.5,12,0,c\n")
    assert re.search(r"row 3, annual_rate is 6\.5; expected .*0\.065", refused("project", tmp_path / "tape.csv"))


def test_row_of_a_later_batch_is_counted_from_the_top_of_the_file(tmp_path: Path) -> None:
    good = "1000,0.05,12\n" * 270_000
    (tmp_path / "tape.csv").write_text(f"balance,annual_rate,remaining_term\n{good}1000,5,12\n")
    assert "row 270001, annual_rate is 5" in refused("project", tmp_path / "tape.csv")


def test_mapping_names_the_columns(tmp_path: Path) -> None:
    (tmp_path / "tape.csv").write_text("Saldo,Zins,Rest\n1000,0.12,12\n")
    mapping = ("--map", "Saldo=balance", "--map", "Zins=annual_rate", "--map", "Rest=remaining_term")
    assert "1,000.00" in done("project", tmp_path / "tape.csv", *mapping)


def test_a_mapping_says_which_of_two_columns_is_read(tmp_path: Path) -> None:
    (tmp_path / "tape.csv").write_text("balance,upb,annual_rate,remaining_term\n1000,2000,0.12,12\n")
    assert "has 'balance', 'upb' for balance" in refused("project", tmp_path / "tape.csv")
    assert "2,000.00" in done("project", tmp_path / "tape.csv", "--map", "upb=balance")
    twice = refused("project", tmp_path / "tape.csv", "--map", "upb=balance", "--map", "upb=payment")
    assert "'upb' is mapped 2 times; expected it once" in twice


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_picture_is_drawn(ending: str, start: bytes, tape: Path, tmp_path: Path) -> None:
    done("project", tape, "--cpr", "6%", "--plot", tmp_path / f"flows.{ending}")
    picture = (tmp_path / f"flows.{ending}").read_bytes()
    assert picture.startswith(start)
    assert len(picture) > 5_000


def test_installed_command_projects_the_sample(tmp_path: Path) -> None:
    arguments = ["project", SAMPLE, "--cpr", "6%", "--out", tmp_path / "flows.parquet"]
    run = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=True)
    assert "10,000" in run.stdout
    assert run.stderr == ""
    assert parquet.read_table(tmp_path / "flows.parquet").num_rows == 360


def test_installed_command_exits_with_two_and_no_traceback(tape: Path) -> None:
    run = subprocess.run([COMMAND, "project", tape, "--cpr", "6"], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "6% is 0.06" in run.stderr
    assert "Traceback" not in run.stderr


def test_version_is_that_of_the_distribution() -> None:
    assert re.fullmatch(r"cashflow, version \d+\.\d+\.\d+\n", done("--version"))


def test_fields_lists_every_output_field() -> None:
    shown = done("fields")
    assert all(re.search(rf"\b{field.name} +{field.kind}", shown) for field in engine.FIELDS)


def test_token_is_accepted_by_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    caller = verify(Settings.from_env(), done("token", "--subject", "ada", "--hours", 2, "--role", "admin").strip())
    assert (caller.subject, caller.role) == ("ada", "admin")
    assert caller.claims["exp"] - caller.claims["iat"] == 7200


@pytest.mark.parametrize("hours", ["inf", "-inf", "nan", "1e300", "1e-9", "0", "-1", "876001"])
def test_token_with_no_lifetime_is_refused(hours: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    assert "expected hours from a second to 876,000" in refused("token", f"--hours={hours}")


@pytest.mark.parametrize("subject", ["", " "])
def test_token_for_nobody_is_refused(subject: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    assert "--subject: it is empty" in refused("token", "--subject", subject)


def test_faulty_settings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "short")
    assert "JWT_SECRET has 5 bytes" in refused("token")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_port_in_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in refused("serve", "--port", port)


def wait_until_listening(port: int, server: subprocess.Popen[str]) -> None:
    for _ in range(300):
        assert server.poll() is None, server.communicate()[1]
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the server does not listen after thirty seconds")


@pytest.mark.parametrize("workers", [1, 2])
def test_served_calls_work_as_printed_and_ctrl_c_stops(workers: int, tmp_path: Path) -> None:
    port = free_port()
    server = subprocess.Popen(
        [COMMAND, "serve", "--port", str(port), "--workers", str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "STATE_DIR": str(tmp_path / "state")},
    )
    try:
        wait_until_listening(port, server)
        assert server.stdout is not None
        printed = ""
        while "/graphql?access_token=" not in printed:
            printed += server.stdout.readline()
        assert f"http://127.0.0.1:{port}" in printed
        assert "100 requests an hour (RATE_LIMIT_REQUESTS)" in printed
        rest, graphql = (answer(text) for text in re.findall(r"curl .*?'(?=\n\n|$)", printed, re.DOTALL))
        assert len(rest["columns"]["interest"]) == 360
        columns = graphql["data"]["projection"]["columns"]
        np.testing.assert_allclose(columns["interest"], rest["columns"]["interest"])
    finally:
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=20)
    assert server.returncode == 0
    assert "Traceback" not in errors


def answer(curl: str) -> Any:
    run = subprocess.run(shlex.split(curl.replace("\\\n", " ")), capture_output=True, check=True)
    return msgspec.json.decode(run.stdout)


SAMPLES = Path(__file__).parents[1] / "samples/layouts"


def test_floating_terms_are_projected_at_the_level_of_their_index(tmp_path: Path) -> None:
    tape = read_tape(SAMPLES / "fannie_mae.txt", floating=True)
    names = sorted({name for name in tape.columns.index if name})
    out = tmp_path / "flows.parquet"
    levels = [part for name in names for part in ("--index", f"{name}=7.5%")]
    told = done("project", SAMPLES / "fannie_mae.txt", "--floating", *levels, "--out", out, "--fields", "interest")
    assert f"{names[0]} at 7.5%" in told
    rates = {name: engine.FlatRate(rate=0.075) for name in names}
    request = engine.ProjectionRequest(tape=tape, assumptions=engine.Assumptions(rates=rates), fields=["interest"])
    expected = engine.project(request)["interest"]
    np.testing.assert_allclose(written(out).column("interest").to_numpy(), expected, rtol=1e-9)
    plain = engine.project(engine.ProjectionRequest(tape=read_tape(SAMPLES / "fannie_mae.txt"), fields=["interest"]))
    assert expected.sum() > plain["interest"].sum()
    assert "has no rates" in refused("project", SAMPLES / "fannie_mae.txt", "--floating")
    assert "expected its name and rate" in refused("project", SAMPLES / "fannie_mae.txt", "--index", "7.5%")

"""`cashflow profile`, and files of a layout in `cashflow project`."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from api.shell import main
from engine.profile import Profile

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "samples" / "layouts"


def cashflow(*arguments: object, **options: Any) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], **options)


def done(*arguments: object) -> str:
    result = cashflow(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_profile_prints_figures_strata_and_what_became_of_the_rows() -> None:
    text = done("profile", SAMPLES / "freddie_mac.txt")
    for part in ("WAC", "13,753,513.44", "annual rate", "remaining months", "status", "reo", "outliers",
                 "120 rows in the layout freddie_mac", "left the pool: 1 liquidated, 2 prepaid"):  # fmt: skip
        assert part in text


def test_profile_as_json_is_the_struct() -> None:
    found = msgspec.json.decode(done("profile", SAMPLES / "sec_auto.xml", "--json"), type=Profile)
    assert found.report is not None
    assert (found.report.layout, found.loans) == ("sec_auto", 53)


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_profile_draws_a_picture(ending: str, start: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"profile.{ending}"
    assert "The picture is in" in done("profile", ROOT / "samples" / "loans.csv", "--plot", path)
    assert path.read_bytes().startswith(start)


def test_project_reads_a_file_of_a_layout_and_warns() -> None:
    text = done("project", SAMPLES / "fannie_mae.txt", "--layout", "fannie_mae", "--cpr", "6%")
    assert "13,814,301.36" in text
    assert "taken as performing but by roll" in text
    assert "as of 2024-12" in text


def test_project_can_leave_out_faulty_rows(tmp_path: Path) -> None:
    path = tmp_path / "loans.txt"
    path.write_text((SAMPLES / "fannie_mae.txt").read_text().replace("|100256.24|", "|1002x|"))
    refused = cashflow("project", path)
    assert refused.exit_code == 2
    assert "column 'CURRENT_UPB' is '1002x'; expected a number" in refused.stderr
    text = done("project", path, "--on-error", "skip")
    assert "1 faulty rows left out" in text


def test_a_picture_over_the_tape_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "loans.png"
    path.write_bytes((ROOT / "samples" / "loans.csv").read_bytes())
    assert cashflow("profile", path, "--plot", path).exit_code == 2
    assert "cannot be drawn" in cashflow("profile", ROOT / "samples" / "loans.csv", "--plot", "a.gif").stderr


def test_rows_that_the_engine_refuses_are_named(tmp_path: Path) -> None:
    path = tmp_path / "loans.csv"
    path.write_text("balance,annual_rate,remaining_term\n1,0.05,12\n1,6.5,12\n")
    assert "row 2, annual_rate is 6.5" in cashflow("profile", path).stderr

"""The sample tape: what the script writes, small enough to keep, and a tape that the engine takes."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np

from engine.tape_files import read_tape

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "make_sample_tape.py"
SAMPLE = ROOT / "samples" / "loans.csv"


def test_script_writes_the_committed_tape(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(SCRIPT), str(tmp_path / "loans.csv")], check=True, capture_output=True)
    assert (tmp_path / "loans.csv").read_text() == SAMPLE.read_text()


def test_sample_is_under_a_megabyte() -> None:
    assert SAMPLE.stat().st_size < 1_000_000


def test_sample_is_a_valid_tape_of_every_kind() -> None:
    spec = importlib.util.spec_from_file_location("make_sample_tape", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    arrays = read_tape(SAMPLE).arrays()
    assert len(arrays) == script.LOANS
    assert set(arrays.groups) == set(script.KINDS)
    assert np.unique(arrays.amortization).tolist() == [0, 1, 2]
    assert (arrays.interest_only > 0).any()
    assert (arrays.amortization_term > arrays.term).any()

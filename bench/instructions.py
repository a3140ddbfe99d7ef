"""Instructions that the kernel executes, counted by callgrind: they repeat, so a small change shows on a busy machine.

`core` counts what runs inside the compiled core, `all` the whole call with NumPy and Python. valgrind knows no AVX-512,
so the core takes its clone for x86-64-v3: twice the instructions of v4 in its loops, the same arithmetic.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from bench.native import BUILD, ROOT

CORE = re.compile(r"_core\.[^/]*\.so$")


class MissingTool(RuntimeError):
    """Something that the count needs is not installed; the message says what and how to get it."""


class Count(msgspec.Struct, frozen=True):
    """Instructions of a case: in the compiled core, and in all."""

    core: int
    all: int


class Baseline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Counts by case, and what they depend on beside the code."""

    compiler: str
    python: str
    numpy: str
    valgrind: str
    counts: dict[str, Count]


def version_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.partition("\n")[0].strip()


def counted() -> Baseline:
    """The counts of every case of bench/counted.py. Raises MissingTool without valgrind."""
    import numpy as np

    if not shutil.which("valgrind"):
        raise MissingTool(
            "valgrind is not installed; instructions cannot be counted (Debian: apt-get install valgrind)"
        )
    compiler = version_of(str(ROOT / ".ci" / "toolchain"), "cc")
    BUILD.mkdir(parents=True, exist_ok=True)
    mark = BUILD / "mark.so"
    subprocess.run(
        [*compiler.split(), "-O1", "-shared", "-fPIC", str(ROOT / "bench" / "mark.c"), "-o", str(mark)], check=True
    )  # valgrind's headers come with it
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "valgrind", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no", "--callgrind-out-file=out",
            sys.executable, "-m", "bench.counted", str(mark),
        ]  # fmt: skip
        fixed = {"PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "PATH": os.defpath}
        done = subprocess.run(command, cwd=folder, env=fixed, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        counts = dict(count_of(part.read_text()) for part in sorted(Path(folder).glob("out.*"), key=number_of))
    return Baseline(
        compiler=version_of(*compiler.split(), "--version"), python=".".join(platform.python_version_tuple()[:2]),
        numpy=np.__version__,
        valgrind=version_of("valgrind", "--version"), counts=counts,
    )  # fmt: skip


def number_of(part: Path) -> int:
    return int(part.suffix.removeprefix("."))


def count_of(text: str) -> tuple[str, Count]:
    """The case that a part of callgrind's output tells of, and its instructions.

    Each line of numbers is a position and a count, of the object named last; the one after `calls=` is what a callee
    cost, which is counted in its own place.
    """
    name, core, total = "", 0, 0
    in_core = is_callee = False
    for line in text.splitlines():
        if line.startswith("desc: Trigger: Client Request: "):
            name = line.removeprefix("desc: Trigger: Client Request: ")
        elif line.startswith("summary: "):
            total = int(line.split()[1])
        elif line.startswith("ob="):
            in_core = bool(CORE.search(line))
        elif line.startswith("calls="):
            is_callee = True
        elif line[:1].isdigit():
            core += int(line.split()[1]) if in_core and not is_callee else 0
            is_callee = False
    return name, Count(core, total)


def write(path: Path, found: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


if __name__ == "__main__":
    print(msgspec.json.format(msgspec.json.encode(counted()), indent=1).decode())

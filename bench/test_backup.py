"""A database of 350 MB: backed up, and restored into place, with the resident memory that it took.

The time of a restore holds everything: reading the archive whole, restoring it, comparing every row, and the swap.
"""

import base64
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Postgres, postgres_folder, postgres_server

MEGABYTES = 350
SECONDS = 60
RESIDENT = 100
# Rows of 1,024 bytes that do not compress, as the float64 values of stored results are.
ROW = " || ".join(f"sha256((i * 32 + {n})::text::bytea)" for n in range(32))
CODE = r"""
import re, sys
from pathlib import Path
from api.entry import main
sys.argv.insert(1, "backup")
try:
    main()
finally:
    print("PEAK", re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1], file=sys.stderr)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with postgres_server(tmp_path_factory.mktemp("server"), durable=True) as server:
        server.run("CREATE DATABASE bench")
        server.run(
            f"CREATE TABLE result AS SELECT i AS run_id, {ROW} AS c FROM generate_series(1, {MEGABYTES * 1000}) i",
            "ALTER TABLE result ADD PRIMARY KEY (run_id)",
            database="bench",
        )
        yield server


@pytest.fixture(scope="module")
def environment(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": server.url("bench"),
        "STATE_DIR": str(tmp_path_factory.mktemp("state")),
        "BACKUP_ENCRYPTION_KEYS": f"bench:{base64.b64encode(bytes(32)).decode()}",
        "PG_BIN": str(postgres_folder()),
    }


def peak_of(command: list[str], environment: dict[str, str]) -> int:
    """The most megabytes that a backup command had resident."""
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *command], env=environment, cwd=root, capture_output=True, text=True, check=True
    )
    found = re.search(r"PEAK (\d+)", done.stderr)
    assert found is not None
    return int(found[1]) // 1024


@pytest.mark.parametrize("command", [["create"], ["restore", "latest", "--drop-old"]], ids=["create", "restore"])
def test_backup_of_350_megabytes(benchmark: Any, environment: dict[str, str], command: list[str]) -> None:
    peak = benchmark.pedantic(peak_of, (command, environment), rounds=1, iterations=1)
    benchmark.extra_info["resident_megabytes"] = peak
    seconds = benchmark.stats.stats.max if benchmark.stats else 0.0
    print(f"\n{MEGABYTES} MB {command[0]}: {seconds:.1f} s, {peak} MB resident")
    assert peak <= RESIDENT
    assert command == ["create"] or seconds <= SECONDS

"""The Python of docs/backups.md runs as it is printed."""

import re
from pathlib import Path

import pytest

from api.settings import Settings
from tests.backup.world import KEYS, PROGRAMS, state
from tests.servers import Postgres

GUIDE = Path(__file__).parents[2] / "docs" / "backups.md"
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)


def test_the_guides_python_runs(
    settings: Settings,
    postgres: Postgres,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {
        "DATABASE_URL": settings.database_url,
        "STATE_DIR": settings.state_dir,
        "BACKUP_ENCRYPTION_KEYS": KEYS,
        "PG_BIN": PROGRAMS,
    }.items():
        monkeypatch.setenv(name, value)
    before = state(postgres, database)
    assert len(BLOCKS) == 2
    for block in BLOCKS:
        exec(compile(block, str(GUIDE), "exec"), {})
    assert "3326 rows restored and compared" in capsys.readouterr().out
    assert state(postgres, database) == before

"""B1 over every version of PostgreSQL found here: servers, client programs, and from one server to another."""

import itertools
from pathlib import Path

import msgspec
import pytest

from api.backup import BackupManager
from api.backup.clients import version_of
from api.settings import Settings
from tests.backup.world import FILL, KEYS, VERSIONS, own_server, state

pytestmark = pytest.mark.chaos


def major(programs: str) -> int:
    version = version_of(f"{programs}/pg_dump")
    assert version is not None
    return version[0]


PAIRS = list(itertools.product(VERSIONS, VERSIONS))


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda programs: str(major(programs)))
def test_a_backup_goes_from_one_version_to_another(source: str, target: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with own_server(tmp_path / "a", source) as one, own_server(tmp_path / "b", target) as other:
        for server in (one, other):
            server.run("CREATE DATABASE app")
        one.run(FILL, database="app")
        before = state(one, "app")
        settings = Settings(
            database_url=one.url("app"),
            state_dir=str(tmp_path / "state"),
            backup_encryption_keys=KEYS,
            pg_bin=":".join(VERSIONS),
        )
        record = BackupManager(settings).backup_database()
        assert int(record.client_version.split(".")[0]) == major(source)
        elsewhere = BackupManager(msgspec.structs.replace(settings, database_url=other.url("app")))
        elsewhere.restore_database(record.key)
        assert state(other, "app") == before
        # The newest programs alone serve older servers too.
        newest = BackupManager(msgspec.structs.replace(settings, pg_bin=VERSIONS[0]))
        again = newest.backup_database()
        newest.restore_database(again.key)
        assert state(one, "app") == before

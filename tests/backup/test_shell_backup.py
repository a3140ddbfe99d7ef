"""`cashflow backup`, called as people and schedulers call it."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from api.backup import BackupManager
from api.settings import Settings
from api.shell import main
from tests.backup.world import KEYS, PROGRAMS, asked, databases
from tests.servers import Postgres, free_port


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        "DATABASE_URL": settings.database_url,
        "STATE_DIR": settings.state_dir,
        "BACKUP_ENCRYPTION_KEYS": KEYS,
        "PG_BIN": PROGRAMS,
    }
    for name, value in names.items():
        monkeypatch.setenv(name, value)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["backup", *arguments])


@pytest.mark.usefixtures("environment")
def test_from_create_to_prune(manager: BackupManager, postgres: Postgres, database: str) -> None:
    assert call("list").output == "There are no backups.\n"
    made = call("create", "--prune")
    assert made.exit_code == 0, made.output
    key = manager.newest().key
    assert key in made.output
    assert '"deleted": []' in made.output
    assert f"{key}  " in call("list").output
    assert call("list").output.endswith("sound\n")
    assert msgspec.json.decode(call("list", "--json").stdout)[0]["database"] == database
    assert msgspec.json.decode(call("verify", key).stdout)["rows"] == 3326
    assert msgspec.json.decode(call("drill").stdout)["key"] == key
    postgres.run("DELETE FROM loan", database=database)
    assert msgspec.json.decode(call("restore", "latest", "--drop-old").stdout)["rows"] == 3326
    assert asked(postgres, "SELECT count(*) FROM loan", database) == [(3003,)]
    pruned = call("prune", "--daily", "0", "--weekly", "0", "--monthly", "0")
    assert msgspec.json.decode(pruned.stdout)["kept"] == [key]


@pytest.mark.usefixtures("environment")
def test_another_database_is_named_by_options_and_its_password_by_the_environment(
    manager: BackupManager, postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{database} too"
    postgres.run(f'CREATE DATABASE "{name}" TEMPLATE "{database}"')
    monkeypatch.setenv("BACKUP_DB_PASSWORD", "any")
    server = ["--user", postgres.user, "--host", postgres.host, "--port", str(postgres.port)]
    assert call("create", "--database", name, *server).exit_code == 0
    assert call("restore", manager.newest(name).key, "--database", name, *server).exit_code == 0
    assert len([one for one in databases(postgres) if one.startswith(name)]) == 2


@pytest.mark.usefixtures("environment")
def test_exit_codes_tell_failed_refused_and_busy_apart(
    manager: BackupManager, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    key = manager.backup_database().key
    refused = call("verify", key.replace("2026", "2020"))
    assert (refused.exit_code, "there is no backup" in refused.output) == (2, True)
    with manager.database().locked():
        busy = call("create")
    assert (busy.exit_code, "another backup or restore" in busy.output) == (3, True)
    (Path(settings.state_dir) / "backups" / key).write_bytes(b"")
    damaged = call("restore", key)
    assert (damaged.exit_code, "ends within its header" in damaged.output) == (1, True)
    assert "DAMAGED" in call("list").output
    (Path(settings.state_dir) / "backups" / f"{key}.check.json").unlink()
    assert "not checked" in call("list").output
    monkeypatch.setenv("DATABASE_URL", f"postgresql://postgres@127.0.0.1:{free_port()}/x")
    assert call("create").exit_code == 1
    monkeypatch.setenv("PORT", "0")
    assert call("create").exit_code == 2


def test_the_lean_entry_loads_neither_the_engine_nor_the_service(tmp_path: Path) -> None:
    code = (
        "import runpy, sys; sys.argv = ['backup', 'list']\n"
        "try: runpy.run_module('api.shell_backup', run_name='__main__')\n"
        "except SystemExit as end: print(end.code, {'numpy', 'litestar', 'sqlalchemy'} & set(sys.modules))"
    )
    environment = {**os.environ, "STATE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "There are no backups.\n0 set()\n"

"""`cashflow backup`, called as people and schedulers call it."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from api import shell_backup
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
        for command in ("create", "drill", "prune", "restore latest"):
            busy = call(*command.split())
            assert (busy.exit_code, "another backup or restore" in busy.output) == (3, True)
    assert (manager.status().drilled, manager.status().failures) == (None, 0)  # to be in the way is no failed drill
    for command in ("verify", "restore", "drill"):
        refused = call(command, "backups/database/nothing")
        assert (refused.exit_code, "expected backups/database/db_backup_" in refused.output) == (2, True)
    (Path(settings.state_dir) / "backups" / key).write_bytes(b"")
    damaged = call("restore", key)
    assert (damaged.exit_code, "ends within its header" in damaged.output) == (1, True)
    assert "DAMAGED" in call("list").output
    (Path(settings.state_dir) / "backups" / f"{key}.check.json").unlink()
    assert "not checked" in call("list").output
    monkeypatch.setenv("DATABASE_URL", f"postgresql://postgres@127.0.0.1:{free_port()}/x")
    assert call("create").exit_code == 1
    for keys in (f"first:{'A' * 43}=", f"second:{'A' * 43}=", "first:short"):
        monkeypatch.setenv("BACKUP_ENCRYPTION_KEYS", keys)
        assert call("verify", key).exit_code == 2
    monkeypatch.setenv("BACKUP_ENCRYPTION_KEYS", KEYS)
    monkeypatch.setenv("BACKUP_STORE", "s3://")
    nowhere = call("list")
    assert (nowhere.exit_code, "names no bucket" in nowhere.output) == (2, True)
    monkeypatch.delenv("BACKUP_STORE")
    monkeypatch.setenv("PORT", "0")
    assert call("create").exit_code == 2


@pytest.mark.usefixtures("environment")
def test_what_is_in_the_way_is_waited_for(manager: BackupManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_backup, "RETRY_SECONDS", 0.05)
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with manager.database().locked():
            held.set()
            let_go.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    assert call("create", "--wait", "0.2").exit_code == 3
    threading.Timer(0.5, let_go.set).start()
    made = call("create", "--wait", "30")
    thread.join()
    assert made.exit_code == 0, made.output


@pytest.mark.usefixtures("environment")
def test_a_backup_whose_manifest_cannot_be_read_is_told_of(manager: BackupManager) -> None:
    bad, good = (manager.backup_database().key for _ in range(2))
    manager.store.put_stream(bad + ".manifest.json", [b"{"])
    listed = call("list")
    assert listed.stderr == f"The manifest of {bad} cannot be read.\n"
    assert listed.stdout.startswith(good)
    assert bad not in listed.stdout


@pytest.mark.usefixtures("environment")
def test_latest_is_the_newest_backup_for_every_command_that_reads_one(manager: BackupManager) -> None:
    assert call("verify", "latest").exit_code == call("drill", "latest").exit_code == 2
    key = [manager.backup_database().key for _ in range(2)][1]
    for command in ("verify", "drill", "restore"):
        assert msgspec.json.decode(call(command, "latest").stdout)["key"] == key
    assert call("verify", "latest", "--database", "another").exit_code == 2


def test_the_lean_entry_loads_neither_the_engine_nor_the_service(tmp_path: Path) -> None:
    code = (
        "import runpy, sys; sys.argv = ['backup', 'list']\n"
        "try: runpy.run_module('api.shell_backup', run_name='__main__')\n"
        "except SystemExit as end: print(end.code, {'numpy', 'litestar', 'sqlalchemy'} & set(sys.modules))"
    )
    environment = {**os.environ, "STATE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "There are no backups.\n0 set()\n"

"""B4 to B7, B9, B10 and B14: outages, kills, full disks, secrets and memory, each against real servers of its own."""

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest

from api.backup import BackupError, BackupManager
from api.settings import Settings
from api.storage.folder import FolderStore
from tests.backup.fault_proxy import Faults, always, fault_proxy
from tests.backup.world import FILL, KEYS, PROGRAMS, asked, databases, own_server, state
from tests.servers import Postgres, create_bucket

pytestmark = pytest.mark.chaos
PASSWORD = "p:a\\ss'w%rd of the database"
NOISE = "CREATE TABLE noise AS SELECT i, {columns} AS b FROM generate_series(1, {rows}) i"


def noise(rows: int, digests: int = 4) -> str:
    """A table that does not compress: a digest has 32 bytes."""
    columns = " || ".join(f"sha512(({n} + i)::text::bytea)" for n in range(digests))
    return NOISE.format(columns=columns, rows=rows)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Postgres]:
    (tmp_path / "server").mkdir()
    with own_server(tmp_path / "server", PROGRAMS, PASSWORD) as server:
        yield server


@pytest.fixture
def settings(server: Postgres, tmp_path: Path) -> Settings:
    run(server, "CREATE DATABASE app")
    run(server, FILL, database="app")
    return Settings(
        database_url=f"postgresql://postgres:{quote(PASSWORD)}@127.0.0.1:{server.port}/app",
        state_dir=str(tmp_path / "state"),
        backup_encryption_keys=KEYS,
        pg_bin=PROGRAMS,
    )


@pytest.fixture
def proxied(s3_endpoint: str) -> Iterator[tuple[str, Faults]]:
    with fault_proxy(s3_endpoint) as proxy:
        yield proxy


@pytest.fixture
def s3_settings(settings: Settings, proxied: tuple[str, Faults]) -> Settings:
    place = f"s3://{create_bucket(proxied[0])}"
    return msgspec.structs.replace(settings, backup_store=place, s3_endpoint_url=proxied[0])


def run(server: Postgres, *statements: str, database: str = "postgres") -> None:
    for statement in statements:
        command = [f"{PROGRAMS}/psql", "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", "-d", database]
        environment = {**os.environ, "PGPASSWORD": server.password}
        subprocess.run([*command, "-qXc", statement], env=environment, check=True, stdout=subprocess.DEVNULL)


def in_thread(work: object) -> tuple[threading.Thread, list[object]]:
    outcome: list[object] = []

    def body() -> None:
        try:
            outcome.append(work())  # type: ignore[operator]
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    return thread, outcome


def test_a_store_that_is_down_for_a_minute_is_waited_for(
    s3_settings: Settings, proxied: tuple[str, Faults], server: Postgres
) -> None:
    faults = proxied[1]
    run(server, noise(150_000), database="app")
    down = threading.Event()
    started: list[float] = []

    def away(number: int) -> str:
        started.append(time.monotonic())
        down.set()
        return "reset" if time.monotonic() < started[0] + 60 else ""

    faults.add("PUT", "partNumber=2", away)
    record = BackupManager(s3_settings).backup_database()
    assert down.is_set()
    assert len(started) > 3
    assert BackupManager(s3_settings).verify_backup(record.key).rows == 153_326


def test_a_dump_whose_connection_is_ended_fails_and_its_upload_is_aborted(
    s3_settings: Settings, proxied: tuple[str, Faults], server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = proxied[1]
    run(server, noise(400_000), database="app")
    faults.add("PUT", "partNumber=1", always("stall"))
    manager = BackupManager(s3_settings)
    thread, outcome = in_thread(manager.backup_database)
    assert faults.stalled.wait(60)
    dumping = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY %'"
    assert asked(server, dumping) == [(True,)]
    faults.clear()
    faults.resume.set()
    thread.join()
    assert isinstance(outcome[0], BackupError)
    assert "pg_dump failed (1)" in str(outcome[0])
    assert manager.list_backups() == []
    assert "Uploads" not in manager.store.client.list_multipart_uploads(Bucket=manager.store.bucket)
    assert not list(manager.store.list("backups/database/"))


def test_a_full_disk_in_the_restore_leaves_the_live_database_and_a_rerun_succeeds(
    settings: Settings, server: Postgres
) -> None:
    run(server, noise(150_000), database="app")
    manager = BackupManager(settings)
    key = manager.backup_database().key
    before, there = state(server, "app"), databases(server)
    assert server.process is not None
    assert server.process.popen is not None
    pid = server.process.popen.pid
    # Files may not grow past 17 MB (a segment of the log has 16), and the table is larger.
    whole = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (17 * 1024 * 1024, whole[1]))
    try:
        with pytest.raises(BackupError, match=r"could not (extend|write)"):
            manager.restore_database(key)
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, whole)
    assert databases(server) == there
    assert state(server, "app") == before
    manager.restore_database(key)
    assert state(server, "app") == before


@pytest.mark.parametrize("moment", ["restore", "compare"])
def test_a_server_that_crashes_in_the_restore_keeps_the_live_database_and_a_rerun_succeeds(
    settings: Settings, server: Postgres, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(server, noise(150_000), database="app")
    manager = BackupManager(settings)
    key = manager.backup_database().key
    before = state(server, "app")
    assert server.process is not None
    if moment == "restore":
        thread, outcome = in_thread(lambda: manager.restore_database(key))
        copying = (
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY public.noise%' AND datname LIKE 'app_r%'"
        )
        while asked(server, copying) != [(1,)]:
            assert thread.is_alive()
        server.process.send(signal.SIGKILL)
        thread.join()
    else:
        monkeypatch.setattr(
            "api.backup.postgres.LockedPostgres.compare", lambda *_: server.process.send(signal.SIGKILL)
        )
        thread, outcome = in_thread(lambda: manager.restore_database(key))
        thread.join()
        monkeypatch.undo()
    assert isinstance(outcome[0], BackupError)
    server.process.start()
    # After a crash PostgreSQL lets sequences jump ahead by up to 32 values, with or without a restore.
    values = {"down", "loan_id", "pool_id"}
    assert [row for row in state(server, "app") if row[0] not in values] == [r for r in before if r[0] not in values]
    manager.restore_database(key, drop_old=True)
    assert state(server, "app") == before
    assert databases(server) == {"postgres", "template0", "template1", "app"}


KILLED = """
import os, signal, sys, asyncpg, msgspec
from api.settings import Settings
from api.backup import BackupManager
settings = msgspec.json.decode(sys.stdin.buffer.read(), type=Settings)
real = asyncpg.Connection.execute
renames = 0
async def execute(self, query, *arguments, **options):
    global renames
    if "RENAME TO" in query:
        renames += 1
        if renames == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
    return await real(self, query, *arguments, **options)
asyncpg.Connection.execute = execute
BackupManager(settings).restore_database(sys.argv[1])
"""


@pytest.mark.parametrize("rename", [1, 2])
def test_a_restore_killed_between_the_renames_is_completed_by_a_rerun(
    settings: Settings, server: Postgres, rename: int
) -> None:
    manager = BackupManager(settings)
    key = manager.backup_database().key
    run(server, "UPDATE loan SET balance = 123456", database="app")
    before = state(server, "app")
    command = [sys.executable, "-c", KILLED, key, str(rename)]
    killed = subprocess.run(command, input=msgspec.json.encode(settings), check=False)
    assert killed.returncode == -signal.SIGKILL
    # The names are swapped in one transaction, so the live one is there under its name, and takes connections.
    assert state(server, "app") == before
    assert len([name for name in databases(server) if name.startswith("app_restore_")]) == 1
    report = manager.restore_database(key)
    assert asked(server, "SELECT count(*) FROM loan WHERE balance = 123456", "app") == [(0,)]
    assert databases(server) == {"postgres", "template0", "template1", "app", report.former}


def test_no_secret_in_the_process_list_the_environment_or_the_logs(
    s3_settings: Settings, proxied: tuple[str, Faults], server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    faults = proxied[1]
    run(server, noise(400_000), "ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()", database="app")
    caplog.set_level("DEBUG")
    secrets = [PASSWORD, quote(PASSWORD), KEYS.partition(":")[2]]
    faults.add("PUT", "partNumber=1", always("stall"))
    manager = BackupManager(s3_settings)
    thread, outcome = in_thread(manager.backup_database)
    assert faults.stalled.wait(60)
    seen = children_of(os.getpid())
    dump = next(text for text in seen if "pg_dump" in text and "--snapshot" in text)
    assert "PGPASSFILE=" in dump
    assert all(secret not in text for secret in secrets for text in seen)
    path = Path(re.search(r"PGPASSFILE=([^\0]+)", dump)[1])  # type: ignore[index]
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    faults.clear()
    faults.resume.set()
    thread.join()
    key = outcome[0].key  # type: ignore[attr-defined]
    assert not path.parent.exists()
    manager.restore_database(key)
    wrong = msgspec.structs.replace(s3_settings, database_url=s3_settings.database_url.replace("/app", "/nowhere"))
    with pytest.raises(BackupError) as raised:
        BackupManager(wrong).backup_database()
    texts = [str(raised.value), caplog.text, *(repr(vars(record)) for record in caplog.records)]
    texts += [Path(server.process.log).read_text()]  # type: ignore[union-attr]
    texts += [b"".join(manager.store.get_stream(info.key)).decode(errors="replace") for info in manager.store.list()]
    assert "statement: " in texts[-1] or any("statement: " in text for text in texts)
    assert all(secret not in text for secret in secrets for text in texts)


def children_of(pid: int) -> list[str]:
    """What anyone may read of the processes that this one started: their arguments and their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == pid:
                    found.append((entry / "cmdline").read_text() + "\0" + (entry / "environ").read_text())
            except (OSError, IndexError):
                continue
    return found


MEASURED = r"""
import re, sys
from pathlib import Path
from api import entry
sys.argv.insert(1, "backup")
try:
    entry.main()
finally:
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
    print("PEAK", int(peak) // 1024, file=sys.stderr)
"""


@pytest.mark.parametrize("rows", [100_000, 1_000_000], ids=["20 MB", "200 MB"])
def test_memory_stays_below_a_hundred_megabytes_whatever_the_size(
    s3_settings: Settings, server: Postgres, rows: int, s3_endpoint: str, tmp_path: Path
) -> None:
    run(server, noise(rows, 6), database="app")
    # As large a tape beside it, of a block that repeats: the copy is encrypted, so nothing of that helps.
    block = os.urandom(1_000_000)
    FolderStore(tmp_path / "objects").put_stream("tapes/large", (block for _ in range(rows // 5_000)))
    environment = {
        **os.environ,
        "DATABASE_URL": s3_settings.database_url,
        "BACKUP_STORE": s3_settings.backup_store,
        "S3_ENDPOINT_URL": s3_endpoint,
        "BACKUP_ENCRYPTION_KEYS": KEYS,
        "OBJECT_STORE": str(tmp_path / "objects"),
        "STATE_DIR": s3_settings.state_dir,
        "PG_BIN": PROGRAMS,
    }
    peaks = {}
    for command in (["create"], ["verify", "latest"], ["drill"], ["restore", "latest", "--drop-old"]):
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *command], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        peaks[command[0]] = int(done.stderr.rpartition("PEAK ")[2])
    assert max(peaks.values()) <= 100, peaks

"""PostgreSQL's client programs as streams: passwords in files, errors in words, nothing left running."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from api.backup import BackupError, ClientTooOld, clients
from api.backup.clients import Target, client, conninfo, converted, fed, output, pass_file, sweep
from tests.backup.world import PROGRAMS, asked
from tests.servers import Postgres, free_port


@pytest.fixture
def target(postgres: Postgres) -> Target:
    return Target(
        host=postgres.host,
        port=postgres.port,
        user=postgres.user,
        password="a secret",
        database="postgres",
        sslmode="prefer",
    )


def psql(*options: str) -> list[str]:
    return [f"{PROGRAMS}/psql", "-X", "-q", *options]


def test_a_password_file_is_readable_by_its_owner_alone_and_removed_after(target: Target) -> None:
    odd = msgspec.structs.replace(target, password="a:b\\c")
    with pass_file(odd) as path:
        assert Path(path).read_text() == "*:*:*:*:a\\:b\\\\c\n"
        assert Path(path).stat().st_mode & 0o777 == 0o600
    assert not Path(path).exists()
    with pytest.raises(BackupError, match="a line break"), pass_file(msgspec.structs.replace(target, password="a\nb")):
        raise AssertionError("such a password has no file")


def test_password_files_of_killed_processes_are_removed_a_day_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    for name, age in (("old", 90_000), ("new", 100)):
        folder = tmp_path / f"{clients.PASS_FOLDER}{name}"
        folder.mkdir()
        os.utime(folder, (time.time() - age,) * 2)
    (tmp_path / f"{clients.PASS_FOLDER}gone").symlink_to(tmp_path / "removed by another process meanwhile")
    sweep()
    (tmp_path / f"{clients.PASS_FOLDER}gone").unlink()
    assert [path.name for path in tmp_path.iterdir()] == [f"{clients.PASS_FOLDER}new"]


def test_names_are_quoted_for_libpq(postgres: Postgres, target: Target) -> None:
    name = "it's \\ odd=1"
    postgres.run(f'CREATE DATABASE "{name}"')
    try:
        odd = target.named(name)
        assert b"".join(output(psql("-Atc", "SELECT current_database()"), odd)).decode() == f"{name}\n"
        assert "password" not in conninfo(odd)
        assert "a secret" not in repr(odd)
    finally:
        postgres.run(f'DROP DATABASE "{name}"')


def test_an_error_is_told_in_the_programs_words_without_the_password(target: Target) -> None:
    with pytest.raises(BackupError, match=r"psql failed \(1\): ERROR.*division by zero"):
        list(output(psql("-c", "SELECT 1/0"), target))
    with pytest.raises(BackupError, match=r"\*\*\*"):
        list(output(psql("-c", "SELECT 'a secret'::int"), target))
    with pytest.raises(BackupError, match="it said nothing"):
        list(output(["false"], target))
    nowhere = msgspec.structs.replace(target, port=free_port(), password="")
    with pytest.raises(BackupError, match="Connection refused"):
        list(output(psql("-c", "SELECT 1"), nowhere))


def test_a_reader_that_stops_early_ends_the_program(target: Target, postgres: Postgres) -> None:
    endless = "COPY (SELECT repeat('x', 200000) FROM generate_series(1, 10000)) TO STDOUT"
    reading = output(psql("-Atc", endless), target)
    next(reading)
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT repeat%' AND state = 'active'"
    assert asked(postgres, running) == [(1,)]
    reading.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 30
    while asked(postgres, running) != [(0,)] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert asked(postgres, running) == [(0,)]


def broken(good: bytes) -> Iterator[bytes]:
    yield good
    raise BackupError("the rest is damaged")


def test_chunks_that_break_off_leave_nothing_done(target: Target, postgres: Postgres) -> None:
    with pytest.raises(BackupError, match="the rest is damaged"):
        fed(psql("--single-transaction"), target, broken(b"CREATE TABLE half ();\n"))
    assert asked(postgres, "SELECT to_regclass('half')") == [(None,)]


def test_a_program_that_ends_before_it_read_everything_says_why(target: Target) -> None:
    with pytest.raises(BackupError, match="division by zero"):
        fed(psql("--set=ON_ERROR_STOP=1"), target, (b"SELECT 1/0;\n" + b"-- filling\n" * 100_000 for _ in range(50)))


def test_what_a_program_makes_of_chunks_comes_as_a_stream(target: Target) -> None:
    pieces = [b"line\n" * 300_000 for _ in range(5)]
    assert b"".join(converted(["cat"], target, pieces)) == b"".join(pieces)
    with pytest.raises(BackupError, match="the rest is damaged"):
        list(converted(["cat"], target, broken(b"good")))
    with pytest.raises(BackupError, match="failed"):
        list(converted(["false"], target, [b"x" * 1_000_000 for _ in range(9)]))
    early = converted(["cat"], target, iter(lambda: b"x" * 1_000_000, b""))
    assert next(early)
    early.close()  # type: ignore[attr-defined]


def test_the_closest_version_that_is_new_enough_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("18.1", "15.9", "16.2"):
        folder = tmp_path / version
        folder.mkdir()
        (folder / "psql").write_text(f"#!/bin/sh\necho 'psql (PostgreSQL) {version} (Debian)'\n")
        (folder / "psql").chmod(0o755)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "psql").write_text("#!/bin/sh\necho nothing of the kind\n")
    (tmp_path / "odd" / "psql").chmod(0o755)
    folders = os.pathsep.join(str(tmp_path / name) for name in ("18.1", "odd", "15.9", "missing", "16.2"))
    assert [client("psql", at_least, folders).shown for at_least in (14, 15, 16, 17)] == [
        "15.9",
        "15.9",
        "16.2",
        "18.1",
    ]
    with pytest.raises(ClientTooOld, match=r"found 15.9 in .*, 16.2 in .*, 18.1 in"):
        client("psql", 19, folders)
    monkeypatch.setenv("PATH", str(tmp_path / "16.2"))
    monkeypatch.setattr(clients, "DEBIAN", str(tmp_path / "none"))
    assert client("psql", 9).shown == "16.2"
    with pytest.raises(ClientTooOld, match="found none"):
        client("pg_dump", 9)

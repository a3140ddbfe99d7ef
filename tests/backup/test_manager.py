"""B1, B2, B8, B11 and what the manager promises, against PostgreSQL and a folder."""

import random
import re
import stat
import subprocess
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from api import metrics
from api.backup import (
    ArchiveDamaged,
    BackupBusy,
    BackupError,
    BackupManager,
    ClientTooOld,
    ContentsDiffer,
    KeyMissing,
    NoSuchBackup,
    Retention,
)
from api.backup.manifest import MANIFEST, database_of, key_for, moment
from api.settings import Settings
from tests.backup.world import KEYS, VERSIONS, asked, databases, state
from tests.servers import Postgres, free_port


@pytest.fixture
def folder(settings: Settings) -> Path:
    return Path(settings.state_dir) / "backups"


def away(settings: Settings) -> BackupManager:
    """A manager whose database cannot be reached: whoever touches it is told so."""
    return BackupManager(
        msgspec.structs.replace(settings, database_url=f"postgresql://postgres@127.0.0.1:{free_port()}/x")
    )


def test_a_restored_database_equals_the_one_backed_up(
    manager: BackupManager, postgres: Postgres, database: str
) -> None:
    before = state(postgres, database)
    record = manager.backup_database()
    postgres.run("DELETE FROM loan", "DROP TABLE flow", "SELECT nextval('down')", database=database)
    report = manager.restore_database(record.key)
    assert state(postgres, database) == before
    # What was there an hour ago is still at hand: 20 pools, 3,003 loans, 300 flows and 3 odd rows were backed up.
    assert (report.tables, report.rows, report.notes) == (4, 3326, [])
    assert report.former is not None
    assert asked(postgres, "SELECT count(*) FROM loan", report.former) == [(0,)]
    again = manager.restore_database(record.key, drop_old=True)
    assert (again.former, again.kept) == (None, [report.former])
    assert {name for name in databases(postgres) if name.startswith(database)} == {database, report.former}
    assert manager.list_backups()[0].check.how == "restore"


def test_the_key_and_the_record_say_what_was_backed_up(manager: BackupManager, database: str, folder: Path) -> None:
    record = manager.backup_database()
    assert record.key == key_for(database, record.created)
    assert database_of(record.key) == record.database == database
    assert record.key.startswith("backups/database/db_backup_Cash-flow=20")
    assert record.key.endswith(f"_{record.created:%Y%m%d%H%M%S}.dump")
    assert (record.kind, record.key_id, record.size) == ("postgresql", "first", (folder / record.key).stat().st_size)
    assert record.server_version.split(".")[0] == record.client_version.split(".")[0] == "18"
    assert manager.newest() == record
    assert manager.list_backups("another") == []
    second = manager.backup_database()
    assert [one.key for one in manager.list_backups()] == [second.key, record.key]


def test_a_database_that_is_gone_is_restored_from_the_store_alone(
    manager: BackupManager, settings: Settings, postgres: Postgres, database: str
) -> None:
    before = state(postgres, database)
    postgres.run(
        f'ALTER DATABASE "{database}" SET search_path = public, "odd ""schema"',
        f"ALTER DATABASE \"{database}\" SET work_mem = '7MB'",
        f'REVOKE CONNECT ON DATABASE "{database}" FROM PUBLIC',
    )
    key = manager.backup_database().key
    postgres.run(f'DROP DATABASE "{database}"')
    report = BackupManager(settings).restore_database(key)
    assert report.former is None
    assert state(postgres, database) == before
    kept = "SELECT setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase WHERE datname"
    assert asked(postgres, f"{kept} = '{database}'") == [(['search_path=public, "odd ""schema"', "work_mem=7MB"],)]
    access = f"SELECT has_database_privilege('pg_monitor', '{database}', 'CONNECT')"
    assert asked(postgres, access) == [(False,)]


def test_owners_and_privileges_come_back_where_their_roles_are_there(
    manager: BackupManager, postgres: Postgres, database: str
) -> None:
    owners = "SELECT pg_get_userbyid(relowner), relacl::text FROM pg_class WHERE relname = 'loan'"
    whose = f"SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '{database}'"
    role = "role_" + database[-8:]
    postgres.run(f"CREATE ROLE {role}", f"CREATE ROLE {role}_too")
    try:
        postgres.run(f'GRANT CONNECT ON DATABASE "{database}" TO {role}_too')
        postgres.run(f"ALTER TABLE loan OWNER TO {role}", "GRANT SELECT ON loan TO pg_monitor", database=database)
        postgres.run(
            f'ALTER DATABASE "{database}" OWNER TO {role}', f'GRANT TEMP ON DATABASE "{database}" TO pg_monitor'
        )
        before = asked(postgres, owners, database)
        key = manager.backup_database().key
        report = manager.restore_database(key, drop_old=True)
        assert asked(postgres, owners, database) == before
        assert (asked(postgres, whose), report.notes) == ([(role,)], [])
        postgres.run(f'DROP DATABASE "{database}"', f"DROP ROLE {role}, {role}_too")
        report = manager.restore_database(key)
        assert asked(postgres, owners, database) == [("postgres", None)]
        assert [note.split(":")[0] for note in report.notes] == [
            "owners and privileges are postgres's",
            f"the database belongs to postgres; it was {role}'s",
        ]
    finally:
        postgres.run(f'DROP DATABASE IF EXISTS "{database}"', f"DROP ROLE IF EXISTS {role}, {role}_too")


def test_a_locale_that_is_not_there_gives_way_to_the_default(
    manager: BackupManager, postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = manager.backup_database().key
    whole = manager.vault.manifest(key).contents(manager.keys)
    foreign = msgspec.structs.replace(whole.properties, collate="xx_XX.utf8")
    monkeypatch.setattr(
        "api.backup.manifest.Manifest.contents", lambda self, keys: msgspec.structs.replace(whole, properties=foreign)
    )
    report = manager.restore_database(key)
    assert "the locale is this server's default" in report.notes[0]


@pytest.mark.parametrize(
    ("options", "provider"),
    [("LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'", "b"), ("LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'", "c")],
)
def test_the_locale_comes_back(
    manager: BackupManager, postgres: Postgres, database: str, options: str, provider: str
) -> None:
    name = f"{database} too"
    postgres.run(f'CREATE DATABASE "{name}" TEMPLATE template0 {options}')
    key = manager.backup_database(db_name=name).key
    postgres.run(f'DROP DATABASE "{name}"')
    assert manager.restore_database(key, db_name=name).notes == []
    assert asked(postgres, f"SELECT datlocprovider::text FROM pg_database WHERE datname = '{name}'") == [(provider,)]


@pytest.mark.parametrize("times", [20, pytest.param(100, marks=pytest.mark.chaos)])
def test_truncations_and_bit_flips_are_rejected_before_any_database_is_touched(
    manager: BackupManager, settings: Settings, folder: Path, times: int
) -> None:
    record = manager.backup_database()
    whole = (folder / record.key).read_bytes()
    draw = random.Random(2)
    nowhere = away(settings)  # a restore that got as far as a database would fail otherwise
    for _ in range(times):
        (folder / record.key).write_bytes(whole[: draw.randrange(len(whole))])
        with pytest.raises(ArchiveDamaged):
            nowhere.restore_database(record.key)
    for _ in range(times):
        bit = draw.randrange(8 * len(whole))
        altered = bytearray(whole)
        altered[bit // 8] ^= 1 << bit % 8
        (folder / record.key).write_bytes(altered)
        with pytest.raises((ArchiveDamaged, KeyMissing)):
            nowhere.restore_database(record.key)
    assert not manager.list_backups()[0].check.sound
    (folder / record.key).write_bytes(whole)
    assert manager.verify_backup(record.key).size == len(whole)
    assert manager.list_backups()[0].check.sound
    (folder / record.key).unlink()
    with pytest.raises(ArchiveDamaged, match="is gone"):
        nowhere.restore_database(record.key)


@pytest.mark.parametrize(
    "altered",
    [
        lambda m: msgspec.structs.replace(m, sha256="0" * 64),
        lambda m: msgspec.structs.replace(m, created=m.created + timedelta(days=1)),
        lambda m: msgspec.structs.replace(m, database="other"),
        lambda m: msgspec.structs.replace(m, sealed=m.sealed[:-1]),
        lambda m: msgspec.structs.replace(m, wrapped=m.wrapped[::-1]),
        lambda m: msgspec.structs.replace(m, wrapped=b""),
        lambda m: msgspec.structs.replace(m, key=m.key.replace("2026", "2020")),
        lambda m: {"version": 1},
    ],
    ids=["digest", "date", "database", "contents", "key wrapped", "no key", "name", "form"],
)
def test_an_altered_manifest_is_rejected(
    manager: BackupManager, folder: Path, altered: Callable[[object], object]
) -> None:
    key = manager.backup_database().key
    manifest = manager.vault.manifest(key)
    (folder / f"{key}{MANIFEST}").write_bytes(msgspec.json.encode(altered(manifest)))
    with pytest.raises(ArchiveDamaged):
        manager.verify_backup(key)


def test_an_archive_with_another_digest_than_its_manifest_says_is_rejected(manager: BackupManager) -> None:
    from api.backup import archive

    key = manager.backup_database().key
    with pytest.raises(ArchiveDamaged, match="its manifest says 00"):
        archive.check(manager.store, key, "00", manager.keys)


def test_a_dump_without_a_manifest_is_no_backup(manager: BackupManager, folder: Path) -> None:
    key = manager.backup_database().key
    (folder / f"{key}{MANIFEST}").unlink()
    assert manager.list_backups() == []
    with pytest.raises(NoSuchBackup, match="there is no backup"):
        manager.restore_database(key)
    with pytest.raises(NoSuchBackup, match="there is no backup of"):
        manager.newest()
    with pytest.raises(BackupError, match="expected backups/database/db_backup_"):
        manager.verify_backup("backups/database/other.dump")
    # A manifest that cannot be read hides one backup, and not the others.
    other = manager.backup_database()
    (folder / f"{key}{MANIFEST}").write_bytes(b"\xff")
    assert manager.list_backups() == [other]


def test_a_backup_that_is_deleted_while_they_are_listed_is_not_listed(
    manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (manager.backup_database() for _ in range(2))
    real = manager.store.list

    def listing(prefix: str = "") -> list[object]:
        found = list(real(prefix))
        manager.store.delete(old.key + MANIFEST)
        return found

    monkeypatch.setattr(manager.store, "list", listing)
    assert manager.list_backups() == [new]


def test_what_a_killed_backup_left_is_removed_and_nothing_else(manager: BackupManager, folder: Path) -> None:
    good = manager.backup_database()
    begun, _ = manager.vault.begin(manager.database().name, moment())
    (folder / begun).write_bytes(b"half of it")
    finished, _ = manager.vault.begin(manager.database().name, moment())
    manager.vault.begin("another", moment())
    for tail in ("", MANIFEST):
        (folder / f"{finished}{tail}").write_bytes((folder / f"{good.key}{tail}").read_bytes())
    manager.backup_database()
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert all((folder / name).read_bytes() != b"half of it" for name in left)
    assert {finished, good.key} <= left
    assert [name for name in left if "begun" in name and "another" not in name] == []
    assert len([name for name in left if "begun" in name]) == 1


def test_of_two_backups_at_once_exactly_one_runs(manager: BackupManager, settings: Settings) -> None:
    with manager.database().locked():
        with pytest.raises(BackupBusy, match="another backup or restore"):
            BackupManager(settings).backup_database()
        with pytest.raises(BackupBusy):
            manager.prune()
    assert manager.status().failures == 0  # to be in the way is no failure
    outcomes: list[str] = []
    barrier = threading.Barrier(4)

    def one() -> None:
        mine = BackupManager(settings)
        real = mine.made

        def slow(*arguments: object) -> object:
            everybody_tried.wait(30)
            return real(*arguments)  # type: ignore[arg-type]

        mine.made = slow  # type: ignore[assignment, method-assign]
        barrier.wait(30)
        try:
            mine.backup_database()
            outcomes.append("made")
        except BackupBusy:
            outcomes.append("busy")
            if outcomes.count("busy") == 3:
                everybody_tried.set()

    everybody_tried = threading.Event()
    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["busy", "busy", "busy", "made"]
    assert len(manager.list_backups()) == 1


def test_a_lock_that_was_lost_on_the_way_makes_no_backup(
    manager: BackupManager, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = manager.with_objects

    def cut(*arguments: object) -> object:
        postgres.run("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(manager, "with_objects", cut)
    with pytest.raises(BackupError, match="the database"):
        manager.backup_database()
    assert manager.list_backups() == []


def test_client_programs_older_than_the_server_are_refused_before_anything_is_stored(
    settings: Settings, tmp_path: Path, folder: Path
) -> None:
    programs = tmp_path / "old"
    programs.mkdir()
    for name in ("pg_dump", "pg_restore", "psql"):
        (programs / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 9.6'\n")
        (programs / name).chmod(0o755)
    (programs / "broken").mkdir()
    (programs / "broken" / "pg_dump").write_text("no program at all")
    (programs / "broken" / "pg_dump").chmod(0o755)
    old = BackupManager(msgspec.structs.replace(settings, pg_bin=f"{programs}:{programs}/broken"))
    with pytest.raises(ClientTooOld, match=r"pg_dump of PostgreSQL 18 or newer is needed; found 9.6 in"):
        old.backup_database()
    assert not [path for path in folder.rglob("*.dump*") if path.is_file()]
    key = BackupManager(settings).backup_database().key
    with pytest.raises(ClientTooOld, match="pg_restore of PostgreSQL 18"):
        old.restore_database(key)


@pytest.mark.parametrize("programs", VERSIONS)
def test_real_client_programs_are_taken_unless_they_are_older_than_the_server(
    settings: Settings, programs: str
) -> None:
    told = subprocess.run([f"{programs}/pg_dump", "--version"], capture_output=True, text=True, check=True).stdout
    manager = BackupManager(msgspec.structs.replace(settings, pg_bin=programs))
    if int(re.findall(r"\d+", told)[0]) < 18:
        with pytest.raises(ClientTooOld, match="PG_BIN names the folder"):
            manager.backup_database()
    else:
        assert manager.verify_backup(manager.backup_database().key).rows == 3326


def test_another_key_than_the_one_it_was_made_with_opens_no_backup(manager: BackupManager, settings: Settings) -> None:
    key = manager.backup_database().key
    for keys, error in [("first:" + "A" * 43 + "=", ArchiveDamaged), (KEYS.replace("first", "second"), KeyMissing)]:
        other = BackupManager(msgspec.structs.replace(settings, backup_encryption_keys=keys))
        with pytest.raises(error):
            other.verify_backup(key)
    rotated = f"second:{'A' * 43}=,{KEYS}"
    assert BackupManager(msgspec.structs.replace(settings, backup_encryption_keys=rotated)).verify_backup(key)


def test_in_development_a_key_is_made_and_in_production_it_has_to_be_given(settings: Settings) -> None:
    bare = msgspec.structs.replace(settings, backup_encryption_keys="")
    key = BackupManager(bare).backup_database().key
    assert BackupManager(bare).verify_backup(key).rows == 3326
    made = Path(settings.state_dir) / "backup_key"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    with pytest.raises(BackupError, match="set BACKUP_ENCRYPTION_KEYS"):
        BackupManager(msgspec.structs.replace(bare, env="production"))


def test_prune_deletes_what_retention_does_not_keep(manager: BackupManager, folder: Path) -> None:
    keys = [manager.backup_database().key for _ in range(3)]
    report = manager.prune(retention=Retention(daily=1, weekly=0, monthly=0))
    assert (report.kept, report.deleted) == ([keys[2]], keys[:2])
    assert [one.key for one in manager.list_backups()] == [keys[2]]
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert not [name for name in left if any(key.split("/")[-1][:-5] in name for key in keys[:2])]
    # The newest is found damaged and another is made: the damaged one goes, the sound one stays, whatever the numbers.
    (folder / keys[2]).write_bytes(b"damaged")
    with pytest.raises(ArchiveDamaged):
        manager.verify_backup(keys[2])
    newest = manager.backup_database().key
    assert manager.prune(retention=Retention(daily=0, weekly=0, monthly=0)).kept == [newest]


def test_a_drill_restores_the_newest_backup_and_drops_it_again(
    manager: BackupManager, postgres: Postgres, database: str
) -> None:
    key = manager.backup_database().key
    before, there = state(postgres, database), databases(postgres)
    report = manager.drill()
    assert (report.key, report.tables, report.rows) == (key, 4, 3326)
    assert databases(postgres) == there
    assert state(postgres, database) == before
    assert manager.list_backups()[0].check.how == "drill"
    status = manager.status()
    assert (status.drill_passed, status.key) == (True, key)
    assert metrics.DRILL_SUCCESS.labels(database)._value.get() == 1.0
    assert metrics.BACKUP_SIZE.labels(database)._value.get() == manager.newest().size


def test_a_drill_finds_values_that_are_not_what_was_backed_up(
    manager: BackupManager, postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = manager.backup_database().key
    real = manager.filled

    def spoilt(locked: object, scratch: object, *arguments: object) -> int:
        compare = locked.compare  # type: ignore[attr-defined]

        def after_harm(restored: object, contents: object) -> None:
            postgres.run(
                "UPDATE loan SET balance = balance + 1 WHERE loan_id = 7",
                "DELETE FROM pool WHERE pool_id = 20 AND false",
                "DELETE FROM flow WHERE amount = 1",
                'DROP TABLE "odd ""schema"."odd ""table"',
                "CREATE TABLE stray ()",
                "SELECT setval('loan_loan_id_seq', 1)",
                "DROP SEQUENCE down",
                "ALTER TABLE loan DROP CONSTRAINT loan_balance_check",
                database=restored.name,  # type: ignore[attr-defined]
            )
            compare(restored, contents)

        locked.compare = after_harm  # type: ignore[attr-defined]
        return real(locked, scratch, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(manager, "filled", spoilt)
    with pytest.raises(ContentsDiffer, match="more") as raised:
        manager.drill(key)
    told = "\n".join(raised.value.differences)
    for expected in [
        'table "odd ""schema"."odd ""table" is missing',
        'table "public"."stray" is new',
        'table "public"."flow_2026" has 299 rows; expected 300',
        'table "public"."loan" has the 3003 rows expected, but other values in them',
        'sequence "public"."loan_loan_id_seq" is not where it stood',
        'sequence "public"."down" is missing',
        "constraints: ",
        "relations: ",
    ]:
        assert expected in told
    assert not manager.status().drill_passed
    assert not manager.list_backups()[0].check.sound
    assert not [name for name in databases(postgres) if "drill" in name]


def test_a_restore_that_fails_leaves_the_live_database_as_it_was(
    manager: BackupManager, postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = manager.backup_database().key
    before, there = state(postgres, database), databases(postgres)

    def breaks(*arguments: object) -> None:
        raise BackupError("no")

    monkeypatch.setattr("api.backup.postgres.LockedPostgres.compare", breaks)
    with pytest.raises(BackupError, match="no"):
        manager.restore_database(key)
    assert databases(postgres) == there
    assert state(postgres, database) == before


def test_connections_of_the_live_database_are_ended_and_none_gets_in_between(
    manager: BackupManager, postgres: Postgres, database: str
) -> None:
    key = manager.backup_database().key
    stop = threading.Event()
    seen: list[int] = []

    def client() -> None:
        while not stop.is_set():
            try:
                seen.extend(row[0] for row in asked(postgres, "SELECT count(*) FROM loan", database))
            except Exception:
                seen.append(-1)  # ended, or refused while the names are swapped

    threads = [threading.Thread(target=client) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        manager.restore_database(key, drop_old=True)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert seen.count(3003) > 0
    assert set(seen) <= {3003, -1}


def test_names_that_do_not_fit_are_cut(manager: BackupManager, postgres: Postgres) -> None:
    name = "n" * 63
    postgres.run(f"CREATE DATABASE {name}")
    try:
        key = manager.backup_database(db_name=name).key
        report = manager.restore_database(key, db_name=name)
        assert report.former is not None
        assert len(report.former) == 63
        postgres.drop(report.former)
    finally:
        postgres.drop(name)

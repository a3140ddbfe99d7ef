"""Dumps of a PostgreSQL database, and restores that leave it alone until the restored one has been checked.

The dump is pg_dump's custom format, and what the database holds is read in the very snapshot of the dump. A restore
fills a scratch database in one transaction, compares it, and swaps the names in another. The live database is closed
to new connections by the lock of its renaming, so nothing is left behind should the process be killed at any point:
the names are swapped or they are not.
"""

import asyncio
import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Literal

import asyncpg

from api.backup import unfinished
from api.backup.clients import Target, client, converted, fed, output
from api.backup.contents import differences, named, names, properties, sequences, tables
from api.backup.errors import BackupBusy, BackupError, ContentsDiffer
from api.backup.manifest import Contents, Manifest, Properties, moment
from api.backup.session import Loop, Session, connected, literal, quoted

MAX_NAME = 63
LISTS = {"search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries", "DateStyle"}
RENAME_ATTEMPTS = 5
# pg_restore of this version and newer sets it first of all, and stops where the server does not know it.
NEW_SETTING, SETTING = 17, b"SET transaction_timeout = 0;\n"
NUMBER = "SELECT oid FROM pg_database WHERE datname = $1"
# By number and not by name: the name is the restored database's when the names are swapped.
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datid = $1"


class Dump:
    """A dump under way: `chunks` streams it; after the last of them `contents` is what the database held."""

    def __init__(self, kind: Literal["postgresql", "sqlite"], server_version: str, client_version: str) -> None:
        self.kind, self.server_version, self.client_version = kind, server_version, client_version
        self.chunks: Iterator[bytes] = iter(())
        self.contents: Contents | None = None

    def held(self) -> Contents:
        """What the database held, known when the dump has been read to its end."""
        if self.contents is None:
            raise AssertionError("the dump was not read to its end")
        return self.contents


class Restored:
    """A scratch database that holds an archive. owner: whose it becomes. notes: what an operator should know."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.owner: str | None = None
        self.notes: list[str] = []


class PostgresDatabase:
    """One PostgreSQL database, there or still to be restored."""

    def __init__(self, target: Target, pg_bin: str = "", maintenance: str = "postgres") -> None:
        self.target, self.pg_bin, self.maintenance = target, pg_bin, maintenance

    @property
    def name(self) -> str:
        return self.target.database

    def formers(self) -> list[str]:
        """The databases that restores replaced and nobody has dropped yet, oldest first."""
        with Loop() as loop, Session(loop, self.target) as session:
            return found_beside(session, self.name, "before")

    @contextmanager
    def locked(self) -> Iterator["LockedPostgres"]:
        """The database while nothing else backs it up or restores it. Raises BackupBusy where something does.

        The lock is the server's, in the maintenance database, and ends with the connection: a killed process frees it.
        """
        with Loop() as loop, Session(loop, self.target.named(self.maintenance)) as session:
            lock = int.from_bytes(
                hashlib.sha256(f"cashflow backup {self.name}".encode()).digest()[:8], "big", signed=True
            )
            if not session.value("SELECT pg_try_advisory_lock($1)", lock):
                raise BackupBusy(f"another backup or restore of {self.name!r} is running")
            yield LockedPostgres(self, loop, session)


class LockedPostgres:
    """A database that no other backup or restore touches. session: on the maintenance database; it holds the lock."""

    kind = "postgresql"

    def __init__(self, database: PostgresDatabase, loop: Loop, session: Session) -> None:
        self.target, self.pg_bin, self.loop, self.session = database.target, database.pg_bin, loop, session

    @property
    def name(self) -> str:
        return self.target.database

    def server_major(self) -> int:
        return int(self.session.value("SELECT current_setting('server_version_num')::int / 10000"))

    @contextmanager
    def dump(self) -> Iterator[Dump]:
        """A dump of the database and what it holds, of one moment. Raises ClientTooOld before it begins."""
        pg_dump = client("pg_dump", self.server_major(), self.pg_bin)
        version = self.session.value("SELECT current_setting('server_version')")
        with Session(self.loop, self.target) as reader:
            reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            snapshot = reader.value("SELECT pg_export_snapshot()")
            dump = Dump("postgresql", version, pg_dump.shown)
            before = sequences(reader)
            # The least compression: results are float64 values that hardly shrink, and what is compressed is checked.
            command = [pg_dump.path, "--format=custom", "--compress=1", f"--snapshot={snapshot}"]

            def chunks() -> Iterator[bytes]:
                yield from output(command, self.target)
                after = sequences(reader)
                dump.contents = Contents(
                    tables=tables(reader),
                    sequences={name: (at, after.get(name, at)) for name, at in before.items()},
                    names=names(reader),
                    properties=properties(reader),
                )

            dump.chunks = chunks()
            yield dump

    def still_locked(self) -> None:
        """Raises BackupError where the connection that holds the lock was lost on the way."""
        self.session.value("SELECT 1")

    def exists(self, name: str) -> bool:
        return bool(self.session.value("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name))

    def beside(self, word: str) -> str:
        """A name that no database has, such as app_restore_20261125010203."""
        when = moment()
        while self.exists(name := beside_at(self.name, word, when)):
            when += timedelta(seconds=1)
        return name

    def found_beside(self, word: str) -> list[str]:
        """The databases of that form that are there, oldest first."""
        return found_beside(self.session, self.name, word)

    def drop(self, name: str) -> None:
        self.session.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")

    @contextmanager
    def scratch(self, word: str) -> Iterator[Restored]:
        """A name for a scratch database, which is dropped with the block unless it was renamed by then.

        What a killed process left behind of the kind is dropped first.
        """
        for name in self.found_beside(word):
            self.drop(name)
        restored = Restored(self.beside(word))
        try:
            yield restored
        finally:
            with suppress(BackupError):  # a server that went away keeps it; the next run drops it
                self.drop(restored.name)

    def create(self, restored: Restored, like: Properties | None) -> None:
        """Makes the scratch database with the encoding, locale and settings of the one that was backed up."""
        made = f"CREATE DATABASE {quoted(restored.name)} TEMPLATE template0"
        if like is None:
            self.session.execute(made)
            return
        same = f" ENCODING {literal(like.encoding)} LC_COLLATE {literal(like.collate)} LC_CTYPE {literal(like.ctype)}"
        if like.provider != "c" and like.locale:
            provider, option = {"i": ("icu", "ICU_LOCALE"), "b": ("builtin", "BUILTIN_LOCALE")}[like.provider]
            same += f" LOCALE_PROVIDER {provider} {option} {literal(like.locale)}"
        try:
            self.session.execute(made + same)
        except BackupError as error:
            restored.notes.append(f"the locale is this server's default, since the former one cannot be had: {error}")
            self.session.execute(f"{made} ENCODING {literal(like.encoding)}")

    def dress(self, restored: Restored, like: Properties, have: set[str]) -> None:
        """Gives the scratch database the settings and privileges of the one that was backed up."""
        name = quoted(restored.name)
        for setting in like.settings:
            option, _, value = setting.partition("=")
            # Lists are kept as SQL writes them; any other value is one literal.
            shown = value if option in LISTS else literal(value)
            self.session.execute(f"ALTER DATABASE {name} SET {quoted(option)} TO {shown}")
        if like.grants is not None:
            self.session.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
            for role, privilege in like.grants:
                if not role or role in have:
                    whom = quoted(role) if role else "PUBLIC"
                    self.session.execute(f"GRANT {privilege} ON DATABASE {name} TO {whom}")
        if like.owner in have and self.session.value("SELECT pg_has_role($1, 'MEMBER')", like.owner):
            restored.owner = like.owner
        else:
            restored.notes.append(f"the database belongs to {self.target.user}; it was {like.owner}'s")

    def fill(self, restored: Restored, chunks: Iterable[bytes], manifest: Manifest, contents: Contents) -> None:
        """Restores an archive into the scratch database, in one transaction and to the first error."""
        made_by, server = int(manifest.client_version.partition(".")[0]), self.server_major()
        pg_restore = client("pg_restore", max(made_by, server), self.pg_bin)
        command = [pg_restore.path]
        roles = contents.properties.roles if contents.properties else []
        have = {row["rolname"] for row in self.session.rows("SELECT rolname::text FROM pg_roles")}
        absent = [role for role in roles if role not in have]
        if absent:
            command += ["--no-owner", "--no-privileges"]
            restored.notes.append(f"owners and privileges are {self.target.user}'s: no role {', '.join(absent)} here")
        self.create(restored, contents.properties)
        target = self.target.named(restored.name)
        if pg_restore.version[0] >= NEW_SETTING > server:
            script = converted([*command, "--file=-"], target, chunks)
            fed(self.psql(), target, without_setting(script))
        else:
            fed([*command, "--single-transaction", "--exit-on-error"], target, chunks)
        if contents.properties:
            self.dress(restored, contents.properties, have)

    def fill_plain(self, restored: Restored, chunks: Iterable[bytes]) -> int:
        """How many rows there are after a plain SQL archive ran, in one transaction and to the first error."""
        command = self.psql()
        self.create(restored, None)
        fed(command, self.target.named(restored.name), chunks)
        return self.counted(restored)

    def psql(self) -> list[str]:
        """The command that runs a script in one transaction, to the first error."""
        path = client("psql", self.server_major(), self.pg_bin).path
        return [path, "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]

    def compare(self, restored: Restored, contents: Contents) -> None:
        """Raises ContentsDiffer where the scratch database is not what was backed up."""
        with Session(self.loop, self.target.named(restored.name)) as session:
            found = differences(contents, session)
        if found:
            raise ContentsDiffer(found)

    def counted(self, restored: Restored) -> int:
        """How many rows the tables of the scratch database have together."""
        with Session(self.loop, self.target.named(restored.name)) as session:
            return sum(mark.rows for mark in tables(session).values())

    def end_unfinished(self, restored: Restored) -> None:
        """Ends the jobs of backups that the scratch database holds as under way."""
        with Session(self.loop, self.target.named(restored.name)) as session:
            tables = [named(row) for row in session.rows(unfinished.POSTGRES_TABLE)]
            ended = [row for table in tables for row in session.rows(unfinished.ending(table, "now()"))]
        restored.notes += unfinished.noted(len(ended))

    def swap(self, restored: Restored) -> str | None:
        """The name that the live database has now that the scratch database took its place; none if there was none.

        Renaming locks the live database against new connections; those it has are ended meanwhile.
        """
        former = self.beside("before") if self.exists(self.name) else None
        scratch = self.session.value(NUMBER, restored.name)
        left = RENAME_ATTEMPTS
        while True:
            left -= 1
            try:
                self.loop.run(self.renamed(restored, former))
                return former
            except BackupError as error:
                if self.is_swapped(scratch, error):
                    return former
                # Somebody who connected just before the lock was taken; it is ended in the next round.
                if not left or not isinstance(error.__cause__, asyncpg.ObjectInUseError):
                    raise

    def is_swapped(self, scratch: int, error: BackupError) -> bool:
        """Whether the scratch database has the live one's name, after an error that may have come when it had.

        Raises BackupError where that cannot be found out.
        """
        try:
            with Session(self.loop, self.session.target) as session:
                return bool(session.value(NUMBER, self.name) == scratch)
        except BackupError as away:
            unknown = f"it is not known whether {self.name!r} was replaced; look at the names of the databases"
            raise BackupError(f"{unknown}: {error}; {away}") from error

    async def renamed(self, restored: Restored, former: str | None) -> None:
        """Swaps the names in one transaction, while a second connection ends those of the live database."""
        statements = [f"ALTER DATABASE {quoted(restored.name)} RENAME TO {quoted(self.name)}"]
        if restored.owner is not None:
            statements.append(f"ALTER DATABASE {quoted(self.name)} OWNER TO {quoted(restored.owner)}")
        if former is not None:
            statements.insert(0, f"ALTER DATABASE {quoted(self.name)} RENAME TO {quoted(former)}")
        renaming = await connected(self.session.target)
        try:
            live = await renaming.fetchval(NUMBER, self.name)
            ending = asyncio.create_task(self.end_connections(live))
            try:
                async with renaming.transaction():
                    for statement in statements:
                        await renaming.execute(statement)
            except asyncpg.ObjectInUseError as error:
                if ending.done() and (reason := ending.exception()) is not None:
                    raise BackupError(f"the connections to {self.name!r} could not be ended: {reason}") from error
                raise
            finally:
                ending.cancel()
                # What became of it matters no more: the names are swapped, or the error says why they are not.
                await asyncio.gather(ending, return_exceptions=True)
        finally:
            await renaming.close(timeout=5)

    async def end_connections(self, live: int | None) -> None:
        """Ends the connections of the database of that number again and again until it is cancelled."""
        connection = await connected(self.session.target)
        try:
            while True:
                await connection.fetch(TERMINATE, live)
                await asyncio.sleep(0.1)
        finally:
            connection.terminate()


def beside_at(name: str, word: str, when: datetime) -> str:
    """A database's name with a word and a time behind it, cut to what PostgreSQL takes."""
    tail = f"_{word}_{when:%Y%m%d%H%M%S}"
    return name.encode()[: MAX_NAME - len(tail)].decode(errors="ignore") + tail


def found_beside(session: Session, name: str, word: str) -> list[str]:
    """The databases of that form that are there, oldest first."""
    form = re.compile(re.escape(beside_at(name, word, moment())[:-14]) + r"\d{14}")
    rows = session.rows("SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1")
    return [row["datname"] for row in rows if form.fullmatch(row["datname"])]


def without_setting(script: Iterator[bytes]) -> Iterator[bytes]:
    """A script without the setting that older servers do not know, which stands before anything of the dump."""
    first = next(script, b"")
    yield first.replace(SETTING, b"", 1)
    yield from script

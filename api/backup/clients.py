"""PostgreSQL's own client programs: found, checked against the server, and run as streams.

No shell, and no secret in an argument or the environment: the password is in a file (PGPASSFILE, mode 0600) that is
removed after. A program sees only the environment that it needs.
"""

import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from api.backup.errors import BackupError, ClientTooOld, Unusable

PIECE = 1024 * 1024
KEPT_ERRORS = 16 * 1024
PASS_FOLDER = "cashflow-pgpass-"
LEFT_BEHIND = 24 * 3600
NEEDED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT")
DEBIAN = "/usr/lib/postgresql"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A database and how to reach it. sslmode as libpq knows it; blank for its default."""

    host: str
    port: int
    user: str
    password: str
    database: str
    sslmode: str = ""

    def __repr__(self) -> str:
        return f"Target({self.user}@{self.host}:{self.port}/{self.database})"

    def named(self, database: str) -> "Target":
        """Another database of the same server."""
        return msgspec.structs.replace(self, database=database)


class Client(msgspec.Struct, frozen=True, order=True):
    """A client program and its version, such as (18, 0)."""

    version: tuple[int, ...]
    path: str

    @property
    def shown(self) -> str:
        return ".".join(map(str, self.version))


def folders(pg_bin: str) -> list[str]:
    """Where client programs are looked for: in PG_BIN (several folders as in PATH), on PATH, where Debian has them."""
    given = [folder for folder in pg_bin.split(os.pathsep) if folder]
    if given:
        return given
    return os.environ.get("PATH", "").split(os.pathsep) + sorted(str(found) for found in Path(DEBIAN).glob("*/bin"))


def client(program: str, at_least: int, pg_bin: str = "") -> Client:
    """The oldest `program` that is at least of the major version `at_least`: the closest to the server's.

    Raises ClientTooOld before anything is done, since an older program may leave out what it does not know.
    """
    found = []
    for folder in folders(pg_bin):
        path = shutil.which(program, path=folder)
        version = version_of(path) if path else None
        if path and version:
            found.append(Client(version, path))
    fitting = sorted(one for one in found if one.version[0] >= at_least)
    if fitting:
        return fitting[0]
    have = ", ".join(f"{one.shown} in {Path(one.path).parent}" for one in sorted(found)) or "none"
    message = f"{program} of PostgreSQL {at_least} or newer is needed; found {have}. PG_BIN names the folder to use"
    raise ClientTooOld(message)


def version_of(path: str) -> tuple[int, ...] | None:
    """The version that a program tells; none where it does not run."""
    try:
        told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=30).stdout
    except OSError:
        return None
    numbers = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", told)
    return tuple(int(number) for number in numbers.groups() if number) if numbers else None


@contextmanager
def pass_file(target: Target) -> Iterator[str]:
    """The path of a password file for the target, readable by this user alone, removed after."""
    if "\n" in target.password:
        raise Unusable("the database's password has a line break, which PGPASSFILE cannot hold")
    sweep()
    folder = tempfile.mkdtemp(prefix=PASS_FOLDER)
    try:
        path = os.path.join(folder, "pgpass")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            secret = target.password.replace("\\", "\\\\").replace(":", "\\:")
            out.write(f"*:*:*:*:{secret}\n")
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Removes the password files of processes that were killed a day ago or earlier."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PASS_FOLDER}*"):
        with suppress(OSError):  # whose it is may remove it meanwhile
            if folder.stat().st_uid == os.getuid() and folder.stat().st_mtime < time.time() - LEFT_BEHIND:
                shutil.rmtree(folder)


def conninfo(target: Target) -> str:
    """The target as libpq's connection string, without the password."""
    parts = {"host": target.host, "port": str(target.port), "user": target.user, "dbname": target.database}
    if target.sslmode:
        parts["sslmode"] = target.sslmode
    quoted = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in parts.items()}
    return " ".join(f"{name}='{value}'" for name, value in quoted.items())


@contextmanager
def running(
    command: list[str], target: Target, *, feed: bool = False, read: bool = False, connects: bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    """A client program at work on the target. Ends it where the block fails; raises BackupError where it failed.

    feed, read: with a pipe to its input, from its output. connects: whether it is told how to reach the target.
    """
    with pass_file(target) as secret:
        environment = {name: os.environ[name] for name in NEEDED if name in os.environ}
        environment |= {"PGPASSFILE": secret, "PGAPPNAME": "cashflow backup", "PGCONNECT_TIMEOUT": "30"}
        process = subprocess.Popen(
            [*command, *([f"--dbname={conninfo(target)}", "--no-password"] if connects else [])],
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.PIPE if read else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        told = bytearray()
        listener = threading.Thread(target=listen, args=(process, told), daemon=True)
        listener.start()
        done = False
        try:
            yield process
            done = True
        finally:
            if not done:
                process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):  # it ended before it read everything; its exit code says why
                        pipe.close()
            code = process.wait()
            listener.join()
            assert process.stderr is not None
            process.stderr.close()
        if code:
            raise BackupError(f"{Path(command[0]).name} failed ({code}): {last_words(bytes(told), target)}")


def listen(process: subprocess.Popen[bytes], told: bytearray) -> None:
    """Reads what a program writes to stderr to its end, and keeps the last of it."""
    for line in process.stderr or ():
        told += line
        del told[:-KEPT_ERRORS]


def last_words(told: bytes, target: Target) -> str:
    """The errors a program told, without the password should it be among them."""
    lines = [line for line in told.decode(errors="replace").splitlines() if line.strip()]
    shown = " ".join(lines[-4:]) or "it said nothing"
    return shown.replace(target.password, "***") if target.password else shown


def output(command: list[str], target: Target) -> Iterator[bytes]:
    """What a client program writes, as it comes; ends the program where the reader stops early."""
    with running(command, target, read=True) as process:
        assert process.stdout is not None
        while piece := process.stdout.read(PIECE):
            yield piece


def fed(command: list[str], target: Target, chunks: Iterable[bytes]) -> None:
    """Runs a client program on chunks. Where a chunk cannot be had the program is killed, with all it had begun."""
    with running(command, target, feed=True) as process:
        assert process.stdin is not None
        for chunk in chunks:
            try:
                process.stdin.write(chunk)
            except BrokenPipeError:
                break  # it ended before it read everything; its exit code says why


def converted(command: list[str], target: Target, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What a client program that connects to nothing makes of chunks, as it comes.

    Raises what the chunks raise: what came out by then is then not the whole.
    """
    failures: list[BaseException] = []

    def feed(process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        try:
            for chunk in chunks:
                process.stdin.write(chunk)
            process.stdin.close()
        except BrokenPipeError:
            return  # it ended before it read everything; its exit code says why
        except BaseException as error:
            failures.append(error)
            process.kill()

    with running(command, target, feed=True, read=True, connects=False) as process:
        assert process.stdout is not None
        feeder = threading.Thread(target=feed, args=(process,), daemon=True)
        feeder.start()
        try:
            while piece := process.stdout.read(PIECE):
                yield piece
        except GeneratorExit:
            process.kill()
            raise
        finally:
            feeder.join()
        if failures:
            raise failures[0]

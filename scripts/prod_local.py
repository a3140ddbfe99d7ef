"""Runs the production profile on this machine, without containers, and walks through the deployment guide against it.

PostgreSQL and Valkey come from wheels (or PATH), nginx from PATH; without nginx the API is asked directly. Exit
status 0 if every step of the walk passed. `--keep` leaves everything running until Ctrl-C and prints the address.
"""

import argparse
import base64
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from scripts.check_deploy import local_nginx
from scripts.prod_walk import walk
from tests.servers import free_port, postgres_folder, postgres_server, valkey_server

ROOT = Path(__file__).resolve().parents[1]
COMMAND = str(Path(sys.executable).with_name("cashflow"))
START_SECONDS = 60.0


class Part:
    """A process of the service: started, stopped and started again, its log in a file of its own."""

    def __init__(self, name: str, command: list[str], environ: dict[str, str], log: Path) -> None:
        self.name, self.command, self.environ, self.log = name, command, environ, log
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self.command, env=self.environ, stdout=log, stderr=log, cwd=self.log.parent, start_new_session=True
            )

    def stop(self, seconds: float = 40.0) -> int:
        """Its exit status after SIGTERM. Kills it, children and all, where it takes longer than that."""
        assert self.popen is not None
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(self.popen.pid, signal.SIGKILL)
        return self.popen.wait()


class Production:
    """The running profile: its parts, its secrets, how to reach it and how to sign tokens for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts: dict[str, Part] = {}
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.planted = {name: f"planted-{name}-{secrets.token_hex(12)}" for name in ("database", "webhook")}
        self.backup_key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.api_ports = [free_port(), free_port()]
        self.metrics_ports = {name: free_port() for name in ("worker-1", "worker-2", "scheduler")}
        self.environ: dict[str, str] = {}
        self.address = ""
        self.certificate: str | None = None

    @property
    def api_addresses(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.api_ports]

    def token(self, subject: str, role: str = "analyst") -> str:
        """A token as an identity provider would sign it."""
        now = int(time.time())
        claims = {
            "sub": subject,
            "iss": "cashflow",
            "aud": "cashflow-api",
            "iat": now,
            "exp": now + 3600,
            "roles": [role],
        }
        return jwt.encode(claims, self.key, "ES256", {"kid": "local-1"})

    def client(self, **options: float) -> httpx.Client:
        """A client of the public address, or of the first API where there is no proxy."""
        verify = self.certificate or False
        context = httpx.create_ssl_context(verify=verify) if self.certificate else False
        return httpx.Client(base_url=self.address, verify=context, timeout=options.get("timeout", 30.0))

    def settings(self, database: str, redis_url: str) -> dict[str, str]:
        """The environment of every part; as the guide has it, and with a key set in a file."""
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key()))
        jwks = self.folder / "jwks.json"
        jwks.write_text(json.dumps({"keys": [{**public, "kid": "local-1", "alg": "ES256", "use": "sig"}]}))
        passed = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        return passed | {
            "ENV": "production",
            "STATE_DIR": str(self.folder / "state"),
            "DATABASE_URL": database,
            "REDIS_URL": redis_url,
            "OBJECT_STORE": str(self.folder / "objects"),
            "BACKUP_STORE": str(self.folder / "backups"),
            "BACKUP_ENCRYPTION_KEYS": f"local:{self.backup_key}",
            "PG_BIN": str(postgres_folder()),
            "JWT_JWKS": str(jwks),
            "ALLOWED_HOSTS": "localhost,127.0.0.1",
            "TRUSTED_PROXIES": "127.0.0.1",
            "WEBHOOK_SECRET": self.planted["webhook"],
            "CALCULATION_THREAD_POOL_SIZE": "1",
        }

    def add(self, name: str, *arguments: str, **environ: str) -> Part:
        command = [COMMAND, *arguments]
        part = Part(name, command, self.environ | environ, self.folder / f"{name}.log")
        self.parts[name] = part
        return part

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of the service in its environment."""
        return subprocess.run(
            [COMMAND, *arguments], env=self.environ, capture_output=True, text=True, timeout=60, check=False
        )


def until_ready(address: str) -> None:
    """Returns once the process behind the address is ready for requests."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{address}/health/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{address} did not become ready")


def with_proxy(production: Production) -> None:
    """Starts nginx before both APIs where there is one, and sets the public address."""
    program = shutil.which("nginx")
    if program is None:
        print("nginx is not installed: the API is asked directly, without TLS", flush=True)
        production.address = production.api_addresses[0]
        return
    https = free_port()
    config = local_nginx(production.folder, production.api_ports, free_port(), https)
    nginx = Part(
        "nginx", [program, "-c", str(config), "-g", "daemon off;"], dict(os.environ), production.folder / "nginx.log"
    )
    production.parts["nginx"] = nginx
    nginx.start()
    production.address = f"https://localhost:{https}"
    production.certificate = str(production.folder / "tls.crt")


@contextmanager
def running() -> Iterator[Production]:
    """The whole profile, stopped at the end."""
    for given in ("TEST_DATABASE_URL", "TEST_REDIS_URL"):
        os.environ.pop(given, None)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cashflow-")))
        folder.chmod(0o711)  # nginx gives its requests to another user
        production = Production(folder)
        postgres = stack.enter_context(postgres_server(folder))
        postgres.run("CREATE DATABASE cashflow")
        valkey = stack.enter_context(valkey_server(folder, own=True))
        # Trusted here, where the server asks for no password: one that must appear nowhere all the same.
        database = re.sub(r"//postgres@", f"//postgres:{production.planted['database']}@", postgres.dsn("cashflow"))
        production.environ = production.settings(database, valkey.url)
        migrated = production.run("migrate")
        if migrated.returncode:
            raise RuntimeError(f"cashflow migrate: {migrated.stdout}{migrated.stderr}")
        stack.callback(lambda: [part.stop() for part in production.parts.values()])
        for i, port in enumerate(production.api_ports, 1):
            # As in a container of its own: several processes, and a folder for their metrics.
            environ = {"PORT": str(port), "WEB_CONCURRENCY": str(i), "STATE_DIR": str(folder / f"state-{i}")}
            production.add(f"api-{i}", "serve", **environ).start()
        for name, port in production.metrics_ports.items():
            production.add(name, name.partition("-")[0], WORKER_METRICS_PORT=str(port)).start()
        for address in production.api_addresses:
            until_ready(address)
        with_proxy(production)
        yield production


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", action="store_true", help="stay until Ctrl-C after the walk")
    keep = parser.parse_args().keep
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with running() as production:
        print(f"started in {time.monotonic() - began:.0f} s; logs in {production.folder}", flush=True)
        failed = walk(production, stop=not keep)
        print(f"{failed} steps failed" if failed else "every step passed", f"in {time.monotonic() - began:.0f} s")
        if keep:
            print(
                f"\n{production.address}\ncertificate: {production.certificate}",
                f"\ntoken: {production.token('you', 'admin')}",
            )
            print("Ctrl-C stops it", flush=True)
            with suppress(KeyboardInterrupt):
                signal.pause()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

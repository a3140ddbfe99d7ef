"""`make api-fuzz`: schemathesis over the whole OpenAPI document, against the real service on a port of its own.

Every phase: the examples of the document, the edges of each schema (right and wrong ones), random requests, and chains
of them by what one answers and another takes. No answer may be a 5xx, and each must be as the document says.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvicorn

from api.app import create_app
from api.auth import issue_token
from api.settings import Settings

CONFIG = Path(__file__).with_name("schemathesis.toml")
ROOT = Path(__file__).parents[2]
SECONDS = 180


def settings_in(folder: str) -> Settings:
    """A service on SQLite and a folder, small enough that no request takes long."""
    return Settings(
        jwt_secret="a secret of the contract tests, of 32 bytes and more",
        state_dir=folder,
        max_loan_months=200_000,
        max_result_cells=200_000,
        rate_limit_enabled=False,
        log_level="error",
        log_format="json",
    )


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The address of the service, which runs in a thread until the context ends."""
    config = uvicorn.Config(
        create_app(settings), port=0, proxy_headers=False, server_header=False, access_log=False, log_level="error"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the service did not start")
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)


def command(address: str, token: str, *options: str) -> list[str]:
    """The call of schemathesis; what it takes to be a fault is all that it can check."""
    return [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG),
        "run", f"{address}/schema/openapi.json",
        "--header", f"Authorization: Bearer {token}", "--checks", "all", "--request-timeout", "30",
        "--generation-deterministic", "--no-color", *options,
    ]  # fmt: skip


def run(address: str, token: str, options: list[str], folder: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Runs schemathesis to its end, in a folder that may be written to."""
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.api.fuzz_hooks", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command(address, token, *options), check=False, cwd=folder, env=environment, text=True, **more
    )


def main(options: list[str]) -> int:
    """The exit status of schemathesis; options are handed on to it."""
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_in(folder)
        token = issue_token(settings, "fuzzer", timedelta(hours=1), "admin")
        chosen = options or ["--max-time", str(SECONDS), "--continue-on-failure"]
        with served(settings) as address:
            return run(address, token, chosen, folder).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

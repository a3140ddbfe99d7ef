"""Reports to Sentry arrive from REST, GraphQL, SQL and workers, and carry none of the secrets planted around them.

The collector is a server of the test that takes the envelopes as Sentry would.
"""

import base64
import gzip
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SECRET = 'planted "jwt" secret of 32 bytes, and more 0xfeed'
REDIS_PASSWORD = "planted-redis-2a2a"


class Collector(BaseHTTPRequestHandler):
    """Takes envelopes: lines of JSON, a header for the envelope and one for each item, then the item."""

    envelopes: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.envelopes.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        pass


def items(envelopes: list[bytes]) -> list[dict[str, Any]]:
    """The events and transactions in envelopes."""
    found = []
    for envelope in envelopes:
        lines = envelope.split(b"\n")
        assert json.loads(lines[0])
        found += [json.loads(line) for line in lines[2::2] if line]
    return found


def report(what: str, **environ: str) -> tuple[list[bytes], str]:
    """What the collector gets from a process that serves or works, and what that process logs."""
    handler = type("Handler", (Collector,), {"envelopes": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            settings = {
                "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "JWT_SECRET": SECRET, "LOG_FORMAT": "json",
                "REDIS_URL": f"redis://:{REDIS_PASSWORD}@127.0.0.1:1/0", "RATE_LIMIT_ENABLED": "false",
                "SENTRY_DSN": f"http://public@127.0.0.1:{server.server_port}/1", "SENTRY_TRACES_SAMPLE_RATE": "1",
                **environ,
            }  # fmt: skip
            script = [sys.executable, str(ROOT / "tests/api/reporting.py"), what, "planted-argument-3e3e"]
            run = subprocess.run(script, env=settings, capture_output=True, text=True, timeout=60, cwd=ROOT)
            assert run.returncode == 0, run.stderr
        finally:
            server.shutdown()
            thread.join()
    return handler.envelopes, run.stderr  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def served() -> tuple[list[bytes], str]:
    return report("serve")


@pytest.fixture(scope="module")
def worked() -> tuple[list[bytes], str]:
    return report("work")


def errors(envelopes: list[bytes]) -> list[dict[str, Any]]:
    return [item for item in items(envelopes) if "exception" in item]


def test_rest_and_graphql_errors_arrive_once_each_with_the_ids_of_their_request(
    served: tuple[list[bytes], str],
) -> None:
    found = {event["tags"]["request_id"]: event for event in errors(served[0])}
    assert sorted(event["tags"]["request_id"] for event in errors(served[0])) == ["graphql-1", "rest-1"]
    assert found["rest-1"]["transaction"] == "/v1/projections"
    assert found["graphql-1"]["transaction"] == "/graphql"
    for event in found.values():
        kinds = [value["type"] for value in event["exception"]["values"]]
        assert kinds == ["ValueError", "RuntimeError"]
        assert event["exception"]["values"][1]["value"].startswith("boom 18 [scrubbed]")
        assert event["environment"] == "development"


def test_transactions_are_named_by_route_and_hold_the_sql_as_spans(served: tuple[list[bytes], str]) -> None:
    found = [item for item in items(served[0]) if item.get("type") == "transaction"]
    assert {item["transaction"] for item in found} == {"/v1/projections", "/graphql"}
    spans = [span for item in found for span in item["spans"]]
    assert any(span["op"].startswith("db") and span["description"].startswith("SELECT") for span in spans)


def test_a_failing_actor_is_reported_once_with_the_run_and_the_id_of_its_request(
    worked: tuple[list[bytes], str],
) -> None:
    (event,) = errors(worked[0])
    assert event["exception"]["values"][0]["value"] == "worker boom [scrubbed]"
    assert event["tags"]["part"] == "worker"
    assert event["tags"]["run_id"] == "run-7"
    assert event["tags"]["correlation_id"] == "from-the-api"
    failed = next(json.loads(line) for line in worked[1].splitlines() if "unhandled exception" in line)
    assert (failed["run_id"], failed["correlation_id"]) == ("run-7", "from-the-api")
    assert SECRET not in worked[1]


PLANTED = [
    "planted-body-2b7e",  # the body of a request
    "planted-local-9c1d",  # a local variable on the stack
    "planted-url-77aa",  # a password in an address, in a breadcrumb
    "planted-extra-31f0",  # a field named password of a log line
    "planted-sql-5d2c",  # in the text of a statement
    "planted-bound-8e8e",  # a value bound to a statement
    "planted-cause-4444",  # in the message of the cause of an exception
    "planted-pem-0101",  # a private key in a message
    "planted-cookie-6f6f",  # a cookie
    "planted-query-1212",  # a token in the address
    "planted-argument-3e3e",  # an argument of the process
    "eyJ",  # the bearer token of the request
    REDIS_PASSWORD,
    "secret of 32 bytes",  # the key that signs tokens, within an exception
    base64.b64encode(SECRET.encode()).decode()[:24],
]


def test_nothing_planted_is_in_a_report(served: tuple[list[bytes], str], worked: tuple[list[bytes], str]) -> None:
    assert len(served[0]) >= 4
    assert len(worked[0]) >= 1
    # The log names the arguments of a message that fails, which are ids alone; a report does not.
    for planted in [*PLANTED, "planted-message-abab"]:
        for envelope in [*served[0], *worked[0]]:
            assert planted.encode() not in envelope


def test_nothing_planted_is_in_the_log(served: tuple[list[bytes], str]) -> None:
    assert "boom 18 [scrubbed]" in served[1]
    for planted in PLANTED:
        assert planted not in served[1]


def test_without_an_address_the_library_is_not_imported(served: tuple[list[bytes], str]) -> None:
    envelopes, log = report("serve", SENTRY_DSN="")
    assert envelopes == []
    assert "boom 18" in log

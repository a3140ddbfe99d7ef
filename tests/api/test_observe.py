"""Ids follow a request into its answer, its problem and its log; the log is JSON and keeps no secret."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from litestar import Litestar
from litestar.testing import TestClient

from api import correlation
from api.logging import configure, formatter, log_uncaught
from api.observe import Routes, observed
from api.scrub import SCRUBBED, Scrubber, secrets_of
from api.settings import Settings

Client = TestClient[Litestar]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
PASSWORD = 'p@ss "word" and / more'


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the root logger writes as JSON, with PASSWORD known as a secret."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter(Scrubber([PASSWORD]), as_json=True))
    logging.getLogger().addHandler(handler)
    yield out
    logging.getLogger().removeHandler(handler)


def read(lines: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


def test_a_well_formed_request_id_comes_back_on_the_answer_in_the_problem_and_in_the_log(
    client: Client, bearer: dict[str, str], lines: io.StringIO
) -> None:
    response = client.post("/v1/projections", json={}, headers={**bearer, "x-request-id": "order-7.a:b_c"})
    assert response.status_code == 400
    assert response.headers["x-request-id"] == response.headers["x-correlation-id"] == "order-7.a:b_c"
    assert response.json()["request_id"] == "order-7.a:b_c"
    (line,) = [line for line in read(lines) if line["logger"] == "api.access"]
    assert line["request_id"] == line["correlation_id"] == "order-7.a:b_c"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/projections", 400)
    assert line["user"] == "tester"
    assert line["duration_ms"] > 0
    assert line["level"] == "info"


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "a\tb", '"', "-lead", "é"])
def test_a_malformed_request_id_is_replaced(client: Client, given: str) -> None:
    found = client.get("/health/live", headers={"x-request-id": given.encode("latin-1")}).headers["x-request-id"]
    assert found != given
    assert len(found) == 32


@pytest.mark.parametrize(
    ("traceparent", "kept"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"01-{TRACE}-{SPAN}-01-more", True),
        (f"00-{TRACE}-{SPAN}-01-more", False),  # version 00 has four fields
        (f"ff-{TRACE}-{SPAN}-01", False),  # the version that is none
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f"00-{TRACE[1:]}-{SPAN}-01", False),
    ],
)
def test_the_trace_of_a_well_formed_traceparent_is_the_correlation_id(traceparent: str, kept: bool) -> None:
    # The first is the example of W3C Trace Context, section 3.2.2.
    ids = correlation.ids_of([(b"traceparent", traceparent.encode()), (b"x-request-id", b"r1")])
    assert ids == {"request_id": "r1", "correlation_id": TRACE if kept else "r1"}


def test_the_ids_of_two_requests_do_not_mix(client: Client) -> None:
    first, second = (client.get("/health/live").headers["x-request-id"] for _ in range(2))
    assert first != second
    assert correlation.request_id() == ""


def test_an_answer_to_a_token_in_the_address_leaves_no_token_in_the_log(
    client: Client, token: str, lines: io.StringIO
) -> None:
    client.get("/schema", params={"access_token": token}, follow_redirects=False)
    client.get("/schema", params={"access_token": token[:-3]})
    assert [line["status"] for line in read(lines) if line["logger"] == "api.access"] == [303, 401]
    assert token[:40] not in lines.getvalue()
    assert "access_token" not in lines.getvalue()


def test_probes_are_not_logged_unless_they_fail(client: Client, lines: io.StringIO) -> None:
    client.get("/health/live")
    client.get("/metrics")
    assert lines.getvalue() == ""


async def test_a_failure_outside_the_framework_is_counted_and_logged_as_500(lines: io.StringIO) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("broken")

    scope = {"type": "http", "method": "BREW", "path": "/x", "headers": [], "client": ("10.0.0.1", 1)}
    with pytest.raises(RuntimeError):
        await observed(broken, Routes([]))(scope, None, None)  # type: ignore[arg-type]
    (line,) = read(lines)
    assert (line["method"], line["route"], line["status"], line["client"]) == ("other", "other", 500, "10.0.0.1")


def test_an_error_is_logged_with_its_trace_and_without_secrets(lines: io.StringIO) -> None:
    try:
        raise RuntimeError(f"cannot sign in with {PASSWORD}")
    except RuntimeError:
        logging.getLogger("api.x").exception("no luck at %s", "postgresql://app:hunter22@db/x")
    (line,) = read(lines)
    assert line["event"] == f"no luck at postgresql://app:{SCRUBBED}@db/x"
    assert line["level"] == "error"
    assert line["exception"].startswith("Traceback (most recent call last)")
    assert line["exception"].endswith(f"RuntimeError: cannot sign in with {SCRUBBED}")


def test_structlog_and_the_standard_library_end_in_the_same_line(lines: io.StringIO, settings: Settings) -> None:
    configure(settings)
    with correlation.correlated("job-1", run_id="r9"):
        structlog.get_logger("api.x").warning("slow", seconds=3, password="hidden-one")
        logging.getLogger("api.x").warning("slow", extra={"seconds": 3, "password": "hidden-one"})
    first, second = read(lines)
    assert first.pop("timestamp") <= second.pop("timestamp")
    assert first == second
    assert first == {
        "level": "warning", "logger": "api.x", "event": "slow", "seconds": 3, "password": SCRUBBED,
        "run_id": "r9", "correlation_id": "job-1",
    }  # fmt: skip


def test_an_error_carries_the_ids_of_its_job_to_whoever_logs_it_outside(lines: io.StringIO) -> None:
    with pytest.raises(ValueError, match="bad"), correlation.correlated("job-2", run_id="r1"):
        raise ValueError("bad")
    try:
        with correlation.correlated("job-2", run_id="r1"):
            raise ValueError("bad")
    except ValueError as error:
        logging.getLogger("x").error("failed", exc_info=error)
    (line,) = read(lines)
    assert (line["correlation_id"], line["run_id"]) == ("job-2", "r1")


def test_what_ends_the_process_is_logged_like_any_error(lines: io.StringIO) -> None:
    try:
        raise RuntimeError(f"no more {PASSWORD}")
    except RuntimeError as error:
        log_uncaught(RuntimeError, error, error.__traceback__)
    (line,) = read(lines)
    assert line["level"] == "critical"
    assert f"no more {SCRUBBED}" in line["exception"]


def test_uvicorn_logs_through_the_same_handler(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    configure(settings)
    configure(settings)
    logging.getLogger("uvicorn.error").info("Started", extra={"color_message": "in colours"})
    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    assert (found["event"], found["logger"]) == ("Started", "uvicorn.error")
    assert "color_message" not in found
    assert sys.excepthook is log_uncaught


@pytest.mark.parametrize(
    ("message", "arguments", "extra"),
    [
        ("request", (), {"status": 200, "route": "/v1/x", "duration_ms": 1.25, "user": "eve", "client": None}),
        ("%s of %d", ("one", 2), {"color_message": "in colours", "message_id": 7}),
        ("hello " + PASSWORD, (), {}),
        ("hello", (), {"text": PASSWORD, "more": "kept"}),
        ("hello", (), {PASSWORD: 1}),
        ("hello", (), {"api_key": "abc", "rate": 0.5}),
        ("hello", (), {"nested": {"password": "abc"}, "list": [1, "Bearer abcdef123456"]}),
        ("token " + "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkZXYifQ.c2lnbmF0dXJl", (), {"ok": True}),
        ("hello", (), {"level": "mine", "timestamp": "now", "correlation_id": "its own"}),
    ],
)
def test_plain_lines_are_written_as_the_whole_chain_would(
    message: str, arguments: tuple[Any, ...], extra: dict[str, Any]
) -> None:
    quick = formatter(Scrubber([PASSWORD]), as_json=True)
    with correlation.correlated("job-3", run_id="r1"):
        record = logging.getLogger("api.x").makeRecord("api.x", 30, "", 0, message, arguments, None, extra=extra and {
            name: value for name, value in extra.items() if name not in ("message", "asctime")
        })  # fmt: skip
        lines = [quick.format(record), structlog.stdlib.ProcessorFormatter.format(quick, record)]
    found, whole = (json.loads(line) for line in lines)
    assert list(found) == list(whole)
    assert [len(each.pop("timestamp")) in (3, 20, 27) for each in (found, whole)] == [True, True]
    assert found == whole


def test_the_form_for_people_keeps_no_secret_either() -> None:
    record = logging.LogRecord("api", logging.INFO, "", 0, f"hello {PASSWORD}", None, None)
    assert f"hello {SCRUBBED} " in formatter(Scrubber([PASSWORD]), as_json=False).format(record)


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkZXYifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (f"token {JWT} was sent", f"token {SCRUBBED} was sent"),
        ("Authorization: Bearer abcdef123456", f"Authorization: Bearer {SCRUBBED}"),
        ("Basic dXNlcjpwYXNz is old", f"Basic {SCRUBBED} is old"),
        ("redis://:hunter22@cache:6379/0", f"redis://:{SCRUBBED}@cache:6379/0"),
        ("GET /schema?access_token=abc&x=1", f"GET /schema?access_token={SCRUBBED}&x=1"),
        ({"Authorization": "x", "status": 200}, {"Authorization": SCRUBBED, "status": 200}),
        ({"headers": [("Set-Cookie", "a=b"), ("accept", "*/*")]}, None),
        ({"a": {"b": [{"client_secret": "x"}]}}, {"a": {"b": [{"client_secret": SCRUBBED}]}}),
        ([b"authorization", b"Bearer x"], [b"authorization", SCRUBBED]),
        ("https://db/x at 10:30, user@example.com", "https://db/x at 10:30, user@example.com"),
        ({"tokens": 12, "key": "A1", "rate": 0.06}, {"tokens": 12, "key": "A1", "rate": 0.06}),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_and_nothing_else(given: Any, kept: Any) -> None:
    found = Scrubber().value(given)
    if kept is None:
        kept = {"headers": [["Set-Cookie", SCRUBBED], ["accept", "*/*"]]}
    assert found == kept


def test_secrets_of_settings_are_known_in_every_form_they_are_written_in() -> None:
    settings = Settings(jwt_secret=PASSWORD * 2, redis_url="redis://:s%40fe-pass@cache/0")
    known = secrets_of(settings)
    assert {PASSWORD * 2, "s%40fe-pass", "s@fe-pass"} <= known
    assert not {settings.jwt_issuer, settings.jwt_audience} & known
    scrubber = Scrubber(known)
    for text in (PASSWORD * 2, json.dumps(PASSWORD * 2), repr(PASSWORD * 2), "at s@fe-pass", "at s%40fe-pass"):
        assert "word" not in scrubber.text(text)
        assert "fe-pass" not in scrubber.text(text)


def test_a_value_that_holds_itself_ends() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    assert SCRUBBED in str(Scrubber().value(loop))

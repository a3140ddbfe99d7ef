"""Bodies that are no request are refused on every route that takes one: 400, 415 or 422, never a 500."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.rest.transitions import EXAMPLES
from api.settings import Settings
from tests.api.test_stored import bearer_of

Client = TestClient[Litestar]
JSON, PACK = "application/json", "application/msgpack"
WRITES = {"POST", "PUT", "PATCH"}
# Routes without a body: whatever is sent, it is about an id that is not there.
BODILESS = {"/v1/runs/{run_id}/cancel", "/v1/runs/{run_id}/rerun"}
# An analyst is refused before a body is read.
ADMIN = {
    "/v1/backups", "/v1/backups/prune", "/v1/backups/{backup_name}/verify", "/v1/backups/{backup_name}/restore",
}  # fmt: skip
PACKED = {"/v1/projections", "/v1/analytics", "/v1/transitions"}
TAPE = {"columns": {"balance": [100.0], "annual_rate": 0.05, "remaining_term": 12}}
# A right body for each route, with HERE where a number or text is exchanged for a hostile one.
RIGHT: dict[str, Any] = {
    "/v1/projections": {"tape": TAPE, "assumptions": {"severity": "HERE"}},
    "/v1/analytics": {
        "cashflows": {"columns": {"cashflow": [1.0, "HERE"]}},
        "measures": [{"type": "npv", "annual_yield": 0.05}],
    },
    "/v1/transitions": {"tape": TAPE, "model": {**EXAMPLES["one_matrix"]["value"]["model"], "severity": "HERE"}},
    "/v1/tapes/profile": {"tape": {"columns": {**TAPE["columns"], "balance": ["HERE"]}}},
    "/v1/tapes": {"columns": {**TAPE["columns"], "balance": ["HERE"]}},
    "/v1/tapes/{tape_id}": {"name": "HERE"},
    "/v1/scenarios": {"name": "a", "assumptions": {"severity": "HERE"}},
    "/v1/scenarios/{scenario_id}": {"name": "a", "assumptions": {"severity": "HERE"}},
    "/v1/runs": {"tape_id": "tape_0", "assumptions": {"severity": "HERE"}},
    "/graphql": {"query": "{ __typename }", "variables": "HERE"},
}
NUMBERS = ["NaN", "Infinity", "-Infinity", "1e400", "-1e999999", "9" * 5000, "0x10", "1_000", "+1", "01", "1e", ".5"]
TEXTS = [r'"\ud800"', r'"\udc00\ud800"', '"\x00"', r'"\x41"', '"open', "'a'"]
WHOLE = [
    b"", b" ", b"{", b"[]", b"null", b"7", b'"text"', b"{}x", b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00",
    b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000,
    b'{"tape": {"loans": [' + b"[" * 50_000, b'{"a": "\xff"}', b"{\xff}",
]  # fmt: skip
PACKS = [
    b"", b"\xc1", b"\x91" * 100_000, b"\x81\xa1a" * 50_000, b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xd4\x01\x00", b"\xc7\x00\xff",
    b"\x81\x91\x01\x02", b"\x81\xa1\xff\x01",
    b"\x81\xa4tape\xa1\xff", b"\x81\xc0\x01", b"\x81\x01\x01", b"\x90", b"\xc0",
]  # fmt: skip
KINDS = [
    "",
    "text/html",
    "multipart/form-data",
    "application/x-www-form-urlencoded",
    "application/json+x",
    "*/*",
    "\xff",
]


def routes(app: Litestar) -> Iterator[tuple[str, str]]:
    """Each method and path that may take a body."""
    for route in app.routes:
        for method in sorted(WRITES & set(getattr(route, "methods", ()))):
            yield method, route.path_format


def send(client: Client, bearer: dict[str, str], method: str, path: str, body: bytes, kind: str = JSON) -> Any:
    address = path.replace("{tape_id}", "none").replace("{scenario_id}", "none").replace("{run_id}", "none")
    address = address.replace("{backup_name}", "none")
    headers = [*((name.encode(), value.encode()) for name, value in bearer.items())]
    return client.request(method, address, content=body, headers=[*headers, (b"content-type", kind.encode("latin-1"))])


def check(answer: Any, path: str, statuses: tuple[int, ...], what: Any) -> None:
    allowed = (404,) if path in BODILESS else (403,) if path in ADMIN else statuses
    assert answer.status_code in allowed, (path, what, answer.status_code, answer.text[:300])
    if path != "/graphql" or answer.status_code != 400:
        assert answer.headers["content-type"] == "application/problem+json"


def test_the_table_has_every_route(app: Litestar) -> None:
    assert {path for _, path in routes(app)} == RIGHT.keys() | BODILESS | ADMIN


@pytest.mark.parametrize("place", range(len(WHOLE)))
def test_what_is_no_object_is_refused(client: Client, app: Litestar, bearer: dict[str, str], place: int) -> None:
    for method, path in routes(app):
        check(send(client, bearer, method, path, WHOLE[place]), path, (400, 422), WHOLE[place][:20])


def test_numbers_and_texts_that_are_none_are_refused(client: Client, app: Litestar, bearer: dict[str, str]) -> None:
    for method, path in routes(app):
        for hostile in [*NUMBERS, *TEXTS] if path in RIGHT else []:
            body = json.dumps(RIGHT[path]).replace('"HERE"', hostile).encode()
            check(send(client, bearer, method, path, body), path, (400, 422), hostile[:20])


@pytest.mark.parametrize("place", range(len(PACKS)))
def test_messagepack_that_is_none_is_refused(client: Client, app: Litestar, bearer: dict[str, str], place: int) -> None:
    for method, path in routes(app):
        statuses = (400, 422) if path in PACKED else (415,)
        check(send(client, bearer, method, path, PACKS[place], PACK), path, statuses, PACKS[place][:20])


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), 2**63, -(2**63), 1e308])
def test_numbers_beyond_sense_in_messagepack_are_refused(client: Client, bearer: dict[str, str], number: float) -> None:
    columns = TAPE["columns"]
    bodies: dict[str, list[Any]] = {
        "/v1/projections": [
            *({"tape": {"columns": {**columns, name: number}}} for name in columns),
            {"tape": TAPE, "assumptions": {"severity": number}},
            {"tape": TAPE, "assumptions": {"prepayment": {"type": "psa", "speed": number}, "severity": -1.0}},
            {"tape": TAPE, "assumptions": {"recovery_lag": number}},
            {"tape": TAPE, "periods": number},
        ],
        "/v1/analytics": [
            {"cashflows": {"columns": {"cashflow": [[1.0, number]]}}, "measures": [{"type": "irr"}]},
            {"cashflows": {"columns": {"cashflow": [1.0, 2.0]}}, "measures": [{"type": "npv", "annual_yield": number}]},
        ],
    }
    if number == 1e308:
        # A large sum of money is no fault by itself; its answer has to be finite.
        bodies = {"/v1/projections": bodies["/v1/projections"][1:], "/v1/analytics": []}
    for path, found in bodies.items():
        for body in found:
            answer = send(client, bearer, "POST", path, msgspec.msgpack.encode(body), PACK)
            check(answer, path, (400, 413, 422), body)


@pytest.mark.parametrize("kind", KINDS)
def test_a_media_type_that_is_not_read_is_refused(
    client: Client, app: Litestar, bearer: dict[str, str], kind: str
) -> None:
    for method, path in routes(app):
        answer = send(client, bearer, method, path, b"{}", kind)
        check(answer, path, (400, 415), kind)


def test_of_a_name_that_is_there_twice_the_last_one_counts(client: Client, bearer: dict[str, str]) -> None:
    for twice, status in (('7, "severity": 0.4', 200), ('0.4, "severity": 7', 422)):
        body = json.dumps(RIGHT["/v1/projections"]).replace('"HERE"', twice).encode()
        assert send(client, bearer, "POST", "/v1/projections", body).status_code == status


@pytest.mark.parametrize(
    "path", ["/v1/tapes/%00", "/v1/runs/%FF", "/v1/scenarios/%ED%A0%80", "/v1/tapes/a%2F..%2Fb", "/%00"]
)
def test_addresses_that_name_nothing_are_404(client: Client, bearer: dict[str, str], path: str) -> None:
    assert client.get(path, headers=bearer).status_code == 404


@pytest.mark.parametrize(
    "query", ["limit=%00", "after=%00", "after=%FF%FE", "limit=1e3", "limit=-1", "x=1", "after=" + "a" * 5000]
)
def test_pages_that_are_none_are_refused(client: Client, bearer: dict[str, str], query: str) -> None:
    for path in ("/v1/tapes", "/v1/scenarios", "/v1/runs"):
        assert client.get(f"{path}?{query}", headers=bearer).status_code in (400, 422)


@pytest.mark.parametrize("lag", [361, 10**9, 10**15, 2**63 - 1, -1, -(10**12)])
def test_a_lag_is_refused_before_its_months_are_written_out(client: Client, bearer: dict[str, str], lag: int) -> None:
    wrong = {"default": {"type": "cdr", "rate": 0.01}, "recovery_lag": lag}
    rule = {"where": {"group": ["x"]}, "assumptions": wrong}
    for assumptions in (wrong, {"groups": {"x": wrong}}, {"rules": [rule]}):
        body = {"tape": TAPE, "assumptions": assumptions}
        answer = client.post("/v1/projections", json=body, headers=bearer)
        assert answer.status_code in (400, 422)
        assert assumptions is not wrong or answer.json()["errors"][0]["path"] == "assumptions.recovery_lag"
        query = "query ($r: ProjectionRequestInput!) { projection(request: $r) { summary { wal_years } } }"
        asked = client.post("/graphql", json={"query": query, "variables": {"r": body}}, headers=bearer).json()
        assert asked["errors"][0]["extensions"]["code"] in ("INVALID_INPUT", "BAD_REQUEST")


def test_a_column_of_another_length_is_refused_though_nothing_reads_it(client: Client, bearer: dict[str, str]) -> None:
    columns = {**TAPE["columns"], "balance": [1.0, 2.0, 3.0], "holiday_months": [None], "margin": []}
    for path, body in (("/v1/tapes", {"columns": columns}), ("/v1/projections", {"tape": {"columns": columns}})):
        answer = client.post(path, json=body, headers=bearer)
        assert answer.status_code == 422
        assert {fault["path"] for fault in answer.json()["errors"]} == {
            "tape.columns.holiday_months",
            "tape.columns.margin",
        }


def test_versions_begin_with_one(client: Client, bearer: dict[str, str]) -> None:
    for address in ("/v1/scenarios/none/history?before=0", "/v1/scenarios/none?version=0", "/v1/tapes?limit=0"):
        assert client.get(address, headers=bearer).status_code == 400


def test_orders_of_backups_are_refused(client: Client, settings: Settings) -> None:
    admin = bearer_of(settings, "operator", "admin")
    for path in ("/v1/backups", "/v1/backups/{backup_name}/restore"):
        for body in [*WHOLE[2:], b'{"more": 1}', b'{"full": "yes"}']:
            assert send(client, admin, "POST", path, body).status_code in (400, 404, 422), (path, body[:20])
        assert send(client, admin, "POST", path, b"<a/>", "text/xml").status_code == 415


async def answered(app: Litestar, headers: dict[str, str], messages: list[dict[str, Any]]) -> tuple[int, int]:
    """The status of the answer to a projection whose body comes in these messages, and how many of them were read."""
    sent: list[Any] = []
    left = iter(messages)

    async def receive() -> Any:
        return next(left)

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/projections", "raw_path": b"/v1/projections", "root_path": "", "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }  # fmt: skip
    await app(scope, receive, send)
    return sent[0]["status"], len(messages) - len(list(left))


def in_pieces(body: bytes, pieces: int) -> list[dict[str, Any]]:
    size = -(-len(body) // pieces)
    cut = [body[i : i + size] for i in range(0, len(body), size)]
    return [{"type": "http.request", "body": part, "more_body": i < len(cut) - 1} for i, part in enumerate(cut)]


@pytest.mark.parametrize("pieces", [1, 2, 7])
@pytest.mark.parametrize("told", [True, False])
async def test_a_body_may_come_in_pieces(
    app: Litestar, bearer: dict[str, str], body: dict[str, Any], pieces: int, told: bool
) -> None:
    whole = json.dumps(body).encode()
    length = {"content-length": str(len(whole))} if told else {"transfer-encoding": "chunked"}
    assert await answered(app, bearer | length, in_pieces(whole, pieces)) == (200, pieces)


async def test_a_body_that_is_told_to_be_too_long_is_refused_unread(
    app: Litestar, settings: Settings, bearer: dict[str, str]
) -> None:
    for length in (settings.max_body_bytes + 1, 10**30):
        assert await answered(app, bearer | {"content-length": str(length)}, in_pieces(b"{}", 1)) == (413, 0)


async def test_a_body_that_turns_out_too_long_is_refused(
    app: Litestar, settings: Settings, bearer: dict[str, str]
) -> None:
    piece = {"type": "http.request", "body": b" " * (settings.max_body_bytes // 2 + 1), "more_body": True}
    status, read = await answered(app, bearer | {"transfer-encoding": "chunked"}, [piece] * 4)
    assert (status, read) == (413, 2)


async def test_half_a_body_is_not_answered_as_a_whole_one(app: Litestar, bearer: dict[str, str]) -> None:
    half = [{"type": "http.request", "body": b"{}", "more_body": True}, {"type": "http.disconnect"}]
    assert await answered(app, bearer | {"content-length": "4"}, half) == (500, 2)

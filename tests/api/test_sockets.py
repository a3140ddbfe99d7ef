"""GraphQL over WebSocket: who may connect, what each operation costs, what ends a connection, what is no message."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.exceptions import WebSocketDisconnect
from litestar.testing import TestClient

from api.app import create_app
from api.auth import issue_token
from api.graphql import sockets
from api.metrics import REGISTRY
from api.settings import Settings

Client = TestClient[Litestar]
WS = "graphql-transport-ws"
PROJECT = """{ a: projection(request: {tape: {loans: [
    {type: "loan", balance: 1.0, annual_rate: 0.05, remaining_term: 2}]}}) { columns { balance } } }"""


def service(settings: Settings, **changes: Any) -> Iterator[Client]:
    with TestClient(create_app(msgspec.structs.replace(settings, **changes)), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def limited(settings: Settings) -> Iterator[Client]:
    """A service that answers six requests a user."""
    yield from service(settings, rate_limit_enabled=True, rate_limit_requests=6)


@pytest.fixture(scope="module")
def guarded(settings: Settings) -> Iterator[Client]:
    """A service as in production: no questions about its schema, one host, small bodies."""
    yield from service(
        settings, graphql_introspection=False, allowed_hosts=("testserver.local",), max_graphql_body_bytes=20_000
    )


def bearer_of(settings: Settings, subject: str, **lifetime: float) -> dict[str, str]:
    token = issue_token(settings, subject, timedelta(**(lifetime or {"hours": 1})))
    return {"authorization": f"Bearer {token}"}


def connect(client: Client, **more: Any) -> Any:
    return client.websocket_connect("/graphql", subprotocols=[WS], **more)


def begin(socket: Any, payload: dict[str, str]) -> None:
    socket.send_json({"type": "connection_init", "payload": payload})
    assert socket.receive_json() == {"type": "connection_ack"}


def ask(socket: Any, query: str, id: str = "1", **more: Any) -> dict[str, Any]:
    """The first message about an operation; what follows a result is read too."""
    socket.send_json({"id": id, "type": "subscribe", "payload": {"query": query, **more}})
    first = dict(socket.receive_json())
    if first["type"] == "next":
        assert socket.receive_json() == {"id": id, "type": "complete"}
    return first


def closed(socket: Any) -> int:
    """The code with which the service ends the connection."""
    with pytest.raises(WebSocketDisconnect) as error:
        socket.receive_json()
    return int(error.value.code)


def failures(reason: str) -> float:
    return REGISTRY.get_sample_value("cashflow_authentication_failures_total", {"reason": reason}) or 0.0


class TestCharges:
    def test_a_connection_and_each_operation_cost_their_user_one(self, limited: Client, settings: Settings) -> None:
        who = bearer_of(settings, "six")
        with connect(limited) as socket:
            begin(socket, who)
            for i in range(5):
                assert ask(socket, "{ __typename }", str(i))["type"] == "next"
            refused = ask(socket, "{ __typename }", "6")
            assert refused["type"] == "error"
            assert refused["payload"][0]["extensions"]["code"] == "RATE_LIMITED"
        assert limited.get("/v1/tapes", headers=who).status_code == 429
        with connect(limited) as socket:
            socket.send_json({"type": "connection_init", "payload": who})
            assert closed(socket) == 4429

    def test_the_address_gets_its_own_back(self, limited: Client, settings: Settings) -> None:
        # Nine connections of three users: an address that paid for each would be refused after six.
        for i in range(9):
            with connect(limited) as socket:
                begin(socket, bearer_of(settings, f"user {i % 3}"))

    def test_operations_are_measured_alone(self, settings: Settings) -> None:
        # A column of two periods at pool level: what came before on the connection is no part of an answer's size.
        for client in service(settings, max_result_cells=10):
            with connect(client) as socket:
                begin(socket, bearer_of(settings, "measured"))
                for i in range(6):
                    told = ask(socket, PROJECT, str(i))
                    assert "errors" not in told["payload"], told

    def test_projections_are_paid_for_one_by_one(self, limited: Client, settings: Settings) -> None:
        one = PROJECT.strip("{} ").partition(": ")[2] + " }}"
        query = "{" + " ".join(f"{name}: {one}" for name in "abc") + "}"
        with connect(limited) as socket:
            begin(socket, bearer_of(settings, "payer"))
            assert "errors" not in ask(socket, query)["payload"]
        # One for the connection, three for the projections: two of six are left.
        answer = limited.get("/v1/tapes", headers=bearer_of(settings, "payer"))
        assert '"user";r=1;' in answer.headers["ratelimit"]


class TestAuthentication:
    @pytest.mark.parametrize(
        ("payload", "reason"),
        [
            ({}, "missing"), ({"authorization": 7}, "missing"), (None, "missing"),
            ({"authorization": "Basic eDp5"}, "missing"), ({"authorization": "Bearer x.y.z"}, "invalid"),
        ],
    )  # fmt: skip
    def test_a_failure_is_counted(self, client: Client, payload: Any, reason: str) -> None:
        before = failures(reason)
        with connect(client) as socket:
            socket.send_json({"type": "connection_init", "payload": payload})
            assert closed(socket) == 4403
        assert failures(reason) == before + 1

    def test_nothing_runs_before_the_token(self, client: Client) -> None:
        before = failures("missing")
        with connect(client) as socket:
            socket.send_json({"id": "1", "type": "subscribe", "payload": {"query": "{ __typename }"}})
            assert closed(socket) == 4401
        assert failures("missing") == before + 1

    def test_a_cookie_and_a_header_are_no_token_here(self, client: Client, token: str) -> None:
        # What a browser adds by itself, on a page of any origin.
        headers = {
            "cookie": f"cashflow_page={token}",
            "authorization": f"Bearer {token}",
            "origin": "https://evil.test",
        }
        with connect(client, headers=headers) as socket:
            socket.send_json({"type": "connection_init", "payload": {}})
            assert closed(socket) == 4403

    def test_a_connection_ends_with_its_token(self, settings: Settings) -> None:
        for client in service(settings, jwt_leeway=0):
            with connect(client) as socket:
                begin(socket, bearer_of(settings, "short", seconds=2))
                started = time.time()
                assert closed(socket) == 4403
                assert time.time() - started < 30

    def test_silence_ends_a_connection(
        self, client: Client, bearer: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sockets, "IDLE_SECONDS", 0.3)
        with connect(client) as socket:
            begin(socket, bearer)
            assert closed(socket) == 4408

    def test_a_user_has_so_many_connections(
        self, client: Client, app: Litestar, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sockets, "MAX_CONNECTIONS", 1)
        who = bearer_of(settings, "one connection")
        with connect(client) as first:
            begin(first, who)
            with connect(client) as second:
                second.send_json({"type": "connection_init", "payload": who})
                assert closed(second) == 4429
            with connect(client) as other:
                begin(other, bearer_of(settings, "somebody else"))
        with connect(client) as again:
            begin(again, who)
        assert app.state.sockets["one connection"] <= 1


class TestMessages:
    @pytest.mark.parametrize(
        "text",
        [
            "", "{", "[]", "7", "null", '{"type": 7}', '{"type": "next"}', '{"type": "subscribe"}', "{}",
            '{"type": "subscribe", "id": 7, "payload": {"query": "{ __typename }"}}',
            '{"type": "subscribe", "id": ["1"], "payload": {"query": "{ __typename }"}}',
            '{"type": "subscribe", "id": "", "payload": {"query": "{ __typename }"}}',
            '{"type": "subscribe", "id": "1", "payload": []}',
            '{"type": "subscribe", "id": "1", "payload": {"query": 7}}',
            '{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }", "variables": []}}',
            '{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }", "operationName": 1}}',
            f'{{"type": "subscribe", "id": "{"1" * 200}", "payload": {{"query": "{{ __typename }}"}}}}',
            '{"type": "complete"}',
            '{"type": "ping", "payload": ' + "[" * 5000 + "]" * 5000 + "}",
            '{"type": "ping", "payload": {"a": ' + "9" * 10_000 + "x}}",
            '{"type": "ping", "payload": {"a": "\\ud800"}}',
        ],
    )  # fmt: skip
    def test_what_is_no_message_ends_the_connection(self, client: Client, bearer: dict[str, str], text: str) -> None:
        with connect(client) as socket:
            begin(socket, bearer)
            socket.send_text(text)
            assert closed(socket) == 4400
        assert client.get("/health/live").status_code == 200

    def test_only_a_token_fits_in_the_first_message(self, client: Client, bearer: dict[str, str]) -> None:
        with connect(client) as socket:
            socket.send_json({"type": "connection_init", "payload": {**bearer, "more": "x" * 10_000}})
            assert closed(socket) == 4400

    def test_a_long_message_ends_the_connection(self, guarded: Client, bearer: dict[str, str]) -> None:
        with connect(guarded) as socket:
            begin(socket, bearer)
            socket.send_json({"type": "ping", "payload": {"more": "x" * 20_000}})
            assert closed(socket) == 4400

    def test_a_ping_is_answered(self, client: Client, bearer: dict[str, str]) -> None:
        with connect(client) as socket:
            begin(socket, bearer)
            socket.send_json({"type": "ping"})
            assert socket.receive_json() == {"type": "pong"}

    def test_operations_are_bounded_as_requests_are(self, client: Client, bearer: dict[str, str]) -> None:
        with connect(client) as socket:
            begin(socket, bearer)
            many = "{" + " ".join(f"a{i}: __typename" for i in range(16)) + "}"
            assert "16 aliases" in ask(socket, many)["payload"][0]["message"]
            assert "50,000" in ask(socket, "{ __typename }" + " " * 50_000)["payload"][0]["message"]
            two = "query A { __typename } query B { __typename }"
            assert "operationName" in ask(socket, two)["payload"][0]["message"]
            assert ask(socket, two, operationName="B")["payload"]["data"] == {"__typename": "Query"}

    def test_operations_at_a_time_are_bounded(
        self, client: Client, bearer: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sockets, "MAX_OPERATIONS", 0)
        with connect(client) as socket:
            begin(socket, bearer)
            refused = ask(socket, "{ __typename }")
            assert (refused["type"], refused["payload"][0]["message"]) == ("error", "Subscription limit reached")

    def test_the_schema_is_kept_to_itself_where_it_is_to_be(self, guarded: Client, bearer: dict[str, str]) -> None:
        with connect(guarded) as socket:
            begin(socket, bearer)
            refused = ask(socket, "{ __schema { types { name } } }")
            assert refused["type"] == "error"
            assert "introspection" in refused["payload"][0]["message"].lower()
            unknown = ask(socket, "{ projectio }")
            assert "Cannot query field" in unknown["payload"][0]["message"]
            assert "Did you mean" not in unknown["payload"][0]["message"]

    def test_another_host_is_refused(self, guarded: Client) -> None:
        with pytest.raises(WebSocketDisconnect) as error, connect(guarded, headers={"host": "evil.test"}):
            pass
        assert error.value.code == 4400


def test_server_sent_events_say_what_a_bound_refuses(client: Client, bearer: dict[str, str]) -> None:
    many = "{" + " ".join(f"a{i}: __typename" for i in range(16)) + "}"
    answer = client.post("/graphql", json={"query": many}, headers={**bearer, "accept": "text/event-stream"})
    assert "16 aliases" in answer.text
    assert answer.text.endswith("event: complete\ndata:\n\n")

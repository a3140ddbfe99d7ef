"""Roles: a write asks for one, a role includes those before it, and what says none cannot be built."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, get_args

import pytest
import strawberry
from click.testing import CliRunner
from litestar import Litestar, Router, get, post
from litestar.testing import TestClient

from api import app as wiring
from api.app import create_app
from api.auth import issue_token
from api.graphql.root import schema
from api.roles import asks, requires, undeclared
from api.settings import Role, Settings
from api.shell import main
from api.tokens import ROLES, Caller, role_of

Client = TestClient[Litestar]


@post("/write", guards=[requires("analyst")])
async def write() -> str:
    return "written"


@get("/admin", guards=[requires("admin")])
async def read_as_admin() -> str:
    return "read"


@post("/careless")
async def careless() -> str:
    return "written"


@strawberry.type
class Mutation:
    @strawberry.mutation(permission_classes=[asks("analyst")])
    def store(self) -> str:
        return "stored"

    @strawberry.mutation
    def careless(self) -> str:
        return "stored"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def watch(self) -> AsyncIterator[int]:
        yield 1


@strawberry.type
class Query:
    ping: str = "pong"


def caller(role: Role) -> Caller:
    return Caller("ada", role, 0.0, {})


@pytest.fixture(scope="module")
def guarded(settings: Settings) -> Any:
    """The service with two more routes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "ROUTES", [*wiring.ROUTES, write, Router("/", route_handlers=[read_as_admin])])
        with TestClient(create_app(settings)) as client:
            yield client


@pytest.mark.parametrize("role", ROLES)
def test_a_route_asks_for_its_role_or_one_above(guarded: Client, settings: Settings, role: Role) -> None:
    headers = {"authorization": f"Bearer {issue_token(settings, 'ada', timedelta(hours=1), role)}"}
    assert guarded.post("/write", headers=headers).status_code == (403 if role == "reader" else 201)
    assert guarded.get("/admin", headers=headers).status_code == (200 if role == "admin" else 403)
    refused = guarded.post("/write", headers=headers)
    if role == "reader":
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["detail"] == "This needs the role analyst; the token has reader."


def test_a_route_that_writes_without_a_role_cannot_be_served(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "ROUTES", [*wiring.ROUTES, careless])
    with pytest.raises(AssertionError, match="POST /careless"):
        create_app(settings)


def test_resolvers_that_change_something_without_a_role_are_found(app: Litestar) -> None:
    assert undeclared(app, schema) == []
    found = undeclared(app, strawberry.Schema(Query, Mutation, Subscription))
    assert found == ["Mutation.careless", "Subscription.watch"]


@pytest.mark.parametrize("role", ROLES)
def test_a_resolver_asks_for_its_role_or_one_above(role: Role) -> None:
    made = strawberry.Schema(Query, Mutation)
    result = made.execute_sync("mutation { store }", context_value={"caller": caller(role)})
    if role != "reader":
        assert result.data == {"store": "stored"}
    else:
        assert result.errors is not None
        assert result.errors[0].extensions == {"code": "FORBIDDEN"}
        assert result.errors[0].message == "This needs the role analyst; the token has reader."


def test_the_roles_are_ordered_from_the_least() -> None:
    assert get_args(Role) == ROLES == ("reader", "analyst", "admin")


@pytest.mark.parametrize(
    ("claim", "payload", "role"),
    [
        ("roles", {"roles": ["reader", "admin"]}, "admin"),
        ("realm_access.roles", {"realm_access": {"roles": ["analyst", "offline_access"]}}, "analyst"),
        ("https://cashflow.example/roles", {"https://cashflow.example/roles": ["admin"]}, "admin"),
        ("scope", {"scope": "openid analyst"}, "analyst"),
        ("roles", {}, "reader"),
        ("realm_access.roles", {"realm_access": {}}, "reader"),
        ("realm_access.roles", {"realm_access": "admin"}, "reader"),
    ],
)
def test_the_claim_with_the_roles_is_a_setting(claim: str, payload: dict[str, Any], role: Role) -> None:
    assert role_of(payload, Settings(jwt_roles_claim=claim)) == role


def test_the_role_of_a_token_that_names_none_is_a_setting() -> None:
    assert role_of({}, Settings(jwt_default_role="analyst")) == "analyst"


@pytest.mark.parametrize("environ", [{"ENV": "production"}, {"JWT_JWKS": __file__, "JWT_SECRET": ""}])
def test_tokens_are_not_made_here_where_an_identity_provider_makes_them(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {
        "JWT_SECRET": "Zk3nV0x8bQf7Jd2LsT5yHw9RmC4uPg6E",
        "ALLOWED_HOSTS": "api.example.com",
        "REDIS_URL": "redis://127.0.0.1:1",
        "DATABASE_URL": "postgresql://cashflow@127.0.0.1:1/cashflow",
        "OBJECT_STORE": "objects",
        "BACKUP_STORE": "backups",
    }
    for name, value in (good | environ).items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(main, ["token"])
    assert result.exit_code == 2
    assert "tokens come from" in result.output

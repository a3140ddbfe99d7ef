"""The real service under a test client, with a token and requests to send it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.app import create_app
from api.auth import issue_token
from api.settings import Settings

LOANS = [
    {"type": "loan", "loan_id": "=A1", "balance": 1000.0, "annual_rate": 0.06, "remaining_term": 3, "group": "A"},
    {"type": "loan", "loan_id": "B1", "balance": 2000.0, "annual_rate": 0.03, "remaining_term": 5, "group": "B"},
]
SCENARIOS = [
    {"name": "base"},
    {"name": "fast", "assumptions": {"prepayment": {"type": "cpr", "rate": 0.5}}},
]


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    secret = "a secret of the tests, made of 32 bytes and more"
    state_dir = str(tmp_path_factory.mktemp("state"))
    return Settings(jwt_secret=secret, state_dir=state_dir, max_loan_months=100_000, rate_limit_enabled=False)


@pytest.fixture(scope="session")
def app(settings: Settings) -> Litestar:
    return create_app(settings)


@pytest.fixture(scope="session")
def served(app: Litestar) -> Iterator[TestClient[Litestar]]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client(served: TestClient[Litestar]) -> TestClient[Litestar]:
    """The client of the service, without the cookies that other tests were given."""
    served.cookies.clear()
    return served


@pytest.fixture(scope="session")
def token(settings: Settings) -> str:
    return issue_token(settings, "tester", timedelta(hours=1))


@pytest.fixture(scope="session")
def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def body() -> dict[str, Any]:
    return {"tape": {"loans": LOANS}, "fields": ["interest", "principal", "balance"]}


@pytest.fixture
def scenarios_body(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "scenarios": SCENARIOS}

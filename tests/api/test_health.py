"""GET /health says what runs."""

from importlib import metadata

from litestar import Litestar
from litestar.testing import TestClient


def test_health_names_the_version_and_the_engine(client: TestClient[Litestar]) -> None:
    found = client.get("/health").json()
    assert found["status"] == "ok"
    assert found["version"] == metadata.version("credit-cashflow-engine")
    assert found["engine"]["threads"] >= 1
    assert found["engine"]["dispatch"] in ("plain", "x86-64", "x86-64-v3", "x86-64-v4")

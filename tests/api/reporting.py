"""A service or a worker that fails with secrets all around it, run as a process by test_sentry.py."""

import logging
import sys
from datetime import timedelta
from typing import Any

import dramatiq
from dramatiq.brokers.stub import StubBroker
from litestar.testing import TestClient
from sqlalchemy import create_engine, text

import api.kernel
from api import correlation, sentry
from api.app import create_app
from api.auth import issue_token
from api.logging import configure
from api.settings import Settings

LOAN = {"type": "loan", "loan_id": "planted-body-2b7e", "balance": 1.0, "annual_rate": 0.0, "remaining_term": 1}
QUERY = "query ($request: ProjectionRequestInput!) { projection(request: $request) { columns { interest } } }"


def failing(settings: Settings) -> Any:
    """A projection that asks the database first and then fails, saying all that it should not say."""

    def project(request: Any, threads: int | None) -> Any:
        local = "planted-local-9c1d"
        logging.getLogger("store").info("connecting to postgresql://app:planted-url-77aa@db/x")
        logging.getLogger("store").info("signing in", extra={"password": "planted-extra-31f0"})
        with create_engine("sqlite://").connect() as connection:
            connection.execute(text("SELECT 'password=planted-sql-5d2c', :given"), {"given": "planted-bound-8e8e"})
        try:
            raise ValueError("aws refused api_key=planted-cause-4444")
        except ValueError as cause:
            key = "-----BEGIN PRIVATE KEY-----\nplanted-pem-0101\n-----END PRIVATE KEY-----"
            message = f"boom {len(local)} {settings.jwt_secret} {settings.redis_url} {key}"
            raise RuntimeError(message) from cause

    return project


def serve(settings: Settings) -> None:
    """One request by each way, and one that is refused and so is no error."""
    app = create_app(settings)
    api.kernel.engine.project = failing(settings)  # type: ignore[attr-defined]
    token = issue_token(settings, "tester", timedelta(hours=1))
    headers = {"authorization": f"Bearer {token}", "cookie": "session=planted-cookie-6f6f", "x-request-id": "rest-1"}
    tape = {"tape": {"loans": [LOAN]}}
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.post("/v1/projections?access_token=planted-query-1212", json=tape, headers=headers)
        assert answer.status_code == 500, answer.text
        headers["x-request-id"] = "graphql-1"
        answer = client.post("/graphql", json={"query": QUERY, "variables": {"request": tape}}, headers=headers)
        assert answer.json()["errors"], answer.text
        assert client.post("/v1/projections", json={}, headers=headers).status_code == 400
        assert client.get("/v1/projections").status_code == 401
        assert client.get("/health/ready").status_code == 200


def work(settings: Settings) -> None:
    """One message whose actor fails."""
    configure(settings)
    sentry.start(settings, "worker", "1.2.3")
    broker = StubBroker()
    broker.emit_after("process_boot")

    @dramatiq.actor(broker=broker, max_retries=0)
    def shard(secret: str) -> None:
        with correlation.correlated("from-the-api", run_id="run-7"):
            raise RuntimeError(f"worker boom {settings.jwt_secret}")

    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=1)
    worker.start()
    shard.send("planted-message-abab")
    broker.join("default", timeout=20_000, fail_fast=False)
    worker.join()
    worker.stop()


if __name__ == "__main__":
    chosen = Settings.from_env()
    {"serve": serve, "work": work}[sys.argv[1]](chosen)
    if chosen.sentry_dsn:
        import sentry_sdk

        sentry_sdk.flush(10)
    else:
        assert "sentry_sdk" not in sys.modules

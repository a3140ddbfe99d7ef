"""Errors and traces to Sentry, where SENTRY_DSN names one; without it the library is not even imported.

What is logged as an error with its exception is what Sentry is told, so REST, GraphQL and workers report alike; SQL
comes as spans of a trace. No bodies, cookies, addresses of people, values of variables or lines of source are sent,
and every event, breadcrumb and transaction goes through the scrubber first.
"""

from typing import Any, Literal

from litestar.types import ASGIApp, Receive, Send

from api import correlation
from api.observe import PROBES, Routes
from api.scrub import Scrubber, secrets_of
from api.settings import Settings


def start(settings: Settings, part: Literal["api", "worker", "scheduler"], release: str) -> bool:
    """Whether reports go to Sentry from now on. A worker calls it before its broker is made."""
    if not settings.sentry_dsn:
        return False
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.dedupe import DedupeIntegration
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration, ignore_logger
    from sentry_sdk.integrations.sqlalchemy import SqlalchemyIntegration
    from sentry_sdk.integrations.threading import ThreadingIntegration

    integrations: list[Any] = [
        AtexitIntegration(callback=lambda pending, timeout: None),
        DedupeIntegration(),
        ExcepthookIntegration(),
        LoggingIntegration(),
        SqlalchemyIntegration(),
        ThreadingIntegration(),
    ]
    if part == "worker":
        from sentry_sdk.integrations.dramatiq import DramatiqIntegration

        # Its log line says the same once more, with the arguments of the message.
        ignore_logger("dramatiq.worker.WorkerThread")
        integrations.append(DramatiqIntegration())
    clean = cleaner(Scrubber(secrets_of(settings)))
    sentry_sdk.init(
        dsn=settings.sentry_dsn,
        environment=settings.sentry_environment or settings.env,
        release=release,
        server_name="",
        traces_sampler=sampler(settings.sentry_traces_sample_rate),
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=integrations,
        before_send=clean,
        before_send_transaction=clean,
        send_default_pii=False,
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        # The client's own reports of dropped events and the state of sessions say nothing that /metrics does not.
        send_client_reports=False,
        auto_session_tracking=False,
    )
    sentry_sdk.get_global_scope().set_tag("part", part)
    return True


def sampler(rate: float) -> Any:
    """The share of requests that are traced: `rate`, and none of the probes."""

    def sample(context: dict[str, Any]) -> float:
        return 0.0 if context.get("asgi_scope", {}).get("path") in PROBES else rate

    return sample


def cleaner(scrubber: Scrubber) -> Any:
    """The last step before an event leaves: the ids put on it, the secrets taken out of it."""

    def clean(event: Any, hint: Any) -> Any:
        error = hint["exc_info"][1] if hint.get("exc_info") else None
        event["tags"] = {**dict(event.get("tags") or {}), **correlation.fields_for(error)}
        # Parameters of addresses may be tokens; arguments of messages are nobody's business either.
        if "query_string" in (event.get("request") or {}):
            event["request"]["query_string"] = ""
        (event.get("contexts") or {}).pop("dramatiq", None)
        return scrubber.value(event)

    return clean


def reported(app: ASGIApp, routes: Routes) -> ASGIApp:
    """`app` with a Sentry scope and a transaction, named by its route, around each request."""
    from sentry_sdk import get_current_scope
    from sentry_sdk.integrations.asgi import SentryAsgiMiddleware

    async def named(scope: Any, receive: Receive, send: Send) -> None:
        get_current_scope().set_transaction_name(routes.template(scope), source="route")
        await app(scope, receive, send)

    return SentryAsgiMiddleware(named, asgi_version=3)

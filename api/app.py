"""create_app(): the only place where the parts of the service are wired together."""

from collections import Counter

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.types import ASGIApp

from api import checks, sentry
from api.auth import authentication
from api.components import Components
from api.exposition import page_registry
from api.graphql.handlers import run_query
from api.graphql.root import schema
from api.graphql.sockets import graphql_socket
from api.headers import security_headers
from api.jobs.service import Jobs
from api.keys import keys_from
from api.logging import configure
from api.methods import tells_methods
from api.network import behind_proxies, shared_with, well_addressed
from api.observe import Routes, observed
from api.quotas import Limiter
from api.rate_limit import limited_by_address, limited_by_user
from api.rest.analytics import create_analysis
from api.rest.backups import HANDLERS as BACKUPS
from api.rest.health import api_component, health, live, measure, ready, version
from api.rest.metrics import metrics_page
from api.rest.pages import graphql_page, openapi_json, page_asset, schema_page
from api.rest.profiles import create_profile
from api.rest.projections import create_projection
from api.rest.runs import HANDLERS as RUNS
from api.rest.scenarios import HANDLERS as SCENARIOS
from api.rest.tapes import HANDLERS as TAPES
from api.rest.transitions import create_transitions
from api.roles import undeclared
from api.settings import Settings
from api.storage.opened import Storage
from api.stored import handle
from api.tokens import Tokens

ROUTES = [
    health, live, ready, metrics_page, create_projection, create_profile, create_analysis, create_transitions, *TAPES,
    *SCENARIOS, *RUNS, *BACKUPS, schema_page, openapi_json, page_asset,
]  # fmt: skip


def create_app(settings: Settings | None = None) -> Litestar:
    """The service under `settings`, those of the environment by default. Raises SettingsError if they are refused."""
    used = Settings.from_env() if settings is None else settings
    used.check()
    configure(used)
    reports = sentry.start(used, "api", version())
    components = Components()
    api_component(components)
    storage = Storage(used)
    jobs = Jobs(used, storage)
    components.register("database", storage.check)
    checks.register(components, used)
    components.register("workers", jobs.check, ready=False)
    limiter = Limiter(used)
    tokens = Tokens(used, keys_from(used))
    state = State(
        {
            "settings": used,
            "limiter": limiter,
            "tokens": tokens,
            "metrics": page_registry(version()),
            "health": measure(used.calculation_thread_pool_size),
            "components": components,
            "storage": storage,
            "jobs": jobs,
            "sockets": Counter(),
        }
    )
    graphql = Router(
        "/", route_handlers=[run_query, graphql_page, graphql_socket], request_max_body_size=used.max_graphql_body_bytes
    )
    app = Litestar(
        [*ROUTES, graphql],
        state=state,
        lifespan=[lambda app: storage.opened(), lambda app: jobs.opened()],
        openapi_config=None,
        logging_config=None,
        exception_handlers={Exception: handle},
        request_max_body_size=used.max_body_bytes,
        on_shutdown=[limiter.close],
    )
    if missing := undeclared(app, schema):
        raise AssertionError(f"no role is required by {', '.join(missing)}; see api/roles.py")
    routes = Routes.of(app)
    # Outside the framework, so that refusals of the router and of authentication are counted and carry the headers too.
    inner = security_headers(guarded(tells_methods(app, routes), used, limiter, tokens))
    app.asgi_handler = observed(sentry.reported(inner, routes) if reports else inner, routes)
    return app


def guarded(app: ASGIApp, settings: Settings, limiter: Limiter, tokens: Tokens) -> ASGIApp:
    """`app` behind all that may refuse a request before it is routed, the first to look at it last in this list."""
    app = limited_by_user(app, limiter)
    app = authentication(app, settings, tokens)
    app = limited_by_address(app, limiter)
    app = shared_with(app, settings.cors_origins)
    app = well_addressed(app, settings)
    return behind_proxies(app, settings)

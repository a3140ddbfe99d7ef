"""What `cashflow serve` says in development: the address, a token, and two calls that work when pasted."""

from datetime import timedelta
from typing import Any

import msgspec

from api.auth import issue_token
from api.settings import Settings

TOKEN_LIFETIME = timedelta(hours=24)
REQUEST: dict[str, Any] = {
    "tape": {"loans": [{"type": "loan", "balance": 250000, "annual_rate": 0.065, "remaining_term": 360}]},
    "assumptions": {"prepayment": {"type": "cpr", "rate": 0.06}},
}
QUERY = (
    "query ($request: ProjectionRequestInput!) { projection(request: $request) "
    "{ columns { interest principal balance } summary { wal_years } } }"
)


def call(base: str, path: str, token: str, body: dict[str, Any]) -> str:
    """A curl command for a shell; the body holds no single quote."""
    return (
        f"curl -s {base}{path} -H 'content-type: application/json' \\\n"
        f"  -H 'authorization: Bearer {token}' \\\n"
        f"  -d '{msgspec.json.encode(body).decode()}'"
    )


def base_address(host: str, port: int, scheme: str = "http") -> str:
    """The address at which this machine reaches the server."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"{scheme}://{name}:{port}"


def quota(settings: Settings) -> str:
    """How many calls the token is good for, and which setting says so."""
    if not settings.rate_limit_enabled:
        return ""
    each = "an hour" if settings.rate_limit_window == 3600 else f"in {settings.rate_limit_window:,} seconds"
    return f" and {settings.rate_limit_requests:,} requests {each} (RATE_LIMIT_REQUESTS)"


def welcome(settings: Settings, host: str, port: int) -> str:
    """The text printed before the server starts."""
    base = base_address(host, port, "https" if settings.tls_cert_file else "http")
    token = issue_token(settings, "dev", TOKEN_LIFETIME)
    graphql = {"query": QUERY, "variables": {"request": REQUEST}}
    return f"""\
Serving on {base} (Ctrl-C stops)

A token for development, good for a day{quota(settings)}:
{token}

REST:
{call(base, "/v1/projections", token, REQUEST | {"fields": ["interest", "principal", "balance"]})}

GraphQL, just the columns asked for:
{call(base, "/graphql", token, graphql)}

In a browser:
{base}/schema?access_token={token}
{base}/graphql?access_token={token}
"""

"""POST /v1/projections: projects a request and answers in the media type that Accept asks for."""

from typing import Any

import anyio.to_thread
import msgspec
from litestar import Request
from litestar.types import ASGIApp

import engine
from api import encode, limits
from api.kernel import project
from api.named_tapes import with_tape
from api.network import first_header
from api.rest.answers import Answer, Route
from api.rest.bodies import Body
from api.rest.resources import owner_of, storage_of
from api.roles import requires
from api.settings import Settings

BODY = Body(engine.ProjectionRequest)


def answer(projection: engine.ProjectionRequest, threads: int | None, work: int, media_type: str) -> bytes:
    """The encoded cashflows of a request of `work` loan-months."""
    return encode.ENCODERS[media_type](project(projection, threads, "rest", work))


def fields_of(request: Request[Any, Any, Any]) -> list[str] | None:
    """The fields named in the address, if any: `?fields=interest,loss`."""
    given = request.query_params.getall("fields", None)
    return None if given is None else [name.strip() for text in given for name in text.split(",") if name.strip()]


@Route("/v1/projections", http_method="POST", status_code=200, guards=[requires("reader")])
async def create_projection(request: Request[Any, Any, Any]) -> ASGIApp:
    """The cashflows of the request in the body."""
    settings: Settings = request.app.state.settings
    media_type = encode.choose(first_header(request.scope, b"accept"))
    projection = await BODY.of(request)
    if (fields := fields_of(request)) is not None:
        projection = msgspec.structs.replace(projection, fields=fields)
    projection = await with_tape(projection, storage_of(request), owner_of(request), settings)
    threads = settings.calculation_thread_pool_size
    work = limits.check(projection, settings)
    if work > limits.INLINE_LOAN_MONTHS:
        content = await anyio.to_thread.run_sync(answer, projection, threads, work, media_type)
    else:
        content = answer(projection, threads, work, media_type)
    return Answer(content, media_type, vary="Accept")


LOAN = {"type": "loan", "loan_id": "A1", "balance": 250000.0, "annual_rate": 0.065, "remaining_term": 360, "age": 0}
ASSUMPTIONS = {
    "prepayment": {"type": "psa", "speed": 1.5},
    "default": {"type": "cdr", "rate": 0.01},
    "severity": 0.4,
    "recovery_lag": 12,
    "advancing": "principal_and_interest",
}
COLUMNS = {
    "balance": [250000.0, 180000.0, 320000.0],
    "annual_rate": [0.065, 0.07, 0.0625],
    "remaining_term": [360, 240, 300],
    "servicing_fee": 0.0025,
}
SCENARIOS = [
    {"name": "base"},
    {"name": "fast", "assumptions": {"prepayment": {"type": "cpr", "rate": 0.2}}},
    {"name": "stress", "assumptions": {"default": {"type": "sda", "speed": 4.0}, "severity": 0.5, "recovery_lag": 18}},
]
EXAMPLES: dict[str, Any] = {
    "one_loan": {
        "summary": "One loan at 150 PSA and 1 CDR",
        "value": {"tape": {"loans": [LOAN]}, "assumptions": ASSUMPTIONS},
    },
    "scenarios_on_columns": {
        "summary": "A tape by columns, three scenarios, three fields",
        "value": {
            "tape": {"columns": COLUMNS},
            "assumptions": ASSUMPTIONS,
            "scenarios": SCENARIOS,
            "fields": ["interest", "principal", "loss"],
        },
    },
    "loan_level": {
        "summary": "Every loan on its own for five years",
        "value": {"tape": {"columns": COLUMNS}, "level": "loan", "fields": ["balance"], "periods": 60},
    },
}

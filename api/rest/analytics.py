"""POST /v1/analytics: measures of cashflows that are given, or of a projection that is made first."""

from typing import Any

import anyio.to_thread
import msgspec
import orjson
from litestar import Request, Response, post

from api import encode, limits
from api.named_tapes import with_tape
from api.rest.bodies import MEDIA_TYPES, Body
from api.rest.projections import COLUMNS, SCENARIOS
from api.rest.resources import owner_of, storage_of
from api.roles import requires
from api.settings import Settings
from engine.analytics import Analysis, AnalyticsRequest, analyze
from engine.analytics.request import results_by_type

BODY = Body(AnalyticsRequest)


def to_json(analysis: Analysis, measures: list[Any]) -> bytes:
    return orjson.dumps(results_by_type(analysis, measures), option=orjson.OPT_SERIALIZE_NUMPY)


def to_msgpack(analysis: Analysis, measures: list[Any]) -> bytes:
    return msgspec.msgpack.encode(results_by_type(analysis, measures), enc_hook=lambda array: array.tolist())


ENCODERS = {name: to_json if name == encode.JSON else to_msgpack for name in MEDIA_TYPES}


def answer(request: AnalyticsRequest, threads: int | None, media_type: str) -> bytes:
    """The encoded results of a request."""
    return ENCODERS[media_type](analyze(request, threads), request.measures)


@post("/v1/analytics", status_code=200, guards=[requires("reader")])
async def create_analysis(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The measures that the body asks for."""
    settings: Settings = request.app.state.settings
    media_type = encode.choose(request.headers.get("accept", ""), ENCODERS)
    asked = await BODY.of(request)
    if asked.projection is not None:
        storage, owner = storage_of(request), owner_of(request)
        projection = await with_tape(asked.projection, storage, owner, settings, "projection.")
        asked = msgspec.structs.replace(asked, projection=projection)
    threads = settings.calculation_thread_pool_size
    if limits.check_analytics(asked, settings) > limits.INLINE_LOAN_MONTHS:
        content = await anyio.to_thread.run_sync(answer, asked, threads, media_type)
    else:
        content = answer(asked, threads, media_type)
    return Response(content, media_type=media_type, headers={"vary": "Accept"})


CURVE = {"times": [1.0, 2.0, 5.0, 10.0, 30.0], "values": [0.05, 0.045, 0.04, 0.041, 0.042], "quote": "par"}
EXAMPLES: dict[str, Any] = {
    "given_cashflows": {
        "summary": "A bond of two years and a strip, their yields, risk and Z-spreads",
        "value": {
            "cashflows": {"columns": {"cashflow": [[3.0, 3.0, 3.0, 103.0], [25.0, 25.0, 25.0, 25.0]]}},
            "settlement": {"payments_per_year": 2},
            "curve": CURVE,
            "measures": [
                {"type": "yield", "price": [99.5, 93.0]},
                {"type": "modified_duration", "price": [99.5, 93.0]},
                {"type": "convexity", "annual_yield": 0.06},
                {"type": "z_spread", "price": [99.5, 93.0]},
                {"type": "key_rate_durations", "tenors": [1, 2]},
            ],
        },
    },
    "projection": {
        "summary": "A tape under two scenarios: price, average life, effective duration and losses",
        "value": {
            "projection": {
                "tape": {"columns": COLUMNS},
                "assumptions": {
                    "prepayment": {"type": "psa", "speed": 1.5},
                    "default": {"type": "cdr", "rate": 0.01},
                    "severity": 0.4,
                },
                "scenarios": SCENARIOS[:2],
            },
            "settlement": {"stated_delay_days": 55},
            "measures": [
                {"type": "price", "annual_yield": 0.06},
                {"type": "wal"},
                {"type": "effective_duration", "annual_yield": 0.06, "speed_down": 1.5, "speed_up": 0.7},
                {"type": "cumulative_loss"},
            ],
        },
    },
    "breakeven": {
        "summary": "The default rates at which losses use up 5% of support, and at which a price yields 5%",
        "value": {
            "projection": {
                "tape": {"columns": {"balance": [100.0], "annual_rate": 0.09, "remaining_term": 60}},
                "assumptions": {"severity": 0.5, "recovery_lag": 6},
            },
            "measures": [
                {"type": "breakeven_cdr", "target": {"type": "investor_loss", "support": 0.05}},
                {"type": "breakeven_cdr", "target": {"type": "yield", "value": 0.05, "price": 102.0}},
            ],
        },
    },
    "expected_credit_loss": {
        "summary": "IFRS 9, stage 2, two macro scenarios of three years",
        "value": {
            "measures": [
                {
                    "type": "ifrs9_ecl",
                    "stage": 2,
                    "pd": [[0.01, 0.01, 0.01], [0.03, 0.04, 0.04]],
                    "pd_kind": "hazard",
                    "lgd": 0.45,
                    "ead": [1000.0, 700.0, 400.0],
                    "effective_rate": 0.07,
                    "periods_per_year": 1,
                    "weights": [0.7, 0.3],
                }
            ]
        },
    },
}

"""POST /v1/transitions: a tape moved by a transition-matrix model, with roll rates and vintages."""

from typing import Any

import anyio.to_thread
import msgspec
from litestar import Request, Response, post

from api import encode
from api.named_tapes import loaded
from api.rest.bodies import MEDIA_TYPES, Body
from api.rest.resources import only, owner_of, storage_of
from api.roles import requires
from api.settings import Settings
from api.transitions import check, moved
from engine.transition_views import TransitionViews
from engine.transitions import TransitionRequest

BODY = Body(TransitionRequest)


def to_json(views: TransitionViews) -> bytes:
    return msgspec.json.encode(views, enc_hook=lambda array: array.tolist())


def to_msgpack(views: TransitionViews) -> bytes:
    return msgspec.msgpack.encode(views, enc_hook=lambda array: array.tolist())


ENCODERS = {name: to_json if name == encode.JSON else to_msgpack for name in MEDIA_TYPES}


def answer(request: TransitionRequest, settings: Settings, media_type: str) -> bytes:
    """The encoded views. Raises InvalidInput and Refusal."""
    check(request, settings)
    return ENCODERS[media_type](moved(request))


@post("/v1/transitions", status_code=200, guards=[requires("reader")])
async def create_transitions(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The views of the tape in the body under its model."""
    settings: Settings = request.app.state.settings
    only(request, ())
    media_type = encode.choose(request.headers.get("accept", ""), ENCODERS)
    asked = await BODY.of(request)
    tape = await loaded(asked.tape, storage_of(request), owner_of(request), settings)
    asked = msgspec.structs.replace(asked, tape=tape)
    content = await anyio.to_thread.run_sync(answer, asked, settings, media_type)
    return Response(content, media_type=media_type, headers={"vary": "Accept"})


LOANS = {
    "balance": [4200.0, 8100.0, 2500.0],
    "annual_rate": [0.12, 0.15, 0.19],
    "remaining_term": [30, 42, 18],
    "original_balance": [6000.0, 10000.0, 4000.0],
    "age": [12, 6, 12],
    "status": ["current", "delinquent_30", "current"],
}
MODEL = {
    "states": [
        {"name": "current"},
        {"name": "30", "missed": 1},
        {"name": "60+", "missed": 2},
        {"name": "default", "kind": "default"},
        {"name": "prepaid", "kind": "prepaid"},
    ],
    "matrices": [
        [
            [0.95, 0.03, 0.0, 0.0, 0.02],
            [0.45, 0.3, 0.24, 0.0, 0.01],
            [0.1, 0.05, 0.45, 0.4, 0.0],
            [0.0, 0.0, 0.0, 1.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 1.0],
        ]
    ],
    "severity": 0.7,
    "recovery_lag": 6,
}
EXAMPLES: dict[str, Any] = {
    "one_matrix": {
        "summary": "Three instalment loans, one of them late, for two years",
        "value": {"tape": {"columns": LOANS}, "model": MODEL, "months": 24},
    },
}

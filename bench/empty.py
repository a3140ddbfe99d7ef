"""The framework alone: a handler that reads the body and answers two bytes, served as the service is.

python -m bench.empty PORT
"""

import sys
from typing import Any

import uvicorn
from litestar import Litestar, Request, Response, get, post


@post("/v1/projections", status_code=200)
async def answer(request: Request[Any, Any, Any]) -> Response[bytes]:
    await request.body()
    return Response(b"{}", media_type="application/json")


@get("/health/ready")
async def ready() -> dict[str, str]:
    return {"status": "ok"}


if __name__ == "__main__":
    uvicorn.run(
        Litestar([answer, ready], openapi_config=None), port=int(sys.argv[1]), loop="uvloop", http="httptools",
        proxy_headers=False, server_header=False, access_log=False, log_level="error",
    )  # fmt: skip

"""GET /metrics: the metrics of all processes of the service, in the Prometheus text format (version 0.0.4)."""

from typing import Any

from litestar import Request, Response, get
from litestar.concurrency import sync_to_thread

from api.exposition import render


@get("/metrics")
async def metrics_page(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The metrics, after a check of the components so that their gauges are fresh; asks for no token."""
    state = request.app.state
    await state.components.check()
    text = await sync_to_thread(render, state.metrics)
    return Response(text, media_type="text/plain; version=0.0.4")

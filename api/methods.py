"""OPTIONS: the methods that an address takes, of all its handlers."""

from typing import Any

from litestar import Litestar
from litestar.types import ASGIApp, Receive, Send

from api.auth import send_answer
from api.observe import Routes


def tells_methods(app: Litestar, routes: Routes) -> ASGIApp:
    """The application, whose answers to OPTIONS name every method of the address (the framework's only the first)."""
    inner = app.asgi_handler
    taken: dict[str, set[str]] = {}
    for route in app.routes:
        taken.setdefault(route.path_format, set()).update(getattr(route, "methods", ()))
    allowed = {path: ", ".join(sorted(methods)) for path, methods in taken.items()}

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        methods = allowed.get(routes.template(scope)) if scope["type"] == "http" else None
        if methods and scope["method"] == "OPTIONS":
            await send_answer(204, {"allow": methods}, b"", send)
        else:
            await inner(scope, receive, send)

    return wrapped

"""Roles: what a route or a resolver asks of its caller. Reader is asked for nothing; every write states its role.

A route says `@post("/v1/tapes", guards=[requires("analyst")])`, a mutation or subscription
`@strawberry.mutation(permission_classes=[asks("analyst")])`; create_app refuses to build with one that says neither.
"""

from functools import cache
from typing import Any

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from strawberry.permission import BasePermission
from strawberry.schema import BaseSchema

from api.errors import Refusal
from api.settings import Role
from api.tokens import Caller

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def insufficient(role: Role, caller: Caller) -> Refusal:
    return Refusal(403, f"This needs the role {role}; the token has {caller.role}.")


class requires:  # noqa: N801
    """A guard of a route: the caller has a role, or one above it."""

    def __init__(self, role: Role) -> None:
        self.role = role

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        caller: Caller = connection.scope["auth"]
        if not caller.may(self.role):
            raise insufficient(self.role, caller)


class RolePermission(BasePermission):
    """A permission of a resolver; `asks` makes one for each role."""

    role: Role

    def has_permission(self, source: Any, info: Any, **_: Any) -> bool:
        """Whether the caller has the role. The context holds the caller."""
        caller: Caller = info.context["caller"]
        self.message = insufficient(self.role, caller).detail
        self.error_extensions = {"code": "FORBIDDEN"}
        return caller.may(self.role)


@cache
def asks(role: Role) -> type[RolePermission]:
    """The permission of a resolver whose caller needs a role."""
    return type(f"Asks{role.capitalize()}", (RolePermission,), {"role": role})


def undeclared(app: Litestar, schema: BaseSchema) -> list[str]:
    """Routes that write and resolvers that change something, where none says which role it needs."""
    found = []
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            guards = [guard for layer in handler.ownership_layers for guard in layer.guards or []]
            if WRITES & set(handler.http_methods) and not any(isinstance(guard, requires) for guard in guards):
                found.append(f"{'/'.join(sorted(handler.http_methods))} {route.path}")
    for kind in ("Mutation", "Subscription"):
        definition = schema.get_type_by_name(kind)
        for field in getattr(definition, "fields", []):
            if not any(issubclass(asked, RolePermission) for asked in field.permission_classes):
                found.append(f"{kind}.{field.python_name}")
    return found

"""Relay connections on keyset cursors: a page of stored things, newest first."""

from collections.abc import Callable
from typing import Annotated, Any

import strawberry

from api.storage.pages import DEFAULT_PAGE, MAX_PAGE, Page

First = Annotated[int, strawberry.argument(description=f"Items of the page, 1 to {MAX_PAGE}.")]
After = Annotated[str | None, strawberry.argument(description="The `end_cursor` of the page before; none to begin.")]


@strawberry.type(description="Where a page of stored things begins and ends.")
class KeysetPageInfo:
    has_next_page: bool = strawberry.field(description="Whether items follow this page.")
    has_previous_page: bool = strawberry.field(description="Whether the page began after a cursor.")
    start_cursor: str | None = strawberry.field(description="Cursor of the first item; null on an empty page.")
    end_cursor: str | None = strawberry.field(description="Cursor of the last item, for `after` of the next page.")


def connection_of(name: str, node: Any) -> Any:
    """The connection of nodes of a type."""
    edge = strawberry.type(
        type(f"{name}Edge", (), {"__annotations__": {"cursor": str, "node": node}, "__module__": __name__}),
        description=f"A {name.lower()} and its cursor.",
    )
    body = {
        "__annotations__": {"edges": list[edge], "nodes": list[node], "page_info": KeysetPageInfo},  # type: ignore[valid-type]
        "__module__": __name__,
    }
    return strawberry.type(type(f"{name}Connection", (), body), description=f"A page of {name.lower()}s, newest first.")


def connected(kind: Any, page: Page[Any], view: Callable[[Any], Any], after: str | None) -> Any:
    """The page as a connection; view: makes of an item what its type reads."""
    nodes = [view(item) for item in page.items]
    edge = kind.__strawberry_definition__.fields[0].type.of_type
    info = KeysetPageInfo(
        has_next_page=page.has_more,
        has_previous_page=after is not None,
        start_cursor=page.cursors[0] if page.cursors else None,
        end_cursor=page.cursors[-1] if page.cursors else None,
    )
    edges = [edge(cursor=cursor, node=node) for cursor, node in zip(page.cursors, nodes, strict=True)]
    return kind(edges=edges, nodes=nodes, page_info=info)


__all__ = ["DEFAULT_PAGE", "After", "First", "connected", "connection_of"]

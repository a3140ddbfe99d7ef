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


def made(name: str, text: str, fields: dict[str, tuple[Any, str]]) -> Any:
    """A type of that name: each field with its type and description."""
    body: dict[str, Any] = {"__annotations__": {key: kind for key, (kind, _) in fields.items()}, "__module__": __name__}
    body |= {key: strawberry.field(description=about) for key, (_, about) in fields.items()}
    return strawberry.type(type(name, (), body), description=text)


def connection_of(name: str, node: Any) -> Any:
    """The connection of nodes of a type."""
    word = name.lower()
    edge = made(
        f"{name}Edge", f"A {word} and its cursor.", {"cursor": (str, "For `after`."), "node": (node, f"The {word}.")}
    )
    fields = {
        "edges": (list[edge], f"The {word}s of the page with their cursors."),  # type: ignore[valid-type]
        "nodes": (list[node], f"The {word}s of the page."),
        "page_info": (KeysetPageInfo, "Where the page begins and ends."),
    }
    return made(f"{name}Connection", f"A page of {word}s, newest first.", fields)


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

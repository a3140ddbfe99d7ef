"""GET /schema and GET /graphql: pages that need no other host, their scripts and styles, and the OpenAPI JSON."""

from pathlib import Path
from typing import Any

import msgspec
from litestar import Request, Response, get

from api.errors import Fault, Refusal
from api.rest.openapi import document

FOLDER = Path(__file__).parent.parent / "pages"
MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
FILES = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA_TYPES}
# What a GraphQL request is made of.
OPERATION = ("query", "variables", "operationName", "extensions")
OPENAPI = msgspec.json.encode(document())


def file_response(name: str) -> Response[bytes]:
    """A file of the pages. Raises Refusal (404); names are looked up, never opened."""
    if name not in FILES:
        raise Refusal(404, f"There is no file {name!r}; expected one of {', '.join(FILES)}.")
    return Response(FILES[name], media_type=MEDIA_TYPES[Path(name).suffix])


@get("/schema", sync_to_thread=False)
def schema_page() -> Response[bytes]:
    """The OpenAPI document as a page."""
    return file_response("schema.html")


@get("/schema/openapi.json", sync_to_thread=False)
def openapi_json() -> Response[bytes]:
    """The OpenAPI document."""
    return Response(OPENAPI, media_type="application/json")


@get("/graphql", sync_to_thread=False)
def graphql_page(request: Request[Any, Any, Any]) -> Response[bytes]:
    """A page to write and run GraphQL queries on. Raises Refusal (405) for a query in the address."""
    if found := [name for name in OPERATION if name in request.query_params]:
        faults = [Fault(name, "is in the address; expected it in a JSON body, sent by POST") for name in found]
        text = "Queries are taken by POST with a JSON body; GET is for the page, and the address is no place for data."
        raise Refusal(405, text, faults, {"allow": "POST"})
    return file_response("graphql.html")


# Below each page, so that the cookie of the page reads them.
@get(["/schema/assets/{name:str}", "/graphql/assets/{name:str}"], sync_to_thread=False)
def page_asset(request: Request[Any, Any, Any]) -> Response[bytes]:
    """A script or a style of a page."""
    return file_response(request.path_params["name"])

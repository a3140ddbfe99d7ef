"""/v1/scenarios: stored scenarios, their versions, and the templates to start from."""

from litestar import Response, delete, get, post, put
from litestar.params import FromPath

from api.rest.resources import (
    AnyRequest,
    body_as,
    expected_version,
    json_response,
    listing,
    only,
    optional_whole,
    owner_of,
    page_arguments,
    storage_of,
    versioned,
    whole,
)
from api.roles import requires
from api.storage.pages import DEFAULT_PAGE
from api.storage.scenarios import (
    create_scenario,
    delete_scenario,
    get_scenario,
    list_scenarios,
    scenario_history,
    update_scenario,
)
from api.storage.templates import TEMPLATES
from api.stored import ScenarioBody, ScenarioView, TemplateView, scenario_view

PATH = "/v1/scenarios"


def etag_of(view: ScenarioView) -> str:
    return f'"{view.version}"'


@post(PATH, status_code=201, guards=[requires("analyst")])
async def post_scenario(request: AnyRequest) -> Response[bytes]:
    """Stores a scenario."""
    given = await body_as(request, ScenarioBody)
    async with storage_of(request).database.write() as connection:
        stored = await create_scenario(connection, owner_of(request), given.scenario, given.description)
    view = scenario_view(stored)
    return json_response(view, 201, {"location": f"{PATH}/{view.id}", "etag": etag_of(view)})


@get(PATH)
async def get_scenarios(request: AnyRequest) -> Response[bytes]:
    """A page of the caller's scenarios, newest first."""
    only(request, ("after", "limit"))
    async with storage_of(request).database.read() as connection:
        page = await list_scenarios(connection, owner_of(request), **page_arguments(request))
    return listing(page, [scenario_view(each) for each in page.items])


@get(f"{PATH}/templates")
async def get_templates(request: AnyRequest) -> Response[bytes]:
    """The templates: scenarios to copy and change."""
    found = [
        TemplateView(name=name, description=text, assumptions=scenario.assumptions)
        for name, (text, scenario) in TEMPLATES.items()
    ]
    return json_response({"items": found})


@get(f"{PATH}/{{scenario_id:str}}")
async def get_one_scenario(request: AnyRequest, scenario_id: FromPath[str]) -> Response[bytes]:
    """A scenario, at an earlier version if asked for."""
    only(request, ("version",))
    version = optional_whole(request, "version")
    async with storage_of(request).database.read() as connection:
        view = scenario_view(await get_scenario(connection, owner_of(request), scenario_id, version))
    return versioned(request, view, etag_of(view))


@get(f"{PATH}/{{scenario_id:str}}/history")
async def get_scenario_history(request: AnyRequest, scenario_id: FromPath[str]) -> Response[bytes]:
    """The versions of a scenario, newest first; `before` is a version to go on below."""
    only(request, ("before", "limit"))
    before, limit = optional_whole(request, "before"), whole(request, "limit", DEFAULT_PAGE)
    async with storage_of(request).database.read() as connection:
        found = await scenario_history(connection, owner_of(request), scenario_id, before=before, limit=limit)
    return json_response({"items": [scenario_view(each) for each in found]})


@put(f"{PATH}/{{scenario_id:str}}", guards=[requires("analyst")])
async def put_scenario(request: AnyRequest, scenario_id: FromPath[str]) -> Response[bytes]:
    """Stores the next version of a scenario, on the version that If-Match names."""
    given = await body_as(request, ScenarioBody)
    expected = expected_version(request)
    async with storage_of(request).database.write() as connection:
        stored = await update_scenario(
            connection, owner_of(request), scenario_id, given.scenario, given.description, expected
        )
    view = scenario_view(stored)
    return json_response(view, 200, {"etag": etag_of(view)})


@delete(f"{PATH}/{{scenario_id:str}}", guards=[requires("analyst")])
async def remove_scenario(request: AnyRequest, scenario_id: FromPath[str]) -> None:
    """Deletes a scenario and its history; runs keep what they pinned."""
    async with storage_of(request).database.write() as connection:
        await delete_scenario(connection, owner_of(request), scenario_id, expected_version(request))


HANDLERS = [
    post_scenario, get_scenarios, get_templates, get_one_scenario, get_scenario_history, put_scenario, remove_scenario,
]  # fmt: skip

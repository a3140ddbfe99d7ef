"""What a run projects: its request and the scenarios that were pinned for it, kept once and read where they are needed.

A pinned scenario is kept as it was, without the assumptions that it takes from the request; one that the request writes
out is not kept again. A heading beside them is all that listings and progress read.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

import engine
from api import limits
from api.storage.errors import Conflict
from api.storage.rows import RunHeading, RunInput, RunRequest, ScenarioChoice, StoredTape
from api.storage.scenarios import get_scenario, template
from api.storage.templates import TEMPLATES
from api.storage.texts import MAX_NAME, text_fault
from engine.errors import AssumptionError, Problem, one_of

MAX_RUN_SCENARIOS = 2_000
MAX_PINNED_BYTES = 64 * 1024 * 1024
EMPTY: dict[str, Any] = {"balance": [], "annual_rate": [], "remaining_term": []}

request_decoder = msgspec.json.Decoder(RunRequest)
pinned_decoder = msgspec.json.Decoder(list[engine.Scenario | None])


class Named(msgspec.Struct, frozen=True):
    """Of a scenario its name: the rest is passed over without being read."""

    name: str


class NamedChoice(msgspec.Struct, frozen=True):
    """Of a choice of a request the name of the scenario that it writes out."""

    scenario: Named | None = None


class HeadingSource(msgspec.Struct, frozen=True):
    """Of a request what its heading is made from."""

    scenarios: list[NamedChoice] | None = None
    fields: list[str] | None = None
    level: Any = "pool"


heading_decoder = msgspec.json.Decoder(RunHeading)
source_decoder = msgspec.json.Decoder(HeadingSource)
names_decoder = msgspec.json.Decoder(list[Named | None])


async def pinned(connection: AsyncConnection, owner: str, request: RunRequest) -> list[engine.Scenario]:
    """The scenarios of a request as they are now; those without assumptions take those of the request.

    Raises NotFound, AssumptionError.
    """
    chosen = request.scenarios
    if chosen is None:
        return [engine.Scenario(name="base")]
    if not 1 <= len(chosen) <= MAX_RUN_SCENARIOS:
        message = f"has {len(chosen)} entries; expected 1 to {MAX_RUN_SCENARIOS:,}, or none at all"
        raise AssumptionError([Problem("scenarios", message)])
    return [await scenario_of(connection, owner, choice, f"scenarios[{i}]") for i, choice in enumerate(chosen)]


async def scenario_of(connection: AsyncConnection, owner: str, choice: ScenarioChoice, path: str) -> engine.Scenario:
    given = [name for name in ("scenario_id", "template", "scenario") if getattr(choice, name) is not None]
    if len(given) != 1:
        what = "is empty" if not given else f"has {' and '.join(given)}"
        message = f"{what}; expected exactly one of scenario_id, template, scenario"
        raise AssumptionError([Problem(path, message)])
    if choice.version is not None and choice.scenario_id is None:
        raise AssumptionError([Problem(f"{path}.version", "is given without a scenario_id; expected none")])
    if choice.scenario_id is not None:
        return (await get_scenario(connection, owner, choice.scenario_id, choice.version)).scenario
    if choice.template is not None:
        if choice.template not in TEMPLATES:
            message = f"is {choice.template[:80]!r}; expected {one_of(choice.template, TEMPLATES)}"
            raise AssumptionError([Problem(f"{path}.template", message)])
        return template(choice.template)
    assert choice.scenario is not None
    if (fault := text_fault(choice.scenario.name, 0, MAX_NAME)) is not None:
        raise AssumptionError([Problem(f"{path}.scenario.name", fault)])
    return choice.scenario


def projection_of(
    request: RunRequest, scenarios: Sequence[engine.Scenario], tape: engine.Tape
) -> engine.ProjectionRequest:
    """The engine's request for a part of the tape under some of the scenarios."""
    return engine.ProjectionRequest(
        tape=tape, assumptions=request.assumptions, scenarios=list(scenarios), conventions=request.conventions,
        level=request.level, fields=fields_of(request.fields), periods=request.periods,
        cutoff_date=request.cutoff_date,
    )  # fmt: skip


def check(request: RunRequest, scenarios: list[engine.Scenario]) -> None:
    """Raises AssumptionError with what the engine refuses whatever the tape."""
    engine.project(projection_of(request, scenarios, engine.Tape.from_columns(**EMPTY)), threads=1)


def cells_of(tape: StoredTape, request: RunRequest, scenarios: list[engine.Scenario]) -> int:
    """The most numbers that one scenario's result can have."""
    rows = tape.profile.group_count if request.level == "group" else 1
    periods = limits.months(projection_of(request, scenarios, engine.Tape()), tape.profile.longest_term)
    return len(fields_of(request.fields)) * rows * periods


def fields_of(asked: Sequence[str] | None) -> list[str]:
    """The fields of a run, each once; those asked for, or the engine's default."""
    return list(dict.fromkeys(engine.DEFAULT_FIELDS if asked is None else asked))


def stored(request: RunRequest, scenarios: Sequence[engine.Scenario]) -> dict[str, str]:
    """The columns of the row that input_from and heading_from read. Raises AssumptionError where they are too large."""
    chosen = request.scenarios or [ScenarioChoice()] * len(scenarios)
    kept = [None if choice.scenario is not None else each for choice, each in zip(chosen, scenarios, strict=True)]
    heading = RunHeading(scenarios=[each.name for each in scenarios], fields=request.fields, level=request.level)
    pinned = msgspec.json.encode(kept)
    if len(pinned) > MAX_PINNED_BYTES:
        message = f"hold {len(pinned):,} bytes of assumptions; expected up to {MAX_PINNED_BYTES:,}: make several runs"
        raise AssumptionError([Problem("scenarios", message)])
    texts = {"request": msgspec.json.encode(request), "scenarios": pinned, "heading": msgspec.json.encode(heading)}
    return {name: text.decode() for name, text in texts.items()}


def input_from(request: str, scenarios: str) -> RunInput:
    """The input of a run from its row. Raises DecodeError where it was written by other rules than today's."""
    asked = request_decoder.decode(request)
    chosen = asked.scenarios or []
    found: list[engine.Scenario] = []
    for i, each in enumerate(pinned_decoder.decode(scenarios)):
        scenario = chosen[i].scenario if each is None and i < len(chosen) else each
        if scenario is None:
            raise msgspec.ValidationError(f"scenario {i} is neither in the request nor pinned")
        found.append(scenario)
    return RunInput(request=asked, scenarios=found)


def readable(id: str, request: str, scenarios: str) -> RunInput:
    """The input of a run for its owner. Raises Conflict where it cannot be read any more."""
    try:
        return input_from(request, scenarios)
    except msgspec.DecodeError as error:
        raise Conflict(f"run {id!r} is stored in a form that cannot be read any more; submit it again") from error


def heading_from(heading: str | None, request: str = "{}", scenarios: str = "[]") -> RunHeading:
    """The heading of a run from its row; made from the rest for rows that were written before there was one."""
    try:
        if heading is not None:
            return heading_decoder.decode(heading)
        source = source_decoder.decode(request)
        written = [choice.scenario for choice in source.scenarios or []]
        names = [each or written[i] for i, each in enumerate(names_decoder.decode(scenarios))]
        kept = {"scenarios": [each.name for each in names if each], "fields": source.fields, "level": source.level}
        return msgspec.convert(kept, RunHeading)
    except (msgspec.DecodeError, IndexError):
        # Of what no rules of today's can read there is nothing to show; the run itself is still listed.
        return RunHeading()

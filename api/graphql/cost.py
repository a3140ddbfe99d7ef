"""What a query costs: the numbers that its selection answers with, by rows and columns.

A column has a number a period (at loan level a period and loan), and so counts a figure of `analytics`, which is made
from one; a page of rows has as many as `first` says, a summary one a figure; `scenarios` and `groups` multiply what is
below them. Aliases count each time, since each is in the answer.
"""

from typing import Any

import msgspec
from strawberry.types import Info
from strawberry.types.nodes import SelectedField, Selection

import engine
from api import limits
from api.graphql.types import DEFAULT_PAGE, MAX_PAGE


class Shape(msgspec.Struct, frozen=True):
    """The size of a projection: numbers of a column, groups and scenarios."""

    cells: int
    groups: int
    scenarios: int


def shape_of(request: engine.ProjectionRequest) -> Shape:
    months = limits.months(request)
    by_group = request.level == "group"
    cells = months if by_group else months * limits.lines(request)
    return Shape(cells, limits.lines(request) if by_group else 1, limits.scenario_count(request))


def skipped(selection: Selection) -> bool:
    """Whether @skip or @include leaves a selection out."""
    directives = selection.directives
    return directives.get("skip", {}).get("if") is True or directives.get("include", {}).get("if") is False


def rows_asked(field: SelectedField) -> int:
    """Rows of a page; one out of range is refused elsewhere."""
    first = field.arguments.get("first", DEFAULT_PAGE)
    return min(max(first, 1), MAX_PAGE) if isinstance(first, int) else MAX_PAGE


def numbers(selections: list[Selection], shape: Shape, each: int) -> int:
    """Numbers that selections answer with; `each` is how many a field that selects nothing has."""
    found = 0
    for selection in selections:
        if skipped(selection):
            continue
        if not isinstance(selection, SelectedField):
            found += numbers(selection.selections, shape, each)
        elif not selection.selections:
            found += each
        else:
            times = {"scenarios": shape.scenarios, "groups": shape.groups}.get(selection.name, 1)
            inner = {"columns": shape.cells, "analytics": shape.cells, "rows": rows_asked(selection)}.get(
                selection.name, each
            )
            found += times * numbers(selection.selections, shape, inner)
    return found


def cost(request: engine.ProjectionRequest, info: Info[Any, Any]) -> int:
    """Numbers that the projection makes or that the query answers with, whichever are more."""
    asked = [selection for field in info.selected_fields for selection in field.selections]
    return max(limits.result_cells(request), numbers(asked, shape_of(request), 1))

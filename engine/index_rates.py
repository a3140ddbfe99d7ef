"""The index values that a tape's floating loans read, in each scenario of a request."""

import numpy as np

from engine.assumptions import Scenario
from engine.contracts import Contracts
from engine.errors import AssumptionError, Problem, one_of
from engine.rates import DatedRates, Months, RatePath, Rates, RateTables, rate_tables
from engine.request import ProjectionRequest


def rates_of(request: ProjectionRequest, terms: Contracts, months: int) -> RateTables:
    """The values of the indices that loans name, by scenario. Raises AssumptionError where an index has no path."""
    if not terms.indices:
        count = len(request.scenarios or [0])
        return RateTables(values=np.zeros((1, 1, 1)), set_of_scenario=(0,) * count, past=0)
    paths = paths_of(request)
    problems: list[Problem] = []
    none: list[Scenario | None] = [None]
    for scenario, known in zip(request.scenarios or none, paths, strict=True):
        where = "assumptions" if scenario is None else f"scenario {scenario.name!r}"
        problems += missing(known, terms, where)
    if not problems and request.cutoff_date is None:
        dated = {index for named in paths for index in terms.indices if isinstance(named[index], DatedRates)}
        if dated:
            message = f"is missing; the dated path of {', '.join(map(repr, sorted(dated)))} is read from it"
            problems.append(Problem("cutoff_date", message))
    if problems:
        raise AssumptionError(problems)
    return rate_tables(paths, terms.indices, int(terms.numbers["look_back"].max()), months, request.cutoff_date)


def paths_of(request: ProjectionRequest) -> list[dict[str, RatePath]]:
    """The path of each index that is given, by scenario."""
    common = request.assumptions.rates or {}
    if request.scenarios is None:
        return [common]
    given = [None if each.assumptions is None else each.assumptions.rates for each in request.scenarios]
    return [common | (own or {}) for own in given]


class Histories:
    """What indices were worth before the cut-off, where that is stated."""

    def __init__(self, request: ProjectionRequest) -> None:
        self.paths, self.cutoff = paths_of(request), request.cutoff_date

    def __call__(self, index: str, months: Months) -> Rates | None:
        """Annual values at months from the cut-off; none where one is not stated, or scenarios differ in one."""
        found = None
        for known in self.paths:
            path = known.get(index)
            if path is None or not path.tells(months, self.cutoff):
                return None
            values = path.values(months, self.cutoff)
            if found is not None and (values != found).any():
                return None
            found = values
        return found


def missing(known: dict[str, RatePath], terms: Contracts, where: str) -> list[Problem]:
    """The indices that loans name and that have no path."""
    empty = "a path for it in assumptions.rates, which is empty"
    return [
        Problem(
            path,
            f"is {index!r}, for which {where} has no rates; expected {one_of(index, known) if known else empty}",
        )
        for index, path in zip(terms.indices, terms.index_paths, strict=True)
        if index not in known
    ]

"""The registry of measures, and the request for some of them: the wire format of REST and GraphQL."""

from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import numpy as np

from engine.analytics.cash_measures import (
    BreakevenCdr,
    Convexity,
    DiscountMargin,
    Dv01,
    EffectiveDuration,
    Irr,
    KeyRateDurations,
    MacaulayDuration,
    ModifiedDuration,
    Npv,
    Price,
    Wal,
    Xirr,
    Yield,
    ZSpread,
)
from engine.analytics.discount_curve import DiscountCurve
from engine.analytics.figures import PerVector, Vectors
from engine.analytics.measure import Inputs, projected_inputs
from engine.analytics.pool_measures import (
    AccruedInterest,
    CeclLoss,
    ConvertedYield,
    CumulativeLossMeasure,
    ExcessSpreadMeasure,
    Ifrs9Ecl,
    ImpliedSpeedMeasure,
    ProjectedEcl,
    ProvisionMatrix,
    WarmAllowance,
)
from engine.analytics.roots import NoSolution, floats
from engine.analytics.settlement import Settlement
from engine.errors import InvalidInput, Problem
from engine.fields import FIELD_INDEX, FIELD_NAMES, FIELDS
from engine.projection import project
from engine.request import ProjectionRequest

AnyMeasure = (
    Npv | Irr | Xirr | Price | Yield | Wal | MacaulayDuration | ModifiedDuration | Convexity | Dv01 | ZSpread
    | DiscountMargin | KeyRateDurations | EffectiveDuration | BreakevenCdr | CumulativeLossMeasure | ExcessSpreadMeasure
    | ImpliedSpeedMeasure | AccruedInterest | ConvertedYield | Ifrs9Ecl | CeclLoss | WarmAllowance | ProvisionMatrix
    | ProjectedEcl
)  # fmt: skip
# The measures by name; REST, OpenAPI, GraphQL and the tests over all of them derive from it.
MEASURES: dict[str, Any] = {str(cls.__struct_config__.tag): cls for cls in get_args(AnyMeasure)}
MAX_MEASURES = 100
OF_REQUEST = ("settlement.", "curve", "cashflows", "projection")
OF_PROJECTION = ("tape", "assumptions", "scenarios", "conventions", "cutoff_date", "periods")

CashflowVectors = msgspec.defstruct(
    "CashflowVectors",
    [(name, Vectors | None, None) for name in FIELD_NAMES],
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    namespace={
        "__doc__": "Columns of cash that are given, each one vector or a list of vectors.\n\n"
        + " ".join(f"{field.name}: {field.doc}" for field in FIELDS)
    },
)


class GivenCashflows(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Cashflows that are given as arrays.

    columns: by the names of output fields, the periods last. opening_balance: before the first period, one or one a
    vector; measures of losses need it.
    """

    columns: CashflowVectors  # type: ignore[valid-type]
    opening_balance: PerVector | None = None


class AnalyticsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Measures of cashflows that are given, or of a projection, which is made first.

    measures: what is asked for, at most a hundred. cashflows: given arrays. projection: what is projected, in their
    place; the answer is by scenario. settlement: when the cash is paid. curve: for spreads and key rates.
    """

    measures: list[AnyMeasure]
    cashflows: GivenCashflows | None = None
    projection: ProjectionRequest | None = None
    settlement: Settlement = msgspec.field(default_factory=Settlement)
    curve: DiscountCurve | None = None


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """Results in the order of the measures; by scenario where a projection has several."""

    measures: list[Any] | None = None
    scenarios: dict[str, list[Any]] | None = None


def analyze(request: AnalyticsRequest, threads: int | None = None) -> Analysis:
    """The results of the measures of a request.

    Raises InvalidInput with every fault, each with its path; a measure that has no solution is one of them.
    """
    check(request)
    if request.projection is None:
        return Analysis(measures=computed(request.measures, given_inputs(request)))
    projection = fitted(request)
    assert projection is not None
    try:
        cashflows = project(projection, threads)
    except InvalidInput as error:
        raise InvalidInput([Problem(f"projection.{p.path}", p.message) for p in error.problems]) from error
    several = cashflows.several
    parts = []
    for i in range(max(len(cashflows.scenario_names), 1)):
        index = (i,) if several else ()
        parts.append(projected_inputs(cashflows, index, i, projection, request.settlement, request.curve, threads))
    if not several:
        return Analysis(measures=computed(request.measures, parts[0]))
    problems: list[Problem] = []
    found: dict[str, list[Any]] = {}
    for name, inputs in zip(cashflows.scenario_names, parts, strict=True):
        try:
            found[name] = computed(request.measures, inputs)
        except InvalidInput as error:
            problems += [Problem(p.path, f"{p.message} (scenario {name!r})") for p in error.problems]
    if problems:
        raise InvalidInput(problems)
    return Analysis(scenarios=found)


def results_by_type(analysis: Analysis, measures: list[Any]) -> dict[str, Any]:
    """The results as plain objects, each with the `type` of its measure; arrays stay arrays, contiguous."""
    if analysis.scenarios is not None:
        return {"scenarios": {name: {"measures": typed(each, measures)} for name, each in analysis.scenarios.items()}}
    return {"measures": typed(analysis.measures or [], measures)}


def typed(results: list[Any], measures: list[Any]) -> list[dict[str, Any]]:
    found = []
    for result, measure in zip(results, measures, strict=True):
        values = {name: getattr(result, name) for name in result.__struct_fields__}
        written = {
            name: np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value
            for name, value in values.items()
            if value is not None
        }
        found.append({"type": measure.__struct_config__.tag, **written})
    return found


def check(request: AnalyticsRequest) -> None:
    """Raises InvalidInput for what does not fit together."""
    found: list[Problem] = []
    if not 1 <= len(request.measures) <= MAX_MEASURES:
        found.append(Problem("measures", f"has {len(request.measures)}; expected 1 to {MAX_MEASURES} measures"))
    if request.cashflows is not None and request.projection is not None:
        found.append(Problem("cashflows", "and projection are both given; expected one of them"))
    if request.curve is not None:
        found += request.curve.problems()
    if found:
        raise InvalidInput(found)


def fitted(request: AnalyticsRequest) -> ProjectionRequest | None:
    """The projection of the columns that the measures need, if any; of a single stock where they need none."""
    if request.projection is None:
        return None
    needed = {name for measure in request.measures for name in measure.needs}
    fields = sorted(needed, key=FIELD_INDEX.__getitem__) or ["balance"]
    return msgspec.structs.replace(request.projection, fields=fields)


def given_inputs(request: AnalyticsRequest) -> Inputs:
    """The inputs of arrays that are given. Raises InvalidInput for columns of different shapes."""
    columns: dict[str, Any] = {}
    if request.cashflows is not None:
        given = msgspec.structs.asdict(request.cashflows.columns)
        columns = {
            name: floats(f"cashflows.columns.{name}", values) for name, values in given.items() if values is not None
        }
    shapes = {name: column.shape for name, column in columns.items()}
    first = next(iter(shapes.values()), (1,))
    wrong = [name for name, shape in shapes.items() if shape != first or not shape or not shape[-1]]
    if wrong:
        allowed = f"expected one period or more, in the shape of all others, {first}"
        raise InvalidInput(
            [Problem(f"cashflows.columns.{name}", f"has shape {shapes[name]}; {allowed}") for name in wrong]
        )
    opening = None if request.cashflows is None else request.cashflows.opening_balance
    return Inputs(
        columns=columns,
        settlement=request.settlement,
        curve=request.curve,
        opening_balance=None if opening is None else floats("cashflows.opening_balance", opening),
    )


def computed(measures: list[Any], inputs: Inputs) -> list[Any]:
    """The results of measures. Raises InvalidInput with the faults of all of them."""
    found, problems = [], []
    for i, measure in enumerate(measures):
        try:
            found.append(result_of(measure, inputs))
        except InvalidInput as error:
            problems += [Problem(placed(p.path, f"measures[{i}]"), p.message) for p in error.problems]
        except NoSolution as error:
            problems.append(Problem(f"measures[{i}]", f"has no solution: {error}"))
    if problems:
        raise InvalidInput(list(dict.fromkeys(problems)))
    return found


def placed(path: str, below: str) -> str:
    """A path of an argument, below its measure; one into the request stays, one into the projection goes below it."""
    if path.startswith(OF_REQUEST):
        return path
    return f"projection.{path}" if path.startswith(OF_PROJECTION) else f"{below}.{path}".rstrip(".")


def result_of(measure: Any, inputs: Inputs) -> Any:
    """The result of one measure, of finite numbers. Raises InvalidInput and NoSolution."""
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found = measure.compute(inputs)
    except (ValueError, OverflowError) as error:
        if isinstance(error, InvalidInput | NoSolution):
            raise
        raise InvalidInput([Problem("", f"does not fit the cashflows: {error}")]) from None
    for value in numbers(found):
        if not np.all(np.isfinite(value)):
            raise NoSolution("a result is too large to be a number")
    return found


def numbers(result: msgspec.Struct) -> Iterator[Any]:
    """The numbers of a result."""
    for name in result.__struct_fields__:
        value = getattr(result, name)
        if value is not None:
            yield np.asarray(value, dtype=np.float64)

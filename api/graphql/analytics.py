"""`analytics` of a projection or of given arrays: a field for each measure of the engine, computed when selected.

Fields, their arguments and their results are derived from engine.analytics.MEASURES.
"""

import inspect as signatures
from collections.abc import Callable
from typing import Annotated, Any, Optional

import anyio.to_thread
import msgspec
import strawberry
from graphql import GraphQLError
from msgspec import inspect
from strawberry.types import Info
from strawberry.types.nodes import SelectedField

import engine
from api import limits
from api.errors import Fault, Refusal
from api.faults import type_refusal
from api.graphql.inputs import input_type, plain, scalar, struct_input, without_null
from api.graphql.refusals import graphql_error
from api.graphql.texts import describe, field_text, first_line
from api.graphql.types import FloatVector
from engine.analytics import MEASURES, DiscountCurve, GivenCashflows, Measure, NoSolution, Settlement
from engine.analytics.measure import Inputs
from engine.analytics.request import AnalyticsRequest, given_inputs, result_of
from engine.fields import FIELD_INDEX

outputs: dict[type, Any] = {}


def output_of(cls: type[msgspec.Struct]) -> Any:
    """The output type of a Struct of results."""
    if cls not in outputs:
        kind = inspect.type_info(cls)
        assert isinstance(kind, inspect.StructType)
        body: dict[str, Any] = {"__annotations__": {}, "__module__": __name__}
        for field in kind.fields:
            inner, optional = without_null(field.type)
            found = output_type(inner)
            body["__annotations__"][field.name] = Optional[found] if optional else found  # noqa: UP045
            body[field.name] = strawberry.field(description=field_text(cls, field))
        name = cls.__name__
        outputs[cls] = strawberry.type(type(name, (), body), name=name, description=first_line(cls))
    return outputs[cls]


def output_type(kind: inspect.Type) -> Any:
    """The GraphQL type of a result's field."""
    match kind:
        case inspect.Metadata(extra={"graphql": (str() as word, str() as text)}):
            return scalar(word, text)
        case inspect.FloatType():
            return float
        case inspect.ListType(item_type=inspect.FloatType()):
            return FloatVector
    raise TypeError(f"a result that GraphQL outputs do not cover: {kind}")


def measure_of(name: str, given: dict[str, Any]) -> Measure:
    """The measure of a name with its arguments. Raises ValidationError."""
    found: Measure = msgspec.convert(measured(name, given), MEASURES[name])
    return found


def measured(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """The measure of a name with its arguments as a plain object."""
    arguments = {key: plain(value) for key, value in given.items() if value is not strawberry.UNSET}
    return {"type": name, **{key: value for key, value in arguments.items() if value is not None}}


def needed(selection: SelectedField) -> tuple[str, ...]:
    """The columns that a selected measure is made from."""
    cls = MEASURES.get(selection.name)
    if cls is None:
        return ()
    if "column" not in cls.__struct_fields__:
        columns: tuple[str, ...] = cls.columns
        return columns
    column = plain(selection.arguments.get("column")) or "cashflow"
    return (column,) if column in FIELD_INDEX else ()


async def compute(inputs: Inputs, name: str, given: dict[str, Any], info: Info[Any, Any]) -> Any:
    """The result of a measure. Raises GraphQLError, which leaves the measures beside it."""
    try:
        measure = measure_of(name, given)
        work = inputs_work(inputs, measure)
        done = info.context["measured"] = info.context.get("measured", 0) + work
        limits.check_work(done, info.context["settings"])
        if work > limits.INLINE_LOAN_MONTHS:
            return await anyio.to_thread.run_sync(result_of, measure, inputs)
        return result_of(measure, inputs)
    except msgspec.ValidationError as error:
        raise graphql_error(type_refusal(error, measured(name, given), MEASURES[name], name)) from error
    except NoSolution as error:
        extensions = {"code": "NO_SOLUTION", "reason": error.reason, "roots": list(error.roots), "errors": []}
        raise GraphQLError(f"{name} has no solution: {error}", extensions=extensions) from error
    except engine.InvalidInput as error:
        faults = [Fault(problem.path, problem.message) for problem in error.problems]
        raise graphql_error(Refusal(422, f"{name}: {error.problems[0]}", faults)) from error
    except Refusal as error:
        raise graphql_error(error) from error


def inputs_work(inputs: Inputs, measure: Measure) -> int:
    """Loan-months that a measure projects again, or the numbers that it reads."""
    if measure.reprojections and inputs.request is not None:
        request = msgspec.structs.replace(inputs.request, scenarios=None)
        return limits.loan_months(request) * measure.reprojections
    return sum(inputs.columns[name].size for name in measure.needs if name in inputs.columns)


def measure_field(name: str, cls: type[Measure]) -> Any:
    """The field of a measure: its arguments are those of its Struct."""
    kind = inspect.type_info(cls)
    assert isinstance(kind, inspect.StructType)

    async def resolver(root: Any, info: Info[Any, Any], **given: Any) -> Any:
        return await compute(root.inputs, name, given, info)

    positional = signatures.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [
        signatures.Parameter("root", positional, annotation=Any),
        signatures.Parameter("info", positional, annotation=Info[Any, Any]),
    ]
    for field in kind.fields:
        inner, _ = without_null(field.type)
        found = input_type("Analytics", field.name, inner)
        described = strawberry.argument(description=field_text(cls, field))
        wanted: Any = found if field.required else Optional[found]  # noqa: UP045
        default = signatures.Parameter.empty if field.required else strawberry.UNSET
        annotation = Annotated[wanted, described]
        keyword = signatures.Parameter.KEYWORD_ONLY
        parameters.append(signatures.Parameter(field.name, keyword, annotation=annotation, default=default))
    resolver.__signature__ = signatures.Signature(parameters)  # type: ignore[attr-defined]
    resolver.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    resolver.__name__ = name
    result: Any = Optional[output_of(cls.result)]  # noqa: UP045
    return strawberry.field(resolver=resolver, graphql_type=result, description=describe(cls))


def analytics_type() -> Any:
    """The type with a field for each measure; `inputs` is what they are computed from."""

    class Analytics:
        def __init__(self, inputs: Inputs) -> None:
            self.inputs = inputs

    for name, cls in MEASURES.items():
        setattr(Analytics, name, measure_field(name, cls))
    return strawberry.type(Analytics, description="Measures; only those that are selected are computed.")


Analytics: Any = analytics_type()


def struct_argument(cls: type[msgspec.Struct]) -> Any:
    kind = inspect.type_info(cls)
    assert isinstance(kind, inspect.StructType)
    return Annotated[Optional[struct_input(kind)], strawberry.argument(description=first_line(cls))]  # noqa: UP045


SettlementArgument: Any = struct_argument(Settlement)
CurveArgument: Any = struct_argument(DiscountCurve)
CashflowsArgument: Any = struct_argument(GivenCashflows)


def converted(name: str, given: Any, cls: Callable[..., Any]) -> Any:
    """An argument as its Struct, none where it is not given. Raises GraphQLError with the path to the fault."""
    if given is None or given is strawberry.UNSET:
        return None
    try:
        return msgspec.convert(plain(given), cls)
    except msgspec.ValidationError as error:
        raise graphql_error(type_refusal(error, plain(given), cls, name)) from error


def of_cashflows(
    cashflows: engine.Cashflows, index: tuple[int, ...], scenario: int, request: Any, settlement: Any, curve: Any,
    info: Info[Any, Any],
) -> Any:  # fmt: skip
    """The measures of one scenario of a projection, or of one of its groups, for which request is none."""
    inputs = Inputs(
        columns={name: column[index] for name, column in cashflows.columns.items()},
        settlement=converted("settlement", settlement, Settlement) or Settlement(),
        curve=converted("curve", curve, DiscountCurve),
        opening_balance=cashflows.opening_balance if cashflows.level == "pool" else None,
        request=request,
        scenario=scenario,
        threads=info.context["settings"].calculation_thread_pool_size,
    )
    return Analytics(inputs)


async def of_arrays(cashflows: Any, settlement: Any, curve: Any, info: Info[Any, Any]) -> Any:
    """The measures of arrays that are given. Raises GraphQLError."""
    try:
        async with info.context["meter"].part() as charge:
            request = AnalyticsRequest(
                measures=[],
                cashflows=converted("cashflows", cashflows, GivenCashflows),
                settlement=converted("settlement", settlement, Settlement) or Settlement(),
                curve=converted("curve", curve, DiscountCurve),
            )
            cells = limits.check_cells(limits.vector_numbers(request), 1, info.context["settings"])
            inputs = given_inputs(request)
            await charge(cells)
        return Analytics(inputs)
    except Refusal as error:
        raise graphql_error(error) from error
    except engine.InvalidInput as error:
        faults = [Fault(problem.path, problem.message) for problem in error.problems]
        raise graphql_error(Refusal(422, str(error.problems[0]), faults)) from error

"""GraphQL: measures of projections and of given arrays are the engine's, and only those selected are computed."""

from typing import Any

import msgspec
import numpy as np
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from msgspec import inspect

import engine
from engine import analytics
from tests.api.test_analytics import ARGUMENTS, COLUMNS, CURVE, OF_PROJECTIONS, expected, given, projected

Client = TestClient[Litestar]
Headers = dict[str, str]


class Asker:
    def __init__(self, client: Client, headers: Headers) -> None:
        self.client, self.headers = client, headers

    def __call__(self, query: str, **variables: Any) -> dict[str, Any]:
        response = self.client.post("/graphql", json={"query": query, "variables": variables}, headers=self.headers)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer


@pytest.fixture
def ask(client: Client, bearer: Headers) -> Asker:
    return Asker(client, bearer)


def written(value: Any, name: str = "") -> str:
    """An argument as GraphQL writes it; choices are bare words."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {written(inner, key)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(written(inner) for inner in value) + "]"
    bare = name in ("compounding", "to", "pd_kind", "type", "method", "column")
    return value if bare else msgspec.json.encode(value).decode()


def field_of(name: str, arguments: dict[str, Any]) -> str:
    """The selection of a measure with every field of its result."""
    listed = ", ".join(f"{key}: {written(value, key)}" for key, value in arguments.items())
    result = inspect.type_info(analytics.MEASURES[name].result)
    assert isinstance(result, inspect.StructType)
    fields = " ".join(field.name for field in result.fields)
    return f"{name}{f'({listed})' if listed else ''} {{ {fields} }}"


def without_null(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if value is not None}


@pytest.mark.parametrize("name", [name for name in analytics.MEASURES if name not in OF_PROJECTIONS])
def test_every_measure_of_given_arrays(ask: Asker, name: str) -> None:
    body = given(name)
    query = f"""query ($cashflows: GivenCashflowsInput, $settlement: SettlementInput, $curve: DiscountCurveInput) {{
        analytics(cashflows: $cashflows, settlement: $settlement, curve: $curve) {{ {field_of(name, ARGUMENTS[name])} }}
    }}"""
    answer = ask(query, cashflows=body["cashflows"], settlement=body["settlement"], curve=body["curve"])
    assert "errors" not in answer, answer
    assert {"type": name, **without_null(answer["data"]["analytics"][name])} == expected(body)[0]


@pytest.mark.parametrize("name", [name for name in analytics.MEASURES if name not in ("xirr", "irr")])
def test_every_measure_of_a_projection(ask: Asker, body: dict[str, Any], name: str) -> None:
    asked = projected(body, name)
    arguments = {**ARGUMENTS[name], **({"price": 2900.0} if "price" in ARGUMENTS[name] else {})}
    asked["measures"] = [{"type": name, **arguments}]
    query = f"""query ($request: ProjectionRequestInput!, $curve: DiscountCurveInput) {{
        projection(request: $request) {{ analytics(curve: $curve) {{ {field_of(name, arguments)} }} }} }}"""
    answer = ask(query, request=asked["projection"], curve=CURVE)
    assert "errors" not in answer, answer
    assert {"type": name, **without_null(answer["data"]["projection"]["analytics"][name])} == expected(asked)[0]


def test_only_the_columns_of_the_measures_selected_are_projected(
    ask: Asker, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, seen = engine.project, []

    def noted(request: engine.ProjectionRequest, *rest: Any) -> engine.Cashflows:
        seen.append(request.fields)
        return project(request, *rest)

    monkeypatch.setattr(engine, "project", noted)
    query = """query ($request: ProjectionRequestInput!, $column: Column, $no: Boolean!) {
        projection(request: $request) { analytics {
            wal { value } strip: price(annual_yield: 0.05, column: $column) { value }
            cumulative_loss @include(if: $no) { net } } } }"""
    answer = ask(query, request=body, column="net_interest", no=False)
    assert "errors" not in answer, answer
    assert seen == [["net_interest", "principal"]]


def test_only_the_measures_selected_are_computed(ask: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []
    for name, cls in analytics.MEASURES.items():
        original = cls.compute

        def noted(self: Any, inputs: Any, name: str = name, original: Any = original) -> Any:
            computed.append(name)
            return original(self, inputs)

        monkeypatch.setattr(cls, "compute", noted)
    ask("{ analytics(cashflows: {columns: {principal: [1, 2]}}) { wal { value } other: wal { value } } }")
    assert computed == ["wal", "wal"]


def test_scenarios_and_groups_have_their_own(ask: Asker, scenarios_body: dict[str, Any]) -> None:
    query = """query ($request: ProjectionRequestInput!) { projection(request: $request) {
        scenarios { name analytics(settlement: {delay_days: 14}) { wal { value } } } } }"""
    answer = ask(query, request=scenarios_body)["data"]["projection"]["scenarios"]
    flows = engine.project(msgspec.convert({**scenarios_body, "fields": ["principal"]}, engine.ProjectionRequest))
    lives = analytics.wal(flows["principal"], analytics.payment_times(flows.periods, 14))
    assert [each["analytics"]["wal"]["value"] for each in answer] == pytest.approx(lives.tolist(), rel=1e-14)
    grouped = {**scenarios_body, "level": "group", "scenarios": None}
    query = """query ($request: ProjectionRequestInput!) { projection(request: $request) {
        groups { name analytics { wal { value } } } } }"""
    groups = ask(query, request=grouped)["data"]["projection"]["groups"]
    flows = engine.project(msgspec.convert({**grouped, "fields": ["principal"]}, engine.ProjectionRequest))
    lives = analytics.wal(flows["principal"], np.arange(1, flows.periods + 1) / 12)
    assert [each["analytics"]["wal"]["value"] for each in groups] == pytest.approx(lives.tolist(), rel=1e-13)


def test_a_measure_without_a_solution_leaves_the_others(ask: Asker) -> None:
    query = """query ($cashflows: GivenCashflowsInput) { analytics(cashflows: $cashflows) {
        wal { value } irr { value } two: irr(investment: 1) { value } } }"""
    columns = {"principal": [1.0, 3.0], "cashflow": [4.1, -3.3]}
    answer = ask(query, cashflows={"columns": columns})
    assert answer["data"]["analytics"]["wal"] == {"value": pytest.approx((1 + 3 * 2) / 4 / 12)}
    assert answer["data"]["analytics"]["two"] is None
    errors = {error["path"][-1]: error["extensions"] for error in answer["errors"]}
    assert errors["two"]["code"] == "NO_SOLUTION"
    assert errors["two"]["reason"] == "several_roots"
    assert errors["two"]["roots"] == pytest.approx([0.1, 2.0])


def test_the_work_of_all_measures_of_a_query_is_limited(ask: Asker, body: dict[str, Any]) -> None:
    # Two loans of 20 months: one breakeven is 2 x 20 x 297 loan-months, within the 100,000 of the tests; ten are not.
    loans = [{**loan, "remaining_term": 20} for loan in body["tape"]["loans"]]
    breakeven = "breakeven_cdr(target: {type: investor_loss, support: 0.01}) { value }"
    fields = " ".join(f"a{i}: {breakeven}" for i in range(10))
    query = "query ($request: ProjectionRequestInput!) { projection(request: $request) { analytics { %s } } }"
    request = {"tape": {"loans": loans}, "assumptions": {"severity": 0.5}}
    assert "errors" not in ask(query % breakeven, request=request)
    codes = {error["extensions"]["code"] for error in ask(query % fields, request=request)["errors"]}
    assert codes == {"TOO_LARGE"}


@pytest.mark.parametrize(
    ("selection", "code", "path"),
    [
        ('price(annual_yield: "x") { value }', "BAD_REQUEST", "price.annual_yield"),
        ("excess_spread { total }", "INVALID_INPUT", "cashflows.opening_balance"),
        ("z_spread(price: 1) { value }", "INVALID_INPUT", "curve"),
        ("breakeven_cdr(target: {type: excess_spread}) { value }", "INVALID_INPUT", "projection"),
        (
            "breakeven_cdr(target: {type: excess_spread, support: 1}) { value }",
            "BAD_REQUEST",
            "breakeven_cdr.target.support",
        ),
    ],
)
def test_faults_carry_their_paths(ask: Asker, selection: str, code: str, path: str) -> None:
    query = f"""query ($cashflows: GivenCashflowsInput) {{ analytics(cashflows: $cashflows) {{ {selection} }} }}"""
    (error,) = ask(query, cashflows={"columns": COLUMNS})["errors"]
    assert error["extensions"]["code"] == code
    assert [fault["path"] for fault in error["extensions"]["errors"]] == [path]


def test_faults_of_the_arguments_beside_carry_their_paths(ask: Asker) -> None:
    query = """query ($cashflows: GivenCashflowsInput, $curve: DiscountCurveInput) {
        analytics(cashflows: $cashflows, curve: $curve) { z_spread(price: 1) { value } } }"""
    (error,) = ask(query, cashflows={"columns": {"cashflow": [[1.0], [1.0, 2.0]]}})["errors"]
    assert [fault["path"] for fault in error["extensions"]["errors"]] == ["cashflows.columns.cashflow"]
    (error,) = ask(query, cashflows={"columns": {"cashflow": [1.0]}}, curve={"times": [1.0, 0.5], "values": [1, 2]})[
        "errors"
    ]
    assert [fault["path"] for fault in error["extensions"]["errors"]] == ["curve.times"]


def test_payment_dates_off_holidays(ask: Asker, client: Client, bearer: Headers) -> None:
    # 31 March 2024 is Easter Sunday and the Monday a holiday of TARGET: 62 days from 31 January to 2 April.
    settlement = {
        "date": "2024-01-31", "first_payment_date": "2024-03-31", "business_day": "following", "calendar": "TARGET",
        "day_count": "ACT/360", "payments_per_year": 1,
    }  # fmt: skip
    given = {"columns": {"cashflow": [100.0]}}
    query = """query ($c: GivenCashflowsInput!, $s: SettlementInput!) {
        analytics(cashflows: $c, settlement: $s) { price(annual_yield: 0.05, compounding: continuous) { dirty } } }"""
    found = ask(query, c=given, s=settlement)["data"]["analytics"]["price"]["dirty"]
    assert found == pytest.approx(100 * np.exp(-0.05 * 62 / 360), rel=1e-12)
    measures = [{"type": "price", "annual_yield": 0.05, "compounding": "continuous"}]
    body = {"cashflows": given, "settlement": settlement, "measures": measures}
    assert client.post("/v1/analytics", json=body, headers=bearer).json()["measures"][0]["dirty"] == found

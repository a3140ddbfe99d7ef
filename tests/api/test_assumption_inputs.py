"""Composed assumptions are the same request over REST, over GraphQL and in Python."""

from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

import engine

Client = TestClient[Litestar]
LOAN = {
    "type": "loan", "balance": 1000.0, "annual_rate": 0.06, "remaining_term": 24, "age": 5, "group": "A",
    "property_value": 900.0, "mortgage_insurance": 0.1,
}  # fmt: skip
UNINSURED = {name: value for name, value in LOAN.items() if name != "mortgage_insurance"}
SEASONS = [0.94, 0.76, 0.73, 0.96, 0.98, 0.92, 0.99, 1.1, 1.18, 1.21, 1.23, 0.97]
NESTED = {
    "type": "seasonal", "factors": SEASONS,
    "curve": {"type": "scaled", "multiplier": [1.0, 2.0], "beyond": "repeat", "curve": {"type": "psa", "speed": 3.0}},
}  # fmt: skip
FLOATING = LOAN | {
    "status": "delinquent_60", "index": "SOFR", "margin": 0.02, "first_reset": 2, "reset_frequency": 3,
    "previous_rate": 0.05,
}  # fmt: skip
LOANS = {
    "renewed": UNINSURED | {"status": "delinquent_30"}, "helped": UNINSURED | {"status": "delinquent_30"},
    "arrears": LOAN | {"status": "delinquent_60"},
    "floating": FLOATING, "held": FLOATING | {"previous_rate": None},
}  # fmt: skip
RATES = {"SOFR": {"type": "flat", "rate": 0.04}}
CASES: dict[str, dict[str, Any]] = {
    "curves": {"prepayment": NESTED, "burnout": {"floor": 0.5}, "default": {"type": "cdr", "rate": 0.1}},
    "rules": {"rules": [{"where": {"age": {"below": 12}}, "assumptions": {"prepayment": NESTED}}]},
    "timing": {"default": {"type": "timing", "cumulative": 0.2, "timing": [0.5, 0.5], "base": "cutoff_balance"}},
    "property": {
        "default": {"type": "mdr", "rate": 0.05}, "recovery_stages": [0.5, 0.5],
        "severity": {"type": "property", "liquidation_cost": 0.1, "home_price_growth": [-0.1, 0.0]},
    },
    "ltv": {
        "default": {"type": "mdr", "rate": 0.05}, "recovery_lag": 2,
        "severity": {"type": "ltv", "ltv": [0.8, 1.0], "severities": [0.1, 0.3, 0.6], "home_price_growth": [-0.5, 0.9]},
    },
    "number": {"default": {"type": "mdr", "rate": 0.05}, "severity": 0.4},
    "curtailed": {"curtailment": NESTED, "prepayment": {"type": "cpr", "rate": 0.1}},
    "helped": {"severity": 0.5, "delinquency": {
        "roll": [0.1, 0.3, 0.5], "cure": [0.2, 0.1],
        "forbearance": {"months": 3, "enter": [0.02, 0.1], "reinstate": 0.2, "modify": 0.5},
        "modification": {"rates": [0.1, 0.2], "interest_relief": 0.2, "forgiveness": 0.05, "redefault": 0.01},
    }},
    "renewed": {"severity": 0.5, "delinquency": {
        "roll": [0.1, 0.3, 0.5], "cure": [0.2, 0.1],
        "modification": {"rates": [0.1, 0.2], "annual_rate": 0.02, "term": 48, "arrears": "capitalized"},
    }},
    "arrears": {"delinquency": {"roll": [0.1, 0.5, 0.5], "cure": [0.2, 0.1]}, "severity": 0.5},
    "floating": {"delinquency": {"roll": [0.1, 0.5, 0.5], "cure": [0.2, 0.1]}, "rates": RATES, "severity": 0.5},
    "held": {
        "delinquency": {"roll": [0.1, 0.5, 0.5], "cure": [0.2, 0.1], "missed_terms": "current"}, "rates": RATES,
        "severity": 0.5,
    },
    "late": {"delinquency": {"roll": [0.1, 0.5, 0.5], "cure": [0.2, 0.1]}, "severity": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("after", ["recast", "level"])
def test_rest_and_graphql_answer_as_the_engine(client: Client, bearer: dict[str, str], name: str, after: str) -> None:
    body = {
        "tape": {"loans": [LOANS.get(name, LOAN)]}, "assumptions": CASES[name],
        "cutoff_date": "2024-10-31",
        "fields": ["cashflow", "default", "loss"],
        "conventions": {"final_defaults": "continue", "after_curtailment": after},
    }  # fmt: skip
    flows = engine.project(msgspec.convert(body, engine.ProjectionRequest))
    expected = {field: flows[field].tolist() for field in flows.fields}
    assert flows["cashflow"].any()
    assert flows["loss"].any() == ("severity" in CASES[name])
    rest = client.post("/v1/projections", json=body, headers=bearer)
    assert rest.status_code in (200, 201), rest.text
    assert {field: rest.json()["columns"][field] for field in expected} == expected
    query = """query ($request: ProjectionRequestInput!) {
        projection(request: $request) { columns { cashflow default loss } } }"""
    graphql = client.post("/graphql", json={"query": query, "variables": {"request": body}}, headers=bearer)
    assert graphql.json()["data"]["projection"]["columns"] == expected


def test_faults_inside_nested_curves_carry_their_path(client: Client, bearer: dict[str, str]) -> None:
    wrong = {"type": "scaled", "curve": {"type": "scaled", "curve": {"type": "cpr", "rate": 6.0}}}
    body = {"tape": {"loans": [LOAN]}, "assumptions": {"prepayment": wrong}}
    answer = client.post("/v1/projections", json=body, headers=bearer)
    assert answer.status_code == 422
    assert "assumptions.prepayment.curve.curve.rate is 6" in answer.text

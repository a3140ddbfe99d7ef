"""Unknown names and numbers beyond a double are told with what is allowed, over REST and GraphQL as in Python."""

import json
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]
LOAN = {"type": "loan", "balance": 100.0, "annual_rate": 0.05, "remaining_term": 12}
TAPE = {"tape": {"loans": [LOAN]}}
QUERY = "query ($r: ProjectionRequestInput!) { projection(request: $r) { summary { wal_years } } }"
CURVES = "cpr, smm, psa, abs, hep, mhp, vector, scaled, seasonal"
# Bodies, the path to the fault, what is allowed, and the nearest of it.
WRONG: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "curve": (TAPE | {"assumptions": {"prepayment": {"type": "crp"}}}, "assumptions.prepayment.type", CURVES, "cpr"),
    "amortization": (
        {"tape": {"loans": [LOAN | {"amortization": "lineer"}]}}, "tape.loans[0].amortization",
        "level_pay, linear, bullet, schedule", "linear",
    ),
    "asset": (
        {"tape": {"loans": [LOAN | {"type": "leese"}]}}, "tape.loans[0].type",
        "loan, lease, receivable, student_loan, revolving, cashflow", "lease",
    ),
    "level": (TAPE | {"level": "grup"}, "level", "pool, group, loan", "group"),
    "day_count": (
        {"tape": {"loans": [LOAN | {"day_count": "ACT/350", "next_payment_date": "2024-02-01"}]}},
        "tape.loans[0].day_count", "30/360 US, ACT/360, ACT/365F", "ACT/360",
    ),
    "field": (TAPE | {"fields": ["intrest"]}, "fields[0]", "balance, interest, scheduled_principal", "interest"),
    "preset": (TAPE | {"conventions": "sifm"}, "conventions", "sifma, opening_actual", "sifma"),
    "rule": (
        TAPE | {"assumptions": {"rules": [{"where": {"balanse": {"min": 1}}, "assumptions": {}}]}},
        "assumptions.rules[0].where['balanse']", "balance, annual_rate", "balance",
    ),
}  # fmt: skip


def is_told(text: str, allowed: str, near: str) -> bool:
    return all(name in text for name in allowed.split(", ")) and text.endswith(f"did you mean {near}?")


@pytest.mark.parametrize("name", WRONG)
def test_rest_and_graphql_name_the_choices(client: Client, bearer: dict[str, str], name: str) -> None:
    body, path, allowed, near = WRONG[name]
    answer = client.post("/v1/projections", json=body, headers=bearer)
    assert answer.status_code in (400, 422)
    [fault] = answer.json()["errors"]
    assert fault["path"] == path
    assert is_told(fault["message"], allowed, near)
    asked = client.post("/graphql", json={"query": QUERY, "variables": {"r": body}}, headers=bearer).json()
    message = asked["errors"][0]["message"]
    assert path in message
    assert is_told(message, allowed, near)


def test_a_choice_in_the_text_of_a_query_is_told_too(client: Client, bearer: dict[str, str]) -> None:
    loan = 'type: "loan", balance: 1, annual_rate: 0, remaining_term: 1'
    query = "{ projection(request: {tape: {loans: [{%s}]}, level: pol}) { summary { wal_years } } }" % loan  # noqa: UP031
    asked = client.post("/graphql", json={"query": query}, headers=bearer).json()
    assert asked["errors"][0]["message"] == "is 'pol'; expected one of group, loan, pool; did you mean pool?"


NUMBERS = {
    '{"tape": {"columns": {"balance": [1, 2, 1e999], "annual_rate": 0.1, "remaining_term": 3}}}':
        "tape.columns.balance[2]",
    '{"tape": {"loans": [{"type": "loan", "balance": 1, "annual_rate": -1e999, "remaining_term": 3}]}}':
        "tape.loans[0].annual_rate",
    json.dumps(TAPE)[:-1] + ', "assumptions": {"groups": {"A": {"recovery_stages": [1, 1e400]}}}}':
        "assumptions.groups['A'].recovery_stages[1]",
}  # fmt: skip


@pytest.mark.parametrize("body", NUMBERS)
def test_a_number_beyond_a_double_is_told_with_its_index(client: Client, bearer: dict[str, str], body: str) -> None:
    headers = {**bearer, "content-type": "application/json"}
    answer = client.post("/v1/projections", content=body, headers=headers)
    [fault] = answer.json()["errors"]
    assert answer.status_code == 400
    assert fault["path"] == NUMBERS[body]
    assert fault["message"].endswith("; expected a number that a double holds, up to 1.8e308")
    asked = client.post("/graphql", content=f'{{"query": "{QUERY}", "variables": {{"r": {body}}}}}', headers=headers)
    assert asked.status_code == 400
    assert NUMBERS[body].replace("groups['A']", "groups.A") in asked.text

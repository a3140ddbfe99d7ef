"""POST /v1/analytics: every measure answers as the engine does, and every fault is a problem with its path."""

from typing import Any

import msgspec
import numpy as np
import pytest
from litestar import Litestar
from litestar.testing import TestClient

import engine
from api.rest.analytics import EXAMPLES
from engine import analytics

Client = TestClient[Litestar]
Headers = dict[str, str]
URL = "/v1/analytics"
CURVE = {"times": [1.0, 10.0], "values": [0.04, 0.05]}
COLUMNS = {
    "cashflow": [[3.0, 3.0, 103.0], [40.0, 35.0, 30.0]],
    "principal": [[0.0, 0.0, 100.0], [38.0, 34.0, 28.0]],
    "net_interest": [[3.0, 3.0, 3.0], [2.0, 1.0, 0.5]],
    "default": [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]],
    "loss": [[0.0, 0.0, 0.0], [0.0, 0.5, 0.5]],
    "balance": [[100.0, 100.0, 0.0], [60.0, 28.0, 0.0]],
}
# Arguments of each measure, for two vectors, and for one pool.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "npv": {"rate": 0.01},
    "irr": {"investment": 90.0},
    "price": {"annual_yield": 0.05, "accrued": 0.25},
    "yield": {"price": 98.0, "compounding": "mortgage"},
    "wal": {},
    "macaulay_duration": {"annual_yield": 0.05},
    "modified_duration": {"price": 98.0},
    "convexity": {"annual_yield": 0.05, "compounding": "annual"},
    "dv01": {"annual_yield": 0.05, "compounding": "simple"},
    "z_spread": {"price": 98.0},
    "discount_margin": {"index": 0.03, "price": 98.0},
    "key_rate_durations": {"tenors": [1.0, 5.0]},
    "cumulative_loss": {},
    "excess_spread": {"coupon": 0.02},
    "projected_ecl": {"lgd": 0.5, "effective_rate": 0.05, "stage": 1},
    "implied_speed": {
        "first_factor": 0.9, "second_factor": 0.85, "annual_rate": 0.06, "original_term": 360, "remaining_term": 340,
        "months": 3,
    },
    "accrued_interest": {
        "balance": 100.0, "annual_rate": 0.06, "accrual_start": "2024-03-01", "settlement": "2024-03-16",
    },
    "convert_yield": {"annual_yield": 0.06, "compounding": "mortgage", "to": "bond_equivalent"},
    "ifrs9_ecl": {"stage": 2, "pd": [0.01, 0.02], "lgd": 0.4, "ead": 100.0, "effective_rate": 0.05},
    "cecl_loss": {"pd": [0.01, 0.02], "pd_kind": "cumulative", "lgd": 0.4, "ead": 100.0},
    "warm_allowance": {"balances": [100.0, 60.0, 0.0], "annual_loss_rate": 0.01},
    "provision_matrix": {"ageing": [100.0, 50.0], "loss_rates": [0.01, 0.1]},
    "xirr": {"dates": ["2024-01-01", "2024-07-01", "2025-01-01"]},
    "effective_duration": {"annual_yield": 0.05, "speed_down": 1.5},
    "breakeven_cdr": {"target": {"type": "investor_loss", "support": 0.02}},
}  # fmt: skip
OF_PROJECTIONS = ("effective_duration", "breakeven_cdr")


def given(*names: str) -> dict[str, Any]:
    columns = dict(COLUMNS)
    if names == ("xirr",):
        columns = {"cashflow": [[-100.0, 3.0, 103.0], [-90.0, 50.0, 50.0]]}
    return {
        "cashflows": {"columns": columns, "opening_balance": 100.0},
        "settlement": {"payments_per_year": 2},
        "curve": CURVE,
        "measures": [{"type": name, **ARGUMENTS[name]} for name in names],
    }


def projected(body: dict[str, Any], *names: str) -> dict[str, Any]:
    projection = {**body, "assumptions": {"default": {"type": "cdr", "rate": 0.1}, "severity": 0.5}}
    measures = [{"type": name, **ARGUMENTS[name]} for name in names]
    return {"projection": projection, "curve": CURVE, "measures": measures}


def plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def expected(body: dict[str, Any]) -> list[dict[str, Any]]:
    found = analytics.analyze(msgspec.convert(body, analytics.AnalyticsRequest))
    assert found.measures is not None
    return [
        {"type": measure["type"]} | {k: plain(v) for k, v in msgspec.structs.asdict(each).items() if v is not None}
        for measure, each in zip(body["measures"], found.measures, strict=True)
    ]


def test_the_arguments_of_the_tests_are_those_of_every_measure() -> None:
    assert set(ARGUMENTS) == set(analytics.MEASURES)


@pytest.mark.parametrize("name", [name for name in analytics.MEASURES if name not in OF_PROJECTIONS])
def test_every_measure_of_given_arrays(client: Client, bearer: Headers, name: str) -> None:
    body = given(name)
    answer = client.post(URL, json=body, headers=bearer)
    assert answer.status_code == 200, answer.text
    assert answer.json()["measures"] == expected(body)


@pytest.mark.parametrize("name", [name for name in analytics.MEASURES if name != "xirr"])
def test_every_measure_of_a_projection(client: Client, bearer: Headers, body: dict[str, Any], name: str) -> None:
    asked = projected(body, name)
    if "price" in ARGUMENTS[name]:
        asked["measures"][0]["price"] = 2900.0
    if name == "irr":
        asked["measures"][0]["investment"] = 2900.0
    answer = client.post(URL, json=asked, headers=bearer)
    assert answer.status_code == 200, answer.text
    assert answer.json()["measures"] == expected(asked)


def test_results_by_hand(client: Client, bearer: Headers) -> None:
    # 100 in a year at 5% compounded twice: 100/1.025^2. Principal of 40 and 60 in one and two half-years: 0.8 years.
    body = {
        "cashflows": {"columns": {"cashflow": [0.0, 100.0], "principal": [40.0, 60.0]}},
        "settlement": {"times": [0.5, 1.0]},
        "measures": [{"type": "price", "annual_yield": 0.05, "accrued": 1.0}, {"type": "wal"}],
    }
    price, wal = client.post(URL, json=body, headers=bearer).json()["measures"]
    assert price == {
        "type": "price", "value": pytest.approx(100 / 1.025**2 - 1), "dirty": pytest.approx(100 / 1.025**2),
        "accrued": 1.0,
    }  # fmt: skip
    assert wal == {"type": "wal", "value": pytest.approx(0.8)}


def test_several_scenarios_answer_each_by_name(client: Client, bearer: Headers, scenarios_body: dict[str, Any]) -> None:
    asked = {"projection": scenarios_body, "measures": [{"type": "wal"}]}
    answer = client.post(URL, json=asked, headers=bearer).json()["scenarios"]
    cashflows = engine.project(msgspec.convert({**scenarios_body, "fields": ["principal"]}, engine.ProjectionRequest))
    times = analytics.payment_times(cashflows.periods)
    values = [answer[name]["measures"][0]["value"] for name in ("base", "fast")]
    assert values == pytest.approx(analytics.wal(cashflows["principal"], times).tolist(), rel=1e-14)
    assert values[1] < values[0]


def test_loans_are_so_many_vectors(client: Client, bearer: Headers, body: dict[str, Any]) -> None:
    asked = {"projection": {**body, "level": "loan"}, "measures": [{"type": "wal"}]}
    (result,) = client.post(URL, json=asked, headers=bearer).json()["measures"]
    assert len(result["value"]) == 2


def test_only_the_columns_needed_are_projected(
    client: Client, bearer: Headers, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, project = [], engine.analytics.request.project  # type: ignore[attr-defined]

    def noted(request: engine.ProjectionRequest, *rest: Any) -> engine.Cashflows:
        seen.append(request.fields)
        cashflows: engine.Cashflows = project(request, *rest)
        return cashflows

    monkeypatch.setattr("engine.analytics.request.project", noted)
    client.post(URL, json=projected(body, "wal", "price"), headers=bearer)
    assert seen == [["principal", "cashflow"]]


def test_msgpack_in_and_out_is_the_same_answer_as_json(client: Client, bearer: Headers) -> None:
    body = given("price", "key_rate_durations")
    headers = {**bearer, "content-type": "application/msgpack", "accept": "application/msgpack"}
    response = client.post(URL, content=msgspec.msgpack.encode(body), headers=headers)
    assert response.headers["content-type"] == "application/msgpack"
    assert msgspec.msgpack.decode(response.content) == client.post(URL, json=body, headers=bearer).json()


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_answer(client: Client, bearer: Headers, name: str) -> None:
    response = client.post(URL, json=EXAMPLES[name]["value"], headers=bearer)
    assert response.status_code == 200, response.text


FAULTS: list[tuple[dict[str, Any], int, list[str]]] = [
    ({"measures": []}, 422, ["measures"]),
    ({"measures": [{"type": "magic"}]}, 400, ["measures[0].type"]),
    ({"measures": [{"type": "wal", "yield": 1}]}, 400, ["measures[0].yield"]),
    ({"measures": [{"type": "wal"}, {"type": "npv", "rate": 0.1}]}, 422,
     ["cashflows.columns.principal", "cashflows.columns.cashflow"]),
    ({"cashflows": {"columns": {"cashflow": [1.0, "x"]}}, "measures": [{"type": "npv", "rate": 0}]}, 400,
     ["cashflows.columns.cashflow[1]"]),
    ({"cashflows": {"columns": {"cashflow": [[1.0, 2.0], [1.0]]}}, "measures": [{"type": "npv", "rate": 0}]}, 422,
     ["cashflows.columns.cashflow"]),
    ({"cashflows": {"columns": {"cashflow": [1.0, 2.0], "principal": [1.0]}}, "measures": [{"type": "wal"}]}, 422,
     ["cashflows.columns.cashflow"]),
    ({"cashflows": {"columns": {"cashflow": [1.0, 2.0]}}, "measures": [{"type": "yield", "price": -1.0}]}, 422,
     ["measures[0]"]),
    ({"cashflows": {"columns": {"cashflow": [1.0, 2.0]}}, "measures": [{"type": "irr"}]}, 422, ["measures[0]"]),
    ({"cashflows": {"columns": {"cashflow": [1.0]}}, "measures": [{"type": "convexity"}]}, 422,
     ["measures[0].annual_yield"]),
    ({"cashflows": {"columns": {"cashflow": [1.0]}}, "measures": [{"type": "z_spread", "price": 1.0}]}, 422, ["curve"]),
    ({"cashflows": {"columns": {"cashflow": [1.0]}}, "curve": {"times": [2.0, 1.0], "values": [9.0, 99.0]},
      "measures": [{"type": "z_spread", "price": 1.0}]}, 422, ["curve.times", "curve.values[1]"]),
    ({"cashflows": {"columns": {"cashflow": [1.0]}}, "settlement": {"times": [1.0, 2.0]},
      "measures": [{"type": "price", "annual_yield": 0.1}]}, 422, ["settlement.times"]),
    ({"measures": [{"type": "breakeven_cdr", "target": {"type": "excess_spread"}}]}, 422, ["projection"]),
    ({"measures": [{"type": "ifrs9_ecl", "stage": 4, "pd": [0.1], "lgd": 2.0, "ead": 1.0, "effective_rate": 0.1}]}, 422,
     ["measures[0].stage"]),
    ({"projection": {"tape": {"loans": [{"type": "loan", "balance": -1, "annual_rate": 0.1, "remaining_term": 3}]}},
      "measures": [{"type": "wal"}]}, 422, ["projection.tape.loans[0].balance"]),
    ({"projection": {"tape": {"loans": [{"type": "loan", "balance": "x", "annual_rate": 0.1, "remaining_term": "y"}]}},
      "measures": [{"type": "wal"}]}, 400,
     ["projection.tape.loans[0].balance", "projection.tape.loans[0].remaining_term"]),
    ({"projection": {"tape": {"tape_id": "none"}}, "measures": [{"type": "wal"}]}, 404, ["projection.tape.tape_id"]),
    ({"measures": [{"type": "price", "annual_yield": 1e300}], "cashflows": {"columns": {"cashflow": [1e308, 1e308]}},
      "settlement": {"times": [0.0, 0.0]}}, 422, ["measures[0]"]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "paths"), FAULTS)
def test_every_fault_is_a_problem_with_its_path(
    client: Client, bearer: Headers, body: dict[str, Any], status: int, paths: list[str]
) -> None:
    response = client.post(URL, json=body, headers=bearer)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert [fault["path"] for fault in response.json()["errors"]] == paths


def test_a_scenario_without_a_solution_is_named(
    client: Client, bearer: Headers, scenarios_body: dict[str, Any]
) -> None:
    asked = {"projection": scenarios_body, "measures": [{"type": "yield", "price": 0.0}]}
    problem = client.post(URL, json=asked, headers=bearer).json()
    assert [fault["path"] for fault in problem["errors"]] == ["measures[0]", "measures[0]"]
    assert "scenario 'fast'" in problem["errors"][1]["message"]


def test_too_much_work_is_refused(client: Client, bearer: Headers, body: dict[str, Any]) -> None:
    # 2 loans x 5 months fit; times 297 trials a breakeven and a hundred of them they do not.
    measure = {"type": "breakeven_cdr", **ARGUMENTS["breakeven_cdr"]}
    response = client.post(URL, json={"projection": body, "measures": [measure] * 100}, headers=bearer)
    assert response.status_code == 413
    assert "project again" in response.json()["detail"]


def test_a_token_is_needed(client: Client) -> None:
    assert client.post(URL, json=given("wal")).status_code == 401

"""Every asset type over REST, GraphQL and files gives what the engine gives."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import engine
from engine.assets import TYPES
from tests.engine.asset_world import EVERY, GIVEN

FIELDS = ["balance", "interest", "draw", "other_income", "shortfall", "cashflow"]
ASSUMED = {"default": {"type": "mdr", "rate": 0.01}, "severity": 0.5, "residual_share": 0.8}
QUERY = (
    "query($request: ProjectionRequestInput!) { projection(request: $request) { columns { "
    + " ".join(FIELDS)
    + " } } }"
)


def body(name: str) -> dict[str, Any]:
    tape = engine.Tape.from_loans([EVERY[name]], cashflows=GIVEN)
    plain = msgspec.to_builtins(tape)
    loans = [{key: value for key, value in plain["loans"][0].items() if value is not None}]
    tables = [{k: v for k, v in t.items() if v is not None} for t in plain["cashflows"].values()]
    return {
        "tape": {"loans": loans, "cashflows": dict(zip(GIVEN, tables, strict=True))},
        "assumptions": ASSUMED, "fields": FIELDS,
    }  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_rest_and_graphql_take_every_type(client: Any, bearer: Any, name: str) -> None:
    answer = client.post("/v1/projections", json=body(name), headers=bearer)
    assert answer.status_code == 200, answer.text
    right = engine.project(msgspec.convert(body(name), engine.ProjectionRequest))
    for field in FIELDS:
        np.testing.assert_array_equal(answer.json()["columns"][field], right[field])
    asked = {key: value for key, value in body(name).items() if key != "fields"}
    graphql = client.post("/graphql", json={"query": QUERY, "variables": {"request": asked}}, headers=bearer)
    assert graphql.json()["data"]["projection"]["columns"] == {field: right[field].tolist() for field in FIELDS}


@pytest.mark.parametrize("name", [name for name in TYPES if name != "cashflow"])
def test_a_file_takes_every_type(tmp_path: Path, name: str) -> None:
    loan = body(name)["tape"]["loans"][0]
    path = tmp_path / "tape.csv"
    path.write_text(",".join(loan) + "\n" + ",".join(map(str, loan.values())) + "\n")
    request = body(name) | {"tape": {}}
    asked = msgspec.structs.replace(msgspec.convert(request, engine.ProjectionRequest), tape=engine.read_tape(path))
    right = engine.project(msgspec.convert(body(name), engine.ProjectionRequest))
    for field in FIELDS:
        np.testing.assert_array_equal(engine.project(asked)[field], right[field])

"""Prepayment penalties over REST, GraphQL and files give what the engine gives."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import engine
from tests.engine.test_penalties import PHASES

FIELDS = ["prepayment", "prepayment_penalty", "cashflow"]
LOAN = {"type": "loan", "balance": 1000.0, "annual_rate": 0.06, "remaining_term": 48, "age": 12}
ASSUMED = {"prepayment": {"type": "cpr", "rate": 0.1}}
QUERY = (
    "query($request: ProjectionRequestInput!) { projection(request: $request) { columns { "
    + " ".join(FIELDS)
    + " } summary { totals { prepayment_penalty } } } }"
)


def body(name: str) -> dict[str, Any]:
    phases = msgspec.to_builtins(PHASES[name])
    tape = {"loans": [LOAN | {"penalty": name}], "penalties": {name: phases}}
    return {"tape": tape, "assumptions": ASSUMED, "fields": FIELDS}


@pytest.mark.parametrize("name", PHASES)
def test_rest_and_graphql_take_every_penalty(client: Any, bearer: Any, name: str) -> None:
    right = engine.project(msgspec.convert(body(name), engine.ProjectionRequest))
    assert right.prepayment_penalty.sum() > 0
    answer = client.post("/v1/projections", json=body(name), headers=bearer)
    assert answer.status_code == 200, answer.text
    for field in FIELDS:
        np.testing.assert_array_equal(answer.json()["columns"][field], right[field])
    asked = {key: value for key, value in body(name).items() if key != "fields"}
    graphql = client.post("/graphql", json={"query": QUERY, "variables": {"request": asked}}, headers=bearer)
    found = graphql.json()["data"]["projection"]
    assert found["columns"] == {field: right[field].tolist() for field in FIELDS}
    assert found["summary"]["totals"]["prepayment_penalty"] == pytest.approx(right.prepayment_penalty.sum(), rel=1e-14)


def test_a_faulty_phase_is_told_by_its_path(client: Any, bearer: Any) -> None:
    faulty = body("percentage")
    faulty["tape"]["penalties"]["percentage"][0]["rate"] = 2
    answer = client.post("/v1/projections", json=faulty, headers=bearer)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"path": "tape.penalties['percentage'][0].rate", "message": "is 2; expected a decimal in [0, 1] (2% is 0.02)"}
    ]


def test_a_file_names_penalties(tmp_path: Path) -> None:
    path = tmp_path / "tape.csv"
    path.write_text(
        "UPB,Note Rate,WAM,age,Penalty Name,Prepayment Penalty\n1000,6%,48,12,step_down,Y\n1000,6%,48,12,,N\n"
    )
    tape = msgspec.structs.replace(engine.read_tape(path), penalties={"step_down": PHASES["step_down"]})
    request = msgspec.structs.replace(msgspec.convert(body("step_down"), engine.ProjectionRequest), tape=tape)
    right = engine.project(msgspec.convert(body("step_down"), engine.ProjectionRequest))
    np.testing.assert_allclose(engine.project(request).prepayment_penalty, right.prepayment_penalty, rtol=1e-14)

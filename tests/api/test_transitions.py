"""POST /v1/transitions and the GraphQL field: the engine's own numbers, its faults, limits and cost."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.rest.transitions import EXAMPLES
from api.settings import Settings
from engine.transition_views import views_of
from engine.transitions import TransitionRequest, project_transitions
from tests.api.test_stored import bearer_of, upload

Client = TestClient[Litestar]
URL = "/v1/transitions"
EXAMPLE: dict[str, Any] = EXAMPLES["one_matrix"]["value"]
QUERY = """query ($r: TransitionRequestInput!) { transitions(request: $r) {
    opening_balance
    columns { period interest scheduled_principal prepayment default recovery loss missed_interest servicing_fee }
    states { state balance } roll_rates { from_state to_state balance rate }
    vintages { age original_balance open_balance cumulative_default cumulative_loss } } }"""


def expected(body: dict[str, Any]) -> Any:
    """The views as plain objects, made in Python from the same JSON."""
    asked = msgspec.convert(body, TransitionRequest)
    outcome = project_transitions(
        asked.tape, asked.model, asked.status, asked.months, rates=asked.rates, cutoff_date=asked.cutoff_date
    )
    return msgspec.to_builtins(views_of(outcome), enc_hook=np.ndarray.tolist)


def hand_body() -> dict[str, Any]:
    """1,000 at 1% a month, 100 of principal a month; a tenth rolls, a tenth prepays (tests/engine/test_transitions)."""
    loan = {
        "type": "loan", "balance": 1000.0, "annual_rate": 0.12, "remaining_term": 10, "amortization": "linear",
        "original_balance": 2000.0,
    }  # fmt: skip
    states = [*EXAMPLE["model"]["states"]]
    rest = [[float(i == j) for j in range(5)] for i in range(1, 5)]
    model = {"states": states, "matrices": [[[0.8, 0.1, 0.0, 0.0, 0.1], *rest]], "severity": 0.6, "recovery_lag": 1}
    return {"tape": {"loans": [loan]}, "model": model, "months": 2}


class TestAnswers:
    def test_the_first_month_is_what_a_hand_calculation_gives(self, client: Client, bearer: dict[str, str]) -> None:
        answer = client.post(URL, json=hand_body(), headers=bearer).json()
        # 0.8 pay 100 and 10 of interest, 0.1 pay both and prepay 900, 0.1 pay nothing and owe 1,000.
        assert answer["opening_balance"] == 1000.0
        assert answer["columns"]["interest"][0] == pytest.approx(9.0)
        assert answer["columns"]["scheduled_principal"][0] == pytest.approx(90.0)
        assert answer["columns"]["prepayment"][0] == pytest.approx(90.0)
        assert [state["balance"][1] for state in answer["states"]] == pytest.approx([720, 100, 0, 0, 100])
        rates = {(each["from_state"], each["to_state"]): each["rate"][0] for each in answer["roll_rates"]}
        assert rates["current", "30"] == pytest.approx(0.1)

    def test_rest_and_graphql_give_the_engines_numbers(self, client: Client, bearer: dict[str, str]) -> None:
        for body in (EXAMPLE, hand_body(), {**EXAMPLE, "status": "60+", "months": None}):
            answer = client.post(URL, json=body, headers=bearer)
            assert answer.status_code == 200, answer.text
            assert answer.json() == expected(body)
            packed = client.post(
                URL,
                content=msgspec.msgpack.encode(body),
                headers={**bearer, "content-type": "application/msgpack", "accept": "application/msgpack"},
            )
            assert msgspec.msgpack.decode(packed.content) == expected(body)
            asked = client.post("/graphql", json={"query": QUERY, "variables": {"r": body}}, headers=bearer).json()
            assert "errors" not in asked
            assert asked["data"]["transitions"] == expected(body)

    def test_rich_contracts_and_dates(self, client: Client, bearer: dict[str, str]) -> None:
        loan = {
            "type": "loan", "balance": 1000.0, "annual_rate": 0.06, "remaining_term": 12, "index": "SOFR",
            "margin": 0.02, "first_reset": 3, "next_payment_date": "2024-02-15", "day_count": "ACT/360",
        }  # fmt: skip
        dated = {"type": "dated", "dates": ["2024-01-01", "2024-06-01"], "rates": [0.05, 0.04]}
        body = {**hand_body(), "tape": {"loans": [loan]}, "rates": {"SOFR": dated}, "cutoff_date": "2024-01-31"}
        answer = client.post(URL, json=body, headers=bearer)
        assert answer.status_code == 200, answer.text
        # 15 January to 15 February are 31 days: 0.9 of the loans pay 1,000 x 6% x 31/360.
        assert answer.json()["columns"]["interest"][0] == pytest.approx(0.9 * 1000 * 0.06 * 31 / 360)
        asked = client.post("/graphql", json={"query": QUERY, "variables": {"r": body}}, headers=bearer).json()
        assert asked["data"]["transitions"] == answer.json()

    def test_a_stored_tape_by_its_id(self, client: Client, settings: Settings) -> None:
        analyst = bearer_of(settings, "transitions")
        tape_id = upload(client, analyst, json.dumps(EXAMPLE["tape"]).encode(), "application/json")["id"]
        body = {**EXAMPLE, "tape": {"tape_id": tape_id}}
        assert client.post(URL, json=body, headers=analyst).json() == expected(EXAMPLE)
        stranger = client.post(URL, json=body, headers=bearer_of(settings, "stranger"))
        assert stranger.status_code == 404
        assert stranger.json()["errors"][0]["path"] == "tape.tape_id"


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "status", "paths"),
        [
            ({"months": 0}, 422, ["months"]),
            ({"months": "x"}, 400, ["months"]),
            ({"status": ["current"]}, 422, ["status"]),
            ({"status": "default"}, 422, ["status[0]", "status[1]", "status[2]"]),
            ({"model": {**EXAMPLE["model"], "severity": 7, "matrices": []}}, 422, ["model.severity", "model.matrices"]),
            ({"model": {"states": []}}, 400, ["model.matrices"]),
            ({"unknown": 1}, 400, ["unknown"]),
            (
                {"tape": {"columns": {**EXAMPLE["tape"]["columns"], "annual_rate": 12.0}}, "months": -1}, 422,
                ["tape.columns.annual_rate", "months"],
            ),
        ],
    )  # fmt: skip
    def test_every_fault_has_its_path(
        self, client: Client, bearer: dict[str, str], change: dict[str, Any], status: int, paths: list[str]
    ) -> None:
        answer = client.post(URL, json={**EXAMPLE, **change}, headers=bearer)
        assert answer.status_code == status, answer.text
        assert [fault["path"] for fault in answer.json()["errors"]] == paths
        if status == 422:
            variables = {"r": {**EXAMPLE, **change}}
            asked = client.post("/graphql", json={"query": QUERY, "variables": variables}, headers=bearer).json()
            (error,) = asked["errors"]
            assert [fault["path"] for fault in error["extensions"]["errors"]] == paths

    def test_what_is_too_large_is_not_begun(self, client: Client, bearer: dict[str, str], app: Litestar) -> None:
        whole = app.state.settings
        # 2 ages x 5 x 5 moves x 24 months = 1,200 numbers; 3 loans x 24 months = 72 loan-months.
        for limit, most, status in (("max_result_cells", 1200, 200), ("max_result_cells", 1199, 413),
                                    ("max_loan_months", 72, 200), ("max_loan_months", 71, 413)):  # fmt: skip
            app.state.settings = msgspec.structs.replace(whole, **{limit: most})
            try:
                assert client.post(URL, json=EXAMPLE, headers=bearer).status_code == status, (limit, most)
            finally:
                app.state.settings = whole

    def test_media_types(self, client: Client, bearer: dict[str, str]) -> None:
        assert client.post(URL, json=EXAMPLE, headers={**bearer, "accept": "text/csv"}).status_code == 406
        headers = {**bearer, "content-type": "text/csv"}
        assert client.post(URL, content=b"a,b", headers=headers).status_code == 415
        assert client.post(f"{URL}?level=pool", json=EXAMPLE, headers=bearer).status_code == 400
        assert client.post(URL, json=EXAMPLE).status_code == 401

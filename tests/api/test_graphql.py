"""GraphQL: the same numbers as the engine, only the columns selected, typed errors, limits on queries."""

import asyncio
from typing import Any, Literal, get_args, get_origin

import httpx
import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from msgspec import inspect

import engine
from api.graphql.bounds import MAX_ALIASES
from api.graphql.inputs import inputs
from api.graphql.root import schema
from api.graphql.texts import field_texts
from engine.assets import LOAN_TYPES
from engine.fields import FIELDS
from engine.tape import Columns

Client = TestClient[Litestar]
Headers = dict[str, str]
SHARP = {"prepayment": {"type": "cpr", "rate": 0.5}}


class Asker:
    """Sends queries and notes the fields of every projection that the engine made."""

    def __init__(self, client: Client, headers: Headers) -> None:
        self.client, self.headers = client, headers
        self.computed: list[tuple[str, ...]] = []

    def __call__(self, selection: str, request: dict[str, Any], status: int = 200) -> dict[str, Any]:
        query = f"query ($request: ProjectionRequestInput!) {{ projection(request: $request) {{ {selection} }} }}"
        return self.run({"query": query, "variables": {"request": request}}, status)

    def run(self, operation: dict[str, Any], status: int = 200) -> dict[str, Any]:
        response = self.client.post("/graphql", json=operation, headers=self.headers)
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/json"
        answer: dict[str, Any] = response.json()
        return answer


@pytest.fixture
def ask(client: Client, bearer: Headers, monkeypatch: pytest.MonkeyPatch) -> Asker:
    asker = Asker(client, bearer)
    project = engine.project

    def noted(request: engine.ProjectionRequest, *rest: Any, **named: Any) -> engine.Cashflows:
        cashflows = project(request, *rest, **named)
        asker.computed.append(cashflows.fields)
        return cashflows

    monkeypatch.setattr(engine, "project", noted)
    return asker


def expected(body: dict[str, Any], *fields: str) -> engine.Cashflows:
    return engine.project(msgspec.convert({**body, "fields": list(fields)}, engine.ProjectionRequest))


def test_selecting_two_columns_computes_two(ask: Asker, body: dict[str, Any]) -> None:
    columns = ask("columns { period loss interest }", body)["data"]["projection"]["columns"]
    assert ask.computed == [("interest", "loss")]
    assert list(columns) == ["period", "loss", "interest"]
    assert columns["interest"] == expected(body, "interest")["interest"].tolist()


def test_selections_are_followed_through_aliases_and_fragments(ask: Asker, body: dict[str, Any]) -> None:
    query = """query ($request: ProjectionRequestInput!) { projection(request: $request) {
        mine: columns { paid: interest ...Two } ... on Projection { summary { totals { loss } } } } }
        fragment Two on CashflowColumns { default ... on CashflowColumns { recovery } }"""
    answer = ask.run({"query": query, "variables": {"request": body}})
    assert ask.computed == [("interest", "default", "recovery", "loss")]
    assert list(answer["data"]["projection"]["mine"]) == ["paid", "default", "recovery"]


def test_what_a_directive_leaves_out_is_not_computed(ask: Asker, body: dict[str, Any]) -> None:
    query = """query ($request: ProjectionRequestInput!, $no: Boolean!) { projection(request: $request) {
        columns { interest loss @include(if: $no) default @skip(if: true) } } }"""
    ask.run({"query": query, "variables": {"request": body, "no": False}})
    assert ask.computed == [("interest",)]


def test_figures_of_the_summary_are_computed_from_what_they_need(ask: Asker, body: dict[str, Any]) -> None:
    answer = ask("summary { wal_years peak_balance final_period opening_balance totals { principal } }", body)
    summary = engine.summarize(expected(body, "principal", "balance"))
    assert isinstance(summary, engine.Summary)
    assert answer["data"]["projection"]["summary"] == {
        "wal_years": summary.wal_years,
        "peak_balance": summary.peak_balance,
        "final_period": 5,
        "opening_balance": 3000.0,
        "totals": {"principal": pytest.approx(3000.0)},
    }


@pytest.mark.parametrize("field", [field.name for field in FIELDS])
def test_every_field_of_the_engine_is_a_column_a_row_and_a_total(ask: Asker, body: dict[str, Any], field: str) -> None:
    selection = f"columns {{ {field} }} rows {{ nodes {{ {field} }} }} summary {{ totals {{ {field} }} }}"
    found = ask(selection, body)["data"]["projection"]
    assert ask.computed == [(field,)]
    column = expected(body, field)[field]
    assert found["columns"][field] == column.tolist()
    assert [row[field] for row in found["rows"]["nodes"]] == column.tolist()
    is_flow = next(known for known in FIELDS if known.name == field).kind == "flow"
    assert found["summary"]["totals"][field] == (pytest.approx(column.sum()) if is_flow else None)


def test_dates_are_read_as_rest_reads_them(ask: Asker, body: dict[str, Any]) -> None:
    request = {**body, "cutoff_date": "2026-01-31"}
    answer = ask("columns { interest }", request)
    assert answer["data"]["projection"]["columns"]["interest"] == expected(request, "interest")["interest"].tolist()


def test_scenarios_answer_each_by_name(ask: Asker, scenarios_body: dict[str, Any]) -> None:
    answer = ask("scenarios { name columns { balance } summary { totals { interest } } }", scenarios_body)
    cashflows = expected(scenarios_body, "balance", "interest")
    scenarios = answer["data"]["projection"]["scenarios"]
    assert [scenario["name"] for scenario in scenarios] == ["base", "fast"]
    for i, scenario in enumerate(scenarios):
        assert scenario["columns"]["balance"] == cashflows["balance"][i].tolist()
        assert scenario["summary"]["totals"]["interest"] == pytest.approx(cashflows["interest"][i].sum())


def test_groups_answer_each_by_name_below_scenarios_too(ask: Asker, scenarios_body: dict[str, Any]) -> None:
    request = {**scenarios_body, "level": "group"}
    answer = ask("scenarios { groups { name columns { balance } rows { total_count } } }", request)
    cashflows = expected(request, "balance")
    for i, scenario in enumerate(answer["data"]["projection"]["scenarios"]):
        assert [group["name"] for group in scenario["groups"]] == ["A", "B"]
        for k, group in enumerate(scenario["groups"]):
            assert group["columns"]["balance"] == cashflows["balance"][i, k].tolist()
            assert group["rows"]["total_count"] == 5


def test_loans_answer_by_lists_of_lists_and_by_rows(ask: Asker, body: dict[str, Any]) -> None:
    answer = ask("columns { loan_id balance } rows { nodes { loan_id period balance } }", {**body, "level": "loan"})
    found = answer["data"]["projection"]
    column = expected({**body, "level": "loan"}, "balance")["balance"]
    assert found["columns"] == {"loan_id": ["=A1", "B1"], "balance": column.tolist()}
    assert found["rows"]["nodes"][7] == {"loan_id": "B1", "period": 3, "balance": column[1, 2]}


def test_rows_come_by_pages_that_join_without_gap_or_overlap(ask: Asker) -> None:
    columns = {"balance": [100.0] * 2, "annual_rate": 0.05, "remaining_term": 120}
    request = {"tape": {"columns": columns}}
    query = """query ($request: ProjectionRequestInput!, $after: String) { projection(request: $request) {
        rows(first: 50, after: $after) { total_count page_info { has_next_page end_cursor } nodes { period } } } }"""
    periods: list[int] = []
    after, more = None, True
    while more:
        answer = ask.run({"query": query, "variables": {"request": request, "after": after}})
        rows = answer["data"]["projection"]["rows"]
        assert rows["total_count"] == 120
        periods += [row["period"] for row in rows["nodes"]]
        after, more = rows["page_info"]["end_cursor"], rows["page_info"]["has_next_page"]
    assert periods == list(range(1, 121))


@pytest.mark.parametrize("arguments", ["first: 101", "first: 0", 'after: "x"', 'after: "-1"'])
def test_pages_out_of_range_are_errors(ask: Asker, body: dict[str, Any], arguments: str) -> None:
    answer = ask(f"rows({arguments}) {{ total_count }}", body)
    assert answer["errors"][0]["extensions"]["code"] == "INVALID_INPUT"


def test_columns_of_several_scenarios_at_the_top_are_an_error_that_says_where(
    ask: Asker, scenarios_body: dict[str, Any]
) -> None:
    error = ask("columns { loss }", scenarios_body)["errors"][0]
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert "select scenarios { name columns }" in error["message"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"assumptions": {"prepayment": {"type": "cpr"}}}, "assumptions.prepayment.rate"),
        ({"assumptions": {"prepayment": {"type": "psa", "rate": 0.1}}}, "assumptions.prepayment.rate"),
        ({"assumptions": {"severity": 1.5}}, "assumptions.severity"),
        ({"tape": {"columns": {"balance": ["x"], "annual_rate": 0, "remaining_term": 1}}}, "tape.columns.balance[0]"),
        ({"fields": ["interests"]}, "fields[0]"),
        ({"conventions": {"prepayment_base": "none"}}, "conventions.prepayment_base"),
    ],
)
def test_faults_carry_the_paths_that_rest_gives_them(
    ask: Asker, client: Client, bearer: Headers, body: dict[str, Any], change: dict[str, Any], path: str
) -> None:
    request = {**body, **change}
    error = ask("columns { loss }", request)["errors"][0]
    assert error["extensions"]["code"] in ("INVALID_INPUT", "BAD_REQUEST")
    assert error["extensions"]["errors"][0]["path"] == path
    rest = client.post("/v1/projections", json=request, headers=bearer).json()
    assert rest["errors"][0]["path"] == path


def test_every_entry_of_a_column_of_the_wrong_type_is_listed(ask: Asker) -> None:
    columns = {"balance": [1.0] * 150, "annual_rate": ["x"] * 150, "remaining_term": 12}
    error = ask("columns { loss }", {"tape": {"columns": columns}})["errors"][0]
    paths = [fault["path"] for fault in error["extensions"]["errors"]]
    assert paths == [f"tape.columns.annual_rate[{i}]" for i in range(100)]


def test_a_projection_too_large_is_an_error_with_its_code(ask: Asker) -> None:
    columns = {"balance": [1.0] * 300, "annual_rate": 0.05, "remaining_term": 360}
    error = ask("columns { loss }", {"tape": {"columns": columns}})["errors"][0]
    assert error["extensions"]["code"] == "TOO_LARGE"
    assert "/v1/runs" in error["message"]


def test_a_failure_nobody_foresaw_keeps_its_message(
    ask: Asker, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("inner detail")

    monkeypatch.setattr(engine, "project", fail)
    answer = ask("columns { loss }", body)
    assert answer["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert "inner detail" not in str(answer)


@pytest.mark.parametrize(
    "query",
    [
        "{",
        "{ nothing }",
        "{ projection { columns { loss } } }",
        "{" + " ".join(f"a{i}: __typename" for i in range(MAX_ALIASES + 1)) + "}",
        "{ __schema { types { " + "ofType: fields { type { " * 6 + "name" + " } }" * 6 + " } } }",
        "{" + " __typename" * 1001 + "}",
    ],
    ids=["syntax", "unknown", "argument", "aliases", "depth", "tokens"],
)
def test_queries_that_cannot_run_are_400_with_json_errors(ask: Asker, query: str) -> None:
    answer = ask.run({"query": query}, 400)
    assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert "data" not in answer


@pytest.mark.parametrize(
    ("query", "name", "word"),
    [
        ("", None, "Syntax Error"),
        ("fragment A on Query { __typename }", None, "no operation"),
        ("query A { __typename } query B { __typename }", None, "several operations"),
        ("query A { __typename } query B { __typename }", "C", "one of A, B"),
        ("query A { __typename }", "", "one of A"),
        ("{ __typename }", "A", "names no operation"),
    ],
)
def test_a_query_that_leaves_its_operation_open_is_400(ask: Asker, query: str, name: str | None, word: str) -> None:
    # Twice, for the second comes from the cache of parsed queries.
    for _ in range(2):
        answer = ask.run({"query": query, "operationName": name}, 400)
        assert word in answer["errors"][0]["message"]
        assert "data" not in answer


def test_the_operation_that_is_named_runs(ask: Asker) -> None:
    query = "query A { a: __typename } query B { b: __typename }"
    assert ask.run({"query": query, "operationName": "B"})["data"] == {"b": "Query"}


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("{" + " ".join(f"a{i}: __typename" for i in range(MAX_ALIASES + 1)) + "}", "aliases"),
        ("{" + " __typename" * 1001 + "}", "token"),
    ],
)
def test_limits_say_which_they_are(ask: Asker, query: str, word: str) -> None:
    assert word in ask.run({"query": query}, 400)["errors"][0]["message"].lower()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"variables": {}}', b'{"query":"","variables":{"a":' + b"[" * 100_000]
)
def test_a_body_that_is_no_operation_is_a_problem(client: Client, bearer: Headers, content: bytes) -> None:
    response = client.post("/graphql", content=content, headers={**bearer, "content-type": "application/json"})
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"


def test_a_query_too_long_to_keep_is_refused(client: Client, bearer: Headers) -> None:
    query = {"query": '{ __type(name: "' + "x" * 50_000 + '") { name } }'}
    response = client.post("/graphql", json=query, headers=bearer)
    assert response.status_code == 400
    assert "variables" in response.json()["detail"]


def test_queries_at_the_same_time_do_not_mix(app: Litestar, bearer: Headers, body: dict[str, Any]) -> None:
    fields = [field.name for field in FIELDS]

    async def ask_all() -> list[Any]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=bearer) as client:
            query = "query ($r: ProjectionRequestInput!) {{ projection(request: $r) {{ columns {{ {} }} }} }}"
            operations = [{"query": query.format(name), "variables": {"r": body}} for name in fields * 3]
            return await asyncio.gather(*(client.post("/graphql", json=operation) for operation in operations))

    for field, response in zip(fields * 3, asyncio.run(ask_all()), strict=True):
        assert response.json()["data"]["projection"]["columns"] == {field: expected(body, field)[field].tolist()}


def test_a_body_of_another_media_type_is_415(client: Client, bearer: Headers) -> None:
    response = client.post("/graphql", content=b"{}", headers={**bearer, "content-type": "text/plain"})
    assert response.status_code == 415


def test_every_field_of_the_request_structs_is_in_the_inputs() -> None:
    known = {name: set(names(kind)) for name, kind in inputs.items()}
    for struct in (engine.ProjectionRequest, engine.Tape, engine.Columns, engine.Assumptions):
        assert known[f"{struct.__name__}Input"] == set(struct.__struct_fields__)
    of_types = {name for struct in LOAN_TYPES.values() for name in struct.__struct_fields__}
    assert known["LoanInput"] == of_types | {"type"}
    curves = inspect.type_info(engine.Assumptions)
    assert isinstance(curves, inspect.StructType)
    for field in curves.fields[:2]:
        assert isinstance(field.type, inspect.UnionType)
        for member in field.type.types:
            if isinstance(member, inspect.StructType):
                assert set(member.cls.__struct_fields__) <= known[f"{field.name.capitalize()}Input"]


def names(kind: type) -> list[str]:
    return [field.python_name for field in kind.__strawberry_definition__.fields]  # type: ignore[attr-defined]


def test_the_query_of_the_page_and_its_introspection_run(ask: Asker, client: Client, bearer: Headers) -> None:
    script = client.get("/graphql/assets/graphql.js", headers=bearer).text
    introspection = script.split("INTROSPECTION = `")[1].split("`")[0]
    types = ask.run({"query": introspection})["data"]["__schema"]["types"]
    assert {"CashflowColumns", "ProjectionRequestInput"} <= {kind["name"] for kind in types}
    first = script.split("FIRST_QUERY = `")[1].split("`")[0]
    request = {"tape": {"loans": [{"type": "loan", "balance": 1, "annual_rate": 0, "remaining_term": 2}]}}
    answer = ask.run({"query": first, "variables": {"request": request}})
    assert answer["data"]["projection"]["columns"]["principal"] == [0.5, 0.5]


def test_names_are_those_of_python(ask: Asker) -> None:
    assert "wal_years" in schema.as_str()
    assert "walYears" not in schema.as_str()


def test_everything_in_the_schema_has_a_description(ask: Asker) -> None:
    part = "{ name description }"
    fields = f"fields {{ name description args {part} }} inputFields {part}"
    answer = ask.run({"query": f"{{ __schema {{ types {{ name {fields} }} }} }}"})
    members = [
        (f"{kind['name']}.{member['name']}", member["description"])
        for kind in answer["data"]["__schema"]["types"]
        if not kind["name"].startswith("__")
        for field in (kind["fields"] or []) + (kind["inputFields"] or [])
        for member in [field, *field.get("args", [])]
    ]
    assert {"LoanInput.balance", "Summary.wal_years", "Projection.first", "Query.request"} <= {
        name for name, _ in members
    }
    assert [name for name, text in members if not text] == []


def test_descriptions_are_the_sentences_of_the_docstrings() -> None:
    loan, convention = field_texts(engine.Loan), field_texts(engine.Conventions)
    assert loan["balance"] == "performing balance at the cut-off, currency units."
    assert loan["annual_rate"] == "decimals a year."
    assert loan["servicing_fee"] == "decimals a year. 0.0 by default."
    assert loan["amortization"] == "One of `bullet`, `level_pay`, `linear`, `schedule`. `level_pay` by default."
    assert field_texts(Columns)["balance"] == loan["balance"]
    assert convention["servicing_fee_base"].startswith("the opening performing balance")
    assert "net_of_defaults" not in convention["interest_base"]


def test_conventions_are_an_object_with_documented_choices(ask: Asker, body: dict[str, Any]) -> None:
    answer = ask.run({"query": '{ __type(name: "Conventions") { description } }'})
    text = answer["data"]["__type"]["description"]
    for field in msgspec.structs.fields(engine.Conventions):
        line = next(line for line in text.splitlines() if line.startswith(f"- `{field.name}`: "))
        choices = get_args(field.type) if get_origin(field.type) is Literal else ()
        assert all(f"`{choice}`" in line for choice in choices)
    request = {**body, "conventions": {"interest_base": "survivors"}, "assumptions": SHARP}
    paid = ask("columns { interest }", request)["data"]["projection"]["columns"]["interest"]
    assert paid == expected(request, "interest")["interest"].tolist()
    assert paid != expected({**request, "conventions": "sifma"}, "interest")["interest"].tolist()

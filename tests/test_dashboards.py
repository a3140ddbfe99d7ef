"""The dashboard and the alerts: every metric and label in them exists, and the file is what its script writes."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from litestar.testing import TestClient

from api import metrics
from api.app import create_app
from api.auth import issue_token
from api.settings import Settings
from scripts.make_dashboard import FILE, text

ROOT = Path(__file__).parents[1]
ALERTS = yaml.safe_load((ROOT / "prometheus" / "alerts.yml").read_text())
DASHBOARD = json.loads(FILE.read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

# What Prometheus adds by itself to what it scrapes.
ADDED_METRICS = {"up"}
ADDED_LABELS = {"job", "instance", "le"}
# Words of the query language that are neither metrics nor functions.
WORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "offset", "bool"}
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression with where it stands."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"]
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]


def used(expression: str) -> tuple[set[str], set[tuple[str, str]], set[str]]:
    """The metrics of an expression, the labels matched on each, and the labels it is grouped by."""
    grouped: set[str] = set()

    def grouping(match: re.Match[str]) -> str:
        grouped.update(NAME.findall(match[1]))
        return " "

    plain = re.sub(r"\[[^\]]*\]", " ", expression)
    plain = re.sub(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", grouping, plain)
    matched: set[tuple[str, str]] = set()

    def matcher(match: re.Match[str]) -> str:
        inside = re.sub(r'"[^"]*"', "", match[2])
        matched.update((match[1], label) for label in NAME.findall(inside))
        return match[1] + " "

    plain = re.sub(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{([^}]*)\}", matcher, plain)
    plain = re.sub(r"\b\d+(?:\.\d+)?(?:[smhdwy]|ms)?\b", " ", plain)
    names = {match[0] for match in NAME.finditer(plain) if not re.match(r"\s*\(", plain[match.end() :])}
    return names - WORDS, matched, grouped


def labels_of() -> dict[str, set[str]]:
    """The labels of every metric declared, under each name of its samples."""
    found = {}
    for collector in set(metrics.REGISTRY._collector_to_names):
        for name in metrics.REGISTRY._collector_to_names[collector]:
            found[name] = set(collector._labelnames)  # type: ignore[attr-defined]
    return found


@pytest.fixture(scope="module")
def page() -> str:
    """The metrics of a service that has served a request and refused one."""
    settings = Settings(jwt_secret="a secret of the tests, made of 32 bytes and more")
    token = issue_token(settings, "tester", timedelta(hours=1))
    loan = {"type": "loan", "balance": 1.0, "annual_rate": 0.0, "remaining_term": 1}
    with TestClient(create_app(settings)) as client:
        body: dict[str, Any] = {"tape": {"loans": [loan]}}
        assert client.post("/v1/projections", json=body, headers={"authorization": f"Bearer {token}"}).is_success
        assert client.post("/v1/projections", json=body).status_code == 401
        return client.get("/metrics").text


@pytest.fixture(scope="module")
def served(page: str) -> dict[str, str]:
    """The type of every metric on the page."""
    return dict(re.findall(r"^# TYPE (\w+) (\w+)$", page, re.MULTILINE))


def family(name: str, served: dict[str, str]) -> str | None:
    """The metric whose samples have a name."""
    if name in served:
        return name if served[name] != "histogram" else None
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    return base if served.get(base) == "histogram" else None


def test_there_are_expressions_to_check() -> None:
    assert len(list(expressions())) > 70


@pytest.mark.parametrize(("where", "expression"), list(expressions()), ids=lambda value: value[:60])
def test_metrics_and_labels_in_an_expression_exist(
    where: str, expression: str, page: str, served: dict[str, str]
) -> None:
    names, matched, grouped = used(expression)
    assert names, f"{where} asks for nothing"
    own = names - ADDED_METRICS
    assert {name for name in own if family(name, served) is None} == set(), where
    declared = labels_of()
    labels = {name: declared[name] if name in declared else shown(name, page) for name in own}
    for name, label in matched:
        assert label in labels.get(name, set()) | ADDED_LABELS, f"{where}: {name} has no label {label}"
    every = set.union(set(), *labels.values())
    assert grouped <= every | ADDED_LABELS, f"{where}: no metric has {grouped - every - ADDED_LABELS}"


def shown(name: str, page: str) -> set[str]:
    """The labels of a metric that is made when the page is asked for."""
    if name == "cashflow_backup_age_seconds":
        return {"database"}
    sample = re.search(rf"^{name}\{{(.*)\}} ", page, re.MULTILINE)
    return set(re.findall(r'(\w+)="', sample[1])) if sample else set()


def test_the_reader_of_expressions_finds_names_labels_and_groups() -> None:
    expression = 'sum by (le, route) (rate(a_bucket{x="1 by (z)", y=~"b"}[5m])) / on () c unless d offset 1h > 3e2'
    names, matched, grouped = used(expression)
    assert names - {"e2"} == {"a_bucket", "c", "d"}
    assert matched == {("a_bucket", "x"), ("a_bucket", "y")}
    assert {"le", "route"} <= grouped


def test_the_legend_of_a_query_names_labels_that_its_result_has() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            aggregated = re.search(r"\b(sum|min|max|count)\b", target["expr"])
            grouped = used(target["expr"])[2]
            assert not aggregated or wanted <= grouped, panel["title"]


def test_the_file_is_what_its_script_writes() -> None:
    assert FILE.read_text() == text()


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    every = DASHBOARD["panels"]
    assert len({panel["id"] for panel in every}) == len(every) > 40
    for panel in every:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24
    for a, b in combinations((panel["gridPos"] for panel in every), 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, (a, b)


# Ids of Grafana's units (packages/grafana-data/src/valueFormats), those that fit a service's numbers.
UNITS = {
    "none", "short", "percent", "percentunit", "bool_yes_no", "bytes", "decbytes", "bits", "Bps", "ns", "ms", "s",
    "m", "h", "d", "ops", "reqps", "rps", "wps", "cps", "iops", "dateTimeAsIso",
}  # fmt: skip
NUMBERS = {"timeseries", "stat", "gauge", "bargauge", "table"}


def test_panels_say_what_they_show_and_in_which_unit() -> None:
    assert DASHBOARD["uid"]
    assert DASHBOARD["title"]
    assert "id" not in DASHBOARD  # Grafana numbers a provisioned dashboard itself
    titles = [panel["title"] for panel in PANELS]
    assert all(titles)
    for panel in PANELS:
        assert panel["type"] in NUMBERS
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["gridPos"]["w"] > 0
        assert panel["gridPos"]["h"] > 0
        letters = [target["refId"] for target in panel["targets"]]
        assert letters
        assert len(set(letters)) == len(letters), panel["title"]
        assert all(target["expr"].strip() for target in panel["targets"])
        limits = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
        values = [step["value"] for step in limits if step["value"] is not None]
        assert values == sorted(values)
        assert not limits or limits[0]["value"] is None


def test_rows_stand_over_their_panels() -> None:
    rows = sorted(
        (panel for panel in DASHBOARD["panels"] if panel["type"] == "row"), key=lambda row: row["gridPos"]["y"]
    )
    for row in rows:
        assert (row["gridPos"]["x"], row["gridPos"]["w"], row["gridPos"]["h"]) == (0, 24, 1)
    order = [panel["gridPos"]["y"] for panel in DASHBOARD["panels"]]
    assert order == sorted(order)
    assert DASHBOARD["panels"][0]["type"] == "row"


def test_every_panel_reads_the_data_source_that_is_provisioned() -> None:
    folder = ROOT / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    for panel in PANELS:
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": source["type"], "uid": source["uid"]}
    (provider,) = yaml.safe_load((folder / "dashboards" / "dashboards.yml").read_text())["providers"]
    assert provider["options"]["path"].endswith("grafana/provisioning/dashboards")


@pytest.mark.parametrize(
    "subject",
    ["Traffic", "Errors", "Latency", "Queue and runs", "Kernel", "Database and caches", "Processes", "Backups"],
)
def test_the_dashboard_has_a_row_for_each_subject(subject: str) -> None:
    assert subject in [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]


def test_every_alert_says_how_grave_it_is_and_is_tried() -> None:
    tried = yaml.safe_load((ROOT / "prometheus" / "alerts_test.yml").read_text())["tests"]
    raised = {rule["alertname"] for test in tried for rule in test["alert_rule_test"] if rule["exp_alerts"]}
    rules = [rule for group in ALERTS["groups"] for rule in group["rules"]]
    assert raised == {rule["alert"] for rule in rules}
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]

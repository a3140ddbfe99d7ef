"""The deployment files against the service: settings exist, what production needs is set, the guide tells of it."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from api.settings import Settings, SettingsError
from api.shell import main

ROOT = Path(__file__).parents[1]
K8S = ROOT / "k8s"
GUIDE = (ROOT / "docs" / "deployment.md").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.prod.yml").read_text())
SETTINGS = {field.name.upper() for field in msgspec.structs.fields(Settings)}
# Of the AWS tools, not of the service.
AWS = {"AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
PARTS = {"migrate", "api", "worker", "scheduler", "backup"}
# Values of the templates that are to be replaced, and good ones for them.
JWT_SECRET = "Zk3nV0x8bQf7Jd2LsT5yHw9RmC4uPg6E"
GIVEN = {"JWT_SECRET": JWT_SECRET, "POSTGRES_PASSWORD": "a1b2", "REDIS_PASSWORD": "c3d4"}
GIVEN |= {"ALLOWED_HOSTS": "cashflow.example.com", "BACKUP_ENCRYPTION_KEYS": "k1:AAAA"}


def documents(name: str) -> list[dict[str, Any]]:
    return [found for found in yaml.safe_load_all((K8S / name).read_text()) if found]


def pods(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The containers below a document, those that run first among them."""
    if isinstance(found, dict):
        own = [*found.get("initContainers", []), *found.get("containers", [])]
        return own + [each for value in found.values() for each in pods(value)]
    return [each for value in found for each in pods(value)] if isinstance(found, list) else []


def filled(value: str) -> str:
    """A value of the compose file with what .env.production would put into it."""

    def put(match: re.Match[str]) -> str:
        name, default = match[1], match[2] or ""
        return GIVEN.get(name, "" if default.startswith("?") else default.removeprefix("-"))

    return re.sub(r"\$\{(\w+)(?::([-?][^}]*))?\}", put, value)


def compose_environments() -> dict[str, dict[str, str]]:
    return {
        f"compose {name}": {key: filled(str(value)) for key, value in COMPOSE["services"][name]["environment"].items()}
        for name in sorted(PARTS)
    }


def kubernetes_environments() -> dict[str, dict[str, str]]:
    sources = {d["metadata"]["name"]: d.get("stringData", {}) for d in documents("secret.yaml")}
    sources["config"] = documents("configmap.yaml")[0]["data"]
    sources["cashflow"]["JWT_SECRET"] = JWT_SECRET

    def given(container: dict[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        for source in container["envFrom"]:
            found |= sources["config" if "configMapRef" in source else source["secretRef"]["name"]]
        return found | {each["name"]: each["value"] for each in container.get("env", [])}

    containers = [
        container
        for name in ("deployment.yaml", "migration-job.yaml", "backup-cronjob.yaml")
        for found in documents(name)
        for container in pods(found)
    ]
    return {f"k8s {i} {container['name']}": given(container) for i, container in enumerate(containers)}


def ecs_environments() -> dict[str, dict[str, str]]:
    secrets = {"DATABASE_URL": "postgresql://db/x", "REDIS_URL": "rediss://redis:6379/0", "JWT_SECRET": JWT_SECRET}
    found = {}
    for path in ("task-definition.json", "ecs/backup-task-definition.json"):
        for container in json.loads((ROOT / path).read_text())["containerDefinitions"]:
            own = {each["name"]: each["value"] for each in container["environment"]}
            found[f"ecs {container['name']}"] = own | {
                s["name"]: secrets.get(s["name"], "") for s in container["secrets"]
            }
    return found


ENVIRONMENTS = compose_environments() | kubernetes_environments() | ecs_environments()


@pytest.mark.parametrize("where", ENVIRONMENTS)
def test_what_a_container_is_given_are_settings_with_which_it_starts(where: str) -> None:
    environment = ENVIRONMENTS[where]
    assert set(environment) - SETTINGS - AWS == set()
    assert Settings.from_env(environment).env == "production"


def test_the_keys_of_backups_are_given_to_what_makes_and_drills_them_alone() -> None:
    given = {
        where for where, environment in ENVIRONMENTS.items() if environment.get("BACKUP_ENCRYPTION_KEYS") is not None
    }
    assert given == {where for where in ENVIRONMENTS if where.rpartition(" ")[2] in ("backup", "drill")}
    assert len(given) == 4


def commands() -> list[tuple[str, list[str]]]:
    found = [(f"compose {name}", COMPOSE["services"][name]["command"]) for name in sorted(PARTS)]
    for name in ("deployment.yaml", "migration-job.yaml", "backup-cronjob.yaml"):
        found += [(f"{name} {each['name']}", each["args"]) for d in documents(name) for each in pods(d)]
    for path in ("task-definition.json", "ecs/backup-task-definition.json"):
        definition = json.loads((ROOT / path).read_text())
        found += [(f"{path} {each['name']}", each["command"]) for each in definition["containerDefinitions"]]
    return found


@pytest.mark.parametrize(("where", "arguments"), commands(), ids=[where for where, _ in commands()])
def test_every_command_of_a_container_exists(where: str, arguments: list[str]) -> None:
    result = CliRunner().invoke(main, [*arguments, "--help"])
    assert result.exit_code == 0, result.output
    options = re.findall(r"--[a-z-]+", result.output)
    assert {part for part in arguments if part.startswith("--")} <= set(options)


def test_a_backup_is_made_and_drilled_every_night() -> None:
    jobs = {d["metadata"]["name"]: d["spec"]["schedule"] for d in documents("backup-cronjob.yaml")}
    assert jobs == {"cashflow-backup": "15 2 * * *", "cashflow-drill": "15 4 * * *"}
    names = {
        each["name"]
        for each in json.loads((ROOT / "ecs/backup-task-definition.json").read_text())["containerDefinitions"]
    }
    drill = json.loads((ROOT / "ecs/drill-schedule.json").read_text())
    (override,) = json.loads(drill["Target"]["Input"])["containerOverrides"]
    assert override["name"] in names
    cron = re.findall(r"^\d+ \d+ \* \* \* cd .* run --rm backup(.*)$", GUIDE, re.MULTILINE)
    for arguments in (override["command"], cron[1].split()):
        assert arguments[:2] == ["backup", "drill"]
        assert CliRunner().invoke(main, [*arguments, "--help"]).exit_code == 0
    assert cron[0] == ""


def required() -> list[str]:
    """The rows of the guide's table of required settings."""
    table = GUIDE.partition("| required |")[2].partition("\n\n")[0]
    return re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)


def test_the_guide_lists_what_production_refuses_to_start_without() -> None:
    whole = {
        "ENV": "production",
        "JWT_SECRET": JWT_SECRET,
        "DATABASE_URL": "postgresql://db/x",
        "REDIS_URL": "redis://redis:6379/0",
        "OBJECT_STORE": "s3://objects",
        "BACKUP_STORE": "s3://backups",
        "ALLOWED_HOSTS": "cashflow.example.com",
    }
    Settings.from_env(whole)
    listed = [re.findall(r"`([A-Z_]+)`", row) for row in required()]
    assert sorted(name for names in listed for name in names) == sorted({*whole, "JWT_JWKS"})
    for name in set(whole) - {"ENV"}:
        with pytest.raises(SettingsError) as caught:
            Settings.from_env({key: value for key, value in whole.items() if key != name})
        assert [line.split()[0] for line in str(caught.value).splitlines()] == [name]
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"ENV": "production"})
    assert {line.split()[0] for line in str(caught.value).splitlines()} == set(whole) - {"ENV"}


def test_the_template_of_the_secret_is_refused_as_it_stands() -> None:
    template = documents("configmap.yaml")[0]["data"] | documents("secret.yaml")[0]["stringData"]
    with pytest.raises(SettingsError, match="JWT_SECRET"):
        Settings.from_env(template)


def test_prometheus_scrapes_the_ports_that_serve_metrics() -> None:
    scraped = {
        place["names"][0]: place["port"]
        for job in yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())["scrape_configs"]
        for place in job.get("dns_sd_configs", [])
    }
    assert scraped.pop("api") == 8000
    for name, port in scraped.items():
        assert ENVIRONMENTS[f"compose {name}"]["WORKER_METRICS_PORT"] == str(port)
    for document in documents("deployment.yaml"):
        if document["kind"] != "Deployment":
            continue
        template = document["spec"]["template"]
        (container,) = template["spec"]["containers"]
        port = container["ports"][0]["containerPort"]
        assert template["metadata"]["annotations"]["prometheus.io/port"] == str(port)
        if container["name"] != "api":
            assert {"name": "WORKER_METRICS_PORT", "value": str(port)} in container["env"]
    open_ports = {
        port["port"]
        for policy in documents("network-policy.yaml")
        for rule in policy["spec"].get("ingress", [])
        for port in rule["ports"]
    }
    assert open_ports == {8000, 9101}


def test_probes_ask_for_pages_that_are_there() -> None:
    from api.app import ROUTES

    paths = {path for handler in ROUTES for path in handler.paths}
    asked = set(re.findall(r"/health[a-z/]*", (K8S / "deployment.yaml").read_text()))
    asked |= set(
        re.findall(r"/health[a-z/]*", (ROOT / "Dockerfile").read_text() + (ROOT / "task-definition.json").read_text())
    )
    assert asked <= paths
    assert {"/health/live", "/health/ready"} <= asked


def test_the_kustomization_is_one_and_applies_every_manifest() -> None:
    (found,) = documents("kustomization.yaml")
    assert (found["apiVersion"], found["kind"]) == ("kustomize.config.k8s.io/v1beta1", "Kustomization")
    assert set(found) == {"apiVersion", "kind", "resources", "images"}
    there = {path.name for path in K8S.glob("*.yaml")} - {"kustomization.yaml", "migration-job.yaml"}
    assert set(found["resources"]) == there
    assert len(found["resources"]) == len(there)
    kinds = [(d["kind"], d["metadata"]["name"]) for name in found["resources"] for d in documents(name)]
    assert len(kinds) == len(set(kinds))
    images = {container["image"].partition(":")[0] for name in there for d in documents(name) for container in pods(d)}
    assert images == {image["name"] for image in found["images"]}


def test_every_manifest_lies_in_the_namespace_that_is_made_first() -> None:
    applied = re.findall(r"kubectl apply -f k8s/([a-z-]+\.yaml)", GUIDE)
    assert applied == [
        f"{name}.yaml" for name in ("namespace", "configmap", "secret", "deployment", "service", "ingress")
    ]
    for path in K8S.glob("*.yaml"):
        for document in documents(path.name):
            if document["kind"] not in ("Namespace", "Kustomization"):
                assert document["metadata"]["namespace"] == "cashflow"


def test_names_between_manifests_meet() -> None:
    deployments = {d["metadata"]["name"]: d for d in documents("deployment.yaml") if d["kind"] == "Deployment"}
    for scaler in documents("autoscaler.yaml"):
        assert scaler["spec"]["scaleTargetRef"]["name"] in deployments
    (service,) = documents("service.yaml")
    labels = [d["spec"]["template"]["metadata"]["labels"] for d in deployments.values()]
    assert service["spec"]["selector"] in labels
    for budget in documents("disruption-budget.yaml"):
        assert budget["spec"]["selector"]["matchLabels"] in labels
    backends = [
        path["backend"]["service"]
        for rule in documents("ingress.yaml")[0]["spec"]["rules"]
        for path in rule["http"]["paths"]
    ]
    assert {(b["name"], b["port"]["name"]) for b in backends} == {("cashflow-api", "http")}


def test_what_the_compose_file_mounts_and_the_guide_names_is_in_the_repository() -> None:
    mounts = [m for s in COMPOSE["services"].values() for m in s.get("volumes", []) if m.startswith("./")]
    named = {m.partition(":")[0] for m in mounts}
    named |= set(re.findall(r"`((?:docs|k8s|ecs|deploy|prometheus|grafana|scripts)/[\w./-]+)`", GUIDE))
    assert {"./prometheus", "./grafana/provisioning", "./deploy/nginx/nginx.conf", "docs/backups.md"} <= named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []

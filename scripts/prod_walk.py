"""The walk of `make prod-local`: what the deployment guide promises, asked of a running production profile."""

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

import engine

if TYPE_CHECKING:
    from scripts.prod_local import Production

ROOT = Path(__file__).resolve().parents[1]
CORRELATION = "walk-0001"
COMPONENTS = {"api", "database", "redis", "workers", "backup"}
SCENARIO: dict[str, Any] = {
    "name": "stress",
    "assumptions": {
        "prepayment": {"type": "cpr", "rate": 0.06},
        "default": {"type": "cdr", "rate": 0.04},
        "severity": 0.45,
    },
}
PROJECTION = {
    "tape": {"loans": [{"type": "loan", "balance": 1000.0, "annual_rate": 0.06, "remaining_term": 36}]},
    "fields": ["interest"],
}
QUERY = """query ($id: ID!) { run(id: $id) { state
  cashflows { scenarios { name columns { interest loss } } } } }"""


class Walk:
    """What the steps share: the profile, a client with an analyst's token, and the run that they make."""

    def __init__(self, production: "Production") -> None:
        self.production = production
        self.client = production.client()
        self.headers = {"authorization": f"Bearer {production.token('walker')}", "x-correlation-id": CORRELATION}
        self.run: dict[str, Any] = {}

    def refuses_to_start_without_its_settings(self) -> None:
        environ = {"ENV": "production", "PATH": self.production.environ["PATH"]}
        command = [self.production.parts["api-1"].command[0], "serve"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
        expect(done.returncode == 2, done.stderr)
        for name in ("JWT_SECRET", "DATABASE_URL", "REDIS_URL", "OBJECT_STORE", "BACKUP_STORE", "ALLOWED_HOSTS"):
            expect(f"{name} is missing" in done.stderr, f"{name} is not named in {done.stderr}")

    def health_is_ok_with_every_component(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            answer = self.client.get("/health")
            workers = answer.json()["components"]["workers"]["details"]
            if (answer.status_code == 200 and workers.get("alive") == 2) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        components = answer.json()["components"]
        expect(answer.status_code == 200 and set(components) == COMPONENTS, answer.text)
        expect({each["status"] for each in components.values()} == {"ok"}, answer.text)
        expect(components["workers"]["details"].get("alive") == 2, answer.text)
        for path in ("/health/live", "/health/ready"):
            expect(self.client.get(path).status_code == 200, path)

    def nothing_is_answered_without_a_token(self) -> None:
        for path in ("/v1/tapes", "/v1/runs", "/v1/scenarios"):
            expect(self.client.get(path).status_code == 401, path)
        expect(self.client.post("/graphql", json={"query": "{ __typename }"}).status_code == 401, "/graphql")
        reader = {"authorization": f"Bearer {self.production.token('reader', 'reader')}"}
        refused = self.client.post("/v1/scenarios", json=SCENARIO, headers=reader)
        expect(refused.status_code == 403, f"a reader writes: {refused.status_code}")

    def answers_carry_the_limit_and_the_security_headers(self) -> None:
        answer = self.client.get("/v1/tapes", headers=self.headers)
        names = ["ratelimit", "ratelimit-policy", "strict-transport-security", "content-security-policy"]
        names += ["x-frame-options", "x-content-type-options", "x-request-id"]
        expect([name for name in names if name not in answer.headers] == [], str(answer.headers))
        expect("100" in answer.headers["ratelimit-policy"], answer.headers["ratelimit-policy"])

    def a_tape_is_run_under_scenarios(self) -> None:
        tape = self.made("/v1/tapes?name=loans", content=(ROOT / "samples/loans.csv").read_bytes(), kind="text/csv")
        stored = self.made("/v1/scenarios", json=SCENARIO)
        asked = {"tape_id": tape["id"], "scenarios": [{"template": "base"}, {"scenario_id": stored["id"]}]}
        run = self.made("/v1/runs", json=asked, status=202)
        told = []
        with self.client.stream("GET", f"/v1/runs/{run['id']}/events", headers=self.headers) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: {") and "state" in line:
                    told.append(json.loads(line.removeprefix("data: ")))
        states = [each["state"] for each in told if "state" in each]
        expect(bool(states) and states[-1] == "succeeded", f"the run told {states}")
        self.run = told[-1] | {"id": run["id"]}

    def made(self, path: str, status: int = 201, kind: str = "application/json", **body: Any) -> dict[str, Any]:
        headers = {**self.headers} if "json" in body else {**self.headers, "content-type": kind}
        answer = self.client.post(path, headers=headers, **body)
        expect(answer.status_code == status, f"{path}: {answer.status_code} {answer.text[:300]}")
        return dict(answer.json())

    def rest_and_graphql_give_what_the_engine_gives(self) -> None:
        place = f"/v1/runs/{self.run['id']}/cashflows?fields=interest,loss"
        rest = self.client.get(place, headers=self.headers).json()["scenarios"]
        body = {"query": QUERY, "variables": {"id": self.run["id"]}}
        answer = self.client.post("/graphql", json=body, headers=self.headers).json()
        expect("errors" not in answer, str(answer.get("errors")))
        found = answer["data"]["run"]["cashflows"]["scenarios"]
        expect({each["name"] for each in found} == set(rest), str(sorted(rest)))
        for each in found:
            columns = rest[each["name"]]["columns"]
            expect(each["columns"] == {"interest": columns["interest"], "loss": columns["loss"]}, each["name"])
        own = SCENARIO["assumptions"]
        assumptions = engine.Assumptions(
            prepayment=engine.Cpr(rate=own["prepayment"]["rate"]),
            default=engine.Cdr(rate=own["default"]["rate"]),
            severity=own["severity"],
        )
        request = engine.ProjectionRequest(
            tape=engine.read_tape(ROOT / "samples/loans.csv"), assumptions=assumptions, fields=["interest", "loss"]
        )
        expected = engine.project(request)
        stress = rest["stress"]["columns"]
        for name in ("interest", "loss"):
            close = all(
                abs(a - b) <= 1e-9 * max(1.0, abs(b)) for a, b in zip(stress[name], expected[name], strict=False)
            )
            expect(close, f"{name} differs from the engine's")

    def metrics_tell_of_it_inside_and_not_outside(self) -> None:
        if self.production.certificate:
            expect(self.client.get("/metrics").status_code == 404, "nginx passes /metrics on")
        pages = [httpx.get(f"{address}/metrics").text for address in self.production.api_addresses]
        expect(any('route="/v1/runs"' in page for page in pages), "no API counted the run's request")
        ports = self.production.metrics_ports
        workers = [httpx.get(f"http://127.0.0.1:{ports[name]}/metrics").text for name in ("worker-1", "worker-2")]
        done = [line for page in workers for line in page.splitlines() if line.startswith("cashflow_shards_total{")]
        expect(sum(float(line.split()[-1]) for line in done) >= 1, "no worker counted a shard")
        page = httpx.get(f"http://127.0.0.1:{ports['scheduler']}/metrics").text
        expect("cashflow_build_info" in page, "the scheduler serves no metrics")

    def a_backup_is_made_verified_and_drilled(self) -> None:
        made = self.production.run("backup", "create", "--prune")
        expect(made.returncode == 0, made.stdout + made.stderr)
        listed = self.production.run("backup", "list", "--json")
        (record,) = json.loads(listed.stdout)
        for arguments in (("verify", record["key"]), ("drill",)):
            done = self.production.run("backup", *arguments)
            expect(done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}")

    def every_request_is_answered_while_each_api_restarts(self) -> None:
        statuses: list[str] = []
        ended = threading.Event()
        clients = [threading.Thread(target=self.ask, args=(n, ended, statuses)) for n in range(4)]
        for client in clients:
            client.start()
        restarted = []
        for name, address in zip(("api-1", "api-2"), self.production.api_addresses, strict=True):
            time.sleep(1.0)
            part = self.production.parts[name]
            restarted.append(part.stop())
            part.start()
            wait_ready(address)
        time.sleep(1.0)
        ended.set()
        for client in clients:
            client.join()
        bad = [status for status in statuses if status != "200"]
        expect(not bad, f"{len(bad)} of {len(statuses)} requests failed: {bad[:5]}")
        expect(len(statuses) > 100 and all(code in (0, -15) for code in restarted), f"{len(statuses)}, {restarted}")
        print(f"          {len(statuses)} requests, two restarts", flush=True)

    def ask(self, number: int, ended: threading.Event, statuses: list[str]) -> None:
        """Projects until it is told to stop, under names of few requests each, for the limit's sake."""
        places = itertools.cycle(self.production.api_addresses)
        with self.production.client() as client:
            for i in itertools.count():
                if ended.is_set():
                    return
                headers = {"authorization": f"Bearer {self.production.token(f'load-{number}-{i // 80}')}"}
                for _ in range(2):
                    try:
                        # Without a proxy this is what a balancer does: ask the other where nobody listens.
                        path = "/v1/projections" if self.production.certificate else f"{next(places)}/v1/projections"
                        answer = client.post(path, json=PROJECTION, headers=headers)
                        statuses.append(str(answer.status_code))
                        break
                    except httpx.ConnectError as error:
                        last = repr(error)
                    except httpx.HTTPError as error:
                        statuses.append(repr(error))
                        break
                else:
                    statuses.append(last)

    def log_lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The part and the line of every log of the service. Fails for a line that is no JSON."""
        for name, part in self.production.parts.items():
            if name == "nginx":
                continue
            for line in part.log.read_text().splitlines():
                try:
                    yield name, json.loads(line)
                except ValueError:
                    raise Finding(f"{name} logs no JSON: {line[:200]}") from None

    def one_id_goes_from_the_request_to_the_worker(self) -> None:
        parts = {name.partition("-")[0] for name, line in self.log_lines() if line.get("correlation_id") == CORRELATION}
        expect({"api", "worker"} <= parts, f"{CORRELATION} is in the logs of {sorted(parts)}")

    def secrets_are_in_no_log_and_no_command_line(self) -> None:
        production = self.production
        hidden = {**production.planted, "backup": production.backup_key, "token": self.headers["authorization"][7:]}
        texts = {path.name: path.read_text(errors="replace") for path in production.folder.glob("*.log")}
        texts["ps"] = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
        found = [(what, where) for what, secret in hidden.items() for where, text in texts.items() if secret in text]
        expect(found == [], f"found {found}")
        expect("cashflow" in texts["ps"], "ps shows no process of the service")

    def everything_ends_within_its_grace(self) -> None:
        grace = {"api": 40.0, "worker": 60.0, "scheduler": 30.0, "nginx": 10.0}
        codes = {name: part.stop(grace[name.partition("-")[0]]) for name, part in self.production.parts.items()}
        expect(all(code in (0, -15) for code in codes.values()), str(codes))


class Finding(Exception):
    """What a step found wrong."""


def expect(true: bool, told: str) -> None:
    """Raises Finding with `told` unless it is true."""
    if not true:
        raise Finding(told)


def wait_ready(address: str) -> None:
    from scripts.prod_local import until_ready

    until_ready(address)


def walk(production: "Production", stop: bool) -> int:
    """How many steps failed; each is told as it ends. stop: end with stopping everything."""
    found = Walk(production)
    steps: list[Callable[[], None]] = [
        found.refuses_to_start_without_its_settings,
        found.health_is_ok_with_every_component,
        found.nothing_is_answered_without_a_token,
        found.answers_carry_the_limit_and_the_security_headers,
        found.a_tape_is_run_under_scenarios,
        found.rest_and_graphql_give_what_the_engine_gives,
        found.metrics_tell_of_it_inside_and_not_outside,
        found.a_backup_is_made_verified_and_drilled,
        found.every_request_is_answered_while_each_api_restarts,
        found.one_id_goes_from_the_request_to_the_worker,
        *([found.everything_ends_within_its_grace] if stop else []),
        found.secrets_are_in_no_log_and_no_command_line,
    ]
    failed = 0
    for step in steps:
        name = step.__name__.replace("_", " ")
        try:
            step()
            print(f"  ok      {name}", flush=True)
        except Exception as error:
            failed += 1
            print(f"  FAILED  {name}: {error!r}"[:1500], flush=True)
    if failed:
        for name, part in production.parts.items():
            print(f"--- {name}\n{part.log.read_text(errors='replace')[-1500:]}", file=sys.stderr)
    return failed

"""/v1/backups on the real application, whose own worker makes, verifies, rehearses and prunes; admins only."""

import time
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.settings import Settings
from tests.api.test_stored import bearer_of

Client = TestClient[Litestar]
NONE = "db_backup_cashflow_20200101000000"
ROUTES = [
    ("POST", "/v1/backups"),
    ("GET", "/v1/backups"),
    ("GET", f"/v1/backups/{NONE}.dump"),
    ("POST", f"/v1/backups/{NONE}.dump/verify"),
    ("POST", f"/v1/backups/{NONE}.dump/restore"),
    ("POST", "/v1/backups/prune"),
    ("GET", "/v1/backups/jobs"),
    ("GET", "/v1/backups/jobs/backup_0"),
]


@pytest.fixture(scope="module")
def admin(settings: Settings) -> dict[str, str]:
    return bearer_of(settings, "root", "admin")


def ended(client: Client, admin: dict[str, str], answer: Any) -> dict[str, Any]:
    """The job of an answer, once it has ended."""
    assert answer.status_code == 202, answer.text
    place = answer.headers["location"]
    assert place == f"/v1/backups/jobs/{answer.json()['id']}"
    for _ in range(600):
        job = client.get(place, headers=admin).json()
        if job["state"] in ("succeeded", "failed"):
            return dict(job)
        time.sleep(0.05)
    raise AssertionError(f"{job} has not ended")


@pytest.fixture(scope="module")
def made(served: Client, admin: dict[str, str]) -> dict[str, Any]:
    """The job that made a backup."""
    return ended(served, admin, served.post("/v1/backups", headers=admin))


def test_a_backup_is_made_by_a_job_and_listed(client: Client, admin: dict[str, str], made: dict[str, Any]) -> None:
    assert (made["state"], made["kind"], made["asked_by"], made["attempts"]) == ("succeeded", "create", "root", 1)
    record = made["report"]["create"]
    listing = client.get("/v1/backups", headers=admin).json()
    newest = listing["items"][0]
    assert {name: newest[name] for name in record if name != "check"} == {k: record[k] for k in record if k != "check"}
    assert newest["key"] == f"backups/database/{newest['name']}"
    assert listing["status"]["key"] == newest["key"]
    assert client.get(f"/v1/backups/{newest['name']}", headers=admin).json()["sha256"] == record["sha256"]


def test_a_backup_is_verified_and_its_restore_rehearsed(
    client: Client, admin: dict[str, str], made: dict[str, Any]
) -> None:
    name = made["report"]["create"]["key"].rpartition("/")[2]
    verified = ended(client, admin, client.post(f"/v1/backups/{name}/verify", headers=admin))
    assert verified["report"]["verify"]["rows"] > 0
    assert client.get(f"/v1/backups/{name}", headers=admin).json()["check"]["how"] == "verify"
    rehearsed = ended(client, admin, client.post(f"/v1/backups/{name}/restore", headers=admin))
    assert rehearsed["report"]["drill"]["rows"] == verified["report"]["verify"]["rows"]
    assert client.get(f"/v1/backups/{name}", headers=admin).json()["check"]["how"] == "drill"


def test_a_database_is_not_replaced_over_http(client: Client, admin: dict[str, str], made: dict[str, Any]) -> None:
    key = made["report"]["create"]["key"]
    answer = client.post(f"/v1/backups/{key.rpartition('/')[2]}/restore", headers=admin, json={"swap": True})
    assert answer.status_code == 409
    assert answer.json()["errors"][0]["path"] == "swap"
    assert f"cashflow backup restore {key}" in answer.json()["detail"]


def test_pruning_keeps_the_newest(client: Client, admin: dict[str, str], made: dict[str, Any]) -> None:
    second = ended(client, admin, client.post("/v1/backups", headers=admin, json={"prune": True}))
    assert second["report"]["create"]["key"] in second["report"]["prune"]["kept"]
    job = ended(client, admin, client.post("/v1/backups/prune", headers=admin))
    assert second["report"]["create"]["key"] in job["report"]["prune"]["kept"]
    # Of one day one is kept, and the first of this module made way for the second.
    assert made["report"]["create"]["key"] in second["report"]["prune"]["deleted"]
    assert job["id"] in [each["id"] for each in client.get("/v1/backups/jobs", headers=admin).json()["items"]]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("role", ["reader", "analyst"])
def test_only_an_admin_may(client: Client, settings: Settings, method: str, path: str, role: str) -> None:
    assert client.request(method, path, headers=bearer_of(settings, "ann", role)).status_code == 403


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if "0" in route[1]])
def test_what_is_not_there_is_404(client: Client, admin: dict[str, str], method: str, path: str) -> None:
    assert client.request(method, path, headers=admin).status_code == 404


@pytest.mark.parametrize("name", [f"{NONE}.sql", "x", "db_backup_..%2f..%2fx_20200101000000.dump", f"{NONE}.dump.x"])
def test_a_name_of_no_archive_is_404(client: Client, admin: dict[str, str], name: str) -> None:
    assert client.post(f"/v1/backups/{name}/verify", headers=admin).status_code == 404


@pytest.mark.parametrize("name", ["x%00y", "y" * 5000, "jobs/x%00y", "jobs/%ed%a0%80"])
def test_hostile_names_are_404(client: Client, admin: dict[str, str], name: str) -> None:
    dump = name if name.startswith("jobs/") else f"db_backup_{name}_20200101000000.dump"
    assert client.get(f"/v1/backups/{dump}", headers=admin).status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("/v1/backups", {"prun": True}, "prun"),
        ("/v1/backups", {"prune": 1}, "prune"),
        ("/v1/backups?x=1", {}, "x"),
        (f"/v1/backups/{NONE}.dump/restore", {"swap": "yes"}, "swap"),
    ],
)
def test_a_faulty_order_is_refused(
    client: Client, admin: dict[str, str], path: str, body: dict[str, Any], where: str
) -> None:
    answer = client.post(path, headers=admin, json=body)
    assert answer.status_code == 400
    assert where in answer.json()["detail"]

"""The part of the OpenAPI document on backups."""

from typing import Any

from api.rest.backups import BackupListing, BackupOrder, BackupView, JobListing, RestoreOrder
from api.rest.openapi_stored import LOCATION, Problems, answer, content, operation, parameter, ref
from api.storage.backup_jobs import BackupJob

ROOTS: list[Any] = [BackupView, BackupListing, BackupOrder, RestoreOrder, BackupJob, JobListing]


def backup_paths(problems: Problems) -> dict[str, Any]:
    """The paths; problems: makes the answers of the statuses given."""
    name = parameter("backup_name", "path", "The last part of the backup's key.")
    job = parameter("job_id", "path", "The job's id.")
    taken = {"202": answer("The job, or the one under way that does the same.", ref("BackupJob"), LOCATION)}
    place = "/v1/backups/{backup_name}"
    refused = ("400", "401", "403", "503")
    found = (*refused, "404")

    def ordered(name: str) -> dict[str, Any]:
        return {"requestBody": {"required": False, "content": content(ref(name))}}

    return {
        "/v1/backups": {
            "post": operation("createBackup", "Make a backup on the workers", {**taken, **problems(*refused, "415")})
            | ordered("BackupOrder"),
            "get": operation(
                "listBackups", "The backups, newest first, and how making them went lately",
                {"200": answer("The backups.", ref("BackupListing")), **problems(*refused)},
            ),
        },
        "/v1/backups/jobs": {
            "get": operation(
                "listBackupJobs", "The last fifty jobs, newest first",
                {"200": answer("The jobs.", ref("JobListing")), **problems(*refused)},
            )
        },
        "/v1/backups/jobs/{job_id}": {
            "get": operation(
                "getBackupJob", "A job: its state, and what came of it",
                {"200": answer("The job.", ref("BackupJob")), **problems(*found)}, [job],
            )
        },
        "/v1/backups/prune": {
            "post": operation(
                "pruneBackups", "Delete the backups that retention does not keep", {**taken, **problems(*refused)}
            )
        },
        place: {
            "get": operation(
                "getBackup", "A backup, from its manifest",
                {"200": answer("The backup.", ref("BackupView")), **problems(*found)}, [name],
            )
        },
        f"{place}/verify": {
            "post": operation("verifyBackup", "Read an archive and its copies", {**taken, **problems(*found)}, [name])
        },
        f"{place}/restore": {
            "post": operation(
                "rehearseRestore", "Restore a backup into a scratch database, compare it, and drop it",
                {**taken, **problems(*found, "409", "415")}, [name],
            )
            | ordered("RestoreOrder")
        },
    }  # fmt: skip

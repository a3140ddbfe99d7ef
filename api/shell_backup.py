"""`cashflow backup`: make, list, verify, restore, prune and drill backups.

It loads nothing but what backups need (api/entry.py calls it by itself): for containers with little memory.
Exit codes: 0 done, 1 failed, 2 refused input or settings, 3 another backup or restore of the database is running.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import click
import msgspec

from api.backup import BackupBusy, BackupError, BackupManager, ClientTooOld, NoSuchBackup
from api.backup.records import BackupRecord
from api.settings import SettingsError

PASSWORD = "BACKUP_DB_PASSWORD"


class Failed(click.ClickException):
    """A command that did not succeed: the message goes to stderr."""

    exit_code = 1


class Refused(click.ClickException):
    """A command that was refused."""

    exit_code = 2


class Busy(click.ClickException):
    """A command that another one is in the way of."""

    exit_code = 3


class Backups(click.Group):
    """The commands, with every error told in words and as an exit code."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except BackupBusy as error:
            raise Busy(str(error)) from error
        except (NoSuchBackup, ClientTooOld, SettingsError) as error:
            raise Refused(str(error)) from error
        except BackupError as error:
            raise Failed(str(error)) from error


def database_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that name another database than the configured one."""
    for option, kind, text in (
        ("--port", click.IntRange(1, 65535), "Port of its server."),
        ("--host", str, "Host of its server."),
        ("--user", str, f"User to connect as; the password is taken from {PASSWORD}."),
        ("--database", str, "Name of the database.  [default: that of DATABASE_URL]"),
    ):
        command = click.option(option, type=kind, help=text)(command)
    return command


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The options as the manager's arguments. The password comes from the environment, never from an argument."""
    return {
        "db_name": options["database"],
        "db_user": options["user"],
        "db_password": os.environ.get(PASSWORD),
        "db_host": options["host"],
        "db_port": options["port"],
    }


def tell(report: msgspec.Struct) -> None:
    """Prints a report as JSON, which people read and programs too."""
    click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())


@click.group("backup", cls=Backups)
def backup() -> None:
    """Back up the database, with tapes and results, and restore it."""


@backup.command()
@database_options
@click.option("--prune", is_flag=True, help="Delete afterwards what retention does not keep.")
def create(prune: bool, **options: Any) -> None:
    """Make a backup, and read it back whole."""
    manager = BackupManager()
    record = manager.backup_database(**given(options))
    tell(record)
    if prune:
        tell(manager.prune(record.database))


@backup.command("list")
@click.option("--database", help="Only backups of this database.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with everything known.")
def list_backups(database: str | None, as_json: bool) -> None:
    """List the backups, newest first."""
    records = BackupManager().list_backups(database)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(records)).decode())
        return
    for record in records:
        click.echo(line_of(record))
    if not records:
        click.echo("There are no backups.")


def line_of(record: BackupRecord) -> str:
    check = record.check
    checked = f"{check.how} {check.at:%Y-%m-%d} {'sound' if check.sound else 'DAMAGED'}" if check else "not checked"
    return f"{record.key}  {record.created:%Y-%m-%d %H:%M:%S}Z  {record.size:>15,} bytes  {checked}"


@backup.command()
@click.argument("key")
def verify(key: str) -> None:
    """Read the archive KEY whole: it is what was written, or this fails. Needs no database."""
    tell(BackupManager().verify_backup(key))


@backup.command()
@click.argument("key")
@database_options
@click.option("--drop-old", is_flag=True, help="Drop the replaced database instead of keeping it under another name.")
def restore(key: str, drop_old: bool, **options: Any) -> None:
    """Restore the backup KEY ("latest" for the newest) in place of the database.

    It is restored into a scratch database and compared with what was backed up first; only then are the names swapped.
    """
    manager = BackupManager()
    arguments = given(options)
    if key == "latest":
        key = manager.newest(arguments["db_name"]).key
    tell(manager.restore_database(key, **arguments, drop_old=drop_old))


@backup.command()
@click.option("--database", help="Name of the database.  [default: that of DATABASE_URL]")
@click.option("--daily", type=click.IntRange(0), help="Days to keep a backup of.  [default: BACKUP_KEEP_DAILY]")
@click.option("--weekly", type=click.IntRange(0), help="Weeks to keep a backup of.  [default: BACKUP_KEEP_WEEKLY]")
@click.option("--monthly", type=click.IntRange(0), help="Months to keep a backup of.  [default: BACKUP_KEEP_MONTHLY]")
def prune(database: str | None, **counts: int | None) -> None:
    """Delete the backups that retention does not keep; never the newest sound one."""
    manager = BackupManager()
    changed = {name: count for name, count in counts.items() if count is not None}
    tell(manager.prune(database, msgspec.structs.replace(manager.retention, **changed)))


@backup.command()
@click.argument("key", required=False)
@click.option("--database", help="Name of the database.  [default: that of DATABASE_URL]")
def drill(key: str | None, database: str | None) -> None:
    """Restore the newest backup (or KEY) into a scratch database, compare it with what was backed up, and drop it."""
    tell(BackupManager().drill(key, database))


if __name__ == "__main__":
    sys.exit(backup(prog_name="cashflow backup"))

"""`cashflow backup`: make, list, verify, restore, prune and drill backups.

It loads nothing but what backups need (api/entry.py calls it by itself): for containers with little memory.
Exit codes: 0 done, 1 failed, 2 refused input or settings, 3 another backup or restore of the database is running.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from api.backup import BackupBusy, BackupError, BackupManager, Unusable
from api.backup.records import BackupRecord
from api.settings import SettingsError

T = TypeVar("T")
PASSWORD = "BACKUP_DB_PASSWORD"
LATEST = "latest"
RETRY_SECONDS = 5.0


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
        except (Unusable, SettingsError) as error:
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


def wait_option(command: Callable[..., None]) -> Callable[..., None]:
    """The option that waits for another backup, restore or drill to end."""
    text = "Seconds to try again for while another backup, restore or drill is running."
    return click.option("--wait", type=click.FloatRange(0), default=0.0, show_default=True, help=text)(command)


def waited(seconds: float, work: Callable[[], T]) -> T:
    """What the work gives, which is tried again for so many seconds while something else is running."""
    end = time.monotonic() + seconds
    while True:
        try:
            return work()
        except BackupBusy:
            left = end - time.monotonic()
            if left <= 0:
                raise
            time.sleep(min(RETRY_SECONDS, left))


def key_of(manager: BackupManager, key: str, database: str | None) -> str:
    """The key given, or that of the newest backup. Raises NoSuchBackup."""
    return manager.newest(database).key if key == LATEST else key


def tell(report: msgspec.Struct) -> None:
    """Prints a report as JSON, which people read and programs too."""
    click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())


@click.group("backup", cls=Backups)
def backup() -> None:
    """Back up the database, with tapes and results, and restore it."""


@backup.command()
@database_options
@click.option("--prune", is_flag=True, help="Delete afterwards what retention does not keep.")
@wait_option
def create(prune: bool, wait: float, **options: Any) -> None:
    """Make a backup, and read it back whole."""
    manager = BackupManager()
    record = waited(wait, lambda: manager.backup_database(**given(options)))
    tell(record)
    if prune:
        tell(waited(wait, lambda: manager.prune(record.database)))


@backup.command("list")
@click.option("--database", help="Only backups of this database.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with everything known.")
def list_backups(database: str | None, as_json: bool) -> None:
    """List the backups, newest first."""
    manager = BackupManager()
    records = manager.list_backups(database)
    for key in manager.unreadable_backups(database):
        click.echo(f"The manifest of {key} cannot be read.", err=True)
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
@click.option("--database", help="Name of the database of the newest.  [default: that of DATABASE_URL]")
def verify(key: str, database: str | None) -> None:
    """Read the backup KEY ("latest" for the newest) whole, with the copies of tapes and results.

    All is what was written, or this fails. It needs no database.
    """
    manager = BackupManager()
    tell(manager.verify_backup(key_of(manager, key, database)))


@backup.command()
@click.argument("key")
@database_options
@click.option("--drop-old", is_flag=True, help="Drop the replaced database instead of keeping it under another name.")
@wait_option
def restore(key: str, drop_old: bool, wait: float, **options: Any) -> None:
    """Restore the backup KEY ("latest" for the newest) in place of the database.

    It is restored into a scratch database and compared with what was backed up first; only then are the names swapped.
    """
    manager = BackupManager()
    arguments = given(options)
    key = key_of(manager, key, arguments["db_name"])
    tell(waited(wait, lambda: manager.restore_database(key, **arguments, drop_old=drop_old)))


@backup.command()
@click.option("--database", help="Name of the database.  [default: that of DATABASE_URL]")
@click.option("--daily", type=click.IntRange(0), help="Days to keep a backup of.  [default: BACKUP_KEEP_DAILY]")
@click.option("--weekly", type=click.IntRange(0), help="Weeks to keep a backup of.  [default: BACKUP_KEEP_WEEKLY]")
@click.option("--monthly", type=click.IntRange(0), help="Months to keep a backup of.  [default: BACKUP_KEEP_MONTHLY]")
@wait_option
def prune(database: str | None, wait: float, **counts: int | None) -> None:
    """Delete the backups that retention does not keep; never the newest sound one."""
    manager = BackupManager()
    changed = {name: count for name, count in counts.items() if count is not None}
    retention = msgspec.structs.replace(manager.retention, **changed)
    tell(waited(wait, lambda: manager.prune(database, retention)))


@backup.command()
@click.argument("key", default=LATEST)
@click.option("--database", help="Name of the database.  [default: that of DATABASE_URL]")
@wait_option
def drill(key: str, database: str | None, wait: float) -> None:
    """Restore the newest backup (or KEY) into a scratch database, compare it with what was backed up, and drop it.

    The copies of tapes and results are read whole.
    """
    manager = BackupManager()
    tell(waited(wait, lambda: manager.drill(None if key == LATEST else key, database)))


if __name__ == "__main__":
    sys.exit(backup(prog_name="cashflow backup"))

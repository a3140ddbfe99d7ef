"""Which backups are kept: by day, week and month, and always the last one that is known to restore."""

from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How many days, weeks and months with backups keep their newest one."""

    daily: int = 7
    weekly: int = 5
    monthly: int = 12


class Candidate(msgspec.Struct, frozen=True, order=True):
    """A backup to keep or not. sound: true checked and whole, false found damaged, none never checked."""

    created: datetime
    key: str
    sound: bool | None = None


def day(when: datetime) -> tuple[int, ...]:
    return (when.year, when.month, when.day)


def week(when: datetime) -> tuple[int, ...]:
    return when.isocalendar()[:2]


def month(when: datetime) -> tuple[int, ...]:
    return (when.year, when.month)


def kept(backups: Iterable[Candidate], retention: Retention) -> set[str]:
    """The keys to keep. Days, weeks and months without a backup do not count, so a pause deletes nothing.

    A damaged backup never stands for its day: it is kept only while nothing sound is at hand. The newest backup, and
    the newest sound one, are kept whatever the numbers say.
    """
    newest_first = sorted(backups, reverse=True)
    usable = [backup for backup in newest_first if backup.sound is not False] or newest_first
    keep = {backup.key for backup in newest_first[:1]} | {backup.key for backup in usable[:1]}
    keep |= {backup.key for backup in [b for b in newest_first if b.sound][:1]}
    rules: list[tuple[int, Callable[[datetime], tuple[int, ...]]]] = [
        (retention.daily, day),
        (retention.weekly, week),
        (retention.monthly, month),
    ]
    for count, period in rules:
        newest: dict[tuple[int, ...], str] = {}
        for backup in usable:
            newest.setdefault(period(backup.created), backup.key)
        keep |= set(list(newest.values())[:count])
    return keep

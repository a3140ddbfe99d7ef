"""What backing up and restoring raises."""


class BackupError(Exception):
    """Base: a backup, restore or check that did not succeed; the message holds no secret."""


class Unusable(BackupError):
    """What was given cannot be used: a name, a key, a setting, a program. Nothing was done; exit code 2."""


class BackupBusy(BackupError):
    """Another backup or restore of the same database is running."""


class ArchiveDamaged(BackupError):
    """An archive that is not, to the bit, what was written: cut short, altered, renamed, or under another key."""


class ArchiveGone(ArchiveDamaged):
    """An archive or copy that a manifest or an inventory names, and that is not in the store."""


class CopiesDamaged(ArchiveDamaged):
    """Copies of tapes or results that are gone, or not what was copied. They are named by the keys of their objects.

    missing, damaged: the first of those keys, a thousand together at most. faults: how many there are in all.
    """

    def __init__(self, key: str, missing: list[str], damaged: list[str], faults: int) -> None:
        told = [f"{name} is gone" for name in missing[:3]] + [f"{name} is damaged" for name in damaged[:3]]
        shown = "; ".join(told) + (f"; and {faults - len(told)} more" if faults > len(told) else "")
        super().__init__(f"of the tapes and results of {key}, {faults} cannot be had from their copies: {shown}")
        self.missing, self.damaged, self.faults = missing, damaged, faults


class WrongKey(ArchiveDamaged, Unusable):
    """A key at hand that does not open an archive: another of the same id, or the archive's header is altered."""


class KeyMissing(Unusable):
    """The key that an archive was encrypted with is not among the keys at hand."""


class NoSuchBackup(Unusable):
    """A key that names no finished backup."""


class ClientTooOld(Unusable):
    """No PostgreSQL client programs at least as new as the server, or as the archive."""


class ContentsDiffer(BackupError):
    """A restored database that is not what was backed up; `differences` lists how."""

    def __init__(self, differences: list[str]) -> None:
        shown = "; ".join(differences[:5]) + (f"; and {len(differences) - 5} more" if len(differences) > 5 else "")
        super().__init__(f"what was restored differs from what was backed up: {shown}")
        self.differences = differences

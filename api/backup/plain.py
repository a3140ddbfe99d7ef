"""Plain SQL archives made elsewhere: what can be told of them, and what has to be refused.

Such an archive carries no digest: a bit that flipped in a value is restored silently, and so is a file that was cut
between two statements, unless pg_dump wrote it and its closing line is missing.
"""

from collections.abc import Iterable, Iterator

from api.backup.errors import ArchiveDamaged, BackupError

OPENING = b"-- PostgreSQL database dump\n"
CLOSING = b"-- PostgreSQL database dump complete\n"
HEAD = 4096
TAIL = 4096
# psql's own, which newer pg_dump writes to keep a dump from running anything else.
HARMLESS = (b"\\restrict ", b"\\unrestrict ")
CANNOT = "a plain SQL archive carries no digest: bits that flipped in its values cannot be found"


def checked(chunks: Iterable[bytes], key: str) -> str:
    """What cannot be verified of the archive. Raises ArchiveDamaged where it was cut short as far as can be told."""
    head, tail = b"", b""
    for chunk in chunks:
        head += chunk[: max(0, HEAD - len(head))]
        tail = (tail + chunk)[-TAIL:]
    if not head.strip():
        raise ArchiveDamaged(f"{key} is empty")
    if OPENING not in head:
        return f"{CANNOT}; pg_dump did not write it, so it may have been cut short as well"
    if CLOSING not in tail:
        raise ArchiveDamaged(f"{key} is cut short: pg_dump's closing line is missing")
    return CANNOT


def guarded(chunks: Iterable[bytes], key: str) -> Iterator[bytes]:
    """The archive, unless it holds commands of psql: \\connect would leave the scratch database. Raises BackupError."""
    data = False
    for line in lines(chunks):
        if data:
            data = line.rstrip() != b"\\."
        elif line.startswith(b"\\") and not line.startswith(HARMLESS):
            command = line.split()[0].decode(errors="replace")
            raise BackupError(f"{key} has the psql command {command}; only statements and COPY data are restored")
        else:
            data = line.startswith(b"COPY ") and line.rstrip().lower().endswith(b"from stdin;")
        yield line


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes line by line, each with its end."""
    held = b""
    for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
    yield held

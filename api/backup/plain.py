"""Plain SQL archives made elsewhere: what can be told of them, and what has to be refused.

Such an archive carries no digest: a bit that flipped in a value is restored silently, and so is a file that was cut
between two statements, unless pg_dump wrote it and its closing line is missing.
"""

import re
from collections.abc import Iterable, Iterator

from api.backup.errors import ArchiveDamaged, Unusable

OPENING = b"-- PostgreSQL database dump\n"
CLOSING = b"-- PostgreSQL database dump complete\n"
HEAD = 4096
TAIL = 4096
SPECIAL = re.compile(
    rb"--|/\*|(?<![\w\x80-\xff$])[eE]'|'|\"|(?<![\w\x80-\xff$])\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$|\\"
)
COMMENT = re.compile(rb"/\*|\*/")
ESCAPED = re.compile(rb"\\.|'", re.DOTALL)
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
    """The archive, unless it holds commands of psql: \\connect would leave the scratch database. Raises Unusable.

    psql takes a command anywhere outside quotes and comments, so these are followed from line to line.
    """
    data, inside = False, b""
    for line in lines(chunks):
        if data:
            data = line.rstrip() != b"\\."
        elif inside or not line.startswith(HARMLESS):
            starts = not inside
            inside, command = followed(line, inside)
            if command is not None:
                word = command.split(maxsplit=1)[0].decode(errors="replace")
                raise Unusable(f"{key} has the psql command {word}; only statements and COPY data are restored")
            copies = line.startswith(b"COPY ") and line.rstrip().lower().endswith(b"from stdin;")
            data = starts and not inside and copies
        yield line


def followed(line: bytes, inside: bytes) -> tuple[bytes, bytes | None]:
    """What is still open after a line, and what follows a backslash that is outside of quotes and comments.

    inside: what is open before it: a quote, E' for one with escapes, a dollar quote, or one / for each comment begun.
    """
    at = 0
    while at < len(line):
        if inside:
            inside, at = closed(line, inside, at)
            continue
        found = SPECIAL.search(line, at)
        if found is None or found[0] == b"--":
            break
        if found[0] == b"\\":
            return inside, line[found.start() :]
        inside, at = {b"/*": b"/", b"e'": b"E'"}.get(found[0], found[0]), found.end()
    return inside, None


def closed(line: bytes, inside: bytes, at: int) -> tuple[bytes, int]:
    """What is open after the next end of what is open at a place in a line, and the place after it."""
    if inside.startswith(b"/"):
        found = COMMENT.search(line, at)
        if found is None:
            return inside, len(line)
        return (inside + b"/" if found[0] == b"/*" else inside[1:]), found.end()
    if inside == b"E'":
        found = ESCAPED.search(line, at)
        return (inside, len(line)) if found is None else (b"" if found[0] == b"'" else inside, found.end())
    end = line.find(inside, at)
    return (inside, len(line)) if end < 0 else (b"", end + len(inside))


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes line by line, each with its end."""
    held = b""
    for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
    yield held

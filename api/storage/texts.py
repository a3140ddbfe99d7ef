"""Texts that every database keeps alike: none holds the character NUL or half a surrogate pair, and those that stand in
columns of their own are bounded.

SQLite stores NUL and PostgreSQL refuses it, so that one service would take a request that another does not.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from engine.errors import MAX_PROBLEMS, Problem

MAX_NAME = 255
MAX_KEY = 255
MAX_DESCRIPTION = 4_000
MAX_URL = 2_000
# Characters that are in no text of PostgreSQL.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
# How JSON writes the only one of them that it can hold.
ESCAPED = b"\\u0000"


def character_fault(text: str) -> str | None:
    """What is wrong with the characters of a text, if anything."""
    found = UNSTORABLE.search(text)
    if found is None:
        return None
    return (
        f"holds the character U+{ord(found[0]):04X} at place {found.start()}; expected text without NUL and surrogates"
    )


def text_fault(text: str, least: int, most: int) -> str | None:
    """What is wrong with a text of so many characters, if anything."""
    if not least <= len(text) <= most:
        allowed = f"{least} to {most:,}" if least else f"at most {most:,}"
        return f"has {len(text):,} characters; expected {allowed}"
    return character_fault(text)


def unstorable(encoded: bytes, path: str = "") -> list[Problem]:
    """A problem for each text that is not stored in what JSON holds, by its path."""
    if ESCAPED not in encoded:
        return []
    found = ((at, character_fault(text)) for at, text in texts_of(msgspec.json.decode(encoded), path))
    return [Problem(at, fault) for at, fault in found if fault is not None][:MAX_PROBLEMS]


def texts_of(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every text in plain objects, names of members among them, with its path."""
    match value:
        case str():
            yield path, value
        case dict():
            for name, item in value.items():
                below = f"{path}.{name}" if path else name
                yield below, name
                yield from texts_of(item, below)
        case list():
            for i, item in enumerate(value):
                yield from texts_of(item, f"{path}[{i}]")

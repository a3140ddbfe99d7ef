"""What a PostgreSQL database holds: taken when it is dumped, and compared when it is restored."""

import hashlib
from collections.abc import Iterable

from api.backup.catalog import GRANTS, MARK, NAMES, PROPERTIES, ROLES, SEQUENCES, SETTINGS, TABLES
from api.backup.manifest import Contents, Names, Properties, TableMark
from api.backup.session import Session


def named(row: dict[str, str]) -> str:
    """A table or sequence as SQL names it."""
    schema, name = (row[part].replace('"', '""') for part in ("schema", "name"))
    return f'"{schema}"."{name}"'


def tables(session: Session) -> dict[str, TableMark]:
    """The mark of every table."""
    marks = {}
    for row in session.rows(TABLES):
        (found,) = session.rows(MARK.format(table=named(row)))
        marks[named(row)] = TableMark(found["rows"], f"{found['a']}:{found['b']}")
    return marks


def sequences(session: Session) -> dict[str, int]:
    """Where every sequence stands: twice its last value, and one more where that was handed out.

    So a fresh sequence and one whose first value was taken differ.
    """
    at = {}
    for row in session.rows(SEQUENCES):
        at[named(row)] = session.value(f"SELECT last_value::numeric * 2 + is_called::int FROM {named(row)}")
    return {name: int(value) for name, value in at.items()}


def names(session: Session) -> dict[str, Names]:
    return {kind: digest_of(str(row[0]) for row in session.rows(query)) for kind, query in NAMES.items()}


def digest_of(texts: Iterable[str]) -> Names:
    ordered = sorted(texts)
    return Names(len(ordered), hashlib.sha256("\n".join(ordered).encode()).hexdigest())


def properties(session: Session) -> Properties:
    (row,) = session.rows(PROPERTIES)
    return Properties(
        encoding=row["encoding"],
        provider=row["provider"] or "c",
        collate=row["datcollate"],
        ctype=row["datctype"],
        locale=row["locale"],
        owner=row["owner"],
        settings=[one["setting"] for one in session.rows(SETTINGS)],
        roles=[one["name"] for one in session.rows(ROLES)],
        grants=[(one["role"], one["privilege"]) for one in session.rows(GRANTS)] if row["granted"] else None,
    )


def differences(then: Contents, session: Session) -> list[str]:
    """How the session's database differs from what was backed up; empty where it does not."""
    found = []
    now = tables(session)
    for name in sorted(then.tables.keys() | now.keys()):
        before, after = then.tables.get(name), now.get(name)
        if before is None or after is None:
            found.append(f"table {name} is {'new' if before is None else 'missing'}")
        elif before.rows != after.rows:
            found.append(f"table {name} has {after.rows} rows; expected {before.rows}")
        elif before.mark != after.mark:
            found.append(f"table {name} has the {before.rows} rows expected, but other values in them")
    at = sequences(session)
    for name, (low, high) in then.sequences.items():
        # Sequences move outside transactions: one that was in use stands between its values before and after the dump.
        if name not in at:
            found.append(f"sequence {name} is missing")
        elif not min(low, high) <= at[name] <= max(low, high):
            found.append(f"sequence {name} is not where it stood")
    have = names(session)
    for kind, expected in then.names.items():
        if have[kind] != expected:
            found.append(f"{kind}: {have[kind].count} and {expected.count} expected, or their names differ")
    return found

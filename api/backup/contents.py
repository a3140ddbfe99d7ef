"""What a PostgreSQL database holds: taken when it is dumped, and compared when it is restored."""

import hashlib
from collections.abc import Iterable

from api.backup.manifest import Contents, Names, Properties, TableMark
from api.backup.session import Session

OURS = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'"
# What an extension brings is made again by CREATE EXTENSION, and is not in the dump.
NOT_OF_EXTENSION = (
    "NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = '{catalog}'::regclass AND d.objid = {oid} AND d.deptype = 'e')"
)
TABLES = f"""
SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {OURS} AND {NOT_OF_EXTENSION.format(catalog="pg_class", oid="c.oid")}
ORDER BY 1, 2"""
SEQUENCES = f"""
SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND {OURS} AND {NOT_OF_EXTENSION.format(catalog="pg_class", oid="c.oid")} ORDER BY 1, 2"""
RELATIONS = f"""
SELECT format('%s %I.%I', c.relkind, n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {OURS} AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'i', 'I') AND c.relpersistence <> 't'"""
NAMES = {
    "relations": RELATIONS,
    "invalid indexes": "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid",
    # PostgreSQL 18 lists NOT NULL among the constraints, older versions do not.
    "constraints": f"""
SELECT format('%s %I.%I.%I %s', k.contype, n.nspname, c.relname, k.conname, k.convalidated) FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OURS} AND k.contype <> 'n'""",
    "triggers": f"""
SELECT format('%I.%I.%I %s', n.nspname, c.relname, t.tgname, t.tgenabled) FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OURS} AND NOT t.tgisinternal""",
    "functions": f"""
SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {OURS} AND {NOT_OF_EXTENSION.format(catalog="pg_proc", oid="p.oid")}""",
    "extensions": "SELECT extname::text FROM pg_extension",
    "large objects": "SELECT oid::text FROM pg_largeobject_metadata",
}
# The sum of the rows' digests does not depend on their order, and the server takes it in one pass without sorting.
MARK = """
SELECT count(*) AS rows, coalesce(sum(('x' || left(h, 16))::bit(64)::bigint), 0)::text AS a,
       coalesce(sum(('x' || substr(h, 17, 16))::bit(64)::bigint), 0)::text AS b
FROM (SELECT encode(sha256(convert_to(cashflow_row::text, 'UTF8')), 'hex') AS h FROM ONLY {table} AS cashflow_row) AS r"""
PROPERTIES = """
SELECT pg_encoding_to_char(encoding) AS encoding, datcollate, datctype, pg_get_userbyid(datdba) AS owner,
       datacl IS NOT NULL AS granted, to_jsonb(d) ->> 'datlocprovider' AS provider,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale
FROM pg_database d WHERE datname = current_database()"""
SETTINGS = """
SELECT unnest(setconfig) AS setting FROM pg_db_role_setting
WHERE setrole = 0 AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1"""
GRANTS = """
SELECT CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END AS role, a.privilege_type AS privilege
FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = current_database() AND a.grantee <> d.datdba ORDER BY 1, 2"""
# Everybody who owns something or was granted something; the dump names them.
ROLES = f"""
SELECT DISTINCT pg_get_userbyid(role) AS name FROM (
  SELECT c.relowner AS role FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OURS}
  UNION SELECT a.grantee FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a WHERE {OURS}
  UNION SELECT n.nspowner FROM pg_namespace n WHERE {OURS} AND n.nspname <> 'public'
  UNION SELECT p.proowner FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {OURS}
  UNION SELECT a.grantee FROM pg_namespace n, aclexplode(n.nspacl) a WHERE {OURS} AND n.nspname <> 'public'
) AS used WHERE role <> 0 ORDER BY 1"""


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

"""The questions to PostgreSQL's catalogues about what a database holds."""

OURS = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'"
RELATION = "JOIN pg_namespace n ON n.oid = c.relnamespace"


def own(catalog: str, oid: str) -> str:
    """The condition that something belongs to no extension: CREATE EXTENSION makes those, the dump leaves them out."""
    return (
        f"NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = '{catalog}'::regclass"
        f" AND d.objid = {oid} AND d.deptype = 'e')"
    )


TABLES = f"""
SELECT n.nspname AS schema, c.relname AS name FROM pg_class c {RELATION}
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {OURS} AND {own("pg_class", "c.oid")} ORDER BY 1, 2"""

SEQUENCES = f"""
SELECT n.nspname AS schema, c.relname AS name FROM pg_class c {RELATION}
WHERE c.relkind = 'S' AND {OURS} AND {own("pg_class", "c.oid")} ORDER BY 1, 2"""

# The sum of the rows' digests does not depend on their order, and the server takes it in one pass without sorting.
MARK = """
SELECT count(*) AS rows, coalesce(sum(('x' || left(h, 16))::bit(64)::bigint), 0)::text AS a,
       coalesce(sum(('x' || substr(h, 17, 16))::bit(64)::bigint), 0)::text AS b
FROM (
  SELECT encode(sha256(convert_to(cashflow_row::text, 'UTF8')), 'hex') AS h FROM ONLY {table} AS cashflow_row
) AS digests"""

# PostgreSQL 18 lists NOT NULL among the constraints, older versions do not.
NAMES = {
    "relations": f"""
SELECT format('%s %I.%I', c.relkind, n.nspname, c.relname) FROM pg_class c {RELATION}
WHERE {OURS} AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'i', 'I') AND c.relpersistence <> 't'""",
    "constraints": f"""
SELECT format('%s %I.%I.%I %s', k.contype, n.nspname, c.relname, k.conname, k.convalidated)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid {RELATION} WHERE {OURS} AND k.contype <> 'n'""",
    "triggers": f"""
SELECT format('%I.%I.%I %s', n.nspname, c.relname, t.tgname, t.tgenabled)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid {RELATION} WHERE {OURS} AND NOT t.tgisinternal""",
    "functions": f"""
SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {OURS} AND {own("pg_proc", "p.oid")}""",
    "invalid indexes": "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid",
    "extensions": "SELECT extname::text FROM pg_extension",
    "large objects": "SELECT oid::text FROM pg_largeobject_metadata",
}

# Columns that came with later versions are looked up by name, so that older servers answer too.
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
FROM pg_database d, aclexplode(d.datacl) a
WHERE d.datname = current_database() AND a.grantee <> d.datdba ORDER BY 1, 2"""

# Everybody who owns something or was granted something; the dump names them.
ROLES = f"""
SELECT DISTINCT pg_get_userbyid(role) AS name FROM (
  SELECT c.relowner AS role FROM pg_class c {RELATION} WHERE {OURS}
  UNION SELECT a.grantee FROM pg_class c {RELATION}, aclexplode(c.relacl) a WHERE {OURS}
  UNION SELECT n.nspowner FROM pg_namespace n WHERE {OURS} AND n.nspname <> 'public'
  UNION SELECT p.proowner FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {OURS}
  UNION SELECT a.grantee FROM pg_namespace n, aclexplode(n.nspacl) a WHERE {OURS} AND n.nspname <> 'public'
) AS used WHERE role <> 0 ORDER BY 1"""

"""Jobs of backups that were under way when a backup was made, among them the one that made it.

Its row was dumped as it stood, so a restored database would show it under way, and a worker would do it once more.
"""

TABLE = "backup_jobs"
COLUMNS = ("state", "error", "active", "lease_until", "finished_at")
REASON = "the database was restored from a backup that was made while this job was under way"
NAMES = ", ".join(f"'{column}'" for column in COLUMNS)

# A database of another program may have a table of that name: it needs all of these columns to be ours.
POSTGRES_TABLE = f"""
SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = '{TABLE}' AND c.relkind = 'r' AND {len(COLUMNS)} = (
  SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attname IN ({NAMES}))"""
SQLITE_TABLE = f"SELECT count(*) FROM pragma_table_info('{TABLE}') WHERE name IN ({NAMES})"


def ending(table: str, now: str) -> str:
    """The statement that ends them, as failed for that reason. table, now: as SQL."""
    return (
        f"UPDATE {table} SET state = 'failed', error = '{REASON}', active = NULL, lease_until = NULL,"
        f" finished_at = {now} WHERE state IN ('queued', 'running') RETURNING id"
    )


def noted(count: int) -> list[str]:
    """What an operator is told where so many were ended."""
    return [f"{count} jobs of backups that were under way are ended as failed"] if count else []

"""B1: what is restored is what was backed up."""

from api.backup import BackupManager
from tests.backup.world import databases, state
from tests.servers import Postgres


def test_a_restored_database_equals_the_one_backed_up(
    manager: BackupManager, postgres: Postgres, database: str
) -> None:
    before = state(postgres, database)
    record = manager.backup_database()
    postgres.run("DELETE FROM loan", "DROP TABLE flow", "SELECT nextval('down')", database=database)
    assert state_fails(postgres, database)
    report = manager.restore_database(record.key)
    assert state(postgres, database) == before
    assert report.former in databases(postgres)
    assert (report.tables, report.rows) == (4, 3326)


def state_fails(postgres: Postgres, database: str) -> bool:
    try:
        state(postgres, database)
    except Exception:
        return True
    return False

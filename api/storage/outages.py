"""What is away for a while, told from what is wrong for good: only the first is worth waiting for."""

import errno
from socket import gaierror

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from api.storage.objects import BadKey, ExistingObject, MissingObject, StoreError

# Classes of SQLSTATE that pass: connections lost, transactions that collided, no resources, an operator at work.
PASSING = ("08", "40", "53", "57P")


def database_is_away(error: BaseException) -> bool:
    """Whether the database could not be reached, or ended what it had begun."""
    match error:
        case DBAPIError(orig=cause) if str(getattr(cause, "sqlstate", None) or "").startswith(PASSING):
            return True
        case DBAPIError(connection_invalidated=True):
            return True
        case OperationalError() | InterfaceError() | PoolTimeout() | ConnectionError() | TimeoutError() | gaierror():
            return True
    return False


def store_is_away(error: BaseException) -> bool:
    """Whether the object store could not be reached."""
    return isinstance(error, StoreError) and not isinstance(error, MissingObject | BadKey | ExistingObject)


def disk_is_full(error: BaseException) -> bool:
    """Whether there was no room left."""
    return isinstance(error, OSError) and error.errno == errno.ENOSPC


def is_away(error: BaseException) -> bool:
    """Whether what a worker needs is away: tried again later, the same may succeed."""
    return database_is_away(error) or store_is_away(error) or isinstance(error, OSError)

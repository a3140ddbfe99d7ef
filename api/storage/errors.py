"""What storage refuses: things that are not there, versions that moved on, keys used twice."""

from typing import Literal


class StorageError(Exception):
    """Base of what storage refuses on purpose; its text is fit for the user."""


class NotFound(StorageError, LookupError):
    """The owner has no such thing; somebody else's is answered alike (404)."""

    def __init__(self, what: str, id: str) -> None:
        super().__init__(f"there is no {what} {id!r}")
        self.what, self.id = what, id


class StaleVersion(StorageError):
    """The version that a change was based on is not the current one (412). current: the version now."""

    def __init__(self, what: str, id: str, expected: int, current: int) -> None:
        super().__init__(f"{what} {id!r} is at version {current}, not {expected}; read it again")
        self.current = current


class Conflict(StorageError):
    """The state of things does not allow it (409)."""


class NoMigration(StorageError, ValueError):
    """A revision that the database is not brought to: one nobody knows, or one before its own."""


class BadCursor(StorageError, ValueError):
    """A cursor that this service did not make (400)."""


class TooLarge(StorageError):
    """More than is kept or sent at once (413)."""


class DamagedTape(StorageError):
    """The stored loans of a tape cannot be read, or are not those that were written (500; a run of it fails).

    what: damaged, or missing where there is no such object.
    """

    def __init__(self, what: Literal["damaged", "missing"] = "damaged") -> None:
        super().__init__(f"the stored loans of the tape are {what}; upload it again")
        self.what = what


class BadRequest(StorageError, ValueError):
    """A request that names what cannot be (422). path: the offending value."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path} {message}")
        self.path, self.message = path, message

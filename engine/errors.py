"""Errors of the engine: what is wrong, where, and what is allowed."""

import msgspec

MAX_PROBLEMS = 100


class Problem(msgspec.Struct, frozen=True):
    """One offending value: the path to it and a sentence on what is allowed."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path} {self.message}"


class EngineError(Exception):
    """Base of every error the engine raises on purpose."""


class InvalidInput(EngineError, ValueError):
    """Input that is refused; `problems` lists every fault found, up to a hundred."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems[:MAX_PROBLEMS]
        super().__init__("\n".join(str(problem) for problem in self.problems))


class TapeError(InvalidInput):
    """A tape that is refused."""


class AssumptionError(InvalidInput):
    """Assumptions, scenarios or conventions that are refused."""


class TapeFileError(EngineError, ValueError):
    """A tape file that cannot be read: missing column, unknown ending, unreadable cell."""

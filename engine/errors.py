"""Errors of the engine: what is wrong, where, and what is allowed."""

from collections.abc import Callable, Iterable
from typing import Any

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
    """A tape file that cannot be read: missing column, unknown ending, unreadable cell.

    problems: the faulty cells, up to a hundred, each with its place as `row 3, column 'UPB'`; none where the file as a
    whole is at fault.
    """

    def __init__(self, message: str, problems: list[Problem] | None = None) -> None:
        self.problems = (problems or [])[:MAX_PROBLEMS]
        super().__init__(message)


def gathered(*checks: Callable[[], Any]) -> list[Any]:
    """What each of the checks returns.

    Raises the error of the first that refuses its input, with the problems of all of them.
    """
    found, errors = [], []
    for check in checks:
        try:
            found.append(check())
        except InvalidInput as error:
            errors.append(error)
    if errors:
        raise type(errors[0])([problem for error in errors for problem in error.problems]) from errors[0]
    return found


def one_of(given: Any, choices: Iterable[Any]) -> str:
    """What is allowed, in words, with the choice that a misspelt text is nearest to: `one of a, b; did you mean a?`"""
    from difflib import get_close_matches  # what is accepted does not wait for it

    names = [str(choice) for choice in choices]
    near = get_close_matches(given[:80], names, n=1) if isinstance(given, str) else []
    allowed = f"one of {', '.join(names)}" if len(names) > 1 else "".join(names) or "none"
    return f"{allowed}; did you mean {near[0]}?" if near else allowed

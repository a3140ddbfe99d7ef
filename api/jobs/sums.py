"""Sums of cashflows over slices of a tape, added in the order of the slices, and their bytes."""

from collections.abc import Iterable
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

import engine

Array = NDArray[np.float64]


class Partial(msgspec.Struct, frozen=True, kw_only=True):
    """Sums as they are stored: float64 bytes by field, of (scenarios, periods), or (scenarios, groups, periods)."""

    scenarios: int
    periods: int
    opening_balance: float
    groups: list[str]
    columns: dict[str, bytes]


class Sums:
    """Adds cashflows of slices up; groups are matched by name, shorter ones are continued with zeros."""

    def __init__(self, level: Literal["pool", "group"]) -> None:
        self.by_group = level == "group"
        self.opening_balance = 0.0
        self.periods = 0
        self.groups: list[str] = []
        self.columns: dict[str, Array] = {}

    def add_cashflows(self, flows: engine.Cashflows) -> None:
        """Adds what the engine projected for a slice."""
        axes = 3 if self.by_group else 2
        columns = {n: c if c.ndim == axes else c[np.newaxis] for n, c in flows.columns.items()}
        self.add(flows.opening_balance, flows.periods, list(flows.groups), columns)

    def add_partial(self, blob: bytes) -> None:
        """Adds the stored sums of a shard."""
        part = msgspec.msgpack.decode(blob, type=Partial)
        middle = (len(part.groups),) if self.by_group else ()
        shape = (part.scenarios, *middle, part.periods)
        columns = {n: np.frombuffer(c, "<f8").reshape(shape) for n, c in part.columns.items()}
        self.add(part.opening_balance, part.periods, part.groups, columns)

    def add(self, opening_balance: float, periods: int, groups: list[str], columns: dict[str, Array]) -> None:
        self.opening_balance += opening_balance
        self.groups += [name for name in dict.fromkeys(groups) if name not in set(self.groups)]
        self.periods = max(self.periods, periods)
        at = [self.groups.index(name) for name in groups]
        for name, column in columns.items():
            middle = (len(self.groups),) if self.by_group else ()
            total = grown(self.columns.get(name), (column.shape[0], *middle, self.periods))
            if self.by_group:
                total[:, at, :periods] += column
            else:
                total[:, :periods] += column
            self.columns[name] = total

    def finished(self, periods: int) -> dict[str, Array]:
        """The columns over so many periods, groups in the engine's order: by name, loans without a group last."""
        if self.by_group:
            order = sorted(range(len(self.groups)), key=lambda i: (self.groups[i] == "", self.groups[i]))
            self.groups = [self.groups[i] for i in order]
            self.columns = {name: column[:, order] for name, column in self.columns.items()}
        return {name: grown(column, (*column.shape[:-1], periods)) for name, column in self.columns.items()}

    def encoded(self) -> bytes:
        """The bytes that add_partial takes."""
        columns = {n: np.ascontiguousarray(c, "<f8").tobytes() for n, c in self.columns.items()}
        scenarios = len(next(iter(self.columns.values())))
        return msgspec.msgpack.encode(
            Partial(
                scenarios=scenarios, periods=self.periods, opening_balance=self.opening_balance,
                groups=self.groups, columns=columns,
            )
        )  # fmt: skip


def grown(array: Array | None, shape: Iterable[int]) -> Array:
    """The array in the corner of zeros of a larger shape; itself where it has that shape."""
    shape = tuple(shape)
    if array is not None and array.shape == shape:
        return array
    out = np.zeros(shape)
    if array is not None:
        out[tuple(slice(size) for size in array.shape)] = array
    return out

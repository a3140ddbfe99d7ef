"""The result of a projection: named float64 columns."""

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.fields import FIELD_INDEX


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """How many loans were projected, and how many of them had their months gone over one by one.

    stepped: those whose contract is walked month by month, once for each set of index values: rates that reset on a
    path, dates, schedules, assets. The balances of the others follow backward from their last payment. repeated: those
    that every scenario goes over again: all of them at loan level, else those whose losses depend on the loan (where
    principal is advanced, once for each severity and lag of the scenarios, so not again if these are the same). The
    contract of any other loan is summed once, whatever the scenarios.
    """

    loans: int
    stepped: int
    repeated: int

    def plus(self, other: "Work") -> "Work":
        return Work(
            loans=self.loans + other.loans, stepped=self.stepped + other.stepped,
            repeated=self.repeated + other.repeated,
        )  # fmt: skip


class Cashflows(msgspec.Struct, frozen=True, kw_only=True):
    """Columns of a projection; `cashflows["interest"]` and `cashflows.interest` are the same array.

    Shape (periods,) for one scenario at pool level, with a leading axis for groups or loans, and before that one for
    scenarios where there are several. groups: names along the group axis, "" for loans without one. work: how many
    loans were stepped; none for cashflows that were stored.
    """

    columns: dict[str, NDArray[np.float64]]
    level: Literal["pool", "group", "loan"]
    scenario_names: tuple[str, ...]
    groups: tuple[str, ...]
    loan_ids: list[str] | None
    opening_balance: float
    periods: int
    work: Work | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the columns, in the order asked for."""
        return tuple(self.columns)

    @property
    def period(self) -> NDArray[np.int64]:
        """Period numbers 1 .. periods."""
        return np.arange(1, self.periods + 1)

    @property
    def several(self) -> bool:
        """Whether the columns have a leading scenario axis."""
        return len(self.scenario_names) > 1

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        try:
            return self.columns[name]
        except KeyError:
            computed = ", ".join(self.columns)
            raise KeyError(f"{name!r} was not selected; this projection has {computed}") from None

    def __getattr__(self, name: str) -> NDArray[np.float64]:
        if name in FIELD_INDEX:
            try:
                return self[name]
            except KeyError as error:
                raise AttributeError(error.args[0]) from None
        raise AttributeError(f"Cashflows has no {name!r}")

    def scenario(self, index: int) -> "Cashflows":
        """The cashflows of one scenario."""
        columns = {name: column[index] for name, column in self.columns.items()} if self.several else self.columns
        names = self.scenario_names[index : index + 1]
        return msgspec.structs.replace(self, columns=columns, scenario_names=names)

    def plus(self, other: "Cashflows") -> "Cashflows":
        """Pool cashflows of two parts of a tape added up; the shorter is continued with zeros."""
        periods = max(self.periods, other.periods)
        columns = {
            name: lengthened(column, periods) + lengthened(other.columns[name], periods)
            for name, column in self.columns.items()
        }
        opening = self.opening_balance + other.opening_balance
        work = None if self.work is None or other.work is None else self.work.plus(other.work)
        return msgspec.structs.replace(self, columns=columns, periods=periods, opening_balance=opening, work=work)


def lengthened(column: NDArray[np.float64], periods: int) -> NDArray[np.float64]:
    missing = periods - column.shape[-1]
    return np.concatenate([column, np.zeros((*column.shape[:-1], missing))], axis=-1) if missing else column

"""A request resolved: the fields to compute, the behaviour, and what else the chunks of a tape share."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.behaviour import Behaviour
from engine.curtailments import Curtailments
from engine.errors import AssumptionError, Problem, one_of
from engine.fields import DEFAULT_FIELDS, FIELD_INDEX, FIELD_NAMES
from engine.penalty_tables import PenaltyTables
from engine.rates import RateTables
from engine.walks import Walks

# What each field is made of, beside itself; the core computes these rows too.
MADE_OF: dict[str, tuple[str, ...]] = {
    "net_interest": ("interest", "servicing_fee"),
    "loss": ("liquidation",),
    "recovery": ("loss", "liquidation"),
    "mortgage_insurance": ("loss", "liquidation"),
    "recouped_advances": ("loss", "liquidation"),
    "principal": ("scheduled_principal", "prepayment", "recovery", "loss", "liquidation"),
    "cashflow": (
        "principal", "scheduled_principal", "prepayment", "recovery", "loss", "liquidation",
        "net_interest", "interest", "servicing_fee", "other_income", "draw", "prepayment_penalty",
    ),
}  # fmt: skip


class Selection(msgspec.Struct, frozen=True):
    """The fields asked for, and the core's view of them: int32 flags of what to compute and where each goes."""

    names: tuple[str, ...]
    needed: NDArray[np.int32]
    slot: NDArray[np.int32]


def select(fields: Iterable[str] | None) -> Selection:
    """The selection of `fields`, each once, in the order given. Raises AssumptionError for names that are no field."""
    return selection_of(tuple(dict.fromkeys(DEFAULT_FIELDS if fields is None else fields)))


@lru_cache(maxsize=256)
def selection_of(names: tuple[str, ...]) -> Selection:
    """The selection of distinct names, whose arrays are for reading only. Raises AssumptionError as `select`."""
    problems = [
        Problem(f"fields[{i}]", f"is {name!r}; expected {one_of(name, FIELD_NAMES)}")
        for i, name in enumerate(names)
        if name not in FIELD_INDEX
    ]
    if not names:
        problems = [Problem("fields", f"is empty; expected one or more of {', '.join(FIELD_NAMES)}")]
    if problems:
        raise AssumptionError(problems)
    needed = np.zeros(len(FIELD_NAMES), dtype=np.int32)
    slot = np.full(len(FIELD_NAMES), -1, dtype=np.int32)
    for i, name in enumerate(names):
        slot[FIELD_INDEX[name]] = i
        for part in (name, *MADE_OF.get(name, ())):
            needed[FIELD_INDEX[part]] = 1
    needed.flags.writeable = slot.flags.writeable = False
    return Selection(names, needed, slot)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A request resolved: what the chunks of a tape share. penalties: none where no field needs them."""

    selection: Selection
    behaviour: Behaviour
    level: Literal["pool", "group", "loan"]
    months: int
    periods: int
    groups: tuple[str, ...]
    rows: int
    walks: Walks | None = None
    rates: RateTables | None = None
    penalties: PenaltyTables | None = None
    curtailments: Curtailments | None = None

    def taken(self, index: NDArray[np.int64]) -> "Plan":
        """The plan of the loans at the index, in its order."""
        return msgspec.structs.replace(
            self, behaviour=self.behaviour.taken(index), walks=None if self.walks is None else self.walks.taken(index),
            penalties=None if self.penalties is None else self.penalties.taken(index),
            curtailments=None if self.curtailments is None else self.curtailments.taken(index),
        )  # fmt: skip

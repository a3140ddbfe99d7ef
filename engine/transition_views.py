"""What a transition model answers with: columns of the pool, balances by state, roll rates and vintages."""

from typing import Annotated, Any

import msgspec
import numpy as np

from engine.transitions import Transitions, roll_rates

# A float64 array, which is written as a list.
Vector = Annotated[
    Any,
    msgspec.Meta(
        extra_json_schema={"type": "array", "items": {"type": "number"}},
        extra={"graphql": ("FloatVector", "Numbers, one a period; at loan level one such list a loan.")},
    ),
]
FLOWS = (
    "interest", "scheduled_principal", "prepayment", "default", "recovery", "loss", "missed_interest", "servicing_fee",
)  # fmt: skip


class TransitionColumns(msgspec.Struct, frozen=True, kw_only=True):
    """Cash of all loans, one number a month from month 1, currency units.

    period: Months from the cut-off. interest: Paid, that caught up too. scheduled_principal: By schedule, and caught
    up. prepayment: The rest of loans that prepay. default: Balance of loans that default. recovery, loss: Of it, after
    the recovery lag. missed_interest: What loans in default owed. servicing_fee: On what open loans owe at the month's
    start.
    """

    period: Vector
    interest: Vector
    scheduled_principal: Vector
    prepayment: Vector
    default: Vector
    recovery: Vector
    loss: Vector
    missed_interest: Vector
    servicing_fee: Vector


class StateBalance(msgspec.Struct, frozen=True, kw_only=True):
    """What the loans of one state owe.

    state: Its name. balance: From the cut-off, month 0; of a state that is not open, all that went to it.
    """

    state: str
    balance: Vector


class RollRate(msgspec.Struct, frozen=True, kw_only=True):
    """The moves from one open state to one other.

    from_state, to_state: Their names. balance: At the start of months 1, 2, .., of the loans that moved. rate: Its
    share of what the state owed, 0 where it owed nothing.
    """

    from_state: str
    to_state: str
    balance: Vector
    rate: Vector


class Vintage(msgspec.Struct, frozen=True, kw_only=True):
    """The loans of one age at the cut-off.

    age: Months at the cut-off; number k of the lists is at age + k. original_balance: Currency units. open_balance:
    Owed in open states, from the cut-off. cumulative_default, cumulative_loss: Since the cut-off, as shares of
    original_balance.
    """

    age: int
    original_balance: float
    open_balance: Vector
    cumulative_default: Vector
    cumulative_loss: Vector


class TransitionViews(msgspec.Struct, frozen=True, kw_only=True):
    """The views of an outcome, by month.

    opening_balance: At the cut-off. columns: Of all loans. states: Each in the model's order. roll_rates: Of the moves
    that happen, by state and state. vintages: By age at the cut-off.
    """

    opening_balance: float
    columns: TransitionColumns
    states: list[StateBalance]
    roll_rates: list[RollRate]
    vintages: list[Vintage]


def views_of(outcome: Transitions) -> TransitionViews:
    """The views of an outcome."""
    months = outcome.interest.shape[1]
    columns = {name: getattr(outcome, name).sum(axis=0) for name in FLOWS}
    balances = outcome.balance.sum(axis=0)
    moved, rates = outcome.flows.sum(axis=0), roll_rates(outcome)
    return TransitionViews(
        opening_balance=float(balances[:, 0].sum()),
        columns=TransitionColumns(period=np.arange(1, months + 1), **columns),
        states=[
            StateBalance(state=name, balance=balance) for name, balance in zip(outcome.states, balances, strict=True)
        ],
        roll_rates=[
            RollRate(
                from_state=outcome.states[i], to_state=outcome.states[j],
                balance=np.ascontiguousarray(moved[:, i, j]), rate=np.ascontiguousarray(rates[:, i, j]),
            )
            for i, j in np.argwhere(moved.any(axis=0)).tolist()
        ],
        vintages=[vintage_of(outcome, i) for i in range(len(outcome.ages))],
    )  # fmt: skip


def vintage_of(outcome: Transitions, i: int) -> Vintage:
    """Vintage number i of an outcome."""
    original = float(outcome.original_balance[i])

    def share(flow: Any) -> Any:
        total = np.concatenate([np.zeros(1), np.cumsum(flow)])
        return total / original if original > 0 else np.zeros_like(total)

    return Vintage(
        age=int(outcome.ages[i]),
        original_balance=original,
        open_balance=outcome.balance[i, outcome.is_open].sum(axis=0),
        cumulative_default=share(outcome.default[i]),
        cumulative_loss=share(outcome.loss[i]),
    )

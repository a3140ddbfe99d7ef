"""Losses and what absorbs them: cumulative loss, excess spread, overcollateralisation."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from engine.analytics.figures import Figure, Series
from engine.analytics.roots import Floats, floats, plain
from engine.errors import InvalidInput, Problem


class CumulativeLoss(msgspec.Struct, frozen=True, kw_only=True):
    """Losses added up from the cut-off, (..., periods).

    gross: defaulted balance. net: principal lost, after recoveries. gross_share, net_share: as shares of the opening
    balance, decimals.
    """

    gross: Series
    net: Series
    gross_share: Series
    net_share: Series


def cumulative_loss(default: ArrayLike, loss: ArrayLike, opening_balance: ArrayLike) -> CumulativeLoss:
    """The losses of each vector added up by period, gross and net of recoveries, in currency and as shares.

    default, loss: (..., periods). opening_balance: (...,), above 0.
    """
    gross, net = (np.cumsum(floats(name, values), axis=-1) for name, values in (("default", default), ("loss", loss)))
    opening = positive("opening_balance", opening_balance)[..., np.newaxis]
    return CumulativeLoss(gross=gross, net=net, gross_share=gross / opening, net_share=net / opening)


class ExcessSpread(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of the interest after the coupon and the losses.

    amount: of each period, negative where it does not suffice. annual_rate: 12 x amount over the period's opening
    balance, 0 where there is none. total: of all periods. lifetime_rate: 12 x total over the sum of opening balances.
    """

    amount: Series
    annual_rate: Series
    total: Figure
    lifetime_rate: Figure


def excess_spread(
    net_interest: ArrayLike, loss: ArrayLike, balance: ArrayLike, opening_balance: ArrayLike, coupon: ArrayLike = 0.0
) -> ExcessSpread:
    """Net interest less coupon and losses, by month and over the life.

    net_interest, loss, balance: (..., periods), monthly; balance at the end of each. opening_balance: (...,). coupon:
    annual rate, paid on the opening balance of each month: one, or one for each vector.
    """
    income, lost, held = floats("net_interest", net_interest), floats("loss", loss), floats("balance", balance)
    opening = positive("opening_balance", opening_balance)
    start = np.broadcast_to(opening[..., np.newaxis], (*held.shape[:-1], 1))
    before = np.concatenate([start, held[..., :-1]], axis=-1)
    amount = income - lost - before * floats("coupon", coupon)[..., np.newaxis] / 12
    rate = np.where(before > 0, 12 * amount / np.where(before > 0, before, 1.0), 0.0)
    total = amount.sum(axis=-1)
    return ExcessSpread(
        amount=amount, annual_rate=rate, total=plain(total), lifetime_rate=plain(12 * total / before.sum(axis=-1))
    )


def investor_loss(
    net_interest: ArrayLike,
    loss: ArrayLike,
    balance: ArrayLike,
    opening_balance: ArrayLike,
    support: float,
    coupon: float | None = None,
) -> Any:
    """Share of the opening balance that losses reach beyond their support, (...,); negative for what is left of it.

    support: share of the opening balance that bears losses before the investors. coupon: where given, losses of a month
    are first met from its excess spread, and what that does not meet uses up the support.
    """
    opening = positive("opening_balance", opening_balance)
    if coupon is None:
        lost = floats("loss", loss).sum(axis=-1)
    else:
        spread = excess_spread(net_interest, loss, balance, opening_balance, coupon).amount
        lost = np.maximum(-spread, 0.0).sum(axis=-1)
    return plain(lost / opening - support)


def overcollateralization(performing: ArrayLike, recoveries: ArrayLike, debt: ArrayLike) -> Any:
    """Performing balance and the value of defaulted ones over the debt: the ratio that a coverage test compares."""
    return plain((floats("performing", performing) + floats("recoveries", recoveries)) / positive("debt", debt))


def positive(name: str, values: ArrayLike) -> Floats:
    array = floats(name, values)
    if np.any(array <= 0):
        raise InvalidInput([Problem(name, f"is {array.min():g}; expected more than 0")])
    return array

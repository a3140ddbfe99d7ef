"""Expected credit losses for accounting: provision matrices, IFRS 9 stages, CECL and WARM.

Plain functions on float64 arrays. Rates, PDs and LGDs are decimals, balances and losses currency units. Buckets
and periods are the last axis; leading axes (loans, segments, scenarios) broadcast. Period k, counted from 1, ends
k / periods_per_year years after the reporting date.
Sources: IFRS 9 Financial Instruments, section 5.5 and appendix B5.5; ASC 326-20; FASB Staff Q&A, Topic 326, No. 1.
"""

from typing import NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import InvalidInput, Problem

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

STAGES = (1, 2, 3)
MONTHS_A_YEAR = 12
# Rebuttable presumptions of IFRS 9: more than 30 days past due is stage 2 (5.5.11), 90 is default (B5.5.37).
STAGE_2_DAYS, STAGE_3_DAYS = 30, 90
ROUNDING = 1e-9


# Provision matrix


def roll_rates(balances: ArrayLike) -> Floats:
    """Shares of each bucket that roll into the next: average over the months of an ageing history.

    balances: (months, buckets), at least two months and two buckets, at month ends, youngest bucket first; each
    bucket is as long as the months are apart. Returns (buckets - 1,): sum of bucket b + 1 from the second month on
    over sum of bucket b up to the last but one. Raises InvalidInput where a bucket never held a balance.
    """
    held = _within("balances", balances, 0, np.inf, "balances of zero or more")
    if held.ndim != 2 or min(held.shape) < 2:
        _refuse("balances", f"has shape {held.shape}; expected at least two months by two buckets")
    return _ratios("balances", held[1:, 1:].sum(axis=0), held[:-1, :-1].sum(axis=0))


def cohort_roll_rates(reached: ArrayLike) -> Floats:
    """Shares of each bucket that roll into the next: one cohort followed until it is written off.

    reached: (..., buckets), the amount of the cohort that reached each bucket, the last never paid.
    Returns (..., buckets - 1): amount that reached bucket b + 1 over amount that reached bucket b.
    """
    amounts = _within("reached", reached, 0, np.inf, "amounts of zero or more")
    if amounts.ndim == 0 or amounts.shape[-1] < 2:
        _refuse("reached", f"has shape {amounts.shape}; expected at least two buckets")
    return _ratios("reached", amounts[..., 1:], amounts[..., :-1])


def loss_rates(rolls: ArrayLike, final_loss_rate: ArrayLike = 1.0) -> Floats:
    """Loss rate of each bucket: the product of the roll rates from it on, times the loss rate of the last bucket.

    rolls: (..., buckets - 1); final_loss_rate: (...,), what is lost of the last bucket. Returns (..., buckets).
    Source: IFRS 9 B5.5.35, illustrative example 12.
    """
    rates = _periods("rolls", _within("rolls", rolls, 0, np.inf, "roll rates of zero or more"))
    to_last = np.flip(np.cumprod(np.flip(rates, axis=-1), axis=-1), axis=-1)
    with_last = np.concatenate([to_last, np.ones((*rates.shape[:-1], 1))], axis=-1)
    return _product("final_loss_rate", with_last, _unit("final_loss_rate", final_loss_rate)[..., np.newaxis])


def provision_matrix(ageing: ArrayLike, rates: ArrayLike, forward_looking: ArrayLike = 1.0) -> Floats:
    """Expected credit loss of each bucket: balance x loss rate x forward-looking factor, at most the balance.

    ageing, rates, forward_looking: (..., buckets), broadcast together. Returns their shape. Source: IFRS 9 B5.5.35.
    """
    balances = _within("ageing", ageing, 0, np.inf, "balances of zero or more")
    factors = _within("forward_looking", forward_looking, 0, np.inf, "factors of zero or more, 1 for none")
    stated = _within("rates", rates, 0, np.inf, "loss rates of zero or more")
    return _product("ageing", balances, np.minimum(_product("forward_looking", stated, factors), 1.0))


# Term structures


def marginal_pd(hazard: ArrayLike) -> Floats:
    """Probability, seen from now, of default in each period: hazard k x product over j < k of (1 - hazard j).

    hazard: (..., periods), probability of default in the period given survival to its start (an MDR). Same shape.
    """
    conditional = _periods("hazard", _unit("hazard", hazard))
    return np.asarray(conditional * _survival_before(conditional))


def marginal_from_cumulative(cumulative: ArrayLike) -> Floats:
    """Probability of default in each period, from that of default by its end: differences along the last axis.

    cumulative: (..., periods), rising, in [0, 1]. Returns the same shape.
    """
    by_end = _periods("cumulative", _unit("cumulative", cumulative))
    steps = np.diff(by_end, axis=-1, prepend=0.0)
    if np.any(steps < 0):
        _refuse("cumulative", "falls from one period to the next; expected rising probabilities")
    return np.asarray(steps)


def discount_factors(effective_rate: ArrayLike, periods: int, periods_per_year: int = MONTHS_A_YEAR) -> Floats:
    """Discount factors (1 + effective_rate)^(-k / periods_per_year) at the ends of the periods.

    effective_rate: (...,), effective annual rate at origination, above -1. Returns (..., periods).
    Source: IFRS 9 5.5.17(b), B5.5.44.
    """
    rate = _within("effective_rate", effective_rate, -1, np.inf, "an annual rate above -1")
    if np.any(rate == -1):
        _refuse("effective_rate", "is -1; expected an annual rate above -1")
    if periods < 0 or periods_per_year < 1:
        _refuse("periods", f"is {periods}, {periods_per_year} a year; expected 0 or more, at least 1 a year")
    years = np.arange(1, periods + 1) / periods_per_year
    return np.asarray((1 + rate[..., np.newaxis]) ** -years)


# IFRS 9


def lifetime_ecl(
    pd: ArrayLike,
    lgd: ArrayLike,
    ead: ArrayLike,
    effective_rate: ArrayLike,
    periods_per_year: int = MONTHS_A_YEAR,
) -> Floats:
    """Lifetime expected credit loss: sum over periods of marginal PD x LGD x EAD x discount factor.

    pd: (..., periods), marginal (see marginal_pd). lgd: share of the exposure lost, in [0, 1], discounted to the
    default. ead: exposure at default in the period. lgd and ead are (..., periods) or broadcast to it.
    effective_rate: (...,), see discount_factors. Returns (...,). Source: IFRS 9 5.5.3, B5.5.28.
    """
    losses = _period_losses(pd, lgd, ead)
    factors = discount_factors(effective_rate, losses.shape[-1], periods_per_year)
    return np.asarray(_product("effective_rate", losses, factors).sum(axis=-1))


def twelve_month_ecl(
    pd: ArrayLike,
    lgd: ArrayLike,
    ead: ArrayLike,
    effective_rate: ArrayLike,
    periods_per_year: int = MONTHS_A_YEAR,
) -> Floats:
    """Twelve-month expected credit loss: the part of lifetime_ecl from defaults in the first year, whole losses.

    Arguments and answer as in lifetime_ecl. Source: IFRS 9 5.5.5, B5.5.43.
    """
    losses = _period_losses(pd, lgd, ead)[..., :periods_per_year]
    factors = discount_factors(effective_rate, losses.shape[-1], periods_per_year)
    return np.asarray(_product("effective_rate", losses, factors).sum(axis=-1))


def assign_stage(
    days_past_due: ArrayLike,
    lifetime_pd: ArrayLike | None = None,
    origination_pd: ArrayLike | None = None,
    pd_ratio: float = 2.0,
) -> Integers:
    """IFRS 9 stage of each exposure: 3 from 90 days past due, 2 above 30 days or above the PD ratio, else 1.

    days_past_due: (...,). lifetime_pd, origination_pd: (...,), lifetime PD now and as it was then expected to be
    now; stage 2 where lifetime_pd > pd_ratio x origination_pd. Returns int64 (...,).
    Source: IFRS 9 5.5.9, 5.5.11 and B5.5.37; the ratio is the lender's own measure of a significant increase.
    """
    late = _within("days_past_due", days_past_due, 0, np.inf, "days of zero or more")
    if (lifetime_pd is None) != (origination_pd is None):
        _refuse("lifetime_pd", "and origination_pd are not both given; expected both or neither")
    riskier: NDArray[np.bool_] | np.bool_ = np.False_
    if lifetime_pd is not None and origination_pd is not None:
        _within("pd_ratio", pd_ratio, 1, np.inf, "a ratio of 1 or more")
        riskier = _unit("lifetime_pd", lifetime_pd) > pd_ratio * _unit("origination_pd", origination_pd)
    stage = np.where(late >= STAGE_3_DAYS, 3, np.where((late > STAGE_2_DAYS) | riskier, 2, 1))
    return stage.astype(np.int64)


def staged_ecl(
    stage: ArrayLike,
    pd: ArrayLike,
    lgd: ArrayLike,
    ead: ArrayLike,
    effective_rate: ArrayLike,
    periods_per_year: int = MONTHS_A_YEAR,
) -> Floats:
    """Loss allowance by stage: 1 the twelve-month ECL, 2 the lifetime ECL, 3 LGD x EAD of the first period.

    stage: (...,) of 1, 2 and 3. Stage 3 has defaulted: its PD is one, now, so nothing is discounted and later
    periods do not count. Other arguments as in lifetime_ecl. Returns (...,). Source: IFRS 9 5.5.3, 5.5.5, B5.5.33.
    """
    stages = np.asarray(stage)
    if not np.all(np.isin(stages, STAGES)):
        _refuse("stage", "has a value other than 1, 2 and 3")
    first_year = twelve_month_ecl(pd, lgd, ead, effective_rate, periods_per_year)
    lifetime = lifetime_ecl(pd, lgd, ead, effective_rate, periods_per_year)
    impaired = _period_losses(np.ones((1,)), _first(lgd), _first(ead))[..., 0]
    return np.asarray(np.where(stages == 3, impaired, np.where(stages == 2, lifetime, first_year)))


def scenario_weighted(amounts: ArrayLike, weights: ArrayLike) -> Floats:
    """Probability-weighted amount over scenarios: sum of weight x amount along the first axis.

    amounts: (scenarios, ...); weights: (scenarios,), adding up to one. Returns (...,). Source: IFRS 9 5.5.17(a).
    """
    values, shares = _finite("amounts", amounts), _unit("weights", weights)
    if values.ndim == 0 or shares.shape != values.shape[:1]:
        _refuse("weights", f"has shape {shares.shape}; expected one weight for each scenario of {values.shape}")
    if abs(shares.sum() - 1) > ROUNDING:
        _refuse("weights", f"add up to {shares.sum():g}; expected 1")
    return np.asarray(np.tensordot(shares, values, axes=1))


# CECL


def cecl_lifetime_loss(pd: ArrayLike, lgd: ArrayLike, ead: ArrayLike) -> Floats:
    """Lifetime expected loss without discounting: sum over periods of marginal PD x LGD x EAD.

    Arguments as in lifetime_ecl, over the contractual term less expected prepayments. Returns (...,).
    Source: ASC 326-20-30-3, 30-5 and 30-6 (other methods than discounted cashflow measure the loss of amortised cost).
    """
    return np.asarray(_period_losses(pd, lgd, ead).sum(axis=-1))


def cecl_cashflow_loss(
    amortized_cost: ArrayLike,
    expected_cashflows: ArrayLike,
    effective_rate: ArrayLike,
    periods_per_year: int = MONTHS_A_YEAR,
) -> Floats:
    """Allowance by discounted cashflow: amortised cost less the present value of the cash expected.

    amortized_cost: (...,). expected_cashflows: (..., periods), at the ends of the periods, after losses.
    effective_rate: (...,). Returns (...,), negative where the cash is worth more. Source: ASC 326-20-30-4.
    """
    flows = _periods("expected_cashflows", _finite("expected_cashflows", expected_cashflows))
    factors = discount_factors(effective_rate, flows.shape[-1], periods_per_year)
    return np.asarray(
        _finite("amortized_cost", amortized_cost) - _product("effective_rate", flows, factors).sum(axis=-1)
    )


def weighted_average_remaining_maturity(balances: ArrayLike, periods_per_year: int = 1) -> Floats:
    """Weighted-average remaining maturity in years: the sum of the balances over the first, over periods a year.

    balances: (..., periods), at the reporting date and then at each period's end until paid, without new lending:
    each is outstanding for the period after it. Returns (...,).
    """
    held = _within("balances", balances, 0, np.inf, "balances of zero or more")
    if held.ndim == 0 or held.shape[-1] == 0:
        _refuse("balances", f"has shape {held.shape}; expected at least the balance at the reporting date")
    return _ratios("balances", held.sum(axis=-1), held[..., 0] * periods_per_year)


def warm_allowance(
    balances: ArrayLike, annual_loss_rate: ArrayLike, adjustment: ArrayLike = 0.0, periods_per_year: int = 1
) -> Floats:
    """Allowance by the WARM method: first balance x (annual loss rate x WARM + adjustment).

    balances: as in weighted_average_remaining_maturity. annual_loss_rate: (...,), average net charge-offs over
    average balance a year. adjustment: (...,), share of the first balance added for conditions and forecasts, may
    be negative. Returns (...,) in [0, first balance]. Source: FASB Staff Q&A, Topic 326, No. 1 (January 2019).
    """
    rate = _unit("annual_loss_rate", annual_loss_rate)
    years = weighted_average_remaining_maturity(balances, periods_per_year)
    lost = np.clip(rate * years + _finite("adjustment", adjustment), 0.0, 1.0)
    return np.asarray(np.asarray(balances, dtype=np.float64)[..., 0] * lost)


# Checks


def _period_losses(pd: ArrayLike, lgd: ArrayLike, ead: ArrayLike) -> Floats:
    """Undiscounted expected loss of each period, (..., periods), from checked inputs."""
    probabilities = _periods("pd", _unit("pd", pd))
    if np.any(probabilities.sum(axis=-1) > 1 + ROUNDING):
        _refuse("pd", "adds up to more than 1; expected marginal probabilities (cumulative ones are to be differenced)")
    exposure = _within("ead", ead, 0, np.inf, "exposures of zero or more")
    return _product("ead", _product("lgd", probabilities, _unit("lgd", lgd)), exposure)


def _product(path: str, left: Floats, right: Floats) -> Floats:
    """The product, broadcast. Raises InvalidInput, for the argument at path, where the shapes do not fit."""
    try:
        return np.asarray(left * right)
    except ValueError:
        _refuse(
            path, f"does not broadcast: {left.shape} with {right.shape}; expected the same leading axes and periods"
        )


def _periods(path: str, values: Floats) -> Floats:
    if values.ndim == 0:
        _refuse(path, "is a single number; expected one a period or bucket")
    return values


def _survival_before(hazard: Floats) -> Floats:
    ones = np.ones((*hazard.shape[:-1], 1))
    return np.cumprod(np.concatenate([ones, 1 - hazard[..., :-1]], axis=-1), axis=-1)


def _first(values: ArrayLike) -> Floats:
    """The first period of a term structure, its axis kept; a single number stays one."""
    array = np.asarray(values, dtype=np.float64)
    return array[..., :1] if array.ndim else array


def _ratios(path: str, above: Floats, below: Floats) -> Floats:
    if np.any(below == 0):
        _refuse(path, "has a zero to divide by; expected balances above zero")
    return np.asarray(above / below)


def _finite(path: str, values: ArrayLike) -> Floats:
    return _within(path, values, -np.inf, np.inf, "finite numbers")


def _unit(path: str, values: ArrayLike) -> Floats:
    return _within(path, values, 0, 1, "decimals in [0, 1]")


def _within(path: str, values: ArrayLike, low: float, high: float, allowed: str) -> Floats:
    """The values as float64. Raises InvalidInput with the first that is not finite or not in [low, high]."""
    array = np.asarray(values, dtype=np.float64)
    bad = ~(np.isfinite(array) & (array >= low) & (array <= high))
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        place = f"[{', '.join(map(str, first))}]" if first else ""
        _refuse(f"{path}{place}", f"is {array[first]:g}; expected {allowed}")
    return array


def _refuse(path: str, message: str) -> NoReturn:
    raise InvalidInput([Problem(path, message)])

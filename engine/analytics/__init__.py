"""Analytics: plain functions on arrays of cashflows. Rates and yields are decimals, times are years.

Arrays of cashflows are float64 with the periods last; leading axes are so many vectors, each with its own answer.
Prices are in the currency of the flows, accrued interest too; yields are bond-equivalent (compounded twice a year)
unless `compounding` says otherwise. Roots are bracketed: where there is none, or more than one, NoSolution says so.
docs/analytics.md has the formula and the source of each.
"""

from engine.analytics.discount_curve import DiscountCurve
from engine.analytics.losses import (
    CumulativeLoss,
    ExcessSpread,
    cumulative_loss,
    excess_spread,
    investor_loss,
    overcollateralization,
)
from engine.analytics.reprojection import (
    BreakevenTarget,
    EffectiveRisk,
    ExcessSpreadTarget,
    InvestorLossTarget,
    PriceTarget,
    YieldTarget,
    breakeven_cdr,
    reprojected_risk,
)
from engine.analytics.returns import irr, npv, xirr, xnpv, years_between
from engine.analytics.risk import (
    KEY_RATES,
    convexity,
    dv01,
    effective_convexity,
    effective_duration,
    effective_risk,
    key_rate_durations,
    key_rate_durations_of,
    macaulay_duration,
    modified_duration,
    tents,
    wal,
)
from engine.analytics.roots import NoSolution, find_root
from engine.analytics.speeds import (
    ImpliedSpeed,
    amortized_factor,
    calculated_loan_age,
    implied_abs,
    implied_abs_between,
    implied_cpr,
    implied_psa,
    implied_psa_between,
    implied_smm,
    implied_speed,
    level_payment,
    scheduled_factor,
    smm_from_cpr,
)
from engine.analytics.spreads import discount_margin, price_at_margin, price_at_spread, z_spread
from engine.analytics.timing import (
    accrued_interest,
    actual_delay_days,
    dated_times,
    payment_times,
    stated_delay_days,
)
from engine.analytics.yields import (
    COMPOUNDINGS,
    Compounding,
    bond_equivalent_yield,
    convert_yield,
    mortgage_yield,
    present_values,
    price,
    yield_to_maturity,
)

__all__ = [
    "COMPOUNDINGS", "KEY_RATES", "BreakevenTarget", "Compounding", "CumulativeLoss", "DiscountCurve", "EffectiveRisk",
    "ExcessSpread", "ExcessSpreadTarget", "ImpliedSpeed", "InvestorLossTarget", "NoSolution", "PriceTarget",
    "YieldTarget", "accrued_interest", "actual_delay_days", "amortized_factor", "bond_equivalent_yield",
    "breakeven_cdr", "calculated_loan_age", "convert_yield", "convexity", "cumulative_loss", "dated_times",
    "discount_margin", "dv01", "effective_convexity", "effective_duration", "effective_risk", "excess_spread",
    "find_root", "implied_abs", "implied_abs_between", "implied_cpr", "implied_psa", "implied_psa_between",
    "implied_smm", "implied_speed", "investor_loss", "irr", "key_rate_durations", "key_rate_durations_of",
    "level_payment", "macaulay_duration", "modified_duration", "mortgage_yield", "npv", "overcollateralization",
    "payment_times", "present_values", "price", "price_at_margin", "price_at_spread", "reprojected_risk",
    "scheduled_factor", "smm_from_cpr", "stated_delay_days", "tents", "wal", "xirr", "xnpv", "years_between",
    "yield_to_maturity", "z_spread",
]  # fmt: skip

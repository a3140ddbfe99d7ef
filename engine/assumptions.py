"""Assumptions, scenarios and conventions: Structs that are the wire format too."""

from typing import Literal

import msgspec

from engine.curves import (
    DEFAULT_UNITS,
    PREPAYMENT_UNITS,
    UNIT_RANGE,
    DefaultCurve,
    PrepaymentCurve,
    Vector,
    out_of_range,
)
from engine.errors import Problem
from engine.rates import RatePath

MAX_LAG = 360


class Assumptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the borrowers and the servicer are assumed to do.

    severity: share of the defaulted balance that is lost, a decimal. recovery_lag: months from default to
    liquidation. groups: assumptions for the loans whose `group` is the key, in place of these; a key that no loan has
    is no error, since one batch of a tape may lack a group that another has. rates: the path of each index that
    floating loans name; a scenario takes those it does not state from the request's assumptions.
    """

    prepayment: PrepaymentCurve | None = None
    default: DefaultCurve | None = None
    severity: float = 0.0
    recovery_lag: int = 0
    advancing: Literal["none", "interest", "principal_and_interest"] = "none"
    groups: dict[str, "Assumptions"] | None = None
    rates: dict[str, RatePath] | None = None

    def problems(self, path: str) -> list[Problem]:
        """Every value out of range, with its path below `path`."""
        found = out_of_range(f"{path}.severity", self.severity, 0, 1, UNIT_RANGE)
        if not 0 <= self.recovery_lag <= MAX_LAG:
            message = f"is {self.recovery_lag}; expected whole months in [0, {MAX_LAG}]"
            found.append(Problem(f"{path}.recovery_lag", message))
        for name, curve, units in (
            ("prepayment", self.prepayment, PREPAYMENT_UNITS),
            ("default", self.default, DEFAULT_UNITS),
        ):
            if curve is None:
                continue
            found += curve.problems(f"{path}.{name}")
            if isinstance(curve, Vector) and curve.unit not in units:
                allowed = ", ".join(units)
                found.append(Problem(f"{path}.{name}.unit", f"is '{curve.unit}'; expected one of {allowed}"))
        for index, rates in (self.rates or {}).items():
            found += rates.problems(f"{path}.rates[{index!r}]")
        for group, assumptions in (self.groups or {}).items():
            found += assumptions.problems(f"{path}.groups[{group!r}]")
            if assumptions.groups:
                message = "nests groups in a group; expected assumptions without groups"
                found.append(Problem(f"{path}.groups[{group!r}].groups", message))
            if assumptions.rates:
                message = "states rates for one group; expected them beside `groups`, since an index is the market's"
                found.append(Problem(f"{path}.groups[{group!r}].rates", message))
        return found


class Conventions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Choices of the market; the defaults are the preset `sifma`.

    prepayment_base: gross prepays SMM of the opening balance less scheduled principal, net_of_defaults takes
    the new defaults off first, opening_net_of_defaults prepays before scheduled principal, which survivors pay last.
    interest_base: less_defaults has prepaying loans pay a full month's interest, survivors has them pay none.
    period_length: equal_months makes a CPR or CDR a monthly rate by 1-(1-annual)^(1/12), actual_days by
    1-(1-annual)^(days/365) with the days of each period from the request's cutoff_date; rates by age and monthly
    rates stay as they are. final_defaults: stop_before_maturity has no new defaults in a loan's last
    `recovery_lag` months (vectors, which state each month, are taken as they are), continue lets them run on.
    servicing_fee_base: the opening performing balance, or that and the balance in foreclosure.
    """

    prepayment_base: Literal["gross", "net_of_defaults", "opening_net_of_defaults"] = "gross"
    interest_base: Literal["less_defaults", "survivors"] = "less_defaults"
    period_length: Literal["equal_months", "actual_days"] = "equal_months"
    final_defaults: Literal["stop_before_maturity", "continue"] = "stop_before_maturity"
    servicing_fee_base: Literal["performing", "total"] = "performing"


PRESETS: dict[str, Conventions] = {
    "sifma": Conventions(),
    "opening_actual": Conventions(
        prepayment_base="opening_net_of_defaults",
        interest_base="survivors",
        period_length="actual_days",
        final_defaults="continue",
    ),
}


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A named set of assumptions that takes the place of the request's."""

    name: str
    assumptions: Assumptions | None = None

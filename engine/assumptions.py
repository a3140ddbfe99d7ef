"""Assumptions, scenarios and conventions: Structs that are the wire format too."""

from typing import Literal

import msgspec

from engine.composed_curves import (
    DEFAULT_UNITS,
    PREPAYMENT_UNITS,
    Burnout,
    DefaultCurve,
    PrepaymentCurve,
    Timing,
    misplaced,
)
from engine.curves import UNIT_RANGE, out_of_range
from engine.errors import Problem
from engine.rates import RatePath

MAX_LAG = 360
NUMBERS = ("balance", "annual_rate", "remaining_term", "age", "original_balance", "payment", "servicing_fee")
TEXTS = ("group", "amortization")


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a column of the tape must be: in [min, max], under `below`, one of the texts; all that are given.

    A loan whose value is not stated meets no condition. Ages and terms are those at the cut-off.
    """

    min: float | None = None
    max: float | None = None
    below: float | None = None
    one_of: list[str] | None = None

    def problems(self, path: str, column: str) -> list[Problem]:
        """What does not fit the column, with its path below `path`."""
        found = []
        limits = {name: getattr(self, name) for name in ("min", "max", "below")}
        given = [name for name, value in limits.items() if value is not None]
        for name in given:
            if limits[name] != limits[name]:
                found.append(Problem(f"{path}.{name}", "is nan; expected a number"))
        if column in TEXTS and (given or self.one_of is None):
            found.append(Problem(path, f"is on the texts of {column}; expected one_of and nothing else"))
        if column in NUMBERS and (self.one_of is not None or not given):
            found.append(Problem(path, f"is on the numbers of {column}; expected min, max or below"))
        return found


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Assumptions for the loans that meet every condition of `where`, by the column's name.

    Columns: balance, annual_rate, remaining_term, age, original_balance, payment, servicing_fee, group, amortization.
    """

    where: dict[str, Condition]
    assumptions: "Assumptions"

    def problems(self, path: str) -> list[Problem]:
        """Every fault, with its path below `path`."""
        found = [] if self.where else [Problem(f"{path}.where", "is empty; expected at least one column's condition")]
        for column, condition in self.where.items():
            if column not in NUMBERS + TEXTS:
                allowed = ", ".join(NUMBERS + TEXTS)
                found.append(Problem(f"{path}.where[{column!r}]", f"is no column of rules; expected one of {allowed}"))
            else:
                found += condition.problems(f"{path}.where[{column!r}]", column)
        return found + inner_problems(self.assumptions, f"{path}.assumptions", "rule")


class Assumptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the borrowers and the servicer are assumed to do.

    burnout: how prepayment falls as borrowers leave. severity: share of the defaulted balance that is lost, a decimal.
    recovery_lag: months from default to liquidation. rules: assumptions for the loans that meet the conditions of the
    first rule that fits, in place of these; curves by coupon and age bucket, for example. groups: assumptions for the
    loans that no rule fits and whose `group` is the key; a key that no loan has is no error, since one batch of a tape
    may lack a group that another has. rates: the path of each index that floating loans name; a scenario takes those it
    does not state from the request's assumptions.
    """

    prepayment: PrepaymentCurve | None = None
    default: DefaultCurve | None = None
    burnout: Burnout | None = None
    severity: float = 0.0
    recovery_lag: int = 0
    advancing: Literal["none", "interest", "principal_and_interest"] = "none"
    rules: list[Rule] | None = None
    groups: dict[str, "Assumptions"] | None = None
    rates: dict[str, RatePath] | None = None

    def problems(self, path: str) -> list[Problem]:
        """Every value out of range, with its path below `path`."""
        found = out_of_range(f"{path}.severity", self.severity, 0, 1, UNIT_RANGE)
        if not 0 <= self.recovery_lag <= MAX_LAG:
            message = f"is {self.recovery_lag}; expected whole months in [0, {MAX_LAG}]"
            found.append(Problem(f"{path}.recovery_lag", message))
        if self.prepayment is not None:
            found += self.prepayment.problems(f"{path}.prepayment")
            found += misplaced(f"{path}.prepayment", self.prepayment, PREPAYMENT_UNITS)
        if self.default is not None:
            found += self.default.problems(f"{path}.default")
            found += misplaced(f"{path}.default", self.default, DEFAULT_UNITS)
        if self.burnout is not None:
            found += self.burnout.problems(f"{path}.burnout")
        if isinstance(self.default, Timing) and self.default.measure == "loss" and self.severity == 0:
            found.append(Problem(f"{path}.severity", "is 0; a timing curve of losses needs what share is lost"))
        for index, rates in (self.rates or {}).items():
            found += rates.problems(f"{path}.rates[{index!r}]")
        for i, rule in enumerate(self.rules or []):
            found += rule.problems(f"{path}.rules[{i}]")
        for group, assumptions in (self.groups or {}).items():
            found += inner_problems(assumptions, f"{path}.groups[{group!r}]", "group")
        return found


def inner_problems(assumptions: Assumptions, path: str, where: str) -> list[Problem]:
    """The faults of the assumptions of a group or a rule, which nest no further ones."""
    found = assumptions.problems(path)
    for name in ("rules", "groups"):
        if getattr(assumptions, name):
            message = f"nests {name} in a {where}; expected assumptions without {name}"
            found.append(Problem(f"{path}.{name}", message))
    if assumptions.rates:
        message = f"states rates for one {where}; expected them beside `{where}s`, since an index is the market's"
        found.append(Problem(f"{path}.rates", message))
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

"""Assumptions, scenarios and conventions: Structs that are the wire format too."""

from typing import Literal

import msgspec

from engine.assets import TYPES
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
from engine.delinquency import Delinquency
from engine.errors import Problem, one_of
from engine.loans import AMORTIZATIONS, MAX_TERM, STATUSES
from engine.rates import RatePath
from engine.severity import Severity

MAX_LAG = 360
MAX_MONEY = 1e15
NUMBERS = ("balance", "annual_rate", "remaining_term", "age", "original_balance", "payment", "servicing_fee", "ltv")
TEXTS = ("group", "amortization", "type", "status")
# Of the texts that are one of a few, which; of the numbers, the least and most that a tape takes.
KINDS = {"amortization": AMORTIZATIONS, "type": TYPES, "status": STATUSES}
SHARES = (0.0, 1.0)
SPANS = {
    "annual_rate": SHARES, "servicing_fee": SHARES, "remaining_term": (1.0, MAX_TERM), "ltv": (0.0, float("inf")),
    "age": (-MAX_TERM, MAX_TERM), "balance": (0.0, MAX_MONEY), "original_balance": (0.0, MAX_MONEY),
    "payment": (0.0, MAX_MONEY),
}  # fmt: skip


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a column of the tape must be: in [min, max], under `below`, one of the texts; all that are given.

    A loan whose value is not stated meets no condition. Ages and terms are those at the cut-off. What no loan of any
    tape can meet is refused: texts that are none of the column's, empty ranges, numbers that no tape takes. Groups may
    be any, and a tape may lack a column, since one batch of a tape may lack what another has.
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
        return found or self.never_met(path, column)

    def never_met(self, path: str, column: str) -> list[Problem]:
        """What no loan of any tape meets."""
        if column in TEXTS:
            known = KINDS.get(column)
            if not self.one_of:
                return [Problem(f"{path}.one_of", "is empty; expected at least one text")]
            return [
                Problem(f"{path}.one_of[{i}]", f"is {text!r}; expected {one_of(text, known)}")
                for i, text in enumerate(self.one_of)
                if known is not None and text not in known
            ]
        low, high = SPANS[column]
        least = low if self.min is None else self.min
        for name, most in (("max", self.max), ("below", self.below)):
            if most is not None and (most < least or (name == "below" and most == least)):
                why = f"{column} is in [{low:g}, {high:g}]" if self.min is None else f"min is {self.min:g}"
                return [Problem(f"{path}.{name}", f"is {most:g}, which no loan meets: {why}")]
        if least > high:
            hint = f" ({least:g}% is {least / 100:g})" if high == 1 and least <= 100 else ""
            message = f"is {least:g}, which no loan meets: {column} is in [{low:g}, {high:g}]{hint}"
            return [Problem(f"{path}.min", message)]
        return []


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Assumptions for the loans that meet every condition of `where`, by the column's name.

    Columns: balance, annual_rate, remaining_term, age, original_balance, payment, servicing_fee, ltv (or what
    property_value makes it), group, amortization, type, status.
    """

    where: dict[str, Condition]
    assumptions: "Assumptions"

    def problems(self, path: str) -> list[Problem]:
        """Every fault, with its path below `path`."""
        found = [] if self.where else [Problem(f"{path}.where", "is empty; expected at least one column's condition")]
        for column, condition in self.where.items():
            if column not in NUMBERS + TEXTS:
                message = f"is no column of rules; expected {one_of(column, NUMBERS + TEXTS)}"
                found.append(Problem(f"{path}.where[{column!r}]", message))
            else:
                found += condition.problems(f"{path}.where[{column!r}]", column)
        return found + inner_problems(self.assumptions, f"{path}.assumptions", "rule")


class Assumptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the borrowers and the servicer are assumed to do.

    delinquency: roll rates in place of a default curve. burnout: how prepayment falls as borrowers leave.
    curtailment: the share of what is left after the month's principal that those who stay pay down. severity:
    share of the defaulted balance that is lost, a decimal, or an object that gives it by month, by property or
    by loan-to-value.
    recovery_lag: months from default to liquidation. recovery_stages: shares of the defaulted balance that are
    liquidated 0, 1, 2 .. months after default, in place of recovery_lag. rules: assumptions for the loans that meet the
    conditions of the first rule that fits, in place of these; curves by coupon and age bucket, for example. groups:
    assumptions for the loans that no rule fits and whose `group` is the key; a key that no loan has is no error, since
    one batch of a tape may lack a group that another has. residual_share: what leases' residuals fetch, a share of
    their value; more than 1 is other income. rates: the path of each index that floating loans name; a scenario takes
    those it does not state from the request's assumptions.
    """

    prepayment: PrepaymentCurve | None = None
    default: DefaultCurve | None = None
    delinquency: Delinquency | None = None
    burnout: Burnout | None = None
    curtailment: PrepaymentCurve | None = None
    severity: float | Severity = 0.0
    recovery_lag: int = 0
    recovery_stages: list[float] | None = None
    advancing: Literal["none", "interest", "principal_and_interest"] = "none"
    residual_share: float = 1.0
    rules: list[Rule] | None = None
    groups: dict[str, "Assumptions"] | None = None
    rates: dict[str, RatePath] | None = None

    def problems(self, path: str) -> list[Problem]:
        """Every value out of range, with its path below `path`."""
        if isinstance(self.severity, float | int):
            found = out_of_range(f"{path}.severity", self.severity, 0, 1, UNIT_RANGE)
        else:
            found = self.severity.problems(f"{path}.severity")
        found += self.stage_problems(path)
        found += out_of_range(f"{path}.residual_share", self.residual_share, 0, 5, "a share of the residual in [0, 5]")
        if not 0 <= self.recovery_lag <= MAX_LAG:
            message = f"is {self.recovery_lag}; expected whole months in [0, {MAX_LAG}]"
            found.append(Problem(f"{path}.recovery_lag", message))
        if self.prepayment is not None:
            found += self.prepayment.problems(f"{path}.prepayment")
            found += misplaced(f"{path}.prepayment", self.prepayment, PREPAYMENT_UNITS)
        if self.curtailment is not None:
            found += self.curtailment_problems(self.curtailment, f"{path}.curtailment")
        if self.default is not None:
            found += self.default.problems(f"{path}.default")
            found += misplaced(f"{path}.default", self.default, DEFAULT_UNITS)
        if self.delinquency is not None:
            found += self.delinquency_problems(self.delinquency, path)
        if self.burnout is not None:
            found += self.burnout.problems(f"{path}.burnout")
        if isinstance(self.default, Timing) and self.default.measure == "loss":
            if not isinstance(self.severity, float | int):
                message = f"is a {self.severity.__struct_config__.tag}; a timing curve of losses takes one share"
                found.append(Problem(f"{path}.severity", message))
            elif self.severity == 0:
                found.append(Problem(f"{path}.severity", "is 0; a timing curve of losses needs what share is lost"))
        for index, rates in (self.rates or {}).items():
            found += rates.problems(f"{path}.rates[{index!r}]")
        for i, rule in enumerate(self.rules or []):
            found += rule.problems(f"{path}.rules[{i}]")
        for group, assumptions in (self.groups or {}).items():
            found += inner_problems(assumptions, f"{path}.groups[{group!r}]", "group")
        return found

    def curtailment_problems(self, curtailment: PrepaymentCurve, path: str) -> list[Problem]:
        found = curtailment.problems(path) + misplaced(path, curtailment, PREPAYMENT_UNITS)
        others = {
            "burnout": "which goes by how many borrowers are left",
            "delinquency": "whose late loans owe what the schedule had",
        }
        for name, why in others.items():
            if getattr(self, name) is not None:
                found.append(Problem(path, f"is beside {name}, {why}; expected one of them"))
        if isinstance(self.default, Timing):
            found.append(
                Problem(path, "is beside a timing curve, whose rates follow from all that is paid; expected a rate")
            )
        return found

    def delinquency_problems(self, delinquency: Delinquency, path: str) -> list[Problem]:
        found = delinquency.problems(f"{path}.delinquency")
        if self.default is not None:
            found.append(Problem(f"{path}.default", "is beside delinquency; expected one of them"))
        if self.advancing != "none":
            message = f"is {self.advancing!r}; expected 'none' with delinquency, whose late loans owe what they missed"
            found.append(Problem(f"{path}.advancing", message))
        return found

    @property
    def stages(self) -> list[float]:
        """The share of a defaulted balance that is liquidated 0, 1, 2 .. months after default."""
        if self.recovery_stages is not None:
            return self.recovery_stages
        return [0.0] * self.recovery_lag + [1.0]

    @property
    def lag(self) -> int:
        """Months from default to the last liquidation, at most MAX_LAG."""
        if self.recovery_stages is None:
            # Asked for before the lag is checked, when it may be any number.
            return min(max(self.recovery_lag, 0), MAX_LAG)
        return max((j for j, share in enumerate(self.recovery_stages[: MAX_LAG + 1]) if share > 0), default=0)

    @property
    def curves(self) -> list[PrepaymentCurve | DefaultCurve]:
        """The monthly rates that are assumed."""
        return [curve for curve in (self.prepayment, self.curtailment, self.default) if curve is not None]

    @property
    def last_flow(self) -> int:
        """Months after the last payment of the contract in which something can still come in."""
        if self.delinquency is not None:
            return self.lag + self.delinquency.last_shift
        return 0 if self.default is None else self.lag

    def stage_problems(self, path: str) -> list[Problem]:
        if self.recovery_stages is None:
            return []
        name, stages = f"{path}.recovery_stages", self.recovery_stages
        found = [] if len(stages) <= MAX_LAG + 1 else [Problem(name, f"has over {MAX_LAG + 1} shares")]
        for i, share in enumerate(stages):
            found += out_of_range(f"{name}[{i}]", share, 0, 1, UNIT_RANGE)
        if not found and not abs(sum(stages) - 1) <= 1e-9:
            found.append(Problem(name, f"adds up to {sum(stages):.15g}; expected 1"))
        if self.recovery_lag:
            found.append(Problem(name, "is beside recovery_lag; expected one of them"))
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
    default_base: opening takes defaults off the opening balance, whose loans then pay nothing in the month;
    after_scheduled_principal off what is left once all have paid the month's principal and interest (a `timing` curve
    states amounts of the original balance, whatever the base).
    loss_timing: when the loss is booked; the recovery comes with the liquidation either way, and what is expected to be
    recovered stays in foreclosure until then.
    advance_share, advance_months: the share of the interest of loans in default that is advanced, and for how many
    months, none until liquidation; what is not, investors miss. For loans in default on the tape the months since they
    defaulted count, and advances before the cut-off are neither shown nor recouped. Principal is advanced in full or
    not at all.
    recoup: at_liquidation takes the interest advanced out of the recovery, as far as it goes, and adds it to the loss.
    A defaulted balance amortises where principal is advanced and stays as it is elsewhere.
    after_curtailment: recast has payments fall in proportion to what is left, so that the loan ends when it would have;
    level has them stay, so that it ends sooner.
    """

    prepayment_base: Literal["gross", "net_of_defaults", "opening_net_of_defaults"] = "gross"
    interest_base: Literal["less_defaults", "survivors"] = "less_defaults"
    period_length: Literal["equal_months", "actual_days"] = "equal_months"
    final_defaults: Literal["stop_before_maturity", "continue"] = "stop_before_maturity"
    servicing_fee_base: Literal["performing", "total"] = "performing"
    default_base: Literal["opening", "after_scheduled_principal"] = "opening"
    loss_timing: Literal["liquidation", "default"] = "liquidation"
    advance_share: float = 1.0
    advance_months: int | None = None
    recoup: Literal["none", "at_liquidation"] = "none"
    after_curtailment: Literal["recast", "level"] = "recast"

    def problems(self, path: str) -> list[Problem]:
        """Every value out of range, with its path below `path`."""
        found = out_of_range(f"{path}.advance_share", self.advance_share, 0, 1, UNIT_RANGE)
        if self.advance_months is not None and not 0 <= self.advance_months <= MAX_LAG:
            message = f"is {self.advance_months}; expected whole months in [0, {MAX_LAG}]"
            found.append(Problem(f"{path}.advance_months", message))
        return found


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

"""What is typed at the shell: percentages, speeds and column mappings, and the assumptions they make."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import click

from engine.assumptions import Assumptions
from engine.composed_curves import DefaultCurve, PrepaymentCurve
from engine.curves import Abs, Cdr, Cpr, Mdr, Psa, Sda, Smm
from engine.errors import InvalidInput
from engine.rates import FlatRate

NUMBER = re.compile(r"^(\d+\.?\d*|\.\d+)(e-?\d+)?\s*(%?)$", re.IGNORECASE)
CELL = re.compile(r"^tape\.columns\.(\w+)\[(\d+)\]$")


def percent(value: str | float) -> float:
    """A share: `6%` and `0.06` are one value; a number above 1 needs its percent sign."""
    if isinstance(value, float):
        return value
    found = NUMBER.match(value.strip())
    if not found:
        raise click.BadParameter(f"'{value}' is no rate; expected one such as 6% or 0.06")
    bare = float(value.strip().rstrip("%"))
    share = bare / 100 if found[3] else bare
    if share > 1:
        hint = f" ({bare:g}% is {bare / 100:g})" if bare <= 100 else ""
        raise click.BadParameter(f"{value} is above 1; expected a decimal in [0, 1] or a percentage{hint}")
    return share


def speed(value: str | float) -> float:
    """A speed on a ramp in the market's percent: `150` and `150%` are one and a half times the ramp."""
    if isinstance(value, float):
        return value
    if not NUMBER.match(value.strip()):
        raise click.BadParameter(f"'{value}' is no speed; expected percent of the ramp, such as 150")
    return float(value.strip().rstrip("%")) / 100


def mapping(value: str | tuple[str, str]) -> tuple[str, str]:
    """The file's column and ours of `file_col=our_col`, split at the last equals sign."""
    if isinstance(value, tuple):
        return value
    theirs, sign, ours = value.rpartition("=")
    if not sign or not theirs or not ours:
        raise click.BadParameter(f"'{value}' maps nothing; expected file_col=our_col, such as UPB=balance")
    return theirs, ours


def index_rate(value: str | tuple[str, float]) -> tuple[str, float]:
    """The name and the rate of `SOFR=4.3%`, split at the last equals sign."""
    if isinstance(value, tuple):
        return value
    name, sign, rate = value.rpartition("=")
    if not sign or not name:
        raise click.BadParameter(f"'{value}' is no index; expected its name and rate, such as SOFR=4.3%")
    return name, percent(rate)


PREPAYMENTS: dict[str, Callable[[float], PrepaymentCurve]] = {
    "cpr": lambda value: Cpr(rate=value),
    "smm": lambda value: Smm(rate=value),
    "psa": lambda value: Psa(speed=value),
    "abs": lambda value: Abs(rate=value),
}
RAMPS = ("psa", "sda")
DEFAULTS: dict[str, Callable[[float], DefaultCurve]] = {
    "cdr": lambda value: Cdr(rate=value),
    "mdr": lambda value: Mdr(rate=value),
    "sda": lambda value: Sda(speed=value),
}


def one_of(options: dict[str, float | None]) -> tuple[str, float] | None:
    """The one option that is given, None if none is. Raises UsageError for two."""
    given = [(name, value) for name, value in options.items() if value is not None]
    if len(given) > 1:
        names = " and ".join(f"--{name}" for name, _ in given)
        raise click.UsageError(f"{names} exclude each other; expected one of --{', --'.join(options)}")
    return given[0] if given else None


def assumptions_from(options: Mapping[str, Any]) -> Assumptions:
    """The assumptions of the options of `project`, by their names."""
    prepaying = one_of({name: options[name] for name in PREPAYMENTS})
    defaulting = one_of({name: options[name] for name in DEFAULTS})
    return Assumptions(
        prepayment=PREPAYMENTS[prepaying[0]](prepaying[1]) if prepaying else None,
        default=DEFAULTS[defaulting[0]](defaulting[1]) if defaulting else None,
        severity=options["severity"],
        recovery_lag=options["lag"],
        advancing=options["advancing"],
        rates={name: FlatRate(rate=rate) for name, rate in options.get("index", ())} or None,
    )


def described(options: Mapping[str, Any]) -> str:
    """The assumptions in the market's words: `6% CPR, 1% CDR, 40% severity, recovery after 12 months`."""
    words = []
    for name in (*PREPAYMENTS, *DEFAULTS):
        value = options[name]
        if value is not None:
            sign = "" if name in RAMPS else "%"
            words.append(f"{value * 100:g}{sign} {name.upper()}")
    if options["severity"]:
        words.append(f"{options['severity'] * 100:g}% severity")
    if options["lag"]:
        words.append(f"recovery after {options['lag']} months")
    words += [f"{name} at {rate * 100:g}%" for name, rate in options.get("index", ())]
    return ", ".join(words) or "no prepayments, no defaults"


def rows_of_file(error: InvalidInput, row: int) -> str:
    """The problems in words of the file: `row 18, annual_rate is 6.5; expected ..`. row: rows before the batch."""
    told = []
    for problem in error.problems:
        cell = CELL.match(problem.path)
        place = f"row {row + int(cell[2]) + 1}, {cell[1]}" if cell else problem.path
        told.append(f"{place} {problem.message}")
    return "\n".join(told)

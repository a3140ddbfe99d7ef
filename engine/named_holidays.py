"""Holidays of markets and countries by their codes, from the `holidays` library, which is loaded on first use.

Markets: NYSE (XNYS), TARGET (XECB), FED (XFED), SIFMA (XSIF, US government bonds), LSE (XLON), ... Countries: ISO 3166
codes, with a subdivision after a dash where holidays differ: US, GB-ENG, DE-BY. Days that fall on the weekend and are
kept on another day are in the list on both.
"""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidInput, Problem, one_of

# Names that people use and the library does not know.
ALIASES = {"TARGET": "XECB", "TARGET2": "XECB", "T2": "XECB", "SIFMA": "XSIF"}


@functools.cache
def market_codes() -> tuple[str, ...]:
    """The codes of markets."""
    import holidays

    return (*sorted(holidays.list_supported_financial(include_aliases=True)), *ALIASES)


@functools.cache
def country_codes() -> dict[str, tuple[str, ...]]:
    """The codes of countries and of the subdivisions of each."""
    import holidays

    found: dict[str, Any] = holidays.list_supported_countries(include_aliases=True)
    return {code: tuple(parts) for code, parts in found.items()}


def problems(market: str | None, country: str | None, path: str) -> list[Problem]:
    """What is wrong with the codes, with paths below `path`."""
    found = []
    if market is not None and market not in market_codes():
        found.append(Problem(f"{path}.market", f"is {market!r}; expected {one_of(market, market_codes())}"))
    if country is not None:
        code, _, part = country.partition("-")
        if code not in country_codes():
            message = f"is {country!r}; expected an ISO 3166 code such as 'US', or 'DE-BY' for a part of a country"
            found.append(Problem(f"{path}.country", message))
        elif part and part not in country_codes()[code]:
            parts = ", ".join(country_codes()[code]) or "none"
            found.append(Problem(f"{path}.country", f"has no part {part!r} in {code}; expected one of {parts}"))
    return found


@functools.lru_cache(maxsize=256)
def named_holidays(market: str | None, country: str | None, first_year: int, last_year: int) -> NDArray[np.datetime64]:
    """The holidays of a market, a country or both in years from the first to the last, datetime64[D].

    Raises InvalidInput for unknown codes and for years that the library has no rules for.
    """
    if found := problems(market, country, "calendar"):
        raise InvalidInput(found)
    import holidays

    years = range(first_year, last_year + 1)
    sources: list[Any] = []
    if market is not None:
        sources.append(holidays.financial_holidays(ALIASES.get(market, market), years=years))
    if country is not None:
        code, _, part = country.partition("-")
        sources.append(holidays.country_holidays(code, subdiv=part or None, years=years))
    for source, name in zip(sources, filter(None, (market, country)), strict=True):
        # What is asked for may reach a year over the end, for dates that move past it.
        if first_year + 1 < source.start_year or last_year - 1 > source.end_year:
            message = f"has dates from {first_year + 1} to {last_year - 1}; the rules of {name} span "
            raise InvalidInput([Problem("dates", f"{message}{source.start_year} to {source.end_year}")])
    dates = sorted({date for source in sources for date in source})
    return np.array(dates, dtype="datetime64[D]")

"""Scenario templates: starting points that users copy, change and save as their own.

The figures are illustrations in round numbers, not forecasts: annual speeds that move the way prepayment, default and
severity moved in such times (prepayment falls when rates rise and when credit is short, severity with house prices).
"""

import engine

MONTHS = 12


def monthly(*years: tuple[int, float]) -> list[float]:
    """Annual rates month by month: each for so many years; the last holds on."""
    return [rate for count, rate in years for _ in range(count * MONTHS)]


def scenario(name: str, prepayment: list[float], default: list[float], severity: float, lag: int) -> engine.Scenario:
    return engine.Scenario(
        name=name,
        assumptions=engine.Assumptions(
            prepayment=engine.Vector(unit="cpr", values=prepayment),
            default=engine.Vector(unit="cdr", values=default),
            severity=severity,
            recovery_lag=lag,
        ),
    )


TEMPLATES: dict[str, tuple[str, engine.Scenario]] = {
    name: (text, scenario(name, *assumptions))
    for name, text, assumptions in (
        ("base", "Steady: 6% CPR, 1% CDR, 35% severity.", (monthly((1, 0.06)), monthly((1, 0.01)), 0.35, 12)),
        (
            "rate_shock_up",
            "Rates jump: refinancing stops, some borrowers fall behind.",
            (monthly((3, 0.025), (1, 0.04)), monthly((3, 0.015), (1, 0.0125)), 0.35, 12),
        ),
        (
            "rate_shock_down",
            "Rates drop: a refinancing wave for two years, then burnout.",
            (monthly((2, 0.3), (2, 0.15), (1, 0.08)), monthly((1, 0.008)), 0.35, 12),
        ),
        (
            "credit_crisis",
            "Defaults peak in the second year and severity is high.",
            (monthly((3, 0.03), (1, 0.05)), monthly((1, 0.03), (2, 0.06), (2, 0.03), (1, 0.0125)), 0.55, 18),
        ),
        (
            "liquidity_crisis",
            "No new credit for two years: hardly a prepayment, recoveries come late.",
            (monthly((2, 0.01), (1, 0.05)), monthly((2, 0.025), (1, 0.0125)), 0.4, 30),
        ),
        (
            "housing_boom",
            "Prices rise: homes are sold and loans repaid, losses are small.",
            (monthly((4, 0.15), (1, 0.1)), monthly((1, 0.004)), 0.1, 9),
        ),
        (
            "housing_bust",
            "Prices fall: borrowers cannot sell or refinance, defaults are many and severe.",
            (monthly((4, 0.02), (1, 0.04)), monthly((1, 0.02), (3, 0.05), (1, 0.02)), 0.5, 24),
        ),
    )
}
"""Template name -> what it is about, and the scenario."""

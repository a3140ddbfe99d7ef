"""Which loans a projection stepped, and which every scenario went over again."""

from typing import Any

import engine

PLAIN = engine.Assumptions(prepayment=engine.Cpr(rate=0.1), default=engine.Cdr(rate=0.02), severity=0.3, recovery_lag=6)
INSURED = {"mortgage_insurance": [0.2, 0.0, 0.0]}
FLOATING: dict[str, Any] = {"index": [None, "ref", None], "margin": [None, 0.02, None], "first_reset": [None, 3, None]}


def work(level: Any = "pool", assumed: engine.Assumptions = PLAIN, scenarios: int = 1, **more: Any) -> engine.Work:
    tape = engine.Tape.from_columns(balance=[1e5, 2e5, 3e5], annual_rate=0.05, remaining_term=[60, 90, 120], **more)
    several = [engine.Scenario(name=str(k), assumptions=assumed) for k in range(scenarios)]
    found = engine.project(engine.ProjectionRequest(tape=tape, scenarios=several, level=level)).work
    assert found is not None
    return found


def test_plain_loans_are_neither_stepped_nor_gone_over_again() -> None:
    for scenarios in (1, 5):
        assert work(scenarios=scenarios) == engine.Work(loans=3, stepped=0, repeated=0)


def test_a_floating_loan_is_stepped() -> None:
    rates: Any = {"ref": engine.MonthlyRates(rates=[0.03])}
    assumed = engine.Assumptions(prepayment=engine.Cpr(rate=0.1), rates=rates)
    assert work(assumed=assumed, **FLOATING, reset_frequency=[None, 12, None]) == engine.Work(
        loans=3, stepped=1, repeated=0
    )


def test_loans_whose_losses_depend_on_the_loan_are_gone_over_by_each_scenario() -> None:
    assert work(**INSURED) == engine.Work(loans=3, stepped=0, repeated=3)


def test_only_the_sets_of_such_losses_are_gone_over() -> None:
    valued = engine.Assumptions(
        default=engine.Cdr(rate=0.02), recovery_lag=6, severity=engine.PropertySeverity(), prepayment=PLAIN.prepayment
    )
    rule = engine.Rule(where={"remaining_term": engine.Condition(max=60)}, assumptions=valued)
    found = work(assumed=engine.Assumptions(prepayment=PLAIN.prepayment, rules=[rule]), property_value=2e5)
    assert found == engine.Work(loans=3, stepped=0, repeated=1)


def test_advanced_principal_is_capped_anew_for_each_severity_and_lag() -> None:
    tape = engine.Tape.from_columns(balance=[1e5, 2e5, 3e5], annual_rate=0.05, remaining_term=[60, 90, 120])
    for severities, lags, again in (((0.3, 0.3), (6, 6), 0), ((0.3, 0.4), (6, 6), 3), ((0.3, 0.3), (6, 9), 3)):
        several = [
            engine.Scenario(
                name=str(k),
                assumptions=engine.Assumptions(
                    default=engine.Cdr(rate=0.02 + 0.01 * k), severity=severity, recovery_lag=lag,
                    advancing="principal_and_interest",
                ),
            )
            for k, (severity, lag) in enumerate(zip(severities, lags, strict=True))
        ]  # fmt: skip
        found = engine.project(engine.ProjectionRequest(tape=tape, scenarios=several))
        assert found.work == engine.Work(loans=3, stepped=0, repeated=again)


def test_at_loan_level_every_scenario_goes_over_every_loan() -> None:
    assert work("loan") == engine.Work(loans=3, stepped=0, repeated=3)


def test_batches_add_up() -> None:
    tape = engine.Tape.from_columns(balance=[1e5, 2e5], annual_rate=0.05, remaining_term=60)
    found = engine.project_batches([tape, tape], assumptions=PLAIN)
    assert found.work == engine.Work(loans=4, stepped=0, repeated=0)

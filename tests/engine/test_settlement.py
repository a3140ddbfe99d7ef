"""When cashflows are paid: by dates that are stated or follow from the first, moved off holidays; against QuantLib."""

import datetime
from typing import Any

import msgspec
import numpy as np
import pytest
import QuantLib as ql  # noqa: N813

import engine
from engine.analytics import Settlement, analyze
from engine.analytics.request import AnalyticsRequest
from tests.engine.test_quantlib_dates import CONVENTIONS, of

START = datetime.date(2024, 1, 31)


def test_dates_move_to_the_next_business_day() -> None:
    # 31 March 2024 is Easter Sunday and the Monday after it a holiday of TARGET: paid on 2 April, 62 days of ACT/360
    # after 31 January (29 of February, 31 of March, 2). Preceding: Thursday the 28th, 57 days. 30 April is a Tuesday.
    dates = [datetime.date(2024, 3, 31), datetime.date(2024, 4, 30)]
    for rule, days in (("following", 62), ("modified_following", 57), ("preceding", 57), ("none", 60)):
        calendar = None if rule == "none" else "TARGET"
        found = Settlement(date=START, payment_dates=dates, day_count="ACT/360", business_day=rule, calendar=calendar)
        np.testing.assert_allclose(found.years(2), [days / 360, 90 / 360], rtol=1e-15)


def test_dates_follow_from_the_first_to_month_ends() -> None:
    found = Settlement(
        date=START, first_payment_date=datetime.date(2024, 2, 29), end_of_month=True, day_count="ACT/365F"
    )
    np.testing.assert_allclose(found.years(3), [29 / 365, 60 / 365, 90 / 365], rtol=1e-15)
    own = msgspec.structs.replace(found, business_day="following", holidays=[datetime.date(2024, 2, 29)])
    # 31 March is a Sunday, 1 March a Friday; 30 April a Tuesday.
    np.testing.assert_allclose(own.years(3), [30 / 365, 61 / 365, 90 / 365], rtol=1e-15)


@pytest.mark.parametrize("name", ["TARGET", "NYSE"])
@pytest.mark.parametrize("rule", ["following", "modified_following", "preceding"])
@pytest.mark.parametrize("per_year", [1, 2, 4, 12])
def test_yields_agree_with_quantlib(name: str, rule: str, per_year: int) -> None:
    calendar = ql.TARGET() if name == "TARGET" else ql.UnitedStates(ql.UnitedStates.NYSE)
    rng = np.random.default_rng([per_year, len(rule), len(name)])
    for _ in range(15):
        settle = datetime.date(2018, 1, 1) + datetime.timedelta(days=int(rng.integers(0, 1500)))
        first = settle + datetime.timedelta(days=int(rng.integers(10, 360 // per_year)))
        periods = int(rng.integers(2, 30))
        flows = rng.uniform(1, 10, periods)
        flows[-1] += 100
        dates = [
            calendar.adjust(of(first) + ql.Period(12 // per_year * k, ql.Months), CONVENTIONS[rule])
            for k in range(periods)
        ]
        count = ql.Actual365Fixed()
        leg = [ql.SimpleCashFlow(float(flow), date) for flow, date in zip(flows, dates, strict=True)]
        rate = float(rng.uniform(0.01, 0.12))
        price = ql.CashFlows.npv(
            leg, ql.InterestRate(rate, count, ql.Compounded, ql.Semiannual), False, of(settle), of(settle)
        )
        settlement = {
            "date": settle, "first_payment_date": first, "payments_per_year": per_year, "business_day": rule,
            "calendar": name, "day_count": "ACT/365F",
        }  # fmt: skip
        body: dict[str, Any] = {
            "cashflows": {"columns": {"cashflow": flows.tolist()}}, "settlement": settlement,
            "measures": [{"type": "yield", "price": price}],
        }  # fmt: skip
        found = analyze(msgspec.convert(msgspec.to_builtins(body), AnalyticsRequest)).measures
        assert found is not None
        assert found[0].value == pytest.approx(rate, abs=1e-9)


def test_a_projection_takes_as_many_dates_as_it_has_months() -> None:
    tape = engine.Tape.from_columns(balance=[100.0], annual_rate=0.06, remaining_term=12)
    projection = engine.ProjectionRequest(tape=tape)
    dated = {"date": "2024-01-01", "first_payment_date": "2024-02-25", "business_day": "following", "calendar": "US"}
    asked = msgspec.convert({"measures": [{"type": "wal"}], "settlement": dated}, AnalyticsRequest)
    found = analyze(msgspec.structs.replace(asked, projection=projection)).measures
    flows = engine.project(projection)
    years = Settlement(**msgspec.structs.asdict(asked.settlement)).years(12)
    assert found is not None
    assert found[0].value == pytest.approx(float(flows["principal"] @ years / 100), rel=1e-12)
    # 25 February 2024 is a Sunday: 30/360 from 1 January to the 26th are 55 days.
    assert years[0] == pytest.approx(55 / 360)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"first_payment_date": START}, "settlement.date"),
        ({"date": START}, "settlement.payment_dates"),
        ({"date": START, "payment_dates": [START], "first_payment_date": START}, "settlement.first_payment_date"),
        ({"business_day": "following"}, "settlement.business_day"),
        ({"end_of_month": True}, "settlement.end_of_month"),
        ({"date": START, "payment_dates": [START], "end_of_month": True}, "settlement.end_of_month"),
        ({"date": START, "payment_dates": [START], "calendar": "NYSE"}, "settlement.calendar"),
        ({"date": START, "payment_dates": [START], "holidays": [START]}, "settlement.holidays"),
        (
            {"date": START, "payment_dates": [START], "business_day": "following", "calendar": "Mars"},
            "settlement.calendar",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(given: dict[str, Any], path: str) -> None:
    with pytest.raises(engine.InvalidInput) as caught:
        Settlement(**given).years(1)
    assert [problem.path for problem in caught.value.problems] == [path]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"delay_days": 24.0, "stated_delay_days": 55.0}, "delay_days"),
        ({"times": [1.0], "delay_days": 24.0}, "delay_days"),
        ({"times": [1.0], "settlement_days": 24.0}, "settlement_days"),
        ({"times": [1.0], "date": START, "first_payment_date": START}, "date"),
        ({"date": START, "first_payment_date": START, "delay_days": 24.0}, "delay_days"),
        ({"day_count": "ACT/360"}, "day_count"),
    ],
)
def test_what_would_do_nothing_is_refused(given: dict[str, Any], path: str) -> None:
    with pytest.raises(engine.InvalidInput) as caught:
        Settlement(**given).years(1)
    assert caught.value.problems[0].path == f"settlement.{path}"

"""Rate paths and shocks by hand calculation."""

import datetime

import numpy as np
import pytest

import engine
from engine.rates import rate_tables

MONTHS = np.arange(-2, 5)
START = datetime.date(2026, 1, 31)


def test_flat_rate_is_the_same_before_and_after_the_cut_off() -> None:
    assert engine.FlatRate(rate=0.04).values(MONTHS, None) == pytest.approx([0.04] * 7)


def test_monthly_rates_begin_at_the_cut_off_and_history_runs_back_from_it() -> None:
    path = engine.MonthlyRates(rates=[0.01, 0.02, 0.03], history=[0.005])
    assert path.values(MONTHS, None) == pytest.approx([0.005, 0.005, 0.01, 0.02, 0.03, 0.03, 0.03])
    ends = engine.MonthlyRates(rates=[0.01, 0.02], beyond="zero")
    assert ends.values(MONTHS, None) == pytest.approx([0.01, 0.01, 0.01, 0.02, 0, 0, 0])


def test_dated_rates_are_linear_in_days_or_hold() -> None:
    # 31 January and 28 February are 28 days apart, 31 March is 59 days on; the dates span 59 days.
    dates = [datetime.date(2026, 1, 31), datetime.date(2026, 3, 31)]
    linear = engine.DatedRates(dates=dates, rates=[0.01, 0.03])
    assert linear.values(MONTHS, START) == pytest.approx(
        [0.01, 0.01, 0.01, 0.01 + 0.02 * 28 / 59, 0.03, 0.03, 0.03], rel=1e-14
    )
    step = engine.DatedRates(dates=dates, rates=[0.01, 0.03], interpolation="step")
    assert step.values(MONTHS, START) == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.03, 0.03, 0.03])


def test_dates_before_the_cut_off_are_history() -> None:
    dates = [datetime.date(2025, 12, 1), datetime.date(2026, 1, 15)]
    path = engine.DatedRates(dates=dates, rates=[0.01, 0.02], interpolation="step")
    assert path.values(MONTHS, START) == pytest.approx([0.01, 0.01, 0.02, 0.02, 0.02, 0.02, 0.02])


def test_forwards_of_a_flat_curve() -> None:
    # 5% compounded once a year is a factor of 1/1.05 after 12 months: a one-year simple forward of 5% everywhere.
    for stated in ({"zero_rates": [0.05]}, {"discount_factors": [1 / 1.05]}):
        path = engine.Forwards(tenor=12, months=[12], **stated)
        assert path.values(MONTHS, None) == pytest.approx([0.05] * 7, rel=1e-13)
    continuous = engine.Forwards(tenor=1, months=[12], zero_rates=[0.06], compounding="continuous")
    # exp(0.06/12) - 1 a month.
    assert continuous.values(MONTHS, None) == pytest.approx([12 * np.expm1(0.005)] * 7, rel=1e-13)


def test_forwards_follow_the_ratio_of_the_factors() -> None:
    # Factors 0.99 and 0.97 at months 3 and 6: (0.99/0.97 - 1) x 4 = 0.0824742 for three months from month 3.
    path = engine.Forwards(tenor=3, months=[3, 6], discount_factors=[0.99, 0.97])
    values = path.values(np.array([0, 3]), None)
    assert values == pytest.approx([(1 / 0.99 - 1) * 4, (0.99 / 0.97 - 1) * 4], rel=1e-13)


def test_shocks_add_to_the_future_alone() -> None:
    tent = engine.KeyRateShock(month=2, before=0, after=4, amount=0.01)
    path = engine.FlatRate(rate=0.03, shocks=[engine.ParallelShock(amount=-0.01), tent])
    # -1% everywhere, and 0, 1/2, 1, 1/2, 0 of 1% in months 0 to 4.
    assert path.values(MONTHS, None) == pytest.approx([0.03, 0.03, 0.02, 0.025, 0.03, 0.025, 0.02])


def test_key_rates_add_up_to_a_parallel_shock() -> None:
    months, keys = np.arange(0, 200), [3, 12, 60, 120]
    tents = [
        engine.KeyRateShock(month=key, before=before, after=after, amount=0.01)
        for before, key, after in zip([None, *keys[:-1]], keys, [*keys[1:], None], strict=True)
    ]
    assert sum(tent.added(months) for tent in tents) == pytest.approx(np.full(200, 0.01), rel=1e-13)


def test_scenarios_with_the_same_values_share_a_table() -> None:
    paths = [{"x": engine.FlatRate(rate=rate)} for rate in (0.01, 0.02, 0.01)]
    tables = rate_tables(paths, ["x"], 2, 3, None)
    assert tables.set_of_scenario == (0, 1, 0)
    assert tables.values.shape == (2, 1, 6)


BAD = [
    (engine.FlatRate(rate=5.0), "rate is 5; expected a decimal in [-1, 1] (5% is 0.05)"),
    (engine.MonthlyRates(rates=[]), "rates is empty"),
    (engine.MonthlyRates(rates=[0.1], history=[2.0]), "history[0] is 2"),
    (engine.DatedRates(dates=[START, START], rates=[0.1, 0.1]), "dates[1] is 2026-01-31, after 2026-01-31"),
    (engine.DatedRates(dates=[START], rates=[0.1, 0.1]), "dates has 1 values; expected 2"),
    (engine.Forwards(tenor=0, months=[1], zero_rates=[0.1]), "tenor is 0"),
    (engine.Forwards(tenor=1, months=[1]), "discount_factors is missing, and so are zero_rates"),
    (engine.Forwards(tenor=1, months=[1], discount_factors=[0.0]), "discount_factors[0] is 0"),
    (engine.FlatRate(rate=0.0, shocks=[engine.KeyRateShock(month=1, before=2, amount=0.0)]), "shocks[0].before is 2"),
    (engine.FlatRate(rate=float("nan")), "rate is nan"),
]


@pytest.mark.parametrize(("path", "message"), BAD)
def test_what_is_wrong_with_a_path_is_told(path: engine.FlatRate, message: str) -> None:
    assumed = engine.Assumptions(rates={"libor": path})
    request = engine.ProjectionRequest(
        tape=engine.Tape.from_columns(balance=1.0, annual_rate=0.0, remaining_term=1), assumptions=assumed
    )
    with pytest.raises(engine.AssumptionError) as raised:
        engine.project(request)
    assert f"assumptions.rates['libor'].{message}" in str(raised.value)


def test_rates_of_a_group_are_refused() -> None:
    group = engine.Assumptions(rates={"x": engine.FlatRate(rate=0.1)})
    assert "since an index is the market's" in str(engine.Assumptions(groups={"a": group}).problems("assumptions")[0])


def test_dated_rates_hold_beyond_the_years_of_dates() -> None:
    # 240 months from 1 January 9990 end in the year 10010, for which there are no dates, only the last rate.
    path = engine.rates.DatedRates(dates=[datetime.date(2020, 1, 1), datetime.date(9991, 1, 1)], rates=[0.02, 0.05])
    found = path.values(np.array([0, 12, 240]), datetime.date(9990, 1, 1))
    days = (datetime.date(9990, 1, 1) - datetime.date(2020, 1, 1)).days / (
        datetime.date(9991, 1, 1) - datetime.date(2020, 1, 1)
    ).days
    assert found == pytest.approx([0.02 + 0.03 * days, 0.05, 0.05], rel=1e-12)

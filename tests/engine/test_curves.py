"""Prepayment and default curves: the standard ramps by hand, and a contract that every curve keeps."""

import typing

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.composed_curves import DefaultCurve, PrepaymentCurve, Wrapper
from engine.curves import Curve, When, annual_from_monthly, monthly_from_annual
from tests import reference

AGES = np.arange(1, 1201)
SAMPLES: dict[str, list[Curve]] = {
    "cpr": [engine.Cpr(rate=0.0), engine.Cpr(rate=0.06), engine.Cpr(rate=1.0)],
    "cdr": [engine.Cdr(rate=0.02), engine.Cdr(rate=1.0)],
    "smm": [engine.Smm(rate=0.01), engine.Smm(rate=1.0)],
    "mdr": [engine.Mdr(rate=0.0), engine.Mdr(rate=0.005)],
    "psa": [engine.Psa(), engine.Psa(speed=0.5), engine.Psa(speed=100.0)],
    "sda": [engine.Sda(), engine.Sda(speed=2.5), engine.Sda(speed=100.0)],
    "mhp": [engine.Mhp(), engine.Mhp(speed=1.75)],
    "hep": [engine.Hep(rate=0.2), engine.Hep(rate=1.0)],
    "abs": [engine.Abs(rate=0.0), engine.Abs(rate=0.015), engine.Abs(rate=1.0)],
    "vector": [
        engine.Vector(unit="cpr", values=[0.05, 0.1, 0.0]),
        engine.Vector(unit="smm", values=[0.01], beyond="zero"),
        engine.Vector(unit="psa", values=[1.0, 2.0], by="age"),
        engine.Vector(unit="cdr", values=[0.01] * 30, by="age"),
        engine.Vector(unit="mdr", values=[1.0, 0.5]),
        engine.Vector(unit="sda", values=[0.5], by="age"),
        engine.Vector(unit="smm", values=[0.01, 0.02, 0.0], beyond="repeat"),
        engine.Vector(unit="cpr", values=[0.1 + 0.01 * month for month in range(12)], by="calendar_month"),
    ],
    "scaled": [
        engine.Scaled(curve=engine.Psa(), multiplier=1.5, shift=0.01),
        engine.Scaled(curve=engine.Sda(speed=2), multiplier=[1.0, 3.0], shift=[0.0, -0.005], beyond="repeat"),
        engine.Scaled(
            curve=engine.Smm(rate=0.01), multiplier=[0.5, 2.0], acts_on="monthly_rate", by="age", beyond="zero"
        ),
        engine.Scaled(curve=engine.Cdr(rate=0.5), multiplier=1000.0),
        engine.Scaled(
            curve=engine.Scaled(curve=engine.Mdr(rate=0.01), shift=1.0), multiplier=[0.5] * 12, by="calendar_month"
        ),
    ],
    "seasonal": [
        engine.Seasonal(curve=engine.Psa(speed=1.5), factors=[0.5 + 0.1 * month for month in range(12)]),
        engine.Seasonal(
            curve=engine.Vector(unit="mdr", values=[0.01, 0.02]), factors=[100.0] * 12, acts_on="monthly_rate"
        ),
    ],
    "timing": [
        engine.Timing(cumulative=0.08, timing=[0.25, 0.5, 0.25], months_a_share=12),
        engine.Timing(cumulative=1.0, timing=[1.0], measure="loss", base="cutoff_balance"),
    ],
}
CASES = [curve for curves in SAMPLES.values() for curve in curves]
MEMBERS = sorted({*typing.get_args(PrepaymentCurve), *typing.get_args(DefaultCurve)}, key=lambda cls: cls.__name__)


def tag(curve: Curve | type[Curve]) -> str:
    return str(curve.__struct_config__.tag)


@pytest.mark.parametrize("member", MEMBERS)
def test_every_curve_has_samples_and_a_reference(member: type[Curve]) -> None:
    assert SAMPLES[tag(member)]
    assert tag(member) in {**reference.CURVES, **reference.COMPOSED, "timing": reference.timed_as_vector}


# Ages and periods that differ, and a cut-off in October, so that a mixed-up axis shows.
WHEN = When(AGES + 7, AGES, (AGES + 9) % 12 + 1)


@pytest.mark.parametrize("curve", CASES, ids=repr)
def test_rates_are_in_the_unit_interval(curve: Curve) -> None:
    rates = np.broadcast_to(curve.rates(WHEN), AGES.shape)
    assert rates.dtype == np.float64
    assert np.all((rates >= 0) & (rates <= 1))


@pytest.mark.parametrize("curve", CASES, ids=repr)
def test_rates_equal_the_reference(curve: Curve) -> None:
    def stated(period: int) -> float:
        return reference.rate_of(curve, period, period + 7, (period + 9) % 12 + 1)

    if isinstance(curve, engine.Psa | engine.Sda | engine.Mhp) and curve.speed > 50:
        return  # past 100% a year the ramp is capped, which the next test covers
    if isinstance(curve, engine.Timing):
        return  # shares of a balance, not rates, until the balance is known: tests/engine/test_assumptions.py
    expected = [stated(int(period)) for period in AGES]
    # A wrapper goes through annual rates and back, which costs a few ulps of 1.
    atol = 1e-15 if isinstance(curve, Wrapper) else 0
    np.testing.assert_allclose(np.broadcast_to(curve.rates(WHEN), AGES.shape), expected, rtol=2e-14, atol=atol)


@pytest.mark.parametrize("curve", [engine.Psa(speed=100.0), engine.Mhp(speed=100.0)], ids=repr)
def test_a_ramp_past_one_hundred_per_cent_a_year_pays_all(curve: Curve) -> None:
    assert np.all(curve.monthly(AGES[10:]) == 1)


@pytest.mark.parametrize("curve", CASES, ids=repr)
def test_round_trip_through_json(curve: Curve) -> None:
    union = PrepaymentCurve if type(curve) in typing.get_args(PrepaymentCurve) else DefaultCurve  # Vector is in both
    encoded = msgspec.json.encode(curve)
    assert msgspec.json.decode(encoded)["type"] == tag(curve)
    assert msgspec.json.decode(encoded, type=union) == curve


@pytest.mark.parametrize("curve", CASES, ids=repr)
def test_good_values_have_no_problems(curve: Curve) -> None:
    assert curve.problems("x") == []


def test_psa_reaches_six_per_cent_in_month_thirty() -> None:
    cpr = annual_from_monthly(engine.Psa().monthly(AGES))
    np.testing.assert_allclose(cpr[[0, 14, 29, 30, 359]], [0.002, 0.03, 0.06, 0.06, 0.06], rtol=1e-13)


def test_sda_falls_from_month_sixty_to_one_hundred_and_twenty() -> None:
    # In month 61 it is 0.60% - 0.0095%; halfway down, in month 90, (0.60% + 0.03%)/2.
    cdr = annual_from_monthly(engine.Sda().monthly(AGES))
    expected = [0.0002, 0.006, 0.006, 0.005905, 0.00315, 0.0003, 0.0003]
    np.testing.assert_allclose(cdr[[0, 29, 59, 60, 89, 119, 359]], expected, rtol=1e-11)


def test_mhp_starts_at_three_point_seven_and_reaches_six_per_cent() -> None:
    cpr = annual_from_monthly(engine.Mhp().monthly(AGES))
    np.testing.assert_allclose(cpr[[0, 22, 23, 24]], [0.037, 0.059, 0.06, 0.06], rtol=1e-13)


def test_hep_ramps_over_ten_months() -> None:
    cpr = annual_from_monthly(engine.Hep(rate=0.2).monthly(AGES))
    np.testing.assert_allclose(cpr[[0, 4, 9, 10]], [0.02, 0.1, 0.2, 0.2], rtol=1e-13)


def test_abs_prepays_the_rest_once_the_original_loans_are_used_up() -> None:
    # 2 ABS: in month 50 the last 2% of the loans are left, so all of them go.
    smm = engine.Abs(rate=0.02).monthly(AGES)
    assert smm[48] == pytest.approx(0.5, abs=1e-12)
    np.testing.assert_allclose(smm[49:], 1, rtol=1e-13)


@given(st.floats(0, 1))
def test_annual_and_monthly_rates_are_inverse(annual: float) -> None:
    assert float(annual_from_monthly(monthly_from_annual(annual))) == pytest.approx(annual, rel=1e-13, abs=1e-300)


def test_small_rates_keep_their_digits() -> None:
    # 1 - (1 - x)^(1/12) = x/12 + 11 x^2/288 + ...
    assert float(monthly_from_annual(1.2e-9)) == pytest.approx(1e-10 + 11 * 1.44e-18 / 288, rel=1e-14)
    assert monthly_from_annual(np.array([1.2e-9]))[0] == monthly_from_annual(1.2e-9)


def test_a_vector_past_its_end_holds_or_stops() -> None:
    ages = np.array([1, 2, 3, 9])
    assert engine.Vector(unit="smm", values=[0.1, 0.2]).monthly(ages).tolist() == [0.1, 0.2, 0.2, 0.2]
    assert engine.Vector(unit="smm", values=[0.1, 0.2], beyond="zero").monthly(ages).tolist() == [0.1, 0.2, 0, 0]
    assert engine.Vector(unit="smm", values=[0.1, 0.2], beyond="repeat").monthly(ages).tolist() == [0.1, 0.2, 0.1, 0.1]


BAD = [
    (engine.Cpr(rate=6.0), "x.rate is 6; expected a decimal in [0, 1] (6% is 0.06)"),
    (engine.Smm(rate=-0.1), "x.rate is -0.1; expected a decimal in [0, 1]"),
    (engine.Hep(rate=float("nan")), "x.rate is nan; expected a decimal in [0, 1]"),
    (engine.Abs(rate=1.5), "x.rate is 1.5; expected a decimal in [0, 1] (1.5% is 0.015)"),
    (engine.Psa(speed=165.0), "x.speed is 165; expected a multiple of the ramp in [0, 100], 1.0 for 100%"),
    (engine.Vector(unit="cpr", values=[]), "x.values is empty; expected at least one rate"),
    (engine.Vector(unit="cpr", values=[0.1, 7.0]), "x.values[1] is 7; expected a decimal in [0, 1] (7% is 0.07)"),
    (engine.Vector(unit="psa", values=[1.0]), "x.by is 'period'; a vector of psa is read by 'age'"),
    (
        engine.Vector(unit="smm", values=[0.1], by="calendar_month"),
        "x.values has 1 values; expected twelve, January's first",
    ),
    (engine.Scaled(curve=engine.Cpr(rate=6.0)), "x.curve.rate is 6; expected a decimal in [0, 1] (6% is 0.06)"),
    (engine.Scaled(curve=engine.Psa(), shift=2.0), "x.shift is 2; expected a decimal in [-1, 1] (2% is 0.02)"),
    (engine.Scaled(curve=engine.Psa(), multiplier=[1, -1]), "x.multiplier[1] is -1; expected a factor in [0, 1000]"),
    (engine.Scaled(curve=engine.Psa(), multiplier=[]), "x.multiplier is empty; expected a value or one a month"),
    (engine.Seasonal(curve=engine.Psa(), factors=[]), "x.factors has 0 values; expected twelve, January's first"),
    (
        engine.Scaled(curve=engine.Timing(cumulative=0.1, timing=[1.0])),
        "x.curve is a timing curve, which stands alone; change its cumulative share",
    ),
    (engine.Timing(cumulative=0.1, timing=[0.5, 0.4]), "x.timing adds up to 0.9; expected 1"),
    (
        engine.Timing(cumulative=0.1, timing=[1.0], months_a_share=0),
        "x.months_a_share is 0; expected months in [1, 120]",
    ),
]


@pytest.mark.parametrize(("curve", "message"), BAD, ids=lambda value: repr(value)[:40])
def test_bad_values_are_told_with_their_path(curve: Curve, message: str) -> None:
    assert [str(problem) for problem in curve.problems("x")] == [message]

"""Profiles of tapes: averages, percentiles and fences by hand, strata that add up, and what is warned of."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.profile import Profile, profile
from engine.strata import MOST_BUCKETS, MOST_VALUES
from engine.tape import Tape
from tests.engine.layout_world import fannie

LOANS = Tape.from_columns(
    balance=[100.0, 300.0, 600.0], annual_rate=[0.05, 0.06, 0.08], remaining_term=[12, 24, 36], age=[1, None, 5],
    group=["a", "b", None], loan_id=["x", "y", "z"],
)  # fmt: skip


def test_averages_are_weighted_by_balance() -> None:
    found = profile(LOANS)
    assert (found.loans, found.balance) == (3, 1000)
    assert found.average_balance == pytest.approx(1000 / 3)
    # 0.1 x 5% + 0.3 x 6% + 0.6 x 8% and 0.1 x 12 + 0.3 x 24 + 0.6 x 36; the blank age counts as 0.
    assert found.wac == pytest.approx(0.071)
    assert found.wam == pytest.approx(30)
    assert found.wala == pytest.approx(0.1 * 1 + 0.6 * 5)


def test_a_tape_without_ages_has_no_wala() -> None:
    assert profile(Tape.from_columns(balance=[1.0], annual_rate=0.05, remaining_term=12)).wala is None


def test_ranges_missing_and_percentiles() -> None:
    numbers = {number.name: number for number in profile(LOANS).numbers}
    assert numbers["age"].missing == 1
    assert (numbers["age"].minimum, numbers["age"].mean, numbers["age"].maximum) == (1, 3, 5)
    assert numbers["balance"].percentiles["p50"] == 300
    # The 25th percentile of 100, 300, 600 is half way from the first to the second.
    assert numbers["balance"].percentiles["p25"] == 200
    assert numbers["annual_rate"].unit == "rate"
    assert "payment" not in numbers


def test_outliers_lie_three_interquartile_ranges_outside() -> None:
    # Quartiles of 0..100 are 25 and 75: the fences are -125 and 225.
    values = np.append(np.arange(101.0), [225.0, 226.0])
    tape = Tape.from_columns(balance=np.ones(103), annual_rate=0.05, remaining_term=12, payment=values)
    numbers = {number.name: number for number in profile(tape).numbers}
    payment = numbers["payment"]
    low, high = np.percentile(values, [25, 75])
    assert payment.high_fence == pytest.approx(high + 3 * (high - low))
    assert payment.outliers == int((values > payment.high_fence).sum()) == 0
    wild = Tape.from_columns(balance=np.append(np.arange(100.0), 1e9), annual_rate=0.05, remaining_term=12)
    found = {number.name: number for number in profile(wild).numbers}
    assert found["balance"].outliers == 1
    assert found["annual_rate"].outliers == 0


def test_text_values_have_their_share_of_the_balance() -> None:
    texts = {text.name: text for text in profile(LOANS).texts}
    assert texts["group"].missing == 1
    assert [(value.value, value.share) for value in texts["group"].values] == [("b", 0.3), ("a", 0.1)]


def test_strata_of_rate_and_group_by_hand() -> None:
    strata = {found.by: found.strata for found in profile(LOANS).strata}
    rates = [(s.label, s.loans, s.balance) for s in strata["annual_rate"]]
    # 5% to 8% fit the finest width only past a dozen buckets: 13 quarters, so half percents.
    assert rates == [("5% to 5.5%", 1, 100), ("6% to 6.5%", 1, 300), ("8% to 8.5%", 1, 600)]
    assert [(s.label, s.share) for s in strata["group"]] == [("none", 0.6), ("b", 0.3), ("a", 0.1)]
    assert strata["remaining_term"][0].wac == pytest.approx(0.05)


@given(
    st.lists(
        st.tuples(st.floats(0, 1e9), st.floats(0, 1), st.integers(1, 1200), st.sampled_from(["a", "b", None])),
        min_size=1, max_size=60,
    )
)  # fmt: skip
def test_strata_add_up_to_the_tape(loans: list[tuple[float, float, int, str | None]]) -> None:
    balance, rate, term, group = (list(column) for column in zip(*loans, strict=True))
    found = profile(Tape.from_columns(balance=balance, annual_rate=rate, remaining_term=term, group=group))
    for strata in found.strata:
        assert sum(stratum.loans for stratum in strata.strata) == len(loans)
        assert sum(stratum.balance for stratum in strata.strata) == pytest.approx(sum(balance))
        assert 1 <= len(strata.strata) <= MOST_BUCKETS + 1
    for strata in found.strata[:3]:
        values = {"annual_rate": rate, "remaining_term": term, "balance": balance}[strata.by]
        assert strata.strata[0].low <= min(values) + 1e-9  # type: ignore[operator]
        assert strata.strata[-1].high >= max(values) - 1e-9  # type: ignore[operator]


def test_groups_past_the_twentieth_are_one() -> None:
    names = [f"g{i:02d}" for i in range(30)]
    tape = Tape.from_columns(balance=np.arange(30.0) + 1, annual_rate=0.05, remaining_term=12, group=names)
    strata = next(found.strata for found in profile(tape).strata if found.by == "group")
    assert len(strata) == MOST_VALUES + 1
    # The ten smallest, 1 to 10.
    assert (strata[-1].label, strata[-1].balance, strata[-1].loans) == ("others", 55, 10)


def test_balances_that_do_not_perform_are_warned_of() -> None:
    read = engine.read_tape(
        fannie({}, {"DLQ_STATUS": "03"}, {"DLQ_STATUS": "00"}, {"CURRENT_UPB": "9x"}), on_error="skip"
    )
    found = profile(read)
    assert found.not_performing == 233_345.67
    assert found.warnings[0].startswith("1 loans with 233,345.67 (33.3% of the balance) are delinquent or in default")
    assert "1 faulty rows are left out" in found.warnings
    assert found.report is not None
    assert found.report.skipped == 1
    assert {"status", "annual_rate"} <= {strata.by for strata in found.strata}
    assert {date.name: date.latest for date in found.dates}["maturity_date"] == "2052-11"


def test_a_profile_survives_json() -> None:
    found = profile(engine.read_tape(fannie({}, {})))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Profile) == found


def test_loans_and_columns_have_one_profile() -> None:
    loans = [engine.Loan(balance=100.0 * i, annual_rate=0.05, remaining_term=12 * i, age=i) for i in (1, 2, 3)]
    columns = Tape.from_columns(
        balance=[100.0, 200.0, 300.0], annual_rate=[0.05] * 3, remaining_term=[12, 24, 36], age=[1, 2, 3]
    )
    first, second = profile(Tape.from_loans(loans)), profile(columns)
    assert (first.wac, first.wam, first.wala) == (second.wac, second.wam, second.wala)
    assert first.strata == second.strata


def test_a_tape_that_is_not_valid_is_refused() -> None:
    with pytest.raises(engine.TapeError, match="annual_rate"):
        profile(Tape.from_columns(balance=[1.0], annual_rate=[6.5], remaining_term=[12]))


def test_zero_balances_have_plain_averages() -> None:
    found = profile(Tape.from_columns(balance=[0.0, 0.0], annual_rate=[0.04, 0.06], remaining_term=[12, 24]))
    assert (found.wac, found.wam) == (0.05, 18)

"""Payments by frequency and by date: the kernel against the plain reference, by hand, and what is refused."""

import datetime
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine import dates
from engine.day_count import DAY_COUNTS
from engine.payment_calendars import on_dates
from tests import reference
from tests.engine.test_contracts import INDICES, STEPS, assert_near, index_of
from tests.engine.test_kernel import ALL, FEW, conventions, ungrouped
from tests.reference_dates import A_YEAR, APART, WEEKS, dated_contract, edge, moved

CUTOFFS = [datetime.date(2025, 1, 31), datetime.date(2024, 2, 29), datetime.date(2025, 6, 15)]
CALENDARS = {
    "own": dates.Calendar(holidays=(datetime.date(2025, 3, 3), datetime.date(2025, 9, 1)), weekend=("Fri", "Sat"))
}
FREQUENCIES = ["monthly", "quarterly", "semi_annual", "annual", "fortnightly", "weekly"]
RULES = conventions.map(lambda rules: msgspec.structs.replace(rules, default_base="opening", recoup="none"))


@st.composite
def dated(draw: st.DrawFn, cutoff: datetime.date, term: int, frequency: str) -> dict[str, Any]:
    """Dates that fit one another."""
    period = WEEKS.get(frequency) or 30 * APART[frequency]
    first = cutoff + datetime.timedelta(days=draw(st.integers(2, int(1.2 * period) + 3)))
    terms: dict[str, Any] = {"next_payment_date": str(first), "payment_frequency": frequency}
    terms["month_end"] = draw(st.none() | st.sampled_from(["same_day", "last_day"]))
    before = moved(engine.Loan(balance=1.0, annual_rate=0.0, remaining_term=1, **terms), first, -1)
    irregular = draw(st.booleans())
    if irregular:
        origin = draw(st.none() | st.integers(-3 * period, (first - cutoff).days - 1))
        if origin is not None:
            terms["origination_date"] = str(cutoff + datetime.timedelta(days=origin))
        elif draw(st.booleans()):
            terms["paid_to_date"] = str(
                before + datetime.timedelta(days=draw(st.integers(-40, (first - before).days - 1)))
            )
        if draw(st.booleans()):
            low, high = edge(cutoff, term - 1), edge(cutoff, term)
            end = low + datetime.timedelta(days=draw(st.integers(1, (high - low).days)))
            terms |= {"maturity_date": str(end), "final_stub": draw(st.none() | st.sampled_from(["short", "long"]))}
    counts = [name for name in DAY_COUNTS if not (name == "ACT/ACT ICMA" and frequency in WEEKS)]
    terms["day_count"] = draw(st.sampled_from(counts) if irregular else st.none() | st.sampled_from(counts))
    for name in ("business_day", "accrual_business_day"):
        terms[name] = draw(st.none() | st.sampled_from(["following", "modified_following"]))
    if terms["business_day"] or terms["accrual_business_day"]:
        terms["calendar"] = draw(st.none() | st.sampled_from(["own", "NYSE"]))
    return terms


@st.composite
def tapes(draw: st.DrawFn, most: int = 3) -> tuple[datetime.date, list[engine.Loan]]:
    cutoff = draw(st.sampled_from(CUTOFFS))
    return cutoff, [draw(loans(cutoff)) for _ in range(draw(st.integers(1, most)))]


@st.composite
def loans(draw: st.DrawFn, cutoff: datetime.date) -> engine.Loan:
    frequency = draw(st.sampled_from(FREQUENCIES))
    apart = APART.get(frequency, 0)
    term = draw(st.integers(2 * apart + 3, 2 * apart + 60))
    terms: dict[str, Any] = {"payment_frequency": frequency}
    if frequency in WEEKS or frequency == "monthly" or draw(st.booleans()):
        terms = draw(dated(cutoff, term, frequency))
    start = terms.get("origination_date") or ""
    future = start > str(cutoff)
    rate = draw(st.sampled_from([0.0, 0.04, 0.12, 0.25]))
    kind = draw(st.sampled_from(["level_pay", "linear", "bullet"]))
    free = draw(st.just(0) | st.integers(0, term // 2))
    spread = None
    if kind != "bullet" and not future and draw(st.booleans()):
        spread = term - free + max(apart, 1) * draw(st.integers(0, 40))
    balance = draw(st.sampled_from([0.0, 1e6, 123.45]))
    payment = None
    if kind == "level_pay" and balance and draw(st.booleans()) and not free:
        years = 1 / A_YEAR[frequency]
        payment = balance * draw(st.floats(rate * years * 0.9, rate * years + 0.2))
    more: dict[str, Any] = {}
    what = draw(st.sampled_from(["fixed", "fixed", "floating", "steps", "holiday"]))
    if what == "floating" and not (free and payment):
        first = draw(st.integers(0, 3)) if apart <= 1 else first_month(cutoff, term, terms)
        more = {
            "index": draw(st.sampled_from(sorted(INDICES))), "first_reset": first, "margin": 0.01,
            "reset_frequency": max(apart, 1) * draw(st.integers(1, 2)), "periodic_cap": draw(st.none() | st.just(0.02)),
        }  # fmt: skip
        more["payment_cap"] = draw(st.none() | st.just(0.075)) if kind == "level_pay" else None
    if what == "steps" and apart <= 1:
        more = {"rate_schedule": draw(st.sampled_from(sorted(STEPS)))}
    if what == "holiday":
        at = draw(st.integers(1, term - 2))
        more = {"holiday_start": at, "holiday_months": draw(st.integers(1, term - at - 1))}
        more["holiday_interest"] = draw(st.none() | st.sampled_from(["capitalized", "forgiven", "paid"]))
    return engine.Loan(
        balance=balance, annual_rate=rate, remaining_term=term, age=0 if future else draw(st.integers(0, 0)),
        amortization=kind, payment=payment, interest_only_term=free, amortization_term=spread,
        servicing_fee=draw(st.sampled_from([0.0, 0.0025])), **terms, **more,
    )  # fmt: skip


def first_month(cutoff: datetime.date, term: int, terms: dict[str, Any]) -> int:
    """The grid month of the first regular payment."""
    if terms.get("next_payment_date"):
        day = datetime.date.fromisoformat(terms["next_payment_date"])
        return next(month for month in range(40) if day <= edge(cutoff, month))
    return (term - 1) % APART[terms["payment_frequency"]] + 1


def tape_of(loans: list[engine.Loan]) -> engine.Tape:
    return engine.Tape.from_loans(loans, rate_schedules=STEPS, calendars=CALENDARS)


def flows_of(cutoff: datetime.date, loans: list[engine.Loan], **rest: Any) -> engine.Cashflows:
    assumed = msgspec.structs.replace(rest.pop("assumptions", engine.Assumptions()), rates=INDICES)
    request = engine.ProjectionRequest(
        **{"tape": tape_of(loans), "assumptions": assumed, "fields": ALL, "cutoff_date": cutoff, **rest}
    )
    return engine.project(request)


def expected(
    cutoff: datetime.date, loan: engine.Loan, assumed: engine.Assumptions, rules: engine.Conventions, periods: int
) -> dict[str, list[float]]:
    contract, waits = dated_contract(loan, tape_of([loan]), index_of, cutoff)
    return reference.project_loan(loan, assumed, rules, periods, cutoff, contract, waits)


@given(tape=tapes(), assumed=ungrouped, rules=RULES)
@FEW
def test_each_loan_equals_the_reference(
    tape: tuple[datetime.date, list[engine.Loan]], assumed: engine.Assumptions, rules: engine.Conventions
) -> None:
    cutoff, loans = tape
    flows = flows_of(cutoff, loans, assumptions=assumed, conventions=rules, level="loan")
    for i, loan in enumerate(loans):
        right = expected(cutoff, loan, assumed, rules, flows.periods)
        assert_near({name: flows[name][i] for name in ALL}, right, loan.balance)


@given(tape=tapes(4), assumed=ungrouped, rules=RULES)
@FEW
def test_pool_equals_the_reference_and_principal_is_conserved(
    tape: tuple[datetime.date, list[engine.Loan]], assumed: engine.Assumptions, rules: engine.Conventions
) -> None:
    cutoff, loans = tape
    flows = flows_of(cutoff, loans, assumptions=assumed, conventions=rules)
    parts = [expected(cutoff, loan, assumed, rules, flows.periods) for loan in loans]
    total = sum(loan.balance for loan in loans)
    assert_near(dict(flows.columns), reference.add_up(parts, flows.periods), total)
    paid = math.fsum([*flows["principal"], *flows["loss"], flows["balance"][-1], flows["foreclosure"][-1]])
    assert paid == pytest.approx(flows.opening_balance + flows["draw"].sum(), rel=1e-9)
    assert flows.opening_balance + flows["draw"].sum() == pytest.approx(total, rel=1e-12)


def one(loan: engine.Loan, cutoff: datetime.date | None = None, **rest: Any) -> engine.Cashflows:
    return engine.project(engine.ProjectionRequest(tape=tape_of([loan]), cutoff_date=cutoff, fields=ALL, **rest))


def test_quarterly_level_payment_by_hand() -> None:
    # 1,000 at 12%: 3% a quarter over four quarters pays 1000 x 0.03 / (1 - 1.03^-4) = 269.03; interest 30, 22.83, ..
    flows = one(engine.Loan(balance=1000.0, annual_rate=0.12, remaining_term=12, payment_frequency="quarterly"))
    pays = 1000 * 0.03 / (1 - 1.03**-4)
    assert pays == pytest.approx(269.03, abs=0.005)
    assert flows["cashflow"] == pytest.approx([0, 0, pays] * 4, rel=1e-12)
    left = 1000 * 1.03 - pays
    assert flows["interest"][[2, 5]] == pytest.approx([30, 0.03 * left], rel=1e-12)
    assert flows["balance"][:6] == pytest.approx([1000, 1000, left, left, left, left * 1.03 - pays], rel=1e-12)


def test_payments_without_dates_end_at_maturity() -> None:
    # 7 months of half-yearly payments: in months 1 and 7, each with half a year's interest.
    loan = engine.Loan(
        balance=100.0, annual_rate=0.06, remaining_term=7, amortization="bullet", payment_frequency="semi_annual"
    )
    flows = one(loan)
    assert flows["interest"] == pytest.approx([3, 0, 0, 0, 0, 0, 3], rel=1e-14)
    assert flows["principal"] == pytest.approx([0] * 6 + [100], rel=1e-14)


def test_behaviour_acts_in_months_with_payments_at_compounded_rates() -> None:
    # 1% a month in a quarter is 1 - 0.99^3 = 2.9701% of the balance after the quarter's principal (a bullet: none).
    loan = engine.Loan(
        balance=1000.0, annual_rate=0.12, remaining_term=12, amortization="bullet", payment_frequency="quarterly"
    )
    flows = one(loan, assumptions=engine.Assumptions(prepayment=engine.Smm(rate=0.01)))
    share = 1 - 0.99**3
    assert share == pytest.approx(0.029701)
    assert flows["prepayment"][:6] == pytest.approx([0, 0, 1000 * share, 0, 0, 1000 * (1 - share) * share], rel=1e-12)
    assert flows["interest"][:6] == pytest.approx([0, 0, 30, 0, 0, 30 * (1 - share)], rel=1e-12)


def test_actual_days_and_a_payment_that_moves_by_hand() -> None:
    # 36,000 at 10%, ACT/360, on the last day of the month from 31 January 2025: 28 days to 28 February, 31 to 31 March,
    # 30 to 30 April. 31 May 2025 is a Saturday: paid on 2 June, in the month after (and with that of 30 June).
    cutoff = datetime.date(2025, 1, 31)
    loan = engine.Loan(
        balance=36_000.0, annual_rate=0.10, remaining_term=5, amortization="bullet", next_payment_date="2025-02-28",
        month_end="last_day", day_count="ACT/360", business_day="following",
    )  # fmt: skip
    flows = one(loan, cutoff)
    assert flows["interest"] == pytest.approx([280, 310, 300, 0, 310 + 300], rel=1e-13)
    # With the modified convention it is paid on Friday 30 May; interest still runs to the 31st.
    modified = msgspec.structs.replace(loan, business_day="modified_following")
    assert one(modified, cutoff)["interest"] == pytest.approx([280, 310, 300, 310, 300], rel=1e-13)
    # Interest periods that move as well: 30 days to 30 May, 31 to 30 June.
    both = msgspec.structs.replace(modified, accrual_business_day="modified_following")
    assert one(both, cutoff)["interest"] == pytest.approx([280, 310, 300, 300, 310], rel=1e-13)


def test_stubs_by_hand() -> None:
    # From 20 January to 15 February 26 days, then 28, and from 15 March to 1 April 17: short last. Long: 28 + 17 = 45.
    cutoff = datetime.date(2025, 1, 20)
    loan = engine.Loan(
        balance=36_000.0, annual_rate=0.10, remaining_term=3, amortization="bullet", origination_date="2025-01-20",
        next_payment_date="2025-02-15", maturity_date="2025-04-01", day_count="ACT/360",
    )  # fmt: skip
    assert one(loan, cutoff)["interest"] == pytest.approx([260, 280, 170], rel=1e-13)
    long = msgspec.structs.replace(loan, final_stub="long")
    assert one(long, cutoff)["interest"] == pytest.approx([260, 0, 450], rel=1e-13)
    # Interest paid to 1 January only: 45 days are due on 15 February.
    late = msgspec.structs.replace(loan, origination_date=None, paid_to_date="2025-01-01")
    assert one(late, cutoff)["interest"][0] == pytest.approx(450, rel=1e-13)


def test_weekly_payments_are_added_up_in_the_month() -> None:
    # 5,200 at 10%: 10 a week on the whole balance; months of five and four Wednesdays from 1 January 2025.
    loan = engine.Loan(
        balance=5200.0, annual_rate=0.10, remaining_term=2, amortization="bullet", payment_frequency="weekly",
        next_payment_date="2025-01-08",
    )  # fmt: skip
    flows = one(loan, datetime.date(2025, 1, 1))
    assert flows["interest"] == pytest.approx([40, 40], rel=1e-13)
    # Level: eight payments of P = 5200 i / (1 - (1 + i)^-8), i = 0.1 / 52, four a month.
    i = 0.1 / 52
    pays = 5200 * i / (1 - (1 + i) ** -8)
    level = one(msgspec.structs.replace(loan, amortization="level_pay"), datetime.date(2025, 1, 1))
    assert level["cashflow"] == pytest.approx([4 * pays, 4 * pays], rel=1e-12)


def test_a_loan_that_starts_later_is_drawn_then() -> None:
    # Drawn on 15 March, in month 3; the first of 12 payments falls on 15 April; PSA ages from the draw on.
    cutoff = datetime.date(2025, 1, 1)
    loan = engine.Loan(balance=1200.0, annual_rate=0.12, remaining_term=15, origination_date="2025-03-15")
    flows = one(loan, cutoff, assumptions=engine.Assumptions(prepayment=engine.Psa(speed=1.0)))
    assert flows.opening_balance == 0
    assert flows["draw"] == pytest.approx([0, 0, 1200] + [0] * 12)
    assert list(flows["balance"][:3]) == [0, 0, 1200]
    assert flows["interest"][:4] == pytest.approx([0, 0, 0, 12.0], rel=1e-13)
    pays = 1200 * 0.01 / (1 - 1.01**-12)
    after = 1200 * 1.01 - pays
    assert flows["prepayment"][3] == pytest.approx(after * (1 - (1 - 0.002) ** (1 / 12)), rel=1e-12)
    assert flows["principal"].sum() == pytest.approx(1200, rel=1e-12)
    # Without a cut-off date it is information, like all that plain loans say of their origin.
    assert one(loan)["draw"].sum() == 0


QUARTERLY = {"payment_frequency": "quarterly"}
DATED = {"next_payment_date": "2025-02-15"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"payment_frequency": "weekly"}, "next_payment_date is missing; weekly"),
    ({"payment_frequency": "daily"}, "expected one of weekly"),
    ({"next_payment_date": "15.02.2025"}, "expected a date"),
    ({"next_payment_date": "2025-01-31"}, "is not after cutoff_date 2025-01-31"),
    ({"day_count": "ACT/360"}, "next_payment_date is missing beside day_count"),
    ({"day_count": "ACT/ACT", **DATED}, "expected one of 30/360"),
    ({"calendar": "NYSE", **DATED}, "business_day is missing beside calendar"),
    ({"calendar": "MARS", "business_day": "following", **DATED}, "is 'MARS'; expected a name in tape.calendars"),
    ({"final_stub": "long", **DATED}, "maturity_date is missing beside final_stub"),
    ({"maturity_date": "2026-09-15", **DATED}, "is not in the last month of remaining_term"),
    ({"maturity_date": "2026-01-20", **DATED}, "day_count is missing; the loan has a period that is not regular"),
    ({"paid_to_date": "2025-02-15", "day_count": "ACT/360", **DATED}, "is not before the next payment"),
    ({"origination_date": "2025-02-20", **DATED}, "is not after origination_date"),
    ({"origination_date": "2025-03-01", "age": 3}, "is above 0 on a loan that starts after the cut-off"),
    ({"origination_date": "2026-02-01"}, "remaining_term ends before the first payment"),
    ({"day_count": "ACT/ACT ICMA", "payment_frequency": "weekly", **DATED}, "it needs periods of whole months"),
    ({"schedule": "s", "amortization": "schedule", **QUARTERLY}, "schedule is stated on a loan that does not pay"),
    ({"graduation_rate": 0.1, "graduation_years": 1, **QUARTERLY}, "graduation_rate is stated on a loan that does not"),
    ({"amortization_term": 25, **QUARTERLY}, "leaves no whole number of payments"),
    ({"index": "x", "first_reset": 4, "reset_frequency": 3, **QUARTERLY}, "first_reset falls between payments"),
    ({"index": "x", "first_reset": 3, "reset_frequency": 1, **QUARTERLY}, "reset_frequency falls between payments"),
    ({"rate_schedule": "once", "remaining_term": 13, **QUARTERLY}, "rate_schedule falls between payments"),
]  # fmt: skip


@pytest.mark.parametrize(("terms", "says"), REFUSED)
def test_what_contradicts_itself_is_refused(terms: dict[str, Any], says: str) -> None:
    loan = engine.Loan(**{"balance": 100.0, "annual_rate": 0.05, "remaining_term": 12, **terms})
    schedules = {"s": engine.Schedule(balances=[100.0] * 20)}
    tape = engine.Tape.from_loans([loan], schedules=schedules, rate_schedules=STEPS)
    request = engine.ProjectionRequest(
        tape=tape, cutoff_date=datetime.date(2025, 1, 31), assumptions=engine.Assumptions(rates={"x": INDICES["flat"]})
    )
    with pytest.raises(engine.TapeError) as refused:
        engine.project(request)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("assumed", "rules", "says"),
    [
        (engine.Assumptions(delinquency=engine.Delinquency(roll=[0.1, 0.1], cure=[0.1])), "sifma", "delinquency"),
        (engine.Assumptions(), engine.Conventions(recoup="at_liquidation"), "recoup"),
        (engine.Assumptions(), engine.Conventions(default_base="after_scheduled_principal"), "default_base"),
    ],
)
def test_assumptions_that_count_every_month_are_refused(
    assumed: engine.Assumptions, rules: str | engine.Conventions, says: str
) -> None:
    loan = engine.Loan(balance=100.0, annual_rate=0.05, remaining_term=12, **QUARTERLY)
    with pytest.raises(engine.AssumptionError, match=says):
        one(loan, assumptions=assumed, conventions=rules)


def test_dates_need_a_cutoff_date() -> None:
    with pytest.raises(engine.AssumptionError, match="cutoff_date is missing; the tape's payment dates"):
        one(engine.Loan(balance=100.0, annual_rate=0.05, remaining_term=12, **DATED))


def mixed(n: int) -> engine.Tape:
    rng = np.random.default_rng(5)
    days = np.datetime64("2025-02-01") + rng.integers(0, 28, n)
    return engine.Tape.from_columns(
        balance=rng.uniform(1e3, 1e6, n), annual_rate=rng.uniform(0.02, 0.09, n),
        remaining_term=rng.integers(12, 121, n),
        payment_frequency=np.array(FREQUENCIES, dtype=object)[np.arange(n) % 6],
        next_payment_date=days, day_count="ACT/365F", business_day="modified_following", calendar="TARGET",
    )  # fmt: skip


def test_any_number_of_threads_gives_the_same_bits() -> None:
    assumed = engine.Assumptions(prepayment=engine.Psa(speed=1.5), default=engine.Cdr(rate=0.02), severity=0.4)
    request = engine.ProjectionRequest(tape=mixed(5_000), cutoff_date=datetime.date(2025, 1, 31), assumptions=assumed)
    first, second = engine.project(request, threads=1), engine.project(request, threads=5)
    for name in first.fields:
        assert first[name].tobytes() == second[name].tobytes(), name
    total = first["principal"].sum() + first["loss"].sum()
    assert total == pytest.approx(first.opening_balance, rel=1e-12)


def calendars_of(columns: dict[str, Any]) -> Any:
    """The calendars of loans of 24 to 143 months from the end of January 2025, and which each loan has."""
    n = 1_200
    tape = engine.Tape.from_columns(balance=1e5, annual_rate=0.05, remaining_term=24 + np.arange(n) % 120, **columns)
    terms = on_dates(tape.arrays(), datetime.date(2025, 1, 31)).contracts
    assert terms is not None
    assert terms.calendars is not None
    return terms.calendars


def test_loans_that_end_on_regular_dates_share_the_calendar_of_their_set() -> None:
    # Ten days of the month by two day counts, 120 terms; maturities on the same days as the payments change nothing.
    # What was originated before the last regular date owes from that date, whenever it was.
    number = np.arange(1_200)
    day = 3 + number // 120
    count = np.array(["ACT/360", "30E/360"], dtype=object)[number % 2]
    following = np.datetime64("2025-02") + np.zeros(1_200, dtype=int)
    columns = {"next_payment_date": following.astype("datetime64[D]") + day - 1, "day_count": count.tolist()}
    found = calendars_of(columns)
    assert len(found.begins) == 20
    assert (found.payments == 24 + number % 120).all()
    maturity = (following + 23 + number % 120).astype("datetime64[D]") + day - 1
    origin = np.datetime64("2024-12-31") - number
    again = calendars_of({**columns, "maturity_date": maturity, "origination_date": origin})
    assert again.begins.tobytes() == found.begins.tobytes()
    assert again.years.tobytes() == found.years.tobytes()


def test_a_stub_takes_the_calendar_of_the_set_and_another_last_payment() -> None:
    # Due on the 20th, ending on the 25th: 5 days more of ACT/360 after the last regular payment.
    number = np.arange(1_200)
    following = (np.datetime64("2025-02") + np.zeros(1_200, dtype=int)).astype("datetime64[D]")
    maturity = (np.datetime64("2025-02") + 23 + number % 120).astype("datetime64[D]") + 24
    found = calendars_of({"next_payment_date": following + 19, "maturity_date": maturity, "day_count": "ACT/360"})
    assert len(found.begins) == 1 + 120
    term = 24 + number % 120
    last = found.begins[found.calendar, term] - 1
    assert found.years[last] == pytest.approx(np.full(1_200, 5 / 360), rel=1e-15)
    assert (found.payments == term + 1).all()
    shared = found.begins[0]
    for calendar in (1, 60, 120):
        own = found.begins[calendar]
        assert found.years[own[0] : own[20]].tobytes() == found.years[shared[0] : shared[20]].tobytes()


def test_columns_of_dates_equal_loans_of_texts() -> None:
    tape = mixed(30)
    columns = tape.columns
    assert columns is not None
    loans = [
        engine.Loan(
            balance=float(columns.balance[i]), annual_rate=float(columns.annual_rate[i]),
            remaining_term=int(columns.remaining_term[i]), payment_frequency=columns.payment_frequency[i],
            next_payment_date=str(columns.next_payment_date[i]), day_count="ACT/365F",
            business_day="modified_following", calendar="TARGET",
        )
        for i in range(30)
    ]  # fmt: skip
    cutoff = datetime.date(2025, 1, 31)
    both = [
        engine.project(engine.ProjectionRequest(tape=each, cutoff_date=cutoff, level="loan"))
        for each in (tape, engine.Tape.from_loans(loans))
    ]
    assert both[0]["balance"].tobytes() == both[1]["balance"].tobytes()


@pytest.mark.parametrize("frequency", ["quarterly", "semi_annual", "annual"])
def test_no_loan_defaults_in_the_last_months_of_the_lag_however_often_it_pays(frequency: Any) -> None:
    # 41 months and a lag of 10: none after month 31. Quarterly payments fall into months 2, 5, .. 29, 32: what fails in
    # months 30 and 31 would default in month 32, half-years in month 35 and years in month 41.
    loan = engine.Loan(balance=1000.0, annual_rate=0.06, remaining_term=41, payment_frequency=frequency)
    assumed = engine.Assumptions(default=engine.Cdr(rate=0.1), severity=0.5, recovery_lag=10)
    flows = one(loan, assumptions=assumed)
    assert flows["default"][:31].any()
    assert not flows["default"][31:].any()
    assert one(loan, assumptions=assumed, conventions=engine.Conventions(final_defaults="continue"))["default"][
        29:
    ].any()
    assert flows.periods == 51


def test_lanes_of_several_calendars_and_none_equal_the_loans_by_themselves() -> None:
    # One run: loans due monthly on three days and weekly, a floating one without dates, and a line of credit that is
    # drawn later; in one vector or two, by the order of their terms.
    cutoff = datetime.date(2025, 1, 31)
    line = engine.Revolving(
        balance=0.0, annual_rate=0.2, remaining_term=40, credit_limit=800.0, utilization=0.9, draw_term=20
    )
    fixed = {"balance": 1000.0, "annual_rate": 0.06, "day_count": "ACT/360"}
    loans = [
        *(engine.Loan(remaining_term=term, next_payment_date=f"2025-02-{day}", **fixed)  # type: ignore[arg-type]
          for term, day in ((30, 10), (31, 20), (40, 10), (33, 15))),
        engine.Loan(remaining_term=35, next_payment_date="2025-02-04", payment_frequency="weekly", **fixed),  # type: ignore[arg-type]
        engine.Loan(balance=900.0, annual_rate=0.05, remaining_term=36, index="flat", first_reset=3),
        line,
    ]  # fmt: skip
    indices = engine.Assumptions(rates=INDICES, prepayment=engine.Cpr(rate=0.1))
    for some in (loans, loans[:4], loans[:5], [*loans[:4], line]):
        tape = engine.Tape.from_loans(some)
        pool = engine.project(engine.ProjectionRequest(tape=tape, cutoff_date=cutoff, assumptions=indices, fields=ALL))
        for name in ALL:
            alone = np.zeros(pool.periods)
            for loan in some:
                each = engine.ProjectionRequest(
                    tape=engine.Tape.from_loans([loan]), cutoff_date=cutoff, assumptions=indices, fields=[name]
                )
                row = engine.project(each)[name]
                alone[: len(row)] += row
            np.testing.assert_allclose(pool[name], alone, rtol=1e-12, atol=1e-9, err_msg=name)
    assert pool["draw"].max() > 700

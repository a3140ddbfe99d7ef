"""Figures printed by others, each with its source, held to the digits that were printed.

SF: Bond Market Association (now SIFMA), Uniform Practices, chapter SF, Standard Formulas (02/01/99).
FJ: Fabozzi and Jones, Foundations of Global Financial Markets and Institutions, chapter 30.
FE: Fabozzi and others, chapter on prepayment and default conventions of mortgage-backed securities (Wiley).
MW: MathWorks, documentation of the Financial Instruments Toolbox.
"""

import numpy as np
import pytest

import engine
from engine import analytics

HALF_CENT, HALF_DOLLAR, DOLLAR = 0.0051, 0.51, 1.0
FOURTH, FIFTH = 5.1e-5, 5.1e-6  # half a unit of the fourth and of the fifth decimal


def run(
    balance: float,
    rate: float,
    term: int,
    *,
    net: float | None = None,
    age: int = 0,
    **assumptions: object,
) -> engine.Cashflows:
    """One level-pay loan, every field; rates in per cent as they are printed."""
    fee = 0.0 if net is None else (rate - net) / 100
    loan = engine.Loan(balance=balance, annual_rate=rate / 100, remaining_term=term, age=age, servicing_fee=fee)
    return engine.project(
        engine.ProjectionRequest(
            tape=engine.Tape.from_loans([loan]),
            assumptions=engine.Assumptions(**assumptions),
            fields=list(engine.FIELD_NAMES),
        )
    )


def psa(speed: float) -> engine.Psa:
    return engine.Psa(speed=speed / 100)


def test_first_month_of_a_gnma_pass_through() -> None:
    # SF-4 and SF-5: GNMA I 9.0%, gross 9.5%, 360 months, 150% PSA; half a unit of the eighth decimal.
    flows = run(1.0, 9.5, 360, net=9.0, prepayment=psa(150))
    printed = {
        "scheduled_principal": 0.00049188,
        "prepayment": 0.00025022,
        "interest": 0.00791667,
        "servicing_fee": 0.00041667,
        "principal": 0.0007421,
        "net_interest": 0.0075,
        "cashflow": 0.0082421,
    }
    for name, figure in printed.items():
        assert flows[name][0] == pytest.approx(figure, abs=5.1e-9), name


def test_speeds_implied_by_two_pool_factors() -> None:
    # SF-7 and SF-8: GNMA I 9.0% issued 3/1/88, WAM 359; month 17 by age.
    first, second = (analytics.amortized_factor(0.095, 359, remaining) for remaining in (344, 343))
    assert first == pytest.approx(0.992133, abs=6e-9)
    assert second == pytest.approx(0.99157471, abs=6e-9)
    scheduled = analytics.scheduled_factor(0.85150625, first, second)
    assert scheduled == pytest.approx(0.85102709, abs=6e-9)
    assert 0.85150625 - scheduled == pytest.approx(0.00047916, abs=6e-9)
    assert scheduled - 0.84732282 == pytest.approx(0.00370427, abs=6e-9)
    smm = analytics.implied_smm(0.84732282, scheduled)
    assert 100 * smm == pytest.approx(0.43527, abs=6e-7)
    assert 100 * analytics.implied_cpr(smm) == pytest.approx(5.10, abs=6e-5)
    assert 100 * analytics.implied_psa(smm, 17) == pytest.approx(150.0, abs=0.006)
    speed = analytics.implied_psa_between(0.85150625, 0.84732282, [first, second], 17)
    assert 100 * speed == pytest.approx(150.0, abs=0.006)


SMM_TABLE = [  # SF-9: SMM %, CPR %, PSA % at thirty months of age and more
    (0.05, 0.6, 10), (0.25, 3.0, 49), (0.5, 5.8, 97), (1.0, 11.4, 189), (1.5, 16.6, 276), (2.0, 21.5, 359),
    (2.5, 26.2, 437), (3.0, 30.6, 510), (4.0, 38.7, 645), (5.0, 46.0, 766), (6.0, 52.4, 873), (7.0, 58.1, 969),
    (8.0, 63.2, 1054), (9.0, 67.8, 1129),
]  # fmt: skip


@pytest.mark.parametrize(("smm", "cpr", "speed"), SMM_TABLE)
def test_smm_to_cpr_and_psa(smm: float, cpr: float, speed: float) -> None:
    assert 100 * analytics.implied_cpr(smm / 100) == pytest.approx(cpr, abs=0.05)
    assert 100 * analytics.implied_psa(smm / 100, 30) == pytest.approx(speed, abs=0.5)


PSA_TABLE = [  # SF-10: month, PSA %, SMM %
    (1, 100, 0.02), (1, 950, 0.16), (5, 100, 0.08), (10, 150, 0.25), (15, 200, 0.51), (20, 300, 1.06),
    (25, 400, 1.84), (30, 100, 0.51), (30, 500, 2.93), (30, 950, 6.79),
]  # fmt: skip


@pytest.mark.parametrize(("month", "speed", "smm"), PSA_TABLE)
def test_psa_to_smm(month: int, speed: float, smm: float) -> None:
    assert 100 * psa(speed).monthly(np.array([month]))[0] == pytest.approx(smm, abs=0.005)


ABS_TABLE = [  # SF-15: month, ABS %, SMM %
    (1, 0.5, 0.5), (10, 0.5, 0.52), (50, 0.5, 0.66), (10, 1.0, 1.1), (30, 1.0, 1.41), (50, 1.0, 1.96), (20, 1.5, 2.1),
    (40, 1.5, 3.61), (50, 1.5, 5.66), (30, 1.75, 3.55), (40, 2.0, 9.09), (49, 2.0, 50.0), (50, 2.0, 100.0),
]  # fmt: skip


@pytest.mark.parametrize(("month", "rate", "smm"), ABS_TABLE)
def test_abs_to_smm_and_back(month: int, rate: float, smm: float) -> None:
    monthly = engine.Abs(rate=rate / 100).monthly(np.array([month]))[0]
    assert 100 * monthly == pytest.approx(smm, abs=0.005)
    assert 100 * analytics.implied_abs(monthly, month) == pytest.approx(rate, abs=1e-9)


# SF-23 to SF-30, Cash Flow A: 8% WAC, 360 months, 100,000,000, 1% SMM, 1% MDR, 20% severity, 12 months to recovery,
# principal and interest advanced. Columns: performing balance, new defaults, in foreclosure, amortisation factor,
# expected amortisation, voluntary prepayment, amortisation from defaults, actual amortisation, expected interest,
# interest lost, actual interest, principal recovery, principal loss, amortised defaulted balance.
CASH_FLOW_A = {
    1: (97934244, 1000000, 999329, 0.9993, 67098, 999329, 671, 66427, 666667, 6667, 660000, 0, 0, 0),
    2: (95910689, 979342, 1977334, 0.9987, 66870, 978680, 1337, 65532, 659557, 13191, 646366, 0, 0, 0),
    12: (77816148, 794620, 10674244, 0.9916, 64994, 794042, 7770, 57223, 595663, 71213, 524449, 0, 0, 0),
    13: (76203943, 778161, 10453093, 0.9909, 64118, 777591, 7666, 56453, 589936, 76349, 513587, 791646, 200000, 991646),
    14: (74624734, 762039, 10236469, 0.9902, 63255, 761477, 7562, 55693, 577714, 74768, 502946, 775233, 195868, 971101),
    24: (60506537, 617905, 8299839, 0.9826, 55235, 617414, 6603, 48631, 468443, 60626, 407817, 628500, 158924, 787424),
    36: (47007045, 480081, 6448079, 0.9728, 46941, 479664, 5612, 41329, 363957, 47103, 316854, 488208, 123581, 611789),
    60: (28288335, 288958, 3880385, 0.9507, 33903, 288656, 4053, 29850, 219063, 28351, 190712, 293702, 74530, 368232),
    100: (12002690, 122652, 1646440, 0.905, 19711, 122476, 2356, 17354, 92984, 12034, 80950, 124527, 31774, 156301),
    120: (7766959, 79388, 1065414, 0.8772, 15029, 79255, 1797, 13233, 60185, 7789, 52396, 80543, 20625, 101168),
    180: (2022789, 20700, 277471, 0.7678, 6663, 20641, 797, 5866, 15693, 2031, 13662, 20930, 5449, 26379),
    240: (474084, 4864, 65031, 0.6048, 2954, 4838, 353, 2600, 3687, 477, 3210, 4882, 1317, 6198),
    300: (84409, 873, 11579, 0.3619, 1309, 861, 157, 1153, 662, 86, 576, 856, 257, 1112),
    348: (7461, 82, 1023, 0.0844, 683, 76, 82, 601, 62, 8, 54, 66, 39, 105),
    358: (1162, 0, 26, 0.0145, 594, 12, 13, 581, 12, 0, 12, 1, 20, 20),
    360: (0, 0, 0, 0.0, 577, 0, 0, 577, 4, 0, 4, 0, 7, 7),
}
# In the order of the columns: new defaults, expected amortisation, prepayment, amortisation from defaults, actual
# amortisation, recovery, loss, amortised defaulted balance.
CASH_FLOW_A_TOTALS = (47576640, 5510477, 47527662, 614780, 4895697, 37446547, 9515314, 46961860)


@pytest.fixture(scope="module")
def cash_flow_a() -> engine.Cashflows:
    return run(
        1e8,
        8.0,
        360,
        prepayment=engine.Smm(rate=0.01),
        default=engine.Mdr(rate=0.01),
        severity=0.2,
        recovery_lag=12,
        advancing="principal_and_interest",
    )


@pytest.mark.parametrize("month", CASH_FLOW_A)
def test_cash_flow_a(cash_flow_a: engine.Cashflows, month: int) -> None:
    row = {name: float(cash_flow_a[name][month - 1]) for name in engine.FIELD_NAMES}
    computed = (
        row["balance"],
        row["default"],
        row["foreclosure"],
        analytics.amortized_factor(0.08, 360, 360 - month),
        row["expected_principal"],
        row["prepayment"],
        row["advanced_principal"],
        row["scheduled_principal"] - row["advanced_principal"],
        row["expected_interest"],
        row["lost_interest"],
        row["expected_interest"] - row["lost_interest"],
        row["recovery"],
        row["loss"],
        row["liquidation"],
    )
    for column, (value, figure) in enumerate(zip(computed, CASH_FLOW_A[month], strict=True)):
        assert value == pytest.approx(figure, abs=FOURTH if column == 3 else HALF_DOLLAR), column
    assert row["interest"] == pytest.approx(row["expected_interest"], rel=1e-14)


def test_cash_flow_a_totals(cash_flow_a: engine.Cashflows) -> None:
    total = {name: float(cash_flow_a[name].sum()) for name in engine.FIELD_NAMES}
    computed = (
        total["default"],
        total["expected_principal"],
        total["prepayment"],
        total["advanced_principal"],
        total["scheduled_principal"] - total["advanced_principal"],
        total["recovery"],
        total["loss"],
        total["liquidation"],
    )
    assert computed == pytest.approx(CASH_FLOW_A_TOTALS, abs=DOLLAR)


def test_cash_flow_a_identity(cash_flow_a: engine.Cashflows) -> None:
    # P(i) = P(i-1) x k x (1 - MDR - SMM); the first month by hand: k = 1 - 67,098/100,000,000 = 0.99932902,
    # times 0.98 is 0.97934244.
    balance = np.concatenate([[1e8], cash_flow_a.balance[:360]])
    factor = np.array([analytics.amortized_factor(0.08, 360, left) for left in range(360, -1, -1)])
    expected = balance[:-1] * factor[1:] / factor[:-1] * np.where(np.arange(1, 361) > 348, 0.99, 0.98)
    np.testing.assert_allclose(balance[1:], expected, rtol=1e-12)


def test_calculated_loan_age() -> None:
    # SF-41: 360 months with a WAM of 348 twelve months ago; and one capped by today's WAM of 348.
    assert analytics.calculated_loan_age(360, 348, 12) == 24
    assert analytics.calculated_loan_age(360, 300, 12, current_wam=348) == 12


DELAYS = [  # SF-45: issue 1 March, borrowers pay 1 April; investor's (month, day), actual and stated delay
    ("GNMA I", (4, 15), 14, 45),
    ("GNMA II", (4, 20), 19, 50),
    ("FNMA", (4, 25), 24, 55),
    ("FHLMC 75 day", (5, 15), 44, 75),
    ("FHLMC Gold", (4, 15), 14, 45),
]


@pytest.mark.parametrize(("programme", "investor", "actual", "stated"), DELAYS)
def test_delay_days(programme: str, investor: tuple[int, int], actual: int, stated: int) -> None:
    assert analytics.actual_delay_days((4, 1), investor) == actual
    assert analytics.stated_delay_days((3, 1), investor) == stated


def test_pass_through_yield_duration_and_convexity() -> None:
    # SF-50 and SF-51: GNMA I 9.0%, gross 9.5%, 360 months, 150% PSA, actual delay 14 days, settled at issue, price 100.
    flows = run(100.0, 9.5, 360, net=9.0, prepayment=psa(150))
    cash, times = flows["cashflow"], analytics.payment_times(360, delay_days=14)
    for month, figure in ((1, 0.8242), (2, 0.8491), (3, 0.8738), (360, 0.0562)):
        assert cash[month - 1] == pytest.approx(figure, abs=FOURTH)
    solved = analytics.yield_to_maturity(cash, times, 100.0)
    assert 100 * solved == pytest.approx(9.10675, abs=FIFTH)
    assert 100 * analytics.mortgage_yield(solved) == pytest.approx(8.93863, abs=FIFTH)
    assert analytics.wal(flows["principal"], times) == pytest.approx(9.77844, abs=FIFTH)
    assert analytics.macaulay_duration(cash, times, solved) == pytest.approx(5.73147, abs=FIFTH)
    assert analytics.modified_duration(cash, times, solved) == pytest.approx(5.48186, abs=FIFTH)
    assert analytics.convexity(cash, times, solved) == pytest.approx(54.4326, abs=FOURTH)


def test_sda_and_psa_of_the_toolbox() -> None:
    # MW psaspeed2default and psaspeed2rate, figures to four decimals.
    months = np.array([1, 2, 3, 4, 5, 15])
    mdr = engine.Sda().monthly(months)
    assert 1000 * mdr[:5] == pytest.approx([0.0167, 0.0333, 0.05, 0.0667, 0.0834], abs=FOURTH)
    assert 1000 * mdr[5] == pytest.approx(0.2503, abs=FOURTH)
    assert [analytics.implied_cpr(x) for x in mdr[:3]] == pytest.approx([0.0002, 0.0004, 0.0006], abs=FOURTH)
    for speed, cpr, smm in ((100, 0.03, 0.0025), (200, 0.06, 0.0051)):
        monthly = psa(speed).monthly(months)[5]
        assert monthly == pytest.approx(smm, abs=FOURTH)
        assert analytics.implied_cpr(monthly) == pytest.approx(cpr, abs=FOURTH)


def test_smm_of_six_per_cent_cpr_and_its_prepayment() -> None:
    # FJ equations 30.1 and 30.2: 0.005143 x (290,000,000 - 3,000,000) = 1,476,041.
    assert 100 * analytics.smm_from_cpr(0.06) == pytest.approx(0.5143, abs=FOURTH)
    loan = engine.Loan(balance=29e7, annual_rate=0.0, remaining_term=2, amortization="level_pay", payment=3e6)
    request = engine.ProjectionRequest(
        tape=engine.Tape.from_loans([loan]),
        assumptions=engine.Assumptions(prepayment=engine.Smm(rate=0.005143)),
    )
    assert engine.project(request)["prepayment"][0] == pytest.approx(1476041, abs=DOLLAR)


def test_month_one_hundred_of_the_400_million_pool() -> None:
    # FJ table 30.1: 8.125% WAC, 7.5% pass-through, WAM 357, three months old, 100% PSA.
    flows = run(4e8, 8.125, 357, net=7.5, age=3, prepayment=psa(100))
    smm = psa(100).monthly(np.arange(4, 361))
    assert smm[99] == pytest.approx(0.00514301, abs=5.1e-9)
    assert smm[25] < smm[26] == smm[27]  # the plateau begins in month 27
    assert flows["balance"][98] == pytest.approx(231249776, abs=HALF_DOLLAR)
    assert flows["scheduled_principal"][99] == pytest.approx(332928, abs=HALF_DOLLAR)
    assert flows["prepayment"][99] == pytest.approx(1187608, abs=HALF_DOLLAR)


def test_collateral_of_the_sequential_structure() -> None:
    # FJ tables 30.3 and 30.4, collateral at 165% PSA; the book cuts off cents.
    flows = run(4e8, 8.125, 357, net=7.5, age=3, prepayment=psa(165))
    assert flows["principal"][0] == pytest.approx(709923, abs=DOLLAR)
    assert flows["net_interest"][0] == pytest.approx(2500000, abs=DOLLAR)
    assert flows["cashflow"][80] == pytest.approx(3318521, abs=DOLLAR)
    assert flows["principal"][80] == pytest.approx(2032196, abs=DOLLAR)
    assert flows["net_interest"][80] == pytest.approx(1286325, abs=DOLLAR)


AVERAGE_LIVES = [
    (50, 15.11), (100, 11.66), (165, 8.76), (200, 7.68), (300, 5.63), (400, 4.44), (500, 3.68), (600, 3.16),
    (700, 2.78),
]  # fmt: skip


@pytest.mark.parametrize(("speed", "years"), AVERAGE_LIVES)
def test_average_life_of_the_collateral(speed: float, years: float) -> None:
    # FJ average life table: settled on the 30th and paid on the 25th, so T = (30k - 5)/360.
    flows = run(4e8, 8.125, 357, net=7.5, age=3, prepayment=psa(speed))
    times = analytics.payment_times(357, delay_days=24, settlement_days=29)
    assert analytics.wal(flows["principal"], times) == pytest.approx(years, abs=HALF_CENT)


# FE table 1: 400,000,000, 6% WAC, 5.5% pass-through, WAM 358, two months old, 100% PSA. Columns: opening balance,
# mortgage payment, net interest, scheduled principal, prepayment, principal, cashflow. The table carries dollars
# that were rounded every month, so it is held to 1.2.
FABOZZI_TABLE = {
    1: (400000000, 2402998, 1833333, 402998, 200350, 603349, 2436682),
    12: (389643247, 2367686, 1785865, 419470, 920057, 1339527, 3125391),
    30: (356317967, 2209875, 1633124, 428286, 1830345, 2258631, 3891755),
    100: (223414587, 1540329, 1023984, 423256, 1146847, 1570104, 2594087),
    200: (100719066, 919770, 461629, 416174, 515859, 932033, 1393662),
    300: (28001417, 549218, 128340, 409211, 141907, 551118, 679457),
    357: (812613, 409357, 3724, 405294, 2095, 407388, 411113),
    358: (405224, 407251, 1857, 405225, 0, 405225, 407082),
}


@pytest.mark.parametrize("month", FABOZZI_TABLE)
def test_pass_through_table(month: int) -> None:
    flows = run(4e8, 6.0, 358, net=5.5, age=2, prepayment=psa(100))
    row = {name: float(flows[name][month - 1]) for name in engine.FIELD_NAMES}
    computed = (
        4e8 if month == 1 else flows["balance"][month - 2],
        row["interest"] + row["scheduled_principal"],
        row["net_interest"],
        row["scheduled_principal"],
        row["prepayment"],
        row["principal"],
        row["cashflow"],
    )
    assert computed == pytest.approx(FABOZZI_TABLE[month], abs=1.2)


# FE table 2: 6% WAC, WAM 357 (three months old), 150% PSA, 100% SDA: CDR %, MDR %, factor at the end, MDR x factor %.
SDA_TABLE = {
    1: (0.08, 0.007, 0.99798, 0.0067),
    2: (0.1, 0.008, 0.99571, 0.0083),
    30: (0.6, 0.05, 0.8392, 0.0421),
    100: (0.192, 0.016, 0.43487, 0.0069),
    200: (0.03, 0.003, 0.14894, 0.0004),
    300: (0.03, 0.003, 0.03093, 0.0001),
}


def test_sda_times_the_factor_of_a_pool_without_defaults() -> None:
    factor = run(1.0, 6.0, 357, age=3, prepayment=psa(150))["balance"]
    mdr = engine.Sda().monthly(np.arange(4, 361))
    for month, (cdr, monthly, end, product) in SDA_TABLE.items():
        i = month - 1
        assert 100 * analytics.implied_cpr(mdr[i]) == pytest.approx(cdr, abs=0.00051)
        assert 100 * mdr[i] == pytest.approx(monthly, abs=0.00051)
        assert factor[i] == pytest.approx(end, abs=FIFTH)
        assert 100 * mdr[i] * factor[i] == pytest.approx(product, abs=FOURTH)
    assert 100 * (mdr * factor).sum() == pytest.approx(2.75, abs=HALF_CENT)


NO_PREPAYMENT = [  # MW mbsnoprepay: term, balances in 100 millions, interest in millions
    (357, (3.9973, 3.9946, 3.9919, 3.9892, 3.9864), (2.7083, 2.7065, 2.7047, 2.7029, 2.701)),
    (355, (3.9973, 3.9946, 3.9918, 3.989, 3.9862), (2.7083, 2.7065, 2.7046, 2.7028, 2.7009)),
]


@pytest.mark.parametrize(("term", "balance", "interest"), NO_PREPAYMENT)
def test_balances_and_interest_without_prepayment(
    term: int, balance: tuple[float, ...], interest: tuple[float, ...]
) -> None:
    flows = run(4e8, 8.125, term)
    assert flows["balance"][:5] / 1e8 == pytest.approx(balance, abs=FOURTH)
    assert flows["interest"][:5] / 1e6 == pytest.approx(interest, abs=FOURTH)


def test_price_yield_and_risk_of_the_toolbox() -> None:
    # MW mbsprice, mbsyield, mbsdurp, mbsdury, mbsconvp, mbsconvy, mbswal: gross 8.125, coupon 7.5, 360 months from
    # 1 January 2000, settled 15 April 2002, so 27 months old and 333 to go; delay 14 days; 100% PSA.
    # Accrued interest of 14 days: 7.5 x 14/360 = 0.2917. T = (30k + 14 - 14)/360.
    flows = run(100.0, 8.125, 333, net=7.5, age=27, prepayment=psa(100))
    cash, times = flows["cashflow"], analytics.payment_times(333, delay_days=14, settlement_days=14)
    accrued = 7.5 * 14 / 360
    assert accrued == pytest.approx(0.2917, abs=FOURTH)
    quoted = analytics.bond_equivalent_yield(0.0725)
    assert analytics.price(cash, times, quoted, accrued) == pytest.approx(101.3147, abs=FOURTH)
    at_101 = analytics.yield_to_maturity(cash, times, 101.0, accrued)
    assert analytics.mortgage_yield(at_101) == pytest.approx(0.07298413, abs=6e-9)
    assert analytics.macaulay_duration(cash, times, at_101) == pytest.approx(6.438, abs=FOURTH)
    assert analytics.modified_duration(cash, times, at_101) == pytest.approx(6.208, abs=FOURTH)
    assert analytics.convexity(cash, times, at_101) == pytest.approx(71.6299, abs=FOURTH)
    at_7125 = analytics.bond_equivalent_yield(0.07125)
    assert analytics.convexity(cash, times, at_7125) == pytest.approx(72.8263, abs=FOURTH)
    assert analytics.wal(flows["principal"], times) == pytest.approx(10.5477, abs=FOURTH)
    at_102 = analytics.yield_to_maturity(cash, times, 102.0, accrued)
    assert analytics.mortgage_yield(at_102) == pytest.approx(0.0715, abs=FOURTH)
    assert at_102 == pytest.approx(0.0725, abs=FOURTH)


def test_principal_of_a_six_month_loan() -> None:
    # MW cmoseqcf, the collateral: 1,000,000 at 12% over six months; principal in hundred thousands.
    flows = run(1e6, 12.0, 6)
    printed = (1.6255, 1.6417, 1.6582, 1.6747, 1.6915, 1.7084)
    assert flows["principal"] / 1e5 == pytest.approx(printed, abs=FOURTH)


PAYMENTS = [  # Excel PMT over 360 months of 100, as recorded in the tests of QuantLib (amortizingbond.cpp)
    (0, 0.277777778), (1, 0.32163952), (2, 0.369619473), (3, 0.421604034), (4, 0.477415295), (5, 0.536821623),
    (6, 0.599550525), (7, 0.665302495), (8, 0.733764574), (9, 0.804622617), (10, 0.87757157), (11, 0.952323396),
    (12, 1.028612597),
]  # fmt: skip


@pytest.mark.parametrize(("rate", "payment"), PAYMENTS)
def test_level_payment_of_a_spreadsheet(rate: float, payment: float) -> None:
    flows = run(100.0, rate, 360)
    assert flows["cashflow"] == pytest.approx(np.full(360, payment), abs=1e-9)
    assert analytics.level_payment(100.0, rate / 100, 360) == pytest.approx(payment, abs=1e-9)


def test_interest_and_principal_of_a_one_year_loan() -> None:
    # Docstring of numpy_financial.ipmt: 2,500 at 8.24% over twelve months: principal, interest, balance.
    flows = run(2500.0, 8.24, 12)
    for month, row in {1: (200.58, 17.17, 2299.42), 6: (207.56, 10.18, 1275.66), 12: (216.26, 1.49, 0.0)}.items():
        computed = [flows[name][month - 1] for name in ("principal", "interest", "balance")]
        assert computed == pytest.approx(row, abs=HALF_CENT)
    assert flows["interest"].sum() == pytest.approx(112.98, abs=HALF_CENT)


def test_payment_of_a_fifteen_year_loan() -> None:
    # Docstring of numpy_financial.pmt: 200,000 at 7.5% over fifteen years.
    assert analytics.level_payment(200000.0, 0.075, 180) == pytest.approx(1854.0247200054619, abs=1e-9)
    assert run(200000.0, 7.5, 180)["cashflow"][0] == pytest.approx(1854.0247200054619, abs=1e-14 * 200000)


def test_internal_rate_of_return_and_net_present_value() -> None:
    # Docstrings of numpy_financial.irr and npv; the first flow is at time 0.
    assert analytics.irr([-100, 39, 59, 55, 20]) == pytest.approx(0.28095, abs=FIFTH)
    assert analytics.npv(0.08, [-40000, 5000, 8000, 12000, 30000]) == pytest.approx(3065.22267, abs=FIFTH)


def sequential(principal: np.ndarray, sizes: list[float]) -> np.ndarray:
    """What is left of each class after every month, where principal pays one after the other, (classes, months)."""
    ends = np.cumsum(sizes)
    paid = np.cumsum(principal)
    return np.stack([np.clip(end - paid, 0.0, size) for end, size in zip(ends, sizes, strict=True)])


def test_sequential_classes_of_the_165_psa_collateral() -> None:
    # FJ tables 30.3 and 30.4: classes A to D of 194.5, 36, 96.5 and 73 millions at a 7.5% coupon.
    flows = run(4e8, 8.125, 357, net=7.5, age=3, prepayment=psa(165))
    sizes = [194500000.0, 36000000.0, 96500000.0, 73000000.0]
    left = sequential(flows["principal"], sizes)
    interest = 194500000 * 0.075 / 12
    assert interest == pytest.approx(1215625, abs=DOLLAR)
    assert interest + flows["principal"][0] == pytest.approx(1925548, abs=DOLLAR)
    assert left[0, 0] == pytest.approx(193790076, abs=DOLLAR)
    assert left[0, 79] == pytest.approx(311926, abs=DOLLAR)
    assert left[1, 79] - left[1, 80] == pytest.approx(1720271, abs=DOLLAR)
    # The last cent of the last class is rounding of the sizes.
    assert [int(np.argmax(row < 0.01)) + 1 for row in left] == [81, 100, 178, 357]


def test_sequential_classes_of_a_six_month_loan() -> None:
    # MW cmoseqcf: two classes of 500,000; balance of the first in hundred thousands.
    left = sequential(run(1e6, 12.0, 6)["principal"], [5e5, 5e5])
    assert left[0] / 1e5 == pytest.approx([3.3745, 1.7328, 0.0746, 0, 0, 0], abs=FOURTH)


PAC_BALANCES = [  # MW cmosched: balances of the PAC class after each of 38 months, in ten millions
    9.7996, 9.578, 9.3602, 9.1461, 8.9357, 8.7289, 8.5257, 8.3259, 8.1296, 7.9366, 7.7469, 7.5605, 7.3773, 7.1972,
    7.0202, 6.8463, 6.6754, 6.5073, 6.3422, 6.1799, 6.0204, 5.8637, 5.7096, 5.5582, 5.4094, 5.2632, 5.1194, 4.9782,
    4.8394, 4.703, 4.5689, 4.4372, 4.3077, 4.1804, 4.0554, 3.9325, 3.8118, 3.6931,
]  # fmt: skip


def test_schedule_of_a_planned_class() -> None:
    # MW cmosched: 128,687,000 at 6.48%, 325 of 360 months to go, PAC of 100,250,000 in a collar of 300 to 525 PSA: each
    # month the smaller of the principal at the two speeds.
    principal = [run(128687000.0, 6.48, 325, age=35, prepayment=psa(speed))["principal"] for speed in (300, 525)]
    left = 100250000 - np.cumsum(np.minimum(*principal))
    assert left[: len(PAC_BALANCES)] / 1e7 == pytest.approx(PAC_BALANCES, abs=FOURTH)


# Fannie Mae REMIC Trust 2019-2, prospectus supplement of 24 January 2019, pages S-4, S-9 and S-14: group 3, class AB:
# PSA %, percent outstanding after 12, 24, ... months, average life.
DECREMENTS: dict[int, tuple[list[int], float]] = {
    0: ([99, 98, 97, 96, 95, 93, 92, 90, 89, 87, 85, 83, 80, 78, 75], 20.2),
    100: ([90, 80, 71, 62, 54, 47, 40, 33, 27, 21, 16, 11, 6, 2], 6.1),
    198: ([84, 70, 58, 48, 39, 32, 25, 20, 15, 11, 8, 5, 3, 1], 4.7),
    300: ([78, 61, 47, 36, 27, 21, 15, 11, 8, 5, 4, 2, 1], 3.7),
    400: ([72, 52, 37, 27, 19, 13, 9, 6, 4, 3, 2, 1], 2.9),
    700: ([55, 30, 17, 9, 5, 3, 1, 1], 1.7),
    1000: ([38, 14, 5, 2, 1], 1.1),
}


@pytest.mark.parametrize("speed", DECREMENTS)
def test_decrement_table_and_average_life_of_a_prospectus(speed: int) -> None:
    # 148,372,434 at 5.451%, 173 months to go, 175 old; at 0% PSA the supplement assumes 7.5% and 360 months instead.
    # Settled on 30 January and paid on the 25th of the following months: T = (30(k - 1) + 25)/360.
    outstanding, years = DECREMENTS[speed]
    rate, term, age = (7.5, 360, 0) if speed == 0 else (5.451, 173, 175)
    flows = run(148372434.0, rate, term, age=age, prepayment=psa(speed))
    for i, percent in enumerate(outstanding):
        assert 100 * flows["balance"][12 * (i + 1) - 1] / 148372434 == pytest.approx(percent, abs=0.5), i
    times = analytics.payment_times(term, delay_days=-5)
    assert analytics.wal(flows["principal"], times) == pytest.approx(years, abs=0.0501)

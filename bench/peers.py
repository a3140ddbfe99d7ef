"""Pools of loans and the engine's peers on them: the C++ yardsticks, vectorised NumPy, parallel numba and QuantLib.

The level-pay yardstick, NumPy and numba give five columns (interest, scheduled principal, prepayment, default,
balance) at constant rates; the stepped one gives the twelve default fields under `sifma`; the engine gives more.
"""

from typing import Any

import msgspec
import numba
import numpy as np

import engine
from bench import native
from bench.native import PAD, ROOT, Floats

__all__ = [
    "MONTHS",
    "PAD",
    "ROOT",
    "Floats",
    "Pool",
    "pool_of",
    "run_numba",
    "run_numpy",
    "run_quantlib",
    "twelve_fields",
]
MONTHS = 360
INDEX = "SOFR"
PERIODIC_CAP, LIFE_CAP = 0.02, 0.095


class Pool(msgspec.Struct, frozen=True):
    """Loans as the yardsticks take them, float64 columns padded to whole blocks, and as the engine takes them."""

    columns: dict[str, Floats]
    tape: engine.Tape

    def sorted_by(self, *names: str) -> dict[str, Floats]:
        """The columns sorted by the names, the first one first: blocks whose loans end and reset together."""
        order = np.lexsort([self.columns[name] for name in reversed(names)])
        return {name: np.ascontiguousarray(column[order]) for name, column in self.columns.items()}


def pool_of(loans: int, **more: Any) -> Pool:
    """Loans of 3% to 8% over 180 to 360 months, with a servicing fee of a quarter of a per cent.

    more: further columns of the tape, which the yardsticks do not read.
    """
    number = np.arange(-(-loans // PAD) * PAD)
    columns = {
        "balance": np.where(number < loans, 1e5 + number % 1000 * 100.0, 0.0),
        "rate": 0.03 + 1e-5 * (number % 5000),
        "term": 180.0 + number * 7 % 181,
        "fee": np.full(len(number), 0.0025),
    }
    return Pool(columns, tape_of(columns, loans, **more))


def floating_pool_of(loans: int, **more: Any) -> Pool:
    """The same loans without a fee, floating over an index: a reset a year, caps of 2% a reset and 9.5% for life."""
    plain = pool_of(loans).columns
    number = np.arange(len(plain["balance"]))
    columns = plain | {
        "fee": np.zeros(len(number)),
        "margin": 0.02 + 1e-5 * (number % 997),
        "first_reset": 1.0 + number % 12,
    }
    contract = {
        "index": INDEX, "margin": columns["margin"][:loans], "first_reset": columns["first_reset"][:loans].astype(int),
        "reset_frequency": 12, "periodic_cap": PERIODIC_CAP, "periodic_floor": PERIODIC_CAP, "life_cap": LIFE_CAP,
    }  # fmt: skip
    return Pool(columns, tape_of(columns, loans, **contract, **more))


def tape_of(columns: dict[str, Floats], loans: int, **more: Any) -> engine.Tape:
    return engine.Tape.from_columns(
        balance=columns["balance"][:loans],
        annual_rate=columns["rate"][:loans],
        remaining_term=columns["term"][:loans].astype(np.int32),
        servicing_fee=columns["fee"][:loans],
        **more,
    )


def index_path() -> Floats:
    """An index that rises, falls and rises again, from its value at the cut-off, annual decimals."""
    month = np.arange(MONTHS + 1)
    return 0.04 + 0.025 * np.sin(month / 40) + 0.00003 * month


def twelve_fields(sums: Floats, opening: float, severity: float, lag: int) -> dict[str, Floats]:
    """The engine's default fields under `sifma` without advances, from the sums of stepping_full, by shifting."""
    interest, scheduled, prepayment, default, fee = sums
    liquidation = np.zeros_like(default)
    liquidation[lag:] = default[: len(default) - lag]
    loss = severity * liquidation
    recovery = liquidation - loss
    principal = scheduled + prepayment + recovery
    return {
        "balance": opening - np.cumsum(scheduled + prepayment + default),
        "interest": interest,
        "scheduled_principal": scheduled,
        "prepayment": prepayment,
        "default": default,
        "recovery": recovery,
        "loss": loss,
        "servicing_fee": fee,
        "net_interest": interest - fee,
        "principal": principal,
        "cashflow": principal + interest - fee,
        "foreclosure": np.cumsum(default - liquidation),
    }


def run_full(
    columns: dict[str, Floats],
    smm: Floats,
    mdr: Floats,
    severity: float,
    lag: int,
    threads: int,
) -> dict[str, Floats]:
    """Twelve fields of fixed-rate loans, stepped; defaults stop `lag` months before maturity."""
    sums = native.stepped("stepping_full", 5, columns, smm, mdr, lag=lag, threads=threads)
    return twelve_fields(sums, float(columns["balance"].sum()), severity, lag)


def run_floating(
    columns: dict[str, Floats], smm: Floats, mdr: Floats, severity: float, lag: int, threads: int
) -> dict[str, Floats]:
    """Twelve fields of floating_pool_of's loans on index_path(), stepped."""
    sums = native.stepped(
        "stepping_floating", 5, columns, smm, mdr, lag=lag, index=index_path(), caps=(PERIODIC_CAP, LIFE_CAP),
        threads=threads,
    )  # fmt: skip
    return twelve_fields(sums, float(columns["balance"].sum()), severity, lag)


def run_factored(columns: dict[str, Floats], smm: float, mdr: float, threads: int) -> Floats:
    """Sums (5, months) as of yardstick.cc, from contract sums alone: three operations a loan-month, then 360 steps.

    What survives prepayment and default is the same share of every loan. Interest is what is paid less what the
    balance falls by, which loses some digits where the contract repays little: 1e-12 of the interest.
    """
    zero = np.zeros(MONTHS)
    balance, paid = native.stepped("stepping_factored", 2, columns, zero, zero, threads=threads)
    before = np.concatenate([[columns["balance"].sum()], balance[:-1]])
    principal = before - balance
    stay = 1 - mdr
    survived = (stay * (1 - smm)) ** np.arange(MONTHS)
    left = survived * stay * balance
    return np.stack(
        [survived * stay * (paid - principal), survived * stay * principal, smm * left, survived * mdr * before,
         (1 - smm) * left]
    )  # fmt: skip


def run_numpy(pool: Pool, smm: float, mdr: float) -> Floats:
    """Sums (5, months) by vectorised NumPy, a month at a time over all loans."""
    term, rate, sums = pool.columns["term"], pool.columns["rate"] / 12, np.zeros((5, MONTHS))
    balance = pool.columns["balance"].copy()
    payment = balance * rate / -np.expm1(-term * np.log1p(rate))
    for t in range(MONTHS):
        performing = balance * (1 - mdr)
        interest = performing * rate
        paid = np.where(t + 1 >= term, performing, payment * (1 - mdr) - interest)
        prepaid = (performing - paid) * smm
        sums[:, t] = interest.sum(), paid.sum(), prepaid.sum(), (balance - performing).sum(), 0
        balance = performing - paid - prepaid
        payment *= (1 - mdr) * (1 - smm)
        sums[4, t] = balance.sum()
    return sums


@numba.njit(parallel=True)
def numba_sums(balances, rates, terms, smm, mdr, months, parts):  # type: ignore[no-untyped-def]
    partial = np.zeros((parts, 5, months))
    loans = len(balances)
    for k in numba.prange(parts):
        sums = partial[k]
        for i in range(loans * k // parts, loans * (k + 1) // parts):
            balance, rate = balances[i], rates[i] / 12
            payment = balance * rate / -np.expm1(-terms[i] * np.log1p(rate))
            for t in range(months):
                performing = balance * (1 - mdr)
                interest = performing * rate
                paid = performing if t + 1 >= terms[i] else payment * (1 - mdr) - interest
                prepaid = (performing - paid) * smm
                sums[0, t] += interest
                sums[1, t] += paid
                sums[2, t] += prepaid
                sums[3, t] += balance - performing
                balance = performing - paid - prepaid
                sums[4, t] += balance
                payment *= (1 - mdr) * (1 - smm)
    return partial.sum(axis=0)


def run_numba(pool: Pool, smm: float, mdr: float) -> Floats:
    """Sums (5, months) by numba, loans in parallel over all its threads."""
    return numba_sums(  # type: ignore[no-any-return]
        *(pool.columns[name] for name in ("balance", "rate", "term")), smm, mdr, MONTHS, 4 * numba.get_num_threads()
    )


def run_quantlib(pool: Pool, loans: int) -> Floats:
    """Sums (2, months) of interest and principal of the first loans as QuantLib's amortizing bonds, nobody leaving.

    30/360 and unadjusted dates, so that each month counts for a twelfth of a year, as in the engine.
    """
    import QuantLib as ql  # noqa: N813

    start, sums = ql.Date(15, 1, 2026), np.zeros((2, MONTHS))
    for balance, rate, term in zip(*(pool.columns[name][:loans] for name in ("balance", "rate", "term")), strict=True):
        schedule = ql.Schedule(
            start, start + ql.Period(int(term), ql.Months), ql.Period(ql.Monthly), ql.NullCalendar(), ql.Unadjusted,
            ql.Unadjusted, ql.DateGeneration.Forward, False,
        )  # fmt: skip
        monthly = rate / 12
        paid = balance * monthly / -np.expm1(-term * np.log1p(monthly))
        left = np.maximum(
            balance * (1 + monthly) ** np.arange(term) - paid * np.expm1(np.arange(term) * np.log1p(monthly)) / monthly,
            0,
        )
        bond = ql.AmortizingFixedRateBond(0, left.tolist(), schedule, [rate], ql.Thirty360(ql.Thirty360.BondBasis))
        flows = [(flow.date(), flow.amount(), ql.as_coupon(flow)) for flow in bond.cashflows()]
        coupons = [amount for _, amount, coupon in flows if coupon is not None]
        principal = [amount for _, amount, coupon in flows if coupon is None]
        sums[0, : len(coupons)] += coupons
        sums[1, : len(principal)] += principal
    return sums

"""Terms of assets that are no term loans: their columns, what contradicts what, and what they are as contracts.

Every asset is a path of balances and interest like a loan (DECISIONS 9). `assets_of` reads the columns, `lowered` turns
them into those of a loan that has the path, `asset_rows` and `operations` say what the walk of ext/stepped.h does
beyond loans.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.annuity import annuity
from engine.asset_checks import check_revolving, check_students, priced_leases, priced_receivables
from engine.assets import DEFERRED_INTEREST, GIVEN_BEHAVIOUR, LOAN_TYPES, PAYMENT_TIMINGS, TYPES, CashflowTable
from engine.checks import INF, NAN, RATE, Checks, Range, is_stated, months, named, number
from engine.errors import MAX_PROBLEMS, Problem
from engine.loans import AMORTIZATIONS, MAX_TERM, Schedule

if TYPE_CHECKING:
    from engine.loan_arrays import LoanArrays

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Add = Callable[..., None]
LOAN, LEASE, RECEIVABLE, STUDENT, REVOLVING, GIVEN = range(len(TYPES))
OPEN, REPAYING = 1.0, 2.0
# The values of OP_HOLD in ext/stepped.h, in the order of DEFERRED_INTEREST.
HOLDS = np.array([4.0, 3.0, 3.0, 2.0])
MONEY = "currency units in [0, 1e+15]"

AMOUNTS: dict[str, Range] = {
    "residual_value": Range(0, 1e15, MONEY, 0),
    "face_value": Range(0, 1e15, MONEY, NAN),
    "discount": Range(0, 0.999999, "a decimal in [0, 1)", NAN),
    "dilution": Range(0, 1, RATE, 0),
    "accrued_interest": Range(0, 1e15, MONEY, 0),
    "credit_limit": Range(0, 1e15, MONEY, INF),
    "purchase_rate": Range(0, 10, "a share of the balance in [0, 10]", 0),
    "utilization": Range(0, 1, RATE, NAN),
    "payment_rate": Range(0, 1, RATE, NAN),
    "interchange_rate": Range(0, 1, RATE, 0),
    "fee_rate": Range(0, 1, RATE, 0),
}
PERIODS: dict[str, Range] = {
    "school_term": months(0, MAX_TERM, 0),
    "grace_term": months(0, MAX_TERM, 0),
    "deferment_start": months(1, MAX_TERM, 0),
    "deferment_term": months(1, MAX_TERM, 0),
    "graduation_frequency": months(1, MAX_TERM, 24),
    "draw_term": months(0, MAX_TERM, INF),
}
ASSET_NUMBERS = AMOUNTS | PERIODS
CHOICES: dict[str, tuple[str, ...]] = {
    "payment_timing": PAYMENT_TIMINGS,
    "school_interest": DEFERRED_INTEREST,
    "deferment_interest": DEFERRED_INTEREST,
    "behaviour": GIVEN_BEHAVIOUR,
}
ASSET_COLUMNS = (*ASSET_NUMBERS, *CHOICES, "cashflows")
# Columns without which there is no asset of a type.
REQUIRED = {
    "balance": (LOAN, STUDENT, REVOLVING),
    "annual_rate": (LOAN, LEASE, STUDENT, REVOLVING),
    "remaining_term": (LOAN, LEASE, RECEIVABLE, STUDENT, REVOLVING),
}
NOT_STATED: dict[str, Any] = {"amortization": "level_pay"}


class Assets(msgspec.Struct, frozen=True, kw_only=True):
    """Terms of a tape's assets, each of shape (loans,).

    kind: position in TYPES. numbers: the columns of ASSET_NUMBERS, blanks replaced. choices: positions in CHOICES, -1
    for the default. table: position in `tables`, -1 for none. discount, dilution: of receivables, of what is repaid.
    """

    kind: NDArray[np.int8]
    numbers: dict[str, Floats]
    choices: dict[str, NDArray[np.int8]]
    table: NDArray[np.int32]
    tables: tuple[CashflowTable, ...]
    discount: Floats
    dilution: Floats

    @property
    def exempt(self) -> Mask:
        """The given cashflows that no behaviour is applied to."""
        found: Mask = self.choices["behaviour"] == GIVEN_BEHAVIOUR.index("none")
        return found

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """The balances of the tables, as schedules."""
        return tuple(Schedule(balances=table.balances) for table in self.tables)

    def taken(self, index: NDArray[np.int64]) -> "Assets":
        """The terms of the assets at the index, in its order."""
        return msgspec.structs.replace(
            self, kind=self.kind[index], numbers={name: column[index] for name, column in self.numbers.items()},
            choices={name: column[index] for name, column in self.choices.items()}, table=self.table[index],
            discount=self.discount[index], dilution=self.dilution[index],
        )  # fmt: skip


def assets_of(check: Checks, tables: dict[str, CashflowTable] | None, unread: bool) -> Assets | None:
    """The assets of a tape, none where all are term loans; faults go to `check`. unread: leave what is named unread."""
    given = check.columns["type"]
    if given is None or (isinstance(given, str) and given == "loan"):
        check.check_lengths(ASSET_COLUMNS)
        for name in ASSET_COLUMNS:
            if check.columns[name] is not None:
                misplaced(check, name, np.zeros(check.n, dtype=np.int8))
        return None
    kind = check.choice("type", TYPES)
    kind = np.where(kind < 0, LOAN, kind).astype(np.int8)
    known = len(check.problems)
    check.check_lengths(check.columns)
    if len(check.problems) > known:
        return None
    for name in check.columns:
        misplaced(check, name, kind)
    for name, kinds in REQUIRED.items():
        lacks = np.isin(kind, kinds) & ~is_stated(check.columns[name], check.n)
        for i in np.flatnonzero(lacks)[:MAX_PROBLEMS]:
            check.report(name, int(i), f"is missing; a {TYPES[kind[i]]} needs it")
    table, names = check.names("cashflows")
    for i in np.flatnonzero((kind == GIVEN) & (table < 0))[:MAX_PROBLEMS]:
        check.report("cashflows", int(i), "is missing; expected the name of a table in tape.cashflows")
    defined = None if unread else tables or {}
    none = np.zeros(check.n)
    return Assets(
        kind=kind, numbers={name: number(check, name, term) for name, term in ASSET_NUMBERS.items()},
        choices={name: check.choice(name, allowed) for name, allowed in CHOICES.items()},
        table=table, tables=named(check, "cashflows", "tape.cashflows", table, names, defined),
        discount=none, dilution=none,
    )  # fmt: skip


def misplaced(check: Checks, name: str, kind: NDArray[np.int8]) -> None:
    """Reports values of a column on assets of types that do not have it."""
    column = check.columns[name]
    if not isinstance(column, str) and np.ndim(column) and len(column) != check.n:
        return
    if column is None or name == "type" or all(name in LOAN_TYPES[each].__struct_fields__ for each in TYPES):
        return
    has = np.array([name in cls.__struct_fields__ for cls in LOAN_TYPES.values()])
    wrong = ~has[kind] & is_stated(column, check.n)
    if not wrong.any():
        return
    values = np.broadcast_to(np.asarray(column, dtype=object), (check.n,))
    default = NOT_STATED.get(name, 0)
    for i in [i for i in np.flatnonzero(wrong).tolist() if values[i] != default][:MAX_PROBLEMS]:
        owners = ", ".join(each for each in TYPES if has[TYPES.index(each)])
        check.report(name, i, f"is stated on a {TYPES[kind[i]]}; expected it on {owners} alone")


def table_problems(path: str, table: CashflowTable) -> list[Problem]:
    """Every fault of a given cashflow: its balances have to follow from its principal, and to end."""
    n, balances = len(table.interest), table.balances
    found = [
        Problem(f"{path}.{name}[{i}]", f"is {value:g}; expected {MONEY}")
        for name in ("balances", "interest", "principal")
        for i, value in enumerate(getattr(table, name) or [])
        if not 0 <= value <= 1e15
    ]
    if len(balances) != n + 1 or not n or n > MAX_TERM:
        message = f"has {len(balances)} values beside {n} of interest; expected one more, for 1 to {MAX_TERM} months"
        return [*found, Problem(f"{path}.balances", message)]
    if table.principal is not None and len(table.principal) != n:
        return [*found, Problem(f"{path}.principal", f"has {len(table.principal)} values; expected {n}, one a month")]
    if found:
        return found
    near = 1e-9 * max(balances)
    if balances[0] <= 0:
        found.append(Problem(f"{path}.balances", "has no balance above 0 at month 0"))
    if balances[-1] > near:
        found.append(Problem(f"{path}.balances[{n}]", f"is {balances[-1]:g}; expected 0, the end"))
    for t in range(1, n + 1):
        if table.interest[t - 1] > 0 and balances[t - 1] <= 0:
            found.append(Problem(f"{path}.interest[{t - 1}]", "is due on no balance; expected 0 there"))
        fell = balances[t - 1] - balances[t]
        paid = fell if table.principal is None else table.principal[t - 1]
        if fell > paid + near or (t == n and fell < paid - near):
            message = (
                f"falls by {fell:g} in month {t}, which pays {paid:g}; expected a loss to be left to the assumptions"
            )
            found.append(Problem(f"{path}.balances[{t}]", message))
    return found[:MAX_PROBLEMS]


class Lowered(msgspec.Struct, frozen=True):
    """The columns of loans with the paths of a tape's assets."""

    assets: Assets
    balance: Floats
    term: NDArray[np.int32]
    payment: Floats
    amortization: NDArray[np.int8]


def lowered(
    check: Checks, assets: Assets, balance: Floats, rate: Floats, term: NDArray[np.int32], payment: Floats,
    amortization: NDArray[np.int8],
) -> Lowered:  # fmt: skip
    """The columns as those of loans, balances and payments that are not stated filled in; faults go to `check`."""
    balance, payment, term, kinds = np.array(balance), np.array(payment), np.array(term), np.array(amortization)
    for k, table in enumerate(assets.tables):
        mine = assets.table == k
        balance[mine & np.isnan(balance)] = table.balances[0]
        term[mine] = np.where(
            is_stated(check.columns["remaining_term"], check.n)[mine], term[mine], len(table.interest)
        )
        for i in np.flatnonzero(mine & (term != len(table.interest)))[:MAX_PROBLEMS]:
            check.report(
                "remaining_term", int(i), f"is {term[i]}; expected {len(table.interest)}, those of its cashflows"
            )
    discount, dilution = priced_receivables(check, assets, balance)
    priced_leases(check, assets, balance, rate, term, payment)
    check_students(check, assets, balance, term)
    check_revolving(check, assets, balance, term)
    repays = np.isnan(assets.numbers["payment_rate"])
    kinds[assets.kind == GIVEN] = AMORTIZATIONS.index("schedule")
    collected = is_stated(check.columns["schedule"], check.n)
    kinds[assets.kind == RECEIVABLE] = AMORTIZATIONS.index("bullet")
    kinds[(assets.kind == RECEIVABLE) & collected] = AMORTIZATIONS.index("schedule")
    kinds[(assets.kind == REVOLVING) & ~repays] = AMORTIZATIONS.index("bullet")
    assets = msgspec.structs.replace(assets, discount=discount, dilution=dilution)
    return Lowered(assets, balance, term, payment, kinds)


def graduated_share(loans: "LoanArrays", assets: Assets, growth: Floats, last: int) -> Floats:
    """The first payment of graduated loans for a unit of what they owe when repayment begins; `last`: most growths."""
    begins = assets.numbers["school_term"] + assets.numbers["grace_term"]
    every, r, n = assets.numbers["graduation_frequency"], loans.rate / 12, loans.term - begins
    worth, level = np.zeros(len(n)), np.ones(len(n))
    for k in range(last + 1):
        worth += level * annuity(r, np.minimum(k * every, n), np.minimum((k + 1) * every, n))
        level = level * (1 + growth)
    return 1 / np.where(worth > 0, worth, 1.0)


def operations(loans: "LoanArrays", assets: Assets, add: Add) -> None:
    """Adds the operations of the assets' programs: add(where, month, operation, value)."""
    numbers, n = assets.numbers, len(loans)
    student, revolving = assets.kind == STUDENT, assets.kind == REVOLVING
    zero, begins = np.zeros(n), numbers["school_term"] + numbers["grace_term"]
    school = student & (begins > 0)
    add(school, zero, "hold", HOLDS[np.maximum(assets.choices["school_interest"], 0)])
    accrued = school & (numbers["accrued_interest"] > 0)
    add(accrued, zero, "base", 1 - numbers["accrued_interest"] / np.where(accrued, loans.balance, 1.0))
    add(school, begins, "resume")
    start = numbers["deferment_start"] - 1
    deferred = student & (start >= 0)
    add(deferred, start, "hold", HOLDS[np.maximum(assets.choices["deferment_interest"], 0)])
    add(deferred, start + numbers["deferment_term"], "resume")
    assert loans.contracts is not None
    growth = loans.contracts.numbers["graduation_rate"]
    graduated = student & (growth != 0)
    if graduated.any():
        every = numbers["graduation_frequency"]
        last = np.where(graduated, np.ceil((loans.term - begins) / every) - 1, 0.0)
        most = int(last.max())
        add(graduated, begins, "first", graduated_share(loans, assets, growth, most))
        for k in range(1, most + 1):
            add(graduated & (k <= last), begins + k * every, "grow", growth)
            add(graduated & (k == last), begins + k * every, "level")
    repays = ~np.isnan(numbers["payment_rate"])
    closes = revolving & (numbers["draw_term"] > 0) & (numbers["draw_term"] < loans.term)
    add(closes, np.where(closes, numbers["draw_term"], 0.0), "close", np.where(repays, REPAYING, 0.0))
    for k, table in enumerate(assets.tables):
        mine = assets.table == k
        for t, (due, held) in enumerate(zip(table.interest, table.balances, strict=False)):
            add(mine, np.full(n, float(t)), "rate", 12 * due / held if held > 0 else 0.0)


def asset_rows(loans: "LoanArrays", assets: Assets, part: slice) -> dict[str, Floats]:
    """Rows of the assets in a slice by the names of _core.ASSET_NAMES; nought on term loans."""
    numbers = {name: column[part] for name, column in assets.numbers.items()}
    kind = assets.kind[part]
    revolving, lease = kind == REVOLVING, kind == LEASE
    repays = ~np.isnan(numbers["payment_rate"])
    state = np.where(numbers["draw_term"] > 0, OPEN, np.where(repays, REPAYING, 0.0))
    target = np.nan_to_num(numbers["utilization"]) * np.where(
        np.isinf(numbers["credit_limit"]), 0, numbers["credit_limit"]
    )
    return {
        "revolves": np.where(revolving, state, 0.0),
        "pay_rate": np.where(revolving & repays, np.nan_to_num(numbers["payment_rate"]), 0.0),
        "draw_rate": np.where(revolving, numbers["purchase_rate"], 0.0),
        "target": np.where(revolving, target, 0.0),
        "credit": np.where(revolving, numbers["credit_limit"], 0.0),
        "interchange": np.where(revolving, numbers["interchange_rate"], 0.0),
        "charge": np.where(revolving, numbers["fee_rate"] / 12, 0.0),
        "discount": assets.discount[part],
        "dilution": assets.dilution[part],
        "residual": np.where(lease, numbers["residual_value"], 0.0),
    }


def drawn_of(table: CashflowTable) -> Floats:
    """What is drawn in months 0, 1, 2, .., a share of the table's first balance."""
    balances = np.asarray(table.balances, dtype=np.float64)
    rises = np.append(0.0, np.diff(balances))
    if table.principal is not None:
        rises[1:] += table.principal
    drawn: Floats = np.where(rises > 1e-9 * balances.max(), rises, 0.0) / balances[0]
    return drawn

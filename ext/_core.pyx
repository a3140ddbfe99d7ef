# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled core: loans prepared, contract sums taken, behaviour applied, all without the GIL.

Three steps, each one small function. `prepare` turns validated columns into the vectors of contract.h. For each run
(loans that share assumptions, age and last month where those matter) contract.h sums the contractual balances a(t).
`behave` makes what the run's loans share from the monthly rates: S(t), the surviving share; D(t), the share that
defaults; W(t), the share in foreclosure. `emit` multiplies the two into the fields. A loan is a run of one, so pool,
group and loan level are the same arithmetic. Conventions: Standard Formulas, Uniform Practices ch. SF, section D.

Arrays are IN unless marked OUT. Nothing here checks its arguments: engine/projection.py does, the only caller.
"""

import numpy as np

from libc.math cimport INFINITY, ceil, expm1, fma, log, log1p
from libc.stdlib cimport calloc, free
from libc.string cimport memset

cdef extern from "contract.h" nogil:
    ctypedef struct contract_run:
        const double *payment
        const double *factor
        const double *rate
        const double *fee
        const double *tail
        const double *last
        const double *interest_only
        long vectors
    void contract_sums(const contract_run *run, long months, double severity, long lag, double *balance,
                       double *interest, double *fees, double *capped, double *ring) noexcept
    void contract_lanes(const contract_run *run, long vector, long months, double *rows, long stride) noexcept
    ctypedef void simd_void "SIMD_VOID"
    enum: LANES
    enum: RING

# The order is that of engine/fields.py; a test holds the two together.
cdef enum:
    BALANCE, INTEREST, SCHEDULED_PRINCIPAL, PREPAYMENT, DEFAULT, RECOVERY, LOSS, SERVICING_FEE, NET_INTEREST
    PRINCIPAL, CASHFLOW, FORECLOSURE, EXPECTED_INTEREST, LOST_INTEREST, EXPECTED_PRINCIPAL, ADVANCED_INTEREST
    ADVANCED_PRINCIPAL, LIQUIDATION, N_FIELDS

LANES_A_VECTOR = LANES
VECTOR_ROWS = 7
LAST_MONTH_ROW = LAST
FIELD_ORDER = (
    "balance", "interest", "scheduled_principal", "prepayment", "default", "recovery", "loss", "servicing_fee",
    "net_interest", "principal", "cashflow", "foreclosure", "expected_interest", "lost_interest",
    "expected_principal", "advanced_interest", "advanced_principal", "liquidation",
)

cdef enum:
    LEVEL_PAY, LINEAR, BULLET

cdef enum:
    ADVANCE_NONE, ADVANCE_INTEREST, ADVANCE_ALL

cdef enum:
    GROSS, NET_OF_DEFAULTS, OPENING_NET

# Columns of `runs` and of `behaviour`, and rows of the prepared vectors.
cdef enum:
    RUN_FIRST, RUN_VECTORS, RUN_SET, RUN_AGE, RUN_TERM, RUN_OUT, RUN_MONTHS
    PAYMENT = 0, FACTOR, RATE, FEE, TAIL, LAST, INTEREST_ONLY

# What a scenario's assumptions for one set of loans say beside the rates.
cdef packed struct Rules:
    double severity
    int lag
    int advancing
    int by_age_prepayment
    int by_age_default
    int stop
    int fee_on_total
    int prepayment_base
    int on_survivors

RULES = np.dtype([("severity", "f8"), ("lag", "i4"), ("advancing", "i4"), ("by_age_prepayment", "i4"),
                  ("by_age_default", "i4"), ("stop", "i4"), ("fee_on_total", "i4"), ("prepayment_base", "i4"),
                  ("on_survivors", "i4")])


def prepare(const double[:] balance, const double[:] rate, const double[:] fee, const double[:] payment,
            const int[:] term, const int[:] interest_only, const int[:] amortization_term,
            const signed char[:] amortization, const long[:] order, const long[:] place, double[:, ::1] out):
    """Fills OUT `out` (7, padded lanes) with the contract vectors of loan order[j] at lane place[j].

    order, place: int64 (loans,). Lanes that no loan fills keep what the caller put there (zero, last month -1).
    """
    cdef Py_ssize_t j, i, k
    with nogil:
        for j in range(order.shape[0]):
            i = order[j]
            k = place[j]
            out[RATE, k] = rate[i] / 12
            out[FEE, k] = fee[i] / 12
            out[INTEREST_ONLY, k] = interest_only[i]
            contract_terms(balance[i], rate[i] / 12, payment[i], term[i], interest_only[i], amortization_term[i],
                           amortization[i], &out[PAYMENT, k], &out[FACTOR, k], &out[TAIL, k], &out[LAST, k])


cdef void contract_terms(double balance, double r, double stated, int term, int interest_only, int spread, int kind,
                         double *payment, double *factor, double *tail, double *last) noexcept nogil:
    """OUT: the monthly payment, the factor 1/(1+r), the balance at the last month that has one, and that month."""
    cdef double months = term - interest_only, over = spread if spread > 0 else months, rate
    payment[0] = 0
    factor[0] = 1
    tail[0] = balance
    last[0] = term - 1
    if kind == BULLET or months <= 0 or balance == 0:
        return
    if kind == LINEAR:
        payment[0] = balance / over
        tail[0] = balance * ((over - months + 1) / over)
        return
    if r < 1e-18:
        r = 0  # 1 + r is 1; dividing by a rate this small would overflow
    rate = log1p(r)
    factor[0] = 1 / (1 + r)
    if stated == stated:
        stated_terms(balance, r, rate, stated, interest_only, months, payment, tail, last)
    elif r == 0:
        payment[0] = balance / over
        tail[0] = balance * ((over - months + 1) / over)
    else:
        payment[0] = balance * r / -expm1(-over * rate)
        tail[0] = balance * (expm1(-(over - months + 1) * rate) / expm1(-over * rate))


cdef void stated_terms(double balance, double r, double rate, double stated, int interest_only, double months,
                       double *payment, double *tail, double *last) noexcept nogil:
    """OUT as contract_terms, for a level-pay loan whose payment is stated: early payoff or a balloon at the end."""
    cdef double count = INFINITY, paid, unpaid = fma(balance, r, -stated)
    payment[0] = stated
    if r == 0 and stated > 0:
        count = balance / stated
    elif unpaid < 0:
        count = -log(-unpaid / stated) / rate if unpaid > -0.5 * stated else -log1p(-balance * r / stated) / rate
    paid = ceil(count - 1e-9) - 1
    if paid < 0:
        paid = 0
    if paid >= months:
        paid = months - 1
    last[0] = interest_only + paid
    if r == 0:
        tail[0] = balance - stated * paid
    elif count < 2 * months:
        tail[0] = stated / r * -expm1(-(count - paid) * rate)
    else:
        tail[0] = balance + unpaid * (expm1(paid * rate) / r)
    if paid == 0:
        tail[0] = balance


cdef struct Behaviour:
    # each [0 .. months]: surviving, defaulting, in foreclosure, paying as scheduled, prepaid, paying interest
    double *alive
    double *default
    double *foreclosure
    double *kept
    double *prepaid
    double *paying


cdef void behave(const Rules *rules, const double *smm, const double *mdr, long age, long term, long months,
                 Behaviour b) noexcept nogil:
    """OUT b: what all loans of a run share, months 0 .. months. smm, mdr: by age or period, entry j is month j."""
    cdef long t, lag = rules.lag, stop = term - lag if rules.stop else months
    cdef double s, m, left, alive = 1
    cdef const double *prepay = smm + (age if rules.by_age_prepayment else 0)
    cdef const double *fail = mdr + (age if rules.by_age_default else 0)
    b.alive[0] = 1
    b.default[0] = b.kept[0] = b.prepaid[0] = b.paying[0] = 0
    for t in range(1, months + 1):
        m = fail[t] if t <= stop else 0
        s = prepay[t] if rules.prepayment_base == GROSS else prepay[t] * (1 - m)
        if s > 1 - m:
            s = 1 - m
        b.default[t] = alive * m
        b.prepaid[t] = alive * s
        left = alive * (1 - m - s)
        if left < 0:
            left = 0
        b.kept[t] = left if rules.prepayment_base == OPENING_NET else alive * (1 - m)
        b.paying[t] = left if rules.on_survivors else alive * (1 - m)
        alive = left
        b.alive[t] = alive
    window(b.default, b.foreclosure, lag, months)


cdef simd_void window(const double *x, double *out, long lag, long months) noexcept nogil:
    """OUT out[t] = x[t - lag + 1] + .. + x[t]; added up anew each month, so that what is over is exactly zero."""
    cdef long t, j
    memset(out, 0, (months + 1) * sizeof(double))
    for j in range(lag):
        for t in range(j, months + 1):
            out[t] = out[t] + x[t - j]


cdef inline double repaid(double before, double after) noexcept nogil:
    """Principal between two balances; what is within their rounding is none, so that it never turns negative."""
    cdef double paid = before - after, rounding = 1e-15 * before
    return paid if paid > rounding or paid < -rounding else 0


cdef struct Contract:
    # each [0 .. months]: balance, rate x balance, fee x balance, capped loss by month of liquidation (or NULL)
    const double *balance
    const double *interest
    const double *fees
    const double *capped


cdef simd_void emit(const Rules *rules, Contract c, Behaviour b, long months, double *scratch,
                    double **row) noexcept nogil:
    """OUT row[field][t - 1] for t in 1 .. months, for every row that is not NULL.

    Rows are closed under what they are made of (engine/projection.py). scratch: two arrays of months + 1.
    """
    cdef long t
    cdef bint amortises = rules.advancing == ADVANCE_ALL
    cdef double *out
    cdef const double *base
    cdef double *held = scratch
    cdef double *defaulted = scratch + months + 1
    if row[BALANCE] != NULL:
        out = row[BALANCE]
        for t in range(1, months + 1):
            out[t - 1] = c.balance[t] * b.alive[t]
    if row[DEFAULT] != NULL:
        out = row[DEFAULT]
        for t in range(1, months + 1):
            out[t - 1] = c.balance[t - 1] * b.default[t]
    if row[PREPAYMENT] != NULL:
        out = row[PREPAYMENT]
        base = c.balance - 1 if rules.prepayment_base == OPENING_NET else c.balance
        for t in range(1, months + 1):
            out[t - 1] = base[t] * b.prepaid[t]
    if row[ADVANCED_PRINCIPAL] != NULL:
        out = row[ADVANCED_PRINCIPAL]
        for t in range(1, months + 1):
            out[t - 1] = repaid(c.balance[t - 1], c.balance[t]) * b.foreclosure[t] if amortises else 0
    if row[SCHEDULED_PRINCIPAL] != NULL:
        out = row[SCHEDULED_PRINCIPAL]
        for t in range(1, months + 1):
            out[t - 1] = repaid(c.balance[t - 1], c.balance[t]) * (b.kept[t] + (b.foreclosure[t] if amortises else 0))
    if row[EXPECTED_PRINCIPAL] != NULL:
        out = row[EXPECTED_PRINCIPAL]
        for t in range(1, months + 1):
            out[t - 1] = repaid(c.balance[t - 1], c.balance[t]) * (
                b.alive[t - 1] + (b.foreclosure[t] - b.default[t] if amortises else 0))
    emit_liquidation(rules, c, b, months, row)
    emit_foreclosure(rules, c, b, months, held, row[FORECLOSURE])
    emit_interest(rules, c, b, months, held, defaulted, row)
    if row[NET_INTEREST] != NULL:
        for t in range(months):
            row[NET_INTEREST][t] = row[INTEREST][t] - row[SERVICING_FEE][t]
    if row[PRINCIPAL] != NULL:
        for t in range(months):
            row[PRINCIPAL][t] = row[SCHEDULED_PRINCIPAL][t] + row[PREPAYMENT][t] + row[RECOVERY][t]
    if row[CASHFLOW] != NULL:
        for t in range(months):
            row[CASHFLOW][t] = row[PRINCIPAL][t] + row[NET_INTEREST][t]


cdef simd_void emit_liquidation(const Rules *rules, Contract c, Behaviour b, long months,
                                double **row) noexcept nogil:
    """OUT liquidation, loss and recovery, `lag` months after the default."""
    cdef long t, lag = rules.lag, upto = min(lag, months)
    cdef bint amortises = rules.advancing == ADVANCE_ALL
    cdef double left
    cdef double *liquidation = row[LIQUIDATION]
    cdef double *loss = row[LOSS]
    cdef double *recovery = row[RECOVERY]
    if liquidation == NULL:
        return
    memset(liquidation, 0, upto * sizeof(double))
    if amortises:
        for t in range(lag + 1, months + 1):
            liquidation[t - 1] = c.balance[t - 1] * b.default[t - lag]
    else:
        for t in range(lag + 1, months + 1):
            liquidation[t - 1] = c.balance[t - lag - 1] * b.default[t - lag]
    if loss == NULL:
        return
    memset(loss, 0, upto * sizeof(double))
    if amortises:
        for t in range(lag + 1, months + 1):
            left = c.capped[t] * b.default[t - lag]
            loss[t - 1] = left if left < liquidation[t - 1] else liquidation[t - 1]
    else:
        for t in range(lag + 1, months + 1):
            loss[t - 1] = liquidation[t - 1] * rules.severity
    if recovery != NULL:
        for t in range(months):
            recovery[t] = liquidation[t] - loss[t]


cdef simd_void emit_foreclosure(const Rules *rules, Contract c, Behaviour b, long months, double *held,
                                double *out) noexcept nogil:
    """OUT the balance in foreclosure: amortising with the loan under principal advancing, else frozen at default."""
    cdef long t
    if out == NULL:
        return
    if rules.advancing == ADVANCE_ALL:
        for t in range(1, months + 1):
            out[t - 1] = c.balance[t] * b.foreclosure[t]
        return
    held[0] = 0
    for t in range(1, months + 1):
        held[t] = c.balance[t - 1] * b.default[t]
    window(held + 1, out, rules.lag, months - 1)


cdef simd_void on_defaulted(const Rules *rules, const double *per_month, Behaviour b, long months, double *held,
                            double *out) noexcept nogil:
    """OUT out[t]: a rate-weighted sum over the balance in foreclosure at the start of month t + 1, t from 0."""
    cdef long t
    if rules.advancing == ADVANCE_ALL:
        for t in range(months + 1):
            out[t] = per_month[t] * b.foreclosure[t]
        return
    held[0] = 0
    for t in range(1, months + 1):
        held[t] = per_month[t - 1] * b.default[t]
    window(held, out, rules.lag, months)


cdef simd_void emit_interest(const Rules *rules, Contract c, Behaviour b, long months, double *held,
                             double *defaulted, double **row) noexcept nogil:
    """OUT interest, its parts and the servicing fee."""
    cdef long t
    cdef bint advanced = rules.advancing != ADVANCE_NONE
    cdef double *expected = row[EXPECTED_INTEREST]
    cdef double *lost = row[LOST_INTEREST]
    cdef double *interest = row[INTEREST]
    cdef double *fee = row[SERVICING_FEE]
    if expected != NULL or lost != NULL or row[ADVANCED_INTEREST] != NULL or (interest != NULL and advanced):
        on_defaulted(rules, c.interest, b, months, held, defaulted)
    if expected != NULL:
        for t in range(1, months + 1):
            expected[t - 1] = c.interest[t - 1] * b.alive[t - 1] + defaulted[t - 1]
    if lost != NULL:
        for t in range(1, months + 1):
            lost[t - 1] = c.interest[t - 1] * b.default[t] + defaulted[t - 1]
    if row[ADVANCED_INTEREST] != NULL:
        for t in range(1, months + 1):
            row[ADVANCED_INTEREST][t - 1] = (c.interest[t - 1] * b.default[t] + defaulted[t - 1]) if advanced else 0
    if interest != NULL:
        if advanced:
            for t in range(1, months + 1):
                interest[t - 1] = c.interest[t - 1] * (b.paying[t] + b.default[t]) + defaulted[t - 1]
        else:
            for t in range(1, months + 1):
                interest[t - 1] = c.interest[t - 1] * b.paying[t]
    if fee != NULL:
        for t in range(1, months + 1):
            fee[t - 1] = c.fees[t - 1] * b.alive[t - 1]
        if rules.fee_on_total:
            on_defaulted(rules, c.fees, b, months, held, defaulted)
            for t in range(1, months + 1):
                fee[t - 1] = fee[t - 1] + defaulted[t - 1]


cdef simd_void add(double *out, const double *x, long n) noexcept nogil:
    cdef long t
    for t in range(n):
        out[t] = out[t] + x[t]


cdef simd_void scale(double *out, const double *x, double by, long n) noexcept nogil:
    cdef long t
    for t in range(n):
        out[t] = x[t] * by


cdef void cap_loss(double *out, const double *balance, double severity, long lag, long months) noexcept nogil:
    """OUT one loan's capped loss by month of liquidation: the lesser of severity a(t) and a(t + lag)."""
    cdef long t
    cdef double at_default
    memset(out, 0, (months + 1) * sizeof(double))
    for t in range(lag + 1, months + 1):
        at_default = balance[t - lag - 1] * severity
        out[t] = at_default if at_default < balance[t - 1] else balance[t - 1]


cdef struct Work:
    # room for one run: contract rows, behaviour rows, field rows, lanes, ring; one allocation
    double *balance
    double *interest
    double *fees
    double *capped
    double *lanes
    Behaviour b
    double *scratch
    double *rows
    double *ring
    double *memory


cdef int allocate(Work *w, long months, long max_lag, bint lanes) noexcept nogil:
    cdef long n = months + 2, parts = 4 + 6 + 2 + N_FIELDS + (LANES if lanes else 0)
    cdef double *p
    w.memory = <double *>calloc(parts * n + LANES * RING * (max_lag + 1), sizeof(double))
    if w.memory == NULL:
        return 0
    p = w.memory
    w.balance, w.interest, w.fees, w.capped = p, p + n, p + 2 * n, p + 3 * n
    w.b.alive, w.b.default, w.b.foreclosure = p + 4 * n, p + 5 * n, p + 6 * n
    w.b.kept, w.b.prepaid, w.b.paying = p + 7 * n, p + 8 * n, p + 9 * n
    w.scratch = p + 10 * n
    w.rows = p + 12 * n
    w.lanes = w.rows + N_FIELDS * n
    w.ring = w.lanes + (LANES * n if lanes else 0)
    return 1


def project_sums(const double[:, ::1] loans, const long[:, ::1] runs, const double[:, :, ::1] smm,
                 const double[:, :, ::1] mdr, rules, const int[::1] needed, const int[::1] slot, long months,
                 long periods, double[:, :, :, ::1] out):
    """Adds the runs' fields to OUT `out` (fields, scenarios, groups, periods).

    loans: (7, lanes) from prepare. runs: (runs, 7) first lane, vectors, set, age, term, output row, months to the last
    flow. smm, mdr: (scenarios, sets, months) monthly rates by age or period, entry 0 unused. rules: (scenarios, sets) of RULES. needed: fields to
    compute, slot: where in `out` each goes, -1 for those that only others are made of. months: the most
    that any run has; periods: how many are kept. Raises MemoryError.
    """
    cdef const Rules[:, ::1] rule = rules
    cdef Work w
    cdef contract_run run
    cdef Contract c
    cdef double *row[N_FIELDS]
    cdef long r, s, f, n = months + 2, k, group, m, max_lag = rules["lag"].max()
    cdef bint with_rate = wants_rate(needed), with_fee = needed[SERVICING_FEE]
    cdef bint with_loss = needed[LOSS]
    cdef const Rules *now
    cdef const Rules *before
    if not allocate(&w, months, max_lag, False):
        raise MemoryError("no room for a projection's working arrays")
    with nogil:
        for f in range(N_FIELDS):
            row[f] = w.rows + f * n if needed[f] else NULL
        for r in range(runs.shape[0]):
            lane_pointers(&run, &loans[0, 0] + runs[r, RUN_FIRST], loans.shape[1], runs[r, RUN_VECTORS])
            k = runs[r, RUN_SET]
            group = runs[r, RUN_OUT]
            m = runs[r, RUN_MONTHS]
            memset(w.balance, 0, 4 * n * sizeof(double))
            contract_sums(&run, m, 0, 0, w.balance, w.interest if with_rate else NULL,
                          w.fees if with_fee else NULL, NULL, NULL)
            c.balance, c.interest, c.fees, c.capped = w.balance, w.interest, w.fees, w.capped
            before = NULL
            for s in range(smm.shape[0]):
                now = &rule[s, k]
                if with_loss and now.advancing == ADVANCE_ALL and (
                        before == NULL or before.lag != now.lag or before.severity != now.severity):
                    memset(w.capped, 0, n * sizeof(double))
                    contract_sums(&run, m, now.severity, now.lag, w.scratch, NULL, NULL, w.capped, w.ring)
                    before = now
                behave(now, &smm[s, k, 0], &mdr[s, k, 0], runs[r, RUN_AGE], runs[r, RUN_TERM], m, w.b)
                emit(now, c, w.b, m, w.scratch, row)
                for f in range(N_FIELDS):
                    if slot[f] >= 0:
                        add(&out[slot[f], s, group, 0], row[f], min(periods, m))
        free(w.memory)


def project_loans(const double[:, ::1] loans, const long[:, ::1] runs, const long[::1] loan_at,
                  const double[:, :, ::1] smm, const double[:, :, ::1] mdr, rules, const int[::1] needed,
                  const int[::1] slot, long months, long periods, double[:, :, :, ::1] out):
    """Writes each loan's fields to OUT `out` (fields, scenarios, loans, periods); periods at most months.

    loan_at: (lanes,) the row in `out` of the loan in each lane, -1 for an empty lane. The rest as project_sums.
    """
    cdef const Rules[:, ::1] rule = rules
    cdef Work w
    cdef contract_run run
    cdef Contract c
    cdef double *row[N_FIELDS]
    cdef long r, s, f, v, i, lane, n = months + 2, k, at, m, max_lag = rules["lag"].max()
    cdef bint with_rate = wants_rate(needed), with_fee = needed[SERVICING_FEE]
    cdef bint with_loss = needed[LOSS]
    cdef const Rules *now
    if not allocate(&w, months, max_lag, True):
        raise MemoryError("no room for a projection's working arrays")
    with nogil:
        for f in range(N_FIELDS):
            row[f] = w.rows + f * n if needed[f] else NULL
        for s in range(smm.shape[0]):
            for r in range(runs.shape[0]):
                lane_pointers(&run, &loans[0, 0] + runs[r, RUN_FIRST], loans.shape[1], runs[r, RUN_VECTORS])
                k = runs[r, RUN_SET]
                now = &rule[s, k]
                m = runs[r, RUN_MONTHS]
                behave(now, &smm[s, k, 0], &mdr[s, k, 0], runs[r, RUN_AGE], runs[r, RUN_TERM], m, w.b)
                for v in range(run.vectors):
                    contract_lanes(&run, v, m, w.lanes, n)
                    for i in range(LANES):
                        lane = v * LANES + i
                        at = loan_at[runs[r, RUN_FIRST] + lane]
                        if at < 0:
                            continue
                        c.balance, c.interest, c.fees, c.capped = w.lanes + i * n, w.interest, w.fees, w.capped
                        if with_rate:
                            scale(w.interest, c.balance, run.rate[lane], m + 1)
                        if with_fee:
                            scale(w.fees, c.balance, run.fee[lane], m + 1)
                        if with_loss and now.advancing == ADVANCE_ALL:
                            cap_loss(w.capped, c.balance, now.severity, now.lag, m)
                        for f in range(N_FIELDS):
                            if slot[f] >= 0:
                                row[f] = &out[slot[f], s, at, 0] if periods >= m else w.rows + f * n
                        emit(now, c, w.b, m, w.scratch, row)
                        for f in range(N_FIELDS):
                            if slot[f] < 0:
                                continue
                            if periods >= m:
                                memset(&out[slot[f], s, at, 0] + m, 0, (periods - m) * sizeof(double))
                            else:
                                scale(&out[slot[f], s, at, 0], row[f], 1, periods)
        free(w.memory)


cdef bint wants_rate(const int[::1] needed) noexcept:
    return needed[INTEREST] or needed[EXPECTED_INTEREST] or needed[LOST_INTEREST] or needed[ADVANCED_INTEREST]


cdef void lane_pointers(contract_run *run, const double *first, long stride, long vectors) noexcept nogil:
    run.payment = first + PAYMENT * stride
    run.factor = first + FACTOR * stride
    run.rate = first + RATE * stride
    run.fee = first + FEE * stride
    run.tail = first + TAIL * stride
    run.last = first + LAST * stride
    run.interest_only = first + INTEREST_ONLY * stride
    run.vectors = vectors

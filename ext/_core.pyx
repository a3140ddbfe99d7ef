# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled core: loans prepared, contract sums taken, behaviour applied, all without the GIL.

Three steps, each in a file of its own. `prepare` turns validated columns into the vectors of contract.h. For each run
(loans that share assumptions, age and last month where those matter) contract.h sums the contractual balances a(t).
`behave` makes what the run's loans share from the monthly rates: S(t), the surviving share; D(t), the share that
defaults; W(t), the share in foreclosure. `emit` multiplies the two into the fields. A loan is a run of one, so pool,
group and loan level are the same arithmetic. Conventions: Standard Formulas, Uniform Practices ch. SF, section D.

Arrays are IN unless marked OUT. Nothing here checks its arguments: engine/projection.py does, the only caller.
"""

import numpy as np

from libc.math cimport INFINITY, ceil, exp, expm1, fma, log, log1p
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

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
    void level_terms(const double *balance, const double *rate, const double *over, const double *months,
                     double *payment, double *tail) noexcept
    void contract_lanes(const contract_run *run, long vector, long months, double *rows, long stride) noexcept
    ctypedef void simd_void "SIMD_VOID"
    enum: LANES
    enum: RING

cdef extern from "stream.h" nogil:
    enum: STREAM_FROM
    void expect_row(const double *to, long n) noexcept
    void write_row(double *to, const double *from_, long n, int streamed) noexcept
    void stream_end() noexcept

# The order is that of engine/fields.py; a test holds the two together.
cdef enum:
    BALANCE, INTEREST, SCHEDULED_PRINCIPAL, PREPAYMENT, DEFAULT, RECOVERY, LOSS, SERVICING_FEE, NET_INTEREST
    PRINCIPAL, CASHFLOW, FORECLOSURE, EXPECTED_INTEREST, LOST_INTEREST, EXPECTED_PRINCIPAL, ADVANCED_INTEREST
    ADVANCED_PRINCIPAL, LIQUIDATION, MORTGAGE_INSURANCE, RECOUPED_ADVANCES, DELINQUENT_30
    DELINQUENT_60, DELINQUENT_90, DELINQUENT_120, DRAW, OTHER_INCOME, SHORTFALL, PREPAYMENT_PENALTY
    CURTAILMENT, FORBEARANCE, MODIFIED, N_FIELDS

LANES_A_VECTOR = LANES
VECTOR_ROWS = VECTOR_ROWS_OF
LAST_MONTH_ROW = LAST
FIELD_ORDER = (
    "balance", "interest", "scheduled_principal", "prepayment", "default", "recovery", "loss", "servicing_fee",
    "net_interest", "principal", "cashflow", "foreclosure", "expected_interest", "lost_interest",
    "expected_principal", "advanced_interest", "advanced_principal", "liquidation",
    "mortgage_insurance", "recouped_advances", "delinquent_30", "delinquent_60", "delinquent_90", "delinquent_120",
    "draw", "other_income", "shortfall", "prepayment_penalty", "curtailment",
    "forbearance", "modified",
)

cdef enum:
    LEVEL_PAY, LINEAR, BULLET

cdef enum:
    ADVANCE_NONE, ADVANCE_INTEREST, ADVANCE_ALL

cdef enum:
    GROSS, NET_OF_DEFAULTS, OPENING_NET

# Columns of `runs` and of `behaviour`, and rows of the prepared vectors.
cdef enum:
    RUN_FIRST, RUN_VECTORS, RUN_SET, RUN_AGE, RUN_TERM, RUN_OUT, RUN_MONTHS, RUN_WALK, RUN_LANE
    PAYMENT = 0, FACTOR, RATE, FEE, TAIL, LAST, INTEREST_ONLY, VECTOR_ROWS_OF
    VALUE = 0, COVERAGE

# What a scenario's assumptions for one set of loans say beside the rates.
cdef packed struct Rules:
    double severity
    int lag
    int advancing
    long prepayment_at
    long default_at
    long prepayment_stride
    long default_stride
    double burnout_floor
    double burnout_slope
    int stop
    int fee_on_total
    int prepayment_base
    int on_survivors
    # Whether what follows says anything beyond one severity, one lag and advances in full (ext/loss.pxi). The places
    # are in the rates: shares liquidated and left after 0, 1 .. months, the part of those left whose interest is
    # advanced, severities by month of default (or of liquidation), net proceeds by month (-1 for none), severities
    # by loan-to-value (-1 for none), for which the proceeds are the value.
    int general
    int after
    int loss_at_default
    int by_liquidation
    int insured
    int recoups
    int late
    long roll_at
    long stages_at
    long remaining_at
    long advanced_at
    long severity_at
    long proceeds_at
    long ltv_at
    long advance_months
    double advance_share
    double minimum
    # The share of leases' residuals that is realised; whether the loans were in default at the cut-off.
    double residual_share
    int defaulted
    # Curtailments (the place of their curve in the rates), and whether the payment is recast after them.
    int recasts
    long curtailment_at
    long curtailment_stride
    # Whether late loans are helped (2: with interest capitalized), and the place of how in the rates (ext/workout.pxi).
    int workout
    long workout_at
    # Payments that the loans have missed at the cut-off: their contract begins so many months before (delinquent.pxi).
    int missed

RULES = np.dtype([("severity", "f8"), ("lag", "i4"), ("advancing", "i4"), ("prepayment_at", "i8"),
                  ("default_at", "i8"), ("prepayment_stride", "i8"), ("default_stride", "i8"),
                  ("burnout_floor", "f8"), ("burnout_slope", "f8"), ("stop", "i4"), ("fee_on_total", "i4"), ("prepayment_base", "i4"),
                  ("on_survivors", "i4"), ("general", "i4"), ("after", "i4"), ("loss_at_default", "i4"),
                  ("by_liquidation", "i4"), ("insured", "i4"), ("recoups", "i4"), ("late", "i4"), ("roll_at", "i8"),
                  ("stages_at", "i8"),
                  ("remaining_at", "i8"), ("advanced_at", "i8"), ("severity_at", "i8"), ("proceeds_at", "i8"), ("ltv_at", "i8"),
                  ("advance_months", "i8"), ("advance_share", "f8"), ("minimum", "f8"),
                  ("residual_share", "f8"), ("defaulted", "i4"), ("recasts", "i4"), ("curtailment_at", "i8"),
                  ("curtailment_stride", "i8"), ("workout", "i4"), ("workout_at", "i8"), ("missed", "i4")])

include "prepare.pxi"
include "walked.pxi"
include "behaviour.pxi"
include "emit.pxi"
include "loss.pxi"
include "delinquent.pxi"
include "workout.pxi"
include "recast.pxi"
include "assets.pxi"
include "penalty.pxi"
include "names.pxi"
include "order.pxi"
include "asked.pxi"


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
    double *dues
    double *flows
    Behaviour b
    double *scratch
    double *rows
    double *ring
    double *memory


cdef int allocate(Work *w, long months, long max_lag, bint lanes) noexcept nogil:
    cdef long n = months + 2, parts = 4 + 7 + 2 + N_FIELDS + (2 * LANES if lanes else 0) + FLOWS * (LANES if lanes else 1)
    cdef double *p
    w.memory = <double *>calloc(parts * n + LANES * RING * (max_lag + 1), sizeof(double))
    if w.memory == NULL:
        return 0
    p = w.memory
    w.balance, w.interest, w.fees, w.capped = p, p + n, p + 2 * n, p + 3 * n
    w.b.alive, w.b.default, w.b.foreclosure = p + 4 * n, p + 5 * n, p + 6 * n
    w.b.kept, w.b.prepaid, w.b.paying = p + 7 * n, p + 8 * n, p + 9 * n
    w.b.curtailed = p + 10 * n
    w.scratch = p + 11 * n
    w.rows = p + 13 * n
    w.lanes = w.rows + N_FIELDS * n
    w.dues = w.lanes + LANES * n
    w.flows = w.lanes + (2 * LANES * n if lanes else 0)
    w.ring = w.flows + FLOWS * n * (LANES if lanes else 1)
    return 1


include "families.pxi"
include "table.pxi"
include "apply.pxi"
include "loan_rows.pxi"


cdef void run_losses(const Rules *now, const Source *source, const double *rates, const double[:, ::1] extras,
                     long first, long vectors, const double *balance, long months, bint wanted, double *scratch,
                     Losses *l) noexcept nogil:
    """OUT l: the losses of a run for each unit in default; balance: its sums. first: its place in extras.

    months: of the contract, which begins `missed` months before the cut-off.
    """
    cdef long v, i, lane, ago = now.missed
    cdef const double *interest
    begin_losses(now, rates, l)
    if not wanted:
        return
    if linear(now):
        add_losses(now, rates, balance + ago, balance + ago, 0, 0, months - ago, l)
        return
    for v in range(vectors):
        lanes_of(source, v, months, l.lanes, l.dues, NULL, l.n, scratch)
        for i in range(LANES):
            lane = v * LANES + i
            interest = l.dues + i * l.n
            if not source.forward:
                scale(l.interest, l.lanes + i * l.n, source.plain.rate[lane], months + 1)
                interest = l.interest
            add_losses(now, rates, l.lanes + i * l.n + ago, interest + ago,
                       extras[VALUE, first + lane] if extras.shape[1] else 0,
                       extras[COVERAGE, first + lane] if extras.shape[1] else 0, months - ago, l)


def project_sums(const double[:, ::1] loans, const double[:, ::1] extras, Walked walked, Penalties penalties,
                 const long[:, ::1] runs, const double[::1] rates, rules, const int[::1] needed, const int[::1] slot, long months,
                 long periods, double[:, :, :, ::1] out):
    """Adds the runs' fields to OUT `out` (fields, scenarios, groups, periods).

    loans: (7, lanes) from prepare. walked: the stepped loans, or None. penalties: by lane, or None. extras: (2, lanes) value of the property and
    insurance coverage, or (2, 0). runs: (runs, 9) first lane, vectors, set, age, term, output row, months to the last
    flow, walk, place of the first lane in loan_at and extras. rates: monthly rates of all curves, and other tables.
    rules: (scenarios, sets) of RULES, with the place of each curve in rates. needed: fields to compute, slot: where in
    `out` each goes, -1 for those that only others are made of. months: the most that any run has; periods: how many are
    kept. Sums are taken once for each set of index values that a run is walked on. Raises MemoryError.
    """
    cdef const Rules[:, ::1] rule = rules
    cdef Work w
    cdef Losses l
    cdef PenaltyWork p
    cdef Source source
    cdef Tables tables
    cdef Contract c
    cdef double *row[N_FIELDS]
    cdef long r, s, f, n = months + 2, k, group, m, g, sets
    cdef Most most = most_of(rule)
    cdef long max_lag = most.lag
    cdef bint with_rate = wants_rate(needed) or most.capitalizes, with_fee = needed[SERVICING_FEE], with_flows = False
    cdef bint with_loss = needed[LOSS], some_loss = needed[LOSS] or needed[FORECLOSURE]
    cdef bint opening = prepays_opening(rule)
    cdef const Rules *now
    cdef const Rules *before
    memset(&tables, 0, sizeof(Tables))
    if walked is not None:
        tables = walked.tables()
        with_flows = tables.run.asset != NULL or tables.curtails
    if not allocate(&w, months, max_lag, False):
        raise MemoryError("no room for a projection's working arrays")
    if not allocate_losses(&l, max_lag + 1 if most.general else 0, most.workout, n):
        free(w.memory)
        raise MemoryError("no room for a projection's losses")
    if not allocate_penalties(&p, penalties is not None, n):
        free(l.memory)
        free(w.memory)
        raise MemoryError("no room for a projection's penalties")
    with nogil:
        for f in range(N_FIELDS):
            row[f] = w.rows + f * n if needed[f] else NULL
        for r in range(runs.shape[0]):
            sets = point(&source, loans, &tables, &runs[r, 0])
            k = runs[r, RUN_SET]
            group = runs[r, RUN_OUT]
            m = runs[r, RUN_MONTHS]
            for g in range(sets):
                in_set(&source, &tables, &runs[r, 0], &rates[0], g)
                memset(w.balance, 0, 4 * n * sizeof(double))
                memset(w.flows, 0, FLOWS * n * sizeof(double))
                sums(&source, m, 0, 0, w.balance, w.interest if with_rate else NULL,
                     w.fees if with_fee else NULL, NULL, NULL, w.flows if with_flows else NULL, n)
                c.balance, c.interest, c.fees, c.capped = w.balance, w.interest, w.fees, w.capped
                c.flows, c.stride = w.flows if with_flows else NULL, n
                c.losses, c.rates = &l, &rates[0]
                c.penalties = p.owed
                begin_earlier(&rule[0, k], &c)
                if p.owed != NULL:
                    memset(p.owed, 0, OWED * n * sizeof(double))
                    run_penalties(penalties, &source, runs[r, RUN_LANE], runs[r, RUN_VECTORS], opening, m, &p, n, p.owed)
                w.b.late, w.b.workout = l.late, l.workout
                before = NULL
                for s in range(rule.shape[0]):
                    if sets > 1 and tables.set_of[s] != g:
                        continue
                    now = &rule[s, k]
                    if now.general:
                        if before == NULL or not same_losses(before, now):
                            run_losses(now, &source, &rates[0], extras, runs[r, RUN_LANE], runs[r, RUN_VECTORS],
                                       w.balance, m, some_loss, w.scratch, &l)
                            before = now
                    elif with_loss and now.advancing == ADVANCE_ALL and (
                            before == NULL or before.general or before.lag != now.lag
                            or before.severity != now.severity):
                        memset(w.capped, 0, n * sizeof(double))
                        sums(&source, m, now.severity, now.lag, w.scratch, NULL, NULL, w.capped, w.ring, NULL, 0)
                        before = now
                    behave(now, &rates[0], runs[r, RUN_AGE], runs[r, RUN_TERM], runs[r, RUN_WALK], m - now.missed, n, 1,
                           &w.b)
                    emit(now, c, w.b, m - now.missed, w.scratch, row)
                    for f in range(N_FIELDS):
                        if slot[f] >= 0:
                            add(&out[slot[f], s, group, 0], row[f], min(periods, m - now.missed))
        free(p.memory)
        free(l.memory)
        free(w.memory)


def project_loans(const double[:, ::1] loans, const double[:, ::1] extras, Walked walked, Penalties penalties,
                  const long[:, ::1] runs, const long[::1] loan_at, const double[::1] rates, rules, const int[::1] needed,
                  const int[::1] slot, long months, long periods, double[:, :, :, ::1] out):
    """Writes each loan's fields to OUT `out` (fields, scenarios, loans, periods), zero after the last month.

    loan_at: (lanes,) the row in `out` of the loan in each lane, -1 for an empty lane. The rest as project_sums.
    """
    cdef const Rules[:, ::1] rule = rules
    cdef Work w
    cdef Losses l
    cdef PenaltyWork p
    cdef Source source
    cdef Tables tables
    cdef Contract c
    cdef double *row[N_FIELDS]
    cdef long r, s, f, v, i, lane, n = months + 2, k, at, m
    cdef Most most = most_of(rule)
    cdef long max_lag = most.lag
    cdef bint with_rate = wants_rate(needed) or most.capitalizes, with_fee = needed[SERVICING_FEE], with_flows = False
    cdef bint with_loss = needed[LOSS], some_loss = needed[LOSS] or needed[FORECLOSURE]
    cdef bint opening = prepays_opening(rule)
    cdef long begin
    cdef long key[KEY_COLUMNS]
    cdef long known[KEY_COLUMNS]
    cdef const long *before
    cdef long kept = min(periods, months)
    cdef bint streamed = out.shape[0] * out.shape[1] * out.shape[2] * out.shape[3] * <long>sizeof(double) >= STREAM_FROM
    cdef const Rules *now
    cdef PlainRows plain
    cdef bint more
    memset(&tables, 0, sizeof(Tables))
    if walked is not None:
        tables = walked.tables()
        with_flows = tables.run.asset != NULL or tables.curtails
    if not allocate(&w, months, max_lag, True):
        raise MemoryError("no room for a projection's working arrays")
    if not allocate_losses(&l, max_lag + 1 if most.general else 0, most.workout, n):
        free(w.memory)
        raise MemoryError("no room for a projection's losses")
    if not allocate_penalties(&p, penalties is not None, n):
        free(l.memory)
        free(w.memory)
        raise MemoryError("no room for a projection's penalties")
    if not allocate_plain(&plain, needed, months, periods, out, streamed):
        free(p.memory)
        free(l.memory)
        free(w.memory)
        raise MemoryError("no room for a projection's walks")
    with nogil:
        for f in range(N_FIELDS):
            row[f] = w.rows + f * n if needed[f] else NULL
        for s in range(rule.shape[0]):
            before = NULL
            plain.run = -1
            for r in range(runs.shape[0]):
                point(&source, loans, &tables, &runs[r, 0])
                if source.forward:
                    in_set(&source, &tables, &runs[r, 0], &rates[0],
                           tables.set_of[s] if runs[r, RUN_WALK] % WALKS == WALK_ON_INDEX else 0)
                k = runs[r, RUN_SET]
                now = &rule[s, k]
                m = runs[r, RUN_MONTHS] - now.missed
                w.b.late, w.b.workout = l.late, l.workout
                key_of(&runs[r, 0], key)
                begin = 1 if before == NULL or now.late else shared(now, before, key) + 1
                behave(now, &rates[0], runs[r, RUN_AGE], runs[r, RUN_TERM], runs[r, RUN_WALK], m, n, begin, &w.b)
                memcpy(known, key, sizeof(key))
                before = known
                if plain.within and is_plain(now, &runs[r, 0]):
                    more = r + 1 < runs.shape[0] and is_plain(&rule[s, runs[r + 1, RUN_SET]], &runs[r + 1, 0])
                    write_plain(&plain, loans, runs, loan_at, now, w.b, r, more, s, slot, row, out)
                    continue
                for f in range(N_FIELDS):
                    if slot[f] >= 0 and kept > m:
                        memset(row[f] + m, 0, (kept - m) * sizeof(double))
                for v in range(runs[r, RUN_VECTORS]):
                    if with_flows:
                        memset(w.flows, 0, LANES * FLOWS * n * sizeof(double))
                    lanes_of(&source, v, m + now.missed, w.lanes, w.dues, w.flows if with_flows else NULL, n, w.balance)
                    for i in range(LANES):
                        lane = v * LANES + i
                        at = loan_at[runs[r, RUN_LANE] + lane]
                        if at < 0:
                            continue
                        for f in range(N_FIELDS if streamed else 0):
                            if slot[f] >= 0:
                                expect_row(&out[slot[f], s, at, 0], kept)
                        c.balance, c.interest, c.fees, c.capped = w.lanes + i * n, w.interest, w.fees, w.capped
                        if source.forward:
                            c.interest = w.dues + i * n
                        elif with_rate or now.general:
                            scale(w.interest, c.balance, source.plain.rate[lane], m + now.missed + 1)
                        if with_fee:
                            scale(w.fees, c.balance, lane_fee(&source, lane), m + now.missed + 1)
                        c.flows, c.stride = w.flows + i * FLOWS * n if with_flows else NULL, n
                        c.losses, c.rates = &l, &rates[0]
                        c.penalties = p.owed
                        if p.owed != NULL:
                            memset(p.owed, 0, OWED * n * sizeof(double))
                            if penalties.lanes[LANE_PENALTY, runs[r, RUN_LANE] + lane] >= 0:
                                add_penalty(penalties, runs[r, RUN_LANE] + lane, c.balance,
                                            c.interest if source.forward else NULL, opening, m + now.missed, p.value,
                                            p.owed + OWED_WHOLE * n, p.owed + OWED_EACH * n)
                        begin_earlier(now, &c)
                        if now.general:
                            begin_losses(now, &rates[0], &l)
                            if some_loss:
                                add_losses(now, &rates[0], c.balance, c.interest,
                                           extras[VALUE, runs[r, RUN_LANE] + lane] if extras.shape[1] else 0,
                                           extras[COVERAGE, runs[r, RUN_LANE] + lane] if extras.shape[1] else 0, m, &l)
                        elif with_loss and now.advancing == ADVANCE_ALL:
                            cap_loss(w.capped, c.balance, now.severity, now.lag, m)
                        emit(now, c, w.b, m, w.scratch, row)
                        for f in range(N_FIELDS):
                            if slot[f] >= 0:
                                write_row(&out[slot[f], s, at, 0], row[f], kept, streamed)
                                if periods > kept:
                                    memset(&out[slot[f], s, at, 0] + kept, 0, (periods - kept) * sizeof(double))
        stream_end()
        free(plain.memory)
        free(p.memory)
        free(l.memory)
        free(w.memory)


ADVANCES_PRINCIPAL = ADVANCE_ALL
LATE_MOST, FORBORNE_MOST = MOST_LATE, MOST_FORBORNE
PREPAYS_OPENING = OPENING_NET


cdef void lane_pointers(contract_run *run, const double *first, long stride, long vectors) noexcept nogil:
    run.payment = first + PAYMENT * stride
    run.factor = first + FACTOR * stride
    run.rate = first + RATE * stride
    run.fee = first + FEE * stride
    run.tail = first + TAIL * stride
    run.last = first + LAST * stride
    run.interest_only = first + INTEREST_ONLY * stride
    run.vectors = vectors

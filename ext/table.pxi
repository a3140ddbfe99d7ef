"""Contract sums kept by run, and behaviour applied to them. Part of _core.pyx.

Two steps where the losses need no loans: `contract_rows` passes over the loans of a chunk once and sums what each run
owes; the caller adds the rows of all chunks, by run; `apply_rows` then gives every scenario's fields. So a scenario costs
the months of the tape's runs, however many chunks the tape was cut into. `project_runs` does both for a few runs at a time,
where they have all their loans together: what a run owes stays in the second-level cache and is never kept.
"""

# Columns of a run's key, by which rows of several chunks are one.
cdef enum:
    KEY_SET, KEY_AGE, KEY_TERM, KEY_OUT, KEY_WALK, KEY_MONTHS, KEY_COLUMNS
    BLOCK_OF_RUNS = 64  # whose rows stay in the second-level cache while the scenarios go over them


cdef struct Singles:
    # runs of one plain loan each, whose balances are taken eight at a time, a run a lane, and room for what comes out
    double terms[VECTOR_ROWS_OF * LANES]
    long run[LANES]
    long months
    int size
    double *rows


cdef bint is_single(const double[:, ::1] loans, const long *run) noexcept nogil:
    """Whether a run is one loan that is walked backward."""
    if run[RUN_WALK] % WALKS != WALK_BACK or run[RUN_VECTORS] != 1:
        return False
    return loans[LAST, run[RUN_FIRST]] >= 0 and loans[LAST, run[RUN_FIRST] + 1] < 0


cdef void join_single(Singles *these, const double[:, ::1] loans, const long *run, long r) noexcept nogil:
    """Puts a run in the next lane."""
    cdef int row
    for row in range(VECTOR_ROWS_OF):
        these.terms[row * LANES + these.size] = loans[row, run[RUN_FIRST]]
    these.run[these.size] = r
    these.months = max(these.months, run[RUN_MONTHS])
    these.size += 1


cdef void end_singles(Singles *these, long n, bint with_rate, bint with_fee, double[:, :, :, ::1] out) noexcept nogil:
    """OUT the rows of the runs joined, which are then none. n: from a row to the next."""
    cdef contract_run lanes
    cdef double *row
    cdef const double *balance
    cdef int j
    if these.size == 0:
        return
    for j in range(these.size, LANES):
        these.terms[LAST * LANES + j] = -1
    lane_pointers(&lanes, these.terms, LANES, 1)
    contract_lanes(&lanes, 0, these.months, these.rows, n)
    for j in range(these.size):
        row, balance = &out[these.run[j], 0, 0, 0], these.rows + j * n
        scale(row, balance, 1, these.months + 1)
        if with_rate:
            scale(row + n, balance, these.terms[RATE * LANES + j], these.months + 1)
        if with_fee:
            scale(row + (1 + with_rate) * n, balance, these.terms[FEE * LANES + j], these.months + 1)
    these.size = 0
    these.months = 0


cdef struct Summing:
    # room for the sums of one run: a ring of past months, a row that is not kept, runs of one loan, penalties
    double *ring
    double *scratch
    Singles singles
    PenaltyWork penalties


cdef int allocate_summing(Summing *work, const long[::1] lag, bint penalties, long n) noexcept nogil:
    cdef long p, max_lag = 0
    memset(work, 0, sizeof(Summing))
    for p in range(lag.shape[0]):
        max_lag = max(max_lag, lag[p])
    work.ring = <double *>calloc((1 + LANES) * n + LANES * RING * (max_lag + 1), sizeof(double))
    if work.ring == NULL:
        return 0
    if not allocate_penalties(&work.penalties, penalties, n):
        free(work.ring)
        return 0
    work.scratch = work.ring + LANES * RING * (max_lag + 1)
    work.singles.rows = work.scratch + n
    return 1


cdef void end_summing(Summing *work) noexcept nogil:
    free(work.penalties.memory)
    free(work.ring)


cdef void rows_of(const double[:, ::1] loans, Tables *tables, Penalties penalties, const long[:, ::1] runs,
                  const double[::1] severity, const long[::1] lag, const signed char[:, ::1] uses, bint with_rate,
                  bint with_fee, bint with_flows, bint opening, const double *rates, long n, Summing *work, long begin,
                  long end, double[:, :, :, ::1] out) noexcept nogil:
    """Adds to OUT out[r - begin] what run r owes, for the runs from begin to end; the rest as contract_rows."""
    cdef Source source
    cdef long r, g, p, m, sets, first = 1 + with_rate + with_fee
    cdef double *row
    cdef bint balances_alone = lag.shape[0] == 0 and not with_flows and work.penalties.owed == NULL
    for r in range(begin, end):
        if balances_alone and is_single(loans, &runs[r, 0]):
            join_single(&work.singles, loans, &runs[r, 0], r - begin)
            if work.singles.size == LANES:
                end_singles(&work.singles, n, with_rate, with_fee, out)
            continue
        sets = point(&source, loans, tables, &runs[r, 0])
        m = runs[r, RUN_MONTHS]
        for g in range(sets):
            in_set(&source, tables, &runs[r, 0], rates, g)
            row = &out[r - begin, g, 0, 0]
            sums(&source, m, 0, 0, row, row + n if with_rate else NULL,
                 row + (1 + with_rate) * n if with_fee else NULL, NULL, NULL,
                 row + (first + lag.shape[0]) * n if with_flows else NULL, n)
            for p in range(lag.shape[0]):
                if not uses[runs[r, RUN_SET], p]:
                    continue
                sums(&source, m, severity[p], lag[p], work.scratch, NULL, NULL, row + (first + p) * n, work.ring, NULL, 0)
            if work.penalties.owed != NULL:
                run_penalties(penalties, &source, runs[r, RUN_LANE], runs[r, RUN_VECTORS], opening, m, &work.penalties, n,
                              row + (first + lag.shape[0] + (FLOWS if with_flows else 0)) * n)
    end_singles(&work.singles, n, with_rate, with_fee, out)


def contract_rows(const double[:, ::1] loans, Walked walked, Penalties penalties, const long[:, ::1] runs,
                  const double[::1] severity, const long[::1] lag, const signed char[:, ::1] uses, bint with_rate,
                  bint with_fee, bint with_flows, bint opening, const double[::1] rates, long months,
                  double[:, :, :, ::1] out):
    """Fills OUT `out` (runs, sets, kinds, months + 2): each run's sums from month 0 to its last flow, zero after.

    sets: of index values; a run that reads none fills the first. kinds: balance, interest and fees where asked for, then
    the capped loss of each pair of severity and lag, if the run's set of assumptions `uses` it (sets, pairs), then what
    assets add (ext/assets.pxi), then penalties (ext/penalty.pxi) of prepayments off the `opening` balance or what is left of it
    after the month's principal. The rest as project_sums. Raises MemoryError.
    """
    cdef Tables tables
    cdef Summing work
    memset(&tables, 0, sizeof(Tables))
    if walked is not None:
        tables = walked.tables()
    if not allocate_summing(&work, lag, penalties is not None, months + 2):
        raise MemoryError("no room for the sums of a projection's runs")
    with nogil:
        rows_of(loans, &tables, penalties, runs, severity, lag, uses, with_rate, with_fee, with_flows, opening, &rates[0],
                months + 2, &work, 0, runs.shape[0], out)
        end_summing(&work)


def add_rows(double[:, :, :, ::1] out, const long[::1] ids, const double[:, :, :, ::1] rows):
    """Adds rows[i] to OUT out[ids[i]]."""
    cdef long i, size = rows.shape[1] * rows.shape[2] * rows.shape[3]
    with nogil:
        for i in range(ids.shape[0]):
            add(&out[ids[i], 0, 0, 0], &rows[i, 0, 0, 0], size)


cdef struct Applying:
    # room for the fields of one run
    Work w
    Losses l
    double *field[N_FIELDS]


cdef int allocate_applying(Applying *work, const int[::1] needed, const Rules[:, ::1] rule, long months) noexcept:
    cdef long f
    cdef Most most = most_of(rule)
    if not allocate(&work.w, months, 0, False):
        return 0
    if not allocate_losses(&work.l, most.lag + 1 if most.general else 0, most.workout, months + 2):
        free(work.w.memory)
        return 0
    for f in range(N_FIELDS):
        work.field[f] = work.w.rows + f * (months + 2) if needed[f] else NULL
    work.w.b.late, work.w.b.workout = work.l.late, work.l.workout
    return 1


cdef void end_applying(Applying *work) noexcept nogil:
    free(work.l.memory)
    free(work.w.memory)


cdef void fields_of(const double[:, :, :, ::1] rows, const long[:, ::1] keys, const long *order, long count,
                    const long[::1] set_of, const int[:, ::1] pair, bint with_rate, bint with_fee, long flows_at,
                    long penalties_at, const double *rates, const Rules[:, ::1] rule, const int[::1] slot, long n,
                    long periods, long first_out, Applying *work, double[:, :, :, ::1] out) noexcept nogil:
    """Adds to OUT out the fields of `count` runs; the rest as apply_rows."""
    cdef Contract c
    cdef long i, r, s, f, k, m, begin, first = 1 + with_rate + with_fee
    cdef const double *row
    cdef const Rules *now
    cdef const long *before
    c.losses, c.rates = &work.l, rates
    for s in range(rule.shape[0]):
        before = NULL
        for i in range(count):
            r = order[i] if order != NULL else i
            k = keys[r, KEY_SET]
            now = &rule[s, k]
            m = keys[r, KEY_MONTHS] - now.missed
            row = &rows[r, set_of[s] if keys[r, KEY_WALK] % WALKS == WALK_ON_INDEX else 0, 0, 0]
            c.balance = row
            c.interest = row + n if with_rate else work.w.interest
            c.fees = row + (1 + with_rate) * n if with_fee else work.w.fees
            c.flows, c.stride = row + flows_at * n if flows_at >= 0 else NULL, n
            c.penalties = row + penalties_at * n if penalties_at >= 0 else NULL
            c.capped = row + (first + pair[s, k]) * n if pair[s, k] >= 0 else work.w.capped
            begin_earlier(now, &c)
            if now.general:
                begin_losses(now, rates, &work.l)
                add_losses(now, rates, c.balance, c.balance, 0, 0, m, &work.l)
            begin = 1 if before == NULL or now.late else shared(now, before, &keys[r, 0]) + 1
            behave(now, rates, keys[r, KEY_AGE], keys[r, KEY_TERM], keys[r, KEY_WALK], m, n, begin, &work.w.b)
            before = &keys[r, 0]
            emit(now, c, work.w.b, m, work.w.scratch, work.field)
            for f in range(N_FIELDS):
                if slot[f] >= 0:
                    add(&out[slot[f], s, keys[r, KEY_OUT] - first_out, 0], work.field[f], min(periods, m))


def apply_rows(const double[:, :, :, ::1] rows, const long[:, ::1] keys, const long[::1] order, const long[::1] set_of,
               const int[:, ::1] pair, bint with_rate, bint with_fee, long flows_at, long penalties_at,
               const double[::1] rates, rules,
               const int[::1] needed, const int[::1] slot, long months, long periods, long first_out,
               double[:, :, :, ::1] out):
    """Adds the fields of the runs `order` under some scenarios to OUT `out` (fields, scenarios, groups, periods).

    rows: (runs, sets, kinds, months + 2) of contract_rows. keys: (runs, 6) set, age, term, output row, walk, months to
    the last flow. set_of: (scenarios,) set of index values. pair: (scenarios, sets of assumptions) the pair of severity
    and lag whose capped loss the rules read, -1 for none. flows_at: the kind where what assets add begins, -1 for
    none; penalties_at: that of penalties. first_out: output row of out[:, :, 0]. The rest as
    project_sums; rules whose losses need the loans are not for here. Raises MemoryError.
    """
    cdef const Rules[:, ::1] rule = rules
    cdef Applying work
    cdef long block
    if not allocate_applying(&work, needed, rule, months):
        raise MemoryError("no room for a projection's fields")
    with nogil:
        block = 0
        while block < order.shape[0]:
            fields_of(rows, keys, &order[block], min(<long>BLOCK_OF_RUNS, order.shape[0] - block), set_of, pair, with_rate,
                      with_fee, flows_at, penalties_at, &rates[0], rule, slot, months + 2, periods, first_out, &work, out)
            block += BLOCK_OF_RUNS
        end_applying(&work)


def project_runs(const double[:, ::1] loans, Walked walked, Penalties penalties, const long[:, ::1] runs,
                 const double[::1] severity, const long[::1] lag, const signed char[:, ::1] uses, bint with_rate,
                 bint with_fee, long flows_at, long penalties_at, bint opening, const long[::1] set_of,
                 const int[:, ::1] pair, const double[::1] rates, rules, const int[::1] needed, const int[::1] slot,
                 long months, long periods, long first_out, double[:, :, :, ::1] rows, double[:, :, :, ::1] out):
    """Adds the fields of runs that are whole to OUT `out`: contract_rows and apply_rows of a few runs after another.

    OUT rows: room for the sums of as many runs as are done at a time. The rest as contract_rows and apply_rows.
    """
    cdef const Rules[:, ::1] rule = rules
    cdef Tables tables
    cdef Summing summing
    cdef Applying applying
    cdef long begin, end, r, n = months + 2
    cdef long[:, ::1] keys = np.empty((rows.shape[0], 6), dtype=np.int64)
    memset(&tables, 0, sizeof(Tables))
    if walked is not None:
        tables = walked.tables()
    if not allocate_summing(&summing, lag, penalties is not None, n):
        raise MemoryError("no room for the sums of a projection's runs")
    if not allocate_applying(&applying, needed, rule, months):
        end_summing(&summing)
        raise MemoryError("no room for a projection's fields")
    with nogil:
        begin = 0
        while begin < runs.shape[0]:
            end = min(begin + rows.shape[0], runs.shape[0])
            memset(&rows[0, 0, 0, 0], 0, (end - begin) * rows.shape[1] * rows.shape[2] * n * sizeof(double))
            rows_of(loans, &tables, penalties, runs, severity, lag, uses, with_rate, with_fee, flows_at >= 0, opening,
                    &rates[0], n, &summing, begin, end, rows)
            for r in range(begin, end):
                keys[r - begin, KEY_SET], keys[r - begin, KEY_AGE] = runs[r, RUN_SET], runs[r, RUN_AGE]
                keys[r - begin, KEY_TERM], keys[r - begin, KEY_OUT] = runs[r, RUN_TERM], runs[r, RUN_OUT]
                keys[r - begin, KEY_WALK], keys[r - begin, KEY_MONTHS] = runs[r, RUN_WALK], runs[r, RUN_MONTHS]
            fields_of(rows, keys, NULL, end - begin, set_of, pair, with_rate, with_fee, flows_at, penalties_at, &rates[0],
                      rule, slot, n, periods, first_out, &applying, out)
            begin = end
        end_summing(&summing)
        end_applying(&applying)


cdef void key_of(const long *run, long *key) noexcept nogil:
    """OUT key: that of the run that a row of `runs` describes."""
    key[KEY_SET], key[KEY_AGE], key[KEY_TERM] = run[RUN_SET], run[RUN_AGE], run[RUN_TERM]
    key[KEY_OUT], key[KEY_WALK], key[KEY_MONTHS] = run[RUN_OUT], run[RUN_WALK], run[RUN_MONTHS]


cdef long shared(const Rules *rules, const long *before, const long *key) noexcept nogil:
    """The months in which two runs of a scenario behave alike: until the defaults of the first stop, if they do."""
    cdef long upto = before[KEY_MONTHS] if before[KEY_MONTHS] < key[KEY_MONTHS] else key[KEY_MONTHS], stop
    if before[KEY_WALK] >= WALKS or key[KEY_WALK] >= WALKS:
        return 0
    if before[KEY_SET] != key[KEY_SET] or before[KEY_AGE] != key[KEY_AGE]:
        return 0
    if rules.stop and before[KEY_TERM] != key[KEY_TERM]:
        stop = (before[KEY_TERM] if before[KEY_TERM] < key[KEY_TERM] else key[KEY_TERM]) - rules.lag
        upto = stop if stop < upto else upto
    return upto if upto > 0 else 0

"""Behaviour applied to what runs owe, for every scenario: their fields. Part of _core.pyx.

`apply_rows` takes the sums of a whole tape. `project_runs` takes sums and applies behaviour for a few runs at a time, where
they have all their loans together: what a run owes stays in the second-level cache and is never kept.
"""

cdef enum:
    BLOCK_OF_RUNS = 64  # families whose rows stay in the second-level cache while the scenarios go over them


cdef struct Applying:
    # room for the fields of one run; families, of which each has a head and its runs tails, whose fields are `part`
    Work w
    Losses l
    double *field[N_FIELDS]
    Family family[BLOCK_OF_RUNS]
    long families
    Behaviour b
    double *part[N_FIELDS]
    double *frozen[N_FIELDS]  # of `part` those that defaults have nothing to do with
    double *memory
    double *heads


cdef int allocate_applying(Applying *work, const int[::1] needed, const Rules[:, ::1] rule, long months) noexcept:
    cdef long f, n = months + 2
    cdef Most most = most_of(rule)
    cdef double *p
    if not allocate(&work.w, months, 0, False):
        return 0
    if not allocate_losses(&work.l, most.lag + 1 if most.general else 0, most.workout, n):
        free(work.w.memory)
        return 0
    work.memory = <double *>calloc((4 + 7 + N_FIELDS) * n, sizeof(double))
    work.heads = <double *>malloc(BLOCK_OF_RUNS * HEAD_ROWS * n * sizeof(double))  # cleared when one is gathered
    if work.memory == NULL or work.heads == NULL:
        end_applying(work)
        return 0
    p = work.memory + 4 * n
    work.b.alive, work.b.default, work.b.foreclosure = p, p + n, p + 2 * n
    work.b.kept, work.b.prepaid, work.b.paying, work.b.curtailed = p + 3 * n, p + 4 * n, p + 5 * n, p + 6 * n
    for f in range(BLOCK_OF_RUNS):
        work.family[f].head = work.heads + f * HEAD_ROWS * n
    for f in range(N_FIELDS):
        work.field[f] = work.w.rows + f * n if needed[f] else NULL
        work.part[f] = p + (7 + f) * n if needed[f] and f not in (NET_INTEREST, PRINCIPAL, CASHFLOW) else NULL
        work.frozen[f] = NULL
        if f in (BALANCE, INTEREST, SCHEDULED_PRINCIPAL, PREPAYMENT, SERVICING_FEE, EXPECTED_INTEREST, EXPECTED_PRINCIPAL):
            work.frozen[f] = work.part[f]
    work.w.b.late, work.w.b.workout = work.l.late, work.l.workout
    return 1


cdef void end_applying(Applying *work) noexcept nogil:
    free(work.heads)
    free(work.memory)
    free(work.l.memory)
    free(work.w.memory)


cdef long next_families(const long[:, ::1] keys, const long *order, long begin, long end, Applying *work) noexcept nogil:
    """OUT work.family: the next families of an order of runs, from `begin`; gives where the ones after them begin."""
    cdef long i, r
    cdef Family *now = NULL
    work.families = 0
    for i in range(begin, end):
        r = order[i] if order != NULL else i
        if now == NULL or not of_one_family(now.key, &keys[r, 0]):
            if work.families == BLOCK_OF_RUNS:
                return i
            now = &work.family[work.families]
            work.families += 1
            now.first, now.lag = i, NO_HEAD
            memcpy(now.key, &keys[r, 0], KEY_COLUMNS * sizeof(long))
        now.last = i + 1
        now.key[KEY_TERM] = keys[r, KEY_TERM]
        now.key[KEY_MONTHS] = max(now.key[KEY_MONTHS], keys[r, KEY_MONTHS])
    return end


cdef void contract_of(const Kept *kept, long r, long g, long capped, Applying *work, Contract *c) noexcept nogil:
    """OUT c: what run r owes. capped: the kind of its capped loss, or -1."""
    c.balance = c.before = row_of(kept, r, g, 0)
    c.interest = row_of(kept, r, g, 1) if kept.with_rate else work.w.interest
    c.fees = row_of(kept, r, g, 1 + kept.with_rate) if kept.with_fee else work.w.fees
    c.flows, c.stride = row_of(kept, r, g, kept.flows_at) if kept.flows_at >= 0 else NULL, kept.n
    c.penalties = row_of(kept, r, g, kept.penalties_at) if kept.penalties_at >= 0 else NULL
    c.capped = row_of(kept, r, g, capped) if capped >= 0 else work.w.capped


cdef void fields_of(const Kept *kept, const long[:, ::1] keys, const long *order, const long[::1] set_of,
                    const int[:, ::1] pair, const double *rates, const Rules[:, ::1] rule, const int[::1] slot,
                    long periods, long first_out, Applying *work, double[:, :, :, ::1] out) noexcept nogil:
    """Adds to OUT out the fields of the runs of work.family; the rest as apply_rows."""
    cdef Contract c
    cdef long i, j, r, s, g, m, capped, begin, first = 1 + kept.with_rate + kept.with_fee
    cdef const Rules *now
    cdef const long *key
    cdef const long *before
    cdef Family *family
    c.losses, c.rates = &work.l, rates
    for s in range(rule.shape[0]):
        before = NULL
        for j in range(work.families):
            family = &work.family[j]
            now = &rule[s, family.key[KEY_SET]]
            g = set_of[s] if family.key[KEY_WALK] % WALKS == WALK_ON_INDEX else 0
            capped = first + pair[s, family.key[KEY_SET]] if pair[s, family.key[KEY_SET]] >= 0 else -1
            if family.last - family.first > 1 and goes_together(now, kept):
                gather(now, kept, keys, order, g, capped, work.memory, family)
                fields_together(now, kept, keys, order, g, capped, rates, family, before, work, &c)
                before = family.key
                add_fields(slot, work, s, before[KEY_OUT] - first_out, min(periods, before[KEY_MONTHS]), out)
                continue
            for i in range(family.first, family.last):
                r = order[i] if order != NULL else i
                key = &keys[r, 0]
                m = key[KEY_MONTHS] - now.missed
                contract_of(kept, r, g, capped, work, &c)
                begin_earlier(now, &c)
                if now.general:
                    begin_losses(now, rates, &work.l)
                    add_losses(now, rates, c.balance, c.balance, 0, 0, m, &work.l)
                begin = 1 if before == NULL or now.late else shared(now, before, key) + 1
                behave(now, rates, key[KEY_AGE], key[KEY_TERM], key[KEY_WALK], m, kept.n, begin, &work.w.b)
                before = key
                emit(now, c, work.w.b, m, work.w.scratch, work.field)
                add_fields(slot, work, s, key[KEY_OUT] - first_out, min(periods, m), out)


cdef void fields_together(const Rules *now, const Kept *kept, const long[:, ::1] keys, const long *order, long g,
                          long capped, const double *rates, const Family *family, const long *before, Applying *work,
                          Contract *c) noexcept nogil:
    """OUT work.field: those of a family, whose head is gathered. before: the key of the behaviour in work.w.b, or NULL."""
    cdef long i, r, m = family.key[KEY_MONTHS]
    cdef double **part = &work.part[0] if now.advancing == ADVANCE_ALL else &work.frozen[0]
    head_of(family, kept.n, c)
    if now.general:
        begin_losses(now, rates, &work.l)
        add_losses(now, rates, c.before, c.before, 0, 0, m, &work.l)
    behave(now, rates, family.key[KEY_AGE], family.key[KEY_TERM], family.key[KEY_WALK], m, kept.n,
           1 if before == NULL else shared(now, before, family.key) + 1, &work.w.b)
    emit_parts(now, c[0], work.w.b, m, work.w.scratch, work.field)
    for i in range(family.first, family.last):
        r = order[i] if order != NULL else i
        contract_of(kept, r, g, capped, work, c)
        emit_tail(now, rates, c[0], &keys[r, 0], &work.w.b, kept.n, work.b, work.w.scratch, part, work.field)
    emit_totals(m, work.field)


cdef void add_fields(const int[::1] slot, Applying *work, long s, long at, long upto,
                     double[:, :, :, ::1] out) noexcept nogil:
    """Adds work.field to OUT out[:, s, at]."""
    cdef long f
    for f in range(N_FIELDS):
        if slot[f] >= 0:
            add(&out[slot[f], s, at, 0], work.field[f], upto)


cdef Kept kept_in(const double[:, :, :, ::1] rows, bint with_rate, bint with_fee, long flows_at, long penalties_at) noexcept:
    cdef Kept kept
    kept.rows, kept.n, kept.set = &rows[0, 0, 0, 0], rows.shape[3], rows.shape[2] * rows.shape[3]
    kept.run = rows.shape[1] * kept.set
    kept.with_rate, kept.with_fee, kept.flows_at, kept.penalties_at = with_rate, with_fee, flows_at, penalties_at
    return kept


def apply_rows(const double[:, :, :, ::1] rows, const long[:, ::1] keys, const long[::1] order, const long[::1] set_of,
               const int[:, ::1] pair, bint with_rate, bint with_fee, long flows_at, long penalties_at,
               const double[::1] rates, rules,
               const int[::1] needed, const int[::1] slot, long months, long periods, long first_out,
               double[:, :, :, ::1] out):
    """Adds the fields of the runs `order` under some scenarios to OUT `out` (fields, scenarios, groups, periods).

    rows: (runs, sets, kinds, months + 2) of contract_rows. keys: (runs, 6) set, age, term, output row, walk, months to
    the last flow. set_of: (scenarios,) set of index values. pair: (scenarios, sets of assumptions) the pair of severity
    and lag whose capped loss the rules read, -1 for none. flows_at: the kind where what assets add begins, -1 for
    none; penalties_at: that of penalties. first_out: output row of out[:, :, 0]. Runs of a family (families.pxi) are to
    be side by side, by term. The rest as project_sums; rules whose losses need the loans are not for here. Raises
    MemoryError.
    """
    cdef const Rules[:, ::1] rule = rules
    cdef Applying work
    cdef Kept kept = kept_in(rows, with_rate, with_fee, flows_at, penalties_at)
    cdef long begin = 0
    if not allocate_applying(&work, needed, rule, months):
        raise MemoryError("no room for a projection's fields")
    with nogil:
        while begin < order.shape[0]:
            begin = next_families(keys, &order[0], begin, order.shape[0], &work)
            fields_of(&kept, keys, &order[0], set_of, pair, &rates[0], rule, slot, periods, first_out, &work, out)
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
    cdef long begin, end, at, r, n = months + 2
    cdef long[:, ::1] keys = np.empty((rows.shape[0], KEY_COLUMNS), dtype=np.int64)
    cdef Kept kept = kept_in(rows, with_rate, with_fee, flows_at, penalties_at)
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
                key_of(&runs[r, 0], &keys[r - begin, 0])
            at = 0
            while at < end - begin:
                at = next_families(keys, NULL, at, end - begin, &applying)
                fields_of(&kept, keys, NULL, set_of, pair, &rates[0], rule, slot, periods, first_out, &applying, out)
            begin = end
        end_summing(&summing)
        end_applying(&applying)

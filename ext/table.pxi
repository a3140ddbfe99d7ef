"""Contract sums by run. Part of _core.pyx.

Two steps where the losses need no loans: `contract_rows` passes over the loans of a chunk once and sums what each run
owes; the caller adds the rows of all chunks, by run; `apply_rows` (apply.pxi) then gives every scenario's fields. So a
scenario costs the months of the tape's runs, however many chunks the tape was cut into.
"""

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

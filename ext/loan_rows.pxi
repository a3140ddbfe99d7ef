"""Rows of loans that only pay, prepay or default, straight to the result. Part of _core.pyx.

Most loans under most assumptions need nothing else, and a row of theirs is less arithmetic than it is stores. So their
fields are taken in one pass and written where they are read (loan_rows.h), not by way of working rows as `emit` gives them,
and the months of the next eight loans, each of which waits for the one before, are walked while these are stored.
"""

cdef extern from "contract.h" nogil:
    ctypedef struct lanes_walk:
        pass
    void begin_walk(lanes_walk *w, const contract_run *run, long vector, long months, double *rows, long stride) noexcept
    void walk_lanes(lanes_walk *w, long months) noexcept

cdef extern from "loan_rows.h" nogil:
    ctypedef struct loan_fields:
        products of
        double rate
        double fee
        double severity
        long lag
        double *liquidated
        double *lost
        double *recovered
    void cached_fields(const loan_fields *given, long months, long periods, long head) noexcept
    void streamed_fields(const loan_fields *given, long months, long periods, long head) noexcept
    long before_lines(const double *row) noexcept


cdef struct PlainRows:
    # the walk of the vector that comes next, of run and vector (-1: none), and room for two, of LANES rows `stride` apart
    lanes_walk walk
    long run
    long vector
    double *room[2]
    int turn
    long stride
    double *memory
    # whether only fields that one pass gives are needed; how they are written
    bint within
    bint streamed
    bint direct
    long periods
    long kept


cdef bint only_plain(const int[::1] needed) noexcept nogil:
    """Whether one pass gives all fields that are needed."""
    cdef int f
    for f in range(N_FIELDS):
        if needed[f] and f > SERVICING_FEE and f != LIQUIDATION and f != EXPECTED_PRINCIPAL and f != ADVANCED_PRINCIPAL:
            return False
    return True


cdef bint is_plain(const Rules *rules, const long *run) noexcept nogil:
    """Whether the loans of a run only pay, prepay or default, and nothing is advanced."""
    return (run[RUN_WALK] == WALK_BACK and rules.advancing == ADVANCE_NONE
            and not (rules.general or rules.late or rules.missed or rules.after or rules.fee_on_total or rules.defaulted
                     or rules.recasts or rules.workout))


cdef int allocate_plain(PlainRows *plain, const int[::1] needed, long months, long periods, double[:, :, :, ::1] out,
                        bint streamed) noexcept:
    """OUT plain: nothing walked yet. A row has a line of noughts before it, and as much after it."""
    cdef long size
    plain.memory = NULL
    plain.within = only_plain(needed) and out.shape[0] * out.shape[1] * out.shape[2] * out.shape[3] > 0
    if not plain.within:
        return 1
    plain.periods, plain.kept = periods, min(periods, months)
    # All rows of a loan begin at the same place within a line, unless each field's room ends within one.
    plain.streamed = streamed and out.shape[1] * out.shape[2] * periods % LANES == 0
    plain.direct = plain.streamed or not streamed
    plain.stride = (months // LANES + 4) * LANES
    size = LANES * plain.stride
    plain.memory = <double *>calloc(2 * size + LANES, sizeof(double))
    if plain.memory == NULL:
        return 0
    plain.room[0], plain.room[1] = plain.memory + LANES, plain.memory + LANES + size
    plain.turn, plain.run, plain.vector = 0, -1, -1
    return 1


cdef void walk_next(PlainRows *plain, const double[:, ::1] loans, const long[:, ::1] runs, long r, long v) noexcept nogil:
    """Has the vector v of run r walked next."""
    cdef contract_run run
    lane_pointers(&run, &loans[0, 0] + runs[r, RUN_FIRST], loans.shape[1], runs[r, RUN_VECTORS])
    begin_walk(&plain.walk, &run, v, runs[r, RUN_MONTHS] + LANES, plain.room[plain.turn], plain.stride)
    plain.run, plain.vector = r, v


cdef const double *walked_rows(PlainRows *plain, const double[:, ::1] loans, const long[:, ::1] runs, long r, long v,
                               bint more) noexcept nogil:
    """The balances of vector v of run r, lane by lane. more: whether the run after it is plain too, and walked next."""
    cdef const double *rows = plain.room[plain.turn]
    if plain.run != r or plain.vector != v:
        walk_next(plain, loans, runs, r, v)
    walk_lanes(&plain.walk, runs[r, RUN_MONTHS] + 1)
    plain.turn = 1 - plain.turn
    plain.run = -1
    if v + 1 < runs[r, RUN_VECTORS]:
        walk_next(plain, loans, runs, r, v + 1)
    elif more:
        walk_next(plain, loans, runs, r + 1, 0)
    return rows


cdef void aim(loan_fields *fields, double **row) noexcept nogil:
    """Has the fields written to `row`."""
    fields.of.performing, fields.of.defaulted, fields.of.prepayment = row[BALANCE], row[DEFAULT], row[PREPAYMENT]
    fields.of.scheduled, fields.of.passed_on, fields.of.fee = row[SCHEDULED_PRINCIPAL], row[INTEREST], row[SERVICING_FEE]
    fields.of.expected, fields.of.advanced = row[EXPECTED_PRINCIPAL], row[ADVANCED_PRINCIPAL]
    fields.liquidated, fields.lost, fields.recovered = row[LIQUIDATION], row[LOSS], row[RECOVERY]


cdef void share(const Rules *rules, Behaviour b, loan_fields *fields) noexcept nogil:
    """OUT what the loans of a run share of their fields."""
    memset(fields, 0, sizeof(loan_fields))
    fields.of.alive, fields.of.failing, fields.of.kept = b.alive, b.default, b.kept
    fields.of.prepaid, fields.of.paying = b.prepaid, b.paying
    fields.of.opening = rules.prepayment_base == OPENING_NET
    fields.severity, fields.lag = rules.severity, rules.lag


cdef void write_plain(PlainRows *plain, const double[:, ::1] loans, const long[:, ::1] runs, const long[::1] loan_at,
                      const Rules *rules, Behaviour b, long r, bint more, long s, const int[::1] slot, double **working,
                      double[:, :, :, ::1] out) noexcept nogil:
    """OUT out: the rows of run r in scenario s. working: rows for what is not written directly. more: as walked_rows."""
    cdef loan_fields fields
    cdef double *target[N_FIELDS]
    cdef double *first[N_FIELDS]
    cdef int wanted[N_FIELDS]
    cdef int count = 0, f, k
    cdef long v, i, lane, at, months = runs[r, RUN_MONTHS], some = months // LANES + 1
    cdef const double *rows
    share(rules, b, &fields)
    for f in range(N_FIELDS):
        target[f] = NULL
        if slot[f] >= 0:
            wanted[count], first[count], count = f, &out[slot[f], s, 0, 0], count + 1
    for v in range(runs[r, RUN_VECTORS]):
        rows = walked_rows(plain, loans, runs, r, v, more)
        for i in range(LANES):
            walk_lanes(&plain.walk, some)
            lane = runs[r, RUN_FIRST] + v * LANES + i
            at = loan_at[runs[r, RUN_LANE] + v * LANES + i]
            if at < 0:
                continue
            for k in range(count):
                target[wanted[k]] = first[k] + at * plain.periods if plain.direct else working[wanted[k]]
            aim(&fields, target)
            fields.of.balance = fields.of.before = rows + i * plain.stride
            fields.rate, fields.fee = loans[RATE, lane], loans[FEE, lane]
            if plain.streamed:
                streamed_fields(&fields, months, plain.periods, before_lines(first[0] + at * plain.periods))
                continue
            if plain.direct:
                cached_fields(&fields, months, plain.periods, 0)
                continue
            for k in range(count):
                expect_row(first[k] + at * plain.periods, plain.kept)
            cached_fields(&fields, months, plain.kept, 0)
            for k in range(count):
                write_row(first[k] + at * plain.periods, working[wanted[k]], plain.kept, True)
                memset(first[k] + at * plain.periods + plain.kept, 0, (plain.periods - plain.kept) * sizeof(double))

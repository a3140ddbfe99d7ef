"""Runs that differ in when their defaults stop, taken together for as long as they behave alike. Part of _core.pyx.

Where defaults stop before maturity every term makes a run of its own, and the runs of a family behave as one until the
first of them stops, the others until the second does. So what they owe is added up by month over those that have not
stopped: the head of the family, to which a scenario's behaviour is applied once. Each run keeps the months after its
own stop: its tail. A scenario costs the head and the tails, not every month of every run.

In month t of the head are the runs that stop at t or later, so that what they owe before a month and after it are sums of
the same loans, rows apart. Balances that are frozen at default are the head's until they are liquidated, whose
defaults all are; those that amortise are the tail's from its first month on.
"""

# Columns of a run's key, by which rows of several chunks are one.
cdef enum:
    KEY_SET, KEY_AGE, KEY_TERM, KEY_OUT, KEY_WALK, KEY_MONTHS, KEY_COLUMNS

# Rows of a head: balance after month t; before month t + 1 balance, interest and fees; capped loss by month of liquidation.
cdef enum:
    HEAD_AFTER, HEAD_BEFORE, HEAD_INTEREST, HEAD_FEES, HEAD_CAPPED, HEAD_ROWS
    NO_HEAD = -2, STOPS_NOT = -1


cdef struct Kept:
    # what runs owe: `run` and `set` numbers from one run and set of index values to the next, rows of n; see apply_rows
    const double *rows
    long run
    long set
    long n
    bint with_rate
    bint with_fee
    long flows_at
    long penalties_at


cdef struct Family:
    # runs first .. last - 1 of an order, by term; what they have in common, with the last term and the most months; the
    # head kept, and the lag (or STOPS_NOT), set of index values and kind of capped loss that it is of, or NO_HEAD
    long first
    long last
    long key[KEY_COLUMNS]
    double *head
    long lag
    long set
    long capped


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


cdef inline const double *row_of(const Kept *kept, long r, long g, long kind) noexcept nogil:
    return kept.rows + r * kept.run + g * kept.set + kind * kept.n


cdef bint of_one_family(const long *one, const long *other) noexcept nogil:
    return (one[KEY_SET] == other[KEY_SET] and one[KEY_AGE] == other[KEY_AGE] and one[KEY_OUT] == other[KEY_OUT]
            and one[KEY_WALK] == other[KEY_WALK] and one[KEY_WALK] < WALKS)


cdef bint goes_together(const Rules *rules, const Kept *kept) noexcept nogil:
    """Whether a family has a head under the rules: what its runs owe is balances, interest and fees before each month."""
    return (not rules.late and not rules.recasts and not rules.defaulted and not rules.after
            and kept.flows_at < 0 and kept.penalties_at < 0)


cdef inline long stop_of(const Rules *rules, const long *key) noexcept nogil:
    """The last month in which a run may default; the last of all where defaults do not stop."""
    if not rules.stop:
        return key[KEY_MONTHS]
    return key[KEY_TERM] - rules.lag if key[KEY_TERM] > rules.lag else 0


cdef void gather(const Rules *rules, const Kept *kept, const long[:, ::1] keys, const long *order, long g, long capped,
                 double *sums, Family *family) noexcept nogil:
    """OUT family.head, unless it is of the same already. capped: its kind, or -1. sums: three rows and one more to spare."""
    cdef long i, r, t, stop, last, n = kept.n
    cdef double *head = family.head
    cdef long lag = rules.lag if rules.stop else STOPS_NOT
    if family.lag == lag and family.set == g and family.capped == capped:
        return
    family.lag, family.set, family.capped = lag, g, capped
    memset(head, 0, HEAD_ROWS * n * sizeof(double))
    memset(sums, 0, 4 * n * sizeof(double))
    for i in range(family.last - 1, family.first - 1, -1):
        r = order[i] if order != NULL else i
        stop = stop_of(rules, &keys[r, 0])
        if stop == 0:
            return
        add(sums, row_of(kept, r, g, 0), stop + 1)
        if kept.with_rate:
            add(sums + n, row_of(kept, r, g, 1), stop + 1)
        if kept.with_fee:
            add(sums + 2 * n, row_of(kept, r, g, 1 + kept.with_rate), stop + 1)
        if capped >= 0:
            add(sums + 3 * n, row_of(kept, r, g, capped), stop + 1)
        last = stop_of(rules, &keys[order[i - 1] if order != NULL else i - 1, 0]) if i > family.first else 0
        for t in range(last + 1, stop + 1):
            head[HEAD_AFTER * n + t] = sums[t]
            head[HEAD_BEFORE * n + t - 1] = sums[t - 1]
            head[HEAD_INTEREST * n + t - 1] = sums[n + t - 1]
            head[HEAD_FEES * n + t - 1] = sums[2 * n + t - 1]
            head[HEAD_CAPPED * n + t] = sums[3 * n + t]


cdef void head_of(const Family *family, long n, Contract *c) noexcept nogil:
    """OUT c: what the head of a family owes."""
    c.balance, c.before = family.head + HEAD_AFTER * n, family.head + HEAD_BEFORE * n
    c.interest, c.fees = family.head + HEAD_INTEREST * n, family.head + HEAD_FEES * n
    c.capped = family.head + HEAD_CAPPED * n
    c.flows = c.penalties = NULL
    c.stride = n


cdef void emit_tail(const Rules *rules, const double *rates, Contract c, const long *key, const Behaviour *head, long n,
                    Behaviour b, double *scratch, double **part, double **row) noexcept nogil:
    """Adds to OUT row the months of a run after its defaults stop. head: behaviour until then. b, part: room.

    The months are those of loans that begin when the defaults stop or, where defaulted balances amortise, a lag earlier,
    of which the earlier months are dropped.
    """
    cdef long stop = stop_of(rules, key), upto = key[KEY_TERM], begin = stop, f
    if upto <= stop:
        return
    if rules.advancing == ADVANCE_ALL:
        begin = stop - rules.lag if stop > rules.lag else 0
        memcpy(b.default + begin, head.default + begin, (stop + 1 - begin) * sizeof(double))
    b.alive[stop] = head.alive[stop]
    behave(rules, rates, key[KEY_AGE], upto, key[KEY_WALK], upto, n, stop + 1, &b)
    b.alive, b.default, b.foreclosure = b.alive + begin, b.default + begin, b.foreclosure + begin
    b.kept, b.prepaid, b.paying = b.kept + begin, b.prepaid + begin, b.paying + begin
    c.balance, c.before, c.interest = c.balance + begin, c.before + begin, c.interest + begin
    c.fees, c.capped = c.fees + begin, c.capped + begin
    emit_parts(rules, c, b, upto - begin, scratch, part)
    for f in range(N_FIELDS):
        if part[f] != NULL:
            add(row[f] + stop, part[f] + stop - begin, upto - stop)

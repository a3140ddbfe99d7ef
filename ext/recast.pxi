"""Modified loans with a new rate and term: their payment is recast, and all owe the same share of what they began with.

A loan that is modified owes E then and E x g(k) after k payments of its new terms, g the balances of a level-pay loan of
one. As rate and term are the same for all loans of a set of assumptions, those that are modified in one month are one
balance, a sum over their shares and contract sums, and what all of them owe is the balances of each month times g. Part
of _core.pyx.
"""


cdef void begin_recast(double *rows, long n) noexcept nogil:
    """OUT rows of b.workout: nobody is modified yet."""
    memset(rows + COHORTS * n, 0, n * sizeof(double))
    memset(rows + COHORT_FEES * n, 0, n * sizeof(double))
    rows[LEFT * n] = rows[LEFT_FEES * n] = 0


cdef void recast_shares(const Rules *rules, const double *w, double speed, long t, long n, Behaviour b) noexcept nogil:
    """OUT b.workout in month t: the share of all loans that is modified, and pays; adds to OUT b.alive[t] what is left."""
    cdef long s
    cdef double *rows = b.workout
    cdef double share = rows[CHANGED * n + t - 1] * (1 - w[REDEFAULT])
    for s in range(1, rules.late + <long>w[HELD_MONTHS] + 1):
        share = share + newly_modified(rules, w, s, t, n, b) * (1 - w[FORGIVEN])
    rows[CHANGED * n + t] = share * (1 - speed)
    b.alive[t] += share * (1 - speed)


cdef double owed_after(const double *g, double *cohorts, long first, long t, double stays) noexcept nogil:
    """What those modified before month t owe after its payment; scales OUT cohorts[first .. t - 1] by what stays.

    g: the balances of one. In four sums, so that none waits for the other.
    """
    cdef long u = first
    cdef double a = 0, b = 0, c = 0, d = 0
    while u + 4 <= t:
        a = a + cohorts[u] * g[t - u + 1]
        b = b + cohorts[u + 1] * g[t - u]
        c = c + cohorts[u + 2] * g[t - u - 1]
        d = d + cohorts[u + 3] * g[t - u - 2]
        cohorts[u] = cohorts[u] * stays
        cohorts[u + 1] = cohorts[u + 1] * stays
        cohorts[u + 2] = cohorts[u + 2] * stays
        cohorts[u + 3] = cohorts[u + 3] * stays
        u += 4
    while u < t:
        a = a + cohorts[u] * g[t - u + 1]
        cohorts[u] = cohorts[u] * stays
        u += 1
    return (a + b) + (c + d)


cdef void add_recast(const Rules *rules, Contract c, Behaviour b, long t, double **row) noexcept nogil:
    """Adds to OUT month t of loans with new terms, and to b.workout what they default with."""
    cdef const double *w = c.rates + rules.workout_at
    cdef const double *g = w + FACTORS
    cdef long s, j, n = c.losses.n, first = t + 1 - <long>w[NEW_TERM]
    cdef double *rows = b.workout
    cdef double entering = 0, paying_fees = 0, added = 0, arrears, share, owes, failing, speed = rows[SPEED * n + t]
    cdef double before, after, left, due, stays = (1 - w[REDEFAULT]) * (1 - speed)
    if first < 1:
        first = 1
    for s in range(1, rules.late + <long>w[HELD_MONTHS] + 1):
        share = newly_modified(rules, w, s, t, n, b)
        if share <= 0 or t - 1 - s < -rules.missed:
            continue
        arrears = 0
        if w[CAPITALIZES] > 0:
            for j in range(1, s + 1):
                arrears = arrears + c.interest[t - 1 - j]
        added = added + share * arrears
        entering = entering + share * (c.balance[t - 1 - s] + arrears)
        if row[SERVICING_FEE] != NULL:
            paying_fees = paying_fees + share * c.fees[t - 1 - s] * (1 - w[FORGIVEN])
    owes = rows[LEFT * n + t - 1]
    left = owed_after(g, rows + COHORTS * n, first, t, stays)
    failing = owes * w[REDEFAULT]
    rows[COHORTS * n + t] = entering * (1 - w[FORGIVEN])
    before = owes - failing + rows[COHORTS * n + t]
    after = left * (1 - w[REDEFAULT]) + rows[COHORTS * n + t] * g[1]
    rows[COHORTS * n + t] *= 1 - speed
    rows[LEFT * n + t] = after * (1 - speed)
    due = before * w[NEW_RATE]
    if row[BALANCE] != NULL:
        row[BALANCE][t - 1] += after * (1 - speed)
    if row[MODIFIED] != NULL:
        row[MODIFIED][t - 1] += after * (1 - speed)
    if row[SCHEDULED_PRINCIPAL] != NULL:
        row[SCHEDULED_PRINCIPAL][t - 1] += repaid(before, after) * (
            1 - speed if rules.prepayment_base == OPENING_NET else 1) - added
    if row[PREPAYMENT] != NULL:
        row[PREPAYMENT][t - 1] += speed * (before if rules.prepayment_base == OPENING_NET else after)
    if row[INTEREST] != NULL:
        row[INTEREST][t - 1] += (due * (1 - speed) if rules.on_survivors else due) + added
    if row[LOSS] != NULL:
        row[LOSS][t - 1] += entering * w[FORGIVEN]
    if row[SHORTFALL] != NULL:
        row[SHORTFALL][t - 1] += entering * w[FORGIVEN]
    rows[OWED_AT_DEFAULT * n + t] += failing
    rows[DUE_AT_DEFAULT * n + t] += failing * w[NEW_RATE]
    if row[LOST_INTEREST] != NULL:
        row[LOST_INTEREST][t - 1] += failing * w[NEW_RATE]
    # What is alive by contract counts them as if they still owed its schedule.
    if row[EXPECTED_INTEREST] != NULL:
        row[EXPECTED_INTEREST][t - 1] += owes * w[NEW_RATE] - c.interest[t - 1] * rows[CHANGED * n + t - 1]
    if row[EXPECTED_PRINCIPAL] != NULL:
        row[EXPECTED_PRINCIPAL][t - 1] += repaid(owes, left) - (
            repaid(c.balance[t - 1], c.balance[t]) * rows[CHANGED * n + t - 1])
    if row[SERVICING_FEE] != NULL:
        row[SERVICING_FEE][t - 1] += rows[LEFT_FEES * n + t - 1]
        rows[FEE_AT_DEFAULT * n + t] += rows[LEFT_FEES * n + t - 1] * w[REDEFAULT]
        rows[COHORT_FEES * n + t] = paying_fees * (1 - speed)
        rows[LEFT_FEES * n + t] = owed_after(g, rows + COHORT_FEES * n, first, t, stays) * stays + (
            rows[COHORT_FEES * n + t] * g[1])

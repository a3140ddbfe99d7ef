"""Forbearance and modification of loans that fall behind. Part of _core.pyx.

A loan that has put off s payments owes a(t - s), whether it is late, in forbearance or modified, so what helps late loans
is shares times contract sums too: months without payments let s grow, a modification keeps it and goes on paying behind
the schedule, with a share of the balance and of the interest waived; one with a new rate and term has a path of its own
(ext/recast.pxi). What these add to the fields of ext/delinquent.pxi
is linear in the balance, defaults and their losses included, so every default is one balance by month.
"""

# The table of engine/workouts.py.
cdef enum:
    HELD_MONTHS, REINSTATED, MODIFIED_AFTER, REDEFAULT, FORGIVEN, RELIEF, MULTIPLIER, NEW_TERM, NEW_RATE, CAPITALIZES
    ENTER
    MODIFIES = ENTER + MOST_LATE + 1
    FACTORS = MODIFIES + MOST_LATE + 1  # balances of one after 0, 1 .. NEW_TERM payments of the new terms
    # Rows of Behaviour.workout.
    ENTERED = 0, PAYING_ON = MOST_LATE + 1, CHANGED = PAYING_ON + SHIFTS, SPEED = CHANGED + SHIFTS
    OWED_AT_DEFAULT, DUE_AT_DEFAULT, FEE_AT_DEFAULT, SPARE_ROW
    COHORTS, COHORT_FEES, LEFT, LEFT_FEES  # of ext/recast.pxi, by month of modification and by month


cdef void begin_workouts(Behaviour b, long n) noexcept nogil:
    """OUT b.workout: nobody is helped."""
    memset(b.workout, 0, WORKOUT_ROWS * n * sizeof(double))


cdef double newly_modified(const Rules *rules, const double *w, long s, long t, long n, Behaviour b) noexcept nogil:
    """The share of all loans that is modified in month t having put off s payments."""
    cdef long months = <long>w[HELD_MONTHS], k = s - months
    cdef double share = w[MODIFIES + s] * b.late[s * n + t - 1] if 1 <= s <= rules.late else 0
    if months > 0 and 0 <= k <= rules.late and t > months:
        share = share + w[MODIFIED_AFTER] * b.workout[(ENTERED + k) * n + t - months]
    return share


cdef void work_out(const Rules *rules, const double *w, double speed, long t, long n, Behaviour b) noexcept nogil:
    """OUT b.workout in month t; adds to OUT b.late[t] who is reinstated, to b.alive[t] who is helped. speed: the SMM."""
    cdef long k, s, j, months = <long>w[HELD_MONTHS]
    cdef double share
    cdef double *rows = b.workout
    speed = speed * w[MULTIPLIER]
    if speed > 1:
        speed = 1
    rows[SPEED * n + t] = speed
    if months > 0:
        for k in range(rules.late + 1):
            rows[(ENTERED + k) * n + t] = w[ENTER + k] * b.late[k * n + t - 1]
            if t > months:
                share = w[REINSTATED] * rows[(ENTERED + k) * n + t - months]
                b.late[t] += share
                b.alive[t] += share
            for j in range(min(months, t)):
                b.alive[t] += rows[(ENTERED + k) * n + t - j]
    if w[NEW_TERM] > 0:
        recast_shares(rules, w, speed, t, n, b)
        return
    for s in range(1, rules.late + months + 1):
        share = rows[(CHANGED + s) * n + t - 1] * (1 - w[REDEFAULT])
        share = share + newly_modified(rules, w, s, t, n, b) * (1 - w[FORGIVEN])
        rows[(PAYING_ON + s) * n + t] = share
        rows[(CHANGED + s) * n + t] = share * (1 - speed)
        b.alive[t] += share * (1 - speed)


cdef inline double put_off(const double *due, long t, long s, long missed) noexcept nogil:
    """Interest of month t and of the s months before it. missed: months before the cut-off that are known."""
    cdef long j
    cdef double total = 0
    for j in range(s + 1):
        if t - 1 - j >= -missed:
            total = total + due[t - 1 - j]
    return total


cdef void add_workouts(const Rules *rules, Contract c, Behaviour b, long months, double **row) noexcept nogil:
    """Adds to OUT the fields of emit_late, and sets forbearance and modified, what loans that are helped owe and pay."""
    cdef long t, n = c.losses.n
    cdef double *rows = b.workout
    cdef bint recasts = c.rates[rules.workout_at + NEW_TERM] > 0
    if recasts:
        begin_recast(rows, n)
    for t in range(1, months + 1):
        rows[OWED_AT_DEFAULT * n + t] = rows[DUE_AT_DEFAULT * n + t] = rows[FEE_AT_DEFAULT * n + t] = 0
        if recasts:
            add_recast(rules, c, b, t, row)
        else:
            add_modified(rules, c, b, t, row)
        if c.rates[rules.workout_at + HELD_MONTHS] > 0:
            add_forborne(rules, c, b, t, row)
        if row[DEFAULT] != NULL:
            row[DEFAULT][t - 1] += rows[OWED_AT_DEFAULT * n + t]
    add_defaulted(rules, c, rows + OWED_AT_DEFAULT * n, rows + SPARE_ROW * n, months, row)
    add_frozen(rules, c, rows, n, months, row)


cdef void add_modified(const Rules *rules, Contract c, Behaviour b, long t, double **row) noexcept nogil:
    """Adds to OUT month t of modified loans, and to b.workout what they default with."""
    cdef const double *w = c.rates + rules.workout_at
    cdef long s, n = c.losses.n
    cdef double *rows = b.workout
    cdef double before, after, share, left, failing, forgiven, speed = rows[SPEED * n + t]
    for s in range(1, rules.late + <long>w[HELD_MONTHS] + 1):
        share = rows[(PAYING_ON + s) * n + t]
        failing = rows[(CHANGED + s) * n + t - 1] * w[REDEFAULT]
        forgiven = newly_modified(rules, w, s, t, n, b) * w[FORGIVEN]
        if (share <= 0 and failing <= 0 and forgiven <= 0) or t - 1 - s < -rules.missed:
            continue
        before, after, left = c.balance[t - 1 - s], c.balance[t - s], share * (1 - speed)
        if row[BALANCE] != NULL:
            row[BALANCE][t - 1] += after * left
        if row[MODIFIED] != NULL:
            row[MODIFIED][t - 1] += after * left
        if row[SCHEDULED_PRINCIPAL] != NULL:
            row[SCHEDULED_PRINCIPAL][t - 1] += repaid(before, after) * (
                left if rules.prepayment_base == OPENING_NET else share)
        if row[PREPAYMENT] != NULL:
            row[PREPAYMENT][t - 1] += (before if rules.prepayment_base == OPENING_NET else after) * (share * speed)
        if row[INTEREST] != NULL:
            row[INTEREST][t - 1] += c.interest[t - 1 - s] * (1 - w[RELIEF]) * (left if rules.on_survivors else share)
        if row[SERVICING_FEE] != NULL:
            row[SERVICING_FEE][t - 1] += c.fees[t - 1 - s] * rows[(CHANGED + s) * n + t - 1]
            rows[FEE_AT_DEFAULT * n + t] += c.fees[t - 1 - s] * failing
        if row[LOSS] != NULL:
            row[LOSS][t - 1] += before * forgiven
        if row[SHORTFALL] != NULL:
            row[SHORTFALL][t - 1] += before * forgiven
        rows[OWED_AT_DEFAULT * n + t] += before * failing
        if row[LOST_INTEREST] != NULL or row[EXPECTED_INTEREST] != NULL:
            rows[DUE_AT_DEFAULT * n + t] += c.interest[t - 1 - s] * failing
        if row[LOST_INTEREST] != NULL:
            row[LOST_INTEREST][t - 1] += c.interest[t - 1 - s] * failing


cdef void add_forborne(const Rules *rules, Contract c, Behaviour b, long t, double **row) noexcept nogil:
    """Adds to OUT month t of loans in forbearance, those that leave it included, and to b.workout what these default with."""
    cdef const double *w = c.rates + rules.workout_at
    cdef long k, j, s, n = c.losses.n, months = <long>w[HELD_MONTHS]
    cdef double share, total, failing
    cdef double *rows = b.workout
    for k in range(rules.late + 1):
        total = 0
        for j in range(min(months, t)):
            total = total + rows[(ENTERED + k) * n + t - j] * owed(c.balance, t - j - 1 - k, rules.missed)
        if row[BALANCE] != NULL:
            row[BALANCE][t - 1] += total
        if row[FORBEARANCE] != NULL:
            row[FORBEARANCE][t - 1] += total
        if row[SERVICING_FEE] != NULL:
            for j in range(1, min(months, t - 1) + 1):
                row[SERVICING_FEE][t - 1] += rows[(ENTERED + k) * n + t - j] * owed(c.fees, t - j - 1 - k, rules.missed)
        s = k + months
        if t <= months or t - 1 - s < -rules.missed:
            continue
        share = w[REINSTATED] * rows[(ENTERED + k) * n + t - months]
        failing = (1 - w[REINSTATED] - w[MODIFIED_AFTER]) * rows[(ENTERED + k) * n + t - months]
        if failing < 0:
            failing = 0
        if row[SCHEDULED_PRINCIPAL] != NULL:
            row[SCHEDULED_PRINCIPAL][t - 1] += share * repaid(c.balance[t - 1 - s], c.balance[t])
        if row[INTEREST] != NULL and share > 0:
            row[INTEREST][t - 1] += share * put_off(c.interest, t, s, rules.missed)
        rows[OWED_AT_DEFAULT * n + t] += c.balance[t - 1 - s] * failing
        if row[LOST_INTEREST] != NULL or row[EXPECTED_INTEREST] != NULL:
            rows[DUE_AT_DEFAULT * n + t] += c.interest[t - 1 - s] * failing
        if row[LOST_INTEREST] != NULL and failing > 0:
            row[LOST_INTEREST][t - 1] += put_off(c.interest, t, s, rules.missed) * failing
        if row[SERVICING_FEE] != NULL:
            rows[FEE_AT_DEFAULT * n + t] += c.fees[t - 1 - s] * failing


cdef void add_defaulted(const Rules *rules, Contract c, const double *owing, double *spare, long months,
                        double **row) noexcept nogil:
    """Adds to OUT the liquidation of balances that default, `owing` by month, and what is in foreclosure until then."""
    cdef Losses *l = c.losses
    cdef long t, j, k, at
    cdef double part, lost
    for k in range(l.stages):
        j = <long>l.lag[k]
        for t in range(j + 1, months + 1):
            part = l.share[k] * owing[t - j]
            if part <= 0:
                continue
            lost = part * c.rates[rules.severity_at + (t if rules.by_liquidation else t - j)]
            if row[LIQUIDATION] != NULL:
                row[LIQUIDATION][t - 1] += part
            if row[LOSS] != NULL:
                row[LOSS][(t - j if rules.loss_at_default else t) - 1] += lost
            if row[RECOVERY] != NULL:
                row[RECOVERY][t - 1] += part - lost
            if row[FORECLOSURE] != NULL and rules.loss_at_default:
                for at in range(t - j, t):
                    row[FORECLOSURE][at - 1] -= lost
    if row[FORECLOSURE] != NULL:
        held(rules, c.rates + rules.remaining_at, owing, spare, 0, months)
        for t in range(1, months + 1):
            row[FORECLOSURE][t - 1] += spare[t]
            if row[FORECLOSURE][t - 1] < 0:
                row[FORECLOSURE][t - 1] = 0


cdef void add_frozen(const Rules *rules, Contract c, double *rows, long n, long months, double **row) noexcept nogil:
    """Adds to OUT the interest on balances in foreclosure, and the fee where it is on them too."""
    cdef long t
    cdef const double *weights = c.rates + rules.remaining_at
    cdef double *spare = rows + SPARE_ROW * n
    if row[EXPECTED_INTEREST] != NULL or row[LOST_INTEREST] != NULL:
        held(rules, weights, rows + DUE_AT_DEFAULT * n, spare, 0, months)
        for t in range(1, months + 1):
            if row[EXPECTED_INTEREST] != NULL:
                row[EXPECTED_INTEREST][t - 1] += spare[t - 1]
            if row[LOST_INTEREST] != NULL:
                row[LOST_INTEREST][t - 1] += spare[t - 1]
    if row[SERVICING_FEE] != NULL and rules.fee_on_total:
        held(rules, weights, rows + FEE_AT_DEFAULT * n, spare, 0, months)
        for t in range(1, months + 1):
            row[SERVICING_FEE][t - 1] += spare[t - 1]

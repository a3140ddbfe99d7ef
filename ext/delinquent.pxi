"""Loans that fall behind: shares by payments missed, and what they owe and pay. Part of _core.pyx.

A loan that has missed k payments at the end of month t owes a(t - k), so the balance of a bucket is its share times a
contract sum, as everything else. Moves: who is current misses a payment, who is late misses one more, pays one (and
stays as late), pays all (cures) or, from the last bucket, defaults owing what it owes. Flows end `late` months after the
contract's, since a(t - k) does. Loans that have missed payments at the cut-off owe there what the schedule had then: their
contract begins as many months before (engine/arrears.py), and a(t) is read from there on.
"""

cdef inline double owed(const double *a, long t, long missed) noexcept nogil:
    """a(t), t from the cut-off; a(-missed) before."""
    return a[t if t > -missed else -missed]


cdef inline void begin_earlier(const Rules *rules, Contract *c) noexcept nogil:
    """Moves the rows of OUT c, which begin with the contract, to the cut-off."""
    c.balance += rules.missed
    c.before = c.balance
    c.interest += rules.missed
    c.fees += rules.missed
    if c.flows != NULL:
        c.flows += rules.missed
    if c.penalties != NULL:
        c.penalties += rules.missed


cdef void behave_late(const Rules *rules, const double *rates, long age, long months, long n,
                      Behaviour b) noexcept nogil:
    """OUT b, with b.late: (late + 1) x n shares by payments missed at the end of each month."""
    cdef long t, k, most = rules.late
    cdef const double *roll = rates + rules.roll_at
    cdef const double *cure = roll + most  # cure[k] for k payments missed, from 1
    cdef const double *leave = cure + most  # and who is helped otherwise (ext/workout.pxi)
    cdef const double *prepay = rates + rules.prepayment_at + age * rules.prepayment_stride
    cdef double s, speed, current, cured, before, stays, pays = 1 - roll[0]
    cdef bint burns = rules.burnout_floor < 1
    if rules.workout:
        pays = pays - rates[rules.workout_at + ENTER] if pays > rates[rules.workout_at + ENTER] else 0
        begin_workouts(b, n)
    for k in range(most + 1):
        b.late[k * n] = 1 if k == rules.missed else 0
    b.alive[0] = 1
    b.default[0] = b.kept[0] = b.prepaid[0] = b.paying[0] = 0
    for t in range(1, months + 1):
        current = b.late[t - 1]
        s = burnt_out(rules, prepay[t], b.alive[t - 1]) if burns else prepay[t]
        if b.months != NULL and <int>b.months[t] & LOCKED:
            s = 0
        speed = s
        if rules.prepayment_base != GROSS:
            s = s * pays
        if s > pays:
            s = pays
        b.prepaid[t] = current * s
        b.kept[t] = current * (pays - s if rules.prepayment_base == OPENING_NET else pays)
        b.paying[t] = current * (pays - s if rules.on_survivors else pays)
        b.default[t] = roll[most] * b.late[most * n + t - 1]
        cured = 0
        before = current * roll[0]
        b.alive[t] = 0
        for k in range(1, most + 1):
            stays = 1 - roll[k] - cure[k] - leave[k]
            if stays < 0:
                stays = 0
            cured = cured + cure[k] * b.late[k * n + t - 1]
            b.late[k * n + t] = before + stays * b.late[k * n + t - 1]
            before = roll[k] * b.late[k * n + t - 1]
            b.alive[t] += b.late[k * n + t]
        b.late[t] = current * (pays - s) + cured
        b.alive[t] += b.late[t]
        if rules.workout:
            work_out(rules, rates + rules.workout_at, speed, t, n, b)
    held(rules, rates + rules.remaining_at, b.default, b.foreclosure, 0, months)


cdef void emit_late(const Rules *rules, Contract c, Behaviour b, long months, double *defaults, double *defaulted,
                    double **row) noexcept nogil:
    """OUT the fields of loans that fall behind, but for those that are sums of others."""
    cdef long t, k, j, n = c.losses.n, most = rules.late
    cdef const double *roll = c.rates + rules.roll_at
    cdef const double *cure = roll + most
    cdef const double *leave = cure + most
    cdef const double *a = c.balance
    cdef double share, stays, total, paid
    for t in range(1, months + 1):
        if row[BALANCE] != NULL:
            total = a[t] * b.late[t]
            for k in range(1, most + 1):
                total = total + owed(a, t - k, rules.missed) * b.late[k * n + t]
            row[BALANCE][t - 1] = total
        for k in range(1, most + 1):
            if row[DELINQUENT_30 + k - 1] != NULL:
                row[DELINQUENT_30 + k - 1][t - 1] = owed(a, t - k, rules.missed) * b.late[k * n + t]
        if row[DEFAULT] != NULL:
            row[DEFAULT][t - 1] = owed(a, t - 1 - most, rules.missed) * b.default[t]
        if row[PREPAYMENT] != NULL:
            row[PREPAYMENT][t - 1] = a[t - 1 if rules.prepayment_base == OPENING_NET else t] * b.prepaid[t]
        if row[EXPECTED_PRINCIPAL] != NULL:
            row[EXPECTED_PRINCIPAL][t - 1] = repaid(a[t - 1], a[t]) * b.alive[t - 1]
        if row[SCHEDULED_PRINCIPAL] != NULL:
            total = repaid(a[t - 1], a[t]) * b.kept[t]
            for k in range(1, most + 1):
                share = b.late[k * n + t - 1]
                stays = 1 - roll[k] - cure[k] - leave[k]
                total = total + cure[k] * share * repaid(owed(a, t - 1 - k, rules.missed), a[t])
                if stays > 0:
                    total = total + stays * share * repaid(owed(a, t - 1 - k, rules.missed), owed(a, t - k, rules.missed))
            row[SCHEDULED_PRINCIPAL][t - 1] = total
        if row[INTEREST] != NULL:
            total = c.interest[t - 1] * b.paying[t]
            for k in range(1, most + 1):
                share = b.late[k * n + t - 1]
                stays = 1 - roll[k] - cure[k] - leave[k]
                if share > 0:
                    paid = 0
                    for j in range(k + 1):
                        paid = paid + c.interest[t - 1 - j]
                    total = total + cure[k] * share * paid
                    if stays > 0:
                        total = total + stays * share * c.interest[t - 1 - k]
            row[INTEREST][t - 1] = total
    if row[ADVANCED_INTEREST] != NULL:
        memset(row[ADVANCED_INTEREST], 0, months * sizeof(double))
    if row[ADVANCED_PRINCIPAL] != NULL:
        memset(row[ADVANCED_PRINCIPAL], 0, months * sizeof(double))
    for k in range(most, MOST_LATE):
        if row[DELINQUENT_30 + k] != NULL:
            memset(row[DELINQUENT_30 + k], 0, months * sizeof(double))
    emit_losses(rules, c, b, months, row)
    emit_foreclosure(rules, c, b, months, defaults, row[FORECLOSURE])
    emit_late_interest(rules, c, b, months, defaults, defaulted, row)


cdef void emit_late_interest(const Rules *rules, Contract c, Behaviour b, long months, double *defaults,
                             double *defaulted, double **row) noexcept nogil:
    """OUT the interest expected and lost, and the servicing fee."""
    cdef long t, k, j, n = c.losses.n, most = rules.late
    cdef const double *weights = c.rates + rules.remaining_at
    cdef double total
    if row[EXPECTED_INTEREST] != NULL or row[LOST_INTEREST] != NULL:
        on_defaulted(rules, weights, c.interest, c, b, months, defaults, defaulted)
    if row[EXPECTED_INTEREST] != NULL:
        for t in range(1, months + 1):
            row[EXPECTED_INTEREST][t - 1] = c.interest[t - 1] * b.alive[t - 1] + defaulted[t - 1]
    if row[LOST_INTEREST] != NULL:
        for t in range(1, months + 1):
            total = 0
            if b.default[t] > 0:
                for j in range(most + 1):
                    total = total + c.interest[t - 1 - j]
            row[LOST_INTEREST][t - 1] = total * b.default[t] + defaulted[t - 1]
    if row[SERVICING_FEE] == NULL:
        return
    if rules.fee_on_total:
        on_defaulted(rules, weights, c.fees, c, b, months, defaults, defaulted)
    for t in range(1, months + 1):
        total = defaulted[t - 1] if rules.fee_on_total else 0
        for k in range(most + 1):
            total = total + owed(c.fees, t - 1 - k, rules.missed) * b.late[k * n + t - 1]
        row[SERVICING_FEE][t - 1] = total

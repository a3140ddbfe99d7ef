"""Losses that are not one share after one lag: staged, by month, by property, insured, recouped. Part of _core.pyx.

A loan's loss for each unit that defaults is a contract sum, like the capped loss of contract.h: one for each stage of
the liquidation, whatever the scenario's rates. What is linear in the balance is taken of the run's sums; what is not
(a cap, a property, insurance, an advance that the proceeds must cover) loan by loan.
"""

cdef enum:
    MOST_LATE = 4  # payments missed in the last bucket at most
    MOST_FORBORNE = 24  # months of forbearance at most
    SHIFTS = MOST_LATE + MOST_FORBORNE + 1  # payments that a loan can be behind its schedule, none included
    # Rows of workouts: entering forbearance by payments missed, modified and paying, modified at the end of the month by
    # payments put off; the speed of their prepayment; balances, interest and fees of those that default.
    WORKOUT_ROWS = MOST_LATE + 1 + 2 * SHIFTS + 9


cdef struct Losses:
    # stages: how many; lag[k]: months from default to stage k; share[k]: of the defaulted balance. loss, claim, recoup:
    # stages x n, entry k n + t is for liquidation in month t. lanes: LANES rows of n, as dues; the others are rows of n.
    long stages
    long n
    double *lag
    double *share
    double *loss
    double *claim
    double *recoup
    double *lanes
    double *dues
    double *interest
    double *paid
    double *at_liquidation
    double *spare
    double *late  # rows of n, by payments missed
    double *workout  # WORKOUT_ROWS rows of n (ext/workout.pxi), or NULL
    double *memory


cdef int allocate_losses(Losses *l, long stages, bint workouts, long n) noexcept nogil:
    l.memory = <double *>calloc(2 * stages + (3 * stages + 2 * LANES + 5 + MOST_LATE + 1 + (WORKOUT_ROWS if workouts else 0)) * n,
                                sizeof(double))
    if l.memory == NULL:
        return 0
    l.n = n
    l.lag, l.share = l.memory, l.memory + stages
    l.loss = l.memory + 2 * stages
    l.claim = l.loss + stages * n
    l.recoup = l.claim + stages * n
    l.lanes = l.recoup + stages * n
    l.dues = l.lanes + LANES * n
    l.interest = l.dues + LANES * n
    l.paid = l.interest + n
    l.at_liquidation = l.paid + n
    l.spare = l.at_liquidation + n
    l.late = l.spare + 2 * n
    l.workout = l.late + (MOST_LATE + 1) * n if workouts else NULL
    return 1


cdef bint same_losses(const Rules *one, const Rules *other) noexcept nogil:
    return (one.general == other.general and one.stages_at == other.stages_at and one.lag == other.lag
            and one.severity_at == other.severity_at and one.by_liquidation == other.by_liquidation
            and one.proceeds_at == other.proceeds_at and one.ltv_at == other.ltv_at and one.minimum == other.minimum
            and one.insured == other.insured and one.recoups == other.recoups and one.after == other.after and one.late == other.late
            and one.advance_share == other.advance_share and one.advance_months == other.advance_months
            and one.advancing == other.advancing)


cdef bint linear(const Rules *rules) noexcept nogil:
    """Whether the loss is a share of the balance at default that is the same for all loans."""
    return rules.advancing != ADVANCE_ALL and not rules.insured and not rules.recoups and rules.proceeds_at < 0


cdef double by_ltv(const double *table, double ltv) noexcept nogil:
    """The severity of a loan-to-value. table: how many values, whether lines join them, the values, the severities.

    A loan-to-value is at a step of the table where only the rounding of its division is between them.
    """
    cdef long n = <long>table[0], k = 0
    cdef const double *at = table + 2
    cdef const double *severity = at + n
    while k < n and ltv >= at[k] * (1 - 1e-12):
        k += 1
    if table[1] == 0:
        return severity[k]
    if k == 0 or k == n:
        return severity[0 if k == 0 else n - 1]
    return severity[k - 1] + (severity[k] - severity[k - 1]) * ((ltv - at[k - 1]) / (at[k] - at[k - 1]))


cdef void begin_losses(const Rules *rules, const double *rates, Losses *l) noexcept nogil:
    """OUT l: the stages, and sums of zero."""
    cdef long j
    l.stages = 0
    for j in range(rules.lag + 1):
        if rates[rules.stages_at + j] > 0:
            l.lag[l.stages] = j
            l.share[l.stages] = rates[rules.stages_at + j]
            l.stages += 1
    memset(l.loss, 0, l.stages * l.n * sizeof(double))
    memset(l.claim, 0, l.stages * l.n * sizeof(double))
    memset(l.recoup, 0, l.stages * l.n * sizeof(double))


cdef void add_losses(const Rules *rules, const double *rates, const double *a, const double *interest, double value,
                     double coverage, long months, Losses *l) noexcept nogil:
    """Adds to OUT l what one loan with balances a(t) loses, claims and has recouped of it, for each unit in default.

    interest: due on a(t). value: of the property at the cut-off. coverage: of mortgage insurance, a share.
    """
    cdef long k, j, d, t, upto, o = rules.after - rules.late
    cdef double owed, left, lost, claim, advanced, worth
    cdef bint amortises = rules.advancing == ADVANCE_ALL
    if rules.recoups:
        l.paid[0] = 0
        for t in range(1, months + 1):
            l.paid[t] = l.paid[t - 1] + interest[t - 1]
    for k in range(l.stages):
        j = <long>l.lag[k]
        for t in range(j + 1 + rules.late - rules.missed, months + 1):
            d = t - j
            owed = a[d - 1 + o]
            left = a[t - 1] if amortises and j > 0 else owed
            if rules.ltv_at >= 0:
                worth = value * rates[rules.proceeds_at + (t if rules.by_liquidation else d)]
                lost = owed * by_ltv(rates + rules.ltv_at, owed / worth if worth > 0 else INFINITY)
            elif rules.proceeds_at >= 0:
                lost = owed - value * rates[rules.proceeds_at + t]
                if lost < rules.minimum * owed:
                    lost = rules.minimum * owed
            else:
                lost = owed * rates[rules.severity_at + (t if rules.by_liquidation else d)]
            if lost > left:
                lost = left
            claim = 0
            if rules.insured:
                claim = coverage * owed if coverage * owed < lost else lost
                lost = lost - claim
            l.claim[k * l.n + t] += claim
            if rules.recoups:
                upto = d + o - 1 + rules.advance_months if d + o - 1 + rules.advance_months < t else t
                if upto < d + o - 1:
                    upto = d + o - 1
                if amortises:
                    advanced = rules.advance_share * (l.paid[upto] - l.paid[d + o - 1])
                else:
                    advanced = rules.advance_share * (upto - d - o + 1) * interest[d - 1 + o]
                if advanced > left - lost:
                    advanced = left - lost
                l.recoup[k * l.n + t] += advanced
                lost = lost + advanced
            l.loss[k * l.n + t] += lost


cdef void emit_losses(const Rules *rules, Contract c, Behaviour b, long months, double **row) noexcept nogil:
    """OUT liquidation, loss, recovery and what they are made of, stage by stage."""
    cdef Losses *l = c.losses
    cdef long k, j, t, o = rules.after - rules.late
    cdef double share, base, lost
    cdef bint amortises = rules.advancing == ADVANCE_ALL
    cdef const double *owed = c.balance if rules.after else c.before
    cdef double *liquidation = row[LIQUIDATION]
    if liquidation != NULL:
        memset(liquidation, 0, months * sizeof(double))
    memset(l.at_liquidation, 0, l.n * sizeof(double))
    memset(l.spare, 0, l.n * sizeof(double))
    if row[MORTGAGE_INSURANCE] != NULL:
        memset(row[MORTGAGE_INSURANCE], 0, months * sizeof(double))
    if row[RECOUPED_ADVANCES] != NULL:
        memset(row[RECOUPED_ADVANCES], 0, months * sizeof(double))
    for k in range(l.stages):
        j = <long>l.lag[k]
        for t in range(j + 1 + rules.late - rules.missed, months + 1):
            share = l.share[k] * b.default[t - j]
            base = share * (c.before[t - 1] if amortises and j > 0 else owed[t - j - 1 + o])
            if liquidation != NULL:
                liquidation[t - 1] += base
            lost = share * l.loss[k * l.n + t]
            if lost > base:
                lost = base
            l.at_liquidation[t - 1] += lost
            l.spare[(t - j if rules.loss_at_default else t) - 1] += lost
            if row[MORTGAGE_INSURANCE] != NULL:
                row[MORTGAGE_INSURANCE][t - 1] += share * l.claim[k * l.n + t]
            if row[RECOUPED_ADVANCES] != NULL:
                row[RECOUPED_ADVANCES][t - 1] += share * l.recoup[k * l.n + t]
    for t in range(months):
        if row[LOSS] != NULL:
            row[LOSS][t] = l.spare[t]
        if row[RECOVERY] != NULL:
            row[RECOVERY][t] = liquidation[t] - l.at_liquidation[t] if liquidation[t] > l.at_liquidation[t] else 0


cdef void book_early(const Rules *rules, Contract c, Behaviour b, long months, double *out) noexcept nogil:
    """Takes losses booked at default off OUT out, the balance in foreclosure, until they are liquidated."""
    cdef Losses *l = c.losses
    cdef long k, j, t, at
    cdef double lost
    for k in range(l.stages):
        j = <long>l.lag[k]
        for t in range(j + 1 + rules.late - rules.missed, months + 1):
            lost = l.share[k] * b.default[t - j] * l.loss[k * l.n + t]
            for at in range(t - j, t):
                out[at - 1] -= lost
    for t in range(months):
        if out[t] < 0:
            out[t] = 0

"""What the loans of a run share: surviving, defaulting and prepaid shares by month. Part of _core.pyx."""

cdef struct Behaviour:
    # each [0 .. months]: surviving, defaulting, in foreclosure (of rules that advance principal), paying as scheduled,
    # prepaid, paying interest, paid down beyond the schedule (of rules that recast)
    double *alive
    double *default
    double *foreclosure
    double *kept
    double *prepaid
    double *paying
    double *curtailed
    # what each month is to loans that do not pay in every one: bits of PAYS, LOCKED, UNDRAWN; NULL for other loans
    const double *months
    double *late  # (payments missed, months + 2), of loans with roll rates (ext/delinquent.pxi)
    double *workout  # (WORKOUT_ROWS, months + 2), of those that are helped (ext/workout.pxi)


# What a month is to a loan: it pays, prepayment is locked out, it has not been drawn.
cdef enum:
    PAYS = 1, LOCKED = 2, UNDRAWN = 4

MONTH_PAYS, MONTH_LOCKED, MONTH_UNDRAWN = PAYS, LOCKED, UNDRAWN


cdef double burnt_out(const Rules *rules, double smm, double alive) noexcept nogil:
    """The SMM whose CPR is lower by what left before: CPR x (floor + slope x surviving share).

    As annual_changed in engine/curves.py: above a half the share that stays is what is computed.
    """
    cdef double by = rules.burnout_floor + rules.burnout_slope * alive, stays = 12 * log1p(-smm), gone
    if by > 1:
        by = 1  # shares that add up to one but for their rounding
    gone = by * -expm1(stays)
    return -expm1((log1p(-gone) if gone < 0.5 else log((1 - by) + by * exp(stays))) / 12)


cdef void behave(const Rules *rules, const double *rates, long age, long term, long walk, long months, long stride,
                 long begin, Behaviour *b) noexcept nogil:
    """OUT b: what all loans of a run share, months 0 .. months. rates: of all curves, where the rules say.

    walk: of the run; where it says that loans do not pay in every month, they prepay and default in the months in which
    they do, at the rates of the months since compounded; what is still to default when defaults stop does not. stride: of the rows of b.late. begin: the first month that b
    does not have already, 1 for all of them.
    """
    cdef long t, lag = rules.lag, stop = term - lag if rules.stop else months
    cdef double s, m, left, alive, prepaying = 0, failing = 0
    cdef int month
    cdef const double *prepay = rates + rules.prepayment_at + age * rules.prepayment_stride
    cdef const double *fail = rates + rules.default_at + age * rules.default_stride
    cdef const double *curtail = rates + rules.curtailment_at + age * rules.curtailment_stride
    cdef bint burns = rules.burnout_floor < 1
    b.months = rates + walk // WALKS if walk >= WALKS else NULL
    if rules.late:
        behave_late(rules, rates, age, months, stride, b[0])
        return
    if begin == 1:
        b.alive[0] = 1
        b.default[0] = b.kept[0] = b.prepaid[0] = b.paying[0] = 0
    alive = b.alive[begin - 1]
    for t in range(begin, months + 1):
        m = fail[t] if t <= stop else 0
        s = burnt_out(rules, prepay[t], alive) if burns else prepay[t]
        if b.months != NULL:
            month = <int>b.months[t]
            if month & LOCKED:
                s = 0
            if not month & UNDRAWN:
                failing = failing + m - failing * m
                prepaying = prepaying + s - prepaying * s
            if not month & PAYS:
                b.default[t] = b.prepaid[t] = 0
                b.kept[t] = b.paying[t] = b.alive[t] = alive
                continue
            m, s, failing, prepaying = failing if t <= stop else 0, prepaying, 0, 0
        if rules.prepayment_base != GROSS:
            s = s * (1 - m)
        if s > 1 - m:
            s = 1 - m
        b.default[t] = alive * m
        b.prepaid[t] = alive * s
        left = alive * (1 - m - s)
        if left < 0:
            left = 0
        b.kept[t] = left if rules.prepayment_base == OPENING_NET else alive * (1 - m)
        b.paying[t] = left if rules.on_survivors else alive * (1 - m)
        if rules.after:
            b.kept[t] += alive * m
            b.paying[t] += alive * m
        if rules.recasts:
            b.curtailed[t] = 0 if b.months != NULL and <int>b.months[t] & LOCKED else left * curtail[t]
            left = left - b.curtailed[t]
        alive = left
        b.alive[t] = alive
    if rules.advancing == ADVANCE_ALL:  # balances that are frozen at default are summed as they are (ext/emit.pxi)
        held(rules, rates + rules.remaining_at, b.default, b.foreclosure, begin if begin > 1 else 0, months)


cdef void held(const Rules *rules, const double *weights, const double *x, double *out, long begin,
               long months) noexcept nogil:
    """OUT out[t]: what of x is in foreclosure after month t, from month `begin` on.

    weights: what share is so after 0, 1 .. months.
    """
    if rules.general:
        weighted_window(x, weights, out, rules.lag, begin, months)
    else:
        window(x, out, rules.lag, begin, months)


cdef simd_void weighted_window(const double *x, const double *weights, double *out, long lag,
                               long begin, long months) noexcept nogil:
    """OUT out[t] = weights[0] x[t] + weights[1] x[t - 1] + .., over `lag` months, t from `begin`."""
    cdef long t, j
    cdef double weight
    memset(out + begin, 0, (months + 1 - begin) * sizeof(double))
    for j in range(lag):
        weight = weights[j]
        for t in range(max(begin, j), months + 1):
            out[t] = out[t] + weight * x[t - j]


cdef simd_void window(const double *x, double *out, long lag, long begin, long months) noexcept nogil:
    """OUT out[t] = x[t - lag + 1] + .. + x[t]; added up anew each month, so that what is over is exactly zero."""
    cdef long t, j
    memset(out + begin, 0, (months + 1 - begin) * sizeof(double))
    for j in range(lag):
        for t in range(max(begin, j), months + 1):
            out[t] = out[t] + x[t - j]

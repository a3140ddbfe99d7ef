"""Contract sums and behaviour multiplied into the output fields. Part of _core.pyx."""

cdef extern from "products.h" nogil:
    ctypedef struct products:
        const double *balance
        const double *before
        const double *interest
        const double *fees
        const double *alive
        const double *failing
        const double *foreclosure
        const double *kept
        const double *prepaid
        const double *paying
        int after
        int opening
        int amortises
        double newly
        double *performing
        double *defaulted
        double *prepayment
        double *scheduled
        double *expected
        double *advanced
        double *passed_on
        double *fee
    ctypedef struct liquidations:
        const double *before
        const double *failing
        const double *capped
        int amortises
        double severity
        long lag
        double *liquidated
        double *lost
        double *recovered
    void emit_products(const products *p, long months) noexcept
    void emit_liquidations(const liquidations *p, long months) noexcept

cdef inline double repaid(double before, double after) noexcept nogil:
    """Principal between two balances; what is within their rounding is none, so that it never turns negative."""
    cdef double paid = before - after, rounding = 1e-15 * before
    return paid if paid > rounding or paid < -rounding else 0


cdef inline double unless_rounding(double paid, double before) noexcept nogil:
    """Principal made of several sums over many loans; less than nought only where interest is added to the balance."""
    return paid if paid >= 0 or paid < -1e-12 * before else 0


cdef struct Losses


cdef struct Contract:
    # each [0 .. months]: balance after month t; balance before month t + 1, which is the same but for heads of families
    # (ext/families.pxi), rate and fee times it; capped loss by month of liquidation (or NULL)
    const double *balance
    const double *before
    const double *interest
    const double *fees
    const double *capped
    # of rules that are general (ext/loss.pxi): the losses, and the rates of all curves
    Losses *losses
    const double *rates
    # what assets add (ext/assets.pxi), FLOWS rows `stride` apart, or NULL
    const double *flows
    long stride
    # penalties owed (ext/penalty.pxi), OWED rows `stride` apart, or NULL
    const double *penalties


cdef void emit(const Rules *rules, Contract c, Behaviour b, long months, double *scratch,
                    double **row) noexcept nogil:
    """OUT row[field][t - 1] for t in 1 .. months, for every row that is not NULL.

    Rows are closed under what they are made of (engine/projection.py). scratch: two arrays of months + 1.
    """
    emit_parts(rules, c, b, months, scratch, row)
    emit_totals(months, row)


cdef void emit_parts(const Rules *rules, Contract c, Behaviour b, long months, double *scratch, double **row) noexcept nogil:
    """OUT the fields that are not sums of others; the rest as emit."""
    if row[FORBEARANCE] != NULL:
        memset(row[FORBEARANCE], 0, months * sizeof(double))
    if row[MODIFIED] != NULL:
        memset(row[MODIFIED], 0, months * sizeof(double))
    if rules.late:
        emit_late(rules, c, b, months, scratch, scratch + months + 1, row)
    else:
        emit_paths(rules, c, b, months, scratch, scratch + months + 1, row)
    emit_curtailment(rules, c, b, months, row)
    emit_assets(rules, c, b, months, row)
    if rules.workout:
        add_workouts(rules, c, b, months, row)
    if rules.defaulted:
        emit_defaulted(rules, c, months, row)
    emit_penalty(c, b, months, row[PREPAYMENT_PENALTY])
    before_draw(c, b, months, row)


cdef simd_void emit_totals(long months, double **row) noexcept nogil:
    """OUT the fields that are sums of others."""
    cdef long t
    if row[NET_INTEREST] != NULL:
        for t in range(months):
            row[NET_INTEREST][t] = row[INTEREST][t] - row[SERVICING_FEE][t]
    if row[PRINCIPAL] != NULL:
        for t in range(months):
            row[PRINCIPAL][t] = row[SCHEDULED_PRINCIPAL][t] + row[PREPAYMENT][t] + row[RECOVERY][t]
    if row[CASHFLOW] != NULL:
        for t in range(months):
            row[CASHFLOW][t] = row[PRINCIPAL][t] + row[NET_INTEREST][t] + (
                row[OTHER_INCOME][t] + row[PREPAYMENT_PENALTY][t] - row[DRAW][t])


cdef void before_draw(Contract c, Behaviour b, long months, double **row) noexcept nogil:
    """OUT no balance and no fee before loans are drawn, and the draw; by contract they owe from the cut-off."""
    cdef long t, start = 0
    if b.months == NULL:
        return
    while start < months and <int>b.months[start + 1] & UNDRAWN:
        start += 1
    if start == 0:
        return
    if row[DRAW] != NULL:
        row[DRAW][start - 1] = c.balance[0]
    for t in range(start):
        if row[BALANCE] != NULL and t < start - 1:
            row[BALANCE][t] = 0
        if row[SERVICING_FEE] != NULL:
            row[SERVICING_FEE][t] = 0


cdef void emit_paths(const Rules *rules, Contract c, Behaviour b, long months, double *defaults,
                          double *defaulted, double **row) noexcept nogil:
    """OUT the fields that are not sums of others, for loans that pay or default."""
    cdef long t
    cdef products p
    p.balance, p.before, p.interest, p.fees = c.balance, c.before, c.interest, c.fees
    p.alive, p.failing, p.foreclosure = b.alive, b.default, b.foreclosure
    p.kept, p.prepaid, p.paying = b.kept, b.prepaid, b.paying
    p.after, p.opening = rules.after, rules.prepayment_base == OPENING_NET
    p.amortises = rules.advancing == ADVANCE_ALL
    p.newly = c.rates[rules.remaining_at] if rules.after else 0  # paid this month before they defaulted
    p.performing, p.defaulted, p.prepayment = row[BALANCE], row[DEFAULT], row[PREPAYMENT]
    p.scheduled, p.expected = row[SCHEDULED_PRINCIPAL], row[EXPECTED_PRINCIPAL]
    p.advanced, p.fee = row[ADVANCED_PRINCIPAL], row[SERVICING_FEE]
    p.passed_on = row[INTEREST] if rules.advancing == ADVANCE_NONE else NULL
    emit_products(&p, months)
    if rules.general:
        emit_losses(rules, c, b, months, row)
    else:
        emit_liquidation(rules, c, b, months, row)
        if row[MORTGAGE_INSURANCE] != NULL:
            memset(row[MORTGAGE_INSURANCE], 0, months * sizeof(double))
        if row[RECOUPED_ADVANCES] != NULL:
            memset(row[RECOUPED_ADVANCES], 0, months * sizeof(double))
    emit_foreclosure(rules, c, b, months, defaults, row[FORECLOSURE])
    emit_interest(rules, c, b, months, defaults, defaulted, row)
    for t in range(DELINQUENT_30, DELINQUENT_120 + 1):
        if row[t] != NULL:
            memset(row[t], 0, months * sizeof(double))


cdef void emit_curtailment(const Rules *rules, Contract c, Behaviour b, long months, double **row) noexcept nogil:
    """OUT what is paid down beyond the schedule, after the month's principal, by those who neither default nor prepay.

    Where the payment is recast a share of the loan goes, as if prepaid; where it is kept the contract's balances fall by
    sums of their own (stepped.h), which a(t - 1) - a(t) shows as scheduled and those who prepay do not leave behind.
    """
    cdef long t
    cdef const double *down = c.flows + FLOW_CURTAILED * c.stride if c.flows != NULL else NULL
    if row[CURTAILMENT] != NULL:
        memset(row[CURTAILMENT], 0, months * sizeof(double))
    if rules.recasts:
        for t in range(1, months + 1):
            if row[CURTAILMENT] != NULL:
                row[CURTAILMENT][t - 1] = c.balance[t] * b.curtailed[t]
            if row[PREPAYMENT] != NULL:
                row[PREPAYMENT][t - 1] += c.balance[t] * b.curtailed[t]
    if down == NULL:
        return
    for t in range(1, months + 1):
        if down[t] == 0:
            continue
        if row[CURTAILMENT] != NULL:
            row[CURTAILMENT][t - 1] += down[t] * b.alive[t]
        if row[PREPAYMENT] != NULL:
            row[PREPAYMENT][t - 1] += down[t] * (
                b.alive[t] + (b.prepaid[t] if rules.prepayment_base != OPENING_NET else 0))
        if row[SCHEDULED_PRINCIPAL] != NULL:
            row[SCHEDULED_PRINCIPAL][t - 1] = repaid(c.balance[t - 1], c.balance[t] + down[t]) * b.kept[t]
        if row[EXPECTED_PRINCIPAL] != NULL:
            row[EXPECTED_PRINCIPAL][t - 1] = repaid(c.balance[t - 1], c.balance[t] + down[t]) * b.alive[t - 1]


cdef void emit_liquidation(const Rules *rules, Contract c, Behaviour b, long months, double **row) noexcept nogil:
    """OUT liquidation, loss and recovery, `lag` months after the default."""
    cdef liquidations p
    if row[LIQUIDATION] == NULL:
        return
    p.before, p.failing, p.capped = c.before, b.default, c.capped
    p.amortises, p.severity, p.lag = rules.advancing == ADVANCE_ALL, rules.severity, rules.lag
    p.liquidated, p.lost, p.recovered = row[LIQUIDATION], row[LOSS], row[RECOVERY]
    emit_liquidations(&p, months)


cdef simd_void emit_foreclosure(const Rules *rules, Contract c, Behaviour b, long months, double *defaults,
                                double *out) noexcept nogil:
    """OUT the balance in foreclosure: amortising with the loan under principal advancing, else frozen at default."""
    cdef long t
    cdef const double *owed = c.balance if rules.after else c.before
    if out == NULL:
        return
    if rules.advancing == ADVANCE_ALL:
        for t in range(1, months + 1):
            out[t - 1] = c.balance[t] * b.foreclosure[t]
    else:
        for t in range(rules.late - rules.missed + 1):
            defaults[t] = 0
        for t in range(rules.late - rules.missed + 1, months + 1):
            defaults[t] = owed[t - 1 + rules.after - rules.late] * b.default[t]
        held(rules, c.rates + rules.remaining_at, defaults + 1, out, 0, months - 1)
    if rules.loss_at_default:
        book_early(rules, c, b, months, out)


cdef simd_void on_defaulted(const Rules *rules, const double *weights, const double *per_month, Contract c,
                            Behaviour b, long months, double *defaults, double *out) noexcept nogil:
    """OUT out[t]: a rate-weighted sum over the balance in foreclosure at the start of month t + 1, t from 0.

    weights: what share of a default counts after 0, 1 .. months.
    """
    cdef long t
    if rules.advancing == ADVANCE_ALL:
        held(rules, weights, b.default, out, 0, months)
        for t in range(months + 1):
            out[t] = per_month[t] * out[t]
        return
    for t in range(rules.late - rules.missed + 1):
        defaults[t] = 0
    for t in range(rules.late - rules.missed + 1, months + 1):
        defaults[t] = per_month[t - 1 + rules.after - rules.late] * b.default[t]
    held(rules, weights, defaults, out, 0, months)


cdef void when_paid(const Rules *rules, Behaviour b, long months, double *out) noexcept nogil:
    """Takes interest on frozen balances out of OUT out in months in which the loans do not pay; out[t] is of month t + 1."""
    cdef long t
    if b.months == NULL or rules.advancing == ADVANCE_ALL:
        return
    for t in range(months):
        if not <int>b.months[t + 1] & PAYS:
            out[t] = 0


cdef simd_void emit_interest(const Rules *rules, Contract c, Behaviour b, long months, double *defaults,
                             double *defaulted, double **row) noexcept nogil:
    """OUT what is advanced of interest and what is not, and adds what defaulted balances cost to the servicing fee."""
    cdef long t
    cdef bint advanced = rules.advancing != ADVANCE_NONE
    cdef double *expected = row[EXPECTED_INTEREST]
    cdef double *lost = row[LOST_INTEREST]
    cdef double *interest = row[INTEREST]
    cdef double *fee = row[SERVICING_FEE]
    cdef const double *all_of = c.rates + rules.remaining_at
    cdef double first = 0 if rules.after else 1  # whether those who default miss the month's interest
    if expected != NULL or lost != NULL or row[ADVANCED_INTEREST] != NULL or (interest != NULL and advanced):
        on_defaulted(rules, all_of, c.interest, c, b, months, defaults, defaulted)
        when_paid(rules, b, months, defaulted)
    if expected != NULL:
        for t in range(1, months + 1):
            expected[t - 1] = c.interest[t - 1] * b.alive[t - 1] + defaulted[t - 1]
    if lost != NULL:
        for t in range(1, months + 1):
            lost[t - 1] = c.interest[t - 1] * b.default[t] * first + defaulted[t - 1]
    if rules.general and advanced and (row[ADVANCED_INTEREST] != NULL or interest != NULL):
        on_defaulted(rules, c.rates + rules.advanced_at, c.interest, c, b, months, defaults, defaulted)
        when_paid(rules, b, months, defaulted)
        first = first * (rules.advance_share if rules.advance_months > 0 else 0)
    if row[ADVANCED_INTEREST] != NULL:
        for t in range(1, months + 1):
            row[ADVANCED_INTEREST][t - 1] = (
                c.interest[t - 1] * b.default[t] * first + defaulted[t - 1]) if advanced else 0
    if interest != NULL and advanced:
        for t in range(1, months + 1):
            interest[t - 1] = c.interest[t - 1] * (b.paying[t] + b.default[t] * first) + defaulted[t - 1]
    if fee != NULL and rules.fee_on_total:
        on_defaulted(rules, all_of, c.fees, c, b, months, defaults, defaulted)
        for t in range(1, months + 1):
            fee[t - 1] = fee[t - 1] + defaulted[t - 1]

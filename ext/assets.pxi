"""What leases, receivables and revolving balances add to the fields, and loans in default at the cut-off.

Part of _core.pyx.

Money drawn, income, shortfalls and residuals are contract sums too (stepped.h): those who pay as scheduled draw, pay the
income, fall short of principal and hand back what has a residual. Draws are principal that a(t - 1) - a(t) does not show.
A residual is due with the last month's interest, part of which it is where the rental pays less: where it fetches so little
that the shortfall is more than the balance, that interest is principal below nought, as other interest that is not paid.
"""

cdef void emit_assets(const Rules *rules, Contract c, Behaviour b, long months, double **row) noexcept nogil:
    """Adds to OUT the fields of emit_paths what assets add, and sets draw, other_income and shortfall."""
    cdef long t
    cdef double short, drawn, realised = rules.residual_share, lost = 1 - realised if realised < 1 else 0
    cdef double gained = realised - 1 if realised > 1 else 0
    cdef const double *flow = c.flows
    if flow == NULL:
        for t in range(DRAW, SHORTFALL + 1):
            if row[t] != NULL:
                memset(row[t], 0, months * sizeof(double))
        return
    for t in range(1, months + 1):
        drawn = flow[FLOW_DRAW * c.stride + t]
        short = flow[FLOW_SHORTFALL * c.stride + t] + lost * flow[FLOW_RESIDUAL * c.stride + t]
        if row[DRAW] != NULL:
            row[DRAW][t - 1] = drawn * b.kept[t]
        if row[OTHER_INCOME] != NULL:
            row[OTHER_INCOME][t - 1] = (
                flow[FLOW_INCOME * c.stride + t] + gained * flow[FLOW_RESIDUAL * c.stride + t]) * b.kept[t]
        if row[SHORTFALL] != NULL:
            row[SHORTFALL][t - 1] = short * b.kept[t]
        if row[LOSS] != NULL:
            row[LOSS][t - 1] += short * b.kept[t]
        if row[SCHEDULED_PRINCIPAL] != NULL:
            row[SCHEDULED_PRINCIPAL][t - 1] = unless_rounding(
                row[SCHEDULED_PRINCIPAL][t - 1] + (drawn - short) * b.kept[t], c.balance[t - 1] * b.kept[t])
        if row[EXPECTED_PRINCIPAL] != NULL:
            row[EXPECTED_PRINCIPAL][t - 1] = unless_rounding(
                row[EXPECTED_PRINCIPAL][t - 1] + drawn * b.alive[t - 1], c.balance[t - 1] * b.alive[t - 1])


cdef void emit_defaulted(const Rules *rules, Contract c, long months, double **row) noexcept nogil:
    """Takes off OUT the fields of loans in default at the cut-off what treats them as defaulting in the first month."""
    if row[DEFAULT] != NULL:
        memset(row[DEFAULT], 0, months * sizeof(double))
    if row[SERVICING_FEE] != NULL and not rules.fee_on_total:
        row[SERVICING_FEE][0] = 0
    if row[EXPECTED_PRINCIPAL] != NULL and rules.advancing != ADVANCE_ALL:
        row[EXPECTED_PRINCIPAL][0] = 0

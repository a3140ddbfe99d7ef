"""What a request asks of the sums, by its rules and by the fields that it needs. Part of _core.pyx."""

cdef struct Most:
    # the longest lag of all rules; whether any is general, whether any helps late loans, or capitalizes what they missed
    long lag
    bint general
    bint workout
    bint capitalizes


cdef Most most_of(const Rules[:, ::1] rule) noexcept:
    cdef Most most
    cdef Py_ssize_t s, k
    most.lag, most.general, most.workout, most.capitalizes = 0, False, False, False
    for s in range(rule.shape[0]):
        for k in range(rule.shape[1]):
            most.lag = max(most.lag, rule[s, k].lag)
            most.general = most.general or rule[s, k].general
            most.workout = most.workout or rule[s, k].workout
            most.capitalizes = most.capitalizes or rule[s, k].workout == 2
    return most


cdef bint prepays_opening(const Rules[:, ::1] rule) noexcept:
    """Whether prepayments are of the balance before the month's principal, a convention that all rules share."""
    return rule.shape[0] > 0 and rule.shape[1] > 0 and rule[0, 0].prepayment_base == OPENING_NET


def needs_interest(const int[::1] needed, rules):
    """Whether the fields needed are made of interest due, as balances are where it is capitalized."""
    cdef const Rules[:, ::1] rule = rules
    return wants_rate(needed) or most_of(rule).capitalizes


def needs_fees(const int[::1] needed):
    """Whether the fields needed are made of fees."""
    return needed[SERVICING_FEE] != 0


def needs_losses(const int[::1] needed):
    """Whether the fields needed are made of losses."""
    return needed[LOSS] != 0


cdef bint wants_rate(const int[::1] needed) noexcept:
    return needed[INTEREST] or needed[EXPECTED_INTEREST] or needed[LOST_INTEREST] or needed[ADVANCED_INTEREST]

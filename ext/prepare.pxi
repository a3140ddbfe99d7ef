"""Contract vectors of loans: validated columns to what contract.h steps. Part of _core.pyx."""

cdef struct Batch:
    # level-pay loans whose terms are computed eight at a time, and the lanes that they go to
    double balance[LANES]
    double rate[LANES]
    double over[LANES]
    double months[LANES]
    Py_ssize_t lane[LANES]
    int size


def prepare(const double[:] balance, const double[:] rate, const double[:] fee, const double[:] payment,
            const int[:] term, const int[:] interest_only, const int[:] amortization_term,
            const signed char[:] amortization, const long[:] order, const long[:] place, double[:, ::1] out):
    """Fills OUT `out` (7, padded lanes) with the contract vectors of loan order[j] at lane place[j].

    order, place: int64 (loans,). Lanes that no loan fills keep what the caller put there (zero, last month -1).
    """
    cdef Py_ssize_t j, i, k
    cdef double r
    cdef Batch level
    level.size = 0
    with nogil:
        for j in range(order.shape[0]):
            i = order[j]
            k = place[j]
            r = rate[i] / 12
            out[RATE, k] = r
            out[FEE, k] = fee[i] / 12
            out[INTEREST_ONLY, k] = interest_only[i]
            contract_terms(balance[i], r, payment[i], term[i], interest_only[i], amortization_term[i],
                           amortization[i], k, &level, &out[PAYMENT, k], &out[FACTOR, k], &out[TAIL, k], &out[LAST, k])
            if level.size == LANES:
                empty(&level, &out[PAYMENT, 0], &out[TAIL, 0])
        empty(&level, &out[PAYMENT, 0], &out[TAIL, 0])


cdef void empty(Batch *level, double *payments, double *tails) noexcept nogil:
    """OUT the payments and last balances of the loans in the batch, at their lanes."""
    cdef double paid[LANES]
    cdef double left[LANES]
    cdef int j
    if level.size == 0:
        return
    for j in range(level.size, LANES):
        level.balance[j], level.rate[j], level.over[j], level.months[j] = 0, 0, 1, 1
    level_terms(level.balance, level.rate, level.over, level.months, paid, left)
    for j in range(level.size):
        payments[level.lane[j]] = paid[j]
        tails[level.lane[j]] = left[j]
    level.size = 0


cdef void contract_terms(double balance, double r, double stated, int term, int interest_only, int spread, int kind,
                         Py_ssize_t lane, Batch *level, double *payment, double *factor, double *tail,
                         double *last) noexcept nogil:
    """OUT: the monthly payment, the factor 1/(1+r), the balance at the last month that has one, and that month.

    A level payment that follows from the balance, and its last balance, are left to the batch.
    """
    cdef double months = term - interest_only, over = spread if spread > 0 else months
    cdef int at
    payment[0] = 0
    factor[0] = 1
    tail[0] = balance
    last[0] = term - 1
    if kind == BULLET or months <= 0 or balance == 0:
        return
    if kind == LINEAR:
        payment[0] = balance / over
        tail[0] = balance * ((over - months + 1) / over)
        return
    if r < 1e-18:
        r = 0  # 1 + r is 1; dividing by a rate this small would overflow
    factor[0] = 1 / (1 + r)
    if stated == stated:
        stated_terms(balance, r, log1p(r), stated, interest_only, months, payment, tail, last)
        return
    at = level.size
    level.balance[at], level.rate[at], level.over[at], level.months[at] = balance, r, over, months
    level.lane[at] = lane
    level.size = at + 1


cdef void stated_terms(double balance, double r, double rate, double stated, int interest_only, double months,
                       double *payment, double *tail, double *last) noexcept nogil:
    """OUT as contract_terms, for a level-pay loan whose payment is stated: early payoff or a balloon at the end."""
    cdef double count = INFINITY, paid, unpaid = fma(balance, r, -stated)
    payment[0] = stated
    if r == 0 and stated > 0:
        count = balance / stated
    elif unpaid < 0:
        count = -log(-unpaid / stated) / rate if unpaid > -0.5 * stated else -log1p(-balance * r / stated) / rate
    # What is left of a billionth of a payment or less is paid with the last: count itself is no more exact than that.
    paid = ceil(count - 1e-9) - 1
    if paid < 0:
        paid = 0
    if paid >= months:
        paid = months - 1
    last[0] = interest_only + paid
    if r == 0:
        tail[0] = balance - stated * paid
    elif count < 2 * months:
        tail[0] = stated / r * -expm1(-(count - paid) * rate)
    else:
        tail[0] = balance + unpaid * (expm1(paid * rate) / r)
    if paid == 0:
        tail[0] = balance

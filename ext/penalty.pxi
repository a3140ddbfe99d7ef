"""Prepayment penalties: what loans would owe if they prepaid, as contract sums. Part of _core.pyx.

A prepayment of a share of a loan owes that share of what all of it would owe, which the contract alone says: a
coefficient by age times the balance, months of interest, what a reinvestment loses. So the penalty is prepaid(t) times
a sum over the run's loans, as the prepayment is; amounts owed in every month with prepayments are a second sum.
"""

PENALTY_TABLES = ("share", "interest", "maintained", "amount", "charge")
PENALTY_TERMS = ("discount_rate", "end", "present_value", "discount")
PENALTY_ROWS = ("penalty", "age", "rate", "term")

cdef enum:
    OF_BALANCE, OF_INTEREST, MAINTAINED, AMOUNT, CHARGE, BY_AGE
    DISCOUNT_RATE = 0, MAINTAINED_TO, PRESENT_VALUE, DISCOUNT_FACTOR
    LANE_PENALTY = 0, LANE_AGE, LANE_RATE, LANE_TERM
    OWED_WHOLE = 0, OWED_EACH, OWED  # rows of what is summed: for all of a loan prepaid, for each month with prepayments

PENALTY_KINDS = OWED
cdef double NO_PREPAYMENT = 1e-12  # a share of what is left that is none, where any at all would be charged


cdef class Penalties:
    """The penalties of a chunk's loans: engine/penalty_tables.py says what is in each.

    by_age: float64 (penalties, BY_AGE, months). worth: float64 (penalties, months). terms: float64 (penalties, 4).
    lanes: float64 (4, lanes), penalty -1 for a lane without one, rate nan for a loan whose rate changes.
    """
    cdef const double[:, :, ::1] by_age
    cdef const double[:, ::1] worth
    cdef const double[:, ::1] terms
    cdef const double[:, ::1] lanes

    def __init__(self, by_age, worth, terms, lanes):
        self.by_age, self.worth, self.terms, self.lanes = by_age, worth, terms, lanes


cdef struct PenaltyWork:
    # rows of n: what is owed, two for a run or for each of LANES; balances and interest of lanes; the value of payments
    double *owed
    double *lanes
    double *dues
    double *value
    double *scratch
    double *memory


cdef int allocate_penalties(PenaltyWork *w, bint wanted, long n) noexcept nogil:
    """OUT w: room where it is wanted, else nothing."""
    memset(w, 0, sizeof(PenaltyWork))
    if not wanted:
        return 1
    w.memory = <double *>calloc((OWED + 2 * LANES + 2) * n, sizeof(double))
    if w.memory == NULL:
        return 0
    w.owed = w.memory
    w.lanes = w.owed + OWED * n
    w.dues = w.lanes + LANES * n
    w.value = w.dues + LANES * n
    w.scratch = w.value + n
    return 1


cdef void add_penalty(Penalties p, long lane, const double *a, const double *due, bint opening, long months,
                      double *value, double *whole, double *each) noexcept nogil:
    """Adds to OUT whole[t] and each[t] what one loan with balances a(t) owes for prepaying in month t.

    due: interest by month, entry t - 1 of month t, or NULL for a loan that pays its rate every month. opening: whether
    prepayments are of the balance before the month's principal. value: months + 1 to spare.
    """
    cdef long k = <long>p.lanes[LANE_PENALTY, lane], age = <long>p.lanes[LANE_AGE, lane], t, left
    cdef long term = <long>p.lanes[LANE_TERM, lane], begin = 1 - age if age < 0 else 1, o = 1 if opening else 0, end
    cdef double note = p.lanes[LANE_RATE, lane], excess, owed, lost
    cdef const double *share = &p.by_age[k, OF_BALANCE, 0] + age
    cdef const double *interest = &p.by_age[k, OF_INTEREST, 0] + age
    cdef const double *maintained = &p.by_age[k, MAINTAINED, 0] + age
    cdef const double *amount = &p.by_age[k, AMOUNT, 0] + age
    cdef const double *charge = &p.by_age[k, CHARGE, 0] + age
    cdef bint by_value = p.terms[k, PRESENT_VALUE] != 0
    end = <long>p.terms[k, MAINTAINED_TO] - age
    if end > term:
        end = term
    if end > months:
        end = months
    if by_value and end > 0:
        value[end] = a[end]
        for t in range(end, 0, -1):
            value[t - 1] = p.terms[k, DISCOUNT_FACTOR] * (
                value[t] + (a[t - 1] - a[t]) + (due[t - 1] if due != NULL else a[t - 1] * (note / 12)))
    excess = note - p.terms[k, DISCOUNT_RATE]
    for t in range(begin, months + 1):
        if a[t - o] <= 0:
            continue
        owed = a[t - o] * share[t]
        if maintained[t] != 0 and t - o < end:
            left = end - t + o
            lost = value[t - o] - a[t - o] if by_value else a[t - o] * (excess * p.worth[k, left])
            if lost > owed:
                owed = lost
        if interest[t] != 0:
            if note == note:
                owed = owed + interest[t] * (a[t - o] * (note / 12))
            elif a[t - 1] > 0:
                owed = owed + interest[t] * (a[t - o] * (due[t - 1] / a[t - 1]))
        whole[t] += owed + amount[t]
        each[t] += charge[t]


cdef void run_penalties(Penalties p, const Source *source, long first, long vectors, bint opening, long months,
                        PenaltyWork *w, long n, double *owed) noexcept nogil:
    """Adds to OUT owed, rows of n, the penalties of a run. first: its place in the lanes of p."""
    cdef long v, i, lane
    cdef bint some
    for v in range(vectors):
        some = False
        for i in range(LANES):
            some = some or p.lanes[LANE_PENALTY, first + v * LANES + i] >= 0
        if not some:
            continue
        lanes_of(source, v, months, w.lanes, w.dues, NULL, n, w.scratch)
        for i in range(LANES):
            lane = first + v * LANES + i
            if p.lanes[LANE_PENALTY, lane] >= 0:
                add_penalty(p, lane, w.lanes + i * n, w.dues + i * n if source.forward else NULL, opening, months,
                            w.value, owed + OWED_WHOLE * n, owed + OWED_EACH * n)


cdef void emit_penalty(Contract c, Behaviour b, long months, double *out) noexcept nogil:
    """OUT the penalties paid, for what prepays by behaviour."""
    cdef long t
    if out == NULL:
        return
    if c.penalties == NULL:
        memset(out, 0, months * sizeof(double))
        return
    for t in range(1, months + 1):
        out[t - 1] = c.penalties[OWED_WHOLE * c.stride + t] * b.prepaid[t]
        if b.prepaid[t] > NO_PREPAYMENT * b.alive[t - 1]:
            out[t - 1] += c.penalties[OWED_EACH * c.stride + t]

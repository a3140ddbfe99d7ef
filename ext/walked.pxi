"""Contract sums of a run by either walk, backward for plain loans and forward for stepped ones. Part of _core.pyx."""

cdef extern from "stepped.h" nogil:
    enum: ROW_FEE
    enum: STEPPED_ROWS
    ctypedef struct stepped_run:
        const double *row[STEPPED_ROWS]
        long step[STEPPED_ROWS]
        long stride
        long vectors
        const double *index
        long index_width
        long past
        const double *schedules
        const double *op_month
        const double *op_value
        const int *op
        const double *asset
        const double *drawn
        const int *payments_begin
        long calendar_width
        const double *years_due
        const double *curtail
        const double *month
    void stepped_sums(const stepped_run *run, long months, double severity, long lag, double *balance,
                      double *interest, double *fees, double *capped, double *ring, double *flows,
                      long stride) noexcept
    void stepped_lanes(const stepped_run *run, long vector, long months, double *lanes, double *dues, double *flows,
                       long stride, double *scratch) noexcept
    enum: ASSET_ROWS
    enum: FLOW_DRAW
    enum: FLOW_INCOME
    enum: FLOW_SHORTFALL
    enum: FLOW_RESIDUAL
    enum: FLOW_CURTAILED
    enum: FLOWS
    enum: STEPPED

# In the order of the enums of stepped.h.
STEPPED_NAMES = (
    "balance", "rate", "fee", "payment", "compound", "pays", "last", "amortized", "interest_only", "steady", "index",
    "next_reset", "reset_every", "look_back", "margin", "first_cap", "first_floor", "cap", "floor", "life_cap",
    "life_floor", "rounding", "up", "down", "recast_on_reset", "next_recast", "recast_every", "next_full", "full_every",
    "payment_cap", "limit", "schedule", "program", "calendar", "period",
)
OPERATIONS = ("rate", "amortize", "hold", "base", "resume", "close", "first", "grow", "level", "end")
ASSET_NAMES = (
    "revolves", "pay_rate", "draw_rate", "target", "credit", "interchange", "charge", "discount", "dilution", "residual",
)
FLOW_KINDS = FLOWS
assert len(STEPPED_NAMES) == STEPPED_ROWS
assert len(ASSET_NAMES) == ASSET_ROWS

# How a run is walked: column RUN_WALK modulo WALKS. What is left, divided by WALKS, is where in `rates` the months in
# which its loans pay are told, 0 for every month (behaviour.pxi).
cdef enum:
    WALK_BACK, WALK_FORWARD, WALK_ON_INDEX, WALKS = 4

WALKS_A_PATTERN = WALKS


cdef struct Source:
    # the vectors of a run, in the form of its walk
    bint forward
    contract_run plain
    stepped_run stepped


cdef void sums(const Source *run, long months, double severity, long lag, double *balance, double *interest,
               double *fees, double *capped, double *ring, double *flows, long stride) noexcept nogil:
    """OUT the contract sums of a run, zeroed by the caller; as contract_sums of contract.h.

    flows: OUT what assets add, FLOWS rows `stride` apart, or NULL.
    """
    if run.forward:
        stepped_sums(&run.stepped, months, severity, lag, balance, interest, fees, capped, ring, flows, stride)
    else:
        contract_sums(&run.plain, months, severity, lag, balance, interest, fees, capped, ring)


cdef struct Tables:
    # a stepped run without its place, the index values of each set, and the set of each scenario
    stepped_run run
    const double *index
    long sets
    long set_size
    const long *set_of
    # where in the rates the curtailments of each set begin for each set of assumptions (0 for none), and their strides
    bint curtails
    long assumed
    const long *curtail_at
    const long *curtail_stride


cdef class Walked:
    """What all stepped runs of a chunk read: rows in lanes, programs, schedules, and index values by set.

    rows: STEPPED_ROWS arrays of float64, a value a lane or one vector for all. asset: float64 (rows, lanes) of what is no
    term loan, or (rows, 0). payments_begin: int32 (calendars, months + 1), years_due: float64, by payment. index: float64
    (sets, indices, months), `past` of them before the cut-off. set_of: int64 (scenarios,), the set of each. curtail_at,
    curtail_stride: int64 (sets, sets of assumptions) or (sets, 0), where loans keep their payment when they pay down more.
    """
    cdef list rows
    cdef const double *row[STEPPED_ROWS]
    cdef long step[STEPPED_ROWS]
    cdef const double[:, :, ::1] index
    cdef const long[::1] set_of
    cdef long past
    cdef const double[::1] shares
    cdef const double[::1] month
    cdef const double[::1] value
    cdef const int[::1] op
    cdef const double[:, ::1] asset
    cdef const double[::1] drawn
    cdef const int[:, ::1] payments_begin
    cdef const double[::1] years_due
    cdef const long[:, ::1] curtail_at
    cdef const long[:, ::1] curtail_stride

    def __init__(self, rows, index, set_of, past, shares, month, op, value, asset, drawn, payments_begin,
                 years_due, curtail_at, curtail_stride):
        cdef const double[::1] row
        cdef int i
        self.rows, self.index, self.set_of, self.past = rows, index, set_of, past
        for i in range(STEPPED_ROWS):
            row = rows[i]
            self.row[i] = &row[0]
            self.step[i] = LANES if row.shape[0] > LANES else 0
        self.shares, self.month, self.op, self.value = shares, month, op, value
        self.asset, self.drawn = asset, drawn
        self.payments_begin, self.years_due = payments_begin, years_due
        self.curtail_at, self.curtail_stride = curtail_at, curtail_stride

    cdef Tables tables(self):
        cdef Tables out
        cdef int i
        for i in range(STEPPED_ROWS):
            out.run.row[i], out.run.step[i] = self.row[i], self.step[i]
        out.run.stride = self.asset.shape[1]
        out.run.vectors = 0
        out.run.index = NULL
        out.run.index_width = self.index.shape[2]
        out.run.past = self.past
        out.run.schedules = &self.shares[0]
        out.run.op_month = &self.month[0]
        out.run.op_value = &self.value[0]
        out.run.op = &self.op[0]
        out.run.asset = &self.asset[0, 0] if self.asset.shape[1] else NULL
        out.run.drawn = &self.drawn[0]
        out.run.payments_begin = &self.payments_begin[0, 0]
        out.run.calendar_width = self.payments_begin.shape[1]
        out.run.years_due = &self.years_due[0]
        out.run.curtail = out.run.month = NULL
        out.assumed = self.curtail_at.shape[1]
        out.curtails = out.assumed > 0
        out.curtail_at = &self.curtail_at[0, 0] if out.curtails else NULL
        out.curtail_stride = &self.curtail_stride[0, 0] if out.curtails else NULL
        out.index = &self.index[0, 0, 0]
        out.sets = self.index.shape[0]
        out.set_size = self.index.shape[1] * self.index.shape[2]
        out.set_of = &self.set_of[0]
        return out


cdef long point(Source *source, const double[:, ::1] loans, const Tables *tables, const long *row) noexcept nogil:
    """OUT source: the vectors of the run that `row` describes. Returns how many sets of index values it is walked on."""
    cdef int i
    source.forward = row[RUN_WALK] % WALKS != WALK_BACK
    if not source.forward:
        lane_pointers(&source.plain, &loans[0, 0] + row[RUN_FIRST], loans.shape[1], row[RUN_VECTORS])
        return 1
    source.stepped = tables.run
    for i in range(STEPPED_ROWS):
        if tables.run.step[i]:
            source.stepped.row[i] = tables.run.row[i] + row[RUN_FIRST]
    if tables.run.asset != NULL:
        source.stepped.asset = tables.run.asset + row[RUN_FIRST]
    source.stepped.vectors = row[RUN_VECTORS]
    source.stepped.index = tables.index
    return tables.sets if row[RUN_WALK] % WALKS == WALK_ON_INDEX else 1


cdef void in_set(Source *source, const Tables *tables, const long *row, const double *rates, long g) noexcept nogil:
    """Has OUT source, the run that `row` describes, read the index values and curtailments of set g. rates: of all curves."""
    cdef long at
    if not source.forward:
        return
    source.stepped.index = tables.index + g * tables.set_size
    if not tables.curtails:
        return
    at = tables.curtail_at[g * tables.assumed + row[RUN_SET]]
    source.stepped.curtail = NULL
    if at > 0:
        source.stepped.curtail = rates + at + row[RUN_AGE] * tables.curtail_stride[g * tables.assumed + row[RUN_SET]]
    source.stepped.month = rates + row[RUN_WALK] // WALKS if row[RUN_WALK] >= WALKS else NULL


cdef void lanes_of(const Source *source, long vector, long months, double *lanes, double *dues, double *flows, long stride,
                   double *scratch) noexcept nogil:
    """OUT the balances of one vector lane by lane, and the interest due of stepped loans. scratch: months + 1 to spare.

    flows: OUT what assets add, FLOWS rows a lane, zeroed by the caller, or NULL.
    """
    if source.forward:
        stepped_lanes(&source.stepped, vector, months, lanes, dues, flows, stride, scratch)
    else:
        contract_lanes(&source.plain, vector, months, lanes, stride)


cdef double lane_fee(const Source *source, long lane) noexcept nogil:
    """A month's servicing fee on a unit of the lane's balance."""
    if not source.forward:
        return source.plain.fee[lane]
    return source.stepped.row[ROW_FEE][lane if source.stepped.step[ROW_FEE] else lane % LANES]


def place(const double[:] column, const long[:] order, const long[:] place, double[::1] out):
    """Sets OUT out[place[j]] = column[order[j]]."""
    cdef Py_ssize_t j
    with nogil:
        for j in range(order.shape[0]):
            out[place[j]] = column[order[j]]

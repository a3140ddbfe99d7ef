/* Contract sums of loans whose rate or payment changes on the way: walked forward, eight loans to a vector.
 *
 * Fills the sums of contract.h: a(t), the balance, and i(t), the interest due, of a borrower who neither prepays nor
 * defaults; interest[t - 1] is what falls due in month t. What behaviour does to them is the same for both walks.
 *
 * A month is a' = max(a + compound x r a - payment, 0): compound is 1 where the payment includes the interest (level
 * pay), 0 where it comes on top (linear, bullet, interest-only). All else happens at events, between months, at time
 * s = 0, 1, ..: resets of the rate, recasts of the payment, maturity, and the operations of a loan's program. A block
 * of vectors runs without a test until the first event of any of them.
 *
 * Forward, the rounding of a month grows by (1 + r) each month after. A payment that follows from the balance is
 * therefore computed anew every REFRESH months at the latest, which changes nothing but the rounding; so errors grow
 * over REFRESH months only. A payment that was stated, capped or left as it was when the rate changed is walked as
 * it stands: there the error is about (1 + r)^t ulps of the opening balance, r the rate of a month.
 *
 * Loans that pay on other dates than once a month have a calendar: for each payment the years whose interest falls due
 * with it, in the month that it falls into. Their months are walked payment by payment, and payments are recast to the
 * payments left, not to the months.
 *
 * How to add to it. What a loan does at known months (a draw, a penalty, a status that ends): an operation, that is a
 * number in the enum below, a case in `operate`, and its entries in engine/contracts.py. What follows from
 * the state or from a path at regular times: a row in the enum of rows, a part of `events`, and its
 * column in engine/contracts.py; and whatever `only_resets` (resets.h) must then refuse, since blocks of which it holds have
 * a walk of their own that knows of nothing else. What takes part in every month: a flag of stepped_block, as schedules
 * are, and a condition beside `only_resets` in stepped_sums.
 */
#ifndef CASHFLOW_STEPPED_H
#define CASHFLOW_STEPPED_H
#include <math.h>
#include "contract.h"

#define STEPPED 16    /* vectors a block */
#define REFRESH 24    /* months after which a payment is computed anew */
#define ALL_DUE 1e300 /* a payment that no balance survives */
#define FUZZ 1e-9     /* of a rounding increment: an index and a margin on the grid stay on it */
#define INLINE static inline __attribute__((always_inline))

/* Rows of a loan, doubles; engine/contracts.py names them in this order. Months count from the cut-off. */
enum {
    ROW_BALANCE, ROW_RATE, ROW_FEE, ROW_PAYMENT, ROW_COMPOUND, ROW_PAYS, ROW_LAST, ROW_AMORTIZED, ROW_INTEREST_ONLY,
    ROW_STEADY, ROW_INDEX, ROW_NEXT_RESET, ROW_RESET_EVERY, ROW_LOOK_BACK, ROW_MARGIN, ROW_FIRST_CAP, ROW_FIRST_FLOOR,
    ROW_CAP, ROW_FLOOR, ROW_LIFE_CAP, ROW_LIFE_FLOOR, ROW_ROUNDING, ROW_UP, ROW_DOWN, ROW_RECAST_ON_RESET,
    ROW_NEXT_RECAST, ROW_RECAST_EVERY, ROW_NEXT_FULL, ROW_FULL_EVERY, ROW_PAYMENT_CAP, ROW_LIMIT, ROW_SCHEDULE,
    ROW_PROGRAM, ROW_CALENDAR, ROW_PERIOD, STEPPED_ROWS
};

/* Operations of a program: (month, operation, value), in order; the last is OP_END. */
enum { OP_RATE, OP_AMORTIZE, OP_HOLD, OP_BASE, OP_RESUME, OP_CLOSE, OP_FIRST, OP_GROW, OP_LEVEL, OP_END };
/* The value of OP_HOLD: what becomes of the interest of months without a payment. Accrued interest is simple: it is
 * added to the balance and bears none itself until payments resume. */
enum { HOLD_NONE, HOLD_CAPITALIZED, HOLD_FORGIVEN, HOLD_PAID, HOLD_ACCRUED };

/* Rows of what is no term loan, beside those above; engine/walks.py names them in this order. REVOLVES: OPEN while money
 * is drawn, REPAYING while the balance falls by its payment rate, else the payment says. Draws: DRAW_RATE of the balance,
 * or as much as fills it up to TARGET, within CREDIT. INTERCHANGE: income, of draws; CHARGE: of the balance, a month.
 * DISCOUNT, DILUTION: interest and shortfall, of the principal repaid. RESIDUAL: part of the last payment. */
enum {
    ASSET_REVOLVES, ASSET_PAY_RATE, ASSET_DRAW_RATE, ASSET_TARGET, ASSET_CREDIT, ASSET_INTERCHANGE, ASSET_CHARGE,
    ASSET_DISCOUNT, ASSET_DILUTION, ASSET_RESIDUAL, ASSET_ROWS
};
enum { REVOLVES_NOT, OPEN, REPAYING };
/* What such assets add to the sums, by month: money drawn, other income, principal that falls short, and residuals due;
 * and of loans whose borrowers pay down more than is due and keep their payment, what they pay down. */
enum { FLOW_DRAW, FLOW_INCOME, FLOW_SHORTFALL, FLOW_RESIDUAL, FLOW_CURTAILED, FLOWS };
#define LOCKED_MONTH 2 /* LOCKED of behaviour.pxi */

typedef struct {
    /* IN each row of STEPPED_ROWS, `vectors` x LANES doubles with a step of LANES, or one vector for all with a step of 0 */
    const double *row[STEPPED_ROWS];
    long step[STEPPED_ROWS];
    long stride, vectors; /* stride: between the rows of `asset` */
    /* annual index values, index_width months a row; `past` months come before the cut-off */
    const double *index;
    long index_width, past;
    /* shares of the opening balance by month, rows back to back */
    const double *schedules;
    const double *op_month, *op_value;
    const int *op;
    /* IN rows of ASSET_ROWS, `stride` apart, NULL where all are term loans; shares drawn by month, beside schedules */
    const double *asset;
    const double *drawn;
    /* calendars, calendar_width months a row: entry t is where the payments of month t + 1 begin in years_due */
    const int *payments_begin;
    long calendar_width;
    const double *years_due;
    /* the share of what is left that is paid down beyond the schedule, by month from 0, or NULL; and what each month is to
     * the run (behaviour.pxi), NULL where all are alike */
    const double *curtail, *month;
} stepped_run;

typedef int ints __attribute__((vector_size(32), aligned(4)));

/* Which lanes of a vector that owe anything have calendars: none, all the same one, all of them, some. */
enum { NO_DATES, ONE_CALENDAR, DATED, SOME_DATED };

typedef struct {
    double first_end; /* the earliest maturity of the block */
    int rounds;       /* whether any of its rates is rounded */
    vec next_op[STEPPED]; /* the month of the next operation of the program */
    vec a[STEPPED], r[STEPPED], payment[STEPPED], compound[STEPPED], fee[STEPPED], limit[STEPPED], scheduled[STEPPED];
    vec rate[STEPPED], contract[STEPPED]; /* the annual rate, and the payment when nothing holds it back */
    vec interest_only[STEPPED], hold[STEPPED], unset[STEPPED], steady[STEPPED], computed[STEPPED];
    vec revolves[STEPPED], principal[STEPPED]; /* see ASSET_REVOLVES; what bears simple interest */
    vec next_reset[STEPPED], next_recast[STEPPED], next_full[STEPPED], refresh[STEPPED], program[STEPPED];
    double due[STEPPED];
    const int *payments[STEPPED][LANES]; /* the calendar of each lane */
    ints at[STEPPED];                    /* the next payment of each, of the first alone where they share a calendar */
    int dates[STEPPED];
} walk;

#define ROW(NAME) (*(const vec *)(run->row[NAME] + run->step[NAME] * (first + i)))
#define ASSET(NAME) (((const vec *)(run->asset + (NAME) * run->stride))[first + i])

INLINE vec at_least(vec x, vec low) { return choose(x < low, low, x); }
INLINE vec at_most(vec x, vec high) { return choose(x > high, high, x); }

/* The largest whole number not above x; |x| < 2^62. */
INLINE vec floor_of(vec x) {
    vec whole = __builtin_convertvector(__builtin_convertvector(x, mask), vec);
    return choose(whole > x, whole - 1.0, whole);
}

/* Lanes that ever owe anything; what is no term loan may yet be drawn. */
INLINE mask may_owe(const stepped_run *run, long first, long i) {
    const mask every = ~(mask){0}, holds = ROW(ROW_BALANCE) != 0.0;
    return run->asset ? every : holds;
}

#include "dated.h"

/* The index that each lane of `reset` reads at s; whatever in the others. plain: all read one at one time. */
INLINE vec index_read(const stepped_run *run, long first, long i, mask reset, int plain, double s) {
    const vec index = ROW(ROW_INDEX), back = ROW(ROW_LOOK_BACK);
    vec q = {0};
    if (plain || !any((index != index[0]) | (back != back[0])))
        return q + run->index[(long)index[0] * run->index_width + run->past + (long)(s - back[0])];
    for (int j = 0; j < LANES; j++)
        if (reset[j]) q[j] = run->index[(long)index[j] * run->index_width + run->past + (long)(s - back[j])];
    return q;
}

/* The annual rates of vector i after a reset, from what they were: index, margin, rounding, then caps and floors, those of
 * the first reset where it is that. rounds: whether any rate of the block is rounded. */
INLINE vec reset_rate(const stepped_run *run, long first, long i, vec index, vec rate, mask is_first, int rounds) {
    vec q = index + ROW(ROW_MARGIN), grid = ROW(ROW_ROUNDING), cap = ROW(ROW_CAP), floor = ROW(ROW_FLOOR);
    mask rounded = grid > 0.0;
    if (rounds && any(rounded)) {
        vec up = ROW(ROW_UP), down = ROW(ROW_DOWN), steps = q / choose(rounded, grid, (vec){0} + 1.0);
        vec nearest = steps + choose(down > 0.0, (vec){0}, (vec){0} + 0.5) + FUZZ;
        q = choose(rounded, choose(up > 0.0, -floor_of(FUZZ - steps), floor_of(nearest)) * grid, q);
    }
    cap = choose(is_first, ROW(ROW_FIRST_CAP), cap);
    floor = choose(is_first, ROW(ROW_FIRST_FLOOR), floor);
    q = at_least(at_most(q, rate + cap), rate - floor);
    return at_most(at_least(q, ROW(ROW_LIFE_FLOOR)), ROW(ROW_LIFE_CAP));
}

#include "resets.h"

/* Payments that are to be recast: of which vectors, which lanes, and what the level payment follows from. */
typedef struct {
    long count, vector[STEPPED];
    mask which[STEPPED], capped[STEPPED];
    vec r[STEPPED], left[STEPPED];
} recasts;

/* Adds lanes of vector i to what is to be recast; those of `capped` move by their payment cap at most. */
INLINE void ask(const stepped_run *run, const walk *w, recasts *todo, long first, long i, mask which, mask capped,
                int plain, double s) {
    const vec a_year = ROW(ROW_COMPOUND) * w->rate[i];
    const long at = todo->count++;
    todo->vector[at] = i;
    todo->which[at] = which;
    todo->capped[at] = capped;
    todo->r[at] = plain ? a_year / 12.0 : choose(ROW(ROW_CALENDAR) >= 0.0, a_year * ROW(ROW_PERIOD), a_year / 12.0);
    todo->left[at] = at_least(plain ? ROW(ROW_AMORTIZED) - s : payments_left(run, first, i, s), (vec){0} + 1.0);
}

/* Recasts the contract's payments to what repays the balances by the end of the amortization. */
INLINE void recast(const stepped_run *run, walk *w, const recasts *todo, long first, int plain, double s) {
    vec level[STEPPED];
    all_level_payments(w->a, todo->vector, todo->r, todo->left, todo->count, level);
    for (long at = 0; at < todo->count; at++) {
        const long i = todo->vector[at];
        const mask which = todo->which[at], capped = todo->capped[at];
        const vec cap = ROW(ROW_PAYMENT_CAP), old = w->contract[i];
        vec fresh = ROW(ROW_PAYS) * level[at];
        mask bound = capped & (cap < INFINITY);
        if (!plain && any(bound)) {
            vec finite = choose(cap < INFINITY, cap, (vec){0});
            fresh = choose(bound, at_most(at_least(fresh, old * (1.0 - finite)), old * (1.0 + finite)), fresh);
        }
        w->contract[i] = choose(which, fresh, old);
        w->computed[i] = choose(which, (vec){0} + 1.0, w->computed[i]);
        vec later = choose(w->steady[i] > 0.0, (vec){0} + (s + REFRESH), (vec){0} + INFINITY);
        w->refresh[i] = choose(which, later, w->refresh[i]);
    }
}

/* Runs the operations of lane j that fall at s. Returns whether its payment is to be recast without a cap; sets
 * *follows where it is to be recast as at a reset. */
INLINE int operate(const stepped_run *run, walk *w, long first, long i, int j, double s, int *follows) {
    long at = (long)w->program[i][j];
    int full = 0;
    const int computed = w->computed[i][j] > 0; /* a stated payment stays until something else recasts it */
    for (; run->op_month[at] == s; at++) {
        const double value = run->op_value[at];
        switch (run->op[at]) {
        case OP_RATE: w->rate[i][j] = value; *follows = ROW(ROW_RECAST_ON_RESET)[j] > 0; break;
        case OP_AMORTIZE: w->interest_only[i][j] = 0; full |= computed; break;
        case OP_HOLD:
            if (value == HOLD_ACCRUED && w->hold[i][j] != HOLD_ACCRUED) w->principal[i][j] = w->a[i][j];
            w->hold[i][j] = value;
            break;
        case OP_BASE: w->principal[i][j] = w->a[i][j] * value; break;
        case OP_RESUME: w->hold[i][j] = HOLD_NONE; full |= computed; break;
        case OP_CLOSE: w->revolves[i][j] = value; full |= value == REVOLVES_NOT; break;
        case OP_FIRST: w->contract[i][j] = w->a[i][j] * value; w->computed[i][j] = full = 0; break;
        case OP_GROW: w->contract[i][j] *= 1 + value; break;
        case OP_LEVEL: w->steady[i][j] = 1; full = 1; break;
        }
    }
    w->program[i][j] = (double)at;
    w->next_op[i][j] = run->op_month[at];
    return full;
}

/* Sets what a month reads from the state: rate of the month, payment and compounding, with what holds them back. */
INLINE void settle(const stepped_run *run, walk *w, long first, long i, int plain, double s) {
    const vec zero = {0}, one = zero + 1.0, never = zero + INFINITY, hold = w->hold[i];
    mask held = hold > 0.0, waits = held | (w->interest_only[i] > 0.0), ends = ROW(ROW_LAST) == s;
    w->compound[i] = ROW(ROW_COMPOUND);
    w->r[i] = plain ? w->rate[i] / 12.0 : choose(ROW(ROW_CALENDAR) >= 0.0, w->rate[i], w->rate[i] / 12.0);
    w->payment[i] = w->contract[i];
    if (!plain && any(waits)) {
        vec compound = choose(w->interest_only[i] > 0.0, zero, w->compound[i]);
        mask accrues = hold == (double)HOLD_ACCRUED;
        w->compound[i] = choose((hold == (double)HOLD_CAPITALIZED) | accrues, one, choose(held, zero, compound));
        vec simple = w->r[i] * w->principal[i] / choose(w->a[i] > 0.0, w->a[i], one);
        w->r[i] = choose(accrues, simple, choose(hold == (double)HOLD_FORGIVEN, zero, w->r[i]));
        w->payment[i] = choose(waits, zero, w->payment[i]);
    }
    if (s >= w->first_end && any(ends)) {
        w->payment[i] = choose(ends, zero + ALL_DUE, w->payment[i]);
        w->scheduled[i] = choose(ends, zero - 1.0, w->scheduled[i]);
        w->revolves[i] = choose(ends, zero, w->revolves[i]);
        w->limit[i] = choose(ends, never, w->limit[i]);
        w->next_reset[i] = choose(ends, never, w->next_reset[i]);
        w->next_recast[i] = choose(ends, never, w->next_recast[i]);
        w->next_full[i] = choose(ends, never, w->next_full[i]);
        w->refresh[i] = choose(ends, never, w->refresh[i]);
    }
}

/* The first time after s at which anything happens to a lane of vector i. */
INLINE double next_due(const stepped_run *run, const walk *w, long first, long i, int plain, double s) {
    const vec last = ROW(ROW_LAST);
    vec due = at_most(w->next_reset[i], w->refresh[i]);
    if (!plain) due = at_most(due, at_most(w->next_recast[i], w->next_full[i]));
    mask accrues = w->hold[i] == (double)HOLD_ACCRUED; /* their interest is another share of the balance each month */
    if (!plain) due = at_most(choose(accrues, at_most(due, (vec){0} + (s + 1.0)), due), w->next_op[i]);
    due = at_most(due, choose(last > s, last, (vec){0} + INFINITY));
    due = at_most(due, __builtin_shuffle(due, (mask){4, 5, 6, 7, 0, 1, 2, 3}));
    due = at_most(due, __builtin_shuffle(due, (mask){2, 3, 0, 1, 6, 7, 4, 5}));
    return due[0] < due[1] ? due[0] : due[1];
}

/* What happens to vector i at time s, before month s + 1, up to the payments that it asks to be recast. */
INLINE void event(const stepped_run *run, walk *w, recasts *todo, long first, long i, int plain, double s) {
    mask full = {0}, follows = {0}, reset = w->next_reset[i] == s;
    if (!plain && any(w->next_op[i] == s))
        for (int j = 0; j < LANES; j++) {
            if (w->next_op[i][j] != s) continue;
            int as_reset = 0;
            full[j] = -(long long)operate(run, w, first, i, j, s, &as_reset);
            follows[j] = -(long long)as_reset;
        }
    if (any(reset)) {
        const vec index = index_read(run, first, i, reset, plain, s);
        vec rate = reset_rate(run, first, i, index, w->rate[i], w->unset[i] > 0.0, w->rounds);
        w->rate[i] = choose(reset, rate, w->rate[i]);
        w->unset[i] = choose(reset, (vec){0}, w->unset[i]);
        w->next_reset[i] = choose(reset, w->next_reset[i] + ROW(ROW_RESET_EVERY), w->next_reset[i]);
        follows |= plain ? reset : reset & (ROW(ROW_RECAST_ON_RESET) > 0.0);
    }
    mask regular = w->next_recast[i] == s, whole = w->next_full[i] == s;
    if (plain) regular = whole = (mask){0};
    if (!plain && any(regular | whole)) {
        w->next_recast[i] = choose(regular, w->next_recast[i] + ROW(ROW_RECAST_EVERY), w->next_recast[i]);
        w->next_full[i] = choose(whole, w->next_full[i] + ROW(ROW_FULL_EVERY), w->next_full[i]);
    }
    full |= whole | (w->refresh[i] == s);
    if (s == 0.0) full |= w->contract[i] != w->contract[i];
    mask capped = (follows | regular) & ~full;
    if (any(full | capped)) ask(run, w, todo, first, i, full | capped, capped, plain, s);
}

/* What happens to the vectors of a block that are due at time s, all their payments recast together: one alone waits for
 * each step of its level payment. Returns when the next of them is due. */
INLINE double events(const stepped_run *run, walk *w, long first, long vectors, int plain, double s) {
    recasts todo;
    long due[STEPPED], count = 0;
    double next = INFINITY;
    todo.count = 0;
    for (long i = 0; i < vectors; i++) {
        if (w->due[i] > s) {
            if (w->due[i] < next) next = w->due[i];
            continue;
        }
        event(run, w, &todo, first, i, plain, s);
        due[count++] = i;
    }
    recast(run, w, &todo, first, plain, s);
    for (long k = 0; k < count; k++) {
        const long i = due[k];
        settle(run, w, first, i, plain, s);
        w->due[i] = next_due(run, w, first, i, plain, s);
        if (w->due[i] < next) next = w->due[i];
    }
    return next;
}

/* Called, not inlined: they are rare and long. The second is for blocks of which only_resets holds. */
SIMD static __attribute__((noinline)) double any_events(const stepped_run *run, walk *w, long first, long vectors, double s) {
    return events(run, w, first, vectors, 0, s);
}

SIMD static __attribute__((noinline)) double resets(const stepped_run *run, walk *w, long first, long vectors, double s) {
    return events(run, w, first, vectors, 1, s);
}

/* Recasts the lanes whose balance would pass its limit in the month after s. */
SIMD static __attribute__((noinline)) void pass_limit(const stepped_run *run, walk *w, long first, long i,
                                                      const mask *over, double s) {
    recasts todo;
    todo.count = 0;
    ask(run, w, &todo, first, i, *over, (mask){0}, 0, s);
    recast(run, w, &todo, first, 0, s);
    settle(run, w, first, i, 0, s);
    w->due[i] = next_due(run, w, first, i, 0, s);
}

INLINE void begin(const stepped_run *run, walk *w, long first, long i) {
    const vec zero = {0};
    w->a[i] = ROW(ROW_BALANCE);
    w->fee[i] = ROW(ROW_FEE);
    w->limit[i] = ROW(ROW_LIMIT);
    w->scheduled[i] = ROW(ROW_SCHEDULE);
    w->rate[i] = ROW(ROW_RATE);
    w->contract[i] = ROW(ROW_PAYMENT);
    w->computed[i] = zero;
    w->interest_only[i] = ROW(ROW_INTEREST_ONLY);
    w->hold[i] = zero;
    w->unset[i] = zero + 1.0;
    w->steady[i] = ROW(ROW_STEADY);
    w->next_reset[i] = ROW(ROW_NEXT_RESET);
    w->next_recast[i] = ROW(ROW_NEXT_RECAST);
    w->next_full[i] = ROW(ROW_NEXT_FULL);
    w->refresh[i] = zero + INFINITY;
    w->program[i] = ROW(ROW_PROGRAM);
    for (int j = 0; j < LANES; j++) w->next_op[i][j] = run->op_month[(long)w->program[i][j]];
    w->revolves[i] = run->asset ? ASSET(ASSET_REVOLVES) : zero;
    w->principal[i] = zero;
    w->due[i] = 0;
}

/* Balances after month t of the lanes that follow a schedule, the others as in `next`. */
INLINE vec on_schedule(const stepped_run *run, const walk *w, long first, long i, vec next, long t) {
    for (int j = 0; j < LANES; j++)
        if (w->scheduled[i][j] >= 0) next[j] = ROW(ROW_BALANCE)[j] * run->schedules[(long)w->scheduled[i][j] + t];
    return next;
}

/* What is no term loan does in month t after s: OUT flow[FLOWS]. Returns the balance after it, from `next`, what a term
 * loan would owe; adds discounts earned to *accrued. */
INLINE vec asset_month(const stepped_run *run, const walk *w, long first, long i, double s, long t, vec next,
                       vec *accrued, vec *flow) {
    const vec zero = {0}, a = w->a[i], state = w->revolves[i], owed = a + *accrued;
    vec left = a - ASSET(ASSET_PAY_RATE) * a;
    vec drawn = at_least(at_least(ASSET(ASSET_DRAW_RATE) * a, ASSET(ASSET_TARGET) - left), zero);
    drawn = at_most(drawn, at_least(ASSET(ASSET_CREDIT) - left, zero));
    drawn = choose(state == (double)OPEN, drawn, zero);
    next = at_least(choose(state > 0.0, left + drawn, next), zero);
    for (int j = 0; j < LANES; j++)
        if (w->scheduled[i][j] >= 0) drawn[j] += ROW(ROW_BALANCE)[j] * run->drawn[(long)w->scheduled[i][j] + t];
    vec paid = at_least(a - next + drawn, zero);
    *accrued += ASSET(ASSET_DISCOUNT) * paid;
    flow[FLOW_DRAW] = drawn;
    flow[FLOW_INCOME] = ASSET(ASSET_INTERCHANGE) * drawn + ASSET(ASSET_CHARGE) * a;
    flow[FLOW_SHORTFALL] = ASSET(ASSET_DILUTION) * paid;
    flow[FLOW_RESIDUAL] = choose(ROW(ROW_LAST) == s, at_most(ASSET(ASSET_RESIDUAL), owed), zero);
    return next;
}

/* What is left after month t's curtailment; OUT flow[FLOW_CURTAILED]. The payment stays, so the loan ends sooner. */
INLINE vec curtailed(const stepped_run *run, vec next, long t, vec *flow) {
    const int locked = run->month && ((int)run->month[t] & LOCKED_MONTH);
    const double share = locked || !run->curtail ? 0 : run->curtail[t];
    next = at_least(next, (vec){0});
    flow[FLOW_CURTAILED] = share * next;
    return next - flow[FLOW_CURTAILED];
}

/* One block: adds sums of a(t), i(t) and fee a(t) to balance, interest and fees [0 .. months] (interest[t - 1] is due in
 * month t), and the capped loss min(severity a(t), a(t + lag)) to capped[t + lag + 1]. lanes, dues: OUT the balances
 * and the interest of a single vector lane by lane, rows `stride` apart, or NULL. flows: FLOWS rows of what assets add,
 * `stride` apart, or NULL; with lanes, FLOWS rows for each. ring: STEPPED x (lag + 1) vectors. */
INLINE void stepped_block(const stepped_run *run, long first, long vectors, long months, int with_limit,
                          int with_schedule, int with_calendar, int with_asset, int with_curtail, int with_loss,
                          double severity, long lag, double *balance,
                          double *interest, double *fees, double *capped, double *ring, double *lanes, double *dues,
                          double *flows, long stride) {
    walk state, *w = &state;
    vec *past = (vec *)ring;
    double due = 0;
    long slot = 0;
    vec sum = {0}, sum_fee = {0};
    if (with_loss) memset(ring, 0, sizeof(vec) * (size_t)(vectors * (lag + 1)));
    const int plain = only_resets(run, first, vectors);
    w->first_end = INFINITY;
    w->rounds = 0;
    for (long i = 0; i < vectors; i++) {
        begin(run, w, first, i);
        if (with_calendar) begin_calendar(run, w, first, i);
        w->rounds |= any(ROW(ROW_ROUNDING) > 0.0);
        for (int j = 0; j < LANES; j++) {
            const double last = ROW(ROW_LAST)[j];
            if (last >= 0 && last < w->first_end) w->first_end = last; /* an empty lane has no month */
        }
        sum += w->a[i];
        sum_fee += w->fee[i] * w->a[i];
    }
    balance[0] += fold(&sum);
    if (fees) fees[0] += fold(&sum_fee);
    if (lanes)
        for (int j = 0; j < LANES; j++) lanes[j * stride] = w->a[0][j];
    for (long t = 1; t <= months; t++) {
        vec sum_rate = {0}, sum_loss = {0}, flow[FLOWS] = {{0}}, sum_flow[FLOWS] = {{0}};
        sum = sum_fee = (vec){0};
        const double s = (double)(t - 1);
        if (due <= s) due = (plain ? resets : any_events)(run, w, first, vectors, s);
        if (with_loss) {
            const long old = slot + 1 > lag ? 0 : slot + 1; /* the slot written lag months before t - 1 */
            for (long i = 0; i < vectors; i++) {
                past[slot * vectors + i] = w->a[i];
                vec at_default = past[old * vectors + i] * severity, left = w->a[i];
                sum_loss += choose(at_default < left, at_default, left);
            }
            if (t > lag) capped[t] += fold(&sum_loss);
            slot = old;
        }
        for (long i = 0; i < vectors; i++) {
            vec accrued = w->r[i] * w->a[i], next = w->a[i] + w->compound[i] * accrued - w->payment[i];
            if (with_limit) {
                mask over = next > w->limit[i];
                if (any(over)) {
                    pass_limit(run, w, first, i, &over, s);
                    if (w->due[i] < due) due = w->due[i];
                    next = w->a[i] + w->compound[i] * accrued - w->payment[i];
                }
            }
            if (with_calendar) next = on_calendar(run, w, first, i, next, &accrued, t);
            if (with_schedule) next = on_schedule(run, w, first, i, next, t);
            if (with_asset) next = asset_month(run, w, first, i, s, t, next, &accrued, flow);
            if (with_curtail) next = curtailed(run, next, t, flow);
            if (with_asset || with_curtail)
                for (int f = 0; f < FLOWS; f++) sum_flow[f] += flow[f];
            w->a[i] = (vec)((mask)next & (next > 0.0));
            sum_rate += accrued;
            sum += w->a[i];
            sum_fee += w->fee[i] * w->a[i];
            if (lanes)
                for (int j = 0; j < LANES; j++) {
                    lanes[j * stride + t] = w->a[i][j];
                    dues[j * stride + t - 1] = accrued[j];
                    if ((with_asset || with_curtail) && flows)
                        for (int f = 0; f < FLOWS; f++) flows[(j * FLOWS + f) * stride + t] = flow[f][j];
                }
        }
        if ((with_asset || with_curtail) && flows && !lanes)
            for (int f = 0; f < FLOWS; f++) flows[f * stride + t] += fold(&sum_flow[f]);
        balance[t] += fold(&sum);
        if (interest) interest[t - 1] += fold(&sum_rate);
        if (fees) fees[t] += fold(&sum_fee);
    }
    if (dues)
        for (int j = 0; j < LANES; j++) dues[j * stride + months] = 0;
}

INLINE int needs_limit(const stepped_run *run, long first, long vectors) {
    for (long i = 0; i < vectors; i++)
        if (any(ROW(ROW_LIMIT) < INFINITY)) return 1;
    return 0;
}

INLINE int needs_schedule(const stepped_run *run, long first, long vectors) {
    for (long i = 0; i < vectors; i++)
        if (any(ROW(ROW_SCHEDULE) >= 0.0)) return 1;
    return 0;
}

INLINE int needs_asset(const stepped_run *run, long first, long vectors) {
    if (!run->asset) return 0;
    for (long row = 0; row < ASSET_ROWS; row++)
        for (long k = 0; k < vectors * LANES; k++)
            if (run->asset[row * run->stride + first * LANES + k] != 0) return 1;
    return run->drawn && needs_schedule(run, first, vectors);
}

/* Sums of a run, OUT arrays [0 .. months], zeroed by the caller; interest, fees, capped or flows may be NULL. flows:
 * FLOWS rows, `stride` apart. Blocks without limits, schedules, calendars and assets have a loop of their own. */
SIMD static void stepped_sums(const stepped_run *run, long months, double severity, long lag, double *balance,
                              double *interest, double *fees, double *capped, double *ring, double *flows,
                              long stride) {
    const int asset = run->asset != NULL, curtail = run->curtail != NULL;
    for (long first = 0, width; first < run->vectors; first += width) {
        const long left = run->vectors - first, wide = left < RESETTING ? left : RESETTING;
        if (!capped && !curtail && only_resets(run, first, wide) && within(run, ROW_LIMIT, first, wide, INFINITY, INFINITY) &&
            within(run, ROW_SCHEDULE, first, wide, -1, -1) && !needs_asset(run, first, wide)) {
            resets_block(run, first, wide, months, balance, interest, fees);
            width = wide;
            continue;
        }
        width = left < STEPPED ? left : STEPPED;
        const int rare = needs_limit(run, first, width) || needs_schedule(run, first, width) ||
                         needs_asset(run, first, width);
        const int dated = needs_calendar(run, first, width);
        if (capped)
            stepped_block(run, first, width, months, 1, 1, 1, asset, curtail, 1, severity, lag, balance, interest, fees,
                          capped, ring, NULL, NULL, flows, stride);
        else if (rare || (curtail && dated))
            stepped_block(run, first, width, months, 1, 1, 1, asset, curtail, 0, 0, 0, balance, interest, fees, NULL,
                          NULL, NULL, NULL, flows, stride);
        else if (curtail)
            stepped_block(run, first, width, months, 0, 0, 0, 0, 1, 0, 0, 0, balance, interest, fees, NULL, NULL, NULL,
                          NULL, flows, stride);
        else if (dated)
            stepped_block(run, first, width, months, 0, 0, 1, 0, 0, 0, 0, 0, balance, interest, fees, NULL, NULL, NULL,
                          NULL, NULL, 0);
        else if (width == STEPPED)
            stepped_block(run, first, STEPPED, months, 0, 0, 0, 0, 0, 0, 0, 0, balance, interest, fees, NULL, NULL, NULL,
                          NULL, NULL, 0);
        else
            stepped_block(run, first, width, months, 0, 0, 0, 0, 0, 0, 0, 0, balance, interest, fees, NULL, NULL, NULL,
                          NULL, NULL, 0);
    }
}

/* Balances and interest due of one vector of eight loans, lane by lane: OUT rows [LANES][stride], each [0 .. months].
 * flows: [LANES][FLOWS][stride], zeroed by the caller, or NULL. */
SIMD static void stepped_lanes(const stepped_run *run, long vector, long months, double *lanes, double *dues,
                               double *flows, long stride, double *scratch) {
    stepped_block(run, vector, 1, months, 1, 1, 1, run->asset != NULL, run->curtail != NULL, 0, 0, 0, scratch, NULL, NULL, NULL, NULL, lanes,
                  dues, flows, stride);
}
#endif

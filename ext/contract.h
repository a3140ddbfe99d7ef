/* Contract sums: what the loans of one run owe each month if nobody prepays or defaults, summed over the run.
 *
 * A fixed-rate loan's balance is a(t) S(t): a is the contract (this file), S the behaviour that all loans of a run
 * share (behaviour in _core.pyx). So one pass over the loans serves every scenario.
 *
 * The recursion runs backwards from the last month with a balance, a(t-1) = (a(t) + payment) / (1 + r): it only adds
 * positive numbers, so the relative error stays near one ulp a month, where the usual forward recursion loses
 * (1 + r)^t. Level pay, linear (payment = principal, factor 1) and bullet (payment 0, factor 1) are the same loop.
 *
 * Through the interest-only months the balance stays. At the cut-off it comes out as the opening one but for those
 * ulps; setting it would put their sum into the first principal.
 *
 * Loans sit in vectors of eight; the width is fixed, so every CPU and thread count gives the same bits. The
 * compiler lowers the vector to what the CPU has, chosen at load time by target_clones.
 */
#ifndef CASHFLOW_CONTRACT_H
#define CASHFLOW_CONTRACT_H
#include <string.h>

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__) && !defined(NO_DISPATCH)
#define SIMD __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define SIMD
#endif
#define SIMD_VOID SIMD void

#define LANES 8
#define BLOCK 48 /* vectors a block: its state (about 18 KB) stays in the first-level cache */
#define TOGETHER 4 /* vectors whose level payments are computed side by side */
#define RING 16  /* vectors a block when past months are kept for the loss cap */

typedef double vec __attribute__((vector_size(64), aligned(8)));
typedef double line __attribute__((vector_size(64), aligned(64))); /* as vec, in one line of the cache */
typedef long long mask __attribute__((vector_size(64), aligned(8)));

typedef struct {
    /* IN, each of `vectors` x LANES doubles; months as doubles so that one compare makes a lane mask */
    const double *payment, *factor, *rate, *fee, *tail, *last, *interest_only;
    long vectors;
} contract_run;

static inline __attribute__((always_inline)) double fold(const vec *v) {
    const double *x = (const double *)v;
    return ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
}

/* yes where the mask is set, no elsewhere; ?: on vectors is C++ only in older compilers. */
static inline __attribute__((always_inline)) vec choose(mask where, vec yes, vec no) {
    return (vec)(((mask)yes & where) | ((mask)no & ~where));
}

/* Lanes in which a is below b, by the sign of their difference, so of numbers that are not both the same infinity. Some
 * compilers take a comparison of eight lanes apart, lane by lane, where its result is not eight bits. */
static inline __attribute__((always_inline)) mask below(vec a, vec b) { return (mask)(a - b) >> 63; }

/* The bits that any lane has. */
static inline __attribute__((always_inline)) long long ones_of(mask m) {
    m |= __builtin_shuffle(m, (mask){4, 5, 6, 7, 0, 1, 2, 3});
    m |= __builtin_shuffle(m, (mask){2, 3, 0, 1, 6, 7, 4, 5});
    return m[0] | m[1];
}

static inline __attribute__((always_inline)) int any(mask m) { return ones_of(m) != 0; }

/* OUT the payments that repay a[at[k]] in n[k] months at r[k] a month, of count <= TOGETHER vectors side by side, so that none
 * waits for itself; count is a constant where it is called. (1 + r)^n - 1 by the bits of n: g(2k) = g(k)(2 + g(k)) and
 * g(k + 1) = g(k) + r(1 + g(k)) lose no digits however small r is, and what g loses where it is large the payment, a r (1 +
 * 1/g), does not see. */
static inline __attribute__((always_inline)) void level_payments(const vec *a, const long *at, const vec *r, const vec *n,
                                                                 const long count, vec *out) {
    vec g[TOGETHER];
    mask months[TOGETHER], most = {0}, differ = {0}, tiny = {0};
    for (long k = 0; k < count; k++) {
        g[k] = (vec){0};
        months[k] = (mask)(n[k] + 0x1p52); /* whole numbers below 2^52 are then the low bits */
        most |= months[k];
        differ |= months[k] ^ months[0][0];
        tiny |= below(r[k], (vec){0} + 1e-30);
    }
    const int same = !any(differ); /* as where loans that end together reset together */
    const long long bits = months[0][0], all = same ? bits : ones_of(most);
    for (int bit = 63 - __builtin_clzll((unsigned long long)((all & ((1LL << 52) - 1)) | 1)); bit >= 0; bit--) {
        const int odd = (bits >> bit) & 1;
        for (long k = 0; k < count; k++) {
            g[k] = g[k] * (2.0 + g[k]);
            if (!same) {
                vec one = (vec)((mask)r[k] & -((months[k] >> bit) & 1));
                g[k] = g[k] + (one + one * g[k]);
            } else if (odd) g[k] = g[k] + (r[k] + r[k] * g[k]);
        }
    }
    if (!any(tiny)) {
        for (long k = 0; k < count; k++) out[k] = a[at[k]] * (r[k] + r[k] / g[k]);
        return;
    }
    for (long k = 0; k < count; k++) {
        mask matters = r[k] > 1e-30;
        vec each = r[k] + r[k] / choose(matters, g[k], (vec){0} + 1.0);
        out[k] = choose(matters, a[at[k]] * each, a[at[k]] / n[k]);
    }
}

/* The same of any number of vectors. */
static inline __attribute__((always_inline)) void all_level_payments(const vec *a, const long *at, const vec *r, const vec *n,
                                                                     long count, vec *out) {
    long k = 0;
    for (; k + TOGETHER <= count; k += TOGETHER) level_payments(a, at + k, r + k, n + k, TOGETHER, out + k);
    for (; k + 2 <= count; k += 2) level_payments(a, at + k, r + k, n + k, 2, out + k);
    if (k < count) level_payments(a, at + k, r + k, n + k, 1, out + k);
}

static inline __attribute__((always_inline)) vec level_payment(vec a, vec r, vec n) {
    const long at = 0;
    vec out;
    level_payments(&a, &at, &r, &n, 1, &out);
    return out;
}

/* Terms of eight level-pay loans, one a lane: OUT the payment and the balance left before the last of the `months`
 * payments, of `over` that would repay it. */
SIMD static void level_terms(const double *balance, const double *rate, const double *over, const double *months,
                             double *payment, double *tail) {
    const vec one = (vec){0} + 1.0, r = *(const vec *)rate, n = *(const vec *)over;
    const vec left = n - *(const vec *)months + 1.0;
    const vec paid = level_payment(*(const vec *)balance, r, n);
    *(vec *)payment = paid;
    mask balloon = left != 1.0;
    vec owed = paid / (1.0 + r);
    if (any(balloon)) owed = choose(balloon, paid / level_payment(one, r, left), owed);
    *(vec *)tail = owed;
}

/* OUT the least and the most of x, but for numbers below zero, which empty lanes have as their last month. */
static inline void span(const double *x, long n, double *low, double *high) {
    *low = 1e300;
    *high = -1;
    for (long i = 0; i < n; i++) {
        if (x[i] >= 0 && x[i] < *low) *low = x[i];
        if (x[i] > *high) *high = x[i];
    }
}

/* One block: adds sums of a(t), rate a(t), fee a(t) to balance, interest and fees [0 .. months], and the capped loss
 * min(severity a(t), a(t + lag)) to capped[t + lag + 1]. ring: RING x (lag + 1) vectors. */
static inline __attribute__((always_inline)) void contract_block(
    const contract_run *run, long first, long vectors, long months, int with_rate, int with_fee, int with_loss,
    double severity, long lag, double *balance, double *interest, double *fees, double *capped, double *ring) {
    line a[BLOCK], payment[BLOCK], factor[BLOCK], rate[BLOCK], fee[BLOCK];
    memcpy(payment, (const vec *)run->payment + first, (size_t)vectors * sizeof(vec));
    memcpy(factor, (const vec *)run->factor + first, (size_t)vectors * sizeof(vec));
    if (with_rate) memcpy(rate, (const vec *)run->rate + first, (size_t)vectors * sizeof(vec));
    if (with_fee) memcpy(fee, (const vec *)run->fee + first, (size_t)vectors * sizeof(vec));
    const vec *tail = (const vec *)run->tail + first, *last = (const vec *)run->last + first;
    const vec *io = (const vec *)run->interest_only + first;
    vec *past = (vec *)ring;
    double first_end, last_end, io_low, io_high;
    span((const double *)last, vectors * LANES, &first_end, &last_end);
    span((const double *)io, vectors * LANES, &io_low, &io_high);
    for (long i = 0; i < vectors; i++) a[i] = (line){0};
    if (with_loss) memset(ring, 0, sizeof(vec) * (size_t)(vectors * (lag + 1)));
    long slot = 0;
    for (long t = (long)last_end; t >= 0; t--) {
        vec sum = {0}, sum_rate = {0}, sum_fee = {0}, sum_loss = {0};
        const vec now = (vec){0} + (double)t, next = now + 1.0;
        const int ending = (double)t >= first_end, paying_interest = (double)(t + 1) <= io_high;
        const long old = slot + 1 > lag ? 0 : slot + 1; /* the slot written lag months of t ago */
        const int masked = ending || paying_interest;
        for (long i = 0; i < vectors; i++) {
            vec owed = (a[i] + payment[i]) * factor[i];
            if (masked) {
                mask alive = below(now, last[i]), over = below(last[i], now);
                owed = choose(below(io[i], next), owed, a[i]);
                owed = choose(alive, owed, choose(over, (vec){0}, tail[i]));
            }
            a[i] = owed;
            sum += owed;
            if (with_rate) sum_rate += rate[i] * owed;
            if (with_fee) sum_fee += fee[i] * owed;
            if (with_loss) {
                past[slot * vectors + i] = owed;
                vec at_default = owed * severity, left = past[old * vectors + i];
                sum_loss += choose(below(at_default, left), at_default, left);
            }
        }
        balance[t] += fold(&sum);
        if (with_rate) interest[t] += fold(&sum_rate);
        if (with_fee) fees[t] += fold(&sum_fee);
        if (with_loss && t + lag + 1 <= months) capped[t + lag + 1] += fold(&sum_loss);
        slot = old;
    }
}

#define CONTRACT(NAME, RATE, FEE, LOSS)                                                                       \
    SIMD static void NAME(const contract_run *run, long months, double severity, long lag, double *balance,   \
                          double *interest, double *fees, double *capped, double *ring) {                     \
        const long width = (LOSS) ? RING : BLOCK;                                                             \
        for (long first = 0; first < run->vectors; first += width) {                                          \
            long left = run->vectors - first;                                                                 \
            if (left >= width)                                                                                \
                contract_block(run, first, width, months, RATE, FEE, LOSS, severity, lag, balance, interest,  \
                               fees, capped, ring);                                                           \
            else                                                                                              \
                contract_block(run, first, left, months, RATE, FEE, LOSS, severity, lag, balance, interest,   \
                               fees, capped, ring);                                                           \
        }                                                                                                     \
    }

CONTRACT(contract_000, 0, 0, 0)
CONTRACT(contract_100, 1, 0, 0)
CONTRACT(contract_110, 1, 1, 0)
CONTRACT(contract_010, 0, 1, 0)
CONTRACT(contract_001, 0, 0, 1)

/* The fee that all loans of a run have, or -1. */
static double common_fee(const contract_run *run) {
    double fee = -1;
    for (long k = 0; k < run->vectors * LANES; k++) {
        if (run->last[k] < 0) continue; /* an empty lane */
        if (fee >= 0 && run->fee[k] != fee) return -1;
        fee = run->fee[k];
    }
    return fee;
}

/* Sums of a run, OUT arrays [0 .. months], zeroed by the caller; interest, fees or capped may be NULL. Where all loans
 * have one fee, fees are that share of the balance. */
static void contract_sums(const contract_run *run, long months, double severity, long lag, double *balance,
                          double *interest, double *fees, double *capped, double *ring) {
    const double fee = fees ? common_fee(run) : -1;
    if (fee >= 0) {
        contract_sums(run, months, severity, lag, balance, interest, NULL, capped, ring);
        for (long t = 0; t <= months; t++) fees[t] = fee * balance[t];
    } else if (capped) contract_001(run, months, severity, lag, balance, interest, fees, capped, ring);
    else if (interest && fees) contract_110(run, months, 0, 0, balance, interest, fees, capped, ring);
    else if (interest) contract_100(run, months, 0, 0, balance, interest, fees, capped, ring);
    else if (fees) contract_010(run, months, 0, 0, balance, interest, fees, capped, ring);
    else contract_000(run, months, 0, 0, balance, interest, fees, capped, ring);
}

/* The walk of one vector of eight loans, which can be left and gone on with: a month waits for the one after it, so there
 * is time for something else meanwhile. */
typedef struct {
    line balance, payment, factor, tail, last, interest_only;
    double first_end, io_high;
    long t;       /* the next month, -1 when all are done */
    double *rows; /* OUT balances lane by lane, [LANES][stride], each [0 .. months] */
    long stride;
} lanes_walk;

static void begin_walk(lanes_walk *w, const contract_run *run, long vector, long months, double *rows, long stride) {
    double last_end, io_low;
    w->balance = (line){0};
    w->payment = ((const vec *)run->payment)[vector];
    w->factor = ((const vec *)run->factor)[vector];
    w->tail = ((const vec *)run->tail)[vector];
    w->last = ((const vec *)run->last)[vector];
    w->interest_only = ((const vec *)run->interest_only)[vector];
    span((const double *)&w->last, LANES, &w->first_end, &last_end);
    span((const double *)&w->interest_only, LANES, &io_low, &w->io_high);
    w->rows = rows;
    w->stride = stride;
    w->t = months < (long)last_end ? months : (long)last_end;
    for (long i = 0; i < LANES; i++)
        for (long t = months; t > w->t; t--) rows[i * stride + t] = 0;
}

/* Some months on, or to the end. */
SIMD static void walk_lanes(lanes_walk *w, long months) {
    const vec payment = w->payment, factor = w->factor, tail = w->tail, last = w->last, io = w->interest_only;
    const long stop = w->t >= months ? w->t - months : -1;
    vec a = w->balance;
    double *rows = w->rows;
    for (long t = w->t; t > stop; t--) {
        const vec now = (vec){0} + (double)t, next = now + 1.0;
        vec owed = (a + payment) * factor;
        if ((double)t >= w->first_end || (double)(t + 1) <= w->io_high) {
            owed = choose(below(io, next), owed, a);
            owed = choose(below(now, last), owed, choose(below(last, now), (vec){0}, tail));
        }
        a = owed;
        for (long i = 0; i < LANES; i++) rows[i * w->stride + t] = a[i];
    }
    w->balance = a;
    w->t = stop;
}

/* Contract balances of one vector of eight loans, lane by lane: OUT rows [LANES][stride], each [0 .. months]. */
static void contract_lanes(const contract_run *run, long vector, long months, double *rows, long stride) {
    lanes_walk w;
    begin_walk(&w, run, vector, months, rows, stride);
    walk_lanes(&w, months + 1);
}
#endif

/* Contract sums times shares: the fields that are one product a month, all of them in one pass over the months, so that
 * what several of them read is loaded once and a row is written at the rate of the cache.
 *
 * Eight months to a vector. The last vector lies against the end and overlaps the one before: it gives the same numbers
 * again, so rows need no room beyond their months.
 */
#ifndef CASHFLOW_PRODUCTS_H
#define CASHFLOW_PRODUCTS_H
#include "contract.h"

typedef struct {
    /* IN [0 .. months]: what the contract says, balances after month t; those before month t, its interest and fees in t - 1 */
    const double *balance, *before, *interest, *fees;
    /* IN [0 .. months]: shares alive, defaulting, in foreclosure, paying as scheduled, prepaid and paying interest */
    const double *alive, *failing, *foreclosure, *kept, *prepaid, *paying;
    /* whether defaults come after the month's payment, prepayments are of the balance before it, and defaulted balances
     * amortise; the share of those newly in foreclosure that paid the month before they defaulted */
    int after, opening, amortises;
    double newly;
    /* OUT [0 .. months - 1], that of month t in t - 1, or NULL */
    double *performing, *defaulted, *prepayment, *scheduled, *expected, *advanced, *passed_on, *fee;
} products;

/* Months t .. of a row: LANES of them, or the one, where there are fewer. */
static inline __attribute__((always_inline)) vec at(const double *row, long t, int one) {
    return one ? (vec){row[t]} : *(const vec *)(row + t);
}

static inline __attribute__((always_inline)) void set(double *row, long t, vec v, int one) {
    if (one) row[t] = v[0];
    else *(vec *)(row + t) = v;
}

/* Principal between two balances; what is within their rounding is none, so that it never turns negative. */
static inline __attribute__((always_inline)) vec principal_between(vec before, vec after) {
    const vec paid = before - after, rounding = 1e-15 * before;
    return choose(below(rounding, paid) | below(paid, -rounding), paid, (vec){0});
}

/* PUT(row, value) of each of those fields that has a row, in the months from t on; INTEREST and FEES: due by contract. */
#define PRODUCTS(p, t, one, INTEREST, FEES, PUT)                                                               \
    do {                                                                                                       \
        const vec before = at((p)->before, t, one), after = at((p)->balance, t + 1, one), none = {0};          \
        if ((p)->performing) PUT((p)->performing, after * at((p)->alive, t + 1, one));                         \
        if ((p)->defaulted) PUT((p)->defaulted, ((p)->after ? after : before) * at((p)->failing, t + 1, one)); \
        if ((p)->prepayment) PUT((p)->prepayment, ((p)->opening ? before : after) * at((p)->prepaid, t + 1, one)); \
        if ((p)->passed_on) PUT((p)->passed_on, (INTEREST) * at((p)->paying, t + 1, one));                     \
        if ((p)->fee) PUT((p)->fee, (FEES) * at((p)->alive, t, one));                                          \
        if (!(p)->scheduled && !(p)->expected && !(p)->advanced) break;                                        \
        const vec due = principal_between(before, after);                                                      \
        const vec failing = (p)->amortises ? at((p)->failing, t + 1, one) : none;                              \
        const vec held = (p)->amortises ? at((p)->foreclosure, t + 1, one) : none;                             \
        if ((p)->scheduled)                                                                                    \
            PUT((p)->scheduled, due * (at((p)->kept, t + 1, one) + (held - (p)->newly * failing)));            \
        if ((p)->expected)                                                                                     \
            PUT((p)->expected,                                                                                 \
                due * (at((p)->alive, t, one) + (held - ((p)->after ? (p)->newly : 1.0) * failing)));          \
        if ((p)->advanced) PUT((p)->advanced, due * (held - (p)->newly * failing));                            \
    } while (0)

static inline __attribute__((always_inline)) void products_of(const products *p, long t, int one) {
#define SET(ROW, X) set(ROW, t, X, one)
    PRODUCTS(p, t, one, at(p->interest, t, one), at(p->fees, t, one), SET);
#undef SET
}

/* OUT the fields of months 1 .. months. */
SIMD static void emit_products(const products *given, long months) {
    const products p = *given;
    if (months < LANES) {
        for (long t = 0; t < months; t++) products_of(&p, t, 1);
        return;
    }
    for (long t = 0; t + LANES < months; t += LANES) products_of(&p, t, 0);
    products_of(&p, months - LANES, 0);
}

typedef struct {
    /* IN [0 .. months]: balances before month t in t - 1, shares defaulting, the least of loss and balance by month of
     * liquidation */
    const double *before, *failing, *capped;
    int amortises;
    double severity;
    long lag;
    /* OUT [0 .. months - 1], that of month t in t - 1; lost and recovered may be NULL */
    double *liquidated, *lost, *recovered;
} liquidations;

static inline __attribute__((always_inline)) void liquidations_of(const liquidations *p, long t, int one) {
    const long ago = t - p->lag;
    const vec share = at(p->failing, ago + 1, one);
    const vec gone = at(p->before, p->amortises ? t : ago, one) * share;
    set(p->liquidated, t, gone, one);
    if (!p->lost) return;
    vec part = gone * p->severity;
    if (p->amortises) {
        part = at(p->capped, t + 1, one) * share;
        part = choose(below(part, gone), part, gone);
    }
    set(p->lost, t, part, one);
    if (p->recovered) set(p->recovered, t, gone - part, one);
}

/* OUT what defaulted `lag` months ago, of the balance then or, if it amortises, of the one before month t; what of it is
 * lost, `severity` or what is capped; nothing in the first `lag` months. */
SIMD static void emit_liquidations(const liquidations *given, long months) {
    const liquidations p = *given;
    const long none = p.lag < months ? p.lag : months;
    memset(p.liquidated, 0, (size_t)none * sizeof(double));
    if (p.lost) memset(p.lost, 0, (size_t)none * sizeof(double));
    if (p.recovered) memset(p.recovered, 0, (size_t)none * sizeof(double));
    if (months - p.lag < LANES) {
        for (long t = p.lag; t < months; t++) liquidations_of(&p, t, 1);
        return;
    }
    for (long t = p.lag; t + LANES < months; t += LANES) liquidations_of(&p, t, 0);
    liquidations_of(&p, months - LANES, 0);
}
#endif

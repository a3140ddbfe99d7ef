/* The rows of a loan that only pays, prepays or defaults, in one pass over its months and straight to where they are read:
 * products of its balance and what its run shares, and what defaulted `lag` months ago. The same formulas in the same
 * order as by way of working rows (products.h), so the same bits.
 *
 * A loan's rows are far more stores than arithmetic. Where these go past the caches (stream.h) a row is whole lines.
 */
#ifndef CASHFLOW_LOAN_ROWS_H
#define CASHFLOW_LOAN_ROWS_H
#include "products.h"
#include "stream.h"

typedef struct {
    /* IN, with OUT rows or NULL: balances [-LANES .. months + LANES], nought before the cut-off and after the last month;
     * no interest, fees or foreclosure. Beyond its ends a row of shares is some number. */
    products of;
    /* of the balance by month, of what defaulted, and months from default to liquidation */
    double rate, fee, severity;
    long lag;
    /* OUT or NULL */
    double *liquidated, *lost, *recovered;
} loan_fields;

/* What is liquidated in the months from t on. */
static inline __attribute__((always_inline)) vec liquidated_at(const loan_fields *f, long t, int one) {
    const long ago = t - f->lag;
    if (ago <= (one ? -1 : -LANES)) return (vec){0};
    return at(f->of.before, ago, one) * at(f->of.failing, ago + 1, one);
}

/* PUT(row + t, value) of every field in the months from t on. */
#define FIELDS_AT(ONE, PUT)                                                                                       \
    PRODUCTS(&f.of, t, ONE, before * f.rate, before * f.fee, PUT);                                                \
    if (liquidates) {                                                                                             \
        const vec gone = liquidated_at(&f, t, ONE), part = gone * f.severity;                                     \
        if (f.liquidated) PUT(f.liquidated, gone);                                                                \
        if (f.lost) PUT(f.lost, part);                                                                            \
        if (f.recovered) PUT(f.recovered, gone - part);                                                           \
    }

/* OUT the fields of months 1 .. periods: whole vectors by PUT while there are any, nought once all has been paid. The first
 * `head` months and what is left after the last whole vector are written one by one. */
#define LOAN_ROWS(NAME, PUT)                                                                                      \
    static void NAME(const loan_fields *given, long months, long periods, long head) {                            \
        const loan_fields f = *given;                                                                             \
        double *const rows[] = {f.of.performing, f.of.defaulted, f.of.prepayment, f.of.scheduled, f.of.expected,  \
                                f.of.advanced, f.of.passed_on, f.of.fee, f.liquidated, f.lost, f.recovered};      \
        const int liquidates = f.liquidated || f.lost || f.recovered;                                             \
        const long whole = head + (periods - head) / LANES * LANES;                                               \
        const long paid = head + (months - head + LANES - 1) / LANES * LANES;                                     \
        long from = 0, upto = head, t = 0;                                                                        \
        if (periods < LANES) {                                                                                    \
            for (; t < periods; t++) {                                                                            \
                FIELDS_AT(1, PUT_ONE)                                                                             \
            }                                                                                                     \
            return;                                                                                               \
        }                                                                                                         \
        if (head) {                                                                                               \
            FIELDS_AT(0, PUT_PART)                                                                                \
        }                                                                                                         \
        for (t = head; t < paid && t < whole; t += LANES) {                                                       \
            FIELDS_AT(0, PUT)                                                                                     \
        }                                                                                                         \
        from = whole, upto = periods;                                                                             \
        if (paid <= whole) {                                                                                      \
            for (unsigned k = 0; k < sizeof(rows) / sizeof(*rows); k++) {                                         \
                if (!rows[k]) continue;                                                                           \
                for (t = paid; t < whole; t += LANES) PUT(rows[k], (vec){0});                                     \
                for (t = whole; t < periods; t++) rows[k][t] = 0;                                                 \
            }                                                                                                     \
        } else if (whole < periods) {                                                                             \
            t = periods - LANES;                                                                                  \
            FIELDS_AT(0, PUT_PART)                                                                                \
        }                                                                                                         \
    }

#define PUT_VECTOR(ROW, X) *(vec *)((ROW) + t) = (X)
#define PUT_ONE(ROW, X) (ROW)[t] = (X)[0]
#define PUT_PART(ROW, X)                                                                                          \
    do {                                                                                                          \
        const vec part_ = (X);                                                                                    \
        for (long i_ = from; i_ < upto; i_++) (ROW)[i_] = part_[i_ - t];                                          \
    } while (0)

SIMD LOAN_ROWS(cached_fields, PUT_VECTOR)

#if defined(__SSE2__)
#define PUT_LINE(ROW, X) _mm512_stream_pd((ROW) + t, (__m512d)(X))
#define PUT_PAIRS(ROW, X)                                                                                        \
    do {                                                                                                          \
        const vec line_ = (X);                                                                                    \
        for (int i_ = 0; i_ < LINE; i_ += 2) _mm_stream_pd((ROW) + t + i_, (__m128d){line_[i_], line_[i_ + 1]});  \
    } while (0)
__attribute__((target("arch=x86-64-v4"))) LOAN_ROWS(line_fields, PUT_LINE)
LOAN_ROWS(pair_fields, PUT_PAIRS)

static inline void streamed_fields(const loan_fields *given, long months, long periods, long head) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) line_fields(given, months, periods, head);
    else pair_fields(given, months, periods, head);
}
#else
static inline void streamed_fields(const loan_fields *given, long months, long periods, long head) { cached_fields(given, months, periods, head); }
#endif

/* Months of a row before its first whole line. */
static inline long before_lines(const double *row) { return (long)(-(uintptr_t)row / sizeof(double)) & (LINE - 1); }
#endif

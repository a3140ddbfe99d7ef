/* Rows written to a result that is read later, past the caches: an ordinary store of a line reads it from memory first,
 * which halves the rate where the result is larger than the last cache.
 */
#ifndef CASHFLOW_STREAM_H
#define CASHFLOW_STREAM_H
#include <stdint.h>
#include <string.h>

#define LINE 8                                  /* doubles of a line of the cache */
#define STREAM_FROM (1L << 24) /* bytes of a result from which it is */

#if defined(__SSE2__)
#include <immintrin.h>

/* Copies n doubles: whole lines of the target past the caches, what is before and after them as usual. */
#define STREAM(NAME, COPY)                                                                                       \
    static void NAME(double *to, const double *from, long n) {                                                   \
        long t = 0;                                                                                              \
        for (; t < n && (uintptr_t)(to + t) % (LINE * sizeof(double)); t++) to[t] = from[t];                     \
        for (; t + LINE <= n; t += LINE) COPY;                                                                   \
        for (; t < n; t++) to[t] = from[t];                                                                      \
    }

STREAM(stream_pairs, for (int k = 0; k < LINE; k += 2) _mm_stream_pd(to + t + k, _mm_loadu_pd(from + t + k)))
__attribute__((target("avx512f"))) STREAM(stream_lines, _mm512_stream_pd(to + t, _mm512_loadu_pd(from + t)))

static inline void stream_row(double *to, const double *from, long n) {
    if (__builtin_cpu_supports("avx512f")) stream_lines(to, from, n);
    else stream_pairs(to, from, n);
}

/* What was streamed before is seen by whoever sees what is written after. */
static inline void stream_end(void) { _mm_sfence(); }
#else
static inline void stream_row(double *to, const double *from, long n) { memcpy(to, from, (size_t)n * sizeof(double)); }
static inline void stream_end(void) {}
#endif

/* Asks for the lines that a row to be streamed shares with its neighbours, so that they are there when it is written. */
static inline void expect_row(const double *to, long n) {
    if ((uintptr_t)to % (LINE * sizeof(double))) __builtin_prefetch(to, 1);
    if ((uintptr_t)(to + n) % (LINE * sizeof(double))) __builtin_prefetch(to + n - 1, 1);
}

static inline void write_row(double *to, const double *from, long n, int streamed) {
    if (streamed) stream_row(to, from, n);
    else memcpy(to, from, (size_t)n * sizeof(double));
}
#endif

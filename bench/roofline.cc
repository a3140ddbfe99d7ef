// What this processor can do: the rate of vector additions and multiplications, and of reading and writing memory.
//
// Each function works on one thread and returns nothing; the caller takes the time and starts as many as it wants.

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kWidth = 8, kChains = 8;  // chains: independent ones, to hide the latency of an operation
#elif defined(__AVX__)
constexpr int kWidth = 4, kChains = 6;
#else
constexpr int kWidth = 2, kChains = 6;
#endif

typedef double Vector __attribute__((vector_size(kWidth * sizeof(double))));

}  // namespace

// Operations of one round of `peak`, half of them additions and half multiplications.
extern "C" int64_t operations_a_round() { return 2 * kChains * kWidth; }

// Additions and multiplications in registers, `rounds` times; the result keeps them alive.
extern "C" double peak(int64_t rounds) {
  Vector sum[kChains], product[kChains];
  for (int i = 0; i < kChains; i++) sum[i] = product[i] = Vector{} + (1.0 + i);
  const Vector step = Vector{} + 1e-9, factor = Vector{} + (1.0 - 1e-9);
  for (int64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 8
    for (int i = 0; i < kChains; i++) {
      sum[i] += step;
      product[i] *= factor;
    }
  }
  Vector all = {};
  for (int i = 0; i < kChains; i++) all += sum[i] + product[i];
  double result = 0;
  for (int lane = 0; lane < kWidth; lane++) result += all[lane];
  return result;
}

// Writes `count` doubles past the caches where the processor can. `to` lies on a 64-byte boundary, count is a multiple
// of eight.
extern "C" void stream_store(double *to, int64_t count) {
#if defined(__AVX512F__)
  const __m512d value = _mm512_set1_pd(1.0);
  for (int64_t i = 0; i < count; i += 8) _mm512_stream_pd(to + i, value);
  _mm_sfence();
#elif defined(__AVX__)
  const __m256d value = _mm256_set1_pd(1.0);
  for (int64_t i = 0; i < count; i += 4) _mm256_stream_pd(to + i, value);
  _mm_sfence();
#else
  for (int64_t i = 0; i < count; i++) to[i] = 1.0;
#endif
}

// Copies `count` doubles, the writes past the caches; both on 64-byte boundaries.
extern "C" void stream_copy(double *to, const double *from, int64_t count) {
#if defined(__AVX512F__)
  for (int64_t i = 0; i < count; i += 8) _mm512_stream_pd(to + i, _mm512_load_pd(from + i));
  _mm_sfence();
#elif defined(__AVX__)
  for (int64_t i = 0; i < count; i += 4) _mm256_stream_pd(to + i, _mm256_load_pd(from + i));
  _mm_sfence();
#else
  for (int64_t i = 0; i < count; i++) to[i] = from[i];
#endif
}

// Sum of `count` doubles, a multiple of 64, read once in order.
extern "C" double stream_read(const double *from, int64_t count) {
  Vector sum[8] = {};
  for (int64_t i = 0; i < count; i += 8 * kWidth)
    for (int v = 0; v < 8; v++) sum[v] += *reinterpret_cast<const Vector *>(from + i + v * kWidth);
  double result = 0;
  for (int v = 0; v < 8; v++)
    for (int lane = 0; lane < kWidth; lane++) result += sum[v][lane];
  return result;
}

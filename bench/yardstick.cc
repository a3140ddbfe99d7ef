// The limit that the engine is measured against: the level-pay recursion of a pool and nothing else.
//
// A loan-month is a handful of multiplications on explicit eight-wide vectors: interest, scheduled principal,
// prepayment, default and balance, summed over the pool. No fees, no lag, no severity, no shapes but level pay.
// Called through C: each call projects all loans for `months` months on one thread and adds the sums to `sums`.

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace {

constexpr int kWidth = 8;    // doubles in a vector
constexpr int kVectors = 8;  // vectors of a block, whose state stays in registers and the first-level cache
constexpr int kBlock = kWidth * kVectors;

typedef double Vector __attribute__((vector_size(kWidth * sizeof(double))));
typedef int64_t Mask __attribute__((vector_size(kWidth * sizeof(int64_t))));

struct Block {
  Vector balance[kVectors], rate[kVectors], payment[kVectors], last[kVectors];
};

double total(const Vector &v) { return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7])); }

void load(Block &block, const double *balance, const double *rate, const double *term) {
  for (int v = 0; v < kVectors; v++) {
    for (int lane = 0; lane < kWidth; lane++) {
      const int loan = v * kWidth + lane;
      const double monthly = rate[loan] / 12;
      block.balance[v][lane] = balance[loan];
      block.rate[v][lane] = monthly;
      block.last[v][lane] = term[loan];
      block.payment[v][lane] = monthly == 0 ? balance[loan] / term[loan]
                                            : balance[loan] * monthly / -std::expm1(-term[loan] * std::log1p(monthly));
    }
  }
}

void project(Block &block, const double *smm, const double *mdr, int months, double *sums) {
  for (int t = 0; t < months; t++) {
    const Vector month = Vector{} + double(t + 1);
    const double stay = 1 - mdr[t], survive = stay * (1 - smm[t]);
    Vector interest = {}, principal = {}, prepaid = {}, defaulted = {}, balance = {};
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; v++) {
      const Vector opening = block.balance[v], performing = opening * stay;
      const Vector due = performing * block.rate[v];
      Vector paid = block.payment[v] * stay - due;
      const Mask ends = month >= block.last[v];
      paid = ends ? performing : paid;
      const Vector left = performing - paid, early = left * smm[t];
      block.balance[v] = left - early;
      block.payment[v] *= survive;
      interest += due;
      principal += paid;
      prepaid += early;
      defaulted += opening - performing;
      balance += left - early;
    }
    const Vector *columns[] = {&interest, &principal, &prepaid, &defaulted, &balance};
    for (int column = 0; column < 5; column++) sums[column * months + t] += total(*columns[column]);
  }
}

}  // namespace

// balance, rate (a year), term: `loans` doubles each, loans a multiple of 64. smm, mdr: `months` monthly rates.
// sums: 5 x months, interest, principal, prepayment, default, balance; added to.
extern "C" void yardstick(const double *balance, const double *rate, const double *term, int64_t loans,
                          const double *smm, const double *mdr, int months, double *sums) {
  static_assert(128 % kBlock == 0, "bench/native.py pads to a multiple");
  for (int64_t first = 0; first < loans; first += kBlock) {
    Block block;
    load(block, balance + first, rate + first, term + first);
    project(block, smm, mdr, months, sums);
  }
}

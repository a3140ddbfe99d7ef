// Yardsticks of the features that the engine is measured on, as fast as they can be stepped loan by loan.
//
//   stepping_full      servicing fee, defaults that stop `lag` months before maturity, prepayment gross of defaults
//   stepping_floating  the same without fee, for rates that reset on an index path with caps and recast the payment
//   stepping_factored  the contract alone, three operations a loan-month: the least that any way of working must do
//
// What all loans of a block share (the month's rates) is multiplied once on the block's sums, what follows from other
// sums is not summed, and masks are needed only in months where loans of the block end: a caller who sorts the loans by
// term gets the most out of it. Twelve fields follow from the sums by shifting them (bench/peers.py), which costs
// nothing a loan. State of a block stays in registers or the first-level cache.

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace {

constexpr int kWidth = 8;

typedef double Vector __attribute__((vector_size(kWidth * sizeof(double))));
typedef int64_t Mask __attribute__((vector_size(kWidth * sizeof(int64_t))));

// Columns of `count` doubles, a multiple of 128, balance 0 in the padding. Rates are annual, terms and resets months.
struct Loans {
  const double *balance, *rate, *term, *fee, *margin, *first_reset;
  int64_t count;
};

// smm, mdr: monthly rates of `months` months. index: annual, by month from the cut-off, for floating loans.
struct Assumed {
  const double *smm, *mdr, *index;
  double periodic_cap, life_cap, reset_every;
  int32_t months, lag;
};

double total(const Vector &v) { return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7])); }

bool any(const Mask &m) { return ((m[0] | m[1]) | (m[2] | m[3]) | (m[4] | m[5]) | (m[6] | m[7])) != 0; }

Vector all(double x) { return Vector{} + x; }

Vector least(const Vector &x, const Vector &y) { return x < y ? x : y; }

// The payment that repays b over n months at r a month, by squaring: n differs by lane.
Vector level_payment(const Vector &b, const Vector &r, const Vector &n) {
  Vector discount = 1 / (1 + r), power = all(1);
  Mask bits = __builtin_convertvector(n, Mask);
  for (; any(bits); bits >>= 1) {
    power = (bits & 1) != 0 ? power * discount : power;
    discount *= discount;
  }
  return r > 0 ? b * r / (1 - power) : b / n;
}

void span(const double *x, int count, double *low, double *high) {
  *low = *high = x[0];
  for (int i = 1; i < count; i++) {
    if (x[i] < *low) *low = x[i];
    if (x[i] > *high) *high = x[i];
  }
}

template <int V>
struct Block {
  Vector balance[V], rate[V], payment[V], fee[V], last[V], stop[V], annual[V], reset[V], margin[V];
};

template <int V, bool kFee, bool kFloating>
void load(Block<V> &block, const Loans &loans, int64_t first, int lag) {
  for (int v = 0; v < V; v++) {
    for (int lane = 0; lane < kWidth; lane++) {
      const int64_t loan = first + v * kWidth + lane;
      block.balance[v][lane] = loans.balance[loan];
      block.annual[v][lane] = loans.rate[loan];
      block.rate[v][lane] = loans.rate[loan] / 12;
      block.last[v][lane] = loans.term[loan];
      block.stop[v][lane] = loans.term[loan] - lag;
      if (kFee) block.fee[v][lane] = loans.fee[loan] / 12;
      if (kFloating) block.margin[v][lane] = loans.margin[loan];
      if (kFloating) block.reset[v][lane] = loans.first_reset[loan];
    }
    block.payment[v] = level_payment(block.balance[v], block.rate[v], block.last[v]);
  }
}

// Resets the lanes that are due before month s + 1, recasts their payments, and returns when the next one is due.
template <int V>
__attribute__((noinline)) double resets(Block<V> &block, const Assumed &assumed, double s) {
  double next = INFINITY;
  for (int v = 0; v < V; v++) {
    const Mask due = block.reset[v] == s;
    if (any(due & (block.last[v] > s))) {
      Vector fresh = block.margin[v] + assumed.index[static_cast<int>(s)];
      fresh = least(fresh, block.annual[v] + assumed.periodic_cap);
      const Vector floor = block.annual[v] - assumed.periodic_cap;
      fresh = fresh < floor ? floor : fresh;
      fresh = fresh < 0 ? Vector{} : least(fresh, all(assumed.life_cap));
      block.annual[v] = due ? fresh : block.annual[v];
      block.rate[v] = block.annual[v] / 12;
      const Vector left = block.last[v] - s, months = left < 1 ? all(1) : left;
      const Vector payment = level_payment(block.balance[v], block.rate[v], months);
      block.payment[v] = due ? payment : block.payment[v];
    }
    block.reset[v] = due ? block.reset[v] + assumed.reset_every : block.reset[v];
    for (int lane = 0; lane < kWidth; lane++)
      if (block.reset[v][lane] < next) next = block.reset[v][lane];
  }
  return next;
}

// Rows of sums: interest, scheduled principal, prepayment, default, fee; each of `months`.
template <int V, bool kFee, bool kFloating>
void step(Block<V> &block, const Assumed &assumed, double *sums) {
  double first_last, last, first_stop, last_stop, due = kFloating ? 0 : INFINITY;
  span(reinterpret_cast<double *>(block.last), V * kWidth, &first_last, &last);
  span(reinterpret_cast<double *>(block.stop), V * kWidth, &first_stop, &last_stop);
  const int months = last < assumed.months ? static_cast<int>(last) : assumed.months;
  double *rows[5];
  for (int row = 0; row < 5; row++) rows[row] = sums + row * assumed.months;
  Vector opening = {};
  for (int v = 0; v < V; v++) opening += block.balance[v];
  double before = total(opening);
  for (int t = 0; t < months; t++) {
    if (due <= t) due = resets<V>(block, assumed, t);
    const double smm = assumed.smm[t], mdr = assumed.mdr[t];
    if (t + 1 < first_last && t + 1 <= first_stop) {
      const double keep = 1 - mdr - smm;
      Vector accrued = {}, left = {}, fees = {};
#pragma GCC unroll 16
      for (int v = 0; v < V; v++) {
        const Vector interest = block.balance[v] * block.rate[v];
        const Vector after = block.balance[v] - (block.payment[v] - interest);
        if (kFee) fees += block.balance[v] * block.fee[v];
        block.balance[v] = after * keep;
        block.payment[v] *= keep;
        accrued += interest;
        left += after;
      }
      const double after = total(left);
      rows[0][t] += (1 - mdr) * total(accrued);
      rows[1][t] += (1 - mdr) * (before - after);
      rows[2][t] += smm * after;
      rows[3][t] += mdr * before;
      if (kFee) rows[4][t] += total(fees);
      before = keep * after;
    } else {
      const Vector month = all(t + 1);
      Vector accrued = {}, paid = {}, early = {}, lost = {}, fees = {}, closing = {};
      for (int v = 0; v < V; v++) {
        const Vector rate = month <= block.stop[v] ? all(mdr) : Vector{}, stay = 1 - rate, keep = stay - smm;
        const Vector interest = block.balance[v] * block.rate[v];
        Vector principal = block.payment[v] - interest;
        principal = month >= block.last[v] ? block.balance[v] : principal;
        const Vector after = block.balance[v] - principal;
        if (kFee) fees += block.balance[v] * block.fee[v];
        accrued += stay * interest;
        paid += stay * principal;
        early += smm * after;
        lost += rate * block.balance[v];
        block.balance[v] = after * keep;
        block.payment[v] *= keep;
        closing += block.balance[v];
      }
      rows[0][t] += total(accrued);
      rows[1][t] += total(paid);
      rows[2][t] += total(early);
      rows[3][t] += total(lost);
      if (kFee) rows[4][t] += total(fees);
      before = total(closing);
    }
  }
}

template <int V, bool kFee, bool kFloating>
void run(const Loans &loans, const Assumed &assumed, double *sums) {
  for (int64_t first = 0; first < loans.count; first += V * kWidth) {
    Block<V> block;
    load<V, kFee, kFloating>(block, loans, first, assumed.lag);
    step<V, kFee, kFloating>(block, assumed, sums);
  }
}

// Sums of contract balances (row 0, after months 1 .. months) and of the payments that are still due (row 1).
template <int V>
void contract(const Loans &loans, int months, double *sums) {
  for (int64_t first = 0; first < loans.count; first += V * kWidth) {
    Vector balance[V], growth[V], payment[V], term[V];
    double first_last, last, due = 0;
    span(loans.term + first, V * kWidth, &first_last, &last);
    for (int v = 0; v < V; v++) {
      for (int lane = 0; lane < kWidth; lane++) {
        const int64_t loan = first + v * kWidth + lane;
        balance[v][lane] = loans.balance[loan];
        growth[v][lane] = loans.rate[loan] / 12;
        term[v][lane] = loans.term[loan];
      }
      payment[v] = level_payment(balance[v], growth[v], term[v]);
      growth[v] += 1;
      due += total(payment[v]);
    }
    const int common = first_last - 1 < months ? static_cast<int>(first_last) - 1 : months;
    for (int t = 0; t < common; t++) {
      Vector sum = {};
#pragma GCC unroll 16
      for (int v = 0; v < V; v++) {
        balance[v] = balance[v] * growth[v] - payment[v];
        sum += balance[v];
      }
      sums[t] += total(sum);
      sums[months + t] += due;
    }
    for (int t = common; t < months && t < last; t++) {
      Vector sum = {}, paying = {};
      for (int v = 0; v < V; v++) {
        const Mask open = all(t + 1) < term[v];
        const Vector after = balance[v] * growth[v] - payment[v];
        paying += open ? payment[v] : balance[v] * growth[v];
        balance[v] = open ? after : Vector{};
        sum += balance[v];
      }
      sums[t] += total(sum);
      sums[months + t] += total(paying);
    }
  }
}

}  // namespace

// sums: 5 x months, added to: interest, scheduled principal, prepayment, default, fee.
extern "C" void stepping_full(const Loans *loans, const Assumed *assumed, double *sums) {
  run<16, true, false>(*loans, *assumed, sums);
}

extern "C" void stepping_floating(const Loans *loans, const Assumed *assumed, double *sums) {
  run<16, false, true>(*loans, *assumed, sums);
}

// sums: 2 x months, added to: contract balances, and what is paid of interest and principal together.
extern "C" void stepping_factored(const Loans *loans, const Assumed *assumed, double *sums) {
  contract<8>(*loans, assumed->months, sums);
}

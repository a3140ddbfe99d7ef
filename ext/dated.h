/* Payments by calendar: part of stepped.h, for loans that pay on other dates than once a month.
 *
 * A calendar says where the payments of each month begin in `years_due`, the years whose interest falls due with each.
 * Loans are sorted by calendar within a run, so that the lanes of a vector mostly share one: what a month brings is
 * then read once, and a month with one payment costs hardly more than it does where all pay every month. Lanes that
 * differ have their years gathered, and are masked only where one of them has fewer payments than another.
 */
#ifndef CASHFLOW_DATED_H
#define CASHFLOW_DATED_H

INLINE int needs_calendar(const stepped_run *run, long first, long vectors) {
    for (long i = 0; i < vectors; i++)
        if (any(ROW(ROW_CALENDAR) >= 0.0)) return 1;
    return 0;
}

/* Payments from s to the end of the amortization; months for loans that pay by the month. */
INLINE vec payments_left(const stepped_run *run, long first, long i, double s) {
    vec left = ROW(ROW_AMORTIZED) - s;
    mask dated = ROW(ROW_CALENDAR) >= 0.0;
    if (!any(dated)) return left;
    for (int j = 0; j < LANES; j++) {
        const double calendar = ROW(ROW_CALENDAR)[j];
        if (calendar < 0) continue;
        const int *begin = run->payments_begin + (long)calendar * run->calendar_width;
        const long at = (long)s < run->calendar_width ? (long)s : run->calendar_width - 1;
        left[j] = ROW(ROW_AMORTIZED)[j] - (double)(begin[at] - begin[0]);
    }
    return left;
}

/* Finds the calendars of vector i; where its lanes share one, it is read once for all. */
INLINE void begin_calendar(const stepped_run *run, walk *w, long first, long i) {
    const vec calendar = ROW(ROW_CALENDAR);
    const mask owes = may_owe(run, first, i), dated = calendar >= 0.0;
    double lead = -1;
    for (int j = 0; j < LANES; j++)
        if (owes[j] && dated[j]) lead = calendar[j];
    w->dates[i] = NO_DATES;
    if (lead < 0) return;
    w->dates[i] = any(owes & ~dated) ? SOME_DATED : any(owes & (calendar != lead)) ? DATED : ONE_CALENDAR;
    for (int j = 0; j < LANES; j++) { /* a lane that owes nothing has the payments of any other */
        const long of = owes[j] && dated[j] ? (long)calendar[j] : (long)lead;
        w->payments[i][j] = run->payments_begin + of * run->calendar_width;
        w->at[i][j] = w->payments[i][j][0];
    }
}

/* Balances after a month of `count` payments in every lane, and OUT the interest due. before_last: paid with all but
 * the last. years: of these payments. */
INLINE vec pay_alike(const walk *w, long i, int count, const double *years, vec before_last, vec *accrued) {
    const vec zero = {0}, r = w->r[i], compound = w->compound[i], payment = w->payment[i];
    vec a = w->a[i], total = zero;
    for (int k = 0; k < count; k++) {
        vec due = r * years[k] * a, after = a + compound * due - (k + 1 == count ? payment : before_last);
        total += due;
        a = choose(after > 0.0, after, zero);
    }
    *accrued = total;
    return a;
}

INLINE int any_int(ints x) {
    typedef long long pairs __attribute__((vector_size(32), aligned(4)));
    const pairs p = (pairs)x;
    return ((p[0] | p[1]) | (p[2] | p[3])) != 0;
}

/* The same where lanes have calendars of their own: the payments from `at` to `next`. */
INLINE vec pay_apart(const walk *w, long i, const int *at, ints next, const double *years, vec before_last, vec *accrued) {
    const vec zero = {0}, r = w->r[i], compound = w->compound[i], payment = w->payment[i];
    const ints from = *(const ints *)at, count = next - from;
    vec a = w->a[i], total = zero;
    if (!any_int(count ^ 1)) {
        const vec of = {years[at[0]], years[at[1]], years[at[2]], years[at[3]],
                        years[at[4]], years[at[5]], years[at[6]], years[at[7]]};
        *accrued = r * of * a;
        a = a + compound * *accrued - payment;
        return choose(a > 0.0, a, zero);
    }
    int least = count[0], most = count[0];
    for (int j = 1; j < LANES; j++) {
        least = count[j] < least ? count[j] : least;
        most = count[j] > most ? count[j] : most;
    }
    for (int k = 0; k < most; k++) {
        const ints live = count > k, y = (from + k) & live; /* the years of a payment that is none are the first, 0 */
        const vec of = {years[y[0]], years[y[1]], years[y[2]], years[y[3]],
                        years[y[4]], years[y[5]], years[y[6]], years[y[7]]};
        const vec due = r * of * a;
        const mask last = __builtin_convertvector(count == k + 1, mask);
        vec after = a + compound * due - choose(last, payment, before_last);
        after = choose(after > 0.0, after, zero);
        total += due;
        a = k < least ? after : choose(__builtin_convertvector(live, mask), after, a);
    }
    *accrued = total;
    return a;
}

/* Balances after month t of the lanes with a calendar, and OUT the interest due; the others as in `next`. What ends a
 * loan is paid with the last payment of its month. */
INLINE vec on_calendar(const stepped_run *run, walk *w, long first, long i, vec next, vec *accrued, long t) {
    if (w->dates[i] == NO_DATES) return next;
    const long to = t < run->calendar_width ? t : run->calendar_width - 1; /* nothing is due after all have ended */
    const int *const *p = w->payments[i];
    vec before_last = w->payment[i];
    if ((double)(t - 1) >= w->first_end) {
        mask free = (w->hold[i] == 0.0) & (w->interest_only[i] == 0.0);
        before_last = choose(before_last == ALL_DUE, choose(free, w->contract[i], (vec){0}), before_last);
    }
    if (w->dates[i] == ONE_CALENDAR) {
        const int at = w->at[i][0];
        w->at[i][0] = p[0][to];
        return pay_alike(w, i, p[0][to] - at, run->years_due + at, before_last, accrued);
    }
    const ints then = {p[0][to], p[1][to], p[2][to], p[3][to], p[4][to], p[5][to], p[6][to], p[7][to]};
    vec due, left = pay_apart(w, i, (const int *)&w->at[i], then, run->years_due, before_last, &due);
    w->at[i] = then;
    if (w->dates[i] == DATED) {
        *accrued = due;
        return left;
    }
    const mask dated = ROW(ROW_CALENDAR) >= 0.0;
    *accrued = choose(dated, due, *accrued);
    return choose(dated, left, next);
}
#endif

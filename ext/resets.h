/* Contract sums of loans to which nothing happens but resets of their rate, each with the payment recast, until they end:
 * the adjustable mortgage as it usually is. Part of stepped.h, whose walk gives the same sums, and its rows.
 *
 * A vector is walked from one of its resets to the next in registers, some vectors side by side, without a test, and adds
 * to rows of a vector a month that are folded every SPELL months. So vectors of a block need not be at the same month, and
 * what they wait for, the level payment, is computed for all that have come to a reset at once.
 *
 * A vector is `loose` while any of its lanes has a payment that was stated, which may repay it early, or has ended: then no
 * balance may pass below nought. Else none does before its last month.
 */
#ifndef CASHFLOW_RESETS_H
#define CASHFLOW_RESETS_H

#define RESETTING 48 /* vectors a block */
#define SPELL 60     /* months a spell */
#define ABREAST 8    /* vectors walked side by side */
#define NEVER 1000000000

typedef struct {
    int rounds, firsts; /* whether any rate is rounded; whether a first reset has caps of its own */
    int regular, alike; /* whether all are level-pay loans that may be recast at any time; whether all have one fee too */
    double fee;         /* that fee */
    vec a[RESETTING], r[RESETTING], payment[RESETTING], rate[RESETTING];
    vec next_reset[RESETTING], refresh[RESETTING];
    mask stated[RESETTING];
    mask live[RESETTING]; /* the lanes that owe something and have not come to their last month */
    int loose[RESETTING];
    const double *index[RESETTING]; /* what it reads at the cut-off */
    /* the month that it has come to, its next event, and the first and the last of its lanes to end */
    long at[RESETTING], due[RESETTING], first_end[RESETTING], end[RESETTING];
    /* where its lanes have all in common, else 0 or -1: months between resets, the end of the amortization, the next reset, the
     * next payment from the balance without one; and the month by which all have had their first reset */
    long every[RESETTING], amortized[RESETTING], resets_at[RESETTING], recast_at[RESETTING], settled[RESETTING];
    vec balance[SPELL], interest[SPELL], fees[SPELL]; /* sums by month of the spell */
} resetting;

/* Payments to be recast: vectors all of whose lanes have one number of months left, and others, of which lanes, and what the
 * payments follow from. */
typedef struct {
    long whole, all[RESETTING + TOGETHER], months[RESETTING + TOGETHER];
    long count, vector[RESETTING];
    mask which[RESETTING];
    vec r[RESETTING], left[RESETTING], level[RESETTING];
} reset_payments;

/* Whether a row lies within bounds, in all lanes that owe something. */
INLINE int within(const stepped_run *run, int row, long first, long vectors, double low, double high) {
    const int same = !run->step[row] && vectors > 1; /* in all vectors */
    mask out = {0};
    for (long i = 0; i < vectors; i++) {
        const mask owes = may_owe(run, first, i);
        mask outside = (ROW(row) < low) | (ROW(row) > high);
        out |= same ? outside : outside & owes;
        if (same) break;
    }
    return !any(out);
}

/* Whether two rows differ anywhere. */
INLINE int differ(const stepped_run *run, int one, int other, long first, long vectors) {
    mask found = {0};
    for (long i = 0; i < vectors; i++) {
        found |= ROW(one) != ROW(other);
        if (!run->step[one] && !run->step[other]) break;
    }
    return any(found);
}

/* Whether that is all that happens to the loans of a block, and a vector reads one index at one time. */
INLINE int only_resets(const stepped_run *run, long first, long vectors) {
    const double never = INFINITY;
    if (!within(run, ROW_CALENDAR, first, vectors, -1, -1) || !within(run, ROW_PROGRAM, first, vectors, 0, 0) ||
        !within(run, ROW_INTEREST_ONLY, first, vectors, 0, 0) || !within(run, ROW_NEXT_RECAST, first, vectors, never, never) ||
        !within(run, ROW_NEXT_FULL, first, vectors, never, never) || !within(run, ROW_PAYMENT_CAP, first, vectors, never, never) ||
        !within(run, ROW_RECAST_ON_RESET, first, vectors, 1, 1))
        return 0;
    mask more = {0};
    for (long i = 0; i < vectors; i++) {
        const vec index = ROW(ROW_INDEX), back = ROW(ROW_LOOK_BACK);
        more |= ((index != index[0]) | (back != back[0])) & may_owe(run, first, i);
        if (!run->step[ROW_INDEX] && !run->step[ROW_LOOK_BACK]) break;
    }
    return !any(more);
}

INLINE long earliest(vec x) {
    x = at_most(x, __builtin_shuffle(x, (mask){4, 5, 6, 7, 0, 1, 2, 3}));
    x = at_most(x, __builtin_shuffle(x, (mask){2, 3, 0, 1, 6, 7, 4, 5}));
    const double least = x[0] < x[1] ? x[0] : x[1];
    return least < 1e9 ? (long)least : NEVER;
}

/* The months that all of the lanes have in common, or -1. */
INLINE long common(vec x, mask lanes) {
    int j = 0;
    while (j < LANES - 1 && !lanes[j]) j++;
    return !(x[j] < 1e9) || any(lanes & (x != x[j])) ? -1 : (long)x[j];
}

INLINE void start(const stepped_run *run, resetting *w, long first, long i) {
    const vec never = (vec){0} + INFINITY, last = ROW(ROW_LAST), every = ROW(ROW_RESET_EVERY), payment = ROW(ROW_PAYMENT);
    const mask live = (ROW(ROW_BALANCE) != 0.0) & (last >= 0.0), stated = live & (payment == payment);
    const long end = common(last, live);
    w->a[i] = ROW(ROW_BALANCE);
    w->rate[i] = ROW(ROW_RATE);
    w->payment[i] = choose(live, payment, (vec){0});
    w->stated[i] = stated;
    w->next_reset[i] = ROW(ROW_NEXT_RESET);
    w->refresh[i] = never;
    w->live[i] = live;
    w->index[i] = run->index + (long)ROW(ROW_INDEX)[0] * run->index_width + run->past - (long)ROW(ROW_LOOK_BACK)[0];
    w->at[i] = w->due[i] = 0;
    w->first_end[i] = end >= 0 ? end : earliest(choose(live, last, never));
    w->end[i] = end >= 0 ? end + 1 : any(live) ? 1 - earliest(choose(live, -last, never)) : 0;
    w->every[i] = !w->regular || any(live & (every != every[0])) ? 0 : (long)every[0];
    w->amortized[i] = common(ROW(ROW_AMORTIZED), live);
    w->resets_at[i] = common(w->next_reset[i], live);
    w->recast_at[i] = any(stated) ? -1 : 0;
    w->settled[i] = w->firsts ? 1 - earliest(choose(live, -w->next_reset[i], never)) : 0;
}

/* Whether all lanes of vector i, which is due, are recast now, to one number of months, and nothing else happens to it. */
INLINE int is_whole(const resetting *w, long i) {
    const long now = w->at[i], reset = w->resets_at[i];
    if (!w->every[i] || w->amortized[i] < 0 || reset < now || now >= w->first_end[i]) return 0;
    return reset == now ? now >= w->settled[i] : w->recast_at[i] == now;
}

INLINE void reset_whole(const stepped_run *run, resetting *w, reset_payments *todo, long first, long i) {
    const long now = w->at[i], at = todo->whole++, left = w->amortized[i] - now;
    if (w->resets_at[i] == now) {
        w->rate[i] = reset_rate(run, first, i, (vec){0} + w->index[i][now], w->rate[i], (mask){0}, w->rounds);
        w->resets_at[i] = now + w->every[i];
        w->next_reset[i] = (vec){0} + (double)w->resets_at[i];
    }
    w->r[i] = w->rate[i] / 12.0;
    w->recast_at[i] = now + REFRESH;
    w->refresh[i] = (vec){0} + (double)w->recast_at[i];
    w->stated[i] = (mask){0};
    w->loose[i] = 0;
    w->due[i] = w->resets_at[i] < w->recast_at[i] ? w->resets_at[i] : w->recast_at[i];
    if (w->due[i] > w->first_end[i]) w->due[i] = w->first_end[i];
    todo->all[at] = i;
    todo->months[at] = left > 1 ? left : 1;
}

/* Has all lanes of vector i end after this month. */
INLINE void end_whole(resetting *w, long i) {
    w->payment[i] = (vec){0} + ALL_DUE;
    w->loose[i] = 1;
    w->due[i] = NEVER;
}

/* Recasts the payments of TOGETHER vectors as level_payments does, two bits of the months at a time: they are one number for
 * all lanes of a vector. */
INLINE void recast_whole(resetting *w, const long *all, const long *months) {
    vec powers[TOGETHER][4], g[TOGETHER];
    long most = 1;
    mask tiny = {0};
    for (long k = 0; k < TOGETHER; k++) {
        const vec r = w->r[all[k]], two = r * (2.0 + r);
        powers[k][0] = (vec){0};
        powers[k][1] = r;
        powers[k][2] = two;
        powers[k][3] = two + (r + r * two);
        most |= months[k];
        tiny |= below(r, (vec){0} + 1e-30);
    }
    const int top = (63 - __builtin_clzll((unsigned long long)most)) & ~1;
    for (long k = 0; k < TOGETHER; k++) g[k] = powers[k][(months[k] >> top) & 3];
    for (int bit = top - 2; bit >= 0; bit -= 2)
        for (long k = 0; k < TOGETHER; k++) {
            const vec more = powers[k][(months[k] >> bit) & 3];
            g[k] = g[k] * (2.0 + g[k]);
            g[k] = g[k] * (2.0 + g[k]);
            g[k] = g[k] + (more + more * g[k]);
        }
    const int some = any(tiny);
    for (long k = 0; k < TOGETHER; k++) {
        const vec r = w->r[all[k]], a = w->a[all[k]];
        const mask matters = r > 1e-30;
        w->payment[all[k]] = some ? choose(matters, a * (r + r / choose(matters, g[k], (vec){0} + 1.0)), a / (double)months[k])
                                  : a * (r + r / g[k]);
    }
}

/* What happens to vector i before the month after the one that it has come to, up to the payments that are to be recast. */
INLINE void at_event(const stepped_run *run, resetting *w, reset_payments *todo, long first, long i) {
    const long at = todo->count++, now = w->at[i];
    const double s = (double)now;
    const mask reset = w->next_reset[i] == s, is_first = w->next_reset[i] == ROW(ROW_NEXT_RESET);
    if (any(reset)) {
        const vec rate = reset_rate(run, first, i, (vec){0} + w->index[i][now], w->rate[i], is_first, w->rounds);
        w->rate[i] = choose(reset, rate, w->rate[i]);
        w->next_reset[i] = choose(reset, s + ROW(ROW_RESET_EVERY), w->next_reset[i]);
    }
    w->r[i] = w->rate[i] / 12.0;
    todo->vector[at] = i;
    todo->r[at] = ROW(ROW_COMPOUND) * w->r[i];
    todo->left[at] = at_least(ROW(ROW_AMORTIZED) - s, (vec){0} + 1.0);
    todo->which[at] = reset | (w->refresh[i] == s);
    if (s == 0.0) todo->which[at] |= w->payment[i] != w->payment[i];
}

/* The payments of entry `at`, recast, and when its vector is next due. */
INLINE void after_event(const stepped_run *run, resetting *w, const reset_payments *todo, long at, long first) {
    const long i = todo->vector[at];
    const double s = (double)w->at[i];
    const vec never = (vec){0} + INFINITY, last = ROW(ROW_LAST);
    const mask fresh = todo->which[at] & w->live[i], live = w->live[i] & (last > s);
    w->payment[i] = choose(fresh, ROW(ROW_PAYS) * todo->level[at], w->payment[i]);
    w->refresh[i] = choose(fresh, choose(ROW(ROW_STEADY) > 0.0, (vec){0} + (s + REFRESH), never), w->refresh[i]);
    w->stated[i] &= ~fresh;
    w->payment[i] = choose(w->live[i] & ~live, (vec){0} + ALL_DUE, w->payment[i]);
    w->loose[i] = any(w->stated[i] | (w->payment[i] == ALL_DUE));
    w->live[i] = live;
    w->first_end[i] = earliest(choose(live, last, never));
    w->amortized[i] = common(ROW(ROW_AMORTIZED), live);
    w->resets_at[i] = common(w->next_reset[i], live);
    w->recast_at[i] = common(w->refresh[i], live);
    w->due[i] = earliest(choose(live, at_most(at_most(w->next_reset[i], w->refresh[i]), last), never));
}

/* Events of the vectors that have come to one before the month `to`. Called, not inlined: it is long. */
SIMD static __attribute__((noinline)) void all_events(const stepped_run *run, resetting *w, long first, long vectors, long to) {
    reset_payments todo;
    todo.count = todo.whole = 0;
    for (long i = 0; i < vectors; i++) {
        const long now = w->at[i];
        if (now >= to || w->due[i] != now) continue;
        if (is_whole(w, i)) reset_whole(run, w, &todo, first, i);
        else if (now > 0 && now + 1 == w->end[i] && now == w->first_end[i] && w->resets_at[i] > now) end_whole(w, i);
        else at_event(run, w, &todo, first, i);
    }
    for (long k = 0; k < TOGETHER && todo.whole; k++) {
        todo.all[todo.whole + k] = todo.all[todo.whole - 1]; /* so that the last are as many */
        todo.months[todo.whole + k] = todo.months[todo.whole - 1];
    }
    for (long k = 0; k < todo.whole; k += TOGETHER) recast_whole(w, todo.all + k, todo.months + k);
    if (!todo.count) return;
    all_level_payments(w->a, todo.vector, todo.r, todo.left, todo.count, todo.level);
    for (long k = 0; k < todo.count; k++) after_event(run, w, &todo, k, first);
}

/* Walks vectors i .. i + count - 1, a constant number of them, from one month to another of the spell. */
INLINE void walk_on(const stepped_run *run, resetting *w, long first, long i, const long count, long from, long to,
                    const int loose) {
    vec a[ABREAST], r[ABREAST], payment[ABREAST], compound[ABREAST], fee[ABREAST];
    for (long k = 0; k < count; k++, i++) {
        a[k] = w->a[i];
        r[k] = w->r[i];
        payment[k] = w->payment[i];
        if (loose) compound[k] = ROW(ROW_COMPOUND), fee[k] = ROW(ROW_FEE);
    }
    i -= count;
    for (long t = from; t < to; t++) {
        vec sum = w->balance[t], sum_rate = w->interest[t], sum_fee;
        if (loose) sum_fee = w->fees[t];
        for (long k = 0; k < count; k++) {
            vec accrued = r[k] * a[k];
            sum_rate += accrued;
            a[k] = (a[k] - payment[k]) + (loose ? compound[k] * accrued : accrued); /* neither waits for the other */
            if (loose) a[k] = (vec)((mask)a[k] & (a[k] > 0.0));
            sum += a[k];
            if (loose) sum_fee += fee[k] * a[k];
        }
        w->balance[t] = sum;
        w->interest[t] = sum_rate;
        if (loose) w->fees[t] = sum_fee;
    }
    for (long k = 0; k < count; k++) w->a[i + k] = a[k];
}

/* Walks all vectors to their next event, their end or the end of the spell [from, to). Returns whether any has an event left
 * in it. */
INLINE int walk_all(const stepped_run *run, resetting *w, long first, long vectors, long from, long to) {
    int more = 0;
    for (long i = 0; i < vectors;) {
        const long at = w->at[i];
        long stop = w->due[i] < w->end[i] ? w->due[i] : w->end[i], count = 0;
        if (stop > to) stop = to;
        if (at >= stop) {
            i++;
            continue;
        }
        const int loose = !w->alike || w->loose[i];
        for (; i + count < vectors && count < ABREAST; count++) {
            const long j = i + count, until = w->due[j] < w->end[j] ? w->due[j] : w->end[j];
            if (w->at[j] != at || (until < to ? until : to) != stop || (!w->alike || w->loose[j]) != loose) break;
            w->at[j] = stop;
            more |= stop < to && stop < w->end[j];
        }
        switch (loose ? -count : count) {
        case 1: walk_on(run, w, first, i, 1, at - from, stop - from, 0); break;
        case 2: walk_on(run, w, first, i, 2, at - from, stop - from, 0); break;
        case 3: walk_on(run, w, first, i, 3, at - from, stop - from, 0); break;
        case 4: walk_on(run, w, first, i, 4, at - from, stop - from, 0); break;
        case 5: walk_on(run, w, first, i, 5, at - from, stop - from, 0); break;
        case 6: walk_on(run, w, first, i, 6, at - from, stop - from, 0); break;
        case 7: walk_on(run, w, first, i, 7, at - from, stop - from, 0); break;
        case 8: walk_on(run, w, first, i, 8, at - from, stop - from, 0); break;
        default:
            for (long k = 0; k < count; k += 2)
                if (k + 1 < count) walk_on(run, w, first, i + k, 2, at - from, stop - from, 1);
                else walk_on(run, w, first, i + k, 1, at - from, stop - from, 1);
        }
        i += count;
    }
    return more;
}

/* One block of at most RESETTING vectors: as stepped_block. */
INLINE void resets_block(const stepped_run *run, long first, long vectors, long months, double *balance, double *interest,
                         double *fees) {
    resetting state, *w = &state;
    vec sum = {0}, sum_fee = {0};
    long last = 0;
    w->fee = run->row[ROW_FEE][run->step[ROW_FEE] * first];
    w->rounds = !within(run, ROW_ROUNDING, first, vectors, 0, 0);
    w->firsts = differ(run, ROW_FIRST_CAP, ROW_CAP, first, vectors) || differ(run, ROW_FIRST_FLOOR, ROW_FLOOR, first, vectors);
    w->alike = within(run, ROW_COMPOUND, first, vectors, 1, 1);
    w->regular = w->alike && within(run, ROW_PAYS, first, vectors, 1, 1) && within(run, ROW_STEADY, first, vectors, 1, 1);
    if (fees && !within(run, ROW_FEE, first, vectors, w->fee, w->fee)) w->alike = 0;
    for (long i = 0; i < vectors; i++) {
        start(run, w, first, i);
        sum += w->a[i];
        if (fees) sum_fee += ROW(ROW_FEE) * w->a[i];
        if (w->end[i] > last) last = w->end[i];
    }
    balance[0] += fold(&sum);
    if (fees) fees[0] += fold(&sum_fee);
    if (last > months) last = months;
    for (long from = 0; from < last; from += SPELL) {
        const long to = from + SPELL < last ? from + SPELL : last;
        memset(w->balance, 0, sizeof w->balance);
        memset(w->interest, 0, sizeof w->interest);
        memset(w->fees, 0, sizeof w->fees);
        do all_events(run, w, first, vectors, to);
        while (walk_all(run, w, first, vectors, from, to));
        for (long t = from; t < to; t++) {
            const double left = fold(w->balance + t - from);
            balance[t + 1] += left;
            if (interest) interest[t] += fold(w->interest + t - from);
            if (fees) fees[t + 1] += w->alike ? w->fee * left : fold(w->fees + t - from);
        }
    }
}
#endif

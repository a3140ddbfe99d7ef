"""Loans sorted into runs, and the lanes of runs. Part of _core.pyx.

What loans are sorted by is packed into words, the least first, each key with as many bits as its values are apart; a
word is sorted by radix, sixteen bits a pass or eight where loans are few. Stable.
"""

cdef enum:
    WORD_BITS = 62
    MOST_WORDS = 32
    RUN_COLUMNS = 9
    MANY_TO_SORT = 16384


cdef struct Words:
    # word[k]: of each loan; bits[k] of it are used, the lowest near[k] of them by keys that make no run
    unsigned long *word[MOST_WORDS]
    int bits[MOST_WORDS]
    int near[MOST_WORDS]
    int count


cdef simd_void spread(const int *key, const long *some, long n, int *low, int *high) noexcept nogil:
    """OUT the least and the most of a key of the loans `some`, or of the first n where that is NULL."""
    cdef long j
    cdef int least = key[some[0] if some != NULL else 0], most = least
    if some == NULL:
        for j in range(n):
            least = key[j] if key[j] < least else least
            most = key[j] if key[j] > most else most
    else:
        for j in range(n):
            least = min(least, key[some[j]])
            most = max(most, key[some[j]])
    low[0], high[0] = least, most


cdef simd_void put(unsigned long *word, const int *key, const long *some, long n, int low, int shift) noexcept nogil:
    """OUT the key from bit `shift` of the words on, less its least value."""
    cdef long j
    if some == NULL:
        for j in range(n):
            word[j] |= <unsigned long>(<unsigned int>key[j] - <unsigned int>low) << shift
    else:
        for j in range(n):
            word[j] |= <unsigned long>(<unsigned int>key[some[j]] - <unsigned int>low) << shift


cdef int pack(Words *words, const int *key, const long *some, long n, bint near) noexcept nogil:
    """Puts a key before those packed already, which then decide less; 0 without memory."""
    cdef int low, high, bits = 0, last = words.count - 1
    cdef unsigned long *word
    spread(key, some, n, &low, &high)
    while (<long>high - low) >> bits:
        bits += 1
    if bits == 0:
        return 1
    if last < 0 or words.bits[last] + bits > WORD_BITS:
        word = <unsigned long *>calloc(n, sizeof(unsigned long))
        if word == NULL or words.count == MOST_WORDS:
            free(word)
            return 0
        last = words.count
        words.word[last], words.bits[last], words.near[last] = word, 0, 0
        words.count += 1
    put(words.word[last], key, some, n, low, words.bits[last])
    words.bits[last] += bits
    if near:
        words.near[last] += bits
    return 1


cdef void pass_over(const unsigned long *word, int shift, int digits, const int *before, int *after, long n,
                    int *count) noexcept nogil:
    """OUT after: `before` sorted by some digits of its words; stable. count: room for 2 ** digits numbers."""
    cdef long j, mask = (1 << digits) - 1, begin = 0, here
    memset(count, 0, (mask + 1) * sizeof(int))
    for j in range(n):
        count[(word[j] >> shift) & mask] += 1
    for j in range(mask + 1):
        here = count[j]
        count[j] = begin
        begin += here
    for j in range(n):
        here = (word[before[j]] >> shift) & mask
        after[count[here]] = before[j]
        count[here] += 1


cdef int sort_words(const Words *words, long n, int **order) noexcept nogil:
    """OUT order: the loans in the order of their words, memory that the caller frees; 0 without memory."""
    cdef int most = 16 if n >= MANY_TO_SORT else 8
    cdef int k, shift, digits, passes
    cdef long j
    cdef int *count = <int *>calloc(1 << most, sizeof(int))
    cdef int *spare = <int *>calloc(n, sizeof(int))
    cdef int *now = <int *>calloc(n, sizeof(int))
    order[0] = now
    if count == NULL or spare == NULL or now == NULL:
        free(count)
        free(spare)
        return 0
    for j in range(n):
        now[j] = <int>j
    for k in range(words.count):
        passes = (words.bits[k] + most - 1) // most
        digits = (words.bits[k] + passes - 1) // passes
        shift = 0
        while shift < words.bits[k]:
            pass_over(words.word[k], shift, digits, now, spare, n, count)
            now, spare = spare, now
            shift += digits
    order[0] = now
    free(count)
    free(spare)
    return 1


cdef bint one_run(const Words *words, long one, long other) noexcept nogil:
    """Whether two loans have all keys alike but for the near ones."""
    cdef int k
    for k in range(words.count):
        if words.word[k][one] >> words.near[k] != words.word[k][other] >> words.near[k]:
            return False
    return True


def in_runs(list near, list keys, const long[::1] some, long n):
    """The loans `some`, or all n (None), by the last of the keys, then the one before it and so on; where runs begin.

    keys: int32 by loan, what those of a run share; near: by which a run's loans are sorted then, also the last first.
    Gives int64 loans and places in them. Raises MemoryError.
    """
    cdef Words words
    cdef long j, count = 0
    cdef int *at = NULL
    cdef int k, done = 1
    cdef const int[::1] key
    cdef const long *chosen = NULL
    order, begins = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    cdef long[::1] sorted_loans = order, first = begins
    words.count = 0
    if n == 0:
        return order, begins
    if some is not None:
        chosen = &some[0]
    for k in range(len(near) + len(keys)):
        key = np.ascontiguousarray(near[k] if k < len(near) else keys[k - len(near)])
        done = done and pack(&words, &key[0], chosen, n, k < len(near))
    with nogil:
        done = done and sort_words(&words, n, &at)
        if done:
            for j in range(n):
                sorted_loans[j] = at[j] if chosen == NULL else chosen[at[j]]
                if j == 0 or not one_run(&words, at[j - 1], at[j]):
                    first[count] = j
                    count += 1
        for k in range(words.count):
            free(words.word[k])
        free(at)
    if not done:
        raise MemoryError("no room for sorting loans into runs")
    return order, begins[:count]


def lanes_of_runs(const long[::1] order, const long[::1] begins, const int[:] apart, const int[:] term, const int[:] stop,
                  const int[:] age, const int[:] members, const int[:] row, const int[:] walk, long longest_lag, long offset):
    """Every run in whole vectors: the lane of each loan of the order, the rows of the runs, and the lanes in all.

    apart: a vector ends where it changes. offset: lanes before these. The columns of a run are those of project_sums.
    """
    cdef long r, j, i, end, lane = 0, at, most, vectors
    places, rows = np.empty(order.shape[0], dtype=np.int64), np.empty((begins.shape[0], RUN_COLUMNS), dtype=np.int64)
    cdef long[::1] place = places
    cdef long[:, ::1] run = rows
    with nogil:
        for r in range(begins.shape[0]):
            end = begins[r + 1] if r + 1 < begins.shape[0] else order.shape[0]
            most, at = 0, lane
            for j in range(begins[r], end):
                if j > begins[r] and apart[order[j]] != apart[order[j - 1]]:
                    at = (at + LANES - 1) // LANES * LANES
                place[j] = at
                at += 1
                most = max(most, <long>term[order[j]])
            vectors = (at - lane + LANES - 1) // LANES
            i = order[begins[r]]
            run[r, RUN_FIRST], run[r, RUN_VECTORS], run[r, RUN_MONTHS] = lane, vectors, most + longest_lag
            run[r, RUN_SET], run[r, RUN_AGE], run[r, RUN_TERM] = members[i], age[i], stop[i]
            run[r, RUN_OUT], run[r, RUN_WALK], run[r, RUN_LANE] = row[i], walk[i], lane + offset
            lane += vectors * LANES
    return places, rows, lane

"""Texts to whole numbers, in the order in which they first appear. Part of _core.pyx.

A tape has a name a loan and few names, so a loan costs one look-up: in a dict where the texts are objects, in a table of
the rows' hashes where they are characters of one width (NumPy's own texts).
"""

from cpython.dict cimport PyDict_GetItem
from cpython.ref cimport PyObject

# Differs from process to process, as Python's own hashes of texts do, so that nobody can choose names that collide.
cdef unsigned long SEED = <unsigned long><long>hash("names of loans")


def text_codes(list texts):
    """int32 codes of texts and the distinct ones, by code; -1 for none, NaN and the empty text. Others go by their str."""
    codes = np.empty(len(texts), dtype=np.int32)
    cdef int[::1] out = codes
    cdef dict known = {"": -1}
    cdef list distinct = []
    cdef Py_ssize_t i
    cdef int code = -1
    cdef object text, last = None
    cdef PyObject *found
    for i in range(len(texts)):
        text = texts[i]
        if text is not last:
            last = text
            if type(text) is not str:
                text = "" if text is None or text != text else str(text)
            found = PyDict_GetItem(known, text)
            if found == NULL:
                code = len(distinct)
                known[text] = code
                distinct.append(text)
            else:
                code = <object>found
        out[i] = code
    return codes, distinct


def character_codes(const unsigned int[:, ::1] rows):
    """int32 codes of rows of characters, equal for equal rows, and the int64 rows in which each code first appears."""
    cdef Py_ssize_t n = rows.shape[0], width = rows.shape[1], i
    codes = np.empty(n, dtype=np.int32)
    cdef int[::1] out = codes
    cdef long[::1] first = np.empty(1024, dtype=np.int64)
    cdef int[::1] slots = np.full(2048, -1, dtype=np.int32)
    cdef long count = 0, mask = 2047, at
    for i in range(n):
        at = slot_of(rows, i, width, &first[0], &slots[0], mask)
        if slots[at] < 0:
            if count == first.shape[0]:
                first = np.concatenate([first, np.empty(count, dtype=np.int64)])
                mask = 4 * count - 1
                slots = np.full(4 * count, -1, dtype=np.int32)
                for at in range(count):
                    slots[slot_of(rows, first[at], width, &first[0], &slots[0], mask)] = at
                at = slot_of(rows, i, width, &first[0], &slots[0], mask)
            first[count] = i
            slots[at] = count
            count += 1
        out[i] = slots[at]
    return codes, np.asarray(first)[:count]


cdef long slot_of(const unsigned int[:, ::1] rows, Py_ssize_t i, Py_ssize_t width, const long *first, const int *slots,
                  long mask) noexcept nogil:
    """Where in the table row i is, or would go: the first slot from its hash on that has its like or is free."""
    cdef unsigned long mixed = SEED
    cdef Py_ssize_t j
    cdef long at
    for j in range(width):
        mixed = (mixed ^ rows[i, j]) * <unsigned long>0x9E3779B97F4A7C15
        mixed = mixed ^ (mixed >> 32)
    at = mixed & mask
    while slots[at] >= 0 and memcmp(&rows[i, 0], &rows[first[slots[at]], 0], width * sizeof(unsigned int)) != 0:
        at = (at + 1) & mask
    return at

/* Marks for callgrind between the cases that it counts; outside of valgrind they do nothing. */
#include <valgrind/callgrind.h>

void begin_count(void) { CALLGRIND_ZERO_STATS; }

void end_count(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }

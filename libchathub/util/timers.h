/* Deadlines in a binary heap: intrusive, exact, without a clock of its own. */
#ifndef CHI_UTIL_TIMERS_H
#define CHI_UTIL_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chi_timer {
    uint64_t due;                          /* in the owner's milliseconds */
    uint32_t place;                        /* index in the heap + 1; 0 while it is not set */
    uint32_t run;                          /* the run in which, or after which, it was set */
    void (*fire)(struct chi_timer *timer); /* called by chi_timers_run, the timer no longer set */
};

struct chi_timers {
    struct chi_timer **heap; /* owned array of timers that others own, the earliest first */
    uint32_t count;          /* timers set */
    uint32_t cap;            /* places allocated */
    uint32_t run;            /* number of the latest run */
    uint64_t now;            /* time of the latest run: nothing is due before it */
};

void chi_timers_init(struct chi_timers *timers);
/* Forgets the timers without looking at them; clearing one afterwards is harmless. */
void chi_timers_fini(struct chi_timers *timers);
/* Sets a timer, or moves one that is set. 0 or CHATHUB_ENOMEM (only when it was not set). */
int chi_timers_set(struct chi_timers *timers, struct chi_timer *timer, uint64_t due);
void chi_timers_clear(struct chi_timers *timers, struct chi_timer *timer); /* harmless if not set */
/* Fires, in order, all that are due at `now`. What they set anew for `now` waits for the next
 * run. */
void chi_timers_run(struct chi_timers *timers, uint64_t now);
/* When the earliest is due; UINT64_MAX if none is set. */
uint64_t chi_timers_next(const struct chi_timers *timers);

#endif

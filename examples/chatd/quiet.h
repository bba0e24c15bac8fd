/* Gives memory back to the system once chatd has become quiet: what a crowd needed while it came
 * leaves holes in the heap, which the C library would keep. */
#ifndef CHATD_QUIET_H
#define CHATD_QUIET_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct quiet {
    uv_timer_t timer;              /* on the loop from start to stop */
    uint64_t (*doings)(void *arg); /* a sum of what was done, which else stands still */
    void *arg;                     /* for doings */
    uint64_t seen;                 /* the sum at the last look */
    bool done;                     /* memory was given back since */
};

/* `quiet` stays where it is until the loop has closed its handle. */
void quiet_start(struct quiet *quiet, uv_loop_t *loop, uint64_t (*doings)(void *arg), void *arg);
void quiet_stop(struct quiet *quiet); /* may be called again */

#endif

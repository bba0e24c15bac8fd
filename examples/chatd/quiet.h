/* Gives memory back to the system once chatd has become quiet: what a crowd needed while it came
 * leaves holes in the heap, which the C library would keep. */
#ifndef CHATD_QUIET_H
#define CHATD_QUIET_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct chathub;

struct quiet {
    uv_timer_t timer;    /* on the loop from start to stop */
    struct chathub *hub; /* whose doings are watched */
    uint64_t seen;       /* sum of what it had done at the last look */
    bool done;           /* memory was given back since */
};

/* `quiet` stays where it is until the loop has closed its handle. */
void quiet_start(struct quiet *quiet, uv_loop_t *loop, struct chathub *hub);
void quiet_stop(struct quiet *quiet); /* may be called again */

#endif

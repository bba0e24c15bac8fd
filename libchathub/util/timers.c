#include "util/timers.h"

#include <stdlib.h>

#include "chathub.h"

#define TIMERS_FIRST 16u

void chi_timers_init(struct chi_timers *timers)
{
    *timers = (struct chi_timers){0};
}

void chi_timers_fini(struct chi_timers *timers)
{
    free(timers->heap);
    chi_timers_init(timers);
}

static void put(struct chi_timers *timers, uint32_t at, struct chi_timer *timer)
{
    timers->heap[at] = timer;
    timer->place = at + 1;
}

/* By time, then by the run in which they were set: what a run sets anew comes after what was due
 * in it. */
static bool before(const struct chi_timer *a, const struct chi_timer *b)
{
    if (a->due != b->due)
        return a->due < b->due;
    return (int32_t)(a->run - b->run) < 0;
}

static void sift_up(struct chi_timers *timers, uint32_t at)
{
    struct chi_timer *timer = timers->heap[at];
    while (at) {
        uint32_t parent = (at - 1) / 2;
        if (!before(timer, timers->heap[parent]))
            break;
        put(timers, at, timers->heap[parent]);
        at = parent;
    }
    put(timers, at, timer);
}

static void sift_down(struct chi_timers *timers, uint32_t at)
{
    struct chi_timer *timer = timers->heap[at];
    for (;;) {
        uint64_t child = (uint64_t)at * 2 + 1;
        if (child >= timers->count)
            break;
        uint32_t least = (uint32_t)child;
        if (child + 1 < timers->count && before(timers->heap[least + 1], timers->heap[least]))
            least++;
        if (!before(timers->heap[least], timer))
            break;
        put(timers, at, timers->heap[least]);
        at = least;
    }
    put(timers, at, timer);
}

static bool reserve(struct chi_timers *timers)
{
    if (timers->count < timers->cap)
        return true;
    if (timers->cap > UINT32_MAX / 2 - 1)
        return false;
    uint32_t cap = timers->cap ? timers->cap * 2 : TIMERS_FIRST;
    struct chi_timer **heap = realloc(timers->heap, cap * sizeof *heap);
    if (!heap)
        return false;
    timers->heap = heap;
    timers->cap = cap;
    return true;
}

int chi_timers_set(struct chi_timers *timers, struct chi_timer *timer, uint64_t due)
{
    if (!timer->place && !reserve(timers))
        return CHATHUB_ENOMEM;
    timer->due = due > timers->now ? due : timers->now;
    timer->run = timers->run;
    if (!timer->place)
        put(timers, timers->count++, timer);
    sift_up(timers, timer->place - 1);
    sift_down(timers, timer->place - 1);
    return 0;
}

void chi_timers_clear(struct chi_timers *timers, struct chi_timer *timer)
{
    uint32_t at = timer->place - 1;
    bool in_heap =
        timer->place && at < timers->count; /* not: the heap was ended before its timers */
    timer->place = 0;
    if (!in_heap)
        return;
    struct chi_timer *last = timers->heap[--timers->count];
    if (last == timer)
        return;
    put(timers, at, last);
    sift_up(timers, at);
    sift_down(timers, last->place - 1);
}

void chi_timers_run(struct chi_timers *timers, uint64_t now)
{
    timers->run++;
    timers->now = now;
    while (timers->count) {
        struct chi_timer *timer = timers->heap[0];
        if (timer->due > now || timer->run == timers->run)
            break;
        chi_timers_clear(timers, timer);
        timer->fire(timer);
    }
}

uint64_t chi_timers_next(const struct chi_timers *timers)
{
    return timers->count ? timers->heap[0]->due : UINT64_MAX;
}

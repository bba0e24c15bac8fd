/* The hand-over to a log's thread and back: what the hub's thread puts in, the thread takes, works
 * off and gives back, and the hub's thread collects.
 *
 * Nothing is copied and nothing is allocated: whatever is handed over begins with a chi_work. Who
 * has it in hand is its only user; each passing on is under one lock, which also makes whatever was
 * written before visible. */
#ifndef CHI_LOG_HANDOVER_H
#define CHI_LOG_HANDOVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct chi_work {
    struct chi_work *next;
};

/* A list in order; `first` NULL: empty. */
struct chi_works {
    struct chi_work *first, *last;
    uint32_t count;
};

void chi_works_add(struct chi_works *works, struct chi_work *work);
struct chi_work *chi_works_take(struct chi_works *works); /* NULL: empty */
/* All of `from` behind what is there; `from` is empty then. */
void chi_works_move(struct chi_works *works, struct chi_works *from);

struct chi_handover {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* on CLOCK_MONOTONIC: something was put in, or it is to end */
    pthread_t thread;
    struct chi_works in; /* under lock, as the next four */
    struct chi_works out;
    bool stopping;
    bool nudged;             /* `take` is to come back, though nothing was put in */
    uint32_t enough;         /* the thread sleeps until so many are in; 0: it does not sleep */
    bool started;            /* `thread` runs or ran: the hub's thread's alone */
    void (*wake)(void *arg); /* called by the thread after it gave something back */
    void *wake_arg;
    void (*run)(void *arg); /* what the thread does until chi_handover_take says that it ends */
    void *run_arg;
};

/* Makes one whose waits end by CLOCK_MONOTONIC. 0 or CHATHUB_ENOMEM. */
int chi_monotonic_cond(pthread_cond_t *cond);

/* Monotonic time in µs, as until_us below. */
uint64_t chi_handover_now(void);

/* `name` (at most 15 characters) is what the system calls the thread. Signals are blocked in it. 0,
 * CHATHUB_ENOMEM or CHATHUB_EIO. */
int chi_handover_start(struct chi_handover *h, const char *name, void (*run)(void *arg),
                       void *run_arg, void (*wake)(void *arg), void *wake_arg);
/* The thread is told to end after what it has in hand, and waited for; what was not taken, and what
 * was not collected, is in `left` then. Harmless if it never started. */
void chi_handover_stop(struct chi_handover *h, struct chi_works *left);

/* From any thread: chi_handover_take comes back at once, now or when it is called next, though
 * nothing was put in. */
void chi_handover_nudge(struct chi_handover *h);

/* From the hub's thread: all of `works`, which is empty then. */
void chi_handover_put(struct chi_handover *h, struct chi_works *works);
void chi_handover_collect(struct chi_handover *h, struct chi_works *out);

/* From the thread: waits until something was put in, or somebody nudged, or `until_us` has come
 * (UINT64_MAX: for ever; 0: not at all), then moves all there is to the end of `works`. False: it is
 * to end. */
bool chi_handover_take(struct chi_handover *h, struct chi_works *works, uint64_t until_us);
/* Waits until `until_us`, or until `enough` were put in that were not taken. False: it is to end. */
bool chi_handover_pause(struct chi_handover *h, uint64_t until_us, uint32_t enough);
void chi_handover_give(struct chi_handover *h, struct chi_works *works);

#endif

/* A lock between one thread that works in turns (the owner) and any number of callers. A mutex alone
 * is unfair: an owner with much to do takes it again before a caller has woken up, and callers who
 * call in a loop would do so to the owner. Here all who wait at the end of a turn come before the
 * next turn, and who comes later comes behind it. Who is inside may enter again. */
#ifndef CHI_UTIL_GATE_H
#define CHI_UTIL_GATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct chi_gate {
    pthread_mutex_t mutex;    /* of all below, held for a moment */
    pthread_cond_t callers;   /* one of them may look again */
    pthread_cond_t owner;     /* it may look again */
    _Atomic uintptr_t holder; /* the thread that is inside; 0: none */
    uint32_t depth;           /* how often it has entered; its own */
    uint32_t waiting;         /* callers */
    uint32_t first;           /* of these, how many come before the owner that waits */
    bool owner_waits;
};

/* 0, or an error of errno. */
int chi_gate_init(struct chi_gate *gate);
void chi_gate_fini(struct chi_gate *gate);
/* Whether it was entered anew: false where this thread was inside already. */
bool chi_gate_enter(struct chi_gate *gate);
/* The owner, which is not inside. */
void chi_gate_enter_turn(struct chi_gate *gate);
/* Once for each enter. */
void chi_gate_leave(struct chi_gate *gate);

#endif

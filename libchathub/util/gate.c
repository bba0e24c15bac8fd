#include "util/gate.h"

static uintptr_t self(void)
{
    return (uintptr_t)pthread_self();
}

int chi_gate_init(struct chi_gate *gate)
{
    *gate = (struct chi_gate){0};
    int error = pthread_mutex_init(&gate->mutex, NULL);
    if (error)
        return error;
    pthread_cond_init(&gate->callers, NULL);
    pthread_cond_init(&gate->owner, NULL);
    return 0;
}

void chi_gate_fini(struct chi_gate *gate)
{
    pthread_cond_destroy(&gate->callers);
    pthread_cond_destroy(&gate->owner);
    pthread_mutex_destroy(&gate->mutex);
}

/* Nobody but this thread itself writes its own number there: what it reads needs no lock. */
static bool is_inside(struct chi_gate *gate)
{
    return atomic_load_explicit(&gate->holder, memory_order_relaxed) == self();
}

static bool is_taken(struct chi_gate *gate)
{
    return atomic_load_explicit(&gate->holder, memory_order_relaxed) != 0;
}

static void take(struct chi_gate *gate)
{
    atomic_store_explicit(&gate->holder, self(), memory_order_relaxed);
    gate->depth = 1;
}

bool chi_gate_enter(struct chi_gate *gate)
{
    if (is_inside(gate)) {
        gate->depth++;
        return false;
    }
    pthread_mutex_lock(&gate->mutex);
    gate->waiting++;
    while (is_taken(gate) || (gate->owner_waits && !gate->first))
        pthread_cond_wait(&gate->callers, &gate->mutex);
    gate->waiting--;
    if (gate->first)
        gate->first--;
    take(gate);
    pthread_mutex_unlock(&gate->mutex);
    return true;
}

void chi_gate_enter_turn(struct chi_gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    gate->owner_waits = true;
    gate->first = gate->waiting;
    while (is_taken(gate) || gate->first)
        pthread_cond_wait(&gate->owner, &gate->mutex);
    gate->owner_waits = false;
    take(gate);
    pthread_mutex_unlock(&gate->mutex);
}

void chi_gate_leave(struct chi_gate *gate)
{
    if (--gate->depth)
        return;
    pthread_mutex_lock(&gate->mutex);
    atomic_store_explicit(&gate->holder, 0, memory_order_relaxed);
    if (gate->owner_waits && !gate->first)
        pthread_cond_signal(&gate->owner);
    else if (gate->waiting)
        pthread_cond_signal(&gate->callers);
    pthread_mutex_unlock(&gate->mutex);
}

#include "log/handover.h"

#include <signal.h>
#include <time.h>

#include "chathub.h"

void chi_works_add(struct chi_works *works, struct chi_work *work)
{
    work->next = NULL;
    if (works->first)
        works->last->next = work;
    else
        works->first = work;
    works->last = work;
    works->count++;
}

struct chi_work *chi_works_take(struct chi_works *works)
{
    struct chi_work *work = works->first;
    if (work) {
        works->first = work->next;
        works->count--;
    }
    return work;
}

void chi_works_move(struct chi_works *works, struct chi_works *from)
{
    if (!from->first)
        return;
    if (works->first)
        works->last->next = from->first;
    else
        works->first = from->first;
    works->last = from->last;
    works->count += from->count;
    from->first = NULL;
    from->count = 0;
}

uint64_t chi_handover_now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000 + (uint64_t)at.tv_nsec / 1000;
}

static void *enter(void *arg)
{
    struct chi_handover *h = arg;
    h->run(h->run_arg);
    return NULL;
}

int chi_monotonic_cond(pthread_cond_t *cond)
{
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic))
        return CHATHUB_ENOMEM;
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    int error = pthread_cond_init(cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return error ? CHATHUB_ENOMEM : 0;
}

static int make_locks(struct chi_handover *h)
{
    if (pthread_mutex_init(&h->lock, NULL))
        return CHATHUB_ENOMEM;
    int error = chi_monotonic_cond(&h->changed);
    if (error)
        pthread_mutex_destroy(&h->lock);
    return error;
}

/* The host's signals are not for this thread. */
static int make_thread(struct chi_handover *h, const char *name)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int error = pthread_create(&h->thread, NULL, enter, h);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error)
        pthread_setname_np(h->thread, name);
    return error ? CHATHUB_EIO : 0;
}

int chi_handover_start(struct chi_handover *h, const char *name, void (*run)(void *arg),
                       void *run_arg, void (*wake)(void *arg), void *wake_arg)
{
    *h = (struct chi_handover){.wake = wake, .wake_arg = wake_arg, .run = run, .run_arg = run_arg};
    int error = make_locks(h);
    if (error)
        return error;
    error = make_thread(h, name);
    if (error) {
        pthread_cond_destroy(&h->changed);
        pthread_mutex_destroy(&h->lock);
        return error;
    }
    h->started = true;
    return 0;
}

void chi_handover_stop(struct chi_handover *h, struct chi_works *left)
{
    if (!h->started)
        return;
    pthread_mutex_lock(&h->lock);
    h->stopping = true;
    pthread_cond_signal(&h->changed);
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->thread, NULL);
    h->started = false;
    chi_works_move(left, &h->in);
    chi_works_move(left, &h->out);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
}

void chi_handover_put(struct chi_handover *h, struct chi_works *works)
{
    if (!works->first)
        return;
    pthread_mutex_lock(&h->lock);
    chi_works_move(&h->in, works);
    if (h->enough && h->in.count >= h->enough)
        pthread_cond_signal(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

void chi_handover_nudge(struct chi_handover *h)
{
    pthread_mutex_lock(&h->lock);
    h->nudged = true;
    if (h->enough)
        pthread_cond_signal(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

void chi_handover_collect(struct chi_handover *h, struct chi_works *out)
{
    pthread_mutex_lock(&h->lock);
    chi_works_move(out, &h->out);
    pthread_mutex_unlock(&h->lock);
}

/* Under lock: sleeps until something changes. False: the time has come. */
static bool wait_change(struct chi_handover *h, uint64_t until_us)
{
    if (until_us == UINT64_MAX)
        return !pthread_cond_wait(&h->changed, &h->lock);
    struct timespec until = {.tv_sec = (time_t)(until_us / 1000000),
                             .tv_nsec = (long)(until_us % 1000000) * 1000};
    return !pthread_cond_timedwait(&h->changed, &h->lock, &until);
}

/* Under lock. False: the thread is to end. */
static bool wait_enough(struct chi_handover *h, uint64_t until_us, uint32_t enough)
{
    h->enough = enough;
    while (!h->stopping && !h->nudged && h->in.count < enough && chi_handover_now() < until_us &&
           wait_change(h, until_us)) {
    }
    h->enough = 0;
    h->nudged = false;
    return !h->stopping;
}

bool chi_handover_take(struct chi_handover *h, struct chi_works *works, uint64_t until_us)
{
    pthread_mutex_lock(&h->lock);
    bool goes_on = wait_enough(h, until_us, 1);
    chi_works_move(works, &h->in);
    pthread_mutex_unlock(&h->lock);
    return goes_on;
}

bool chi_handover_pause(struct chi_handover *h, uint64_t until_us, uint32_t enough)
{
    pthread_mutex_lock(&h->lock);
    bool goes_on = wait_enough(h, until_us, enough);
    pthread_mutex_unlock(&h->lock);
    return goes_on;
}

void chi_handover_give(struct chi_handover *h, struct chi_works *works)
{
    if (!works->first)
        return;
    pthread_mutex_lock(&h->lock);
    chi_works_move(&h->out, works);
    pthread_mutex_unlock(&h->lock);
    h->wake(h->wake_arg);
}

/* The boundary for hubs with a thread of their own.
 *
 * Happy path: the thread waits for the loop's descriptor, its next timer, or to be woken, without the
 * hub; then it takes its turn at the gate, runs the loop once without waiting, and leaves. Calls of
 * other threads come in between (CHI_CALL), and wake it if they left something to do before its time.
 * Failure modes: a thread that cannot be made fails the start, and the hub is as it was; after a stop
 * the thread ends, and calls answer as for any hub that has stopped. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "boundary.h"
#include "util/gate.h"

struct chi_own {
    struct chathub *hub;
    uint64_t number; /* of this hub among all, for what its callers' threads remember */
    struct chi_gate gate;
    pthread_t thread;
    int wake_fd;         /* an eventfd: from calls to the thread, until free */
    atomic_bool woken;   /* chathub_wake was called */
    atomic_bool turn;    /* chi_call_turn was */
    atomic_bool stopped; /* nothing wakes it any more */
    bool asleep;         /* it waits, or is about to; all below by who is in the gate */
    uint64_t due;        /* until when, on the loop's clock */
    bool end;            /* it is to end though the hub has not stopped */
};

/* What was wrong with the last call of this thread. It has to be the thread's: callers read it when
 * their call has left the gate, and the next one may be in it. Bound to a hub by its number. */
static _Thread_local struct {
    uint64_t number;
    char text[sizeof(((struct chathub *)NULL)->problem)];
} wrong;

/* --------------------------------------------------------------------------------------- calls */

/* The hub's own text is for one call, or one turn with all calls in it. */
static void keep_problem(struct chi_own *own)
{
    char *problem = own->hub->problem;
    if (!*problem)
        return;
    wrong.number = own->number;
    memcpy(wrong.text, problem, strlen(problem) + 1);
    *problem = '\0';
}

const char *chi_own_problem(const struct chi_own *own)
{
    return wrong.number == own->number ? wrong.text : "";
}

static void wake(struct chi_own *own)
{
    static const uint64_t one = 1;
    int before = errno; /* signal handlers may call */
    while (write(own->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    } /* else it is full, which wakes as well */
    errno = before;
}

struct chi_own *chi_call_begin(const struct chathub *hub)
{
    struct chi_own *own = hub ? hub->own : NULL;
    if (!own || hub->pid != getpid())
        return NULL;
    if (chi_gate_enter(&own->gate) && own->asleep)
        uv_update_time(own->hub->loop); /* what the call sets counts from now */
    return own;
}

void chi_call_end(struct chi_own **called)
{
    struct chi_own *own = *called;
    if (!own)
        return;
    keep_problem(own);
    bool early = own->asleep && chi_loop_due(own->hub) < own->due;
    if (early)
        own->asleep = false;
    chi_gate_leave(&own->gate);
    if (early)
        wake(own);
}

void chi_call_turn(struct chathub *hub)
{
    if (!hub->own) {
        if (hub->driver)
            chi_driver_want_turn(hub->driver);
    } else if (!atomic_exchange(&hub->own->turn, true)) {
        wake(hub->own);
    }
}

int chi_own_wake(struct chi_own *own)
{
    if (atomic_load(&own->stopped))
        return CHATHUB_ESTOPPED;
    atomic_store(&own->woken, true);
    wake(own);
    return 0;
}

/* ---------------------------------------------------------------------------------- the thread */

static void hear_wakes(struct chi_own *own)
{
    if (atomic_exchange(&own->woken, false) && own->hub->driver)
        chi_driver_wake(own->hub->driver);
    if (atomic_exchange(&own->turn, false))
        own->hub->work = true;
}

/* One turn. Answers how many milliseconds may be waited, -1: for ever, -2: it is the last. */
static int take_turn(struct chi_own *own)
{
    struct chathub *hub = own->hub;
    int wait = -2;
    chi_gate_enter_turn(&own->gate);
    hear_wakes(own);
    chi_loop_round(hub);
    keep_problem(own);
    if (hub->state != STATE_STOPPED && !own->end) {
        uint64_t now = uv_now(hub->loop), left;
        own->due = chi_loop_due(hub);
        left = own->due > now ? own->due - now : 0;
        wait = own->due == UINT64_MAX ? -1 : (int)(left < INT32_MAX ? left : INT32_MAX);
    }
    own->asleep = wait != 0 && wait != -2;
    atomic_store(&own->stopped, hub->state == STATE_STOPPED);
    chi_gate_leave(&own->gate);
    return wait;
}

static void *run(void *arg)
{
    struct chi_own *own = arg;
    struct pollfd fds[] = {{.fd = uv_backend_fd(own->hub->loop), .events = POLLIN},
                           {.fd = own->wake_fd, .events = POLLIN}};
    uint64_t count;
    int wait;
    while ((wait = take_turn(own)) != -2) {
        if (wait && poll(fds, 2, wait) > 0 && fds[1].revents)
            (void)!read(own->wake_fd, &count, sizeof(count));
    }
    return NULL;
}

static void own_free(struct chi_own *own)
{
    if (!own)
        return;
    if (own->wake_fd >= 0)
        close(own->wake_fd);
    chi_gate_fini(&own->gate);
    free(own);
}

static int own_new(struct chathub *hub, struct chi_own **out)
{
    struct chi_own *own = calloc(1, sizeof(*own));
    if (!own)
        return CHATHUB_ENOMEM;
    if (chi_gate_init(&own->gate)) {
        free(own);
        return CHATHUB_ENOMEM;
    }
    own->hub = hub;
    own->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (own->wake_fd < 0) {
        own_free(own);
        return CHATHUB_EIO;
    }
    chi_world_random(&own->number, sizeof(own->number));
    *out = own;
    return 0;
}

/* The host's signals are not for this thread. */
static int make_thread(struct chi_own *own)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int error = pthread_create(&own->thread, NULL, run, own);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return chi_problem(own->hub, CHATHUB_EIO, "cannot make a thread: %s", strerror(error));
    pthread_setname_np(own->thread, "chathub");
    return 0;
}

int chathub_start_thread(struct chathub *hub)
{
    CHI_CALL(hub);
    struct chi_own *own;
    int error = chi_enter(hub);
    if (error)
        return error;
    if (hub->state != STATE_NEW)
        return chi_plain(hub, CHATHUB_ESTARTED);
    if (hub->stand_in)
        return chi_problem(hub, CHATHUB_EINVAL,
                           "a hub in a test has no thread: start it by chathub_start");
    error = own_new(hub, &own);
    if (error)
        return chi_plain(hub, error);
    error = chathub_start(hub, NULL);
    if (error) {
        own_free(own);
        return error;
    }
    keep_problem(own);
    hub->own = own;
    error = make_thread(own);
    if (error) {
        hub->own = NULL;
        hub->state = STATE_NEW;
        chi_tear_down(hub);
        own_free(own);
    }
    return error;
}

void chi_own_end(struct chathub *hub)
{
    struct chi_own *own = hub->own;
    if (!own)
        return;
    chi_gate_enter(&own->gate);
    own->end = true;
    chi_gate_leave(&own->gate);
    wake(own);
    pthread_join(own->thread, NULL);
    hub->own = NULL;
    own_free(own);
}

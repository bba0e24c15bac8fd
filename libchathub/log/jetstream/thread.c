/* The thread of a JetStream log: its link to NATS, its logic, and the way to the hub's thread.
 * Contract: link.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chathub.h"
#include "log/jetstream/js.h"
#include "log/jetstream/link.h"

#define ROUND    1024u /* messages of one round */
#define SHOWN_MS 20u   /* between two wake-ups for `shown` alone, as where no room is open here */

struct chi_js_thread {
    struct chi_handover handover;
    struct chi_js_thread_parts parts;
    struct chi_js_parts js_parts;
    struct chi_js_link *link; /* made and freed by the thread, as `js` */
    struct chi_js *js;        /* set before `started` says so */
    struct chi_works left;    /* what the thread had in hand as it ended */
    uint64_t due;     /* ms: when the hub's thread is to hear of `shown`; UINT64_MAX: never */
    uint64_t given;   /* µs: when finished tasks were given last … */
    uint64_t give_at; /* … and are to be again; UINT64_MAX: there are none */

    pthread_mutex_t lock;   /* of all below */
    pthread_cond_t changed; /* `decided` */
    bool decided;           /* the stream is open, or will not be: */
    int error;              /* then why */
    char problem[512];      /* why, or what is missing so far */
    struct chi_js_orders orders;
    struct chi_js_news news;
};

static uint64_t now_ms(void)
{
    return chi_handover_now() / 1000;
}

/* ------------------------------------------------------------------------------------ the start */

static void decide(struct chi_js_thread *t, int error, const char *problem)
{
    pthread_mutex_lock(&t->lock);
    if (!t->decided) {
        t->decided = true;
        t->error = error;
        snprintf(t->problem, sizeof t->problem, "%s", problem);
        pthread_cond_signal(&t->changed);
    }
    pthread_mutex_unlock(&t->lock);
}

static void note_missing(struct chi_js_thread *t, const char *what)
{
    pthread_mutex_lock(&t->lock);
    snprintf(t->problem, sizeof t->problem, "%s", what);
    pthread_mutex_unlock(&t->lock);
}

static void look_whether_decided(struct chi_js_thread *t)
{
    int error = CHATHUB_EIO;
    bool lasting;
    const char *stream = chi_js_stream_problem(t->js, &error);
    const char *link = chi_js_link_problem(t->link, &lasting);
    if (t->js->state == CHI_JS_UP)
        decide(t, 0, "");
    else if (stream)
        decide(t, error, stream);
    else if (*link && lasting)
        decide(t, CHATHUB_EIO, link);
    else
        note_missing(t, link);
}

/* ------------------------------------------------------------------------------------- the news */

/* Called by the hand-over after tasks were given, so that `shown` is never told before them. */
static void tell(void *arg)
{
    struct chi_js_thread *t = arg;
    t->due = UINT64_MAX;
    pthread_mutex_lock(&t->lock);
    t->news = t->js->news;
    pthread_mutex_unlock(&t->lock);
    t->parts.wake(t->parts.wake_arg);
}

/* No task is finished that would bring the news along. */
static void tell_if_new(struct chi_js_thread *t)
{
    /* The thread alone writes t->news. */
    const struct chi_js_news *news = &t->js->news, *told = &t->news;
    bool differ = news->stats.down != told->stats.down || news->why != told->why ||
                  news->made != told->made || news->passed != told->passed ||
                  strcmp(news->trouble, told->trouble) != 0;
    if (differ || (news->shown != told->shown && t->due <= t->js->now))
        tell(t);
    else if (news->shown == told->shown)
        t->due = UINT64_MAX;
    else if (t->due == UINT64_MAX)
        t->due = t->js->now + SHOWN_MS;
}

/* ------------------------------------------------------------------------------------ its rounds */

/* Gives what is finished, at the pace that it has. */
static void give(struct chi_js_thread *t)
{
    uint64_t now = chi_handover_now();
    t->give_at = t->given + t->js->orders.pace;
    if (now < t->give_at)
        return;
    t->given = now;
    t->give_at = UINT64_MAX;
    chi_handover_give(&t->handover, &t->js->out);
}

static void heard(void *arg, const struct chi_js_in *in)
{
    chi_js_heard(arg, in);
}

static void take_tasks(struct chi_js_thread *t, struct chi_works *in)
{
    struct chi_work *work;
    while ((work = chi_works_take(in))) {
        struct chi_js_task *task = (struct chi_js_task *)work;
        if (task->kind != CHI_JS_SEND) {
            chi_js_take(t->js, task);
            continue;
        }
        struct chi_span bytes = {task->bytes.at, task->bytes.len};
        task->status = chi_js_link_tell(t->link, task->node, bytes);
        chi_js_give(t->js, task);
    }
}

static void take_messages(struct chi_js_thread *t)
{
    bool missed;
    chi_js_link_take(t->link, ROUND, heard, t->js, &missed);
    if (missed)
        chi_js_missed(t->js);
}

static void do_round(struct chi_js_thread *t, struct chi_works *in)
{
    pthread_mutex_lock(&t->lock);
    struct chi_js_orders orders = t->orders;
    pthread_mutex_unlock(&t->lock);
    chi_js_begin(t->js, now_ms(), &orders);
    take_tasks(t, in);
    take_messages(t);
    chi_js_end(t->js);
    if (t->js->out.first)
        give(t);
    else
        tell_if_new(t);
    /* Whoever starts it finds the news of this round. */
    if (!t->decided)
        look_whether_decided(t);
}

/* µs: when the next round is due. */
static uint64_t next_round(struct chi_js_thread *t)
{
    uint64_t next = chi_js_next(t->js);
    if (chi_js_link_waits(t->link))
        return 0;
    if (t->due < next)
        next = t->due;
    next = next > UINT64_MAX / 1000 ? UINT64_MAX : next * 1000;
    return t->give_at < next ? t->give_at : next;
}

static int make_all(struct chi_js_thread *t, char *problem, size_t size)
{
    int error = chi_js_link_new(&t->parts.link, &t->link, problem, size);
    if (error)
        return error;
    t->js_parts.port = chi_js_link_port(t->link);
    error = chi_js_new(&t->js_parts, &t->js);
    if (error)
        snprintf(problem, size, "log jetstream: %s", chathub_strerror(error));
    return error;
}

static void run(void *arg)
{
    struct chi_js_thread *t = arg;
    struct chi_works in = {0};
    char problem[512];
    int error = make_all(t, problem, sizeof problem);
    if (error) {
        decide(t, error, problem);
    } else {
        uint64_t next = 0;
        while (chi_handover_take(&t->handover, &in, next)) {
            do_round(t, &in);
            next = next_round(t);
        }
    }
    chi_works_move(&t->left, &in);
    chi_js_free(t->js, &t->left);
    t->js = NULL;
    chi_js_link_free(t->link);
    t->link = NULL;
}

/* ------------------------------------------------------------------------------ the hub's thread */

static void nudge(void *arg)
{
    struct chi_js_thread *t = arg;
    chi_handover_nudge(&t->handover);
}

static int make_locks(struct chi_js_thread *t)
{
    if (pthread_mutex_init(&t->lock, NULL))
        return CHATHUB_ENOMEM;
    int error = chi_monotonic_cond(&t->changed);
    if (error)
        pthread_mutex_destroy(&t->lock);
    return error;
}

/* Under lock: the time is over. */
static void explain_silence(struct chi_js_thread *t)
{
    if (!*t->problem)
        snprintf(t->problem, sizeof t->problem,
                 "log jetstream:%s: the stream %s is not ready after %u s%s%s; has its cluster a "
                 "leader, and may this user ask $JS.API.>?",
                 t->parts.link.url->shown, t->parts.link.url->stream, CHI_JS_OPEN_MS / 1000,
                 t->news.why ? ": " : "", t->news.why ? t->news.why : "");
}

static int wait_decided(struct chi_js_thread *t, char *problem, size_t size)
{
    struct timespec until;
    int late = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += CHI_JS_OPEN_MS / 1000;
    pthread_mutex_lock(&t->lock);
    while (!t->decided && !late)
        late = pthread_cond_timedwait(&t->changed, &t->lock, &until);
    if (!t->decided)
        explain_silence(t);
    int error = t->decided ? t->error : CHATHUB_EIO;
    if (error)
        snprintf(problem, size, "%s", t->problem);
    pthread_mutex_unlock(&t->lock);
    return error;
}

/* It did not start: there are no tasks but those that it made itself. */
static void give_up(struct chi_js_thread *t)
{
    struct chi_works left = {0};
    struct chi_work *work;
    chi_js_thread_stop(t, &left);
    while ((work = chi_works_take(&left)))
        chi_js_task_free((struct chi_js_task *)work);
}

int chi_js_thread_start(const struct chi_js_thread_parts *parts, struct chi_js_thread **out,
                        char *problem, size_t size)
{
    struct chi_js_thread *t = calloc(1, sizeof *t);
    snprintf(problem, size, "log jetstream: %s", chathub_strerror(CHATHUB_ENOMEM));
    if (!t || make_locks(t)) {
        free(t);
        return CHATHUB_ENOMEM;
    }
    t->parts = *parts;
    t->js_parts = *parts->js;
    t->orders = *parts->orders;
    t->due = t->give_at = UINT64_MAX;
    t->parts.link.wake = nudge;
    t->parts.link.arg = t;
    int error = chi_handover_start(&t->handover, "chathub-log-n", run, t, tell, t);
    if (!error)
        error = wait_decided(t, problem, size);
    else
        snprintf(problem, size, "log jetstream: no thread can be made");
    if (error)
        give_up(t);
    else
        *out = t;
    return error;
}

void chi_js_thread_stop(struct chi_js_thread *t, struct chi_works *left)
{
    if (!t)
        return;
    chi_handover_stop(&t->handover, left);
    chi_works_move(left, &t->left);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

void chi_js_thread_put(struct chi_js_thread *t, struct chi_works *tasks)
{
    chi_handover_put(&t->handover, tasks);
}

void chi_js_thread_collect(struct chi_js_thread *t, struct chi_works *tasks)
{
    chi_handover_collect(&t->handover, tasks);
}

void chi_js_thread_exchange(struct chi_js_thread *t, const struct chi_js_orders *orders,
                            struct chi_js_news *news)
{
    pthread_mutex_lock(&t->lock);
    t->orders = *orders;
    *news = t->news;
    pthread_mutex_unlock(&t->lock);
}

int chi_js_thread_epochs(struct chi_js_thread *t, struct chi_js_epochs *out)
{
    struct chi_js *js = t->js;
    pthread_mutex_lock(&js->lock);
    uint32_t count = js->epochs.count;
    *out = (struct chi_js_epochs){.list = malloc((count ? count : 1) * sizeof *out->list)};
    if (out->list && count) {
        memcpy(out->list, js->epochs.list, count * sizeof *out->list);
        out->count = count;
    }
    pthread_mutex_unlock(&js->lock);
    return out->list ? 0 : CHATHUB_ENOMEM;
}

/* The public face of hubs with a thread of their own, and of the queue of events: used as a host
 * would. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chathub.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ALLOCATOR_IS_OURS false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ALLOCATOR_IS_OURS false
#endif
#endif
#ifndef ALLOCATOR_IS_OURS
#define ALLOCATOR_IS_OURS true
#endif

/* The least that option event-queue can be. */
#define TINY 65536u

/* ---------------------------------------------------------------------------------------- hosts */

static struct chathub *hub_new(void)
{
    struct chathub *hub = NULL;
    ck_assert_int_eq(chathub_new(&hub), 0);
    return hub;
}

static struct chathub *hub_started(void)
{
    struct chathub *hub = hub_new();
    ck_assert_int_eq(chathub_start_thread(hub), 0);
    return hub;
}

static uint64_t client(struct chathub *hub, const char *name)
{
    uint64_t id = 0;
    ck_assert_int_eq(chathub_client(hub, name, NULL, NULL, &id), 0);
    return id;
}

static bool is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

/* Waits for events and takes them. */
static struct chathub_batch take(struct chathub *hub)
{
    struct chathub_batch batch = {.size = sizeof(batch)};
    struct pollfd fd = {.fd = chathub_queue_fd(hub), .events = POLLIN};
    ck_assert_int_ge(fd.fd, 0);
    while (!chathub_take(hub, &batch))
        ck_assert_int_eq(poll(&fd, 1, -1), 1);
    return batch;
}

/* Takes until an event of this type, of this client if it is not 0, has come; answers how many other
 * events came before it. */
static struct chathub_event last;
static char last_text[64];

static uint32_t until(struct chathub *hub, uint32_t type, uint64_t of)
{
    uint32_t others = 0;
    for (;;) {
        struct chathub_batch batch = take(hub);
        bool found = false;
        for (uint32_t i = 0; i < batch.count; i++) {
            const struct chathub_event *event = &batch.events[i];
            if (event->type != type || (of && event->client != of)) {
                others++;
                continue;
            }
            last = *event;
            const char *text = event->content[0] ? event->content : event->message;
            snprintf(last_text, sizeof(last_text), "%s", text);
            found = true;
        }
        if (found)
            return others;
    }
}

/* Posts, as long as the client has too much to do. */
static int post(struct chathub *hub, uint64_t id, const char *room, const char *text,
                const char *cid)
{
    int error;
    while ((error = chathub_post(hub, id, room, text, CHATHUB_NUL, cid)) == CHATHUB_EAGAIN)
        sched_yield();
    return error;
}

static int entries_of(const char *path)
{
    int n = 0;
    DIR *dir = opendir(path);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static void stop_and_free(struct chathub *hub)
{
    ck_assert_int_eq(chathub_stop(hub, NULL, NULL), 0);
    until(hub, CHATHUB_EVENT_STOPPED, 0);
    chathub_free(hub);
}

/* -------------------------------------------------------------------------------------- a thread */

START_TEST(a_hub_runs_by_itself_and_its_events_come_by_the_queue)
{
    struct chathub *hub = hub_started();
    uint64_t alice = client(hub, "alice");
    ck_assert_int_eq(chathub_join(hub, alice, "a", CHATHUB_START_NOW, 0), 0);
    ck_assert_int_eq(chathub_post(hub, alice, "a", "hi all", 2, "c-1"), 0);
    uint32_t types[4];
    for (uint32_t n = 0; n < 4;) {
        struct chathub_batch batch = take(hub);
        for (uint32_t i = 0; i < batch.count && n < 4; i++) {
            ck_assert_uint_eq(batch.events[i].client, alice);
            ck_assert_uint_eq(batch.events[i].size, sizeof(struct chathub_event));
            types[n++] = batch.events[i].type;
        }
    }
    ck_assert_uint_eq(types[0], CHATHUB_EVENT_WELCOME);
    ck_assert_uint_eq(types[1], CHATHUB_EVENT_JOINED);
    stop_and_free(hub);
}
END_TEST

START_TEST(what_is_for_other_loops_is_refused)
{
    struct chathub *hub = hub_started();
    ck_assert_int_eq(chathub_run(hub), CHATHUB_EINVAL);
    ck_assert_ptr_nonnull(strstr(chathub_problem(hub), "chathub_start_thread"));
    ck_assert_int_eq(chathub_step(hub, 0), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_start(hub, NULL), CHATHUB_ESTARTED);
    ck_assert_int_eq(chathub_start_thread(hub), CHATHUB_ESTARTED);
    ck_assert_int_lt(chathub_fd(hub), 0);
    ck_assert_int_eq(chathub_timeout(hub), -1);
    stop_and_free(hub);
}
END_TEST

START_TEST(a_start_that_fails_leaves_a_hub_that_can_start)
{
    char url[128];
    struct chathub *first = hub_new(), *hub = hub_new();
    ck_assert_int_eq(chathub_listen(first, "tcp://127.0.0.1:0"), 0);
    ck_assert_int_eq(chathub_start_thread(first), 0);
    ck_assert_int_gt(chathub_listener(first, 0, url, sizeof(url)), 0);
    int fds = entries_of("/proc/self/fd"), threads = entries_of("/proc/self/task");
    ck_assert_int_eq(chathub_listen(hub, url), 0);
    ck_assert_int_eq(chathub_start_thread(hub), CHATHUB_EINUSE);
    ck_assert_str_ne(chathub_problem(hub), "");
    ck_assert_int_eq(entries_of("/proc/self/fd"), fds);
    ck_assert_int_eq(entries_of("/proc/self/task"), threads);
    stop_and_free(first);
    ck_assert_int_eq(chathub_start_thread(hub), 0);
    stop_and_free(hub);
}
END_TEST

struct wakes {
    atomic_int count;
    pthread_t thread; /* that called */
};

static void on_wake(struct chathub *hub, void *arg)
{
    struct wakes *wakes = arg;
    struct chathub_stats stats = {.size = sizeof(stats)};
    sigset_t blocked;
    ck_assert_int_eq(chathub_stats(hub, &stats), 0); /* it may call in */
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    ck_assert_int_eq(sigismember(&blocked, SIGINT), 1);
    wakes->thread = pthread_self();
    wakes->count++;
}

static struct chathub *signalled;

static void on_signal(int number)
{
    (void)number;
    chathub_wake(signalled);
}

START_TEST(a_wake_comes_on_the_hubs_thread_from_a_signal_handler_too)
{
    struct chathub *hub = hub_new();
    struct wakes wakes = {0};
    ck_assert_int_eq(chathub_on_wake(hub, on_wake, &wakes), 0);
    ck_assert_int_eq(chathub_start_thread(hub), 0);
    ck_assert_int_eq(chathub_wake(hub), 0);
    while (!wakes.count)
        sched_yield();
    ck_assert(!pthread_equal(wakes.thread, pthread_self()));
    signalled = hub;
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    while (wakes.count < 2)
        sched_yield();
    signal(SIGUSR1, SIG_DFL);
    ck_assert_int_eq(chathub_stop(hub, NULL, NULL), 0);
    until(hub, CHATHUB_EVENT_STOPPED, 0);
    while (chathub_wake(hub) != CHATHUB_ESTOPPED)
        sched_yield();
    chathub_free(hub);
}
END_TEST

struct waker {
    struct chathub *hub;
    pthread_t thread;
    atomic_bool over;
};

static void *wake_on(void *arg)
{
    struct waker *waker = arg;
    while (!atomic_load(&waker->over))
        chathub_wake(waker->hub);
    return NULL;
}

static void on_done_waking(void *arg)
{
    struct waker *waker = arg;
    atomic_store(&waker->over, true);
    pthread_join(waker->thread, NULL);
}

/* On any thread, until the stop's callback. */
START_TEST(a_wake_may_come_while_a_hub_stops)
{
    for (int i = 0; i < 50; i++) {
        struct waker waker = {.hub = hub_new()};
        ck_assert_int_eq(chathub_start(waker.hub, NULL), 0);
        ck_assert_int_eq(pthread_create(&waker.thread, NULL, wake_on, &waker), 0);
        ck_assert_int_eq(chathub_stop(waker.hub, on_done_waking, &waker), 0);
        ck_assert_int_eq(chathub_run(waker.hub), 0);
        ck_assert(atomic_load(&waker.over));
        chathub_free(waker.hub);
    }
}
END_TEST

struct wrong {
    struct chathub *hub;
    const char *option;
    bool right; /* each time the problem was this thread's own */
};

static void *set_wrongly(void *arg)
{
    struct wrong *wrong = arg;
    wrong->right = true;
    for (int i = 0; i < 2000; i++) {
        wrong->right &= chathub_set(wrong->hub, wrong->option, "x") == CHATHUB_EOPTION;
        wrong->right &= strstr(chathub_problem(wrong->hub), wrong->option) != NULL;
    }
    return NULL;
}

START_TEST(each_thread_is_told_what_was_wrong_with_its_own_call)
{
    struct chathub *hub = hub_started(), *other = hub_started();
    struct wrong wrong[] = {{hub, "no-such-one", false}, {hub, "nor-that-one", false}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, set_wrongly, &wrong[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    ck_assert(wrong[0].right && wrong[1].right);
    ck_assert_str_eq(chathub_problem(hub), "");
    ck_assert_int_eq(chathub_set(hub, "not-here", "1"), CHATHUB_EOPTION);
    ck_assert_str_eq(chathub_problem(other), "");
    stop_and_free(hub);
    stop_and_free(other);
}
END_TEST

static void on_done(void *arg)
{
    atomic_store((atomic_bool *)arg, true);
}

START_TEST(stopped_is_the_last_event_behind_the_end_of_each_client)
{
    struct chathub *hub = hub_started();
    atomic_bool done = false;
    uint64_t alice = client(hub, "alice"), bob = client(hub, "bob");
    uint32_t closed = 0, stopped = 0;
    until(hub, CHATHUB_EVENT_WELCOME, bob);
    ck_assert_int_eq(chathub_stop(hub, on_done, &done), 0);
    while (!stopped) {
        struct chathub_batch batch = take(hub);
        for (uint32_t i = 0; i < batch.count; i++) {
            ck_assert_uint_eq(stopped, 0);
            closed += batch.events[i].type == CHATHUB_EVENT_CLOSED;
            stopped += batch.events[i].type == CHATHUB_EVENT_STOPPED;
        }
    }
    ck_assert_uint_eq(closed, 2);
    while (!atomic_load(&done))
        sched_yield();
    struct chathub_batch batch = {.size = sizeof(batch)};
    ck_assert_int_eq(chathub_take(hub, &batch), 0);
    ck_assert(!is_readable(chathub_queue_fd(hub)));
    ck_assert_int_eq(chathub_post(hub, alice, NULL, "x", 1, NULL), CHATHUB_ESTOPPED);
    ck_assert_int_eq(chathub_stop(hub, NULL, NULL), CHATHUB_ESTOPPED);
    chathub_free(hub);
}
END_TEST

/* Holds the hub up until the host lets it go. */
static void on_wake_wait(struct chathub *hub, void *arg)
{
    atomic_int *step = arg;
    (void)hub;
    atomic_store(step, 1);
    while (atomic_load(step) == 1)
        sched_yield();
}

/* The child is made while the hub's thread, which it does not have, is at work. */
START_TEST(a_forked_child_may_not_use_it_and_harms_nobody)
{
    struct chathub *hub = hub_new();
    atomic_int step = 0;
    ck_assert_int_eq(chathub_on_wake(hub, on_wake_wait, &step), 0);
    ck_assert_int_eq(chathub_start_thread(hub), 0);
    uint64_t alice = client(hub, "alice");
    until(hub, CHATHUB_EVENT_WELCOME, alice);
    ck_assert_int_eq(chathub_wake(hub), 0);
    while (!atomic_load(&step))
        sched_yield();
    pid_t child = fork();
    if (!child) {
        alarm(60);
        struct chathub_batch batch = {.size = sizeof(batch)};
        bool right = chathub_post(hub, alice, NULL, "x", 1, NULL) == CHATHUB_EFORK &&
                     chathub_take(hub, &batch) == CHATHUB_EFORK &&
                     chathub_queue_fd(hub) == CHATHUB_EFORK && chathub_wake(hub) == CHATHUB_EFORK &&
                     chathub_stop(hub, NULL, NULL) == CHATHUB_EFORK;
        chathub_free(hub);
        _exit(right ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && !WEXITSTATUS(status));
    atomic_store(&step, 2);
    ck_assert_int_eq(chathub_join(hub, alice, NULL, CHATHUB_START_NOW, 0), 0);
    until(hub, CHATHUB_EVENT_JOINED, alice);
    stop_and_free(hub);
}
END_TEST

/* Odd rounds are freed without a stop, some with a client whose events nobody takes. */
static void round_of_life(int number)
{
    struct chathub *hub = hub_new();
    if (number % 4 == 0)
        ck_assert_int_eq(chathub_listen(hub, "tcp://127.0.0.1:0"), 0);
    ck_assert_int_eq(chathub_queue_log(hub, CHATHUB_DEBUG), 0);
    ck_assert_int_eq(chathub_start_thread(hub), 0);
    if (number % 3) {
        uint64_t alice = client(hub, "alice");
        ck_assert_int_eq(chathub_join(hub, alice, NULL, CHATHUB_START_NOW, 0), 0);
        ck_assert_int_eq(chathub_post(hub, alice, NULL, "x", 1, NULL), 0);
    }
    if (number % 2)
        chathub_free(hub);
    else
        stop_and_free(hub);
}

START_TEST(a_thousand_lives_leave_nothing)
{
    for (int i = 0; i < 200; i++)
        round_of_life(i);
    int fds = entries_of("/proc/self/fd"), threads = entries_of("/proc/self/task");
    size_t used = ALLOCATOR_IS_OURS ? mallinfo2().uordblks : 0;
    for (int i = 0; i < 1000; i++)
        round_of_life(i);
    ck_assert_int_eq(entries_of("/proc/self/fd"), fds);
    ck_assert_int_eq(entries_of("/proc/self/task"), threads);
    if (ALLOCATOR_IS_OURS) /* what threads keep for themselves varies by some chunks */
        ck_assert_uint_lt(mallinfo2().uordblks, used + 16384);
}
END_TEST

/* ------------------------------------------------------------------------------- many threads */

#define THREADS 8
#define POSTS   300

struct poster {
    struct chathub *hub;
    uint64_t id;
    int number;
};

static void *post_many(void *arg)
{
    struct poster *poster = arg;
    for (int i = 0; i < POSTS; i++) {
        char cid[32];
        snprintf(cid, sizeof(cid), "%d-%d", poster->number, i);
        if (post(poster->hub, poster->id, "a", cid, cid))
            return NULL;
    }
    return arg;
}

START_TEST(posts_of_many_threads_are_each_acked_once_in_their_order)
{
    struct chathub *hub = hub_started();
    uint64_t id = client(hub, "alice");
    ck_assert_int_eq(chathub_join(hub, id, "a", CHATHUB_START_NOW, 0), 0);
    pthread_t threads[THREADS];
    struct poster posters[THREADS];
    int next[THREADS] = {0}, seen = 0;
    uint64_t position = 0;
    for (int i = 0; i < THREADS; i++) {
        posters[i] = (struct poster){hub, id, i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, post_many, &posters[i]), 0);
    }
    for (int acks = 0; acks < THREADS * POSTS || seen < THREADS * POSTS;) {
        struct chathub_batch batch = take(hub);
        for (uint32_t i = 0; i < batch.count; i++) {
            const struct chathub_event *event = &batch.events[i];
            int thread, number;
            if (event->type == CHATHUB_EVENT_MESSAGE) {
                ck_assert_uint_gt(event->position, position);
                position = event->position;
                seen++;
            } else if (event->type == CHATHUB_EVENT_ACK) {
                ck_assert_int_eq(sscanf(event->cid, "%d-%d", &thread, &number), 2);
                ck_assert_int_eq(number, next[thread]++);
                acks++;
            } else {
                ck_assert_uint_ne(event->type, CHATHUB_EVENT_ERROR);
            }
        }
    }
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        ck_assert_ptr_nonnull(result);
    }
    stop_and_free(hub);
}
END_TEST

/* Posts again for each of its entries: the hub never has nothing to do. */
static void on_again(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    if (event->type == CHATHUB_EVENT_MESSAGE && arg)
        chathub_post(hub, event->client, "a", "again", 5, NULL);
}

START_TEST(a_hub_with_too_much_to_do_hears_its_callers)
{
    struct chathub *hub = hub_started();
    static int one;
    uint64_t id;
    for (int i = 0; i < 200; i++) {
        ck_assert_int_eq(chathub_client(hub, NULL, on_again, i ? NULL : &one, &id), 0);
        ck_assert_int_eq(chathub_join(hub, id, "a", CHATHUB_START_NOW, 0), 0);
    }
    id = client(hub, NULL);
    ck_assert_int_eq(chathub_join(hub, id, "a", CHATHUB_START_NOW, 0), 0);
    for (int i = 0; i < 64; i++)
        ck_assert_int_eq(post(hub, id, "a", "first", NULL), 0);
    struct chathub_stats stats = {.size = sizeof(stats)};
    for (uint64_t posts = 0; posts < 2000; posts = stats.posts)
        ck_assert_int_eq(chathub_stats(hub, &stats), 0);
    stop_and_free(hub);
}
END_TEST

/* Calls of all kinds until the hub has stopped. */
static void *call_on(void *arg)
{
    struct chathub *hub = arg;
    struct chathub_stats stats = {.size = sizeof(stats)};
    char text[64];
    uint64_t id = 0;
    int error = 0;
    for (int i = 0; error != CHATHUB_ESTOPPED; i++) {
        switch (i % 6) {
        case 0:
            error = chathub_client(hub, NULL, NULL, NULL, &id);
            break;
        case 1:
            error = chathub_join(hub, id, "a", CHATHUB_START_LAST, 5);
            break;
        case 2:
            error = chathub_post(hub, id, "a", "text", 4, NULL);
            break;
        case 3:
            error = chathub_stats(hub, &stats);
            break;
        case 4:
            chathub_get(hub, "name", text, sizeof(text));
            chathub_set(hub, "max-content", i % 12 ? "1k" : "2k");
            chathub_answer(hub, 7, 1, NULL);
            break;
        default:
            error = chathub_close(hub, id);
        }
    }
    return arg;
}

static void *stop_it(void *arg)
{
    chathub_stop(arg, NULL, NULL);
    chathub_wake(arg);
    return arg;
}

START_TEST(a_stop_may_come_from_any_thread_while_others_call)
{
    for (int round = 0; round < 60; round++) {
        pthread_t threads[5];
        struct chathub *hub = hub_started();
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, call_on, hub), 0);
        for (int i = 0; i < round % 7; i++)
            take(hub);
        for (int i = 3; i < 5; i++) /* the second one ends it at once */
            ck_assert_int_eq(pthread_create(&threads[i], NULL, stop_it, hub), 0);
        if (round % 2)
            until(hub, CHATHUB_EVENT_STOPPED, 0);
        for (int i = 0; i < 5; i++)
            pthread_join(threads[i], NULL);
        chathub_free(hub);
    }
}
END_TEST

static void *live(void *arg)
{
    struct chathub *hub = hub_started();
    uint64_t id = client(hub, "alice");
    chathub_join(hub, id, "a", CHATHUB_START_NOW, 0);
    struct poster poster = {hub, id, 0};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, post_many, &poster), 0);
    for (int acks = 0; acks < POSTS;) {
        struct chathub_batch batch = take(hub);
        for (uint32_t i = 0; i < batch.count; i++)
            acks += batch.events[i].type == CHATHUB_EVENT_ACK;
    }
    pthread_join(thread, NULL);
    ck_assert_int_eq(chathub_stop(hub, NULL, NULL), 0);
    for (bool stopped = false; !stopped;) {
        struct chathub_batch batch = take(hub);
        stopped = batch.events[batch.count - 1].type == CHATHUB_EVENT_STOPPED;
    }
    chathub_free(hub);
    return arg;
}

START_TEST(two_hubs_on_two_threads_do_not_know_of_each_other)
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, live, NULL), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}
END_TEST

/* ------------------------------------------------------------------------------------- the queue */

#define CLIENTS 70
#define ROOMS   3
#define ENTRIES 120

struct reader {
    uint64_t id;
    uint64_t at[ROOMS];    /* position of the last entry */
    uint32_t count[ROOMS]; /* entries */
    bool closed;
};

static void on_nothing(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    (void)hub, (void)event, (void)arg;
}

static void read_entry(struct reader *readers, const struct chathub_event *event)
{
    struct reader *reader = NULL;
    for (int i = 0; i < CLIENTS; i++)
        if (readers[i].id == event->client)
            reader = &readers[i];
    ck_assert_ptr_nonnull(reader);
    ck_assert(!reader->closed);
    ck_assert_uint_ne(event->type, CHATHUB_EVENT_GAP);
    reader->closed = event->type == CHATHUB_EVENT_CLOSED;
    if (event->type != CHATHUB_EVENT_MESSAGE)
        return;
    int room = event->room[0] - 'a';
    ck_assert_uint_eq(event->prev, reader->at[room]);
    reader->at[room] = event->position;
    reader->count[room]++;
}

static bool all_read(const struct reader *readers)
{
    for (int i = 0; i < CLIENTS; i++)
        for (int room = 0; room < ROOMS; room++)
            if (readers[i].count[room] < ENTRIES)
                return false;
    return true;
}

struct writer {
    struct chathub *hub;
    uint64_t id;
};

static void *write_all(void *arg)
{
    struct writer *writer = arg;
    char text[200];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    for (int i = 0; i < ENTRIES * ROOMS; i++) {
        char room[2] = {(char)('a' + i % ROOMS), '\0'};
        if (post(writer->hub, writer->id, room, text, NULL))
            return NULL;
    }
    return arg;
}

/* With so many clients and so little room each waits for its turn again and again. */
START_TEST(a_tiny_queue_loses_nothing_and_keeps_each_order)
{
    static struct reader readers[CLIENTS];
    struct chathub *hub = hub_new();
    struct writer writer = {.hub = hub};
    pthread_t thread;
    memset(readers, 0, sizeof(readers));
    ck_assert_int_eq(chathub_set(hub, "event-queue", "64k"), 0);
    ck_assert_int_eq(chathub_start_thread(hub), 0);
    ck_assert_int_eq(chathub_client(hub, NULL, on_nothing, NULL, &writer.id), 0);
    for (char room[2] = "a"; room[0] < 'a' + ROOMS; room[0]++)
        ck_assert_int_eq(chathub_join(hub, writer.id, room, CHATHUB_START_NOW, 0), 0);
    for (int i = 0; i < CLIENTS; i++) {
        readers[i].id = client(hub, NULL);
        for (char room[2] = "a"; room[0] < 'a' + ROOMS; room[0]++)
            ck_assert_int_eq(chathub_join(hub, readers[i].id, room, CHATHUB_START_NOW, 0), 0);
    }
    for (int joined = 0; joined < CLIENTS * ROOMS;) {
        struct chathub_batch batch = take(hub);
        for (uint32_t i = 0; i < batch.count; i++)
            joined += batch.events[i].type == CHATHUB_EVENT_JOINED;
    }
    ck_assert_int_eq(pthread_create(&thread, NULL, write_all, &writer), 0);
    while (!all_read(readers)) {
        struct chathub_batch batch = take(hub);
        size_t bytes = batch.count * sizeof(struct chathub_event) + batch.texts_len;
        ck_assert_uint_le(bytes, TINY + 16384); /* the last one was begun below the bound */
        for (uint32_t i = 0; i < batch.count; i++)
            read_entry(readers, &batch.events[i]);
    }
    void *result;
    pthread_join(thread, &result);
    ck_assert_ptr_nonnull(result);
    for (int i = 0; i < CLIENTS; i++)
        for (int room = 0; room < ROOMS; room++)
            ck_assert_uint_eq(readers[i].count[room], ENTRIES);
    stop_and_free(hub);
}
END_TEST

START_TEST(the_texts_of_an_event_stand_one_behind_the_other)
{
    struct chathub *hub = hub_started();
    uint64_t alice = client(hub, "alice");
    chathub_join(hub, alice, "a", CHATHUB_START_NOW, 0);
    chathub_request(hub, alice,
                    "{\"type\":\"chat\",\"room\":\"a\",\"content\":\"hi\",\"cid\":\"c-1\","
                    "\"data\":{\"a\":1},\"ref\":7}",
                    CHATHUB_NUL);
    chathub_stop(hub, NULL, NULL);
    for (bool stopped = false; !stopped;) {
        struct chathub_batch batch = take(hub);
        const char *at = batch.texts;
        for (uint32_t i = 0; i < batch.count; i++) {
            const struct chathub_event *event = &batch.events[i];
            const char *texts[] = {event->room, event->sender, event->sender_id, event->content,
                                   event->cid,  event->data,   event->session,   event->message,
                                   event->ref,  event->json};
            for (size_t n = 0; n < sizeof(texts) / sizeof(*texts); n++) {
                ck_assert_ptr_eq(texts[n], at);
                at += strlen(at) + 1;
            }
            ck_assert_uint_eq(event->content_len, strlen(event->content));
            ck_assert_uint_eq(event->json_len, strlen(event->json));
            stopped = event->type == CHATHUB_EVENT_STOPPED;
        }
        ck_assert_ptr_eq(at, batch.texts + batch.texts_len);
    }
    chathub_free(hub);
}
END_TEST

START_TEST(the_descriptor_is_readable_while_events_wait)
{
    struct chathub *hub = hub_new();
    struct chathub_batch batch = {.size = sizeof(batch)};
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    uint64_t alice = client(hub, "alice");
    while (!chathub_take(hub, &batch))
        ck_assert_int_eq(chathub_step(hub, -1), 1);
    ck_assert_uint_eq(batch.events[0].type, CHATHUB_EVENT_WELCOME);
    int fd = chathub_queue_fd(hub);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(chathub_queue_fd(hub), fd);
    ck_assert(!is_readable(fd));
    ck_assert_int_eq(chathub_request(hub, alice, "{\"type\":\"ping\"}", CHATHUB_NUL), 0);
    while (!is_readable(fd))
        ck_assert_int_eq(chathub_step(hub, -1), 1);
    ck_assert_int_eq(chathub_take(hub, &batch), 1);
    ck_assert_uint_eq(batch.events[0].type, CHATHUB_EVENT_PONG);
    ck_assert(!is_readable(fd));
    ck_assert_int_eq(chathub_take(hub, &batch), 0);
    ck_assert_uint_eq(batch.count, 0);
    batch.size = 4;
    ck_assert_int_eq(chathub_take(hub, &batch), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_take(hub, NULL), CHATHUB_EINVAL);
    chathub_free(hub);
}
END_TEST

/* A host that has taken all is told to step on, by chathub_timeout or the descriptor. */
START_TEST(on_a_foreign_loop_a_full_queue_goes_on_when_it_is_taken)
{
    struct chathub *hub = hub_new();
    struct chathub_batch batch = {.size = sizeof(batch)};
    uint32_t entries = 0;
    char text[2000];
    memset(text, 'y', sizeof(text));
    ck_assert_int_eq(chathub_set(hub, "event-queue", "64k"), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    struct writer writer = {.hub = hub};
    ck_assert_int_eq(chathub_client(hub, NULL, on_nothing, NULL, &writer.id), 0);
    ck_assert_int_eq(chathub_join(hub, writer.id, "a", CHATHUB_START_NOW, 0), 0);
    uint64_t alice = client(hub, "alice");
    ck_assert_int_eq(chathub_join(hub, alice, "a", CHATHUB_START_NOW, 0), 0);
    for (int i = 0; i < 200; i++) {
        while (chathub_post(hub, writer.id, "a", text, sizeof(text), NULL))
            ck_assert_int_eq(chathub_step(hub, 0), 1);
    }
    while (entries < 200) {
        struct pollfd fd = {.fd = chathub_fd(hub), .events = POLLIN};
        for (int i = 0; i < 100 && (!chathub_timeout(hub) || poll(&fd, 1, 0) > 0); i++)
            ck_assert_int_eq(chathub_step(hub, 0), 1);
        ck_assert_int_gt(chathub_take(hub, &batch), 0);
        for (uint32_t i = 0; i < batch.count; i++)
            entries += batch.events[i].type == CHATHUB_EVENT_MESSAGE;
        ck_assert_uint_le(batch.texts_len, TINY + 8192);
    }
    chathub_free(hub);
}
END_TEST

/* ------------------------------------------------------------------------ questions and records */

struct judge {
    struct chathub *hub;
    uint64_t question;
    int answer;
};

static void *decide(void *arg)
{
    struct judge *judge = arg;
    judge->answer = chathub_answer(judge->hub, judge->question, judge->question & 1u ? 1 : 0, "no");
    return NULL;
}

START_TEST(questions_wait_in_the_queue_for_any_thread_to_answer)
{
    struct chathub *hub = hub_new();
    pthread_t thread;
    ck_assert_int_eq(chathub_queue_questions(hub, 1u << CHATHUB_JOIN | 1u << CHATHUB_POST), 0);
    ck_assert_int_eq(chathub_start_thread(hub), 0);
    ck_assert_int_eq(chathub_queue_questions(hub, 0), CHATHUB_ESTARTED);
    uint64_t alice = client(hub, "alice");
    ck_assert_int_eq(chathub_join(hub, alice, "a", CHATHUB_START_NOW, 0), 0);
    until(hub, CHATHUB_EVENT_QUESTION, alice);
    ck_assert_int_eq(last.code, CHATHUB_JOIN);
    uint64_t join = last.id;
    ck_assert_int_eq(chathub_answer(hub, join, 1, NULL), 0);
    ck_assert_int_eq(chathub_answer(hub, join, 1, NULL), CHATHUB_EGONE);
    until(hub, CHATHUB_EVENT_JOINED, alice);
    ck_assert_int_eq(chathub_post(hub, alice, "a", "well?", 5, NULL), 0);
    until(hub, CHATHUB_EVENT_QUESTION, alice);
    ck_assert_int_eq(last.code, CHATHUB_POST);
    ck_assert_str_eq(last_text, "well?");
    struct judge judge = {.hub = hub, .question = last.id};
    ck_assert_int_eq(pthread_create(&thread, NULL, decide, &judge), 0);
    until(hub, judge.question & 1u ? CHATHUB_EVENT_ACK : CHATHUB_EVENT_ERROR, alice);
    pthread_join(thread, NULL);
    ck_assert_int_eq(judge.answer, 0);
    stop_and_free(hub);
}
END_TEST

START_TEST(a_question_that_nobody_answers_is_denied_and_its_answer_is_late)
{
    struct chathub *hub = hub_new();
    ck_assert_int_eq(chathub_set(hub, "authorize-timeout", "1ms"), 0);
    ck_assert_int_eq(chathub_queue_questions(hub, 1u << CHATHUB_JOIN), 0);
    ck_assert_int_eq(chathub_start_thread(hub), 0);
    uint64_t alice = client(hub, "alice");
    ck_assert_int_eq(chathub_join(hub, alice, "a", CHATHUB_START_NOW, 0), 0);
    uint64_t question = 0;
    for (bool denied = false; !denied;) {
        struct chathub_batch batch = take(hub);
        for (uint32_t i = 0; i < batch.count; i++) {
            if (batch.events[i].type == CHATHUB_EVENT_QUESTION)
                question = batch.events[i].id;
            denied |= batch.events[i].type == CHATHUB_EVENT_ERROR &&
                      batch.events[i].code == CHATHUB_EDENIED;
        }
    }
    ck_assert_uint_ne(question, 0);
    ck_assert_int_eq(chathub_answer(hub, question, 1, NULL), CHATHUB_EGONE);
    stop_and_free(hub);
}
END_TEST

/* Each of many clients asks while the queue has no room: each question comes, and once. */
START_TEST(questions_wait_before_a_full_queue)
{
    enum { ASKERS = 40 };
    struct chathub *hub = hub_new();
    uint64_t ids[ASKERS];
    bool asked[ASKERS] = {false};
    char text[4000];
    memset(text, 'z', sizeof(text));
    ck_assert_int_eq(chathub_set(hub, "event-queue", "64k"), 0);
    ck_assert_int_eq(chathub_set(hub, "authorize-timeout", "1h"), 0);
    ck_assert_int_eq(chathub_queue_questions(hub, 1u << CHATHUB_JOIN), 0);
    ck_assert_int_eq(chathub_start_thread(hub), 0);
    uint64_t filler = client(hub, "filler");
    for (int i = 0; i < 20; i++) /* errors with their refs are replies, which fill the queue */
        ck_assert_int_eq(chathub_join(hub, filler, "full", CHATHUB_START_NOW, 0), 0);
    for (int i = 0; i < ASKERS; i++) {
        char name[128];
        memset(name, 'r', 127);
        snprintf(name + 100, 28, "%d", i);
        ck_assert_int_eq(chathub_client(hub, NULL, on_nothing, NULL, &ids[i]), 0);
        ck_assert_int_eq(chathub_join(hub, ids[i], name, CHATHUB_START_NOW, 0), 0);
    }
    for (int left = ASKERS; left;) {
        struct chathub_batch batch = take(hub);
        for (uint32_t i = 0; i < batch.count; i++)
            for (int n = 0; n < ASKERS; n++)
                if (batch.events[i].type == CHATHUB_EVENT_QUESTION &&
                    batch.events[i].client == ids[n]) {
                    ck_assert(!asked[n]);
                    asked[n] = true;
                    left--;
                }
    }
    stop_and_free(hub);
}
END_TEST

START_TEST(records_of_the_log_come_by_the_queue_and_are_counted_when_it_is_full)
{
    struct chathub *hub = hub_new();
    ck_assert_int_eq(chathub_set(hub, "event-queue", "64k"), 0);
    ck_assert_int_eq(chathub_queue_log(hub, CHATHUB_DEBUG), 0);
    ck_assert_int_eq(chathub_start_thread(hub), 0);
    struct writer writer = {.hub = hub};
    ck_assert_int_eq(chathub_client(hub, "alice", on_nothing, NULL, &writer.id), 0);
    ck_assert_int_eq(chathub_join(hub, writer.id, "a", CHATHUB_START_NOW, 0), 0);
    until(hub, CHATHUB_EVENT_LOG, 0);
    ck_assert_str_ne(last_text, "");
    ck_assert_uint_eq(last.count, 0);
    for (int i = 0; i < 500; i++)
        ck_assert_int_eq(post(hub, writer.id, "a", "text", NULL), 0);
    struct chathub_stats stats = {.size = sizeof(stats)};
    while (stats.posts < 500)
        ck_assert_int_eq(chathub_stats(hub, &stats), 0);
    uint64_t records = 0, lost = 0;
    chathub_close(hub, writer.id);
    chathub_stop(hub, NULL, NULL);
    for (bool stopped = false; !stopped;) {
        struct chathub_batch batch = take(hub);
        for (uint32_t i = 0; i < batch.count; i++) {
            const struct chathub_event *event = &batch.events[i];
            stopped = event->type == CHATHUB_EVENT_STOPPED;
            lost += stopped ? event->count : 0;
            if (event->type != CHATHUB_EVENT_LOG)
                continue;
            ck_assert_int_eq(event->json[0], '{');
            ck_assert_int_eq(event->json[event->json_len - 1], '}');
            records++;
            lost += event->count;
        }
    }
    ck_assert_uint_gt(lost, 0);
    ck_assert_uint_ge(records + lost, 500);
    chathub_free(hub);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("face_thread");
    TCase *tc = tcase_create("thread");
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, a_hub_runs_by_itself_and_its_events_come_by_the_queue);
    tcase_add_test(tc, what_is_for_other_loops_is_refused);
    tcase_add_test(tc, a_start_that_fails_leaves_a_hub_that_can_start);
    tcase_add_test(tc, a_wake_comes_on_the_hubs_thread_from_a_signal_handler_too);
    tcase_add_test(tc, a_wake_may_come_while_a_hub_stops);
    tcase_add_test(tc, each_thread_is_told_what_was_wrong_with_its_own_call);
    tcase_add_test(tc, stopped_is_the_last_event_behind_the_end_of_each_client);
    tcase_add_test(tc, a_forked_child_may_not_use_it_and_harms_nobody);
    tcase_add_test(tc, a_thousand_lives_leave_nothing);
    tcase_add_test(tc, posts_of_many_threads_are_each_acked_once_in_their_order);
    tcase_add_test(tc, a_hub_with_too_much_to_do_hears_its_callers);
    tcase_add_test(tc, a_stop_may_come_from_any_thread_while_others_call);
    tcase_add_test(tc, two_hubs_on_two_threads_do_not_know_of_each_other);
    tcase_add_test(tc, a_tiny_queue_loses_nothing_and_keeps_each_order);
    tcase_add_test(tc, the_texts_of_an_event_stand_one_behind_the_other);
    tcase_add_test(tc, the_descriptor_is_readable_while_events_wait);
    tcase_add_test(tc, on_a_foreign_loop_a_full_queue_goes_on_when_it_is_taken);
    tcase_add_test(tc, questions_wait_in_the_queue_for_any_thread_to_answer);
    tcase_add_test(tc, a_question_that_nobody_answers_is_denied_and_its_answer_is_late);
    tcase_add_test(tc, questions_wait_before_a_full_queue);
    tcase_add_test(tc, records_of_the_log_come_by_the_queue_and_are_counted_when_it_is_full);
    suite_add_tcase(suite, tc);
    return unit_run(suite);
}

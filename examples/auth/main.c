/* auth: a hook that answers later. Who may enter a room is looked up on another thread, which may
 * wait for a database; the hub's own thread never waits.
 *
 *     auth [URL]      default: tcp://localhost:7000
 *
 * Try it: nc localhost 7000, then type /join staff; and again after /nick alice. */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <chathub.h>

#define MOST 64 /* lookups that may wait */

/* What the two threads hand each other: a ring of lookups, of which some are done. */
struct lookup {
    uint64_t question; /* for chathub_answer */
    char name[80];     /* copied: what a callback is handed ends with it */
    bool allowed;      /* once it is done */
};

static struct chathub *hub;
static volatile sig_atomic_t asked_to_stop;
static pthread_t thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for all below */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct lookup ring[MOST];
static unsigned asked, done, told; /* so many in all: told <= done <= asked <= told + MOST */
static bool ending;

static int failed(int error)
{
    const char *problem = hub ? chathub_problem(hub) : "";
    fprintf(stderr, "auth: %s\n", *problem ? problem : chathub_strerror(error));
    chathub_free(hub);
    return 1;
}

/* Stands for a database: slow, and called without the lock. */
static bool is_staff(const char *name)
{
    nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
    return strcmp(name, "alice") == 0 || strcmp(name, "bob") == 0;
}

/* The other thread. The only function of the hub that it may call is chathub_wake. */
static void *look_up(void *arg)
{
    pthread_mutex_lock(&lock);
    while (!ending) {
        if (done == asked) {
            pthread_cond_wait(&changed, &lock);
            continue;
        }
        struct lookup *next = &ring[done % MOST];
        pthread_mutex_unlock(&lock);
        bool allowed = is_staff(next->name);
        pthread_mutex_lock(&lock);
        next->allowed = allowed;
        done++;
        chathub_wake(hub);
    }
    pthread_mutex_unlock(&lock);
    return arg;
}

/* The hub asks. Until it is answered nothing more is read from that client; all others go on. */
static int on_authorize(struct chathub *of, const struct chathub_question *question, void *arg)
{
    (void)arg;
    char room[200], name[80];
    /* Names are as they were typed, and "Staff" is the same room as "staff": so their common form
     * is compared. What is open is named, not what is closed. */
    if (chathub_fold(of, question->room, room, sizeof(room)) < 0 ||
        chathub_fold(of, question->name, name, sizeof(name)) < 0)
        return CHATHUB_DENY;
    if (strcmp(room, "general") == 0)
        return CHATHUB_ALLOW;
    pthread_mutex_lock(&lock);
    bool ask = asked - told < MOST && !ending;
    if (ask) {
        struct lookup *next = &ring[asked++ % MOST];
        next->question = question->id;
        snprintf(next->name, sizeof(next->name), "%s", name);
        pthread_cond_signal(&changed);
    }
    pthread_mutex_unlock(&lock);
    return ask ? CHATHUB_LATER : CHATHUB_DENY;
}

/* Back on the hub's thread. Who has left meanwhile gets no answer: CHATHUB_EGONE, which is fine. */
static void tell_answers(void)
{
    pthread_mutex_lock(&lock);
    for (; told < done; told++)
        chathub_answer(hub, ring[told % MOST].question, ring[told % MOST].allowed,
                       "this room is for alice and bob");
    pthread_mutex_unlock(&lock);
}

static void end_lookups(void)
{
    pthread_mutex_lock(&lock);
    ending = true;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
}

/* chathub_wake was called: by the thread, or because of a signal. The thread has to end before the
 * hub does, for it calls it. */
static void on_wake(struct chathub *woken, void *arg)
{
    (void)arg;
    if (asked_to_stop && !ending)
        end_lookups();
    tell_answers();
    if (asked_to_stop)
        chathub_stop(woken, NULL, NULL);
}

static void on_signal(int number)
{
    (void)number;
    asked_to_stop = 1;
    chathub_wake(hub);
}

int main(int argc, char **argv)
{
    char url[256];
    /* Members are asked for again when they read back: a right may have gone since they joined. */
    uint32_t actions = 1u << CHATHUB_JOIN | 1u << CHATHUB_HISTORY;
    int error = chathub_new(&hub);
    if (error == 0)
        error = chathub_listen(hub, argc > 1 ? argv[1] : "tcp://localhost:7000");
    if (error == 0)
        error = chathub_on_authorize(hub, actions, on_authorize, NULL);
    if (error == 0)
        error = chathub_on_wake(hub, on_wake, NULL);
    if (error == 0)
        error = chathub_start(hub, NULL);
    if (error < 0)
        return failed(error);
    if (pthread_create(&thread, NULL, look_up, NULL) != 0)
        return failed(CHATHUB_ENOMEM);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    chathub_listener(hub, 0, url, sizeof(url));
    printf("listening at %s, Ctrl-C stops it\n", url);
    fflush(stdout);
    error = chathub_run(hub);
    if (error < 0)
        return failed(error);
    chathub_free(hub);
    return 0;
}

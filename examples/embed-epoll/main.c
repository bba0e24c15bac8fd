/* embed-epoll: a hub in a program that has a loop of its own, here epoll(7), and not libuv's. The
 * hub is one more descriptor and one more limit to the wait, beside what the program is for: this
 * one has a timer and tells the room at each tick who is there.
 *
 *     embed-epoll [URL [SECONDS]]      default: ws://localhost:8080/ws 10
 *
 * Try it: wscat -c ws://localhost:8080/ws, then type {"content":"hi"}, and wait. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <chathub.h>

static struct chathub *hub;
static uint64_t speaker; /* the program's own client */

static int failed(int error)
{
    const char *problem = hub ? chathub_problem(hub) : "";
    fprintf(stderr, "embed-epoll: %s\n", *problem ? problem : chathub_strerror(error));
    chathub_free(hub);
    return 1;
}

static void on_event(struct chathub *of, const struct chathub_event *event, void *arg)
{
    (void)of;
    (void)arg;
    if (event->type == CHATHUB_EVENT_ERROR)
        fprintf(stderr, "embed-epoll: %s\n", event->message);
}

/* The program's own work. A call into the hub from here is as good as one from a callback. */
static void on_tick(int timer)
{
    uint64_t ticks;
    char text[80];
    struct chathub_stats stats = {.size = sizeof(stats)};
    if (read(timer, &ticks, sizeof(ticks)) < 0 || chathub_stats(hub, &stats) < 0)
        return;
    snprintf(text, sizeof(text), "%" PRIu64 " clients, %" PRIu64 " posts", stats.clients,
             stats.posts);
    if (chathub_post(hub, speaker, NULL, text, CHATHUB_NUL, NULL) < 0)
        fprintf(stderr, "embed-epoll: %s\n", chathub_problem(hub));
}

static int watch(int loop, int descriptor)
{
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = descriptor};
    return epoll_ctl(loop, EPOLL_CTL_ADD, descriptor, &interest);
}

/* A descriptor that is readable when somebody wants the program to end. */
static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static int open_timer(int seconds)
{
    struct itimerspec every = {.it_interval.tv_sec = seconds, .it_value.tv_sec = seconds};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    timerfd_settime(timer, 0, &every, NULL);
    return timer;
}

/* The loop, until the hub has stopped. The hub says how long the wait may be; its answer changes
 * with each call into it, so it is asked before each wait. */
static int run(int loop, int signals, int timer)
{
    int error;
    do {
        struct epoll_event ready[8];
        int count = epoll_wait(loop, ready, 8, chathub_timeout(hub));
        for (int i = 0; i < count; i++) {
            if (ready[i].data.fd == timer)
                on_tick(timer);
            struct signalfd_siginfo info;
            if (ready[i].data.fd == signals && read(signals, &info, sizeof(info)) > 0)
                chathub_stop(hub, NULL, NULL); /* a second time: at once */
        }
        error = chathub_step(hub, 0); /* always: its time may have come, too */
    } while (error > 0);
    return error;
}

int main(int argc, char **argv)
{
    int error = chathub_new(&hub);
    if (error == 0)
        error = chathub_listen(hub, argc > 1 ? argv[1] : "ws://localhost:8080/ws");
    if (error == 0)
        error =
            chathub_start(hub, NULL); /* NULL: on a loop of its own, which chathub_step drives */
    if (error == 0)
        error = chathub_client(hub, "clock", on_event, NULL, &speaker);
    if (error == 0)
        error = chathub_join(hub, speaker, NULL, CHATHUB_START_NOW, 0);
    if (error < 0)
        return failed(error);

    int loop = epoll_create1(EPOLL_CLOEXEC), signals = open_signals();
    int timer = open_timer(argc > 2 ? (int)strtol(argv[2], NULL, 10) : 10);
    if (watch(loop, chathub_fd(hub)) < 0 || watch(loop, signals) < 0 || watch(loop, timer) < 0) {
        perror("embed-epoll");
        chathub_free(hub);
        return 1;
    }
    char url[256];
    chathub_listener(hub, 0, url, sizeof(url));
    printf("listening at %s, Ctrl-C stops it\n", url);
    fflush(stdout);
    error = run(loop, signals, timer);
    if (error < 0)
        return failed(error);
    chathub_free(hub);
    return 0;
}

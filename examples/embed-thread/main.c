/* embed-thread: the hub runs on a thread of its own, and the program asks for what has happened when
 * it suits it: no callbacks, no locks, no loop that has to be shared. What happens waits in a queue
 * that is bounded and loses nothing: while it is full, this program's client is simply further back
 * in the room.
 *
 *     embed-thread [URL]      default: tcp://localhost:7000
 *
 * Try it: nc localhost 7000, then type ping. */
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <chathub.h>

static struct chathub *hub;
static uint64_t client;

static int failed(int error)
{
    const char *problem = hub ? chathub_problem(hub) : "";
    fprintf(stderr, "embed-thread: %s\n", *problem ? problem : chathub_strerror(error));
    chathub_free(hub);
    return 1;
}

/* On the program's own thread, as is all here: posting is for any thread, at any time. */
static void on_message(const struct chathub_event *event)
{
    char text[160];
    if (strcmp(event->content, "ping") != 0)
        return;
    snprintf(text, sizeof(text), "pong, %s", event->sender);
    int error, patience = 1000;
    /* Unlike a callback, this thread may wait a little: meanwhile the hub goes on. */
    while ((error = chathub_post(hub, client, event->room, text, CHATHUB_NUL, NULL)) ==
               CHATHUB_EAGAIN &&
           patience-- > 0)
        poll(NULL, 0, 1);
    if (error < 0)
        fprintf(stderr, "embed-thread: %s\n", chathub_problem(hub));
}

/* Takes all that has happened. Whether the hub goes on. */
static bool take(void)
{
    struct chathub_batch batch = {.size = sizeof(batch)};
    bool goes_on = true;
    if (chathub_take(hub, &batch) < 0)
        fprintf(stderr, "embed-thread: %s\n", chathub_problem(hub));
    for (uint32_t i = 0; i < batch.count; i++) { /* they are valid until the next chathub_take */
        const struct chathub_event *event = &batch.events[i];
        if (event->type == CHATHUB_EVENT_MESSAGE)
            on_message(event);
        else if (event->type == CHATHUB_EVENT_ERROR)
            fprintf(stderr, "embed-thread: %s\n", event->message);
        else if (event->type == CHATHUB_EVENT_STOPPED)
            goes_on = false;
    }
    return goes_on;
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

int main(int argc, char **argv)
{
    char url[256];
    int signals = open_signals(), error = chathub_new(&hub);
    if (error == 0)
        error = chathub_listen(hub, argc > 1 ? argv[1] : "tcp://localhost:7000");
    if (error == 0)
        error = chathub_start_thread(hub);
    if (error == 0)
        error = chathub_client(hub, "thread", NULL, NULL, &client); /* NULL: into the queue */
    if (error == 0)
        error = chathub_join(hub, client, NULL, CHATHUB_START_NOW, 0);
    if (error < 0)
        return failed(error);
    chathub_listener(hub, 0, url, sizeof(url));
    printf("listening at %s, Ctrl-C stops it\n", url);
    fflush(stdout);

    /* The program's own loop, or whatever it is that it does. */
    struct pollfd ready[] = {{chathub_queue_fd(hub), POLLIN, 0}, {signals, POLLIN, 0}};
    do {
        struct signalfd_siginfo info;
        poll(ready, 2, -1);
        if (ready[1].revents && read(signals, &info, sizeof(info)) > 0)
            chathub_stop(hub, NULL, NULL);
    } while (take());
    chathub_free(hub);
    close(signals);
    return 0;
}

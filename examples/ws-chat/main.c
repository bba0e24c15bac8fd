/* ws-chat: the smallest chat server over WebSockets. wscat -c ws://localhost:8080/ws, then type
 * {"content":"hi"}
 *
 *     ws-chat [URL]      default: ws://localhost:8080/ws */
#include <signal.h>
#include <stdio.h>

#include <chathub.h>

static struct chathub *hub;
static volatile sig_atomic_t asked_to_stop;

/* A signal handler may do no more than note what happened and wake the hub … */
static void on_signal(int number)
{
    (void)number;
    asked_to_stop = 1;
    chathub_wake(hub);
}

/* … which then calls this, on its own thread. */
static void on_wake(struct chathub *woken, void *arg)
{
    (void)arg;
    if (asked_to_stop)
        chathub_stop(woken, NULL, NULL);
}

static int failed(int error)
{
    const char *problem = hub ? chathub_problem(hub) : "";
    fprintf(stderr, "ws-chat: %s\n", *problem ? problem : chathub_strerror(error));
    chathub_free(hub);
    return 1;
}

int main(int argc, char **argv)
{
    char url[256];
    int error = chathub_new(&hub);
    if (error == 0)
        error = chathub_listen(hub, argc > 1 ? argv[1] : "ws://localhost:8080/ws");
    if (error == 0)
        error = chathub_on_wake(hub, on_wake, NULL);
    if (error == 0)
        error = chathub_start(hub, NULL);
    if (error < 0)
        return failed(error);
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

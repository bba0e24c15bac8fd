/* What a post of an in-process client costs, by chathub.h alone: with the memory log, delivered to its
 * own sender, in each of the ways in which events come. `inproc [POSTS]`.
 *
 *   callback  the hub on its own loop, in the calling thread; events come to a callback
 *   step      the same; events wait in the queue, which is emptied after each step
 *   thread    the hub on a thread of its own; events come by the queue and its descriptor
 *
 * `window`: 32 posts without an ack at any time. `single`: the next one when the last one's ack and
 * entry are there, so that each pays alone for what it wakes. CPU is the whole process's. */
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "chathub.h"

#define WINDOW 32u

/* A client, and what it has seen. */
struct client {
    struct chathub *hub;
    uint64_t id;
    uint64_t posted, acked, entries;
    uint64_t joined; /* events JOINED */
};

enum mode { CALLBACK, STEP, THREAD };

static const char CONTENT[] =
    "What a person writes in a chat has about so many characters, seldom a "
    "good many more, and often fewer than these here.";

static void fail(const char *what, int error)
{
    fprintf(stderr, "inproc: %s: %s\n", what, chathub_strerror(error));
    exit(1);
}

static void check(const char *what, int error)
{
    if (error < 0)
        fail(what, error);
}

static void hear(struct client *client, const struct chathub_event *event)
{
    if (event->type == CHATHUB_EVENT_ERROR)
        fail("a request", event->code);
    client->acked += event->type == CHATHUB_EVENT_ACK;
    client->entries += event->type == CHATHUB_EVENT_MESSAGE;
    client->joined += event->type == CHATHUB_EVENT_JOINED;
}

static void on_event(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    (void)hub;
    hear(arg, event);
}

/* Waits for events, in the mode's way, and hears them. */
static void wait_for_events(struct client *client, enum mode mode)
{
    struct chathub_batch batch = {.size = sizeof(batch)};
    struct pollfd fd = {.fd = chathub_queue_fd(client->hub), .events = POLLIN};
    if (mode != THREAD)
        check("step", chathub_step(client->hub, -1));
    else
        poll(&fd, 1, -1);
    if (mode == CALLBACK)
        return;
    check("take", chathub_take(client->hub, &batch));
    for (uint32_t i = 0; i < batch.count; i++)
        hear(client, &batch.events[i]);
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void open_client(struct client *client, enum mode mode)
{
    check("new", chathub_new(&client->hub));
    check("start",
          mode == THREAD ? chathub_start_thread(client->hub) : chathub_start(client->hub, NULL));
    check("client", chathub_client(client->hub, "somebody", mode == CALLBACK ? on_event : NULL,
                                   client, &client->id));
    check("join", chathub_join(client->hub, client->id, NULL, CHATHUB_START_NOW, 0));
    while (!client->joined)
        wait_for_events(client, mode);
}

static void post_all(struct client *client, enum mode mode, uint64_t posts, uint64_t window)
{
    uint64_t done = 0;
    while (done < posts) {
        while (client->posted < posts && client->posted - done < window) {
            check("post",
                  chathub_post(client->hub, client->id, NULL, CONTENT, sizeof(CONTENT) - 1, NULL));
            client->posted++;
        }
        wait_for_events(client, mode);
        done = client->acked < client->entries ? client->acked : client->entries;
    }
}

static void measure(const char *name, enum mode mode, uint64_t posts, uint64_t window)
{
    struct client client = {0};
    open_client(&client, mode);
    post_all(&client, mode, posts / 20 + 1, window); /* to warm up */
    client.posted = client.acked = client.entries = 0;
    double before = cpu_seconds();
    post_all(&client, mode, posts, window);
    double each = (cpu_seconds() - before) / (double)posts * 1e6;
    if (client.acked != posts || client.entries != posts)
        fail("not each post was acked and delivered once", 0);
    printf("%-9s %-7s %6.2f us of CPU for each post\n", name, window > 1 ? "window" : "single",
           each);
    chathub_free(client.hub);
}

int main(int argc, char **argv)
{
    static const char *const NAMES[] = {"callback", "step", "thread"};
    uint64_t posts = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
    for (int mode = CALLBACK; mode <= THREAD; mode++) {
        measure(NAMES[mode], (enum mode)mode, posts, WINDOW);
        measure(NAMES[mode], (enum mode)mode, posts, 1);
    }
    return 0;
}

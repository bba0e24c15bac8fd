/* bridge: two hubs in one process, on one loop of libuv, and a client in each that carries what is
 * said to the other, in order, with the name of who said it.
 *
 *     bridge [URL URL]      default: tcp://localhost:7001 tcp://localhost:7002
 *
 * Try it: nc localhost 7001 and nc localhost 7002, then type.
 *
 * Happy path: an entry is copied into the queue of its side; the queue's first is posted to the
 * other side, and leaves the queue with its ack. One at a time keeps the order, whatever fails.
 * Failure modes: a post that may succeed later is posted again, with its cid, so that it is never
 * there twice. A full queue: entries pass by, until it is empty and the client joins again behind
 * the last one that it took, for a room is a log. So a bridge that is slower than a room loses
 * nothing, and needs no more memory than its queue. */
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include <chathub.h>

#define MOST  64u /* in a queue */
#define AGAIN 200 /* ms until what failed is tried again */

struct side {
    const char *name;
    struct chathub *hub;
    struct side *other;
    uint64_t client;
    char id[64];    /* the client's, as others see it */
    uint64_t taken; /* the last entry that was queued, or need not be */
    bool behind;    /* entries pass by until the queue is empty */
    uint64_t positions[MOST];
    char *queue[MOST]; /* what waits for the other side: a ring */
    unsigned first, count;
    uv_timer_t again;
};

static struct side north = {.name = "north"}, south = {.name = "south"};
static uv_signal_t signals[2];

static void complain(const struct side *side, const char *what, const char *why)
{
    fprintf(stderr, "bridge, %s: %s: %s\n", side->name, what, why);
}

/* Whether what was answered so may succeed later. */
static bool passes(int error)
{
    return error == CHATHUB_EAGAIN || error == CHATHUB_EFULL || error == CHATHUB_ENOMEM ||
           error == CHATHUB_ELOG || error == CHATHUB_EUNKNOWN;
}

/* Posts the queue's first to the other side; an empty queue is filled with what passed by. */
static void go_on(uv_timer_t *timer)
{
    struct side *side = timer->data, *at = side->count > 0 ? side->other : side;
    int error = 0;
    if (side->count > 0) {
        char cid[64];
        snprintf(cid, sizeof(cid), "%s-%" PRIu64, side->name, side->positions[side->first]);
        error = chathub_post(at->hub, at->client, NULL, side->queue[side->first], CHATHUB_NUL, cid);
    } else if (side->behind) {
        error = chathub_join(at->hub, at->client, NULL, CHATHUB_START_AFTER, side->taken);
    }
    if (passes(error))
        uv_timer_start(timer, go_on, AGAIN, 0);
    else if (error < 0 && error != CHATHUB_ESTOPPED)
        complain(at, "cannot go on", chathub_problem(at->hub));
}

static bool put(struct side *side, const struct chathub_event *event)
{
    unsigned place = (side->first + side->count) % MOST;
    size_t size = event->content_len + 200; /* names have 64 bytes at most */
    char *text = side->count < MOST ? malloc(size) : NULL;
    if (!text)
        return false;
    snprintf(text, size, "%s@%s: %s", event->sender, side->name, event->content);
    side->queue[place] = text;
    side->positions[place] = event->position;
    if (side->count++ == 0)
        go_on(&side->again);
    return true;
}

static void on_message(struct side *side, const struct chathub_event *event)
{
    if (side->behind)
        return; /* it comes again */
    /* What this client posted came from the other side: carried back, it would never end. */
    if (strcmp(event->sender_id, side->id) == 0 || put(side, event)) {
        side->taken = event->position;
        return;
    }
    side->behind = true;
    if (side->count == 0) /* no memory */
        uv_timer_start(&side->again, go_on, AGAIN, 0);
}

/* The post of the other side's first entry was answered here. */
static void on_answer(struct side *from, int code, const char *message)
{
    if (passes(code)) {
        uv_timer_start(&from->again, go_on, AGAIN, 0);
        return;
    }
    if (code < 0)
        complain(from->other, "an entry was not taken", message);
    free(from->queue[from->first]);
    from->first = (from->first + 1) % MOST;
    from->count--;
    go_on(&from->again);
}

/* Of a post, or of joining. */
static void on_error(struct side *side, const struct chathub_event *event)
{
    if (event->cid[0]) {
        on_answer(side->other, event->code, event->message);
        return;
    }
    complain(side, "cannot be in the room", event->message);
    if (side->behind)
        uv_timer_start(&side->again, go_on, AGAIN, 0);
}

static void on_event(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    struct side *side = arg;
    (void)hub;
    switch (event->type) {
    case CHATHUB_EVENT_WELCOME:
        snprintf(side->id, sizeof(side->id), "%s", event->sender_id);
        break;
    case CHATHUB_EVENT_JOINED:
        side->behind = false; /* what follows comes from where we wished to begin */
        break;
    case CHATHUB_EVENT_MESSAGE:
        on_message(side, event);
        break;
    case CHATHUB_EVENT_ACK:
        on_answer(side->other, 0, "");
        break;
    case CHATHUB_EVENT_ERROR:
        on_error(side, event);
        break;
    case CHATHUB_EVENT_GAP:
        complain(side, "entries are lost", "the log no longer has them");
        break;
    default:
        break;
    }
}

/* Each hub takes its handles off the loop; the others are ours. */
static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    (void)handle;
    chathub_stop(north.hub, NULL, NULL);
    chathub_stop(south.hub, NULL, NULL);
    uv_close((uv_handle_t *)&north.again, NULL);
    uv_close((uv_handle_t *)&south.again, NULL);
    uv_close((uv_handle_t *)&signals[0], NULL);
    uv_close((uv_handle_t *)&signals[1], NULL);
}

static int open_side(struct side *side, struct side *other, const char *url)
{
    int error = chathub_new(&side->hub);
    side->other = other;
    side->again.data = side;
    uv_timer_init(uv_default_loop(), &side->again);
    if (error == 0)
        error = chathub_listen(side->hub, url);
    if (error == 0)
        error = chathub_start(side->hub, uv_default_loop());
    if (error == 0)
        error = chathub_client(side->hub, "bridge", on_event, side, &side->client);
    if (error == 0)
        error = chathub_join(side->hub, side->client, NULL, CHATHUB_START_NOW, 0);
    if (error < 0)
        complain(side, "cannot start", side->hub ? chathub_problem(side->hub) : "out of memory");
    return error;
}

int main(int argc, char **argv)
{
    const char *urls[] = {"tcp://localhost:7001", "tcp://localhost:7002"};
    char url[256];
    for (int i = 0; i < 2 && i + 1 < argc; i++)
        urls[i] = argv[i + 1];
    if (open_side(&north, &south, urls[0]) < 0 || open_side(&south, &north, urls[1]) < 0)
        return 1;
    for (int i = 0; i < 2; i++) {
        uv_signal_init(uv_default_loop(), &signals[i]);
        uv_signal_start(&signals[i], on_signal, i ? SIGTERM : SIGINT);
        chathub_listener(i ? south.hub : north.hub, 0, url, sizeof(url));
        printf("listening at %s\n", url);
    }
    fflush(stdout);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    chathub_free(north.hub);
    chathub_free(south.hub);
    return 0;
}

/* The epoll loop, and what is read. An incomplete frame waits in its client's `in`. */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

/* So few that a post that falls due meanwhile waits for no more than that many reads. */
#define EVENTS 128

/* Handles all whole frames; answers how many bytes they had. */
static size_t take_bytes(struct cb_bench *bench, struct cb_client *client, const char *bytes,
                         size_t len)
{
    size_t used = 0;
    if (client->state == CB_UPGRADING) {
        ptrdiff_t head = cb_client_upgraded(bench, client, bytes, len);
        if (head <= 0) {
            return 0;
        }
        used = (size_t)head;
    }
    struct cb_frame frame;
    int found = 1;
    while (client->state != CB_GONE && found > 0) {
        size_t same = cb_stream_match(bench, client, bytes + used, len - used);
        if (same == 0) {
            found = cb_frame_read(bench->options.websocket, bytes + used, len - used, &frame);
            same = found > 0 ? frame.used : 0;
            if (found > 0) {
                cb_client_frame(bench, client, &frame);
            }
        }
        used += same;
    }
    if (found < 0) {
        cb_client_lost(bench, client, "the server sent something that is no frame");
    }
    return used;
}

static void keep_partial(struct cb_bench *bench, struct cb_client *client, const char *bytes,
                         size_t len)
{
    if (client->state == CB_GONE) {
        return;
    }
    if (len != client->in_len) {
        char *in = len ? realloc(client->in, len) : NULL;
        if (len && !in) {
            cb_client_lost(bench, client, "out of memory");
            return;
        }
        if (!len) {
            free(client->in);
        }
        client->in = in;
        client->in_len = (uint32_t)len;
    }
    if (len) {
        memcpy(client->in, bytes, len);
    }
}

static void readable(struct cb_bench *bench, struct cb_client *client)
{
    char *scratch = bench->scratch;
    size_t kept = client->in_len;
    if (kept) {
        memcpy(scratch, client->in, kept);
    }
    ssize_t n = recv(client->fd, scratch + kept, CB_SCRATCH - kept, 0);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            cb_client_lost(bench, client,
                           n == 0 ? "the server ended the connection" : strerror(errno));
        }
        return;
    }
    bench->now = bench->last_progress = cb_clock();
    bench->bytes += (uint64_t)n;
    size_t len = kept + (size_t)n;
    size_t used = take_bytes(bench, client, scratch, len);
    if (used == 0 && len == CB_SCRATCH) {
        cb_client_lost(bench, client, "the server sent a frame of more than 1 MiB");
    }
    keep_partial(bench, client, scratch + used, len - used);
}

/* A timer that wakes earlier than is needed is left alone. */
static void set_timer(struct cb_bench *bench, uint64_t deadline)
{
    if (bench->armed && bench->armed <= deadline) {
        return;
    }
    struct itimerspec at = {.it_value = {.tv_sec = (time_t)(deadline / CB_SECOND),
                                         .tv_nsec = (long)(deadline % CB_SECOND)}};
    timerfd_settime(bench->timer, TFD_TIMER_ABSTIME, &at, NULL);
    bench->armed = deadline;
}

void cb_step(struct cb_bench *bench, uint64_t deadline)
{
    struct epoll_event events[EVENTS];
    bool due = deadline <= cb_clock();
    if (!due) {
        set_timer(bench, deadline);
    }
    int n = epoll_wait(bench->epoll, events, EVENTS, due ? 0 : -1);
    bench->now = cb_clock();
    for (int i = 0; i < n; i++) {
        if (events[i].data.u32 == CB_TIMER) {
            bench->armed = 0; /* edge-triggered: told once, never read */
            continue;
        }
        struct cb_client *client = &bench->clients[events[i].data.u32];
        if (client->state != CB_GONE && events[i].events & EPOLLOUT) {
            cb_client_writable(bench, client);
        }
        bool ended = events[i].events & (EPOLLERR | EPOLLHUP);
        if (client->state != CB_GONE && (events[i].events & EPOLLIN || ended)) {
            readable(bench, client);
        }
    }
}

/* Connections: how they are made, written to and ended; loop.c reads them.
 *
 * Happy path: start (connect) -> writable: WebSocket request -> 101 -> join -> joined -> frames.
 * Lines skip the WebSocket part. What can fail: a connection that is refused or ends early is
 * counted and explained once; a socket that takes no more keeps the rest in `out` until it is
 * writable. */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Connections from one source address; Linux has 28,232 ports for them by default. */
#define PORTS_PER_SOURCE 20000u
#define WAITING_MAX      (16u << 20) /* bytes that one socket did not take */

uint64_t cb_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void cb_problem(struct cb_bench *bench, const char *format, ...)
{
    if (!bench->problem[0]) {
        va_list args;
        va_start(args, format);
        vsnprintf(bench->problem, sizeof bench->problem, format, args);
        va_end(args);
    }
}

static void watch(struct cb_bench *bench, struct cb_client *client, int operation)
{
    struct epoll_event event = {.data.u32 = cb_number(bench, client)};
    bool writes = client->state == CB_CONNECTING || client->out_len > 0;
    event.events = (client->paused ? 0u : EPOLLIN) | (writes ? EPOLLOUT : 0u);
    if (epoll_ctl(bench->epoll, operation, client->fd, &event) < 0) {
        cb_client_lost(bench, client, strerror(errno));
    }
}

void cb_client_lost(struct cb_bench *bench, struct cb_client *client, const char *why)
{
    if (client->state == CB_GONE) {
        return;
    }
    cb_problem(bench, "client %u: %s", cb_number(bench, client), why);
    bench->pending -= client->state < CB_LIVE;
    bench->live -= client->state == CB_LIVE;
    bench->ended++;
    client->state = CB_GONE;
    close(client->fd);
    client->fd = -1;
    free(client->in);
    free(client->out);
    client->in = client->out = NULL;
    client->in_len = client->out_len = 0;
}

static bool bind_source(struct cb_bench *bench, int fd, uint32_t number)
{
    const struct cb_options *o = &bench->options;
    if (!o->has_source && number < PORTS_PER_SOURCE) {
        return true;
    }
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = o->source};
    if (!o->has_source) {
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    from.sin_addr.s_addr = htonl(ntohl(from.sin_addr.s_addr) + number / PORTS_PER_SOURCE);
    int on = 1; /* the port is chosen at connect, for the pair of addresses */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    return bind(fd, (struct sockaddr *)&from, sizeof from) == 0;
}

bool cb_client_start(struct cb_bench *bench)
{
    const struct cb_options *o = &bench->options;
    struct cb_client *client = &bench->clients[bench->started];
    uint32_t node = bench->started / o->rooms % o->nodes;
    int fd = socket(o->to[node].ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        cb_problem(bench, "no socket: %s", strerror(errno));
        return false;
    }
    if (client->slow) {
        int size = 4096; /* before connect: it bounds the window that is announced */
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (!bind_source(bench, fd, bench->started) ||
        (connect(fd, (const struct sockaddr *)&o->to[node], o->to_len[node]) < 0 &&
         errno != EINPROGRESS)) {
        cb_problem(bench, "cannot connect to %s: %s; is the server running there?", o->url,
                   strerror(errno));
        close(fd);
        return false;
    }
    client->fd = fd;
    client->state = CB_CONNECTING;
    bench->started++;
    bench->pending++;
    watch(bench, client, EPOLL_CTL_ADD);
    return client->state != CB_GONE;
}

static void keep_rest(struct cb_bench *bench, struct cb_client *client, const char *bytes,
                      size_t len)
{
    bool fits = client->out_len + len <= WAITING_MAX;
    char *out = fits ? realloc(client->out, client->out_len + len) : NULL;
    if (!out) {
        cb_client_lost(bench, client,
                       fits ? "out of memory" : "the server does not take its posts");
        return;
    }
    memcpy(out + client->out_len, bytes, len);
    client->out = out;
    client->out_len += (uint32_t)len;
}

/* Answers how many bytes the socket took, or -1 if the connection is lost. */
static ptrdiff_t push(struct cb_bench *bench, struct cb_client *client, const char *bytes,
                      size_t len)
{
    ssize_t n = send(client->fd, bytes, len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        cb_client_lost(bench, client, strerror(errno));
        return -1;
    }
    return n < 0 ? 0 : n;
}

static void write_bytes(struct cb_bench *bench, struct cb_client *client, const char *bytes,
                        size_t len)
{
    ptrdiff_t n = client->out_len ? 0 : push(bench, client, bytes, len);
    if (n < 0 || (size_t)n == len) {
        return;
    }
    keep_rest(bench, client, bytes + n, len - (size_t)n);
    if (client->state != CB_GONE) {
        watch(bench, client, EPOLL_CTL_MOD);
    }
}

void cb_client_flush(struct cb_bench *bench, struct cb_client *client)
{
    size_t len = bench->batch_len;
    bench->batch_len = 0;
    if (len && client->state != CB_GONE) {
        write_bytes(bench, client, bench->batch, len);
    }
}

static void add_frame(struct cb_bench *bench, struct cb_client *client, int opcode,
                      const char *text, size_t len)
{
    if (bench->batch_len + len + CB_FRAME_EXTRA > CB_BATCH) {
        cb_client_flush(bench, client);
    }
    bench->seed = bench->seed * 1664525u + 1013904223u;
    bench->batch_len += cb_frame_write(bench->options.websocket, opcode, text, len, bench->seed,
                                       bench->batch + bench->batch_len);
}

void cb_client_add(struct cb_bench *bench, struct cb_client *client, const char *text, size_t len)
{
    add_frame(bench, client, CB_TEXT, text, len);
}

static void write_frame(struct cb_bench *bench, struct cb_client *client, int opcode,
                        const char *text, size_t len)
{
    add_frame(bench, client, opcode, text, len);
    cb_client_flush(bench, client);
}

void cb_client_send(struct cb_bench *bench, struct cb_client *client, const char *text, size_t len)
{
    write_frame(bench, client, CB_TEXT, text, len);
}

void cb_client_pause(struct cb_bench *bench, struct cb_client *client, bool paused)
{
    if (client->state != CB_GONE && client->paused != paused) {
        client->paused = paused;
        watch(bench, client, EPOLL_CTL_MOD);
    }
}

void cb_client_end(struct cb_bench *bench, struct cb_client *client)
{
    static const char normal[2] = {0x03, (char)0xe8}; /* 1000 */
    if (client->state == CB_NEW || client->state == CB_GONE) {
        return;
    }
    if (bench->options.websocket && client->state > CB_UPGRADING) {
        write_frame(bench, client, CB_CLOSE, normal, sizeof normal);
    }
    if (client->state != CB_GONE) {
        cb_client_lost(bench, client, "ended");
        bench->ended--;
    }
}

static void connected(struct cb_bench *bench, struct cb_client *client)
{
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error) {
        cb_problem(bench, "cannot connect to %s: %s; is the server running there?",
                   bench->options.url, strerror(error));
        cb_client_lost(bench, client, strerror(error));
        return;
    }
    client->state = bench->options.websocket ? CB_UPGRADING : CB_JOINING;
    watch(bench, client, EPOLL_CTL_MOD);
    if (client->state == CB_JOINING) {
        cb_talk_join(bench, client);
        return;
    }
    char head[1024];
    int n = snprintf(
        head, sizeof head,
        "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: Y2hhdGJlbmNoIHNheXMgaA==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
        bench->options.path, bench->options.host,
        bench->options.plain ? "" : "Sec-WebSocket-Protocol: chathub.v1\r\n");
    write_bytes(bench, client, head, (size_t)n);
}

ptrdiff_t cb_client_upgraded(struct cb_bench *bench, struct cb_client *client, const char *bytes,
                             size_t len)
{
    const char *end = memmem(bytes, len, "\r\n\r\n", 4);
    if (!end) {
        return 0;
    }
    if (len < 12 || memcmp(bytes, "HTTP/1.1 101", 12) != 0) {
        char why[200];
        const char *line = memchr(bytes, '\r', len);
        snprintf(why, sizeof why, "no WebSocket at %s: the server answered \"%.*s\"",
                 bench->options.url, (int)(line - bytes < 100 ? line - bytes : 100), bytes);
        cb_client_lost(bench, client, why);
        return -1;
    }
    client->state = CB_JOINING;
    cb_talk_join(bench, client);
    return end + 4 - bytes;
}

void cb_client_frame(struct cb_bench *bench, struct cb_client *client, const struct cb_frame *frame)
{
    bench->frames++;
    client->frames++;
    if (frame->opcode == CB_TEXT) {
        cb_talk_take(bench, client, frame);
    } else if (frame->opcode == CB_PING) {
        write_frame(bench, client, CB_PONG, frame->text, frame->len < 125 ? frame->len : 125);
    } else if (frame->opcode == CB_CLOSE) {
        char why[200];
        int code = frame->len >= 2 ? (uint8_t)frame->text[0] << 8 | (uint8_t)frame->text[1] : 1005;
        snprintf(why, sizeof why, "the server closed it with %d %.*s", code,
                 frame->len > 2 ? (int)(frame->len - 2) : 0, frame->text + 2);
        cb_client_lost(bench, client, why);
    }
}

void cb_client_writable(struct cb_bench *bench, struct cb_client *client)
{
    if (client->state == CB_CONNECTING) {
        connected(bench, client);
        return;
    }
    ptrdiff_t n = push(bench, client, client->out, client->out_len);
    if (n < 0) {
        return;
    }
    client->out_len -= (uint32_t)n;
    if (client->out_len) {
        memmove(client->out, client->out + n, client->out_len);
        return;
    }
    free(client->out);
    client->out = NULL;
    watch(bench, client, EPOLL_CTL_MOD);
}

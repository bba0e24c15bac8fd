/* A hub of a few lines on the test's own loop, for the C client: it welcomes, joins, acks, and tells
 * each post to its sender, over lines or WebSocket. It allocates nothing itself. */
#ifndef CLIENT_SERVER_H
#define CLIENT_SERVER_H

#include "unit.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#include "chathub_client.h"
#include "util/text.h"
#include "util/websocket.h"

#define PEERS 256

/* check's own asserts allocate, which may be made to fail. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

struct peer {
    uv_tcp_t tcp;
    bool opened; /* the handle is to be closed */
    bool lines;  /* or it has upgraded */
    bool upgraded;
    char in[8192];
    size_t len;
};

struct server {
    uv_tcp_t listener;
    struct peer peers[PEERS];
    unsigned count;    /* peers so far */
    unsigned requests; /* so far, of all */
    unsigned break_at; /* request at which the connection is cut; 0: never */
    unsigned posts;    /* committed */
    char cids[64][65]; /* of them */
    uint64_t position;
    char url[64];
};

static uv_loop_t loop;
static struct server server;

static void peer_close(struct peer *peer)
{
    if (peer->opened && !uv_is_closing((uv_handle_t *)&peer->tcp))
        uv_close((uv_handle_t *)&peer->tcp, NULL);
}

static void put(struct peer *peer, const char *bytes, size_t len)
{
    uv_os_fd_t fd;
    if (!uv_is_closing((uv_handle_t *)&peer->tcp) && uv_fileno((uv_handle_t *)&peer->tcp, &fd) == 0)
        send(fd, bytes, len, MSG_NOSIGNAL);
}

__attribute__((format(printf, 2, 3))) static void tell(struct peer *peer, const char *format, ...)
{
    char text[1024], frame[1030];
    va_list args;

    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    MUST(len < (int)sizeof(text));
    if (!peer->upgraded) {
        snprintf(frame, sizeof(frame), "%s\n", text);
        put(peer, frame, (size_t)len + 1);
        return;
    }
    frame[0] = (char)0x81;
    frame[1] = (char)(len < 126 ? len : 126);
    frame[2] = (char)(len >> 8);
    frame[3] = (char)(len & 255);
    size_t head = len < 126 ? 2 : 4;
    memcpy(frame + head, text, (size_t)len);
    put(peer, frame, head + (size_t)len);
}

/* The text of a member as it stands. */
static void member(const char *text, const char *key, char out[80])
{
    const char *at = strstr(text, key);
    out[0] = '\0';
    if (at)
        snprintf(out, 80, "%.*s", (int)strcspn(at + strlen(key), "\""), at + strlen(key));
}

static void commit(struct peer *peer, const char *cid)
{
    uint64_t at = 0;

    for (unsigned i = 0; i < server.posts; i++)
        if (strcmp(server.cids[i], cid) == 0)
            at = i + 1;
    bool dup = at > 0;
    if (!dup) {
        MUST(server.posts < 64);
        snprintf(server.cids[server.posts++], 65, "%.64s", cid);
        at = ++server.position;
    }
    tell(peer,
         "{\"type\":\"ack\",\"room\":\"tea\",\"cid\":\"%s\",\"position\":%u,\"epoch\":\"e\"%s}",
         cid, (unsigned)at, dup ? ",\"dup\":true" : "");
    if (!dup)
        tell(peer,
             "{\"type\":\"chat\",\"room\":\"tea\",\"position\":%u,\"prev\":%u,\"sender\":\"ann\","
             "\"sender_id\":\"i\",\"content\":\"x\",\"cid\":\"%s\",\"data\":{\"a\":[\"}\"]}}",
             (unsigned)at, (unsigned)at - 1, cid);
}

static void on_request(struct peer *peer, const char *text)
{
    char ref[80], cid[80], after[80];

    server.requests++;
    if (server.requests == server.break_at) {
        peer_close(peer);
        return;
    }
    member(text, "\"ref\":\"", ref);
    member(text, "\"cid\":\"", cid);
    member(text, "\"after\":", after);
    bool hello = strstr(text, "\"type\":\"hello\"") != NULL;
    if (hello)
        tell(peer, "{\"type\":\"welcome\",\"ref\":\"%s\",\"sender\":\"ann\",\"session\":\"k\"}",
             ref);
    if (hello ? strstr(text, "\"room\":\"tea\"") : strstr(text, "\"type\":\"join\"")) {
        uint64_t from = *after ? strtoul(after, NULL, 10) : server.position;
        tell(peer, "{\"type\":\"joined\",%s%s%s\"room\":\"tea\",\"epoch\":\"e\",\"start\":%u}",
             hello ? "" : "\"ref\":\"", hello ? "" : ref, hello ? "" : "\",", (unsigned)from);
        for (uint64_t at = from; at < server.position; at++)
            tell(peer,
                 "{\"type\":\"chat\",\"room\":\"tea\",\"position\":%u,\"prev\":%u,\"content\":"
                 "\"x\"}",
                 (unsigned)at + 1, (unsigned)at);
    } else if (hello) {
        return;
    } else if (strstr(text, "\"type\":\"leave\"")) {
        tell(peer, "{\"type\":\"left\",\"ref\":\"%s\",\"room\":\"tea\"}", ref);
    } else if (strstr(text, "\"type\":\"post\"")) {
        commit(peer, cid);
    } else {
        tell(peer, "{\"type\":\"pong\",\"ref\":\"%s\"}", ref);
    }
}

static size_t take_upgrade(struct peer *peer)
{
    char *end = memmem(peer->in, peer->len, "\r\n\r\n", 4), *key;
    char accept_key[CHI_WEBSOCKET_ACCEPT_LEN + 1], answer[300];

    if (!end)
        return 0;
    key = memmem(peer->in, peer->len, "Key: ", 5);
    MUST(key);
    chi_websocket_accept(key + 5, accept_key);
    int len = snprintf(answer, sizeof(answer),
                       "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
                       "Sec-WebSocket-Protocol: chathub.v1\r\n\r\n",
                       accept_key);
    put(peer, answer, (size_t)len);
    peer->upgraded = true;
    return (size_t)(end - peer->in) + 4;
}

static size_t take_frame(struct peer *peer)
{
    const unsigned char *in = (const unsigned char *)peer->in;
    size_t head = 6, len = peer->len < 2 ? 0 : in[1] & 127;

    if (peer->len < 8)
        return 0;
    MUST(in[1] & 0x80); /* section 5.1: a client masks */
    if (len == 126) {
        len = (size_t)in[2] << 8 | in[3];
        head = 8;
    }
    if (peer->len < head + len)
        return 0;
    char text[8192];
    for (size_t i = 0; i < len; i++)
        text[i] = (char)(in[head + i] ^ in[head - 4 + i % 4]);
    text[len] = '\0';
    if ((in[0] & 15) == 8) {
        put(peer, "\x88\x02\x03\xe8", 4);
        peer_close(peer);
    } else if ((in[0] & 15) == 1) {
        on_request(peer, text);
    }
    return head + len;
}

static size_t take_line(struct peer *peer)
{
    char *end = memchr(peer->in, '\n', peer->len);

    if (!end)
        return 0;
    *end = '\0';
    on_request(peer, peer->in);
    return (size_t)(end - peer->in) + 1;
}

static void on_peer_alloc(uv_handle_t *handle, size_t size, uv_buf_t *out)
{
    struct peer *peer = handle->data;
    (void)size;
    *out = uv_buf_init(peer->in + peer->len, (unsigned)(sizeof(peer->in) - peer->len));
}

static void on_peer_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct peer *peer = stream->data;
    size_t used = 1;

    (void)buf;
    if (n < 0) {
        peer_close(peer);
        return;
    }
    peer->len += (size_t)n;
    while (used && peer->len) {
        used = peer->lines      ? take_line(peer)
               : peer->upgraded ? take_frame(peer)
                                : take_upgrade(peer);
        peer->len -= used;
        memmove(peer->in, peer->in + used, peer->len);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    MUST(status == 0);
    MUST(server.count < PEERS);
    struct peer *peer = &server.peers[server.count++];
    MUST(uv_tcp_init(&loop, &peer->tcp) == 0);
    peer->opened = true;
    peer->tcp.data = peer;
    peer->lines = strncmp(server.url, "tcp", 3) == 0;
    MUST(uv_accept(listener, (uv_stream_t *)&peer->tcp) == 0);
    uv_tcp_nodelay(&peer->tcp, 1);
    uv_read_start((uv_stream_t *)&peer->tcp, on_peer_alloc, on_peer_read);
}

static void server_start(const char *scheme)
{
    struct sockaddr_in address;
    int size = sizeof(address);

    memset(&server, 0, sizeof(server));
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    uv_tcp_init(&loop, &server.listener);
    uv_ip4_addr("127.0.0.1", 0, &address);
    ck_assert_int_eq(uv_tcp_bind(&server.listener, (struct sockaddr *)&address, 0), 0);
    ck_assert_int_eq(uv_listen((uv_stream_t *)&server.listener, 16, on_connection), 0);
    uv_tcp_getsockname(&server.listener, (struct sockaddr *)&address, &size);
    snprintf(server.url, sizeof(server.url), "%s://127.0.0.1:%u/%s", scheme,
             ntohs(address.sin_port), strcmp(scheme, "ws") == 0 ? "ws" : "");
}

/* Nothing is left on the loop. */
static void server_end(void)
{
    uv_close((uv_handle_t *)&server.listener, NULL);
    for (unsigned i = 0; i < server.count; i++)
        peer_close(&server.peers[i]);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}

#endif

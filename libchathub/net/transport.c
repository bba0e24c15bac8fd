/* struct chi_transport for sockets: what delivery's pump calls. Nothing here calls the hub or
 * delivery's writable; what has to follow is put off to the loop (chi_conn_later). */
#include "net/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* A send that took less than all: -1 broken, else 0, or the number it took. */
static ptrdiff_t fell_short(struct chi_conn *conn, ssize_t n)
{
    if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS) {
        chi_conn_break(conn);
        return -1;
    }
    if (!conn->blocked) /* a stall is counted from here, not from the last send */
        conn->net->hot[conn->number].last_out = chi_net_now(conn->net);
    conn->blocked = true;
    chi_conn_watch(conn);
    return n < 0 ? 0 : n;
}

/* One send. */
static inline ptrdiff_t send_one(struct chi_net *net, uint32_t number, const void *bytes,
                                 size_t len, uint32_t now)
{
    struct chi_hot *hot = &net->hot[number];

    if (hot->send != CHI_SENDING_OPEN)
        return hot->send == CHI_SENDING_WAITS ? 0 : -1;
    ssize_t n = send((int)hot->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
        hot->last_out = now;
    return n == (ssize_t)len ? n : fell_short(chi_conn_at(net, number), n);
}

static ptrdiff_t transport_send(void *self, uint32_t conn, const void *bytes, size_t len)
{
    struct chi_net *net = self;

    return send_one(net, conn, bytes, len, chi_net_now(net));
}

static void transport_write_many(void *self, const void *bytes, size_t len, const uint32_t *conns,
                                 size_t n, int32_t *taken)
{
    struct chi_net *net = self;
    uint32_t now = chi_net_now(net);

    if (len > INT32_MAX)
        len = INT32_MAX;
    for (size_t i = 0; i < n; i++)
        taken[i] = (int32_t)send_one(net, conns[i], bytes, len, now);
}

static void transport_take_control(void *self, uint32_t number, struct chi_buf *out)
{
    struct chi_net *net = self;
    struct chi_conn *conn = chi_conn_at(net, number);
    const struct chi_pong *pong = conn->unfinished ? conn->unfinished->pong : NULL;
    size_t before = out->len;

    if (pong)
        chi_frame_control(out, CHI_OPCODE_PONG, pong->bytes, pong->len);
    if (conn->ping_due)
        chi_frame_control(out, CHI_OPCODE_PING, NULL, 0);
    if (out->failed) {
        chi_buf_truncate(out, before);
        return;
    }
    chi_pong_drop(conn);
    if (conn->ping_due) {
        conn->ping_due = false;
        conn->ping_sent = true;
        conn->pinged = chi_net_now(net);
    }
}

static void transport_read(void *self, uint32_t number, bool on)
{
    struct chi_net *net = self;
    struct chi_conn *conn = chi_conn_at(net, number);

    if (conn->deaf)
        return;
    conn->paused = !on;
    conn->resume = on;
    if (on)
        chi_conn_later(conn);
    chi_conn_watch(conn);
}

/* What is left to be sent of a connection that the hub is done with. NULL if there is no memory. */
static struct chi_out *last_bytes(struct chi_conn *conn, struct chi_span rest)
{
    struct chi_out *out = chi_out_get(conn);

    if (out && rest.len > 0)
        chi_buf_add(&out->bytes, rest.at, rest.len);
    return out;
}

/* code 0: delivery could not keep the end of a frame that it had begun, so that no other can
 * follow. */
static void transport_close(void *self, uint32_t number, int code, struct chi_span reason,
                            struct chi_span rest)
{
    struct chi_net *net = self;
    struct chi_conn *conn = chi_conn_at(net, number);
    struct chi_out *out = last_bytes(conn, rest);
    char text[80];

    snprintf(text, sizeof(text), "%d %.*s", code, (int)(reason.len < 64 ? reason.len : 64),
             reason.len ? reason.at : "");
    chi_conn_forget(conn, text);
    if (!conn->websocket || code == 0)
        conn->deaf = true;
    else if (out && conn->peer_closed) /* section 5.5.1: its code comes back */
        chi_frame_close(&out->bytes, conn->close_code, CHI_SPAN(""));
    else if (out)
        chi_frame_close(&out->bytes, code, reason);
    if (out && out->bytes.failed) {
        chi_buf_fini(&out->bytes);
        conn->deaf = true;
    }
    chi_conn_goodbye(conn);
}

void chi_transport_init(struct chi_net *net)
{
    net->lines = (struct chi_transport){
        .send = transport_send,
        .write_many = transport_write_many,
        .read = transport_read,
        .close = transport_close,
        .self = net,
    };
    net->websockets = net->lines;
    net->websockets.take_control = transport_take_control;
}

/* Reading: from the socket into the shared buffer, through the protocol's layer and the dialect
 * into the hub.
 *
 * Happy path: epoll reports a socket, one read, all of it is used up within the call. Failure
 * modes: the hub wants to wait (what is left is kept in `rest`, the socket not watched, until
 * transport->read); too much unfinished input in all (`starved`: not read until there is less);
 * the connection ends or fails within a layer (it turns DEAD or deaf, which every loop here
 * looks at). */
#include "net/internal.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "dialect/dialect.h"

/* Reads that a connection is given whose sending side broke: what came before still counts. */
#define LAST_READS 8

/* The one place that settles how a connection speaks by the first thing that it says, where
 * nothing did before: a JSON object shows whose it is; else a WebSocket speaks the hub's own
 * protocol, and a line as people do. */
static int settle_dialect(struct chi_conn *conn, struct chi_span text)
{
    struct chi_net *net = conn->net;
    const struct chi_dialect *before = chi_conn_dialect(conn);
    struct chi_encoding encoding = {before,
                                    conn->websocket ? &chi_framing_websocket : &chi_framing_lines};
    int error = 0;

    conn->decided = true;
    if (text.at[0] == '{' || conn->websocket)
        error = chi_dialect_of_frame(&net->scratch, text, &encoding.dialect);
    if (error || encoding.dialect == before)
        return error;
    conn->dialect = chi_dialect_number(encoding.dialect) & 15u;
    return chi_hub_client_encoding(net->parts.hub, conn->client, encoding);
}

bool chi_conn_next(struct chi_conn *conn, enum chi_next next)
{
    conn->paused = next == CHI_NEXT_WAIT && conn->client;
    return next == CHI_NEXT_READ;
}

static enum chi_next hand_over(struct chi_conn *conn, int got)
{
    struct chi_net *net = conn->net;

    if (conn->phase < CHI_PHASE_OPEN)
        chi_conn_phase(conn, CHI_PHASE_OPEN, 0);
    return got > 0 ? chi_hub_request(net->parts.hub, conn->client, &net->request)
                   : chi_hub_bad_request(net->parts.hub, conn->client, &net->error);
}

bool chi_conn_message(struct chi_conn *conn, struct chi_span text)
{
    struct chi_net *net = conn->net;
    bool first = !conn->decided && text.len > 0;

    if (first && settle_dialect(conn, text) != 0) {
        chi_conn_fail(conn, 1011, "out of memory");
        return false;
    }
    int got = chi_conn_dialect(conn)->decode(&net->scratch, text, &net->request, &net->error);
    if (got == 0)
        return true;
    enum chi_next next = hand_over(conn, got);
    if (first && chi_conn_dialect(conn)->entrance == CHI_ENTRANCE_OBSERVES)
        chi_hub_observe(net->parts.hub, conn->client); /* unless it is in the room by now */
    return chi_conn_next(conn, next);
}

static bool hears(const struct chi_conn *conn)
{
    return !conn->deaf && !conn->paused && conn->phase != CHI_PHASE_DEAD;
}

static size_t feed_once(struct chi_conn *conn, char *bytes, size_t len)
{
    if (conn->phase == CHI_PHASE_HEAD)
        return chi_http_feed(conn, bytes, len);
    return conn->websocket ? chi_websocket_feed(conn, bytes, len)
                           : chi_lines_feed(conn, bytes, len);
}

static void keep_rest(struct chi_conn *conn, const char *bytes, size_t len)
{
    struct chi_input *input = chi_input_get(conn);

    if (input)
        chi_buf_add(&input->rest, bytes, len);
    if (!input || input->rest.failed)
        chi_conn_fail(conn, 1013, "out of memory");
}

void chi_conn_feed(struct chi_conn *conn, char *bytes, size_t len)
{
    while (len > 0 && hears(conn)) {
        size_t used = feed_once(conn, bytes, len);
        bytes += used;
        len -= used;
    }
    if (conn->phase == CHI_PHASE_DEAD)
        return;
    if (len > 0 && !conn->deaf)
        keep_rest(conn, bytes, len);
    if (conn->deaf)
        chi_input_free(conn);
    chi_input_settle(conn);
    chi_conn_watch(conn);
}

/* The peer sends nothing more. What we owe it may still be taken. */
static void peer_ended(struct chi_conn *conn)
{
    if (conn->phase == CHI_PHASE_CLOSING && chi_conn_out(conn)) {
        conn->hung = true;
        chi_conn_watch(conn);
        return;
    }
    chi_conn_end(conn, "closed by the other side");
}

/* How much may be read now, so that all unfinished input stays within its bound. */
static size_t read_size(const struct chi_conn *conn)
{
    const struct chi_net *net = conn->net;
    uint64_t bound = net->parts.settings->hub_partial_bytes;

    if (conn->deaf)
        return CHI_READ_SIZE;
    if (net->partial >= bound)
        return 0;
    return bound - net->partial < CHI_READ_SIZE ? (size_t)(bound - net->partial) : CHI_READ_SIZE;
}

/* Too much unfinished input in all: it is not read from until the sweep finds less. Told once
 * each time. */
static void starve(struct chi_conn *conn)
{
    struct chi_net *net = conn->net;
    const struct chi_env *env = &net->parts.env;
    const struct chi_field field = {
        "advice", CHI_SPAN("some clients are not read from now; see the option hub-partial-bytes")};

    conn->starved = true;
    chi_conn_watch(conn);
    if (!net->famine)
        env->ops->log(env->self, CHATHUB_WARNING, "input_full", &field, 1);
    net->famine = true;
}

/* One read. false: there was nothing, or the connection is over. */
static bool read_once(struct chi_conn *conn)
{
    struct chi_net *net = conn->net;
    size_t size = read_size(conn);

    if (size == 0) {
        starve(conn);
        return false;
    }
    ssize_t n = recv(chi_conn_fd(conn), net->buffer, size, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n < 0) {
        chi_conn_end(conn, errno == ETIMEDOUT ? "timed out" : "connection lost");
        return false;
    }
    if (n == 0) {
        peer_ended(conn);
        return false;
    }
    conn->last_in = chi_net_now(net);
    conn->ping_sent = false;
    chi_conn_feed(conn, net->buffer, (size_t)n);
    return true;
}

static void writable(struct chi_conn *conn)
{
    if (chi_conn_out(conn) && (!chi_conn_push(conn) || chi_conn_out(conn)))
        return;
    conn->blocked = false;
    chi_conn_watch(conn);
    if (conn->client)
        chi_delivery_writable(conn->net->parts.delivery, chi_hub_client_slot(conn->client));
}

void chi_conn_ready(struct chi_conn *conn, uint32_t events)
{
    if (conn->phase == CHI_PHASE_DEAD || conn->broken)
        return;
    if ((events & EPOLLOUT) != 0)
        writable(conn);
    if (conn->phase == CHI_PHASE_DEAD || conn->broken || (events & ~(uint32_t)EPOLLOUT) == 0)
        return;
    if (conn->paused || conn->starved || conn->resume || conn->hung) {
        conn->hung = conn->hung || (events & (EPOLLHUP | EPOLLERR)) != 0;
        chi_conn_watch_now(conn);
        return;
    }
    read_once(conn);
}

/* ------------------------------------------------------------------------- from the loop, later */

static void feed_rest(struct chi_conn *conn)
{
    struct chi_input *input = chi_conn_input(conn);
    struct chi_buf rest = {0};

    conn->resume = false;
    if (conn->paused)
        return;
    if (input) {
        rest = input->rest;
        input->rest = (struct chi_buf){0};
    }
    chi_conn_feed(conn, rest.at, rest.len);
    chi_buf_fini(&rest);
    if (conn->hung && hears(conn))
        while (hears(conn) && read_once(conn))
            continue;
    if (conn->hung && conn->deaf && conn->phase == CHI_PHASE_CLOSING)
        peer_ended(conn); /* nobody looked, since it was to be read from later */
}

static void end_broken(struct chi_conn *conn)
{
    for (int i = 0; i < LAST_READS && conn->client && hears(conn); i++)
        if (!read_once(conn))
            break;
    chi_conn_end(conn, "connection lost");
}

static void work_one(struct chi_conn *conn)
{
    conn->queued = false;
    conn->later = 0;
    if (conn->phase == CHI_PHASE_DEAD)
        chi_conn_free(conn);
    else if (conn->broken)
        end_broken(conn);
    else if (conn->arriving)
        chi_conn_arrive(conn);
    else if (conn->resume)
        feed_rest(conn);
}

/* A share of it: a room that opens, or a host that decides, may have thousands go on at once. Those
 * who are put off meanwhile come behind all who are here. */
void chi_conn_work_later(struct chi_net *net)
{
    uint64_t end = uv_hrtime() + CHI_INPUT_US * 1000u;

    if (!net->now) {
        net->now = net->later;
        net->later = 0;
    }
    while (net->now) {
        struct chi_conn *conn = chi_conn_at(net, net->now - 1);
        net->now = conn->later;
        work_one(conn);
        if (uv_hrtime() >= end)
            break;
    }
    if (net->now || net->later)
        chi_net_rest(net);
}

/* A connection's life.
 *
 * Happy path: adopted from a listener (HEAD for WebSockets, SILENT at once for lines), opened in
 * the hub, read from until the hub or the peer ends it. The hub ends it by transport->close, which
 * brings it to CLOSING: what is owed is sent, then the protocol's goodbye, then our side is shut
 * down and the peer's end awaited.
 *
 * Failure modes: a read that fails or ends (chi_conn_end, from the loop, tells the hub); a send
 * that fails within a call of delivery's (marked `broken`, ended from the loop by way of
 * `later`); an error of the protocol (chi_conn_fail: the hub closes it with a code, so that
 * replies and half-sent frames go first, and input is thrown away meanwhile); deadlines
 * (sweep.c). A struct is freed only from `later`, so that none vanishes under a caller. */
#include "net/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "dialect/dialect.h"

/* -------------------------------------------------------------------------------------- numbers */

static int grow_hot(struct chi_net *net)
{
    uint32_t cap = net->cap ? net->cap * 2 : 64;
    struct chi_hot *hot = realloc(net->hot, cap * sizeof(*hot));

    if (!hot)
        return CHATHUB_ENOMEM;
    net->hot = hot;
    net->cap = cap;
    return 0;
}

static int take_number(struct chi_net *net, uint32_t *out)
{
    if (net->free_number) {
        *out = net->free_number - 1;
        net->free_number = net->hot[*out].last_out;
        return 0;
    }
    if (chi_paged_ensure(&net->conns, net->top) != 0 ||
        (net->top == net->cap && grow_hot(net) != 0))
        return CHATHUB_ENOMEM;
    *out = net->top++;
    chi_conn_at(net, *out)->phase = CHI_PHASE_DEAD; /* until it is adopted */
    return 0;
}

static void give_number(struct chi_net *net, uint32_t number)
{
    chi_net_void(net, number);
    net->hot[number].fd = CHI_FD_NONE;
    net->hot[number].send = CHI_SENDING_BROKEN;
    net->hot[number].last_out = net->free_number;
    net->free_number = number + 1;
}

/* ---------------------------------------------------------------------------------- own sending */

struct chi_unfinished *chi_conn_unfinished(struct chi_conn *conn)
{
    if (!conn->unfinished)
        conn->unfinished = calloc(1, sizeof(*conn->unfinished));
    return conn->unfinished;
}

void chi_conn_settle(struct chi_conn *conn)
{
    const struct chi_unfinished *all = conn->unfinished;

    if (!all || all->input || all->out || all->pong || all->reason)
        return;
    free(conn->unfinished);
    conn->unfinished = NULL;
}

struct chi_out *chi_out_get(struct chi_conn *conn)
{
    struct chi_unfinished *all = chi_conn_unfinished(conn);

    if (all && !all->out)
        all->out = calloc(1, sizeof(*all->out));
    return all ? all->out : NULL;
}

void chi_out_drop(struct chi_conn *conn)
{
    struct chi_out *out = chi_conn_out(conn);

    if (!out)
        return;
    chi_buf_fini(&out->bytes);
    free(out->own);
    free(out);
    conn->unfinished->out = NULL;
    chi_conn_settle(conn);
}

void chi_pong_drop(struct chi_conn *conn)
{
    if (!conn->unfinished)
        return;
    free(conn->unfinished->pong);
    conn->unfinished->pong = NULL;
    chi_conn_settle(conn);
}

/* Everything was sent and we are saying goodbye: our side ends, unless the peer's close frame is
 * still awaited. */
static void finish_goodbye(struct chi_conn *conn)
{
    if (conn->websocket && !conn->deaf && !conn->peer_closed && !conn->hung)
        return;
    if (!conn->shut) {
        conn->shut = true;
        shutdown(chi_conn_fd(conn), SHUT_WR);
    }
    if (conn->hung)
        chi_conn_break(conn);
}

/* One send of what is first in `out`; what it answered. */
static ssize_t push_once(int fd, const struct chi_out *out)
{
    if (out->sent < out->bytes.len)
        return send(fd, out->bytes.at + out->sent, out->bytes.len - out->sent,
                    MSG_NOSIGNAL | MSG_DONTWAIT | (out->tail_len ? MSG_MORE : 0));
    size_t off = out->sent - out->bytes.len;
    return send(fd, out->tail + off, out->tail_len - off, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void chi_conn_break(struct chi_conn *conn)
{
    conn->broken = true;
    conn->net->hot[conn->number].send = CHI_SENDING_BROKEN;
    chi_conn_later(conn);
}

bool chi_conn_push(struct chi_conn *conn)
{
    struct chi_out *out = chi_conn_out(conn);

    while (out && out->sent < out->bytes.len + out->tail_len) {
        ssize_t n = push_once(chi_conn_fd(conn), out);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
            chi_conn_watch(conn);
            return true;
        }
        if (n < 0) {
            chi_conn_break(conn);
            return false;
        }
        out->sent += (size_t)n;
        conn->net->hot[conn->number].last_out = chi_net_now(conn->net);
    }
    chi_out_drop(conn);
    if (conn->net->hot[conn->number].send == CHI_SENDING_WAITS)
        conn->net->hot[conn->number].send = CHI_SENDING_OPEN;
    if (conn->phase == CHI_PHASE_CLOSING)
        finish_goodbye(conn);
    chi_conn_watch(conn);
    return true;
}

void chi_conn_goodbye(struct chi_conn *conn)
{
    const struct chi_input *input = chi_conn_input(conn);

    conn->paused = conn->starved = false;
    chi_conn_phase(conn, CHI_PHASE_CLOSING, conn->net->parts.settings->close_time);
    if (input && input->rest.len > 0) {
        conn->resume = true;
        chi_conn_later(conn);
    }
    chi_conn_push(conn);
}

/* --------------------------------------------------------------------------------------- states */

static void watch(struct chi_conn *conn, bool lazy)
{
    uint32_t events = 0;
    struct epoll_event event = {.data.u64 = conn->number};

    if (conn->phase == CHI_PHASE_DEAD)
        return;
    if (!conn->paused && !conn->starved && !conn->resume && !conn->hung)
        events |= EPOLLIN;
    if (conn->blocked || chi_conn_out(conn))
        events |= EPOLLOUT;
    /* A hangup is reported without being asked for: where it is known and nothing is to be sent,
     * watching would spin. */
    bool wanted = events != 0 || !conn->hung;
    if (wanted == conn->watched && (!wanted || events == conn->interest))
        return;
    if (lazy && wanted && conn->watched && (events | EPOLLIN) == conn->interest)
        return;
    event.events = events;
    epoll_ctl(conn->counted ? conn->net->newcomers.epoll : conn->net->all.epoll,
              !wanted         ? EPOLL_CTL_DEL
              : conn->watched ? EPOLL_CTL_MOD
                              : EPOLL_CTL_ADD,
              chi_conn_fd(conn), &event);
    conn->watched = wanted;
    conn->interest = events & 7u;
}

void chi_conn_watch(struct chi_conn *conn)
{
    watch(conn, true);
}

void chi_conn_watch_now(struct chi_conn *conn)
{
    watch(conn, false);
}

void chi_conn_later(struct chi_conn *conn)
{
    struct chi_net *net = conn->net;

    if (conn->queued)
        return;
    conn->queued = true;
    conn->later = net->later;
    net->later = conn->number + 1;
    chi_net_soon(net);
}

/* A newcomer no more: its reports come with everybody's. */
static void settle_in(struct chi_conn *conn)
{
    struct chi_net *net = conn->net;
    struct epoll_event event = {.events = conn->interest, .data.u64 = conn->number};

    net->mute--;
    conn->counted = false;
    if (!conn->watched)
        return;
    epoll_ctl(net->newcomers.epoll, EPOLL_CTL_DEL, chi_conn_fd(conn), NULL);
    if (epoll_ctl(net->all.epoll, EPOLL_CTL_ADD, chi_conn_fd(conn), &event) != 0) {
        conn->watched = false;
        chi_conn_break(conn);
    }
}

void chi_conn_phase(struct chi_conn *conn, enum chi_phase phase, uint32_t time)
{
    struct chi_net *net = conn->net;

    conn->phase = (unsigned)phase & 7u;
    conn->due = chi_net_now(net) + time;
    if (phase > CHI_PHASE_FIRST && conn->counted)
        settle_in(conn);
    chi_conn_age(conn);
    if (!net->accepting)
        chi_listener_resume(net);
}

bool chi_conn_is_young(const struct chi_conn *conn)
{
    const struct chi_input *input = chi_conn_input(conn);

    return conn->phase <= CHI_PHASE_FIRST ||
           (conn->phase == CHI_PHASE_OPEN && input && input->begun);
}

static bool grow_young(struct chi_net *net)
{
    uint32_t cap = net->young_cap ? net->young_cap * 2 : 64;
    uint32_t *young = realloc(net->young, cap * sizeof(*young));

    if (!young)
        return false;
    net->young = young;
    net->young_cap = cap;
    return true;
}

void chi_conn_age(struct chi_conn *conn)
{
    struct chi_net *net = conn->net;

    if (conn->young || !chi_conn_is_young(conn))
        return;
    /* Without memory it is watched by the next change of its state, or by the sweep's slower
     * rules. */
    if (net->young_count == net->young_cap && !grow_young(net))
        return;
    net->young[net->young_count++] = conn->number;
    conn->young = true;
    chi_net_fine(net);
}

void chi_conn_bury(struct chi_conn *conn)
{
    struct chi_net *net = conn->net;

    if (conn->phase == CHI_PHASE_DEAD)
        return;
    close(chi_conn_fd(conn)); /* leaves the epoll set with it */
    net->hot[conn->number].fd = CHI_FD_NONE;
    net->hot[conn->number].send = CHI_SENDING_BROKEN;
    net->count--;
    conn->watched = false;
    conn->client = 0;
    chi_out_drop(conn);
    chi_pong_drop(conn);
    chi_conn_phase(conn, CHI_PHASE_DEAD, 0);
    chi_conn_later(conn);
}

void chi_conn_fini(struct chi_conn *conn)
{
    chi_input_free(conn);
    chi_out_drop(conn);
    chi_pong_drop(conn);
    free(conn->unfinished);
    conn->unfinished = NULL;
}

void chi_conn_free(struct chi_conn *conn)
{
    struct chi_net *net = conn->net;
    uint32_t number = conn->number;

    chi_conn_fini(conn);
    /* What the fine timer's list says of the number holds for who is given it next. */
    *conn = (struct chi_conn){.phase = CHI_PHASE_DEAD, .young = conn->young};
    give_number(net, number);
}

/* ------------------------------------------------------------------------------------ log lines */

static char *add_number(char *at, unsigned number, char end)
{
    char digits[8];
    int n = 0;

    do
        digits[n++] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    while (n > 0)
        *at++ = digits[--n];
    *at++ = end;
    return at;
}

static void four_text(const struct chi_peer *peer, char *out)
{
    for (int i = 0; i < 4; i++)
        out = add_number(out, peer->bytes[i], i < 3 ? '.' : ':');
    add_number(out, peer->port, '\0');
}

const char *chi_peer_text(const struct chi_peer *peer, char out[CHI_PEER_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "";

    if (peer->family == 0)
        return memcpy(out, "unix", 5);
    if (peer->family ==
        4) { /* inet_ntop would go through sprintf, and each client's is told thrice */
        four_text(peer, out);
        return out;
    }
    inet_ntop(AF_INET6, peer->bytes, host, sizeof(host));
    snprintf(out, CHI_PEER_TEXT, "[%s]:%u", host, (unsigned)peer->port);
    return out;
}

bool chi_peer_is_local(const struct chi_peer *peer)
{
    static const uint8_t loopback[16] = {[15] = 1};
    static const uint8_t mapped[13] = {[10] = 0xff, [11] = 0xff, [12] = 127};

    if (peer->family == 4)
        return peer->bytes[0] == 127;
    return peer->family == 0 || memcmp(peer->bytes, loopback, 16) == 0 ||
           memcmp(peer->bytes, mapped, 13) == 0;
}

bool chi_peer_same(const struct chi_peer *a, const struct chi_peer *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == 6 ? 8 : 4) == 0;
}

void chi_conn_log(const struct chi_conn *conn, int level, const char *event,
                  const struct chi_field *fields, size_t n)
{
    const struct chi_env *env = &conn->net->parts.env;
    struct chi_field all[6];
    char text[CHI_PEER_TEXT], number[24];
    size_t count = 0;

    snprintf(number, sizeof(number), "%llu", (unsigned long long)conn->client);
    if (conn->client)
        all[count++] = (struct chi_field){"client", chi_span_of(number)};
    all[count++] = (struct chi_field){"address", chi_span_of(chi_peer_text(&conn->peer, text))};
    for (size_t i = 0; i < n && i < 4; i++)
        all[count++] = fields[i];
    env->ops->log(env->self, level, event, all, count);
}

static void log_connected(const struct chi_conn *conn, struct chi_encoding encoding)
{
    const struct chi_field fields[] = {
        {"protocol", chi_span_of(conn->websocket ? "websocket" : "lines")},
        {"dialect", chi_span_of(encoding.dialect->name)}};

    chi_conn_log(conn, CHATHUB_INFO, "connected", fields, 2);
}

/* ------------------------------------------------------------------------------ opening, ending */

int chi_conn_open(struct chi_conn *conn, struct chi_encoding encoding, bool welcome,
                  struct chi_span name)
{
    const struct chi_address *listener = &chi_conn_listener(conn)->address;
    const struct chi_settings *settings = conn->net->parts.settings;
    char text[CHI_PEER_TEXT];
    struct chi_client_desc desc = {
        .as = {conn->websocket ? &conn->net->websockets : &conn->net->lines, conn->number,
               encoding},
        .default_room = chi_span_of(listener->room),
        .address = chi_span_of(chi_peer_text(&conn->peer, text)),
        .welcome = welcome,
        .history = listener->history,
        .presence = listener->presence,
        .private_posts = listener->private_posts,
    };
    bool enters = conn->decided && encoding.dialect->entrance != CHI_ENTRANCE_LISTENS;

    conn->dialect = chi_dialect_number(encoding.dialect) & 15u;
    int error = chi_hub_client_open(conn->net->parts.hub, &desc, &conn->client);
    if (error) {
        conn->client = 0;
        return error;
    }
    if (enters)
        chi_conn_phase(conn, CHI_PHASE_OPEN, 0);
    else if (settings->observe_delay && !welcome)
        chi_conn_phase(conn, CHI_PHASE_SILENT, settings->observe_delay);
    else
        chi_conn_phase(conn, CHI_PHASE_FIRST, settings->first_request_time);
    log_connected(conn, encoding);
    if (enters)
        chi_conn_next(conn, chi_hub_enter(conn->net->parts.hub, conn->client, name));
    return 0;
}

static void log_disconnected(const struct chi_conn *conn, const char *reason)
{
    const char *own = conn->unfinished ? conn->unfinished->reason : NULL;
    char ms[24];
    uint64_t now = conn->net->parts.env.ops->now(conn->net->parts.env.self);
    uint32_t steps = (uint32_t)(now / CHI_OPENED_STEP) - conn->opened;

    snprintf(ms, sizeof(ms), "%llu", (unsigned long long)steps * CHI_OPENED_STEP);
    const struct chi_field fields[] = {{"reason", chi_span_of(own ? own : reason)},
                                       {"duration_ms", chi_span_of(ms)}};
    chi_conn_log(conn, CHATHUB_INFO, "disconnected", fields, 2);
}

uint64_t chi_conn_forget(struct chi_conn *conn, const char *reason)
{
    uint64_t client = conn->client;

    if (client)
        log_disconnected(conn, reason);
    conn->client = 0;
    return conn->net->closing ? 0 : client;
}

void chi_conn_end(struct chi_conn *conn, const char *reason)
{
    struct chi_net *net = conn->net;

    if (conn->phase == CHI_PHASE_DEAD)
        return;
    uint64_t client = chi_conn_forget(conn, reason);
    chi_conn_bury(conn);
    if (client)
        chi_hub_client_closed(net->parts.hub, client, reason);
}

void chi_conn_fail(struct chi_conn *conn, int code, const char *reason)
{
    struct chi_unfinished *all = chi_conn_unfinished(conn);

    conn->deaf = true;
    if (all && !all->reason)
        all->reason = reason;
    if (conn->client)
        chi_hub_close_client(conn->net->parts.hub, conn->client, code, chi_span_of(reason));
    else if (conn->phase == CHI_PHASE_CLOSING && !chi_conn_out(conn))
        finish_goodbye(conn);
}

void chi_conn_open_lines(struct chi_conn *conn)
{
    const struct chi_dialect *dialect = chi_conn_listener(conn)->address.dialect;
    struct chi_encoding encoding = {dialect ? dialect : &chi_dialect_human, &chi_framing_lines};
    struct chi_out *out;

    conn->decided = dialect != NULL;
    int error = chi_conn_open(conn, encoding, false, (struct chi_span){NULL, 0});
    if (error == 0)
        return;
    const struct chi_field field = {"reason", chi_span_of(chathub_errname(error))};
    chi_conn_log(conn, CHATHUB_INFO, "refused", &field, 1);
    conn->deaf = true;
    out = chi_out_get(conn);
    if (out) {
        chi_buf_add_text(&out->bytes, "! ");
        chi_buf_add_text(&out->bytes, chathub_strerror(error));
        chi_buf_add_char(&out->bytes, '\n');
    }
    chi_conn_goodbye(conn);
}

int chi_conn_take(struct chi_net *net, int fd, const struct chi_peer *peer, struct chi_conn **out)
{
    struct epoll_event event = {.events = EPOLLIN};
    uint32_t now = chi_net_now(net), number;

    if (take_number(net, &number) != 0)
        return CHATHUB_ENOMEM;
    event.data.u64 = number;
    if (epoll_ctl(net->newcomers.epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        give_number(net, number);
        return CHATHUB_EIO;
    }
    struct chi_conn *conn = chi_conn_at(net, number);
    *conn = (struct chi_conn){
        .net = net,
        .number = number,
        .peer = *peer,
        .opened = (uint32_t)(net->parts.env.ops->now(net->parts.env.self) / CHI_OPENED_STEP),
        .last_in = now,
        .watched = true,
        .counted = true,
        .interest = EPOLLIN,
        .young = conn->young,
    };
    net->hot[number] = (struct chi_hot){(unsigned)fd & CHI_FD_NONE, CHI_SENDING_OPEN, now};
    net->count++;
    net->mute++;
    *out = conn;
    return 0;
}

void chi_conn_untake(struct chi_conn *conn)
{
    struct chi_net *net = conn->net;

    epoll_ctl(net->newcomers.epoll, EPOLL_CTL_DEL, chi_conn_fd(conn), NULL);
    net->count--;
    net->mute--;
    chi_conn_free(conn);
}

int chi_conn_accept(struct chi_net *net, int fd, const struct chi_peer *peer)
{
    struct chi_conn *conn;

    int error = chi_conn_take(net, fd, peer, &conn);
    if (error)
        return error;
    if (chi_conn_listener(conn)->address.protocol == CHI_PROTOCOL_LINES)
        chi_conn_open_lines(conn);
    else
        chi_conn_phase(conn, CHI_PHASE_HEAD, net->parts.settings->head_time);
    return 0;
}

/* Happy path: the host's name is looked up, its addresses are tried one after the other, the
 * WebSocket is opened (upgrade.h), and texts go to and fro (socket.h, or lines) until either side
 * ends it. What is sent gathers in `out` until it is flushed, or as long as the system takes no more.
 *
 * Failure modes: each step has its timeout; whatever goes wrong ends the wire with one line about it
 * (fail), told by `lost` from the loop: a failure that is found in a call of the owner's waits for
 * the timer. A wire that was dropped lives on without an owner until libuv has given back its
 * handles and requests, which are counted in `held`.
 *
 * Sockets are written to by send, since libuv's own writes raise SIGPIPE, which ends a host that does
 * not expect it. */
#include "client/wire.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "chathub.h"
#include "client/socket.h"
#include "client/upgrade.h"
#include "util/list.h"

#define READ_SIZE 16384u
#define WAITING_MAX                                                                                \
    (1u << 20)           /* bytes that a server leaves unread: more than an owner ever sends */
#define GOODBYE_MS 2000u /* that the other side's goodbye may take */

/* One address' socket. */
struct attempt {
    uv_poll_t poll;
    int fd;
};

enum phase { RESOLVING, CONNECTING, UPGRADING, OPEN, CLOSING, LOST };

struct chi_wire {
    struct chi_wire_plan plan; /* owner NULL: dropped */
    enum phase phase;
    unsigned held;    /* handles and requests that libuv has */
    bool full;        /* the system takes no more now: it is waited for */
    bool broken;      /* nothing can be sent any more; what came before that is read yet */
    uint64_t heard;   /* the loop's ms of the last byte */
    uv_timer_t timer; /* of the present step; or at once, to tell a failure */
    uv_getaddrinfo_t lookup;
    struct addrinfo *addresses; /* owned */
    struct addrinfo *next;      /* the one to try after the present one */
    struct attempt *attempt;    /* the present one, owned; freed once its handle is closed */
    struct chi_buf in;          /* an answer's head, or the beginning of a line */
    struct chi_buf out;         /* what the system has not taken */
    struct chi_socket *socket;  /* of a WebSocket that is open */
    char key[CHI_WEBSOCKET_KEY_LEN + 1];
    int code; /* of the failure, and so on as in `lost` */
    unsigned status;
    char why[256];
    char read[READ_SIZE]; /* what is read into */
};

static void try_next(struct chi_wire *wire);

/* ------------------------------------------------------------------------------------- lifetime */

static void release(struct chi_wire *wire)
{
    if (--wire->held > 0)
        return;
    if (wire->addresses)
        uv_freeaddrinfo(wire->addresses);
    chi_socket_free(wire->socket);
    chi_buf_fini(&wire->in);
    chi_buf_fini(&wire->out);
    free(wire);
}

static void on_timer_closed(uv_handle_t *handle)
{
    release(handle->data);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct attempt *attempt = CHI_CONTAINER(handle, struct attempt, poll);
    struct chi_wire *wire = handle->data;

    free(attempt);
    release(wire);
}

static void close_attempt(struct chi_wire *wire)
{
    struct attempt *attempt = wire->attempt;

    if (!attempt)
        return;
    wire->attempt = NULL;
    wire->full = wire->broken = false;
    uv_close((uv_handle_t *)&attempt->poll, on_poll_closed);
    close(attempt->fd);
}

void chi_wire_drop(struct chi_wire *wire)
{
    if (!wire || !wire->plan.owner)
        return;
    wire->plan.owner = NULL;
    wire->phase = LOST;
    if (wire->socket)
        chi_socket_stop(wire->socket);
    uv_cancel((uv_req_t *)&wire->lookup); /* harmless where it is not under way */
    close_attempt(wire);
    uv_close((uv_handle_t *)&wire->timer, on_timer_closed);
}

/* ------------------------------------------------------------------------------------- failures */

static void on_timer(uv_timer_t *timer)
{
    struct chi_wire *wire = timer->data;

    if (wire->phase == CONNECTING) {
        snprintf(wire->why, sizeof(wire->why), "it does not answer");
        try_next(wire);
        return;
    }
    if (wire->phase == CLOSING) {
        wire->phase = LOST;
    } else if (wire->phase != LOST) {
        wire->code = CHATHUB_EIO;
        snprintf(wire->why, sizeof(wire->why), "%s",
                 wire->phase == RESOLVING ? "the host's address is not found in time"
                                          : "the server does not open the WebSocket in time");
    }
    wire->phase = LOST;
    wire->plan.ops->lost(wire->plan.owner, wire->code, wire->status, wire->why);
}

static void within(struct chi_wire *wire, uint64_t ms)
{
    uv_timer_start(&wire->timer, on_timer, ms, 0);
}

/* Ends it, in the loop's next turn. The first failure counts. */
static void end(struct chi_wire *wire, int code, unsigned status, const char *why)
{
    if (wire->phase == LOST)
        return;
    wire->phase = LOST;
    wire->code = code;
    wire->status = status;
    if (why != wire->why)
        snprintf(wire->why, sizeof(wire->why), "%s", why);
    close_attempt(wire);
    within(wire, 0);
}

static void fail_system(struct chi_wire *wire, int code, const char *what, int error)
{
    char why[sizeof(wire->why)];

    snprintf(why, sizeof(why), "%s: %s", what, uv_strerror(error));
    end(wire, error == UV_ENOMEM ? CHATHUB_ENOMEM : code, 0, why);
}

/* -------------------------------------------------------------------------------------- writing */

static void on_ready(uv_poll_t *poll, int status, int events);

static void watch(struct chi_wire *wire)
{
    int events = wire->phase == CONNECTING ? UV_WRITABLE
                 : wire->full              ? UV_READABLE | UV_WRITABLE
                                           : UV_READABLE;
    int error = uv_poll_start(&wire->attempt->poll, events, on_ready);
    if (error)
        fail_system(wire, CHATHUB_EIO, "the connection cannot be watched", error);
}

static void set_full(struct chi_wire *wire, bool full)
{
    if (wire->full == full)
        return;
    wire->full = full;
    watch(wire);
}

void chi_wire_flush(struct chi_wire *wire)
{
    if (wire->phase == LOST || !wire->attempt)
        return;
    if (wire->out.failed) {
        end(wire, CHATHUB_ENOMEM, 0, "out of memory");
        return;
    }
    while (wire->out.len > 0) {
        ssize_t n =
            send(wire->attempt->fd, wire->out.at, wire->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            wire->broken = true;
        else if (n < 0 && errno != EAGAIN) {
            fail_system(wire, CHATHUB_EIO, "the connection was lost", -errno);
            return;
        }
        if (n < 0)
            break;
        chi_buf_consume(&wire->out, (size_t)n);
    }
    if (wire->broken)
        chi_buf_reset(&wire->out, READ_SIZE);
    set_full(wire, wire->out.len > 0);
    if (wire->out.len > WAITING_MAX)
        end(wire, CHATHUB_ESLOW, 0, "the server takes nothing of what is sent");
    else if (wire->out.len == 0 && wire->phase == CLOSING)
        shutdown(wire->attempt->fd, SHUT_WR); /* its end is seen as the other side's, or in time */
}

int chi_wire_send(struct chi_wire *wire, struct chi_span text)
{
    int error = 0;

    if (wire->phase != OPEN)
        return 0;
    if (!text.at) {
        error = CHATHUB_ENOMEM;
    } else if (wire->socket) {
        error = chi_socket_send(wire->socket, text);
    } else {
        chi_buf_add(&wire->out, text.at, text.len);
        chi_buf_add_char(&wire->out, '\n');
    }
    if (error || wire->out.failed) {
        end(wire, CHATHUB_ENOMEM, 0, "out of memory");
        return CHATHUB_ENOMEM;
    }
    return 0;
}

size_t chi_wire_waiting(const struct chi_wire *wire)
{
    return wire->out.len;
}

uint64_t chi_wire_heard(const struct chi_wire *wire)
{
    return wire->heard;
}

void chi_wire_close(struct chi_wire *wire)
{
    if (wire->phase != OPEN) {
        end(wire, 0, 0, "closed");
        return;
    }
    wire->phase = CLOSING;
    if (wire->socket && chi_socket_close(wire->socket, 1000) < 0)
        end(wire, CHATHUB_ENOMEM, 0, "out of memory");
    if (wire->phase == CLOSING)
        within(wire, wire->plan.timeout_ms < GOODBYE_MS ? wire->plan.timeout_ms : GOODBYE_MS);
    chi_wire_flush(wire);
}

/* -------------------------------------------------------------------------------------- reading */

static void on_text(void *ctx, struct chi_span text)
{
    struct chi_wire *wire = ctx;

    if (wire->phase == OPEN && text.len > 0)
        wire->plan.ops->text(wire->plan.owner, text);
}

static void end_socket(struct chi_wire *wire)
{
    struct chi_span reason;
    unsigned status;
    int code = chi_socket_end(wire->socket, &status, &reason);
    char why[sizeof(wire->why)];

    if (code == CHATHUB_EPROTOCOL)
        snprintf(why, sizeof(why), "the server broke the WebSocket protocol");
    else if (code == CHATHUB_ETOOLONG)
        snprintf(why, sizeof(why), "the server sent a message of more than %u bytes",
                 wire->plan.max_frame);
    else if (code)
        snprintf(why, sizeof(why), "%s", chathub_strerror(code));
    else if (chi_text_clean(reason.at, reason.len) && reason.len)
        snprintf(why, sizeof(why), "the server closed the connection: %.*s (%u)", (int)reason.len,
                 reason.at, status);
    else
        snprintf(why, sizeof(why), "the server closed the connection (%u)", status);
    if (!wire->out.failed)
        chi_wire_flush(wire); /* what is to be said about it, as far as the system takes it */
    end(wire, code, status, why);
}

static void one_line(struct chi_wire *wire, struct chi_span line)
{
    if (line.len && line.at[line.len - 1] == '\r')
        line.len--;
    if (!chi_utf8_valid(line.at, line.len))
        end(wire, CHATHUB_EPROTOCOL, 0, "the server sent a line that is not UTF-8");
    else
        on_text(wire, line);
}

static void feed_lines(struct chi_wire *wire, struct chi_span bytes)
{
    while (bytes.len && (wire->phase == OPEN || wire->phase == CLOSING)) {
        const char *newline = memchr(bytes.at, '\n', bytes.len);
        size_t len = newline ? (size_t)(newline - bytes.at) : bytes.len;
        if (wire->in.len + len > wire->plan.max_frame) {
            end(wire, CHATHUB_ETOOLONG, 0, "the server sent a line that is too long");
            return;
        }
        if (!newline || wire->in.len)
            chi_buf_add(&wire->in, bytes.at, len);
        if (wire->in.failed) {
            end(wire, CHATHUB_ENOMEM, 0, "out of memory");
            return;
        }
        if (!newline)
            return;
        if (wire->in.len)
            one_line(wire, (struct chi_span){wire->in.at, wire->in.len});
        else
            one_line(wire, (struct chi_span){bytes.at, len});
        chi_buf_reset(&wire->in, READ_SIZE);
        bytes = (struct chi_span){newline + 1, bytes.len - len - 1};
    }
}

static void feed(struct chi_wire *wire, struct chi_span bytes);

static void opened(struct chi_wire *wire)
{
    uv_timer_stop(&wire->timer);
    wire->phase = OPEN;
    wire->plan.ops->opened(wire->plan.owner);
}

static void feed_upgrade(struct chi_wire *wire, struct chi_span bytes)
{
    struct chi_buf head = wire->in;
    char why[sizeof(wire->why)];

    chi_buf_add(&head, bytes.at, bytes.len);
    wire->in = head;
    if (head.failed) {
        end(wire, CHATHUB_ENOMEM, 0, "out of memory");
        return;
    }
    int used = chi_upgrade_read((struct chi_span){head.at, head.len}, wire->key, why, sizeof(why));
    if (used < 0)
        end(wire, used, 0, why);
    if (used <= 0)
        return;
    wire->socket = chi_socket_new(wire->plan.max_frame, &wire->out, on_text, wire);
    if (!wire->socket) {
        end(wire, CHATHUB_ENOMEM, 0, "out of memory");
        return;
    }
    wire->in = (struct chi_buf){0};
    opened(wire);
    feed(wire, (struct chi_span){head.at + used, head.len - (size_t)used});
    chi_buf_fini(&head);
}

static void feed(struct chi_wire *wire, struct chi_span bytes)
{
    if (wire->phase == LOST || bytes.len == 0)
        return;
    if (wire->phase == UPGRADING) {
        feed_upgrade(wire, bytes);
    } else if (wire->plan.target->lines) {
        feed_lines(wire, bytes);
    } else {
        bool over = chi_socket_feed(wire->socket, bytes.at, bytes.len) != 0;
        if (wire->phase != LOST && over)
            end_socket(wire);
    }
}

static void read_some(struct chi_wire *wire)
{
    ssize_t n = recv(wire->attempt->fd, wire->read, sizeof(wire->read), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    wire->heard = uv_now(wire->plan.loop);
    if (n > 0)
        feed(wire, (struct chi_span){wire->read, (size_t)n});
    else if (n == 0)
        end(wire, 0, 0, "the server ended the connection");
    else
        fail_system(wire, CHATHUB_EIO, "the connection was lost", -errno);
}

/* ----------------------------------------------------------------------------------- connecting */

static void begin_upgrade(struct chi_wire *wire)
{
    uint8_t random[16];

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        end(wire, CHATHUB_EIO, 0, "the system has no random bytes");
        return;
    }
    chi_websocket_key(random, wire->key);
    chi_upgrade_ask(&wire->out, wire->plan.target, wire->key);
    wire->phase = UPGRADING;
    within(wire, wire->plan.timeout_ms);
}

static void on_connected(struct chi_wire *wire)
{
    int error = 0, on = 1;
    socklen_t size = sizeof(error);

    getsockopt(wire->attempt->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        snprintf(wire->why, sizeof(wire->why), "%s", uv_strerror(-error));
        try_next(wire);
        return;
    }
    setsockopt(wire->attempt->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    wire->heard = uv_now(wire->plan.loop);
    if (wire->plan.target->lines)
        opened(wire);
    else
        begin_upgrade(wire);
    if (wire->phase != LOST) {
        watch(wire);
        chi_wire_flush(wire);
    }
}

/* The socket can be read, or written to; the owner may drop the wire meanwhile. */
static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct chi_wire *wire = poll->data;

    if (wire->phase == CONNECTING) {
        on_connected(wire);
        return;
    }
    bool was_full = wire->full;
    if (status < 0 || events & UV_READABLE)
        read_some(wire);
    if (wire->phase != LOST)
        chi_wire_flush(wire);
    if (status < 0 && wire->phase != LOST)
        watch(wire); /* libuv does not after an error: there may be more to read before its end */
    if (wire->phase == OPEN && was_full && !wire->full)
        wire->plan.ops->drained(wire->plan.owner);
}

/* A socket for the next address. 0 or an error of the system, negative. */
static int begin_connect(struct chi_wire *wire, const struct addrinfo *to)
{
    struct attempt *attempt = malloc(sizeof(*attempt));
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error = -errno;

    if (attempt && fd >= 0 && connect(fd, to->ai_addr, to->ai_addrlen) < 0 && errno != EINPROGRESS)
        error = -errno;
    else
        error = !attempt ? UV_ENOMEM : fd < 0 ? error : 0;
    if (!error)
        error = uv_poll_init(wire->plan.loop, &attempt->poll, fd);
    if (error) {
        free(attempt);
        if (fd >= 0)
            close(fd);
        return error;
    }
    attempt->fd = fd;
    attempt->poll.data = wire;
    wire->attempt = attempt;
    wire->held++;
    watch(wire);
    return 0;
}

/* Tries the addresses that are left; without any, the reason of the last one is told. */
static void try_next(struct chi_wire *wire)
{
    int error = UV_EADDRNOTAVAIL;

    close_attempt(wire);
    while (wire->next && error) {
        const struct addrinfo *to = wire->next;
        wire->next = to->ai_next;
        error = begin_connect(wire, to);
        if (error)
            snprintf(wire->why, sizeof(wire->why), "%s", uv_strerror(error));
    }
    if (error) {
        char why[sizeof(wire->why)];
        snprintf(why, sizeof(why), "cannot connect to %.120s:%s: %.80s", wire->plan.target->host,
                 wire->plan.target->port, wire->why);
        end(wire, CHATHUB_EIO, 0, why);
    } else if (wire->phase == CONNECTING) {
        within(wire, wire->plan.timeout_ms);
    }
}

static void on_found(uv_getaddrinfo_t *lookup, int status, struct addrinfo *addresses)
{
    struct chi_wire *wire = lookup->data;

    wire->addresses = wire->next = addresses;
    if (wire->phase == RESOLVING && status < 0) {
        char why[sizeof(wire->why)];
        snprintf(why, sizeof(why), "there is no host %.150s: %.60s", wire->plan.target->host,
                 uv_strerror(status));
        end(wire, CHATHUB_EADDRESS, 0, why);
    } else if (wire->phase == RESOLVING) {
        wire->phase = CONNECTING;
        try_next(wire);
    }
    release(wire);
}

int chi_wire_open(const struct chi_wire_plan *plan, struct chi_wire **out)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct chi_wire *wire = calloc(1, sizeof(*wire));

    if (!wire)
        return CHATHUB_ENOMEM;
    wire->plan = *plan;
    wire->lookup.data = wire;
    uv_timer_init(plan->loop, &wire->timer);
    wire->timer.data = wire;
    wire->held = 1;
    int error = uv_getaddrinfo(plan->loop, &wire->lookup, on_found, plan->target->host,
                               plan->target->port, &hints);
    if (error) {
        chi_wire_drop(wire);
        return error == UV_ENOMEM ? CHATHUB_ENOMEM : CHATHUB_EIO;
    }
    wire->held++;
    within(wire, plan->timeout_ms);
    *out = wire;
    return 0;
}

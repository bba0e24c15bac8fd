/* A connection's states. All that it does by itself it does in turns, which its timer begins: at
 * once after a call of the host's, and when something is due.
 *
 * Happy path: CONNECTING (a wire is opened, hello said) → CONNECTED (welcomed; joins and posts are
 * said as they come) → closed by the host → ENDED. Failure modes: any failure drops the wire
 * (chi_connection_lost), and leads to WAITING, or to ENDED where it would come again; silence is
 * found by the heartbeat. Callbacks may free the connection, which then only waits for its timer's
 * closing: whoever has called one looks before it goes on. */
#include "client/internal.h"

#include <stdio.h>
#include <sys/random.h>

#define LINE_SIZE 300u  /* of what is told of a change */
#define STOOD_MS  5000u /* a connection that stood so long begins to wait from the beginning again */

static void on_turn(uv_timer_t *timer);

static uint64_t now(const struct chathub_connection *connection)
{
    return uv_now(connection->loop);
}

static void arm(struct chathub_connection *connection, uint64_t due)
{
    uint64_t at = now(connection);
    uv_timer_start(&connection->timer, on_turn, due > at ? due - at : 0, 0);
}

void chi_connection_kick(struct chathub_connection *connection)
{
    if (!connection->freed && connection->state != CHATHUB_STATE_ENDED)
        arm(connection, 0);
}

/* ---------------------------------------------------------------------------------------- telling */

bool chi_connection_tell(struct chathub_connection *connection, const struct chathub_event *event)
{
    const struct chi_wire *wire = connection->wire;

    connection->on_event(NULL, event, connection->arg);
    return !connection->freed && connection->wire == wire;
}

/* What the other side, or a part of the connection that is dropped now, says of a change: as one line
 * that controls no terminal, or else what the code means. */
static void copy_line(char to[LINE_SIZE], const char *why, int code)
{
    size_t len = chi_utf8_line(chi_span_of(why), to, LINE_SIZE - 1);

    to[len] = '\0';
    if (!chi_text_clean(to, len)) /* a control of the upper range */
        snprintf(to, LINE_SIZE, "%s", chathub_strerror(code));
}

bool chi_connection_change(struct chathub_connection *connection, int state, int code,
                           const char *why)
{
    const struct chi_wire *wire = connection->wire;
    char message[LINE_SIZE];
    struct chathub_state_change change = {
        .size = sizeof(change),
        .state = state,
        .code = code,
        .attempts = connection->attempts,
        .message = message,
    };

    copy_line(message, why, code);
    connection->state = state;
    if (state == CHATHUB_STATE_WAITING && connection->due > now(connection))
        change.wait_ms = connection->due - now(connection);
    if (connection->on_state)
        connection->on_state(connection, &change, connection->arg);
    return !connection->freed && connection->wire == wire;
}

/* --------------------------------------------------------------------------------------- endings */

/* Each post that has no answer: it may have been committed, or was not. */
static bool tell_unanswered(struct chathub_connection *connection)
{
    struct chi_post *post;

    while ((post = chi_outbox_first(&connection->outbox))) {
        struct chathub_event event = chi_event_of(CHATHUB_EVENT_ERROR);
        char cid[sizeof(post->cid)];
        event.code = post->tried ? CHATHUB_EUNKNOWN : CHATHUB_EGONE;
        event.message = post->tried ? "the connection ended before the post was answered"
                                    : "the connection ended before the post was sent";
        memcpy(cid, post->cid, sizeof(cid));
        event.cid = cid;
        chi_outbox_remove(&connection->outbox, post);
        if (!chi_connection_tell(connection, &event))
            return false;
    }
    return true;
}

void chi_connection_end(struct chathub_connection *connection, int code, const char *why)
{
    struct chathub_event closed = chi_event_of(CHATHUB_EVENT_CLOSED);
    char message[LINE_SIZE];

    copy_line(message, why, code);
    closed.code = code;
    closed.message = message;
    chi_wire_drop(connection->wire);
    connection->wire = NULL;
    uv_timer_stop(&connection->timer);
    connection->state = CHATHUB_STATE_ENDED;
    if (tell_unanswered(connection) && chi_connection_tell(connection, &closed))
        chi_connection_change(connection, CHATHUB_STATE_ENDED, code, message);
}

/* Between 0 and retry_ms, doubled with each failure, up to retry_max_ms; no sooner than the hub
 * said. */
static uint64_t next_attempt(struct chathub_connection *connection)
{
    unsigned doublings = connection->attempts > 16 ? 16 : connection->attempts;
    uint64_t most = (uint64_t)connection->retry_ms << doublings, dice = 0, at;

    if (most > connection->retry_max_ms)
        most = connection->retry_max_ms;
    if (getrandom(&dice, sizeof(dice), 0) != (ssize_t)sizeof(dice))
        dice = most;
    at = now(connection) + dice % (most + 1);
    return at > connection->not_before ? at : connection->not_before;
}

void chi_connection_lost(struct chathub_connection *connection, int code, const char *why)
{
    char message[LINE_SIZE];

    /* however that connection came to its end: the two would chase each other away */
    if (connection->replaced) {
        chi_connection_end(connection, CHATHUB_EREPLACED, chathub_strerror(CHATHUB_EREPLACED));
        return;
    }
    copy_line(message, why, code);
    chi_wire_drop(connection->wire);
    connection->wire = NULL;
    connection->open = false;
    if (connection->state == CHATHUB_STATE_CONNECTED &&
        now(connection) - connection->stood_since >= STOOD_MS)
        connection->attempts = 0;
    connection->due = next_attempt(connection);
    connection->attempts++;
    connection->not_before = 0;
    arm(connection, 0);
    chi_connection_change(connection, CHATHUB_STATE_WAITING, code, message);
}

/* ----------------------------------------------------------------------------------- the wire's ops */

static void on_opened(void *owner)
{
    struct chathub_connection *connection = owner;

    connection->open = true;
    connection->welcome_due = now(connection) + 3 * (uint64_t)connection->timeout_ms;
    connection->pinged = 0;
    connection->too_long = false;
    chi_outbox_restart(&connection->outbox);
    chi_stays_restart(connection);
    chi_connection_kick(connection);
}

static void on_text(void *owner, struct chi_span text)
{
    chi_hear(owner, text);
}

static void on_drained(void *owner)
{
    chi_connection_kick(owner);
}

/* What a WebSocket's status means for coming back: 0 it is well, else why not. */
static int verdict(unsigned status)
{
    switch (status) {
    case 4001:
        return CHATHUB_EREPLACED;
    case 1008:
        return CHATHUB_EABUSE;
    case 1009:
        return CHATHUB_ETOOLONG;
    case 1002:
    case 1003:
    case 1007:
        return CHATHUB_EPROTOCOL;
    default:
        return 0;
    }
}

static void on_lost(void *owner, int code, unsigned status, const char *why)
{
    struct chathub_connection *connection = owner;
    int end = code ? 0 : verdict(status);

    if (connection->goodbye)
        chi_connection_end(connection, 0, "closed");
    else if (end == CHATHUB_EREPLACED)
        chi_connection_end(connection, end, chathub_strerror(end));
    else if (connection->too_long) /* as 1009 of a WebSocket: it would be sent again, without end */
        chi_connection_end(connection, CHATHUB_ETOOLONG, chathub_strerror(CHATHUB_ETOOLONG));
    else if (end)
        chi_connection_end(connection, end, why);
    else
        chi_connection_lost(connection, code ? code : CHATHUB_EIO, why);
}

/* ------------------------------------------------------------------------------------------ turns */

static void begin_attempt(struct chathub_connection *connection)
{
    static const struct chi_wire_ops ops = {on_opened, on_text, on_drained, on_lost};
    const struct chi_wire_plan plan = {
        .loop = connection->loop,
        .target = &connection->target,
        .timeout_ms = connection->timeout_ms,
        .max_frame = connection->max_frame,
        .ops = &ops,
        .owner = connection,
    };

    connection->said_hello = false;
    int error = chi_wire_open(&plan, &connection->wire);
    if (error)
        chi_connection_lost(connection, error, chathub_strerror(error));
    else
        chi_connection_change(connection, CHATHUB_STATE_CONNECTING, 0, "");
}

/* Asks a silent hub whether it is there, and gives one up that does not answer. When to look again;
 * CHI_NEVER: the wire is dropped. */
static uint64_t watch(struct chathub_connection *connection)
{
    uint64_t heard = chi_wire_heard(connection->wire), at = now(connection);

    if (connection->pinged && heard >= connection->pinged)
        connection->pinged = 0;
    if (at >= connection->welcome_due) {
        chi_connection_lost(connection, CHATHUB_EIO, "the hub does not answer the hello");
        return CHI_NEVER;
    }
    if (connection->pinged && at >= connection->pinged + connection->timeout_ms) {
        chi_connection_lost(connection, CHATHUB_EIO, "nothing is heard of the hub any more");
        return CHI_NEVER;
    }
    if (!connection->pinged && at >= heard + connection->heartbeat_ms) {
        connection->pinged = at;
        chi_say_ping(connection);
    }
    uint64_t due = connection->pinged ? connection->pinged + connection->timeout_ms
                                      : heard + connection->heartbeat_ms;
    return due < connection->welcome_due ? due : connection->welcome_due;
}

/* Ends a connection that the host has closed, once all is answered or its time is over. Whether it is
 * under way. */
static bool finish(struct chathub_connection *connection)
{
    bool waits = connection->outbox.count > 0 && now(connection) < connection->close_due;

    if (!connection->closing || (waits && !connection->goodbye))
        return false;
    if (!connection->goodbye && connection->open) {
        connection->goodbye = true;
        if (connection->target.lines && connection->state == CHATHUB_STATE_CONNECTED)
            chi_say_farewell(connection);
        chi_wire_close(connection->wire);
    } else if (!connection->goodbye) {
        chi_connection_end(connection, 0, "closed");
    }
    return true;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What there is to be done on a wire that is open. When to look again; CHI_NEVER: it is dropped. */
static uint64_t work(struct chathub_connection *connection)
{
    uint64_t next = CHI_NEVER;

    if (!connection->said_hello)
        chi_say_hello(connection);
    connection->said_hello = true;
    if (connection->state == CHATHUB_STATE_CONNECTED)
        next = chi_say_all(connection);
    uint64_t look = watch(connection);
    if (look == CHI_NEVER)
        return look;
    chi_wire_flush(connection->wire);
    return sooner(next, look);
}

static void on_turn(uv_timer_t *timer)
{
    struct chathub_connection *connection = timer->data;
    uint64_t next = CHI_NEVER;

    if (connection->state == CHATHUB_STATE_ENDED || finish(connection))
        return;
    if (!connection->wire && now(connection) >= connection->due) {
        begin_attempt(connection);
        return;
    }
    if (!connection->wire)
        next = connection->due;
    else if (connection->open && (next = work(connection)) == CHI_NEVER)
        return;
    if (connection->closing)
        next = sooner(next, connection->close_due);
    if (next != CHI_NEVER)
        arm(connection, next);
}

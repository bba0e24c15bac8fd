/* The boundary of connections: checks what hosts hand in, for all that is behind it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "client/internal.h"

#define OUTBOX_POSTS_MAX 65536u
#define OUTBOX_BYTES_MAX (256u << 20)
#define FRAME_MAX        (64u << 20)
#define TIME_MAX         86400000u /* ms */

int chi_fail(struct chathub_connection *connection, int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(connection->problem, sizeof(connection->problem), format, args);
    va_end(args);
    return error;
}

int chi_plain_fail(struct chathub_connection *connection, int error)
{
    return error ? chi_fail(connection, error, "%s", chathub_strerror(error)) : 0;
}

int chi_connection_enter(struct chathub_connection *connection)
{
    if (!connection || connection->freed)
        return CHATHUB_EINVAL;
    connection->problem[0] = '\0';
    if (connection->state == CHATHUB_STATE_ENDED || connection->closing)
        return chi_fail(connection, CHATHUB_EGONE, "the connection has ended, or was closed");
    return 0;
}

bool chi_is_name(const char *name, size_t max)
{
    size_t len = strlen(name);
    return len > 0 && len <= max && chi_utf8_valid(name, len) && chi_text_clean(name, len) &&
           !strchr(name, '\n');
}

int chi_check_room(struct chathub_connection *connection, const char *room)
{
    if (!room || chi_is_name(room, CHI_ROOM_NAME_MAX))
        return 0;
    return chi_fail(connection, CHATHUB_EROOMNAME,
                    "the room's name is empty, too long, or not a line of UTF-8 text");
}

bool chi_make_key(char out[CHI_BASE64URL_SIZE(16)])
{
    uint8_t random[16];

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return false;
    chi_base64url(random, sizeof(random), out);
    return true;
}

/* ------------------------------------------------------------------------------------- life cycle */

static bool is_key(struct chi_span key)
{
    for (size_t i = 0; i < key.len; i++) {
        char c = key.at[i], low = (char)(c | 0x20);
        if (!(low >= 'a' && low <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return false;
    }
    return key.len >= 22 && key.len <= CHI_KEY_MAX;
}

static uint32_t or_else(uint32_t value, uint32_t standard)
{
    return value ? value : standard;
}

static int set_numbers(struct chathub_connection *connection,
                       const struct chathub_connection_options *options)
{
    uint32_t posts = or_else(options->outbox_posts, 1024);
    uint32_t bytes = or_else(options->outbox_bytes, 4u << 20);

    connection->retry_ms = or_else(options->retry_ms, 1000);
    connection->retry_max_ms = or_else(options->retry_max_ms, 30000);
    connection->heartbeat_ms = or_else(options->heartbeat_ms, 20000);
    connection->timeout_ms = or_else(options->timeout_ms, 10000);
    connection->max_frame = or_else(options->max_frame, 1u << 20);
    chi_outbox_init(&connection->outbox, posts, bytes);
    if (connection->retry_ms > TIME_MAX || connection->retry_max_ms > TIME_MAX ||
        connection->heartbeat_ms > TIME_MAX || connection->timeout_ms > TIME_MAX)
        return chi_fail(connection, CHATHUB_EINVAL, "times are %u ms (a day) at most", TIME_MAX);
    if (connection->max_frame < 4096 || connection->max_frame > FRAME_MAX)
        return chi_fail(connection, CHATHUB_EINVAL, "max_frame is from 4096 to %u bytes",
                        FRAME_MAX);
    if (posts > OUTBOX_POSTS_MAX || bytes > OUTBOX_BYTES_MAX)
        return chi_fail(connection, CHATHUB_EINVAL, "the outbox has at most %u posts and %u bytes",
                        OUTBOX_POSTS_MAX, OUTBOX_BYTES_MAX);
    return 0;
}

static int set_texts(struct chathub_connection *connection,
                     const struct chathub_connection_options *options)
{
    struct chi_span key = chi_span_of(options->session);

    if (options->name && !chi_is_name(options->name, CHI_NAME_MAX))
        return chi_fail(connection, CHATHUB_ETEXT,
                        "the name is empty, too long, or not a line of UTF-8 text");
    if (key.at && !is_key(key))
        return chi_plain_fail(connection, CHATHUB_ESESSION);
    if (key.at)
        memcpy(connection->key, key.at, key.len);
    else if (!chi_make_key(connection->key))
        return chi_fail(connection, CHATHUB_EIO, "the system has no random bytes");
    if (options->name && !(connection->name = chi_span_dup(chi_span_of(options->name))))
        return chi_plain_fail(connection, CHATHUB_ENOMEM);
    return 0;
}

/* The options as this version knows them, whichever one the caller was made with. */
static int read_options(struct chathub_connection *connection,
                        const struct chathub_connection_options *options)
{
    if (!options->url || !options->on_event)
        return chi_fail(connection, CHATHUB_EINVAL, "url and on_event have to be set");
    int error = chi_target_parse(options->url, &connection->target, connection->problem,
                                 sizeof(connection->problem));
    if (!error)
        error = set_numbers(connection, options);
    if (!error)
        error = set_texts(connection, options);
    connection->on_event = options->on_event;
    connection->on_state = options->on_state;
    connection->arg = options->arg;
    return error;
}

static void release(struct chathub_connection *connection)
{
    while (connection->stay_count > 0)
        chi_stay_remove(connection, chi_stay_first(connection));
    chi_outbox_fini(&connection->outbox);
    chi_buf_fini(&connection->request);
    chi_buf_fini(&connection->scratch);
    free(connection->name);
    free(connection->wish);
    free(connection);
}

static void on_closed(uv_handle_t *handle)
{
    release(handle->data);
}

static int begin(struct chathub_connection *connection, struct uv_loop_s *loop)
{
    connection->loop = loop;
    if (uv_timer_init(loop, &connection->timer) != 0)
        return chi_fail(connection, CHATHUB_EIO, "the loop takes no timer");
    connection->timer.data = connection;
    connection->state = CHATHUB_STATE_WAITING;
    chi_connection_kick(connection);
    return 0;
}

int chathub_connect(struct uv_loop_s *loop, const struct chathub_connection_options *options,
                    struct chathub_connection **connection)
{
    struct chathub_connection_options known = {0};

    if (!loop || !options || !connection || options->size < sizeof(uint32_t))
        return CHATHUB_EINVAL;
    memcpy(&known, options, options->size < sizeof(known) ? options->size : sizeof(known));
    struct chathub_connection *made = calloc(1, sizeof(*made));
    if (made) {
        chi_list_init(&made->stays);
        chi_list_init(&made->outbox.posts);
    }
    int error = made ? read_options(made, &known) : CHATHUB_ENOMEM;
    if (!error)
        error = begin(made, loop);
    if (!error) {
        *connection = made;
        return 0;
    }
    if (known.problem && known.problem_size)
        snprintf(known.problem, known.problem_size, "%s",
                 made ? made->problem : chathub_strerror(error));
    if (made)
        release(made);
    return error;
}

void chathub_connection_free(struct chathub_connection *connection)
{
    if (!connection || connection->freed)
        return;
    connection->freed = true;
    chi_wire_drop(connection->wire);
    connection->wire = NULL;
    uv_close((uv_handle_t *)&connection->timer, on_closed);
}

int chathub_connection_close(struct chathub_connection *connection, int timeout_ms)
{
    bool again = connection && connection->closing;
    int error;

    if (again)
        connection->closing = false;
    error = chi_connection_enter(connection);
    if (again)
        connection->closing = true;
    if (error)
        return error;
    uint64_t due = uv_now(connection->loop) + (timeout_ms > 0 ? (unsigned)timeout_ms : 0);
    if (!again || due < connection->close_due)
        connection->close_due = due;
    connection->closing = true;
    chi_connection_kick(connection);
    return 0;
}

int chathub_connection_retry(struct chathub_connection *connection)
{
    int error = chi_connection_enter(connection);

    if (!error && connection->state == CHATHUB_STATE_WAITING) {
        connection->due = 0;
        chi_connection_kick(connection);
    }
    return error;
}

const char *chathub_connection_problem(const struct chathub_connection *connection)
{
    return connection ? connection->problem : "";
}

/* ------------------------------------------------------------------------------------------ rooms */

static int check_start(struct chathub_connection *connection, int start, uint64_t from,
                       const char *epoch)
{
    if (start < CHATHUB_START_DEFAULT || start > CHATHUB_START_AFTER)
        return chi_fail(connection, CHATHUB_EINVAL, "start is one of CHATHUB_START_…, not %d",
                        start);
    if (start != CHATHUB_START_AFTER)
        return 0;
    if (!epoch || !chi_is_name(epoch, CHI_EPOCH_MAX))
        return chi_fail(connection, CHATHUB_EPOSITION,
                        "a position needs the epoch under which it was read");
    if (from >= UINT64_C(1) << 53)
        return chi_plain_fail(connection, CHATHUB_EPOSITION);
    return 0;
}

int chathub_connection_join(struct chathub_connection *connection, const char *room, int start,
                            uint64_t from, const char *epoch)
{
    int error = chi_connection_enter(connection);

    if (!error)
        error = chi_check_room(connection, room);
    if (!error)
        error = check_start(connection, start, from, epoch);
    if (error)
        return error;
    struct chi_stay *stay = chi_stay_named(connection, room);
    if (stay && stay->state >= CHI_STAY_GOES)
        return chi_fail(connection, CHATHUB_EAGAIN, "the room is being left; join it after that");
    if (!stay && connection->stay_count >= CHI_ROOMS_MAX)
        return chi_fail(connection, CHATHUB_EROOMS, "in %u rooms already; leave one first",
                        CHI_ROOMS_MAX);
    if (!stay && !(stay = chi_stay_add(connection, room)))
        return chi_plain_fail(connection, CHATHUB_ENOMEM);
    if (!stay->placed) {
        stay->start = start;
        stay->from = from;
    }
    if ((!stay->placed || stay->unasked) && start == CHATHUB_START_AFTER) {
        stay->placed = true;
        stay->position = from;
        memcpy(stay->epoch, epoch, strlen(epoch) + 1);
    }
    stay->unasked = false;
    stay->state = CHI_STAY_WANTED;
    chi_connection_kick(connection);
    return 0;
}

int chathub_connection_leave(struct chathub_connection *connection, const char *room)
{
    int error = chi_connection_enter(connection);
    struct chi_stay *stay = error ? NULL : chi_stay_named(connection, room);

    if (error)
        return error;
    if (!stay || stay->state >= CHI_STAY_GOES)
        return chi_plain_fail(connection, CHATHUB_ENOTMEMBER);
    stay->state = CHI_STAY_GOES;
    stay->after = connection->outbox.made;
    chi_connection_kick(connection);
    return 0;
}

int chathub_connection_place(const struct chathub_connection *connection, const char *room,
                             uint64_t *position, char *epoch, size_t size)
{
    if (!connection || !position || (size && !epoch))
        return CHATHUB_EINVAL;
    const struct chi_stay *stay = chi_stay_named(connection, room);
    if (!stay || !stay->placed)
        return CHATHUB_ENOTMEMBER;
    *position = stay->position;
    if (size)
        snprintf(epoch, size, "%s", stay->epoch);
    return 0;
}

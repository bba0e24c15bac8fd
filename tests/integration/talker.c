/* A host of one connection, driven by a test: calls as JSON lines on the standard input, states and
 * events as JSON lines on the standard output.
 *
 *     talker '{"url": …, "name": …, "retry_ms": …}'      the options of chathub_connect
 *
 *     {"call": "join", "room": …, "start": 3, "from": 7, "epoch": …}      leave, post, request,
 *     rename, close, retry, place, free; what is left out is NULL or 0
 *
 * Ends with its input, once the connection has ended (a test closes it before), or is freed. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <chathub_client.h>

static struct chathub_connection *connection;
static uv_pipe_t input;
static char line[1 << 17];
static size_t held; /* bytes of a line that is not complete */

static void tell(json_t *object)
{
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(object);
}

/* Texts that may hold a NUL or nothing. */
static json_t *text(const char *at, size_t len)
{
    return json_stringn(at, len);
}

static void on_event(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    json_error_t wrong;
    json_t *frame = json_loads(event->json, JSON_ALLOW_NUL, &wrong);

    if (hub || arg != &input || event->client)
        abort();
    tell(json_pack(
        "{s:i, s:s, s:s, s:s, s:o, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:i, s:s, s:s, s:o}", "event",
        (int)event->type, "code", chathub_errname(event->code), "room", event->room, "sender",
        event->sender, "content", text(event->content, event->content_len), "cid", event->cid,
        "data", event->data, "session", event->session, "position", (json_int_t)event->position,
        "prev", (json_int_t)event->prev, "time", (json_int_t)event->time, "count",
        (json_int_t)event->count, "flags", (int)event->flags, "message", event->message, "ref",
        event->ref, "frame", frame ? frame : json_null()));
}

static void on_state(struct chathub_connection *its, const struct chathub_state_change *change,
                     void *arg)
{
    (void)its;
    (void)arg;
    tell(json_pack("{s:i, s:s, s:s, s:i, s:I}", "state", (int)change->state, "code",
                   chathub_errname(change->code), "message", change->message, "attempts",
                   (int)change->attempts, "wait", (json_int_t)change->wait_ms));
    if (change->state == CHATHUB_STATE_ENDED)
        uv_close((uv_handle_t *)&input, NULL);
}

static const char *member(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static int number(const json_t *object, const char *key)
{
    return (int)json_integer_value(json_object_get(object, key));
}

static int place(const char *room)
{
    char epoch[65] = "";
    uint64_t position = 0;
    int error = chathub_connection_place(connection, room, &position, epoch, sizeof(epoch));

    if (!error)
        tell(json_pack("{s:I, s:s}", "place", (json_int_t)position, "epoch", epoch));
    return error;
}

static int call(const char *name, const json_t *a)
{
    const char *content = member(a, "content"), *json = member(a, "json"),
               *room = member(a, "room");

    if (strcmp(name, "join") == 0)
        return chathub_connection_join(connection, room, number(a, "start"),
                                       (uint64_t)json_integer_value(json_object_get(a, "from")),
                                       member(a, "epoch"));
    if (strcmp(name, "leave") == 0)
        return chathub_connection_leave(connection, room);
    if (strcmp(name, "post") == 0)
        return chathub_connection_post(connection, room, content, CHATHUB_NUL, member(a, "cid"));
    if (strcmp(name, "request") == 0)
        return chathub_connection_request(connection, json, CHATHUB_NUL);
    if (strcmp(name, "rename") == 0)
        return chathub_connection_rename(connection, member(a, "name"));
    if (strcmp(name, "close") == 0)
        return chathub_connection_close(connection, number(a, "timeout"));
    if (strcmp(name, "retry") == 0)
        return chathub_connection_retry(connection);
    if (strcmp(name, "place") == 0)
        return place(room);
    abort();
}

static void on_line(const char *at, size_t len)
{
    json_error_t wrong;
    json_t *a = json_loadb(at, len, 0, &wrong);
    const char *name = member(a, "call");

    if (!name)
        abort();
    if (strcmp(name, "free") == 0) {
        chathub_connection_free(connection);
        connection = NULL;
        uv_close((uv_handle_t *)&input, NULL);
    } else {
        int error = call(name, a);
        if (error)
            tell(json_pack("{s:s, s:s, s:s}", "failed", name, "code", chathub_errname(error),
                           "problem", chathub_connection_problem(connection)));
    }
    json_decref(a);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *out)
{
    (void)handle;
    (void)size;
    if (held == sizeof(line))
        abort();
    *out = uv_buf_init(line + held, (unsigned)(sizeof(line) - held));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
    char *end;

    (void)stream;
    (void)bytes;
    if (n < 0) {
        uv_close((uv_handle_t *)&input, NULL);
        return;
    }
    held += (size_t)n;
    while ((end = memchr(line, '\n', held)) && !uv_is_closing((uv_handle_t *)&input)) {
        size_t len = (size_t)(end - line) + 1;
        on_line(line, len);
        held -= len;
        memmove(line, end + 1, held);
    }
}

static int begin(uv_loop_t *loop, const json_t *given)
{
    static char problem[300];
    struct chathub_connection_options options = {
        .size = sizeof(options),
        .url = member(given, "url"),
        .name = member(given, "name"),
        .session = member(given, "session"),
        .retry_ms = (uint32_t)number(given, "retry_ms"),
        .retry_max_ms = (uint32_t)number(given, "retry_max_ms"),
        .heartbeat_ms = (uint32_t)number(given, "heartbeat_ms"),
        .timeout_ms = (uint32_t)number(given, "timeout_ms"),
        .outbox_posts = (uint32_t)number(given, "outbox_posts"),
        .outbox_bytes = (uint32_t)number(given, "outbox_bytes"),
        .max_frame = (uint32_t)number(given, "max_frame"),
        .on_event = on_event,
        .on_state = on_state,
        .arg = &input,
        .problem = problem,
        .problem_size = sizeof(problem),
    };
    int error = chathub_connect(loop, &options, &connection);

    if (error)
        tell(json_pack("{s:s, s:s, s:s}", "failed", "connect", "code", chathub_errname(error),
                       "problem", problem));
    return error;
}

int main(int argc, char **argv)
{
    json_error_t wrong;
    json_t *given = argc == 2 ? json_loads(argv[1], 0, &wrong) : NULL;
    uv_loop_t loop;

    if (!given || uv_loop_init(&loop) != 0)
        return 2;
    int error = begin(&loop, given);
    json_decref(given);
    if (!error) {
        uv_pipe_init(&loop, &input, 0);
        uv_pipe_open(&input, 0);
        uv_read_start((uv_stream_t *)&input, on_alloc, on_read);
        uv_run(&loop, UV_RUN_DEFAULT);
        chathub_connection_free(connection);
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    return uv_loop_close(&loop) == 0 ? error != 0 : 3;
}

/* The C client: its parts, and what it promises to hosts about calls and callbacks. */
#include "client_server.h"

#include <dirent.h>

#include "client/frame.h"
#include "client/outbox.h"
#include "client/socket.h"
#include "client/target.h"
#include "client/upgrade.h"

/* ---- URLs */

START_TEST(urls_are_read)
{
    static const struct {
        const char *url;
        bool lines;
        const char *host, *port, *path;
    } good[] = {
        {"ws://localhost:8080/ws", false, "localhost", "8080", "/ws"},
        {"ws://chat.example.org", false, "chat.example.org", "80", "/ws"},
        {"ws://chat.example.org/", false, "chat.example.org", "80", "/"},
        {"ws://[::1]:81/a/b?c=d", false, "::1", "81", "/a/b?c=d"},
        {"ws://[fe80::1%25eth0]?c=d", false, "fe80::1%25eth0", "80", "/ws?c=d"},
        {"tcp://localhost:7000", true, "localhost", "7000", ""},
        {"tcp://[::1]:7000/", true, "::1", "7000", ""},
    };
    struct chi_target target;
    char problem[300] = "";

    ck_assert_msg(chi_target_parse(good[_i].url, &target, problem, sizeof(problem)) == 0, "%s",
                  problem);
    ck_assert_int_eq(target.lines, good[_i].lines);
    ck_assert_str_eq(target.host, good[_i].host);
    ck_assert_str_eq(target.port, good[_i].port);
    ck_assert_str_eq(target.path, good[_i].path);
}
END_TEST

/* ---- the opening */

/* The example of RFC 6455 section 1.3. */
START_TEST(the_answer_to_a_key_is_that_of_the_rfc)
{
    char out[CHI_WEBSOCKET_ACCEPT_LEN + 1], key[CHI_WEBSOCKET_KEY_LEN + 1];

    chi_websocket_accept("dGhlIHNhbXBsZSBub25jZQ==", out);
    ck_assert_str_eq(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    chi_websocket_key((const uint8_t *)"the sample nonce", key);
    ck_assert_str_eq(key, "dGhlIHNhbXBsZSBub25jZQ==");
}
END_TEST

START_TEST(an_answer_is_read_however_it_is_cut)
{
    static const char answer[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        "Sec-WebSocket-Protocol: chathub.v1\r\n\r\n\x81\x01";
    size_t len = sizeof(answer) - 1;
    char problem[200] = "";

    for (size_t cut = 0; cut <= len; cut++) {
        int used = chi_upgrade_read((struct chi_span){answer, cut},
                                    "dGhlIHNhbXBsZSBub25jZQ==", problem, sizeof(problem));
        ck_assert_msg(used == (cut < len - 2 ? 0 : (int)len - 2), "%zu: %d %s", cut, used, problem);
    }
}
END_TEST

/* ---- frames */

static struct chi_buf scratch;

static void read_frame(const char *text, struct chi_frame *frame)
{
    char problem[200] = "";
    ck_assert_msg(chi_frame_read(chi_span_of(text), &scratch, frame, problem, sizeof(problem)) == 0,
                  "%s: %s", text, problem);
}

START_TEST(what_is_passed_on_stays_as_it_came)
{
    static const struct {
        const char *text, *data, *ref;
    } good[] = {
        {"{\"type\":\"chat\",\"data\":{\"n\":1.10}}", "{\"n\":1.10}", ""},
        {" { \"ref\" : 1.0e2 , \"data\" : { \"a\" : [ \"}\\\"]\" , {} ] } , \"type\":\"chat\" } ",
         "{ \"a\" : [ \"}\\\"]\" , {} ] }", "1.0e2"},
        {"{\"type\":\"pong\",\"ref\":\"a\\\"b\\u0041\"}", "", "\"a\\\"b\\u0041\""},
        {"{\"type\":\"pong\",\"ref\":true}", "", "true"},
        {"{\"type\":\"chat\",\"content\":\"\\\"data\\\":{}\",\"data\":{}}", "{}", ""},
        {"{\"type\":\"chat\",\"x\":{\"data\":{\"no\":1},\"ref\":2},\"data\":{\"yes\":1}}",
         "{\"yes\":1}", ""},
        {"{\"type\":\"chat\",\"data\":[1]}", "", ""},
        {"{\"type\":\"pong\",\"ref\":\"chathub:p\"}", "", ""},
        {"{}", "", ""},
    };
    struct chi_frame frame;

    read_frame(good[_i].text, &frame);
    ck_assert_str_eq(frame.event.data, good[_i].data);
    ck_assert_str_eq(frame.event.ref, good[_i].ref);
    ck_assert_str_eq(frame.event.json, good[_i].text);
    ck_assert_uint_eq(frame.event.json_len, strlen(good[_i].text));
    chi_frame_fini(&frame);
    chi_buf_fini(&scratch);
}
END_TEST

START_TEST(times_are_read_as_they_are_written)
{
    for (uint64_t ms = 0; ms < UINT64_C(253402300800000); ms += UINT64_C(86399999) * 37) {
        char stamp[CHI_TIMESTAMP_SIZE], text[100];
        struct chi_frame frame;
        chi_timestamp(ms, stamp);
        snprintf(text, sizeof(text), "{\"type\":\"pong\",\"timestamp\":\"%s\"}", stamp);
        read_frame(text, &frame);
        ck_assert_msg(frame.event.time == ms, "%s", stamp);
        chi_frame_fini(&frame);
    }
    chi_buf_fini(&scratch);
}
END_TEST

START_TEST(every_error_is_known_by_its_name)
{
#define X(name, number, word, text) ck_assert_int_eq(chi_frame_code(word), CHATHUB_##name);
    CHATHUB_ERRORS(X)
#undef X
    ck_assert_int_eq(chi_frame_code("of a later version"), CHATHUB_EREQUEST);
    ck_assert_int_eq(chi_frame_code(""), CHATHUB_EREQUEST);
}
END_TEST

/* ---- WebSockets */

struct heard {
    char texts[8][32];
    unsigned count;
};

static void on_text(void *ctx, struct chi_span text)
{
    struct heard *heard = ctx;
    ck_assert_uint_lt(heard->count, 8);
    snprintf(heard->texts[heard->count++], 32, "%.*s", (int)text.len, text.at);
}

START_TEST(messages_come_whole_however_they_are_cut)
{
    static const char bytes[] = "\x81\x05hello\x89\x02hi\x01\x01"
                                "a\x89\x00\x00\x01"
                                "b\x80\x01"
                                "c\x81\x00\x88\x05\x0f\xa1why";
    size_t len = sizeof(bytes) - 1;

    for (size_t cut = 1; cut <= len; cut++) {
        struct chi_buf out = {0};
        struct heard heard = {0};
        struct chi_socket *socket = chi_socket_new(100, &out, on_text, &heard);
        struct chi_span reason;
        unsigned status;
        int over = 0;
        for (size_t at = 0; at < len; at += cut) {
            ck_assert_int_eq(over, 0);
            over = chi_socket_feed(socket, bytes + at, len - at < cut ? len - at : cut);
        }
        ck_assert_int_eq(over, 1);
        ck_assert_int_eq(chi_socket_end(socket, &status, &reason), 0);
        ck_assert_uint_eq(status, 4001);
        ck_assert(chi_span_is(reason, "why"));
        ck_assert_uint_eq(heard.count, 3);
        ck_assert_str_eq(heard.texts[0], "hello");
        ck_assert_str_eq(heard.texts[1], "abc");
        if (cut == 1) {                                        /* else the close may go first */
            ck_assert_uint_eq(out.len, (6 + 2) + 6 + (6 + 5)); /* two pongs, and the close back */
            ck_assert_uint_eq((unsigned char)out.at[0], 0x8a);
            ck_assert_uint_eq((unsigned char)out.at[1], 0x82); /* masked */
        }
        chi_socket_free(socket);
        chi_buf_fini(&out);
    }
}
END_TEST

/* ---- the outbox */

START_TEST(an_outbox_keeps_its_order_and_its_bounds)
{
    struct chi_outbox outbox = {0};
    struct chi_span frame = CHI_SPAN("0123456789");

    chi_outbox_init(&outbox, 3, 35);
    ck_assert_int_eq(chi_outbox_add(&outbox, CHI_SPAN("a"), frame), 0);
    ck_assert_int_eq(chi_outbox_add(&outbox, CHI_SPAN("a"), frame), CHATHUB_ECIDREUSED);
    ck_assert_int_eq(chi_outbox_add(&outbox, CHI_SPAN("b"), frame), 0);
    ck_assert_int_eq(chi_outbox_add(&outbox, CHI_SPAN("c"), CHI_SPAN("0123456789012345")),
                     CHATHUB_EAGAIN);
    ck_assert_int_eq(chi_outbox_add(&outbox, CHI_SPAN("c"), frame), 0);
    ck_assert_int_eq(chi_outbox_add(&outbox, CHI_SPAN("d"), CHI_SPAN("0")), CHATHUB_EAGAIN);
    ck_assert_str_eq(chi_outbox_next(&outbox)->cid, "a");
    chi_outbox_next(&outbox)->sent = true;
    chi_outbox_next(&outbox)->sent = true;
    ck_assert_str_eq(chi_outbox_next(&outbox)->cid, "c");
    chi_outbox_find(&outbox, "a")->sent = false; /* it is to be sent again, before the others */
    ck_assert_str_eq(chi_outbox_next(&outbox)->cid, "a");
    chi_outbox_remove(&outbox, chi_outbox_find(&outbox, "a"));
    ck_assert_ptr_null(chi_outbox_find(&outbox, "a"));
    chi_outbox_restart(&outbox);
    ck_assert_str_eq(chi_outbox_next(&outbox)->cid, "b");
    ck_assert_uint_eq(outbox.count, 2);
    ck_assert_uint_eq(outbox.bytes, 20);
    chi_outbox_fini(&outbox);
    ck_assert_uint_eq(outbox.count + outbox.bytes, 0);
}
END_TEST

/* ---- a whole connection */

enum deed { NOTHING, FREE, CLOSE, CALL };

static struct {
    struct chathub_connection *connection;
    bool inside_call;   /* the host is in a call: nothing may call back */
    bool freed;         /* nothing may call back any more */
    unsigned callbacks; /* so far */
    unsigned deed_at;   /* callback in which `deed` is done */
    enum deed deed;
    unsigned acks, errors, messages;
    uint64_t last; /* position of the last message */
    bool ended;
} host;

static int done(int answer)
{
    host.inside_call = false;
    return answer;
}
#define DO(call) (host.inside_call = true, done(call))

static void called_back(void)
{
    ck_assert(!host.inside_call);
    ck_assert(!host.freed);
    if (++host.callbacks != host.deed_at)
        return;
    if (host.deed == FREE) {
        host.freed = true;
        chathub_connection_free(host.connection);
    } else if (host.deed == CLOSE) {
        DO(chathub_connection_close(host.connection, 2000));
    } else if (host.deed == CALL) {
        DO(chathub_connection_post(host.connection, "tea", "x", 1, NULL));
        DO(chathub_connection_join(host.connection, "tea", CHATHUB_START_DEFAULT, 0, NULL));
        DO(chathub_connection_request(host.connection, "{\"type\":\"ping\"}", CHATHUB_NUL));
        DO(chathub_connection_rename(host.connection, "ann"));
        DO(chathub_connection_retry(host.connection));
    }
}

static void on_event(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    ck_assert_ptr_null(hub);
    ck_assert_ptr_eq(arg, &host);
    ck_assert_uint_eq(event->size, sizeof(*event));
    ck_assert(!host.ended);
    host.acks += event->type == CHATHUB_EVENT_ACK;
    host.errors += event->type == CHATHUB_EVENT_ERROR;
    if (event->type == CHATHUB_EVENT_MESSAGE) {
        ck_assert_uint_gt(event->position, host.last);
        host.last = event->position;
        host.messages++;
    }
    called_back();
}

static void on_state(struct chathub_connection *connection,
                     const struct chathub_state_change *change, void *arg)
{
    ck_assert_ptr_eq(arg, &host);
    ck_assert_ptr_eq(connection, host.connection);
    host.ended = change->state == CHATHUB_STATE_ENDED;
    called_back();
}

static void host_start(enum deed deed, unsigned deed_at)
{
    char problem[200] = "";
    const struct chathub_connection_options options = {
        .size = sizeof(options),
        .retry_ms = 1,
        .retry_max_ms = 1,
        .heartbeat_ms = 5000,
        .timeout_ms = 5000,
        .url = server.url,
        .on_event = on_event,
        .on_state = on_state,
        .arg = &host,
        .problem = problem,
        .problem_size = sizeof(problem),
    };
    memset(&host, 0, sizeof(host));
    host.deed = deed;
    host.deed_at = deed_at;
    ck_assert_msg(DO(chathub_connect(&loop, &options, &host.connection)) == 0, "%s", problem);
    ck_assert_int_eq(
        DO(chathub_connection_join(host.connection, "tea", CHATHUB_START_NOW, 0, NULL)), 0);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(DO(chathub_connection_post(host.connection, "tea", "x", 1, NULL)), 0);
}

/* Until all posts are answered, or the host has freed it. */
static void host_run(void)
{
    while (!host.freed && !host.ended &&
           (chathub_connection_unanswered(host.connection) || host.messages < host.acks))
        uv_run(&loop, UV_RUN_ONCE);
    if (!host.freed && !host.ended)
        DO(chathub_connection_close(host.connection, 2000));
    while (!host.freed && !host.ended)
        uv_run(&loop, UV_RUN_ONCE);
    if (!host.freed)
        chathub_connection_free(host.connection);
    host.freed = true;
}

static const char *scheme_of(int i)
{
    return i % 2 ? "ws" : "tcp";
}

/* As often as there are callbacks in a whole conversation, and at each of them. */
static void conversations(const char *scheme, enum deed deed, unsigned break_at)
{
    unsigned all = 0;

    for (unsigned at = 0; at <= all; at++) {
        server_start(scheme);
        server.break_at = break_at;
        host_start(deed, at);
        host_run();
        if (at == 0) {
            all = host.callbacks;
            ck_assert_uint_ge(all, 16);
        }
        if (deed != FREE || at == 0)
            ck_assert_uint_ge(host.acks + host.errors, 5);
        server_end();
    }
}

START_TEST(a_connection_can_be_freed_in_each_of_its_callbacks)
{
    conversations(scheme_of(_i), FREE, 0);
    conversations(scheme_of(_i), FREE, 4);
}
END_TEST

START_TEST(a_connection_can_be_closed_in_each_of_its_callbacks)
{
    conversations(scheme_of(_i), CLOSE, 0);
    conversations(scheme_of(_i), CLOSE, 4);
}
END_TEST

START_TEST(a_connection_can_be_called_in_each_of_its_callbacks)
{
    conversations(scheme_of(_i), CALL, 0);
    conversations(scheme_of(_i), CALL, 4);
}
END_TEST

START_TEST(wherever_the_connection_breaks_all_is_told_once)
{
    for (unsigned at = 1; at < 12; at++) {
        server_start(scheme_of(_i));
        server.break_at = at;
        host_start(NOTHING, 0);
        host_run();
        ck_assert_uint_eq(host.acks, 5);
        ck_assert_uint_eq(host.errors, 0);
        ck_assert_uint_eq(server.posts, 5);
        /* a join that was cut off begins where the room then is */
        ck_assert_uint_eq(host.messages, 5);
        server_end();
    }
}
END_TEST

START_TEST(a_connection_can_be_freed_at_any_time)
{
    for (int turns = 0; turns < 40; turns++) {
        server_start(scheme_of(_i));
        host_start(NOTHING, 0);
        for (int i = 0; i < turns; i++)
            uv_run(&loop, UV_RUN_NOWAIT);
        host.freed = true;
        chathub_connection_free(host.connection);
        server_end();
    }
    chathub_connection_free(NULL);
}
END_TEST

static int open_descriptors(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

START_TEST(a_thousand_connections_leave_no_descriptor)
{
    int before = 0;

    for (int i = 0; i < 1000 / 20; i++) {
        server_start(scheme_of(i));
        for (int k = 0; k < 20; k++) {
            server.posts = 0;
            host_start(NOTHING, 0);
            host_run();
        }
        server_end();
        if (i == 0)
            before = open_descriptors();
    }
    ck_assert_int_eq(open_descriptors(), before);
}
END_TEST

START_TEST(calls_that_make_no_sense_are_refused)
{
    struct chathub_connection_options options = {.size = sizeof(options)};
    struct chathub_connection *connection = NULL;
    uint64_t position;
    char epoch[65];

    server_start("tcp");
    ck_assert_int_eq(chathub_connect(NULL, &options, &connection), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_connect(&loop, NULL, &connection), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_connect(&loop, &options, NULL), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_connect(&loop, &options, &connection), CHATHUB_EINVAL);
    options.size = 2;
    ck_assert_int_eq(chathub_connect(&loop, &options, &connection), CHATHUB_EINVAL);
    ck_assert_ptr_null(connection);
    host_start(NOTHING, 0);
    connection = host.connection;
    ck_assert_int_eq(DO(chathub_connection_join(connection, "", 0, 0, NULL)), CHATHUB_EROOMNAME);
    ck_assert_int_eq(DO(chathub_connection_join(connection, "a\nb", 0, 0, NULL)),
                     CHATHUB_EROOMNAME);
    ck_assert_int_eq(DO(chathub_connection_join(connection, "x", 4, 0, NULL)), CHATHUB_EINVAL);
    ck_assert_int_eq(DO(chathub_connection_join(connection, "x", -1, 0, NULL)), CHATHUB_EINVAL);
    ck_assert_int_eq(DO(chathub_connection_join(connection, "x", 3, 1, NULL)), CHATHUB_EPOSITION);
    ck_assert_int_eq(DO(chathub_connection_join(connection, "x", 3, UINT64_C(1) << 53, "e")),
                     CHATHUB_EPOSITION);
    ck_assert_int_eq(DO(chathub_connection_leave(connection, "x")), CHATHUB_ENOTMEMBER);
    ck_assert_int_eq(DO(chathub_connection_post(connection, NULL, NULL, 0, NULL)), CHATHUB_EEMPTY);
    ck_assert_int_eq(DO(chathub_connection_post(connection, NULL, "\xff", 1, NULL)), CHATHUB_ETEXT);
    ck_assert_int_eq(DO(chathub_connection_rename(connection, NULL)), CHATHUB_ENAME);
    ck_assert_int_eq(DO(chathub_connection_request(connection, NULL, 0)), CHATHUB_EJSON);
    ck_assert_str_eq(chathub_connection_problem(connection), chathub_strerror(CHATHUB_EJSON));
    ck_assert_int_eq(chathub_connection_place(connection, "tea", &position, epoch, 65),
                     CHATHUB_ENOTMEMBER);
    ck_assert_int_eq(chathub_connection_place(connection, "tea", NULL, epoch, 65), CHATHUB_EINVAL);
    ck_assert_uint_eq(strlen(chathub_connection_cid(connection)), 22);
    ck_assert_uint_eq(chathub_connection_unanswered(connection), 5);
    ck_assert_int_eq(DO(chathub_connection_close(connection, 5000)), 0);
    ck_assert_int_eq(DO(chathub_connection_post(connection, NULL, "x", 1, NULL)), CHATHUB_EGONE);
    ck_assert_int_eq(DO(chathub_connection_close(connection, 10000)), 0);
    while (!host.ended)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_uint_eq(host.acks, 5);
    ck_assert_int_eq(DO(chathub_connection_close(connection, 0)), CHATHUB_EGONE);
    ck_assert_int_eq(DO(chathub_connection_retry(connection)), CHATHUB_EGONE);
    host.freed = true;
    chathub_connection_free(connection);
    ck_assert_int_eq(chathub_connection_retry(NULL), CHATHUB_EINVAL);
    server_end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client");
    TCase *tcase = tcase_create("client");

    tcase_add_loop_test(tcase, urls_are_read, 0, 7);
    tcase_add_test(tcase, the_answer_to_a_key_is_that_of_the_rfc);
    tcase_add_test(tcase, an_answer_is_read_however_it_is_cut);
    tcase_add_loop_test(tcase, what_is_passed_on_stays_as_it_came, 0, 9);
    tcase_add_test(tcase, times_are_read_as_they_are_written);
    tcase_add_test(tcase, every_error_is_known_by_its_name);
    tcase_add_test(tcase, messages_come_whole_however_they_are_cut);
    tcase_add_test(tcase, an_outbox_keeps_its_order_and_its_bounds);
    tcase_add_loop_test(tcase, a_connection_can_be_freed_in_each_of_its_callbacks, 0, 2);
    tcase_add_loop_test(tcase, a_connection_can_be_closed_in_each_of_its_callbacks, 0, 2);
    tcase_add_loop_test(tcase, a_connection_can_be_called_in_each_of_its_callbacks, 0, 2);
    tcase_add_loop_test(tcase, wherever_the_connection_breaks_all_is_told_once, 0, 2);
    tcase_add_loop_test(tcase, a_connection_can_be_freed_at_any_time, 0, 2);
    tcase_add_test(tcase, a_thousand_connections_leave_no_descriptor);
    tcase_add_test(tcase, calls_that_make_no_sense_are_refused);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}

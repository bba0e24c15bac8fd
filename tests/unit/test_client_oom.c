/* A connection whose allocations fail: linked with --wrap, as test_oom. It comes back as if the
 * connection had been lost, and all is told once. */
#include "client_server.h"

#include "oom.h"

static long until = -1; /* allocations that still succeed; -1: all */
static bool failed;

static bool fails(void)
{
    if (until < 0 || until-- > 0)
        return false;
    failed = true;
    return true;
}

static struct {
    unsigned acks, errors, messages;
    uint64_t last;
    bool ended;
} host;

static void on_event(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    (void)hub;
    (void)arg;
    host.acks += event->type == CHATHUB_EVENT_ACK;
    host.errors += event->type == CHATHUB_EVENT_ERROR;
    if (event->type == CHATHUB_EVENT_MESSAGE) {
        MUST(event->position > host.last);
        host.last = event->position;
        host.messages++;
    }
}

static void on_state(struct chathub_connection *connection,
                     const struct chathub_state_change *change, void *arg)
{
    (void)connection;
    (void)arg;
    host.ended = change->state == CHATHUB_STATE_ENDED;
}

/* Tries what is refused for want of memory once more. */
#define INSIST(call)                                                                               \
    do {                                                                                           \
        int error = (call);                                                                        \
        if (error) {                                                                               \
            MUST(error == CHATHUB_ENOMEM);                                                         \
            MUST((call) == 0);                                                                     \
        }                                                                                          \
    } while (0)

static void converse(void)
{
    const struct chathub_connection_options options = {
        .size = sizeof(options),
        .retry_ms = 1,
        .retry_max_ms = 1,
        .url = server.url,
        .name = "ann",
        .on_event = on_event,
        .on_state = on_state,
    };
    struct chathub_connection *connection = NULL;

    memset(&host, 0, sizeof(host));
    INSIST(chathub_connect(&loop, &options, &connection));
    INSIST(chathub_connection_join(connection, "tea", CHATHUB_START_NOW, 0, NULL));
    for (int i = 0; i < 3; i++)
        INSIST(chathub_connection_post(connection, "tea", "x", 1, NULL));
    INSIST(chathub_connection_request(connection, "{\"type\":\"post\",\"data\":{}}", CHATHUB_NUL));
    while (chathub_connection_unanswered(connection) || host.messages < 4)
        uv_run(&loop, UV_RUN_ONCE);
    INSIST(chathub_connection_rename(connection, "anne"));
    INSIST(chathub_connection_leave(connection, "tea"));
    INSIST(chathub_connection_close(connection, 5000));
    while (!host.ended)
        uv_run(&loop, UV_RUN_ONCE);
    chathub_connection_free(connection);
}

START_TEST(whichever_allocation_fails_all_is_told_once)
{
    unsigned failures = 0;

    for (long n = 0;; n++) {
        server_start(_i ? "ws" : "tcp");
        failed = false;
        until = n;
        converse();
        until = -1;
        ck_assert_msg(host.acks == 4 && host.errors == 0 && host.messages == 4 && server.posts == 4,
                      "allocation %ld: %u acks, %u errors, %u messages, %u posts", n, host.acks,
                      host.errors, host.messages, server.posts);
        server_end();
        failures += failed;
        if (!failed)
            break;
    }
    ck_assert_uint_gt(failures, 15);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client_oom");
    TCase *tcase = tcase_create("client_oom");

    tcase_add_loop_test(tcase, whichever_allocation_fails_all_is_told_once, 0, 2);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}

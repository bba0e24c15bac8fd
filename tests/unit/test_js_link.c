/* The link to NATS, on a real nats-server: what comes, in which order, and under which token; what
 * happens when the server dies, freezes, refuses, or is not there. */
#include "nats_server.h"

#include <inttypes.h>
#include <pthread.h>

#include "chathub.h"
#include "log/jetstream/link.h"

/* ---------------------------------------------------------------------------------- two nodes */

struct message {
    struct chi_js_in in; /* its spans are the two below */
    char *subject, *data;
};

struct node {
    struct chi_js_link *link;
    struct chi_js_port port;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool wake;
    struct message *list; /* all that came */
    size_t count;
    bool missed;
};

static struct nats_server server;
static struct chi_js_url url;
static struct chi_settings settings;
static struct node nodes[2];
static char problem[512];

static void wake(void *arg)
{
    struct node *node = arg;
    pthread_mutex_lock(&node->lock);
    node->wake = true;
    pthread_cond_signal(&node->woken);
    pthread_mutex_unlock(&node->lock);
}

static void keep(void *arg, const struct chi_js_in *in)
{
    struct node *node = arg;
    node->list = realloc(node->list, (node->count + 1) * sizeof *node->list);
    struct message *m = &node->list[node->count++];
    *m = (struct message){*in, chi_span_dup(in->subject), chi_span_dup(in->data)};
}

static void take(struct node *node)
{
    bool missed;
    node->port.number(node->port.self);
    chi_js_link_take(node->link, 1024, keep, node, &missed);
    node->missed |= missed;
}

/* Until it is woken. */
static void doze(struct node *node)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += NATS_SERVER_DEADLINE_MS / 1000;
    int late = 0;
    pthread_mutex_lock(&node->lock);
    while (!node->wake && !late)
        late = pthread_cond_timedwait(&node->woken, &node->lock, &until);
    node->wake = false;
    pthread_mutex_unlock(&node->lock);
    ck_assert_msg(!late, "it was not woken");
}

static void until_up(struct node *node, bool up)
{
    while (node->port.up(node->port.self) != up) {
        take(node);
        if (node->port.up(node->port.self) != up)
            doze(node);
    }
    node->port.number(node->port.self);
}

/* Until so many came since `clear`. */
static void until_count(struct node *node, size_t count)
{
    for (take(node); node->count < count; take(node))
        if (!chi_js_link_waits(node->link))
            doze(node);
}

/* Until one came that is a reply to this token; it. */
static struct message *until_reply(struct node *node, uint32_t token)
{
    for (size_t seen = 0;;) {
        for (; seen < node->count; seen++)
            if (node->list[seen].in.kind == CHI_JS_REPLY && node->list[seen].in.token == token)
                return &node->list[seen];
        until_count(node, seen + 1);
    }
}

static void clear(struct node *node)
{
    for (size_t i = 0; i < node->count; i++) {
        free(node->list[i].subject);
        free(node->list[i].data);
    }
    free(node->list);
    node->list = NULL;
    node->count = 0;
}

static void make(struct node *node, uint64_t number)
{
    struct chi_js_link_parts parts = {
        .url = &url, .settings = &settings, .node = number, .wake = wake, .arg = node};
    *node = (struct node){.wake = false};
    pthread_mutex_init(&node->lock, NULL);
    pthread_cond_init(&node->woken, NULL);
    ck_assert_msg(chi_js_link_new(&parts, &node->link, problem, sizeof problem) == 0, "%s",
                  problem);
    node->port = chi_js_link_port(node->link);
}

static void unmake(struct node *node)
{
    if (!node->link)
        return;
    chi_js_link_free(node->link);
    clear(node);
    pthread_cond_destroy(&node->woken);
    pthread_mutex_destroy(&node->lock);
    node->link = NULL;
}

static void set_url(const char *before, const char *host)
{
    char text[256];
    chi_js_url_free(&url);
    snprintf(text, sizeof text, "%s%s:%d/S", before, host, server.port);
    ck_assert_msg(chi_js_url_read(text, &url, problem, sizeof problem) == 0, "%s", problem);
}

static void begin(bool jetstream, const char *config)
{
    nats_server_new(&server, jetstream, config);
    settings = (struct chi_settings){.name = (char *)"test"};
    set_url("nats://", "127.0.0.1");
}

static void finish(void)
{
    unmake(&nodes[0]);
    unmake(&nodes[1]);
    chi_js_url_free(&url);
    nats_server_free(&server);
}

static void connected(int count)
{
    begin(true, NULL);
    for (int i = 0; i < count; i++) {
        make(&nodes[i], 0xa0u + (unsigned)i);
        until_up(&nodes[i], true);
    }
}

static int send_to(struct node *node, const char *subject, const char *data, uint32_t token)
{
    return node->port.send(node->port.self, &(struct chi_js_out){.subject = chi_span_of(subject),
                                                                 .data = chi_span_of(data),
                                                                 .token = token});
}

static const char *ask(struct node *node, const char *subject, const char *data)
{
    static uint32_t token = 1000;
    ck_assert_int_eq(send_to(node, subject, data, ++token), 0);
    return until_reply(node, token)->data;
}

static void make_stream(void)
{
    const char *answer =
        ask(&nodes[0], "$JS.API.STREAM.CREATE.S",
            "{\"name\":\"S\",\"subjects\":[\"S.in.>\"],\"storage\":\"file\",\"num_replicas\":1,"
            "\"republish\":{\"src\":\"S.in.>\",\"dest\":\"S.out.>\"}}");
    ck_assert_msg(!strstr(answer, "error"), "%s", answer);
    clear(&nodes[0]);
}

static void post(struct node *node, const char *room, const char *data, const char *id,
                 uint32_t token)
{
    char subject[64];
    snprintf(subject, sizeof subject, "S.in.room.%s", room);
    struct chi_js_out out = {
        .subject = chi_span_of(subject), .data = chi_span_of(data), .id = id, .token = token};
    ck_assert_int_eq(node->port.send(node->port.self, &out), 0);
}

/* The n-th live message. */
static const struct message *live(struct node *node, size_t n)
{
    for (size_t i = 0;; i++) {
        until_count(node, i + 1);
        if (node->list[i].in.kind == CHI_JS_LIVE && n-- == 0)
            return &node->list[i];
    }
}

/* --------------------------------------------------------------------------------------- tests */

START_TEST(a_connection_is_numbered_and_says_how_long_messages_may_be)
{
    bool lasting;
    connected(1);
    ck_assert_uint_eq(nodes[0].port.number(nodes[0].port.self), 1);
    ck_assert_uint_eq(nodes[0].port.most(nodes[0].port.self), 1 << 20);
    ck_assert_str_eq(chi_js_link_problem(nodes[0].link, &lasting), "");
    char *long_one = calloc(1, (1 << 20) + 2);
    memset(long_one, 'x', (1 << 20) + 1);
    ck_assert_int_eq(send_to(&nodes[0], "S.in.room.a", long_one, 0), CHATHUB_EVALUE);
    free(long_one);
    ck_assert_int_eq(send_to(&nodes[0], "$JS.API.INFO", "", 3), 0);
    until_reply(&nodes[0], 3);
    finish();
}
END_TEST

/* A server closes the connection where a subject is too long. */
START_TEST(a_subject_that_is_too_long_is_refused_and_harms_nothing)
{
    char subject[4200] = "S.in.room.";
    connected(1);
    memset(subject + 10, 'a', sizeof subject - 11);
    ck_assert_int_eq(send_to(&nodes[0], subject, "x", 0), CHATHUB_EVALUE);
    subject[2000] = '\0';
    ck_assert_int_eq(send_to(&nodes[0], subject, "x", 0), 0);
    ask(&nodes[0], "$JS.API.INFO", "");
    ck_assert_uint_eq(nodes[0].port.number(nodes[0].port.self), 1);
    finish();
}
END_TEST

/* Also where the server takes more: what is stored can be had again, in an answer and live. */
START_TEST(the_longest_message_that_is_taken_comes_back)
{
    char subject[] = "S.in.room.a";
    begin(true, "max_payload: 33554432");
    make(&nodes[0], 1);
    until_up(&nodes[0], true);
    make_stream();
    uint32_t most = nodes[0].port.most(nodes[0].port.self);
    char *data = malloc((size_t)most + 2);
    memset(data, 'x', (size_t)most + 1);
    data[most + 1] = '\0';
    ck_assert_int_eq(send_to(&nodes[0], subject, data, 0), CHATHUB_EVALUE);
    data[most] = '\0';
    ck_assert_int_eq(send_to(&nodes[0], subject, data, 5), 0);
    ck_assert_ptr_nonnull(strstr(until_reply(&nodes[0], 5)->data, "\"seq\":1"));
    ck_assert_uint_eq(live(&nodes[0], 0)->in.data.len, most);
    clear(&nodes[0]);
    const char *answer = ask(&nodes[0], "$JS.API.STREAM.MSG.GET.S", "{\"seq\":1}");
    ck_assert_uint_gt(strlen(answer), (size_t)most / 3 * 4);
    ck_assert(!nodes[0].missed);
    free(data);
    finish();
}
END_TEST

START_TEST(answers_come_under_the_token_of_their_question)
{
    connected(1);
    ck_assert_int_eq(send_to(&nodes[0], "$JS.API.INFO", "", 4294967295u), 0);
    ck_assert_int_eq(send_to(&nodes[0], "nobody.there", "", 7), 0);
    ck_assert_int_eq(send_to(&nodes[0], "$JS.API.STREAM.INFO.S", "", 9), 0);
    nodes[0].port.flush(nodes[0].port.self);
    ck_assert_ptr_nonnull(strstr(until_reply(&nodes[0], 4294967295u)->data, "account_info"));
    ck_assert_uint_eq(until_reply(&nodes[0], 4294967295u)->in.status, 0);
    ck_assert_uint_eq(until_reply(&nodes[0], 7)->in.status, 503);
    ck_assert_ptr_nonnull(strstr(until_reply(&nodes[0], 9)->data, "stream not found"));
    finish();
}
END_TEST

START_TEST(a_stored_message_comes_live_with_its_sequence_and_the_one_before_it)
{
    connected(2);
    make_stream();
    post(&nodes[0], "a", "one", "id1", 1);
    post(&nodes[0], "b", "two", "id2", 2);
    post(&nodes[0], "a", "three", NULL, 3);
    post(&nodes[0], "a", "one", "id1", 4); /* a repeat is not sent on */
    post(&nodes[0], "a", "four", "id4", 5);
    static const struct {
        const char *subject, *data;
        uint64_t seq, last;
    } want[] = {{"room.a", "one", 1, 0},
                {"room.b", "two", 2, 0},
                {"room.a", "three", 3, 1},
                {"room.a", "four", 4, 3}};
    for (size_t n = 0; n < 2; n++) /* the one who posted sees it as the other does */
        for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
            const struct message *got = live(&nodes[n], i);
            ck_assert_str_eq(got->subject, want[i].subject);
            ck_assert_str_eq(got->data, want[i].data);
            ck_assert_uint_eq(got->in.seq, want[i].seq);
            ck_assert_uint_eq(got->in.last, want[i].last);
        }
    ck_assert_ptr_nonnull(strstr(until_reply(&nodes[0], 1)->data, "\"seq\":1"));
    ck_assert_ptr_nonnull(strstr(until_reply(&nodes[0], 4)->data, "\"duplicate\": true"));
    ck_assert_ptr_nonnull(strstr(until_reply(&nodes[0], 5)->data, "\"seq\":4"));
    finish();
}
END_TEST

START_TEST(what_is_expected_of_the_subject_goes_along)
{
    connected(1);
    make_stream();
    struct chi_js_out out = {.subject = CHI_SPAN("S.in.epoch"),
                             .data = CHI_SPAN("e"),
                             .token = 1,
                             .expects = true,
                             .expected = 0};
    ck_assert_int_eq(nodes[0].port.send(nodes[0].port.self, &out), 0);
    out.token = 2;
    ck_assert_int_eq(nodes[0].port.send(nodes[0].port.self, &out), 0);
    out.token = 3;
    out.expected = 1;
    ck_assert_int_eq(nodes[0].port.send(nodes[0].port.self, &out), 0);
    ck_assert_ptr_nonnull(strstr(until_reply(&nodes[0], 1)->data, "\"seq\":1"));
    ck_assert_ptr_nonnull(strstr(until_reply(&nodes[0], 2)->data, "10071"));
    ck_assert_ptr_nonnull(strstr(until_reply(&nodes[0], 3)->data, "\"seq\":2"));
    finish();
}
END_TEST

static void make_consumer(const char *room, char *subject, size_t size)
{
    char config[256];
    snprintf(config, sizeof config,
             "{\"stream_name\":\"S\",\"config\":{\"ack_policy\":\"none\",\"filter_subject\":"
             "\"S.in.room.%s\",\"mem_storage\":true,\"num_replicas\":1}}",
             room);
    const char *name = strstr(ask(&nodes[0], "$JS.API.CONSUMER.CREATE.S", config), "\"name\":\"");
    ck_assert_ptr_nonnull(name);
    name += strlen("\"name\":\"");
    snprintf(subject, size, "$JS.API.CONSUMER.MSG.NEXT.S.%.*s", (int)strcspn(name, "\""), name);
}

START_TEST(a_consumer_s_messages_come_under_the_token_of_its_last_pull)
{
    char of_a[96], of_b[96];
    connected(1);
    make_stream();
    for (uint32_t i = 0; i < 6; i++)
        post(&nodes[0], i % 2 ? "b" : "a", i % 2 ? "odd" : "even", NULL, 100 + i);
    for (uint32_t i = 0; i < 6; i++)
        until_reply(&nodes[0], 100 + i);
    make_consumer("a", of_a, sizeof of_a);
    make_consumer("b", of_b, sizeof of_b);
    clear(&nodes[0]);
    ck_assert_int_eq(send_to(&nodes[0], of_a, "{\"batch\":2,\"no_wait\":true}", 1), 0);
    until_count(&nodes[0], 2);
    ck_assert_int_eq(send_to(&nodes[0], of_b, "{\"batch\":9,\"no_wait\":true}", 2), 0);
    until_count(&nodes[0], 6);
    ck_assert_int_eq(send_to(&nodes[0], of_a, "{\"batch\":9,\"no_wait\":true}", 3), 0);
    until_count(&nodes[0], 8);
    static const struct {
        uint32_t token;
        uint64_t seq, nth, pending;
        const char *subject;
    } want[] = {{1, 1, 1, 2, "room.a"}, {1, 3, 2, 1, "room.a"}, {2, 2, 1, 2, "room.b"},
                {2, 4, 2, 1, "room.b"}, {2, 6, 3, 0, "room.b"}, {2, 0, 0, 0, ""},
                {3, 5, 3, 0, "room.a"}, {3, 0, 0, 0, ""}};
    for (size_t i = 0; i < 8; i++) {
        const struct message *got = &nodes[0].list[i];
        ck_assert_int_eq(got->in.kind, CHI_JS_REPLY);
        ck_assert_uint_eq(got->in.token, want[i].token);
        ck_assert_uint_eq(got->in.seq, want[i].seq);
        ck_assert_uint_eq(got->in.nth, want[i].nth);
        ck_assert_uint_eq(got->in.pending, want[i].pending);
        ck_assert_str_eq(got->subject ? got->subject : "", want[i].subject);
        ck_assert_int_eq(got->in.status == 404 || got->in.status == 408, want[i].seq == 0);
    }
    finish();
}
END_TEST

START_TEST(what_a_node_says_on_the_bus_reaches_the_others_alone)
{
    connected(2);
    ck_assert_int_eq(chi_js_link_tell(nodes[0].link, 0, CHI_SPAN("to all")), 0);
    ck_assert_int_eq(chi_js_link_tell(nodes[0].link, 0xa0, CHI_SPAN("to itself")), 0);
    ck_assert_int_eq(chi_js_link_tell(nodes[0].link, 0xa1, CHI_SPAN("to one")), 0);
    ck_assert_int_eq(chi_js_link_tell(nodes[0].link, 0xa2, CHI_SPAN("to nobody")), 0);
    until_count(&nodes[1], 2);
    ck_assert_int_eq(nodes[1].list[0].in.kind, CHI_JS_BUS);
    ck_assert_str_eq(nodes[1].list[0].data, "to all");
    ck_assert_str_eq(nodes[1].list[1].data, "to one");
    ck_assert_int_eq(chi_js_link_tell(nodes[1].link, 0, CHI_SPAN("back")), 0);
    until_count(&nodes[0], 1);
    ck_assert_str_eq(nodes[0].list[0].data, "back");
    /* All that was said before this answer would be there. */
    ask(&nodes[0], "$JS.API.INFO", "");
    ask(&nodes[1], "$JS.API.INFO", "");
    ck_assert_uint_eq(nodes[0].count, 2);
    ck_assert_uint_eq(nodes[1].count, 3);
    finish();
}
END_TEST

START_TEST(a_server_that_dies_and_returns_is_another_connection_with_all_subscriptions)
{
    bool lasting;
    connected(2);
    make_stream();
    for (uint64_t round = 2; round < 5; round++) {
        nats_server_kill(&server);
        until_up(&nodes[0], false);
        until_up(&nodes[1], false);
        ck_assert_int_eq(send_to(&nodes[0], "$JS.API.INFO", "", 1), CHATHUB_EAGAIN);
        ck_assert_int_eq(chi_js_link_tell(nodes[0].link, 0, CHI_SPAN("lost")), CHATHUB_EAGAIN);
        while (!*chi_js_link_problem(nodes[0].link, &lasting))
            doze(&nodes[0]);
        ck_assert(!lasting);
        nats_server_start(&server);
        until_up(&nodes[0], true);
        until_up(&nodes[1], true);
        ck_assert_uint_eq(nodes[0].port.number(nodes[0].port.self), round);
        ck_assert_str_eq(chi_js_link_problem(nodes[0].link, &lasting), "");
        post(&nodes[0], "a", "x", NULL, 0);
        ck_assert_uint_eq(live(&nodes[0], 0)->in.seq, round - 1);
        ck_assert_uint_eq(live(&nodes[1], 0)->in.seq, round - 1);
        ck_assert_int_eq(chi_js_link_tell(nodes[1].link, 0xa0, CHI_SPAN("y")), 0);
        until_count(&nodes[0], 2);
        clear(&nodes[0]);
        clear(&nodes[1]);
    }
    finish();
}
END_TEST

START_TEST(nothing_is_sent_over_a_connection_that_nobody_asked_about)
{
    connected(1);
    nats_server_kill(&server);
    until_up(&nodes[0], false);
    nats_server_start(&server);
    while (!nodes[0].port.up(nodes[0].port.self))
        doze(&nodes[0]);
    ck_assert_int_eq(send_to(&nodes[0], "$JS.API.INFO", "", 1), CHATHUB_EAGAIN);
    ck_assert_uint_eq(nodes[0].port.number(nodes[0].port.self), 2);
    ck_assert_int_eq(send_to(&nodes[0], "$JS.API.INFO", "", 1), 0);
    until_reply(&nodes[0], 1);
    finish();
}
END_TEST

START_TEST(a_frozen_server_is_noticed)
{
    connected(1);
    nats_server_freeze(&server);
    until_up(&nodes[0], false);
    ck_assert_int_eq(send_to(&nodes[0], "$JS.API.INFO", "", 1), CHATHUB_EAGAIN);
    nats_server_thaw(&server);
    until_up(&nodes[0], true);
    ck_assert_uint_ge(nodes[0].port.number(nodes[0].port.self), 2);
    ask(&nodes[0], "$JS.API.INFO", "");
    finish();
}
END_TEST

/* Answers may be thrown away, too. */
static void ask_until_heard(struct node *node)
{
    for (node->missed = true; !node->count || node->list[node->count - 1].in.kind != CHI_JS_REPLY;
         take(node)) {
        if (node->missed)
            ck_assert_int_eq(send_to(node, "$JS.API.INFO", "", 5), 0);
        else if (!chi_js_link_waits(node->link))
            doze(node);
        node->missed = false;
    }
}

START_TEST(what_the_ring_cannot_hold_is_thrown_away_and_said_to_be_missed)
{
    size_t sent = 0;
    bool missed = false;
    connected(2);
    while (!missed) {
        ck_assert_uint_lt(sent, 1000000);
        for (int i = 0; i < 1000; i++, sent++)
            ck_assert_int_eq(chi_js_link_tell(nodes[0].link, 0, CHI_SPAN("flood")), 0);
        /* One of a thousand. */
        chi_js_link_take(nodes[1].link, 1, keep, &nodes[1], &missed);
    }
    ask(&nodes[0], "$JS.API.INFO", ""); /* all of it is at the server … */
    ask_until_heard(&nodes[1]);         /* … and has gone on from there */
    ck_assert_uint_gt(nodes[1].count, 4096);
    ck_assert_uint_lt(nodes[1].count, sent);
    nodes[1].missed = false;
    ask(&nodes[1], "$JS.API.INFO", "");
    ck_assert(!nodes[1].missed);
    finish();
}
END_TEST

static const char *until_problem(struct node *node, bool *lasting)
{
    while (!*chi_js_link_problem(node->link, lasting))
        doze(node);
    return chi_js_link_problem(node->link, lasting);
}

START_TEST(a_wrong_password_is_told_as_such_and_not_shown)
{
    bool lasting;
    begin(true, "authorization { user: \"me\", password: \"right\" }");
    set_url("nats://me:wr0ng@", "127.0.0.1");
    make(&nodes[0], 1);
    const char *said = until_problem(&nodes[0], &lasting);
    ck_assert_msg(strstr(said, "refuses this user") && strstr(said, "127.0.0.1"), "%s", said);
    ck_assert_msg(!strstr(said, "wr0ng"), "%s", said);
    ck_assert(lasting);
    unmake(&nodes[0]);
    set_url("nats://me:right@", "127.0.0.1");
    make(&nodes[0], 1);
    until_up(&nodes[0], true);
    finish();
}
END_TEST

START_TEST(a_token_in_the_url_is_enough)
{
    begin(true, "authorization { token: \"s3cret\" }");
    set_url("nats://s3cret@", "127.0.0.1");
    make(&nodes[0], 1);
    until_up(&nodes[0], true);
    ask(&nodes[0], "$JS.API.INFO", "");
    finish();
}
END_TEST

START_TEST(what_the_server_forbids_is_told)
{
    bool lasting;
    begin(true, "authorization { users = [ { user: u, password: p, permissions: {"
                " publish: \"$JS.>\", subscribe: [\"_INBOX.>\", \"S.out.>\"] } } ] }");
    set_url("nats://u:p@", "127.0.0.1");
    make(&nodes[0], 1);
    until_up(&nodes[0], true);
    const char *said = until_problem(&nodes[0], &lasting);
    ck_assert_msg(strstr(said, "forbids") && strstr(said, "S.bus"), "%s", said);
    ck_assert(lasting);
    finish();
}
END_TEST

START_TEST(tls_that_the_server_does_not_have_is_told)
{
    bool lasting;
    begin(true, NULL);
    set_url("tls://", "127.0.0.1");
    make(&nodes[0], 1);
    const char *said = until_problem(&nodes[0], &lasting);
    ck_assert_msg(strstr(said, "TLS"), "%s", said);
    ck_assert(lasting);
    finish();
}
END_TEST

START_TEST(a_server_that_is_not_there_is_told_and_connected_to_once_it_is)
{
    bool lasting;
    begin(true, NULL);
    nats_server_kill(&server);
    make(&nodes[0], 1);
    const char *said = until_problem(&nodes[0], &lasting);
    ck_assert_msg(strstr(said, "is nats-server running"), "%s", said);
    ck_assert(!lasting);
    nats_server_start(&server);
    until_up(&nodes[0], true);
    ck_assert_uint_eq(nodes[0].port.number(nodes[0].port.self), 1);
    finish();
}
END_TEST

START_TEST(the_second_server_is_taken_where_the_first_is_dead)
{
    char text[128];
    begin(true, NULL);
    chi_js_url_free(&url);
    snprintf(text, sizeof text, "nats://127.0.0.1:%d,nats://127.0.0.1:%d/S",
             nats_server_free_port(), server.port);
    ck_assert_int_eq(chi_js_url_read(text, &url, problem, sizeof problem), 0);
    make(&nodes[0], 1);
    until_up(&nodes[0], true);
    finish();
}
END_TEST

#define SILENT 8

/* Listens, and says nothing to whoever connects. */
static int silent_server(int *port)
{
    struct sockaddr_in at = nats_server_address(0);
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

START_TEST(it_ends_without_trying_the_other_servers)
{
    struct pollfd fds[SILENT];
    char text[512] = "nats://";
    int port;
    for (int i = 0; i < SILENT; i++) {
        fds[i] = (struct pollfd){.fd = silent_server(&port), .events = POLLIN};
        snprintf(text + strlen(text), sizeof text - strlen(text), "127.0.0.1:%d%s", port,
                 i + 1 < SILENT ? "," : "/S");
    }
    chi_js_url_free(&url);
    ck_assert_msg(!chi_js_url_read(text, &url, problem, sizeof problem), "%s", problem);
    settings = (struct chi_settings){.name = (char *)"test"};
    make(&nodes[0], 1);
    ck_assert_int_gt(poll(fds, SILENT, NATS_SERVER_DEADLINE_MS), 0);
    unmake(&nodes[0]);
    int tried = poll(fds, SILENT, 0);
    ck_assert_int_ge(tried, 1);
    ck_assert_int_le(tried, 2);
    for (int i = 0; i < SILENT; i++)
        close(fds[i].fd);
    chi_js_url_free(&url);
}
END_TEST

START_TEST(files_that_cannot_be_read_are_told_at_once)
{
    begin(true, NULL);
    struct chi_js_link_parts parts = {
        .url = &url, .settings = &settings, .node = 1, .wake = wake, .arg = &nodes[0]};
    struct chi_js_link *link = NULL;
    static const struct {
        size_t setting;
        const char *option;
    } files[] = {{offsetof(struct chi_settings, nats_ca), "nats-ca"},
                 {offsetof(struct chi_settings, nats_credentials), "nats-credentials"},
                 {offsetof(struct chi_settings, nats_cert), "nats-cert"}};
    for (size_t i = 0; i < 3; i++) {
        settings = (struct chi_settings){.nats_key = (char *)"/nowhere/key"};
        *(char **)((char *)&settings + files[i].setting) = (char *)"/nowhere/file";
        ck_assert_int_eq(chi_js_link_new(&parts, &link, problem, sizeof problem), CHATHUB_EIO);
        ck_assert_msg(strstr(problem, files[i].option) && strstr(problem, "/nowhere/file"), "%s",
                      problem);
    }
    finish();
}
END_TEST

START_TEST(it_ends_in_the_middle_of_anything)
{
    begin(true, NULL);
    nats_server_freeze(&server);
    make(&nodes[0], 1); /* whoever it connects to never greets */
    unmake(&nodes[0]);
    nats_server_thaw(&server);
    for (int i = 0; i < 20; i++) { /* while it is just being connected */
        make(&nodes[0], 1);
        unmake(&nodes[0]);
    }
    make(&nodes[0], 1);
    until_up(&nodes[0], true);
    make(&nodes[1], 2);
    until_up(&nodes[1], true);
    for (int i = 0; i < 2000; i++)
        chi_js_link_tell(nodes[0].link, 0, CHI_SPAN("x"));
    unmake(&nodes[1]); /* while messages come in */
    nats_server_freeze(&server);
    unmake(&nodes[0]);
    nats_server_thaw(&server);
    finish();
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("js_link");
    TCase *all = tcase_create("all");
    tcase_set_timeout(all, 60);
    tcase_add_test(all, a_connection_is_numbered_and_says_how_long_messages_may_be);
    tcase_add_test(all, a_subject_that_is_too_long_is_refused_and_harms_nothing);
    tcase_add_test(all, the_longest_message_that_is_taken_comes_back);
    tcase_add_test(all, answers_come_under_the_token_of_their_question);
    tcase_add_test(all, a_stored_message_comes_live_with_its_sequence_and_the_one_before_it);
    tcase_add_test(all, what_is_expected_of_the_subject_goes_along);
    tcase_add_test(all, a_consumer_s_messages_come_under_the_token_of_its_last_pull);
    tcase_add_test(all, what_a_node_says_on_the_bus_reaches_the_others_alone);
    tcase_add_test(all,
                   a_server_that_dies_and_returns_is_another_connection_with_all_subscriptions);
    tcase_add_test(all, nothing_is_sent_over_a_connection_that_nobody_asked_about);
    tcase_add_test(all, a_frozen_server_is_noticed);
    tcase_add_test(all, what_the_ring_cannot_hold_is_thrown_away_and_said_to_be_missed);
    tcase_add_test(all, a_wrong_password_is_told_as_such_and_not_shown);
    tcase_add_test(all, a_token_in_the_url_is_enough);
    tcase_add_test(all, what_the_server_forbids_is_told);
    tcase_add_test(all, tls_that_the_server_does_not_have_is_told);
    tcase_add_test(all, a_server_that_is_not_there_is_told_and_connected_to_once_it_is);
    tcase_add_test(all, the_second_server_is_taken_where_the_first_is_dead);
    tcase_add_test(all, it_ends_without_trying_the_other_servers);
    tcase_add_test(all, files_that_cannot_be_read_are_told_at_once);
    tcase_add_test(all, it_ends_in_the_middle_of_anything);
    suite_add_tcase(suite, all);
    return suite;
}

int main(void)
{
    if (!nats_server_there()) {
        puts("there is no nats-server; install it with: apt-get install nats-server");
        return 77; /* skipped */
    }
    return unit_run(suite());
}

/* The log contract, kept by the log in a JetStream stream of a real nats-server; and what two nodes
 * on one stream promise each other. */
#include "../unit/nats_server.h"

#include <nats/nats.h>
#include <sched.h>
#include <stdlib.h>

#include "log.h"
#include "chathub.h"
#include "core/name.h"
#include "log/log.h"
#include "util/list.h"

static struct nats_server server;
static unsigned number; /* of the stream: `clean` leaves one behind and goes on to the next */
static struct chi_bus *last_bus;

static struct chi_log *make_jetstream(const struct chi_settings *settings, struct chi_env env)
{
    struct chi_log *log;
    char problem[512], url[256];
    if (!server.pid)
        nats_server_new(&server, true, NULL);
    snprintf(url, sizeof(url), "%s/t%u", server.url, number);
    if (!chi_log_jetstream_new(settings, env, url, &log, &last_bus, problem, sizeof(problem)))
        return log;
    fprintf(stderr, "%s\n", problem);
    return NULL;
}

/* All pages come from the server. */
static struct chi_log *make_without_memory(const struct chi_settings *settings, struct chi_env env)
{
    static struct chi_settings without;
    without = *settings;
    without.window_bytes = 0;
    return make_jetstream(&without, env);
}

static void clean(void)
{
    number++;
}

/* ------------------------------------------------------------------------------------- two
 * nodes */

#define MANY 600

/* One node: what its log told of one room. */
struct node {
    struct chi_settings settings;
    struct chi_log *log;
    struct chi_bus *bus;
    uint64_t seed;
    void *handle;
    uint64_t top;
    int opened_status;
    uint32_t opened, back;
    struct {
        uint64_t position, prev;
        int status;
        bool own;
        char content[16];
    } told[MANY];
    uint32_t count;
    uint64_t erased;
    uint32_t erasures;
    char heard[64];
    uint32_t messages;
    uint32_t holes; /* log lines that speak of one */
    struct chi_log_reader reader;
    uint32_t pages, page_count;
    int page_status;
    char page_last[16];
    uint64_t page_first, page_end;
    bool unbroken; /* the page, by prev */
};

static struct node nodes[2];

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec at;
    clock_gettime(clock, &at);
    return (uint64_t)at.tv_sec * 1000 + (uint64_t)at.tv_nsec / 1000000;
}

static uint64_t node_now(void *self)
{
    (void)self;
    return clock_ms(CLOCK_MONOTONIC);
}

static uint64_t node_wall(void *self)
{
    (void)self;
    return clock_ms(CLOCK_REALTIME);
}

static void node_random(void *self, void *bytes, size_t len)
{
    struct node *node = self;
    for (size_t i = 0; i < len; i++) {
        node->seed = node->seed * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)bytes)[i] = (uint8_t)(node->seed >> 56);
    }
}

/* The same on both, and different for different texts: all that is asked of it here. */
static void node_digest(void *self, const void *bytes, size_t len, uint8_t out[32])
{
    (void)self;
    uint64_t state = 1469598103934665603u;
    for (size_t i = 0; i < len; i++)
        state = (state ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
    for (size_t i = 0; i < 32; i++)
        out[i] = (uint8_t)(state >> (i % 8 * 8));
}

static int node_fold(void *self, enum chi_fold_kind kind, struct chi_span text,
                     struct chi_buf *shown, struct chi_buf *key)
{
    (void)self, (void)kind;
    chi_buf_add(shown, text.at, text.len);
    chi_buf_add(key, text.at, text.len);
    return 0;
}

static void node_log(void *self, int level, const char *event, const struct chi_field *fields,
                     size_t n)
{
    (void)level, (void)fields, (void)n;
    struct node *node = self;
    node->holes += strcmp(event, "log_hole") == 0;
}

static void node_wake(void *self)
{
    (void)self;
}

static const struct chi_env_ops node_ops = {
    node_now, node_wall, node_random, node_digest, node_fold, node_log, NULL, node_wake, node_wake};

static void on_opened(void *hub, uint32_t room, int status, void *handle, uint64_t top)
{
    (void)room;
    struct node *node = hub;
    node->handle = handle;
    node->top = top;
    node->opened_status = status;
    node->opened++;
}

static void on_committed(void *hub, const struct chi_log_result *results, size_t n)
{
    struct node *node = hub;
    for (size_t i = 0; i < n; i++, node->count++) {
        ck_assert_uint_lt(node->count, MANY);
        node->told[node->count].status = results[i].status;
        node->told[node->count].own = results[i].token != NULL;
        if (results[i].status)
            continue;
        struct chi_entry_parts parts = chi_entry_read(results[i].entry);
        node->told[node->count].position = results[i].entry->position;
        node->told[node->count].prev = results[i].entry->prev;
        snprintf(node->told[node->count].content, sizeof(node->told[0].content), "%.*s",
                 (int)parts.content.len, parts.content.at);
    }
}

static void on_redacted(void *hub, uint32_t room, uint64_t position, int status, void *token)
{
    (void)room, (void)token;
    struct node *node = hub;
    ck_assert_int_eq(status, 0);
    node->erased = position;
    node->erasures++;
}

static void on_went_back(void *hub)
{
    ((struct node *)hub)->back++;
}

static void on_heard(void *hub, struct chi_span bytes)
{
    struct node *node = hub;
    snprintf(node->heard, sizeof(node->heard), "%.*s", (int)bytes.len, bytes.at);
    node->messages++;
}

static void on_page(struct chi_log_reader *reader, const struct chi_log_page *page)
{
    struct node *node = CHI_CONTAINER(reader, struct node, reader);
    node->pages++;
    node->page_status = page->status;
    node->page_count = page->count;
    node->page_first = page->count ? page->entries[0]->position : 0;
    node->page_end = page->count ? page->entries[page->count - 1]->position : 0;
    node->unbroken = true;
    for (uint32_t i = 1; i < page->count; i++)
        node->unbroken &= page->entries[i]->prev == page->entries[i - 1]->position;
    if (!page->count)
        return;
    struct chi_entry_parts parts = chi_entry_read(page->entries[page->count - 1]);
    snprintf(node->page_last, sizeof(node->page_last), "%.*s", (int)parts.content.len,
             parts.content.at);
}

static void poll_until(const uint32_t *count, uint32_t until)
{
    while (*count < until) {
        nodes[0].log->poll(nodes[0].log);
        nodes[1].log->poll(nodes[1].log);
        sched_yield();
    }
}

/* It is said in a turn later, at times. */
static void poll_until_shown(const struct node *node, uint64_t position)
{
    while (node->log->shown(node->log) < position) {
        node->log->poll(node->log);
        sched_yield();
    }
}

static void node_open_room(struct node *node)
{
    uint32_t before = node->opened;
    struct chi_name *name = chi_name_new(CHI_SPAN("tea"), CHI_SPAN("tea"));
    ck_assert_int_eq(node->log->open(node->log, 0, name), 0);
    chi_name_unref(name);
    poll_until(&node->opened, before + 1);
}

static void node_make(struct node *node, uint64_t seed)
{
    *node = (struct node){.seed = seed, .reader.page = on_page};
    node->settings.log_hold = 20000;
    node->settings.log_duplicates = 60000;
    node->settings.window_bytes = 1 << 20;
    node->log = make_jetstream(&node->settings, (struct chi_env){&node_ops, node});
    ck_assert_ptr_nonnull(node->log);
    node->bus = last_bus;
    struct chi_log_up up = {on_opened, on_committed, on_redacted, on_went_back, node};
    node->log->bind(node->log, &up);
    node->bus->bind(node->bus, &(struct chi_bus_up){on_heard, node});
}

static void setup(void)
{
    node_make(&nodes[0], 1);
    node_make(&nodes[1], 2);
    node_open_room(&nodes[0]);
    node_open_room(&nodes[1]);
}

static void teardown(void)
{
    nodes[0].log->free(nodes[0].log);
    nodes[1].log->free(nodes[1].log);
    clean();
}

static void node_post(struct node *node, const char *user, const char *cid, const char *content)
{
    struct chi_entry_parts parts = {
        chi_span_of(user), chi_span_of(user), chi_span_of(cid), chi_span_of(content), {0}};
    struct chi_entry *draft = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    ck_assert_ptr_nonnull(draft);
    ck_assert_int_eq(node->log->append(node->log, node->handle, draft, node), 0);
    chi_entry_unref(draft);
}

static void node_read(struct node *node, struct chi_log_read read)
{
    uint32_t before = node->pages;
    read.reader = &node->reader;
    read.before = read.before ? read.before : UINT64_MAX;
    read.limit = read.limit ? read.limit : MANY;
    read.bytes = 1 << 20;
    ck_assert_int_eq(node->log->read(node->log, node->handle, &read), 0);
    poll_until(&node->pages, before + 1);
}

static void expect_same(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        ck_assert_uint_eq(nodes[0].told[i].position, nodes[1].told[i].position);
        ck_assert_uint_eq(nodes[0].told[i].prev, nodes[1].told[i].prev);
        ck_assert_uint_eq(nodes[0].told[i].prev, i ? nodes[0].told[i - 1].position : 0);
        ck_assert_str_eq(nodes[0].told[i].content, nodes[1].told[i].content);
        ck_assert(nodes[0].told[i].own != nodes[1].told[i].own);
    }
}

START_TEST(both_tell_all_entries_in_one_order)
{
    char content[16], user[16];
    for (int i = 0; i < 400; i++) {
        snprintf(content, sizeof(content), "%d", i);
        snprintf(user, sizeof(user), "u%d", i % 7);
        node_post(&nodes[i % 3 == 0], user, NULL, content);
        if (i % 50 == 0)
            nodes[0].log->poll(nodes[0].log);
    }
    poll_until(&nodes[0].count, 400);
    poll_until(&nodes[1].count, 400);
    expect_same(400);
    ck_assert_uint_eq(nodes[0].holes + nodes[1].holes, 0);
    poll_until_shown(&nodes[0], nodes[0].told[399].position);
}
END_TEST

START_TEST(a_repeat_at_another_node_is_the_first_post)
{
    node_post(&nodes[0], "u", "c", "x");
    poll_until(&nodes[0].count, 1);
    node_post(&nodes[1], "u", "c", "x");
    poll_until(&nodes[1].count, 2);
    ck_assert_int_eq(nodes[1].told[0].status, 0);
    ck_assert_int_eq(nodes[1].told[1].status, CHATHUB_EDUP);
}
END_TEST

START_TEST(a_redaction_reaches_the_other_node)
{
    node_post(&nodes[0], "u", NULL, "secret");
    poll_until(&nodes[0].count, 1);
    poll_until(&nodes[1].count, 1);
    node_read(&nodes[1], (struct chi_log_read){0});
    ck_assert_str_eq(nodes[1].page_last, "secret");
    uint64_t at = nodes[0].told[0].position;
    ck_assert_int_eq(nodes[0].log->redact(nodes[0].log, nodes[0].handle, at, NULL), 0);
    poll_until(&nodes[1].erasures, 1);
    ck_assert_uint_eq(nodes[1].erased, at);
    poll_until(&nodes[0].erasures, 1);
    for (int i = 0; i < 2; i++) {
        node_read(&nodes[i], (struct chi_log_read){0}); /* from memory */
        ck_assert_uint_eq(nodes[i].page_count, 1);
        ck_assert_str_eq(nodes[i].page_last, "");
    }
    node_post(&nodes[1], "u", NULL, "next");
    poll_until(&nodes[0].count, 2);
    ck_assert_uint_eq(nodes[0].told[1].prev, at);
    ck_assert_uint_eq(nodes[0].erasures + nodes[1].erasures, 2);
}
END_TEST

START_TEST(the_bus_carries_messages_to_the_others)
{
    ck_assert_uint_ne(nodes[0].bus->node, 0);
    ck_assert_uint_ne(nodes[0].bus->node, nodes[1].bus->node);
    ck_assert_int_eq(nodes[0].bus->send(nodes[0].bus, 0, CHI_SPAN("to all")), 0);
    poll_until(&nodes[1].messages, 1);
    ck_assert_str_eq(nodes[1].heard, "to all");
    ck_assert_int_eq(nodes[1].bus->send(nodes[1].bus, nodes[0].bus->node, CHI_SPAN("to you")), 0);
    poll_until(&nodes[0].messages, 1);
    ck_assert_str_eq(nodes[0].heard, "to you");
    ck_assert_uint_eq(nodes[1].messages, 1); /* its own it does not hear */
}
END_TEST

START_TEST(without_nats_pages_are_read_from_memory_and_posts_wait)
{
    struct chi_log_stats stats;
    for (int i = 0; i < 5; i++)
        node_post(&nodes[0], "u", NULL, "before");
    poll_until(&nodes[1].count, 5);
    poll_until(&nodes[0].count, 5);
    nats_server_kill(&server);
    do {
        nodes[0].log->poll(nodes[0].log);
        nodes[0].log->stats(nodes[0].log, &stats);
    } while (!stats.down);
    node_read(&nodes[0], (struct chi_log_read){.backward = true, .limit = 3});
    ck_assert_int_eq(nodes[0].page_status, 0);
    ck_assert_uint_eq(nodes[0].page_count, 3);
    ck_assert_uint_eq(nodes[0].page_end, nodes[0].told[4].position);
    node_post(&nodes[0], "u", NULL, "after");
    nodes[0].log->poll(nodes[0].log);
    nats_server_start(&server);
    poll_until(&nodes[0].count, 6);
    poll_until(&nodes[1].count, 6);
    ck_assert_int_eq(nodes[0].told[5].status, 0);
    expect_same(6);
}
END_TEST

/* The stream is gone with its server's disk: what was under way is answered before that is told,
 * and a new epoch begins. */
START_TEST(a_stream_that_was_lost_is_another_epoch)
{
    char former[CHI_EPOCH_LEN];
    struct chi_span epoch = {former, sizeof(former)};
    node_post(&nodes[0], "u", NULL, "before");
    poll_until(&nodes[0].count, 1);
    poll_until(&nodes[1].count, 1);
    memcpy(former, nodes[0].log->epoch(nodes[0].log).at, sizeof(former));
    nats_server_kill(&server);
    nats_server_forget(&server);
    nats_server_start(&server);
    node_post(&nodes[0], "u", NULL, "on its way");
    poll_until(&nodes[0].back, 1);
    poll_until(&nodes[1].back, 1);
    ck_assert_uint_eq(nodes[0].count, 2);
    ck_assert(!nodes[0].log->holds(nodes[0].log, epoch, nodes[0].told[0].position + 1000));
    ck_assert(!chi_span_equal(nodes[0].log->epoch(nodes[0].log), epoch));
    ck_assert(chi_span_equal(nodes[0].log->epoch(nodes[0].log), nodes[1].log->epoch(nodes[1].log)));
    for (int i = 0; i < 2; i++) {
        nodes[i].log->close(nodes[i].log, nodes[i].handle);
        node_open_room(&nodes[i]);
        ck_assert_int_eq(nodes[i].opened_status, 0);
        nodes[i].count = 0;
    }
    node_post(&nodes[1], "u", NULL, "anew");
    poll_until(&nodes[0].count, 1);
    ck_assert_str_eq(nodes[0].told[0].content, "anew");
}
END_TEST

/* Something else writes to the stream, or a newer version: the entry behind it is not told before
 * it was looked what is missing, and is told then. */
START_TEST(what_cannot_be_read_is_looked_for_and_passed_over)
{
    natsConnection *other = NULL;
    char subject[64];
    snprintf(subject, sizeof(subject), "t%u.in.room.tea", number);
    node_post(&nodes[0], "u", NULL, "before");
    poll_until(&nodes[0].count, 1);
    ck_assert_int_eq(natsConnection_ConnectTo(&other, server.url), NATS_OK);
    ck_assert_int_eq(natsConnection_PublishString(other, subject, "?"), NATS_OK);
    ck_assert_int_eq(natsConnection_Flush(other), NATS_OK);
    natsConnection_Destroy(other);
    for (int i = 0; i < 3; i++)
        node_post(&nodes[0], "u", NULL, "after");
    poll_until(&nodes[0].count, 4);
    poll_until(&nodes[1].count, 4);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(nodes[i].holes, 1);
        ck_assert_uint_gt(nodes[i].told[1].prev, nodes[i].told[0].position);
        ck_assert_uint_eq(nodes[i].told[2].prev, nodes[i].told[1].position);
        ck_assert_uint_eq(nodes[i].told[3].prev, nodes[i].told[2].position);
        poll_until_shown(&nodes[i], nodes[i].told[3].position);
    }
}
END_TEST

/* The server would close the connection at its subject, again and again. */
START_TEST(a_room_whose_subject_is_too_long_is_refused_and_stops_no_other)
{
    static const size_t lengths[] = {1, 330, 340, 1386}; /* thrice that as a token */
    char key[1386];
    memset(key, '=', sizeof(key));
    for (size_t i = 0; i < 4; i++) {
        struct chi_span its_key = {key, lengths[i]};
        struct chi_name *name = chi_name_new(CHI_SPAN("long"), its_key);
        uint32_t opened = nodes[0].opened;
        int error = nodes[0].log->open(nodes[0].log, 1, name);
        chi_name_unref(name);
        ck_assert_int_eq(error, i < 2 ? 0 : CHATHUB_EROOMNAME);
        if (error)
            continue;
        void *tea = nodes[0].handle;
        poll_until(&nodes[0].opened, opened + 1);
        ck_assert_int_eq(nodes[0].opened_status, 0);
        nodes[0].log->close(nodes[0].log, nodes[0].handle);
        nodes[0].handle = tea;
    }
    node_post(&nodes[0], "u", NULL, "x");
    poll_until(&nodes[0].count, 1);
    ck_assert_int_eq(nodes[0].told[0].status, 0);
}
END_TEST

START_TEST(old_pages_are_found_from_the_end)
{
    char content[16];
    for (uint32_t i = 0; i < 500; i++) {
        snprintf(content, sizeof(content), "%u", i);
        node_post(&nodes[0], "u", NULL, content);
    }
    poll_until(&nodes[0].count, 500);
    poll_until(&nodes[1].count, 500);
    for (uint32_t end = 500; end >= 50; end -= 50) {
        uint64_t before = end == 500 ? UINT64_MAX : nodes[0].told[end].position;
        node_read(&nodes[1],
                  (struct chi_log_read){.before = before, .limit = 50, .backward = true});
        ck_assert_uint_eq(nodes[1].page_count, 50);
        ck_assert_uint_eq(nodes[1].page_first, nodes[0].told[end - 50].position);
        ck_assert_uint_eq(nodes[1].page_end, nodes[0].told[end - 1].position);
        ck_assert(nodes[1].unbroken);
    }
    node_read(&nodes[1], (struct chi_log_read){.after = nodes[0].told[9].position, .limit = 300});
    ck_assert_uint_eq(nodes[1].page_count, 300);
    ck_assert_uint_eq(nodes[1].page_first, nodes[0].told[10].position);
    ck_assert(nodes[1].unbroken);
}
END_TEST

static Suite *node_suite(void)
{
    Suite *suite = suite_create("log/jetstream, two nodes");
    TCase *tc = tcase_create("nodes");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, both_tell_all_entries_in_one_order);
    tcase_add_test(tc, a_repeat_at_another_node_is_the_first_post);
    tcase_add_test(tc, a_redaction_reaches_the_other_node);
    tcase_add_test(tc, the_bus_carries_messages_to_the_others);
    tcase_add_test(tc, a_room_whose_subject_is_too_long_is_refused_and_stops_no_other);
    tcase_add_test(tc, old_pages_are_found_from_the_end);
    tcase_add_test(tc, what_cannot_be_read_is_looked_for_and_passed_over);
    tcase_add_test(tc, without_nats_pages_are_read_from_memory_and_posts_wait);
    tcase_add_test(tc, a_stream_that_was_lost_is_another_epoch);
    suite_add_tcase(suite, tc);
    return suite;
}

static int run(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed;
}

int main(void)
{
    static const struct log_under_test jetstream = {
        .name = "log/jetstream",
        .make = make_jetstream,
        .clean = clean,
        .lasts = true,
        .own_clock = true,
        .fixed = true,
        .no_room_bytes = true,
        .keeps_epoch = true,
    };
    struct log_under_test without_memory = jetstream;
    without_memory.name = "log/jetstream, nothing in memory";
    without_memory.make = make_without_memory;
    if (!nats_server_there()) {
        printf("no nats-server; install it with: apt-get install nats-server\n");
        return 77; /* meson: skipped */
    }
    int failed = run(log_suite(&jetstream));
    failed += run(log_suite(&without_memory));
    failed += run(node_suite());
    nats_server_free(&server);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

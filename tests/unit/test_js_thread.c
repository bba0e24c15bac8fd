/* The JetStream log's thread, on a real nats-server: that it starts, or says why not; that tasks go in
 * and come back; that it ends with what it had in hand. */
#include "nats_server.h"

#include <inttypes.h>
#include <pthread.h>

#include "chathub.h"
#include "log/jetstream/js.h"
#include "log/jetstream/link.h"

struct side {
    struct chi_js_thread *thread;
    struct chi_js_room room;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool wake;
    struct chi_works done; /* what was collected and not looked for yet */
    struct chi_js_news news;
};

static struct nats_server server;
static struct chi_js_url url;
static struct chi_settings settings;
static struct side sides[2];
static char problem[512];

static const struct chi_js_orders orders = {.bounds = {.entries = UINT64_MAX,
                                                       .bytes = UINT64_MAX,
                                                       .total_bytes = UINT64_MAX,
                                                       .age = UINT64_MAX,
                                                       .cid_horizon = 60000,
                                                       .cids = 1000},
                                            .hold = 10000,
                                            .wall = 1700000000000};

static void wake(void *arg)
{
    struct side *side = arg;
    pthread_mutex_lock(&side->lock);
    side->wake = true;
    pthread_cond_signal(&side->woken);
    pthread_mutex_unlock(&side->lock);
}

static void doze(struct side *side)
{
    struct timespec until;
    int late = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += NATS_SERVER_DEADLINE_MS / 1000;
    pthread_mutex_lock(&side->lock);
    while (!side->wake && !late)
        late = pthread_cond_timedwait(&side->woken, &side->lock, &until);
    side->wake = false;
    pthread_mutex_unlock(&side->lock);
    ck_assert_msg(!late, "the hub was not woken");
}

static int try_start(struct side *side, uint64_t node)
{
    struct chi_js_parts js = {
        .stream = url.stream, .seed = node, .wanted = {.replicas = 1, .duplicates = 120000}};
    struct chi_js_thread_parts parts = {
        .link = {.url = &url, .settings = &settings, .node = node},
        .js = &js,
        .orders = &orders,
        .wake = wake,
        .wake_arg = side,
    };
    *side = (struct side){.room = {.name = chi_name_new(CHI_SPAN("Lobby"), CHI_SPAN("lobby"))}};
    pthread_mutex_init(&side->lock, NULL);
    pthread_cond_init(&side->woken, NULL);
    return chi_js_thread_start(&parts, &side->thread, problem, sizeof problem);
}

/* How many it had in hand. */
static unsigned stop(struct side *side)
{
    unsigned count = 0;
    struct chi_work *work;
    if (side->thread)
        chi_js_thread_stop(side->thread, &side->done);
    for (; (work = chi_works_take(&side->done)); count++)
        chi_js_task_free((struct chi_js_task *)work);
    chi_name_unref(side->room.name);
    if (side->room.name) {
        pthread_cond_destroy(&side->woken);
        pthread_mutex_destroy(&side->lock);
    }
    *side = (struct side){.thread = NULL};
    return count;
}

static void begin(const char *scheme, bool jetstream, const char *config)
{
    char text[128];
    nats_server_new(&server, jetstream, config);
    settings = (struct chi_settings){.name = (char *)"test"};
    snprintf(text, sizeof text, "%s127.0.0.1:%d/S", scheme, server.port);
    ck_assert_msg(chi_js_url_read(text, &url, problem, sizeof problem) == 0, "%s", problem);
}

static void start(int count)
{
    begin("nats://", true, NULL);
    for (int i = 0; i < count; i++)
        ck_assert_msg(try_start(&sides[i], 0xb0u + (unsigned)i) == 0, "%s", problem);
}

static void finish(void)
{
    stop(&sides[0]);
    stop(&sides[1]);
    chi_js_url_free(&url);
    nats_server_free(&server);
}

static void put(struct side *side, struct chi_js_task *task)
{
    struct chi_works one = {0};
    chi_works_add(&one, &task->work);
    chi_js_thread_put(side->thread, &one);
}

static void look(struct side *side)
{
    chi_js_thread_exchange(side->thread, &orders, &side->news);
    chi_js_thread_collect(side->thread, &side->done);
}

/* Waits for a finished task of a kind, which is the caller's then; others before it are freed. */
static struct chi_js_task *finished(struct side *side, enum chi_js_work kind)
{
    for (;; doze(side)) {
        struct chi_work *work;
        look(side);
        while ((work = chi_works_take(&side->done))) {
            struct chi_js_task *task = (struct chi_js_task *)work;
            if (task->kind == kind)
                return task;
            chi_js_task_free(task);
        }
    }
}

static void open_room(struct side *side)
{
    struct chi_js_task *task = chi_js_task_new(CHI_JS_OPEN);
    task->room = &side->room;
    put(side, task);
    task = finished(side, CHI_JS_OPEN);
    ck_assert_int_eq(task->status, 0);
    chi_js_task_free(task);
}

static struct chi_js_task *draft(struct side *side, const char *content, const char *id)
{
    struct chi_js_task *task = chi_js_task_new(CHI_JS_POST);
    struct chi_entry_parts parts = {
        .sender = CHI_SPAN("Ann"), .user = CHI_SPAN("u1"), .content = chi_span_of(content)};
    task->room = &side->room;
    task->entry = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    task->nonce = 1;
    task->time = orders.wall;
    snprintf(task->id, sizeof task->id, "%s", id);
    return task;
}

/* --------------------------------------------------------------------------------------- tests */

START_TEST(it_starts_on_an_empty_server_and_has_an_epoch)
{
    struct chi_js_epochs epochs[2];
    start(2);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(chi_js_thread_epochs(sides[i].thread, &epochs[i]), 0);
        ck_assert_uint_eq(epochs[i].count, 1);
        look(&sides[i]);
        ck_assert(!sides[i].news.stats.down);
    }
    ck_assert_str_eq(epochs[0].list[0].name, epochs[1].list[0].name);
    free(epochs[0].list);
    free(epochs[1].list);
    finish();
}
END_TEST

START_TEST(a_post_comes_back_and_is_shown_by_the_other_node)
{
    start(2);
    open_room(&sides[0]);
    open_room(&sides[1]);
    put(&sides[0], draft(&sides[0], "hello", "1234567890123456789012"));
    struct chi_js_task *task = finished(&sides[0], CHI_JS_POST);
    ck_assert_int_eq(task->status, 0);
    uint64_t position = task->entry->position;
    ck_assert_uint_gt(position, 0);
    /* The news never speak of more than what was collected. */
    ck_assert_uint_le(sides[0].news.shown, position);
    chi_js_task_free(task);
    task = finished(&sides[1], CHI_JS_ENTRY);
    ck_assert_uint_eq(task->entry->position, position);
    struct chi_entry_parts parts = chi_entry_read(task->entry);
    ck_assert(chi_span_is(parts.content, "hello"));
    chi_js_task_free(task);
    finish();
}
END_TEST

START_TEST(what_is_shown_is_told_though_no_task_brings_it)
{
    start(2);
    open_room(&sides[0]);
    put(&sides[0], draft(&sides[0], "hello", "1234567890123456789012"));
    struct chi_js_task *task = finished(&sides[0], CHI_JS_POST);
    uint64_t position = task->entry->position;
    chi_js_task_free(task);
    /* Nobody has the room open there. */
    for (look(&sides[1]); sides[1].news.shown < position; look(&sides[1]))
        doze(&sides[1]);
    ck_assert_ptr_null(sides[1].done.first);
    finish();
}
END_TEST

START_TEST(bus_messages_go_to_the_others_and_their_task_comes_back)
{
    start(2);
    for (unsigned i = 0; i < 2; i++) {
        struct chi_js_task *task = chi_js_task_new(CHI_JS_SEND);
        chi_buf_add_text(&task->bytes, i ? "to one" : "to all");
        task->node = i ? 0xb1 : 0;
        put(&sides[0], task);
    }
    for (unsigned i = 0; i < 2; i++) {
        struct chi_js_task *task = finished(&sides[0], CHI_JS_SEND);
        ck_assert_int_eq(task->status, 0);
        chi_js_task_free(task);
        task = finished(&sides[1], CHI_JS_HEARD);
        struct chi_span bytes = {task->bytes.at, task->bytes.len};
        ck_assert(chi_span_is(bytes, i ? "to one" : "to all"));
        chi_js_task_free(task);
    }
    finish();
}
END_TEST

START_TEST(a_server_that_dies_is_news_and_a_post_waits_for_its_return)
{
    start(1);
    open_room(&sides[0]);
    nats_server_kill(&server);
    for (look(&sides[0]); !sides[0].news.stats.down; look(&sides[0]))
        doze(&sides[0]);
    ck_assert_ptr_nonnull(sides[0].news.why);
    put(&sides[0], draft(&sides[0], "held", "1234567890123456789012"));
    nats_server_start(&server);
    struct chi_js_task *task = finished(&sides[0], CHI_JS_POST);
    ck_assert_int_eq(task->status, 0);
    ck_assert_uint_gt(task->entry->position, 0);
    chi_js_task_free(task);
    for (look(&sides[0]); sides[0].news.stats.down; look(&sides[0]))
        doze(&sides[0]);
    finish();
}
END_TEST

START_TEST(what_it_had_in_hand_is_handed_back_as_it_ends)
{
    start(1);
    open_room(&sides[0]);
    nats_server_freeze(&server);
    put(&sides[0], draft(&sides[0], "never", "1234567890123456789012"));
    ck_assert_uint_eq(stop(&sides[0]), 1);
    nats_server_thaw(&server);
    finish();
}
END_TEST

START_TEST(a_wrong_password_is_told_at_once)
{
    begin("nats://me:wr0ng@", true, "authorization { user: \"me\", password: \"right\" }");
    ck_assert_int_eq(try_start(&sides[0], 1), CHATHUB_EIO);
    ck_assert_msg(strstr(problem, "refuses this user") && !strstr(problem, "wr0ng"), "%s", problem);
    finish();
}
END_TEST

START_TEST(a_server_without_jetstream_is_told_at_once)
{
    begin("nats://", false, NULL);
    ck_assert_int_eq(try_start(&sides[0], 1), CHATHUB_EIO);
    ck_assert_msg(strstr(problem, "JetStream") && strstr(problem, "-js"), "%s", problem);
    finish();
}
END_TEST

START_TEST(a_file_that_is_not_there_is_told_at_once)
{
    begin("nats://", true, NULL);
    settings.nats_credentials = (char *)"/nowhere/file";
    ck_assert_int_eq(try_start(&sides[0], 1), CHATHUB_EIO);
    ck_assert_msg(strstr(problem, "/nowhere/file"), "%s", problem);
    finish();
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("js_thread");
    TCase *all = tcase_create("all");
    tcase_set_timeout(all, 60);
    tcase_add_test(all, it_starts_on_an_empty_server_and_has_an_epoch);
    tcase_add_test(all, a_post_comes_back_and_is_shown_by_the_other_node);
    tcase_add_test(all, what_is_shown_is_told_though_no_task_brings_it);
    tcase_add_test(all, bus_messages_go_to_the_others_and_their_task_comes_back);
    tcase_add_test(all, a_server_that_dies_is_news_and_a_post_waits_for_its_return);
    tcase_add_test(all, what_it_had_in_hand_is_handed_back_as_it_ends);
    tcase_add_test(all, a_wrong_password_is_told_at_once);
    tcase_add_test(all, a_server_without_jetstream_is_told_at_once);
    tcase_add_test(all, a_file_that_is_not_there_is_told_at_once);
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

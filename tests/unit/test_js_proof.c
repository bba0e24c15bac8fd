/* Pages of a stream with replicas: none is given that the leader does not have so, whatever copy the
 * consumer sat on; what was erased, is not kept, or is no entry makes none fail. */
#include "js_world.h"

#define ENTRIES 1000

static struct js_world *w;
static struct js_server *server;
static struct js_node *node;
static struct chi_js *js;
static struct chi_name *name;
static struct chi_js_room *room;
static uint64_t at[ENTRIES]; /* positions of what was stored, in order */
static uint32_t stored, done;
static struct chi_js_task *last; /* the last that came back; owned */

static void finished(struct js_node *of, struct chi_js_task *task)
{
    (void)of;
    if (!task->room) { /* what is shown */
        chi_js_task_free(task);
        return;
    }
    chi_js_task_free(last);
    last = task;
    done++;
}

static void until_done(uint32_t n)
{
    uint64_t deadline = server->now + 60000;
    while (done < n && server->now < deadline)
        js_world_run(w, server->now + 1);
    ck_assert_uint_eq(done, n);
}

static int give(struct chi_js_task *task)
{
    js_world_put(w, 0, task);
    until_done(done + 1);
    return last->status;
}

static void open_room(void)
{
    struct chi_js_task *task = chi_js_task_new(CHI_JS_OPEN);
    task->room = room;
    ck_assert_int_eq(give(task), 0);
}

static void erase(uint64_t position)
{
    struct chi_js_task *task = chi_js_task_new(CHI_JS_ERASE);
    task->room = room;
    task->position = position;
    ck_assert_int_eq(give(task), 0);
}

static struct chi_js_task *reading(struct chi_log_read read)
{
    struct chi_js_task *task = chi_js_task_new(CHI_JS_READ);
    task->room = room;
    task->read = read;
    task->read.before = read.before ? read.before : UINT64_MAX;
    task->read.limit = read.limit ? read.limit : ENTRIES;
    task->read.bytes = 16 << 20;
    return task;
}

static void setup(void)
{
    struct chi_js_parts parts = {
        .stream = "chat", .seed = 1, .wanted = {.replicas = 3, .duplicates = 120000}};
    w = js_world_new(7, 1);
    server = &w->server;
    server->servers = 3;
    node = &w->nodes[0];
    parts.port = js_world_port(w, 0);
    memset(parts.secrets, 1, sizeof(parts.secrets));
    ck_assert_int_eq(chi_js_new(&parts, &js), 0);
    node->finished = finished;
    js_world_attach(w, 0, js);
    js_world_run(w, server->now + 500);
    ck_assert_int_eq(js->state, CHI_JS_UP);
    name = chi_name_new(CHI_SPAN("tea"), CHI_SPAN("tea"));
    room = calloc(1, sizeof(*room));
    room->name = name;
    stored = done = 0;
    last = NULL;
}

static void teardown(void)
{
    struct chi_works left = node->tasks;
    js_world_detach(w, 0);
    chi_js_free(js, &left);
    for (struct chi_work *work; (work = chi_works_take(&left));)
        chi_js_task_free((struct chi_js_task *)(void *)work);
    chi_js_task_free(last);
    chi_name_unref(name);
    free(room);
    js_world_free(w);
}

static void publish(const char *subject, struct chi_span data)
{
    struct chi_js_out out = {.subject = chi_span_of(subject), .data = data};
    js_serve(server, 0, &out);
}

/* Every third position is another room's. */
static void store(uint32_t n)
{
    static struct chi_js_hint hint;
    struct chi_entry_parts parts = {
        .sender = CHI_SPAN("ann"), .user = CHI_SPAN("ann"), .content = CHI_SPAN("hello")};
    for (; n; n--) {
        struct chi_buf data = {0};
        struct chi_entry *entry = chi_entry_new(CHI_ENTRY_CHAT, &parts);
        hint = stored ? chi_js_hint_after(at[stored - 1], &hint) : (struct chi_js_hint){0};
        chi_js_write_entry(&data, entry, JS_WALL, stored + 1, &hint);
        chi_entry_unref(entry);
        publish("chat.in.room.tea", (struct chi_span){data.at, data.len});
        at[stored++] = server->last_seq;
        chi_buf_fini(&data);
        if (stored % 3 == 0)
            publish("chat.in.room.other", CHI_SPAN("?"));
    }
}

/* The last page is at[from, to), linked. */
static void expect(uint32_t from, uint32_t to, bool more)
{
    const struct chi_js_page *page = &last->page;
    ck_assert_int_eq(last->status, 0);
    ck_assert_uint_eq(page->count, to - from);
    for (uint32_t i = 0; i < page->count; i++) {
        ck_assert_uint_eq(page->entries[i]->position, at[from + i]);
        if (from + i)
            ck_assert_uint_eq(page->entries[i]->prev, at[from + i - 1]);
    }
    ck_assert_int_eq(page->more, more);
}

static void read_and_expect(struct chi_log_read read, uint32_t from, uint32_t to, bool more)
{
    give(reading(read));
    expect(from, to, more);
}

/* Half of the consumers sit where positions are shifted from one entry to another. */
static void be_wrong(uint32_t from, uint32_t to, uint64_t ms)
{
    server->wrong_from = at[from];
    server->wrong_to = at[to];
    server->wrong_until = server->now + ms;
}

START_TEST(a_page_of_a_copy_that_differs_for_a_while_is_not_given)
{
    store(100);
    open_room();
    for (uint32_t i = 0; i < 20; i++) {
        be_wrong(30 + i, 40 + i, 1000);
        read_and_expect((struct chi_log_read){.after = at[19]}, 20, 100, false);
        read_and_expect((struct chi_log_read){.after = at[29 + i], .limit = 10}, 30 + i, 40 + i,
                        true);
        read_and_expect((struct chi_log_read){.limit = 65, .backward = true}, 35, 100, true);
        read_and_expect((struct chi_log_read){.before = at[36 + i], .limit = 5, .backward = true},
                        31 + i, 36 + i, true);
        read_and_expect((struct chi_log_read){.after = at[29], .before = at[40 + i]}, 30, 40 + i,
                        false);
    }
}
END_TEST

/* The first message after the bound, the last one before it, or all of them are elsewhere there. */
START_TEST(what_a_copy_leaves_out_at_the_ends_of_a_page_is_missed)
{
    store(30);
    open_room();
    for (int i = 0; i < 10; i++) {
        be_wrong(12, 12, 1000); /* the first behind another room's */
        read_and_expect((struct chi_log_read){.after = at[11]}, 12, 30, false);
        be_wrong(29, 29, 1000);
        read_and_expect((struct chi_log_read){.after = at[20]}, 21, 30, false);
        be_wrong(27, 27, 1000);
        read_and_expect((struct chi_log_read){.after = at[26], .before = at[28]}, 27, 28, false);
        read_and_expect((struct chi_log_read){.before = at[28], .limit = 1, .backward = true}, 27,
                        28, true);
    }
}
END_TEST

START_TEST(of_a_copy_that_differs_for_good_come_right_pages_or_errors)
{
    uint32_t good = 0;
    store(100);
    open_room();
    be_wrong(40, 95, UINT64_MAX / 2);
    for (uint32_t i = 0; i < 100; i++) {
        if (!give(reading((struct chi_log_read){.limit = 50, .backward = true}))) {
            expect(50, 100, true);
            good++;
        } else {
            ck_assert_int_eq(last->status, CHATHUB_ELOG);
            ck_assert_uint_eq(last->page.count, 0);
        }
    }
    ck_assert_uint_ge(good, 90);
}
END_TEST

START_TEST(lost_answers_are_asked_for_again)
{
    store(300);
    open_room();
    w->faults.lose_answer = 20;
    for (int i = 0; i < 5; i++)
        read_and_expect((struct chi_log_read){.limit = 100, .backward = true}, 200, 300, true);
}
END_TEST

START_TEST(without_answers_all_end_with_an_error_and_nothing_is_left)
{
    store(300);
    open_room();
    w->faults.delay = 10;
    for (int i = 0; i < 100; i++)
        js_world_put(w, 0, reading((struct chi_log_read){.limit = 100, .backward = i % 2}));
    js_world_run(w, server->now + 30);
    w->faults.lose_answer = 1000;
    until_done(101);
    ck_assert_int_eq(last->status, CHATHUB_ELOG);
    w->faults.lose_answer = 0;
    js_world_run(w, server->now + 10000);
    read_and_expect((struct chi_log_read){.limit = 300}, 0, 300, false);
}
END_TEST

START_TEST(what_was_erased_or_is_no_entry_or_not_kept_any_more_is_no_difference)
{
    store(60);
    open_room();
    erase(at[10]);
    erase(at[59]);
    publish("chat.in.room.tea", CHI_SPAN("of a later version"));
    publish("chat.in.room.tea", CHI_SPAN("of a later version"));
    store(1);
    js_world_run(w, server->now + 100);
    server->follower_until = server->now + 60000; /* there they are not erased */
    server->follower_seq = server->last_seq;
    server->follower_time = 1;
    for (int i = 0; i < 8; i++) {
        give(reading((struct chi_log_read){.backward = i % 2}));
        ck_assert_int_eq(last->status, 0);
        ck_assert_uint_eq(last->page.count, 61);
        ck_assert_uint_eq(last->page.entries[10]->content_len, 0);
        ck_assert_uint_eq(last->page.entries[59]->content_len, 0);
        ck_assert_uint_eq(last->page.entries[60]->position, at[60]);
    }
    server->follower_until = 0;
    js_trim(server, 20);
    for (int i = 0; i < 8; i++) {
        give(reading((struct chi_log_read){.backward = i % 2}));
        ck_assert_int_eq(last->status, 0);
        ck_assert_uint_eq(last->page.entries[last->page.count - 1]->position, at[60]);
    }
}
END_TEST

static uint32_t asked_most;

static void count_asks(struct js_world *world)
{
    uint32_t n = 0;
    for (struct js_msg *m = node->ways[JS_OUT].first; m; m = m->next)
        n += m->out.subject.len == strlen("$JS.API.STREAM.MSG.GET.chat");
    asked_most = n > asked_most ? n : asked_most;
    world->step_due = server->now + 1;
}

START_TEST(many_pages_ask_for_a_bounded_number_at_once)
{
    store(500);
    open_room();
    w->faults.delay = 30;
    asked_most = 0;
    w->step = count_asks;
    w->step_due = server->now;
    for (int i = 0; i < 60; i++)
        js_world_put(w, 0, reading((struct chi_log_read){.limit = 200, .backward = i % 2}));
    until_done(61);
    expect(300, 500, true);
    ck_assert_uint_ge(asked_most, 32);
    ck_assert_uint_le(asked_most, 64 + 32 + 8);
}
END_TEST

START_TEST(a_page_whose_connection_breaks_is_right_or_an_error)
{
    store(300);
    open_room();
    w->faults.delay = 20;
    for (uint64_t ms = 0; ms < 200; ms += 5) {
        js_world_put(w, 0, reading((struct chi_log_read){.limit = 100, .backward = true}));
        js_world_run(w, server->now + ms);
        js_world_break(w, 0, 3);
        until_done(2 + (uint32_t)(ms / 5));
        if (last->status)
            ck_assert_int_eq(last->status, CHATHUB_ELOG);
        else
            expect(200, 300, true);
        js_world_run(w, server->now + 3000);
        ck_assert_int_eq(js->state, CHI_JS_UP);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("js_proof");
    TCase *tc = tcase_create("proof");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_page_of_a_copy_that_differs_for_a_while_is_not_given);
    tcase_add_test(tc, what_a_copy_leaves_out_at_the_ends_of_a_page_is_missed);
    tcase_add_test(tc, of_a_copy_that_differs_for_good_come_right_pages_or_errors);
    tcase_add_test(tc, lost_answers_are_asked_for_again);
    tcase_add_test(tc, without_answers_all_end_with_an_error_and_nothing_is_left);
    tcase_add_test(tc, what_was_erased_or_is_no_entry_or_not_kept_any_more_is_no_difference);
    tcase_add_test(tc, many_pages_ask_for_a_bounded_number_at_once);
    tcase_add_test(tc, a_page_whose_connection_breaks_is_right_or_an_error);
    suite_add_tcase(suite, tc);
    return unit_run(suite);
}

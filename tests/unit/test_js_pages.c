/* Pages and openings of the JetStream log: right, or an error; found from the end by few requests;
 * whole also where servers lag, consumers go, and what is old is not kept. */
#include "js_world.h"

#define ENTRIES 6000

static struct js_world *w;
static struct js_server *server;
static struct js_node *node;
static struct chi_js *js;
static struct chi_name *name;
static struct chi_js_room *room;
static uint64_t at[ENTRIES]; /* positions of what was stored, in order */
static struct chi_js_hint hints[ENTRIES];
static uint32_t stored;
static uint32_t done;            /* tasks that came back */
static struct chi_js_task *last; /* the last of them; owned */

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

static void give(struct chi_js_task *task)
{
    js_world_put(w, 0, task);
    until_done(done + 1);
}

static void open_room(void)
{
    struct chi_js_task *task = chi_js_task_new(CHI_JS_OPEN);
    task->room = room;
    give(task);
}

static void shut_room(void)
{
    struct chi_js_task *task = chi_js_task_new(CHI_JS_SHUT);
    task->room = room;
    give(task);
}

static struct chi_js_task *reading(struct chi_log_read read)
{
    struct chi_js_task *task = chi_js_task_new(CHI_JS_READ);
    task->room = room;
    task->read = read;
    task->read.before = read.before ? read.before : UINT64_MAX;
    task->read.limit = read.limit ? read.limit : ENTRIES;
    task->read.bytes = read.bytes ? read.bytes : 16 << 20;
    return task;
}

static const struct chi_js_page *read_page(struct chi_log_read read)
{
    give(reading(read));
    ck_assert_int_eq(last->status, 0);
    return &last->page;
}

static void setup(void)
{
    struct chi_js_parts parts = {.stream = "chat", .seed = 1, .wanted = {.duplicates = 120000}};
    w = js_world_new(7, 1);
    server = &w->server;
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

/* `known`: how many of those before it its node knew. */
static void store_knowing(uint32_t known, struct chi_span content)
{
    struct chi_buf data = {0};
    struct chi_entry_parts parts = {
        .sender = CHI_SPAN("ann"), .user = CHI_SPAN("ann"), .content = content};
    struct chi_entry *entry = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    struct chi_js_hint hint = {0};
    if (known)
        hint = chi_js_hint_after(at[known - 1], &hints[known - 1]);
    chi_js_write_entry(&data, entry, JS_WALL, stored + 1, &hint);
    chi_entry_unref(entry);
    struct chi_js_out out = {.subject = CHI_SPAN("chat.in.room.tea"), .data = {data.at, data.len}};
    js_serve(server, 0, &out);
    hints[stored] = hint;
    at[stored++] = server->last_seq;
    chi_buf_fini(&data);
    struct chi_js_out other = {.subject = CHI_SPAN("chat.in.room.other"), .data = CHI_SPAN("?")};
    if (stored % 3 == 0) /* positions are not dense */
        js_serve(server, 0, &other);
}

static void store(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        store_knowing(stored, CHI_SPAN("hello"));
}

/* The page is at[from, to), linked. */
static void expect(const struct chi_js_page *page, uint32_t from, uint32_t to, bool more)
{
    ck_assert_uint_eq(page->count, to - from);
    for (uint32_t i = 0; i < page->count; i++) {
        ck_assert_uint_eq(page->entries[i]->position, at[from + i]);
        if (i)
            ck_assert_uint_eq(page->entries[i]->prev, at[from + i - 1]);
    }
    ck_assert_int_eq(page->more, more);
}

START_TEST(old_pages_are_found_by_few_requests)
{
    store(5500);
    open_room();
    ck_assert_uint_eq(last->position, at[5499]);
    uint32_t sends = node->sends;
    expect(read_page((struct chi_log_read){.limit = 50, .backward = true}), 5450, 5500, true);
    ck_assert_uint_eq(last->page.entries[0]->prev, at[5449]);
    ck_assert_uint_le(node->sends - sends, 6);
    sends = node->sends;
    expect(read_page((struct chi_log_read){.before = at[3000], .limit = 50, .backward = true}),
           2950, 3000, true);
    ck_assert_uint_le(node->sends - sends, 6);
    expect(read_page((struct chi_log_read){.limit = 5000, .backward = true}), 500, 5500, true);
    expect(read_page((struct chi_log_read){.before = at[20], .limit = 50, .backward = true}), 0, 20,
           false);
    ck_assert_uint_eq(last->page.entries[0]->prev, 0);
    expect(read_page((struct chi_log_read){.after = at[4999], .limit = 200}), 5000, 5200, true);
    ck_assert_uint_eq(last->page.entries[0]->prev, at[4999]);
    expect(read_page((struct chi_log_read){.after = at[5400]}), 5401, 5500, false);
}
END_TEST

/* Nodes that post at the same time know of the same entries: ordinals repeat. */
START_TEST(races_do_not_make_pages_short)
{
    for (uint32_t i = 0; i < 900; i++)
        store_knowing(i / 9 * 9, CHI_SPAN("hello"));
    open_room();
    for (uint32_t end = 900; end; end -= 60) {
        uint64_t before = end == 900 ? UINT64_MAX : at[end];
        expect(read_page((struct chi_log_read){.before = before, .limit = 60, .backward = true}),
               end - 60, end, end > 60);
        if (end > 60)
            ck_assert_uint_eq(last->page.entries[0]->prev, at[end - 61]);
    }
}
END_TEST

START_TEST(what_is_not_kept_is_a_gap)
{
    store(300);
    open_room();
    while (server->list[server->first].seq < at[100])
        js_trim(server, 1);
    uint64_t gap = at[100] - 1;
    expect(read_page((struct chi_log_read){.after = at[50], .limit = 10}), 100, 110, true);
    ck_assert_uint_eq(last->page.entries[0]->prev, gap);
    expect(read_page((struct chi_log_read){.after = at[99], .limit = 10}), 100, 110, true);
    ck_assert_uint_eq(last->page.entries[0]->prev, gap);
    expect(read_page((struct chi_log_read){.limit = 250, .backward = true}), 100, 300, false);
    ck_assert_uint_eq(last->page.entries[0]->prev, gap);
    expect(read_page((struct chi_log_read){.limit = 200, .backward = true}), 100, 300, false);
    expect(read_page((struct chi_log_read){.after = at[100], .limit = 10}), 101, 111, true);
    ck_assert_uint_eq(last->page.entries[0]->prev, at[100]);
    js_trim(server, server->count - server->first);
    expect(read_page((struct chi_log_read){.after = at[50]}), 0, 0, false);
}
END_TEST

START_TEST(a_room_that_lost_all_opens_no_lower_than_it_was)
{
    store(20);
    js_trim(server, server->count - server->first);
    open_room();
    ck_assert_int_eq(last->status, 0);
    ck_assert_uint_ge(last->position, at[19]);
    store_knowing(0, CHI_SPAN("anew"));
    shut_room();
    open_room();
    ck_assert_uint_eq(last->position, at[20]);
}
END_TEST

START_TEST(a_server_that_is_behind_is_not_believed)
{
    store(100);
    server->follower_until = server->now + 1500;
    server->follower_seq = server->last_seq;
    server->follower_time = server->now;
    store(50);
    open_room();
    for (int i = 0; i < 8; i++) {
        expect(read_page((struct chi_log_read){.after = at[89]}), 90, 150, false);
        expect(read_page((struct chi_log_read){.limit = 10, .backward = true}), 140, 150, true);
    }
}
END_TEST

static uint64_t loss; /* when consumers are lost next */

static void lose_consumers(struct js_world *world)
{
    if (world->server.now < loss)
        return;
    memset(world->server.consumers, 0, sizeof(world->server.consumers));
    loss = world->step_due = world->server.now + 150;
}

START_TEST(a_consumer_that_goes_is_followed_by_another)
{
    store(3000);
    open_room();
    w->faults.delay = 60;
    w->step = lose_consumers;
    loss = w->step_due = server->now + 20;
    expect(read_page((struct chi_log_read){0}), 0, 3000, false);
}
END_TEST

START_TEST(lost_answers_are_asked_for_again)
{
    store(400);
    open_room();
    w->faults.lose_answer = 20;
    for (int i = 0; i < 5; i++)
        expect(read_page((struct chi_log_read){.limit = 30, .backward = true}), 370, 400, true);
}
END_TEST

START_TEST(without_answers_all_end_with_an_error)
{
    store(400);
    open_room();
    w->faults.lose_answer = 1000;
    for (int i = 0; i < 100; i++)
        js_world_put(w, 0, reading((struct chi_log_read){.limit = 30, .backward = i % 2}));
    until_done(101);
    ck_assert_int_eq(last->status, CHATHUB_ELOG);
    w->faults.lose_answer = 0;
    js_world_run(w, server->now + 10000);
    expect(read_page((struct chi_log_read){.limit = 400}), 0, 400, false);
}
END_TEST

START_TEST(many_at_once_are_answered_and_leave_nothing_behind)
{
    store(400);
    open_room();
    for (int i = 0; i < 1000; i++)
        js_world_put(w, 0, reading((struct chi_log_read){.limit = 30, .backward = i % 2}));
    until_done(1001);
    js_world_run(w, server->now + 50);
    for (uint32_t i = 0; i < JS_CONSUMERS; i++)
        ck_assert_str_eq(server->consumers[i].name, "");
}
END_TEST

START_TEST(an_entry_larger_than_a_pull_is_asked_for_alone)
{
    static char large[300000];
    memset(large, 'x', sizeof(large));
    store(3);
    store_knowing(stored, (struct chi_span){large, sizeof(large)});
    store(3);
    open_room();
    expect(read_page((struct chi_log_read){.after = at[1], .limit = 10, .bytes = 1000}), 2, 3,
           true);
    expect(read_page((struct chi_log_read){.after = at[2], .limit = 10, .bytes = 1000}), 3, 4,
           true);
    expect(read_page((struct chi_log_read){.after = at[0]}), 1, 7, false);
}
END_TEST

static void erase(uint64_t position, int status)
{
    struct chi_js_task *task = chi_js_task_new(CHI_JS_ERASE);
    task->room = room;
    task->position = position;
    give(task);
    ck_assert_int_eq(last->status, status);
}

START_TEST(tombstones_stand_at_their_places)
{
    store(10);
    open_room();
    erase(at[4], 0);
    erase(at[9], 0);
    erase(at[9], 0);                  /* it is erased */
    erase(at[2] + 1, CHATHUB_ENOENT); /* another room's */
    erase(server->last_seq + 1000, CHATHUB_ENOENT);
    expect(read_page((struct chi_log_read){0}), 0, 10, false);
    ck_assert_uint_eq(last->page.entries[4]->content_len, 0);
    ck_assert_uint_eq(last->page.entries[5]->content_len, 5);
    ck_assert_uint_eq(last->page.entries[9]->content_len, 0);
    expect(read_page((struct chi_log_read){.limit = 6, .backward = true}), 4, 10, true);
    expect(read_page((struct chi_log_read){.after = at[4], .limit = 2}), 5, 7, true);
    ck_assert_uint_eq(last->page.entries[0]->prev, at[4]);
    shut_room();
    open_room();
    ck_assert_uint_eq(last->position, at[9]);
}
END_TEST

START_TEST(what_was_erased_is_given_without_its_texts_by_a_server_that_is_behind)
{
    store(10);
    open_room();
    server->follower_until = server->now + 60000;
    server->follower_seq = server->last_seq;
    server->follower_time = server->now;
    js_world_run(w, server->now + 10);
    erase(at[4], 0);
    erase(at[9], 0);
    for (int i = 0; i < 16; i++) {
        expect(read_page((struct chi_log_read){.backward = i % 2}), 0, 10, false);
        for (uint32_t k = 0; k < 10; k++)
            ck_assert_uint_eq(last->page.entries[k]->content_len, k == 4 || k == 9 ? 0 : 5);
    }
}
END_TEST

/* Its acks say that another try of the same is on its way. */
static void heard_of_a_repeat(struct js_node *of, const struct chi_js_in *in)
{
    struct chi_js_in other = *in;
    if (in->kind == CHI_JS_REPLY && in->data.len > 10 && !memcmp(in->data.at, "{\"stream\":", 10))
        other.data = CHI_SPAN("{\"stream\":\"chat\",\"seq\":0,\"duplicate\":true}");
    chi_js_heard(of->js, &other);
}

START_TEST(nothing_is_deleted_whose_record_may_not_be_stored)
{
    store(3);
    open_room();
    node->heard = heard_of_a_repeat;
    erase(at[1], CHATHUB_ELOG);
    ck_assert_ptr_nonnull(js_at(server, at[1]));
    node->heard = js_js_heard;
    erase(at[1], 0);
    ck_assert_ptr_null(js_at(server, at[1]));
}
END_TEST

START_TEST(who_opened_before_the_log_went_back_erases_nothing)
{
    store(6);
    open_room();
    js_world_run(w, server->now + 2000);
    uint64_t meant = server->last_seq;
    js_put_back(server, at[2]);
    js_world_break(w, 0, 10);
    js_world_run(w, server->now + 5000);
    ck_assert_int_eq(js->state, CHI_JS_UP);
    ck_assert(room->top->gone);
    struct chi_js_room *former = room;
    room = calloc(1, sizeof(*room));
    room->name = name;
    stored = 3;
    while (server->last_seq < meant)
        store(1);
    open_room();
    struct chi_js_room *now = room;
    uint64_t newest = at[stored - 1];
    room = former;
    erase(newest, CHATHUB_ELOG);
    ck_assert_ptr_nonnull(js_at(server, newest));
    free(former);
    room = now;
    erase(newest, 0);
    ck_assert_ptr_null(js_at(server, newest));
}
END_TEST

START_TEST(while_there_is_no_connection_pages_are_refused_at_once)
{
    store(10);
    open_room();
    js_world_break(w, 0, 5000);
    js_world_run(w, server->now + 10);
    uint64_t now = server->now;
    give(reading((struct chi_log_read){0}));
    ck_assert_int_eq(last->status, CHATHUB_ELOG);
    ck_assert_uint_le(server->now - now, 100);
    js_world_run(w, server->now + 10000);
    expect(read_page((struct chi_log_read){0}), 0, 10, false);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("js_pages");
    TCase *tc = tcase_create("pages");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, old_pages_are_found_by_few_requests);
    tcase_add_test(tc, races_do_not_make_pages_short);
    tcase_add_test(tc, what_is_not_kept_is_a_gap);
    tcase_add_test(tc, a_room_that_lost_all_opens_no_lower_than_it_was);
    tcase_add_test(tc, a_server_that_is_behind_is_not_believed);
    tcase_add_test(tc, a_consumer_that_goes_is_followed_by_another);
    tcase_add_test(tc, lost_answers_are_asked_for_again);
    tcase_add_test(tc, without_answers_all_end_with_an_error);
    tcase_add_test(tc, many_at_once_are_answered_and_leave_nothing_behind);
    tcase_add_test(tc, an_entry_larger_than_a_pull_is_asked_for_alone);
    tcase_add_test(tc, tombstones_stand_at_their_places);
    tcase_add_test(tc, what_was_erased_is_given_without_its_texts_by_a_server_that_is_behind);
    tcase_add_test(tc, nothing_is_deleted_whose_record_may_not_be_stored);
    tcase_add_test(tc, who_opened_before_the_log_went_back_erases_nothing);
    tcase_add_test(tc, while_there_is_no_connection_pages_are_refused_at_once);
    suite_add_tcase(suite, tc);
    return unit_run(suite);
}

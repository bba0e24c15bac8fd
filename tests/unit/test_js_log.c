/* What the hub's side of the JetStream log tells, where an entry leaves a hole: in order, each once,
 * bounded; and what was redacted is not told with its texts. Without a thread: what it would give is
 * made here. */
#include "unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "chathub.h"
#include "log/jetstream/log_inside.h"

#define TOLD 10000

static struct chi_js_log log_side;
static struct chi_js_room *room;
static struct chi_works works; /* what the thread gave */
static uint64_t now;
static uint32_t hole_lines;
static struct chi_log_reader reader;

static struct {
    uint64_t position, prev;
    bool redacted; /* it is told that it is; else the entry */
} told[TOLD];
static uint32_t told_count;
static uint32_t page_texts; /* bytes of content of the page that was told … */
static uint32_t pages;      /* … and how many */

static uint64_t the_time(void *self)
{
    (void)self;
    return now;
}

static void log_line(void *self, int level, const char *event, const struct chi_field *fields,
                     size_t n)
{
    (void)self, (void)level, (void)fields, (void)n;
    hole_lines += strcmp(event, "log_hole") == 0;
}

static void wake(void *self)
{
    (void)self;
}

static const struct chi_env_ops ops = {
    .now = the_time, .wall = the_time, .log = log_line, .wake = wake};

static void on_committed(void *hub, const struct chi_log_result *results, size_t n)
{
    (void)hub;
    for (size_t i = 0; i < n; i++) {
        ck_assert_uint_lt(told_count, TOLD);
        told[told_count].position = results[i].entry->position;
        told[told_count].redacted = false;
        told[told_count++].prev = results[i].entry->prev;
    }
}

static void on_redacted(void *hub, uint32_t number, uint64_t position, int status, void *token)
{
    (void)hub, (void)number, (void)token;
    ck_assert_int_eq(status, 0);
    ck_assert_uint_lt(told_count, TOLD);
    told[told_count].redacted = true;
    told[told_count++].position = position;
}

static void on_page(struct chi_log_reader *of, const struct chi_log_page *page)
{
    (void)of;
    pages++;
    ck_assert_int_eq(page->status, 0);
    page_texts = 0;
    for (uint32_t i = 0; i < page->count; i++)
        page_texts += page->entries[i]->content_len;
}

static struct chi_span key_of(const void *ctx, uint32_t number)
{
    return chi_name_key(((const struct chi_js_room *)chi_slots_at(ctx, number))->name);
}

static void setup(void)
{
    static const struct chi_settings settings;
    struct chi_js_log *s = &log_side;
    *s = (struct chi_js_log){.settings = &settings, .env = {&ops, NULL}};
    s->up = (struct chi_log_up){.committed = on_committed, .redacted = on_redacted};
    reader.page = on_page;
    chi_slots_init(&s->rooms, sizeof(struct chi_js_room));
    chi_list_init(&s->owed);
    chi_js_cache_init(&s->cache, 1 << 20);
    s->by_key.text = key_of;
    s->by_key.ctx = &s->rooms;
    ck_assert_int_eq(chi_index_reserve(&s->by_key), 0);
    room = chi_slots_take(&s->rooms);
    room->name = chi_name_new(CHI_SPAN("tea"), CHI_SPAN("tea"));
    room->open = true;
    chi_index_put(&s->by_key, room->slot.number);
    works = (struct chi_works){0};
    now = 5000;
    hole_lines = told_count = pages = 0;
}

static void teardown(void)
{
    struct chi_js_log *s = &log_side;
    struct chi_work *work;
    chi_js_log_tasks_free(s, &works);
    chi_js_log_tasks_free(s, &s->held);
    chi_js_log_tasks_free(s, &s->answered);
    chi_js_log_tasks_free(s, &s->to_thread);
    while ((work = chi_works_take(&s->spare)) != NULL)
        free((struct chi_js_task *)(void *)work);
    ck_assert_uint_eq(room->under_way, 0);
    chi_js_log_forget(s, room);
    chi_name_unref(room->name);
    chi_slots_fini(&s->rooms);
    chi_index_fini(&s->by_key);
}

static struct chi_entry *entry_at(uint64_t position, uint64_t prev)
{
    struct chi_entry_parts parts = {.sender = CHI_SPAN("ann"), .content = CHI_SPAN("hello")};
    struct chi_entry *entry = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    entry->position = position;
    entry->prev = prev;
    return entry;
}

static struct chi_js_task *made_by_thread(enum chi_js_work kind)
{
    struct chi_js_task *task = chi_js_log_task(&log_side, kind, NULL);
    chi_buf_add_text(&task->bytes, "tea");
    chi_works_add(&works, &task->work);
    return task;
}

static void come(uint64_t position, uint64_t prev)
{
    made_by_thread(CHI_JS_ENTRY)->entry = entry_at(position, prev);
}

static void come_redacted(uint64_t position)
{
    made_by_thread(CHI_JS_GONE)->position = position;
}

static void report(void)
{
    chi_js_log_report(&log_side, &works);
}

static void fill(struct chi_js_task *task, uint64_t from, uint64_t to)
{
    task->page.entries = calloc(to - from + 1, sizeof(struct chi_entry *));
    for (uint64_t at = from; at <= to; at++)
        task->page.entries[task->page.count++] = entry_at(at, at - 1);
}

/* The thread reads what is between. */
static void come_read(uint64_t from, uint64_t to)
{
    struct chi_js_task *task = (struct chi_js_task *)(void *)chi_works_take(&log_side.to_thread);
    ck_assert_ptr_nonnull(task);
    ck_assert_int_eq(task->kind, CHI_JS_READ);
    fill(task, from, to);
    chi_works_add(&works, &task->work);
}

START_TEST(what_was_left_out_is_told_before_what_waits_for_it)
{
    come(1, 0);
    come(4, 3);
    come(5, 4);
    report();
    ck_assert_uint_eq(told_count, 1);
    come(6, 5);
    come_read(2, 3);
    report();
    ck_assert_uint_eq(told_count, 6);
    for (uint32_t i = 0; i < 6; i++)
        ck_assert_uint_eq(told[i].position, i + 1);
}
END_TEST

START_TEST(a_redaction_of_what_waits_is_told_behind_it)
{
    come(1, 0);
    come(4, 3);
    report();
    come_redacted(4);
    report();
    ck_assert_uint_eq(told_count, 1);
    come_read(2, 3);
    report();
    ck_assert_uint_eq(told_count, 5);
    ck_assert(!told[3].redacted);
    ck_assert(told[4].redacted);
    ck_assert_uint_eq(told[4].position, 4);
    ck_assert_uint_eq(chi_js_cached_at(room->cached, room->cached->count - 1)->position, 4);
    ck_assert_uint_eq(chi_js_cached_at(room->cached, room->cached->count - 1)->content_len, 0);
}
END_TEST

/* The hole is left to those who read the room. */
START_TEST(where_too_many_wait_for_what_was_left_out_none_of_them_is_lost)
{
    come(1, 0);
    for (uint64_t at = 4; at < 6000; at++)
        come(at, at - 1);
    report();
    ck_assert_uint_eq(told_count, 5997);
    for (uint32_t i = 1; i < told_count; i++) {
        ck_assert_uint_eq(told[i].position, i + 3);
        ck_assert_uint_eq(told[i].prev, i + 2);
    }
    come_read(2, 3); /* too late */
    come(6000, 5999);
    come(6003, 6001);
    report();
    ck_assert_uint_eq(told_count, 5998);
    come_read(6001, 6001); /* the next hole is mended again */
    report();
    ck_assert_uint_eq(told_count, 6000);
    ck_assert_uint_eq(told[5999].position, 6003);
}
END_TEST

START_TEST(holes_are_told_of_once_a_second)
{
    uint64_t at = 0;
    for (int second = 1; second <= 3; second++) {
        for (int i = 0; i < 10; i++) {
            at += 2;
            come(at, at - 1);
            report();
            come_read(at - 1, at - 1);
            report();
        }
        ck_assert_int_eq((int)hole_lines, second);
        now += 1000;
    }
    ck_assert_uint_eq(told_count, at);
}
END_TEST

START_TEST(a_page_from_memory_is_told_without_what_was_redacted_meanwhile)
{
    struct chi_js_task *task = chi_js_log_task(&log_side, CHI_JS_READ, room);
    come(1, 0);
    come(2, 1);
    report();
    fill(task, 1, 2);
    task->read.reader = &reader;
    chi_list_append(&log_side.owed, &task->owed);
    chi_works_add(&log_side.answered, &task->work);
    come_redacted(2);
    report();
    works = log_side.answered;
    log_side.answered = (struct chi_works){0};
    report();
    ck_assert_uint_eq(pages, 1);
    ck_assert_uint_eq(page_texts, 5);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("js_log");
    TCase *tc = tcase_create("log_report");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, what_was_left_out_is_told_before_what_waits_for_it);
    tcase_add_test(tc, a_redaction_of_what_waits_is_told_behind_it);
    tcase_add_test(tc, where_too_many_wait_for_what_was_left_out_none_of_them_is_lost);
    tcase_add_test(tc, holes_are_told_of_once_a_second);
    tcase_add_test(tc, a_page_from_memory_is_told_without_what_was_redacted_meanwhile);
    suite_add_tcase(suite, tc);
    return unit_run(suite);
}

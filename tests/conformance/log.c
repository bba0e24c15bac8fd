#include "log.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chathub.h"

#define MANY 400

/* -------------------------------------------------------------------------------- a small world */

struct world {
    struct chi_settings settings;
    struct chi_log *log;
    uint64_t now;     /* of both clocks, ms */
    uint64_t seed;    /* of the randomness */
    void *handles[4]; /* by room number, once opened */
    uint64_t tops[4];
    uint32_t opened;
    struct {
        int status;
        uint32_t room;
        uint64_t position, prev, time;
        void *token;
    } results[MANY]; /* in the order reported */
    uint32_t committed;
    struct {
        uint32_t room, count;
        uint64_t position;
        int status;
    } erased;     /* the last redaction, and how many were answered */
    bool in_poll; /* reports may come now */
};

/* A page as it was reported. */
struct reader {
    struct chi_log_reader reader;
    uint32_t came, count;
    int status;
    bool more;
    uint64_t positions[MANY];
    char last_content[64];
};

static const struct log_under_test *under_test;
static struct world w;

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec at;
    clock_gettime(clock, &at);
    return (uint64_t)at.tv_sec * 1000 + (uint64_t)at.tv_nsec / 1000000;
}

static uint64_t world_now(void *self)
{
    (void)self;
    return under_test->own_clock ? clock_ms(CLOCK_MONOTONIC) : w.now;
}

static uint64_t world_wall(void *self)
{
    (void)self;
    return under_test->own_clock ? clock_ms(CLOCK_REALTIME) : w.now;
}

static void world_random(void *self, void *bytes, size_t len)
{
    (void)self;
    for (size_t i = 0; i < len; i++) {
        w.seed = w.seed * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)bytes)[i] = (uint8_t)(w.seed >> 56);
    }
}

static void world_digest(void *self, const void *bytes, size_t len, uint8_t out[32])
{
    (void)self;
    uint64_t state = 1469598103934665603u;
    for (size_t i = 0; i < len; i++)
        state = (state ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
    for (size_t i = 0; i < 32; i++)
        out[i] = (uint8_t)(state >> (i % 8 * 8));
}

static int world_fold(void *self, enum chi_fold_kind kind, struct chi_span text,
                      struct chi_buf *shown, struct chi_buf *key)
{
    (void)self, (void)kind;
    chi_buf_add(shown, text.at, text.len);
    chi_buf_add(key, text.at, text.len);
    return 0;
}

static void world_log(void *self, int level, const char *event, const struct chi_field *fields,
                      size_t n)
{
    (void)self, (void)level, (void)event, (void)fields, (void)n;
}

static void world_wake(void *self)
{
    (void)self;
}

static const struct chi_env_ops world_ops = {world_now,    world_wall, world_random,
                                             world_digest, world_fold, world_log,
                                             NULL,         world_wake, world_wake};

static void on_opened(void *hub, uint32_t room, int status, void *handle, uint64_t top)
{
    (void)hub;
    ck_assert(w.in_poll);
    ck_assert_int_eq(status, 0);
    w.handles[room] = handle;
    w.tops[room] = top;
    w.opened++;
}

static void on_committed(void *hub, const struct chi_log_result *results, size_t n)
{
    (void)hub;
    ck_assert(w.in_poll);
    for (size_t i = 0; i < n; i++, w.committed++) {
        w.results[w.committed].status = results[i].status;
        w.results[w.committed].room = results[i].room;
        w.results[w.committed].token = results[i].token;
        if (!results[i].entry)
            continue;
        w.results[w.committed].position = results[i].entry->position;
        w.results[w.committed].prev = results[i].entry->prev;
        w.results[w.committed].time = results[i].entry->time;
    }
}

static void on_redacted(void *hub, uint32_t room, uint64_t position, int status, void *token)
{
    (void)hub;
    ck_assert(w.in_poll);
    ck_assert_ptr_eq(token, &w.erased);
    w.erased.room = room;
    w.erased.position = position;
    w.erased.status = status;
    w.erased.count++;
}

static void on_page(struct chi_log_reader *reader, const struct chi_log_page *page)
{
    struct reader *r = (struct reader *)(void *)reader;
    ck_assert(w.in_poll);
    r->came++;
    r->status = page->status;
    r->count = page->count;
    r->more = page->more;
    for (uint32_t i = 0; i < page->count; i++)
        r->positions[i] = page->entries[i]->position;
    if (page->count) {
        struct chi_entry_parts parts = chi_entry_read(page->entries[page->count - 1]);
        snprintf(r->last_content, sizeof(r->last_content), "%.*s", (int)parts.content.len,
                 parts.content.at);
    }
}

/* Polls until nothing is reported any more: a log with threads answers in its own time. */
static void settle(const uint32_t *count, uint32_t until)
{
    w.in_poll = true;
    while (*count < until) {
        w.log->poll(w.log);
        sched_yield();
    }
    w.in_poll = false;
}

static void make_log(void)
{
    static const struct chi_log_up up = {on_opened, on_committed, on_redacted, NULL, NULL};
    w.log = under_test->make(&w.settings, (struct chi_env){&world_ops, NULL});
    ck_assert_ptr_nonnull(w.log);
    w.log->bind(w.log, &up);
}

/* After a bound was changed. */
static void rebound(void)
{
    if (!under_test->fixed)
        return;
    w.log->free(w.log);
    under_test->clean();
    make_log();
}

static void setup(void)
{
    static char full[] = "full";

    memset(&w, 0, sizeof(w));
    w.now = 1000000;
    w.seed = 42;
    w.settings.log_entries = 1000;
    w.settings.cid_horizon = 60000;
    w.settings.max_cids = 100000;
    w.settings.log_bytes = under_test->no_room_bytes ? 0 : 1 << 30;
    w.settings.log_total_bytes = 1 << 24;
    w.settings.window_bytes = 1 << 20;
    w.settings.log_hold = 10000;
    w.settings.log_duplicates = 60000;
    w.settings.max_rooms = 100;
    w.settings.log_sync = full;
    w.settings.log_pace = 1;
    make_log();
}

static void teardown(void)
{
    w.log->free(w.log);
    if (under_test->clean)
        under_test->clean();
}

static void open_form(uint32_t number, const char *shown, const char *key)
{
    uint32_t before = w.opened;
    struct chi_name *name = chi_name_new(chi_span_of(shown), chi_span_of(key));
    ck_assert_int_eq(w.log->open(w.log, number, name), 0);
    chi_name_unref(name);
    settle(&w.opened, before + 1);
}

static void open_room(uint32_t number, const char *key)
{
    open_form(number, key, key);
}

static int post_as(uint32_t room, const char *user, const char *cid, const char *content,
                   void *token)
{
    struct chi_entry_parts parts = {
        chi_span_of(user), chi_span_of(user), chi_span_of(cid), chi_span_of(content), {0}};
    struct chi_entry *draft = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    ck_assert_ptr_nonnull(draft);
    int error = w.log->append(w.log, w.handles[room], draft, token);
    chi_entry_unref(draft);
    return error;
}

static void post(uint32_t room, const char *content)
{
    ck_assert_int_eq(post_as(room, "u", NULL, content, NULL), 0);
}

static void post_and_settle(uint32_t room, const char *content)
{
    post(room, content);
    settle(&w.committed, w.committed + 1);
}

static struct reader read_page(uint32_t room, struct chi_log_read read)
{
    struct reader reader = {.reader.page = on_page};
    read.reader = &reader.reader;
    if (!read.before)
        read.before = UINT64_MAX;
    if (!read.bytes)
        read.bytes = 1 << 20;
    if (!read.limit)
        read.limit = MANY;
    ck_assert_int_eq(w.log->read(w.log, w.handles[room], &read), 0);
    settle(&reader.came, 1);
    ck_assert_uint_eq(reader.came, 1);
    return reader;
}

/* The whole room, once it holds no more than `count` entries: logs may forget in their own time. */
static struct reader read_when_at_most(uint32_t room, uint32_t count)
{
    struct reader page;
    do {
        page = read_page(room, (struct chi_log_read){0});
    } while (page.count > count);
    return page;
}

/* ------------------------------------------------------------------------------------- promises */

START_TEST(positions_increase_over_all_rooms_and_prev_chains_each)
{
    open_room(0, "a");
    open_room(1, "b");
    for (int i = 0; i < 20; i++)
        post(i % 3 ? 0 : 1, "x");
    settle(&w.committed, 20);
    uint64_t last = 0, top[2] = {0, 0};
    for (uint32_t i = 0; i < 20; i++) {
        ck_assert_int_eq(w.results[i].status, 0);
        ck_assert_uint_gt(w.results[i].position, last);
        ck_assert_uint_le(w.results[i].position, CHI_POSITION_MAX);
        ck_assert_uint_eq(w.results[i].prev, top[w.results[i].room]);
        last = top[w.results[i].room] = w.results[i].position;
    }
}
END_TEST

START_TEST(drafts_are_answered_in_order_with_their_tokens)
{
    open_room(0, "a");
    int tokens[10];
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(post_as(0, "u", NULL, "x", &tokens[i]), 0);
    ck_assert_uint_eq(w.committed, 0); /* never from within append */
    settle(&w.committed, 10);
    for (int i = 0; i < 10; i++)
        ck_assert_ptr_eq(w.results[i].token, &tokens[i]);
}
END_TEST

START_TEST(a_room_opens_with_its_top)
{
    open_room(0, "a");
    ck_assert_uint_eq(w.tops[0], 0);
    post_and_settle(0, "x");
    w.log->close(w.log, w.handles[0]);
    open_room(2, "a");
    ck_assert_uint_eq(w.tops[2], w.results[0].position);
    open_room(3, "other");
    ck_assert_uint_eq(w.tops[3], 0);
}
END_TEST

START_TEST(a_room_is_the_same_under_another_form_of_its_name)
{
    open_form(0, "Tea", "tea");
    post_and_settle(0, "x");
    w.log->close(w.log, w.handles[0]);
    open_form(1, "TEA", "tea");
    ck_assert_uint_eq(w.tops[1], w.results[0].position);
    ck_assert_uint_eq(read_page(1, (struct chi_log_read){0}).count, 1);
}
END_TEST

/* With more closed rooms than a log that keeps them in memory remembers: who has read in one of
 * them must not find that it ends before. */
START_TEST(a_room_never_opens_below_what_it_had)
{
    char name[8];
    w.settings.max_rooms = 3;
    for (uint32_t i = 0; i < 12; i++) {
        snprintf(name, sizeof(name), "r%u", i);
        open_room(0, name);
        if (i % 3)
            post_and_settle(0, "x");
        w.log->close(w.log, w.handles[0]);
    }
    for (uint32_t i = 0, n = 0; i < 12; i++) {
        snprintf(name, sizeof(name), "r%u", i);
        open_room(0, name);
        if (i % 3)
            ck_assert_uint_ge(w.tops[0], w.results[n++].position);
        struct reader page = read_page(0, (struct chi_log_read){0});
        ck_assert_uint_le(page.count, i % 3 ? 1 : 0);
        w.log->close(w.log, w.handles[0]);
    }
}
END_TEST

START_TEST(pages_read_forward_and_say_whether_there_is_more)
{
    open_room(0, "a");
    for (int i = 0; i < 10; i++)
        post_and_settle(0, "x");
    struct reader page =
        read_page(0, (struct chi_log_read){.after = w.results[2].position, .limit = 4});
    ck_assert_uint_eq(page.count, 4);
    ck_assert(page.more);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(page.positions[i], w.results[3 + i].position);
    page = read_page(0, (struct chi_log_read){.after = w.results[6].position, .limit = 4});
    ck_assert_uint_eq(page.count, 3);
    ck_assert(!page.more);
    page = read_page(0, (struct chi_log_read){.after = w.results[9].position});
    ck_assert_uint_eq(page.count, 0);
}
END_TEST

START_TEST(pages_read_backward_are_the_newest_oldest_first)
{
    open_room(0, "a");
    for (int i = 0; i < 10; i++)
        post_and_settle(0, "x");
    struct reader page = read_page(
        0, (struct chi_log_read){.before = w.results[8].position, .limit = 3, .backward = true});
    ck_assert_uint_eq(page.count, 3);
    ck_assert(page.more);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_uint_eq(page.positions[i], w.results[5 + i].position);
    page = read_page(0, (struct chi_log_read){.limit = 20, .backward = true});
    ck_assert_uint_eq(page.count, 10);
    ck_assert(!page.more);
}
END_TEST

START_TEST(pages_keep_to_their_bytes_but_hold_one_at_least)
{
    open_room(0, "a");
    char large[2000];
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    for (int i = 0; i < 5; i++)
        post_and_settle(0, large);
    ck_assert_uint_eq(read_page(0, (struct chi_log_read){.bytes = 100}).count, 1);
    uint32_t some = read_page(0, (struct chi_log_read){.bytes = 5000}).count;
    ck_assert_uint_eq(some, 2);
}
END_TEST

START_TEST(rooms_do_not_see_each_other)
{
    open_room(0, "a");
    open_room(1, "b");
    post_and_settle(0, "in a");
    post_and_settle(1, "in b");
    ck_assert_str_eq(read_page(0, (struct chi_log_read){0}).last_content, "in a");
    ck_assert_uint_eq(read_page(1, (struct chi_log_read){0}).count, 1);
}
END_TEST

START_TEST(a_repeated_cid_is_the_first_post_again)
{
    open_room(0, "a");
    ck_assert_int_eq(post_as(0, "u", "c", "hello", NULL), 0);
    ck_assert_int_eq(post_as(0, "u", "c", "hello", NULL), 0); /* while the first is not committed */
    settle(&w.committed, 2);
    ck_assert_int_eq(post_as(0, "u", "c", "hello", NULL), 0);
    settle(&w.committed, 3);
    ck_assert_int_eq(w.results[0].status, 0);
    for (int i = 1; i < 3; i++) {
        ck_assert_int_eq(w.results[i].status, CHATHUB_EDUP);
        ck_assert_uint_eq(w.results[i].position, w.results[0].position);
        ck_assert_uint_eq(w.results[i].time, w.results[0].time);
    }
    ck_assert_uint_eq(read_page(0, (struct chi_log_read){0}).count, 1);
}
END_TEST

START_TEST(a_cid_with_other_content_is_refused)
{
    open_room(0, "a");
    post_as(0, "u", "c", "hello", NULL);
    post_as(0, "u", "c", "other", NULL);
    settle(&w.committed, 2);
    ck_assert_int_eq(w.results[1].status, CHATHUB_ECIDREUSED);
    ck_assert_uint_eq(read_page(0, (struct chi_log_read){0}).count, 1);
}
END_TEST

START_TEST(cids_of_other_users_and_rooms_are_others)
{
    open_room(0, "a");
    open_room(1, "b");
    post_as(0, "u", "c", "x", NULL);
    post_as(0, "v", "c", "x", NULL);
    post_as(1, "u", "c", "x", NULL);
    post_as(0, "uc", "", "x", NULL); /* no separator to be fooled by */
    settle(&w.committed, 4);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(w.results[i].status, 0);
}
END_TEST

START_TEST(a_cid_is_remembered_for_the_horizon)
{
    open_room(0, "a");
    post_as(0, "u", "c", "x", NULL);
    settle(&w.committed, 1);
    ck_assert_uint_gt(w.log->horizon(w.log), 0);
    w.now += w.log->horizon(w.log); /* with a clock of its own: at once */
    post_as(0, "u", "c", "x", NULL);
    settle(&w.committed, 2);
    ck_assert_int_eq(w.results[1].status, CHATHUB_EDUP);
}
END_TEST

START_TEST(a_cid_outlives_its_entry)
{
    w.settings.log_entries = 2;
    rebound();
    open_room(0, "a");
    post_as(0, "u", "c", "x", NULL);
    for (int i = 0; i < 5; i++)
        post(0, "y");
    post_as(0, "u", "c", "x", NULL);
    settle(&w.committed, 7);
    ck_assert_int_eq(w.results[6].status, CHATHUB_EDUP);
    ck_assert_uint_eq(w.results[6].position, w.results[0].position);
}
END_TEST

START_TEST(retention_by_count_keeps_the_newest)
{
    w.settings.log_entries = 3;
    rebound();
    open_room(0, "a");
    for (int i = 0; i < 10; i++)
        post_and_settle(0, "x");
    struct reader page = read_when_at_most(0, 3);
    ck_assert_uint_eq(page.count, 3);
    ck_assert_uint_eq(page.positions[0], w.results[7].position);
}
END_TEST

START_TEST(retention_by_bytes_keeps_the_newest)
{
    if (under_test->no_room_bytes)
        return;
    w.settings.log_bytes = 1000;
    open_room(0, "a");
    for (int i = 0; i < 50; i++)
        post_and_settle(0, "0123456789012345678901234567890123456789");
    struct reader page = read_when_at_most(0, 24);
    ck_assert_uint_gt(page.count, 0);
    ck_assert_uint_eq(page.positions[page.count - 1], w.results[49].position);
}
END_TEST

START_TEST(retention_by_age_forgets_the_old)
{
    w.settings.log_age = under_test->own_clock ? 500 : 5000;
    rebound();
    open_room(0, "a");
    post_and_settle(0, "old");
    w.now += 6000;
    if (under_test->own_clock)
        read_when_at_most(0, 0);
    post_and_settle(0, "new");
    struct reader page = read_when_at_most(0, 1);
    ck_assert_uint_eq(page.count, 1);
    ck_assert_str_eq(page.last_content, "new");
}
END_TEST

START_TEST(positions_are_held_under_their_epoch_alone)
{
    struct chi_span epoch = w.log->epoch(w.log);
    ck_assert_uint_eq(epoch.len, CHI_EPOCH_LEN);
    ck_assert(w.log->holds(w.log, epoch, 5));
    ck_assert(w.log->holds(w.log, (struct chi_span){0}, 5));
    ck_assert(!w.log->holds(w.log, CHI_SPAN("0123456789abcdef"), 5));
    ck_assert(!w.log->holds(w.log, CHI_SPAN("x"), 5));
}
END_TEST

static int erase(uint32_t room, uint64_t position)
{
    ck_assert_int_eq(w.log->redact(w.log, w.handles[room], position, &w.erased), 0);
    settle(&w.erased.count, w.erased.count + 1);
    ck_assert_uint_eq(w.erased.room, room);
    ck_assert_uint_eq(w.erased.position, position);
    return w.erased.status;
}

START_TEST(redact_leaves_a_tombstone)
{
    open_room(0, "a");
    post_and_settle(0, "one");
    post_and_settle(0, "secret");
    ck_assert_int_eq(erase(0, w.results[1].position), 0);
    struct reader page = read_page(0, (struct chi_log_read){0});
    ck_assert_uint_eq(page.count, 2);
    ck_assert_uint_eq(page.positions[1], w.results[1].position);
    ck_assert_str_eq(page.last_content, "");
    ck_assert_int_eq(erase(0, 99999), CHATHUB_ENOENT);
    ck_assert_int_eq(erase(0, 0), CHATHUB_ENOENT);
}
END_TEST

START_TEST(reads_under_way_answer_after_close)
{
    open_room(0, "a");
    post_and_settle(0, "x");
    struct reader reader = {.reader.page = on_page};
    struct chi_log_read read = {
        .before = UINT64_MAX, .limit = 1, .bytes = 1000, .reader = &reader.reader};
    ck_assert_int_eq(w.log->read(w.log, w.handles[0], &read), 0);
    w.log->close(w.log, w.handles[0]);
    settle(&reader.came, 1);
    ck_assert_uint_eq(reader.count, 1);
}
END_TEST

START_TEST(freeing_with_work_under_way_is_quiet)
{
    open_room(0, "a");
    post_as(0, "u", "c", "x", NULL);
    struct reader reader = {.reader.page = on_page};
    struct chi_log_read read = {
        .before = UINT64_MAX, .limit = 1, .bytes = 1000, .reader = &reader.reader};
    ck_assert_int_eq(w.log->read(w.log, w.handles[0], &read), 0);
    ck_assert_uint_eq(w.committed,
                      0); /* teardown frees it now: nothing may be reported or leaked */
}
END_TEST

/* ----------------------------------------------------------------- promises of logs that last */

static void reopen(void)
{
    w.log->free(w.log);
    make_log();
}

START_TEST(what_was_committed_is_there_again)
{
    open_room(0, "a");
    open_room(1, "b");
    for (int i = 0; i < 30; i++)
        post_and_settle(i % 3 == 0, i == 28 ? "the last in a" : "x");
    reopen();
    open_room(2, "a");
    ck_assert_uint_eq(w.tops[2], w.results[29].position);
    struct reader page = read_page(2, (struct chi_log_read){.limit = 100});
    ck_assert_uint_eq(page.count, 20);
    for (uint32_t i = 0, k = 0; i < 30; i++)
        if (w.results[i].room == 0)
            ck_assert_uint_eq(page.positions[k++], w.results[i].position);
    post_and_settle(2, "goes on");
    ck_assert_uint_gt(w.results[30].position, w.results[29].position);
    ck_assert_uint_eq(w.results[30].prev, w.results[29].position);
}
END_TEST

START_TEST(a_repeat_is_known_after_reopening)
{
    open_room(0, "a");
    ck_assert_int_eq(post_as(0, "u", "c", "hello", NULL), 0);
    settle(&w.committed, 1);
    reopen();
    open_room(0, "a");
    ck_assert_int_eq(post_as(0, "u", "c", "hello", NULL), 0);
    ck_assert_int_eq(post_as(0, "u", "c", "other", NULL), 0);
    settle(&w.committed, 3);
    ck_assert_int_eq(w.results[1].status, CHATHUB_EDUP);
    ck_assert_uint_eq(w.results[1].position, w.results[0].position);
    ck_assert_uint_eq(w.results[1].time, w.results[0].time);
    ck_assert_int_eq(w.results[2].status, CHATHUB_ECIDREUSED);
}
END_TEST

START_TEST(positions_hold_over_openings_that_begin_no_epoch)
{
    char first[CHI_EPOCH_LEN];
    if (!under_test->keeps_epoch)
        return;
    memcpy(first, w.log->epoch(w.log).at, sizeof(first));
    struct chi_span earlier = {first, sizeof(first)};
    open_room(0, "a");
    post_and_settle(0, "x");
    reopen();
    ck_assert(chi_span_equal(w.log->epoch(w.log), earlier));
    ck_assert(w.log->holds(w.log, earlier, w.results[0].position + 1));
    ck_assert(!w.log->holds(w.log, CHI_SPAN("0123456789abcdef"), w.results[0].position));
}
END_TEST

START_TEST(positions_of_former_openings_hold_up_to_the_next_one)
{
    if (under_test->keeps_epoch)
        return;
    char first[CHI_EPOCH_LEN];
    memcpy(first, w.log->epoch(w.log).at, sizeof(first));
    struct chi_span earlier = {first, sizeof(first)};
    open_room(0, "a");
    post_and_settle(0, "x");
    uint64_t seen = w.results[0].position;
    reopen();
    ck_assert(!chi_span_equal(w.log->epoch(w.log), earlier));
    ck_assert(w.log->holds(w.log, earlier, seen));
    ck_assert(!w.log->holds(w.log, earlier, seen + 1)); /* never given under it, or taken back */
    ck_assert(w.log->holds(w.log, w.log->epoch(w.log), seen + 1));
    ck_assert(!w.log->holds(w.log, CHI_SPAN("0123456789abcdef"), seen));
    reopen();
    ck_assert(w.log->holds(w.log, earlier, seen));
}
END_TEST

START_TEST(what_was_erased_stays_erased)
{
    open_room(0, "a");
    post_and_settle(0, "secret");
    ck_assert_int_eq(erase(0, w.results[0].position), 0);
    reopen();
    open_room(0, "a");
    struct reader page = read_page(0, (struct chi_log_read){0});
    ck_assert_uint_eq(page.count, 1);
    ck_assert_str_eq(page.last_content, "");
}
END_TEST

static void add_lasting(Suite *suite)
{
    TCase *tc = tcase_create("lasting");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, what_was_committed_is_there_again);
    tcase_add_test(tc, a_repeat_is_known_after_reopening);
    tcase_add_test(tc, positions_hold_over_openings_that_begin_no_epoch);
    tcase_add_test(tc, positions_of_former_openings_hold_up_to_the_next_one);
    tcase_add_test(tc, what_was_erased_stays_erased);
    suite_add_tcase(suite, tc);
}

Suite *log_suite(const struct log_under_test *log)
{
    under_test = log;
    Suite *suite = suite_create(log->name);
    TCase *tc = tcase_create("contract");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, positions_increase_over_all_rooms_and_prev_chains_each);
    tcase_add_test(tc, drafts_are_answered_in_order_with_their_tokens);
    tcase_add_test(tc, a_room_opens_with_its_top);
    tcase_add_test(tc, a_room_is_the_same_under_another_form_of_its_name);
    tcase_add_test(tc, a_room_never_opens_below_what_it_had);
    tcase_add_test(tc, pages_read_forward_and_say_whether_there_is_more);
    tcase_add_test(tc, pages_read_backward_are_the_newest_oldest_first);
    tcase_add_test(tc, pages_keep_to_their_bytes_but_hold_one_at_least);
    tcase_add_test(tc, rooms_do_not_see_each_other);
    tcase_add_test(tc, a_repeated_cid_is_the_first_post_again);
    tcase_add_test(tc, a_cid_with_other_content_is_refused);
    tcase_add_test(tc, cids_of_other_users_and_rooms_are_others);
    tcase_add_test(tc, a_cid_is_remembered_for_the_horizon);
    tcase_add_test(tc, a_cid_outlives_its_entry);
    tcase_add_test(tc, retention_by_count_keeps_the_newest);
    tcase_add_test(tc, retention_by_bytes_keeps_the_newest);
    tcase_add_test(tc, retention_by_age_forgets_the_old);
    tcase_add_test(tc, positions_are_held_under_their_epoch_alone);
    tcase_add_test(tc, redact_leaves_a_tombstone);
    tcase_add_test(tc, reads_under_way_answer_after_close);
    tcase_add_test(tc, freeing_with_work_under_way_is_quiet);
    suite_add_tcase(suite, tc);
    if (under_test->lasts)
        add_lasting(suite);
    return suite;
}

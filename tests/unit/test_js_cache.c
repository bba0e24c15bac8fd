/* The newest entries of rooms, in memory: a page is answered whole, as the server would, or not at
 * all; bounds hold; texts that were erased are gone. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "log/jetstream/cache.h"

static struct chi_js_cache cache;
static struct chi_js_cached rooms[3];

static void setup(void)
{
    chi_js_cache_init(&cache, 1 << 20);
    memset(rooms, 0, sizeof(rooms));
}

static void teardown(void)
{
    for (int i = 0; i < 3; i++)
        chi_js_cached_drop(&cache, &rooms[i]);
    ck_assert_uint_eq(cache.bytes, 0);
    ck_assert(chi_list_empty(&cache.used));
}

static struct chi_entry *entry_at(uint64_t position, uint64_t prev, const char *content)
{
    struct chi_entry_parts parts = {.sender = CHI_SPAN("u"), .content = chi_span_of(content)};
    struct chi_entry *entry = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    ck_assert_ptr_nonnull(entry);
    entry->position = position;
    entry->prev = prev;
    entry->time = position;
    return entry;
}

static void add(int room, uint64_t position, uint64_t prev)
{
    struct chi_entry *entry = entry_at(position, prev, "hello");
    chi_js_cached_add(&cache, &rooms[room], entry, UINT64_MAX);
    chi_entry_unref(entry);
}

/* Entries at 10, 20, … in a room that opened at `top`. */
static void fill(int room, uint64_t top, uint32_t n)
{
    chi_js_cached_begin(&rooms[room], top);
    for (uint32_t i = 1; i <= n; i++)
        add(room, top + 10 * i, top + 10 * (i - 1));
}

/* "first:count:more", or "-". */
static const char *find(int room, struct chi_log_read read)
{
    static char text[64];
    uint32_t first;
    bool more = false;
    read.before = read.before ? read.before : UINT64_MAX;
    read.limit = read.limit ? read.limit : 1000;
    read.bytes = read.bytes ? read.bytes : 1 << 20;
    int32_t n = chi_js_cached_find(&cache, &rooms[room], &read, &first, &more);
    if (n < 0)
        return "-";
    uint64_t at = n ? chi_js_cached_at(&rooms[room], first)->position : 0;
    snprintf(text, sizeof(text), "%u:%d:%s", (unsigned)at, n, more ? "more" : "all");
    return text;
}

START_TEST(a_page_forward_is_answered_if_it_begins_in_memory)
{
    fill(0, 100, 5);
    ck_assert_str_eq(find(0, (struct chi_log_read){.after = 99}), "-");
    ck_assert_str_eq(find(0, (struct chi_log_read){.after = 100}), "110:5:all");
    ck_assert_str_eq(find(0, (struct chi_log_read){.after = 105}), "110:5:all");
    ck_assert_str_eq(find(0, (struct chi_log_read){.after = 110, .limit = 2}), "120:2:more");
    ck_assert_str_eq(find(0, (struct chi_log_read){.after = 110, .before = 140}), "120:2:all");
    ck_assert_str_eq(find(0, (struct chi_log_read){.after = 110, .bytes = 1}), "120:1:more");
    ck_assert_str_eq(find(0, (struct chi_log_read){.after = 150}), "0:0:all");
    ck_assert_str_eq(find(0, (struct chi_log_read){.after = UINT64_MAX}), "0:0:all");
    ck_assert_str_eq(find(1, (struct chi_log_read){0}), "-"); /* nothing is known of it */
}
END_TEST

START_TEST(a_page_backward_is_answered_if_it_is_full_or_nothing_is_before_it)
{
    fill(0, 100, 5);
    fill(1, 0, 5);
    struct chi_log_read three = {.limit = 3, .backward = true};
    struct chi_log_read five = {.limit = 5, .backward = true};
    struct chi_log_read six = {.limit = 6, .backward = true};
    struct chi_log_read part = {.limit = 6, .before = 131, .backward = true};
    struct chi_log_read older = {.limit = 1, .before = 100, .backward = true};
    struct chi_log_read bounded = {.limit = 6, .after = 110, .backward = true};
    struct chi_log_read bytes = {.limit = 6, .bytes = 1, .backward = true};
    ck_assert_str_eq(find(0, three), "130:3:more");
    ck_assert_str_eq(find(0, five), "110:5:more");
    ck_assert_str_eq(find(0, six), "-");
    ck_assert_str_eq(find(0, part), "-");
    ck_assert_str_eq(find(0, older), "-");
    ck_assert_str_eq(find(0, bounded), "120:4:all");
    ck_assert_str_eq(find(0, bytes), "150:1:more");
    ck_assert_str_eq(find(1, five), "10:5:all");
    ck_assert_str_eq(find(1, six), "10:5:all");
}
END_TEST

START_TEST(a_room_keeps_its_newest_within_bounds)
{
    fill(0, 0, 300);
    ck_assert_uint_eq(rooms[0].count, 256);
    ck_assert_str_eq(find(0, (struct chi_log_read){.after = 430}), "-");
    ck_assert_str_eq(find(0, (struct chi_log_read){.after = 440}), "450:256:all");
    struct chi_entry *entry = entry_at(3010, 3000, "x");
    chi_js_cached_add(&cache, &rooms[0], entry, 3); /* what the room may have at all */
    chi_entry_unref(entry);
    ck_assert_uint_eq(rooms[0].count, 3);
    chi_js_cached_expire(&cache, &rooms[0], 3000);
    ck_assert_str_eq(find(0, (struct chi_log_read){.after = 2990}), "3000:2:all");
    ck_assert_str_eq(find(0, (struct chi_log_read){.after = 2980}), "-");
}
END_TEST

START_TEST(the_longest_unused_room_goes_first)
{
    struct chi_entry *one = entry_at(0, 0, "hello");
    chi_js_cache_init(&cache, 30 * chi_entry_size(one));
    chi_entry_unref(one);
    fill(0, 0, 10);
    fill(1, 0, 10);
    fill(2, 0, 10);
    find(0, (struct chi_log_read){0}); /* is used */
    add(2, 110, 100);
    ck_assert_uint_eq(rooms[0].count, 10);
    ck_assert_uint_eq(rooms[1].count, 0);
    ck_assert_uint_eq(rooms[2].count, 11);
    ck_assert_str_eq(find(1, (struct chi_log_read){.after = 90}), "-");
    ck_assert_str_eq(find(1, (struct chi_log_read){.after = 100}), "0:0:all");
}
END_TEST

START_TEST(a_hole_begins_anew)
{
    fill(0, 100, 3);
    add(0, 200, 190);
    ck_assert_str_eq(find(0, (struct chi_log_read){.after = 130}), "-");
    ck_assert_str_eq(find(0, (struct chi_log_read){.after = 190}), "200:1:all");
}
END_TEST

START_TEST(a_page_that_was_read_comes_in_front)
{
    struct chi_entry *page[] = {entry_at(80, 70, "a"), entry_at(90, 80, "b"),
                                entry_at(100, 90, "c"), entry_at(110, 100, "d")};
    fill(0, 100, 2);
    chi_js_cached_extend(&cache, &rooms[0], page, 4, UINT64_MAX);
    ck_assert_str_eq(find(0, (struct chi_log_read){.after = 70}), "80:5:all");
    ck_assert_str_eq(find(0, (struct chi_log_read){.after = 69}), "-");
    fill(1, 200, 2);
    chi_js_cached_extend(&cache, &rooms[1], page, 4, UINT64_MAX); /* not right before it */
    ck_assert_uint_eq(rooms[1].count, 2);
    fill(2, 100, 2);
    chi_js_cached_extend(&cache, &rooms[2], page, 4, 3); /* more than the room may have */
    ck_assert_uint_eq(rooms[2].count, 3);
    for (int i = 0; i < 4; i++)
        chi_entry_unref(page[i]);
}
END_TEST

START_TEST(an_erased_entry_keeps_its_place_and_loses_its_texts)
{
    fill(0, 0, 3);
    uint64_t bytes = cache.bytes;
    struct chi_entry *held = chi_entry_ref(chi_js_cached_at(&rooms[0], 1));
    chi_js_cached_erase(&cache, &rooms[0], 20);
    chi_js_cached_erase(&cache, &rooms[0], 25); /* none */
    const struct chi_entry *stone = chi_js_cached_at(&rooms[0], 1);
    ck_assert_uint_eq(stone->position, 20);
    ck_assert_uint_eq(stone->prev, 10);
    ck_assert_uint_eq(stone->time, 20);
    ck_assert_uint_eq(stone->content_len, 0);
    ck_assert_uint_eq(held->content_len, 5); /* entries never change */
    ck_assert_uint_lt(cache.bytes, bytes);
    ck_assert_str_eq(find(0, (struct chi_log_read){0}), "10:3:all");
    chi_entry_unref(held);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("js_cache");
    TCase *tc = tcase_create("cache");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_page_forward_is_answered_if_it_begins_in_memory);
    tcase_add_test(tc, a_page_backward_is_answered_if_it_is_full_or_nothing_is_before_it);
    tcase_add_test(tc, a_room_keeps_its_newest_within_bounds);
    tcase_add_test(tc, the_longest_unused_room_goes_first);
    tcase_add_test(tc, a_hole_begins_anew);
    tcase_add_test(tc, a_page_that_was_read_comes_in_front);
    tcase_add_test(tc, an_erased_entry_keeps_its_place_and_loses_its_texts);
    suite_add_tcase(suite, tc);
    return unit_run(suite);
}

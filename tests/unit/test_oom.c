/* Linked with --wrap: every allocation goes through here and fails when it is told to. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "auth/fold.h"
#include "chathub.h"
#include "options.h"
#include "util/map.h"
#include "util/timers.h"
#include "oom.h"

static long until = -1; /* allocations that still succeed; -1: all */

static bool fails(void)
{
    return until >= 0 && until-- == 0;
}

static void count(void *ctx, const void *key, size_t len, void *value)
{
    (void)key;
    (void)len;
    (void)value;
    ++*(size_t *)ctx;
}

START_TEST(a_map_without_memory_is_as_it_was)
{
    static const uint8_t secret[16] = {1};
    struct chi_map *map = chi_map_new(secret);
    size_t held = 0, seen = 0, refused = 0;
    for (uint32_t i = 0; i < 3000; i++) {
        until = i % 7 ? -1 : (long)(i % 3);
        int error = chi_map_put(map, &i, sizeof i, map);
        until = -1;
        ck_assert(!error == (chi_map_get(map, &i, sizeof i) == map));
        refused += error == CHATHUB_ENOMEM;
        held += !error;
    }
    chi_map_each(map, count, &seen);
    ck_assert_uint_eq(seen, held);
    ck_assert_uint_eq(chi_map_count(map), held);
    ck_assert_uint_gt(refused, 100);
    for (uint32_t i = 0; i < 3000; i++)
        held -= chi_map_remove(map, &i, sizeof i) == map;
    ck_assert_uint_eq(held, 0);
    chi_map_free(map);
    until = 0;
    map = chi_map_new(secret);
    until = -1;
    ck_assert_ptr_null(map);
}
END_TEST

START_TEST(a_buffer_without_memory_says_so_and_keeps_what_it_had)
{
    struct chi_buf buf = {0};
    chi_buf_add_text(&buf, "kept");
    until = 0;
    chi_buf_add_json(
        &buf, "a text that is longer than the first allocation, by a good deal of words", 72);
    until = -1;
    ck_assert(buf.failed);
    ck_assert(memcmp(buf.at, "kept", 4) == 0);
    chi_buf_truncate(&buf, 4);
    ck_assert(!buf.failed);
    chi_buf_fini(&buf);
}
END_TEST

START_TEST(a_timer_that_is_set_can_be_moved_without_memory)
{
    struct chi_timers timers;
    struct chi_timer set[64];
    chi_timers_init(&timers);
    memset(set, 0, sizeof set);
    size_t n = 0;
    for (; n < 16; n++)
        ck_assert_int_eq(chi_timers_set(&timers, &set[n], n), 0);
    until = 0;
    int added = chi_timers_set(&timers, &set[n], 5);
    until = 0;
    int moved = chi_timers_set(&timers, &set[3], 100);
    until = -1;
    ck_assert_int_eq(added, CHATHUB_ENOMEM);
    ck_assert_uint_eq(set[n].place, 0);
    ck_assert_int_eq(moved, 0);
    ck_assert_uint_eq(timers.count, 16);
    chi_timers_fini(&timers);
}
END_TEST

START_TEST(defaults_and_texts_fail_whole)
{
    struct chi_settings settings;
    int error = CHATHUB_ENOMEM;
    for (long n = 0; error; n++) {
        until = n;
        error = chi_options_defaults(&settings);
        until = -1;
        ck_assert(!error || error == CHATHUB_ENOMEM);
        ck_assert(!error || !settings.name);
    }
    bool is_listen;
    until = 0;
    error = chi_options_set(&settings, "name", "other", false, &is_listen, NULL, 0);
    until = -1;
    ck_assert_int_eq(error, CHATHUB_ENOMEM);
    ck_assert_str_eq(settings.name, "main");
    chi_options_fini(&settings);
}
END_TEST

START_TEST(a_name_is_folded_whole_or_not_at_all)
{
    int error = CHATHUB_ENOMEM;
    for (long n = 0; error; n++) {
        struct chi_buf shown = {0}, key = {0};
        until = n;
        error = chi_fold(false, CHI_FOLD_NAME, CHI_SPAN("Some Name"), &shown, &key);
        until = -1;
        ck_assert(!error || error == CHATHUB_ENOMEM);
        ck_assert_uint_eq(shown.len, error ? 0 : 9);
        ck_assert_uint_eq(key.len, error ? 0 : 9);
        chi_buf_fini(&shown);
        chi_buf_fini(&key);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("oom");
    TCase *tcase = tcase_create("oom");
    tcase_add_test(tcase, a_map_without_memory_is_as_it_was);
    tcase_add_test(tcase, a_buffer_without_memory_says_so_and_keeps_what_it_had);
    tcase_add_test(tcase, a_timer_that_is_set_can_be_moved_without_memory);
    tcase_add_test(tcase, defaults_and_texts_fail_whole);
    tcase_add_test(tcase, a_name_is_folded_whole_or_not_at_all);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}

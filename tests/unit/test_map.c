/* The map from bytes to pointers. */
#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "chathub.h"
#include "util/map.h"

static const uint8_t secret[16] = "0123456789abcde";

START_TEST(what_was_put_is_found)
{
    struct chi_map *map = chi_map_new(secret);
    int values[3];
    ck_assert_int_eq(chi_map_put(map, "a", 1, &values[0]), 0);
    ck_assert_int_eq(chi_map_put(map, "a\0b", 3, &values[1]), 0);
    ck_assert_int_eq(chi_map_put(map, "", 0, &values[2]), 0);
    ck_assert_ptr_eq(chi_map_get(map, "a", 1), &values[0]);
    ck_assert_ptr_eq(chi_map_get(map, "a\0b", 3), &values[1]);
    ck_assert_ptr_eq(chi_map_get(map, "", 0), &values[2]);
    ck_assert_ptr_null(chi_map_get(map, "A", 1));
    ck_assert_uint_eq(chi_map_count(map), 3);
    chi_map_free(map);
}
END_TEST

START_TEST(putting_again_replaces)
{
    struct chi_map *map = chi_map_new(secret);
    int first, second;
    ck_assert_int_eq(chi_map_put(map, "k", 1, &first), 0);
    ck_assert_int_eq(chi_map_put(map, "k", 1, &second), 0);
    ck_assert_ptr_eq(chi_map_get(map, "k", 1), &second);
    ck_assert_uint_eq(chi_map_count(map), 1);
    chi_map_free(map);
}
END_TEST

START_TEST(the_key_is_a_copy)
{
    struct chi_map *map = chi_map_new(secret);
    char key[] = "key";
    ck_assert_int_eq(chi_map_put(map, key, 3, map), 0);
    key[0] = 'x';
    ck_assert_ptr_eq(chi_map_get(map, "key", 3), map);
    ck_assert_ptr_null(chi_map_get(map, "xey", 3));
    chi_map_free(map);
}
END_TEST

START_TEST(remove_answers_what_was_there)
{
    struct chi_map *map = chi_map_new(secret);
    int value;
    ck_assert_ptr_null(chi_map_remove(map, "k", 1));
    ck_assert_int_eq(chi_map_put(map, "k", 1, &value), 0);
    ck_assert_ptr_eq(chi_map_remove(map, "k", 1), &value);
    ck_assert_ptr_null(chi_map_remove(map, "k", 1));
    ck_assert_uint_eq(chi_map_count(map), 0);
    chi_map_free(map);
}
END_TEST

struct walk {
    struct chi_map *map;
    uint32_t seen; /* entries so far */
    bool remove;   /* odd ones */
};

static void step(void *ctx, const void *key, size_t len, void *value)
{
    struct walk *walk = ctx;
    uint32_t number;
    ck_assert_uint_eq(len, sizeof number);
    memcpy(&number, key, sizeof number);
    ck_assert_uint_eq(number, walk->seen);
    walk->seen++;
    if (walk->remove)
        ck_assert_ptr_eq(chi_map_remove(walk->map, key, len), value);
}

START_TEST(each_goes_in_order_and_may_remove_its_entry)
{
    struct chi_map *map = chi_map_new(secret);
    for (uint32_t i = 0; i < 5000; i++)
        ck_assert_int_eq(chi_map_put(map, &i, sizeof i, map), 0);
    struct walk look = {map, 0, false}, take = {map, 0, true};
    chi_map_each(map, step, &look);
    ck_assert_uint_eq(look.seen, 5000);
    chi_map_each(map, step, &take);
    ck_assert_uint_eq(take.seen, 5000);
    ck_assert_uint_eq(chi_map_count(map), 0);
    chi_map_free(map);
}
END_TEST

START_TEST(freeing_nothing_is_fine)
{
    chi_map_free(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("map");
    TCase *tcase = tcase_create("map");
    tcase_add_test(tcase, what_was_put_is_found);
    tcase_add_test(tcase, putting_again_replaces);
    tcase_add_test(tcase, the_key_is_a_copy);
    tcase_add_test(tcase, remove_answers_what_was_there);
    tcase_add_test(tcase, each_goes_in_order_and_may_remove_its_entry);
    tcase_add_test(tcase, freeing_nothing_is_fine);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}

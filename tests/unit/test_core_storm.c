/* The hub under random requests, answers and failures: its books agree after each step, and
 * nothing is left at the end. */
#include "core_storm.h"

START_TEST(the_books_agree_whatever_happens)
{
    for (uint64_t seed = 1; seed <= 150; seed++) {
        storm_init(seed);
        ck_assert_int_eq(world_start(), 0);
        storm_run(seed, 600, NULL);
        storm_end(1);
        world_free();
    }
}
END_TEST

START_TEST(a_hub_may_be_freed_at_any_time)
{
    for (uint64_t seed = 1; seed <= 150; seed++) {
        storm_init(seed);
        ck_assert_int_eq(world_start(), 0);
        storm_run(seed, 5 + (uint32_t)seed * 2, NULL);
        world_free();
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("core storm");
    TCase *t = tcase_create("storm");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, the_books_agree_whatever_happens);
    tcase_add_test(t, a_hub_may_be_freed_at_any_time);
    suite_add_tcase(s, t);
    return unit_run(s);
}

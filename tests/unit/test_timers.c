/* Deadlines in a heap. */
#include "unit.h"

#include "util/list.h"
#include "util/timers.h"

struct probe {
    struct chi_timer timer;
    struct chi_timers *timers;
    struct probe *other; /* cleared when this one fires */
    uint64_t again;      /* set anew for this time when it fires; 0: not */
    unsigned fired;
};

struct record {
    uint64_t last; /* due of the latest that fired */
    unsigned count;
};

static struct record record;

static void fire(struct chi_timer *timer)
{
    struct probe *probe = CHI_CONTAINER(timer, struct probe, timer);
    ck_assert_uint_eq(timer->place, 0);
    ck_assert(timer->due >= record.last);
    record.last = timer->due;
    record.count++;
    probe->fired++;
    if (probe->other)
        chi_timers_clear(probe->timers, &probe->other->timer);
    if (probe->again)
        ck_assert_int_eq(chi_timers_set(probe->timers, timer, probe->again), 0);
}

static struct chi_timers fresh(void)
{
    struct chi_timers timers;
    chi_timers_init(&timers);
    record = (struct record){0};
    return timers;
}

START_TEST(all_that_are_due_fire_in_order)
{
    struct chi_timers timers = fresh();
    static struct probe probes[1000];
    uint32_t seed = 1;
    for (size_t i = 0; i < 1000; i++) {
        seed = seed * 1664525u + 1013904223u;
        probes[i] = (struct probe){.timer.fire = fire};
        ck_assert_int_eq(chi_timers_set(&timers, &probes[i].timer, 1 + (seed >> 16) % 500), 0);
    }
    for (size_t i = 0; i < 1000; i += 3)
        chi_timers_clear(&timers, &probes[i].timer);
    for (size_t i = 1; i < 1000; i += 3)
        ck_assert_int_eq(chi_timers_set(&timers, &probes[i].timer, 501 + i), 0);
    chi_timers_run(&timers, 500);
    ck_assert_uint_eq(record.count, 333);
    ck_assert(chi_timers_next(&timers) == 502);
    chi_timers_run(&timers, 2000);
    ck_assert_uint_eq(record.count, 666);
    for (size_t i = 0; i < 1000; i++)
        ck_assert_uint_eq(probes[i].fired, i % 3 != 0);
    ck_assert(chi_timers_next(&timers) == UINT64_MAX);
    chi_timers_fini(&timers);
}
END_TEST

START_TEST(none_fires_before_it_is_due)
{
    struct chi_timers timers = fresh();
    struct probe probe = {.timer.fire = fire};
    chi_timers_set(&timers, &probe.timer, 10);
    chi_timers_run(&timers, 9);
    ck_assert_uint_eq(probe.fired, 0);
    chi_timers_run(&timers, 10);
    ck_assert_uint_eq(probe.fired, 1);
    chi_timers_fini(&timers);
}
END_TEST

START_TEST(one_set_anew_for_now_waits_for_the_next_run)
{
    struct chi_timers timers = fresh();
    struct probe probes[3];
    for (int i = 0; i < 3; i++) {
        probes[i] = (struct probe){.timer.fire = fire, .timers = &timers};
        chi_timers_set(&timers, &probes[i].timer, 10);
    }
    probes[0].again = 5;
    chi_timers_run(&timers, 10);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(probes[i].fired, 1);
    ck_assert(chi_timers_next(&timers) == 10);
    chi_timers_run(&timers, 10);
    ck_assert_uint_eq(probes[0].fired, 2);
    chi_timers_fini(&timers);
}
END_TEST

START_TEST(one_may_clear_another_that_is_due_as_well)
{
    struct chi_timers timers = fresh();
    struct probe second = {.timer.fire = fire};
    struct probe first = {.timer.fire = fire, .timers = &timers, .other = &second};
    chi_timers_set(&timers, &second.timer, 2);
    chi_timers_set(&timers, &first.timer, 1);
    chi_timers_run(&timers, 5);
    ck_assert_uint_eq(first.fired, 1);
    ck_assert_uint_eq(second.fired, 0);
    chi_timers_fini(&timers);
}
END_TEST

START_TEST(clearing_is_harmless_unset_and_after_the_end)
{
    struct chi_timers timers = fresh();
    struct probe probe = {.timer.fire = fire};
    chi_timers_clear(&timers, &probe.timer);
    chi_timers_set(&timers, &probe.timer, 1);
    chi_timers_fini(&timers);
    chi_timers_clear(&timers, &probe.timer);
    ck_assert(chi_timers_next(&timers) == UINT64_MAX);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("timers");
    TCase *tcase = tcase_create("timers");
    tcase_add_test(tcase, all_that_are_due_fire_in_order);
    tcase_add_test(tcase, none_fires_before_it_is_due);
    tcase_add_test(tcase, one_set_anew_for_now_waits_for_the_next_run);
    tcase_add_test(tcase, one_may_clear_another_that_is_due_as_well);
    tcase_add_test(tcase, clearing_is_harmless_unset_and_after_the_end);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}

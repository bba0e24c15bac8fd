/* The lock between a hub's thread and its callers. */
#include "unit.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "util/gate.h"

#define CALLERS 4
#define CALLS   2000

/* What the threads of a test share. */
struct world {
    struct chi_gate gate;
    int inside;           /* threads that are; by who is in the gate */
    atomic_ulong turns;   /* of the owner */
    atomic_ulong entries; /* of callers */
    atomic_bool over;
};

static void work(struct world *world)
{
    ck_assert_int_eq(world->inside++, 0);
    for (volatile int i = 0; i < 200; i++) {
    }
    world->inside--;
}

/* Takes turn after turn; answers in how many cases few callers came in between. */
static void *own(void *arg)
{
    struct world *world = arg;
    unsigned long fair = 0;
    while (!atomic_load(&world->over)) {
        unsigned long before = atomic_load(&world->entries);
        chi_gate_enter_turn(&world->gate);
        fair += atomic_load(&world->entries) - before <= 2 * CALLERS;
        work(world);
        chi_gate_leave(&world->gate);
        world->turns++;
    }
    return (void *)fair;
}

/* Enters again and again; answers how often few turns came in between. */
static void *call(void *arg)
{
    struct world *world = arg;
    unsigned long fair = 0;
    for (int i = 0; i < CALLS; i++) {
        unsigned long before = atomic_load(&world->turns);
        ck_assert(chi_gate_enter(&world->gate));
        fair += atomic_load(&world->turns) - before <= 2;
        world->entries++;
        work(world);
        chi_gate_leave(&world->gate);
    }
    return (void *)fair;
}

/* A thread that loses the processor between its look at the count and its call sees any number: so
 * this is about most of them. */
START_TEST(an_owner_and_callers_that_never_rest_do_not_starve_each_other)
{
    struct world world = {0};
    pthread_t owner, callers[CALLERS];
    void *fair;
    ck_assert_int_eq(chi_gate_init(&world.gate), 0);
    pthread_create(&owner, NULL, own, &world);
    while (!atomic_load(&world.turns))
        sched_yield();
    for (int i = 0; i < CALLERS; i++)
        pthread_create(&callers[i], NULL, call, &world);
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(callers[i], &fair);
        ck_assert_uint_ge((unsigned long)fair, CALLS / 2);
    }
    atomic_store(&world.over, true);
    pthread_join(owner, &fair);
    ck_assert_uint_ge((unsigned long)fair, atomic_load(&world.turns) / 2);
    chi_gate_fini(&world.gate);
}
END_TEST

START_TEST(who_is_inside_may_enter_again)
{
    struct world world = {0};
    pthread_t caller;
    ck_assert_int_eq(chi_gate_init(&world.gate), 0);
    ck_assert(chi_gate_enter(&world.gate));
    pthread_create(&caller, NULL, call, &world);
    for (int i = 0; i < 1000; i++) {
        ck_assert(!chi_gate_enter(&world.gate));
        chi_gate_leave(&world.gate);
        ck_assert_uint_eq(atomic_load(&world.entries), 0);
    }
    chi_gate_leave(&world.gate);
    pthread_join(caller, NULL);
    chi_gate_enter_turn(&world.gate); /* the owner, too */
    ck_assert(!chi_gate_enter(&world.gate));
    chi_gate_leave(&world.gate);
    chi_gate_leave(&world.gate);
    chi_gate_fini(&world.gate);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gate");
    TCase *tc = tcase_create("gate");
    tcase_add_test(tc, an_owner_and_callers_that_never_rest_do_not_starve_each_other);
    tcase_add_test(tc, who_is_inside_may_enter_again);
    suite_add_tcase(suite, tc);
    return unit_run(suite);
}
